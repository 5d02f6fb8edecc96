//! A file that lies elsewhere and is read by ranges. What a `Window` has fetched is taken from there; what nobody has
//! planned is fetched when it is asked for, some more of it where one reads on. Serves rows as a mapped file does.

use super::access::Access;
use super::planning::{is_planning, planning};
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::quant::DType;
use crate::shape::Shape;
use crate::stamp::Stamp;
use crate::tensor::{Rows, Tensor};
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Asked between tries and pieces of a fetch, whether to give up.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Fetches bytes of one file.
pub trait Fetch: Send + Sync {
    /// Fills `out` with the bytes from `start` on, all of one state of the file.
    ///
    /// # Errors
    /// They do not come, or the file is not what it was when it was opened.
    fn fetch(&self, start: u64, out: &mut [u8], stop: Stop<'_>) -> Result<()>;
}

/// What has been fetched ahead, or is going to be.
pub(super) trait Ahead: Send + Sync {
    /// Fills the beginning of `out` with the bytes from `at` on, as many as are among it; how many.
    fn read(&self, object: &Object, at: u64, out: &mut [u8]) -> Result<usize>;
}

/// Bytes of an object that are going to be read.
#[derive(Clone)]
pub struct Span {
    pub object: Arc<Object>,
    pub bytes: Range<u64>,
}

thread_local! {
    /// What this thread has planned so far.
    static PLAN: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
}

/// Whether anything was opened that lies elsewhere: without it there is nothing to plan.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Whether anything was opened in this process that lies elsewhere.
pub fn is_elsewhere() -> bool {
    ELSEWHERE.load(Ordering::Relaxed)
}

/// What lies elsewhere of the rows that `f` tells to prefetch.
pub fn planned(f: impl FnOnce()) -> Vec<Span> {
    let outer = PLAN.replace(Vec::new());
    planning(f);
    PLAN.replace(outer)
}

/// The error of data that is not there.
pub(super) fn short(path: &Path, length: u64, end: u64) -> Error {
    Error::invalid("the data runs past the end of the file")
        .file(path)
        .expected(format!("at least {end} bytes"))
        .found(format!("{length} bytes"))
        .hint("the file is truncated: copy or download it again")
}

/// What is known of a file before it is read.
pub struct Known {
    /// As it is told to people.
    pub path: PathBuf,
    pub length: u64,
    /// What the server calls this state of it.
    pub tag: String,
    /// Its first bytes, which came with the answer.
    pub head: Vec<u8>,
}

/// A file that lies elsewhere.
pub struct Object {
    known: Known,
    origin: Box<dyn Fetch>,
    access: Access,
    changed: Arc<AtomicBool>,
    recent: Mutex<Recent>,
    windows: RwLock<Vec<Arc<dyn Ahead>>>,
}

/// The least that is fetched unplanned, and the most that is kept of it: one who reads on gets ever more at a time.
const LEAST: u64 = 256 << 10;
const MOST: u64 = 4 << 20;
/// One who skips no more than this reads on.
const NEAR: u64 = 256 << 10;
/// Pieces that are kept.
const KEPT: usize = 2;

/// What was fetched last.
#[derive(Default)]
struct Recent {
    pieces: Vec<(u64, Arc<Vec<u8>>)>,
}

impl Recent {
    fn find(&self, bytes: &Range<u64>) -> Option<(usize, Arc<Vec<u8>>)> {
        let holds = |(start, held): &&(u64, Arc<Vec<u8>>)| {
            *start <= bytes.start && bytes.end <= start.saturating_add(held.len() as u64)
        };
        let (start, held) = self.pieces.iter().find(holds)?;
        Some((usize::try_from(bytes.start - start).ok()?, Arc::clone(held)))
    }

    /// How much to fetch from here on: twice as much as before where one reads on.
    fn step(&self, from: u64) -> u64 {
        let end = |(start, held): &(u64, Arc<Vec<u8>>)| start.saturating_add(held.len() as u64);
        let before = self.pieces.iter().find(|one| from.checked_sub(end(one)).is_some_and(|gap| gap <= NEAR));
        before.map_or(LEAST, |(_, held)| (held.len() as u64).saturating_mul(2)).clamp(LEAST, MOST)
    }

    fn keep(&mut self, start: u64, bytes: Arc<Vec<u8>>) {
        if self.pieces.len() >= KEPT {
            self.pieces.remove(0);
        }
        self.pieces.push((start, bytes));
    }
}

impl Object {
    pub fn new(known: Known, origin: Box<dyn Fetch>, access: &Access) -> Arc<Object> {
        ELSEWHERE.store(true, Ordering::Relaxed);
        Arc::new(Object {
            known,
            origin,
            access: access.clone(),
            changed: Arc::default(),
            recent: Mutex::default(),
            windows: RwLock::default(),
        })
    }

    /// As it is told to people.
    pub fn path(&self) -> &Path {
        &self.known.path
    }

    pub fn length(&self) -> u64 {
        self.known.length
    }

    /// How it is read.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Its state when it was opened, which is that of all that is read of it.
    pub fn stamp(&self) -> Stamp {
        Stamp::elsewhere(self.path(), self.length(), &self.known.tag, Arc::clone(&self.changed))
    }

    /// The first `bytes`.
    pub fn start(&self, bytes: u64) -> Result<Vec<u8>> {
        let count = usize::try_from(bytes).map_err(|_| self.short(bytes))?;
        if let Some(head) = self.known.head.get(..count) {
            return Ok(head.to_vec());
        }
        if bytes > self.length() {
            return Err(self.short(bytes));
        }
        let mut all = vec![0; count];
        let (known, rest) = all.split_at_mut(self.known.head.len());
        known.copy_from_slice(&self.known.head);
        self.fetch(known.len() as u64, rest, &|| false)?;
        Ok(all)
    }

    /// A tensor that lies in it from byte `offset` on.
    pub fn tensor(self: &Arc<Object>, name: &str, shape: Shape, dtype: DType, offset: u64) -> Result<Tensor> {
        let rows = Arc::new(Remote { object: Arc::clone(self), start: offset, row_bytes: 0 });
        let plain = Tensor::new(name, shape, dtype, rows)?;
        let end = offset.checked_add(plain.bytes()).filter(|end| *end <= self.length());
        end.ok_or_else(|| self.short(offset.saturating_add(plain.bytes())).tensor(name))?;
        let row_bytes = plain.row_bytes() as u64;
        Tensor::new(
            name,
            shape,
            dtype,
            Arc::new(Remote { object: Arc::clone(self), start: offset, row_bytes }),
        )
    }

    fn short(&self, end: u64) -> Error {
        short(self.path(), self.length(), end)
    }

    /// Fills `out` with the bytes from `start` on.
    pub(crate) fn read(&self, start: u64, out: &mut [u8]) -> Result<()> {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut done = 0;
        while done < out.len() {
            let (at, rest) = (start.saturating_add(done as u64), &mut out[done..]);
            let mut found = 0;
            for window in windows.iter().rev() {
                found = window.read(self, at, rest)?;
                if found > 0 {
                    break;
                }
            }
            if found == 0 {
                return self.read_unplanned(at..at.saturating_add(rest.len() as u64), rest);
            }
            done += found;
        }
        Ok(())
    }

    fn read_unplanned(&self, bytes: Range<u64>, out: &mut [u8]) -> Result<()> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, held)) = recent().find(&bytes) {
            out.copy_from_slice(&held[at..at + out.len()]);
            return Ok(());
        }
        self.access.traffic.surprised();
        let step = recent().step(bytes.start).min(self.length().saturating_sub(bytes.start));
        if step <= out.len() as u64 {
            return self.fetch(bytes.start, out, &|| false);
        }
        let mut piece = vec![0; usize::try_from(step).map_err(|_| self.short(bytes.end))?];
        self.fetch(bytes.start, &mut piece, &|| false)?;
        out.copy_from_slice(&piece[..out.len()]);
        recent().keep(bytes.start, Arc::new(piece));
        Ok(())
    }

    /// Fetches, past whatever was fetched before.
    pub(super) fn fetch(&self, start: u64, out: &mut [u8], stop: Stop<'_>) -> Result<()> {
        self.origin.fetch(start, out, stop).map_err(|e| {
            if e.kind() == Kind::Changed {
                self.changed.store(true, Ordering::Relaxed);
            }
            e.file(self.path())
        })
    }

    pub(super) fn attach(&self, window: Arc<dyn Ahead>) {
        self.windows.write().unwrap_or_else(PoisonError::into_inner).push(window);
    }

    pub(super) fn detach(&self, window: &Arc<dyn Ahead>) {
        let mut windows = self.windows.write().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|one| !Arc::ptr_eq(one, window));
    }
}

/// Rows of a file that lies elsewhere.
struct Remote {
    object: Arc<Object>,
    start: u64,
    row_bytes: u64,
}

impl Remote {
    fn place(&self, rows: &Range<usize>) -> Range<u64> {
        let at = |row: usize| self.start.saturating_add((row as u64).saturating_mul(self.row_bytes));
        at(rows.start)..at(rows.end).min(self.object.length())
    }
}

impl Rows for Remote {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.object.read(self.place(&rows).start, out)
    }

    fn prefetch(&self, rows: Range<usize>) {
        if is_planning() {
            let span = Span { object: Arc::clone(&self.object), bytes: self.place(&rows) };
            PLAN.with_borrow_mut(|plan| plan.push(span));
        }
    }

    fn release(&self, _rows: Range<usize>) {
        // What was fetched ahead is let go with the piece of work that needed it.
    }

    fn identify(&self, into: &mut Identity) {
        // The same as of a mapped file: which one it is, and in what state, tell the stamps of the inputs.
        into.add(b"mapped");
        into.numbers([self.start, self.row_bytes]);
    }
}
