//! Layers of several models as one: mergekit 0.1.4's own results bit for bit, an oracle in f64, the same from GGUFs as from
//! checkpoints, what is refused, and llama.cpp, which loads the result.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use half::bf16;
use run::{Folder, ggraft_in, trio_copy};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/goldens/mergekit/stacks");

/// A folder with the three models.
fn models(of: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    match of {
        "trio" => ["cp", "chat", "base"].iter().for_each(|name| _ = trio_copy(name, dir.path())),
        _ => support::families::family("OLMo-2-Tiny").unwrap().write_trio(dir.path()),
    }
    dir
}

fn json(file: PathBuf) -> Json {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// A tensor of a checkpoint of BF16 or F32, as f32.
fn values(dir: &Path, name: &str) -> Vec<f32> {
    let file = std::fs::read(dir.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let tensor = file.tensor(name).unwrap();
    match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        _ => tensor.data().as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
    }
}

/// Of OLMo 2 mergekit 0.1.4 leaves out the norms of queries and keys, which we keep.
#[test]
fn stacks_are_mergekits_bit_for_bit() {
    for of in ["trio", "olmo"] {
        let dir = models(of);
        for recipe in ["passthrough", "scaled", "linear"] {
            let golden = json(Path::new(GOLDENS).join(format!("{recipe}-{of}.json")));
            let file = format!("{recipe}.yml");
            std::fs::copy(Path::new(GOLDENS).join(&file), dir.path().join(&file)).unwrap();
            let words = ["merge", &file, "-q", "--type", "safetensors-f32", "-o", recipe];
            ggraft_in(dir.path(), words).ok();
            let out = dir.path().join(recipe);
            assert_eq!(json(out.join("config.json"))["num_hidden_layers"], golden["num_hidden_layers"]);
            let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
            let ours = SafeTensors::deserialize(&bytes).unwrap();
            let theirs = golden["tensors"].as_object().unwrap();
            for (name, tensor) in theirs {
                let hash: String = Sha256::digest(ours.tensor(name).unwrap().data())
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(Some(hash.as_str()), tensor["sha256"].as_str(), "{of}, {recipe}: {name}");
            }
            let more = ours.names().into_iter().filter(|name| !theirs.contains_key(*name));
            more.for_each(|name| assert!(of == "olmo" && name.contains("_norm.weight"), "{of}: {name}"));
        }
    }
}

const SCALED: &str = r#"onto:
  slices:
    - {model: cp, layers: [0, 2]}
    - {model: chat, layers: [0, 3], scale: ["*=[0.1,0.7]", "hf:*o_proj*=-0.3", "blk.1.ffn_norm.weight=3"]}
    - {model: cp, layers: [2, 3], scale: "*=0.9"}
method: passthrough
types: safetensors-f32
output: out
"#;

#[test]
fn scales_are_the_oracles() {
    let dir = models("trio");
    std::fs::write(dir.path().join("r.yml"), SCALED).unwrap();
    ggraft_in(dir.path(), ["merge", "r.yml", "-q"]).ok();
    // The layer of the output, its model and its layer there, and what the rules say of most tensors.
    let layers = [
        (0, "cp", 0, 1.0),
        (1, "cp", 1, 1.0),
        (2, "chat", 0, 0.1),
        (3, "chat", 1, 0.1 + 0.5 * (0.7 - 0.1)),
        (4, "chat", 2, 0.7),
        (5, "cp", 2, 0.9),
    ];
    let check = |out: &str, model: &str, own: &str, scale: f64| {
        let found = values(&dir.path().join("out"), out);
        let expected = values(&dir.path().join(model), own);
        let expected = expected.iter().map(|x| (f64::from(*x) * scale) as f32);
        let bits = |x: f32| x.to_bits();
        assert!(found.into_iter().map(bits).eq(expected.map(bits)), "{out}");
    };
    for (new, model, old, scale) in layers {
        for rest in ["self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "post_attention_layernorm"] {
            let scale = match (rest, new, old) {
                ("self_attn.o_proj", 2..=4, _) => -0.3,
                ("post_attention_layernorm", 2..=4, 1) => 3.0,
                _ => scale,
            };
            let name = |layer: u64| format!("model.layers.{layer}.{rest}.weight");
            check(&name(new), model, &name(old), scale);
        }
    }
    check("model.embed_tokens.weight", "cp", "model.embed_tokens.weight", 1.0);
    check("model.norm.weight", "cp", "model.norm.weight", 0.9);
    check("lm_head.weight", "cp", "lm_head.weight", 0.9);
}

/// A recipe of mergekit's with these models.
fn recipe(first: &str, second: &str, more: &str) -> String {
    format!(
        "merge_method: passthrough\nslices:\n  - sources: [{{model: {first}, layer_range: [0, 2]}}]\n  - sources: \
         [{{model: {second}, layer_range: [1, 3]}}]\n  - sources: [{{model: {first}, layer_range: [1, 3]}}]\n{more}"
    )
}

#[test]
fn ggufs_are_stacked_as_checkpoints_are() {
    let dir = models("trio");
    let run = |words: &str| ggraft_in(dir.path(), words.split(' '));
    for name in ["cp", "chat"] {
        run(&format!("convert {name} --type F32 -q -o {name}.gguf")).ok();
    }
    std::fs::write(dir.path().join("a.yml"), recipe("cp", "chat", "dtype: float32\n")).unwrap();
    std::fs::write(dir.path().join("b.yml"), recipe("cp.gguf", "chat.gguf", "dtype: float32\n")).unwrap();
    run("merge a.yml -q -o a.gguf").ok();
    run("merge b.yml -q -o b.gguf").ok();
    let said = run("diff a.gguf b.gguf --json").ok().out;
    let said: Json = serde_json::from_str(&said).unwrap();
    let differing = said["metadata"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap());
    let keys: Vec<&str> = differing.filter(|key| !key.starts_with("ggraft.source.")).collect();
    assert_eq!(keys, [""; 0], "{said}");
    assert!(said["tensors"].as_array().unwrap().iter().all(|t| t["verdict"] == "equal"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = models("trio");
    let refused = |text: String, code: i32, said: &[&str]| {
        std::fs::write(dir.path().join("r.yml"), text).unwrap();
        let ran = ggraft_in(dir.path(), ["merge", "r.yml", "--type", "F16", "-o", "x.gguf"]);
        assert_eq!(ran.code, code, "{}", ran.err);
        said.iter().for_each(|part| assert!(ran.err.contains(part), "{part}: {}", ran.err));
    };
    let edit = |name: &str, from: &str, to: &str| {
        let file = dir.path().join(name).join("config.json");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file, text.replace(from, to)).unwrap();
    };
    let beyond = recipe("cp", "chat", "  - sources: [{model: base, layer_range: [2, 4]}]\n");
    refused(beyond, 3, &["base: the model has no such layers", "up to, without the last, 3, found [2, 4]"]);
    ggraft_in(dir.path(), ["convert", "chat", "--type", "F16", "-q", "-o", "chat.gguf"]).ok();
    refused(recipe("cp", "chat.gguf", ""), 4, &["of a GGUF and of a checkpoint", "chat.gguf and cp"]);
    for (choice, named) in [
        ("add_chat_tokens: true", "added chat tokens"),
        ("copy_tokens: ['<s>']", "copied tokens"),
        ("chat_template: chat", "the chat's template"),
    ] {
        let text = format!("{SCALED}vocabulary: {{{choice}}}\n");
        refused(text, 2, &["the method passthrough has no chat model to take tokens from", named]);
    }
    let scaled = SCALED.replace("method: passthrough", "vectors: [{chat: chat, base: base}]");
    refused(scaled, 2, &["slices are scaled by the method passthrough only"]);
    edit("chat", "\"rope_theta\": 10000.0", "\"rope_theta\": 5000.0");
    refused(
        recipe("cp", "chat", ""),
        3,
        &["a slice differs from onto in rope.freq_base", "--allow-mismatch"],
    );
    edit("chat", "\"rope_theta\": 5000.0", "\"rope_theta\": 10000.0, \"layer_types\": [\"a\", \"b\", \"c\"]");
    refused(recipe("cp", "chat", ""), 4, &["cp/config.json: 'layer_types' cannot follow the layers"]);
}

#[test]
fn models_of_other_shapes_are_named_with_their_tensors() {
    let (dir, other) = (models("trio"), models("trio"));
    let narrow = dir.path().join("narrow");
    std::fs::rename(other.path().join("chat"), &narrow).unwrap();
    halve_the_feed_forward(&narrow);
    std::fs::write(dir.path().join("r.yml"), recipe("cp", "narrow", "")).unwrap();
    let ran = ggraft_in(dir.path(), ["merge", "r.yml", "--type", "F16", "-o", "x.gguf"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let said = "narrow: tensor 'model.layers.1.mlp.up_proj.weight': layers of different shapes cannot be put together";
    assert!(ran.err.contains(said) && ran.err.contains("of cp, found"), "{}", ran.err);
}

/// Leaves half of the feed-forward of a model of the trio.
fn halve_the_feed_forward(dir: &Path) {
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let half = |name: &str, tensor: &safetensors::tensor::TensorView<'_>| {
        let (shape, data) = (tensor.shape().to_vec(), tensor.data().to_vec());
        match (shape.as_slice(), name.contains(".mlp.")) {
            ([rows, row], true) if rows > row => (vec![rows / 2, *row], data[..data.len() / 2].to_vec()),
            ([rows, row], true) => {
                let parts = data.chunks(row * 2).flat_map(|one| one[..*row].to_vec());
                (vec![*rows, row / 2], parts.collect())
            }
            _ => (shape, data),
        }
    };
    let all: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let (shape, data) = half(&name, &tensor);
            (name, shape, data)
        })
        .collect();
    let views = all.iter().map(|(name, shape, data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), data);
        (name.clone(), view.unwrap())
    });
    let written = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    std::fs::write(dir.join("model.safetensors"), written).unwrap();
    let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
    let config = config.replace("\"intermediate_size\": 768", "\"intermediate_size\": 384");
    std::fs::write(dir.join("config.json"), config).unwrap();
}

#[test]
fn the_plan_tells_the_stack_and_the_file_is_what_the_recipe_makes() {
    let dir = models("trio");
    std::fs::write(dir.path().join("r.yml"), recipe("cp", "chat", "")).unwrap();
    let run = |words: &str| ggraft_in(dir.path(), words.split(' '));
    let plan = run("merge r.yml --type Q8_0,Q4_K_M -o {type}.gguf --dry-run").ok().err;
    assert!(plan.contains("stacked: layers 0-1 of cp, 1-2 of chat, 1-2 of cp = 6 layers"), "{plan}");
    run("merge r.yml --type Q8_0,Q4_K_M -o {type}.gguf -q --emit-recipe own.yml").ok();
    run("merge own.yml -q").ok();
    run("verify Q8_0.gguf --recipe own.yml --all").ok();
    let said = run("meta get Q8_0.gguf general.base_model.count").ok().out;
    assert!(said.contains('2'), "{said}");
    // Jobs on other machines open the same stack.
    let once = std::fs::read(dir.path().join("Q8_0.gguf")).unwrap();
    run("plan merge own.yml --jobs 2 --plan run.plan -o j-{type}.gguf").ok();
    ["0/2", "1/2"].iter().for_each(|job| _ = run(&format!("job run.plan --job {job} -q")).ok());
    run("finish run.plan -q").ok();
    assert!(once == std::fs::read(dir.path().join("j-Q8_0.gguf")).unwrap());
}

#[test]
fn llama_cpp_loads_a_stack() {
    let Some(peer) = peer::peer() else { return };
    let folder = Folder::new();
    let dir = models("trio");
    std::fs::write(dir.path().join("r.yml"), recipe("cp", "chat", "")).unwrap();
    let out = folder.path("stack.gguf");
    ggraft_in(dir.path(), ["merge", "r.yml", "--type", "Q8_0", "-q", "-o", out.to_str().unwrap()]).ok();
    let model = peer.load_model(&out, false).unwrap();
    let tokens = model.tokenize("사과", true, true);
    assert!(!model.generate(&tokens, 8, 1).unwrap().is_empty());
}
