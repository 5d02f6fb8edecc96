//! How what lies elsewhere is read: how many connections, how much memory, whether it is kept. And what was read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Is told how a download goes on.
pub trait Watch: Send + Sync {
    /// A download of so many parts begins.
    fn begin(&self, what: &str, parts: usize);

    /// A part is here.
    fn step(&self);

    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A watcher that hears nothing.
impl Watch for () {
    fn begin(&self, _what: &str, _parts: usize) {}

    fn step(&self) {}
}

/// How what lies elsewhere is read.
#[derive(Clone)]
pub struct Access {
    /// The most connections at a time.
    pub connections: usize,
    /// How many models are opened at a time, which share the connections.
    pub models: usize,
    /// The most bytes that are held before they are needed.
    pub memory: u64,
    /// Whether a model of the hub is put into the cache first, and read from there.
    pub download: bool,
    pub watch: Arc<dyn Watch>,
    /// Counts what is read.
    pub traffic: Arc<Traffic>,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            connections: 16,
            models: 1,
            memory: 256 << 20,
            download: false,
            watch: Arc::new(()),
            traffic: Arc::default(),
        }
    }
}

impl Access {
    /// The same for each of so `many` models that are opened at a time.
    #[must_use]
    pub fn among(&self, many: usize) -> Access {
        Access { models: many.max(1), ..self.clone() }
    }

    /// How many files of one model are opened at a time.
    pub fn hands(&self) -> usize {
        self.connections.div_ceil(self.models.max(1))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} bytes", self.connections, self.memory)
    }
}

/// What was asked of servers so far.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
    again: AtomicU64,
    unplanned: AtomicU64,
}

impl Traffic {
    /// A request was made.
    pub fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of a body came.
    pub fn came(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request failed, and is made again.
    pub fn asked_again(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn surprised(&self) {
        self.unplanned.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests, redirects among them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests that were made again because they failed.
    pub fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// Reads of weights that no window had planned.
    pub fn unplanned(&self) -> u64 {
        self.unplanned.load(Ordering::Relaxed)
    }
}
