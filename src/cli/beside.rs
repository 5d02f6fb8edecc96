//! What is written beside GGUF outputs on request, a Modelfile and a model card, and the closing lines that say how to
//! start one.

use super::away::{Away, CARD, CARD_IN_WORDS};
use crate::pipeline::Plan;
use crate::report::{self, Finished, Making, Output, file_name};
use crate::text::{Printable, shell, shell_path};
use ggraft_formats::write::Beside as File;
use ggraft_formats::{Error, Kind, Result};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files beside the output.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Output")]
pub(super) struct Beside {
    /// Write a Modelfile, by which `ollama create` takes the output in, beside it; of several outputs OUT.Modelfile each
    #[arg(long)]
    pub modelfile: bool,
    /// Write a model card, README.md, beside the output
    #[arg(long)]
    pub card: bool,
}

/// Every card of ours has it; another README.md is never replaced, and one that was changed since only by force.
const MARK: &str = " by ggraft ";

impl Beside {
    /// The files that are asked for, each with its text if it is known before the work. Refuses what cannot be written.
    pub fn files(
        &self,
        plans: &[(Plan, PathBuf)],
        away: Option<&Away>,
    ) -> Result<Vec<(File, Option<String>)>> {
        let mut files: Vec<(File, Option<String>)> = Vec::new();
        let ggufs: Vec<&(Plan, PathBuf)> = plans.iter().filter(|(plan, _)| !plan.is_directory()).collect();
        if (self.modelfile || self.card) && ggufs.is_empty() {
            return Err(Error::usage("--modelfile and --card belong to GGUF outputs")
                .hint("leave them out: a Hugging Face directory has its card, and Ollama reads GGUF"));
        }
        for (plan, path) in ggufs.iter().filter(|(plan, _)| self.modelfile && !plan.is_adapter()) {
            if plan.layout(path)?.paths().len() > 1 {
                return Err(Error::usage("Ollama reads no split models (ollama/ollama#5245)")
                    .file(path)
                    .hint("leave out --modelfile, or write one file"));
            }
            let text = report::modelfile(&file_name(&plan.first(path)?), plan.metadata())?;
            files.push((
                File { path: modelfile(plans, path), what: "the Modelfile", replaces: false },
                Some(text),
            ));
        }
        for (plan, path) in ggufs {
            let card = path.with_file_name(CARD);
            let is_asked = self.card || away.is_some_and(|away| away.wants_card(plan, path));
            if !is_asked || files.iter().any(|(file, _)| file.path == card) {
                continue;
            }
            let text = match earlier(&card, away)? {
                Earlier::None => None,
                Earlier::Ours(text) => Some(text),
                // On the hub it is nothing that was asked for.
                Earlier::Another if !self.card => continue,
                Earlier::Another => {
                    return Err(Error::new(
                        Kind::Failure,
                        "README.md was not written by ggraft, so it is left alone",
                    )
                    .file(&away.map_or_else(|| card.clone(), |away| away.shown(&card)))
                    .hint("choose another folder with -o, or move the file"));
                }
            };
            // It goes on with the rows of other files.
            let replaces = text.is_some_and(|text| report::goes_on(&text, plan.metadata()));
            files.push((File { path: card, what: CARD_IN_WORDS, replaces }, None));
        }
        Ok(files)
    }

    /// The model card for `path`.
    pub fn card(
        path: &Path,
        finished: &Finished<'_>,
        made: Making<'_>,
        away: Option<&Away>,
    ) -> Result<String> {
        let beside = |o: &&Output<'_>| !o.plan.is_directory() && o.path.with_file_name(CARD) == path;
        let outputs: Vec<&Output<'_>> = finished.outputs.iter().filter(beside).collect();
        let text = match earlier(path, away)? {
            Earlier::Ours(text) => Some(text),
            Earlier::None | Earlier::Another => None,
        };
        let held = away.map_or_else(|| Ok(names(path)), |away| away.beside(path))?;
        let earlier = text.as_deref().map(|text| (text, held.as_slice()));
        Ok(report::card(&outputs, made, earlier).map(|card| card.markdown()).unwrap_or_default())
    }

    /// Prints how to start the first GGUF.
    pub fn print_start(&self, plans: &[(Plan, PathBuf)]) -> Result<()> {
        let Some((plan, path)) = plans.iter().find(|(plan, _)| !plan.is_directory()) else { return Ok(()) };
        let first = plan.first(path)?;
        let start = shell_path(&first);
        if plan.is_adapter() {
            let line = format!("apply it in llama.cpp: llama-cli -m MODEL.gguf --lora {start}");
            _ = writeln!(std::io::stderr(), "{}", Printable(&line));
            return Ok(());
        }
        if plan.is_projector() {
            let line = format!(
                "give it to llama.cpp beside the text model: llama-mtmd-cli -m MODEL.gguf --mmproj {start}"
            );
            _ = writeln!(std::io::stderr(), "{}", Printable(&line));
            return Ok(());
        }
        if plan.steps.is_empty() {
            return Ok(());
        }
        let mut lines = vec![format!("run it: llama-cli -m {start}")];
        if let Some((plan, path)) = plans.iter().find(|(plan, _)| plan.is_adapter()) {
            let one = shell_path(&plan.first(path)?);
            lines.push(format!("with one of its adapters: llama-embedding -m {start} --lora {one}"));
        }
        let name = ollama_name(path);
        let is_split = plan.layout(path)?.paths().len() > 1;
        if !is_split {
            lines.push(format!("in LM Studio: lms import {start}"));
        }
        if is_split {
            lines.push(format!("Ollama reads one file: ggraft join {start} {name}.gguf"));
        } else if self.modelfile {
            let file = shell_path(&modelfile(plans, path));
            lines.push(format!("in Ollama: ollama create {name} -f {file} && ollama run {name}"));
        } else {
            let from = format!("FROM {}", first.to_string_lossy());
            // The shell of Windows would write the quotes, too.
            let from = if cfg!(windows) { format!("echo {from}") } else { format!("echo {}", shell(&from)) };
            lines.push(format!(
                "in Ollama: {from} > Modelfile && ollama create {name} && ollama run {name}; or give --modelfile"
            ));
        }
        // A closed stderr must not stop the work.
        lines.iter().for_each(|line| _ = writeln!(std::io::stderr(), "{}", Printable(line)));
        Ok(())
    }
}

/// A card that is there before the work.
enum Earlier {
    None,
    Ours(String),
    Another,
}

/// The card that is there, where `path` will be.
fn earlier(path: &Path, away: Option<&Away>) -> Result<Earlier> {
    let text = match away {
        Some(away) => away.card(path)?,
        None => match std::fs::symlink_metadata(path) {
            Err(_) => None,
            Ok(meta) if !meta.is_file() => return Ok(Earlier::Another),
            Ok(_) => Some(std::fs::read_to_string(path).unwrap_or_default()),
        },
    };
    let text = match text {
        None => None,
        Some(text) if text.contains(MARK) => Some(text),
        // Nothing goes on with it.
        Some(_) => return Ok(Earlier::Another),
    };
    away.iter().for_each(|away| away.goes_on(path, text.as_deref()));
    Ok(text.map_or(Earlier::None, Earlier::Ours))
}

/// The names of the files beside `path`.
fn names(path: &Path) -> Vec<String> {
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The Modelfile of the output at `path`.
fn modelfile(plans: &[(Plan, PathBuf)], path: &Path) -> PathBuf {
    let gguf = |(plan, other): &&(Plan, PathBuf)| {
        !plan.is_directory() && !plan.is_adapter() && other.parent() == path.parent()
    };
    match plans.iter().filter(gguf).count() {
        0 | 1 => path.with_file_name("Modelfile"),
        _ => path.with_extension("Modelfile"),
    }
}

/// A name that Ollama takes: small letters, digits and few signs.
fn ollama_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(['.', '_', '-']);
    if name.is_empty() { String::from("model") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_ollama() {
        for (path, name) in
            [("a/EEVE 10.8B-Q4_K_M.gguf", "eeve-10.8b-q4_k_m"), ("모델.gguf", "model"), ("x", "x")]
        {
            assert_eq!(ollama_name(Path::new(path)), name);
        }
    }
}
