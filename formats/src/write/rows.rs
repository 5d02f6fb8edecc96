//! The rows of all outputs, pulled in pieces by all threads and written where they belong. Serves the writer.

use super::durable::{Growing, read_all_at, write_all_at};
use super::job::Watch;
use super::layout::Placed;
use super::pieces::{BLOCK, step};
use crate::error::{Error, Kind, Result};
use crate::source::{Fetching, fetch_ahead, planned};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A piece of the work: some rows of one tensor, in every output that holds it.
struct Piece {
    group: usize,
    rows: Range<usize>,
}

/// A tensor in every output that holds it.
struct Group {
    /// The output, and which of its tensors it is.
    members: Vec<(usize, usize)>,
    /// How many pieces it has.
    pieces: usize,
}

pub(super) fn write_rows(outputs: &[Growing<'_>], written: &AtomicU64, watch: &dyn Watch) -> Result<()> {
    let (groups, pieces) = pieces(outputs)?;
    let done: Vec<AtomicUsize> = groups.iter().map(|_| AtomicUsize::new(0)).collect();
    let next = AtomicUsize::new(0);
    let failure = FirstFailure::default();
    let fetching = fetching(outputs, &groups, &pieces);
    let work = || {
        rayon::broadcast(|_| {
            let mut buffers = Vec::new();
            while !failure.happened() {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(i) else { break };
                if watch.cancelled() {
                    failure.set(i, stopped(outputs));
                    break;
                }
                let members = &groups[piece.group].members;
                let result = write_piece(outputs, members, &piece.rows, &mut buffers);
                for (output, index) in members {
                    outputs[*output].layout.tensors[*index].tensor.release(piece.rows.clone());
                }
                if let Some(fetching) = &fetching {
                    fetching.done(i);
                }
                match result {
                    Ok(bytes) => {
                        let pieces = done[piece.group].fetch_add(1, Ordering::Relaxed) + 1;
                        let last = pieces == groups[piece.group].pieces;
                        for ((output, index), bytes) in members.iter().zip(bytes) {
                            written.fetch_add(bytes, Ordering::Relaxed);
                            watch.advance(*output, *index, bytes, last);
                        }
                    }
                    Err(e) if e.kind() == Kind::Interrupted => failure.set(i, stopped(outputs)),
                    Err(e) => failure.set(i, e),
                }
            }
        })
    };
    match &fetching {
        Some(fetching) => _ = fetching.during(|| watch.cancelled(), work),
        None => _ = work(),
    }
    failure.into_result()
}

/// Begins to fetch what of the pieces lies elsewhere, and is not written by an earlier run as far as its journal knows.
fn fetching(outputs: &[Growing<'_>], groups: &[Group], pieces: &[Piece]) -> Option<Fetching> {
    let needed = |piece: &Piece| {
        planned(|| {
            for (output, index) in &groups[piece.group].members {
                let growing = &outputs[*output];
                if !growing.journal.knows(*index, piece.rows.start) {
                    growing.layout.tensors[*index].tensor.prefetch(piece.rows.clone());
                }
            }
        })
    };
    fetch_ahead(pieces.iter().map(needed))
}

/// The error of a run that was told to stop.
fn stopped(outputs: &[Growing<'_>]) -> Error {
    let e = Error::new(Kind::Interrupted, "stopped by a signal before the output was whole");
    let e = outputs.iter().take(1).fold(e, |e, output| e.file(&output.layout.target));
    e.hint("give the same command again to go on, or remove what ends in .partial and .partial.journal")
}

/// Of several failures the first in file order is told, so that it does not depend on the threads.
#[derive(Default)]
struct FirstFailure {
    happened: AtomicBool,
    first: Mutex<Option<(usize, Error)>>,
}

impl FirstFailure {
    fn happened(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    fn set(&self, place: usize, e: Error) {
        self.happened.store(true, Ordering::Relaxed);
        if let Ok(mut slot) = self.first.lock()
            && slot.as_ref().is_none_or(|(first, _)| place < *first)
        {
            *slot = Some((place, e));
        }
    }

    fn into_result(self) -> Result<()> {
        match self.first.into_inner() {
            Ok(None) => Ok(()),
            Ok(Some((_, e))) => Err(e),
            Err(_) => Err(Error::new(Kind::Failure, "a writing thread failed")),
        }
    }
}

/// All work, in the order of the first output's tensors; tensors that only later outputs hold follow.
fn pieces(outputs: &[Growing<'_>]) -> Result<(Vec<Group>, Vec<Piece>)> {
    let (mut groups, mut pieces) = (Vec::<Group>::new(), Vec::new());
    let mut known: HashMap<&str, (usize, &Tensor)> = HashMap::new();
    for (output, growing) in outputs.iter().enumerate() {
        for (index, placed) in growing.layout.tensors.iter().enumerate() {
            let t = placed.tensor;
            if let Some((group, first)) = known.get(t.name.as_str()) {
                if first.shape().significant() != t.shape().significant() {
                    return Err(Error::invalid("the outputs hold this tensor in different shapes")
                        .tensor(&t.name)
                        .expected(first.shape())
                        .found(t.shape()));
                }
                groups[*group].members.push((output, index));
                continue;
            }
            let rows = usize::try_from(t.shape().rows())
                .map_err(|_| Error::invalid("the tensor has too many rows").tensor(&t.name))?;
            let step = step(t)?;
            let (group, count) = (groups.len(), rows.div_ceil(step));
            let range = |i: usize| i * step..rows.min((i + 1).saturating_mul(step));
            pieces.extend((0..count).map(|i| Piece { group, rows: range(i) }));
            groups.push(Group { members: vec![(output, index)], pieces: count });
            known.insert(&t.name, (group, t));
        }
    }
    Ok((groups, pieces))
}

/// Some rows of a tensor in one of the outputs that hold it.
struct Share<'a> {
    growing: &'a Growing<'a>,
    /// Which of the output's tensors it is.
    index: usize,
    placed: &'a Placed<'a>,
    first: usize,
    bytes: &'a mut [u8],
}

impl<'a> Share<'a> {
    fn new(
        outputs: &'a [Growing<'a>],
        member: (usize, usize),
        rows: &Range<usize>,
        buffer: &'a mut Vec<u8>,
    ) -> Self {
        let (growing, index) = (&outputs[member.0], member.1);
        let placed = &growing.layout.tensors[index];
        buffer.resize(rows.len() * placed.tensor.row_bytes(), 0);
        Share { growing, index, placed, first: rows.start, bytes: buffer }
    }

    /// Computes these rows, counted from the first.
    fn compute(&mut self, rows: Range<usize>) -> Result<()> {
        let tensor = self.placed.tensor;
        let out = &mut self.bytes[rows.start * tensor.row_bytes()..rows.end * tensor.row_bytes()];
        let read = tensor.read(self.first + rows.start..self.first + rows.end, out);
        read.map_err(|e| e.tensor(&tensor.name).file(&self.growing.layout.target))
    }

    /// Where the rows lie in their file.
    fn place(&self) -> u64 {
        self.placed.offset + self.first as u64 * self.placed.tensor.row_bytes() as u64
    }

    fn write(&self) -> Result<()> {
        self.growing.check_open(self.placed.file)?;
        write_all_at(self.growing.file(self.placed.file), self.bytes, self.place())
            .map_err(|e| Error::io(&e, &self.growing.layout.target))?;
        self.growing.journal.add(self.index, self.first, self.bytes)
    }

    /// Whether an earlier run has written the rows; what lies there is read.
    fn is_written(&mut self) -> Result<bool> {
        let journal = &self.growing.journal;
        if !journal.knows(self.index, self.first) {
            return Ok(false);
        }
        let (file, place) = (self.growing.file(self.placed.file), self.place());
        read_all_at(file, self.bytes, place).map_err(|e| Error::io(&e, &self.growing.layout.target))?;
        Ok(journal.holds(self.index, self.first, self.bytes))
    }
}

/// Writes some rows of a tensor in every output that holds it; the bytes of each.
fn write_piece(
    outputs: &[Growing<'_>],
    members: &[(usize, usize)],
    rows: &Range<usize>,
    buffers: &mut Vec<Vec<u8>>,
) -> Result<Vec<u64>> {
    buffers.resize_with(buffers.len().max(members.len()), Vec::new);
    let shares =
        members.iter().zip(buffers).map(|(member, buffer)| Share::new(outputs, *member, rows, buffer));
    let mut shares: Vec<Share<'_>> = shares.collect();
    // An output that has its rows may have its name, too, and is not written again.
    let mut missing: Vec<&mut Share<'_>> = Vec::new();
    for share in &mut shares {
        if !share.is_written()? {
            missing.push(share);
        }
    }
    if let Some(first) = missing.first() {
        let row = first.placed.tensor.row_elements()?;
        let step = (BLOCK / row.max(1)).max(1);
        for first in (0..rows.len()).step_by(step) {
            // Outputs that ask for the same rows in turn find them decoded.
            missing.iter_mut().try_for_each(|share| share.compute(first..rows.len().min(first + step)))?;
        }
        missing.iter().try_for_each(|share| share.write())?;
    }
    Ok(shares.iter().map(|share| share.bytes.len() as u64).collect())
}
