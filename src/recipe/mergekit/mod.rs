//! mergekit's YAML as a recipe: the methods that both have, on whole models. What ggraft would do otherwise than
//! mergekit is refused by its name and line; what has no effect here is told in a note.
//! Specification: `config.py` of mergekit 0.1.4; `terms` has the methods.

mod setting;
mod spread;
mod terms;

use super::read::Fault;
use super::walk::At;
use super::yaml::Node;
use super::{Allow, Choice, Mixture, Recipe, Splitting, Vocabulary, Word};
use crate::merge::tokens::matching::{Baseless, Embeddings};
use crate::merge::{METHODS, Method};
use crate::output::target::Type;
use ggraft_formats::source::is_named;
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
    ])?;
    let method = method(&root.need("merge_method")?)?;
    let (sources, layers) = sources(&root)?;
    let onto = onto(&root, method, &sources)?;
    let onto_path = model(&onto)?;
    let Terms { vectors, weights, parameters, mut notes } = terms::read(method, &onto, &sources)?;
    let base_is_onto = method.reads_base && vectors.iter().any(|v| v.base == Path::new(onto_path));
    let pairs = vectors.iter().any(|v| v.base.as_os_str() != onto_path);
    let rows = tokenizer(&root, onto_path, pairs, &mut notes)?;
    let vocabulary = Vocabulary { chat_template: chat_template(&root, &mut notes)?, ..rows };
    let recipe = Recipe {
        onto: PathBuf::from(onto_path),
        vectors,
        adapters: Vec::new(),
        method: Choice(method),
        parameters,
        weights,
        weight_presets: Vec::new(),
        types: dtype(&root, &mut notes)?,
        output: None,
        name: None,
        pre: None,
        layers,
        vocabulary,
        allow: Allow { base_is_onto, ..Allow::default() },
        mixture: Mixture::default(),
        splitting: Splitting::default(),
    };
    Ok((recipe, notes))
}

fn method(at: &At<'_>) -> Result<&'static Method, Fault> {
    let name = at.text()?;
    let method = METHODS.iter().find(|m| m.name == name && terms::is_known(name));
    method.ok_or_else(|| {
        let names: Vec<&str> = METHODS.iter().map(|m| m.name).filter(|name| terms::is_known(name)).collect();
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

/// The path of a model. mergekit also takes a revision and an adapter behind it.
fn model<'a>(at: &At<'a>) -> Result<&'a str, Fault> {
    let path = at.text()?;
    match path.find(['@', '+']) {
        None => Ok(path),
        // A revision of a model of the hub.
        Some(_) if is_named(Path::new(path)) => Ok(path),
        Some(_) => Err(at.fault(
            Fault::unsupported("revisions (@) and adapters (+) are not supported")
                .found(format!("'{path}'"))
                .hint("give the directory of a whole model"),
        )),
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

/// The models, and how many layers they must have, where the file says so.
fn sources<'a>(root: &At<'a>) -> Result<(Vec<Source<'a>>, Option<u64>), Fault> {
    let globals = root.get("parameters");
    let mut sources = Vec::new();
    match (root.get("models"), root.get("slices")) {
        (Some(models), None) => {
            for item in models.items()? {
                item.only(&["model", "parameters"])?;
                let at = item.need("model")?;
                let levels = [item.get("parameters"), None, globals.clone()];
                sources.push(Source { path: model(&at)?, model: at, levels });
            }
            Ok((sources, None))
        }
        (None, Some(slices)) => {
            let (slice, layers) = whole_slice(&slices)?;
            for item in slice.need("sources")?.items()? {
                let at = item.need("model")?;
                let levels = [item.get("parameters"), slice.get("parameters"), globals.clone()];
                sources.push(Source { path: model(&at)?, model: at, levels });
            }
            Ok((sources, Some(layers)))
        }
        (Some(_), Some(slices)) => Err(slices.fault(Fault::new("models and slices exclude each other"))),
        (None, None) => Err(root.fault(Fault::new("neither models nor slices are given"))),
    }
}

/// The one slice of the file, which must take the same layers of every model, from the first on.
fn whole_slice<'a>(slices: &At<'a>) -> Result<(At<'a>, u64), Fault> {
    let all = slices.items()?;
    let [slice] = all.as_slice() else {
        let fault = Fault::unsupported("the models are merged whole: one slice with all layers");
        return Err(slices.fault(fault.found(format!("{} slices", all.len()))));
    };
    slice.only(&["sources", "parameters"])?;
    let mut layers = None;
    for source in slice.need("sources")?.items()? {
        source.only(&["model", "layer_range", "parameters"])?;
        let range = source.need("layer_range")?;
        let ends: Vec<u64> = range.items()?.iter().map(At::count).collect::<Result<_, _>>()?;
        match ends[..] {
            [0, end] if layers.is_none_or(|n| n == end) => layers = Some(end),
            _ => {
                let fault = Fault::unsupported("the models are merged whole: one slice with all layers");
                let expected =
                    layers.map_or(String::from("[0, the number of layers]"), |n| format!("[0, {n}]"));
                return Err(range.fault(fault.expected(expected).found(format!("{ends:?}"))));
            }
        }
    }
    let layers = layers.ok_or_else(|| slice.fault(Fault::new("the slice has no sources")))?;
    Ok((slice.clone(), layers))
}
