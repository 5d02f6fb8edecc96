//! `ggraft split IN.gguf OUT-PREFIX`: one GGUF in, its parts out, named and cut as gguf-split does.

use super::away::Away;
use super::beside::Beside;
use super::naming;
use super::options::{self, Order, Run};
use super::{command, elsewhere};
use crate::output::target::Type;
use crate::pipeline::Plan;
use crate::recipe::Size;
use ggraft_formats::gguf::{Limits, Split};
use ggraft_formats::{Error, Input, Model, Result};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// What a part holds at most if nothing is said, as in gguf-split.
const TENSORS: u64 = 128;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model
    input: PathBuf,
    /// What the parts are called before -00001-of-00009.gguf
    #[arg(value_name = "OUT-PREFIX")]
    prefix: PathBuf,
    /// The most bytes of tensors in a part, such as 50G, 500MB or 1.5GiB; bare letters are powers of 1000
    #[arg(long, alias = "split-max-size", value_name = "SIZE")]
    max_size: Option<Size>,
    /// The most tensors in a part; 128 if no size is given either
    #[arg(long, alias = "split-max-tensors", value_name = "N")]
    max_tensors: Option<NonZeroU64>,
    /// Give the first part the metadata alone
    #[arg(long, alias = "no-tensor-first-split")]
    no_tensor_first: bool,
    /// gguf-split's word for this verb
    #[arg(long, hide = true)]
    split: bool,
    /// gguf-split's word for the other
    #[arg(long, hide = true)]
    merge: bool,
    #[command(flatten)]
    run: Run,
}

pub(super) fn run(args: Args) -> Result<()> {
    if args.merge {
        return Err(Error::usage("split makes parts of a model")
            .found("--merge")
            .hint("parts are put together by `ggraft join FIRST-PART OUT.gguf`"));
    }
    let model = model(&args.input)?;
    if model.containers.len() > 1 {
        return Err(Error::usage("the model is split already")
            .file(&args.input)
            .found(format!("{} parts", model.containers.len()))
            .hint("put it together with `ggraft join` first"));
    }
    let limits = Limits {
        bytes: args.max_size.map(|size| size.0),
        tensors: args.max_tensors.map(NonZeroU64::get).or(args.max_size.is_none().then_some(TENSORS)),
        bare_first: args.no_tensor_first,
    };
    let name = PathBuf::from(args.input.file_stem().unwrap_or_default());
    let (mut prefix, access) = (Some(args.prefix), elsewhere::plain());
    let away = args.run.away(&mut prefix, "split", &access)?;
    let prefix = naming::destination(prefix, name, false);
    carry_out("split", model, Some(Split::Always(limits)), (prefix, away), &args.run)
}

/// The GGUF at `path`, whose weights are not looked at: a copy need not judge them.
pub(super) fn model(path: &Path) -> Result<Model> {
    match ggraft_formats::open(path)? {
        Input::Model(model) => Ok(model),
        Input::Checkpoint(_) => Err(Error::usage("this takes a GGUF file")
            .file(path)
            .hint("use `ggraft convert` for a checkpoint; with --split-max-size it writes parts")),
    }
}

/// Writes the model, as it is, to other files.
pub(super) fn carry_out(
    verb: &str,
    model: Model,
    split: Option<Split>,
    (output, away): (PathBuf, Option<Away>),
    run: &Run,
) -> Result<()> {
    let plan = Plan::rearranged(model, Type::Copy, split)?;
    let order = Order {
        words: "",
        command: &command::typed(verb, &[]),
        formula: None,
        recipe: None,
        beside: &Beside::default(),
        run,
        access: &elsewhere::plain(),
        away: away.as_ref(),
    };
    options::carry_out(&[(plan, output)], &order, || Ok(Vec::new()))
}
