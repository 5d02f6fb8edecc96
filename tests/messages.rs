//! One cause has one message, which says what it is: inputs that look like a model and are none, checkpoints whose files
//! say different things, options that change nothing, and which of several models is damaged.

#[path = "support/run.rs"]
mod run;
mod support;

use run::{Folder, Ran, ggraft, trio_copy};
use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use support::gguf::TOYS;

struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        Bench(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self, words: &str) -> Ran {
        ggraft(self.0.words(words))
    }

    /// A copy of a model of the trio, as `name`.
    fn copy(&self, model: &str, name: &str) -> PathBuf {
        let dir = trio_copy(model, &self.path(""));
        std::fs::rename(dir, self.path(name)).unwrap();
        self.path(name)
    }

    /// The conversion of a checkpoint is refused with this code; the error.
    #[track_caller]
    fn refused(&self, name: &str, code: i32) -> String {
        let ran = self.run(&format!("convert @{name} --type F16 -o @out.gguf"));
        assert!(ran.code == code && !self.path("out.gguf").exists(), "{}: {}", ran.code, ran.err);
        ran.err
    }
}

/// Writes the tensors of a checkpoint to `file` under other names; those without a name are left out.
fn rename(dir: &Path, file: &str, name: impl Fn(&str) -> Option<String>) {
    let path = dir.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views: Vec<(String, TensorView)> =
        tensors.tensors().into_iter().filter_map(|(old, view)| Some((name(&old)?, view))).collect();
    serialize_to_file(views, None, &dir.join(file)).unwrap();
}

fn edit(path: &Path, change: impl FnOnce(&mut Json)) {
    let mut json: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn an_adapter_is_no_model() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "adapter");
    std::fs::rename(dir.join("config.json"), bench.path("config.json")).unwrap();
    std::fs::write(dir.join("adapter_config.json"), r#"{"peft_type": "LORA", "r": 8}"#).unwrap();
    let lora = |old: &str| {
        old.contains("q_proj")
            .then(|| format!("base_model.model.{}", old.replace(".weight", ".lora_A.weight")))
    };
    rename(&dir, "adapter_model.safetensors", lora);
    for _ in 0..2 {
        let said = bench.refused("adapter", 4);
        assert!(
            said.contains("this is a LoRA adapter, not a model; merge the adapter into its base"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        // With a config.json of the base, as is often advised, it is one still.
        std::fs::copy(bench.path("config.json"), dir.join("config.json")).unwrap();
    }
    std::fs::remove_file(dir.join("adapter_model.safetensors")).unwrap();
    std::fs::write(dir.join("adapter_model.bin"), "x").unwrap();
    assert!(bench.refused("adapter", 3).contains("found an adapter (adapter_config.json)"));
    // Beside a whole model it is told that it is not applied.
    let whole = bench.copy("chat", "whole");
    std::fs::write(whole.join("adapter_config.json"), "{}").unwrap();
    let ran = bench.run("convert @whole --type F16 -o @out.gguf").ok();
    assert!(ran.err.contains("that adapter is not applied"), "{}", ran.err);
}

#[test]
fn a_gguf_that_is_no_model_is_not_quantized() {
    let bench = Bench::new();
    for (kind, said) in [("adapter", "this is a LoRA adapter"), ("imatrix", "this is an importance matrix")] {
        let mut model = TOYS[1].model();
        model.metadata.set("general.type", kind);
        let path = bench.path(&format!("{kind}.gguf"));
        let layout = ggraft_formats::gguf::plan(&model, &path).unwrap();
        ggraft_formats::write::write(&[layout], &()).unwrap();
        let ran = bench.run(&format!("quantize @{kind}.gguf @o.gguf Q8_0"));
        assert!(ran.code == 4 && ran.err.contains(said) && !bench.path("o.gguf").exists(), "{}", ran.err);
    }
}

#[test]
fn names_without_their_prefix_have_one_cause() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "bare");
    rename(&dir, "model.safetensors", |old| old.strip_prefix("model.").map(String::from));
    let said = bench.refused("bare", 3);
    assert!(
        said.lines().count() == 1 && said.contains("the names of a bare model, not of a LlamaForCausalLM"),
        "{said}"
    );
}

/// So with any other cause that all tensors share.
#[test]
fn failures_of_a_kind_are_counted() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "other");
    rename(&dir, "model.safetensors", |old| Some(format!("x.{old}")));
    let said = bench.refused("other", 4);
    assert!(said.contains("more of the kind: the checkpoint lacks this tensor"), "{said}");
    assert!(said.lines().count() < 20, "{said}");
}

#[test]
fn a_pointer_of_git_lfs_is_told() {
    let bench = Bench::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4294967296\n";
    for file in ["model.safetensors", "tokenizer.model", "tokenizer.json"] {
        let dir = bench.copy("chat", &format!("dir-{file}"));
        std::fs::write(dir.join(file), pointer).unwrap();
        let said = bench.refused(&format!("dir-{file}"), 3);
        assert!(said.contains(&format!("{file}: this is a pointer of Git LFS")), "{said}");
        assert!(said.contains("git lfs pull"), "{said}");
    }
    std::fs::write(bench.path("x.gguf"), pointer).unwrap();
    assert!(bench.run("inspect @x.gguf").err.contains("this is a pointer of Git LFS"));
}

#[test]
fn a_truncated_header_is_called_truncated() {
    let bench = Bench::new();
    TOYS[1].write(&bench.path("whole.gguf"));
    let whole = std::fs::read(bench.path("whole.gguf")).unwrap();
    for length in [20, 30, 200, 1000, 5000] {
        std::fs::write(bench.path("x.gguf"), &whole[..length]).unwrap();
        let ran = bench.run("inspect @x.gguf");
        assert!(ran.code == 3 && ran.err.contains("truncated"), "{length}: {}", ran.err);
    }
}

/// Plain weights under a config that was left behind; in a directory that is written it is gone.
#[test]
fn a_leftover_of_a_quantization_is_told() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "merged");
    let quantization = |method: &str| json!({ "quant_method": method, "load_in_4bit": true });
    edit(&dir.join("config.json"), |config| config["quantization_config"] = quantization("bitsandbytes"));
    let ran = bench.run("convert @merged --type F16 -o @m.gguf").ok();
    assert!(ran.err.contains("quantization_config is taken for a leftover"), "{}", ran.err);
    bench.run("convert @merged --type safetensors -o @out").ok();
    assert!(!std::fs::read_to_string(bench.path("out/config.json")).unwrap().contains("quantization_config"));
    // BitNet quantizes plain weights when they are loaded.
    edit(&dir.join("config.json"), |config| config["quantization_config"] = quantization("bitnet"));
    assert!(bench.refused("merged", 4).contains("quantized with bitnet"));
}

/// Two shards, and an index that maps what `mapped` lets through.
fn sharded(dir: &Path, mapped: impl Fn(&str) -> bool, more: &[&str], extra: &[&str]) {
    let path = dir.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = tensors.tensors();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let norm = tensors.tensor("model.norm.weight").unwrap();
    all.extend(extra.iter().map(|name| (name.to_string(), norm.clone())));
    all.retain(|(name, _)| !more.contains(&name.as_str()));
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let file = format!("model-{:05}-of-00002.safetensors", shard + 1);
        let part: Vec<_> = all.iter().skip(shard).step_by(2).cloned().collect();
        part.iter()
            .filter(|(name, _)| mapped(name))
            .for_each(|(name, _)| _ = map.insert(name.clone(), file.clone().into()));
        more.iter().for_each(|name| _ = map.insert(name.to_string(), file.clone().into()));
        serialize_to_file(part, None, &dir.join(file)).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn an_index_may_err_about_what_is_not_used() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "buffers");
    sharded(&dir, |name| !name.contains("inv_freq"), &[], &["model.layers.0.self_attn.rotary_emb.inv_freq"]);
    bench.run("convert @buffers --type F16 -o @a.gguf").ok();
    let dir = bench.copy("chat", "tied");
    edit(&dir.join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    sharded(&dir, |_| true, &["lm_head.weight"], &[]);
    bench.run("convert @tied --type F16 -o @b.gguf").ok();
    // Of what is used it may not, and that is the one thing that is told.
    let dir = bench.copy("chat", "unmapped");
    sharded(&dir, |name| name != "model.norm.weight", &[], &[]);
    let said = bench.refused("unmapped", 3);
    assert!(said.lines().count() == 1 && said.contains("but the index does not put it here"), "{said}");
    let dir = bench.copy("chat", "absent");
    sharded(&dir, |_| true, &["model.norm.weight"], &[]);
    let said = bench.refused("absent", 3);
    assert!(said.contains("the index puts this tensor here, but the shard does not hold it"), "{said}");
    // Who verifies wants to know of both.
    assert_eq!(bench.run("verify @buffers").code, 3);
}

/// Of three models, the one; and of a vector, whichever of its two.
#[test]
fn the_damaged_one_of_several_models_is_named() {
    for model in ["base", "chat", "cp"] {
        let bench = Bench::new();
        let dir = bench.copy(model, "damaged");
        let path = dir.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&0x7fc0u16.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let at = |name: &str| if name == model { "@damaged".into() } else { format!("%{name}") };
        let words = format!(
            "merge --base {} --chat {} --onto {} --type F16 -o @o.gguf",
            at("base"),
            at("chat"),
            at("cp")
        );
        let ran = bench.run(&words);
        let error = ran.err.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(ran.code == 3 && error.contains("damaged/model.safetensors: tensor '"), "{model}: {error}");
    }
}

#[test]
fn an_option_that_changes_nothing_is_told_once() {
    let bench = Bench::new();
    let dir = bench.copy("chat", "tied");
    rename(&dir, "model.safetensors", |old| (old != "lm_head.weight").then(|| old.to_string()));
    edit(&dir.join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    for (options, said) in [
        (
            "Q4_K_M --leave-output-tensor",
            "--leave-output-tensor has no effect: the model has no output.weight",
        ),
        (
            "Q4_K_M --tensor-type ffn_norm=q8_0",
            "--tensor-type 'ffn_norm' has no effect on what it matches: kept: not a matrix",
        ),
        (
            "Q4_K_M --tensor-type attn=q8_0 --tensor-type attn_v=q6_K",
            "--tensor-type 'attn_v' has no effect: an earlier one decides",
        ),
        ("Q8_0 --pure", "--pure has no effect: Q8_0 gives the same dtypes without it"),
    ] {
        let ran = bench.run(&format!("convert @tied --dry-run -o @o.gguf --type {options}")).ok();
        let told = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect::<Vec<_>>();
        assert!(told.len() == 1 && told[0].contains(said), "{options}: {}", ran.err);
    }
    // A file of rules may serve other models, too; what was typed is a slip.
    std::fs::write(bench.path("types"), "attn_vv=q8_0").unwrap();
    let ran = bench.run("convert @tied --dry-run -o @o.gguf --type Q4_K_M --tensor-type-file @types").ok();
    assert!(ran.err.contains("warning: --tensor-type 'attn_vv' matches no tensor"), "{}", ran.err);
    let ran = bench.run("convert @tied --dry-run -o @o.gguf --type Q4_K_M --tensor-type attn_vv=q8_0");
    assert!(
        ran.code == 2 && ran.err.contains("--tensor-type 'attn_vv' matches no tensor; did you mean attn_v?"),
        "{}",
        ran.err
    );
    let fine = "convert %cp --dry-run -o @o.gguf --type Q4_K_M --pure --leave-output-tensor --tensor-type attn_v=q8_0";
    let ran = bench.run(fine).ok();
    assert!(!ran.err.contains("warning: "), "{}", ran.err);
}

#[test]
fn the_type_auto_is_that_of_the_weights() {
    let bench = Bench::new();
    let ran = bench.run("convert %chat --outtype auto --dry-run -o @{type}.gguf").ok();
    assert!(ran.err.contains("BF16.gguf: BF16, "), "{}", ran.err);
    bench.run("convert %chat --type safetensors-f16 -q -o @half").ok();
    let ran = bench.run("convert @half --outtype auto --dry-run -o @{type}.gguf").ok();
    assert!(ran.err.contains("/F16.gguf: F16, "), "{}", ran.err);
    let ran = bench.0.merge("--type auto -o @x.gguf");
    assert!(ran.code == 2 && ran.err.contains("BF16"), "{}", ran.err);
}
