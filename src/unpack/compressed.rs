//! compressed-tensors (llm-compressor): `weight_packed` has whole numbers in words of 32 bits or pairs of E2M1 in a byte,
//! `weight` numbers of one byte; `weight_scale` is of the whole, of rows, groups or blocks, `weight_zero_point` of the same
//! and packed downwards. Which config group a module is of is told by its targets, and must fit the shapes.
//! Value: (code - zero) * scale in f32, as convert_hf_to_gguf has it; the library rounds that once to the dtype of the scales.

use super::coded::{All, Coded};
use super::columns::fits;
use super::fp8::scaled;
use super::grid::{Blocks, Dims, Grid};
use super::halves::known;
use super::mxfp4;
use super::numbers::{indices, with_bytes};
use super::page::{Page, Parts};
use super::rows::{Packed, unpacked};
use super::settings::Settings;
use crate::arch::keeps_blocks;
use crate::arrange::Arrange;
use ggraft_formats::packed::{Packing, bytes, e2m1, fields, whole};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use regex::Regex;
use serde_json::Value;
use std::ops::Range;

pub const PAGE: Page = Page {
    names: &["compressed-tensors"],
    marks: &[(".weight_packed", ".weight"), (".weight_scale", ".weight")],
    common: &[],
    ignored: &[
        ".input_scale",
        ".input_global_scale",
        ".input_zero_point",
        ".output_scale",
        ".output_zero_point",
        ".k_scale",
        ".v_scale",
        ".q_scale",
    ],
    weights: |parts, settings| {
        format(settings)?;
        let part = |name: &str| parts.find(&format!("{}{name}", parts.weight));
        if parts.mark.name.ends_with("_packed") {
            let made = if parts.mark.dtype() == DType::U8 {
                halves(parts, settings)?
            } else {
                words(parts, settings)?
            };
            return Ok(vec![made]);
        }
        match part("_packed") {
            // Its codes stand for the weight.
            Some(_) => Ok(Vec::new()),
            None => Ok(vec![single(parts, settings)?]),
        }
    },
};

/// The formats whose parts are read.
const FORMATS: [&str; 8] = [
    "pack-quantized",
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
    "mixed-precision",
];

fn format(settings: &Settings) -> Result<()> {
    let sparse = settings.json.get("sparsity_config").and_then(|s| s.get("format")).and_then(Value::as_str);
    let format = match sparse.filter(|format| *format != "dense") {
        Some(sparse) => sparse,
        None => settings.text("format")?.unwrap_or("mixed-precision"),
    };
    if FORMATS.contains(&format) {
        return untransformed(settings);
    }
    Err(Error::unsupported(format!("compressed-tensors in the format {format} is not read"))
        .file(&settings.file)
        .expected(format!("one of {}", FORMATS.join(", ")))
        .hint("take the checkpoint it was made from, or save it decompressed with llm-compressor"))
}

/// Refuses transforms of what goes through the model as it runs. Those of weights are in the weights.
/// Specification: `TransformLocation` of compressed-tensors.
fn untransformed(settings: &Settings) -> Result<()> {
    let groups = settings.json.get("transform_config").and_then(|config| config.get("config_groups"));
    let schemes = groups.and_then(Value::as_object).into_iter().flat_map(|groups| groups.values());
    let applied = schemes.filter_map(|scheme| scheme.get("apply")?.as_array()).flatten();
    let places = applied.map(|one| one.get("location").and_then(Value::as_str).unwrap_or("nothing"));
    match places.into_iter().find(|place| !["weight_input", "weight_output"].contains(place)) {
        None => Ok(()),
        Some(place) => {
            Err(Error::unsupported("weights that need a transform as the model runs are not read")
                .file(&settings.file)
                .expected("a 'location' of weight_input or weight_output in transform_config")
                .found(place)
                .hint("take the checkpoint it was made from"))
        }
    }
}

/// What a config group says of weights.
#[derive(Clone, Copy, Default)]
struct Args {
    bits: u32,
    blocks: Blocks,
}

/// What the config groups say, those first whose targets name the module, then those that name its class.
///
/// # Errors
/// A target of one of several groups is an expression that cannot be read.
fn args(parts: &Parts<'_>, settings: &Settings) -> Result<Vec<Args>> {
    let groups = settings.json.get("config_groups").and_then(Value::as_object);
    let is_alone = groups.is_none_or(|groups| groups.len() == 1);
    let mut all: Vec<(u8, Args)> = Vec::new();
    for group in groups.into_iter().flat_map(|groups| groups.values()) {
        let Some(weights) = group.get("weights").filter(|v| v.is_object()) else { continue };
        let size = |value: Option<&Value>| usize::try_from(value?.as_u64()?).ok().filter(|n| *n > 0);
        let block = weights.get("block_structure");
        let blocks = match block.and_then(Value::as_array) {
            Some(block) => Blocks { height: size(block.first()), width: size(block.get(1)) },
            None => Blocks { height: None, width: size(weights.get("group_size")) },
        };
        let bits = weights.get("num_bits").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let targets = group.get("targets").and_then(Value::as_array);
        let names = targets.into_iter().flatten().filter_map(Value::as_str);
        let rank = |target| match rank(target, parts.stem()) {
            None if is_alone => Ok(0),
            None => {
                Err(settings.wrong("config_groups", "expressions that can be read as targets").found(target))
            }
            Some(rank) => Ok(rank),
        };
        let rank = names.map(rank).collect::<Result<Vec<u8>>>()?.into_iter().min().unwrap_or(2);
        all.push((rank, Args { bits: bits.unwrap_or(0), blocks }));
    }
    all.arrange_by_key(|(rank, _)| *rank);
    Ok(all.into_iter().map(|(_, args)| args).collect())
}

/// How near a target is to a module: it names it, a class, or another one; none if that cannot be read.
fn rank(target: &str, module: &str) -> Option<u8> {
    let named = match target.strip_prefix("re:") {
        Some(pattern) => Regex::new(&format!("^(?:{pattern})")).ok()?.is_match(module),
        None => target == module,
    };
    if named {
        return Some(0);
    }
    let class = !target.contains(['.', ':']) && target.starts_with(|c: char| c.is_ascii_uppercase());
    Some(if class { 1 } else { 2 })
}

/// Whole numbers in words.
fn words(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let codes = parts.mark;
    let part = |name: &str| format!("{}{name}", parts.weight);
    let shape = parts.need(&part("_shape"))?;
    let dims = told_dims(shape, codes)?;
    let scales = parts.need(&part("_scale"))?;
    let all = args(parts, settings)?;
    let held = codes.row_bytes();
    let packings = |args: &Args| [Packing::Stream(args.bits), Packing::Words(args.bits)];
    let fitting = |packing: &Packing| {
        // Words are whole in both.
        (1..=8).contains(&packing.bits())
            && packing.bytes(dims.columns).map(|n| n.next_multiple_of(4)) == Some(held)
    };
    let found = all.iter().find_map(|args| Some((*args, packings(args).into_iter().find(fitting)?)));
    let Some((args, packing)) = found.filter(|_| matches!(codes.dtype(), DType::I32 | DType::U32)) else {
        let bits: Vec<String> = all.iter().map(|args| args.bits.to_string()).collect();
        return Err(Error::invalid("the codes are not those of the shape that weight_shape tells")
            .tensor(&codes.name)
            .expected(format!("I32, {} codes a row, of {} bits", dims.columns, bits.join(" or ")))
            .found(format!("{} {}", codes.dtype(), codes.shape()))
            .hint("the download is incomplete, or config.json is of another model"));
    };
    let blocks = Blocks { height: Some(1), ..args.blocks };
    let half = (1u32 << (args.bits - 1)) as f32;
    let (table, zero) = match parts.find(&part("_zero_point")) {
        None => (whole(half), None),
        Some(zeros) if zeros.dtype() == DType::I8 => (whole(half), Some(Grid::new(zeros, dims, blocks)?)),
        Some(zeros) => {
            let zeros = downwards(zeros, args.bits, dims)?;
            (whole(0.0), Some(Grid::new(&zeros, dims, blocks)?))
        }
    };
    let groups = parts.find(&part("_g_idx"));
    if let Some(groups) = groups {
        fits(groups, &[DType::I32, DType::I64], &[dims.columns])?;
    }
    let scale = Grid::new(scales, dims, blocks)?;
    let parts_of =
        Coded { zero, groups: groups.cloned(), ..Coded::plain(codes, packing, held, table, dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, parts_of)
}

/// The dimensions that `weight_shape` tells, which must be those of the codes but for the row.
fn told_dims(shape: &Tensor, codes: &Tensor) -> Result<Dims> {
    let count = shape.shape().elements();
    let wrong = |found: String| {
        Error::invalid("this is not the shape of the codes")
            .tensor(&shape.name)
            .expected(format!("that of {} {}, but for the row", codes.name, codes.shape()))
            .found(found)
    };
    if !(2..=3).contains(&count) {
        return Err(wrong(format!("{count} numbers")));
    }
    let told = indices(shape, 0..count as usize)?;
    let word = |n: &i64| usize::try_from(*n).ok().filter(|n| *n > 0);
    let sizes: Option<Vec<usize>> = told.iter().map(word).collect();
    let sizes = sizes.ok_or_else(|| wrong(format!("{told:?}")))?;
    let dims = Dims::of(codes, sizes.last().copied())?;
    let same = match sizes.as_slice() {
        [rows, _] => dims.matrices == 1 && dims.rows == *rows,
        [matrices, rows, _] => dims.matrices == *matrices && dims.rows == *rows,
        _ => false,
    };
    if same { Ok(dims) } else { Err(wrong(format!("{told:?}"))) }
}

/// Pairs of E2M1 under scales of groups: NVFP4, with a scale of the whole that divides them, or MXFP4, exponents of two.
fn halves(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let codes = parts.mark;
    let scales = parts.need(&format!("{}_scale", parts.weight))?;
    // Those of which the converter keeps the blocks, too.
    let class = settings.model.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str);
    let is_kept = class.is_some_and(|class| keeps_blocks(class, parts.stem()));
    if is_kept && matches!(scales.dtype(), DType::U8 | DType::F8E8M0) {
        return mxfp4::of_codes(&parts.weight, codes, scales);
    }
    let held = Dims::of(codes, None)?;
    let dims = Dims { columns: held.columns.saturating_mul(2), ..held };
    let scale = Grid::new(scales, dims, Blocks { height: Some(1), width: None })?.exponents();
    let whole = parts.find(&format!("{}_global_scale", parts.weight));
    let all = match whole {
        Some(all) => All::Over(Grid::new(all, dims, Blocks::whole(dims))?),
        None => All::Nothing,
    };
    let parts_of =
        Coded { all, ..Coded::plain(codes, Packing::Stream(4), held.columns, e2m1(), dims, scale) };
    let tensor = unpacked(&parts.weight, &dims.torch(codes), DType::F32, parts_of)?;
    let inputs = parts.held.get(format!("{}.input_global_scale", parts.stem()).as_str()).copied();
    known(tensor, (codes, scales), ([whole, inputs], true), false)
}

/// Numbers of one byte.
fn single(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let codes = parts.need(&parts.weight)?;
    // A group of another size is told by the shapes.
    let blocks = args(parts, settings)?.into_iter().next().unwrap_or_default().blocks;
    let zeros = parts.find(&format!("{}_zero_point", parts.weight));
    let table = match (codes.dtype(), zeros) {
        (DType::F8E4M3 | DType::F8E5M2, None) => return scaled(parts, codes, parts.mark, blocks),
        (dtype, _) => bytes(dtype).ok_or_else(|| {
            Error::invalid("there are scales of weights that are not packed")
                .tensor(&codes.name)
                .expected("f8_e4m3, f8_e5m2 or i8")
                .found(dtype)
        })?,
    };
    let dims = Dims::of(codes, None)?;
    let zero = zeros.map(|zeros| Grid::new(zeros, dims, blocks)).transpose()?;
    let scale = Grid::new(parts.mark, dims, blocks)?.exponents();
    let parts_of =
        Coded { zero, ..Coded::plain(codes, Packing::Stream(8), dims.columns, table, dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, parts_of)
}

/// Zero points that are packed downwards, as a tensor of a row for each row of the weight.
fn downwards(zeros: &Tensor, bits: u32, dims: Dims) -> Result<Tensor> {
    let found = super::grid::torch(zeros);
    let columns = found.last().and_then(|n| usize::try_from(*n).ok()).unwrap_or(0);
    let lines = dims.rows.saturating_mul(bits as usize).div_ceil(32);
    match dims.matrices {
        1 => fits(zeros, &[DType::I32, DType::U32], &[lines, columns])?,
        matrices => fits(zeros, &[DType::I32, DType::U32], &[matrices, lines, columns])?,
    }
    let torch = [dims.matrices, dims.rows, columns].map(|n| n as u64);
    let torch = if dims.matrices == 1 { &torch[1..] } else { &torch[..] };
    let packed = Downwards { zeros: zeros.clone(), bits, rows: dims.rows, lines, columns };
    unpacked(&zeros.name, torch, DType::F32, packed)
}

struct Downwards {
    zeros: Tensor,
    bits: u32,
    /// Rows of a matrix, and those of words that hold them.
    rows: usize,
    lines: usize,
    columns: usize,
}

impl Downwards {
    /// The first line of words that has something of a row, and the first bit in it.
    fn place(&self, row: usize) -> (usize, usize) {
        let bit = row % self.rows * self.bits as usize;
        (row / self.rows * self.lines + bit / 32, bit % 32)
    }
}

impl Packed for Downwards {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.columns.max(1))) {
            let (line, bit) = self.place(row);
            let lines = if bit + self.bits as usize > 32 { 2 } else { 1 };
            let place = line * self.columns * 4..(line + lines) * self.columns * 4;
            with_bytes(&self.zeros, place, |bytes| {
                fields(bytes, bit, self.bits, out);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        if let Some(last) = rows.clone().last() {
            let end = (self.place(last).0 + 2).min(usize::try_from(self.zeros.shape().rows()).unwrap_or(0));
            f(&self.zeros, self.place(rows.start).0..end);
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.numbers([u64::from(self.bits), self.rows as u64, self.lines as u64, self.columns as u64]);
    }
}
