//! What everything that sees has in common: the keys in the converter's order, and the sizes of the tower. No model is of
//! this page.

use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, is, make, size};
use crate::arch::params::{Axis, Params, Size, axis};
use ggraft_formats::{Array, Error, Result, Value};

pub const VISION: Arch = Arch { gguf: "what sees", prefixes: &[""], keys: KEYS, axes: AXES, ..NONE };

const KEYS: &[Key] = &[
    is("has_vision_encoder", Fixed::Flag(true)),
    size("vision.projection_dim", "text"),
    size("vision.image_size", "image"),
    size("vision.patch_size", "patch"),
    size("vision.embedding_length", "n"),
    size("vision.feed_forward_length", "ff"),
    size("vision.block_count", "l"),
    size("vision.attention.head_count", "h"),
    make("vision.image_mean", |params| of_colours(params, "preprocessor_config.image_mean", f64::MIN)),
    make("vision.image_std", |params| of_colours(params, "preprocessor_config.image_std", 0.0)),
];

/// A number above `least` for each of the three colours.
pub fn of_colours(params: &Params<'_>, key: &str, least: f64) -> Result<Option<Value>> {
    let found = params.config.get(key);
    let numbers = found.and_then(|value| value.as_array()).filter(|all| all.len() == 3);
    let numbers = numbers.map(|all| all.iter().filter_map(|x| x.as_f64().filter(|x| *x > least)));
    match numbers.map(|all| all.map(|x| x as f32).collect::<Vec<f32>>()).filter(|all| all.len() == 3) {
        Some(all) => Ok(Some(Value::Array(Array::F32(all)))),
        None => Err(params.config.unsupported(key).expected("three numbers, one a colour").found(
            found.map_or(String::from("nothing"), |value| value.to_string().chars().take(60).collect()),
        )),
    }
}

const AXES: &[Axis] = &[
    axis(
        "l",
        Size::Of(&[
            "vision_config.n_layers",
            "vision_config.num_hidden_layers",
            "vision_config.n_layer",
            "vision_config.num_layers",
            "vision_config.depth",
            "vision_config.layers",
            "vision_config.vt_num_hidden_layers",
        ]),
    ),
    axis(
        "n",
        Size::Of(&["vision_config.hidden_size", "vision_config.width", "vision_config.vt_hidden_size"]),
    ),
    axis("m", Size::Same("n")),
    axis("ff", Size::Of(&["vision_config.intermediate_size", "vision_config.vt_intermediate_size"])),
    axis(
        "h",
        Size::Of(&[
            "vision_config.num_attention_heads",
            "vision_config.num_heads",
            "vision_config.heads",
            "vision_config.vt_num_attention_heads",
        ]),
    ),
    axis("d", Size::Or(&["vision_config.head_dim"], &Size::Div("n", "h"))).or("n", "a multiple of {h} heads"),
    axis("two", Size::Is(2)),
    axis("image", Size::Of(&["vision_config.image_size"])),
    axis("patch", Size::Of(&["vision_config.patch_size"])),
    axis("row", Size::Same("patch")),
    axis("column", Size::Same("patch")),
    axis("channels", Size::Or(&["vision_config.num_channels", "vision_config.in_channels"], &Size::Is(3))),
    axis("grid", Size::Make(|params, _| Ok(params.size("image", 0)? / params.size("patch", 0)?.max(1)))),
    axis("places", Size::Make(|params, _| Ok(params.size("grid", 0)?.saturating_pow(2)))),
    axis("text", Size::Of(TEXT_WIDTH)),
];

/// The width of the text model, which projectors project to.
pub const TEXT_WIDTH: &[&str] = &["text_config.hidden_size", "hidden_size", "text_config.n_embd", "n_embd"];

/// The first dimension of the checkpoint's tensor whose name ends so, for a size that no key tells.
pub fn rows(params: &Params<'_>, name: &str) -> Result<u64> {
    dimension(params, name, |ne| ne.last().copied())
}

/// The last dimension of it.
pub fn columns(params: &Params<'_>, name: &str) -> Result<u64> {
    dimension(params, name, |ne| ne.first().copied())
}

fn dimension(params: &Params<'_>, name: &str, of: impl Fn(&[u64]) -> Option<u64>) -> Result<u64> {
    let Some(checkpoint) = params.checkpoint() else { return Ok(1) };
    let held = checkpoint.tensors.iter().find(|tensor| tensor.name.ends_with(name));
    held.and_then(|tensor| of(tensor.shape().ne())).ok_or_else(|| {
        Error::invalid("the checkpoint lacks the tensor that tells a size").file(&checkpoint.dir).tensor(name)
    })
}

/// The whole number next below one by this number, as Python's `int` has it.
pub fn inverse(params: &Params<'_>, key: &str) -> Result<u64> {
    Ok((1.0 / params.config.number(key)?) as u64)
}
