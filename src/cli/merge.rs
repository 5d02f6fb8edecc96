//! `ggraft merge`: the main job. What is typed, or what a file says, becomes a recipe, and the recipe is run.

use super::beside::Beside;
use super::elsewhere::Elsewhere;
use super::errand::Errand;
use super::naming::Naming;
use super::options::{self, Order, Output};
use super::weights::Weights;
use super::{carrying, command, habits, stdout};
use crate::adapter::Adapter;
use crate::arch;
use crate::merge::Vector;
use crate::output::target::{Target, Type};
use crate::pipeline::{self, Loaded, Plan};
use crate::recipe::{self, Allow, Choice, Mixture, Place, Recipe, Scalar, Splitting, Vocabulary};
use crate::report::Stage;
use crate::stacking;
use crate::stages::Stages;
use crate::text::shown;
use ggraft_formats::source::together;
use ggraft_formats::stamp::Stamp;
use ggraft_formats::write::write_whole;
use ggraft_formats::{Error, Result};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A recipe as --emit-recipe writes it, or mergekit's YAML, instead of the options that say what is merged; options
    /// for vocabulary and template, and --allow-*, take the place of what it says
    #[arg(value_name = "RECIPE", conflicts_with_all = ["Models", "Weights", "Mixture", "Splitting"])]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    models: Models,
    /// Output type: Q4_K_M, Q8_0, F16, …, safetensors, safetensors-bf16, -f16, -f32; several, as Q4_K_M,Q8_0, give an
    /// output each
    #[arg(long = "type", value_name = "TYPE", required_unless_present_any = ["recipe", "target_size", "target_bpw", "target_kld", "device"], value_delimiter = ',', hide_possible_values = true, help_heading = "Output")]
    types: Vec<Choice<Type>>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    vocabulary: Vocabulary,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    splitting: Splitting,
    /// Write the recipe of what was typed to FILE, or to stdout if it is -, and stop
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    emit_recipe: Option<PathBuf>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    #[command(flatten)]
    output: Output,
}

/// What is merged, and how.
#[derive(clap::Args)]
#[command(next_help_heading = "Models")]
struct Models {
    /// The pre-trained parent of both other models: a Hugging Face directory, a .safetensors or a .gguf file
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["vector", "adapter", "recipe", "method"])]
    base: Option<PathBuf>,
    /// The chat model that was made from the base
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["vector", "adapter", "recipe", "method"])]
    chat: Option<PathBuf>,
    /// CP: the continually pre-trained model that gets the chat vector
    #[arg(long, value_name = "MODEL", visible_alias = "cp", required_unless_present = "recipe")]
    onto: Option<PathBuf>,
    /// How much of the chat vector to add; several, as 0.5,0.7,1.0, give an output each
    #[arg(short, long, value_name = "W", default_value = "1.0", allow_hyphen_values = true, value_delimiter = ',', value_parser = weight)]
    weight: Vec<f64>,
    /// A vector with a weight of its own; may be given several times, instead of --chat, --base and --weight
    #[arg(long, value_name = "CHAT:BASE:W", conflicts_with_all = ["base", "chat", "weight"], value_parser = vector, value_hint = clap::ValueHint::Other)]
    vector: Vec<recipe::Vector>,
    /// A LoRA adapter that is merged too, or alone: of PEFT or a GGUF, with a weight of its own (1 by default, --weight
    /// without --chat); may be given several times
    #[arg(long, value_name = "ADAPTER[:W]", value_parser = adapter, value_hint = clap::ValueHint::Other)]
    adapter: Vec<Worn>,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer
    #[arg(long, value_name = "NAME", help_heading = "Vocabulary")]
    pre: Option<String>,
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(w) if w.is_finite() => Ok(w),
        _ => Err(String::from("expected a finite number, such as 1.0 or 0.5")),
    }
}

/// Weights beyond this are no part of a vector that anybody adds.
const LARGEST: f64 = 2.0;

/// What to say of two weights that may have been meant as one.
///
/// # Errors
/// They can hardly have been meant as two.
fn decimal_comma(weights: &[f64]) -> Result<Vec<String>> {
    let (whole, part) = match weights {
        [whole, part] if [whole, part].iter().all(|w| w.fract() == 0.0) && whole != part => (whole, part),
        _ => return Ok(Vec::new()),
    };
    if *part > LARGEST {
        return Err(Error::usage("a comma stands between weights, a point within one")
            .found(format!("--weight {whole},{part}"))
            .hint(format!(
                "for one output of {whole}.{part} give -w {whole}.{part}; for two -w {part},{whole}"
            )));
    }
    Ok(vec![format!(
        "warning: the weights {whole} and {part}: an output each; for one of {whole}.{part} give -w {whole}.{part}"
    )])
}

/// An adapter, and its weight, if it was told.
#[derive(Clone)]
struct Worn {
    path: PathBuf,
    weight: Option<f64>,
}

fn adapter(text: &str) -> Result<Worn, String> {
    Ok(match command::adapter_parts(text) {
        Some((path, w)) => Worn { path: path.into(), weight: Some(weight(w)?) },
        None => Worn { path: text.into(), weight: None },
    })
}

fn vector(text: &str) -> Result<recipe::Vector, String> {
    let [chat, base, w] = command::vector_parts(text).ok_or_else(|| String::from("expected CHAT:BASE:W"))?;
    Ok(recipe::Vector::new(chat, base, vec![weight(w)?]))
}

impl Args {
    /// How the work is done.
    pub fn settings(&mut self) -> &mut options::Run {
        &mut self.output.run
    }
}

pub(super) fn run(mut args: Args) -> Result<()> {
    if args.emit_recipe.is_some() && !matches!(args.output.run.errand, Errand::Write) {
        return Err(Error::usage("a recipe is no plan for jobs")
            .found("--emit-recipe")
            .hint("leave it out; a plan can be made of a recipe: ggraft plan merge recipe.yml"));
    }
    let stamp = args.recipe.as_deref().map(Stamp::of).transpose()?;
    let (recipe, notes) = match args.recipe.take() {
        Some(file) => read(&file, &mut args)?,
        None => {
            let notes = decimal_comma(&args.models.weight)?;
            (typed(&mut args)?, notes)
        }
    };
    match &args.emit_recipe {
        Some(file) => write(&recipe, file, args.output.run.force),
        None => carry_out(&recipe, stamp, notes, &args),
    }
}

/// The recipe of a file; types, a name, and choices about the vocabulary that were typed take the place of its own.
fn read(file: &Path, args: &mut Args) -> Result<(Recipe, Vec<String>)> {
    if file.is_dir() {
        return Err(Error::usage("this is a directory, not a recipe")
            .file(file)
            .hint(habits::models(&command::all()?)));
    }
    let (mut recipe, notes) = Recipe::read(file)?;
    if !args.types.is_empty() {
        recipe.types = take(&mut args.types);
    }
    recipe.output = args.output.output.take().or(recipe.output);
    recipe.name = args.output.name.take().or(recipe.name);
    recipe.allow.extend(&args.allow);
    recipe.vocabulary.lay(take(&mut args.vocabulary), |id| command::is_typed("merge", id));
    if recipe.types.is_empty() && !recipe.mixture.has_budget() {
        return Err(Error::usage("the recipe does not say which type to write")
            .file(file)
            .hint("give --type"));
    }
    Ok((recipe, notes))
}

/// The recipe of what was typed.
fn typed(args: &mut Args) -> Result<Recipe> {
    let (models, weights) = (&mut args.models, &mut args.weights);
    let onto = models.onto.take().ok_or_else(|| Error::usage("--onto is missing"))?;
    let alone = models.chat.is_none() && models.vector.is_empty();
    let own = if alone { models.weight.clone() } else { vec![1.0] };
    let takes_own = models.chat.is_some() || alone && models.adapter.iter().any(|worn| worn.weight.is_none());
    if !takes_own && weights.method.0.takes_vectors() && command::is_typed("merge", "weight") {
        return Err(Error::usage("all vectors and adapters have weights of their own")
            .found("--weight")
            .hint("leave it out, or the weights behind the colons"));
    }
    let adapters = take(&mut models.adapter).into_iter().map(|worn| {
        let weight = worn.weight.map_or_else(|| own.clone(), |w| vec![w]);
        recipe::Adapter { path: worn.path, weight }
    });
    let adapters: Vec<recipe::Adapter> = adapters.collect();
    let (weight, method) = (take(&mut models.weight), weights.method.0);
    let vector_of = |chat: PathBuf, base: PathBuf| recipe::Vector::new(chat, base, weight.clone());
    let vectors = match (models.chat.take(), models.base.take()) {
        (Some(chat), Some(base)) => vec![vector_of(chat, base)],
        // A base that is not read need not be given; CP stands in for it.
        (Some(chat), None) if !weights.method.0.reads_base => {
            vec![vector_of(chat, onto.clone())]
        }
        (Some(_), None) => {
            return Err(Error::usage(format!("the method {} needs --base", method.name)));
        }
        (None, Some(_)) => return Err(Error::usage("--base is given without --chat")),
        _ => take(&mut models.vector),
    };
    if vectors.is_empty() && adapters.is_empty() && method.takes_vectors() {
        return Err(Error::usage(format!("the method {} needs --chat", method.name))
            .hint("or give --vector, or --adapter"));
    }
    if !method.takes_vectors() && command::is_typed("merge", "weight") {
        return Err(Error::usage(format!("the method {} adds nothing that has a weight", method.name))
            .found("--weight")
            .hint("scale tensors by --weights GLOB=VALUE"));
    }
    Ok(Recipe {
        onto: onto.into(),
        vectors,
        adapters,
        method: weights.method,
        parameters: take(&mut weights.params)
            .into_iter()
            .map(|(name, value)| (name, Scalar(value)))
            .collect(),
        weights: take(&mut weights.rules),
        weight_presets: take(&mut weights.presets),
        types: take(&mut args.types),
        output: args.output.output.take(),
        name: args.output.name.take(),
        pre: models.pre.take(),
        layers: None,
        vocabulary: take(&mut args.vocabulary),
        allow: take(&mut args.allow),
        mixture: take(&mut args.mixture),
        splitting: take(&mut args.splitting),
    })
}

/// Writes the recipe beside the models that it names, or to stdout.
fn write(recipe: &Recipe, file: &Path, force: bool) -> Result<()> {
    if file == Path::new("-") {
        let yaml = recipe.to_yaml(None)?;
        return stdout::print(yaml.as_bytes());
    }
    let yaml = recipe.to_yaml(file.parent())?;
    write_whole(file, yaml.as_bytes(), force)?;
    stdout::told(&shown(file).to_string())
}

fn carry_out(recipe: &Recipe, file: Option<Stamp>, mut notes: Vec<String>, args: &Args) -> Result<()> {
    let (beside, run): (&Beside, &options::Run) = (&args.output.beside, &args.output.run);
    if recipe.mixture.has_budget() {
        options::early(recipe.output.as_deref(), run)?;
    }
    let options = arch::Options { pre: recipe.pre.clone(), ..Default::default() };
    let stages = Stage::new(run.show.how());
    let access = args.elsewhere.access(&stages);
    let mut output = recipe.output.clone();
    let away = run.away(&mut output, "merge", &access)?;
    stages.begin("opening the models", 1 + 2 * recipe.vectors.len() + recipe.adapters.len());
    let targets = options::types(&recipe.types)
        .iter()
        .map(|kind| {
            let (measure, stages) = (run.report.is_some(), Arc::clone(&stages) as Arc<dyn Stages>);
            Ok(Target { measure, stages, ..recipe.target(kind.0)? })
        })
        .collect::<Result<Vec<_>>>()?;
    let pruned = |loaded: Loaded| match targets.first() {
        Some(target) => loaded.pruned(&target.prune),
        None => Ok(loaded),
    };
    let sides = recipe.vectors.iter().flat_map(|vector| [&vector.chat, &vector.base]);
    let places: Vec<&Place> = [&recipe.onto].into_iter().chain(sides).collect();
    // What is put into the cache first shows how far it is, one model after the other.
    let hands = if access.download { 1 } else { places.len().min(access.connections) };
    let each = access.among(hands);
    let open = |place: &&Place| {
        let loaded = match place {
            Place::Path(path) => pipeline::open_with(path, &options, &each)?,
            Place::Stack(_) if !recipe.mixture.prune_layers.is_empty() => return Err(pruned_stack()),
            Place::Stack(stack) => stacking::open(stack, recipe.allow.mismatch, &options, &each)?,
        };
        stages.step();
        pipeline::meant(loaded)
    };
    // One by one, none is opened after one that cannot be.
    let mut opened = together(if hands > 1 { &places } else { &[] }, hands, open).into_iter();
    let mut next = |place: &Place| opened.next().unwrap_or_else(|| open(&place));
    let bare = next(&recipe.onto)?;
    let mut worn = Vec::with_capacity(recipe.adapters.len());
    for adapter in &recipe.adapters {
        let adapter = Adapter::open(&adapter.path, &access)?;
        let made = pipeline::wear(&bare, &adapter, &options)?;
        stages.step();
        notes.extend(adapter.notes());
        let pruned = |model| pruned(Loaded::new(model, Vec::new(), None)).map(|loaded| loaded.model);
        worn.push(Vector { chat: pruned(made.chat)?, base: pruned(made.base)? });
    }
    let mut onto = pruned(bare)?;
    onto.notes.append(&mut notes);
    if let Some(layers) = recipe.layers
        && let Some(found) = onto.model.hparam("block_count").filter(|n| *n != layers)
    {
        return Err(Error::invalid("the recipe was made for models with another number of layers")
            .file(recipe.onto.path().unwrap_or(Path::new("")))
            .expected(layers)
            .found(found));
    }
    file.into_iter().chain(recipe.template()?).for_each(|stamp| onto.model.reads.add(stamp));
    if recipe.method.0.takes_vectors() {
        onto.stack.iter().try_for_each(|stack| stack.unscaled())?;
    }
    let mut vectors = Vec::with_capacity(recipe.vectors.len());
    for v in &recipe.vectors {
        let (chat, base) = (pruned(next(&v.chat)?)?, pruned(next(&v.base)?)?);
        [&chat, &base].into_iter().flat_map(|l| &l.stack).try_for_each(|stack| stack.unscaled())?;
        if let Some(stack) = &mut onto.stack {
            [&chat, &base].into_iter().flat_map(|loaded| &loaded.stack).for_each(|other| stack.extend(other));
        }
        vectors.push(Vector { chat: chat.model, base: base.model });
    }
    vectors.append(&mut worn);
    let weights = recipe.weight_sets();
    let mut grafted = pipeline::graft(onto, &vectors, recipe.options()?)?;
    // Beside a chat vector --weight is its own, and each card tells it of its output.
    let silent = if recipe.vectors.is_empty() { "types" } else { "weight" };
    grafted.command = command::typed("merge", &[silent, "types", "emit_recipe"]);
    grafted.graft.stages = stages.clone();
    let plans = options::thread_pool(run.threads)?.install(|| grafted.plans(&weights, &targets))?;
    stages.end();
    let several = recipe.outputs() > 1;
    let named = plans.into_iter().enumerate().map(|(i, plan)| {
        let weight = weight_in_names(&weights[i / targets.len()]);
        let mark = (weights.len() > 1).then(|| format!("w{weight}"));
        let default = |plan: &Plan| plan.file_name(mark.as_deref());
        let naming = Naming { typed: output.clone(), several, default: &default };
        let path = naming.path(&plan, Some(&weight))?;
        Ok((plan, path))
    });
    let (words, yaml) = (recipe.words()?, recipe.shown()?);
    let order = Order {
        words: &words,
        command: &command::typed("merge", &["emit_recipe"]),
        formula: Some(grafted.graft.method().formula),
        recipe: Some(&yaml),
        beside,
        run,
        access: &access,
        away: away.as_ref(),
    };
    carrying::carry_out(&named.collect::<Result<Vec<_>>>()?, &order, || {
        grafted.graft.check_kinship(recipe.allow.allowed())
    })
}

/// The refusal to leave out layers of what is made of layers.
fn pruned_stack() -> Error {
    Error::usage("--prune-layers leaves out layers of whole models")
        .found("a recipe with slices")
        .hint("leave the layers out of the slices")
}

/// The weights of an output, one a vector, as its name tells them.
fn weight_in_names(weights: &[f64]) -> String {
    weights.iter().map(f64::to_string).collect::<Vec<_>>().join("+")
}
