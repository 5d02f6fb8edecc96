//! NVIDIA's ModelOpt. FP8: numbers of one byte under a scale of all, of rows or blocks. NVFP4: two codes of E2M1 in a byte,
//! E4M3 scales of groups of 16, which `weight_scale_2` multiplies. Mixed checkpoints have both, module by module.
//! Value: code * scale in f32, as convert_hf_to_gguf has FP8; of NVFP4 code * (scale * scale_2), as `NVFP4QTensor`.

use super::coded::{All, Bias, Coded};
use super::fp8::scaled;
use super::grid::{Blocks, Dims, Grid};
use super::halves;
use super::page::{Page, Parts};
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::{Packing, Values, e2m1};
use ggraft_formats::{DType, Error, Result, Tensor};
use serde_json::Value;

pub const PAGE: Page = Page {
    names: &["modelopt", "modelopt_fp4"],
    marks: &[(".weight_scale", ".weight")],
    common: &[],
    ignored: &[".input_scale", ".k_scale", ".v_scale", ".q_scale", ".output_scale", ".kv_scale"],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    let codes = parts.need(&parts.weight)?;
    let balanced = parts.held.contains_key(format!("{}.pre_quant_scale", parts.stem()).as_str());
    let floats = matches!(parts.mark.dtype(), DType::F8E4M3 | DType::U8);
    if balanced || codes.dtype() == DType::U8 && !floats {
        let method = settings.text("quant_algo")?.unwrap_or("an unnamed algorithm");
        return Err(Error::unsupported(format!("ModelOpt's {method} is not read"))
            .file(&settings.file)
            .tensor(&codes.name)
            .expected("FP8, NVFP4 or MXFP4")
            .hint("take the checkpoint it was made from"));
    }
    if codes.dtype() != DType::U8 {
        return scaled(parts, codes, parts.mark, Blocks::default());
    }
    let held = Dims::of(codes, None)?;
    let dims = Dims { columns: held.columns.saturating_mul(2), ..held };
    let scale = Grid::new(parts.mark, dims, Blocks { height: Some(1), width: None })?.exponents();
    let whole = parts.find(&format!("{}_scale_2", parts.weight));
    let all = match whole {
        Some(all) => All::Times(Grid::new(all, dims, Blocks::whole(dims))?),
        None => All::Nothing,
    };
    let mut table = e2m1();
    // ModelOpt's zero has no sign.
    table[8] = 0.0;
    let coded = Coded {
        codes: codes.clone(),
        values: Values::new(Packing::Stream(4), table),
        stride: held.columns,
        dims,
        scale,
        all,
        zero: None,
        bias: Bias::Nothing,
        groups: None,
    };
    let tensor = unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)?;
    let own = [whole, parts.held.get(format!("{}.input_scale", parts.stem()).as_str()).copied()];
    halves::known(tensor, (codes, parts.mark), (own, false), keeps_inputs(parts.stem(), settings))
}

/// Whether the activations of a module are said to keep more than four bits: by its own entry, by that of what it is part of,
/// or of all.
fn keeps_inputs(stem: &str, settings: &Settings) -> bool {
    const WIDE: &str = "W4A16_NVFP4";
    let text = |name: &str| name.replace("language_model.", "");
    let stem = stacked(stem).unwrap_or_else(|| text(stem));
    let own = |name: &str| name == stem || stem.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let layers = settings.of_modules("quantized_layers").and_then(Value::as_object).into_iter().flatten();
    let layers = layers.filter(|(_, entry)| entry.is_object()).map(|(name, entry)| (text(name), entry));
    let nearest = layers.filter(|(name, _)| own(name)).max_by_key(|(name, _)| name.len());
    let algorithm = match nearest {
        Some((_, entry)) => entry.get("quant_algo"),
        None => settings.of_modules("quant_algo"),
    };
    algorithm.and_then(Value::as_str) == Some(WIDE)
}

/// The name by which the settings of experts that are stacked are asked for: one of all, so that an entry of a single expert
/// says nothing.
/// Specification: `ModelBase._flush_nvfp4_experts` of llama.cpp's converter.
fn stacked(stem: &str) -> Option<String> {
    let (before, one) = stem.rsplit_once(".experts.")?;
    let (expert, matrix) = one.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let known = ["gate_proj", "up_proj", "down_proj"].contains(&matrix) && is_number(expert);
    let layer = before.split(".layers.").nth(1)?.split('.').next().filter(|layer| is_number(layer))?;
    known.then(|| format!("model.layers.{layer}.mlp.experts.{matrix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_of_experts_are_those_of_their_stack() {
        let says = |layers: Value| {
            let json = json!({"quant_algo": "NVFP4", "quantized_layers": layers});
            let settings = Settings { json, ..Settings::default() };
            keeps_inputs("model.language_model.layers.3.mlp.experts.7.up_proj", &settings)
        };
        let wide = json!({"quant_algo": "W4A16_NVFP4"});
        assert!(says(json!({"model.layers.3.mlp.experts": wide})));
        assert!(says(json!({"model.language_model.layers.3.mlp.experts.up_proj": wide})));
        assert!(!says(json!({"model.layers.3.mlp.experts.7.up_proj": wide})));
        assert!(!says(json!({"model.layers.3.mlp.experts.7": wide})));
    }
}
