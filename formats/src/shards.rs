//! Shards whose names count them, `STEM-00001-of-00003.safetensors`, beside which there is no index: whether all of them are
//! there is told by their names. Serves directories of safetensors and of PyTorch.

use crate::error::{Error, Result};
use crate::index::{self, Read};
use crate::model::Checkpoint;
use crate::source::Folder;
use crate::twice;
use std::path::{Path, PathBuf};

/// What is said of a checkpoint that is read so.
const NOTE: &str = "there is no index: the shards are those whose names count them";

/// Opens the checkpoint in `dir` that is the files `paths`, if their names count them; none if they do not.
///
/// # Errors
/// One of those that are counted is not there, or two hold a tensor of one name.
pub(crate) fn open(dir: &Path, paths: &[PathBuf], read: Read) -> Result<Option<Checkpoint>> {
    let Some(all) = counted(paths) else { return Ok(None) };
    let missing = |path: &&PathBuf| !paths.contains(path);
    let error = |path: &PathBuf| {
        Error::invalid("this shard is missing")
            .file(path)
            .hint("the names of the others count it: download it")
    };
    if let Some(e) = Error::all(all.iter().filter(missing).map(error).collect()) {
        return Err(e);
    }
    let folder = Folder::default();
    let mut checkpoint =
        Checkpoint { dir: dir.to_path_buf(), folder: folder.clone(), ..Checkpoint::default() };
    index::add(&folder, &all, read, &mut checkpoint, |_, _, _| {})?;
    if let Some(name) = twice(checkpoint.tensors.iter().map(|t| t.name.as_str())) {
        return Err(Error::invalid("two shards hold this tensor").file(dir).tensor(name));
    }
    checkpoint.notes.push(NOTE.into());
    Ok(Some(checkpoint))
}

/// The shards that the names of `paths` count, in their order: all of one stem and one number of shards.
fn counted(paths: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let parsed: Option<Vec<_>> = paths.iter().map(|path| parse(path)).collect();
    let parsed = parsed?;
    let (stem, count) = *parsed.first()?;
    let first = paths.first()?;
    let ending = first.extension()?.to_str()?;
    let same = count > 0 && paths.len() <= count && parsed.iter().all(|other| *other == (stem, count));
    let of = |no| first.with_file_name(format!("{stem}-{no:05}-of-{count:05}.{ending}"));
    let all: Vec<PathBuf> = if same { (1..=count).map(of).collect() } else { return None };
    paths.iter().all(|path| all.contains(path)).then_some(all)
}

/// The stem and the number of shards in a name.
fn parse(path: &Path) -> Option<(&str, usize)> {
    let (rest, count) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (stem, no) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|c| c.is_ascii_digit());
    (is_number(no) && is_number(count)).then(|| Some((stem, count.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_the_shards() {
        let of = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| Path::new("d").join(name)).collect();
            counted(&paths).map(|all| all.len())
        };
        assert_eq!(of(&["m-00001-of-00002.bin", "m-00002-of-00002.bin"]), Some(2));
        assert_eq!(of(&["m-00003-of-00003.bin"]), Some(3));
        assert_eq!(of(&["m-00001-of-00002.bin", "n-00002-of-00002.bin"]), None);
        assert_eq!(of(&["m-00001-of-00002.bin", "m-00002-of-00003.bin"]), None);
        assert_eq!(of(&["m-00000-of-00001.bin"]), None);
        assert_eq!(of(&["m-1-of-2.bin", "m-2-of-2.bin"]), None);
        assert_eq!(of(&[]), None);
    }
}
