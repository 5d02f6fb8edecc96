//! What a GGUF is, in a dozen lines: what people ask first of a file. Serves `ggraft inspect`.

use super::plan::size;
use crate::chat::templates::TEMPLATES;
use crate::device;
use crate::ftype::FTYPES;
use crate::output::plan::SEARCH;
use crate::version;
use crate::vocab::Tokens;
use ggraft_formats::{Metadata, Model, Tensor};

/// Texts by which a template shows whose kind it is.
const MARKERS: [(&str, &str); 6] = [
    ("<|im_start|>", "ChatML"),
    ("<|start_header_id|>", "Llama 3"),
    ("<start_of_turn>", "Gemma"),
    ("[INST]", "Llama 2 or Mistral"),
    ("### Instruction", "Alpaca"),
    ("### User", "SOLAR"),
];

/// What is told of a model, and how it is called; nothing of it is obeyed yet.
pub fn summary(model: &Model) -> Vec<(&'static str, String)> {
    let m = &model.metadata;
    let text = |key: &str| m.str(key).map(String::from);
    let arch = m.str("general.architecture").unwrap_or_default();
    let elements: u64 = model.tensors.iter().map(|t| t.shape().elements()).sum();
    let bytes: u64 = model.tensors.iter().map(Tensor::bytes).sum();
    let context = m.u64(&format!("{arch}.context_length"));
    let rows = [
        ("name", text("general.name")),
        ("architecture", (!arch.is_empty()).then(|| arch.to_string())),
        ("parameters", (elements > 0).then(|| count(elements))),
        ("type", kind(m, bytes, elements)),
        ("size", Some(extent(bytes, model.containers.len()))),
        ("llama.cpp", Some(version::needs(m, model.tensors.iter().map(Tensor::dtype)).to_string())),
        ("context", context.map(|n| format!("{n} tokens"))),
        (
            "memory to run",
            device::cache(m)
                .map(|c| format!("{} and at most {} for {} tokens", size(bytes), size(c.bytes), c.tokens)),
        ),
        ("chat template", m.get("tokenizer.ggml.tokens").map(|_| template(m))),
        ("answers end at", end(m)),
        ("licence", text("general.license").or_else(|| Some(String::from("not told")))),
        ("importance", text("quantize.imatrix.file").or_else(|| text("ggraft.importance"))),
        ("search", text(SEARCH)),
        ("made from", sources(m)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A number of weights as people say it, and exactly.
fn count(n: u64) -> String {
    let (unit, by) = match n {
        n if n >= 1_000_000_000 => ("B", 1e9),
        n if n >= 1_000_000 => ("M", 1e6),
        _ => ("K", 1e3),
    };
    format!("{:.2} {unit} ({n})", n as f64 / by)
}

fn kind(metadata: &Metadata, bytes: u64, elements: u64) -> Option<String> {
    let number = metadata.u64("general.file_type")?;
    let ftype = FTYPES.iter().find(|f| !f.apart && u64::from(f.number) == number);
    let name = ftype.map_or_else(|| format!("file type {number}"), |f| f.name.to_string());
    let bits = bytes as f64 * 8.0 / elements.max(1) as f64;
    Some(format!("{name}, {bits:.2} bits per weight"))
}

fn extent(bytes: u64, files: usize) -> String {
    match files {
        0 | 1 => size(bytes),
        n => format!("{} in {n} files", size(bytes)),
    }
}

fn template(metadata: &Metadata) -> String {
    let Some(text) = metadata.str("tokenizer.chat_template") else { return String::from("none") };
    let named = TEMPLATES.iter().find(|t| t.text == text).map(|t| t.name);
    let like = || MARKERS.iter().find(|(marker, _)| text.contains(marker)).map(|(_, name)| *name);
    match named.or_else(like) {
        Some(name) => format!("yes, like {name}"),
        None => String::from("yes"),
    }
}

/// The text of a token that a key names.
pub fn token(metadata: &Metadata, key: &str) -> Option<String> {
    let id = metadata.u64(key)?;
    let tokens = Tokens::of(metadata).ok()??;
    Some(tokens.tokens.get(usize::try_from(id).ok()?)?.to_string())
}

fn end(metadata: &Metadata) -> Option<String> {
    let ends = ["eos", "eot", "eom"].map(|end| format!("tokenizer.ggml.{end}_token_id"));
    let told = |key: &String| Some(format!("'{}' ({})", token(metadata, key)?, metadata.u64(key)?));
    let mut all: Vec<String> = ends.iter().filter_map(told).collect();
    all.dedup();
    (!all.is_empty()).then(|| all.join(", "))
}

fn sources(metadata: &Metadata) -> Option<String> {
    let of = |i: usize| {
        let name = metadata.str(&format!("general.base_model.{i}.name"))?;
        let role = metadata.str(&format!("ggraft.source.{i}.role"));
        Some(role.map_or_else(|| name.to_string(), |role| format!("{name} ({role})")))
    };
    let all: Vec<String> = (0..).map_while(of).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_weights_read_well() {
        assert_eq!(count(8_030_261_248), "8.03 B (8030261248)");
        assert_eq!(count(3_016_448), "3.02 M (3016448)");
        assert_eq!(count(900), "0.90 K (900)");
    }
}
