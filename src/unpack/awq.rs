//! AWQ (gemm): a word of `qweight` has the codes of eight neighbouring outputs for one input, in the order 0 2 4 6 1 3 5 7,
//! a word of `qzeros` their zero points.
//! Value: (code - zero) * scale, rounded once to the dtype of the scales: `dequantize_gemm` of AutoAWQ.

use super::columns::Columns;
use super::gptq::{group_size, unrotated};
use super::grid::torch;
use super::page::{Page, Parts};
use super::rows::unpacked;
use super::settings::Settings;
use ggraft_formats::packed::Words;
use ggraft_formats::{Error, Result, Tensor};

pub const PAGE: Page = Page {
    names: &["awq"],
    marks: &[(".qweight", ".weight")],
    common: &[],
    ignored: &[],
    weights: |parts, settings| Ok(vec![weight(parts, settings)?]),
};

fn weight(parts: &Parts<'_>, settings: &Settings) -> Result<Tensor> {
    unrotated(settings)?;
    let bits = settings.number("bits")?.or(settings.number("w_bit")?);
    if bits != Some(4) {
        return Err(settings.wrong("bits", "4"));
    }
    // GPTQModel has two more words for what AutoAWQ calls the version.
    let others = [settings.text("checkpoint_format")?, settings.text("format")?].map(|format| {
        format.filter(|format| format.starts_with("gemv") || ["llm-awq", "marlin"].contains(format))
    });
    let version = others.into_iter().flatten().next().or(settings.text("version")?).unwrap_or("gemm");
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(Error::unsupported(format!("AWQ in the version {version} is not read"))
            .file(&settings.file)
            .expected("gemm")
            .hint("take the checkpoint it was made from"));
    }
    let part = |name: &str| parts.need(&format!("{}.{name}", parts.stem()));
    let (zeros, scales) = (part("qzeros")?, part("scales")?);
    let size = |t: &Tensor, i: usize| usize::try_from(torch(t).get(i).copied().unwrap_or(0)).unwrap_or(0);
    let (inputs, outputs, groups) = (size(parts.mark, 0), size(scales, 1), size(scales, 0));
    if inputs == 0 || outputs == 0 || groups == 0 {
        return Err(Error::invalid("packed weights are empty")
            .tensor(&parts.mark.name)
            .found(format!("{inputs} inputs, {outputs} outputs, {groups} groups")));
    }
    let columns = Columns {
        words: Words::Awq,
        codes: parts.mark.clone(),
        zeros: zeros.clone(),
        lifted: false,
        flip: 0,
        scales: scales.clone(),
        order: None,
        group: group_size(settings, None, inputs)?,
        inputs,
        outputs,
        groups,
    };
    unpacked(&parts.weight, &[outputs as u64, inputs as u64], scales.dtype(), columns.checked()?)
}
