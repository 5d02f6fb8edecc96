//! Tiny checkpoints whose matrices are packed: codes, scales and the rest are random, as every code stands for a number. What
//! the methods' own libraries pack is in `fixtures/packed`; here is what a whole checkpoint looks like.

use super::checkpoint::Weight;
use super::families::{Tiny, Words};
use super::rng;
use super::tokenizer::write_json;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, View, serialize_to_file};
use serde_json::{Value, json};
use std::path::Path;

/// A way in which the matrices of a checkpoint are packed.
pub struct Scheme {
    pub name: &'static str,
    /// What config.json says of it.
    quantization: fn() -> Value,
    key: &'static str,
    /// The parts of a matrix of so many rows and columns.
    parts: fn(&Maker, usize, usize) -> Vec<Part>,
    /// Whether llama.cpp's converter reads it.
    pub is_converted: bool,
}

/// The names of the checkpoints: a family and a scheme.
pub fn names() -> impl Iterator<Item = (String, &'static Scheme)> {
    let of = |family: &'static str| SCHEMES.iter().map(move |s| (format!("{family}-{}", s.name), s));
    ["llama", "qwen3moe"].into_iter().flat_map(of)
}

/// Those that are written in eight bits, having been FP8.
pub const EIGHTS: [&str; 4] =
    ["llama-fp8-blocks", "llama-fp8-mistral", "qwen3moe-ct-fp8", "qwen3moe-modelopt-fp8"];

/// Writes the checkpoint of that name.
pub fn write(name: &str, dir: &Path) -> bool {
    let Some((_, scheme)) = names().find(|(known, _)| known == name) else { return false };
    write_as(scheme, &if name.starts_with("llama") { llama() } else { qwen3_moe() }, dir);
    true
}

/// Writes a checkpoint with its matrices packed.
pub fn write_as(scheme: &Scheme, tiny: &Tiny, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let mut config = tiny.write_files(dir);
    let mut tensors = Vec::new();
    for weight in tiny.weights(&config) {
        match weight.shape.as_slice() {
            [rows, columns] if weight.name.contains("proj") => {
                let maker = Maker { stem: weight.name.trim_end_matches(".weight").to_string() };
                let parts = (scheme.parts)(&maker, *rows, *columns);
                tensors.extend(
                    parts.into_iter().map(|p| Part { name: format!("{}{}", maker.stem, p.name), ..p }),
                );
            }
            _ => tensors.push(plain(&weight)),
        }
    }
    config[scheme.key] = (scheme.quantization)();
    write_json(&dir.join("config.json"), &config);
    write_parts(&tensors, dir);
}

/// The parts of a tensor that is packed; none of one that is plain.
pub type Packs = fn(&Weight) -> Option<Vec<Part>>;

/// Writes `weights` packed so.
pub fn write_by(packs: Packs, weights: &[Weight], dir: &Path) {
    let whole = |weight: &Weight| packs(weight).unwrap_or_else(|| vec![plain(weight)]);
    write_parts(&weights.iter().flat_map(whole).collect::<Vec<_>>(), dir);
}

fn write_parts(parts: &[Part], dir: &Path) {
    let views = parts.iter().map(|p| (&p.name, TensorView::new(p.dtype, p.shape.clone(), &p.bytes).unwrap()));
    let told = Some([("format".to_string(), "pt".to_string())].into());
    serialize_to_file(views, told, &dir.join("model.safetensors")).unwrap();
}

/// As DeepSeek V4 is published: experts in 4 bits and most other matrices in 8, under exponents; which experts a token goes
/// to as whole numbers.
pub fn deepseek4(weight: &Weight) -> Option<Vec<Part>> {
    const EIGHT: &[&str] = &[
        ".attn.wq_a.weight",
        ".attn.wq_b.weight",
        ".attn.wkv.weight",
        ".attn.wo_a.weight",
        ".attn.wo_b.weight",
        ".indexer.wq_b.weight",
        ".w1.weight",
        ".w2.weight",
        ".w3.weight",
        ".e_proj.weight",
        ".h_proj.weight",
        ".main_proj.weight",
    ];
    let maker = Maker { stem: weight.name.trim_end_matches(".weight").to_string() };
    let &[rows, columns] = weight.shape.as_slice() else { return None };
    let parts = match weight.name.as_str() {
        name if name.ends_with("tid2eid") => {
            let ids: Vec<i64> = (0..rows * columns).map(|i| (maker.random("", i) % 4) as i64).collect();
            return Some(vec![Part { name: name.into(), ..maker.whole("", &[rows, columns], &ids) }]);
        }
        name if name.contains(".experts.") => vec![
            maker.bytes("weight", &[rows, columns / 2], Dtype::I8),
            maker.exponents(&[rows, columns / 32]),
        ],
        name if EIGHT.iter().any(|end| name.ends_with(end)) => {
            vec![maker.floats(rows, columns), maker.exponents(&[rows.div_ceil(128), columns.div_ceil(128)])]
        }
        _ => return None,
    };
    Some(named(&maker, parts))
}

/// As MiMo V2.5 is published: queries, keys and values in one as four ranks held them, and feed-forward layers in blocks of 8
/// bits.
pub fn mimo(weight: &Weight) -> Option<Vec<Part>> {
    const RANKS: usize = 4;
    let &[rows, columns] = weight.shape.as_slice() else { return None };
    let stem = weight.name.trim_end_matches(".weight");
    let (maker, height) = match stem.rsplit('.').next()? {
        // Of the first layer, and of those within a window.
        "q_proj" => {
            let rows = if stem.contains("layers.0.") { 272 } else { 512 };
            let maker = Maker { stem: stem.replace("q_proj", "qkv_proj") };
            let scales = maker.scales("weight_scale_inv", &[RANKS, columns.div_ceil(128)], Dtype::F32);
            return Some(named(&maker, vec![maker.floats(rows, columns), scales]));
        }
        "k_proj" | "v_proj" => return Some(Vec::new()),
        "gate_proj" | "up_proj" | "down_proj" => (Maker { stem: stem.to_string() }, rows.div_ceil(128)),
        _ => return None,
    };
    let scales = maker.scales("weight_scale_inv", &[height, columns.div_ceil(128)], Dtype::F32);
    Some(named(&maker, vec![maker.floats(rows, columns), scales]))
}

/// The same with experts in 4 bits, under exponents in plain bytes.
pub fn mimo_in_halves(weight: &Weight) -> Option<Vec<Part>> {
    let &[rows, columns] = weight.shape.as_slice() else { return None };
    let maker = Maker { stem: weight.name.trim_end_matches(".weight").to_string() };
    if !maker.stem.contains(".experts.") {
        return mimo(weight);
    }
    let exponents = maker.exponents(&[rows, columns / 32]);
    let scales = Part { name: ".weight_scale".into(), dtype: Dtype::U8, ..exponents };
    Some(named(&maker, vec![maker.bytes("weight", &[rows, columns / 2], Dtype::U8), scales]))
}

/// As Kimi K3 is published: experts in 4 bits, under exponents in plain bytes.
pub fn kimi(weight: &Weight) -> Option<Vec<Part>> {
    let &[rows, columns] = weight.shape.as_slice() else { return None };
    let maker = Maker { stem: weight.name.trim_end_matches(".weight").to_string() };
    let scales =
        Part { name: ".weight_scale".into(), dtype: Dtype::U8, ..maker.exponents(&[rows, columns / 32]) };
    let parts = vec![maker.bytes("weight_packed", &[rows, columns / 2], Dtype::U8), scales];
    maker.stem.contains(".experts.").then(|| named(&maker, parts))
}

/// Parts under the name of what they are of.
fn named(maker: &Maker, parts: Vec<Part>) -> Vec<Part> {
    parts.into_iter().map(|p| Part { name: format!("{}{}", maker.stem, p.name), ..p }).collect()
}

fn llama() -> Tiny {
    Tiny::new(
        "llama",
        json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 128,
        "intermediate_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16"}),
    )
}

fn qwen3_moe() -> Tiny {
    // The converter knows this class by byte-level BPE only.
    Tiny {
        words: Words::Whole("gpt-2"),
        ..Tiny::new(
            "qwen3moe",
            json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 128,
        "intermediate_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2, "hidden_act": "silu",
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "decoder_sparse_step": 1,
        "norm_topk_prob": true, "tie_word_embeddings": true, "torch_dtype": "bfloat16"}),
        )
    }
}

/// Every scheme.
pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "fp8-blocks",
        quantization: || json!({"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"}),
        parts: |m, r, c| {
            vec![
                m.floats(r, c),
                m.scales("weight_scale_inv", &[r.div_ceil(128), c.div_ceil(128)], Dtype::F32),
            ]
        },
        ..CONVERTED
    },
    Scheme {
        name: "fp8-mistral",
        quantization: || json!({"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": null}),
        parts: |m, r, c| {
            vec![
                m.floats(r, c),
                m.scales("qscale_weight", &[], Dtype::BF16),
                m.scales("qscale_act", &[], Dtype::BF16),
            ]
        },
        ..CONVERTED
    },
    Scheme {
        name: "gptq-4",
        quantization: || json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true, "sym": true}),
        parts: |m, r, c| m.gptq(r, c, 4, true),
        ..CONVERTED
    },
    Scheme {
        name: "gptq-v2-8",
        quantization: || {
            json!({"quant_method": "gptq", "bits": 8, "group_size": 64, "desc_act": false, "sym": false,
                "checkpoint_format": "gptq_v2"})
        },
        parts: |m, r, c| m.gptq(r, c, 8, false),
        ..CONVERTED
    },
    Scheme {
        name: "ct-int4",
        quantization: || {
            compressed(
                "pack-quantized",
                json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": false}),
            )
        },
        parts: |m, r, c| {
            vec![
                m.words("weight_packed", &[r, c / 8]),
                m.scales("weight_scale", &[r, c / 32], Dtype::BF16),
                m.words("weight_zero_point", &[r / 8, c / 32]),
                m.whole("weight_shape", &[2], &[r as i64, c as i64]),
            ]
        },
        ..CONVERTED
    },
    Scheme {
        name: "ct-int8",
        quantization: || {
            compressed(
                "int-quantized",
                json!({"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": true}),
            )
        },
        parts: |m, r, c| {
            vec![m.bytes("weight", &[r, c], Dtype::I8), m.scales("weight_scale", &[r, 1], Dtype::BF16)]
        },
        ..CONVERTED
    },
    Scheme {
        name: "ct-fp8",
        quantization: || {
            compressed(
                "float-quantized",
                json!({"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true}),
            )
        },
        parts: |m, r, c| vec![m.floats(r, c), m.scales("weight_scale", &[r, 1], Dtype::BF16)],
        ..CONVERTED
    },
    Scheme {
        name: "modelopt-fp8",
        quantization: || json!({"quant_method": "modelopt", "quant_algo": "FP8"}),
        parts: |m, r, c| {
            vec![
                m.floats(r, c),
                m.scales("weight_scale", &[], Dtype::F32),
                m.scales("input_scale", &[], Dtype::F32),
            ]
        },
        ..CONVERTED
    },
    Scheme {
        name: "modelopt-nvfp4",
        quantization: || json!({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}),
        parts: |m, r, c| {
            let mut parts = m.fours("weight", r, c);
            parts.push(m.scales("weight_scale_2", &[], Dtype::F32));
            parts.push(m.scales("input_scale", &[], Dtype::F32));
            parts
        },
        ..CONVERTED
    },
    Scheme {
        name: "modelopt-w4a16",
        quantization: || json!({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}),
        parts: |m, r, c| {
            let mut parts = m.fours("weight", r, c);
            parts.push(m.scales("weight_scale_2", &[], Dtype::F32));
            parts
        },
        ..CONVERTED
    },
    Scheme {
        name: "ct-nvfp4",
        quantization: || {
            compressed(
                "nvfp4-pack-quantized",
                json!({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": true}),
            )
        },
        parts: |m, r, c| {
            let mut parts = m.fours("weight_packed", r, c);
            parts.push(m.divisor("weight_global_scale"));
            parts.push(m.divisor("input_global_scale"));
            parts
        },
        ..CONVERTED
    },
    Scheme {
        name: "awq-4",
        quantization: || json!({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}),
        parts: |m, r, c| {
            vec![
                m.words("qweight", &[c, r / 8]),
                m.words("qzeros", &[c / 64, r / 8]),
                m.scales("scales", &[c / 64, r], Dtype::F16),
            ]
        },
        is_converted: false,
        ..CONVERTED
    },
    Scheme {
        name: "bnb-nf4",
        quantization: || json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}),
        parts: |m, r, c| {
            let state = json!({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [r, c],
                "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.03});
            let text = state.to_string().into_bytes();
            let runs = r * c / 64;
            vec![
                m.bytes("weight", &[r * c / 2, 1], Dtype::U8),
                m.bytes("weight.absmax", &[runs], Dtype::U8),
                m.scales("weight.nested_absmax", &[runs.div_ceil(256)], Dtype::F32),
                m.scales("weight.nested_quant_map", &[256], Dtype::F32),
                m.scales("weight.quant_map", &[16], Dtype::F32),
                Part {
                    name: ".weight.quant_state.bitsandbytes__nf4".into(),
                    dtype: Dtype::U8,
                    shape: vec![text.len()],
                    bytes: text,
                },
            ]
        },
        is_converted: false,
        ..CONVERTED
    },
    Scheme {
        name: "bnb-int8",
        quantization: || json!({"quant_method": "bitsandbytes", "load_in_8bit": true}),
        parts: |m, r, c| {
            vec![
                m.bytes("weight", &[r, c], Dtype::I8),
                m.scales("SCB", &[r], Dtype::F32),
                Part { name: ".weight_format".into(), dtype: Dtype::U8, shape: vec![], bytes: vec![0] },
            ]
        },
        is_converted: false,
        ..CONVERTED
    },
    Scheme {
        name: "mlx-6",
        quantization: || json!({"group_size": 32, "bits": 6}),
        key: "quantization",
        parts: |m, r, c| {
            vec![
                Part { dtype: Dtype::U32, ..m.words("weight", &[r, c * 6 / 32]) },
                m.scales("scales", &[r, c / 32], Dtype::BF16),
                m.scales("biases", &[r, c / 32], Dtype::BF16),
            ]
        },
        is_converted: false,
    },
    Scheme {
        name: "hqq-4",
        quantization: || json!({"quant_method": "hqq", "quant_config": {}, "skip_modules": ["lm_head"]}),
        parts: |m, r, c| {
            let lines = r * c / 64;
            let mut parts = vec![
                m.bytes("W_q", &[lines / 2, 64], Dtype::U8),
                m.scales("scale", &[lines, 1], Dtype::F16),
                m.scales("zero", &[lines, 1], Dtype::F16),
                m.whole("shape", &[2], &[r as i64, c as i64]),
            ];
            for (key, n) in [("nbits", 4), ("axis", 1), ("group_size", 64)] {
                parts.push(m.whole(key, &[], &[n]));
            }
            for (key, text) in [("packing", "4bit_u8"), ("compute_dtype", "torch.float16")] {
                let bytes = text.as_bytes().to_vec();
                parts.push(Part {
                    name: format!(".{key}"),
                    dtype: Dtype::U8,
                    shape: vec![bytes.len()],
                    bytes,
                });
            }
            parts
        },
        is_converted: false,
        ..CONVERTED
    },
    Scheme {
        name: "quark-uint4",
        quantization: || {
            json!({"quant_method": "quark", "export": {"pack_method": "reorder"},
                "global_quant_config": {"weight": {"dtype": "uint4", "qscheme": "per_group"}}})
        },
        parts: |m, r, c| {
            vec![
                m.words("weight", &[c, r / 8]),
                m.scales("weight_scale", &[c / 64, r], Dtype::BF16),
                m.words("weight_zero_point", &[c / 64, r / 8]),
            ]
        },
        is_converted: false,
        ..CONVERTED
    },
];

const CONVERTED: Scheme = Scheme {
    name: "",
    quantization: || Value::Null,
    key: "quantization_config",
    parts: |_, _, _| Vec::new(),
    is_converted: true,
};

fn compressed(format: &str, weights: Value) -> Value {
    json!({"quant_method": "compressed-tensors", "format": format, "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}})
}

/// A tensor of a packed checkpoint; of a part, the name after that of the module.
pub struct Part {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn plain(weight: &Weight) -> Part {
    let bytes = View::data(&weight).into_owned();
    Part { name: weight.name.clone(), dtype: weight.dtype, shape: weight.shape.clone(), bytes }
}

/// Makes the parts of a module.
pub struct Maker {
    stem: String,
}

impl Maker {
    fn random(&self, part: &str, i: usize) -> u64 {
        rng::splitmix64(rng::named(17, &format!("{}.{part}", self.stem)), i as u64)
    }

    fn bytes(&self, part: &str, shape: &[usize], dtype: Dtype) -> Part {
        let count = shape.iter().product::<usize>();
        let bytes = (0..count).map(|i| self.random(part, i) as u8).collect();
        Part { name: format!(".{part}"), dtype, shape: shape.to_vec(), bytes }
    }

    /// Floats of 8 bits, all of them finite.
    fn floats(&self, rows: usize, columns: usize) -> Part {
        let mut part = self.bytes("weight", &[rows, columns], Dtype::F8_E4M3);
        part.bytes.iter_mut().filter(|b| **b & 0x7f == 0x7f).for_each(|b| *b = 0x30);
        part
    }

    /// Pairs of floats of 4 bits under floats of 8 for each 16, from a sixteenth to 30.
    fn fours(&self, codes: &str, rows: usize, columns: usize) -> Vec<Part> {
        let mut scales = self.bytes("weight_scale", &[rows, columns / 16], Dtype::F8_E4M3);
        scales.bytes.iter_mut().for_each(|b| *b = 0x18 + *b % 0x48);
        vec![self.bytes(codes, &[rows, columns / 2], Dtype::U8), scales]
    }

    /// A number that divides, from 2000 to 4000.
    fn divisor(&self, part: &str) -> Part {
        let value = 2000.0 + (self.random(part, 0) % 2000) as f32 + 0.37;
        let bytes = value.to_le_bytes().to_vec();
        Part { name: format!(".{part}"), dtype: Dtype::F32, shape: vec![1], bytes }
    }

    /// Exponents of two from a thousandth to a quarter.
    fn exponents(&self, shape: &[usize]) -> Part {
        let mut part = self.bytes("scale", shape, Dtype::F8_E8M0);
        part.bytes.iter_mut().for_each(|b| *b = 117 + *b % 8);
        part
    }

    fn words(&self, part: &str, shape: &[usize]) -> Part {
        let count = shape.iter().product::<usize>();
        let bytes = (0..count).flat_map(|i| (self.random(part, i) as u32).to_le_bytes()).collect();
        Part { name: format!(".{part}"), dtype: Dtype::I32, shape: shape.to_vec(), bytes }
    }

    fn whole(&self, part: &str, shape: &[usize], values: &[i64]) -> Part {
        let bytes = values.iter().flat_map(|n| n.to_le_bytes()).collect();
        Part { name: format!(".{part}"), dtype: Dtype::I64, shape: shape.to_vec(), bytes }
    }

    /// Numbers from a thousandth to a hundredth.
    fn scales(&self, part: &str, shape: &[usize], dtype: Dtype) -> Part {
        let value = |i: usize| 0.001 + 0.009 * (self.random(part, i) >> 40) as f32 / (1u32 << 24) as f32;
        let values = (0..shape.iter().product::<usize>()).map(value);
        let bytes = match dtype {
            Dtype::F16 => values.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
        Part { name: format!(".{part}"), dtype, shape: shape.to_vec(), bytes }
    }

    fn gptq(&self, rows: usize, columns: usize, bits: usize, act: bool) -> Vec<Part> {
        let group = if bits == 4 { 32 } else { 64 };
        let groups = columns / group;
        let mut zeros = self.words("qzeros", &[groups, rows * bits / 32]);
        if bits == 4 {
            // Of the largest the converter makes another than GPTQModel, which adds to words.
            zeros.bytes.iter_mut().for_each(|b| *b &= 0x77);
        }
        let of = |i: usize| if act { self.random("g_idx", i) as usize % groups } else { i / group };
        let order: Vec<u8> = (0..columns).flat_map(|i| (of(i) as i32).to_le_bytes()).collect();
        vec![
            self.words("qweight", &[columns * bits / 32, rows]),
            zeros,
            self.scales("scales", &[groups, rows], Dtype::F16),
            Part { name: ".g_idx".into(), dtype: Dtype::I32, shape: vec![columns], bytes: order },
        ]
    }
}
