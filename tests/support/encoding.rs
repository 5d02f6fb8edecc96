//! Small tokenizers of encoders: WordPiece as BERT has it, unigram as XLM-RoBERTa and T5 have it.
//! Specification: the `tokenizers` crate's serialized form; `sentencepiece_model.proto`.

use super::tokenizer::{unigram, write_json};
use super::vocabulary::{CONTROL, NORMAL, UNKNOWN};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Whose tokenizer it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bert,
    Xlm,
    T5,
    /// SentencePiece's file alone.
    Pocket,
}

/// Words and letters of both places in a word.
fn letters(first: &str, inner: &str) -> Vec<String> {
    const WORDS: [&str; 6] = ["the", "of", "and", "king", "book", "water"];
    let all = || ('a'..='z').chain('0'..='9').chain(".,!?-".chars());
    let words = WORDS.iter().map(|word| format!("{first}{word}"));
    let begin = all().map(|letter| format!("{first}{letter}"));
    let inside = all().map(|letter| format!("{inner}{letter}"));
    words.chain(begin).chain(inside).collect()
}

/// Writes the tokenizer's files, and gives the number of tokens.
pub fn write(kind: Kind, dir: &Path) -> usize {
    match kind {
        Kind::Bert => bert(dir),
        Kind::Xlm => xlm(dir),
        Kind::T5 => t5(dir),
        Kind::Pocket => pocket(dir),
    }
}

fn special(id: usize, text: &str) -> Value {
    json!({"id": id, "content": text, "single_word": false, "lstrip": text == "<mask>", "rstrip": false,
        "normalized": false, "special": true})
}

/// What stands around a text, and around a pair of them.
fn around(before: Option<(&str, usize)>, after: (&str, usize), between: &[&str]) -> Value {
    let token = |text: &str, kind: u32| json!({"SpecialToken": {"id": text, "type_id": kind}});
    let sequence = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    let begin = before.map(|(text, _)| token(text, 0));
    let single: Vec<Value> = begin.clone().into_iter().chain([sequence("A", 0), token(after.0, 0)]).collect();
    let middle = between.iter().map(|text| token(text, 0));
    let end = [sequence("B", 1), token(after.0, 1)];
    let pair: Vec<Value> = begin.into_iter().chain([sequence("A", 0)]).chain(middle).chain(end).collect();
    let known =
        |(text, id): (&str, usize)| (text.to_string(), json!({"id": text, "ids": [id], "tokens": [text]}));
    let tokens: Map<String, Value> = before.into_iter().chain([after]).map(known).collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

/// `added_tokens_decoder` and the names of the special tokens.
fn config(class: &str, added: &[Value], named: Value) -> Value {
    let mut config = named;
    let listed = added.iter().cloned().map(|mut token| {
        let id = token.as_object_mut().and_then(|t| t.shift_remove("id")).expect("an id");
        (id.to_string(), token)
    });
    config["added_tokens_decoder"] = Value::Object(listed.collect());
    config["tokenizer_class"] = class.into();
    config["model_max_length"] = 512.into();
    config
}

fn bert(dir: &Path) -> usize {
    const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let tokens: Vec<String> = SPECIAL.map(String::from).into_iter().chain(letters("", "##")).collect();
    let vocab: Map<String, Value> = tokens.iter().enumerate().map(|(id, t)| (t.clone(), id.into())).collect();
    let added: Vec<Value> = SPECIAL.iter().enumerate().map(|(id, text)| special(id, text)).collect();
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": around(Some(("[CLS]", 2)), ("[SEP]", 3), &["[SEP]"]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    write_json(&dir.join("tokenizer.json"), &json);
    std::fs::write(dir.join("vocab.txt"), tokens.join("\n") + "\n").unwrap();
    let named = json!({"cls_token": "[CLS]", "do_lower_case": true, "mask_token": "[MASK]", "pad_token": "[PAD]",
        "sep_token": "[SEP]", "unk_token": "[UNK]", "clean_up_tokenization_spaces": true});
    write_json(&dir.join("tokenizer_config.json"), &config("BertTokenizer", &added, named));
    tokens.len()
}

/// Ordinary pieces with the logarithms of their shares.
fn pieces() -> Vec<(String, f32)> {
    let all = [String::from("▁")].into_iter().chain(letters("▁", ""));
    all.enumerate().map(|(i, text)| (text, -3.0 - i as f32 / 16.0)).collect()
}

fn unigram_json(vocab: &[(String, f32)], unknown: usize, added: &[Value], around: Value) -> Value {
    let space = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": around, "decoder": space,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": false},
    })
}

/// SentencePiece counts `<unk>`, `<s>`, `</s>`; the model has `<s>`, `<pad>`, `</s>`, `<unk>`, and `<mask>` last.
fn xlm(dir: &Path) -> usize {
    let ordinary = pieces();
    let own = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
    std::fs::write(dir.join("sentencepiece.bpe.model"), unigram(&all(&own, &ordinary))).unwrap();
    let first = ["<s>", "<pad>", "</s>", "<unk>"].map(|text| (text.to_string(), 0.0));
    let vocab: Vec<_> = first.into_iter().chain(ordinary).chain([(String::from("<mask>"), 0.0)]).collect();
    let named = [(0, "<s>"), (1, "<pad>"), (2, "</s>"), (3, "<unk>"), (vocab.len() - 1, "<mask>")];
    let added: Vec<Value> = named.iter().map(|(id, text)| special(*id, text)).collect();
    let around = around(Some(("<s>", 0)), ("</s>", 2), &["</s>", "</s>"]);
    write_json(&dir.join("tokenizer.json"), &unigram_json(&vocab, 3, &added, around));
    let named = json!({"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>",
        "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "clean_up_tokenization_spaces": true});
    write_json(&dir.join("tokenizer_config.json"), &config("XLMRobertaTokenizer", &added, named));
    vocab.len()
}

fn t5(dir: &Path) -> usize {
    let own = [("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN)];
    let ordinary = pieces();
    std::fs::write(dir.join("spiece.model"), unigram(&all(&own, &ordinary))).unwrap();
    let first = own.map(|(text, _)| (text.to_string(), 0.0));
    let vocab: Vec<_> = first.into_iter().chain(ordinary).collect();
    let added: Vec<Value> = own.iter().enumerate().map(|(id, (text, _))| special(id, text)).collect();
    let around = around(None, ("</s>", 1), &["</s>"]);
    write_json(&dir.join("tokenizer.json"), &unigram_json(&vocab, 2, &added, around));
    let named = json!({"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0});
    write_json(&dir.join("tokenizer_config.json"), &config("T5Tokenizer", &added, named));
    vocab.len()
}

fn pocket(dir: &Path) -> usize {
    let own = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
    let pieces = all(&own, &pieces());
    std::fs::write(dir.join("tokenizer.model"), unigram(&pieces)).unwrap();
    pieces.len()
}

/// The pieces of a SentencePiece model: its own tokens, then ordinary ones.
fn all(own: &[(&str, i32)], ordinary: &[(String, f32)]) -> Vec<(String, f32, i32)> {
    let own = own.iter().map(|(text, kind)| (text.to_string(), 0.0, *kind));
    own.chain(ordinary.iter().map(|(text, score)| (text.clone(), *score, NORMAL))).collect()
}
