//! The recipe: all that decides the outputs of a merge, and nothing of how the work is done. The command line makes
//! one of what was typed, YAML files hold one, and mergekit's files are read as one; the same recipe gives the
//! same bytes. A new option is a field here, with its default, and the argument that sets it in `cli`.
//! `yaml` reads and writes text with lines, `read` turns it into structs, `mergekit` knows the other dialect.

mod allow;
mod many;
mod mergekit;
mod mixture;
mod place;
mod read;
mod several;
mod splitting;
#[cfg(feature = "cli")]
mod typed;
mod vocabulary;
mod walk;
mod word;
mod yaml;

pub use allow::Allow;
pub use mixture::Mixture;
pub use place::{Place, Slice, Stack};
pub use splitting::{Size, Splitting};
pub use vocabulary::Vocabulary;
pub use word::{Choice, Rule, Scalar, Spread, Word};

use crate::merge::weights::{Preset, Rules};
use crate::merge::{self, CHAT_VECTOR, Method, Own, Params};
use crate::output::target::{Target, Type};
use ggraft_formats::source::{is_named, shown};
use ggraft_formats::stamp::Stamp;
use ggraft_formats::{Error, Result};
use read::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// All that decides the outputs of a merge. Paths are as the user of the program would type them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// CP: the model that gets the vectors.
    pub onto: Place,
    #[serde(default, skip_serializing_if = "is_default")]
    pub vectors: Vec<Vector>,
    /// LoRA adapters that are merged beside the vectors, or alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adapters: Vec<Adapter>,
    /// How the vectors are combined.
    #[serde(default = "chat_vector")]
    pub method: Choice<&'static Method>,
    /// What the method is told, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parameters: BTreeMap<String, Scalar>,
    /// What multiplies the weights by tensor; of several rules that match the last counts.
    #[serde(default, with = "many", skip_serializing_if = "is_default")]
    pub weights: Vec<Rule>,
    /// Rules by name, each of which multiplies too.
    #[serde(default, with = "many", skip_serializing_if = "is_default")]
    pub weight_presets: Vec<Choice<&'static Preset>>,
    /// The types of the outputs; each gives a file for each set of weights.
    #[serde(default, with = "many", skip_serializing_if = "is_default")]
    pub types: Vec<Choice<Type>>,
    /// What the outputs are called in their metadata, instead of CP's name with the method's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    /// The file name of the outputs, with `{type}`, `{name}` and `{weight}`; by default it follows GGUF's convention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: Option<PathBuf>,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pre: Option<String>,
    /// How many layers the models must have, where the recipe was made for so many.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layers: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub vocabulary: Vocabulary,
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow: Allow,
    #[serde(default, skip_serializing_if = "is_default")]
    pub mixture: Mixture,
    #[serde(default, skip_serializing_if = "is_default")]
    pub splitting: Splitting,
}

/// A direction of change, `chat - base`, and how much of it to add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    pub chat: Place,
    pub base: Place,
    /// A weight for each output; all vectors of a recipe have as many.
    #[serde(default = "whole", with = "many")]
    pub weight: Vec<f64>,
    /// What multiplies this vector's weight by tensor, beside the rules of all.
    #[serde(default, with = "many", skip_serializing_if = "is_default")]
    pub weights: Vec<Rule>,
    /// What the method is told of this vector: `density`, `gamma` or `epsilon`, instead of those of all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parameters: BTreeMap<String, Spread>,
}

impl Vector {
    /// The way from `base` to `chat`, the same for every tensor.
    pub fn new(chat: impl Into<Place>, base: impl Into<Place>, weight: Vec<f64>) -> Vector {
        let (chat, base) = (chat.into(), base.into());
        Vector { chat, base, weight, weights: Vec::new(), parameters: BTreeMap::new() }
    }

    /// What a merge is told of it beside its weight.
    fn own(&self, method: &Method, params: &Params) -> Result<Own> {
        let weights = rules(&self.weights, [])?;
        let own = self.parameters.iter().map(|(name, value)| (name.as_str(), value.texts()));
        Own::new(method, params, weights, own)
    }
}

/// The rules, with the places where they were written.
fn rules<'a>(rules: &'a [Rule], presets: impl IntoIterator<Item = &'a str>) -> Result<Rules> {
    let read = Rules::parse(presets, rules.iter().map(Rule::text))?;
    Ok(read.placed(rules.iter().map(Rule::place)))
}

/// A LoRA adapter, and how much of it to add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    pub path: PathBuf,
    /// A weight for each output, or one for all.
    #[serde(default = "whole", with = "many")]
    pub weight: Vec<f64>,
}

fn chat_vector() -> Choice<&'static Method> {
    Choice(CHAT_VECTOR)
}

fn whole() -> Vec<f64> {
    vec![1.0]
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Recipe {
    /// One that says no more than its method.
    fn of(method: &'static Method) -> Recipe {
        Recipe {
            onto: Place::default(),
            vectors: Vec::new(),
            adapters: Vec::new(),
            method: Choice(method),
            parameters: BTreeMap::new(),
            weights: Vec::new(),
            weight_presets: Vec::new(),
            types: Vec::new(),
            output: None,
            name: None,
            pre: None,
            layers: None,
            vocabulary: Vocabulary::default(),
            allow: Allow::default(),
            mixture: Mixture::default(),
            splitting: Splitting::default(),
        }
    }

    /// Reads a recipe of ours or of mergekit's; its paths are relative to the file. The notes say what of it has no
    /// effect here.
    ///
    /// # Errors
    /// Invalid or unsupported, with the file, the line and the key.
    pub fn read(file: &Path) -> Result<(Recipe, Vec<String>)> {
        let text = ggraft_formats::text(file)?;
        let (mut recipe, notes) = Recipe::parse(&text, file)?;
        if let Some(dir) = file.parent() {
            recipe.paths().into_iter().for_each(|path| *path = dir.join(&path));
            // What is no path is relative to nothing.
            let is_path = |path: &PathBuf| dir.join(path).exists() || !is_named(path);
            recipe.models().into_iter().filter(|m| is_path(m)).for_each(|m| *m = dir.join(&m));
        }
        Ok((recipe, notes))
    }

    /// Reads the text of `file`, with paths as they stand there.
    pub fn parse(text: &str, file: &Path) -> Result<(Recipe, Vec<String>)> {
        let several = |e: Error| several::refusal(text).map_or(e, |e| e.file(file));
        let node = yaml::parse(text, file).map_err(several)?;
        let read = if mergekit::is_mergekit(&node) {
            mergekit::import(&node)
        } else {
            Recipe::deserialize(&node).map(|recipe| (recipe, Vec::new()))
        };
        let checked = read.and_then(|(recipe, notes)| Ok((recipe.checked(&node)?, notes)));
        checked.map_err(|fault| fault.error().file(file))
    }

    fn checked(self, node: &yaml::Node) -> Result<Recipe, Fault> {
        let line = |key: &str| node.get(key).map_or(node.line, |entry| entry.line);
        for name in self.parameters.keys() {
            let one = self.parameters.get_key_value(name).into_iter();
            self.read_parameters(one).map_err(|e| {
                let at =
                    node.get("parameters").and_then(|p| p.node.get(name)).map_or(node.line, |at| at.line);
                Fault::new(e.to_string()).line(at).within(name).within("parameters")
            })?;
        }
        self.check_own(node)?;
        if self.vectors.is_empty() && self.adapters.is_empty() && self.method.0.takes_vectors() {
            return Err(Fault::new("there is no vector").line(line("vectors")).within("vectors"));
        }
        let due = match self.vectors.first() {
            Some(first) => first.weight.len().max(1),
            None => self.outputs_by_weight(),
        };
        let vectors = self.vectors.iter().map(|v| v.weight.len() == due);
        let adapters = self.adapters.iter().map(|a| a.weight.len() == due || a.weight.len() == 1);
        let lists = [("vectors", vectors.collect::<Vec<_>>()), ("adapters", adapters.collect())];
        for (list, fit) in lists {
            if let Some(i) = fit.iter().position(|fits| !fits) {
                let found = match list {
                    "vectors" => self.vectors[i].weight.len(),
                    _ => self.adapters[i].weight.len(),
                };
                let fault = Fault::new("every vector must have as many weights, one an output");
                let fault = fault.expected(due).found(found).line(line(list));
                return Err(fault.within("weight").within(&format!("[{i}]")).within(list));
            }
        }
        Ok(self)
    }

    /// Refuses parameters of vectors that the method does not take.
    fn check_own(&self, node: &yaml::Node) -> Result<(), Fault> {
        let params = self.read_parameters(self.parameters.iter()).unwrap_or_default();
        for (i, vector) in self.vectors.iter().enumerate() {
            vector.own(self.method.0, &params).map_err(|e| {
                let line = node.get("vectors").map_or(node.line, |at| at.line);
                let fault = Fault::new(e.to_string()).line(line).within("parameters");
                fault.within(&format!("[{i}]")).within("vectors")
            })?;
        }
        Ok(())
    }

    /// How many outputs the weights ask for.
    fn outputs_by_weight(&self) -> usize {
        let all = self.vectors.iter().map(|v| v.weight.len());
        // Where nothing is added there is one output all the same.
        let without = usize::from(!self.method.0.takes_vectors());
        all.chain(self.adapters.iter().map(|a| a.weight.len())).max().unwrap_or(without)
    }

    /// The recipe as YAML, for a file in `dir` (or, if there is none, in the current directory): relative paths are
    /// written relative to it.
    pub fn to_yaml(&self, dir: Option<&Path>) -> Result<String> {
        let mut recipe = self.clone();
        if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
            let back = way_back(dir)?;
            recipe.paths().into_iter().for_each(|path| *path = back.join(&path));
            recipe.models().into_iter().filter(|m| !is_named(m)).for_each(|m| *m = back.join(&m));
        }
        let json = serde_json::to_value(&recipe)
            .map_err(|e| Error::invalid(format!("the recipe cannot be written: {e}")))?;
        Ok(yaml::write(&json))
    }

    /// How many outputs it asks for.
    pub fn outputs(&self) -> usize {
        self.types.len().max(1) * self.weight_sets().len()
    }

    /// The options in words, which change only if one of them does: what decides the bytes of an output, whichever other
    /// types are asked for beside it, and wherever it goes.
    pub fn words(&self) -> Result<String> {
        let mut recipe = Recipe { types: Vec::new(), output: None, ..self.clone() };
        // A signature may be another one when the work is resumed, and is nobody's business.
        recipe.models().into_iter().filter(|m| is_named(m)).for_each(|m| *m = shown(m));
        recipe.to_yaml(None)
    }

    /// The recipe as others may read it: the last parts of paths, and names of the hub.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn shown(&self) -> Result<String> {
        let last = |path: &Path| path.file_name().map_or_else(|| path.to_path_buf(), PathBuf::from);
        let mut recipe = Recipe { output: None, ..self.clone() };
        recipe.models().into_iter().for_each(|m| *m = if is_named(m) { shown(m) } else { last(m) });
        recipe.paths().into_iter().for_each(|path| *path = last(path));
        recipe.to_yaml(None)
    }

    /// The file that it names beside models and those of the mixture, as it is now; one that is not there is refused
    /// where it is read.
    pub fn template(&self) -> Result<Option<Stamp>> {
        let mut vocabulary = self.vocabulary.clone();
        let file = vocabulary.template_file().filter(|path| path.exists());
        file.map(|path| Stamp::of(path)).transpose()
    }

    /// Every model, which may be a path or a name.
    fn models(&mut self) -> Vec<&mut PathBuf> {
        let vectors = self.vectors.iter_mut().flat_map(|v| [&mut v.chat, &mut v.base]);
        let places = vectors.chain([&mut self.onto]).flat_map(Place::models);
        places.chain(self.adapters.iter_mut().map(|a| &mut a.path)).collect()
    }

    /// Every other path, to be made relative to another directory.
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let options = self.output.as_mut().into_iter().chain(self.vocabulary.template_file());
        options.chain(self.mixture.paths()).collect()
    }

    fn read_parameters<'a>(&self, some: impl Iterator<Item = (&'a String, &'a Scalar)>) -> Result<Params> {
        Params::read(self.method.0, some.map(|(name, value)| (name.as_str(), value.0.as_str())))
    }

    /// What an output of this type is to be.
    pub fn target(&self, kind: Type) -> Result<Target> {
        let name = self.name.clone();
        Ok(Target { division: self.splitting.division(), name, ..self.mixture.target(kind)? })
    }

    /// How it is computed.
    pub fn options(&self) -> Result<merge::Options> {
        let presets = self.weight_presets.iter().map(|preset| preset.0.name);
        if !self.method.0.takes_vectors() {
            self.vocabulary.of_one_model(self.method.0.name)?;
        }
        let params = self.read_parameters(self.parameters.iter())?;
        let own = self.vectors.iter().map(|v| v.own(self.method.0, &params)).collect::<Result<_>>()?;
        Ok(merge::Options {
            method: self.method.0,
            params,
            rules: rules(&self.weights, presets)?,
            own,
            allow_mismatch: self.allow.mismatch,
            vocabulary: self.vocabulary.choices()?,
            held: None,
            stack: None,
        })
    }

    /// The weights of each output, one a vector, and then one an adapter.
    pub fn weight_sets(&self) -> Vec<Vec<f64>> {
        let vectors = self.vectors.iter().map(|v| &v.weight);
        let all: Vec<&Vec<f64>> = vectors.chain(self.adapters.iter().map(|a| &a.weight)).collect();
        let of = |w: &Vec<f64>, i: usize| w.get(i).or(w.first().filter(|_| w.len() == 1)).copied();
        (0..self.outputs_by_weight()).map(|i| all.iter().filter_map(|w| of(w, i)).collect()).collect()
    }
}

/// The relative path that leads from `dir` to the current directory.
fn way_back(dir: &Path) -> Result<PathBuf> {
    let real = |path: &Path| path.canonicalize().map_err(|e| Error::io(&e, path));
    let (from, to) = (real(dir)?, real(Path::new("."))?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}
