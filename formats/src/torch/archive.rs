//! The zip archive that PyTorch writes since 1.4: `NAME/data.pkl`, `NAME/data/KEY` for each storage, and a few words.
//! The `zip` crate reads the directory and holds it against every member's own header; what maps must be stored as it is.
//! Specification: PKWARE's APPNOTE; `caffe2/serialize/inline_container.h` of PyTorch.

use crate::error::{Error, Kind, Result};
use crate::mmap::Mapping;
use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// What an archive begins with.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// The end record of an archive without a comment.
const END: usize = 22;
/// The same of archives of 4 GiB and more, and what points to it: both lie before the end record.
const LARGE_END: usize = 56 + 20;
const LARGE_END_MAGIC: &[u8] = b"PK\x06\x06";

/// A directory may be as long, or a part of the file.
const MOST_DIRECTORY: u64 = 2 << 20;
const PART: u64 = 1024;

/// Where everything lies in the file.
#[derive(Debug)]
pub struct Archive {
    pub pickle: Range<u64>,
    /// The members `data/KEY`.
    pub storages: HashMap<String, Range<u64>>,
}

impl Archive {
    /// Reads the directory of `file`.
    pub fn open(file: &Mapping) -> Result<Archive> {
        let members = members(file)?;
        let prefixes: Vec<&str> = members.keys().filter_map(|name| name.strip_suffix("/data.pkl")).collect();
        let prefix = match prefixes[..] {
            [prefix] if !prefix.contains('/') => prefix,
            _ => {
                return Err(Error::invalid("this zip archive is no checkpoint of PyTorch")
                    .file(file.path())
                    .expected("one member NAME/data.pkl")
                    .found(format!("{} of {} members", prefixes.len(), members.len())));
            }
        };
        let of = |name: &str| members.get(&format!("{prefix}/{name}"));
        if let Some(order) = of("byteorder")
            && file.slice(order.clone())? != b"little"
        {
            return Err(Error::unsupported("the weights are in another byte order than this program reads")
                .file(file.path())
                .expected("the member byteorder to say little")
                .hint("load it in PyTorch on a machine of little byte order and save it again"));
        }
        let pickle = of("data.pkl").cloned().unwrap_or_default();
        let folder = format!("{prefix}/data/");
        let storage =
            |(name, place): (&String, &Range<u64>)| Some((name.strip_prefix(&folder)?.into(), place.clone()));
        let storages = members.iter().filter_map(storage).collect();
        Ok(Archive { pickle, storages })
    }
}

/// The members of the archive by name, each with the place of its bytes.
fn members(file: &Mapping) -> Result<HashMap<String, Range<u64>>> {
    let directory = directory(file)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive =
        ZipArchive::with_config(config, Cursor::new(file.bytes())).map_err(|e| refused(&e, file))?;
    if archive.central_directory_start() != directory.start {
        return Err(malformed("it has two directories", file));
    }
    if archive.file_names_raw().any(|name| name.ends_with(b"/constants.pkl")) {
        return Err(Error::unsupported("this is a program of TorchScript, not a checkpoint")
            .file(file.path())
            .hint("save the state dict of the model, or use its safetensors files"));
    }
    let mut names = Vec::with_capacity(archive.len());
    for i in 0..archive.len() {
        let member = archive.by_index_data(i).map_err(|e| refused(&e, file))?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let wrong = |kind: Kind, what: &str| {
            Error::new(kind, what).file(file.path()).found(format!("the member '{name}'"))
        };
        if !crate::inside::stays_inside(&name) || member.is_dir() || member.is_symlink() {
            return Err(wrong(
                Kind::Invalid,
                "a member of the zip archive has a name that no checkpoint needs",
            ));
        }
        if member.encrypted() {
            return Err(wrong(Kind::Unsupported, "the zip archive is encrypted"));
        }
        if member.compression() != CompressionMethod::Stored {
            return Err(wrong(Kind::Unsupported, "the zip archive is compressed, which PyTorch never does")
                .hint("load it in PyTorch and save it again"));
        }
        if member.compressed_size() != member.size() {
            return Err(wrong(Kind::Invalid, "a member of the zip archive has two sizes"));
        }
        names.push((name, member.size()));
    }
    // Headers of members against the directory: names, sizes, duplicates, overlaps, and members that it does not list.
    archive.validate_header_consistency().map_err(|e| refused(&e, file))?;
    let mut members = HashMap::with_capacity(names.len());
    for (i, (name, size)) in names.into_iter().enumerate() {
        let member = archive.by_index_raw(i).map_err(|e| refused(&e, file))?;
        let start = member.data_start().ok_or_else(|| malformed("a member has no data", file))?;
        members.insert(name, start..start.saturating_add(size));
    }
    Ok(members)
}

/// The central directory by the record at the very end, which it must touch and nothing may follow; its length is held
/// against that of the file, because the members are listed in memory.
fn directory(file: &Mapping) -> Result<Range<u64>> {
    let bytes = file.bytes();
    let cut = || malformed("its directory is not at its end", file);
    let at = bytes.len().checked_sub(END).ok_or_else(cut)?;
    let [0x50, 0x4b, 5, 6, _, _, _, _, _, _, _, _, size @ .., 0, 0] = &bytes[at..] else { return Err(cut()) };
    let number = |at: usize| size[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let small = [number(0), number(4)];
    // PyTorch writes the record of large archives into small ones too; both must say the same.
    let large = at.checked_sub(LARGE_END).filter(|at| bytes[*at..].starts_with(LARGE_END_MAGIC));
    let number = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let [size, start] = large.map_or(small.map(u64::from), |at| [number(at + 40), number(at + 48)]);
    let same = |small: u32, large: u64| u64::from(small) == large || small == u32::MAX;
    let is_whole = start.checked_add(size) == Some(large.unwrap_or(at) as u64);
    if !(is_whole && same(small[0], size) && same(small[1], start)) {
        return Err(cut());
    }
    let most = MOST_DIRECTORY.max(bytes.len() as u64 / PART);
    if size > most {
        return Err(Error::unsupported(
            "the zip archive has more members than a checkpoint of this size needs",
        )
        .file(file.path())
        .expected(format!("a directory of at most {most} bytes"))
        .found(size));
    }
    Ok(start..start + size)
}

fn refused(e: &ZipError, file: &Mapping) -> Error {
    malformed(&e.to_string(), file)
}

fn malformed(what: &str, file: &Mapping) -> Error {
    Error::invalid(format!("the zip archive is malformed: {what}"))
        .file(file.path())
        .found(format!("{} bytes", file.bytes().len()))
        .hint("the file is truncated or damaged: copy or download it again")
}
