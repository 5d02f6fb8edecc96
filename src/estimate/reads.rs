//! Which norm a matrix reads from, by its name. Specification: the graphs of llama.cpp, by their tensors' names.

use super::stream::{Named, Stream};
use crate::roles::{self, layer};
use ggraft_formats::{Result, Tensor};

/// Kinds of tensors of a layer -> the norms that may stand before them, the first that is there.
const READS: &[(&[&str], &[&str])] = &[
    (
        &["attn_q", "attn_k", "attn_v", "attn_qkv", "attn_gate", "attn_q_a", "attn_kv_a_mqa", "ssm_in"],
        &["attn_norm"],
    ),
    (&["attn_q_b"], &["attn_q_a_norm"]),
    (&["attn_kv_b", "attn_v_b"], &["attn_kv_a_norm"]),
    (&["attn_output"], &["attn_sub_norm"]),
    (&["ffn_gate", "ffn_up", "ffn_gate_up", "ffn_gate_inp"], BEFORE_FFN),
    (&["ffn_down"], &["ffn_sub_norm"]),
];

/// The norms before a feed-forward part. The last is that of the attention's result where nothing is added behind it.
const BEFORE_FFN: &[&str] = &["ffn_norm", "post_attention_norm", "attn_output_norm"];

/// Architectures whose feed-forward part may stand beside the attention and read the same norm.
const PARALLEL: [&str; 6] = ["falcon", "phi2", "command-r", "cohere2", "cohere2moe", "stablelm"];

/// Endings of the names of experts' matrices.
const EXPERTS: [&str; 3] = ["_exps", "_shexp", "_chexps"];

/// What a tensor of a layer is called within it.
pub(super) fn kind(name: &str) -> Option<&str> {
    let (_, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    rest.strip_suffix(".weight")
}

/// The stream that a matrix reads, if it is the output of a norm.
pub(super) fn stream(named: &Named<'_>, tensor: &Tensor) -> Result<Option<Stream>> {
    for norm in norms(named, &tensor.name) {
        if let Some(stream) = Stream::behind(named, &norm, tensor.shape().row())? {
            return Ok(Some(stream));
        }
    }
    Ok(None)
}

/// The gains of the norm before a matrix, if it reads from one.
pub(crate) fn gains(named: &Named<'_>, tensor: &Tensor) -> Result<Option<Vec<f32>>> {
    for norm in norms(named, &tensor.name) {
        let gains = named.values(&format!("{norm}.weight"), tensor.shape().row())?;
        if gains.is_some() {
            return Ok(gains);
        }
    }
    Ok(None)
}

/// Names of norms, without what follows `.weight`.
fn norms(named: &Named<'_>, name: &str) -> Vec<String> {
    let tied = named.get(roles::HEAD).is_none();
    if name == roles::HEAD || (tied && name == roles::EMBEDDING) {
        return vec![String::from("output_norm")];
    }
    let Some((layer, kind)) = layer(name).zip(kind(name)) else { return Vec::new() };
    let plain = EXPERTS.iter().find_map(|ending| kind.strip_suffix(ending)).unwrap_or(kind);
    let of_layer = |norm: &str| format!("blk.{layer}.{norm}");
    // A norm behind the feed-forward tells that the one behind the attention is no norm before it; where no norm stands
    // before the block, the stream is read as it is.
    let has_behind = ["post_ffw_norm", "ffn_post_norm"]
        .iter()
        .any(|norm| named.get(&format!("{}.weight", of_layer(norm))).is_some());
    let norms = READS.iter().find(|(kinds, _)| kinds.contains(&plain)).map_or(&[][..], |(_, norms)| norms);
    let is_ffn = norms == BEFORE_FFN;
    let first = match () {
        () if kind.ends_with("_exps") => Some("ffn_norm_exps"),
        // Of its large models the attention has a norm of its own.
        () if named.architecture == "falcon" && norms == ["attn_norm"] => Some("attn_norm_2"),
        () => None,
    };
    let beside = (is_ffn && PARALLEL.contains(&named.architecture)).then_some("attn_norm");
    let usual = norms.iter().copied().filter(|norm| !has_behind || *norm != "post_attention_norm");
    first.into_iter().chain(usual).chain(beside).map(of_layer).collect()
}
