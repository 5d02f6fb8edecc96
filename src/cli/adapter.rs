//! `ggraft adapter DIR`: a LoRA adapter of PEFT in, one of llama.cpp out.

use super::elsewhere::Elsewhere;
use super::naming::{self, destination};
use super::options::{self, Order, Output};
use super::command;
use crate::adapter::Adapter;
use crate::output::target::Type;
use crate::pipeline::{self, Plan};
use crate::recipe::Choice;
use crate::report::Stage;
use crate::stages::Stages;
use ggraft_formats::{DType, Error, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The directory that PEFT has saved: adapter_config.json and adapter_model.safetensors or .bin
    #[arg(value_name = "ADAPTER")]
    input: PathBuf,
    /// The model that the adapter was made for, of which the config is needed; by default the one that the adapter names
    #[arg(long, value_name = "MODEL")]
    base: Option<PathBuf>,
    /// F32, F16, BF16 or Q8_0
    #[arg(long = "type", visible_alias = "outtype", value_name = "TYPE", default_value = "F32", hide_possible_values = true)]
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
    stages.begin("opening the adapter", 1);
    let adapter = Adapter::open(&args.input, &access)?;
    let base = args.base.or_else(|| adapter.base().map(PathBuf::from)).ok_or_else(|| {
        Error::usage("the adapter does not say which model it is for").file(&args.input).hint("give --base")
    })?;
    let (mut model, notes) = adapter.converted(&base, &access, dtype)?;
    stages.end();
    if let Some(name) = &args.output.name {
        model.metadata.set("general.name", name.as_str());
    }
    let plan = Plan { notes, ..pipeline::rearranged(model)? };
    let default = PathBuf::from(format!("{}-{}-LoRA.gguf", plan.stem(), args.kind.0.name()));
    let typed = args.output.output.map(|path| naming::gguf(path, args.kind.0.name())).transpose()?;
    let path = destination(typed, default, false);
    let words = format!("adapter {}", args.kind.0.name());
    let order = Order {
        words: &words,
        command: &command::typed("adapter", &[]),
        formula: None,
        beside: &args.output.beside,
        run,
        access: &access,
    };
    options::carry_out(&[(plan, path)], &order, || Ok(Vec::new()))
}

/// What the factors are stored as.
fn dtype(kind: Type) -> Result<DType> {
    let found = ["F32", "F16", "BF16", "Q8_0"].contains(&kind.name());
    let dtype = DType::all().find(|dtype| dtype.to_string().eq_ignore_ascii_case(kind.name()));
    dtype.filter(|_| found).ok_or_else(|| {
        Error::usage("adapters are not written as this type")
            .expected("F32, F16, BF16 or Q8_0")
            .found(kind.name())
    })
}
