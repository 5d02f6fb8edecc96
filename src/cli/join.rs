//! `ggraft join FIRST-PART OUT.gguf`: the parts of a split GGUF in, the one file that they were out.

use super::elsewhere;
use super::naming;
use super::options::Run;
use super::split::{carry_out, model};
use ggraft_formats::{Error, Result, gguf};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The first part, whose name ends in -00001-of-…; the others lie beside it
    #[arg(value_name = "FIRST-PART")]
    first: PathBuf,
    /// The file that they become
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// gguf-split's word for this verb
    #[arg(long, hide = true)]
    merge: bool,
    /// gguf-split's word for the other
    #[arg(long, hide = true)]
    split: bool,
    #[command(flatten)]
    run: Run,
}

pub(super) fn run(args: Args) -> Result<()> {
    if args.split {
        return Err(Error::usage("join puts the parts of a model together")
            .found("--split")
            .hint("parts are made by `ggraft split IN.gguf OUT-PREFIX`"));
    }
    let model = model(&args.first)?;
    if !gguf::is_split(&model) {
        return Err(Error::usage("this is no part of a split model")
            .file(&args.first)
            .hint("give the first part, whose name ends in -00001-of-…"));
    }
    let mut output = Some(args.output);
    let away = args.run.away(&mut output, "join", &elsewhere::plain())?;
    let output = naming::destination(output, joined(&args.first), false);
    let output = naming::gguf(output, "COPY")?;
    carry_out("join", model, None, (output, away), &args.run)
}

/// What the parts were called before they were parts.
fn joined(first: &Path) -> PathBuf {
    let stem = first.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name =
        stem.rsplit_once("-of-").and_then(|(name, _)| name.rsplit_once('-')).map_or(&*stem, |(name, _)| name);
    PathBuf::from(format!("{name}.gguf"))
}
