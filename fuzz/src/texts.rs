//! Texts: tokenizers, the other files of a checkpoint, chat templates, recipes and the words of the command line.

use super::containers::printable;
use super::scratch;
use ggraft::chat::dialogue::{self, Words};
use ggraft::merge::glob::Glob;
use ggraft::merge::weights::Rules;
use ggraft::merge::{METHODS, Params};
use ggraft::output::target::Type;
use ggraft::recipe::Recipe;
use ggraft::{arch, ftype, vocab};
use ggraft_formats::{Checkpoint, Result, Shape, Tensor};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// `tokenizer.json`, alone.
pub fn tokenizer_json(data: &[u8]) {
    tokenizer(&[("tokenizer.json", data)]);
}

/// `tokenizer.model`, alone.
pub fn tokenizer_model(data: &[u8]) {
    tokenizer(&[("tokenizer.model", data)]);
}

/// `qwen.tiktoken`, alone: the first byte is the size of the table, with which the special tokens fit or not.
pub fn tokenizer_tiktoken(data: &[u8]) {
    let Some((size, text)) = data.split_first() else { return };
    tokenizer_of("QWenLMHeadModel", 200 + usize::from(*size), &[(TIKTOKEN, text)]);
}

const TIKTOKEN: &str = "qwen.tiktoken";

fn tokenizer(files: &[(&str, &[u8])]) {
    tokenizer_of("LlamaForCausalLM", 64, files);
}

fn tokenizer_of(class: &str, rows: usize, files: &[(&str, &[u8])]) {
    with_only(files, |dir| {
        let checkpoint = Checkpoint { dir: dir.to_path_buf(), ..Checkpoint::default() };
        let config = json!({ "architectures": [class], "vocab_size": rows });
        match vocab::tokenizer(&checkpoint, &config, &vocab::Options::default()) {
            Ok(tokenizer) => tokenizer.warnings.iter().for_each(|w| printable_once_escaped(w)),
            Err(e) => printable(&e.to_string()),
        }
    });
}

/// The files of a small checkpoint, each with what stands there unless the fuzzer writes it.
const FILES: &[(&str, &str)] = &[
    (
        "config.json",
        r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":4,"hidden_size":4,
        "intermediate_size":4,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":2,
        "max_position_embeddings":8,"rms_norm_eps":1e-5,"tie_word_embeddings":true}"#,
    ),
    (
        "tokenizer.json",
        r#"{"model":{"type":"BPE","byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"</s>":2,"a":3},"merges":[]}}"#,
    ),
    ("tokenizer_config.json", "{}"),
    ("generation_config.json", "{}"),
    ("special_tokens_map.json", "{}"),
    ("added_tokens.json", "{}"),
    ("chat_template.jinja", "{{ messages }}"),
    ("chat_template.json", "{}"),
    ("README.md", "# a model\n"),
];

/// The first byte chooses the file, the rest is what stands in it.
pub fn checkpoint(data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let mut files: Vec<(&str, &[u8])> = FILES.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    files[usize::from(*which) % FILES.len()].1 = text;
    with_only(&files, |dir| {
        let tensors = tensors().expect("the tensors of a small checkpoint");
        let checkpoint = Checkpoint { dir: dir.to_path_buf(), tensors, ..Checkpoint::default() };
        match arch::adopt(&checkpoint, &arch::Options::default()) {
            Ok(adopted) => adopted.warnings.iter().for_each(|w| printable_once_escaped(w)),
            Err(e) => printable(&e.to_string()),
        }
    });
}

fn tensors() -> Result<Vec<Tensor>> {
    let layer = "model.layers.0";
    let mut all = vec![("model.embed_tokens.weight".to_string(), 2), ("model.norm.weight".to_string(), 1)];
    for name in ["input_layernorm", "post_attention_layernorm"] {
        all.push((format!("{layer}.{name}.weight"), 1));
    }
    for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"] {
        all.push((format!("{layer}.{name}.weight"), 2));
    }
    for name in ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] {
        all.push((format!("{layer}.{name}.weight"), 2));
    }
    let tensor = |(name, dims): &(String, usize)| {
        let ne = [4; 2];
        let shape = Shape::new(&ne[..*dims]).expect("a small shape");
        Tensor::in_memory(name, shape, &[0.5; 16][..4usize.pow(*dims as u32)])
    };
    all.iter().map(tensor).collect()
}

/// Calls `f` with a directory that holds these files and no others of a checkpoint.
fn with_only(files: &[(&str, &[u8])], f: impl FnOnce(&Path)) {
    scratch::with(files, |dir| {
        for name in FILES.iter().map(|(name, _)| *name).chain(["tokenizer.model", TIKTOKEN]) {
            if files.iter().all(|(kept, _)| *kept != name) {
                _ = std::fs::remove_file(dir.join(name));
            }
        }
        f(dir);
    });
}

/// What is read is written so that it is read again.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Recipe::parse(text, Path::new("recipe.yml")) {
        Err(e) => printable(&e.to_string()),
        Ok((recipe, _)) => {
            _ = recipe.options();
            let text = recipe.to_yaml(None).expect("a recipe that was read can be written");
            let again = Recipe::parse(&text, Path::new("again.yml"));
            let (again, _) = again.unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(again, recipe, "{text}");
        }
    }
}

/// A word a line, each as everything that it may be.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let names = ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "token_embd.weight"];
    for word in text.lines() {
        if let Ok(glob) = Glob::parse(word).and_then(|glob| glob.resolve(2)) {
            names.iter().for_each(|name| _ = glob.matches(name));
        }
        if let Ok(rules) = Rules::parse([], [word]) {
            _ = rules.factors(&names);
        }
        _ = ftype::TensorType::parse(word);
        _ = Type::parse(word);
        let mixture = ggraft::recipe::Mixture { override_kv: vec![word.to_string()], ..Default::default() };
        _ = Type::parse("Q8_0").and_then(|kind| mixture.target(kind).map(|_| ()));
        if let Some((name, value)) = word.split_once('=') {
            METHODS.iter().for_each(|method| _ = Params::read(method, [(name, value)]));
        }
    }
}

pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let special = BTreeSet::from(["<|im_end|>".to_string(), "</s>".to_string()]);
    // One that is given up ends the program; here it would go on.
    let dialogue = dialogue::read(text, Words { bos: "<s>", eos: "</s>", special: &special });
    assert!(dialogue.expect("an end").markers.iter().all(|m| m.len() <= 1 << 10));
}

/// Warnings are escaped where they are printed.
fn printable_once_escaped(text: &str) {
    printable(&ggraft_formats::error::Printable(text).to_string());
}
