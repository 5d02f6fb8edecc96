//! `ggraft convert`: a checkpoint or a GGUF in, a GGUF out.

use super::elsewhere::Elsewhere;
use super::habits::Taken;
use super::naming::Naming;
use super::options::{self, Order, Output};
use super::{carrying, command, stdout};
use crate::arch::{self, page};
use crate::output::target::{Target, Type};
use crate::pipeline::{self, Plan};
use crate::recipe::{Choice, Mixture, Splitting};
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A Hugging Face directory, a .safetensors, PyTorch or .gguf file; or org/name of the hub, or an address
    #[arg(required_unless_present = "print_supported_models")]
    input: Option<PathBuf>,
    /// Output type: Q4_K_M, Q8_0, F16, …, safetensors, safetensors-bf16, -f16, -f32; several, as Q4_K_M,Q8_0, give an
    /// output each
    #[arg(long = "type", visible_alias = "outtype", value_name = "TYPE", required_unless_present_any = ["target_size", "target_bpw", "device", "print_supported_models"], value_delimiter = ',', hide_possible_values = true, help_heading = "Output")]
    types: Vec<Choice<Type>>,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer
    #[arg(long, value_name = "NAME", help_heading = "Vocabulary")]
    pre: Option<String>,
    /// Write what sees and hears (the vision or audio tower and its projector) as a GGUF of its own, mmproj-….gguf
    #[arg(long, conflicts_with_all = ["pre", "prune_layers"], help_heading = "Output")]
    mmproj: bool,
    /// Write the vocabulary and the metadata alone, without weights
    #[arg(long, conflicts_with_all = ["mmproj", "target_size", "target_bpw", "device"], help_heading = "Output")]
    vocab_only: bool,
    /// List the classes that are converted, as `ggraft architectures` does
    #[arg(long, exclusive = true)]
    print_supported_models: bool,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    splitting: Splitting,
    #[command(flatten)]
    elsewhere: Elsewhere,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    taken: Taken,
}

impl Args {
    /// How the work is done.
    pub fn settings(&mut self) -> &mut options::Run {
        &mut self.output.run
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let (Some(input), false) = (&args.input, args.print_supported_models) else {
        return stdout::print(page::classes().as_bytes());
    };
    if args.mixture.has_budget() {
        options::early(args.output.output.as_deref(), &args.output.run)?;
    }
    report::print_notes(&args.taken.notes(), args.output.run.show.quiet);
    let stages = Stage::new(args.output.run.show.how());
    stages.begin("opening the model", 1);
    let access = args.elsewhere.access(&stages);
    let mut input = match args.mmproj {
        true => pipeline::open_projector(input, &access)?,
        false => pipeline::open_with(input, &arch::Options { pre: args.pre }, &access)?,
    };
    let kind = |kind: &Choice<Type>| match kind.0 {
        Type::Auto if !args.mixture.has_budget() => Type::of_weights(&input.model),
        kind => kind,
    };
    let types: Vec<Type> = options::types(&args.types).iter().map(kind).collect();
    if args.vocab_only {
        input.model.tensors.clear();
        input.model.metadata.remove("general.size_label");
    }
    let measure = args.output.run.report.is_some();
    let name = args.output.name;
    let division = args.splitting.division();
    let target = |kind: &Type| {
        let (name, stages) = (name.clone(), stages.clone());
        Ok(Target { division, measure, name, stages, ..args.mixture.target(*kind)? })
    };
    let targets = types.iter().map(target).collect::<Result<Vec<_>>>()?;
    let plans =
        options::thread_pool(args.output.run.threads)?.install(|| pipeline::convert_all(input, &targets))?;
    stages.end();
    let default = |plan: &Plan| plan.file_name(None);
    let naming = Naming { typed: args.output.output, several: plans.len() > 1, default: &default };
    let plans = naming.all(plans)?;
    let words = args.mixture.words()?;
    let order = Order {
        words: &words,
        command: &command::typed("convert", &[]),
        formula: None,
        recipe: None,
        beside: &args.output.beside,
        run: &args.output.run,
        access: &access,
    };
    carrying::carry_out(&plans, &order, || Ok(Vec::new()))
}
