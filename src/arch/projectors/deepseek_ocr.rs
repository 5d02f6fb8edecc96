//! DeepSeek-OCR, its second version and Unlimited-OCR: the tower of SAM, whose patches CLIP's tower, or a Qwen 2 with
//! learned queries, sees; what either gives is projected by one matrix.
//! Specification: `DeepseekOCRVisionModel` and its children of llama.cpp's converter.

use super::siglip::TEXT;
use super::vision::VISION;
use crate::arch::families::{Arch, NONE};
use crate::arch::keys::{Fixed, Key, count, is, make, positive, size};
use crate::arch::params::{Axis, Params, Size, axis};
use crate::arch::rule::{Need, Rule, rule};
use ggraft_formats::{DType, Result, Value};

pub const DEEPSEEK_OCR: Arch = Arch {
    classes: &["DeepseekOCRForCausalLM"],
    gguf: "clip",
    base: Some(&CLIPPED),
    keys: &[is("vision.preproc_max_tiles", Fixed::Count(9))],
    ..NONE
};

pub const UNLIMITED_OCR: Arch = Arch {
    classes: &["UnlimitedOCRForCausalLM"],
    gguf: "clip",
    base: Some(&CLIPPED),
    keys: &[is("vision.preproc_max_tiles", Fixed::Count(32))],
    ..NONE
};

pub const DEEPSEEK_OCR2: Arch = Arch {
    classes: &["DeepseekOCR2ForCausalLM"],
    gguf: "clip",
    base: Some(&SAM),
    keys: &[
        is("projector_type", Fixed::Text("deepseekocr2")),
        is("vision.preproc_max_tiles", Fixed::Count(6)),
        is("vision.attention.head_count_kv", Fixed::Count(2)),
    ],
    axes: QWEN_AXES,
    rules: QWEN,
    ..NONE
};

const CLIPPED: Arch = Arch {
    base: Some(&SAM),
    keys: &[
        make("vision.feed_forward_length", |params| {
            // So it is told; the graph takes the width from the tensors.
            Ok(Some(Value::U32(params.count("h", 0)?.saturating_mul(4))))
        }),
        is("projector_type", Fixed::Text("deepseekocr")),
    ],
    axes: CLIP_AXES,
    rules: CLIP,
    ..NONE
};

const SAM: Arch = Arch {
    base: Some(&VISION),
    prefixes: &["model."],
    keys: KEYS,
    axes: SAM_AXES,
    rules: SAM_RULES,
    ignored: TEXT,
    ..NONE
};

const KEYS: &[Key] = &[
    is("projector_type", Fixed::Text("deepseekocr")),
    positive("vision.attention.layer_norm_epsilon", &["vision_config.layer_norm_eps"])
        .or(Fixed::Number(1e-6)),
    is("use_gelu", Fixed::Flag(true)),
    make("vision.projector.scale_factor", scale),
    count("vision.window_size", &["vision_config.window_size"]).or(Fixed::Count(14)),
    is("vision.preproc_min_tiles", Fixed::Count(2)),
    is("vision.preproc_max_tiles", Fixed::Count(9)),
    size("vision.sam.block_count", "s"),
    size("vision.sam.embedding_length", "sn"),
    size("vision.sam.head_count", "sh"),
];

/// How many patches a token sees in either direction, if they are not four.
fn scale(params: &Params<'_>) -> Result<Option<Value>> {
    let tokens = params.config.optional_number("preprocessor_config.image_seq_length")?.unwrap_or(256.0);
    let side = (tokens.max(0.0).sqrt() as u64).max(1);
    let scale = params.size("grid", 0)? / side;
    Ok((scale > 0 && scale != 4).then_some(Value::U32(scale as u32)))
}

const SAM_AXES: &[Axis] = &[
    axis("s", Size::Of(&["vision_config.width.sam_vit_b.layers"])),
    axis("sn", Size::Of(&["vision_config.width.sam_vit_b.width"])),
    axis("sh", Size::Of(&["vision_config.width.sam_vit_b.heads"])),
    axis("sd", Size::Div("sn", "sh")).or("sn", "a multiple of {sh} heads"),
    axis("sm", Size::Same("sn")),
    axis("four", Size::Is(4)),
    axis("sff", Size::Mul("sn", "four")),
    axis(
        "side",
        Size::Make(|params, _| Ok(u64::from(params.config.count("vision_config.image_size")?) / PATCH)),
    ),
    axis("sides", Size::Same("side")),
    axis("spatch", Size::Is(PATCH)),
    axis("scolumn", Size::Is(PATCH)),
    axis("reach", Size::Make(reach)),
    axis("neck", Size::Is(256)),
    axis("necks", Size::Same("neck")),
    axis("high", Size::Is(3)),
    axis("wide", Size::Is(3)),
    axis("less", Size::Make(|params, _| channels(params, 0))),
    axis("least", Size::Make(|params, _| channels(params, 1))),
];

/// The side of a patch of SAM.
const PATCH: u64 = 16;

/// The side of a window that most layers attend in.
const WINDOW: u64 = 14;

/// How many distances two patches may have that this layer attends to.
fn reach(params: &Params<'_>, layer: u32) -> Result<u64> {
    let all = params.config.get("vision_config.width.sam_vit_b.global_attn_indexes");
    let is = all
        .and_then(|all| all.as_array())
        .is_some_and(|all| all.iter().any(|n| n.as_u64() == Some(layer.into())));
    let side = if is { params.size("side", 0)? } else { WINDOW };
    Ok((2 * side).saturating_sub(1))
}

/// The channels of the convolutions that follow the tower.
fn channels(params: &Params<'_>, at: u32) -> Result<u64> {
    const KEY: &str = "vision_config.width.sam_vit_b.downsample_channels";
    let told = params.config.get(KEY).map(|_| params.config.whole_at(KEY, at)).transpose()?.flatten();
    told.map(u64::from).ok_or_else(|| params.config.missing(KEY, "the channels of two convolutions"))
}

const SAM_RULES: &[Rule] = &[
    rule(&["sam_model.patch_embed.proj.weight"], &["v.sam.patch_embd.weight"], "sn channels spatch scolumn"),
    rule(&["sam_model.patch_embed.proj.bias"], &["v.sam.patch_embd.bias"], "sn"),
    rule(&["sam_model.pos_embed"], &["v.sam.pos_embd.weight"], "1 side sides sn").stored(DType::F32),
    rule(&["sam_model.blocks.{s}.norm1.weight"], &["v.sam.blk.{s}.pre_ln.weight"], "sn").bias(Need::Must),
    rule(&["sam_model.blocks.{s}.norm2.weight"], &["v.sam.blk.{s}.post_ln.weight"], "sn").bias(Need::Must),
    rule(&["sam_model.blocks.{s}.attn.rel_pos_h"], &["v.sam.blk.{s}.attn.pos_h.weight"], "reach sd")
        .stored(DType::F32),
    rule(&["sam_model.blocks.{s}.attn.rel_pos_w"], &["v.sam.blk.{s}.attn.pos_w.weight"], "reach sd")
        .stored(DType::F32),
    rule(
        &["sam_model.blocks.{s}.attn.qkv.weight"],
        &["v.sam.blk.{s}.attn.qkv.weight"],
        "[(sh sd)|(sh sd)|(sh sd)] sn",
    )
    .bias(Need::Must),
    rule(&["sam_model.blocks.{s}.attn.proj.weight"], &["v.sam.blk.{s}.attn.out.weight"], "sn (sh sd)")
        .bias(Need::Must),
    rule(&["sam_model.blocks.{s}.mlp.lin1.weight"], &["v.sam.blk.{s}.mlp.lin1.weight"], "sff sn")
        .bias(Need::Must),
    rule(&["sam_model.blocks.{s}.mlp.lin2.weight"], &["v.sam.blk.{s}.mlp.lin2.weight"], "sn sff")
        .bias(Need::Must),
    rule(&["sam_model.neck.0.weight"], &["v.sam.neck.0.weight"], "neck sn 1 1").stored(DType::F32),
    rule(&["sam_model.neck.1.weight"], &["v.sam.neck.1.weight"], "neck").bias(Need::Must),
    rule(&["sam_model.neck.2.weight"], &["v.sam.neck.2.weight"], "neck necks high wide").stored(DType::F32),
    rule(&["sam_model.neck.3.weight"], &["v.sam.neck.3.weight"], "neck").bias(Need::Must),
    rule(&["sam_model.net_2.weight"], &["v.sam.net_2.weight"], "less neck high wide").stored(DType::F32),
    rule(&["sam_model.net_3.weight"], &["v.sam.net_3.weight"], "least less high wide").stored(DType::F32),
    rule(&["view_seperator"], &["v.view_seperator"], "text -> 1 text"),
];

const CLIP_AXES: &[Axis] = &[
    axis("l", Size::Of(&["vision_config.width.clip-l-14-224.layers"])),
    axis("n", Size::Of(&["vision_config.width.clip-l-14-224.width"])),
    axis("h", Size::Of(&["vision_config.width.clip-l-14-224.heads"])),
    axis("ff", Size::Mul("n", "four")),
    axis("image", Size::Of(&["vision_config.width.clip-l-14-224.image_size"])),
    axis("patch", Size::Of(&["vision_config.width.clip-l-14-224.patch_size"])),
    axis("single", Size::Is(1)),
    axis("all", Size::Add("places", "single")),
    axis("both", Size::Add("n", "least")),
];

const CLIP: &[Rule] = &[
    rule(&["vision_model.embeddings.class_embedding"], &["v.class_embd"], "n"),
    rule(
        &["vision_model.embeddings.patch_embedding.weight"],
        &["v.patch_embd.weight"],
        "n channels row column",
    )
    .stored(DType::F32),
    rule(&["vision_model.embeddings.position_embedding.weight"], &["v.position_embd.weight"], "all n")
        .stored(DType::F32),
    rule(&["vision_model.pre_layrnorm.weight"], &["v.pre_ln.weight"], "n").bias(Need::Must),
    rule(&["vision_model.transformer.layers.{l}.layer_norm1.weight"], &["v.blk.{l}.ln1.weight"], "n")
        .bias(Need::Must),
    rule(&["vision_model.transformer.layers.{l}.layer_norm2.weight"], &["v.blk.{l}.ln2.weight"], "n")
        .bias(Need::Must),
    rule(
        &["vision_model.transformer.layers.{l}.self_attn.qkv_proj.weight"],
        &["v.blk.{l}.attn_qkv.weight"],
        "[(h d)|(h d)|(h d)] n",
    )
    .bias(Need::Must),
    rule(
        &["vision_model.transformer.layers.{l}.self_attn.out_proj.weight"],
        &["v.blk.{l}.attn_out.weight"],
        "n (h d)",
    )
    .bias(Need::Must),
    rule(&["vision_model.transformer.layers.{l}.mlp.fc1.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n")
        .bias(Need::Must),
    rule(&["vision_model.transformer.layers.{l}.mlp.fc2.weight"], &["v.blk.{l}.ffn_down.weight"], "n ff")
        .bias(Need::Must),
    rule(&["projector.layers.weight"], &["mm.model.fc.weight"], "text both").bias(Need::Must),
    rule(&["image_newline"], &["v.image_newline"], "text"),
];

const QWEN_AXES: &[Axis] = &[
    axis("l", Size::Or(&["vision_config.layers"], &Size::Is(24))),
    axis("n", Size::Of(&["vision_config.width.qwen2-0-5b.dim"])),
    axis("h", Size::Or(&["vision_config.num_attention_heads", "vision_config.heads"], &Size::Is(14))),
    axis("g", Size::Is(2)),
    axis("ff", Size::Or(&["vision_config.intermediate_size"], &Size::Is(4864))),
    axis("patch", Size::Or(&["vision_config.patch_size"], &Size::Is(PATCH))),
    axis("few", Size::Is(144)),
    axis("many", Size::Is(256)),
];

const QWEN: &[Rule] = &[
    rule(&["qwen2_model.model.model.layers.{l}.input_layernorm.weight"], &["v.blk.{l}.ln1.weight"], "n"),
    rule(
        &["qwen2_model.model.model.layers.{l}.post_attention_layernorm.weight"],
        &["v.blk.{l}.ln2.weight"],
        "n",
    ),
    rule(
        &["qwen2_model.model.model.layers.{l}.self_attn.q_proj.weight"],
        &["v.blk.{l}.attn_q.weight"],
        "(h d) n",
    )
    .bias(Need::Must),
    rule(
        &["qwen2_model.model.model.layers.{l}.self_attn.k_proj.weight"],
        &["v.blk.{l}.attn_k.weight"],
        "(g d) n",
    )
    .bias(Need::Must),
    rule(
        &["qwen2_model.model.model.layers.{l}.self_attn.v_proj.weight"],
        &["v.blk.{l}.attn_v.weight"],
        "(g d) n",
    )
    .bias(Need::Must),
    rule(
        &["qwen2_model.model.model.layers.{l}.self_attn.o_proj.weight"],
        &["v.blk.{l}.attn_out.weight"],
        "n (h d)",
    ),
    rule(
        &["qwen2_model.model.model.layers.{l}.mlp.gate_proj.weight"],
        &["v.blk.{l}.ffn_gate.weight"],
        "ff n",
    ),
    rule(&["qwen2_model.model.model.layers.{l}.mlp.up_proj.weight"], &["v.blk.{l}.ffn_up.weight"], "ff n"),
    rule(
        &["qwen2_model.model.model.layers.{l}.mlp.down_proj.weight"],
        &["v.blk.{l}.ffn_down.weight"],
        "n ff",
    ),
    rule(&["qwen2_model.model.model.norm.weight"], &["v.post_ln.weight"], "n"),
    rule(&["qwen2_model.query_768.weight"], &["v.resample_query_768.weight"], "few n"),
    rule(&["qwen2_model.query_1024.weight"], &["v.resample_query_1024.weight"], "many n"),
    rule(&["projector.layers.weight"], &["mm.model.fc.weight"], "text n").bias(Need::Must),
];
