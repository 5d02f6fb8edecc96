//! mergekit's YAML as a recipe: the methods that both have, on whole models. What ggraft would do otherwise than
//! mergekit is refused by its name and line; what has no effect here is told in a note.
//! Specification: `config.py` of mergekit 0.1.4; `terms` has the methods.

mod setting;
mod slices;
mod spread;
mod terms;

use super::read::Fault;
use super::walk::At;
use super::yaml::Node;
use super::{Allow, Choice, Place, Recipe, Vocabulary, Word};
use crate::merge::tokens::matching::{Baseless, Embeddings};
use crate::merge::{METHODS, Method};
use crate::output::target::Type;
use slices::{Sliced, model, worn};
use std::path::{Path, PathBuf};
use terms::{Source, Terms};

/// Whether the file is one of mergekit's.
pub(crate) fn is_mergekit(node: &Node) -> bool {
    node.get("merge_method").is_some()
}

/// The dtypes that mergekit writes, and the types that hold them.
const DTYPES: &[(&str, &str)] = &[("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16")];

/// Reads the file as a recipe, with notes on what has no effect.
pub(crate) fn import(node: &Node) -> Result<(Recipe, Vec<String>), Fault> {
    let root = At::root(node);
    root.only(&[
        "merge_method",
        "base_model",
        "models",
        "slices",
        "parameters",
        "dtype",
        "out_dtype",
        "tokenizer_source",
        "tokenizer",
        "chat_template",
        "name",
    ])?;
    let method = method(&root.need("merge_method")?)?;
    if !method.takes_vectors() {
        return passthrough(&root, method);
    }
    let (sources, layers, slices) = sources(&root)?;
    let onto = onto(&root, method, &sources)?;
    let onto_path = model(&onto)?;
    let Terms { vectors, adapters, weights, parameters, mut notes } = terms::read(method, &onto, &sources)?;
    let is_onto = |place: &Place| place.path() == Some(Path::new(onto_path));
    let base_is_onto = method.reads_base && vectors.iter().any(|v| is_onto(&v.base));
    let pairs = vectors.iter().any(|v| !is_onto(&v.base));
    let rows = tokenizer(&root, onto_path, pairs, &mut notes)?;
    let vocabulary = Vocabulary { chat_template: chat_template(&root, &mut notes)?, ..rows };
    let stacks = slices::stacks(&slices, onto_path)?;
    let mut recipe = Recipe {
        onto: Place::from(onto_path),
        vectors,
        adapters,
        parameters,
        weights,
        types: dtype(&root, &mut notes)?,
        layers,
        vocabulary,
        allow: Allow { base_is_onto, ..Allow::default() },
        ..Recipe::of(method)
    };
    let onto_is_stacked = stacks.is_empty() || stacks.iter().any(|(path, _)| path == Path::new(onto_path));
    if !onto_is_stacked {
        let fault = Fault::unsupported("the base model must be among the sources of every slice");
        return Err(onto.fault(fault));
    }
    let vectors = recipe.vectors.iter_mut().flat_map(|v| [&mut v.chat, &mut v.base]);
    vectors.chain([&mut recipe.onto]).for_each(|place| slices::put(place, &stacks));
    Ok((recipe, notes))
}

fn method(at: &At<'_>) -> Result<&'static Method, Fault> {
    let name = at.text()?;
    let is_known = |m: &&Method| terms::is_known(m.name) || !m.takes_vectors();
    let method = METHODS.iter().find(|m| m.name == name && is_known(m));
    method.ok_or_else(|| {
        let names: Vec<&str> = METHODS.iter().filter(is_known).map(|m| m.name).collect();
        let fault = Fault::unsupported("this merge method of mergekit's is not supported");
        at.fault(fault.expected(format!("one of {}", names.join(", "))).found(format!("'{name}'")))
    })
}

/// Methods that need no base model: the first one counts as it.
const WITHOUT_BASE: [&str; 3] = ["linear", "nuslerp", "karcher"];

/// The model that the output is made from; some methods may leave it open.
fn onto<'a>(root: &At<'a>, method: &Method, sources: &[Source<'a>]) -> Result<At<'a>, Fault> {
    match (root.need("base_model"), sources.first()) {
        (Err(_), Some(first)) if WITHOUT_BASE.contains(&method.name) => Ok(first.model.clone()),
        (base, _) => base,
    }
}

/// The output's tokens are those of the base model, and none other. With a tokenizer named, mergekit merges rows by
/// token, and takes CP's row for a token that a model lacks; without one, by id. `pairs` says whether differences are
/// from another model than CP.
fn tokenizer(root: &At<'_>, onto: &str, pairs: bool, notes: &mut Vec<String>) -> Result<Vocabulary, Fault> {
    let rows = |embeddings| Vocabulary {
        embeddings: Choice(embeddings),
        baseless_tokens: Choice(Baseless::Lerp),
        no_auto_copy: true,
        ..Vocabulary::default()
    };
    let source = match (root.get("tokenizer_source"), root.get("tokenizer")) {
        (Some(_), Some(at)) => {
            return Err(at.fault(Fault::new("tokenizer_source and tokenizer exclude each other")));
        }
        (Some(source), None) => source,
        (None, Some(tokenizer)) => {
            tokenizer.only(&["source"])?;
            tokenizer.need("source")?
        }
        (None, None) => {
            notes.push(format!(
                "line {}: tokenizer_source is not given: rows beyond the tokens stay those of base_model; mergekit merges them by id",
                root.line
            ));
            return Ok(rows(Embeddings::All));
        }
    };
    let found = source.text()?;
    if found == "base" || found == onto {
        let key = if source.path.is_empty() { "tokenizer_source" } else { source.path.as_str() };
        notes.push(format!(
            "line {}: {key}: rows beyond the tokens stay as they are in base_model; mergekit cuts them off",
            source.line
        ));
        if pairs {
            notes.push(format!(
                "line {}: {key}: a token that one model of a pair with opposite weights lacks keeps base_model's row; mergekit adds the other's difference from that row",
                source.line
            ));
        }
        return Ok(rows(Embeddings::Shared));
    }
    let fault = Fault::unsupported("the output has the tokens of the base model");
    Err(source.fault(fault.expected(format!("base or '{onto}'")).found(format!("'{found}'"))))
}

/// The templates that both programs have under one name.
const TEMPLATES: &[&str] = &["alpaca", "chatml", "llama3", "mistral"];

/// Where mergekit's template of that name renders otherwise, and how.
const OTHERWISE: &[(&str, &str)] = &[
    ("alpaca", "writes neither BOS nor EOS"),
    ("llama3", "writes a newline after each <|eot_id|>"),
    ("mistral", "puts spaces around [INST] and writes a system message as a turn of its own"),
];

/// Without one, mergekit leaves the base model's; here that of the chat model stands in where there is none.
fn chat_template(root: &At<'_>, notes: &mut Vec<String>) -> Result<Option<PathBuf>, Fault> {
    let Some(at) = root.get("chat_template") else { return Ok(None) };
    match at.text()? {
        "auto" => Ok(None),
        name if TEMPLATES.contains(&name) => {
            if let Some((_, differs)) = OTHERWISE.iter().find(|(other, _)| *other == name) {
                notes.push(format!(
                    "line {}: chat_template: '{name}' is ggraft's template of this format, not mergekit's, which {differs}",
                    at.line
                ));
            }
            Ok(Some(name.into()))
        }
        other => {
            let found = other.lines().next().unwrap_or_default();
            let fault = Fault::unsupported("this chat template is not supported");
            let expected = format!("one of auto, {}", TEMPLATES.join(", "));
            Err(at.fault(fault.expected(expected).found(format!("'{found}'"))))
        }
    }
}

/// The type of the output: GGUF's float types hold what mergekit would write.
fn dtype(root: &At<'_>, notes: &mut Vec<String>) -> Result<Vec<Choice<Type>>, Fault> {
    let named = |at: &At<'_>| -> Result<&'static str, Fault> {
        let text = at.text()?;
        let found = DTYPES.iter().find(|(name, _)| *name == text);
        found.map(|(_, ftype)| *ftype).ok_or_else(|| {
            let names: Vec<&str> = DTYPES.iter().map(|(name, _)| *name).collect();
            let fault = Fault::unsupported("this dtype is not supported");
            at.fault(fault.expected(format!("one of {}", names.join(", "))).found(format!("'{text}'")))
        })
    };
    let (dtype, out) = (root.get("dtype"), root.get("out_dtype"));
    let computed = dtype.as_ref().map(named).transpose()?;
    if computed.is_some_and(|c| c != "F32") {
        notes.push(String::from(
            "dtype: the merge is computed in float64 and rounded once, to the output's type",
        ));
    }
    let Some(name) = out.as_ref().map(named).transpose()?.or(computed) else { return Ok(Vec::new()) };
    let kind = <Type as Word>::parse(name).map_err(|e| root.fault(Fault::unsupported(e)))?;
    Ok(vec![Choice(kind)])
}

/// The models, how many layers they must have, where the file says so, and the slices that they begin, if they are not whole.
type Given<'a> = (Vec<Source<'a>>, Option<u64>, Vec<Sliced<'a>>);

fn sources<'a>(root: &At<'a>) -> Result<Given<'a>, Fault> {
    let globals = root.get("parameters");
    let mut sources = Vec::new();
    match (root.get("models"), root.get("slices")) {
        (Some(models), None) => {
            for item in models.items()? {
                item.only(&["model", "parameters"])?;
                let at = item.need("model")?;
                let levels = [item.get("parameters"), None, globals.clone()];
                let (path, adapter) = worn(&at)?;
                sources.push(Source { path, adapter, model: at, levels });
            }
            Ok((sources, None, Vec::new()))
        }
        (None, Some(at)) => {
            let slices = slices::read(&at)?;
            let sources = slices::sources(&slices, &globals);
            if let Some(globals) = globals.filter(|g| slices.len() > 1 && slices::has_gradient(g.node)) {
                let fault = Fault::unsupported("a gradient goes over the layers of each slice in mergekit");
                return Err(globals.fault(fault.hint("give one number")));
            }
            match slices::whole(&slices) {
                Some(layers) => Ok((sources, Some(layers), Vec::new())),
                None => Ok((sources, None, slices)),
            }
        }
        (Some(_), Some(slices)) => Err(slices.fault(Fault::new("models and slices exclude each other"))),
        (None, None) => Err(root.fault(Fault::new("neither models nor slices are given"))),
    }
}

/// The recipe of `passthrough`, which merges nothing.
fn passthrough(root: &At<'_>, method: &'static Method) -> Result<(Recipe, Vec<String>), Fault> {
    let stack = slices::passthrough(root)?;
    let mut notes = Vec::new();
    let mut models: Vec<&Path> = stack.slices.iter().map(|slice| slice.model.as_path()).collect();
    models.dedup();
    let files = stack.files.as_deref().or(models.first().copied()).unwrap_or(Path::new(""));
    if models.iter().any(|model| *model != files) && root.get("base_model").is_none() {
        notes.push(format!(
            "config and tokenizer are those of the first slice's model; mergekit, without base_model, takes those of any of the models ({})",
            files.display()
        ));
    }
    if let Some(at) = root.get("tokenizer_source").or_else(|| root.get("tokenizer")) {
        let ends = [models.first(), models.last()].into_iter().flatten();
        let named = match at.get("source") {
            Some(source) => source,
            None => at.clone(),
        };
        let word = named.text()?;
        if word != "base" && Path::new(word) != files || ends.into_iter().any(|model| *model != files) {
            let fault = Fault::unsupported("passthrough moves no rows from one vocabulary to another");
            let expected = "that of the model of the first and the last slice";
            return Err(named.fault(fault.expected(expected).found(format!("'{word}'"))));
        }
        notes.push(format!("line {}: rows beyond the tokens stay; mergekit cuts them off", named.line));
    }
    let recipe = Recipe {
        onto: Place::Stack(stack),
        types: dtype(root, &mut notes)?,
        vocabulary: Vocabulary { chat_template: chat_template(root, &mut notes)?, ..Vocabulary::default() },
        ..Recipe::of(method)
    };
    Ok((recipe, notes))
}
