//! `ggraft vector`: the difference of two models, whole, or as a LoRA adapter that llama.cpp applies at run time.

use super::adapter::{Output, Written, carry_out, dtype, write};
use super::elsewhere::Elsewhere;
use crate::adapter;
use crate::arch;
use crate::output::target::{Target, Type};
use crate::pipeline;
use crate::recipe::Choice;
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::{DType, Error, Result};
use std::num::NonZeroU16;
use std::path::PathBuf;

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
    /// The rank of the adapter: the higher, the more of the vector it keeps (64 by default)
    #[arg(long, value_name = "N")]
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

pub(super) fn run(args: Args) -> Result<()> {
    let run = &args.output.run;
    let whole = matches!(args.kind.0, Type::Safetensors(_));
    let dtype = if whole { None } else { Some(dtype(args.kind.0)?) };
    if let Some(rank) = args.rank.filter(|_| whole) {
        return Err(Error::usage("a whole vector has no rank")
            .found(format!("--rank {rank} and --type {}", args.kind.0.name()))
            .hint("leave out one or the other"));
    }
    let stages = Stage::new(run.show.how());
    let access = args.elsewhere.access(&stages);
    stages.begin("opening the models", 2);
    let load = |path: &PathBuf| {
        let loaded = pipeline::meant(pipeline::open_with(path, &arch::Options::default(), &access)?)?;
        stages.step();
        Ok::<_, Error>(loaded)
    };
    let (chat, base) = (load(&args.chat)?, load(&args.base)?.model);
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
        return write("vector", (plan, path), kind, run, &access);
    };
    let chat = chat.model;
    let rank = args.rank.map_or(RANK, |rank| usize::from(rank.get()));
    let (model, jobs, notes) = adapter::extracted(&chat, &base, rank, dtype)?;
    stages.end();
    let (quiet, verbose) = (run.show.quiet, run.verbose);
    let mark = format!("r{rank}");
    carry_out(
        "vector",
        Written { model, notes, kind: args.kind.0, mark: Some(mark), access: &access },
        args.output,
    )?;
    let mut kept: Vec<(&str, f64)> = jobs.iter().filter_map(|job| job.kept()).collect();
    kept.sort_by(|a, b| a.1.total_cmp(&b.1));
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
