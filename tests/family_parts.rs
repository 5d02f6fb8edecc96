//! Parts of tensors, and models with more than text: rules of the weights find experts, heads and tensors by the names of
//! the trainer and of GGUF; filters of mergekit's recipes go by the models' own names; a model that sees gets the vector
//! of models that do not.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Model, open};
use run::{Ran, ggraft};
use serde_json::{Value, json};
use std::path::Path;
use support::families::family;

/// The trio of a tiny checkpoint in a folder of its own.
fn trio(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    family(name).unwrap().write_trio(dir.path());
    dir
}

fn merge(dir: &Path, more: &[&str]) -> Ran {
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| dir.join(name).display().to_string());
    let models = ["merge", "-q", "--force", "--base", &base, "--chat", &chat, "--onto", &cp];
    ggraft([&models[..], more].concat())
}

fn read(path: &Path) -> Model {
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{} is no GGUF", path.display()),
    }
}

fn merged(dir: &Path, more: &[&str]) -> Model {
    let out = dir.join("out.gguf");
    merge(dir, &[&["--type", "f32", "-o", out.to_str().unwrap()], more].concat()).ok();
    read(&out)
}

/// The values of a tensor, cut into so many equal parts.
fn parts(model: &Model, name: &str, count: usize) -> Vec<Vec<u32>> {
    let tensor = model.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}"));
    let mut values = vec![0.0; tensor.shape().elements() as usize];
    tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values).unwrap();
    let bits: Vec<u32> = values.into_iter().map(f32::to_bits).collect();
    bits.chunks(bits.len() / count).map(<[u32]>::to_vec).collect()
}

/// Which of the parts differ between two models.
fn differing(a: &Model, b: &Model, name: &str, count: usize) -> Vec<usize> {
    let (a, b) = (parts(a, name, count), parts(b, name, count));
    (0..count).filter(|i| a[*i] != b[*i]).collect()
}

#[test]
fn an_expert_is_named_as_the_trainer_does_or_as_a_gguf_would() {
    let dir = trio("Qwen3-Moe-Tiny");
    let all = merged(dir.path(), &["-w", "0.7"]);
    let cp = merged(dir.path(), &["-w", "0"]);
    for (rule, kinds) in [
        ("model.layers.1.mlp.experts.2.*=0", &["gate", "up", "down"][..]),
        ("blk.1.ffn_{gate,up,down}.2.weight=0", &["gate", "up", "down"]),
        ("hf:*layers.1.*experts.2.up_proj*=0", &["up"]),
    ] {
        let found = merged(dir.path(), &["-w", "0.7", "--weights", rule]);
        for kind in ["gate", "up", "down"] {
            let name = format!("blk.1.ffn_{kind}_exps.weight");
            let (kept, moved) =
                if kinds.contains(&kind) { (vec![2], vec![0, 1, 3]) } else { (vec![], vec![0, 1, 2, 3]) };
            assert_eq!(differing(&found, &all, &name, 4), kept, "{rule}: {name}");
            assert_eq!(differing(&found, &cp, &name, 4), moved, "{rule}: {name}");
        }
        assert_eq!(differing(&found, &all, "blk.0.ffn_up_exps.weight", 4), [0usize; 0], "{rule}");
    }
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| dir.path().join(name).display().to_string());
    let models = ["merge", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "f32", "--dry-run"];
    let told = ggraft([&models[..], &["--weights", "hf:*experts.2.*=0"]].concat()).ok();
    assert!(told.err.contains("from 0 to 1 for the parts of 6 tensors"), "{}", told.err);
    let nothing = merge(dir.path(), &["--type", "f32", "--dry-run", "--weights", "*experts.9.*=0"]);
    assert!(nothing.err.contains("a rule of the weights matches no tensor"), "{}", nothing.err);
}

/// The names of a checkpoint hold for the GGUFs that it became, too.
#[test]
fn rules_by_the_trainers_names_hold_for_ggufs() {
    let dir = trio("Qwen3-Moe-Fused");
    for name in ["base", "chat", "cp"] {
        let (from, to) = (dir.path().join(name), dir.path().join(format!("{name}.gguf")));
        ggraft(["convert", "-q", from.to_str().unwrap(), "--type", "f32", "-o", to.to_str().unwrap()]).ok();
    }
    let rule = ["-w", "0.7", "--weights", "hf:*mlp.experts.gate_up_proj=0"];
    let checkpoints = merged(dir.path(), &rule);
    let out = dir.path().join("of-ggufs.gguf");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let [base, chat, cp, out] =
        [path("base.gguf"), path("chat.gguf"), path("cp.gguf"), out.display().to_string()];
    let models =
        ["merge", "-q", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "f32", "-o", &out];
    ggraft([&models[..], &rule].concat()).ok();
    let ggufs = read(Path::new(&out));
    for tensor in &checkpoints.tensors {
        assert_eq!(differing(&checkpoints, &ggufs, &tensor.name, 1), [0usize; 0], "{}", tensor.name);
    }
    let cp = merged(dir.path(), &["-w", "0"]);
    for (name, same) in [("ffn_gate_exps", true), ("ffn_up_exps", true), ("ffn_down_exps", false)] {
        assert_eq!(differing(&ggufs, &cp, &format!("blk.0.{name}.weight"), 1).is_empty(), same, "{name}");
    }
}

#[test]
fn queries_keys_and_values_that_are_kept_in_one_are_named_alone() {
    let dir = trio("gpt2-tiny");
    let cp = merged(dir.path(), &["-w", "0"]);
    let found = merged(dir.path(), &["-w", "0.7", "--weights", "blk.*.attn_{q,v}.*=0"]);
    for ending in ["weight", "bias"] {
        assert_eq!(differing(&found, &cp, &format!("blk.0.attn_qkv.{ending}"), 3), [1], "{ending}");
    }
}

#[test]
fn filters_of_mergekit_go_by_the_names_of_the_models_own_family() {
    let dir = trio("gpt2-tiny");
    let recipe = |filter: &str| {
        let path = dir.path().join("recipe.yml");
        let text = format!(
            "merge_method: slerp\nbase_model: cp\nmodels:\n  - model: chat\nparameters:\n  t:\n    - filter: {filter}\n      value: 0\n    - value: 0.5\ndtype: float32\n"
        );
        std::fs::write(&path, text).unwrap();
        let out = dir.path().join("recipe.gguf");
        (ggraft(["merge", path.to_str().unwrap(), "-q", "--force", "-o", out.to_str().unwrap()]), out)
    };
    let (ran, out) = recipe("mlp.c_fc");
    ran.ok();
    let (found, cp) = (read(&out), merged(dir.path(), &["-w", "0"]));
    assert!(differing(&found, &cp, "blk.1.ffn_up.weight", 1).is_empty());
    assert!(differing(&found, &cp, "blk.1.ffn_up.bias", 1).is_empty());
    assert_eq!(differing(&found, &cp, "blk.1.ffn_down.weight", 1), [0]);
    let (ran, _) = recipe("self_attn");
    assert_eq!(ran.code, 3, "{}", ran.err);
    let told = "line 7: parameters.t[0].filter: no tensor of the model has this text in its name";
    assert!(ran.err.contains(told), "{}", ran.err);
}

/// Tensors of a vision tower and its projector, of several dtypes and up to five dimensions.
fn with_vision(dir: &Path) {
    use safetensors::tensor::{SafeTensors, TensorView, serialize_to_file};
    let file = dir.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let held = SafeTensors::deserialize(&bytes).unwrap();
    let patch: Vec<u8> = (0..4 * 3 * 2 * 2 * 2).map(|i| i as u8).collect();
    let ids: Vec<u8> = (0..8u64).flat_map(u64::to_le_bytes).collect();
    let names =
        ["vision_tower.patch.weight", "vision_tower.position_ids", "multi_modal_projector.norm.weight"];
    let mut all: Vec<(String, TensorView<'_>)> = held.tensors();
    all.push((
        names[0].into(),
        TensorView::new(safetensors::Dtype::BF16, vec![4, 3, 2, 2, 1], &patch).unwrap(),
    ));
    all.push((names[1].into(), TensorView::new(safetensors::Dtype::I64, vec![1, 8], &ids).unwrap()));
    all.push((names[2].into(), TensorView::new(safetensors::Dtype::BF16, vec![4], &patch[..8]).unwrap()));
    let new = dir.join("new.safetensors");
    serialize_to_file(all, None, &new).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// A trio whose CP sees: base and chat are the text models of this checkpoint's trio, under the names of such models.
fn seeing(name: &str, class: &str) -> tempfile::TempDir {
    use safetensors::tensor::{SafeTensors, serialize_to_file};
    let dir = trio(name);
    for parent in ["base", "chat"].map(|parent| dir.path().join(parent)) {
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(parent.join("config.json")).unwrap()).unwrap();
        let mut text = config["text_config"].take();
        text["architectures"] = json!([class]);
        if let Some(tied) = config.get("tie_word_embeddings") {
            text["tie_word_embeddings"] = tied.clone();
        }
        std::fs::write(parent.join("config.json"), text.to_string()).unwrap();
        let bytes = std::fs::read(parent.join("model.safetensors")).unwrap();
        let held = SafeTensors::deserialize(&bytes).unwrap();
        let alone = |name: String| name.replacen("language_model.", "", 1);
        let all = held.tensors().into_iter().map(|(name, tensor)| (alone(name), tensor));
        serialize_to_file(all, None, &parent.join("new.safetensors")).unwrap();
        std::fs::rename(parent.join("new.safetensors"), parent.join("model.safetensors")).unwrap();
    }
    with_vision(&dir.path().join("cp"));
    dir
}

#[test]
fn a_model_that_sees_gets_the_vector_of_models_that_do_not() {
    for (name, class) in
        [("gemma-3-tiny-it", "Gemma3ForCausalLM"), ("Mistral-Small-3.1-Tiny", "MistralForCausalLM")]
    {
        let dir = seeing(name, class);
        let gguf = merged(dir.path(), &["-w", "0.7"]);
        assert!(!gguf.tensors.iter().any(|t| t.name.contains("vision")), "{name}");
        let cp = merged(dir.path(), &["-w", "0"]);
        assert_eq!(differing(&gguf, &cp, "blk.0.attn_q.weight", 1), [0], "{name}");
        let out = dir.path().join("released");
        merge(dir.path(), &["-w", "0.7", "--type", "safetensors", "-o", out.to_str().unwrap()]).ok();
        let read = |dir: &Path| std::fs::read(dir.join("model.safetensors")).unwrap();
        let (before, after) = (read(&dir.path().join("cp")), read(&out));
        let tensors = |bytes: &'static [u8]| safetensors::SafeTensors::deserialize(bytes).unwrap();
        let (before, after) = (tensors(before.leak()), tensors(after.leak()));
        let mut names: Vec<&str> = before.names();
        let mut found: Vec<&str> = after.names();
        names.sort_unstable();
        found.sort_unstable();
        assert_eq!(names, found, "{name}");
        for tensor in names {
            let (a, b) = (before.tensor(tensor).unwrap(), after.tensor(tensor).unwrap());
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "{name}: {tensor}");
            let text = tensor.contains("language_model");
            assert_eq!(a.data() == b.data(), !text, "{name}: {tensor}");
        }
        let config = |dir: &Path| std::fs::read(dir.join("config.json")).unwrap();
        assert_eq!(config(&dir.path().join("cp")), config(&out), "{name}");
    }
}

#[test]
fn a_tower_under_other_names_is_told_tensor_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    family("GLM-ASR-Nano-2512").unwrap().write(dir.path());
    let file = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    // The header says how long it is, and other names of as many letters leave that true.
    for at in 0..bytes.len() - 12 {
        if bytes[at..].starts_with(b"audio_encode") {
            bytes[at..at + 12].copy_from_slice(b"audio_decode");
        }
    }
    std::fs::write(&file, bytes).unwrap();
    let ran = ggraft(["convert", dir.path().to_str().unwrap(), "--mmproj", "--type", "f16", "--dry-run"]);
    let named = |name: &str, said: &str| ran.err.contains(&format!("'{name}': the {said}"));
    assert!(named("audio_decoder.adapting.0.bias", "architecture clip knows no such tensor"), "{}", ran.err);
    assert!(ran.err.contains("the checkpoint lacks this tensor"), "{}", ran.err);
}
