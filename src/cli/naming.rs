//! The name of an output that was typed: `{type}`, `{name}` and `{weight}` are filled in, and its ending must be that
//! of what is written. The same for every verb that writes a type.

use crate::output::target::Type;
use crate::pipeline::Plan;
use crate::text::is_obeyed;
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

/// Endings of other things than GGUF files and directories, by which other programs would take an output for one.
const OTHERS: [&str; 8] = ["safetensors", "bin", "pt", "pth", "ckpt", "json", "onnx", "ggml"];

/// What `typed` means for this plan; `weight` stands for that of a merge.
///
/// # Errors
/// The ending belongs to another type, or `{weight}` is asked for where there is none.
pub(super) fn named(typed: Option<PathBuf>, plan: &Plan, weight: Option<&str>) -> Result<Option<PathBuf>> {
    let Some(typed) = typed else { return Ok(None) };
    let path = filled(typed, plan, weight)?;
    // A folder, in which the output gets its default name, or a device.
    let is_other = std::fs::metadata(&path).is_ok_and(|m| !m.is_file());
    if is_other || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(Some(path));
    }
    match plan.is_directory() {
        true => directory(&path, plan).map(|()| Some(path)),
        false => file(path, plan).map(Some),
    }
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
    let is_file = |e: &str| e.eq_ignore_ascii_case("gguf") || is_one_of(e, &OTHERS);
    if !ending(path).is_some_and(is_file) {
        return Ok(());
    }
    Err(Error::usage(format!("the type {} is a directory of files", plan.kind.name()))
        .file(path)
        .expected("the name of a directory")
        .hint("leave out the ending, or choose the --type of a GGUF such as Q8_0"))
}

fn file(mut path: PathBuf, plan: &Plan) -> Result<PathBuf> {
    match ending(&path) {
        Some(e) if is_one_of(e, &OTHERS) => {
            Err(Error::usage(format!("the type {} is a GGUF file", plan.encoding()))
                .file(&path)
                .expected("a name that ends in .gguf")
                .hint("choose another name, or --type safetensors"))
        }
        // What follows the dot is a number, or a type: part of the name.
        Some(e) if e.starts_with(|c: char| c.is_ascii_digit()) || Type::parse(e).is_ok() => {
            path.as_mut_os_string().push(".gguf");
            Ok(path)
        }
        Some(_) => Ok(path),
        None => {
            path.as_mut_os_string().push(".gguf");
            Ok(path)
        }
    }
}

fn is_one_of(ending: &str, others: &[&str]) -> bool {
    others.iter().any(|other| ending.eq_ignore_ascii_case(other))
}
