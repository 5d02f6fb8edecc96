//! What makes sound of codes in Qwen 3 TTS, a part of its page: books of codes, which are the sums of what was near a code by how
//! often that was, a transformer, and convolutions that make ever more steps.
//! Specification: `Qwen3TTSSpeakerEncoderModel._generate_code2wav_tensors` of llama.cpp's converter.

use crate::arch::computed::{Computation, by_row, held};
use crate::arch::params::Params;
use crate::arch::rule::{Need, Rule, rule};
use crate::arch::values::{Custom, Value};
use ggraft_formats::{Checkpoint, DType, Result};

const BEFORE: &str = "speech_tokenizer.decoder.";

/// Of a sum, and of how many it is.
const MEAN: Computation = Computation {
    name: "sum / max(count, 1e-5)",
    formula: |all, round| round(all[0] / round(all[1].max(1e-5))),
};

/// The checkpoint with books of codes.
pub fn prepared(_: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    let mut tensors = Vec::with_capacity(checkpoint.tensors.len());
    for tensor in &checkpoint.tensors {
        match tensor.name.strip_prefix(BEFORE).and_then(|name| name.rsplit_once('.')) {
            Some((_, "cluster_usage")) => {}
            Some((stem, "embedding_sum")) => {
                let count = held(checkpoint, &format!("{BEFORE}{stem}.cluster_usage"))?;
                tensors.push(by_row(&tensor.name, MEAN, tensor.clone(), count)?);
            }
            _ => tensors.push(tensor.clone()),
        }
    }
    Ok(Some(Checkpoint { tensors, ..checkpoint.clone() }))
}

/// A tensor of a layer: the checkpoint's name behind a beginning, GGUF's behind another, the elements.
macro_rules! layer {
    ($before:literal, $to:literal: $($from:literal => $name:literal, $axes:literal);* $(;)?) => {
        &[$(rule(&[concat!($before, $from)], &[concat!($to, $name)], $axes),)*]
    };
}
pub(super) use layer;

/// A convolution with a bias: its beginning in the checkpoint and in GGUF, the channels that come out, the rest of its elements, and
/// the dtype that it must have, if any.
macro_rules! convolved {
    ($before:literal, $to:literal: $($from:literal => $name:literal, $out:literal, $in:literal $(, $dtype:ident)?);* $(;)?) => {
        &[$(
            rule(
                &[concat!($before, $from, ".weight")],
                &[concat!($to, $name, ".weight")],
                concat!($out, " ", $in),
            )
            $(.stored(DType::$dtype))?,
            rule(&[concat!($before, $from, ".bias")], &[concat!($to, $name, ".bias")], $out),
        )*]
    };
}
pub(super) use convolved;

pub const QUANTIZER: &[Rule] = layer!("speech_tokenizer.decoder.quantizer.", "a.gen.wav.quant.":
    "rvq_first.input_proj.weight" => "first.in_proj.weight", "half code 1 -> half code";
    "rvq_first.output_proj.weight" => "first.out_proj.weight", "code half 1 -> code half";
    "rvq_first.vq.layers.0._codebook.embedding_sum" => "first.codebook.weight", "sounds half";
    "rvq_rest.input_proj.weight" => "rest.in_proj.weight", "half code 1 -> half code";
    "rvq_rest.output_proj.weight" => "rest.out_proj.weight", "code half 1 -> code half";
    "rvq_rest.vq.layers.{book}._codebook.embedding_sum" => "rest.codebook.weight", "sounds half -> book sounds half";
);

pub const TRANSFORMER: &[Rule] = layer!("speech_tokenizer.decoder.pre_transformer.layers.{w}.", "a.gen.wav.tfm.blk.{w}.":
    "input_layernorm.weight" => "ln1.weight", "wn";
    "self_attn.q_proj.weight" => "attn_q.weight", "(wh wd) wn";
    "self_attn.k_proj.weight" => "attn_k.weight", "(wg wd) wn";
    "self_attn.v_proj.weight" => "attn_v.weight", "(wg wd) wn";
    "self_attn.o_proj.weight" => "attn_out.weight", "wn (wh wd)";
    "self_attn_layer_scale.scale" => "ls1.weight", "wn";
    "post_attention_layernorm.weight" => "ln2.weight", "wn";
    "mlp.gate_proj.weight" => "ffn_gate.weight", "wff wn";
    "mlp.up_proj.weight" => "ffn_up.weight", "wff wn";
    "mlp.down_proj.weight" => "ffn_down.weight", "wn wff";
    "mlp_layer_scale.scale" => "ls2.weight", "wn";
);

/// The runtime's convolutions know no BF16, and those that make steps more no F16.
pub const SOUND: &[Rule] = convolved!("speech_tokenizer.decoder.", "a.gen.wav.":
    "pre_conv.conv" => "pre_conv", "latent", "code three", F16;
    "upsample.{u}.1.dwconv.conv" => "up.blk.{u}.dwconv", "latent", "1 seven", F16;
    "decoder.0.conv" => "dac.entry", "dac0", "latent seven", F16;
    "decoder.1.block.2.conv1.conv" => "dac.blk.0.res.0.conv1", "dac1", "out1 seven", F16;
    "decoder.1.block.2.conv2.conv" => "dac.blk.0.res.0.conv2", "dac1", "out1 1", F16;
    "decoder.1.block.3.conv1.conv" => "dac.blk.0.res.1.conv1", "dac1", "out1 seven", F16;
    "decoder.1.block.3.conv2.conv" => "dac.blk.0.res.1.conv2", "dac1", "out1 1", F16;
    "decoder.1.block.4.conv1.conv" => "dac.blk.0.res.2.conv1", "dac1", "out1 seven", F16;
    "decoder.1.block.4.conv2.conv" => "dac.blk.0.res.2.conv2", "dac1", "out1 1", F16;
    "decoder.2.block.2.conv1.conv" => "dac.blk.1.res.0.conv1", "dac2", "out2 seven", F16;
    "decoder.2.block.2.conv2.conv" => "dac.blk.1.res.0.conv2", "dac2", "out2 1", F16;
    "decoder.2.block.3.conv1.conv" => "dac.blk.1.res.1.conv1", "dac2", "out2 seven", F16;
    "decoder.2.block.3.conv2.conv" => "dac.blk.1.res.1.conv2", "dac2", "out2 1", F16;
    "decoder.2.block.4.conv1.conv" => "dac.blk.1.res.2.conv1", "dac2", "out2 seven", F16;
    "decoder.2.block.4.conv2.conv" => "dac.blk.1.res.2.conv2", "dac2", "out2 1", F16;
    "decoder.3.block.2.conv1.conv" => "dac.blk.2.res.0.conv1", "dac3", "out3 seven", F16;
    "decoder.3.block.2.conv2.conv" => "dac.blk.2.res.0.conv2", "dac3", "out3 1", F16;
    "decoder.3.block.3.conv1.conv" => "dac.blk.2.res.1.conv1", "dac3", "out3 seven", F16;
    "decoder.3.block.3.conv2.conv" => "dac.blk.2.res.1.conv2", "dac3", "out3 1", F16;
    "decoder.3.block.4.conv1.conv" => "dac.blk.2.res.2.conv1", "dac3", "out3 seven", F16;
    "decoder.3.block.4.conv2.conv" => "dac.blk.2.res.2.conv2", "dac3", "out3 1", F16;
    "decoder.4.block.2.conv1.conv" => "dac.blk.3.res.0.conv1", "dac4", "out4 seven", F16;
    "decoder.4.block.2.conv2.conv" => "dac.blk.3.res.0.conv2", "dac4", "out4 1", F16;
    "decoder.4.block.3.conv1.conv" => "dac.blk.3.res.1.conv1", "dac4", "out4 seven", F16;
    "decoder.4.block.3.conv2.conv" => "dac.blk.3.res.1.conv2", "dac4", "out4 1", F16;
    "decoder.4.block.4.conv1.conv" => "dac.blk.3.res.2.conv1", "dac4", "out4 seven", F16;
    "decoder.4.block.4.conv2.conv" => "dac.blk.3.res.2.conv2", "dac4", "out4 1", F16;
    "decoder.6.conv" => "dac.post_conv", "one", "dac4 seven", F16;
);

/// What makes steps more: the channels that go in, those that come out, how long its window is.
macro_rules! widened {
    ($($from:literal => $to:literal, $in:literal, $out:literal, $long:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("speech_tokenizer.decoder.", $from, ".weight")],
                &[concat!("a.gen.wav.", $to, ".weight")],
                concat!($in, " ", $out, " ", $long),
            )
            .stored(DType::F32),
            rule(
                &[concat!("speech_tokenizer.decoder.", $from, ".bias")],
                &[concat!("a.gen.wav.", $to, ".bias")],
                $out,
            ),
        )*]
    };
}

pub const WIDENED: &[Rule] = widened!(
    "upsample.{u}.0.conv" => "up.blk.{u}.conv", "also", "latent", "times";
    "decoder.1.block.1.conv" => "dac.blk.0.conv", "dac0", "dac1", "long1";
    "decoder.2.block.1.conv" => "dac.blk.1.conv", "dac1", "dac2", "long2";
    "decoder.3.block.1.conv" => "dac.blk.2.conv", "dac2", "dac3", "long3";
    "decoder.4.block.1.conv" => "dac.blk.3.conv", "dac3", "dac4", "long4";
);

/// A layer of a matrix, or a norm, with a bias.
macro_rules! biased {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(
                &[concat!("speech_tokenizer.decoder.", $from, ".weight")],
                &[concat!("a.gen.wav.", $to, ".weight")],
                $axes,
            )
            .bias(Need::Must),
        )*]
    };
}

pub const BIASED: &[Rule] = biased!(
    "pre_transformer.input_proj" => "tfm.in_proj", "wn latent";
    "pre_transformer.output_proj" => "tfm.out_proj", "latent wn";
    "upsample.{u}.1.norm" => "up.blk.{u}.norm", "latent";
    "upsample.{u}.1.pwconv1" => "up.blk.{u}.pw1", "wide latent";
    "upsample.{u}.1.pwconv2" => "up.blk.{u}.pw2", "latent wide";
);

pub const UNBIASED: &[Rule] = layer!("speech_tokenizer.decoder.", "a.gen.wav.":
    "pre_transformer.norm.weight" => "tfm.output_norm.weight", "wn";
    "upsample.{u}.1.gamma" => "up.blk.{u}.gamma", "latent";
);

/// The two numbers of a channel of SnakeBeta, so that the runtime only multiplies by them: each step rounded to f32.
const ALPHA: Custom = Custom { name: "exp(x)", forth: exp, back: f32::ln, exact: false };
const BETA: Custom = Custom {
    name: "1 / (exp(x) + 1e-9)",
    forth: |x| 1.0 / (exp(x) + 1e-9),
    back: |x| (1.0 / x - 1e-9).ln(),
    exact: false,
};

fn exp(x: f32) -> f32 {
    libm::exp(f64::from(x)) as f32
}

/// A SnakeBeta: its beginning in the checkpoint and in GGUF, its channels.
macro_rules! snakes {
    ($($from:literal => $to:literal, $axes:literal);* $(;)?) => {
        &[$(
            rule(&[concat!("speech_tokenizer.decoder.decoder.", $from, ".alpha")], &[concat!("a.gen.wav.dac.", $to, ".alpha")], $axes)
                .value(Value::Custom(&ALPHA)),
            rule(&[concat!("speech_tokenizer.decoder.decoder.", $from, ".beta")], &[concat!("a.gen.wav.dac.", $to, ".beta")], $axes)
                .value(Value::Custom(&BETA)),
        )*]
    };
}

pub const SNAKES: &[Rule] = snakes!(
    "1.block.0" => "blk.0.snake", "dac0";
    "2.block.0" => "blk.1.snake", "dac1";
    "3.block.0" => "blk.2.snake", "dac2";
    "4.block.0" => "blk.3.snake", "dac3";
    "5" => "post_snake", "dac4";
    "1.block.2.act1" => "blk.0.res.0.act1", "dac1";
    "1.block.2.act2" => "blk.0.res.0.act2", "dac1";
    "1.block.3.act1" => "blk.0.res.1.act1", "dac1";
    "1.block.3.act2" => "blk.0.res.1.act2", "dac1";
    "1.block.4.act1" => "blk.0.res.2.act1", "dac1";
    "1.block.4.act2" => "blk.0.res.2.act2", "dac1";
    "2.block.2.act1" => "blk.1.res.0.act1", "dac2";
    "2.block.2.act2" => "blk.1.res.0.act2", "dac2";
    "2.block.3.act1" => "blk.1.res.1.act1", "dac2";
    "2.block.3.act2" => "blk.1.res.1.act2", "dac2";
    "2.block.4.act1" => "blk.1.res.2.act1", "dac2";
    "2.block.4.act2" => "blk.1.res.2.act2", "dac2";
    "3.block.2.act1" => "blk.2.res.0.act1", "dac3";
    "3.block.2.act2" => "blk.2.res.0.act2", "dac3";
    "3.block.3.act1" => "blk.2.res.1.act1", "dac3";
    "3.block.3.act2" => "blk.2.res.1.act2", "dac3";
    "3.block.4.act1" => "blk.2.res.2.act1", "dac3";
    "3.block.4.act2" => "blk.2.res.2.act2", "dac3";
    "4.block.2.act1" => "blk.3.res.0.act1", "dac4";
    "4.block.2.act2" => "blk.3.res.0.act2", "dac4";
    "4.block.3.act1" => "blk.3.res.1.act1", "dac4";
    "4.block.3.act2" => "blk.3.res.1.act2", "dac4";
    "4.block.4.act1" => "blk.3.res.2.act1", "dac4";
    "4.block.4.act2" => "blk.3.res.2.act2", "dac4";
);
