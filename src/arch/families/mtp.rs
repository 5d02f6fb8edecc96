//! Layers that predict more than one token (MTP). They follow the layers proper, whose number is the axis `main`; a GGUF
//! counts both, and llama.cpp refuses one that counts layers which it does not hold.
//! Specification: `num_nextn_predict_layers` in llama.cpp's converter.

use super::Arch;
use crate::arch::options::Predicting;
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Layers, Rule, rule};
use crate::roles;
use ggraft_formats::{Checkpoint, Error, Result, Tensor, Value};

/// The axes of a model with such layers.
pub const AXES: &[Axis] = &[
    axis("main", Size::Of(&["n_layers", "num_hidden_layers", "n_layer", "num_layers"])),
    axis("mtp", Size::Make(held)),
    axis("l", Size::Add("main", "mtp")),
];

/// The axis of their number.
pub const AXIS: &str = "mtp";

/// Whether the checkpoint's tensor `name` is of a layer beyond the `main` ones.
fn is_beyond(name: &str, main: u64) -> bool {
    let mut parts = name.split('.');
    while let Some(part) = parts.next() {
        match part {
            "mtp" => return true,
            "layers" => {
                return parts.next().and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n >= main);
            }
            _ => {}
        }
    }
    false
}

/// The checkpoint without such layers; none if the family knows of none.
pub fn without(params: &Params<'_>, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    if !params.knows(AXIS) {
        params.tell(String::from(Predicting::NOTHING_TO_LEAVE_OUT));
        return Ok(None);
    }
    let main = params.size("main", 0)?;
    let stay = checkpoint.tensors.iter().filter(|t| !is_beyond(&t.name, main)).cloned().collect();
    Ok(Some(Checkpoint { tensors: stay, ..checkpoint.clone() }))
}

/// What is said of a checkpoint whose layers that predict are only ever a file of their own.
pub fn apart(arch: &Arch, checkpoint: &Checkpoint) -> Option<String> {
    let count = checkpoint.tensors.iter().filter(|t| t.name.starts_with("mtp.")).count();
    (arch.predictor.is_some() && count > 0).then(|| {
        format!("{count} tensors of layers that predict further tokens are left out: --mtp writes them as a file of their own")
    })
}

/// Of `tensors`, in GGUF's names, those of such layers, and those that they share with the model.
pub fn keep_only(params: &Params<'_>, tensors: &mut Vec<Tensor>) -> Result<()> {
    let some = params.knows(AXIS) && params.size(AXIS, 0)? > 0;
    if !some {
        return Err(Error::usage("the model has no layers for predicting more tokens")
            .file(params.config.file())
            .hint("convert it without --mtp"));
    }
    let main = params.size("main", 0)?;
    tensors.retain(|t| roles::serves_predicting(&t.name, main));
    Ok(())
}

/// The config's names for their number.
const COUNTS: &[&str] = &["num_nextn_predict_layers", "mtp_num_hidden_layers"];

/// How many the checkpoint holds: as many as the config counts, or none.
pub fn held(params: &Params<'_>, _layer: u32) -> Result<u64> {
    let told = params.config.first(COUNTS).map(|key| params.config.whole_at(key, 0)).transpose()?.flatten();
    let main = params.size("main", 0)?;
    let starts = [format!("layers.{main}."), String::from("mtp.layers.")];
    let found = params.counts(|name| starts.iter().any(|start| name.contains(start.as_str())));
    match (told.unwrap_or(0), found) {
        (0, Some(n)) if n > 0 && params.config.first(COUNTS).is_none() => Ok(1),
        (0, _) => Ok(0),
        (told, Some(0)) => {
            params.tell(format!(
                "config.json counts {told} layers for predicting more tokens, but the weights hold none: they are not \
                 counted here (llama.cpp refuses a file that counts what it lacks, as convert_hf_to_gguf writes it)"
            ));
            Ok(0)
        }
        (told, _) => Ok(told.into()),
    }
}

/// Their number, if it is told or there are some.
pub fn count(params: &Params<'_>) -> Result<Option<Value>> {
    if params.is_given(AXIS) {
        return Ok(None);
    }
    let n = params.count("mtp", 0)?;
    Ok((n > 0 || params.config.first(COUNTS).is_some()).then_some(Value::U32(n)))
}

/// Their number, if there are some.
pub fn some(params: &Params<'_>) -> Result<Option<Value>> {
    let n = params.count("mtp", 0)?;
    Ok((n > 0).then_some(Value::U32(n)))
}

const MTP: Layers = Layers::From("main");

/// What such a layer has beyond another.
pub const RULES: &[Rule] = &[
    rule(&["layers.{l}.eh_proj.weight"], &["blk.{l}.nextn.eh_proj.weight"], "n (two m)").layers(MTP),
    rule(&["layers.{l}.embed_tokens.weight"], &["blk.{l}.nextn.embed_tokens.weight"], "vocab n")
        .may()
        .layers(MTP),
    rule(&["layers.{l}.enorm.weight"], &["blk.{l}.nextn.enorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.hnorm.weight"], &["blk.{l}.nextn.hnorm.weight"], "n").layers(MTP),
    rule(&["layers.{l}.shared_head.head.weight"], &["blk.{l}.nextn.shared_head_head.weight"], "vocab n")
        .may()
        .layers(MTP),
    rule(&["layers.{l}.shared_head.norm.weight"], &["blk.{l}.nextn.shared_head_norm.weight"], "n")
        .may()
        .layers(MTP),
];

/// Where else the names of such layers begin.
pub const RENAMED: &[(&str, &str)] = &[("model.language_model.", "model."), ("model.mtp.", "mtp.")];

/// The names that Qwen and those who follow it keep them under.
pub const PUBLISHED: &[(&str, &str)] = &[
    ("mtp.fc.", "model.layers.{main}.eh_proj."),
    ("mtp.pre_fc_norm_embedding.", "model.layers.{main}.enorm."),
    ("mtp.pre_fc_norm_hidden.", "model.layers.{main}.hnorm."),
    ("mtp.norm.", "model.layers.{main}.shared_head.norm."),
    ("mtp.layers.{l}.", "model.layers.{l+main}."),
];
