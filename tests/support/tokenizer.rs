//! Tokenizer files as Hugging Face checkpoints have them, made from a real vocabulary: `tokenizer.model` for
//! SentencePiece, `tokenizer.json` for byte-level BPE, `tokenizer_config.json` for both. The BPE ones encode
//! llama.cpp's check text to the pre-tokenizer hashes that its converter knows.
//! Specification: `sentencepiece_model.proto`; the `tokenizers` crate's serialized form.

use super::vocabulary::{CONTROL, UNKNOWN, USER_DEFINED, Vocabulary};
use prost::Message;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Writes the tokenizer's files into `dir`. `chat_template` is Jinja text for `tokenizer_config.json`.
pub fn write(vocabulary: &Vocabulary, dir: &Path, chat_template: Option<&str>) {
    let added = added_tokens(vocabulary);
    let mut config = Map::new();
    if vocabulary.is_sentencepiece() {
        std::fs::write(dir.join("tokenizer.model"), sentencepiece(vocabulary)).unwrap();
        config.insert("tokenizer_class".into(), "LlamaTokenizer".into());
    } else {
        write_json(&dir.join("tokenizer.json"), &byte_level_bpe(vocabulary, &added));
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    }
    if let Some(add_bos) = vocabulary.add_bos {
        config.insert("add_bos_token".into(), add_bos.into());
        config.insert("add_eos_token".into(), false.into());
    }
    for (key, id) in [("bos_token", vocabulary.bos), ("eos_token", vocabulary.eos)] {
        if let Some(id) = id {
            config.insert(key.into(), vocabulary.tokens[id as usize].clone().into());
        }
    }
    if let Some(template) = chat_template {
        config.insert("chat_template".into(), template.into());
    }
    config.insert("added_tokens_decoder".into(), decoder_table(added));
    write_json(&dir.join("tokenizer_config.json"), &Value::Object(config));
}

/// Writes a SentencePiece vocabulary into `dir` as the newer Gemmas have theirs: `tokenizer.json` alone, with the merges of
/// its pieces, and bytes for what they lack.
pub fn write_merged(vocabulary: &Vocabulary, dir: &Path) {
    let ids: Map<String, Value> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let merge = |piece: &String| {
        let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
        let mut cuts = cuts.filter(|(left, right)| ids.contains_key(*left) && ids.contains_key(*right));
        cuts.next().map(|(left, right)| json!([left, right]))
    };
    let merges: Vec<Value> = vocabulary.tokens.iter().filter_map(merge).collect();
    let special = |(id, token): (usize, &String)| added_token(id, token, true);
    let added: Vec<Value> = vocabulary.tokens.iter().take(3).enumerate().map(special).collect();
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": replace(" ", "\u{2581}"),
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": null,
        "decoder": {"type": "Sequence",
                    "decoders": [replace("\u{2581}", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                  "vocab": ids, "merges": merges},
    });
    write_json(&dir.join("tokenizer.json"), &json);
    let config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
        "eos_token": "</s>", "added_tokens_decoder": decoder_table(added)});
    write_json(&dir.join("tokenizer_config.json"), &config);
}

/// Writes a byte-level BPE vocabulary into `dir` as older models have theirs: `vocab.json` and `merges.txt`, and what a class
/// of transformers is told besides.
pub fn write_pair(vocabulary: &Vocabulary, class: &str, dir: &Path) {
    // GPT-2 has its special token among the others.
    let is_whole = class.starts_with("GPT2");
    let added = if is_whole { Vec::new() } else { added_tokens(vocabulary) };
    let ordinary =
        |(id, _): &(usize, &String)| is_whole || ![CONTROL, USER_DEFINED].contains(&vocabulary.types[*id]);
    let tokens =
        vocabulary.tokens.iter().enumerate().filter(|(id, _)| !vocabulary.is_padding(*id)).filter(ordinary);
    let ids: Map<String, Value> = tokens.map(|(id, token)| (token.clone(), id.into())).collect();
    write_json(&dir.join("vocab.json"), &Value::Object(ids));
    let merges: String = vocabulary.merges.iter().map(|merge| format!("{merge}\n")).collect();
    std::fs::write(dir.join("merges.txt"), format!("#version: 0.2\n{merges}")).unwrap();
    let mut config = json!({"tokenizer_class": class});
    if !is_whole {
        config["added_tokens_decoder"] = decoder_table(added);
    }
    write_json(&dir.join("tokenizer_config.json"), &config);
}

/// Writes `value` as JSON text.
pub fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

/// The tokens that stand beside the model proper: control and user-defined ones, gaps left open.
fn added_tokens(vocabulary: &Vocabulary) -> Vec<Value> {
    let added = vocabulary.types.iter().enumerate().filter(|(_, t)| [CONTROL, USER_DEFINED].contains(*t));
    let added = added.filter(|(id, _)| !vocabulary.is_padding(*id));
    added.map(|(id, kind)| added_token(id, &vocabulary.tokens[id], *kind == CONTROL)).collect()
}

fn added_token(id: usize, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": !special, "special": special})
}

/// The added tokens under their ids, as `tokenizer_config.json` lists them.
fn decoder_table(added: Vec<Value>) -> Value {
    let entry = |mut token: Value| {
        let id = token.as_object_mut().and_then(|t| t.shift_remove("id")).expect("an id");
        (id.to_string(), token)
    };
    Value::Object(added.into_iter().map(entry).collect())
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    vocab_size: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
}

/// A SentencePiece BPE model with byte fallback: the first tokens up to the last ordinary one. What follows is
/// left to the added tokens, as in the checkpoints that these vocabularies come from.
fn sentencepiece(vocabulary: &Vocabulary) -> Vec<u8> {
    const BPE: i32 = 2;
    let special = |kind: &i32| [UNKNOWN, CONTROL, USER_DEFINED].contains(kind);
    let len = vocabulary.types.iter().rposition(|t| !special(t)).map_or(0, |last| last + 1);
    let piece = |id: usize| {
        let (text, score, kind) = (&vocabulary.tokens[id], vocabulary.scores[id], vocabulary.types[id]);
        // Every llama model has these three; a converter that met them as added tokens retyped them.
        let (score, kind) = match text.as_str() {
            "<unk>" => (0.0, UNKNOWN),
            "<s>" | "</s>" => (0.0, CONTROL),
            _ => (score, kind),
        };
        Piece { piece: Some(text.clone()), score: Some(score), kind: Some(kind) }
    };
    let model = ModelProto {
        pieces: (0..len).map(piece).collect(),
        trainer_spec: Some(TrainerSpec {
            model_type: Some(BPE),
            vocab_size: i32::try_from(len).ok(),
            byte_fallback: Some(true),
        }),
        normalizer_spec: Some(NormalizerSpec {
            name: Some("identity".into()),
            add_dummy_prefix: Some(true),
            remove_extra_whitespaces: Some(false),
        }),
    };
    model.encode_to_vec()
}

/// A unigram model of these pieces, with their scores and kinds.
pub fn unigram(pieces: &[(String, f32, i32)]) -> Vec<u8> {
    const UNIGRAM: i32 = 1;
    let piece = |(text, score, kind): &(String, f32, i32)| Piece {
        piece: Some(text.clone()),
        score: Some(*score),
        kind: Some(*kind),
    };
    let model = ModelProto {
        pieces: pieces.iter().map(piece).collect(),
        trainer_spec: Some(TrainerSpec {
            model_type: Some(UNIGRAM),
            vocab_size: i32::try_from(pieces.len()).ok(),
            byte_fallback: Some(false),
        }),
        normalizer_spec: Some(NormalizerSpec {
            name: Some("identity".into()),
            add_dummy_prefix: Some(true),
            remove_extra_whitespaces: Some(true),
        }),
    };
    model.encode_to_vec()
}

/// `tokenizer.json` of a vocabulary without added tokens.
pub fn byte_level_bpe_of(vocabulary: &Vocabulary) -> Value {
    whole_bpe(vocabulary, &[])
}

/// `tokenizer.model` of a vocabulary, every piece in it.
pub fn sentencepiece_of(vocabulary: &Vocabulary) -> Vec<u8> {
    sentencepiece(vocabulary)
}

/// Of the published files only Llama 3's says `ignore_merges`.
fn byte_level_bpe(vocabulary: &Vocabulary, added: &[Value]) -> Value {
    let mut json = whole_bpe(vocabulary, added);
    if vocabulary.name != "llama-bpe" {
        json["model"].as_object_mut().expect("a model").shift_remove("ignore_merges");
    }
    json
}

fn whole_bpe(vocabulary: &Vocabulary, added: &[Value]) -> Value {
    let ordinary = |(id, _): &(usize, &String)| ![CONTROL, USER_DEFINED].contains(&vocabulary.types[*id]);
    let tokens = vocabulary.tokens.iter().enumerate().filter(ordinary);
    let vocab: Map<String, Value> = tokens.map(|(id, token)| (token.clone(), id.into())).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": if vocabulary.name == "qwen2" { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer(&vocabulary.name),
        "post_processor": post_processor(vocabulary),
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": vocabulary.name == "llama-bpe", "vocab": vocab, "merges": vocabulary.merges},
    })
}

/// How text is cut into words before the merges, as the models' own `tokenizer.json` files say it.
fn pre_tokenizer(name: &str) -> Value {
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let words = |digits: &str| {
        split(&format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))
    };
    let steps = match name {
        "gpt-2" => return byte_level(true),
        "llama-bpe" => vec![words("{1,3}"), byte_level(false)],
        "qwen2" => vec![words(""), byte_level(false)],
        "deepseek-llm" => vec![
            split("[\r\n]"),
            split(&format!(r"\s?[{DEEPSEEK_LETTERS}]+")),
            split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            split(r"\s+$"),
            split("[一-龥\u{800}-一가-\u{d7ff}]+"),
            json!({"type": "Digits", "individual_digits": true}),
            byte_level(false),
        ],
        other => panic!("no pre-tokenizer is known for {other}"),
    };
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// The cased letters as deepseek-llm lists them; those that Unicode normalisation would change are escaped.
const DEEPSEEK_LETTERS: &str = "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿ\
     ᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼ\
     ℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\
     𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";

/// What the tokenizer puts around a text: the beginning-of-text token, where the model has one.
fn post_processor(vocabulary: &Vocabulary) -> Value {
    let (true, Some(bos)) =
        (["llama-bpe", "deepseek-llm"].contains(&vocabulary.name.as_str()), vocabulary.bos)
    else {
        return json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    };
    let token = &vocabulary.tokens[bos as usize];
    let sequence = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, sequence("A", 0)],
        "pair": [sequence("A", 0), sequence("B", 1)],
        "special_tokens": {token.as_str(): {"id": token, "ids": [bos], "tokens": [token]}},
    })
}
