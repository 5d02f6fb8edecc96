//! Write-behind: what is written goes on to the disk while the rest is still computed, so that little is left to sync
//! in the end. Serves the writer.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes that a run alone leaves to the system's cache before they are synced.
pub const STEP: u64 = 64 << 20;

/// How often it is seen whether so many have come together.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs `work`, which counts in `written` what it writes to `files`, and syncs them after every `step` bytes. The second result
/// tells whether that went well: the system tells a failure only once, so a later sync may not know of it.
pub fn during<T>(
    files: &[&File],
    written: &AtomicU64,
    step: u64,
    work: impl FnOnce() -> T,
) -> (T, io::Result<()>) {
    let done = AtomicBool::new(false);
    let sync = || {
        let mut synced = 0;
        while !done.load(Ordering::Relaxed) {
            thread::park_timeout(PAUSE);
            let now = written.load(Ordering::Relaxed);
            if now.saturating_sub(synced) >= step {
                files.iter().try_for_each(|file| file.sync_data())?;
                synced = now;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        // Without the thread all is synced in the end.
        let syncing = thread::Builder::new().name("write-behind".into()).spawn_scoped(scope, sync).ok();
        let over = Over(&done);
        let result = work();
        drop(over);
        let synced = syncing.map_or(Ok(Ok(())), |thread| {
            thread.thread().unpark();
            thread.join()
        });
        (result, synced.unwrap_or_else(|_| Err(io::Error::other("the syncing thread failed"))))
    })
}

/// Tells the syncing thread that the work is over, also where it panics: the scope waits for the thread.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_hang() {
        let panics =
            || during(&[], &AtomicU64::new(0), STEP, || std::panic::resume_unwind(Box::new("as asked")));
        assert!(std::panic::catch_unwind(panics).is_err());
    }
}
