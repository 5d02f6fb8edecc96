//! Folders inside a directory that is written: those of the modules of sentence-transformers, which `modules.json` lists
//! (`1_Pooling`, `2_Dense`). They are one level deep, grow with the directory and get their names with it.
//! Specification: `modules.json` of sentence-transformers.

use super::files::{existing, id_of, name_in, names, remove_if, sync_directory};
use super::in_the_way;
use super::journal::Journal;
use crate::error::{Error, Result};
use crate::write::layout::Layout;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// What a model directory may hold beside its weights and `config.json`, told by the endings of its files.
const MODEL_FILES: [&str; 8] = ["safetensors", "json", "jsonl", "jinja", "model", "md", "tiktoken", "txt"];

/// The folder of a planned file, if it lies in one.
fn folder_of(name: &str) -> Option<&str> {
    name.split_once('/').map(|(folder, _)| folder)
}

/// The folders that a directory is to have, each once.
fn folders<'a>(layout: &'a Layout<'_>) -> Vec<&'a str> {
    let mut all: Vec<&str> = layout.files.iter().filter_map(|planned| folder_of(&planned.name)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Makes the folders in `growing`, or takes those over that hold nothing but what is ours.
pub fn make(growing: &Path, layout: &Layout<'_>, journal: &Journal) -> Result<()> {
    for folder in folders(layout) {
        let path = growing.join(folder);
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(|e| Error::io(&e, &path))?,
        }
        if !is_folder(&path) {
            return Err(in_the_way(&path));
        }
        for name in names(&path)? {
            let is_planned = |planned: &str| planned.split_once('/') == name.to_str().map(|n| (folder, n));
            if !layout.files.iter().any(|planned| is_planned(&planned.name)) {
                remove_known(&path.join(&name), journal)?;
            }
        }
    }
    Ok(())
}

/// Whether the directory is to have a folder of this name.
pub fn is_planned(layout: &Layout<'_>, name: &OsString) -> bool {
    folders(layout).into_iter().any(|folder| name == folder)
}

/// Removes a file, or a folder of files, that an earlier run has made beside those of the plan.
pub fn remove_known(path: &Path, journal: &Journal) -> Result<()> {
    if is_folder(path) {
        for name in names(path)? {
            remove_file(&path.join(&name), journal)?;
        }
        return std::fs::remove_dir(path).map_err(|e| Error::io(&e, path));
    }
    remove_file(path, journal)
}

fn remove_file(path: &Path, journal: &Journal) -> Result<()> {
    match journal.earlier.files.get(&name_in(journal.folder(), path)) {
        Some(known) if id_of(path).as_ref() == Some(known) => remove_if(path, known),
        _ => Err(in_the_way(path)),
    }
}

/// Makes the entries of the folders durable.
pub fn sync(growing: &Path, layout: &Layout<'_>) -> Result<()> {
    folders(layout).into_iter().try_for_each(|folder| sync_directory(&growing.join(folder)))
}

/// Removes the folders that are empty.
pub fn discard(growing: &Path, layout: &Layout<'_>) {
    folders(layout).into_iter().for_each(|folder| _ = std::fs::remove_dir(growing.join(folder)));
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The list of modules, if it is a file and no larger than such lists are.
fn list(dir: &Path) -> Option<serde_json::Value> {
    const LARGEST: u64 = 1 << 20;
    let file = existing(&dir.join("modules.json")).ok()?;
    file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= LARGEST)?;
    serde_json::from_reader(std::io::BufReader::new(file)).ok()
}

/// The folders in `dir` that its `modules.json` lists and that hold nothing but files of a model.
pub fn modules(dir: &Path) -> Vec<OsString> {
    let json: serde_json::Value = list(dir).unwrap_or_default();
    let listed = json.as_array().into_iter().flatten().filter_map(|module| module.get("path")?.as_str());
    let is_name = |name: &&str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    let is_ours = |path: PathBuf| {
        let only_files = |all: Vec<OsString>| all.iter().all(|name| is_model_file(&path, name));
        is_folder(&path) && names(&path).is_ok_and(only_files)
    };
    listed.filter(is_name).filter(|name| is_ours(dir.join(name))).map(OsString::from).collect()
}

/// Removes the folders of the modules of a directory that holds nothing but a model.
pub fn remove_modules(dir: &Path) {
    for folder in modules(dir).into_iter().map(|name| dir.join(name)) {
        names(&folder).into_iter().flatten().for_each(|name| _ = std::fs::remove_file(folder.join(name)));
        _ = std::fs::remove_dir(folder);
    }
}

/// The ending of a name.
pub fn ending(name: &OsString) -> Option<String> {
    Path::new(name).extension().map(|e| e.to_string_lossy().into_owned())
}

/// Whether it is a file such as models have.
pub fn is_model_file(dir: &Path, name: &OsString) -> bool {
    let known = ending(name).is_some_and(|e| MODEL_FILES.contains(&e.as_str()));
    (known || name == ".gitattributes") && dir.join(name).is_file()
}
