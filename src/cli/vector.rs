//! `ggraft vector`: the difference of two models as a LoRA adapter that llama.cpp applies at run time.

use super::adapter::{Output, Written, carry_out, dtype};
use super::elsewhere::Elsewhere;
use crate::adapter;
use crate::arch;
use crate::output::target::Type;
use crate::pipeline;
use crate::recipe::Choice;
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::Result;
use std::num::NonZeroU16;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The chat model
    #[arg(long, value_name = "MODEL")]
    chat: PathBuf,
    /// The model that it was made from
    #[arg(long, value_name = "MODEL")]
    base: PathBuf,
    /// The rank of the adapter: the higher, the more of the vector it keeps
    #[arg(long, value_name = "N", default_value = "64")]
    rank: NonZeroU16,
    /// F32, F16, BF16 or Q8_0
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
    let dtype = dtype(args.kind.0)?;
    let stages = Stage::new(run.show.how());
    let access = args.elsewhere.access(&stages);
    stages.begin("opening the models", 2);
    let load = |path: &PathBuf| {
        let loaded = pipeline::meant(pipeline::open_with(path, &arch::Options::default(), &access)?)?;
        stages.step();
        Ok::<_, ggraft_formats::Error>(loaded.model)
    };
    let (chat, base) = (load(&args.chat)?, load(&args.base)?);
    let rank = usize::from(args.rank.get());
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
