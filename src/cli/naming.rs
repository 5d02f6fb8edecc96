//! Where an output goes: what was typed, with `{type}`, `{name}` and `{weight}` filled in and the ending of what is
//! written; or the name that it has by default. The same for every verb that writes a type.

use crate::pipeline::Plan;
use crate::text::is_obeyed;
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

/// Endings of other things than GGUF files and directories, by which other programs would take an output for one.
const OTHERS: [&str; 11] =
    ["safetensors", "bin", "pt", "pth", "ckpt", "json", "onnx", "ggml", "h5", "npz", "zip"];

/// How the outputs of a run are called.
pub(super) struct Naming<'a> {
    /// What was typed for all of them.
    pub typed: Option<PathBuf>,
    /// Whether there are several.
    pub several: bool,
    /// What an output is called if nothing was typed.
    pub default: &'a dyn Fn(&Plan) -> PathBuf,
}

impl Naming<'_> {
    /// The path of this output; `weight` is that of a merge.
    ///
    /// # Errors
    /// The ending belongs to another type, or `{weight}` is asked for where there is none.
    pub fn path(&self, plan: &Plan, weight: Option<&str>) -> Result<PathBuf> {
        let typed = named(self.typed.clone(), plan, weight)?;
        // A directory among several outputs goes into the folder that all share, too.
        let shared = self.several && self.typed == typed;
        Ok(destination(typed, (self.default)(plan), plan.is_directory() && !shared))
    }

    /// Each plan with its path.
    ///
    /// # Errors
    /// Those of `path`.
    pub fn all(&self, plans: Vec<Plan>) -> Result<Vec<(Plan, PathBuf)>> {
        let named = |plan| self.path(&plan, None).map(|path| (plan, path));
        plans.into_iter().map(named).collect()
    }
}

/// Where an output goes: as it was typed; into the folder that was, under the name that it has by default.
pub(super) fn destination(typed: Option<PathBuf>, default: PathBuf, is_directory: bool) -> PathBuf {
    match typed {
        None => default,
        Some(path) if !is_directory && is_folder(&path) => path.join(default.file_name().unwrap_or_default()),
        Some(path) => path,
    }
}

/// Whether a path is meant as a folder: it is one, or ends as one.
fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator)
}

/// What `typed` means for this plan; `weight` stands for that of a merge.
fn named(typed: Option<PathBuf>, plan: &Plan, weight: Option<&str>) -> Result<Option<PathBuf>> {
    let Some(typed) = typed else { return Ok(None) };
    let path = filled(typed, plan, weight)?;
    match plan.is_directory() {
        true => directory(&path, plan).map(|()| Some(path)),
        false => gguf(path, &plan.encoding()).map(Some),
    }
}

/// Where the adapter for `task` of the model at `path` goes.
pub(super) fn of_task(path: &Path, task: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("lora-{task}-{name}"))
}

/// A name for a model: some text on one line.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err(String::from("the name is empty")),
        name if name.chars().any(is_obeyed) => Err(String::from("the name holds control characters")),
        name => Ok(name.to_string()),
    }
}

fn filled(path: PathBuf, plan: &Plan, weight: Option<&str>) -> Result<PathBuf> {
    // What is not text holds no word of ours that could be put in without harm.
    let Some(text) = path.to_str().filter(|text| text.contains('{')) else { return Ok(path) };
    if text.contains("{weight}") && weight.is_none() {
        return Err(Error::usage("there is no weight to put into the name")
            .file(&path)
            .expected("{type} or {name}")
            .found("{weight}"));
    }
    let filled = text.replace("{type}", &plan.encoding()).replace("{ftype}", &plan.encoding());
    let filled = filled.replace("{name}", &plan.stem()).replace("{weight}", weight.unwrap_or_default());
    Ok(PathBuf::from(filled))
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|ending| ending.to_str())
}

fn directory(path: &Path, plan: &Plan) -> Result<()> {
    if is_taken_as_it_is(path) {
        return Ok(());
    }
    let is_file = |e: &str| e.eq_ignore_ascii_case("gguf") || is_one_of(e, &OTHERS);
    if !ending(path).is_some_and(is_file) {
        return Ok(());
    }
    Err(Error::usage(format!("the type {} is a directory of files", plan.kind.name()))
        .file(path)
        .expected("the name of a directory")
        .hint("leave out the ending, or choose the --type of a GGUF such as Q8_0"))
}

/// The name of a GGUF file of the type `kind`.
///
/// # Errors
/// Its ending is that of something else.
pub(super) fn gguf(mut path: PathBuf, kind: &str) -> Result<PathBuf> {
    if is_taken_as_it_is(&path) {
        return Ok(path);
    }
    match ending(&path) {
        Some(e) if is_one_of(e, &OTHERS) => Err(Error::usage(format!("the type {kind} is a GGUF file"))
            .file(&path)
            .expected("a name that ends in .gguf")
            .hint("choose another name, or --type safetensors")),
        Some(e) if e.eq_ignore_ascii_case("gguf") => Ok(path),
        // What follows the dot, if there is one, is part of the name.
        _ => {
            path.as_mut_os_string().push(".gguf");
            Ok(path)
        }
    }
}

/// A folder, in which the output gets its default name, or a device.
fn is_taken_as_it_is(path: &Path) -> bool {
    let is_other = std::fs::metadata(path).is_ok_and(|m| !m.is_file());
    is_other || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn is_one_of(ending: &str, others: &[&str]) -> bool {
    others.iter().any(|other| ending.eq_ignore_ascii_case(other))
}
