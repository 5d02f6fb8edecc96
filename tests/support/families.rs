//! Tiny checkpoints of every family: a config, from which the family's page tells the tensors, deterministic weights and
//! a small tokenizer. `fixtures/goldens/families` holds what llama.cpp's converter makes of each.

use super::checkpoint::{Layer, Weight, write_weights};
use super::encoding::{self, Kind};
use super::packed;
use super::plamo;
use super::qwen;
use super::rng;
use super::rwkv;
use super::tekken;
use super::tokenizer::{self, write_json};
use super::vocabulary::Vocabulary;
use ggraft::arch::Draft;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub mod blocks;
mod conformers;
mod decoders;
mod dense;
pub mod drafting;
mod first;
pub mod layouts;
mod listed;
mod newer_projectors;
mod newest;
mod parts;
pub mod pooling;
pub mod predicting;
pub mod projectors;
mod published;
mod recurrent;
mod second;
mod sparse;
pub mod speaking;
pub mod tasks;
pub mod variants;

/// Every checkpoint; the name is that of its directory too.
pub fn all() -> Vec<Tiny> {
    let parts = [
        first::all(),
        decoders::all(),
        second::all(),
        sparse::all(),
        recurrent::all(),
        dense::all(),
        newest::all(),
        parts::all(),
        published::all(),
        tasks::all(),
    ];
    let mut all = parts.concat();
    all.extend(listed::all(&all));
    all
}

/// Those of which gates and ups of experts are written as one.
pub const FUSED: [&str; 3] = ["Qwen3-Next-Tiny", "Qwen3.5-MoE-Text-Tiny", "granite-moe-swa-Tiny"];

/// Those of which queries, keys and values are written as one: with biases, with rows that are permuted, beside a linear attention.
pub const FUSED_QKV: [&str; 3] = ["Qwen2-Tiny-Untied", "Mixtral-Tiny-8x1M", "Qwen3-Next-Tiny"];

/// Every checkpoint that is not another under a second name of its class.
pub fn distinct() -> Vec<Tiny> {
    all().into_iter().filter(|tiny| !tiny.is_second).collect()
}

/// A checkpoint that is only merged: with as many experts as Qwen 3 has.
pub fn many_experts() -> Tiny {
    Tiny::new(
        "Qwen3-Moe-128-Experts",
        json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 16,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 8, "moe_intermediate_size": 24, "num_experts": 128, "num_experts_per_tok": 8,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "norm_topk_prob": true, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}),
    )
}

/// The keys of `base`, and those of `own`, which count where both have one.
fn laid_over(mut base: Value, own: &Value) -> Value {
    for (key, value) in own.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

/// `config` with the sizes that those written by hand have.
fn sized(config: Value) -> Value {
    laid_over(
        json!({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false}),
        &config,
    )
}

/// On a whole vocabulary of byte-level BPE.
fn bytes(name: &'static str, words: &'static str, config: Value) -> Tiny {
    Tiny { words: Words::Whole(words), ..Tiny::new(name, config) }
}

/// The checkpoint of that name.
pub fn family(name: &str) -> Option<Tiny> {
    all()
        .into_iter()
        .chain(projectors::all())
        .chain(layouts::all())
        .chain(blocks::all())
        .chain(variants::all())
        .chain(speaking::talkers())
        .chain(layouts::native())
        .chain(predicting::all())
        .chain(drafting::all())
        .chain(pooling::all())
        .chain([many_experts()])
        .find(|tiny| tiny.name == name)
}

/// The tokens of a tiny checkpoint.
#[derive(Clone, Copy, Debug)]
pub enum Words {
    /// The first so many pieces of llama's SentencePiece model.
    Pieces(usize),
    /// The same, as merges in a `tokenizer.json`.
    Merged(usize),
    /// A whole vocabulary of `fixtures/vocab`.
    Whole(&'static str),
    /// The same as `vocab.json` and `merges.txt`, of this class.
    Pair(&'static str, &'static str),
    /// A small one in Mistral's own form, of this version.
    Tekken(&'static str),
    /// A small one in PLaMo's own form.
    Plamo,
    /// A small one in RWKV's own form.
    Rwkv,
    /// A small one in QWen's own form.
    Qwen,
    /// A small one of an encoder.
    Encoder(Kind),
}

/// All that decides a checkpoint.
#[derive(Clone, Debug)]
pub struct Tiny {
    pub name: &'static str,
    /// `config.json`; `vocab_size` and the ids of special tokens are the tokenizer's unless they are told here.
    pub config: Value,
    pub words: Words,
    pub dtype: Dtype,
    pub draft: Draft,
    /// Whether its tensors are those of what sees or hears, and not of the text model.
    pub projector: bool,
    /// Beginnings of the page's names, or ends after `*`, and what its tensors have instead; the first that fits.
    pub respelled: &'static [(&'static str, &'static str)],
    /// Whether it is another checkpoint under a second name of its class.
    pub is_second: bool,
    /// Whether it is in Mistral's own layout.
    pub is_native: bool,
    /// Tensors whose shapes no config tells.
    pub more: &'static [(&'static str, &'static [u64])],
    /// Beginnings of names, and those under which these tensors are there once more.
    pub again: &'static [(&'static str, &'static str)],
    /// How some of its tensors are packed.
    pub packs: Option<packed::Packs>,
    /// Tensors of whole numbers.
    pub whole: &'static [(&'static str, &'static [i64])],
    /// The sort of tensors that have a dtype of their own: the end of the name.
    pub single: &'static [&'static str],
    /// The sort of tensors whose rows are all the same: the end of the name.
    pub alike: &'static [&'static str],
    /// The checkpoint whose tokenizer and config it needs, which lie beside it.
    pub target: Option<&'static str>,
    pub shards: usize,
    /// The folder that has the tensors of which its name is the beginning, and the section of the config that is called so.
    pub folder: Option<&'static str>,
    /// What its `tokenizer_config.json` says besides.
    pub tokens: Value,
    /// The dense modules of sentence-transformers: folder, and rows and columns.
    pub modules: &'static [(&'static str, [u64; 2])],
    /// Other files: name and text.
    pub files: &'static [(&'static str, &'static str)],
}

impl Tiny {
    pub fn new(name: &'static str, config: Value) -> Tiny {
        Tiny {
            name,
            config,
            words: Words::Pieces(288),
            dtype: Dtype::BF16,
            draft: Draft::default(),
            projector: false,
            respelled: &[],
            is_second: false,
            is_native: false,
            more: &[],
            again: &[],
            packs: None,
            whole: &[],
            single: &[],
            alike: &[],
            target: None,
            shards: 1,
            folder: None,
            tokens: json!({}),
            modules: &[],
            files: &[],
        }
    }

    /// Writes the checkpoint into `dir`, which is made if it is not there.
    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        if let Some(target) = self.target {
            let beside = Tiny::target_of(dir);
            std::fs::create_dir_all(&beside).unwrap();
            family(target).unwrap().write_files(&beside);
        }
        let config = self.write_files(dir);
        match self.packs {
            Some(packs) => packed::write_by(packs, &self.weights(&config), dir),
            None => self.write_weights(&config, dir),
        }
        for (folder, shape) in self.modules {
            let weight = self.weight(format!("{folder}.weight"), shape);
            std::fs::create_dir_all(dir.join(folder)).unwrap();
            write_weights(vec![Weight { name: "linear.weight".into(), ..weight }], 1, &dir.join(folder));
            let config = json!({"in_features": shape[1], "out_features": shape[0], "bias": false});
            write_json(&dir.join(folder).join("config.json"), &config);
        }
        if self.is_native {
            std::fs::rename(dir.join("model.safetensors"), dir.join("consolidated.safetensors")).unwrap();
        }
    }

    /// Writes the weights, those of the folder into it.
    fn write_weights(&self, config: &Value, dir: &Path) {
        let mut all = self.weights(config);
        if let Some(folder) = self.folder {
            let own = |weight: &mut Weight| weight.name.starts_with(folder);
            let mut theirs: Vec<Weight> = all.extract_if(.., own).collect();
            theirs.iter_mut().for_each(|weight| weight.name = weight.name[folder.len() + 1..].into());
            write_weights(theirs, 1, &dir.join(folder));
        }
        write_weights(all, self.shards, dir);
    }

    fn write_texts(&self, dir: &Path) {
        for (name, text) in self.files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// Where what it needs of its target lies.
    pub fn target_of(dir: &Path) -> PathBuf {
        PathBuf::from(format!("{}.target", dir.display()))
    }

    /// Writes base/, chat/ and cp/: chat and cp are the base plus noise of their own.
    pub fn write_trio(&self, dir: &Path) {
        for (name, seed) in [("base", None), ("chat", Some(11)), ("cp", Some(13))] {
            let dir = dir.join(name);
            std::fs::create_dir_all(&dir).unwrap();
            let config = self.write_files(&dir);
            let moved = |mut weight: Weight| {
                let noise = |seed| Layer { seed: rng::named(seed, &weight.name), deviation: 0.008 };
                weight.layers.extend(seed.map(noise));
                weight
            };
            write_weights(self.weights(&config).into_iter().map(moved).collect(), self.shards, &dir);
        }
    }

    /// Writes everything but the weights, and gives the config.
    pub fn write_files(&self, dir: &Path) -> Value {
        let vocabulary = match self.words {
            Words::Pieces(n) | Words::Merged(n) => Vocabulary::load("llama-spm").first(n),
            Words::Whole(name) | Words::Pair(name, _) => Vocabulary::load(name),
            Words::Tekken(version) => return self.write_mistrals(dir, version),
            Words::Plamo => {
                plamo::write(dir);
                write_json(&dir.join("config.json"), &self.config);
                self.write_texts(dir);
                return self.config.clone();
            }
            Words::Rwkv | Words::Qwen => {
                let write = if matches!(self.words, Words::Qwen) { qwen::write } else { rwkv::write };
                let config = laid_over(json!({"vocab_size": write(dir)}), &self.config);
                write_json(&dir.join("config.json"), &config);
                write_json(&dir.join("tokenizer_config.json"), &self.tokens);
                self.write_texts(dir);
                return config;
            }
            Words::Encoder(kind) => {
                let tokens = encoding::write(kind, dir);
                let config = laid_over(json!({"vocab_size": tokens}), &self.config);
                if kind != Kind::Pocket {
                    write_json(&dir.join("config.json"), &config);
                }
                self.write_texts(dir);
                return config;
            }
        };
        match self.words {
            Words::Merged(_) => tokenizer::write_merged(&vocabulary, dir),
            Words::Pair(_, class) => tokenizer::write_pair(&vocabulary, class, dir),
            _ if self.target.is_none() => tokenizer::write(&vocabulary, dir, None),
            _ => {}
        }
        let told = dir.join("tokenizer_config.json");
        if self.tokens != json!({}) {
            let text = std::fs::read(&told).unwrap();
            write_json(&told, &laid_over(serde_json::from_slice(&text).unwrap(), &self.tokens));
        }
        let mut config = self.config.clone();
        let ids = [("bos_token_id", vocabulary.bos), ("eos_token_id", vocabulary.eos)];
        let size = Some(vocabulary.tokens.len() as u32);
        // Where the text model's keys are.
        let text = if config["text_config"].is_object() { &mut config["text_config"] } else { &mut config };
        for (key, value) in ids.into_iter().chain([("vocab_size", size)]) {
            if let Some(value) = value.filter(|_| text.get(key).is_none()) {
                text[key] = json!(value);
            }
        }
        let mut root = config.clone();
        if let Some(folder) = self.folder {
            let own = root.as_object_mut().unwrap().remove(folder).unwrap();
            std::fs::create_dir_all(dir.join(folder)).unwrap();
            write_json(&dir.join(folder).join("config.json"), &own);
        }
        write_json(&dir.join("config.json"), &root);
        self.write_texts(dir);
        config
    }

    /// The same with Mistral's tokenizer.
    fn write_mistrals(&self, dir: &Path, version: &str) -> Value {
        tekken::write(dir, version);
        let config = laid_over(self.config.clone(), &json!({"vocab_size": tekken::len()}));
        let file = if self.is_native { "params.json" } else { "config.json" };
        write_json(&dir.join(file), &config);
        match self.is_native {
            true => laid_over(config, &json!({"architectures": ["MistralNative"]})),
            false => config,
        }
    }

    /// The tensors that the family's page tells.
    pub fn weights(&self, config: &Value) -> Vec<Weight> {
        let tensors = if self.projector { self.draft.projector(config) } else { self.draft.tensors(config) };
        let tensors = tensors.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let more = self.more.iter().map(|(name, shape)| (name.to_string(), shape.to_vec()));
        let told = tensors.into_iter().filter(|(name, _)| self.more.iter().all(|(more, _)| more != name));
        let mut all: Vec<(String, Vec<u64>)> = told.chain(more).collect();
        for (theirs, own) in self.again {
            let again = |(name, shape): &(String, Vec<u64>)| {
                Some((format!("{own}{}", name.strip_prefix(theirs)?), shape.clone()))
            };
            let again: Vec<_> = all.iter().filter_map(again).collect();
            all.extend(again);
        }
        let own = |name: String| {
            let fits = |(theirs, own): &(&str, &str)| match theirs.strip_prefix('*') {
                Some(end) => Some(format!("{}{own}", name.strip_suffix(end)?)),
                None => Some(format!("{own}{}", name.strip_prefix(theirs)?)),
            };
            self.respelled.iter().find_map(fits).unwrap_or(name.clone())
        };
        let whole = self.whole.iter().map(|(name, numbers)| Weight {
            name: name.to_string(),
            shape: vec![numbers.len()],
            dtype: Dtype::I64,
            mean: 0.0,
            layers: Vec::new(),
            whole: numbers,
            period: None,
        });
        all.into_iter().map(|(name, shape)| self.weight(own(name), &shape)).chain(whole).collect()
    }

    fn weight(&self, name: String, shape: &[u64]) -> Weight {
        let seed = rng::named(7, &name);
        let (mean, deviation) = match name.as_str() {
            name if name.ends_with("norm.weight") => (0.5, 0.25),
            name if name.ends_with("running_var") || name.ends_with("cluster_usage") => (1.0, 0.125),
            _ => (0.0, 0.05),
        };
        let single = self.single.iter().any(|end| name.ends_with(end));
        let dtype = match name.as_str() {
            "d2t" => Dtype::I64,
            "t2d" => Dtype::BOOL,
            _ if single => Dtype::F32,
            _ => self.dtype,
        };
        let alike = self.alike.iter().any(|end| name.ends_with(end));
        let period = shape.last().copied().filter(|_| alike);
        let shape = shape.iter().map(|n| *n as usize).collect();
        Weight { name, shape, dtype, mean, layers: vec![Layer { seed, deviation }], whole: &[], period }
    }
}
