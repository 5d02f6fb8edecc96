//! Qwen3 Reranker: a language model that is asked whether a document answers a query, and judges by the scores of `yes`
//! and `no`. A GGUF keeps the two rows of the head for that (`cls.output.weight`), and the words of the question.
//! Specification: `Qwen3Model` of llama.cpp's converter.

use super::axes::{Piece, Step};
use super::config::Config;
use super::moved::moved;
use ggraft_formats::{Array, Checkpoint, Error, Metadata, Model, Result, Tensor, Value};

/// The two answers, the one that counts first.
const ANSWERS: [&str; 2] = ["yes", "no"];
pub const HEAD: &str = "cls.output.weight";
/// `LLAMA_POOLING_TYPE_RANK`.
const RANK: u32 = 4;

const QUESTION: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and \
    the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: \
    Given a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: \
    {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// Whether the model judges: its card, or one of its names, says so.
pub fn judges(checkpoint: &Checkpoint, config: &Config) -> Result<bool> {
    const SIGNS: [&str; 2] = ["qwen3-reranker", "qwen3-vl-reranker"];
    let card = checkpoint.text("README.md")?.unwrap_or_default().to_lowercase();
    if SIGNS.iter().any(|sign| card.contains(&format!("# {sign}"))) {
        return Ok(true);
    }
    let dir = checkpoint.place_name();
    let told =
        ["_name_or_path", "model_type"].map(|key| config.get(key).and_then(|v| v.as_str()).map(String::from));
    let names = dir.into_iter().chain(told.into_iter().flatten()).map(|name| name.to_lowercase());
    Ok(names.into_iter().any(|name| SIGNS.iter().any(|sign| name.contains(sign))))
}

/// Refuses to give back a head of which only the rows of the answers are left.
pub fn check_release(model: &Model, tied: bool) -> Result<()> {
    if tied || model.tensors.iter().all(|t| t.name != HEAD) {
        return Ok(());
    }
    Err(Error::unsupported(
        "a model that judges keeps only two rows of its head, which no checkpoint can be made of",
    )
    .tensor(HEAD)
    .hint("choose a GGUF --type"))
}

/// Writes what a runtime needs to ask.
pub fn describe(arch: &str, metadata: &mut Metadata) {
    metadata.set(&format!("{arch}.pooling_type"), RANK);
    let labels = ANSWERS.map(|word| word.into()).to_vec();
    metadata.set(&format!("{arch}.classifier.output_labels"), Value::Array(Array::Str(labels)));
    metadata.set("tokenizer.chat_template.rerank", QUESTION);
    metadata.set("tokenizer.chat_templates", Value::Array(Array::Str(vec!["rerank".into()])));
}

/// Puts the two rows of the head before the table of tokens if that is the head too, else in the place of the head.
pub fn add_head(tensors: &mut Vec<Tensor>, tied: bool, tokens: &Metadata) -> Result<()> {
    let source = if tied { "token_embd.weight" } else { "output.weight" };
    let Some(at) = tensors.iter().position(|t| t.name == source) else { return Ok(()) };
    let (row, rows) = (tensors[at].shape().row(), tensors[at].shape().rows());
    let texts = tokens.get("tokenizer.ggml.tokens").and_then(Value::as_array);
    let mut pieces = Vec::new();
    for (i, word) in (0..).zip(ANSWERS) {
        let id = match texts {
            Some(Array::Str(all)) => all.iter().position(|text| text == word).map(|id| id as u64),
            _ => None,
        };
        let id = id.filter(|id| *id < rows).ok_or_else(|| {
            Error::invalid("a model that judges needs a token for each answer")
                .tensor(source)
                .expected(format!("a token '{word}'"))
        })?;
        let step = Step { size: row, from: 1, to: 1, tensor: 0 };
        pieces.push(Piece { source: 0, from: id * row, to: i * row, steps: vec![step] });
    }
    let head = moved(HEAD, &[ANSWERS.len() as u64, row], vec![tensors[at].clone()], &pieces)?;
    match tied {
        true => tensors.insert(at, head),
        false => tensors[at] = head,
    }
    Ok(())
}
