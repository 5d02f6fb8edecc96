//! `ggraft merge`: the main job.

use super::mixture::Mixture;
use super::options::{self, Output};
use super::vocabulary::Vocabulary;
use super::weights::Weights;
use crate::ftype::Ftype;
use crate::merge::{self, Allowed, Vector};
use crate::pipeline::{self, Plan};
use crate::{arch, report};
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The pre-trained parent of both other models: a Hugging Face directory, a .safetensors or a .gguf file
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["vector", "method"])]
    base: Option<PathBuf>,
    /// The chat model that was made from the base
    #[arg(long, value_name = "MODEL", required_unless_present = "vector")]
    chat: Option<PathBuf>,
    /// CP: the continually pre-trained model that gets the chat vector
    #[arg(long, value_name = "MODEL", visible_alias = "cp")]
    onto: PathBuf,
    /// How much of the chat vector to add; several, as 0.5,0.7,1.0, give an output each
    #[arg(short, long, value_name = "W", default_value = "1.0", allow_hyphen_values = true, value_delimiter = ',', value_parser = weight)]
    weight: Vec<f64>,
    /// A vector with a weight of its own; may be given several times, instead of --chat, --base and --weight
    #[arg(long, value_name = "CHAT:BASE:W", conflicts_with_all = ["base", "chat", "weight"], value_parser = vector)]
    vector: Vec<VectorPaths>,
    /// Output type: Q4_K_M, Q8_0, F16, …; several, as Q4_K_M,Q8_0, give an output each
    #[arg(long = "type", value_name = "TYPE", required = true, value_delimiter = ',', value_parser = options::ftype)]
    ftypes: Vec<&'static Ftype>,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    vocabulary: Vocabulary,
    #[command(flatten)]
    kinship: Kinship,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    output: Output,
}

/// What may be merged although it does not seem to belong together.
#[derive(clap::Args)]
struct Kinship {
    /// Merge models whose configurations differ in norm epsilon, rope or window
    #[arg(long)]
    allow_mismatch: bool,
    /// Merge models whose weights show that they do not come from one base
    #[arg(long)]
    allow_unrelated: bool,
    /// Take the vector from models that are quantized more coarsely than Q8_0
    #[arg(long)]
    allow_quantized_vector: bool,
}

impl Kinship {
    fn allowed(&self) -> Allowed {
        Allowed { unrelated: self.allow_unrelated, quantized_vector: self.allow_quantized_vector }
    }
}

/// The two models of a vector, and its weight.
#[derive(Clone, Debug)]
struct VectorPaths {
    chat: PathBuf,
    base: PathBuf,
    weight: f64,
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(w) if w.is_finite() => Ok(w),
        _ => Err(String::from("expected a finite number, such as 1.0 or 0.5")),
    }
}

fn vector(text: &str) -> Result<VectorPaths, String> {
    let parts: Vec<&str> = text.rsplitn(3, ':').collect();
    let [w, base, chat] = parts[..] else { return Err(String::from("expected CHAT:BASE:W")) };
    Ok(VectorPaths { chat: chat.into(), base: base.into(), weight: weight(w)? })
}

pub(super) fn run(args: Args) -> Result<()> {
    let options = arch::Options { pre: args.pre.clone() };
    let how = merge::Options {
        allow_mismatch: args.kinship.allow_mismatch,
        vocabulary: args.vocabulary.choices()?,
        ..args.weights.options()?
    };
    let (paths, weights) = vectors(&args)?;
    let targets = args.ftypes.iter().map(|f| args.mixture.target(f)).collect::<Result<Vec<_>>>()?;
    let load = |path: &Path| match targets.first() {
        Some(target) => pipeline::load(path, &options)?.pruned(&target.prune),
        None => pipeline::load(path, &options),
    };
    let onto = load(&args.onto)?;
    let mut vectors = Vec::with_capacity(paths.len());
    for (chat, base) in &paths {
        vectors.push(Vector { chat: load(chat)?.model, base: load(base)?.model });
    }
    let grafted = pipeline::graft(onto, &vectors, how)?;
    let plans = grafted.plans(&weights, &targets)?;
    let named = plans.into_iter().enumerate().map(|(i, plan)| {
        let weights = &weights[i / targets.len()];
        let path = output(&args, &plan, weights);
        (plan, path)
    });
    let inputs: Vec<&Path> =
        paths.iter().flat_map(|(chat, base)| [chat.as_path(), base]).chain([args.onto.as_path()]).collect();
    let run = &args.output.run;
    options::carry_out(&named.collect::<Vec<_>>(), &inputs, run, || {
        let notes = grafted.graft.check_kinship(args.kinship.allowed())?;
        report::print_notes(&notes, run.quiet);
        Ok(())
    })
}

/// Where the chat model of a vector is, and its base.
type Pair = (PathBuf, PathBuf);

/// The models of each vector, and the sets of weights, one a vector, that are asked for.
fn vectors(args: &Args) -> Result<(Vec<Pair>, Vec<Vec<f64>>)> {
    let Some(chat) = &args.chat else {
        let paths = args.vector.iter().map(|v| (v.chat.clone(), v.base.clone())).collect();
        return Ok((paths, vec![args.vector.iter().map(|v| v.weight).collect()]));
    };
    let base = match &args.base {
        Some(base) => base,
        // A base that is not read need not be given; CP stands in for it.
        None if !args.weights.method.reads_base => &args.onto,
        None => {
            let name = args.weights.method.name;
            return Err(Error::usage(format!("the method {name} needs --base")));
        }
    };
    Ok((vec![(chat.clone(), base.clone())], args.weight.iter().map(|w| vec![*w]).collect()))
}

/// Where an output goes: `-o` with `{type}` and `{weight}` filled in, or by convention, with the weight if there
/// are several.
fn output(args: &Args, plan: &Plan, weights: &[f64]) -> PathBuf {
    let weights: Vec<String> = weights.iter().map(f64::to_string).collect();
    let weight = weights.join("+");
    match &args.output.output {
        Some(path) => {
            let text = path.to_string_lossy();
            PathBuf::from(text.replace("{type}", plan.ftype.name).replace("{weight}", &weight))
        }
        None if args.weight.len() > 1 => plan.file_name(Some(&format!("w{weight}"))),
        None => plan.file_name(None),
    }
}
