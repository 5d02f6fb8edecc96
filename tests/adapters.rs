//! LoRA adapters: merged as PEFT merges them, converted as llama.cpp's script converts them, the same by both ways, and
//! refused by name where they do not fit. `fixtures/make_adapters.py` made them and recorded what both programs do.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Model, Tensor, open};
use run::{Folder, Ran, ggraft, trio};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::families::family;
use support::golden::{Golden, OUTTYPES};
use support::vocabulary::fixture;

/// An adapter of the fixtures, and the checkpoint that it is for.
struct Case {
    name: String,
    golden: Json,
    folder: Folder,
}

impl Case {
    fn new(name: &str) -> Case {
        let text = std::fs::read(fixture(&format!("goldens/adapters/{name}.json"))).unwrap();
        let case = Case {
            name: name.to_string(),
            golden: serde_json::from_slice(&text).unwrap(),
            folder: Folder::new(),
        };
        if let Some(tiny) = family(case.golden["checkpoint"].as_str().unwrap()) {
            tiny.write(&case.checkpoint());
        }
        case
    }

    fn checkpoint(&self) -> PathBuf {
        match self.golden["checkpoint"].as_str().unwrap() {
            "trio-cp" => trio("cp"),
            _ => self.folder.path("checkpoint"),
        }
    }

    fn adapter(&self) -> PathBuf {
        fixture(&format!("adapters/{}", self.name))
    }

    /// Runs a verb; `!` is the adapter, `#` the checkpoint, `@` the folder.
    fn run(&self, words: &str) -> Ran {
        let [adapter, checkpoint] =
            [self.adapter(), self.checkpoint()].map(|path| path.display().to_string());
        let words = self.folder.words(words).into_iter();
        ggraft(words.map(|word| word.replace('!', &adapter).replace('#', &checkpoint)))
    }

    /// Merges to f32, which is read.
    fn merged(&self, onto: &str, adapter: &str) -> BTreeMap<String, Vec<u32>> {
        let words = format!("merge -q --force --onto {onto} --adapter {adapter} --type F32 -o @out.gguf");
        self.run(&words).ok();
        values(&gguf(&self.folder.path("out.gguf")).tensors)
    }
}

/// Every adapter of the fixtures.
fn all() -> Vec<String> {
    let entries = std::fs::read_dir(fixture("goldens/adapters")).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn gguf(path: &Path) -> Model {
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{} is no GGUF", path.display()),
    }
}

fn decoded(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().elements() as usize];
    tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values).unwrap();
    values
}

/// The bits of every tensor.
fn values(tensors: &[Tensor]) -> BTreeMap<String, Vec<u32>> {
    let bits = |t: &Tensor| decoded(t).into_iter().map(f32::to_bits).collect();
    tensors.iter().map(|t| (t.name.clone(), bits(t))).collect()
}

/// The tensors of a checkpoint.
fn held(dir: &Path) -> Vec<Tensor> {
    match open(dir).unwrap() {
        Input::Checkpoint(checkpoint) => checkpoint.tensors,
        Input::Model(_) => panic!("{} is no checkpoint", dir.display()),
    }
}

#[test]
fn every_adapter_is_merged_as_peft_merges_it_in_f64() {
    let mut checked = 0;
    for case in all().iter().map(|name| Case::new(name)) {
        case.run("merge -q --onto # --adapter ! --type safetensors-f32 -o @out").ok();
        let recorded = case.golden["merged"].as_object().unwrap();
        for tensor in held(&case.folder.path("out")) {
            let bytes: Vec<u8> = decoded(&tensor).into_iter().flat_map(f32::to_le_bytes).collect();
            let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(recorded[&tensor.name], json!(hash), "{}: {}", case.name, tensor.name);
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}

#[test]
fn an_adapter_becomes_the_gguf_that_llama_cpp_makes_of_it() {
    let mut compared = 0;
    for name in all() {
        let Some(goldens) = Golden::adapter(&name) else { continue };
        let case = Case::new(&name);
        // The config alone tells the names as well as the weights do.
        let bare = case.folder.path("bare");
        std::fs::create_dir(&bare).unwrap();
        std::fs::copy(case.checkpoint().join("config.json"), bare.join("config.json")).unwrap();
        for (golden, outtype) in goldens.iter().zip(OUTTYPES) {
            golden.check_generator(&case.adapter());
            for base in ["#", "@bare"] {
                let words = format!("adapter -q --force ! --base {base} --outtype {outtype} -o @out.gguf");
                case.run(&words).ok();
                let found = golden.differences(&gguf(&case.folder.path("out.gguf")));
                assert!(found.is_empty(), "{name} {outtype} {base}: {}", found.join("\n"));
                compared += 1;
            }
        }
    }
    assert!(compared >= 56, "{compared}");
}

#[test]
fn an_adapter_counts_the_same_as_a_gguf_on_a_checkpoint_and_on_a_gguf() {
    let mut compared = 0;
    for case in all().iter().map(|name| Case::new(name)) {
        let ran = case.run("adapter -q ! --base # -o @adapter.gguf");
        let refused = ["llama-dora", "qwen2-bias", "qwen3-saved"].contains(&case.name.as_str());
        assert_eq!(ran.code, if refused { 4 } else { 0 }, "{}: {}", case.name, ran.err);
        if refused {
            continue;
        }
        case.run("convert -q # --type F32 -o @cp.gguf").ok();
        let expected = case.merged("#", "!");
        for onto in ["#", "@cp.gguf"] {
            for (name, found) in case.merged(onto, "@adapter.gguf") {
                let pairs = expected[&name].iter().zip(&found);
                // What a scale of its own does to B is rounded to f32, in this one.
                let most = if case.name == "llama-patterns" { 3e-8 } else { 0.0 };
                let near = |a: u32, b: u32| a == b || (f32::from_bits(a) - f32::from_bits(b)).abs() <= most;
                let far = pairs.filter(|(a, b)| !near(**a, **b)).count();
                assert!(far == 0, "{} onto {onto}: {far} weights of {name} differ", case.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn a_chat_vector_and_adapters_add_up() {
    let case = Case::new("llama");
    let words = "merge -q --onto # --base %base --chat %chat -w 0.5 --adapter !:0.25 --adapter !:-1.5";
    case.run(&format!("{words} --type safetensors-f32 -o @out")).ok();
    let find = |dir: &Path, end: &str| {
        let tensors = held(dir);
        let tensor = tensors.iter().find(|t| t.name.ends_with(end));
        decoded(tensor.unwrap_or_else(|| panic!("{end}")))
    };
    let name = "layers.1.self_attn.v_proj";
    let weight = format!("{name}.weight");
    let [cp, base, chat] = ["cp", "base", "chat"].map(|model| find(&trio(model), &weight));
    let file = case.adapter().join("adapter_model.safetensors");
    let [a, b] = ["A", "B"].map(|which| find(&file, &format!("{name}.lora_{which}.weight")));
    let (rank, row) = (4, 256);
    for (i, found) in find(&case.folder.path("out"), &weight).into_iter().enumerate() {
        let product: f64 =
            (0..rank).map(|k| f64::from(b[i / row * rank + k]) * f64::from(a[k * row + i % row])).sum();
        let delta = f64::from(chat[i]) - f64::from(base[i]);
        let sum = f64::from(cp[i]) + 0.5 * delta + (0.25 - 1.5) * (8.0 / 4.0) * product;
        assert!((f64::from(found) - sum).abs() <= sum.abs() * 1e-7 + 1e-12, "{i}: {found} {sum}");
    }
}

#[test]
fn an_adapter_without_weight_leaves_the_model_bit_for_bit_and_is_told_of() {
    let case = Case::new("qwen2");
    case.run("convert -q # --type F32 -o @cp.gguf").ok();
    assert_eq!(case.merged("#", "!:0"), values(&gguf(&case.folder.path("cp.gguf")).tensors));
    let model = gguf(&case.folder.path("out.gguf"));
    let recipe: Json = serde_json::from_str(model.metadata.str("ggraft.recipe").unwrap()).unwrap();
    assert_eq!(recipe["vectors"], json!([{"adapter": 1, "weight": 0.0}]));
    assert_eq!(model.metadata.str("ggraft.source.1.role"), Some("adapter"));
    assert_eq!(model.metadata.str("ggraft.source.1.name"), Some("qwen2"));
    assert_eq!(model.metadata.str("general.base_model.1.name"), Some("Qwen2"));
    assert_eq!(model.metadata.str("general.finetune"), Some("lora-merge"));
    let plan = case.run("merge --onto # --adapter ! --type F32 --dry-run --json -o @other.gguf").ok();
    let plan: Json = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(plan["origins"][1]["role"], "adapter", "{plan}");
    // Norms are none of this adapter's.
    let norm = plan["tensors"].as_array().unwrap().iter().find(|t| t["name"] == "output_norm.weight");
    assert_eq!(norm.unwrap()["reason"], "no adapter changes it");
    // Nor is a table that it does not name.
    for (table, classes) in [("token_embd.weight", "classes"), ("output.weight", "head_classes")] {
        let tensor = plan["tensors"].as_array().unwrap().iter().find(|t| t["name"] == table);
        let Some(tensor) = tensor else { continue };
        let counts = &plan["vocabulary"]["vectors"][0];
        let counts = [&counts[classes], &counts["classes"]].into_iter().find(|c| c.is_array()).unwrap();
        let moves = counts.as_array().unwrap().iter().any(|class| class["delta"] != 0);
        assert_eq!(moves, tensor["fate"] == "merged", "{table}: {counts} {tensor}");
    }
    assert!(
        case.run("merge --onto # --adapter ! --type F32 -o @b.gguf").ok().err.contains("moves 14 tensors")
    );
}

#[test]
fn recipes_name_adapters_and_give_several_outputs() {
    let case = Case::new("qwen2");
    let words = "merge --onto # --adapter ! --adapter !:0.25 -w 0.5,1 --type F32";
    let recipe = case.run(&format!("{words} --emit-recipe -")).ok().out;
    let path = case.folder.path("recipe.yml");
    std::fs::write(&path, &recipe).unwrap();
    case.run(&format!("{words} -q -o @typed-{{weight}}.gguf")).ok();
    case.run("merge @recipe.yml -q -o @read-{weight}.gguf").ok();
    for weight in ["0.5+0.25", "1+0.25"] {
        let [typed, read] = ["typed", "read"]
            .map(|how| std::fs::read(case.folder.path(&format!("{how}-{weight}.gguf"))).unwrap());
        assert!(typed == read, "{weight}");
    }
    std::fs::write(&path, recipe.replace("weight: 0.25", "wait: 0.25")).unwrap();
    let ran = case.run("merge @recipe.yml -q -o @other.gguf");
    assert!(ran.code == 3 && ran.err.contains("adapters[1]"), "{}", ran.err);
}

#[test]
fn a_vector_becomes_an_adapter_that_keeps_as_much_of_it_as_is_told() {
    let folder = Folder::new();
    let run = |words: &str| ggraft(folder.words(words)).ok().err;
    let said = run("vector --base %base --chat %chat --rank 16 --type F32 -v -o @vector.gguf");
    run("vector --base %base --chat %chat --rank 16 --type F32 -t 1 -q -o @again.gguf");
    let [first, again] = ["vector", "again"].map(|name| std::fs::read(folder.path(&format!("{name}.gguf"))));
    assert!(first.unwrap() == again.unwrap());
    run("merge -q --onto %base --adapter @vector.gguf --type F32 -o @out.gguf");
    run("convert -q %base --type F32 -o @base.gguf");
    run("convert -q %chat --type F32 -o @chat.gguf");
    let find = |file: &str, name: &str| {
        let model = gguf(&folder.path(file));
        decoded(model.tensors.iter().find(|t| t.name == name).unwrap())
    };
    for name in ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.2.ffn_up.weight"] {
        let [base, chat, out] = ["base", "chat", "out"].map(|model| find(&format!("{model}.gguf"), name));
        let squares = |of: &[f32]| -> f64 {
            of.iter().zip(&chat).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
        };
        let kept = 1.0 - squares(&out) / squares(&base);
        let told = said.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
        let told: f64 = told.split(' ').next().unwrap().parse().unwrap();
        assert!((kept * 100.0 - told).abs() < 0.01 && kept > 0.2, "{name}: {kept}, told {told}");
    }
    assert!(said.contains("of the squares of the vector the adapter keeps"), "{said}");
    assert!(said.contains("--lora"), "{said}");
    let ran =
        ggraft(folder.words("merge --onto %base --adapter @vector.gguf:0.5 -w 0.3 --type F32 -o @none.gguf"));
    assert!(ran.code == 2 && ran.err.contains("weights of their own"), "{}", ran.err);
    let ran = ggraft(folder.words("vector --base %base --chat %base --rank 4 -o @none.gguf"));
    assert!(ran.code == 3 && ran.err.contains("chat is the base"), "{}", ran.err);
    let said = run("vector --base %chat --chat %base --rank 4 -o @turned.gguf");
    assert!(said.contains("are --base and --chat swapped?"), "{said}");
}

/// Of few rows of tokens a rank of 16 is more than enough.
#[test]
fn an_adapter_for_one_cp_has_the_rows_of_tokens_that_a_merge_gives_it() {
    let folder = Folder::new();
    let run = |words: &str| ggraft(folder.words(words));
    run("vector -q --base %base --chat %chat --onto %cp --rank 16 --type F32 -o @vector.gguf").ok();
    run("merge -q --onto %cp --adapter @vector.gguf --type F32 -o @worn.gguf").ok();
    run("merge -q --onto %cp --base %base --chat %chat --type F32 -o @merged.gguf").ok();
    run("convert -q %cp --type F32 -o @cp.gguf").ok();
    let find = |file: &str, name: &str| {
        let model = gguf(&folder.path(file));
        decoded(model.tensors.iter().find(|t| t.name == name).unwrap())
    };
    for name in ["token_embd.weight", "output.weight"] {
        let [cp, merged, worn] = ["cp.gguf", "merged.gguf", "worn.gguf"].map(|file| find(file, name));
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(far(&merged, &cp) > 0.01 && far(&merged, &worn) < 1e-5, "{name}: {}", far(&merged, &worn));
    }
    let ran = run("vector --base %base --chat %chat --onto %cp --type safetensors -o @x");
    assert!(ran.code == 2 && ran.err.contains("leave out --onto"), "{}", ran.err);
}

#[test]
fn a_whole_vector_is_put_on_as_its_models_would_be_and_is_no_model() {
    let folder = Folder::new();
    let run = |words: &str| ggraft(folder.words(words));
    run("vector -q --base %base --chat %chat --type safetensors -o @vector").ok();
    let said = run("merge --onto %cp --adapter @vector:0.7 --type F32 -o @put.gguf").ok().err;
    assert!(said.contains("adapter"), "{said}");
    run(
        "merge -q --onto %cp --base %base --chat %chat -w 0.7 --embeddings shared --no-auto-copy --type F32 -o @merged.gguf",
    )
    .ok();
    let [put, merged] = ["put", "merged"].map(|name| gguf(&folder.path(&format!("{name}.gguf"))));
    for ((name, put), merged) in values(&put.tensors).into_iter().zip(values(&merged.tensors).into_values()) {
        assert!(put == merged, "{name}");
    }
    for (words, code, told) in [
        ("convert @vector --type F32 -o @x.gguf", 4, "this is a chat vector, not a model"),
        (
            "merge --onto @vector --adapter @vector --type F32 -o @x.gguf",
            4,
            "this is a chat vector, not a model",
        ),
        (
            "vector --base %base --chat %chat --type safetensors --rank 4 -o @x",
            2,
            "a whole vector has no rank",
        ),
        ("vector --base %base --chat @put.gguf --type safetensors -o @x", 2, "the files of a checkpoint"),
    ] {
        let ran = run(words);
        assert!(ran.code == code && ran.err.contains(told), "{words}: {} {}", ran.code, ran.err);
    }
}

/// Norms that add one, transposed weights, experts, decays that are kept as logarithms.
#[test]
fn a_whole_vector_is_in_the_trainers_space_for_every_kind_of_value() {
    for name in ["Gemma-3-Tiny", "gpt2-tiny", "Qwen3-Moe-Tiny", "Nemotron-3-Nano-Tiny"] {
        let folder = Folder::new();
        family(name).unwrap().write_trio(&folder.path(""));
        let run = |words: &str| ggraft(folder.words(words)).ok();
        run("vector -q --base @base --chat @chat --type safetensors -o @vector");
        run("merge -q --onto @cp --adapter @vector:0.7 --type F32 -o @put.gguf");
        run(
            "merge -q --onto @cp --base @base --chat @chat -w 0.7 --embeddings shared --no-auto-copy --type F32 -o @merged.gguf",
        );
        let [put, merged] = ["put", "merged"].map(|name| gguf(&folder.path(&format!("{name}.gguf"))));
        for (put, merged) in put.tensors.iter().zip(&merged.tensors) {
            for (x, y) in decoded(put).into_iter().zip(decoded(merged)) {
                assert!((x - y).abs() <= y.abs() * 1e-6 + 1e-7, "{name} {}: {x} {y}", put.name);
            }
        }
    }
}

/// A copy of the adapter whose config is changed.
fn edited(case: &Case, change: &Json) {
    let dir = case.folder.path("edited");
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        std::fs::copy(case.adapter().join(file), dir.join(file)).unwrap();
    }
    let path = dir.join("adapter_config.json");
    let mut config: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn what_an_adapter_says_and_cannot_be_followed_is_refused_by_name() {
    let case = Case::new("qwen2");
    for (change, code, said) in [
        (json!({"peft_type": "LOHA"}), 4, "found LOHA"),
        (json!({"init_lora_weights": "pissa_niter_4"}), 4, "'init_lora_weights' is pissa_niter_4"),
        (json!({"target_parameters": ["mlp.experts.gate_up_proj"]}), 4, "'target_parameters'"),
        (json!({"trainable_token_indices": [1, 2]}), 4, "'trainable_token_indices'"),
        (json!({"layer_replication": [[0, 2]]}), 4, "'layer_replication'"),
        (json!({"alora_invocation_tokens": [1, 2]}), 4, "alora_invocation_tokens"),
        (json!({"r": 8}), 3, "expected 8 ('r' or 'rank_pattern')"),
        (json!({"rank_pattern": {"q_proj": 2}}), 3, "self_attn.q_proj"),
        (json!({"rank_pattern": {"(?<!x)q_proj": 4}}), 4, "'rank_pattern' holds a pattern"),
        (json!({"lora_alpha": "8"}), 3, "'lora_alpha' is not what it should be"),
        (json!({"use_dora": true}), 3, "lora_magnitude_vector"),
    ] {
        edited(&case, &change);
        let ran = case.run("merge --onto # --adapter @edited --type F32 -o @out.gguf");
        assert!(ran.code == code && ran.err.contains(said), "{change}: {} {}", ran.code, ran.err);
        assert!(!case.folder.path("out.gguf").exists(), "{change}");
    }
    let refusals = [
        ("merge --onto %cp --adapter ! --type F32 -o @out.gguf", 3, "has another shape than the model"),
        ("merge --onto %cp --adapter %chat --type F32 -o @out.gguf", 3, "this is no adapter"),
        ("merge --onto # --adapter @nothing --type F32 -o @out.gguf", 5, "nothing"),
        ("merge --onto # --base # --adapter ! --type F32 -o @out.gguf", 2, "--base is given without --chat"),
        ("adapter ! --base # --type Q4_K_M -o @out.gguf", 2, "F32, F16, BF16 or Q8_0"),
    ];
    for (words, code, said) in refusals {
        let ran = case.run(words);
        assert!(ran.code == code && ran.err.contains(said), "{words}: {} {}", ran.code, ran.err);
    }
    case.run("convert -q # --type F32 -o @cp.gguf").ok();
    let ran = case.run("merge --onto @cp.gguf --adapter ! --type F32 -o @out.gguf");
    assert!(ran.code == 4 && ran.err.contains("ggraft adapter DIR --base MODEL"), "{}", ran.err);
    // The head of this model is its embedding.
    let ran = ggraft(case.folder.words(&format!(
        "merge --onto {} --adapter {} --type F32 -o @out.gguf",
        case.checkpoint().display(),
        fixture("adapters/qwen3-head").display()
    )));
    assert!(ran.code == 3 && ran.err.contains("its output head is its embedding"), "{}", ran.err);
}

#[test]
fn an_adapter_of_another_architecture_is_refused() {
    let case = Case::new("llama");
    case.run("convert -q # --type F32 -o @cp.gguf").ok();
    let ran = case.run("adapter ! --base # --type F16 -o @a.gguf").ok();
    assert!(ran.err.contains("a.gguf: F16, "), "{}", ran.err);
    case.run("meta set @a.gguf general.architecture=str:qwen2 --force -q -o @other.gguf").ok();
    let ran = case.run("merge -q --onto @cp.gguf --adapter @other.gguf --type F32 -o @out.gguf");
    assert!(ran.code != 0 && ran.err.contains("of another architecture"), "{}", ran.err);
}
