//! Hugging Face checkpoint directories, written from a `Spec`: config, tokenizer files of a real vocabulary, and
//! tiny deterministic weights. Every weight depends on the spec's seed, the tensor's name and the index alone, so
//! a directory is the same bytes wherever and however often it is made.

use super::rng;
use super::tokenizer::{self, write_json};
use super::vocabulary::Vocabulary;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, View, serialize_to_file};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// The class in `config.json`; both lie in files alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    Llama,
    Mistral,
}

/// How positions beyond the trained window are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rope {
    None,
    Linear,
    Yarn,
    /// With this factor.
    Llama3(f64),
}

/// The tokens of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub enum Tokens {
    /// One of `fixtures/vocab`, with its tokenizer files.
    Real(&'static str),
    /// One of them, with so many Korean tokens appended; the first is a new end of turn.
    Grown(&'static str, usize),
    /// One of them, with so many Chinese words appended.
    Widened(&'static str, usize),
    /// The first so many of one of them, of SentencePiece.
    First(&'static str, usize),
    /// So many tokens, and no tokenizer files.
    Plain(usize),
}

/// All that decides a checkpoint. Sizes are in elements, as in `config.json`.
#[derive(Clone, Debug)]
pub struct Spec {
    pub arch: Arch,
    pub tokens: Tokens,
    pub hidden: usize,
    pub ffn: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Written into the config only if it is given; `hidden / heads` otherwise.
    pub head_dim: Option<usize>,
    pub context: usize,
    pub tied: bool,
    /// Whether the attention projections have biases.
    pub bias: bool,
    pub rope: Rope,
    pub rope_theta: f64,
    pub dtype: Dtype,
    pub shards: usize,
    pub seed: u64,
    pub chat_template: Option<&'static str>,
    /// Sampling defaults in `generation_config.json`.
    pub sampling: bool,
    /// The text of `README.md`.
    pub card: Option<&'static str>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            arch: Arch::Llama,
            tokens: Tokens::Plain(96),
            hidden: 64,
            ffn: 80,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: None,
            context: 512,
            tied: false,
            bias: false,
            rope: Rope::None,
            rope_theta: 10000.0,
            dtype: Dtype::BF16,
            shards: 1,
            seed: 7,
            chat_template: None,
            sampling: false,
            card: None,
        }
    }
}

impl Spec {
    /// Writes the checkpoint into `dir`, which is made if it is not there.
    pub fn write(&self, dir: &Path) {
        let vocab_size = self.write_files(dir);
        write_weights(self.weights(vocab_size), self.shards, dir);
    }

    /// Writes everything but the weights, and gives the vocabulary's size.
    pub fn write_files(&self, dir: &Path) -> usize {
        std::fs::create_dir_all(dir).unwrap();
        let (vocab_size, bos, eos) = match self.tokens {
            Tokens::Plain(n) => (n, Some(1), Some(2)),
            Tokens::Real(name) => self.write_tokenizer(&Vocabulary::load(name), dir),
            Tokens::First(name, count) => self.write_tokenizer(&Vocabulary::load(name).first(count), dir),
            Tokens::Grown(name, more) => self.write_tokenizer(&Vocabulary::load(name).grown(more), dir),
            Tokens::Widened(name, more) => self.write_tokenizer(&Vocabulary::load(name).widened(more), dir),
        };
        write_json(&dir.join("config.json"), &self.config(vocab_size, bos, eos));
        write_json(&dir.join("generation_config.json"), &self.generation_config(bos, eos));
        if let Some(card) = self.card {
            std::fs::write(dir.join("README.md"), card).unwrap();
        }
        vocab_size
    }

    fn write_tokenizer(&self, vocabulary: &Vocabulary, dir: &Path) -> (usize, Option<u32>, Option<u32>) {
        tokenizer::write(vocabulary, dir, self.chat_template);
        (vocabulary.tokens.len(), vocabulary.bos, vocabulary.eos)
    }

    fn config(&self, vocab_size: usize, bos: Option<u32>, eos: Option<u32>) -> Value {
        let (class, model_type) = match self.arch {
            Arch::Llama => ("LlamaForCausalLM", "llama"),
            Arch::Mistral => ("MistralForCausalLM", "mistral"),
        };
        let mut config = json!({
            "architectures": [class], "model_type": model_type, "hidden_act": "silu",
            "hidden_size": self.hidden, "intermediate_size": self.ffn, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.context, "rms_norm_eps": 1e-5, "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied, "vocab_size": vocab_size, "torch_dtype": dtype_name(self.dtype),
        });
        let all = config.as_object_mut().expect("an object");
        if let Some(head_dim) = self.head_dim {
            all.insert("head_dim".into(), head_dim.into());
        }
        if self.bias {
            all.insert("attention_bias".into(), true.into());
        }
        if let Some(scaling) = self.rope_scaling() {
            all.insert("rope_scaling".into(), scaling);
        }
        all.extend(ids(bos, eos));
        config
    }

    /// The window has been stretched fourfold, but for llama3, which has the figures of Llama 3.1.
    fn rope_scaling(&self) -> Option<Value> {
        let trained = self.context / 4;
        match self.rope {
            Rope::None => None,
            Rope::Linear => Some(json!({"rope_type": "linear", "factor": 4.0})),
            Rope::Yarn => {
                Some(json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": trained}))
            }
            Rope::Llama3(factor) => Some(json!({"rope_type": "llama3", "factor": factor,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})),
        }
    }

    fn generation_config(&self, bos: Option<u32>, eos: Option<u32>) -> Value {
        let mut config = ids(bos, eos);
        if self.sampling {
            config.insert("do_sample".into(), true.into());
            config.insert("temperature".into(), json!(0.6));
            config.insert("top_k".into(), json!(40));
            config.insert("top_p".into(), json!(0.9));
            config.insert("repetition_penalty".into(), json!(1.05));
        }
        Value::Object(config)
    }

    /// Every tensor of the model, in the order of the forward pass.
    pub fn weights(&self, vocab_size: usize) -> Vec<Weight> {
        let head_dim = self.head_dim.unwrap_or(self.hidden / self.heads);
        let (q, kv) = (self.heads * head_dim, self.kv_heads * head_dim);
        let mut all = vec![self.weight("model.embed_tokens.weight".into(), &[vocab_size, self.hidden])];
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: &[usize]| {
                all.push(self.weight(format!("model.layers.{layer}.{name}"), shape));
            };
            add("input_layernorm.weight", &[self.hidden]);
            for (name, rows) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
                add(&format!("self_attn.{name}.weight"), &[rows, self.hidden]);
                if self.bias {
                    add(&format!("self_attn.{name}.bias"), &[rows]);
                }
            }
            add("self_attn.o_proj.weight", &[self.hidden, q]);
            if self.bias {
                add("self_attn.o_proj.bias", &[self.hidden]);
            }
            add("post_attention_layernorm.weight", &[self.hidden]);
            add("mlp.gate_proj.weight", &[self.ffn, self.hidden]);
            add("mlp.up_proj.weight", &[self.ffn, self.hidden]);
            add("mlp.down_proj.weight", &[self.hidden, self.ffn]);
        }
        all.push(self.weight("model.norm.weight".into(), &[self.hidden]));
        if !self.tied {
            all.push(self.weight("lm_head.weight".into(), &[vocab_size, self.hidden]));
        }
        all
    }

    fn weight(&self, name: String, shape: &[usize]) -> Weight {
        let seed = rng::named(self.seed, &name);
        let (mean, deviation) = if name.ends_with("norm.weight") { (1.0, 0.05) } else { (0.0, 0.02) };
        let layers = vec![Layer { seed, deviation }];
        Weight { name, shape: shape.to_vec(), dtype: self.dtype, mean, layers, whole: &[], period: None }
    }
}

fn ids(bos: Option<u32>, eos: Option<u32>) -> Map<String, Value> {
    let ids = [("bos_token_id", bos), ("eos_token_id", eos)];
    ids.into_iter().filter_map(|(key, id)| Some((key.to_string(), id?.into()))).collect()
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        other => panic!("no checkpoint is made of {other:?}"),
    }
}

/// One layer of noise: bell-curved, from its own seed.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub seed: u64,
    pub deviation: f32,
}

/// A tensor that is made while it is written: `mean` plus its layers of noise, rounded once to the dtype.
#[derive(Clone, Debug)]
pub struct Weight {
    pub name: String,
    /// In the trainer's order: rows first.
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub mean: f32,
    pub layers: Vec<Layer>,
    /// What it holds, if that is whole numbers.
    pub whole: &'static [i64],
    /// After how many elements they begin again.
    pub period: Option<u64>,
}

impl Weight {
    /// Elements `start..` in the dtype, as many as fill `out`. Whole numbers that are not told count up, truth values are true and
    /// false in turn.
    fn fill(&self, start: u64, out: &mut [u8]) {
        match self.dtype {
            Dtype::I64 => {
                let told = |index: u64| self.whole.get(index as usize).copied().unwrap_or(index as i64);
                let whole = out.as_chunks_mut().0.iter_mut().zip(start..);
                return whole.for_each(|(bytes, index)| *bytes = told(index).to_le_bytes());
            }
            Dtype::BOOL => {
                return out
                    .iter_mut()
                    .zip(start..)
                    .for_each(|(byte, index)| *byte = u8::from(index % 2 == 0));
            }
            _ => {}
        }
        let mut values = vec![self.mean; out.len() * 8 / self.dtype.bitsize()];
        for layer in &self.layers {
            for (x, index) in values.iter_mut().zip(start..) {
                let index = self.period.map_or(index, |period| index % period);
                *x += layer.deviation * rng::normal(layer.seed, index);
            }
        }
        match self.dtype {
            Dtype::F32 => put(&values, out, f32::to_le_bytes),
            Dtype::F16 => put(&values, out, |x| f16::from_f32(x).to_le_bytes()),
            Dtype::BF16 => put(&values, out, |x| bf16::from_f32(x).to_le_bytes()),
            other => panic!("no checkpoint is made of {other:?}"),
        }
    }
}

fn put<const N: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(f32) -> [u8; N]) {
    for (bytes, x) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *bytes = encode(*x);
    }
}

/// Lets the safetensors crate ask for one tensor at a time, so no more than one is ever in memory.
impl View for &Weight {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        use rayon::prelude::*;
        const ELEMENTS: usize = 1 << 16;
        let chunk = ELEMENTS * self.dtype.bitsize() / 8;
        let mut bytes = vec![0; self.data_len()];
        let chunks = bytes.par_chunks_mut(chunk).enumerate();
        chunks.for_each(|(i, part)| self.fill((i * ELEMENTS) as u64, part));
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes the tensors as `model.safetensors`, or as so many shards and their index.
pub fn write_weights(weights: Vec<Weight>, shards: usize, dir: &Path) {
    let format = || Some(HashMap::from([("format".to_string(), "pt".to_string())]));
    if shards == 1 {
        let all = weights.iter().map(|w| (&w.name, w));
        serialize_to_file(all, format(), &dir.join("model.safetensors")).unwrap();
        return;
    }
    let mut weight_map = Map::new();
    for (i, shard) in weights.chunks(weights.len().div_ceil(shards)).enumerate() {
        let file = format!("model-{:05}-of-{shards:05}.safetensors", i + 1);
        serialize_to_file(shard.iter().map(|w| (&w.name, w)), format(), &dir.join(&file)).unwrap();
        weight_map.extend(shard.iter().map(|w| (w.name.clone(), file.as_str().into())));
    }
    let total: usize = weights.iter().map(|w| View::data_len(&w)).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    write_json(&dir.join("model.safetensors.index.json"), &index);
}

/// Writes `model.safetensors` with these shapes and zeros that take no room on the disk.
pub fn write_sparse_weights(weights: &[Weight], dir: &Path) {
    let mut end = 0;
    let describe = |weight: &Weight| {
        let start = end;
        end += View::data_len(&weight);
        let (dtype, shape) = (weight.dtype, weight.shape.clone());
        (weight.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let metadata = Metadata::new(None, weights.iter().map(describe).collect()).unwrap();
    let mut header = serde_json::to_vec(&metadata).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = std::fs::File::create(dir.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}
