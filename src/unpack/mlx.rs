//! MLX: `weight` packs codes along a row in words of 32 bits, without gaps; `scales` and `biases` are those of groups. Some
//! modules have groups and bits of their own. The modes mxfp4, mxfp8 and nvfp4 have floats under scales and no biases.
//! Experts lie in one tensor (`switch_mlp`); they become one each, as trainers have them.
//! Value: the product rounded to the dtype of the scales, and the sum again, as `mx.dequantize` computes; bf16 of floats.

use super::coded::{All, Bias, Coded};
use super::grid::{Blocks, Dims, Grid};
use super::page::{Page, Parts};
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::{Packing, Table, Values, bytes, e2m1, whole};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Shape, Tensor};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

pub const PAGE: Page = Page {
    names: &["mlx"],
    marks: &[(".scales", ".weight")],
    common: &[],
    ignored: &[],
    weights: |parts, settings| apart(weight(parts, settings)?),
};

/// How a module is packed.
struct How {
    bits: u32,
    group: usize,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Affine,
    Mxfp4,
    Mxfp8,
    Nvfp4,
}

/// What the config says of a module, or of all. Where it says something of the module, what it leaves out is what MLX takes by
/// itself, not what is said of all.
/// Specification: `nn.quantize` and `to_quantized` of MLX.
fn how(parts: &Parts<'_>, settings: &Settings) -> Result<How> {
    let own = settings.json.get(parts.stem()).filter(|v| v.is_object());
    let value = |key: &str| own.unwrap_or(&settings.json).get(key).filter(|value| !value.is_null());
    let usual = |n: u64| own.map(|_| n);
    let mode = match value("mode").and_then(Value::as_str).unwrap_or("affine") {
        "affine" => Mode::Affine,
        "mxfp4" => Mode::Mxfp4,
        "mxfp8" => Mode::Mxfp8,
        "nvfp4" => Mode::Nvfp4,
        other => {
            return Err(Error::unsupported(format!("the mode {other} of MLX is not read"))
                .file(&settings.file)
                .expected("affine, mxfp4, mxfp8 or nvfp4"));
        }
    };
    let (bits, group) = match mode {
        Mode::Affine => (
            value("bits").map_or(usual(4), Value::as_u64),
            value("group_size").map_or(usual(64), Value::as_u64),
        ),
        Mode::Mxfp4 => (Some(4), Some(32)),
        Mode::Mxfp8 => (Some(8), Some(32)),
        Mode::Nvfp4 => (Some(4), Some(16)),
    };
    let bits = bits.filter(|n| (1..=8).contains(n) && *n != 7);
    let bits = bits.ok_or_else(|| settings.wrong("bits", "2, 3, 4, 5, 6 or 8"))?;
    let group = group.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let group = group.ok_or_else(|| settings.wrong("group_size", "a whole number of at least 1"))?;
    Ok(How { bits: bits as u32, group, mode })
}

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let how = how(parts, settings)?;
    let codes = parts.need(&parts.weight)?;
    let held = Dims::of(codes, None)?;
    let columns = held.columns.saturating_mul(32) / how.bits as usize;
    let dims = Dims { columns, ..held };
    if codes.dtype() != DType::U32 || !columns.is_multiple_of(how.group) {
        return Err(Error::invalid("these are no packed weights of MLX")
            .tensor(&codes.name)
            .expected(format!("U32, rows of whole groups of {} codes of {} bits", how.group, how.bits))
            .found(format!("{} {}, {columns} codes a row", codes.dtype(), codes.shape())));
    }
    let blocks = Blocks { height: Some(1), width: Some(how.group) };
    let scale = Grid::new(parts.mark, dims, blocks)?;
    let (table, scale, dtype): (Table, Grid, DType) = match how.mode {
        Mode::Affine => (whole(0.0), scale, parts.mark.dtype()),
        Mode::Mxfp4 => (e2m1(), scale.exponents(), DType::BF16),
        Mode::Nvfp4 => (e2m1(), scale.small_floats(), DType::BF16),
        Mode::Mxfp8 => (bytes(DType::F8E4M3).unwrap_or([f32::NAN; 256]), scale.exponents(), DType::BF16),
    };
    let bias = match how.mode {
        Mode::Affine => {
            let biases = parts.need(&format!("{}.biases", parts.stem()))?;
            Bias::Of(Box::new(Grid::new(biases, dims, blocks)?), dtype)
        }
        _ => Bias::Nothing,
    };
    let coded = Coded {
        codes: codes.clone(),
        values: Values::new(Packing::Stream(how.bits), table),
        stride: codes.row_bytes(),
        dims,
        scale,
        all: All::Nothing,
        zero: None,
        bias,
        groups: None,
    };
    unpacked(&parts.weight, &dims.torch(codes), dtype, coded)
}

/// What stacked experts are called, and each of them where it has its own tensors.
struct Stack {
    stacked: &'static str,
    single: &'static str,
    /// The parts: of the stack, and of one.
    parts: [(&'static str, &'static str); 3],
}

const STACKS: [Stack; 2] = [
    Stack {
        stacked: "block_sparse_moe.switch_mlp.",
        single: "block_sparse_moe.experts.",
        parts: [("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")],
    },
    Stack {
        stacked: "switch_mlp.",
        single: "experts.",
        parts: [("gate_proj", "gate_proj"), ("down_proj", "down_proj"), ("up_proj", "up_proj")],
    },
];

/// Stacked experts as one tensor each; anything else as it is.
pub fn apart(weight: Tensor) -> Result<Vec<Tensor>> {
    let [columns, rows, experts] = *weight.shape().ne() else { return Ok(vec![weight]) };
    let named = STACKS.iter().find_map(|Stack { stacked, single, parts }| {
        let (before, after) = weight.name.split_once(*stacked)?;
        let (name, ending) = after.split_once('.')?;
        let (_, own) = parts.iter().find(|(theirs, _)| *theirs == name)?;
        Some((format!("{before}{single}"), format!("{own}.{ending}")))
    });
    let Some((before, after)) = named else { return Ok(vec![weight]) };
    let too_large = || Error::invalid("the tensor is larger than any file can be").tensor(&weight.name);
    let shape = Shape::new(&[columns, rows]).ok_or_else(too_large)?;
    let step = usize::try_from(rows).map_err(|_| too_large())?;
    let one = |expert: u64| {
        let first = usize::try_from(expert).map_err(|_| too_large())? * step;
        let rows = Arc::new(Below { stack: weight.clone(), first });
        Tensor::new(&format!("{before}{expert}.{after}"), shape, weight.dtype(), rows)
    };
    (0..experts).map(one).collect()
}

/// The rows of a stack from one on.
struct Below {
    stack: Tensor,
    first: usize,
}

impl Below {
    fn place(&self, rows: &Range<usize>) -> Range<usize> {
        self.first + rows.start..self.first + rows.end
    }
}

impl Rows for Below {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.stack.read(self.place(&rows), out)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.stack.prefetch(self.place(&rows));
    }

    fn release(&self, rows: Range<usize>) {
        self.stack.release(self.place(&rows));
    }

    fn identify(&self, into: &mut Identity) {
        into.numbers([self.first as u64]);
        self.stack.identify(into);
    }
}
