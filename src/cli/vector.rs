//! `ggraft vector`: the difference of two models, whole, or as a LoRA adapter that llama.cpp applies at run time.

use super::adapter::{How, Output, Written, carry_out, dtype, write};
use super::elsewhere::Elsewhere;
use crate::adapter::{self, Job, Wearer};
use crate::arch;
use crate::arrange::Arrange;
use crate::merge::{CHAT_VECTOR, Vector, paired};
use crate::output::target::{Target, Type};
use crate::pipeline::{self, Loaded};
use crate::recipe::Choice;
use crate::report::{self, Stage};
use crate::stages::Stages;
use crate::text::shown;
use ggraft_formats::{DType, Error, Model, Result};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

/// Of an adapter, if none is asked for.
const RANK: usize = 64;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The chat model
    #[arg(long, value_name = "MODEL")]
    chat: PathBuf,
    /// The model that it was made from
    #[arg(long, value_name = "MODEL")]
    base: PathBuf,
    /// The model that the adapter will be applied to: what a merge would make of it, with the rows of its tokens
    #[arg(long, value_name = "MODEL")]
    onto: Option<PathBuf>,
    /// The rank of the adapter: the higher, the more of the vector it keeps (64 by default)
    #[arg(long, value_name = "N", value_parser = rank)]
    rank: Option<NonZeroU16>,
    /// F32, F16, BF16 or Q8_0 of an adapter; safetensors-f32 for the whole vector, in a directory
    #[arg(
        long = "type",
        visible_alias = "outtype",
        value_name = "TYPE",
        default_value = "F16",
        hide_possible_values = true
    )]
    kind: Choice<Type>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    #[command(flatten)]
    output: Output,
}

/// The adapter that makes chat of base, or of `onto` what a merge with weight 1 makes of it.
fn extracted(
    chat: Model,
    base: Model,
    onto: Option<Loaded>,
    rank: usize,
    dtype: DType,
) -> Result<(Model, Vec<Arc<Job>>, Vec<String>)> {
    let Some(onto) = onto else { return adapter::extracted(&chat, &base, Wearer::Kin, rank, dtype) };
    let graft = pipeline::graft(onto, &[Vector { chat, base }], CHAT_VECTOR)?.graft;
    let merged = graft.model(&[1.0])?;
    let (model, jobs, notes) = adapter::extracted(&merged, graft.onto(), Wearer::Itself, rank, dtype)?;
    let own = String::from(
        "an adapter changes no metadata: what is told of template and end tokens is of the merge that it stands for (llama.cpp takes --chat-template-file)",
    );
    Ok((model, jobs, [&graft.notes[..], &notes, &[own]].concat()))
}

fn rank(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("expected a rank from 1 to {}, such as 64, found '{text}'", u16::MAX))
}

pub(super) fn run(mut args: Args) -> Result<()> {
    let run = &args.output.run;
    let whole = matches!(args.kind.0, Type::Safetensors(_));
    let dtype = if whole { None } else { Some(dtype(args.kind.0)?) };
    if let Some(rank) = args.rank.filter(|_| whole) {
        return Err(Error::usage("a whole vector has no rank")
            .found(format!("--rank {rank} and --type {}", args.kind.0.name()))
            .hint("leave out one or the other"));
    }
    if let Some(onto) = args.onto.as_ref().filter(|_| whole) {
        return Err(Error::usage("a whole vector is of no model but chat and base")
            .found(format!("--onto {} and --type {}", shown(onto), args.kind.0.name()))
            .hint("leave out --onto; merge puts the vector on it"));
    }
    let stages = Stage::new(run.show.how());
    let access = args.elsewhere.access(&stages);
    let away = run.away(&mut args.output.output, "vector", &access)?;
    let how = How { access: &access, away: away.as_ref() };
    stages.begin("opening the models", if args.onto.is_some() { 3 } else { 2 });
    let load = |path: &PathBuf| {
        let loaded = pipeline::meant(pipeline::open_with(path, &arch::Options::default(), &access)?)?;
        stages.step();
        Ok::<_, Error>(loaded)
    };
    let (chat, base) = (load(&args.chat)?, load(&args.base)?.model);
    let doubt = paired(&chat.model, &base)?;
    report::print_notes(doubt.as_slice(), run.show.quiet);
    let Some(dtype) = dtype else {
        // What is between two numbers of 16 bits is seldom one of them.
        let kind = match args.kind.0 {
            Type::Safetensors(None) => Type::Safetensors(Some(DType::F32)),
            kind => kind,
        };
        let target = Target { name: args.output.name, ..Target::new(kind) };
        let plan = pipeline::vector(chat, &base, &target)?;
        stages.end();
        let path = args.output.output.unwrap_or_else(|| plan.file_name(Some("vector")));
        return write("vector", (plan, path), kind, run, how);
    };
    let rank = args.rank.map_or(RANK, |rank| usize::from(rank.get()));
    let onto = args.onto.as_ref().map(load).transpose()?;
    let (model, jobs, notes) = extracted(chat.model, base, onto, rank, dtype)?;
    stages.end();
    let (quiet, verbose) = (run.show.quiet, run.verbose);
    let mark = format!("r{rank}");
    carry_out("vector", Written { model, notes, kind: args.kind.0, mark: Some(mark), how }, args.output)?;
    let mut kept: Vec<(&str, f64)> = jobs.iter().filter_map(|job| job.kept()).collect();
    kept.arrange_by(|a, b| a.1.total_cmp(&b.1));
    if let (Some(least), Some(middle), Some(most)) = (kept.first(), kept.get(kept.len() / 2), kept.last()) {
        let summary = format!(
            "of the squares of the vector the adapter keeps {:.1} % in the median of {} tensors, from {:.1} % ({}) to {:.1} % ({})",
            middle.1 * 100.0,
            kept.len(),
            least.1 * 100.0,
            least.0,
            most.1 * 100.0,
            most.0
        );
        let each = kept.iter().map(|(name, kept)| format!("{name}: {:.2} % kept", kept * 100.0));
        let lines: Vec<String> = match verbose {
            true => each.chain([summary]).collect(),
            false => vec![summary],
        };
        report::print_notes(&lines, quiet);
    }
    Ok(())
}
