//! A checkpoint that is made of layers of others, lazily: their tensors are renumbered, what comes before the layers is the
//! first model's and what comes behind them the last one's, and `config` says in `config.json` what has become of the
//! layers. All that reads checkpoints takes it for one.
//! Specification: `MergePlanner.plan_module` of mergekit 0.1.4.

mod config;

use super::config::Config;
use super::layered::Layered;
use crate::arrange::Arrange;
use config::Told;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::{Checkpoint, Error, Result, Tensor};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::Range;

/// Some layers of one of the models.
pub(crate) struct Part {
    /// Its place in the list of models.
    pub model: usize,
    pub layers: Range<u64>,
}

/// The model whose layers these are, with all that is known of them.
struct Source<'a> {
    checkpoint: &'a Checkpoint,
    layered: Layered,
}

/// Layers of `models`, one part after the other, as one checkpoint; the files beside the weights are those of the model
/// `files`.
///
/// # Errors
/// The models are of several architectures or shapes, or have no such layers; or what the config says of layers cannot
/// follow them: named by its key.
pub(crate) fn stacked(models: &[Checkpoint], parts: &[Part], files: usize) -> Result<Checkpoint> {
    let source = |checkpoint| Ok(Source { checkpoint, layered: Layered::of(checkpoint)? });
    let sources = models.iter().map(source).collect::<Result<Vec<_>>>()?;
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Err(Error::usage("a stack has no layers"));
    };
    alike(&sources, first.model)?;
    for part in parts {
        let (source, layers) = (&sources[part.model], &part.layers);
        if layers.is_empty() || layers.end > source.layered.count {
            return Err(Error::invalid("the model has no such layers")
                .file(&source.checkpoint.dir)
                .expected(format!("from 0 up to, without the last, {}", source.layered.count))
                .found(format!("[{}, {}]", layers.start, layers.end)));
        }
    }
    same_shapes(&sources, parts)?;
    let mut tensors = Vec::new();
    let outside = |source: &Source<'_>, behind: bool| {
        let is_outside = |t: &&Tensor| source.layered.layer(&t.name).is_none();
        let all = source.checkpoint.tensors.iter().filter(is_outside);
        all.filter(|t| source.layered.is_behind(&t.name) == behind).cloned().collect::<Vec<_>>()
    };
    tensors.extend(outside(&sources[first.model], false));
    let mut next = 0;
    for part in parts {
        tensors.extend(renumbered(&sources[part.model], &part.layers, next));
        next += part.layers.end - part.layers.start;
    }
    tensors.extend(outside(&sources[last.model], true));
    let told = sources.iter().map(Told::of).collect::<Result<Vec<_>>>()?;
    let json = config::config(&told, &origins(parts), files)?;
    joined(models, tensors, files, format!("{json:#}\n"))
}

/// The model and the layer that each layer comes from.
fn origins(parts: &[Part]) -> Vec<(usize, u64)> {
    parts.iter().flat_map(|part| part.layers.clone().map(|layer| (part.model, layer))).collect()
}

/// The tensors of these layers, the first of which becomes layer `next`.
fn renumbered(source: &Source<'_>, layers: &Range<u64>, next: u64) -> Vec<Tensor> {
    let mut all = Vec::new();
    for tensor in &source.checkpoint.tensors {
        if let Some(layer) = source.layered.layer(&tensor.name).filter(|layer| layers.contains(layer)) {
            let to = next + layer - layers.start;
            all.push((to, tensor.clone().renamed(&source.layered.renumbered(&tensor.name, to))));
        }
    }
    all.arrange_by_key(|(layer, _)| *layer);
    all.into_iter().map(|(_, tensor)| tensor).collect()
}

/// Refuses models of another architecture than the first.
fn alike(sources: &[Source<'_>], first: usize) -> Result<()> {
    let own = &sources[first];
    for other in sources {
        let wrong = |what, ours: &str, theirs: &str| {
            Err(Error::invalid(what)
                .file(&other.checkpoint.dir)
                .expected(format!("{ours}, as in {}", own.checkpoint.dir.display()))
                .found(theirs))
        };
        if other.layered.gguf != own.layered.gguf {
            let what = "only layers of one architecture can be put together";
            return wrong(what, own.layered.gguf, other.layered.gguf);
        }
        if other.layered.prefixes() != own.layered.prefixes() {
            let names = |source: &Source<'_>| source.layered.prefixes().join(", ");
            return wrong("the models call their layers otherwise", &names(own), &names(other));
        }
    }
    Ok(())
}

/// Refuses layers whose tensors have shapes that no layer of the first model has.
fn same_shapes(sources: &[Source<'_>], parts: &[Part]) -> Result<()> {
    let Some(first) = parts.first().map(|part| &sources[part.model]) else { return Ok(()) };
    let mut known: HashMap<String, Vec<&Tensor>> = HashMap::new();
    for tensor in &first.checkpoint.tensors {
        known.entry(first.layered.renumbered(&tensor.name, 0)).or_default().push(tensor);
    }
    let mut problems = Vec::new();
    for part in parts {
        let source = &sources[part.model];
        for tensor in &source.checkpoint.tensors {
            let Some(layer) = source.layered.layer(&tensor.name) else { continue };
            let theirs = known.get(&source.layered.renumbered(&tensor.name, 0));
            let Some(other) = theirs.and_then(|all| all.first()).filter(|_| part.layers.contains(&layer))
            else {
                continue;
            };
            if theirs.is_some_and(|all| all.iter().all(|t| t.shape() != tensor.shape())) {
                let expected =
                    format!("{}, as {} of {}", other.shape(), other.name, first.checkpoint.dir.display());
                let error = Error::invalid("layers of different shapes cannot be put together");
                let error = error.file(&source.checkpoint.dir).tensor(&tensor.name);
                problems.push(error.expected(expected).found(tensor.shape()));
            }
        }
    }
    Error::all(problems).map_or(Ok(()), Err)
}

/// The checkpoint of these tensors, with another `config.json`.
fn joined(models: &[Checkpoint], tensors: Vec<Tensor>, files: usize, config: String) -> Result<Checkpoint> {
    let own = &models[files];
    let mut containers = Vec::new();
    for container in models.iter().flat_map(|model| &model.containers) {
        if !containers
            .iter()
            .any(|known: &ggraft_formats::source::Container| known.path() == container.path())
        {
            containers.push(container.clone());
        }
    }
    let reads = own.reads.clone();
    models.iter().flat_map(|model| model.reads.all()).for_each(|stamp| reads.add(stamp));
    let tag: String = Sha256::digest(&config).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let config = Mapping::of_bytes(config.into_bytes(), &own.dir.join("config.json"), &tag);
    let disagreements = models.iter().flat_map(|model| model.disagreements.clone()).collect();
    let folder = own.folder.clone().with(config);
    Ok(Checkpoint { folder, containers, tensors, disagreements, notes: Vec::new(), reads, ..own.clone() })
}

impl Told {
    fn of(source: &Source<'_>) -> Result<Told> {
        let config = Config::open(source.checkpoint)?;
        let json = source.checkpoint.required_json("config.json")?;
        let Layered { count, key, gguf, .. } = source.layered;
        Ok(Told { config, json, count, key, gguf, dir: source.checkpoint.dir.clone() })
    }
}
