//! Toy llamas as GGUF files, for whole-file comparisons with llama.cpp's quantizer, which asks for no tokenizer.
//! Eight layers let every rule that looks at a layer's number speak.

use super::rng;
use ggraft_formats::{Checkpoint, DType, Input, Metadata, Model, Shape, Tensor, gguf, open};
use std::path::Path;

/// A llama with grouped queries (two heads share a key) and norms in f32, as a converter writes it.
#[derive(Clone, Copy, Debug)]
pub struct Toy {
    pub name: &'static str,
    pub hidden: usize,
    pub ffn: usize,
    pub layers: usize,
    pub vocab: usize,
    /// 0 for a dense model.
    pub experts: usize,
    /// Whether there is no `output.weight`.
    pub tied: bool,
    /// Of the matrices.
    pub dtype: DType,
}

const TOY: Toy = Toy {
    name: "f32",
    hidden: 256,
    ffn: 512,
    layers: 8,
    vocab: 96,
    experts: 0,
    tied: false,
    dtype: DType::F32,
};

/// Every row a multiple of 256, or of 32 only (288), or of 16 only (272); head tied and untied; each source dtype;
/// eight experts as Mixtral has them.
pub const TOYS: [Toy; 7] = [
    TOY,
    Toy { name: "f16", dtype: DType::F16, ..TOY },
    Toy { name: "bf16", dtype: DType::BF16, ..TOY },
    Toy { name: "bf16-tied", dtype: DType::BF16, tied: true, ..TOY },
    Toy { name: "f16-ffn288", dtype: DType::F16, ffn: 288, ..TOY },
    Toy { name: "bf16-ffn272-tied", dtype: DType::BF16, ffn: 272, tied: true, ..TOY },
    Toy { name: "bf16-moe", dtype: DType::BF16, ffn: 256, layers: 3, experts: 8, ..TOY },
];

impl Toy {
    const HEADS: usize = 4;
    const KV_HEADS: usize = 2;

    /// The model, in memory.
    pub fn model(&self) -> Model {
        let tensors = self.shapes().iter().map(|(name, ne)| self.tensor(name, ne)).collect();
        Model { metadata: self.metadata(), tensors, ..Model::default() }
    }

    /// Writes the model as a GGUF file.
    pub fn write(&self, path: &Path) {
        let model = self.model();
        ggraft_formats::write::write(&[gguf::plan(&model, path).unwrap()], &()).unwrap();
    }

    fn metadata(&self) -> Metadata {
        let mut all = Metadata::new();
        all.set("general.architecture", "llama");
        for (key, value) in [
            ("block_count", self.layers),
            ("context_length", 512),
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.ffn),
            ("attention.head_count", Toy::HEADS),
            ("attention.head_count_kv", Toy::KV_HEADS),
            ("vocab_size", self.vocab),
        ] {
            all.set(&format!("llama.{key}"), value as u32);
        }
        all.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
        if self.experts > 0 {
            all.set("llama.expert_count", self.experts as u32);
            all.set("llama.expert_used_count", 2u32);
        }
        all
    }

    /// The tensors in a converter's order, each with its row length first.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let Toy { hidden, vocab, .. } = *self;
        let kv = hidden / Toy::HEADS * Toy::KV_HEADS;
        let mut all = vec![("token_embd.weight".to_string(), vec![hidden, vocab])];
        for layer in 0..self.layers {
            for (name, ne) in [
                ("attn_norm", vec![hidden]),
                ("attn_q", vec![hidden, hidden]),
                ("attn_k", vec![hidden, kv]),
                ("attn_v", vec![hidden, kv]),
                ("attn_output", vec![hidden, hidden]),
                ("ffn_norm", vec![hidden]),
            ]
            .into_iter()
            .chain(self.feed_forward())
            {
                all.push((format!("blk.{layer}.{name}.weight"), ne));
            }
        }
        all.push(("output_norm.weight".to_string(), vec![hidden]));
        if !self.tied {
            all.push(("output.weight".to_string(), vec![hidden, vocab]));
        }
        all
    }

    fn feed_forward(&self) -> Vec<(&'static str, Vec<usize>)> {
        let Toy { hidden, ffn, experts, .. } = *self;
        match experts {
            0 => vec![
                ("ffn_gate", vec![hidden, ffn]),
                ("ffn_up", vec![hidden, ffn]),
                ("ffn_down", vec![ffn, hidden]),
            ],
            n => vec![
                ("ffn_gate_inp", vec![hidden, n]),
                ("ffn_gate_exps", vec![hidden, ffn, n]),
                ("ffn_up_exps", vec![hidden, ffn, n]),
                ("ffn_down_exps", vec![ffn, hidden, n]),
            ],
        }
    }

    fn tensor(&self, name: &str, ne: &[usize]) -> Tensor {
        let noise = rng::gaussian(rng::named(7, name), ne.iter().product());
        let matrix = ne.len() > 1;
        let (mean, deviation) = if matrix { (0.0, 0.02) } else { (1.0, 0.05) };
        let values: Vec<f32> = noise.iter().map(|x| mean + deviation * x).collect();
        let ne: Vec<u64> = ne.iter().map(|n| *n as u64).collect();
        let tensor = Tensor::in_memory(name, Shape::new(&ne).unwrap(), &values).unwrap();
        if matrix { tensor.encode(self.dtype, None).unwrap() } else { tensor }
    }
}

/// The GGUF at `path`.
pub fn model(path: &Path) -> Model {
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{} is not a GGUF", path.display()),
    }
}

/// The checkpoint in `dir`.
pub fn checkpoint(dir: &Path) -> Checkpoint {
    match open(dir).unwrap() {
        Input::Checkpoint(checkpoint) => checkpoint,
        Input::Model(_) => panic!("{} is a GGUF", dir.display()),
    }
}

/// The values of a tensor, as they are when they are decoded.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    let mut out = vec![0.0; tensor.shape().elements() as usize];
    tensor.decode_rows(0..tensor.shape().rows() as usize, &mut out).unwrap();
    out
}

/// The dtype of a tensor of this name.
pub fn dtype(model: &Model, name: &str) -> DType {
    model.tensors.iter().find(|t| t.name == name).unwrap().dtype()
}
