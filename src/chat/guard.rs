//! Runs what may take any amount of time or memory, and gives it up when it takes too much. A thread cannot be stopped:
//! what was given up goes on until the process ends, which should be soon. Serves the sandbox of chat templates.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often is looked.
const TICK: Duration = Duration::from_millis(1);
/// Deep templates are parsed by recursion.
const STACK: usize = 16 << 20;

/// What `work` may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub time: Duration,
    /// Bytes; held only where the system tells what a process has (Linux).
    pub memory: u64,
}

/// The result of `work`, or `None` if it took more than `limits`, or panicked.
pub(crate) fn guarded<T: Send + 'static>(
    limits: Limits,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = mpsc::channel();
    let (start, before) = (Instant::now(), memory());
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || _ = send.send(work()));
    thread.ok()?;
    loop {
        match receive.recv_timeout(TICK) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if start.elapsed() > limits.time || memory().saturating_sub(before) > limits.memory {
            return None;
        }
    }
}

/// Bytes of memory that are this process's own; 0 where the system does not tell.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|n| n.trim().parse().ok());
    kilobytes.map_or(0, |n: u64| n.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_millis(200), memory: 1 << 30 };

    #[test]
    fn what_ends_has_a_result_and_what_does_not_is_given_up() {
        assert_eq!(guarded(LIMITS, || 7), Some(7));
        assert_eq!(guarded(LIMITS, || std::thread::sleep(Duration::from_secs(5))), None);
    }
}
