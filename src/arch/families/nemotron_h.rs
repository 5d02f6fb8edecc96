//! Nemotron-H, Nemotron 3 Nano: each layer is one thing, a state of Mamba 2, attention, a feed-forward or experts, by a
//! pattern. Experts may work on a narrower copy of the tokens. In a Puzzle each layer has experts of its own width, and of
//! its own number of those that a token goes to.
//! Specification: `NemotronHModel`, `NemotronHPuzzleModel` of llama.cpp's converter.

use super::{Arch, NONE, mamba};
use crate::arch::config::Config;
use crate::arch::keys::{Fixed, Key, count, flag, is, make, number, positive, size};
use crate::arch::params::{AXES as ALL, Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::{Array, Model, Result, Value};
use serde_json::{Value as Json, json};
use std::collections::HashSet;

pub const NEMOTRON_H: Arch = Arch {
    classes: &["NemotronHForCausalLM"],
    gguf: "nemotron_h",
    regains: pattern,
    applies: Some(|config| Ok(!kinds(config)?.contains(&Kind::Experts))),
    base: Some(&LAYERS),
    keys: &[make("feed_forward_length", |params| widths(params, Kind::FeedForward, "ff"))],
    ..NONE
};

pub const NEMOTRON_H_MOE: Arch = Arch {
    classes: &["NemotronHForCausalLM"],
    gguf: "nemotron_h_moe",
    regains: pattern,
    base: Some(&LAYERS),
    keys: MOE_KEYS,
    axes: MOE_AXES,
    rules: MOE,
    ..NONE
};

pub const NEMOTRON_H_PUZZLE: Arch = Arch {
    classes: &["NemotronHPuzzleForCausalLM"],
    gguf: "nemotron_h_moe",
    regains: block_configs,
    base: Some(&LAYERS),
    prefixes: &["backbone.", "model."],
    keys: PUZZLE_KEYS,
    axes: PUZZLE_AXES,
    rules: MOE,
    ..NONE
};

/// The list of what each layer is.
const BLOCKS: &str = "block_configs";

/// A number of a layer of a Puzzle; none where it has none.
fn block(params: &Params<'_>, layer: u32, key: &str) -> Result<u64> {
    let told = params.config.get(BLOCKS).and_then(|blocks| blocks.get(layer as usize)?.get(key));
    let wrong = |found: &serde_json::Value| params.config.wrong(BLOCKS, "whole numbers").found(found);
    told.filter(|n| !n.is_null())
        .map_or(Ok(0), |n| n.as_u64().filter(|n| u32::try_from(*n).is_ok()).ok_or_else(|| wrong(n)))
}

/// The same of all.
fn blocks(params: &Params<'_>, key: &str) -> Result<Option<Value>> {
    let all = (0..params.count("l", 0)?).map(|layer| block(params, layer, key).map(|n| n as i32));
    Ok(Some(Value::Array(Array::I32(all.collect::<Result<_>>()?))))
}

const PUZZLE_KEYS: &[Key] = &[
    make("feed_forward_length", |params| blocks(params, "moe_intermediate_size")),
    make("expert_feed_forward_length", |params| blocks(params, "moe_intermediate_size")),
    make("expert_used_count", |params| blocks(params, "num_experts_per_tok")),
    size("expert_shared_feed_forward_length", "shared"),
    count("expert_shared_count", &["n_shared_experts"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    count("moe_latent_size", &["moe_latent_size"]),
];

const PUZZLE_AXES: &[Axis] = &[
    axis("eff", Size::Make(|params, layer| block(params, layer, "moe_intermediate_size"))),
    axis("shared", Size::Of(&["moe_shared_expert_intermediate_size"])),
    axis("low", Size::Or(&["moe_latent_size"], &Size::Same("n"))),
];

/// What both have in common.
const LAYERS: Arch = Arch {
    prefixes: &["backbone."],
    base: Some(&ROOT),
    keys: KEYS,
    axes: AXES,
    rules: RULES,
    shares: &[&mamba::mixer(STATE, &mamba::ALONE)],
    ignored: &["mtp.*"],
    ..NONE
};

const ROOT: Arch = Arch { axes: ALL, ..NONE };

/// What a layer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    State,
    Attention,
    FeedForward,
    Experts,
}

impl Kind {
    fn of(word: &str) -> Option<Kind> {
        match word {
            "mamba" | "linear_attention" => Some(Kind::State),
            "attention" | "full_attention" => Some(Kind::Attention),
            "mlp" => Some(Kind::FeedForward),
            "moe" => Some(Kind::Experts),
            _ => None,
        }
    }
}

/// What each layer is, by letters or words.
fn kinds(config: &Config) -> Result<Vec<Kind>> {
    if let Some(blocks) = config.get(BLOCKS).and_then(|blocks| blocks.as_array()) {
        let word = |block: &serde_json::Value| Kind::of(block.get("block_type")?.as_str()?);
        let all: Option<Vec<Kind>> = blocks.iter().map(word).collect();
        return all.ok_or_else(|| {
            config.wrong(BLOCKS, "a 'block_type' of mamba, attention, mlp or moe for each layer")
        });
    }
    if let Some(pattern) = config.text("hybrid_override_pattern")? {
        let kind = |letter| match letter {
            'M' => Some(Kind::State),
            '*' => Some(Kind::Attention),
            '-' => Some(Kind::FeedForward),
            'E' => Some(Kind::Experts),
            _ => None,
        };
        let all: Option<Vec<Kind>> = pattern.chars().map(kind).collect();
        let wrong = || config.wrong("hybrid_override_pattern", "letters of M*-E").found(pattern);
        return all.ok_or_else(wrong);
    }
    let Some(words) = config.texts("layers_block_type")? else {
        return Err(config.missing("hybrid_override_pattern", "a letter a layer: M, *, - or E"));
    };
    let all: Option<Vec<Kind>> = words.iter().map(|word| Kind::of(word)).collect();
    all.ok_or_else(|| config.wrong("layers_block_type", "mamba, attention, mlp or moe for each layer"))
}

/// What each layer is, from the tensors that it has: a letter of the pattern.
fn letters(model: &Model, layers: u32) -> String {
    let names: HashSet<&str> = model.tensors.iter().map(|t| t.name.as_str()).collect();
    let has = |layer: u32, part: &str| names.contains(format!("blk.{layer}.{part}.weight").as_str());
    let letter = |layer: u32| match layer {
        _ if has(layer, "ssm_in") => 'M',
        _ if has(layer, "attn_q") => '*',
        _ if has(layer, "ffn_gate_inp") => 'E',
        _ => '-',
    };
    (0..layers).map(letter).collect()
}

fn pattern(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    vec![("hybrid_override_pattern", letters(model, layers).into())]
}

/// The blocks of a Puzzle, whose GGUF has two lists of numbers of them.
fn block_configs(model: &Model, layers: u32) -> Vec<(&'static str, Json)> {
    let list = |key: &str| model.metadata.get(&format!("nemotron_h_moe.{key}")).and_then(Value::as_array);
    let (Some(widths), Some(used)) = (list("expert_feed_forward_length"), list("expert_used_count")) else {
        return Vec::new();
    };
    let block = |(i, letter): (usize, char)| {
        let word = match letter {
            'M' => "mamba",
            '*' => "attention",
            'E' => "moe",
            _ => "mlp",
        };
        let number = |list: &Array| list.u64(i).filter(|n| *n > 0);
        json!({"block_type": word, "moe_intermediate_size": number(widths), "num_experts_per_tok": number(used)})
    };
    vec![(BLOCKS, letters(model, layers).chars().enumerate().map(block).collect())]
}

fn is_kind(params: &Params<'_>, layer: u32, kind: Kind) -> Result<bool> {
    Ok(kinds(params.config)?.get(layer as usize) == Some(&kind))
}

const STATE: Layers = Layers::When(|params, layer| is_kind(params, layer, Kind::State));
const FULL: Layers = Layers::When(|params, layer| is_kind(params, layer, Kind::Attention));
const FEED_FORWARD: Layers = Layers::When(|params, layer| is_kind(params, layer, Kind::FeedForward));
const EXPERTS: Layers = Layers::When(|params, layer| is_kind(params, layer, Kind::Experts));

/// The size of `axis` in the layers of this kind, none in the others.
fn widths(params: &Params<'_>, kind: Kind, axis: &str) -> Result<Option<Value>> {
    let size = params.count(axis, 0)? as i32;
    let all = kinds(params.config)?.into_iter().map(|own| if own == kind { size } else { 0 });
    Ok(Some(Value::Array(Array::I32(all.collect()))))
}

const KEYS: &[Key] = &[
    size("block_count", "l"),
    is("context_length", Fixed::Count(1 << 20)),
    size("embedding_length", "n"),
    make("feed_forward_length", |params| widths(params, Kind::FeedForward, "ff")),
    size("attention.head_count", "h"),
    make("attention.head_count_kv", |params| widths(params, Kind::Attention, "g")),
    positive("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "norm_eps"]),
    positive("attention.layer_norm_epsilon", &["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"]),
    count("expert_count", &["n_routed_experts"]),
    count("expert_used_count", &["num_experts_per_tok"]),
    count("expert_group_count", &["n_group"]),
    count("expert_group_used_count", &["topk_group"]),
    size("vocab_size", "vocab"),
    // Nothing rotates here: the number is that of heads that share the model's width, whatever they have.
    make("rope.dimension_count", |params| {
        let heads = params.size("h", 0)?.max(1);
        Ok(Some(Value::U32((params.size("n", 0)? / heads) as u32)))
    }),
    size("ssm.conv_kernel", "conv"),
    size("ssm.state_size", "state"),
    size("ssm.group_count", "groups"),
    size("ssm.inner_size", "inner"),
    size("ssm.time_step_rank", "heads"),
    is("rope.scaling.finetuned", Fixed::Flag(false)),
    size("attention.key_length", "d"),
    size("attention.value_length", "d"),
];

const MOE_KEYS: &[Key] = &[
    make("feed_forward_length", |params| widths(params, Kind::Experts, "eff")),
    size("expert_feed_forward_length", "eff"),
    size("expert_shared_feed_forward_length", "shared"),
    count("expert_shared_count", &["n_shared_experts"]).must(),
    flag("expert_weights_norm", &["norm_topk_prob"]).must(),
    number("expert_weights_scale", &["routed_scaling_factor"]).must(),
    count("moe_latent_size", &["moe_latent_size"]),
];

const AXES: &[Axis] = &[
    axis("l", Size::Make(|params, _| Ok(kinds(params.config)?.len() as u64))),
    axis("d", Size::Of(&["head_dim", "attention_head_dim"])),
    axis("pair", Size::Div("d", "two")).or("d", "heads of an even size, because they rotate in pairs"),
    axis("conv", Size::Of(&["conv_kernel", "mamba_d_conv"])),
    axis("state", Size::Of(&["ssm_state_size", "mamba_d_state"])),
    axis("heads", Size::Of(&["mamba_num_heads"])),
    axis("head", Size::Of(&["mamba_head_dim"])),
    axis("inner", Size::Mul("heads", "head")),
    axis("groups", Size::Of(&["n_groups", "mamba_n_groups"])),
    axis("group", Size::Div("inner", "groups")).or("inner", "a multiple of {groups} groups"),
];

const MOE_AXES: &[Axis] = &[
    // No layer need be a plain feed-forward.
    axis("ff", Size::Or(&["intermediate_size"], &Size::Is(1))),
    axis("shared", Size::Of(&["moe_shared_expert_intermediate_size"])),
    axis("low", Size::Or(&["moe_latent_size"], &Size::Same("n"))),
];

const RULES: &[Rule] = &[
    rule(&["embeddings.weight"], &["token_embd.weight"], "vocab n"),
    rule(&["norm_f.weight"], &["output_norm.weight"], "n"),
    rule(&["^lm_head.weight"], &["output.weight"], "vocab n").need(Need::Unless("tie_word_embeddings")),
    rule(&["layers.{l}.norm.weight"], &["blk.{l}.attn_norm.weight"], "n"),
    rule(&["layers.{l}.mixer.q_proj.weight"], &["blk.{l}.attn_q.weight"], "(h two pair) n -> (h pair two) n")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
    rule(&["layers.{l}.mixer.k_proj.weight"], &["blk.{l}.attn_k.weight"], "(g two pair) n -> (g pair two) n")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
    rule(&["layers.{l}.mixer.v_proj.weight"], &["blk.{l}.attn_v.weight"], "(g d) n")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
    rule(&["layers.{l}.mixer.o_proj.weight"], &["blk.{l}.attn_output.weight"], "n (h d)")
        .bias(Need::If("attention_bias"))
        .layers(FULL),
    rule(&["layers.{l}.mixer.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::If("mlp_bias"))
        .layers(FEED_FORWARD),
    rule(&["layers.{l}.mixer.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::If("mlp_bias"))
        .layers(FEED_FORWARD),
];

const MOE: &[Rule] = &[
    rule(&["layers.{l}.mixer.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(EXPERTS),
    rule(
        &["layers.{l}.mixer.gate.e_score_correction_bias", "layers.{l}.mixer.gate.e_score_correction.bias"],
        &["blk.{l}.exp_probs_b.bias"],
        "e",
    )
    .may()
    .layers(EXPERTS),
    rule(
        &["layers.{l}.mixer.experts.{e}.up_proj.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "eff low -> e eff low",
    )
    .layers(EXPERTS),
    rule(
        &["layers.{l}.mixer.experts.{e}.down_proj.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "low eff -> e low eff",
    )
    .layers(EXPERTS),
    rule(&["layers.{l}.mixer.experts.up_proj"], &["blk.{l}.ffn_up_exps.weight"], "e eff low").layers(EXPERTS),
    rule(&["layers.{l}.mixer.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e low eff")
        .layers(EXPERTS),
    rule(&["layers.{l}.mixer.shared_experts.up_proj.weight"], &["blk.{l}.ffn_up_shexp.weight"], "shared n")
        .layers(EXPERTS),
    rule(
        &["layers.{l}.mixer.shared_experts.down_proj.weight"],
        &["blk.{l}.ffn_down_shexp.weight"],
        "n shared",
    )
    .layers(EXPERTS),
    rule(&["layers.{l}.mixer.fc1_latent_proj.weight"], &["blk.{l}.ffn_latent_down.weight"], "low n")
        .need(Need::IfSet("moe_latent_size"))
        .layers(EXPERTS),
    rule(&["layers.{l}.mixer.fc2_latent_proj.weight"], &["blk.{l}.ffn_latent_up.weight"], "n low")
        .need(Need::IfSet("moe_latent_size"))
        .layers(EXPERTS),
];
