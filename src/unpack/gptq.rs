//! GPTQ: `qweight` packs the codes of a column of the layer, `qzeros` the zero points of a group, `g_idx` tells the group of
//! each input. The first version stores zero points less one, so one is added in the words, as `GPTQModel` does; the
//! second stores them as they are. Codes of three bits lie across words.
//! Value: scale * (code - zero) in f32, as convert_hf_to_gguf has it; GPTQModel rounds that once to the dtype of the scales.

use super::columns::Columns;
use super::grid::torch;
use super::page::{Page, Parts};
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::Words;
use ggraft_formats::{DType, Error, Result, Tensor};
use regex::Regex;
use serde_json::Value;

pub const PAGE: Page = Page {
    names: &["gptq", "gptqmodel"],
    marks: &[(".qweight", ".weight")],
    common: &[],
    ignored: &[],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    unrotated(settings)?;
    let own = own(parts, settings)?;
    let bits = bits(settings, own)?;
    let format = settings.text("checkpoint_format")?.unwrap_or("gptq");
    if !["gptq", "gptq_v2"].contains(&format) {
        return Err(Error::unsupported(format!("GPTQ in the format {format} is not read"))
            .file(&settings.file)
            .expected("gptq or gptq_v2")
            .hint("take the checkpoint it was made from"));
    }
    let part = |name: &str| parts.need(&format!("{}.{name}", parts.stem()));
    let (zeros, scales) = (part("qzeros")?, part("scales")?);
    let order = parts.find(&format!("{}.g_idx", parts.stem()));
    let size = |t: &Tensor, i: usize| usize::try_from(torch(t).get(i).copied().unwrap_or(0)).unwrap_or(0);
    // The last words need not be full: how many inputs there are tells the order of the groups.
    let whole = size(parts.mark, 0).saturating_mul(32) / bits as usize;
    let inputs = order.map_or(whole, |order| size(order, 0));
    let (outputs, groups) = (size(scales, 1), size(scales, 0));
    if inputs == 0 || outputs == 0 || groups == 0 {
        return Err(Error::invalid("packed weights are empty")
            .tensor(&parts.mark.name)
            .found(format!("{inputs} inputs, {outputs} outputs, {groups} groups")));
    }
    let columns = Columns {
        words: Words::Down(bits),
        codes: parts.mark.clone(),
        zeros: zeros.clone(),
        lifted: format == "gptq",
        flip: 0,
        scales: scales.clone(),
        order: order.cloned(),
        group: group_size(settings, own, inputs)?,
        inputs,
        outputs,
        groups,
    };
    unpacked(&parts.weight, &[outputs as u64, inputs as u64], DType::F32, columns.checked()?)
}

/// Refuses weights that GPTQModel rotated: what goes into them has to be rotated when the model runs.
pub fn unrotated(settings: &Settings) -> Result<()> {
    let Some(rotation) = settings.text("rotation")? else { return Ok(()) };
    Err(Error::unsupported(format!("weights that GPTQModel rotated ({rotation}) are not read"))
        .file(&settings.file)
        .expected("no 'rotation'")
        .hint("take the checkpoint it was made from"))
}

/// Inputs of a group: -1 stands for all.
pub fn group_size(settings: &Settings, own: Option<&Value>, inputs: usize) -> Result<usize> {
    const KEY: &str = "group_size";
    let own = own.and_then(|own| own.get(KEY));
    match own.or(settings.json.get(KEY)).or(settings.json.get("q_group_size")).and_then(Value::as_i64) {
        Some(-1) => Ok(inputs),
        Some(n) => usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| wrong_group(settings)),
        None => Err(wrong_group(settings)),
    }
}

fn wrong_group(settings: &Settings) -> Error {
    settings.wrong("group_size", "a whole number of at least 1, or -1 for one group")
}

/// What is said of this module alone: under `dynamic`, by the first expression that its name begins with. Those of modules
/// that are not packed, which begin with `-:`, are of none that come here.
fn own<'a>(parts: &Parts<'_>, settings: &'a Settings) -> Result<Option<&'a Value>> {
    let dynamic = settings.json.get("dynamic").and_then(Value::as_object);
    for (pattern, values) in dynamic.into_iter().flatten().filter(|(pattern, _)| !pattern.starts_with("-:")) {
        let pattern = pattern.strip_prefix("+:").unwrap_or(pattern);
        let expression = Regex::new(&format!("^(?:{pattern})"))
            .map_err(|_| settings.wrong("dynamic", "expressions that can be read"))?;
        if expression.is_match(parts.stem()) {
            return Ok(Some(values));
        }
    }
    Ok(None)
}

/// Bits of a code.
fn bits(settings: &Settings, own: Option<&Value>) -> Result<u32> {
    let own = own.and_then(|own| own.get("bits")).and_then(Value::as_u64);
    match own.or(settings.number("bits")?) {
        Some(bits @ (2 | 3 | 4 | 8)) => Ok(bits as u32),
        _ => Err(settings.wrong("bits", "2, 3, 4 or 8")),
    }
}
