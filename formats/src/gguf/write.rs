//! Writes a model as GGUF. `Layout::plan` fixes every offset from names, shapes and dtypes alone; then rows are
//! pulled in parallel chunks and written where they belong, so the bytes do not depend on the threads.
//! The file grows beside the target and takes its name only when it is whole, synced and read back.

use super::read::Header;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_NAME, VERSION, kind, pad};
use crate::error::{Error, Kind, Result};
use crate::metadata::{Array, Metadata, Value};
use crate::mmap::Mapping;
use crate::model::Model;
use crate::tensor::Tensor;
use fs4::FileExt;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Weights that a thread holds at a time, unless a single row is longer.
pub const CHUNK: usize = 1 << 18;

/// A file to write.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    pub model: &'a Model,
    /// Written over, if it is there.
    pub path: &'a Path,
}

/// Is told how a write goes on. Called from many threads.
pub trait Watch: Sync {
    /// `bytes` more of tensor `index` of output `output` are written; `finished` with its last ones.
    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool);

    /// Whether to stop; asked between chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Where everything goes in the file.
pub struct Layout {
    header: Vec<u8>,
    /// Where each tensor's data starts in the file.
    offsets: Vec<u64>,
    total: u64,
}

impl Layout {
    /// Plans the file of `model`; touches no weight.
    pub fn plan(model: &Model) -> Result<Layout> {
        let alignment = alignment(&model.metadata)?;
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend((model.tensors.len() as u64).to_le_bytes());
        header.extend((model.metadata.len() as u64).to_le_bytes());
        for (key, value) in model.metadata.iter() {
            if key.is_empty() {
                return Err(Error::invalid("a metadata key is empty"));
            }
            put_str(&mut header, key.as_bytes());
            put_value(&mut header, value);
        }
        let mut names = HashSet::new();
        let mut offset = 0;
        let mut offsets = Vec::with_capacity(model.tensors.len());
        for t in &model.tensors {
            if !names.insert(t.name.as_str()) {
                return Err(Error::invalid("two tensors have this name").tensor(&t.name));
            }
            put_tensor(&mut header, t, offset)?;
            offsets.push(offset);
            offset = offset.checked_add(t.bytes()).and_then(|n| pad(n, alignment)).ok_or_else(|| {
                Error::invalid("the tensors are larger than any file can be").tensor(&t.name)
            })?;
        }
        let start = pad(header.len() as u64, alignment).unwrap_or(u64::MAX);
        let total = start.checked_add(offset);
        let total = total.ok_or_else(|| Error::invalid("the model is larger than any file can be"))?;
        offsets.iter_mut().for_each(|o| *o += start);
        Ok(Layout { header, offsets, total })
    }

    /// Bytes of the whole file.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Writes all `outputs` at once, tensor by tensor, so that rows which they share are read once. They hold the same
/// tensors in the same order. No file takes its name before all are whole. Runs on the current rayon pool.
pub fn write(outputs: &[Output<'_>], watch: &dyn Watch) -> Result<()> {
    let mut files = Vec::with_capacity(outputs.len());
    for output in outputs {
        let layout = Layout::plan(output.model)?;
        let partial = Partial::create(output.path, layout.total)?;
        write_all_at(&partial.file, &layout.header, 0).map_err(|e| Error::io(&e, &partial.path))?;
        files.push(Growing { model: output.model, target: output.path, layout, partial });
    }
    write_rows(&files, watch)?;
    for f in &files {
        f.partial.file.sync_all().map_err(|e| Error::io(&e, &f.partial.path))?;
        read_back(f.model, &f.layout, &f.partial.path)?;
    }
    files.into_iter().try_for_each(|f| f.partial.publish(f.target))
}

/// A file that is being written.
struct Growing<'a> {
    model: &'a Model,
    target: &'a Path,
    layout: Layout,
    partial: Partial,
}

/// A piece of the work: some rows of one tensor, of every output.
struct Piece {
    tensor: usize,
    rows: Range<usize>,
    /// How many pieces the tensor has.
    pieces: usize,
}

fn write_rows(files: &[Growing<'_>], watch: &dyn Watch) -> Result<()> {
    let pieces = pieces(files)?;
    let count = files.first().map_or(0, |f| f.model.tensors.len());
    let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let next = AtomicUsize::new(0);
    let failure = FirstFailure::default();
    rayon::broadcast(|_| {
        let mut buffer = Vec::new();
        while !failure.happened() {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(i) else { break };
            if watch.cancelled() {
                failure.set(i, Error::new(Kind::Interrupted, "stopped by a signal; nothing was left behind"));
                break;
            }
            let written =
                files.iter().map(|f| write_piece(f, piece, &mut buffer)).collect::<Result<Vec<u64>>>();
            files.iter().for_each(|f| f.model.tensors[piece.tensor].release(piece.rows.clone()));
            match written {
                Ok(bytes) => {
                    let last = done[piece.tensor].fetch_add(1, Ordering::Relaxed) + 1 == piece.pieces;
                    bytes.iter().enumerate().for_each(|(f, n)| watch.advance(f, piece.tensor, *n, last));
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

fn pieces(files: &[Growing<'_>]) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let Some((first, others)) = files.split_first() else { return Ok(pieces) };
    for (tensor, t) in first.model.tensors.iter().enumerate() {
        let same = |f: &Growing<'_>| {
            f.model.tensors.get(tensor).is_some_and(|o| o.name == t.name && o.shape() == t.shape())
        };
        if !others.iter().all(same) {
            return Err(Error::invalid("the outputs do not hold the same tensors").tensor(&t.name));
        }
        let rows = usize::try_from(t.shape().rows())
            .map_err(|_| Error::invalid("the tensor has too many rows").tensor(&t.name))?;
        let step = (CHUNK / t.row_elements()?.max(1)).max(1);
        let count = rows.div_ceil(step);
        let range = |i: usize| i * step..rows.min((i + 1).saturating_mul(step));
        pieces.extend((0..count).map(|i| Piece { tensor, rows: range(i), pieces: count }));
    }
    Ok(pieces)
}

/// Writes one piece of one output; the bytes written.
fn write_piece(f: &Growing<'_>, piece: &Piece, buffer: &mut Vec<u8>) -> Result<u64> {
    let t = &f.model.tensors[piece.tensor];
    let at = f.layout.offsets[piece.tensor] + piece.rows.start as u64 * t.row_bytes() as u64;
    let bytes = piece.rows.len() * t.row_bytes();
    let rows = t.rows();
    let data = match rows.borrow(piece.rows.clone()) {
        Some(data) => data,
        None => {
            buffer.resize(bytes, 0);
            rows.read(piece.rows.clone(), buffer).map_err(|e| e.tensor(&t.name).file(f.target))?;
            buffer
        }
    };
    write_all_at(&f.partial.file, data, at).map_err(|e| Error::io(&e, f.target))?;
    Ok(bytes as u64)
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

/// Holds the finished file against the plan, with the strict reader.
fn read_back(model: &Model, layout: &Layout, path: &Path) -> Result<()> {
    let wrong = |what: &str| Error::new(Kind::Verification, what).file(path);
    let file = Mapping::open(path)?;
    if file.bytes().len() as u64 != layout.total {
        return Err(wrong("the finished file has a wrong length")
            .expected(layout.total)
            .found(file.bytes().len()));
    }
    let header = Header::parse(file.bytes(), path)?;
    let same = header.tensors.len() == model.tensors.len()
        && header.tensors.iter().zip(&model.tensors).zip(&layout.offsets).all(|((entry, t), offset)| {
            entry.name == t.name && entry.dtype == t.dtype() && header.data_offset + entry.offset == *offset
        });
    if same { Ok(()) } else { Err(wrong("the finished file does not hold what was planned")) }
}

/// The growing file: locked, beside the target, and gone unless it is published.
struct Partial {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Partial {
    fn create(target: &Path, bytes: u64) -> Result<Partial> {
        let mut name = target.file_name().map_or_else(OsString::new, |n| n.to_os_string());
        name.push(".partial");
        let path = target.with_file_name(name);
        let io = |e: std::io::Error| Error::io(&e, &path);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        file.try_lock().map_err(|_| {
            Error::new(Kind::Io, "another run is writing this file")
                .file(&path)
                .mend("wait for it, or choose another output with -o")
        })?;
        let partial = Partial { path: path.clone(), file, published: false };
        partial.file.set_len(0).map_err(io)?;
        // Reserving the room now lets a full disk show before any work is done.
        match FileExt::allocate(&partial.file, bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => Err(Error::io(&e, &path)
                .expected(format!("{bytes} bytes of free space"))
                .mend("free some space, or choose another disk with -o")),
            _ => {
                partial.file.set_len(bytes).map_err(io)?;
                Ok(partial)
            }
        }
    }

    fn publish(mut self, target: &Path) -> Result<()> {
        std::fs::rename(&self.path, target).map_err(|e| Error::io(&e, target))?;
        self.published = true;
        sync_directory(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done if removing fails; the name tells what the file is.
            _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the rename itself durable.
fn sync_directory(target: &Path) -> Result<()> {
    if cfg!(unix) {
        let dir = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(&e, dir))?;
    }
    Ok(())
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(n)) if n.is_power_of_two() && u64::from(*n) <= MAX_ALIGNMENT => Ok(u64::from(*n)),
        Some(other) => Err(Error::invalid("general.alignment must be a power of two")
            .expected(format!("a u32 from 1 to {MAX_ALIGNMENT}"))
            .found(format!("{other:?}"))),
    }
}

fn put_tensor(out: &mut Vec<u8>, t: &Tensor, offset: u64) -> Result<()> {
    if t.name.is_empty() || t.name.len() >= MAX_NAME {
        return Err(Error::invalid("a tensor name has a wrong length for GGUF")
            .tensor(&t.name)
            .expected(format!("1 to {} bytes", MAX_NAME - 1))
            .found(format!("{} bytes", t.name.len())));
    }
    let id = t.dtype().traits().id.ok_or_else(|| {
        Error::unsupported(format!("GGUF has no dtype {}", t.dtype()))
            .tensor(&t.name)
            .mend("choose a --type that it can be converted to")
    })?;
    put_str(out, t.name.as_bytes());
    let ne = t.shape().significant();
    out.extend((ne.len() as u32).to_le_bytes());
    ne.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(())
}

fn put_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn put(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    }
    match value {
        Value::U8(x) => put(out, kind::U8, &x.to_le_bytes()),
        Value::I8(x) => put(out, kind::I8, &x.to_le_bytes()),
        Value::U16(x) => put(out, kind::U16, &x.to_le_bytes()),
        Value::I16(x) => put(out, kind::I16, &x.to_le_bytes()),
        Value::U32(x) => put(out, kind::U32, &x.to_le_bytes()),
        Value::I32(x) => put(out, kind::I32, &x.to_le_bytes()),
        Value::F32(x) => put(out, kind::F32, &x.to_le_bytes()),
        Value::Bool(x) => put(out, kind::BOOL, &[u8::from(*x)]),
        Value::U64(x) => put(out, kind::U64, &x.to_le_bytes()),
        Value::I64(x) => put(out, kind::I64, &x.to_le_bytes()),
        Value::F64(x) => put(out, kind::F64, &x.to_le_bytes()),
        Value::Str(x) => {
            out.extend(kind::STR.to_le_bytes());
            put_str(out, x);
        }
        Value::Array(a) => {
            out.extend(kind::ARRAY.to_le_bytes());
            put_array(out, a);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn put<T: Copy, const N: usize>(out: &mut Vec<u8>, kind: u32, items: &[T], bytes: impl Fn(T) -> [u8; N]) {
        out.extend(kind.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|x| out.extend(bytes(*x)));
    }
    match array {
        Array::U8(a) => put(out, kind::U8, a, u8::to_le_bytes),
        Array::I8(a) => put(out, kind::I8, a, i8::to_le_bytes),
        Array::U16(a) => put(out, kind::U16, a, u16::to_le_bytes),
        Array::I16(a) => put(out, kind::I16, a, i16::to_le_bytes),
        Array::U32(a) => put(out, kind::U32, a, u32::to_le_bytes),
        Array::I32(a) => put(out, kind::I32, a, i32::to_le_bytes),
        Array::F32(a) => put(out, kind::F32, a, f32::to_le_bytes),
        Array::Bool(a) => put(out, kind::BOOL, a, |x| [u8::from(x)]),
        Array::U64(a) => put(out, kind::U64, a, u64::to_le_bytes),
        Array::I64(a) => put(out, kind::I64, a, i64::to_le_bytes),
        Array::F64(a) => put(out, kind::F64, a, f64::to_le_bytes),
        Array::Str(a) => {
            out.extend(kind::STR.to_le_bytes());
            out.extend((a.len() as u64).to_le_bytes());
            a.iter().for_each(|text| put_str(out, text));
        }
    }
}
