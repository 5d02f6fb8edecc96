//! What the files of a checkpoint say is what transformers takes them to say, or a line says otherwise; templates are read
//! by one reader; `verify` accepts only vocabularies that llama.cpp loads; options beside a mergekit recipe count.

#[path = "support/run.rs"]
mod run;

use ggraft_formats::{Array, Input, Model, open};
use run::{Ran, ggraft, trio, trio_copy};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A copy of a model of the trio, with one of its JSON files changed.
struct Changed {
    dir: tempfile::TempDir,
    model: PathBuf,
}

impl Changed {
    fn new(file: &str, change: impl Fn(&mut Value)) -> Changed {
        let dir = tempfile::tempdir().unwrap();
        let model = trio_copy("chat", dir.path());
        let changed = Changed { dir, model };
        changed.edit(file, change);
        changed
    }

    fn edit(&self, file: &str, change: impl Fn(&mut Value)) {
        let path = self.model.join(file);
        let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(path, json.to_string()).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out.gguf")
    }

    fn convert(&self) -> Ran {
        let [model, out] = [&self.model, &self.out()].map(|path| path.display().to_string());
        ggraft(["convert", &model, "--type", "F16", "--force", "-o", &out])
    }

    fn converted(&self) -> (Model, String) {
        let told = self.convert().ok().err;
        let Input::Model(model) = open(&self.out()).unwrap() else { panic!("not a GGUF") };
        (model, told)
    }
}

#[test]
fn the_jinja_file_comes_before_the_config_and_the_config_is_told() {
    let changed = Changed::new("tokenizer_config.json", |c| c["chat_template"] = json!("OLD"));
    std::fs::write(changed.model.join("chat_template.jinja"), "NEW").unwrap();
    let (model, told) = changed.converted();
    assert_eq!(model.metadata.str("tokenizer.chat_template"), Some("NEW"));
    assert!(told.contains("tokenizer_config.json: its chat_template is left out"), "{told}");
}

#[test]
fn a_model_that_the_graph_cannot_compute_is_refused_by_key() {
    for (key, value) in
        [("hidden_act", json!("relu")), ("is_causal", json!(false)), ("logit_scale", json!(0.5))]
    {
        let ran = Changed::new("config.json", |c| c[key] = value.clone()).convert();
        assert_eq!(ran.code, 4, "{key}: {}", ran.err);
        assert!(ran.err.contains(key) && ran.err.contains("the runtime"), "{}", ran.err);
    }
    let (_, told) =
        Changed::new("config.json", |c| c["layer_types"] = json!(["sliding_attention"])).converted();
    assert!(told.contains("layer_types is"), "{told}");
}

#[test]
fn a_tokenizer_that_is_not_bpe_is_named() {
    let changed = Changed::new("tokenizer.json", |t| {
        t["model"] =
            json!({"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [["<unk>", 0.0]]});
    });
    std::fs::remove_file(changed.model.join("tokenizer.model")).unwrap();
    let ran = changed.convert();
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("the tokenizer is Unigram, not BPE") && !ran.err.contains("--pre"),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_added_to_a_text_is_what_the_post_processor_adds() {
    let (model, told) =
        Changed::new("tokenizer_config.json", |c| c["add_eos_token"] = json!(true)).converted();
    assert_eq!(model.metadata.get("tokenizer.ggml.add_eos_token"), Some(&false.into()));
    assert!(told.contains("add_eos_token is true"), "{told}");
}

/// A file, and a pipe with the same text.
#[test]
fn a_template_is_read_as_it_is_from_files_and_pipes_by_every_verb() {
    const TEXT: &str = "{% for m in messages %}\r\n<|im_start|>{{ m.content }}<|im_end|>\r\n{% endfor %}";
    let dir = tempfile::tempdir().unwrap();
    let [file, out] = ["t.jinja", "out.gguf"].map(|name| dir.path().join(name).display().to_string());
    std::fs::write(&file, TEXT).unwrap();
    let template = || {
        let Input::Model(model) = open(Path::new(&out)).unwrap() else { panic!("not a GGUF") };
        model.metadata.str("tokenizer.chat_template").map(String::from)
    };
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let merge = [
        "merge", "-q", "--force", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "f16", "-o",
        &out,
    ];
    ggraft([&merge[..], &["--chat-template", &file]].concat()).ok();
    assert_eq!(template().as_deref(), Some(TEXT));
    ggraft(["meta", "set", &out, "general.name=str:other"]).ok();
    ggraft(["meta", "set", &out, "--chat-template", &file]).ok();
    assert_eq!(template().as_deref(), Some(TEXT));
    if cfg!(unix) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args([&merge[..], &["--chat-template", "/dev/stdin"]].concat())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(TEXT.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(template().as_deref(), Some(TEXT));
    }
}

#[test]
fn verify_refuses_a_vocabulary_that_llama_cpp_does_not_load() {
    let changed = Changed::new("config.json", |_| {});
    let (model, _) = changed.converted();
    let out = changed.out().display().to_string();
    ggraft(["verify", "-q", &out]).ok();
    let spoiled = |change: &dyn Fn(&mut Model)| {
        let mut model = model.clone();
        change(&mut model);
        ggraft::vocab::check::problems(&model.metadata, &model.tensors)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(spoiled(&|_| {}).is_empty());
    let tokens = |model: &Model| match model.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array())
    {
        Some(Array::Str(tokens)) => tokens.clone(),
        other => panic!("{other:?}"),
    };
    let twice = spoiled(&|m| {
        let mut all = tokens(m);
        all[500] = all[400].clone();
        m.metadata.set("tokenizer.ggml.tokens", all);
    });
    assert!(twice.len() == 1 && twice[0].contains("with the ids 400 and 500"), "{twice:?}");
    let short = spoiled(&|m| m.metadata.set("tokenizer.ggml.token_type", vec![1i32; 3]));
    assert!(short[0].contains("`tokenizer.ggml.token_type` is not what llama.cpp takes"), "{short:?}");
    let wrong = spoiled(&|m| m.metadata.set("tokenizer.ggml.scores", vec![1u32; 896]));
    assert!(wrong[0].contains("`tokenizer.ggml.scores`"), "{wrong:?}");
    let fewer = spoiled(&|m| m.metadata.set("tokenizer.ggml.tokens", tokens(m)[..800].to_vec()));
    assert!(fewer.iter().all(|e| e.contains("one row for each token")) && !fewer.is_empty(), "{fewer:?}");
    // Through the program: exit code 7.
    ggraft(["meta", "set", &out, "tokenizer.ggml.model=str:nobody", "--force"]).ok();
    let ran = ggraft(["verify", "-q", &out]);
    assert_eq!(ran.code, 7, "{}", ran.err);
}

#[test]
fn a_mergekit_recipe_is_told_by_line_where_it_means_something_else_and_takes_options() {
    let dir = tempfile::tempdir().unwrap();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let recipe = dir.path().join("r.yml");
    let text = format!(
        "merge_method: task_arithmetic\nbase_model: {cp}\nmodels:\n  - model: {chat}\n    parameters: {{weight: \"0.5\"}}\n  - model: {base}\n    parameters: {{weight: -0.5}}\ntokenizer_source: base\nchat_template: llama3\ndtype: float32\n"
    );
    std::fs::write(&recipe, text).unwrap();
    let recipe = recipe.display().to_string();
    let out = dir.path().join("never.gguf").display().to_string();
    let merge = |more: &[&str]| ggraft([&["merge", &recipe, "-o", &out, "--dry-run"], more].concat());
    let ran = merge(&["--chat-template", "chat", "--allow-unrelated", "--embeddings", "template"]).ok();
    for said in [
        "line 9: chat_template: 'llama3' is ggraft's template",
        "line 8: tokenizer_source: rows beyond the tokens stay",
        "line 8: tokenizer_source: a token that one model of a pair",
        "--embeddings template",
    ] {
        assert!(ran.err.contains(said) || ran.out.contains(said), "{said}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_directory_has_what_prepares_images_and_tells_of_code_that_stays() {
    let changed = Changed::new("config.json", |c| c["auto_map"] = json!({"AutoModel": "modeling_x.X"}));
    let out = changed.dir.path().join("out");
    std::fs::write(changed.model.join("preprocessor_config.json"), "{\"size\": 7}").unwrap();
    let [model, to] = [&changed.model, &out].map(|path| path.display().to_string());
    let told = ggraft(["convert", &model, "--type", "safetensors", "-o", &to]).ok().err;
    assert_eq!(std::fs::read_to_string(out.join("preprocessor_config.json")).unwrap(), "{\"size\": 7}");
    assert!(told.contains("auto_map: modeling_x.py) is not copied"), "{told}");
}

#[test]
fn a_directory_has_the_modules_of_sentence_transformers_in_their_folders() {
    const LIST: &str = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "3_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "4_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"path": "../elsewhere", "type": "x"}]"#;
    let changed = Changed::new("config.json", |_| {});
    let out = changed.dir.path().join("out");
    let files = [
        ("modules.json", LIST),
        ("sentence_bert_config.json", "{}"),
        ("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#),
        ("2_Dense/config.json", r#"{"out_features": 8}"#),
        ("2_Dense/model.safetensors", "weights"),
        ("4_Dense/config.json", "{}"),
        ("0_Transformer/model.safetensors", "weights"),
        ("3_Dense/pytorch_model.bin", "weights"),
    ];
    for folder in ["0_Transformer", "1_Pooling", "2_Dense", "3_Dense", "4_Dense"] {
        std::fs::create_dir(changed.model.join(folder)).unwrap();
    }
    files.iter().for_each(|(name, text)| std::fs::write(changed.model.join(name), text).unwrap());
    let [model, to] = [&changed.model, &out].map(|path| path.display().to_string());
    let convert =
        |more: &[&str]| ggraft([&["convert", &model, "--type", "safetensors", "-o", &to], more].concat());
    let told = convert(&[]).ok().err;
    for said in [
        "the weights of the module 2_Dense go along as they are",
        "3_Dense/pytorch_model.bin, the weights of a module, is not copied",
        "the module 4_Dense has no weights here",
        "0_Transformer, which is a model of its own by the list of modules, is not copied",
        "the module ../elsewhere is not copied",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let (held, gone) = files.split_at(files.len() - 2);
    let same = || held.iter().all(|(name, text)| std::fs::read(out.join(name)).unwrap() == text.as_bytes());
    assert!(same() && gone.iter().all(|(name, _)| !out.join(name).exists()));
    // It is replaced as a whole, but never with what is none of a model's.
    let report = changed.dir.path().join("r.json").display().to_string();
    convert(&["--force", "--report", &report]).ok();
    assert!(same());
    let told = std::fs::read_to_string(&report).unwrap();
    assert!(told.contains("\"2_Dense/model.safetensors\""), "{told}");
    std::fs::remove_file(report).unwrap();
    std::fs::write(out.join("1_Pooling/thesis.odt"), "mine").unwrap();
    assert!(convert(&["--force"]).err.contains("holds more than a model"));
    assert_eq!(std::fs::read(out.join("1_Pooling/thesis.odt")).unwrap(), b"mine");
    let names = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(names(changed.dir.path()), 2, "nothing is left beside");
}
