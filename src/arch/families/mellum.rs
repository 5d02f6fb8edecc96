//! Mellum 2: Qwen 3's attention and experts in every layer; some layers attend within a window.
//! Specification: `MellumModel` of llama.cpp's converter.

use super::decoder::DECODER;
use super::qwen::NORMED;
use super::{Arch, NONE, experts, windows};
use crate::arch::keys::{Key, count, make};
use crate::arch::params::Params;
use crate::arch::rule::Layers;
use ggraft_formats::{Array, Result, Value};

pub const MELLUM: Arch = Arch {
    classes: &["MellumForCausalLM"],
    gguf: "mellum",
    base: Some(&DECODER),
    keys: KEYS,
    shares: &[NORMED, &experts::routed(Layers::All)],
    without: experts::NO_DENSE,
    ..NONE
};

const KEYS: &[Key] = &[
    count("expert_feed_forward_length", &["moe_intermediate_size"]),
    make("attention.sliding_window", |params| {
        if windowed(params)? {
            params.config.count("sliding_window").map(|n| Some(n.into()))
        } else {
            Ok(None)
        }
    }),
    make("attention.sliding_window_pattern", |params| {
        let all = if windowed(params)? { windows::layers(params, |_| false)? } else { return Ok(None) };
        Ok(Some(Value::Array(Array::Bool(all))))
    }),
];

fn windowed(params: &Params<'_>) -> Result<bool> {
    let used = params.config.optional_flag("use_sliding_window")? != Some(false);
    Ok(used && params.config.get("sliding_window").is_some())
}
