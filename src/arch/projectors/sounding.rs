//! What makes sound of codes in Qwen 3 TTS, made ready for its page: books of codes are the sums of what was near a code by how
//! often that was, and all of it comes before the rest, as the converter writes it.
//! Specification: `Qwen3TTSSpeakerEncoderModel._generate_code2wav_tensors` of llama.cpp's converter.

use crate::arch::computed::{Computation, by_row, held};
use crate::arch::params::Params;
use ggraft_formats::{Checkpoint, Result, Tensor};
use std::collections::{HashMap, HashSet};

const BEFORE: &str = "speech_tokenizer.decoder.";

/// Of a sum, and of how many it is.
const MEAN: Computation =
    Computation { name: "sum / max(count, 1e-5)", formula: |all, round| round(all[0] / round(all[1].max(1e-5))) };

/// The checkpoint with books of codes, and with what makes sound of codes first, in the converter's order.
pub fn prepared(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let (mut all, mut rest) = (HashMap::new(), Vec::new());
    for tensor in &checkpoint.tensors {
        let book = tensor.name.strip_suffix(".embedding_sum");
        let made = match book {
            Some(stem) if tensor.name.starts_with(BEFORE) => {
                let count = held(checkpoint, &format!("{stem}.cluster_usage"))?;
                by_row(&tensor.name, MEAN, tensor.clone(), count)?
            }
            _ => tensor.clone(),
        };
        match made.name.strip_prefix(BEFORE).map(String::from) {
            Some(name) if name.ends_with("._codebook.cluster_usage") => {}
            Some(name) => {
                all.insert(name, made.clone());
                rest.push(made);
            }
            None => rest.push(made),
        }
    }
    let first: Vec<Tensor> = ORDER.iter().flat_map(|group| group.taken(&all)).collect();
    let taken: HashSet<&str> = first.iter().map(|tensor| tensor.name.as_str()).collect();
    rest.retain(|tensor| !taken.contains(tensor.name.as_str()));
    let tensors = first.iter().cloned().chain(rest).collect();
    Ok(Some(Checkpoint { tensors, ..checkpoint.clone() }))
}

/// Names in their order; with `{}` a number, from the first on until none is there.
struct Group(u32, &'static [&'static str]);

impl Group {
    fn taken(&self, all: &HashMap<String, Tensor>) -> Vec<Tensor> {
        let mut taken = Vec::new();
        let is_numbered = self.1.iter().any(|name| name.contains("{}"));
        for number in self.0.. {
            let named = |name: &&str| all.get(&name.replace("{}", &number.to_string())).cloned();
            let own: Vec<Tensor> = self.1.iter().filter_map(named).collect();
            let is_last = own.is_empty() || !is_numbered;
            taken.extend(own);
            if is_last {
                break;
            }
        }
        taken
    }
}

const ORDER: &[Group] = &[
    Group(
        0,
        &[
            "quantizer.rvq_first.input_proj.weight",
            "quantizer.rvq_first.output_proj.weight",
            "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum",
            "quantizer.rvq_rest.input_proj.weight",
            "quantizer.rvq_rest.output_proj.weight",
        ],
    ),
    Group(0, &["quantizer.rvq_rest.vq.layers.{}._codebook.embedding_sum"]),
    Group(
        0,
        &[
            "pre_conv.conv.weight",
            "pre_conv.conv.bias",
            "pre_transformer.input_proj.weight",
            "pre_transformer.input_proj.bias",
            "pre_transformer.output_proj.weight",
            "pre_transformer.output_proj.bias",
            "pre_transformer.norm.weight",
        ],
    ),
    Group(
        0,
        &[
            "pre_transformer.layers.{}.input_layernorm.weight",
            "pre_transformer.layers.{}.self_attn.q_proj.weight",
            "pre_transformer.layers.{}.self_attn.k_proj.weight",
            "pre_transformer.layers.{}.self_attn.v_proj.weight",
            "pre_transformer.layers.{}.self_attn.o_proj.weight",
            "pre_transformer.layers.{}.self_attn_layer_scale.scale",
            "pre_transformer.layers.{}.post_attention_layernorm.weight",
            "pre_transformer.layers.{}.mlp.gate_proj.weight",
            "pre_transformer.layers.{}.mlp.up_proj.weight",
            "pre_transformer.layers.{}.mlp.down_proj.weight",
            "pre_transformer.layers.{}.mlp_layer_scale.scale",
        ],
    ),
    Group(
        0,
        &[
            "upsample.{}.0.conv.weight",
            "upsample.{}.0.conv.bias",
            "upsample.{}.1.dwconv.conv.weight",
            "upsample.{}.1.dwconv.conv.bias",
            "upsample.{}.1.norm.weight",
            "upsample.{}.1.norm.bias",
            "upsample.{}.1.pwconv1.weight",
            "upsample.{}.1.pwconv1.bias",
            "upsample.{}.1.pwconv2.weight",
            "upsample.{}.1.pwconv2.bias",
            "upsample.{}.1.gamma",
        ],
    ),
    Group(0, &["decoder.0.conv.weight", "decoder.0.conv.bias"]),
    Group(
        1,
        &[
            "decoder.{}.block.0.alpha",
            "decoder.{}.block.0.beta",
            "decoder.{}.block.1.conv.weight",
            "decoder.{}.block.1.conv.bias",
            "decoder.{}.block.2.act1.alpha",
            "decoder.{}.block.2.act1.beta",
            "decoder.{}.block.2.conv1.conv.weight",
            "decoder.{}.block.2.conv1.conv.bias",
            "decoder.{}.block.2.act2.alpha",
            "decoder.{}.block.2.act2.beta",
            "decoder.{}.block.2.conv2.conv.weight",
            "decoder.{}.block.2.conv2.conv.bias",
            "decoder.{}.block.3.act1.alpha",
            "decoder.{}.block.3.act1.beta",
            "decoder.{}.block.3.conv1.conv.weight",
            "decoder.{}.block.3.conv1.conv.bias",
            "decoder.{}.block.3.act2.alpha",
            "decoder.{}.block.3.act2.beta",
            "decoder.{}.block.3.conv2.conv.weight",
            "decoder.{}.block.3.conv2.conv.bias",
            "decoder.{}.block.4.act1.alpha",
            "decoder.{}.block.4.act1.beta",
            "decoder.{}.block.4.conv1.conv.weight",
            "decoder.{}.block.4.conv1.conv.bias",
            "decoder.{}.block.4.act2.alpha",
            "decoder.{}.block.4.act2.beta",
            "decoder.{}.block.4.conv2.conv.weight",
            "decoder.{}.block.4.conv2.conv.bias",
        ],
    ),
    Group(
        0,
        &["decoder.5.alpha", "decoder.5.beta", "decoder.6.conv.weight", "decoder.6.conv.bias"],
    ),
];
