//! The writer that all containers share. A container plans its files as a `Layout`, which fixes every offset from
//! names, shapes and dtypes alone; then rows are pulled in parallel chunks and written where they belong, so
//! the bytes do not depend on the threads. Files grow beside the target and take its name only when they are
//! whole, synced and read back by the strict reader.

mod behind;
mod partial;

use crate::error::{Error, Kind, Result};
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::tensor::{Shape, Tensor};
use partial::{Directory, Partial};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Weights that a thread writes at a time, unless a single row is longer.
pub const CHUNK: usize = 1 << 18;

/// Weights that are computed at a time, unless a single row is longer: what lies between the steps of the line stays
/// in the core's own cache.
pub const BLOCK: usize = 1 << 13;

/// Is told how a write goes on. Called from many threads.
pub trait Watch: Sync {
    /// `bytes` more of tensor `index` of output `output` are written; `finished` with its last ones.
    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool);

    /// Whether to stop; asked between chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A container as it is going to be: everything but the weights, and the place of every weight.
pub struct Layout<'a> {
    /// The final name, written over if it is there: of the only file, or of the directory that holds the files. Several
    /// files without a directory stand beside each other where this would.
    pub(crate) target: PathBuf,
    pub(crate) is_directory: bool,
    pub(crate) files: Vec<Planned>,
    pub(crate) tensors: Vec<Placed<'a>>,
}

/// One file of a container.
pub(crate) struct Planned {
    /// Its name, in the directory or beside the target; empty for the only file of a container.
    pub name: String,
    /// What it starts with: a header, or all of a file without tensors.
    pub head: Vec<u8>,
    /// Bytes of the whole file.
    pub total: u64,
    /// Reads the finished file strictly: what it holds. None for files without tensors.
    pub read: Option<Reader>,
}

/// Reads a file strictly: the tensors that it holds.
pub(crate) type Reader = fn(&Mapping) -> Result<Vec<Held>>;

/// A tensor and where its rows go.
pub(crate) struct Placed<'a> {
    pub tensor: &'a Tensor,
    /// Its name in the file. Outputs share the work on tensors whose own names are equal.
    pub name: &'a str,
    /// Which of the files.
    pub file: usize,
    /// Where it starts in the file.
    pub offset: u64,
}

/// A tensor that a reader found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub offset: u64,
    pub name: String,
    /// Without trailing ones.
    pub ne: Vec<u64>,
    pub dtype: String,
}

impl Held {
    pub fn new(name: &str, shape: &Shape, dtype: DType, offset: u64) -> Held {
        Held { offset, name: name.to_string(), ne: shape.significant().to_vec(), dtype: dtype.to_string() }
    }
}

impl Layout<'_> {
    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.files.iter().map(|f| f.total).fold(0, u64::saturating_add)
    }

    /// The files as they will be called, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| self.path(f)).collect()
    }

    fn path(&self, file: &Planned) -> PathBuf {
        match (self.is_directory, file.name.is_empty()) {
            (true, _) => self.target.join(&file.name),
            (false, true) => self.target.clone(),
            (false, false) => self.target.with_file_name(&file.name),
        }
    }

    /// The files in order: what each is called, how many tensors it holds, and its bytes.
    pub fn parts(&self) -> Vec<Part> {
        let mut tensors = vec![0; self.files.len()];
        self.tensors.iter().for_each(|t| tensors[t.file] += 1);
        let part =
            |(file, tensors): (&Planned, usize)| Part { path: self.path(file), tensors, bytes: file.total };
        self.files.iter().zip(tensors).map(part).collect()
    }
}

/// One file of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub path: PathBuf,
    pub tensors: usize,
    pub bytes: u64,
}

/// Writes all `layouts` at once, tensor by tensor, so that rows which they share are read once. Nothing takes its
/// name before all are whole. Runs on the current rayon pool.
pub fn write(layouts: &[Layout<'_>], watch: &dyn Watch) -> Result<()> {
    let mut outputs = Vec::with_capacity(layouts.len());
    for layout in layouts {
        outputs.push(Growing::create(layout)?);
    }
    let files: Vec<&File> = outputs.iter().flat_map(|o| &o.files).map(|f| &f.file).collect();
    let written = AtomicU64::new(0);
    let (rows, synced) = behind::during(&files, &written, || write_rows(&outputs, &written, watch));
    rows?;
    if let (Err(e), Some(first)) = (synced, layouts.first()) {
        return Err(Error::io(&e, &first.target));
    }
    outputs.iter().try_for_each(Growing::finish)?;
    outputs.into_iter().try_for_each(Growing::publish)
}

/// A container that is being written.
struct Growing<'a> {
    layout: &'a Layout<'a>,
    /// One for each file of the layout. Dropped before their directory, which could not go otherwise.
    files: Vec<Partial>,
    directory: Option<Directory>,
}

impl<'a> Growing<'a> {
    fn create(layout: &'a Layout<'a>) -> Result<Growing<'a>> {
        let directory = layout.is_directory.then(|| Directory::create(&layout.target)).transpose()?;
        let mut files = Vec::with_capacity(layout.files.len());
        for planned in &layout.files {
            let path = match &directory {
                Some(directory) => directory.path().join(&planned.name),
                None => partial::beside(&layout.path(planned)),
            };
            let file = Partial::create(path, planned.total)?;
            write_all_at(&file.file, &planned.head, 0).map_err(|e| Error::io(&e, &file.path))?;
            files.push(file);
        }
        Ok(Growing { layout, files, directory })
    }

    /// Syncs the files and holds them against the plan, with the strict reader.
    fn finish(&self) -> Result<()> {
        for (i, (planned, file)) in self.layout.files.iter().zip(&self.files).enumerate() {
            file.file.sync_all().map_err(|e| Error::io(&e, &file.path))?;
            let placed = self.layout.tensors.iter().filter(|p| p.file == i);
            let expected = placed.map(|p| Held::new(p.name, p.tensor.shape(), p.tensor.dtype(), p.offset));
            read_back(planned, expected.collect(), &file.path)?;
        }
        Ok(())
    }

    fn publish(self) -> Result<()> {
        match self.directory {
            Some(directory) => {
                self.files.into_iter().for_each(Partial::close);
                directory.publish(&self.layout.target)
            }
            None => partial::publish(self.files.into_iter().zip(self.layout.paths()).collect()),
        }
    }
}

fn read_back(planned: &Planned, mut expected: Vec<Held>, path: &Path) -> Result<()> {
    let wrong = |what: &str| Error::new(Kind::Verification, what).file(path);
    let file = Mapping::open(path)?;
    let length = file.bytes().len() as u64;
    if length != planned.total {
        return Err(wrong("the finished file has a wrong length").expected(planned.total).found(length));
    }
    let mut held = planned.read.map_or(Ok(Vec::new()), |read| read(&file))?;
    expected.sort();
    held.sort();
    if held == expected { Ok(()) } else { Err(wrong("the finished file does not hold what was planned")) }
}

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

fn write_rows(outputs: &[Growing<'_>], written: &AtomicU64, watch: &dyn Watch) -> Result<()> {
    let (groups, pieces) = pieces(outputs)?;
    let done: Vec<AtomicUsize> = groups.iter().map(|_| AtomicUsize::new(0)).collect();
    let next = AtomicUsize::new(0);
    let failure = FirstFailure::default();
    rayon::broadcast(|_| {
        let mut buffers = Vec::new();
        while !failure.happened() {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(i) else { break };
            if watch.cancelled() {
                failure.set(i, Error::new(Kind::Interrupted, "stopped by a signal; nothing was left behind"));
                break;
            }
            let members = &groups[piece.group].members;
            let result = write_piece(outputs, members, &piece.rows, &mut buffers);
            for (output, index) in members {
                outputs[*output].layout.tensors[*index].tensor.release(piece.rows.clone());
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
                Err(e) => failure.set(i, e),
            }
        }
    });
    failure.into_result()
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
            let step = (CHUNK / t.row_elements()?.max(1)).max(1);
            let (group, count) = (groups.len(), rows.div_ceil(step));
            let range = |i: usize| i * step..rows.min((i + 1).saturating_mul(step));
            pieces.extend((0..count).map(|i| Piece { group, rows: range(i) }));
            groups.push(Group { members: vec![(output, index)], pieces: count });
            known.insert(&t.name, (group, t));
        }
    }
    Ok((groups, pieces))
}

/// Writes some rows of a tensor in every output that holds it; the bytes written to each.
fn write_piece(
    outputs: &[Growing<'_>],
    members: &[(usize, usize)],
    rows: &Range<usize>,
    buffers: &mut Vec<Vec<u8>>,
) -> Result<Vec<u64>> {
    buffers.resize_with(buffers.len().max(members.len()), Vec::new);
    let member = |(output, index): &(usize, usize)| {
        let growing = &outputs[*output];
        (growing, &growing.layout.tensors[*index])
    };
    for ((_, placed), buffer) in members.iter().map(member).zip(buffers.iter_mut()) {
        buffer.resize(rows.len() * placed.tensor.row_bytes(), 0);
    }
    let step =
        members.first().map_or(Ok(1), |m| Ok((BLOCK / member(m).1.tensor.row_elements()?.max(1)).max(1)))?;
    let mut done = 0;
    while done < rows.len() {
        let next = (done + step).min(rows.len());
        for ((growing, Placed { tensor, .. }), buffer) in members.iter().map(member).zip(buffers.iter_mut()) {
            let out = &mut buffer[done * tensor.row_bytes()..next * tensor.row_bytes()];
            let read = tensor.read(rows.start + done..rows.start + next, out);
            read.map_err(|e| e.tensor(&tensor.name).file(&growing.layout.target))?;
        }
        done = next;
    }
    let mut written = Vec::with_capacity(members.len());
    for ((growing, placed), buffer) in members.iter().map(member).zip(buffers.iter()) {
        let at = placed.offset + rows.start as u64 * placed.tensor.row_bytes() as u64;
        let io = |e| Error::io(&e, &growing.layout.target);
        write_all_at(&growing.files[placed.file].file, buffer, at).map_err(io)?;
        written.push(buffer.len() as u64);
    }
    Ok(written)
}

#[cfg(unix)]
fn write_all_at(file: &File, data: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, at)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut data: &[u8], mut at: u64) -> std::io::Result<()> {
    while !data.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, data, at)?;
        data = &data[n..];
        at += n as u64;
    }
    Ok(())
}
