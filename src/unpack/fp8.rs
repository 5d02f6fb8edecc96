//! Floats of 8 bits under scales: of blocks (`X_scale_inv`, 128 by 128 if the config does not say otherwise), of rows, or
//! one of all; Mistral calls them `qscale_weight`, DeepSeek V4 `X.scale`. Experts may be floats of 4 bits, two in a byte:
//! under exponents of 32, as DeepSeek V4 and MiMo V2.5 have them, they are MXFP4, and stay so.
//! Value: code * scale in f32, as convert_hf_to_gguf has it; `Fp8Dequantize` of transformers rounds that once.

use super::coded::Coded;
use super::grid::{Blocks, Dims, Grid};
use super::mxfp4;
use super::page::{Page, Parts};
use super::ranks;
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::{Packing, bytes, e2m1};
use ggraft_formats::{DType, Error, Result, Tensor};

pub const PAGE: Page = Page {
    names: &["fp8", "fbgemm_fp8"],
    marks: &[("_scale_inv", ""), (".weight_scale", ".weight"), (".qscale_weight", ".weight")],
    common: &[(".scale", ".weight")],
    ignored: &[
        ".input_scale",
        ".input_scale_ub",
        ".activation_scale",
        "_activation_scale",
        ".qscale_act",
        ".k_scale",
        ".v_scale",
        ".q_scale",
    ],
    weights: |parts, settings| {
        let codes = parts.need(&parts.weight)?;
        if is_halves(codes) && stay(parts.mark, settings)? {
            return Ok(vec![mxfp4::of_codes(&parts.weight, codes, parts.mark)?]);
        }
        if let Some(weight) = ranks::regrouped(parts, settings)? {
            return Ok(vec![weight]);
        }
        Ok(vec![scaled(parts, codes, parts.mark, blocks(settings)?)?])
    },
};

/// Whether numbers of half a byte under such scales stay in their blocks: always where DeepSeek V4 names the scales, else where
/// the config calls it so (MiMo V2.5).
fn stay(scales: &Tensor, settings: &Settings) -> Result<bool> {
    Ok(scales.name.ends_with(".scale") || settings.text("store_dtype")? == Some("mxfp4"))
}

/// Whether these are numbers of half a byte.
fn is_halves(codes: &Tensor) -> bool {
    matches!(codes.dtype(), DType::I8 | DType::U8)
}

/// The sizes of blocks that the config tells.
fn blocks(settings: &Settings) -> Result<Blocks> {
    const KEY: &str = "weight_block_size";
    let Some(value) = settings.json.get(KEY).filter(|v| !v.is_null()) else { return Ok(Blocks::default()) };
    let size = |i: usize| usize::try_from(value.get(i)?.as_u64()?).ok().filter(|n| *n > 0);
    match (size(0), size(1)) {
        (Some(height), Some(width)) => Ok(Blocks { height: Some(height), width: Some(width) }),
        _ => Err(settings.wrong(KEY, "two whole numbers of at least 1, or null")),
    }
}

/// Numbers of one byte, or of half a byte, under scales.
pub fn scaled(parts: &Parts<'_>, codes: &Tensor, scales: &Tensor, blocks: Blocks) -> Result<Tensor> {
    let halves = is_halves(codes);
    let table = match bytes(codes.dtype()) {
        _ if halves => e2m1(),
        Some(table) => table,
        None => {
            return Err(Error::invalid("there are scales of weights that are not packed")
                .tensor(&codes.name)
                .expected("f8_e4m3 or f8_e5m2")
                .found(codes.dtype())
                .hint("the checkpoint is put together from several: download it again"));
        }
    };
    let held = Dims::of(codes, None)?;
    let (packing, columns) = match halves {
        true => (Packing::Stream(4), held.columns.saturating_mul(2)),
        false => (Packing::Stream(8), held.columns),
    };
    let dims = Dims { columns, ..held };
    // The blocks of halves are told by their scales alone.
    let scale = Grid::new(scales, dims, if halves { Blocks::default() } else { blocks })?.exponents();
    let coded = Coded::plain(codes, packing, held.columns, table, dims, scale);
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)
}
