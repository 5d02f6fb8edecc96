//! Random tokenizers: vocabularies of `fixtures/vocab` cut short, SentencePiece and byte-level BPE, with tokens added in
//! `tokenizer.json`, `tokenizer_config.json` and `added_tokens.json`, which may contradict each other. Number `i` is the
//! same files wherever it is made. `fixtures/make_tokenizer_goldens.py` records what transformers makes of them.

use super::rng::{named, splitmix64};
use super::tokenizer::{byte_level_bpe_of, sentencepiece_of, write_json};
use super::vocabulary::{BYTE, NORMAL, UNKNOWN, Vocabulary};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;

pub const COUNT: usize = 300;

const SOURCES: [&str; 6] = ["llama-spm", "gpt-2", "llama-bpe", "phi-3", "qwen2", "deepseek-llm"];

/// What is added; none of it overlaps another in a text.
const WORDS: [&str; 16] = [
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "[TOOL]",
    "<pad>",
    "<extra_0>",
    "<extra_1>",
    "{{name}}",
    "한국어",
    "<|tool|>",
    "##end##",
    "<a b>",
    "~x~",
    "<mask>",
    "@user",
];

const TEXTS: [&str; 5] = [
    "Hello world, this is a test of 12345 tokens.",
    "  leading spaces and\nnew lines\n\n\ttabs",
    "대한민국의 수도는 서울입니다.",
    "fn main() { println!(\"{}\", 1 + 2); }",
    "naïve café — 東京 😀",
];

/// Draws numbers, one after the other.
struct Dice {
    seed: u64,
    next: u64,
}

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        (splitmix64(self.seed, self.next) % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The six vocabularies, each read once.
pub struct Sources(Vec<Vocabulary>);

impl Sources {
    pub fn load() -> Sources {
        Sources(SOURCES.iter().map(|name| Vocabulary::load(name)).collect())
    }
}

/// A token that is added somewhere.
#[derive(Clone)]
struct Added {
    content: String,
    id: usize,
    special: bool,
    normalized: bool,
    reach: Option<&'static str>,
}

impl Added {
    fn json(&self) -> Value {
        let mut json = json!({"content": self.content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": self.normalized, "special": self.special});
        if let Some(key) = self.reach {
            json[key] = json!(true);
        }
        json
    }
}

/// Writes the files of tokenizer number `i` into `dir`, but no config; gives the number of ids and the texts.
pub fn write(sources: &Sources, i: usize, dir: &Path) -> (usize, Vec<String>) {
    let mut dice = Dice { seed: named(41, &format!("tokenizer {i}")), next: 0 };
    let vocabulary = cut(&sources.0[i % SOURCES.len()], &mut dice);
    let n = vocabulary.tokens.len();
    let added = added(&vocabulary, &mut dice);
    let mut json = if vocabulary.is_sentencepiece() {
        if dice.one_in(2) {
            std::fs::write(dir.join("tokenizer.model"), sentencepiece_of(&vocabulary)).unwrap();
        }
        fallback(&vocabulary, &mut dice)
    } else {
        let mut json = byte_level_bpe_of(&vocabulary);
        json["model"]["ignore_merges"] = json!(dice.one_in(3));
        json
    };
    let places = place(&added, &mut dice);
    let mut listed: Vec<Value> = specials(&vocabulary);
    listed.extend(places.tokenizer.iter().map(|token| {
        let mut entry = token.json();
        entry["id"] = json!(token.id);
        entry
    }));
    json["added_tokens"] = listed.into();
    post_process(&mut json, &vocabulary, &mut dice);
    write_json(&dir.join("tokenizer.json"), &json);
    write_config(&places, &vocabulary, &added, &mut dice, dir);
    let texts = texts(&added, &mut dice);
    write_json(&dir.join("texts.json"), &json!(texts));
    (n + 2 * added.len() + 8, texts)
}

/// The first tokens of a vocabulary, and of a SentencePiece one the single characters too.
fn cut(whole: &Vocabulary, dice: &mut Dice) -> Vocabulary {
    let ordinary = |id: &usize| {
        let kind = whole.types[*id];
        [NORMAL, BYTE, UNKNOWN].contains(&kind) || *id < 3 && whole.is_sentencepiece()
    };
    let first = 400 + dice.below(2600);
    let single = |id: &usize| whole.is_sentencepiece() && whole.tokens[*id].chars().count() == 1;
    let ids: Vec<usize> =
        (0..whole.tokens.len()).filter(ordinary).filter(|id| *id < first || single(id)).collect();
    let tokens: Vec<String> = ids.iter().map(|id| whole.tokens[*id].clone()).collect();
    let known: HashSet<&str> = tokens.iter().map(String::as_str).collect();
    let kept = |merge: &&String| {
        let (left, right) = merge.split_once(' ').expect("two parts");
        [left, right, &format!("{left}{right}")].iter().all(|part| known.contains(part))
    };
    Vocabulary {
        name: whole.name.clone(),
        types: ids.iter().map(|id| whole.types[*id]).collect(),
        scores: ids.iter().filter_map(|id| whole.scores.get(*id).copied()).collect(),
        merges: whole.merges.iter().filter(kept).cloned().collect(),
        bos: None,
        eos: None,
        add_bos: None,
        tokens,
    }
}

fn added(vocabulary: &Vocabulary, dice: &mut Dice) -> Vec<Added> {
    let mut words: Vec<String> = WORDS.iter().map(|w| w.to_string()).collect();
    for at in (1..words.len()).rev() {
        words.swap(at, dice.below(at + 1));
    }
    words.truncate(2 + dice.below(6));
    // One that the vocabulary has as an ordinary token.
    if dice.one_in(3) {
        let long = |t: &&String| t.len() > 4 && t.bytes().all(|b| b.is_ascii_lowercase());
        words.extend(vocabulary.tokens.iter().filter(long).nth(dice.below(20)).cloned());
    }
    let place = |(i, content): (usize, String)| {
        let special = dice.one_in(2);
        let reach = ["lstrip", "rstrip", "single_word"][dice.below(3)];
        let reach = dice.one_in(16).then_some(reach);
        let normalized = !special && dice.one_in(4);
        Added { content, id: vocabulary.tokens.len() + i, special, normalized, reach }
    };
    words.into_iter().enumerate().map(place).collect()
}

/// `<unk>`, `<s>` and `</s>` of a SentencePiece vocabulary.
fn specials(vocabulary: &Vocabulary) -> Vec<Value> {
    let special = |id: usize| {
        json!({"id": id, "content": vocabulary.tokens[id], "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true})
    };
    if vocabulary.is_sentencepiece() { (0..3).map(special).collect() } else { Vec::new() }
}

/// What each file says.
struct Places {
    tokenizer: Vec<Added>,
    decoder: Option<Vec<Added>>,
    legacy: Option<Vec<Added>>,
}

/// Gives every token to one or more files; some say another id or other flags.
fn place(added: &[Added], dice: &mut Dice) -> Places {
    let contradict = dice.one_in(2);
    let mut one = |n: usize| -> Vec<Added> {
        let mut chosen: Vec<Added> = added.iter().filter(|_| !dice.one_in(n)).cloned().collect();
        for token in &mut chosen {
            if contradict && dice.one_in(5) {
                token.id += 1 + dice.below(6);
            }
            if contradict && dice.one_in(5) {
                token.special = !token.special;
            }
        }
        // No file gives one id to two tokens.
        let mut seen = HashSet::new();
        chosen.retain(|token| seen.insert(token.id));
        chosen
    };
    let tokenizer = one(3);
    let (decoder, legacy) = (one(3), one(2));
    let (with_decoder, with_legacy) = (!dice.one_in(3), dice.one_in(2));
    Places { tokenizer, decoder: with_decoder.then_some(decoder), legacy: with_legacy.then_some(legacy) }
}

fn write_config(places: &Places, vocabulary: &Vocabulary, added: &[Added], dice: &mut Dice, dir: &Path) {
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    if vocabulary.is_sentencepiece() {
        config.insert("bos_token".into(), "<s>".into());
        config.insert("unk_token".into(), "<unk>".into());
    }
    if dice.one_in(2) {
        config.insert("eos_token".into(), added[dice.below(added.len())].content.clone().into());
    }
    if dice.one_in(4) {
        config.insert("pad_token".into(), added[dice.below(added.len())].content.clone().into());
    }
    for key in ["add_bos_token", "add_eos_token"] {
        if dice.one_in(3) {
            config.insert(key.into(), dice.one_in(2).into());
        }
    }
    if let Some(decoder) = &places.decoder {
        let entries = decoder.iter().map(|token| (token.id.to_string(), token.json()));
        config.insert("added_tokens_decoder".into(), Value::Object(entries.collect()));
    }
    write_json(&dir.join("tokenizer_config.json"), &Value::Object(config));
    if let Some(legacy) = &places.legacy {
        let entries = legacy.iter().map(|token| (token.content.clone(), json!(token.id)));
        write_json(&dir.join("added_tokens.json"), &Value::Object(entries.collect()));
    }
}

/// Whether and which token is put before a text.
fn post_process(json: &mut Value, vocabulary: &Vocabulary, dice: &mut Dice) {
    json["post_processor"] = match dice.below(3) {
        0 => Value::Null,
        1 if vocabulary.is_sentencepiece() => json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        }),
        _ if vocabulary.is_sentencepiece() => Value::Null,
        _ => json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}),
    };
}

/// `tokenizer.json` of a SentencePiece vocabulary: every pair of pieces whose union is one is a merge, by the union's rank.
fn fallback(vocabulary: &Vocabulary, dice: &mut Dice) -> Value {
    let ids: HashMap<&str, usize> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges: Vec<(usize, usize, usize, [&str; 2])> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| vocabulary.types[*id] == NORMAL)
    {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            let normal = |part| ids.get(part).is_some_and(|id| vocabulary.types[*id] == NORMAL);
            if normal(left) && normal(right) {
                merges.push((id, left.chars().count(), right.chars().count(), [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| {
        let score = |id: usize| vocabulary.scores[id];
        score(b.0).total_cmp(&score(a.0)).then((a.1, a.2).cmp(&(b.1, b.2)))
    });
    let merges: Vec<[&str; 2]> = merges.into_iter().map(|(.., pair)| pair).collect();
    let first = dice.one_in(8);
    let prepend = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": if first { Value::Null } else { prepend },
        "pre_tokenizer": if first { metaspace } else { Value::Null },
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary.tokens.iter().cloned().zip((0..).map(|id: usize| json!(id))).collect::<Map<_, _>>(),
            "merges": merges},
    })
}

/// Plain texts, and such that hold the added tokens.
fn texts(added: &[Added], dice: &mut Dice) -> Vec<String> {
    let mut all: Vec<String> = TEXTS.iter().map(|t| t.to_string()).collect();
    for _ in 0..6 {
        let mut text = String::new();
        for _ in 0..1 + dice.below(4) {
            let plain = TEXTS[dice.below(TEXTS.len())];
            let words: Vec<&str> = plain.split(' ').collect();
            text.push_str(words[dice.below(words.len())]);
            text.push_str(["", " ", "\n"][dice.below(3)]);
            text.push_str(&added[dice.below(added.len())].content);
            text.push_str(["", " ", "  ", "x"][dice.below(4)]);
        }
        all.push(text);
    }
    all
}
