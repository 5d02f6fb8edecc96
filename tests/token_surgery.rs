//! Tokens that chat brings into CP's vocabulary: each has the id of its row in the GGUF and in the directory, none is
//! there twice, whatever has a place for each token grows, and a vector without weight brings nothing.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::merge::{CHAT_VECTOR, Graft, Options, Vector, VocabularyChoices};
use ggraft::pipeline;
use ggraft_formats::{Array, Input, Metadata, Model, Result, Shape, Tensor, open};
use run::{ggraft, trio};
use serde_json::Value;
use std::path::Path;
use support::checkpoint::{Layer, Spec, Tokens, write_weights};
use support::vocabulary::{CONTROL, NORMAL, Vocabulary};
use support::{rng, tokenizer};

const TEMPLATE: &str = "{% for m in messages %}<|head|>{{ m['content'] }}<|eot|>{% endfor %}";

/// A checkpoint of GPT-2's first tokens and `more`, in so many rows.
fn checkpoint(dir: &Path, role: &str, more: &[(&str, i32)], rows: usize) {
    let mut v = Vocabulary::load("gpt-2");
    v.tokens.truncate(300);
    v.types = vec![NORMAL; 300];
    let known = |part: &str| v.tokens.iter().any(|token| token == part);
    let merges =
        v.merges.iter().filter(|merge| merge.split(' ').all(known) && known(&merge.replace(' ', "")));
    v.merges = merges.cloned().collect();
    for (text, kind) in more {
        v.tokens.push(text.to_string());
        v.types.push(*kind);
    }
    (v.bos, v.eos) = (None, v.tokens.iter().position(|t| t == "<|eot|>").map(|id| id as u32));
    let spec = Spec { tokens: Tokens::Plain(rows), hidden: 32, ffn: 32, layers: 1, ..Spec::default() };
    spec.write_files(dir);
    for file in ["config.json", "generation_config.json"] {
        let mut json: Value = serde_json::from_slice(&std::fs::read(dir.join(file)).unwrap()).unwrap();
        for key in ["bos_token_id", "eos_token_id"] {
            json.as_object_mut().unwrap().remove(key);
        }
        tokenizer::write_json(&dir.join(file), &json);
    }
    tokenizer::write(&v, dir, (role == "chat").then_some(TEMPLATE));
    let moved = |mut weight: support::checkpoint::Weight| {
        if role != "base" {
            let seed = rng::named(rng::named(5, role), &weight.name);
            weight.layers.push(Layer { seed, deviation: 0.002 });
        }
        weight
    };
    write_weights(spec.weights(rows).into_iter().map(moved).collect(), 1, dir);
}

/// The ids that the tokenizers library gives to the added tokens of a directory: it counts on from the vocabulary.
fn library_ids(dir: &Path) -> Vec<(String, usize, usize)> {
    let json: Value = serde_json::from_slice(&std::fs::read(dir.join("tokenizer.json")).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object().unwrap();
    let mut next = vocab.len();
    let mut all = Vec::new();
    for token in json["added_tokens"].as_array().unwrap() {
        let text = token["content"].as_str().unwrap();
        let id = vocab.get(text).map_or(next, |id| id.as_u64().unwrap() as usize);
        next = next.max(id + 1);
        all.push((text.to_string(), id, token["id"].as_u64().unwrap() as usize));
    }
    all
}

/// Merges with `--add-chat-tokens`; gives the GGUF, and checks that it and the directory say the same.
fn surgery(cp: &[(&str, i32)], rows: usize, more: &[&str]) -> (Model, String) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    checkpoint(&at("base"), "base", &[], 300);
    checkpoint(
        &at("chat"),
        "chat",
        &[("<|head|>", CONTROL), ("<|eot|>", CONTROL), ("<|tool|>", CONTROL)],
        303,
    );
    checkpoint(&at("cp"), "cp", cp, rows);
    let [base, chat, cp, out] =
        ["base", "chat", "cp", "out-{type}"].map(|name| at(name).display().to_string());
    let merge = ["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "F32,safetensors-f32"];
    let args = [&merge[..], &["--add-chat-tokens", "--allow-unrelated", "-o", &out], more].concat();
    let ran = ggraft(args).ok();
    let gguf = at("out-F32.gguf");
    ggraft(["verify", gguf.to_str().unwrap()]).ok();
    let Input::Model(model) = open(&gguf).unwrap() else { panic!("not a GGUF") };
    let tokens = texts(&model.metadata);
    let hf = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let hf = hf
        .filter(|p| p.is_dir())
        .find(|p| p.file_name().unwrap().to_string_lossy().starts_with("out-"))
        .unwrap();
    let ids = library_ids(&hf);
    assert_eq!(ids.len(), 3);
    for (text, id, stated) in ids {
        assert_eq!(id, stated, "{text}: the library gives the id that the file states");
        assert_eq!(tokens[id], text, "and the GGUF has the token there");
    }
    let config: Value = serde_json::from_slice(&std::fs::read(hf.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["vocab_size"], tokens.len());
    let generation: Value =
        serde_json::from_slice(&std::fs::read(hf.join("generation_config.json")).unwrap()).unwrap();
    let eot = tokens.iter().position(|t| t == "<|eot|>").unwrap();
    assert!(generation["eos_token_id"].to_string().contains(&eot.to_string()), "{generation}");
    if let Some(peer) = peer::peer() {
        let loaded = peer.load_model(&gguf, true).unwrap();
        assert_eq!(loaded.tokenize("<|eot|>", false, true), [eot as i32]);
    }
    let rows_of = |name: &str, model: &Model| {
        let t = model.tensors.iter().find(|t| t.name == name).unwrap();
        let mut values = vec![0.0; 32];
        (eot, t.clone(), std::mem::take(&mut values))
    };
    let chat = pipeline::open(&at("chat"), &Default::default()).unwrap().model;
    for name in ["token_embd.weight", "output.weight"] {
        let (_, ours, mut a) = rows_of(name, &model);
        let (_, theirs, mut b) = rows_of(name, &chat);
        ours.decode_rows(eot..eot + 1, &mut a).unwrap();
        theirs.decode_rows(301..302, &mut b).unwrap();
        assert_eq!(a, b, "{name}: the row is chat's");
    }
    (model, ran.err)
}

fn texts(metadata: &Metadata) -> Vec<String> {
    match metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array()) {
        Some(Array::Str(tokens)) => tokens.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn added_tokens_have_one_id_in_the_gguf_and_the_directory() {
    let (model, _) = surgery(&[], 300, &[]);
    assert_eq!(texts(&model.metadata)[300..], ["<|head|>", "<|eot|>", "<|tool|>"]);
    let (model, told) = surgery(&[], 320, &[]);
    assert_eq!(texts(&model.metadata)[299..304][1..], ["<|head|>", "<|eot|>", "<|tool|>", "[PAD303]"]);
    assert_eq!(texts(&model.metadata).len(), 320);
    assert!(told.contains("3 of chat's tokens take rows of padding"), "{told}");
    let (model, _) = surgery(&[("new", NORMAL)], 302, &[]);
    assert_eq!(texts(&model.metadata)[300..], ["new", "<|head|>", "<|eot|>", "<|tool|>"]);
}

#[test]
fn a_token_that_cp_has_as_an_ordinary_one_becomes_special_and_is_not_there_twice() {
    let (model, told) = surgery(&[("new", NORMAL), ("<|head|>", NORMAL)], 310, &[]);
    let tokens = texts(&model.metadata);
    assert_eq!(tokens[300..304], ["new", "<|head|>", "<|eot|>", "<|tool|>"]);
    let Some(Array::I32(types)) =
        model.metadata.get("tokenizer.ggml.token_type").and_then(|v| v.as_array()).cloned()
    else {
        panic!("no types")
    };
    assert_eq!(types[300..304], [NORMAL, CONTROL, CONTROL, CONTROL]);
    assert!(told.contains("onto has special tokens of chat as ordinary ones"), "{told}");
}

/// A model of these tokens, with a tensor for each kind of place that a token may have.
fn small(tokens: &[(&str, i32)], rows: usize, of: f32) -> Model {
    let mut m = Metadata::new();
    m.set("general.architecture", "gemma3n");
    m.set("tokenizer.ggml.model", "llama");
    m.set("tokenizer.ggml.tokens", tokens.iter().map(|t| t.0.to_string()).collect::<Vec<_>>());
    m.set("tokenizer.ggml.scores", vec![0f32; tokens.len()]);
    m.set("tokenizer.ggml.token_type", tokens.iter().map(|t| t.1).collect::<Vec<_>>());
    let tensor = |name: &str, ne: &[u64]| {
        let n: u64 = ne.iter().product();
        let values: Vec<f32> = (0..n).map(|i| of + i as f32).collect();
        Tensor::in_memory(name, Shape::new(ne).unwrap(), &values).unwrap()
    };
    let n = rows as u64;
    let tensors = vec![
        tensor("token_embd.weight", &[4, n]),
        tensor("per_layer_token_embd.weight", &[6, n]),
        tensor("output.weight", &[4, n]),
        tensor("output.bias", &[n]),
    ];
    Model { metadata: m, tensors, ..Model::default() }
}

fn grown(cp: Model, chat: Model, base: Model) -> Result<Model> {
    let vocabulary = VocabularyChoices { add_chat_tokens: true, ..VocabularyChoices::default() };
    let options = Options { vocabulary, ..CHAT_VECTOR.into() };
    Graft::new(cp, &[Vector { chat, base }], options)?.model(&[1.0])
}

#[test]
fn growth_grows_everything_that_has_a_place_for_each_token() {
    let own = [("<unk>", 2), ("a", NORMAL), ("b", NORMAL)];
    let more = [&own[..], &[("<|x|>", CONTROL)]].concat();
    for rows in [3, 5] {
        let model = grown(small(&own, rows, 0.5), small(&more, 4, 100.0), small(&own, 3, 0.0)).unwrap();
        let after = rows.max(4) as u64;
        assert_eq!(texts(&model.metadata).len() as u64, after);
        for tensor in &model.tensors {
            let width = if tensor.name == "output.bias" { 1 } else { tensor.shape().row() };
            assert_eq!(tensor.shape().elements(), after * width, "{}", tensor.name);
            let rows = tensor.shape().rows() as usize;
            let mut values = vec![0.0; tensor.shape().elements() as usize];
            tensor.decode_rows(0..rows, &mut values).unwrap();
            let of_chat: Vec<f32> = (0..width).map(|i| 100.0 + (3 * width + i) as f32).collect();
            let at = 3 * width as usize;
            assert_eq!(values[at..at + width as usize], of_chat, "{}", tensor.name);
        }
    }
}

#[test]
fn a_vocabulary_with_more_tokens_than_rows_does_not_grow() {
    let own = [("<unk>", 2), ("a", NORMAL), ("b", NORMAL)];
    let more = [&own[..], &[("<|x|>", CONTROL)]].concat();
    let e = grown(small(&own, 2, 0.5), small(&more, 4, 100.0), small(&own, 3, 0.0)).unwrap_err();
    assert!(e.to_string().contains("onto has more tokens than rows"), "{e}");
}

#[test]
fn a_vector_without_weight_copies_nothing_and_says_so() {
    let load = |name: &str| pipeline::open(&trio(name), &Default::default()).unwrap().model;
    let vectors = || {
        let vector = |chat: &str| Vector { chat: load(chat), base: load("base") };
        [vector("chat"), vector("cp")]
    };
    let graft = |no_auto_copy: bool| {
        let vocabulary = VocabularyChoices { no_auto_copy, ..VocabularyChoices::default() };
        Graft::new(load("cp"), &vectors(), Options { vocabulary, ..CHAT_VECTOR.into() }).unwrap()
    };
    let row = |graft: &Graft, weights: &[f64]| {
        let model = graft.model(weights).unwrap();
        let table = model.tensors.iter().find(|t| t.name == "token_embd.weight").unwrap().clone();
        let mut values = vec![0.0; table.shape().row() as usize];
        table.decode_rows(895..896, &mut values).unwrap();
        values
    };
    let (copying, plain) = (graft(false), graft(true));
    assert_eq!(row(&copying, &[0.0, 0.5]), row(&plain, &[0.0, 0.5]), "nothing of the first chat model");
    assert_ne!(row(&copying, &[0.5, 0.5]), row(&plain, &[0.5, 0.5]));
    let (summary, notes) = copying.tokens(&[0.0, 0.5]);
    assert!(summary.vectors[0].copied.is_empty());
    assert!(notes[0].starts_with("the weight of vector 1 is 0, so nothing is copied"), "{notes:?}");
    let (summary, notes) = copying.tokens(&[1.0, 0.5]);
    assert!(summary.vectors[0].copied.len() == 2 && notes.is_empty());
}
