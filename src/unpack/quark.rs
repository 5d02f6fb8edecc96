//! AMD's Quark, as `export_safetensors` writes real weights. FP8: numbers of one byte under a scale of all, of rows or blocks.
//! FP4: two codes of E2M1 in a byte, exponents of groups. Int8 of all or of rows lies row by row; int4 and int8 of groups
//! lie input by input as AWQ has them, int4 in words whose order `pack_method` tells. The config tells which of these.
//! Value: (code - zero) * scale in f32, as Quark's `dequantize`.

use super::coded::Coded;
use super::columns::Columns;
use super::fp8::scaled;
use super::grid::{Blocks, Dims, Grid, torch};
use super::page::{Page, Parts};
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::Words;
use ggraft_formats::packed::{Packing, bytes, e2m1};
use ggraft_formats::{DType, Error, Result, Tensor};
use serde_json::Value;

pub const PAGE: Page = Page {
    names: &["quark"],
    marks: &[(".weight_scale", ".weight")],
    common: &[],
    ignored: &[
        ".input_scale",
        ".input_zero_point",
        ".output_scale",
        ".output_zero_point",
        ".k_scale",
        ".v_scale",
        ".q_scale",
    ],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

/// What the config says of the weights of a module.
struct Spec<'a> {
    dtype: &'a str,
    scheme: &'a str,
}

impl<'a> Spec<'a> {
    /// The settings of the module by its name, else of the first pattern that it fits, else of its type, else those of all.
    /// Specification: `model_transformation.py` of Quark 0.13.
    fn of(parts: &Parts<'_>, settings: &'a Settings) -> Result<Spec<'a>> {
        let layers = settings.json.get("layer_quant_config").and_then(Value::as_object);
        let by_pattern = || {
            layers.into_iter().flatten().find(|(pattern, _)| fits(pattern, parts.stem())).map(|found| found.1)
        };
        let named = layers.and_then(|layers| layers.get(parts.stem())).or_else(by_pattern);
        let kind = if parts.stem().ends_with("embed_tokens") { "Embedding" } else { "Linear" };
        let types = settings.json.get("layer_type_quant_config");
        let of_type = types.and_then(|types| types.get(kind)).filter(|config| !config.is_null());
        let config = named.or(of_type).or(settings.json.get("global_quant_config"));
        let weight = config.and_then(|config| config.get("weight"));
        // Of two stages the second packs the scales of the first.
        let weight = match weight.and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => Some(only),
            Some(_) => None,
            None => weight,
        };
        let text = |key: &str| weight.and_then(|w| w.get(key)).and_then(Value::as_str);
        match (text("dtype"), text("qscheme")) {
            (Some(dtype), Some(scheme)) => Ok(Spec { dtype, scheme }),
            _ => Err(settings.wrong("global_quant_config", "dtype and qscheme of weights, in one stage")),
        }
    }

    fn refused(&self, parts: &Parts<'_>) -> Error {
        Error::unsupported(format!("Quark's {} {} is not read", self.dtype, self.scheme))
            .tensor(&parts.weight)
            .expected("fp8, fp4 of groups, int8, uint8, or int4 and uint4 of groups")
            .hint("take the checkpoint it was made from")
    }
}

/// Whether a pattern of Quark names a module: one of Python's `fnmatch`, which has no `**`.
fn fits(pattern: &str, module: &str) -> bool {
    let mut pattern = pattern.to_string();
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(module))
}

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let spec = Spec::of(parts, settings)?;
    let beside = |name: &str| parts.held.contains_key(format!("{}.{name}", parts.stem()).as_str());
    if beside("input_rotation") || beside("input_prescale") || beside("weight_scale_2") {
        return Err(Error::unsupported(
            "Quark's weights that are rotated, or scaled in two stages, are not read",
        )
        .tensor(&parts.weight)
        .hint("take the checkpoint it was made from"));
    }
    let codes = parts.need(&parts.weight)?;
    let zero = parts.find(&format!("{}_zero_point", parts.weight));
    match (spec.dtype, spec.scheme) {
        ("fp8_e4m3" | "fp8_e5m2", _) => scaled(parts, codes, parts.mark, Blocks::default()),
        ("fp4", "per_group") => halves(parts, codes),
        ("int8" | "uint8", "per_tensor" | "per_channel") => bytewise(parts, codes, zero),
        ("int8" | "uint8" | "int4" | "uint4", "per_group") => grouped(parts, settings, &spec, zero),
        _ => Err(spec.refused(parts)),
    }
}

fn halves(parts: &Parts<'_>, codes: &Tensor) -> Result<Tensor> {
    let held = Dims::of(codes, None)?;
    let dims = Dims { columns: held.columns.saturating_mul(2), ..held };
    let scale = Grid::new(parts.mark, dims, Blocks { height: Some(1), width: None })?.exponents();
    let coded = Coded::plain(codes, Packing::Stream(4), held.columns, e2m1(), dims, scale);
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)
}

fn bytewise(parts: &Parts<'_>, codes: &Tensor, zero: Option<&Tensor>) -> Result<Tensor> {
    let table = match codes.dtype() {
        dtype @ (DType::I8 | DType::U8) => bytes(dtype),
        _ => None,
    };
    let table = table.ok_or_else(|| {
        Error::invalid("these are no packed weights of Quark")
            .tensor(&codes.name)
            .expected("i8 or u8")
            .found(codes.dtype())
    })?;
    let dims = Dims::of(codes, None)?;
    let zero = zero.map(|zero| Grid::new(zero, dims, Blocks::default())).transpose()?;
    let scale = Grid::new(parts.mark, dims, Blocks::default())?;
    let coded = Coded { zero, ..Coded::plain(codes, Packing::Stream(8), dims.columns, table, dims, scale) };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)
}

fn grouped(parts: &Parts<'_>, settings: &Settings, spec: &Spec<'_>, zero: Option<&Tensor>) -> Result<Tensor> {
    let codes = parts.need(&parts.weight)?;
    let zeros = match zero {
        Some(zeros) => zeros,
        None => parts.need(&format!("{}_zero_point", parts.weight))?,
    };
    let scales = parts.mark;
    let size = |t: &Tensor, i: usize| usize::try_from(torch(t).get(i).copied().unwrap_or(0)).unwrap_or(0);
    let (inputs, outputs, groups) = (size(codes, 0), size(scales, 1), size(scales, 0));
    if inputs == 0 || outputs == 0 || groups == 0 || !inputs.is_multiple_of(groups) {
        return Err(Error::invalid("the scales do not fit the weights")
            .tensor(&scales.name)
            .expected(format!("groups of {inputs} inputs"))
            .found(format!("{:?}", torch(scales)))
            .hint("the download is incomplete"));
    }
    let method = settings.json.get("export").and_then(|export| export.get("pack_method"));
    let (words, flip) = match (spec.dtype, method.and_then(Value::as_str).unwrap_or("reorder")) {
        ("int8", _) => (Words::Bytes, 0x80),
        ("uint8", _) => (Words::Bytes, 0),
        (dtype, "reorder") => (Words::Awq, if dtype == "int4" { 8 } else { 0 }),
        (dtype, "order") => (Words::Along, if dtype == "int4" { 8 } else { 0 }),
        _ => return Err(settings.wrong("export", "a pack_method of reorder or order")),
    };
    let columns = Columns {
        words,
        codes: codes.clone(),
        zeros: zeros.clone(),
        lifted: false,
        flip,
        scales: scales.clone(),
        order: None,
        group: inputs / groups,
        inputs,
        outputs,
        groups,
    };
    unpacked(&parts.weight, &[outputs as u64, inputs as u64], DType::F32, columns.checked()?)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (pattern, module, is) in [
            ("*", "model.layers.0.mlp.up_proj", true),
            ("model.layers.[0-3].*", "model.layers.2.mlp.up_proj", true),
            ("model.layers.[!0-3].*", "model.layers.2.mlp.up_proj", false),
            ("model.layers.?.mlp", "model.layers.7.mlp", true),
            ("model.layers.?.mlp", "model.layers.17.mlp", false),
            ("model.layers.0", "modelxlayersx0", false),
            ("a[]]b", "a]b", true),
            ("model.layers.**.mlp", "model.layers.7.mlp", true),
        ] {
            assert_eq!(fits(pattern, module), is, "{pattern} {module}");
        }
    }
}
