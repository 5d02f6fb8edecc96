//! The options for vocabulary and chat template as people type them, on the trio.

#[path = "support/run.rs"]
mod run;

use ggraft_formats::{Input, Model, open};
use run::{Ran, ggraft, trio, trio_copy};
use serde_json::Value as Json;
use std::path::Path;

fn merge(more: &[&str]) -> Ran {
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let models = ["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "f32", "-q"];
    ggraft([&models, more].concat())
}

/// The vocabulary part of the plan.
fn plan(more: &[&str]) -> Json {
    let ran = merge(&[more, &["--dry-run", "--json", "-o", "never.gguf"]].concat()).ok();
    let plan: Json = serde_json::from_str(&ran.out).unwrap();
    plan["vocabulary"].clone()
}

fn written(more: &[&str]) -> Model {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    merge(&[more, &["-o", out.to_str().unwrap()]].concat()).ok();
    let Input::Model(model) = open(&out).unwrap() else { panic!("not a GGUF") };
    model
}

/// The rows of a table that differ from those of another model; beyond its rows all do.
fn changed(a: &Model, b: &Model, table: &str) -> Vec<usize> {
    let find = |m: &Model| m.tensors.iter().find(|t| t.name == table).unwrap().clone();
    let (a, b) = (find(a), find(b));
    let row = |t: &ggraft_formats::Tensor, i: usize| {
        let mut values = vec![0.0; t.shape().row() as usize];
        (i < t.shape().rows() as usize).then(|| {
            t.decode_rows(i..i + 1, &mut values).unwrap();
            values
        })
    };
    (0..a.shape().rows() as usize).filter(|i| row(&a, *i) != row(&b, *i)).collect()
}

#[test]
fn the_policies_change_the_rows_that_they_name() {
    let cp = written(&["-w", "0", "--no-auto-copy"]);
    for (policy, rows) in [("keep", 0..0), ("template", 894..896), ("auto", 894..896)] {
        let merged = written(&["--embeddings", policy, "--no-auto-copy"]);
        assert_eq!(changed(&merged, &cp, "token_embd.weight"), rows.clone().collect::<Vec<_>>(), "{policy}");
        assert_eq!(changed(&merged, &cp, "output.weight"), rows.collect::<Vec<_>>(), "{policy}");
        assert_eq!(plan(&["--embeddings", policy])["vectors"][0]["classes"][1]["rows"], 384);
    }
    let shared = changed(&written(&["--embeddings", "shared"]), &cp, "output.weight");
    assert!(shared.len() > 800 && shared.iter().all(|row| *row < 896), "{shared:?}");
    let ran = merge(&["--embeddings", "all", "--dry-run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("give --embeddings shared, which adds rows by token"), "{}", ran.err);
    assert_eq!(merge(&["--embeddings", "none"]).code, 2);
    assert_eq!(merge(&["--baseless-tokens", "none"]).code, 2);
}

#[test]
fn copied_rows_are_chats_whatever_the_weight() {
    let copied = &plan(&[])["vectors"][0]["copied"];
    assert_eq!(copied.as_array().unwrap().len(), 2);
    assert_eq!((&copied[1]["token"], &copied[1]["id"]), (&Json::from("<|im_end|>"), &Json::from(895)));
    assert_eq!(plan(&["--no-auto-copy"])["vectors"][0]["copied"].as_array().unwrap().len(), 0);
    let merge = |w| {
        written(&["-w", w, "--copy-token", "<|im_end|>", "--copy-token", "</s>", "--baseless-tokens", "lerp"])
    };
    let (half, whole) = (merge("0.5"), merge("1"));
    for table in ["token_embd.weight", "output.weight"] {
        let rows = changed(&half, &whole, table);
        assert!(!rows.contains(&895) && !rows.contains(&2), "{rows:?}");
    }
    let ran = self::merge(&["--copy-token", "nowhere", "--dry-run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--copy-token 'nowhere' cannot be copied"), "{}", ran.err);
}

#[test]
fn templates_by_name_file_and_owner() {
    const KEY: &str = "tokenizer.chat_template";
    const EOS: &str = "tokenizer.ggml.eos_token_id";
    for (name, eos) in
        [("chatml", 895), ("mistral", 2), ("llama2", 2), ("alpaca", 2), ("solar", 2), ("chat", 895)]
    {
        let model = written(&["--chat-template", name]);
        assert_eq!(model.metadata.u64(EOS), Some(eos), "{name}");
    }
    for (name, end) in [("llama3", "<|eot_id|>"), ("gemma", "<end_of_turn>")] {
        let ran = merge(&["--chat-template", name, "--dry-run"]);
        assert_eq!(ran.code, 3, "{name}");
        assert!(ran.err.contains(&format!("expected '{end}' to be one special token")), "{}", ran.err);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.jinja");
    std::fs::write(&file, "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}").unwrap();
    let model = written(&["--chat-template", file.to_str().unwrap()]);
    assert!(model.metadata.str(KEY).unwrap().contains("m.content"));
    assert_eq!(model.metadata.u64(EOS), Some(895));
    for (template, code) in [("cp", 3), ("no-such-file", 2)] {
        assert_eq!(merge(&["--chat-template", template, "--dry-run"]).code, code, "{template}");
    }
}

/// A chat model with a token of its own: refused, or appended to the file that is written.
#[test]
fn tokens_of_chat_alone() {
    let dir = tempfile::tempdir().unwrap();
    let chat = trio_copy("chat", dir.path());
    std::fs::remove_file(chat.join("tokenizer.model")).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        rename(&chat.join(file), "<|im_end|>", "<|turn_end|>");
    }
    let [base, cp] = ["base", "cp"].map(|name| trio(name).display().to_string());
    let out = dir.path().join("out.gguf");
    let (chat, out) = (chat.to_str().unwrap(), out.to_str().unwrap());
    let args = ["merge", "-q", "--base", &base, "--chat", chat, "--onto", &cp, "--type", "f32", "-o", out];
    let ran = ggraft(args);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("found in chat alone: '<|turn_end|>' (id 895); give --add-chat-tokens"),
        "{}",
        ran.err
    );
    ggraft([&args[..], &["--add-chat-tokens"]].concat()).ok();
    let Input::Model(model) = open(Path::new(out)).unwrap() else { panic!("not a GGUF") };
    assert_eq!(model.metadata.u64("tokenizer.ggml.eos_token_id"), Some(1280));
    assert_eq!(model.metadata.u64("llama.vocab_size"), Some(1281));
    assert!(model.tensors.iter().filter(|t| t.shape().rows() == 1281).count() == 2);
    ggraft(["verify", out]).ok();
}

fn rename(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{}", file.display());
    std::fs::write(file, text.replace(from, to)).unwrap();
}
