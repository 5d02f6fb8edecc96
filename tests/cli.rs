//! The program as people type it: what a good run prints, and how each bad one ends: the right exit code, words
//! that name file and tensor, and no output file.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Value, open};
use run::{Ran, ggraft, ggraft_in, trio, trio_copy};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A merge of the trio with some of its models replaced.
struct Merge {
    dir: TempDir,
    base: PathBuf,
    chat: PathBuf,
    onto: PathBuf,
}

impl Merge {
    fn new() -> Merge {
        Merge { dir: tempfile::tempdir().unwrap(), base: trio("base"), chat: trio("chat"), onto: trio("cp") }
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("out.gguf")
    }

    fn run(&self, more: &[&str]) -> Ran {
        let mut args: Vec<String> = ["merge", "--type", "Q8_0"].map(String::from).to_vec();
        for (name, path) in
            [("--base", &self.base), ("--chat", &self.chat), ("--onto", &self.onto), ("-o", &self.output())]
        {
            args.extend([name.to_string(), path.display().to_string()]);
        }
        args.extend(more.iter().map(|s| s.to_string()));
        ggraft(args)
    }

    /// Runs into an error; gives its exit code and text. There must be no output, finished or not.
    #[track_caller]
    fn fails(&self) -> (i32, String) {
        let ran = self.run(&[]);
        let left: Vec<_> =
            std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|n| n.to_string_lossy().contains("out.gguf")), "{left:?}");
        let error = ran.err.lines().skip_while(|l| !l.starts_with("error: ")).collect::<Vec<_>>().join("\n");
        (ran.code, error.replace(&format!("{}/", self.dir.path().display()), ""))
    }
}

#[test]
fn a_merge_says_what_it_does() {
    let merge = Merge::new();
    let ran = merge.run(&[]).ok();
    assert_eq!(ran.out, format!("{}\n", merge.output().display()));
    for line in [
        "vocabulary: --embeddings template (the vocabularies differ; ",
        "  onto only                     384      384        0        0        0",
        "copied from chat in the embedding: '<|im_end|>' (895): reserved token, trained only in chat (in base near zero, in onto near zero)",
        "onto has no chat template: the chat model's is taken",
        "tokenizer.ggml.eos_token_id becomes 895 ('<|im_end|>'), as in the chat model",
        "[  30/  30] ",
        "verified by reading its header back",
    ] {
        assert!(ran.err.contains(line), "{line}\n{}", ran.err);
    }
    let Input::Model(model) = open(&merge.output()).unwrap() else { panic!("not a GGUF") };
    assert_eq!(model.metadata.get("tokenizer.ggml.eos_token_id"), Some(&Value::U32(895)));
    assert!(model.metadata.str("tokenizer.chat_template").unwrap().contains("<|im_start|>"));
    let ok = ggraft(["verify".as_ref(), merge.output().as_os_str()]).ok();
    assert!(ok.out.starts_with("ok: ") && ok.err.contains("gguf-rs agrees"), "{}{}", ok.out, ok.err);
}

#[test]
fn a_dry_run_writes_nothing_and_its_json_is_the_plan() {
    let merge = Merge::new();
    let ran = merge.run(&["--dry-run", "--json"]).ok();
    assert!(!merge.output().exists());
    let plan: Json = serde_json::from_str(&ran.out).unwrap();
    let written = merge.run(&["--quiet"]).ok();
    assert_eq!(written.err, "");
    assert_eq!(plan["bytes"].as_u64().unwrap(), std::fs::metadata(merge.output()).unwrap().len());
    assert_eq!(plan["tensors"].as_array().unwrap().len(), 30);
}

#[test]
fn the_default_name_follows_the_convention() {
    let dir = tempfile::tempdir().unwrap();
    let ran = ggraft_in(
        dir.path(),
        ["convert".as_ref(), trio("cp").as_os_str(), "--type".as_ref(), "q4_0".as_ref()],
    )
    .ok();
    assert!(ran.out.trim_end().ends_with("-Q4_0.gguf"), "{}", ran.out);
    assert!(dir.path().join(ran.out.trim_end()).is_file());
}

#[test]
fn truncated_shard() {
    let mut merge = Merge::new();
    merge.chat = trio_copy("chat", merge.dir.path());
    let file = std::fs::OpenOptions::new().write(true).open(merge.chat.join("model.safetensors")).unwrap();
    file.set_len(5_000_000).unwrap();
    let (code, error) = merge.fails();
    assert_eq!(code, 3);
    assert_eq!(
        error,
        "error: chat/model.safetensors: the safetensors file is malformed: incomplete metadata, file not fully \
         covered: found 5000000 bytes; the file is truncated or damaged: copy or download it again"
    );
}

#[test]
fn missing_shard() {
    let mut merge = Merge::new();
    merge.base = trio_copy("base", merge.dir.path());
    let index = r#"{"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}"#;
    std::fs::write(merge.base.join("model.safetensors.index.json"), index).unwrap();
    let (code, error) = merge.fails();
    assert_eq!(code, 3);
    assert_eq!(
        error,
        "error: base/model-00001-of-00002.safetensors: this shard is missing; \
         download it, or delete the index if the model has one file"
    );
}

/// Where the data of a tensor starts in a safetensors file.
fn data_of(file: &[u8], name: &str) -> usize {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Json = serde_json::from_slice(&file[8..8 + length]).unwrap();
    8 + length + header[name]["data_offsets"][0].as_u64().unwrap() as usize
}

#[test]
fn nan_weight() {
    let mut merge = Merge::new();
    merge.onto = trio_copy("cp", merge.dir.path());
    let path = merge.onto.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = data_of(&bytes, "model.layers.1.mlp.up_proj.weight") + 2 * (3 * 256 + 7);
    bytes[at..at + 2].copy_from_slice(&0x7fc0u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let (code, error) = merge.fails();
    assert_eq!(code, 3);
    assert_eq!(
        error,
        "error: cp/model.safetensors: tensor 'blk.1.ffn_up.weight': the weights must be finite: \
         found NaN at row 3, column 7; 1 of 196608 weights are not finite; \
         the checkpoint is damaged or its training diverged: use another one"
    );
}

#[test]
fn chat_of_another_shape() {
    let mut merge = Merge::new();
    let model = |name: &str, ffn: usize| {
        let dir = merge.dir.path().join(name);
        support::checkpoint::Spec {
            tokens: support::checkpoint::Tokens::Real("llama-spm"),
            ffn,
            layers: 1,
            ..Default::default()
        }
        .write(&dir);
        dir
    };
    (merge.base, merge.onto, merge.chat) = (model("base", 64), model("cp", 64), model("chat", 96));
    let (code, error) = merge.fails();
    assert_eq!(code, 3);
    let line = |name: &str, ours: &str, theirs: &str| {
        format!(
            "chat/model.safetensors: tensor '{name}': chat has another shape than onto: expected {ours}, found {theirs}"
        )
    };
    let expected = [
        line("blk.0.ffn_down.weight", "[64, 64]", "[96, 64]")
            + "; the three models must be of one family: chat and onto are both made from base",
        line("blk.0.ffn_gate.weight", "[64, 64]", "[64, 96]"),
        line("blk.0.ffn_up.weight", "[64, 64]", "[64, 96]"),
    ];
    assert_eq!(error, format!("error: {}", expected.join("\n")));
}

#[test]
fn existing_output_is_kept_without_force() {
    let merge = Merge::new();
    std::fs::write(merge.output(), "mine").unwrap();
    let ran = merge.run(&[]);
    assert_eq!(ran.code, 1);
    let text = format!(
        "error: {}: the output exists; give --force to replace it, or another name with -o\n",
        merge.output().display()
    );
    assert!(ran.err.ends_with(&text), "{}", ran.err);
    assert_eq!(std::fs::read(merge.output()).unwrap(), b"mine");
    merge.run(&["--force"]).ok();
    assert!(std::fs::metadata(merge.output()).unwrap().len() > 1000);
}

#[test]
fn output_that_cannot_be_written() {
    let merge = Merge::new();
    let file = merge.dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let out = file.join("out.gguf");
    let cp = trio("cp");
    let args = ["convert", cp.to_str().unwrap(), "--type", "f16", "-o", out.to_str().unwrap()];
    let ran = ggraft(args);
    assert_eq!(ran.code, 5, "{}", ran.err);
    let said = ran.err.lines().last().unwrap();
    assert!(said.starts_with(&format!("error: {}: ", file.display())), "{said}");
}

#[test]
fn an_input_is_never_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let gguf = dir.path().join("cp.gguf");
    let convert = |out: &Path, more: &[&str]| {
        let mut args =
            vec!["convert".into(), trio("cp"), "--type".into(), "f16".into(), "-o".into(), out.to_path_buf()];
        args.extend(more.iter().map(PathBuf::from));
        ggraft(args)
    };
    convert(&gguf, &[]).ok();
    let link = dir.path().join("link.gguf");
    std::fs::hard_link(&gguf, &link).unwrap();
    for out in [&gguf, &link] {
        let ran = ggraft([
            "quantize".as_ref(),
            "--force".as_ref(),
            gguf.as_os_str(),
            out.as_os_str(),
            "Q8_0".as_ref(),
        ]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.err.contains("the output is one of the inputs; choose another output with -o"),
            "{}",
            ran.err
        );
    }
    verify(&gguf);
}

fn verify(gguf: &Path) {
    ggraft(["verify".as_ref(), gguf.as_os_str()]).ok();
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["merge", "--type", "Q4_K_M"][..],
        &["convert", "x", "--type", "Q4_K_XX"],
        &["quantize", "x"],
        &["fly"],
    ] {
        let ran = ggraft(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
    let ran = ggraft(["convert", "x", "--type", "Q4_K_XX"]);
    assert!(ran.err.contains("did you mean"), "{}", ran.err);
}

#[test]
fn inspect_shows_both_kinds() {
    let ran = ggraft(["inspect".as_ref(), trio("cp").as_os_str(), "--tensors".as_ref()]).ok();
    assert!(ran.out.contains("architectures = [\"LlamaForCausalLM\"]"), "{}", ran.out);
    assert!(ran.out.contains("model.layers.2.mlp.down_proj.weight"), "{}", ran.out);
    let json = ggraft(["inspect".as_ref(), trio("cp").as_os_str(), "--json".as_ref()]).ok();
    let json: Json = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["tensor_count"].as_u64(), Some(30));
}
