//! `ggraft meta get|set|unset`: the metadata of a GGUF file, read and edited where it is.

use super::{naming, signals, stdout};
use crate::chat::{self, dialogue};
use crate::meta::{self, CHAT_TEMPLATE, Change, Edit, Override, Setting, Spelled};
use crate::report::{self, Progress};
use crate::text::shown;
use ggraft_formats::error::Printable;
use ggraft_formats::gguf::{self, Header};
use ggraft_formats::mmap::Mapping;
use ggraft_formats::source::{Access, is_away, is_named};
use ggraft_formats::write::{Rewrite, Way};
use ggraft_formats::{Error, Input, Metadata, Result, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arrays longer than this are only counted where all keys are listed.
const MOST_ITEMS: usize = 16;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show the value of keys, or all keys with their types and values
    #[command(after_help = super::examples::META_GET)]
    Get(Get),
    /// Set keys, new or old
    #[command(after_help = super::examples::META_SET)]
    Set(Set),
    /// Remove keys
    #[command(after_help = super::examples::META_UNSET)]
    Unset(Unset),
}

#[derive(clap::Args)]
struct Get {
    /// A .gguf file; of a split model the first part
    file: PathBuf,
    /// The keys; by default all, of which long arrays are only counted
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Print JSON: every key with its type and value
    #[arg(long)]
    json: bool,
    /// Print the bytes of one string as they are
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

#[derive(clap::Args)]
struct Set {
    /// A .gguf file; of a split model the first part
    file: PathBuf,
    /// The type may be left out where the key has a value or GGUF knows its type, and a token told by its text; else it is
    /// int float bool str, any GGUF type such as i64, or an array such as [u32]:1,2
    #[arg(value_name = "KEY=[TYPE:]VALUE", required_unless_present = "chat_template")]
    values: Vec<Setting>,
    /// Set the chat template to the text of FILE
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
struct Unset {
    /// A .gguf file; of a split model the first part
    file: PathBuf,
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// How an edit is made.
#[derive(clap::Args)]
struct How {
    /// Write the edited model to a new file; by default the file itself is edited
    #[arg(short, long, visible_alias = "outfile", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Make edits that readers would stumble over, and replace an existing output
    #[arg(short, long)]
    force: bool,
    /// Show the changes and stop
    #[arg(long)]
    dry_run: bool,
    /// Print the changes as JSON to stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    show: super::options::Show,
}

pub(super) fn run(args: Args) -> Result<()> {
    match args.verb {
        Verb::Get(args) => get(&args),
        Verb::Set(Set { file, values, chat_template, how }) => {
            let template = chat_template.as_deref().map(template).transpose()?;
            let settings: Vec<Setting> = values.into_iter().chain(template.map(Setting::Typed)).collect();
            let edits = |metadata: &Metadata| {
                settings.into_iter().map(|one| one.over(metadata).map(Edit::Set)).collect()
            };
            edit(&file, edits, &how)
        }
        Verb::Unset(Unset { file, keys, how }) => {
            edit(&file, |_| Ok(keys.into_iter().map(Edit::Unset).collect()), &how)
        }
    }
}

/// Refuses what cannot have such metadata.
fn check_file(file: &Path) -> Result<()> {
    if is_named(file) {
        return Err(Error::usage("metadata is edited in files that lie here")
            .file(file)
            .hint("`ggraft convert` and `quantize --override-kv` read it from there"));
    }
    let meta = std::fs::metadata(file).map_err(|e| Error::io(&e, file).hint("check the path"))?;
    if meta.is_file() && file.extension().is_none_or(|e| e != "safetensors") {
        return Ok(());
    }
    Err(no_gguf(file))
}

fn no_gguf(file: &Path) -> Error {
    Error::usage("meta takes a GGUF file").file(file).hint(
        "convert a checkpoint with `ggraft convert`; its own metadata stands in config.json and the files beside it",
    )
}

/// The metadata of a file, wherever it lies.
fn metadata(path: &Path) -> Result<Metadata> {
    if !is_named(path) {
        check_file(path)?;
        let file = Mapping::open(path)?;
        return Ok(Header::parse(file.bytes(), path)?.metadata);
    }
    match ggraft_formats::open_with(path, &Access::default())? {
        Input::Model(model) => match model.containers.first() {
            Some(first) => Ok(Header::of(first)?.metadata),
            None => Ok(model.metadata),
        },
        Input::Checkpoint(_) => Err(no_gguf(path)),
    }
}

fn get(args: &Get) -> Result<()> {
    let metadata = metadata(&args.file)?;
    let of = |key: &'_ String| -> Result<(String, Value)> {
        let value = metadata.get(key).ok_or_else(|| meta::missing(key, &metadata).file(&args.file))?;
        Ok((key.clone(), value.clone()))
    };
    let chosen: Vec<(String, Value)> = match args.keys.as_slice() {
        [] => metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
        keys => keys.iter().map(of).collect::<Result<_>>()?,
    };
    if args.raw {
        return print_raw(&chosen, &args.file);
    }
    if args.json {
        let most = if args.keys.is_empty() { MOST_ITEMS } else { usize::MAX };
        let one = |(key, value): &(String, Value)| json!({ "key": key, "type": value.type_name(), "value": report::metadata_value(value, most) });
        let keys: Vec<Json> = chosen.iter().map(one).collect();
        let json = json!({ "file": args.file.to_string_lossy(), "metadata": keys });
        return stdout::line(&report::printable(&format!("{json:#}")));
    }
    let lines = chosen.iter().map(|(key, value)| match args.keys.is_empty() {
        true => line(key, value) + "\n",
        false => format!("{}\n", Printable(&Spelled(value).to_string())),
    });
    stdout::print(lines.collect::<String>().as_bytes())
}

/// A key as it is set, on one line; a long array is only counted.
fn line(key: &str, value: &Value) -> String {
    format!("{}={}", Printable(key), brief(value))
}

fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(array) if array.len() > MOST_ITEMS => format!("… {} values", array.len()),
        _ => Spelled(value).to_string().replace('\n', r"\n"),
    };
    format!("{}:{}", value.type_name(), Printable(&text))
}

fn print_raw(chosen: &[(String, Value)], file: &Path) -> Result<()> {
    let [(_, Value::Str(text))] = chosen else {
        return Err(Error::usage("--raw takes one KEY, whose value is a string").file(file).found(
            match chosen {
                [(key, value)] => format!("{key} of type {}", value.type_name()),
                _ => format!("{} keys", chosen.len()),
            },
        ));
    };
    stdout::print(text)
}

/// The text of a file as the chat template.
fn template(path: &Path) -> Result<Override> {
    Ok(Override { key: CHAT_TEMPLATE.to_string(), value: chat::file::read(path)?.into() })
}

/// Carries out the edits that are made for the metadata of the file.
fn edit(file: &Path, edits: impl FnOnce(&Metadata) -> Result<Vec<Edit>>, how: &How) -> Result<()> {
    check_file(file)?;
    if let Some(output) = how.output.as_deref().filter(|path| is_away(path)) {
        return Err(Error::usage("an edited file is written here")
            .file(output)
            .hint("give a path; `hf upload` takes the file to the hub"));
    }
    let mut changes = Vec::new();
    let change = |metadata: &Metadata| -> Result<Metadata> {
        let (edited, told) = meta::apply(metadata, &edits(metadata)?, how.force)?;
        changes = told;
        Ok(edited)
    };
    let rewrite = gguf::edit(file, change)?;
    let name = PathBuf::from(file.file_name().unwrap_or_default());
    let output = how.output.clone().map(|path| naming::destination(Some(path), name, false));
    let output = output.map(|path| naming::gguf(path, "COPY")).transpose()?;
    let output = output.as_deref();
    if let Err(e) = rewrite.look(output, how.force) {
        // A dry run says what would stand in the way of a run.
        match how.dry_run {
            true => report::print_notes(&[e.to_string().replace("\n  ", "; ")], how.show.quiet),
            false => return Err(e),
        }
    }
    report::print_notes(Vec::from_iter(unrendered(&changes)?).as_slice(), how.show.quiet);
    let target = output.unwrap_or(file);
    if how.json {
        let json = edit_json(&rewrite, file, output, &changes);
        stdout::told(&report::printable(&format!("{json:#}")))?;
    }
    if !how.show.quiet {
        changes.iter().for_each(print_change);
        report::print_notes(&[work(&rewrite, output)], false);
    }
    if how.dry_run {
        return Ok(());
    }
    let _requests = signals::listen()?;
    let name = target.to_string_lossy();
    let stop = || signals::came().is_some();
    let progress =
        Progress::parts("copying", [(&*name, rewrite.work(output))], how.show.how_of_reading(), stop);
    let done = rewrite.carry_out(output, how.force, &progress);
    progress.finish();
    done?;
    if !how.json {
        stdout::told(&shown(target).to_string())?;
    }
    Ok(())
}

/// What to say of a new chat template that does not render; its words are not looked at.
///
/// # Errors
/// It takes more time or memory than any template should.
fn unrendered(changes: &[Change]) -> Result<Option<String>> {
    let new = changes.iter().find(|change| change.key == CHAT_TEMPLATE).and_then(|change| change.to.as_ref());
    let Some(text) = new.and_then(Value::as_str) else { return Ok(None) };
    let words = dialogue::Words { bos: "", eos: "", special: &BTreeSet::new() };
    let read = dialogue::read(text, words).ok_or_else(|| {
        Error::usage("the chat template takes more memory or time than any template should")
            .expected("what two turns take")
    })?;
    let told = |why| format!("warning: the chat template cannot be rendered ({why}); it is written as it is");
    Ok(read.failure.map(told))
}

fn print_change(change: &Change) {
    let told = |value: &Option<Value>| value.as_ref().map_or(String::from("nothing"), brief);
    let line = format!("{}: {} -> {}", Printable(&change.key), told(&change.from), told(&change.to));
    // A closed stderr must not stop the work.
    _ = writeln!(std::io::stderr(), "{line}");
}

/// How the work is done, in words.
fn work(rewrite: &Rewrite, output: Option<&Path>) -> String {
    let (from, to) = rewrite.data_offsets();
    match rewrite.way(output) {
        Way::Nothing => String::from("nothing changes"),
        Way::InPlace => String::from("in place: a few bytes of the header are written over"),
        Way::Copied => {
            String::from("the header is written anew, the data stays at its offset in the new file")
        }
        Way::Moved => {
            format!("the header is written anew, the data moves from byte {from} to {to} in the new file")
        }
    }
}

fn edit_json(rewrite: &Rewrite, file: &Path, output: Option<&Path>, changes: &[Change]) -> Json {
    let value = |value: &Value| json!({ "type": value.type_name(), "value": report::metadata_value(value, usize::MAX) });
    let change = |c: &Change| json!({ "key": c.key, "from": c.from.as_ref().map(value), "to": c.to.as_ref().map(value) });
    let (from, to) = rewrite.data_offsets();
    json!({
        "file": file.to_string_lossy(),
        "output": output.unwrap_or(file).to_string_lossy(),
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
        "way": match rewrite.way(output) {
            Way::Nothing => "nothing",
            Way::InPlace => "in place",
            Way::Copied => "copied",
            Way::Moved => "moved",
        },
        "data_offset": { "from": from, "to": to },
        "bytes": rewrite.total(),
    })
}
