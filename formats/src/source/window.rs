//! Fetches ahead, by threads of its own, what is known to be read: pieces of work, in order, each with the bytes that it
//! needs. A block is fetched once, held until its last piece is done, and no more are held than the memory allows. What a
//! reader waits for is fetched first, whatever is held: so nothing hangs.

use super::blocks::{Block, OPEN, Planner};
use super::object::{Ahead, Object, Span, is_elsewhere};
use crate::error::{Error, Kind, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many blocks are fetched behind one that a reader waits for: several readers are at several places.
const BEHIND: usize = 4;
/// How often it is seen, while a thread waits, whether the work is to be stopped.
const PAUSE: Duration = Duration::from_millis(100);

enum State {
    /// Not yet asked for.
    Planned,
    Coming,
    Here(Arc<Vec<u8>>),
    Failed(Error),
    /// Not needed any more.
    Gone,
}

struct Now {
    states: Vec<State>,
    /// How many pieces need each block.
    needed: Vec<u32>,
    /// What readers wait for.
    wanted: VecDeque<usize>,
    /// What stands behind that in the order, and is fetched next if there is room.
    soon: VecDeque<usize>,
    /// The next block in order.
    next: usize,
    /// Bytes that are held or coming.
    held: u64,
    stopped: bool,
}

/// What is fetched ahead.
pub struct Window {
    objects: Vec<Arc<Object>>,
    blocks: Vec<Block>,
    /// The blocks of each object, by their first byte.
    places: Vec<Vec<usize>>,
    /// The blocks that each piece needs.
    pieces: Vec<Vec<usize>>,
    memory: u64,
    connections: usize,
    now: Mutex<Now>,
    /// A block has come, or failed.
    came: Condvar,
    /// A block was let go, or is wanted.
    room: Condvar,
}

/// A window that fetches; with it the fetching ends.
pub struct Fetching(Arc<Window>);

impl Window {
    /// Plans blocks for pieces that are done about in this order; `None` if none of them needs anything.
    pub fn plan(pieces: impl IntoIterator<Item = Vec<Span>>) -> Option<Arc<Window>> {
        Window::shared(pieces, 1)
    }

    /// One of so `many` windows that are open at a time, which share the memory and the connections.
    fn shared(pieces: impl IntoIterator<Item = Vec<Span>>, many: usize) -> Option<Arc<Window>> {
        let mut planner = Planner::default();
        pieces.into_iter().for_each(|spans| planner.piece(spans));
        Window::of(planner, many)
    }

    /// Of what was planned. (Apart, for what is generic is compiled for every kind of pieces.)
    fn of(planner: Planner, many: usize) -> Option<Arc<Window>> {
        let Planner { objects, blocks, pieces, .. } = planner;
        let access = objects.first()?.access().clone();
        let many = many.max(1);
        let mut places = vec![Vec::new(); objects.len()];
        blocks.iter().enumerate().for_each(|(i, block): (usize, &Block)| places[block.object].push(i));
        places.iter_mut().for_each(|of: &mut Vec<usize>| of.sort_by_key(|i| blocks[*i].bytes.start));
        let mut needed = vec![0; blocks.len()];
        pieces.iter().flatten().for_each(|i: &usize| needed[*i] += 1);
        let states = blocks.iter().map(|_| State::Planned).collect();
        let now = Now {
            states,
            needed,
            wanted: VecDeque::new(),
            soon: VecDeque::new(),
            next: 0,
            held: 0,
            stopped: false,
        };
        Some(Arc::new(Window {
            objects,
            blocks,
            places,
            pieces,
            memory: access.memory / many as u64,
            connections: access.connections.div_ceil(many),
            now: Mutex::new(now),
            came: Condvar::new(),
            room: Condvar::new(),
        }))
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.bytes.end - block.bytes.start).sum()
    }

    /// Begins to fetch, and to serve those who read the objects.
    pub fn begin(self: &Arc<Window>) -> Fetching {
        let start = |i: usize| {
            let window = Arc::clone(self);
            let thread = thread::Builder::new().name(format!("fetch-{i}"));
            thread.spawn(move || window.fetch_all()).is_ok()
        };
        let threads = (0..self.connections.clamp(1, self.blocks.len())).filter(|i| start(*i)).count();
        // With fewer threads it takes longer; without any, readers fetch for themselves.
        if threads > 0 {
            self.objects.iter().for_each(|object| object.attach(Arc::clone(self) as Arc<dyn Ahead>));
        }
        Fetching(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches until nothing is left to fetch.
    fn fetch_all(&self) {
        while let Some(i) = self.take() {
            let Block { object, bytes } = &self.blocks[i];
            let object = &self.objects[*object];
            let length = usize::try_from(bytes.end - bytes.start).unwrap_or(0);
            let mut out = vec![0; length];
            let fetched = object.fetch(bytes.start, &mut out, &|| self.lock().stopped);
            let mut now = self.lock();
            now.states[i] = match fetched {
                // What is no longer needed is not held.
                Ok(()) if now.needed[i] == 0 => {
                    now.held = now.held.saturating_sub(length as u64);
                    State::Gone
                }
                Ok(()) => State::Here(Arc::new(out)),
                Err(e) => State::Failed(e),
            };
            drop(now);
            self.came.notify_all();
            self.room.notify_all();
        }
    }

    /// The next block to fetch, when there is room for it; none if all are fetched.
    fn take(&self) -> Option<usize> {
        let mut now = self.lock();
        loop {
            if now.stopped {
                return None;
            }
            let wanted = now.wanted.pop_front();
            while now.next < self.blocks.len() && !matches!(now.states[now.next], State::Planned) {
                now.next += 1;
            }
            let fits = |now: &Now, i: usize| {
                let bytes = &self.blocks[i].bytes;
                now.held == 0 || now.held.saturating_add(bytes.end - bytes.start) <= self.memory
            };
            let is_planned = |now: &Now, i: usize| matches!(now.states[i], State::Planned);
            while now.soon.front().is_some_and(|i| !is_planned(&now, *i)) {
                now.soon.pop_front();
            }
            let next = now.soon.front().copied().or((now.next < self.blocks.len()).then_some(now.next));
            let next = next.filter(|i| fits(&now, *i));
            if let Some(i) = wanted.filter(|i| is_planned(&now, *i)).or(next) {
                now.held += self.blocks[i].bytes.end - self.blocks[i].bytes.start;
                now.states[i] = State::Coming;
                return Some(i);
            }
            if wanted.is_none() && now.next >= self.blocks.len() {
                return None;
            }
            now = self.room.wait_timeout(now, PAUSE).map_or_else(|e| e.into_inner().0, |(now, _)| now);
        }
    }

    /// The blocks that hold this byte of an object.
    fn find(&self, object: &Object, at: u64) -> Vec<usize> {
        let which = self.objects.iter().position(|one| std::ptr::eq(&**one, object));
        let Some(of) = which.and_then(|which| self.places.get(which)) else { return Vec::new() };
        let after = of.partition_point(|i| self.blocks[*i].bytes.start <= at);
        let near = of[..after].iter().rev().take(OPEN * 2).copied();
        near.filter(|i| at < self.blocks[*i].bytes.end).collect()
    }

    /// Has a block fetched before all others, and then those behind it.
    fn want(&self, now: &mut Now, i: usize) {
        if now.wanted.contains(&i) {
            return;
        }
        now.wanted.push_back(i);
        let object = self.blocks[i].object;
        now.soon =
            (i + 1..self.blocks.len()).filter(|i| self.blocks[*i].object == object).take(BEHIND).collect();
        self.room.notify_all();
    }

    /// Is told that a piece is done: what no other one needs is let go.
    pub fn done(&self, piece: usize) {
        let Some(blocks) = self.pieces.get(piece) else { return };
        let mut now = self.lock();
        for i in blocks {
            now.needed[*i] = now.needed[*i].saturating_sub(1);
            if now.needed[*i] > 0 {
                continue;
            }
            match now.states[*i] {
                State::Here(_) => {
                    let bytes = &self.blocks[*i].bytes;
                    now.held = now.held.saturating_sub(bytes.end - bytes.start);
                    now.states[*i] = State::Gone;
                }
                State::Planned => now.states[*i] = State::Gone,
                _ => {}
            }
        }
        drop(now);
        self.room.notify_all();
    }
}

impl Ahead for Window {
    fn read(&self, object: &Object, at: u64, out: &mut [u8]) -> Result<usize> {
        let blocks = self.find(object, at);
        let mut now = self.lock();
        loop {
            let there = |i: &&usize| !matches!(now.states[**i], State::Gone);
            let Some(i) = blocks.iter().find(there).copied() else { return Ok(0) };
            match &now.states[i] {
                State::Failed(e) => return Err(e.clone()),
                State::Here(held) => {
                    let held = Arc::clone(held);
                    drop(now);
                    let at = usize::try_from(at - self.blocks[i].bytes.start).unwrap_or(0);
                    let count = out.len().min(held.len() - at);
                    out[..count].copy_from_slice(&held[at..at + count]);
                    return Ok(count);
                }
                _ if now.stopped => return Err(stopped()),
                State::Planned => self.want(&mut now, i),
                _ => {}
            }
            now = self.came.wait_timeout(now, PAUSE).map_or_else(|e| e.into_inner().0, |(now, _)| now);
        }
    }
}

fn stopped() -> Error {
    Error::new(Kind::Interrupted, "the fetching was stopped")
}

impl Fetching {
    /// Is told that a piece is done.
    pub fn done(&self, piece: usize) {
        self.0.done(piece);
    }

    /// Does `work`, and ends the waiting of all who wait once it is `cancelled`.
    pub fn during<T>(&self, cancelled: impl Fn() -> bool + Sync, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        let look = || {
            while !over.load(Ordering::Relaxed) {
                if cancelled() {
                    return self.stop();
                }
                thread::park_timeout(PAUSE);
            }
        };
        thread::scope(|scope| {
            let looking = thread::Builder::new().name("fetch-stop".into()).spawn_scoped(scope, look).ok();
            let end = Over(&over);
            let done = work();
            drop(end);
            looking.iter().for_each(|thread| thread.thread().unpark());
            done
        })
    }

    /// Ends the waiting of all who wait.
    pub fn stop(&self) {
        self.0.lock().stopped = true;
        self.0.came.notify_all();
        self.0.room.notify_all();
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.stop();
        let this: Arc<dyn Ahead> = Arc::clone(&self.0) as Arc<dyn Ahead>;
        self.0.objects.iter().for_each(|object| object.detach(&this));
    }
}

/// Begins to fetch what pieces of work need, which are done about in this order, if anything of it lies elsewhere.
pub fn fetch_ahead(pieces: impl IntoIterator<Item = Vec<Span>>) -> Option<Fetching> {
    let window = is_elsewhere().then(|| Window::plan(pieces)).flatten()?;
    Some(window.begin())
}

/// The same where so `many` threads do work of their own at a time: they share the memory and the connections.
pub fn fetch_ahead_among(many: usize, pieces: impl IntoIterator<Item = Vec<Span>>) -> Option<Fetching> {
    let window = is_elsewhere().then(|| Window::shared(pieces, many)).flatten()?;
    Some(window.begin())
}

/// Tells a thread that the work is over, also where it panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
