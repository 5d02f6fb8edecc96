//! The rows of all outputs, pulled in pieces by all threads and written where they belong. Serves the writer.

use super::durable::{Sink, read_all_at, write_all_at};
use super::job::{Span, Watch};
use super::layout::{Layout, Placed};
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

pub(super) fn write_rows<S: Sink>(outputs: &[S], written: &AtomicU64, watch: &dyn Watch) -> Result<()> {
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
                    outputs[*output].layout().tensors[*index].tensor.release(piece.rows.clone());
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
fn fetching<S: Sink>(outputs: &[S], groups: &[Group], pieces: &[Piece]) -> Option<Fetching> {
    let needed = |piece: &Piece| {
        planned(|| {
            for (output, index) in &groups[piece.group].members {
                let sink = &outputs[*output];
                let placed = &sink.layout().tensors[*index];
                let is_missing = || !sink.journal().knows(*index, piece.rows.start);
                if is_own(sink, placed, &piece.rows) && is_missing() {
                    placed.tensor.prefetch(piece.rows.clone());
                }
            }
        })
    };
    fetch_ahead(pieces.iter().map(needed))
}

/// The error of a run that was told to stop.
fn stopped<S: Sink>(outputs: &[S]) -> Error {
    let e = Error::new(Kind::Interrupted, "stopped by a signal before the output was whole");
    let e = outputs.iter().take(1).fold(e, |e, output| e.file(&output.layout().target));
    e.hint(S::LEFT)
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

/// Which bytes of their file some rows take.
fn bytes_of(placed: &Placed<'_>, rows: &Range<usize>) -> Range<u64> {
    let at = |row: usize| placed.offset + row as u64 * placed.tensor.row_bytes() as u64;
    at(rows.start)..at(rows.end)
}

/// Those of them that are this run's to write.
fn own<S: Sink>(sink: &S, placed: &Placed<'_>, rows: &Range<usize>) -> Range<u64> {
    let (bytes, own) = (bytes_of(placed, rows), sink.own(placed.file));
    bytes.start.max(own.start)..bytes.end.min(own.end)
}

fn is_own<S: Sink>(sink: &S, placed: &Placed<'_>, rows: &Range<usize>) -> bool {
    !own(sink, placed, rows).is_empty()
}

/// All work, in the order of the first output's tensors; tensors that only later outputs hold follow.
fn pieces<S: Sink>(outputs: &[S]) -> Result<(Vec<Group>, Vec<Piece>)> {
    let (mut groups, mut pieces) = (Vec::<Group>::new(), Vec::new());
    let mut known: HashMap<&str, (usize, &Tensor)> = HashMap::new();
    for (output, sink) in outputs.iter().enumerate() {
        for (index, placed) in sink.layout().tensors.iter().enumerate() {
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
    pieces.retain(|piece| {
        let members = &groups[piece.group].members;
        members.iter().any(|(output, index)| {
            is_own(&outputs[*output], &outputs[*output].layout().tensors[*index], &piece.rows)
        })
    });
    groups.iter_mut().for_each(|group| group.pieces = 0);
    pieces.iter().for_each(|piece| groups[piece.group].pieces += 1);
    Ok((groups, pieces))
}

/// How many pieces these spans have.
pub(super) fn count(layout: &Layout<'_>, spans: &[Span]) -> Result<usize> {
    let mut pieces = 0;
    for placed in &layout.tensors {
        let bytes = step(placed.tensor)? as u64 * placed.tensor.row_bytes() as u64;
        let end = placed.offset.saturating_add(placed.tensor.bytes());
        for span in spans.iter().filter(|span| span.file == placed.file) {
            let (from, to) = (span.bytes.start.max(placed.offset), span.bytes.end.min(end));
            if from < to && bytes > 0 {
                pieces += (to - placed.offset).div_ceil(bytes) - (from - placed.offset) / bytes;
            }
        }
    }
    Ok(usize::try_from(pieces).unwrap_or(usize::MAX))
}

/// Some rows of a tensor in one of the outputs that hold it.
struct Share<'a, S> {
    sink: &'a S,
    /// Which of the output's tensors it is.
    index: usize,
    placed: &'a Placed<'a>,
    rows: Range<usize>,
    bytes: &'a mut [u8],
}

impl<'a, S: Sink> Share<'a, S> {
    fn new(outputs: &'a [S], member: (usize, usize), rows: &Range<usize>, buffer: &'a mut Vec<u8>) -> Self {
        let (sink, index) = (&outputs[member.0], member.1);
        let placed = &sink.layout().tensors[index];
        buffer.resize(rows.len() * placed.tensor.row_bytes(), 0);
        Share { sink, index, placed, rows: rows.clone(), bytes: buffer }
    }

    /// Computes these rows, counted from the first.
    fn compute(&mut self, rows: Range<usize>) -> Result<()> {
        let tensor = self.placed.tensor;
        let out = &mut self.bytes[rows.start * tensor.row_bytes()..rows.end * tensor.row_bytes()];
        let first = self.rows.start;
        let read = tensor.read(first + rows.start..first + rows.end, out);
        read.map_err(|e| e.tensor(&tensor.name).file(&self.sink.layout().target))
    }

    /// Where the rows lie in their file.
    fn place(&self) -> Range<u64> {
        bytes_of(self.placed, &self.rows)
    }

    /// Those bytes of them that are this run's to write.
    fn own(&self) -> Range<u64> {
        own(self.sink, self.placed, &self.rows)
    }

    /// Whether others write some of the bytes: then no journal can tell of the piece.
    fn is_divided(&self) -> bool {
        self.own() != self.place()
    }

    fn write(&self) -> Result<()> {
        let (place, own) = (self.place(), self.own());
        let within = |at: u64| usize::try_from(at - place.start).unwrap_or(usize::MAX);
        let Some(bytes) = self.bytes.get(within(own.start)..within(own.end)) else { return Ok(()) };
        write_all_at(self.sink.to_write(self.placed.file)?, bytes, own.start)
            .map_err(|e| Error::io(&e, &self.sink.layout().target))?;
        if self.is_divided() {
            return Ok(());
        }
        self.sink.journal().add(self.index, self.rows.start, self.bytes)
    }

    /// Whether an earlier run has written the rows; what lies there is read.
    fn is_written(&mut self) -> Result<bool> {
        let (journal, first) = (self.sink.journal(), self.rows.start);
        if !journal.knows(self.index, first) || self.is_divided() {
            return Ok(false);
        }
        let (file, place) = (self.sink.to_read(self.placed.file)?, self.place());
        read_all_at(file, self.bytes, place.start).map_err(|e| Error::io(&e, &self.sink.layout().target))?;
        Ok(journal.holds(self.index, first, self.bytes))
    }
}

/// Writes some rows of a tensor in every output that holds it; the bytes of each.
fn write_piece<S: Sink>(
    outputs: &[S],
    members: &[(usize, usize)],
    rows: &Range<usize>,
    buffers: &mut Vec<Vec<u8>>,
) -> Result<Vec<u64>> {
    buffers.resize_with(buffers.len().max(members.len()), Vec::new);
    let shares =
        members.iter().zip(buffers).map(|(member, buffer)| Share::new(outputs, *member, rows, buffer));
    let mut shares: Vec<Share<'_, S>> = shares.collect();
    // An output that has its rows may have its name, too, and is not written again.
    let mut missing: Vec<&mut Share<'_, S>> = Vec::new();
    for share in &mut shares {
        if !share.own().is_empty() && !share.is_written()? {
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
    let written = |share: &Share<'_, S>| share.own().end.saturating_sub(share.own().start);
    Ok(shares.iter().map(written).collect())
}
