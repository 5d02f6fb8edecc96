//! mergekit's slices: layers of one model each for `passthrough`, and of several for the methods that merge, whose layers
//! are then put together first and merged afterwards, which is the same.
//! Specification: `MergePlanner` and `passthrough.py` of mergekit 0.1.4.

use super::setting::{Case, Setting};
use super::spread;
use super::terms::{Source, only};
use crate::recipe::read::Fault;
use crate::recipe::walk::At;
use crate::recipe::yaml::{Node, Value};
use crate::recipe::{Place, Rule, Slice, Stack};
use ggraft_formats::source::is_named;
use std::path::{Path, PathBuf};

/// Layers of one model, as the file names them.
#[derive(Clone)]
pub(super) struct Layers<'a> {
    pub model: At<'a>,
    pub path: &'a str,
    /// The first, and the one behind the last.
    pub range: [u64; 2],
    range_at: At<'a>,
    parameters: Option<At<'a>>,
}

/// One slice: layers of as many models as are merged.
pub(super) struct Sliced<'a> {
    pub at: At<'a>,
    pub sources: Vec<Layers<'a>>,
}

/// The path of a model, and of the adapter that it wears (`model+adapter`).
pub(super) fn worn<'a>(at: &At<'a>) -> Result<(&'a str, Option<&'a str>), Fault> {
    let text = at.text()?;
    match text.split_once('+') {
        Some((model, adapter)) => Ok((named(at, model)?, Some(named(at, adapter)?))),
        None => Ok((named(at, text)?, None)),
    }
}

/// The path of a model that is whole.
pub(super) fn model<'a>(at: &At<'a>) -> Result<&'a str, Fault> {
    named(at, at.text()?)
}

/// The path, perhaps with a revision behind it.
fn named<'a>(at: &At<'a>, path: &'a str) -> Result<&'a str, Fault> {
    if path.is_empty() {
        let fault = Fault::new("nothing stands where a name belongs").expected("MODEL or MODEL+ADAPTER");
        return Err(at.fault(fault.found(format!("'{}'", at.text()?))));
    }
    match path.find(['@', '+']) {
        None => Ok(path),
        // A revision of a model of the hub.
        Some(_) if is_named(Path::new(path)) => Ok(path),
        Some(_) => Err(at.fault(
            Fault::unsupported(
                "a revision (@) is of a name org/name, and an adapter (+) of a model of `models`",
            )
            .found(format!("'{path}'"))
            .hint("give the directory of a whole model"),
        )),
    }
}

/// The slices of the file.
pub(super) fn read<'a>(slices: &At<'a>) -> Result<Vec<Sliced<'a>>, Fault> {
    let all = slices.items()?.into_iter().map(sliced).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(slices.fault(Fault::new("there are no slices"))) } else { Ok(all) }
}

fn sliced(at: At<'_>) -> Result<Sliced<'_>, Fault> {
    at.only(&["sources", "parameters"])?;
    let sources = at.need("sources")?.items()?.iter().map(layers).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = sources.first() else { return Err(at.fault(Fault::new("the slice has no sources"))) };
    let length = |source: &Layers<'_>| source.range[1] - source.range[0];
    if let Some(other) = sources.iter().find(|source| length(source) != length(first)) {
        let fault = Fault::new("all sources of a slice must have the same number of layers");
        return Err(other.range_at.fault(fault.expected(length(first)).found(length(other))));
    }
    if let Some((_, twice)) =
        sources.iter().enumerate().find(|(i, s)| sources[..*i].iter().any(|t| t.path == s.path))
    {
        let fault = Fault::unsupported("a slice cannot merge layers of one model with others of it");
        return Err(twice.model.fault(fault.hint("give each model once in a slice")));
    }
    Ok(Sliced { at, sources })
}

fn layers<'a>(source: &At<'a>) -> Result<Layers<'a>, Fault> {
    source.only(&["model", "layer_range", "parameters"])?;
    let model_at = source.need("model")?;
    let range_at = source.need("layer_range")?;
    let ends: Vec<u64> = range_at.items()?.iter().map(At::count).collect::<Result<_, _>>()?;
    let range = match ends[..] {
        [start, end] if start < end => [start, end],
        _ => {
            let fault = Fault::new("a range has the first layer and the one behind the last");
            return Err(
                range_at.fault(fault.expected("two numbers, the second larger").found(format!("{ends:?}")))
            );
        }
    };
    Ok(Layers {
        path: model(&model_at)?,
        model: model_at,
        range,
        range_at,
        parameters: source.get("parameters"),
    })
}

/// How many layers the models have, if this is one slice with all of them.
pub(super) fn whole(slices: &[Sliced<'_>]) -> Option<u64> {
    let [Sliced { sources, .. }] = slices else { return None };
    let [start, end] = sources.first()?.range;
    (start == 0 && sources.iter().all(|source| source.range == [start, end])).then_some(end)
}

/// The models of the first slice, which stand for the stacks that they begin.
pub(super) fn sources<'a>(slices: &[Sliced<'a>], globals: &Option<At<'a>>) -> Vec<Source<'a>> {
    let Some(first) = slices.first() else { return Vec::new() };
    let one = |layers: &Layers<'a>| Source {
        adapter: None,
        path: layers.path,
        model: layers.model.clone(),
        levels: [layers.parameters.clone(), first.at.get("parameters"), globals.clone()],
    };
    first.sources.iter().map(one).collect()
}

/// What each model of the first slice begins: its path, and the stack of what stands in its place in every slice.
///
/// # Errors
/// The slices do not say the same of their models.
pub(super) fn stacks(slices: &[Sliced<'_>], onto: &str) -> Result<Vec<(PathBuf, Stack)>, Fault> {
    let Some((first, others)) = slices.split_first() else { return Ok(Vec::new()) };
    let mut stacks: Vec<(PathBuf, Stack)> = Vec::new();
    for source in &first.sources {
        stacks.push((source.path.into(), Stack { slices: vec![slice(source)], files: None }));
    }
    if let Some(gradient) = slices.iter().filter(|_| !others.is_empty()).find_map(gradient) {
        let fault = Fault::unsupported(
            "a gradient goes over all layers here, and over those of each slice in mergekit",
        );
        return Err(gradient.fault(fault.hint("give one number, or merge each slice in a recipe of its own")));
    }
    for sliced in others {
        if sliced.sources.len() != first.sources.len() {
            let fault = Fault::unsupported("every slice must have as many sources");
            let fault = fault.expected(first.sources.len()).found(sliced.sources.len());
            return Err(sliced.at.fault(fault));
        }
        if !same(&sliced.at.get("parameters"), &first.at.get("parameters")) {
            return Err(sliced.at.fault(differing()));
        }
        for (source, (_, stack)) in in_order(first, sliced, onto)?.into_iter().zip(&mut stacks) {
            stack.slices.push(slice(source));
        }
    }
    Ok(stacks)
}

fn differing() -> Fault {
    let fault = Fault::unsupported("the parameters must be the same in every slice");
    fault.hint(
        "merge each kind of slice in a recipe of its own, and put the results together with passthrough",
    )
}

fn slice(layers: &Layers<'_>) -> Slice {
    Slice { model: layers.path.into(), layers: Some(layers.range), scale: Vec::new() }
}

/// The sources of a slice, each in the place of one of the first slice: the base model in its own, a model that both have in
/// that, the others in their order.
fn in_order<'s, 'a>(
    first: &Sliced<'a>,
    sliced: &'s Sliced<'a>,
    onto: &str,
) -> Result<Vec<&'s Layers<'a>>, Fault> {
    let mut places: Vec<Option<&Layers<'_>>> = vec![None; first.sources.len()];
    let mut rest = Vec::new();
    for source in &sliced.sources {
        match first.sources.iter().position(|own| own.path == source.path) {
            Some(at) => places[at] = Some(source),
            None => rest.push(source),
        }
    }
    let base = first.sources.iter().position(|own| own.path == onto);
    if base.is_some_and(|at| places[at].is_none()) {
        let fault = Fault::unsupported("the base model must be among the sources of every slice");
        return Err(sliced.at.fault(fault.expected(format!("'{onto}'"))));
    }
    let mut rest = rest.into_iter();
    let ordered: Vec<&Layers<'_>> =
        places.into_iter().filter_map(|one| one.or_else(|| rest.next())).collect();
    for (source, own) in ordered.iter().zip(&first.sources) {
        if !same(&source.parameters, &own.parameters) {
            return Err(source.model.fault(differing()));
        }
    }
    Ok(ordered)
}

/// Whether two mappings say the same, wherever they stand.
fn same(a: &Option<At<'_>>, b: &Option<At<'_>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same_nodes(a.node, b.node),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same_nodes(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_nodes(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let entry = |key: &str| b.iter().find(|entry| entry.key == key);
            a.len() == b.len()
                && a.iter().all(|one| entry(&one.key).is_some_and(|e| same_nodes(&one.node, &e.node)))
        }
        (a, b) => a == b,
    }
}

/// A list of numbers among the parameters of a slice.
fn gradient<'a>(slice: &Sliced<'a>) -> Option<At<'a>> {
    let own = slice.sources.iter().filter_map(|source| source.parameters.clone());
    own.chain(slice.at.get("parameters")).find(|at| has_gradient(at.node))
}

/// Whether a list of several numbers is anywhere in it.
pub(super) fn has_gradient(node: &Node) -> bool {
    let is_number = |node: &Node| matches!(node.value, Value::Integer(_) | Value::Float(_));
    match &node.value {
        Value::List(items) if items.iter().all(is_number) => items.len() > 1,
        Value::List(items) => items.iter().any(has_gradient),
        Value::Map(entries) => entries.iter().any(|entry| has_gradient(&entry.node)),
        _ => false,
    }
}

/// What `passthrough` puts together: one model, or slices of one model each.
pub(super) fn passthrough(root: &At<'_>) -> Result<Stack, Fault> {
    let globals = root.get("parameters");
    only(&globals, &["scale"])?;
    let files = root.get("base_model").map(|at| model(&at)).transpose()?.map(PathBuf::from);
    let mut slices = Vec::new();
    match (root.get("models"), root.get("slices")) {
        (Some(models), None) => {
            for item in models.items()? {
                item.only(&["model", "parameters"])?;
                let at = item.need("model")?;
                let scale = scale([item.get("parameters"), None, globals.clone()], true)?;
                slices.push(Slice { model: model(&at)?.into(), layers: None, scale });
            }
            if slices.len() != 1 {
                let fault = Fault::new("passthrough takes one model, or slices of one model each");
                return Err(models.fault(fault.found(slices.len())));
            }
        }
        (None, Some(at)) => {
            let all = read(&at)?;
            for (i, sliced) in all.iter().enumerate() {
                let [source] = sliced.sources.as_slice() else {
                    let fault =
                        Fault::new("passthrough takes one source a slice").found(sliced.sources.len());
                    return Err(sliced.at.fault(fault.hint("to merge several, choose another merge_method")));
                };
                let levels = [source.parameters.clone(), sliced.at.get("parameters"), globals.clone()];
                slices.push(Slice { scale: scale(levels, i + 1 == all.len())?, ..slice(source) });
            }
        }
        (Some(_), Some(at)) => return Err(at.fault(Fault::new("models and slices exclude each other"))),
        (None, None) => return Err(root.fault(Fault::new("neither models nor slices are given"))),
    }
    let files = files.filter(|files| slices.first().is_none_or(|first| first.model != *files));
    Ok(Stack { slices, files })
}

/// The rules that scale the weights of a slice; the last one has the output head.
fn scale(levels: [Option<At<'_>>; 3], is_last: bool) -> Result<Vec<Rule>, Fault> {
    levels[..2].iter().try_for_each(|level| only(level, &["scale"]))?;
    let Some(mut setting) = Setting::read("scale", &levels)? else { return Ok(Vec::new()) };
    if setting.number() == Some(1.0) {
        return Ok(Vec::new());
    }
    if setting.cases.last().is_some_and(|case| case.filter.is_some()) {
        setting.cases.push(Case { filter: None, values: vec![1.0], place: String::new() });
    }
    let rules = spread::rules(&setting)?;
    Ok(rules.into_iter().filter(|rule| is_last || !rule.text().starts_with("output*")).collect())
}

/// Puts the stacks in the places of the models that begin them.
pub(super) fn put(place: &mut Place, stacks: &[(PathBuf, Stack)]) {
    let found = stacks.iter().find(|(path, _)| place.path() == Some(Path::new(path)));
    if let Some((_, stack)) = found {
        *place = Place::Stack(stack.clone());
    }
}
