//! `ggraft adapter DIR`: a LoRA adapter of PEFT in, one of llama.cpp out.

use super::away::Away;
use super::beside::Beside;
use super::command;
use super::elsewhere::Elsewhere;
use super::habits::Taken;
use super::naming::{self, destination};
use super::options::{self, Order, Run};
use crate::adapter::Adapter;
use crate::arch::about;
use crate::output::target::Type;
use crate::pipeline::{self, Plan};
use crate::recipe::Choice;
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::source::Access;
use ggraft_formats::{DType, Error, Model, Result};
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
    #[arg(
        long = "type",
        visible_alias = "outtype",
        value_name = "TYPE",
        default_value = "F32",
        hide_possible_values = true
    )]
    kind: Choice<Type>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    taken: Taken,
}

/// Where an adapter goes, and how the work is done.
#[derive(clap::Args)]
pub(super) struct Output {
    /// Output file; in a folder, or by default in the current one, named after the adapter
    #[arg(short, long = "output", visible_alias = "outfile", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the adapter is called in its metadata, and in the default name of the file
    #[arg(long, value_name = "TEXT", value_parser = naming::name)]
    pub name: Option<String>,
    #[command(flatten)]
    pub run: Run,
}

pub(super) fn run(args: Args) -> Result<()> {
    let run = &args.output.run;
    report::print_notes(&args.taken.notes(), run.show.quiet);
    let dtype = dtype(args.kind.0)?;
    let stages = Stage::new(run.show.how());
    let access = args.elsewhere.access(&stages);
    stages.begin("opening the adapter", 1);
    let mut output = args.output;
    let away = output.run.away(&mut output.output, "adapter", &access)?;
    let adapter = Adapter::open(&args.input, &access)?;
    let base = args.base.or_else(|| adapter.base().map(PathBuf::from)).ok_or_else(|| {
        Error::usage("the adapter does not say which model it is for").file(&args.input).hint("give --base")
    })?;
    let (model, notes) = adapter.converted(&base, &access, dtype)?;
    stages.end();
    let how = How { access: &access, away: away.as_ref() };
    let written = Written { model, notes, kind: args.kind.0, mark: None, how };
    carry_out("adapter", written, output)
}

/// An adapter that is going to be written.
pub(super) struct Written<'a> {
    pub model: Model,
    pub notes: Vec<String>,
    pub kind: Type,
    /// What tells it from others of the same name.
    pub mark: Option<String>,
    pub how: How<'a>,
}

/// What lies elsewhere.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// How the inputs are read.
    pub access: &'a Access,
    /// Where the output goes.
    pub away: Option<&'a Away>,
}

/// Writes an adapter.
pub(super) fn carry_out(verb: &str, written: Written<'_>, output: Output) -> Result<()> {
    let Written { mut model, notes, kind, mark, how } = written;
    if let Some(name) = &output.name {
        about::rename(&mut model.metadata, name);
    }
    let mut plan = pipeline::rearranged(model, kind)?;
    plan.notes = notes;
    let parts = [Some(plan.stem()), mark, Some(kind.name().to_string()), Some(String::from("LoRA.gguf"))];
    let default = PathBuf::from(parts.into_iter().flatten().collect::<Vec<_>>().join("-"));
    let typed = output.output.as_ref().map(|path| naming::gguf(path.clone(), kind.name())).transpose()?;
    write(verb, (plan, destination(typed, default, false)), kind, &output.run, how)
}

/// Writes what was planned.
pub(super) fn write(verb: &str, plan: (Plan, PathBuf), kind: Type, run: &Run, how: How<'_>) -> Result<()> {
    let order = Order {
        words: &format!("{verb} {}", kind.name()),
        command: &command::typed(verb, &[]),
        formula: None,
        recipe: None,
        beside: &Beside::default(),
        run,
        access: how.access,
        away: how.away,
    };
    options::carry_out(&[plan], &order, || Ok(Vec::new()))
}

/// What the factors are stored as.
pub(super) fn dtype(kind: Type) -> Result<DType> {
    let found = ["F32", "F16", "BF16", "Q8_0"].contains(&kind.name());
    let dtype = DType::all().find(|dtype| dtype.to_string().eq_ignore_ascii_case(kind.name()));
    dtype.filter(|_| found).ok_or_else(|| {
        Error::usage("adapters are not written as this type")
            .expected("F32, F16, BF16 or Q8_0")
            .found(kind.name())
    })
}
