//! Rules that models with experts have in common. Trainers keep each expert's three matrices as tensors of their own;
//! transformers 5 keeps them stacked, gate and up in one.
//! Specification: `conversion_mapping` of transformers 5.

use crate::arch::params::Params;
use crate::arch::rule::{Layers, Need, Rule, rule};
use ggraft_formats::Result;

/// The layers after the leading dense ones, and those.
pub const SPARSE: Layers = Layers::From("dense");
pub const DENSE: Layers = Layers::Before("dense");

/// A feed-forward of one for all tokens.
pub const fn dense(layers: Layers) -> [Rule; 3] {
    [
        rule(&["layers.{l}.mlp.gate_proj.weight"], &["blk.{l}.ffn_gate.weight"], "ff n").layers(layers),
        rule(&["layers.{l}.mlp.up_proj.weight"], &["blk.{l}.ffn_up.weight"], "ff n").layers(layers),
        rule(&["layers.{l}.mlp.down_proj.weight"], &["blk.{l}.ffn_down.weight"], "n ff").layers(layers),
    ]
}

/// The experts that each token chooses from, and what it chooses by.
pub const fn routed(layers: Layers) -> [Rule; 6] {
    [
        rule(&["layers.{l}.mlp.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n").layers(layers),
        rule(
            &["layers.{l}.mlp.experts.{e}.gate_proj.weight"],
            &["blk.{l}.ffn_gate_exps.weight"],
            "eff n -> e eff n",
        )
        .layers(layers),
        rule(
            &["layers.{l}.mlp.experts.{e}.up_proj.weight"],
            &["blk.{l}.ffn_up_exps.weight"],
            "eff n -> e eff n",
        )
        .layers(layers),
        rule(
            &["layers.{l}.mlp.experts.{e}.down_proj.weight"],
            &["blk.{l}.ffn_down_exps.weight"],
            "n eff -> e n eff",
        )
        .layers(layers),
        rule(
            &["layers.{l}.mlp.experts.gate_up_proj"],
            &["blk.{l}.ffn_{gate|up}_exps.weight"],
            "e [eff|eff] n -> e eff n ; e eff n",
        )
        .layers(layers),
        rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n eff")
            .layers(layers),
    ]
}

/// The experts that all tokens go to, in one.
pub const fn shared(layers: Layers, need: Need) -> [Rule; 3] {
    [
        rule(
            &["layers.{l}.mlp.shared_experts.gate_proj.weight"],
            &["blk.{l}.ffn_gate_shexp.weight"],
            "(shared eff) n",
        )
        .need(need)
        .layers(layers),
        rule(
            &["layers.{l}.mlp.shared_experts.up_proj.weight"],
            &["blk.{l}.ffn_up_shexp.weight"],
            "(shared eff) n",
        )
        .need(need)
        .layers(layers),
        rule(
            &["layers.{l}.mlp.shared_experts.down_proj.weight"],
            &["blk.{l}.ffn_down_shexp.weight"],
            "n (shared eff)",
        )
        .need(need)
        .layers(layers),
    ]
}

/// What is added to the scores of experts when they are chosen.
pub const fn correction(layers: Layers) -> [Rule; 1] {
    [rule(
        &["layers.{l}.mlp.gate.e_score_correction_bias", "layers.{l}.mlp.e_score_correction_bias"],
        &["blk.{l}.exp_probs_b.bias"],
        "e",
    )
    .may()
    .layers(layers)]
}

/// The same choice under Mixtral's names, each expert apart, where not every layer has experts.
pub const fn block_sparse(layers: Layers) -> [Rule; 4] {
    [
        rule(&["layers.{l}.block_sparse_moe.gate.weight"], &["blk.{l}.ffn_gate_inp.weight"], "e n")
            .layers(layers),
        rule(
            &["layers.{l}.block_sparse_moe.experts.{e}.w1.weight"],
            &["blk.{l}.ffn_gate_exps.weight"],
            "eff n -> e eff n",
        )
        .layers(layers),
        rule(
            &["layers.{l}.block_sparse_moe.experts.{e}.w3.weight"],
            &["blk.{l}.ffn_up_exps.weight"],
            "eff n -> e eff n",
        )
        .layers(layers),
        rule(
            &["layers.{l}.block_sparse_moe.experts.{e}.w2.weight"],
            &["blk.{l}.ffn_down_exps.weight"],
            "n eff -> e n eff",
        )
        .layers(layers),
    ]
}

/// The experts that all tokens go to under such names, whose widths these are: of the gate and what goes up, and of what goes down.
pub const fn block_shared(layers: Layers, up: &'static str, down: &'static str) -> [Rule; 3] {
    [
        rule(
            &["layers.{l}.block_sparse_moe.shared_experts.gate_proj.weight"],
            &["blk.{l}.ffn_gate_shexp.weight"],
            up,
        )
        .layers(layers),
        rule(
            &["layers.{l}.block_sparse_moe.shared_experts.up_proj.weight"],
            &["blk.{l}.ffn_up_shexp.weight"],
            up,
        )
        .layers(layers),
        rule(
            &["layers.{l}.block_sparse_moe.shared_experts.down_proj.weight"],
            &["blk.{l}.ffn_down_shexp.weight"],
            down,
        )
        .layers(layers),
    ]
}

/// The names that Mixtral gave them.
pub const MIXTRAL: &[Rule] = &[
    rule(
        &["layers.{l}.block_sparse_moe.gate.weight", "layers.{l}.mlp.gate.weight"],
        &["blk.{l}.ffn_gate_inp.weight"],
        "e n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w1.weight"],
        &["blk.{l}.ffn_gate_exps.weight"],
        "ff n -> e ff n",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w2.weight"],
        &["blk.{l}.ffn_down_exps.weight"],
        "n ff -> e n ff",
    ),
    rule(
        &["layers.{l}.block_sparse_moe.experts.{e}.w3.weight"],
        &["blk.{l}.ffn_up_exps.weight"],
        "ff n -> e ff n",
    ),
    rule(
        &["layers.{l}.mlp.experts.gate_up_proj"],
        &["blk.{l}.ffn_{gate|up}_exps.weight"],
        "e [ff|ff] n -> e ff n ; e ff n",
    ),
    rule(&["layers.{l}.mlp.experts.down_proj"], &["blk.{l}.ffn_down_exps.weight"], "e n ff"),
];

/// The targets that a model without a dense feed-forward lacks.
pub const NO_DENSE: &[&str] =
    &["blk.{l}.ffn_gate.weight", "blk.{l}.ffn_up.weight", "blk.{l}.ffn_down.weight"];

/// How many layers at the beginning have no experts: as the config counts or lists them; all, if it knows no experts.
pub fn leading(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let config = params.config;
    for key in ["first_k_dense_replace", "first_last_k_dense_replace", "num_dense_layers"] {
        if let Some(n) = config.whole_at(key, 0)? {
            return Ok(n.into());
        }
    }
    if let Some(kinds) = config.texts("mlp_layer_types")? {
        return Ok(kinds.iter().take_while(|kind| **kind == "dense").count() as u64);
    }
    let knows = config.first(&["n_routed_experts", "num_experts", "num_local_experts"]).is_some();
    if knows { Ok(0) } else { params.size("l", 0) }
}

/// How many experts all tokens go to.
pub fn count_shared(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let keys = ["n_shared_experts", "num_shared_experts", "moe_num_shared_experts"];
    let told = params.config.first(&keys).map(|key| params.config.whole_at(key, 0)).transpose()?;
    Ok(told.flatten().unwrap_or(0).into())
}
