//! What a tensor's GGUF name means: asked here and nowhere else. Serves the mixtures (`ftype`, `budget`), the merge (norms,
//! tables of tokens, layers) and the report.
//! Specification: `LLM_TENSOR_NAMES` of llama.cpp; what is never quantized is measured with made-up names
//! (`fixtures/mixtures/names.schema`).

use std::fmt;

/// The table with a row for each token that is read.
pub const EMBEDDING: &str = "token_embd.weight";
/// The output head, which a tied model lacks: its embedding serves as one.
pub const HEAD: &str = "output.weight";
/// The tensors with a row for each token, the embedding first.
pub const TABLES: [&str; 2] = [EMBEDDING, HEAD];
/// What layers that predict further tokens share with the model.
const SHARED: [&str; 3] = [EMBEDDING, "output_norm.weight", HEAD];

/// Whether a tensor belongs to such layers, from `first` on, or is shared with them.
pub fn serves_predicting(name: &str, first: u64) -> bool {
    layer(name).map_or(SHARED.contains(&name), |n| n >= first)
}

/// Whether such layers share a tensor of this name with the model.
pub fn is_shared_with_predicting(name: &str) -> bool {
    SHARED.contains(&name)
}

/// One weight for each token, in one row.
pub const TOKEN_BIAS: &str = "output.bias";

/// Whether a tensor of this name has a row for each token: the tables, embeddings per layer, and those of the layers
/// that predict further tokens.
pub fn has_rows_of_tokens(name: &str) -> bool {
    const OTHERS: [&str; 3] =
        ["per_layer_token_embd.weight", "nextn.embed_tokens.weight", "nextn.shared_head_head.weight"];
    TABLES.contains(&name) || OTHERS.iter().any(|other| name.ends_with(other))
}

/// Every so many layers of these architectures one sees all, where the metadata do not tell which.
pub const PERIODS: [(&str, u64); 8] = [
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3n", 5),
    ("gpt-oss", 2),
    ("cohere2", 4),
    ("llama4", 4),
    ("exaone4", 4),
    ("gemma-embedding", 6),
];

/// The same of what the runtime's graph counts by itself, whatever a file says: where the model has windows, or in any case.
pub const FIXED: [(&str, u64, bool); 3] =
    [("olmo2", 4, false), ("smallthinker", 4, true), ("smollm3", 4, true)];

/// Tables that follow from the configuration and are not learned.
const GENERATED: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// What a tensor does in its model, as far as the mixtures care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The projection to the vocabulary.
    Output,
    /// A table with one row a token.
    Embedding,
    AttnQ,
    AttnK,
    /// The values, also where they are fused with queries and keys (`attn_qkv`) or compressed (`attn_kv_b`).
    AttnV,
    AttnOutput,
    FfnGate,
    FfnUp,
    FfnDown,
    Other,
}

impl Role {
    /// Part of a name -> role.
    const NAMES: [(&str, Role); 9] = [
        ("attn_qkv.weight", Role::AttnV),
        ("attn_kv_b.weight", Role::AttnV),
        ("attn_v.weight", Role::AttnV),
        ("attn_k.weight", Role::AttnK),
        ("attn_q.weight", Role::AttnQ),
        ("attn_output.weight", Role::AttnOutput),
        ("ffn_up", Role::FfnUp),
        ("ffn_gate", Role::FfnGate),
        ("ffn_down", Role::FfnDown),
    ];

    /// The role of the tensor of this name.
    pub fn of(name: &str) -> Role {
        match name {
            "output.weight" => Role::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Role::Embedding,
            _ => Role::NAMES
                .iter()
                .find(|(part, _)| name.contains(part))
                .map_or(Role::Other, |(_, role)| *role),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Output => "output",
            Role::Embedding => "embedding",
            Role::AttnQ => "attention query",
            Role::AttnK => "attention key",
            Role::AttnV => "attention value",
            Role::AttnOutput => "attention output",
            Role::FfnGate => "feed-forward gate",
            Role::FfnUp => "feed-forward up",
            Role::FfnDown => "feed-forward down",
            Role::Other => "other",
        })
    }
}

/// Parts of a name, and what such tensors are.
const KEPT: &[(&str, &str)] = &[
    ("_norm.weight", "a norm"),
    ("ffn_gate_inp.weight", "chooses the experts"),
    ("ffn_gate_tid2eid.weight", "chooses the experts"),
    ("altup", "mixes the streams of a Gemma 3n"),
    ("laurel", "a residual of low rank"),
    ("per_layer_model_proj", "projects the embeddings by layer"),
    ("ssm_conv1d", "a small convolution"),
    ("shortconv.conv.weight", "a small convolution"),
    ("indexer.k_proj.weight", "selects what to attend to"),
    ("indexer.q_proj.weight", "selects what to attend to"),
    ("time_mix_first.weight", "mixes RWKV's time steps"),
    ("time_mix_w0.weight", "mixes RWKV's time steps"),
    ("time_mix_w1.weight", "mixes RWKV's time steps"),
    ("time_mix_w2.weight", "mixes RWKV's time steps"),
    ("time_mix_v0.weight", "mixes RWKV's time steps"),
    ("time_mix_v1.weight", "mixes RWKV's time steps"),
    ("time_mix_v2.weight", "mixes RWKV's time steps"),
    ("time_mix_a0.weight", "mixes RWKV's time steps"),
    ("time_mix_a1.weight", "mixes RWKV's time steps"),
    ("time_mix_a2.weight", "mixes RWKV's time steps"),
    ("time_mix_g1.weight", "mixes RWKV's time steps"),
    ("time_mix_g2.weight", "mixes RWKV's time steps"),
    ("time_mix_decay_w1.weight", "mixes RWKV's time steps"),
    ("time_mix_decay_w2.weight", "mixes RWKV's time steps"),
    ("time_mix_lerp_fused.weight", "mixes RWKV's time steps"),
    ("attn_rel_b.weight", "a bias by relative position"),
    (".position_embd", "an embedding of positions"),
    ("sam.pos_embd", "an embedding of positions"),
    ("sam.neck.", "part of an image encoder"),
    ("sam.net_", "part of an image encoder"),
    (".rel_pos", "an embedding of positions"),
    (".patch_embd", "part of an image encoder"),
    (".patch_merger", "part of an image encoder"),
    ("a.rvq.codebook", "part of an audio codec"),
    ("mm.a.code_embd", "part of an audio codec"),
];

/// Why a matrix of this name is too sensitive to be quantized, if it is.
pub fn sensitive(name: &str) -> Option<&'static str> {
    match name {
        "position_embd.weight" => Some("an embedding of positions"),
        "token_types.weight" => Some("an embedding of token types"),
        name => KEPT.iter().find(|(part, _)| name.contains(part)).map(|(_, what)| *what),
    }
}

/// The same of names that only architecture `arch` keeps.
pub fn sensitive_in(name: &str, arch: &str) -> Option<&'static str> {
    const GLM5: [(&str, &str); 14] = [
        ("hc_", "joins the streams between the layers"),
        ("indexer.attn_q_b", "selects what to attend to"),
        ("indexer.attn_k", "selects what to attend to"),
        ("indexer.proj", "selects what to attend to"),
        ("indexer_compressor_gate", "selects what to attend to"),
        ("indexer_compressor_ape", "selects what to attend to"),
        ("ssm_f_a.weight", "what a state forgets"),
        ("ssm_f_b.weight", "what a state forgets"),
        ("ssm_g_a.weight", "gates a state"),
        ("ssm_g_b.weight", "gates a state"),
        ("ssm_beta.weight", "gates a state"),
        ("attn_kv_a_mqa.weight", "a latent of attention"),
        ("attn_k_b.weight", "a latent of attention"),
        ("attn_v_b.weight", "a latent of attention"),
    ];
    let kept = GLM5.iter().find(|(part, _)| name.contains(part));
    kept.filter(|_| arch == "glm5-next").map(|(_, what)| *what)
}

/// Whether a matrix has no fewer than eight bits in architecture `arch`.
pub fn has_eight_bits(name: &str, arch: &str) -> bool {
    let parts = ["attn_q_a", "attn_q_b", "nextn.eh_proj"];
    arch == "glm5-next" && parts.iter().any(|part| name.contains(part))
}

/// Whether a matrix is too sensitive to be quantized, but is rounded when a trainer's checkpoint of architecture `arch` is
/// converted.
pub fn rounds(name: &str, arch: &str) -> bool {
    const PARTS: [&str; 15] = [
        "altup_router.weight",
        "altup_proj.weight",
        "altup_unembd_proj.weight",
        "laurel_l.weight",
        "laurel_r.weight",
        "per_layer_model_proj.weight",
        "attn_rel_b.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
    ];
    PARTS.iter().any(|part| name.ends_with(part)) || arch == "dbrx" && name.ends_with("ffn_gate_inp.weight")
}

/// Why a matrix stays as it is when a trainer's checkpoint is converted, though it may be quantized.
pub fn stays(name: &str) -> Option<&'static str> {
    const STAYS: [(&str, &str); 2] = [
        ("ffn_gate_inp_shexp.weight", "weighs the shared expert"),
        ("indexer.proj.weight", "selects what to attend to"),
    ];
    STAYS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, what)| *what)
}

/// A residual block: attention or what stands for it, then the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Mixer,
    Ffn,
}

/// N of `blk.N`.
pub fn layer(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("blk.")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The residual block that a tensor of a layer belongs to.
pub fn block(name: &str) -> Option<(u64, Part)> {
    let part = if name.contains("ffn_") { Part::Ffn } else { Part::Mixer };
    layer(name).map(|layer| (layer, part))
}

/// Whether the tensor is a gain or a bias of a normalization: these hardly move in any training.
pub fn is_norm(name: &str) -> bool {
    let mut words = name.split('.').rev().filter(|word| !matches!(*word, "weight" | "bias"));
    words.next().is_some_and(|word| word.split('_').any(|part| part == "norm"))
}

/// Whether a tensor of this name is a stack of experts.
pub fn is_stack(name: &str) -> bool {
    name.contains("_exps.")
}

/// The rows of one expert in a stack of them, which is a tensor of its own to a trainer; `ne` has the row length first.
pub fn expert_rows(name: &str, ne: &[u64]) -> Option<u64> {
    match ne {
        _ if !is_stack(name) => None,
        [_, rows, _] => Some(*rows),
        [_, _] if name.ends_with(".bias") => Some(1),
        _ => None,
    }
}

/// Whether the tensor follows from the configuration and is not learned.
pub fn is_generated(name: &str) -> bool {
    GENERATED.contains(&name)
}

/// Which layer a tensor belongs to, and what it does there, told from its name: the first number in it is the layer, and
/// of tensors that differ in further numbers, as experts do, one is meant.
pub fn place(name: &str) -> (Option<u64>, String) {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let parts: Vec<&str> = name.split('.').collect();
    let number = |part: &&str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    let layer = parts.iter().position(|part| number(part).is_some());
    let Some(at) = layer else { return (None, name.to_string()) };
    let rest = parts[at + 1..].iter().map(|part| if number(part).is_some() { "*" } else { part });
    (number(&parts[at]), rest.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_known_by_a_word_of_their_name() {
        for name in [
            "output_norm.weight",
            "blk.0.attn_norm.bias",
            "blk.11.attn_q_norm.weight",
            "blk.1.attn_norm_2.weight",
        ] {
            assert!(is_norm(name), "{name}");
        }
        for name in ["blk.0.attn_q.weight", "output.weight", "normal.weight", ""] {
            assert!(!is_norm(name), "{name}");
        }
    }

    #[test]
    fn experts_are_matrices_of_a_stack() {
        assert_eq!(expert_rows("blk.0.ffn_up_exps.weight", &[8, 24, 4]), Some(24));
        assert_eq!(expert_rows("blk.0.ffn_up_exps.bias", &[24, 4]), Some(1));
        assert_eq!(expert_rows("blk.0.ffn_up_shexp.weight", &[8, 24]), None);
        assert_eq!(expert_rows("blk.0.attn_k_b.weight", &[8, 24, 4]), None);
    }

    #[test]
    fn a_layer_is_the_number_behind_blk() {
        assert_eq!(layer("blk.12.attn_q.weight"), Some(12));
        assert_eq!(layer("blk.x.attn_q.weight"), None);
        assert_eq!(layer("output.weight"), None);
        assert_eq!(block("blk.3.ffn_up_exps.weight"), Some((3, Part::Ffn)));
    }

    #[test]
    fn a_name_tells_layer_and_role() {
        let is = |name, layer, role: &str| assert_eq!(place(name), (layer, role.to_string()), "{name}");
        is("blk.11.attn_q.weight", Some(11), "attn_q");
        is("blk.0.attn_q.bias", Some(0), "attn_q.bias");
        is("model.layers.3.mlp.experts.12.w1.weight", Some(3), "mlp.experts.*.w1");
        is("token_embd.weight", None, "token_embd");
        is("99999999999999999999.x", None, "99999999999999999999.x");
        is("", None, "");
    }
}
