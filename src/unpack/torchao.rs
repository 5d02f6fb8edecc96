//! torchao: `X._weight_qdata` and its scales are what a tensor subclass holds; the header of the safetensors file tells which
//! it is (`_type`) and the dtype that it stands for. Int8Tensor and IntxUnpackedToInt8Tensor: a byte for a code; Float8Tensor,
//! MXTensor, NVFP4Tensor: floats under scales; Int4Tensor: two codes in a byte, and numbers that lie group by group.
//! Value: (code - zero) * scale, rounded once to that dtype, as `dequantize`; Int4Tensor's: code * scale + zero, in f32.

use super::coded::{All, Bias, Coded};
use super::grid::{Blocks, Dims, Grid, torch};
use super::numbers::elements;
use super::page::{Page, Parts};
use super::rows::{Packed, unpacked};
use super::settings::Settings;
use ggraft_formats::packed::{Packing, bytes, e2m1};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use serde_json::Value;
use std::ops::Range;

pub const PAGE: Page = Page {
    names: &["torchao"],
    marks: &[
        ("._weight_qdata", ".weight"),
        ("._gate_up_proj_qdata", ".gate_up_proj"),
        ("._down_proj_qdata", ".down_proj"),
    ],
    common: &[],
    ignored: &["_act_quant_scale", "_act_quant_zero_point", "_act_per_tensor_scale"],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

/// What the header says of a weight.
struct Told {
    kind: String,
    data: Value,
    /// The dtype that the weight stands for, if it is told.
    dtype: Option<DType>,
}

impl Told {
    fn of(parts: &Parts<'_>, settings: &Settings) -> Result<Told> {
        let wrong = |found: &str| {
            Error::invalid("the file does not say what these packed weights are")
                .tensor(&parts.mark.name)
                .expected(format!("the key {} in __metadata__, as torchao writes it", parts.weight))
                .found(found)
                .hint("the file was written again by a tool that lost it: download it again")
        };
        let text = settings.told.get(&parts.weight).ok_or_else(|| wrong("nothing"))?;
        let json: Value = serde_json::from_str(text).map_err(|_| wrong("no JSON"))?;
        let kind = json.get("_type").and_then(Value::as_str).ok_or_else(|| wrong("no _type"))?.to_string();
        let data = json.get("_data").cloned().unwrap_or_default();
        let named = |key: &str| data.get(key).and_then(|v| v.get("_data")).and_then(Value::as_str);
        let dtype = match named("dtype").or_else(|| named("orig_dtype")) {
            Some("bfloat16") => Some(DType::BF16),
            Some("float16") => Some(DType::F16),
            Some("float32") => Some(DType::F32),
            Some(_) => return Err(wrong("another dtype than bfloat16, float16 or float32")),
            None => None,
        };
        Ok(Told { kind, data, dtype })
    }

    fn is(&self, key: &str) -> bool {
        self.data.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let told = Told::of(parts, settings)?;
    let place = parts.mark.name.strip_suffix("qdata").unwrap_or(&parts.mark.name);
    let part = |name: &str| parts.find(&format!("{place}{name}"));
    let refused = |what: String| {
        Error::unsupported(what)
            .tensor(&parts.mark.name)
            .expected(
                "Int8Tensor, IntxUnpackedToInt8Tensor, Float8Tensor, Int4Tensor, MXTensor or NVFP4Tensor",
            )
            .hint("take the checkpoint it was made from")
    };
    if part("act_pre_scale").is_some() {
        return Err(refused("torchao's weights whose inputs are scaled first are not read".into()));
    }
    if told.is("is_swizzled_scales") {
        return Err(refused(format!("torchao's {} with swizzled scales is not read", told.kind)));
    }
    let scale = parts.need(&format!("{place}scale"))?;
    match told.kind.as_str() {
        "Int8Tensor" | "IntxUnpackedToInt8Tensor" => bytewise(parts, &told, scale, part("zero_point")),
        "Float8Tensor" | "MXTensor" => bytewise(parts, &told, scale, None),
        "NVFP4Tensor" => floats(parts, &told, scale, part("per_tensor_scale")),
        "Int4Tensor" => halves(parts, scale, parts.need(&format!("{place}zero_point"))?),
        other => Err(refused(format!("torchao's {other} is not read"))),
    }
}

/// A code in a byte.
fn bytewise(parts: &Parts<'_>, told: &Told, scale: &Tensor, zero: Option<&Tensor>) -> Result<Tensor> {
    let codes = parts.mark;
    if codes.dtype() == DType::U8 {
        return floats(parts, told, scale, None);
    }
    let table = match codes.dtype() {
        DType::I8 | DType::F8E4M3 | DType::F8E5M2 => bytes(codes.dtype()),
        _ => None,
    };
    let table = table.ok_or_else(|| {
        Error::invalid("these are no packed weights of torchao")
            .tensor(&codes.name)
            .expected("i8, f8_e4m3 or f8_e5m2")
            .found(codes.dtype())
    })?;
    let dims = Dims::of(codes, None)?;
    let zero = zero.map(|zero| Grid::new(zero, dims, blocks(told))).transpose()?;
    let scale = Grid::new(scale, dims, blocks(told))?.exponents();
    let coded = Coded { zero, ..Coded::plain(codes, Packing::Stream(8), dims.columns, table, dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), told.dtype.unwrap_or(DType::F32), coded)
}

/// Pairs of E2M1 in a byte.
fn floats(parts: &Parts<'_>, told: &Told, scale: &Tensor, all: Option<&Tensor>) -> Result<Tensor> {
    let (codes, held) = (parts.mark, Dims::of(parts.mark, None)?);
    let dims = Dims { columns: held.columns.saturating_mul(2), ..held };
    let scale = Grid::new(scale, dims, Blocks { height: Some(1), width: None })?.exponents();
    let all = match all {
        Some(all) => All::Times(Grid::new(all, dims, Blocks::whole(dims))?),
        None => All::Nothing,
    };
    let coded = Coded { all, ..Coded::plain(codes, Packing::Stream(4), held.columns, e2m1(), dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), told.dtype.unwrap_or(DType::F32), coded)
}

/// Signed codes of 4 bits, the even columns in the lower half, and a zero point that is added.
fn halves(parts: &Parts<'_>, scale: &Tensor, zero: &Tensor) -> Result<Tensor> {
    let (codes, held) = (parts.mark, Dims::of(parts.mark, None)?);
    let dims = Dims { columns: held.columns.saturating_mul(2), ..held };
    let table = std::array::from_fn(|code| ((code as i32 % 16) ^ 8) as f32 - 8.0);
    let blocks = Blocks { height: Some(1), width: None };
    let scale = Grid::new(&turned(scale, dims)?, dims, blocks)?;
    let bias = Bias::Of(Box::new(Grid::new(&turned(zero, dims)?, dims, blocks)?), DType::F32);
    let coded = Coded { bias, ..Coded::plain(codes, Packing::Stream(4), held.columns, table, dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)
}

/// The blocks that the header tells.
fn blocks(told: &Told) -> Blocks {
    let size = |i: usize| usize::try_from(told.data.get("block_size")?.get(i)?.as_u64()?).ok();
    Blocks { height: size(0), width: size(1) }
}

/// Numbers that lie group by group, as rows for the rows of the weight.
fn turned(numbers: &Tensor, dims: Dims) -> Result<Tensor> {
    let found = torch(numbers);
    let groups = match *found.as_slice() {
        [groups, rows] if dims.matrices == 1 && rows == dims.rows as u64 => Some(groups),
        [matrices, groups, rows] if matrices == dims.matrices as u64 && rows == dims.rows as u64 => {
            Some(groups)
        }
        _ => None,
    };
    let groups = groups.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
        Error::invalid("the scales do not fit the weights")
            .tensor(&numbers.name)
            .expected(format!("[groups, {}]", dims.rows))
            .found(format!("{found:?}"))
            .hint("the download is incomplete")
    })?;
    let shape = [dims.matrices, dims.rows, groups].map(|n| n as u64);
    let shape = if dims.matrices == 1 { &shape[1..] } else { &shape[..] };
    unpacked(&numbers.name, shape, DType::F32, Turned { numbers: numbers.clone(), rows: dims.rows, groups })
}

struct Turned {
    numbers: Tensor,
    rows: usize,
    groups: usize,
}

impl Packed for Turned {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.groups)) {
            let (matrix, row) = (row / self.rows, row % self.rows);
            for (group, x) in out.iter_mut().enumerate() {
                let place = (matrix * self.groups + group) * self.rows + row;
                elements(&self.numbers, self.numbers.dtype(), place..place + 1, std::slice::from_mut(x))?;
            }
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        if let Some(last) = rows.clone().last() {
            let groups = self.groups;
            f(&self.numbers, rows.start / self.rows * groups..(last / self.rows + 1) * groups);
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.numbers([self.rows as u64, self.groups as u64]);
    }
}
