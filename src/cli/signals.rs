//! Signals: the first SIGINT or SIGTERM asks the writer to stop and leave its work for a later run, the second one
//! ends the process at once. Before anything is written, and after all is, both end it, as ever.

use ggraft_formats::{Error, Kind, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The signal that came; zero as long as none did.
static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// As long as it lives a signal is a request.
pub(super) struct Requests {
    over: Arc<AtomicBool>,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// From here on a signal is a request.
pub(super) fn listen() -> Result<Requests> {
    let came = CAME.get_or_init(Arc::default);
    let (again, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal arms what the second one sets off.
        flag::register_conditional_default(signal, Arc::clone(&over))
            .and_then(|_| flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again)))
            .and_then(|_| flag::register(signal, Arc::clone(&again)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(came), signal.unsigned_abs() as usize))
            .map_err(|e| Error::new(Kind::Failure, format!("signals cannot be listened to: {e}")))?;
    }
    // Else a limit on the size of files ends the process; so the write fails, and says so.
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
        .map_err(|e| Error::new(Kind::Failure, format!("signals cannot be listened to: {e}")))?;
    Ok(Requests { over })
}

/// Stops work that is not asked by the writer.
pub(super) fn check() -> Result<()> {
    match came() {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::Interrupted, "stopped by a signal before the report was made")
            .hint("give the same command again to resume")),
    }
}

/// The signal that came, if one did.
pub fn came() -> Option<u8> {
    let signal = CAME.get()?.load(Ordering::Relaxed);
    u8::try_from(signal).ok().filter(|signal| *signal != 0)
}
