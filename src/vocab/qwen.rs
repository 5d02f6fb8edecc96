//! QWen's `qwen.tiktoken` -> the tokens and merges of a "gpt2" vocabulary: a line a token, its bytes in base64 and its rank; behind
//! them special tokens that no file lists. Serves the door.
//! Specification: `tokenization_qwen.py` as published with Qwen-7B; `_set_vocab_qwen` of llama.cpp's converter.

use super::files::Files;
use super::special::Special;
use super::table::{self, MAX_TOKENS, Table};
use super::{Options, Tokenizer, bpe, kinds, template};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bstr::{BString, ByteSlice};
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

pub const FILE: &str = "qwen.tiktoken";

/// The special tokens, the first of which begins and ends texts; so many `<|extra_N|>` follow.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const EXTRA: usize = 205;

/// Bytes of the longest token that may be.
const LONGEST: usize = 1024;

/// Whether it is the only tokenizer there.
pub fn is_alone(files: &Files) -> bool {
    let has = |name: &str| files.checkpoint.has(name);
    files.tokenizer.is_none() && !has(super::files::MODEL) && has(FILE)
}

/// Writes the vocabulary, for a model of so many rows.
pub fn write(
    files: &Files,
    config: &Value,
    options: &Options,
    size: Option<usize>,
    out: &mut Tokenizer,
) -> Result<()> {
    let all = read(files)?;
    let held = all.len() + SPECIAL.len() + EXTRA;
    let rows = table::rows(size, held, held, &files.path(FILE))?;
    let mut table = Table::holes(rows, false);
    for (rank, bytes) in all.iter().enumerate() {
        table.set(rank, bpe::letters(bytes), kinds::NORMAL, 0.0);
    }
    let extra = (0..EXTRA).map(|n| format!("<|extra_{n}|>"));
    for (id, text) in (all.len()..).zip(SPECIAL.iter().map(ToString::to_string).chain(extra)) {
        table.set(id, text, kinds::CONTROL, 0.0);
    }
    table.finish(&files.path(FILE))?;
    table.write("gpt2", options.pre.as_deref().unwrap_or("qwen2"), &mut out.metadata);
    out.metadata.set("tokenizer.ggml.merges", merges(files, &all)?);
    let mut special = Special::read(files, config, &[], None, false, &mut out.warnings);
    for kind in ["bos", "eos", "unk"] {
        special.id(kind, &all.len().into(), None, &mut out.warnings);
    }
    special.write(&mut out.metadata, &mut out.warnings);
    template::write(files, out)
}

/// The bytes of each token, by rank.
fn read(files: &Files) -> Result<Vec<Vec<u8>>> {
    let Some(file) = files.checkpoint.bytes(FILE)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for line in file.bytes().lines().filter(|line| !line.trim_ascii().is_empty()) {
        let token = line.to_str().ok().and_then(|line| {
            let (bytes, rank) = line.trim().split_once(' ')?;
            Some((STANDARD.decode(bytes).ok()?, rank.parse::<usize>().ok()?))
        });
        match token.filter(|(bytes, rank)| *rank == all.len() && (1..=LONGEST).contains(&bytes.len())) {
            Some((bytes, _)) => all.push(bytes),
            None => {
                let place = format!("line {}", all.len() + 1);
                return Err(files.wrong(
                    FILE,
                    &place,
                    "bytes in base64 and their rank, in order of rank",
                    &line.to_str_lossy().into(),
                ));
            }
        }
        if all.len() >= MAX_TOKENS {
            return Err(Error::invalid("too many tokens").file(&files.path(FILE)));
        }
    }
    Ok(all)
}

/// The two tokens that each longer one is made of in the end, where those of lower ranks are merged first.
fn merges(files: &Files, tokens: &[Vec<u8>]) -> Result<Vec<BString>> {
    let ranks: HashMap<&[u8], usize> = tokens.iter().zip(0..).map(|(t, rank)| (t.as_slice(), rank)).collect();
    let mut all = Vec::with_capacity(tokens.len());
    for (rank, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() > 1) {
        let ends = merged(&ranks, token, rank);
        let [middle] = ends.as_slice() else {
            return Err(Error::invalid("no two tokens of lower ranks make this one")
                .file(&files.path(FILE))
                .found(format!("the token of rank {rank}"))
                .hint("take the file from the model's repository again"));
        };
        let (left, right) = token.split_at(*middle);
        all.push(BString::from(format!("{} {}", bpe::letters(left), bpe::letters(right))));
    }
    Ok(all)
}

/// Where `token` is still cut when all merges of ranks below `rank` are done, the lowest and of those the first one first.
fn merged(ranks: &HashMap<&[u8], usize>, token: &[u8], rank: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (1..token.len()).collect();
    loop {
        let start = |i: usize| if i == 0 { 0 } else { cuts[i - 1] };
        let end = |i: usize| cuts.get(i + 1).copied().unwrap_or(token.len());
        let of = |i: usize| ranks.get(&token[start(i)..end(i)]).map(|rank| (*rank, i));
        match (0..cuts.len()).filter_map(of).min().filter(|(lowest, _)| *lowest < rank) {
            Some((_, i)) => _ = cuts.remove(i),
            None => return cuts,
        }
    }
}
