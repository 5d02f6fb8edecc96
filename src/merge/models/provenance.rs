//! Where an output comes from: the models with the hashes of their headers, the recipe, the version. It is told in
//! metadata that every GGUF reader shows: `general.base_model.*` (gguf's own keys) and `ggraft.*`. Names only, no
//! paths and no times: the same models and options give the same bytes anywhere. What becomes of the weights
//! later (dtypes, containers) is not told here, so that every route to a type gives the same file.

use crate::arch::about;
use crate::arrange::Arrange;
use crate::hash::hexadecimal;
use crate::merge::{Options, Own, Stack, Vector};
use ggraft_formats::source::{Container, hub_id};
use ggraft_formats::{Metadata, Model, Result, header};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// One of the models that were merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// `CP`, `slice`, `chat`, `base` or `adapter`.
    pub role: &'static str,
    /// The name of the file or directory.
    pub name: String,
    /// Of the headers of its files, one after the other, in hexadecimal digits; empty for a model made in memory.
    pub header_sha256: String,
    /// The weights of the vectors that it is part of.
    pub weights: Vec<f64>,
    /// What `general.*` tells of it: the part of the key, and the text.
    told: Vec<(&'static str, String)>,
    licence: Option<String>,
    /// Its files, by which the same model is known again; they are not told.
    containers: Vec<Container>,
}

/// What `general.base_model.N` tells, each from the first of these keys of the model itself.
const TOLD: [(&str, &[&str]); 8] = [
    ("name", &["general.name"]),
    ("author", &["general.author"]),
    ("version", &["general.version"]),
    ("organization", &["general.organization"]),
    ("url", &["general.source.url", "general.url"]),
    ("doi", &["general.source.doi", "general.doi"]),
    ("uuid", &["general.source.uuid", "general.uuid"]),
    ("repo_url", &["general.source.repo_url", "general.repo_url"]),
];

/// The role of the model that gets the vectors, as files tell it.
const ONTO: &str = "CP";
/// That of a model whose layers the one that gets the vectors consists of.
pub(crate) const SLICE: &str = "slice";

const BASE_MODEL: &str = "general.base_model.";
const LICENCE: &str = "general.license";
const HUB: &str = "https://huggingface.co/";

impl Origin {
    /// Reads what `model` says of itself, and the headers of its files.
    pub fn of(role: &'static str, model: &Model) -> Result<Origin> {
        let mut hash = Sha256::new();
        for container in &model.containers {
            hash.update(header(container)?);
        }
        let digest = hash.finalize();
        let header_sha256 = match model.containers.is_empty() {
            true => String::new(),
            false => hexadecimal(&digest),
        };
        let text = |key: &str| model.metadata.str(key).filter(|text| !text.is_empty()).map(String::from);
        let one = |(part, keys): &(&'static str, &[&str])| Some((*part, keys.iter().find_map(|k| text(k))?));
        Ok(Origin {
            role,
            name: model.containers.first().map(|c| name(c.path())).unwrap_or_default(),
            header_sha256,
            weights: Vec::new(),
            told: told_by(TOLD.iter().filter_map(one).collect(), model),
            licence: text(LICENCE),
            containers: model.containers.clone(),
        })
    }

    /// Its place among the options of a merge, in messages; files tell its role.
    pub fn place(&self) -> &'static str {
        if self.role == ONTO { "onto" } else { self.role }
    }

    /// The licence that it tells.
    pub fn licence(&self) -> Option<&str> {
        self.licence.as_deref()
    }

    /// What the hub calls it, if the model tells; else its name.
    pub fn id(&self) -> &str {
        let url = self.told.iter().find(|(part, _)| *part == "repo_url").map(|(_, url)| url.as_str());
        url.and_then(|url| url.strip_prefix(HUB)).unwrap_or(&self.name)
    }
}

/// What a model tells of itself, and the hub that it was read from of it.
fn told_by(mut told: Vec<(&'static str, String)>, model: &Model) -> Vec<(&'static str, String)> {
    let id = model.containers.first().and_then(|file| hub_id(file.path()));
    if let Some(id) = id.filter(|_| told.iter().all(|(part, _)| *part != "repo_url")) {
        told.push(("repo_url", format!("{HUB}{id}")));
    }
    told
}

/// The name of a GGUF file, of a model of the hub, or of the directory that a checkpoint's file lies in.
fn name(container: &Path) -> String {
    let is_gguf = container.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    if let Some(id) = hub_id(container).filter(|_| !is_gguf) {
        return id.rsplit('/').next().unwrap_or_default().to_string();
    }
    let path = container.canonicalize().unwrap_or_else(|_| container.to_path_buf());
    let named = if is_gguf { Some(path.as_path()) } else { path.parent() };
    named.and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The slices of a stack: the models are places in the list of origins, behind CP.
fn slices(stack: &Stack) -> Vec<Json> {
    let one = |slice: &crate::merge::Slice| {
        let layers = [slice.layers.start, slice.layers.end];
        json!({ "model": slice.model + 1, "layers": layers, "scale": slice.scale.texts() })
    };
    stack.slices.iter().map(one).collect()
}

/// What a vector is told for itself; nothing, if that is nothing.
fn own(own: &Own) -> serde_json::Map<String, Json> {
    let (weights, params) = own.texts();
    let params: serde_json::Map<String, Json> =
        params.into_iter().map(|(name, rules)| (name.to_string(), json!(rules))).collect();
    let told =
        [("weights", !weights.is_empty(), json!(weights)), ("params", !params.is_empty(), json!(params))];
    told.into_iter().filter(|(_, says, _)| *says).map(|(name, _, value)| (name.to_string(), value)).collect()
}

/// The origins of one graft.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    /// CP, the models whose layers it consists of, then chat and base of every vector, each model once.
    origins: Vec<Origin>,
    /// The slices that CP consists of, as files tell them; none of a model that is whole.
    slices: Vec<Json>,
    /// How many of the origins are CP and its models.
    first: usize,
    /// Chat and base of each vector, as places in `origins`; of an adapter there is no base but CP.
    vectors: Vec<(usize, Option<usize>)>,
    /// What each vector is told for itself, as files tell it.
    own: Vec<serde_json::Map<String, Json>>,
}

impl Provenance {
    pub fn of(onto: &Model, vectors: &[Vector], options: &Options) -> Result<Provenance> {
        let stack = options.stack.as_ref();
        let stacked = stack.into_iter().flat_map(|stack| &stack.models);
        let stacked = stacked.map(|model| Origin::of(SLICE, model));
        let origins = [Origin::of(ONTO, onto)].into_iter().chain(stacked).collect::<Result<Vec<_>>>()?;
        let slices = stack.map_or(Vec::new(), slices);
        let own = (0..vectors.len()).map(|v| options.own.get(v).map(own).unwrap_or_default()).collect();
        let mut provenance = Provenance { first: origins.len(), origins, slices, vectors: Vec::new(), own };
        for v in vectors {
            let one = if v.is_adapter() {
                (provenance.place(Origin::of("adapter", &v.chat)?), None)
            } else {
                let chat = provenance.place(Origin::of("chat", &v.chat)?);
                (chat, Some(provenance.place(Origin::of("base", &v.base)?)))
            };
            provenance.vectors.push(one);
        }
        Ok(provenance)
    }

    /// What a model is called whose layers CP consists of.
    pub fn slice(&self, model: usize) -> String {
        self.origins.get(model + 1).map_or_else(String::new, |origin| origin.id().to_string())
    }

    fn place(&mut self, origin: Origin) -> usize {
        let same = |o: &Origin| *o == origin && !origin.containers.is_empty();
        self.origins.iter().position(same).unwrap_or_else(|| {
            self.origins.push(origin);
            self.origins.len() - 1
        })
    }

    /// The same for vectors of these weights, in an order that does not depend on the one in which they were given.
    fn sorted(&self, weights: &[f64]) -> (Provenance, Vec<f64>) {
        let key = |o: &Origin| (o.told.clone(), o.name.clone(), o.header_sha256.clone());
        let mut order: Vec<usize> = (0..self.vectors.len()).collect();
        order.arrange_by(|a, b| {
            let keys = |i: usize| {
                let (chat, base) = self.vectors[i];
                (key(&self.origins[chat]), base.map(|base| key(&self.origins[base])))
            };
            let own = |i: usize| Json::Object(self.own[i].clone()).to_string();
            let weights = weights[*a].total_cmp(&weights[*b]);
            keys(*a).cmp(&keys(*b)).then(weights).then_with(|| own(*a).cmp(&own(*b)))
        });
        let origins = self.origins.iter().take(self.first).cloned().collect();
        let own = order.iter().map(|i| self.own[*i].clone()).collect();
        let mut sorted = Provenance { origins, vectors: Vec::new(), own, ..self.clone() };
        for i in &order {
            let (chat, base) = self.vectors[*i];
            let chat = sorted.place(self.origins[chat].clone());
            let base = base.map(|base| sorted.place(self.origins[base].clone()));
            sorted.vectors.push((chat, base));
        }
        let weights: Vec<f64> = order.iter().map(|i| weights[*i]).collect();
        for ((chat, base), w) in sorted.vectors.clone().into_iter().zip(&weights) {
            sorted.origins[chat].weights.push(*w);
            if let Some(base) = base {
                sorted.origins[base].weights.push(-*w);
            }
        }
        (sorted, weights)
    }

    /// The name of each vector that is an adapter.
    pub fn adapters(&self) -> Vec<Option<String>> {
        let name = |(chat, base): &(usize, Option<usize>)| {
            base.is_none().then(|| self.origins.get(*chat).map_or_else(String::new, |o| o.name.clone()))
        };
        self.vectors.iter().map(name).collect()
    }

    /// The origins of the output with these weights; base has its weight subtracted.
    pub fn origins(&self, weights: &[f64]) -> Vec<Origin> {
        self.sorted(weights).0.origins
    }

    /// The licence that all models have, if it is one.
    pub fn licence(&self) -> Option<&str> {
        let first = self.origins.first()?.licence.as_deref()?;
        self.origins.iter().all(|o| o.licence.as_deref() == Some(first)).then_some(first)
    }

    /// Says so if the licences differ: then the output has none that could be told.
    pub fn note(&self) -> Option<String> {
        let told = |o: &Origin| format!("{} of {}", o.licence.as_deref().unwrap_or("none"), o.place());
        let all: Vec<String> = self.origins.iter().map(told).collect();
        let none = self.origins.iter().all(|o| o.licence.is_none());
        (!none && self.licence().is_none())
            .then(|| format!("warning: the licences differ ({}): none is written to the output; check them before publishing", all.join(", ")))
    }

    /// The recipe of the output with these weights, without names: models are places in the list of origins.
    fn recipe(&self, options: &Options, weights: &[f64]) -> Json {
        let (sorted, weights) = self.sorted(weights);
        let vector = |(((chat, base), w), own): ((&(usize, Option<usize>), &f64), _)| {
            let mut told = match base {
                Some(base) => json!({ "chat": chat, "base": base, "weight": w }),
                None => json!({ "adapter": chat, "weight": w }),
            };
            let own: &serde_json::Map<String, Json> = own;
            own.iter().for_each(|(name, value)| told[name] = value.clone());
            told
        };
        let vectors: Vec<Json> = sorted.vectors.iter().zip(&weights).zip(&sorted.own).map(vector).collect();
        let mut recipe = json!({
            "method": options.method.name,
            "params": options.params.told(),
            "weights": options.rules.texts(),
            "embeddings": options.vocabulary.embeddings.word(),
            "copy_tokens": options.vocabulary.copy_tokens,
            "add_chat_tokens": options.vocabulary.add_chat_tokens,
            "onto": 0,
            "vectors": vectors,
        });
        if !self.slices.is_empty() {
            recipe["slices"] = json!(self.slices);
        }
        recipe
    }

    /// Writes it into the metadata of the output with these weights.
    pub fn write(&self, options: &Options, weights: &[f64], metadata: &mut Metadata) {
        let other_licences = self.note().is_some();
        metadata.retain(|key| {
            let told_of_cp = key.starts_with(BASE_MODEL) || key.starts_with("ggraft.");
            !(told_of_cp || other_licences && key.starts_with(LICENCE))
        });
        let of_adapters = !self.vectors.is_empty() && self.vectors.iter().all(|(_, base)| base.is_none());
        let mark = if of_adapters { String::from("lora-merge") } else { options.method.mark() };
        about::mark(metadata, &mark);
        let origins = self.origins(weights);
        // A stack of layers is told by the models that they are of.
        let parents = || origins.iter().filter(|o| self.slices.is_empty() || o.role != ONTO);
        metadata.set(&format!("{BASE_MODEL}count"), parents().count() as u32);
        for (i, origin) in parents().enumerate() {
            for (part, text) in &origin.told {
                metadata.set(&format!("{BASE_MODEL}{i}.{part}"), text.as_str());
            }
        }
        metadata.set("ggraft.version", env!("CARGO_PKG_VERSION"));
        metadata.set("ggraft.recipe", self.recipe(options, weights).to_string());
        for (i, origin) in origins.iter().enumerate() {
            metadata.set(&format!("ggraft.source.{i}.role"), origin.role);
            metadata.set(&format!("ggraft.source.{i}.name"), origin.name.as_str());
            // Of the weights it would have to be known before they are read, for it stands before them.
            metadata.set(&format!("ggraft.source.{i}.header_sha256"), origin.header_sha256.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::CHAT_VECTOR;

    fn model(name: &str, licence: Option<&str>) -> Model {
        let mut metadata = Metadata::new();
        metadata.set("general.name", name);
        if let Some(licence) = licence {
            metadata.set(LICENCE, licence);
            metadata.set("general.license.link", "https://example.org");
        }
        metadata.set("general.source.repo_url", format!("{HUB}org/{name}"));
        metadata.set("general.base_model.count", 1u32);
        metadata.set("general.base_model.0.name", "an older one");
        Model { metadata, tensors: Vec::new(), ..Model::default() }
    }

    fn told(licences: [Option<&str>; 3]) -> (Provenance, Metadata) {
        let [onto, chat, base] = ["cp", "chat", "base"];
        let onto = model(onto, licences[0]);
        let vectors = [Vector { chat: model(chat, licences[1]), base: model(base, licences[2]) }];
        let provenance = Provenance::of(&onto, &vectors, &CHAT_VECTOR.into()).unwrap();
        let mut metadata = onto.metadata;
        provenance.write(&crate::merge::CHAT_VECTOR.into(), &[0.5], &mut metadata);
        (provenance, metadata)
    }

    #[test]
    fn a_licence_is_told_if_all_models_have_it() {
        let (provenance, metadata) = told([Some("mit"); 3]);
        assert_eq!((provenance.licence(), provenance.note()), (Some("mit"), None));
        assert_eq!(metadata.str(LICENCE), Some("mit"));
        let (provenance, metadata) = told([Some("mit"), Some("llama3"), None]);
        assert_eq!(
            provenance.note().unwrap(),
            "warning: the licences differ (mit of onto, llama3 of chat, none of base): none is written to the output; check them before publishing"
        );
        assert!(metadata.get(LICENCE).is_none() && metadata.get("general.license.link").is_none());
        assert_eq!(told([None; 3]).0.note(), None);
    }

    #[test]
    fn the_parents_of_cp_give_way_to_those_of_the_merge() {
        let (provenance, metadata) = told([None; 3]);
        assert_eq!(metadata.u64("general.base_model.count"), Some(3));
        for (i, name) in ["cp", "chat", "base"].into_iter().enumerate() {
            assert_eq!(metadata.str(&format!("general.base_model.{i}.name")), Some(name));
        }
        let origins = provenance.origins(&[0.5]);
        assert_eq!(origins.iter().map(Origin::id).collect::<Vec<_>>(), ["org/cp", "org/chat", "org/base"]);
        assert_eq!(
            origins.iter().map(|o| o.weights.clone()).collect::<Vec<_>>(),
            [vec![], vec![0.5], vec![-0.5]]
        );
    }
}
