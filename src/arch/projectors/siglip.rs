//! SigLIP as transformers has it, the tower of many: a transformer with a norm before each of its parts and a bias
//! everywhere. Its names stand behind a prefix that each page tells.

use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::rule::{Need, Rule, rule};

pub const SIGLIP: Arch = Arch { gguf: "SigLIP", base: Some(&VISION), rules: RULES, ignored: TEXT, ..NONE };

const RULES: &[Rule] = &[
    rule(&["embeddings.patch_embedding.weight"], &["v.patch_embd.weight"], "n channels row column"),
    rule(&["embeddings.patch_embedding.bias"], &["v.patch_embd.bias"], "n"),
    rule(&["embeddings.position_embedding.weight"], &["v.position_embd.weight"], "places n"),
    rule(&["encoder.layers.{l}.layer_norm1.weight"], &["v.blk.{l}.ln1.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.layer_norm2.weight"], &["v.blk.{l}.ln2.weight"], "n").bias(Need::Must),
    rule(&["encoder.layers.{l}.self_attn.q_proj.weight"], &["v.blk.{l}.attn_q.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.self_attn.k_proj.weight"], &["v.blk.{l}.attn_k.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.self_attn.v_proj.weight"], &["v.blk.{l}.attn_v.weight"], "(h d) n")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.self_attn.out_proj.weight"], &["v.blk.{l}.attn_out.weight"], "n (h d)")
        .bias(Need::Must),
    rule(&["encoder.layers.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n").bias(Need::Must),
    rule(&["encoder.layers.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff").bias(Need::Must),
    rule(&["post_layernorm.weight"], &["v.post_ln.weight"], "n").bias(Need::Must),
];

/// The tensors of the text model, and those that no part uses.
pub const TEXT: &[&str] = &[
    "language_model.*",
    "model.language_model.*",
    "model.text_model.*",
    "model.layers.*",
    "model.embed_tokens.*",
    "model.norm.*",
    "lm_head.*",
    "mtp.*",
    "*.rotary_emb.inv_freq",
    "*.position_ids",
];
