//! Gemma 3n: four copies of each token's state run beside each other (AltUp), with residuals of low rank (Laurel) and an
//! embedding for each layer. Norms are as they are; rows that the tokenizer has and the tables lack are zeros.
//! Specification: `Gemma3NModel` of llama.cpp's converter.

use super::gemma3::{GEMMA3, head};
use super::{Arch, NONE, gemma, windows};
use crate::arch::keys::{Key, count, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Result, Value};

pub const GEMMA3N: Arch = Arch {
    classes: &["Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"],
    gguf: "gemma3n",
    base: Some(&GEMMA3),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[&keys(OWN, Need::Must), &keys(TAKEN, Need::May)],
    ignored: &["*audio_tower.*", "*embed_vision.*", "*embed_audio.*"],
    tokenizer: &[gemma::NO_SPACE],
    ..NONE
};

const KEYS: &[Key] = &[
    make("altup.active_idx", |params| Ok(params.config.whole_at("altup_active_idx", 0)?.map(Value::U32))),
    size("altup.num_inputs", "inputs"),
    size("embedding_length_per_layer_input", "pl"),
    count("attention.shared_kv_layers", &["num_kv_shared_layers"]).must(),
    make("activation_sparsity_scale", sparsity),
    make("attention.sliding_window_pattern", |params| {
        let all = windows::layers(params, |layer| !(layer + 1).is_multiple_of(5))?;
        Ok(Some(Value::Array(Array::Bool(all))))
    }),
];

/// For each layer how many standard deviations above the mean an activation must be to count: the quantile of the
/// normal distribution of the share that is left out.
fn sparsity(params: &Params<'_>) -> Result<Option<Value>> {
    let layers = params.count("l", 0)?;
    let told = params.config.get("activation_sparsity_pattern");
    let of = |layer: u32| match told {
        Some(serde_json::Value::Array(all)) => all.get(layer as usize).and_then(serde_json::Value::as_f64),
        Some(one) => one.as_f64(),
        None => Some(if layer < 10 { 0.95 } else { 0.0 }),
    };
    let wrong = || params.config.wrong("activation_sparsity_pattern", "a share from 0 to 1 for each layer");
    let all: Option<Vec<f32>> =
        (0..layers).map(|layer| of(layer).map(|share| quantile(share as f32))).collect();
    all.map(|all| Some(Value::Array(Array::F32(all)))).ok_or_else(wrong)
}

/// The quantile of the standard normal distribution, rounded as torch rounds it: the inverse of the error function first.
fn quantile(share: f32) -> f32 {
    match share {
        share if share <= 0.0 => f32::NEG_INFINITY,
        share if share >= 1.0 => f32::INFINITY,
        share => {
            let (mut low, mut high) = (-8.0, 8.0);
            for _ in 0..80 {
                let middle = (low + high) / 2.0;
                if below(middle) < f64::from(share) { low = middle } else { high = middle }
            }
            ((low + high) / 2.0 / std::f64::consts::SQRT_2) as f32 * std::f32::consts::SQRT_2
        }
    }
}

/// The share of the standard normal distribution below `x`, by its series.
fn below(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..400 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

const AXES: &[Axis] = &[
    axis("inputs", Size::Of(&["altup_num_inputs"])),
    axis("inputs_in", Size::Same("inputs")),
    axis("inputs_out", Size::Same("inputs")),
    axis("others", Size::Make(|params, layer| Ok(params.size("inputs", layer)?.saturating_sub(1)))),
    axis("pl", Size::Of(&["hidden_size_per_layer_input"])),
    axis("rank", Size::Of(&["laurel_rank"])),
];

/// The last layers take over keys and values of earlier ones; what they have of their own is not used.
const OWN: Layers = Layers::When(|params, layer| {
    let taken = params.config.whole_at("num_kv_shared_layers", 0)?.unwrap_or(0);
    Ok(u64::from(layer) + u64::from(taken) < params.size("l", 0)?)
});
const TAKEN: Layers = Layers::When(|params, layer| OWN.hold(params, layer).map(|own| !own));

const fn keys(layers: Layers, need: Need) -> [Rule; 3] {
    [
        rule(&["layers.{l}.self_attn.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g d) n")
            .need(need)
            .layers(layers),
        rule(&["layers.{l}.self_attn.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
            .need(need)
            .layers(layers),
        rule(&["layers.{l}.self_attn.k_norm.weight"], &["blk.{l}.attn_k_norm.weight"], "d")
            .need(need)
            .layers(layers),
    ]
}

const RULES: &[Rule] = &[
    rule(&["embed_tokens.weight"], &["token_embd.weight"], "vocab n").pad(),
    head().pad(),
    rule(&["embed_tokens_per_layer.weight"], &["per_layer_token_embd.weight"], "vocab (l pl)").pad(),
    rule(&["per_layer_model_projection.weight"], &["per_layer_model_proj.weight"], "(l pl) n"),
    rule(&["per_layer_projection_norm.weight"], &["per_layer_proj_norm.weight"], "pl"),
    rule(&["altup_projections.{others}.weight"], &["altup_proj.weight"], "n m -> others n m"),
    rule(&["altup_unembed_projections.{others}.weight"], &["altup_unembd_proj.weight"], "n m -> others n m"),
    rule(&["norm.weight"], &["output_norm.weight"], "n"),
    rule(&["layers.{l}.input_layernorm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.self_attn.q_norm.weight"], &["blk.{l}.attn_q_norm.weight"], "d"),
    rule(&["layers.{l}.post_attention_layernorm.weight"], &["blk.{l}.post_attention_norm.weight"], "n"),
    rule(&["layers.{l}.pre_feedforward_layernorm.weight"], &["blk.{l}.ffn_norm.weight"], "n"),
    rule(&["layers.{l}.post_feedforward_layernorm.weight"], &["blk.{l}.post_ffw_norm.weight"], "n"),
    rule(&["layers.{l}.altup.correct_output_scale"], &["blk.{l}.altup_correct_scale.weight"], "n"),
    rule(
        &["layers.{l}.altup.correction_coefs.weight"],
        &["blk.{l}.altup_correct_coef.weight"],
        "inputs inputs_in",
    ),
    rule(&["layers.{l}.altup.modality_router.weight"], &["blk.{l}.altup_router.weight"], "inputs n"),
    rule(
        &["layers.{l}.altup.prediction_coefs.weight"],
        &["blk.{l}.altup_predict_coef.weight"],
        "(inputs inputs_out) inputs_in",
    ),
    rule(&["layers.{l}.altup.router_norm.weight"], &["blk.{l}.altup_router_norm.weight"], "n"),
    rule(&["layers.{l}.laurel.linear_left.weight"], &["blk.{l}.laurel_l.weight"], "rank n"),
    rule(&["layers.{l}.laurel.linear_right.weight"], &["blk.{l}.laurel_r.weight"], "n rank"),
    rule(&["layers.{l}.laurel.post_laurel_norm.weight"], &["blk.{l}.laurel_post_norm.weight"], "n"),
    rule(&["layers.{l}.per_layer_input_gate.weight"], &["blk.{l}.inp_gate.weight"], "pl n"),
    rule(&["layers.{l}.per_layer_projection.weight"], &["blk.{l}.proj.weight"], "n pl"),
    rule(&["layers.{l}.post_per_layer_input_norm.weight"], &["blk.{l}.post_norm.weight"], "n"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        assert_eq!(quantile(0.95), 1.644_853_6);
        assert!(quantile(0.5).abs() < 1e-9);
        assert_eq!(quantile(0.0), f32::NEG_INFINITY);
    }
}
