//! Hugging Face directories as outputs: they are whole, they hold the very weights of the GGUF, and loaders find in
//! them what the merge decided. And what every output tells of where it comes from.

#[path = "support/run.rs"]
mod run;

use ggraft::checkpoint::Source;
use ggraft_formats::safetensors::{self, Directory, Named};
use ggraft_formats::write::write;
use ggraft_formats::{Array, DType, Input, Metadata, Shape, Tensor, Value, open};
use run::{Ran, ggraft, trio, trio_copy};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A merge of the trio with weight 0.7.
fn merge(kinds: &str, out: &Path, more: &[&str]) -> Ran {
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let out = out.display().to_string();
    let args =
        ["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "-w", "0.7", "--type", kinds, "-o", &out];
    ggraft([&args[..], more].concat())
}

fn convert(input: &Path, kind: &str, out: &Path) -> Ran {
    ggraft([
        "convert".as_ref(),
        input.as_os_str(),
        "--type".as_ref(),
        kind.as_ref(),
        "-o".as_ref(),
        out.as_os_str(),
    ])
}

/// Names, dtypes and bytes of all tensors of a GGUF.
fn tensors(path: &Path) -> Vec<(String, DType, Vec<u8>)> {
    let Input::Model(model) = open(path).unwrap() else { panic!("not a GGUF") };
    let one = |t: &Tensor| {
        let mut bytes = vec![0; t.bytes() as usize];
        t.read(0..t.shape().rows() as usize, &mut bytes).unwrap();
        (t.name.clone(), t.dtype(), bytes)
    };
    model.tensors.iter().map(one).collect()
}

fn metadata(path: &Path) -> Metadata {
    let Input::Model(model) = open(path).unwrap() else { panic!("not a GGUF") };
    model.metadata
}

fn json(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every file below `dir`, with its content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => {
                all.push((path.file_name().unwrap().to_string_lossy().into(), std::fs::read(&path).unwrap()))
            }
        }
    }
    all.sort();
    all
}

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_directory_holds_the_weights_of_the_gguf() {
    let s = Scratch::new();
    merge("safetensors-f32", &s.path("hf"), &["-q"]).ok();
    merge("f32", &s.path("direct.gguf"), &["-q"]).ok();
    convert(&s.path("hf"), "f32", &s.path("back.gguf")).ok();
    assert!(tensors(&s.path("back.gguf")) == tensors(&s.path("direct.gguf")));
}

#[test]
fn a_conversion_and_back_is_the_checkpoint() {
    let s = Scratch::new();
    convert(&trio("cp"), "safetensors", &s.path("again")).ok();
    let old = std::fs::read(trio("cp").join("model.safetensors")).unwrap();
    let held = |path: &Path| -> Vec<(String, DType, Vec<u8>)> {
        let mut tensors = safetensors::open(path).unwrap().tensors;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let one = |t: Tensor| {
            let bytes = t.with_rows(0..t.shape().rows() as usize, |b| Ok(b.to_vec())).unwrap();
            (t.name.clone(), t.dtype(), bytes)
        };
        tensors.into_iter().map(one).collect()
    };
    assert!(!old.is_empty() && held(&s.path("again")) == held(&trio("cp")));
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ] {
        let read = |dir: PathBuf| std::fs::read(dir.join(name)).unwrap();
        assert!(read(s.path("again")) == read(trio("cp")), "{name}");
    }
}

#[test]
fn the_files_say_what_the_merge_decided() {
    let s = Scratch::new();
    let ran = merge("safetensors-bf16", &s.path("hf"), &[]).ok();
    assert_eq!(ran.out, format!("{}\n", s.path("hf").display()));
    let template = metadata_of_chat();
    let config = json(&s.path("hf/config.json"));
    assert_eq!(config["vocab_size"], json!(1280));
    assert_eq!(config["eos_token_id"], json!(895));
    assert_eq!(config["torch_dtype"], json!("bfloat16"));
    assert_eq!(json(&s.path("hf/generation_config.json"))["eos_token_id"], json!(895));
    let tokenizer = json(&s.path("hf/tokenizer_config.json"));
    assert_eq!(tokenizer["chat_template"], json!(template));
    assert_eq!(tokenizer["eos_token"], json!("<|im_end|>"));
    assert_eq!(json(&s.path("hf/special_tokens_map.json"))["eos_token"], json!("<|im_end|>"));
    assert_eq!(std::fs::read_to_string(s.path("hf/chat_template.jinja")).unwrap(), template);
    for name in ["tokenizer.json", "tokenizer.model"] {
        assert!(
            std::fs::read(s.path("hf").join(name)).unwrap() == std::fs::read(trio("cp").join(name)).unwrap()
        );
    }
    let card = std::fs::read_to_string(s.path("hf/README.md")).unwrap();
    for line in [
        "base_model:\n- \"cp\"\n- \"chat\"\n- \"base\"\nbase_model_relation: merge\n",
        "tags:\n- merge\n- chat-vector\n- ggraft\n---\n",
        "ggraft merge --base base --chat chat --onto cp --weight 0.7 --type safetensors-bf16\n",
    ] {
        assert!(card.contains(line), "{line}\n{card}");
    }
    assert!(ran.err.contains("rounding to 16 bits adds an error of "), "{}", ran.err);
    assert_eq!(s.names(), ["hf"]);
}

/// The chat model's template, read from its own file.
fn metadata_of_chat() -> String {
    json(&trio("chat").join("tokenizer_config.json"))["chat_template"].as_str().unwrap().to_string()
}

/// Tokens, ends of turn and sampling defaults that a merge takes over stand where loaders look for them.
#[test]
fn what_a_merge_adds_is_written_back() {
    let Input::Checkpoint(checkpoint) = open(&trio("cp")).unwrap() else { panic!("not a checkpoint") };
    let metadata = ggraft::arch::adopt(&checkpoint, &Default::default()).unwrap().model.metadata;
    let source = Source { checkpoint, metadata, is_projector: false, stored: Vec::new() };
    let mut merged = source.metadata.clone();
    let (Some(Value::Array(Array::Str(tokens))), Some(Value::Array(Array::I32(types)))) =
        (merged.get("tokenizer.ggml.tokens").cloned(), merged.get("tokenizer.ggml.token_type").cloned())
    else {
        panic!("no tokens")
    };
    let id = tokens.len();
    merged.set("tokenizer.ggml.tokens", [tokens, vec!["<|eot|>".into()]].concat());
    merged.set("tokenizer.ggml.token_type", [types, vec![3]].concat());
    merged.set("tokenizer.ggml.eot_token_id", id as u32);
    merged.set("general.sampling.temp", 0.6f32);
    let files = source.directory(Vec::new(), &merged, None, None).unwrap().files;
    let file = |name: &str| -> Json {
        serde_json::from_slice(&files.iter().find(|(n, _)| n == name).unwrap().1).unwrap()
    };
    let last = file("tokenizer.json")["added_tokens"].as_array().unwrap().last().cloned().unwrap();
    assert_eq!(
        (&last["id"], &last["content"], &last["special"]),
        (&json!(id), &json!("<|eot|>"), &json!(true))
    );
    let declared = &file("tokenizer_config.json")["added_tokens_decoder"][id.to_string()];
    assert_eq!(declared["content"], json!("<|eot|>"));
    let generation = file("generation_config.json");
    assert_eq!(generation["eos_token_id"], json!([2, id]));
    assert_eq!((generation["temperature"].as_f64(), &generation["do_sample"]), (Some(0.6), &json!(true)));
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_company() {
    let s = Scratch::new();
    for threads in ["1", "2", "5"] {
        merge("safetensors-bf16", &s.path(threads), &["-q", "-t", threads]).ok();
        assert!(files(&s.path(threads)) == files(&s.path("1")), "{threads}");
    }
    merge("Q4_K_M,safetensors-bf16,BF16", &s.path("many-{type}"), &["-q"]).ok();
    assert!(files(&s.path("many-safetensors-bf16")) == files(&s.path("1")));
    for kind in ["Q4_K_M", "BF16"] {
        merge(kind, &s.path("one.gguf"), &["-q", "-f"]).ok();
        assert!(
            std::fs::read(s.path("one.gguf")).unwrap()
                == std::fs::read(s.path(&format!("many-{kind}.gguf"))).unwrap(),
            "{kind}"
        );
    }
}

/// Neither where the inputs lie nor where the outputs go can be read from an output.
#[test]
fn no_output_tells_a_path() {
    let s = Scratch::new();
    let [base, chat, cp] =
        ["base", "chat", "cp"].map(|name| trio_copy(name, s.0.path()).display().to_string());
    let (out, report) =
        (s.path("out/{type}").display().to_string(), s.path("out/report.json").display().to_string());
    std::fs::create_dir(s.path("out")).unwrap();
    ggraft([
        "merge",
        "--vector",
        &format!("{chat}:{base}:0.7"),
        "--onto",
        &cp,
        "--type",
        "q8_0,safetensors",
        "-o",
        &out,
        "--report",
        &report,
    ])
    .ok();
    let secret = s.0.path().file_name().unwrap().to_string_lossy().into_owned();
    let all = files(&s.path("out"));
    assert!(all.len() >= 10);
    for (name, content) in all {
        assert!(!content.windows(secret.len()).any(|w| w == secret.as_bytes()), "{name}");
    }
}

#[test]
fn the_origins_are_told() {
    let s = Scratch::new();
    merge("Q8_0", &s.path("out.gguf"), &["-q"]).ok();
    let m = metadata(&s.path("out.gguf"));
    assert_eq!(m.get("general.base_model.count"), Some(&Value::U32(3)));
    for (i, (role, name)) in [("CP", "cp"), ("chat", "chat"), ("base", "base")].into_iter().enumerate() {
        assert_eq!(m.str(&format!("ggraft.source.{i}.role")), Some(role));
        assert_eq!(m.str(&format!("ggraft.source.{i}.name")), Some(name));
        assert_eq!(m.str(&format!("ggraft.source.{i}.header_sha256")).map(str::len), Some(64));
        assert!(m.str(&format!("general.base_model.{i}.name")).is_some());
    }
    let recipe: Json = serde_json::from_str(m.str("ggraft.recipe").unwrap()).unwrap();
    assert_eq!(recipe["vectors"], json!([{ "chat": 1, "base": 2, "weight": 0.7 }]));
    assert_eq!(m.str("ggraft.version"), Some(env!("CARGO_PKG_VERSION")));
    // A conversion is the converter's, key for key.
    convert(&trio("cp"), "Q8_0", &s.path("cp.gguf")).ok();
    assert!(!metadata(&s.path("cp.gguf")).iter().any(|(key, _)| key.starts_with("ggraft.")));
}

#[test]
fn a_report_tells_every_tensor_and_file() {
    let s = Scratch::new();
    let report = s.path("report.json").display().to_string();
    merge("Q4_K_M,safetensors-bf16", &s.path("o-{type}"), &["-q", "--report", &report]).ok();
    let told = json(&s.path("report.json"));
    let [gguf, hf] = &told["outputs"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!(gguf["classes"], json!({ "merged": 30 }));
    assert_eq!(gguf["tensors"].as_array().unwrap().len(), 30);
    assert_eq!(gguf["loss"], Json::Null);
    let (share, traceless) =
        (hf["loss"]["share"].as_f64().unwrap(), hf["loss"]["traceless"].as_u64().unwrap());
    assert!(share > 0.0 && share < 1.0 && traceless < hf["loss"]["changed"].as_u64().unwrap());
    assert_eq!(hf["origins"][1]["weights"], json!([0.7]));
    for output in [gguf, hf] {
        for file in output["files"].as_array().unwrap() {
            let mut path = s.path(output["output"].as_str().unwrap());
            if path.is_dir() {
                path.push(file["name"].as_str().unwrap());
            }
            let bytes = std::fs::read(&path).unwrap();
            use sha2::Digest;
            let digest = sha2::Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
            assert_eq!(
                (file["bytes"].as_u64(), file["sha256"].as_str()),
                (Some(bytes.len() as u64), Some(&*digest))
            );
        }
    }
    let again = merge("Q8_0", &s.path("more"), &["-q", "--report", &report]);
    assert!(again.code == 1 && again.err.contains("the report exists"), "{}", again.err);
    assert!(!s.path("more").exists());
}

#[test]
fn what_cannot_be_a_directory_is_refused() {
    let s = Scratch::new();
    let (cp, out) = (trio("cp"), s.path("cp.gguf"));
    let (cp, out) = (cp.to_str().unwrap(), out.to_str().unwrap());
    ggraft(["convert", cp, "--type", "f32", "-o", out]).ok();
    ggraft(["meta", "set", out, "general.architecture=str:unheard-of", "--force"]).ok();
    let ran = convert(&s.path("cp.gguf"), "safetensors", &s.path("hf"));
    assert_eq!(ran.code, 4);
    let words = "no page says how this architecture goes back to Hugging Face's names";
    assert!(ran.err.contains(words) && ran.err.contains("'unheard-of'"), "{}", ran.err);
    assert_eq!(s.names(), ["cp.gguf"]);
}

#[test]
fn a_directory_is_replaced_with_force_and_only_if_it_is_a_model() {
    let s = Scratch::new();
    let out = s.path("hf");
    merge("safetensors-bf16", &out, &["-q"]).ok();
    let ran = merge("safetensors-f32", &out, &["-q"]);
    assert!(ran.code == 1 && ran.err.contains("the output exists"), "{}", ran.err);
    std::fs::write(out.join("model-00001-of-00002.safetensors"), "stale").unwrap();
    merge("safetensors-f32", &out, &["-q", "-f"]).ok();
    assert!(!out.join("model-00001-of-00002.safetensors").exists());
    std::fs::write(out.join("thesis.docx"), "mine").unwrap();
    let ran = merge("safetensors-bf16", &out, &["-q", "-f"]);
    assert!(
        ran.err.contains("holds more than a model and is not replaced: found 'thesis.docx'"),
        "{}",
        ran.err
    );
    assert!(out.join("thesis.docx").exists() && s.names() == ["hf"]);
    // An input is never replaced, nor the directory that it lies in.
    let cp = trio_copy("cp", s.0.path());
    for input in [cp.clone(), cp.join("model.safetensors")] {
        let out = cp.display().to_string();
        let input = input.display().to_string();
        let ran = ggraft(["convert", &input, "--type", "safetensors", "-f", "-o", &out]);
        assert!(ran.code == 1 && ran.err.contains("the output is one of the inputs"), "{}", ran.err);
    }
}

/// Shards are as large as allowed, in the order of the tensors, and the reader puts them together again.
#[test]
fn shards_and_their_index() {
    let s = Scratch::new();
    let tensor = |i: usize, n: u64, dtype: DType| {
        let shape = Shape::new(&[n, 3]).unwrap();
        let values: Vec<f32> = (0..n * 3).map(|x| x as f32 + i as f32).collect();
        let name = format!("t{i}");
        let tensor = Tensor::in_memory(&name, shape, &values).unwrap().encode(dtype, None).unwrap();
        Named { name, tensor }
    };
    let tensors = vec![
        tensor(0, 5, DType::BF16),
        tensor(1, 10, DType::F32),
        tensor(2, 100, DType::F16),
        tensor(3, 1, DType::BF16),
    ];
    let directory = Directory { tensors, metadata: Vec::new(), files: Vec::new(), shard: 200 };
    let out = s.path("sharded");
    write(&[safetensors::plan(&directory, &out).unwrap()], &()).unwrap();
    let index = json(&out.join("model.safetensors.index.json"));
    assert_eq!(index["metadata"]["total_size"], json!(30 + 120 + 600 + 6));
    let shards = ["t0", "t1", "t2", "t3"].map(|t| index["weight_map"][t].as_str().unwrap().to_string());
    let [one, two, three] = [1, 2, 3].map(|i| format!("model-{i:05}-of-00003.safetensors"));
    assert_eq!(shards, [one.clone(), one, two, three]);
    let read = safetensors::open(&out).unwrap();
    // Wide dtypes come first in a file, so that their data is aligned.
    let names: Vec<&str> = read.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["t1", "t0", "t2", "t3"]);
    for t in &read.tensors {
        let wrote = directory.tensors.iter().find(|n| n.name == t.name).unwrap();
        let rows = |t: &Tensor| t.with_rows(0..3, |b| Ok(b.to_vec())).unwrap();
        assert_eq!(
            (t.shape(), t.dtype(), rows(t)),
            (wrote.tensor.shape(), wrote.tensor.dtype(), rows(&wrote.tensor))
        );
    }
}
