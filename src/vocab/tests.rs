//! Small vocabularies of every source, written to a directory and read through the door. Each expectation was
//! measured with convert_hf_to_gguf (llama.cpp v0.5.0) on a checkpoint of the same form, or says what differs.

use super::spm::{ModelProto, NormalizerSpec, Piece, TrainerSpec};
use super::*;
use ggraft_formats::{Array, Kind, Value as Kv};
use prost::Message;
use serde_json::json;
use tempfile::TempDir;

/// A checkpoint directory without weights.
struct Dir(TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Dir {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn json(self, name: &str, content: &Value) -> Dir {
        self.with(name, content.to_string())
    }

    fn read(&self, config: Value, pre: Option<&str>) -> Result<Tokenizer> {
        let checkpoint = Checkpoint { dir: self.0.path().into(), ..Checkpoint::default() };
        tokenizer(&checkpoint, &config, &Options { pre: pre.map(String::from) })
    }

    fn llama(&self, vocab_size: usize) -> Tokenizer {
        self.read(json!({"architectures": ["LlamaForCausalLM"], "vocab_size": vocab_size}), None).unwrap()
    }

    fn error(&self, vocab_size: usize) -> String {
        self.read(json!({"vocab_size": vocab_size}), None).unwrap_err().to_string()
    }
}

fn texts(tokenizer: &Tokenizer, key: &str) -> Vec<String> {
    match tokenizer.metadata.get(key) {
        Some(Kv::Array(Array::Str(texts))) => texts.iter().map(|t| t.to_string()).collect(),
        other => panic!("{key}: {other:?}"),
    }
}

fn types(tokenizer: &Tokenizer) -> &[i32] {
    match tokenizer.metadata.get("tokenizer.ggml.token_type") {
        Some(Kv::Array(Array::I32(types))) => types,
        other => panic!("{other:?}"),
    }
}

fn keys(tokenizer: &Tokenizer) -> Vec<&str> {
    tokenizer.metadata.iter().map(|(k, _)| k.trim_start_matches("tokenizer.")).collect()
}

/// Three special pieces, two bytes, the unions in the order of a trainer, then the characters.
const PIECES: [(&str, i32); 11] = [
    ("<unk>", 2),
    ("<s>", 3),
    ("</s>", 3),
    ("<0x00>", 6),
    ("<0x01>", 6),
    ("▁a", 1),
    ("bc", 1),
    ("▁abc", 1),
    ("▁", 1),
    ("a", 1),
    ("b", 1),
];

fn spm_model(pieces: &[(&str, i32)]) -> Vec<u8> {
    let first = pieces.iter().position(|(_, kind)| *kind == 1).unwrap_or(0);
    let piece = |(id, (text, kind)): (usize, &(&str, i32))| Piece {
        piece: Some(text.as_bytes().to_vec()),
        score: Some(if *kind == 1 { -((id - first) as f32) } else { 0.0 }),
        r#type: Some(*kind),
    };
    let pieces = pieces.iter().enumerate().map(piece).collect();
    let trainer_spec =
        Some(TrainerSpec { model_type: Some(2), byte_fallback: Some(true), ..Default::default() });
    let normalizer_spec = Some(NormalizerSpec { add_dummy_prefix: Some(true), ..Default::default() });
    ModelProto { pieces, trainer_spec, normalizer_spec }.encode_to_vec()
}

fn decoder_of(special: &[(u32, &str)]) -> Value {
    let one = |(id, text): &(u32, &str)| {
        (id.to_string(), json!({"content": text, "special": true, "normalized": false}))
    };
    json!({ "added_tokens_decoder": special.iter().map(one).collect::<serde_json::Map<_, _>>(),
            "bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": true, "add_eos_token": false })
}

const SPECIAL: [(u32, &str); 3] = [(0, "<unk>"), (1, "<s>"), (2, "</s>")];

fn byte_fallback() -> Value {
    let vocab: serde_json::Map<_, _> =
        PIECES.iter().enumerate().map(|(id, (text, _))| (text.to_string(), json!(id))).collect();
    let vocab: serde_json::Map<_, _> = vocab.into_iter().chain([("c".to_string(), json!(11))]).collect();
    json!({
        "added_tokens": SPECIAL.map(|(id, text)| json!({"id": id, "content": text, "special": true})),
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": []},
        "model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "vocab": vocab,
                  "merges": [["▁", "a"], ["b", "c"], ["▁a", "bc"]]},
    })
}

#[test]
fn sentencepiece_keeps_scores_and_types_and_fills_holes() {
    let dir = Dir::new()
        .with("tokenizer.model", spm_model(&PIECES))
        .json("tokenizer_config.json", &decoder_of(&SPECIAL));
    let found = dir.llama(12);
    assert_eq!(
        keys(&found),
        [
            "ggml.model",
            "ggml.pre",
            "ggml.tokens",
            "ggml.scores",
            "ggml.token_type",
            "ggml.add_bos_token",
            "ggml.add_eos_token"
        ],
        "ids that no tokenizer.json names are the runtime's own"
    );
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[10..], ["b", "[PAD11]"]);
    assert_eq!(types(&found), [3, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 5]);
    let scores = vec![-1000.0, -1000.0, -1000.0, 0.0, 0.0, -0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -10000.0f32];
    assert_eq!(found.metadata.get("tokenizer.ggml.scores"), Some(&scores.into()));
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn added_tokens_json_counts_on_from_the_pieces_and_is_not_read_beside_a_decoder() {
    let legacy = json!({"<extra>": 12, "<eos>": 13, "<over>": 14});
    let base = || Dir::new().with("tokenizer.model", spm_model(&PIECES)).json("added_tokens.json", &legacy);
    let found = base().json("tokenizer_config.json", &json!({"eos_token": "<eos>"})).llama(13);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[10..], ["b", "<extra>", "<eos>"]);
    assert_eq!(types(&found)[11..], [4, 3], "what is named as special is no user-defined token");
    assert_eq!(
        found.warnings,
        [
            "3 added tokens get the ids that transformers gives them, not those that the files state; the first is '<extra>', 11 and not 12",
            "added_tokens.json: token '<over>' is ignored: its id 13 is not below vocab_size 13",
            "the eos token is 12 by its name (config.json gives no id, for which convert_hf_to_gguf leaves it to the runtime, which takes 2)",
        ]
    );
    let found = base().json("tokenizer_config.json", &decoder_of(&SPECIAL)).llama(13);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[11], "[PAD11]");
    assert!(
        found.warnings[0].starts_with("added_tokens.json: 3 tokens are left out"),
        "{:?}",
        found.warnings
    );
}

#[test]
fn tokens_added_in_tokenizer_json_alone_count_beside_a_tokenizer_model() {
    let mut json = byte_fallback();
    let list = json["added_tokens"].as_array_mut().unwrap();
    list.extend([added(12, "<think>", false, false), added(14, "<|end|>", true, false)]);
    let pieces = [&PIECES[..], &[("c", 1)]].concat();
    let dir = Dir::new().json("tokenizer.json", &json).with("tokenizer.model", spm_model(&pieces));
    let found = dir.llama(15);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[12..], ["<think>", "<|end|>", "[PAD14]"]);
    assert_eq!(types(&found)[12..], [4, 3, 5]);
    assert!(found.warnings[0].contains("'<|end|>', 13 and not 14"), "{:?}", found.warnings);
    // A model of other pieces is not that of the tokenizer.
    let other =
        Dir::new().json("tokenizer.json", &json).with("tokenizer.model", spm_model(&PIECES)).llama(15);
    assert_eq!(texts(&other, "tokenizer.ggml.tokens"), texts(&found, "tokenizer.ggml.tokens"));
    assert!(other.warnings[0].starts_with("tokenizer.model is ignored"), "{:?}", other.warnings);
}

#[test]
fn a_text_is_never_twice_in_a_vocabulary() {
    let pieces = [&PIECES[..], &[("bc", 1)]].concat();
    let error = Dir::new().with("tokenizer.model", spm_model(&pieces)).error(12);
    assert!(
        error.contains("two tokens have one text") && error.contains("'bc' with the ids 6 and 11"),
        "{error}"
    );
    // A filler makes way for a token of its name.
    let pieces = [&PIECES[..], &[("[PAD12]", 1)]].concat();
    let found = Dir::new().with("tokenizer.model", spm_model(&pieces)).llama(13);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[11..], ["[PAD12]", "[PAD12_]"]);
}

#[test]
fn pieces_beyond_the_embeddings_are_dropped_aloud() {
    let found = Dir::new().with("tokenizer.model", spm_model(&PIECES)).llama(9);
    assert_eq!(types(&found).len(), 9);
    assert_eq!(found.warnings, ["tokenizer.model: its last 2 pieces are dropped: vocab_size is 9"]);
}

#[test]
fn a_user_defined_piece_is_matched_whole() {
    let pieces = [("<unk>", 2), ("<x>", 4), ("<y>", 4), ("▁z", 4)];
    let added =
        json!({"added_tokens_decoder": {"2": {"content": "<y>", "special": false}, "3": {"content": "▁z"}}});
    let found =
        Dir::new().with("tokenizer.model", spm_model(&pieces)).json("tokenizer_config.json", &added).llama(4);
    assert_eq!(types(&found), [2, 4, 4, 4]);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[3], " z");
    let told = |w: &String| w.contains("1 user-defined pieces are matched whole") && w.ends_with("'<x>'");
    assert!(found.warnings.iter().any(told), "{:?}", found.warnings);
}

#[test]
fn a_broken_sentencepiece_model_is_an_error() {
    let broken = Dir::new().with("tokenizer.model", b"IQ== 0\nIg== 1\n").error(4);
    assert!(broken.contains("expected a SentencePiece model") && broken.contains("tiktoken"), "{broken}");
    assert!(Dir::new().with("tokenizer.model", [0x0A, 0xFF]).error(4).contains("not a SentencePiece model"));
    assert!(Dir::new().with("tokenizer.model", b"").error(4).contains("has no pieces"));
    assert!(Dir::new().with("tokenizer.model", spm_model(&[("", 1)])).error(4).contains("piece 0 is empty"));
}

#[test]
fn byte_fallback_json_gives_what_its_sentencepiece_model_gives() {
    let pieces = [&PIECES[..], &[("c", 1)]].concat();
    let config = decoder_of(&SPECIAL);
    let json = Dir::new().json("tokenizer.json", &byte_fallback()).json("tokenizer_config.json", &config);
    let from_json = json.llama(14);
    let from_model = json.with("tokenizer.model", spm_model(&pieces)).llama(14);
    assert_eq!(from_json.metadata, from_model.metadata);
    assert_eq!(from_json.warnings, from_model.warnings);
}

#[test]
fn byte_fallback_ranks_unions_by_merge_where_ids_do_not() {
    let mut json = byte_fallback();
    json["model"]["merges"] = json!([["b", "c"], ["▁", "a"], ["▁a", "bc"]]);
    json["normalizer"] = Value::Null;
    let found = Dir::new().json("tokenizer.json", &json).llama(12);
    let Some(Kv::Array(Array::F32(scores))) = found.metadata.get("tokenizer.ggml.scores") else { panic!() };
    assert_eq!(scores[5..8], [-1.0, -0.0, -2.0]);
    assert_eq!(
        found.metadata.get("tokenizer.ggml.add_space_prefix"),
        Some(&false.into()),
        "nothing prepends"
    );
}

#[test]
fn unions_that_the_runtime_would_invent_are_told() {
    let mut json = byte_fallback();
    json["model"]["vocab"]["ab"] = json!(12);
    let warnings = Dir::new().json("tokenizer.json", &json).llama(13).warnings;
    assert!(warnings[0].contains("joins 1 pairs") && warnings[0].contains("'a' and 'b'"), "{warnings:?}");
}

#[test]
fn what_the_runtime_finds_otherwise_is_told() {
    let told = |token: Value, said: &str| {
        let mut json = byte_fallback();
        json["added_tokens"].as_array_mut().unwrap().push(token);
        let warnings = Dir::new().json("tokenizer.json", &json).llama(14).warnings;
        assert!(
            warnings.iter().any(|w| w.contains(said) && w.contains("unlike transformers")),
            "{warnings:?}"
        );
    };
    told(json!({"id": 12, "content": "<x>", "lstrip": true}), "take no spaces beside them along");
    told(added(12, "<x>", false, true), "not as the normalizer leaves it");
    told(added(12, "\u{2581}x", false, false), "are found as the decoder prints them");
    let mut json = byte_fallback();
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] = json!({"type": "Metaspace", "prepend_scheme": "first"});
    let warnings = Dir::new().json("tokenizer.json", &json).llama(13).warnings;
    assert!(warnings.iter().any(|w| w.contains("(prepend_scheme first)")), "{warnings:?}");
}

#[test]
fn a_post_processor_alone_says_what_is_added_to_a_text() {
    let mut json = byte_fallback();
    json["post_processor"] =
        json!({"type": "TemplateProcessing", "single": [special("<s>"), text("A")], "pair": []});
    let mut config = decoder_of(&SPECIAL);
    config["add_eos_token"] = json!(true);
    let found = Dir::new().json("tokenizer.json", &json).json("tokenizer_config.json", &config).llama(13);
    let add = |kind: &str| found.metadata.get(&format!("tokenizer.ggml.add_{kind}_token")).cloned();
    assert_eq!((add("bos"), add("eos")), (Some(true.into()), Some(false.into())));
    assert!(found.warnings.iter().any(|w| w.starts_with("add_eos_token is true")), "{:?}", found.warnings);
}

#[test]
fn a_tokenizer_that_adds_no_bos_says_so_to_a_runtime_that_would() {
    let add = |found: &Tokenizer| found.metadata.get("tokenizer.ggml.add_bos_token").cloned();
    let found = Dir::new().json("tokenizer.json", &byte_fallback()).llama(13);
    assert_eq!(add(&found), Some(false.into()));
    assert!(found.warnings.iter().any(|w| w.starts_with("add_bos_token is false")), "{:?}", found.warnings);
    let model = Dir::new().with("tokenizer.model", spm_model(&PIECES)).llama(11);
    assert_eq!(add(&model), None, "a SentencePiece model alone leaves it to the runtime");
    let gpt2 = Dir::new().json("tokenizer.json", &bpe(&json!(["a b"]), &json!([]))).llama(7);
    assert_eq!(add(&gpt2), None, "here the runtime adds none");
}

/// Byte-level BPE in GPT-2's chain: `merges` in either form.
fn bpe(merges: &Value, added: &Value) -> Value {
    json!({
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3, "Ġ": 5, "ĠĠ": 6}, "merges": merges},
    })
}

fn added(id: u32, content: &str, special: bool, normalized: bool) -> Value {
    json!({"id": id, "content": content, "special": special, "normalized": normalized})
}

#[test]
fn merges_are_the_same_in_both_forms() {
    let strings = Dir::new().json("tokenizer.json", &bpe(&json!(["a b", "Ġ Ġ"]), &json!([]))).llama(7);
    let pairs =
        Dir::new().json("tokenizer.json", &bpe(&json!([["a", "b"], ["Ġ", "Ġ"]]), &json!([]))).llama(7);
    assert_eq!(strings.metadata, pairs.metadata);
    assert_eq!(texts(&pairs, "tokenizer.ggml.merges"), ["a b", "Ġ Ġ"]);
    assert_eq!(keys(&pairs), ["ggml.model", "ggml.pre", "ggml.tokens", "ggml.token_type", "ggml.merges"]);
    assert_eq!(texts(&pairs, "tokenizer.ggml.tokens")[4], "[PAD4]");
    assert_eq!(types(&pairs), [1, 1, 1, 1, 5, 1, 1]);
    assert_eq!(pairs.metadata.str("tokenizer.ggml.pre"), Some("gpt-2"));
}

#[test]
fn a_space_inside_a_pair_is_written_as_its_byte() {
    let mut json = bpe(&json!([[" ", "a"]]), &json!([]));
    json["model"]["vocab"] = json!({" ": 0, "a": 1, " a": 2});
    let found = Dir::new().json("tokenizer.json", &json).llama(3);
    assert_eq!(texts(&found, "tokenizer.ggml.merges"), ["Ġ a"]);
}

#[test]
fn added_tokens_are_typed_and_spelled_as_the_converter_does() {
    let list = json!([
        added(3, "<|endoftext|>", true, false),
        added(7, "ĠĠx", false, false),
        added(8, "ĠĠz", false, true),
        added(9, "▁foo", false, false),
        added(10, "<|looks|>", false, false),
        added(11, "<unused7>", false, true),
        added(12, "한국", false, false),
    ]);
    let found = Dir::new().json("tokenizer.json", &bpe(&json!(["a b"]), &list)).llama(13);
    let expected = ["  x", "ĠĠz", " foo", "<|looks|>", "<unused7>", "한국"];
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[7..], expected);
    assert_eq!(types(&found), [1, 1, 1, 3, 5, 1, 1, 4, 4, 4, 3, 3, 4]);
}

#[test]
fn a_named_special_token_without_an_id_gets_the_next() {
    let dir = Dir::new().json("tokenizer.json", &bpe(&json!(["a b"]), &json!([added(6, "ĠĠ", false, true)])));
    let found = dir.json("tokenizer_config.json", &json!({"pad_token": "[PAD]"})).llama(9);
    assert_eq!(texts(&found, "tokenizer.ggml.tokens")[7], "[PAD]");
    assert_eq!((types(&found)[7], found.warnings.len()), (3, 1));
}

#[test]
fn a_contradictory_vocabulary_is_an_error() {
    let error = |merges: Value, list: Value| Dir::new().json("tokenizer.json", &bpe(&merges, &list)).error(7);
    assert!(error(json!(["a c"]), json!([])).contains("no 'c' there"));
    assert!(error(json!(["b a"]), json!([])).contains("no 'ba' there"));
    assert!(error(json!([1]), json!([])).contains("expected a list of 'a b' or ['a', 'b'], found 1"));
    assert!(error(json!(["a b"]), json!([added(7, "x", true, false)])).contains("'x' with the id 7"));
    let twice = json!([added(4, "x", true, false), added(4, "y", true, false)]);
    assert!(error(json!(["a b"]), twice).contains("found 'x' and 'y'"));
    let mut same = bpe(&json!(["a b"]), &json!([]));
    same["model"]["vocab"]["b"] = json!(0);
    assert!(
        Dir::new()
            .json("tokenizer.json", &same)
            .error(7)
            .contains("two tokens of `model.vocab` have the id 0")
    );
    assert!(Dir::new().json("tokenizer.json", &json!([])).error(7).contains("expected a JSON object"));
}

#[test]
fn a_missing_tokenizer_names_what_was_looked_for() {
    let error = Dir::new().error(7);
    assert!(error.contains("expected tokenizer.model or tokenizer.json, found neither"), "{error}");
    assert!(
        Dir::new()
            .with("tekken.json", "{}")
            .error(7)
            .contains("`config.default_vocab_size` has the wrong form")
    );
    let pair = || Dir::new().with("vocab.json", "{}").with("merges.txt", "");
    assert!(pair().error(7).contains("save_pretrained"));
    let other = pair().json("tokenizer_config.json", &json!({"tokenizer_class": "CLIPTokenizer"})).error(7);
    assert!(other.contains("GPT2Tokenizer or Qwen2Tokenizer, found CLIPTokenizer"), "{other}");
    let broken = pair().with("merges.txt", "#version: 0.2\na b\nab\n");
    let broken =
        broken.json("tokenizer_config.json", &json!({"tokenizer_class": "GPT2TokenizerFast"})).error(7);
    assert!(broken.contains("merges.txt: line 3 is no merge") && broken.contains("found \"ab\""), "{broken}");
}

#[test]
fn an_unknown_pre_tokenizer_is_refused_and_can_be_named() {
    let mut json = bpe(&json!(["a b"]), &json!([]));
    json["pre_tokenizer"] = json!({"type": "Whitespace"});
    let dir = Dir::new().json("tokenizer.json", &json);
    let error = dir.read(json!({}), None).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("--pre NAME") && error.to_string().contains("qwen2"), "{error}");
    let found = dir.read(json!({}), Some("superbpe")).unwrap();
    assert_eq!(found.metadata.str("tokenizer.ggml.pre"), Some("superbpe"));
    assert_eq!(dir.read(json!({}), Some("gtp-2")).unwrap_err().kind(), Kind::Usage);
}

fn special(id: &str) -> Value {
    json!({"SpecialToken": {"id": id, "type_id": 0}})
}

fn text(id: &str) -> Value {
    json!({"Sequence": {"id": id, "type_id": 0}})
}

#[test]
fn the_post_processor_corrects_eos_and_makes_the_old_one_end_of_turn() {
    let mut json = bpe(
        &json!(["a b"]),
        &json!([added(3, "<|endoftext|>", true, false), added(4, "<eot>", true, false)]),
    );
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [special("<|endoftext|>"), text("A"), special("<eot>")],
        "pair": [special("<|endoftext|>"), text("A"), text("B"), special("<eot>")]});
    let names = json!({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "add_eos_token": false});
    let found = Dir::new().json("tokenizer.json", &json).json("tokenizer_config.json", &names).llama(7);
    let id = |kind: &str| found.metadata.u64(&format!("tokenizer.ggml.{kind}_token_id"));
    assert_eq!((id("bos"), id("eos"), id("eot")), (Some(3), Some(4), Some(3)));
    assert_eq!(found.metadata.get("tokenizer.ggml.add_eos_token"), Some(&true.into()));
    let told = |w: &String| w.contains("add_eos_token is false");
    assert!(found.warnings.iter().any(told), "{:?}", found.warnings);
}

#[test]
fn a_separator_between_two_texts_is_added() {
    let mut json = bpe(&json!(["a b"]), &json!([added(3, "<|endoftext|>", true, false)]));
    json["post_processor"] = json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
        "single": [special("<|endoftext|>"), text("A")],
        "pair": [special("<|endoftext|>"), text("A"), special("<|endoftext|>"), text("B")]}]});
    let names = json!({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"});
    let found = Dir::new().json("tokenizer.json", &json).json("tokenizer_config.json", &names).llama(7);
    let add = |kind: &str| found.metadata.get(&format!("tokenizer.ggml.add_{kind}_token")).cloned();
    assert_eq!(
        (add("bos"), add("eos"), add("sep")),
        (Some(true.into()), Some(false.into()), Some(true.into()))
    );
    assert_eq!(found.metadata.u64("tokenizer.ggml.seperator_token_id"), Some(3));
}

#[test]
fn config_json_gives_the_ids_that_are_missing() {
    let dir = Dir::new().with("tokenizer.model", spm_model(&PIECES));
    let config = json!({"bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": -1, "text_config": {"unk_token_id": 0}});
    let found = dir.read(config, None).unwrap();
    assert_eq!(found.metadata.u64("tokenizer.ggml.bos_token_id"), Some(1));
    assert_eq!(found.metadata.u64("tokenizer.ggml.unknown_token_id"), Some(0));
    assert!(found.metadata.get("tokenizer.ggml.eos_token_id").is_none(), "a list is no id");
    assert_eq!(found.warnings, ["the pad token is not written: there is no id -1"]);
}

#[test]
fn only_the_llama_family_has_its_quirks() {
    let dir = Dir::new().with("tokenizer.model", spm_model(&PIECES));
    let dir = dir.json("tokenizer_config.json", &json!({"add_prefix_space": false, "add_bos_token": true}));
    assert_eq!(keys(&dir.llama(11))[0], "ggml.add_space_prefix");
    assert_eq!(dir.llama(32016).metadata.u64("tokenizer.ggml.eot_token_id"), None, "32010 is no end of turn");
    let many: Vec<String> =
        (11..32010).map(|i| format!("piece{i}")).chain(["\u{2581}<EOT>".into()]).collect();
    let code: Vec<(&str, i32)> = PIECES.into_iter().chain(many.iter().map(|t| (t.as_str(), 1))).collect();
    let code = Dir::new().with("tokenizer.model", spm_model(&code)).llama(32016);
    assert_eq!(code.metadata.u64("tokenizer.ggml.eot_token_id"), Some(32010));
    let add_bos = |found: &Tokenizer| found.metadata.get("tokenizer.ggml.add_bos_token").cloned();
    assert_eq!(add_bos(&dir.llama(49152)), Some(true.into()), "the tokenizer says so");
    let silent = Dir::new().with("tokenizer.model", spm_model(&PIECES));
    assert_eq!(add_bos(&silent.llama(49152)), Some(false.into()));
    let qwen = dir.read(json!({"architectures": ["Qwen2ForCausalLM"], "vocab_size": 49152}), None).unwrap();
    assert_eq!(keys(&qwen)[0], "ggml.model");
    assert_eq!(qwen.metadata.get("tokenizer.ggml.add_bos_token"), Some(&true.into()));
}

#[test]
fn chat_templates_come_from_every_place_as_transformers_takes_them() {
    let base = || Dir::new().with("tokenizer.model", spm_model(&PIECES));
    let template = |dir: &Dir| dir.llama(11).metadata.str("tokenizer.chat_template").map(str::to_string);
    let dir = base().json("chat_template.json", &json!({"chat_template": "from json"}));
    assert_eq!(template(&dir).as_deref(), Some("from json"));
    let dir = dir.json("tokenizer_config.json", &json!({"chat_template": "from config"}));
    assert_eq!(template(&dir).as_deref(), Some("from config"));
    assert_eq!(
        dir.llama(11).warnings,
        [
            "chat_template.json: its chat_template is left out (default): transformers takes tokenizer_config.json"
        ]
    );
    let dir = dir.with("chat_template.jinja", "from\r\njinja\r");
    assert_eq!(template(&dir).as_deref(), Some("from\njinja\n"), "line ends as Python reads them");
    assert_eq!(dir.llama(11).warnings.len(), 2, "both others are left out");
    let dir = base().json("tokenizer_config.json", &json!({"chat_template": {"a": "b"}}));
    assert!(template(&dir).is_none() && dir.llama(11).warnings[0].contains("`chat_template` is ignored"));
}

#[test]
fn templates_of_the_directory_alone_take_the_place_of_the_configs() {
    let dir = Dir::new().with("tokenizer.model", spm_model(&PIECES));
    let dir = dir.json("tokenizer_config.json", &json!({"chat_template": "old"}));
    let found = dir.with("additional_chat_templates/rag.jinja", "R").llama(11);
    assert!(found.metadata.str("tokenizer.chat_template").is_none());
    assert_eq!(found.metadata.str("tokenizer.chat_template.rag"), Some("R"));
    assert!(found.warnings[0].starts_with("tokenizer_config.json: its chat_template is left out (default)"));
    assert!(found.warnings[1].starts_with("no chat template is named 'default'"), "{:?}", found.warnings);
}

#[test]
fn several_templates_are_named_in_the_order_of_the_file() {
    let list = json!([{"name": "tool use", "template": "T"}, {"name": "default", "template": "D"}, {"name": "rag", "template": "R"}]);
    let base = || Dir::new().with("tokenizer.model", spm_model(&PIECES));
    let found = base().json("tokenizer_config.json", &json!({"chat_template": list})).llama(11);
    let order = ["chat_template.tool_use", "chat_template.rag", "chat_templates", "chat_template"];
    assert_eq!(keys(&found)[5..], order);
    assert_eq!(texts(&found, "tokenizer.chat_templates"), ["tool_use", "rag"]);
    let files = base().with("chat_template.jinja", "D");
    let files =
        files.with("additional_chat_templates/b.jinja", "B").with("additional_chat_templates/a-1.jinja", "A");
    assert_eq!(texts(&files.llama(11), "tokenizer.chat_templates"), ["a_1", "b"]);
}

#[test]
fn what_a_config_says_of_a_text_model_is_found_in_every_section() {
    for path in ["text_config", "language_config", "llm_config", "lm_config", "lfm"] {
        let config = json!({"vocab_size": 9, path: {"vocab_size": 5, "layer_types": ["mamba"]},
            "architectures": ["GraniteMoeHybridForCausalLM"]});
        assert_eq!(told(&config, "vocab_size"), Some(&json!(5)), "{path}");
        assert_eq!(family::padded(&config, 5), 8, "{path}");
    }
    assert_eq!(
        told(&json!({"vocab_size": 9, "text_config": {"vocab_size": null}}), "vocab_size"),
        Some(&json!(9))
    );
}
