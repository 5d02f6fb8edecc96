//! `ggraft convert`: a checkpoint or a GGUF in, a GGUF out.

use super::elsewhere::Elsewhere;
use super::habits::Taken;
use super::naming::{self, Naming};
use super::options::{self, Order, Output};
use super::sweep::Sweep;
use super::{carrying, command, stdout};
use crate::arch::{self, Predicting, page};
use crate::output::target::{Target, Type};
use crate::pipeline::{self, Plan};
use crate::recipe::{Choice, Mixture, Splitting};
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A Hugging Face directory, a .safetensors, PyTorch or .gguf file; or org/name of the hub, or an address
    #[arg(required_unless_present = "print_supported_models")]
    input: Option<PathBuf>,
    /// Output type: Q4_K_M, Q8_0, F16, …, safetensors, safetensors-bf16, -f16, -f32; several, as Q4_K_M,Q8_0, give an
    /// output each
    #[arg(long = "type", visible_alias = "outtype", value_name = "TYPE", required_unless_present_any = ["target_size", "target_bpw", "target_kld", "device", "sweep", "print_supported_models"], value_delimiter = ',', hide_possible_values = true, help_heading = "Output")]
    types: Vec<Choice<Type>>,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer
    #[arg(long, value_name = "NAME", help_heading = "Vocabulary")]
    pre: Option<String>,
    /// Write what sees and hears (the vision or audio tower and its projector) as a GGUF of its own, mmproj-….gguf
    #[arg(long, conflicts_with_all = ["pre", "prune_layers"], help_heading = "Output")]
    mmproj: bool,
    /// Leave out the layers that predict further tokens (MTP)
    #[arg(long, alias = "no-nextn", conflicts_with = "mmproj")]
    no_mtp: bool,
    /// Write these layers alone, with what they share with the model, as a draft: mtp-….gguf
    #[arg(long, conflicts_with_all = ["mmproj", "no_mtp", "mtp_from", "vocab_only"])]
    mtp: bool,
    /// Add the layers of MODEL, which must be of the same body, that predict further tokens
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["mmproj", "vocab_only"])]
    mtp_from: Option<PathBuf>,
    /// The directory of the model that a draft (EAGLE3, DFlash, DSpark) guesses for: it has the tokenizer; weights are not
    /// needed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["mmproj", "mtp", "mtp_from"])]
    target_model_dir: Option<PathBuf>,
    /// Take in the dense modules behind the pooling of EmbeddingGemma (2_Dense, 3_Dense), which llama.cpp computes
    #[arg(long, conflicts_with_all = ["mmproj", "mtp", "mtp_from"])]
    sentence_transformers_dense_modules: bool,
    /// Write gates and ups of experts as one tensor a layer, where llama.cpp takes that
    #[arg(long, conflicts_with_all = ["mmproj", "mtp_from"])]
    fuse_gate_up_exps: bool,
    /// Write queries, keys and values as one tensor a layer, where llama.cpp's converter does
    #[arg(long, conflicts_with_all = ["mmproj", "mtp_from"])]
    fuse_qkv: bool,
    /// Write weights that were FP8 as Q8_0 in a file of F32, F16 or BF16
    #[arg(long, conflicts_with = "mmproj")]
    fp8_as_q8: bool,
    /// Take keys of general.* from FILE (JSON), whatever the checkpoint says
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Read Mistral's own layout (params.json, consolidated.safetensors) of a directory that has Hugging Face's, too
    #[arg(long)]
    mistral_format: bool,
    /// Write the vocabulary and the metadata alone, without weights
    #[arg(long, conflicts_with_all = ["mmproj", "target_size", "target_bpw", "target_kld", "device", "sweep"], help_heading = "Output")]
    vocab_only: bool,
    /// List the classes that are converted, as `ggraft architectures` does
    #[arg(long, exclusive = true)]
    print_supported_models: bool,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    sweep: Sweep,
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

pub(super) fn run(mut args: Args) -> Result<()> {
    let (Some(input), false) = (&args.input, args.print_supported_models) else {
        return stdout::print(page::classes().as_bytes());
    };
    of_ggufs(&args)?;
    args.sweep.alone(&args.output.run, args.output.output.as_deref())?;
    if args.mixture.has_budget() {
        options::early(args.output.output.as_deref(), &args.output.run)?;
    }
    report::print_notes(&args.taken.notes(), args.output.run.show.quiet);
    let stages = Stage::new(args.output.run.show.how());
    stages.begin("opening the model", 1);
    let access = args.elsewhere.access(&stages);
    let away = args.output.run.away(&mut args.output.output, "convert", &access)?;
    let options = wishes(&args)?;
    let own = match args.mistral_format {
        true => mistral(input)?,
        false => input.clone(),
    };
    let mut input = match args.mmproj {
        true => pipeline::open_projector(&own, &options, &access)?,
        false => pipeline::open_with(&own, &options, &access)?,
    };
    if input.source.is_none() {
        of_checkpoints(&options).map_err(|error| error.file(&own))?;
    }
    if let Some(donor) = &args.mtp_from {
        let kept = arch::Options { predicting: Predicting::Kept, ..options };
        input = pipeline::grafted(input, pipeline::open_with(donor, &kept, &access)?)?;
    }
    let kind = |kind: &Choice<Type>| match kind.0 {
        Type::Auto if !args.mixture.has_budget() && !args.sweep.is_given() => Type::of_weights(&input.model),
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
    let mixtures = args.sweep.mixtures(&args.mixture, &args.types)?;
    let target = |(kind, mixture): (&Type, &Mixture)| {
        let (name, stages) = (name.clone(), stages.clone());
        Ok(Target { division, measure, name, stages, ..mixture.target(*kind)? })
    };
    let all = types.iter().flat_map(|kind| mixtures.iter().map(move |mixture| (kind, mixture)));
    let targets = all.map(target).collect::<Result<Vec<_>>>()?;
    let pool = options::thread_pool(args.output.run.threads)?;
    if args.sweep.is_given() {
        let plans = pool.install(|| pipeline::convert_each(input, &targets))?;
        stages.end();
        return args.sweep.tell(plans, &args.output.run, pool.current_num_threads());
    }
    let mut adapters = if args.vocab_only { Vec::new() } else { pipeline::tasks(&input)? };
    if !adapters.is_empty() && targets.iter().any(|target| !target.prune.is_empty()) {
        let note = "the adapters for its tasks are left out: they are of all its layers";
        report::print_notes(&[String::from(note)], args.output.run.show.quiet);
        adapters.clear();
    }
    let plans = pool.install(|| pipeline::convert_all(input, &targets))?;
    stages.end();
    let default = |plan: &Plan| match args.mtp {
        true => PathBuf::from(format!("mtp-{}", plan.file_name(None).display())),
        false => plan.file_name(None),
    };
    let naming = Naming { typed: args.output.output, several: plans.len() > 1, default: &default };
    let mut plans = naming.all(plans)?;
    if let Some(first) = plans.iter().find(|(plan, _)| !plan.is_directory()).map(|(_, path)| path.clone()) {
        plans.extend(adapters.into_iter().map(|(task, plan)| (plan, naming::of_task(&first, &task))));
    }
    let words = args.mixture.words()?;
    let order = Order {
        words: &words,
        command: &command::typed("convert", &[]),
        formula: None,
        recipe: None,
        beside: &args.output.beside,
        run: &args.output.run,
        access: &access,
        away: away.as_ref(),
    };
    carrying::carry_out(&plans, &order, || Ok(Vec::new()))
}

/// Refuses what only a GGUF can be where a directory is asked for, and parts that layers are put between.
fn of_ggufs(args: &Args) -> Result<()> {
    let options = [
        ("--mtp", args.mtp),
        ("--no-mtp", args.no_mtp),
        ("--mtp-from", args.mtp_from.is_some()),
        ("--sentence-transformers-dense-modules", args.sentence_transformers_dense_modules),
        ("--fuse-gate-up-exps", args.fuse_gate_up_exps),
        ("--fuse-qkv", args.fuse_qkv),
        ("--fp8-as-q8", args.fp8_as_q8),
        ("--metadata", args.metadata.is_some()),
    ];
    let is_directory = args.types.iter().any(|kind| matches!(kind.0, Type::Safetensors(_)));
    if let Some((option, _)) = options.iter().find(|(_, is_given)| *is_given && is_directory) {
        return Err(Error::usage(format!("{option} works on GGUF outputs only"))
            .hint("leave it out, or choose a GGUF --type"));
    }
    if args.mtp_from.is_some() && args.splitting.keep_split {
        return Err(Error::usage("the parts of a model cannot be kept where layers of another are added")
            .found("--keep-split and --mtp-from")
            .hint("give --split-max-size in the place of --keep-split"));
    }
    Ok(())
}

/// Refuses what can be wished of a checkpoint alone.
fn of_checkpoints(options: &arch::Options) -> Result<()> {
    let wishes = [
        (
            options.target.is_some(),
            "--target-model-dir is for checkpoints: a GGUF has its tokenizer",
            "leave it out",
        ),
        (
            !options.told.is_empty(),
            "--metadata is for checkpoints",
            "edit the metadata of a GGUF with ggraft meta",
        ),
        (options.fuses, "--fuse-gate-up-exps is for checkpoints", "convert the checkpoint anew"),
        (options.fuses_qkv, "--fuse-qkv is for checkpoints", "convert the checkpoint anew"),
        (options.eights, "--fp8-as-q8 is for checkpoints", "convert the checkpoint anew"),
    ];
    match wishes.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, wrong, hint)) => Err(Error::usage(wrong).hint(hint)),
        None => Ok(()),
    }
}

/// What the options say of the adoption.
fn wishes(args: &Args) -> Result<arch::Options> {
    let predicting = match (args.mtp, args.no_mtp) {
        (true, _) => Predicting::Only,
        (_, true) => Predicting::Without,
        _ => Predicting::Kept,
    };
    let told = args.metadata.as_deref().map(told).transpose()?.unwrap_or_default();
    let target = args.target_model_dir.clone();
    let dense = args.sentence_transformers_dense_modules;
    let (fuses, eights) = (args.fuse_gate_up_exps, args.fp8_as_q8);
    let (pre, fuses_qkv) = (args.pre.clone(), args.fuse_qkv);
    Ok(arch::Options { pre, predicting, target, dense, fuses, fuses_qkv, eights, told })
}

/// The keys of general.* that `file` tells.
fn told(file: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(&e, file))?;
    let wrong = |e: String| Error::invalid("this is no JSON object of keys").file(file).found(e);
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let told = match json {
        serde_json::Value::Object(told) => told,
        other => return Err(wrong(other.to_string().chars().take(60).collect())),
    };
    arch::check_told(&told).map_err(|e| e.file(file))?;
    Ok(told)
}

/// The weights of Mistral's own layout in a directory.
fn mistral(dir: &Path) -> Result<PathBuf> {
    let names = ["consolidated.safetensors.index.json", "consolidated.safetensors"];
    let found = names.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::usage("--mistral-format is for a directory in Mistral's own layout")
            .file(dir)
            .expected(names.join(" or "))
    })
}
