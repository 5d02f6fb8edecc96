//! The adapters that jina-embeddings-v3 has within its weights, one a task: GGUFs beside the model's, as llama.cpp's converter
//! writes them (`fixtures/goldens/tasks`), and as llama.cpp applies them.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use run::ggraft;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::families::Tiny;
use support::families::tasks::{TASKS, all};
use support::gguf::{checkpoint, model};
use support::golden::Golden;
use tempfile::TempDir;

/// The checkpoint, in a directory of its own.
struct Case {
    folder: TempDir,
    dir: PathBuf,
}

impl Case {
    fn new() -> Case {
        Case::of(&all().remove(0))
    }

    fn of(tiny: &Tiny) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join(tiny.name);
        tiny.write(&dir);
        Case { folder, dir }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    fn convert(&self, more: &[&str]) -> run::Ran {
        ggraft([&["convert", "-q", self.dir.to_str().unwrap()], more].concat())
    }

    /// The model and its adapters as `kind`.
    fn converted(&self, kind: &str) -> String {
        let out = self.path("jina.gguf");
        self.convert(&["--type", kind, "-o", &out, "--force"]).ok();
        out
    }

    fn adapter(&self, task: &str) -> String {
        self.path(&format!("lora-{task}-jina.gguf"))
    }

    /// What its conversion says when its config has these keys.
    fn refused(&self, change: &Value) -> String {
        let file = self.dir.join("config.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        change.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
        std::fs::write(&file, config.to_string()).unwrap();
        let ran = self.convert(&["--type", "f16", "--dry-run"]);
        std::fs::write(&file, text).unwrap();
        assert_ne!(ran.code, 0, "{change}");
        ran.err
    }
}

#[test]
fn each_task_becomes_the_adapter_that_the_converter_makes_of_it() {
    let case = Case::new();
    for kind in ["f32", "q8_0"] {
        case.converted(kind);
        for task in TASKS {
            let path = format!("goldens/tasks/{}.{task}.json", all()[0].name);
            let golden = Golden::at(&support::vocabulary::fixture(&path));
            golden.check_generator(&case.dir);
            let found = golden.differences(&model(Path::new(&case.adapter(task))));
            assert_eq!(found, Vec::<String>::new(), "{task}, {kind}");
        }
    }
}

#[test]
fn adapters_are_files_beside_the_first_gguf_and_stay_in_a_checkpoint() {
    let case = Case::new();
    let folder = case.path("several/");
    case.convert(&["--type", "q8_0,safetensors", "-o", &folder]).ok();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    names.sort();
    let own = names.iter().find(|name| !name.starts_with("lora-")).unwrap();
    let due: Vec<String> = TASKS.iter().map(|task| format!("lora-{task}-{own}")).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("lora-")).cloned().collect::<Vec<_>>(), due);
    let copy = case.path("copy");
    case.convert(&["--type", "safetensors", "-o", &copy]).ok();
    let names = |dir: &Path| {
        let mut all: Vec<String> = checkpoint(dir).tensors.iter().map(|t| t.name.clone()).collect();
        all.sort();
        all
    };
    assert_eq!(names(Path::new(&copy)), names(&case.dir));
    let words = case.path("words.gguf");
    case.convert(&["--type", "f16", "--vocab-only", "-o", &words]).ok();
    assert!(!Path::new(&case.path(&format!("lora-{}-words.gguf", TASKS[0]))).exists());
}

#[test]
fn adapters_are_told_as_such_and_have_no_modelfile() {
    let case = Case::new();
    let out = case.path("jina.gguf");
    let told = ggraft([
        "convert",
        case.dir.to_str().unwrap(),
        "--type",
        "q8_0",
        "-o",
        &out,
        "--card",
        "--modelfile",
    ])
    .ok();
    assert!(told.err.contains(&format!("--lora {}", case.adapter(TASKS[0]))), "{}", told.err);
    assert!(told.err.contains("memory to run it: 76.44 KiB, "), "{}", told.err);
    let card = std::fs::read_to_string(case.path("README.md")).unwrap();
    for task in TASKS {
        let row = card.lines().find(|line| line.contains(&format!("lora-{task}-jina.gguf]")));
        assert!(row.is_some_and(|row| row.contains("| F32 | - |") && row.contains(&format!("adapter for {task}"))), "{card}");
    }
    let rows: Vec<&str> = card.lines().filter(|line| line.contains(".gguf](")).collect();
    assert!(rows[0].contains("[jina.gguf]") && card.contains("## Use"), "{card}");
    let made: Vec<String> = std::fs::read_dir(case.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("Modelfile"))
        .collect();
    assert_eq!(made, ["Modelfile"]);
}

#[test]
fn adapters_that_are_not_there_or_not_of_the_layers_are_left_out() {
    let mut case = Case::new();
    let told = ggraft([
        "convert",
        case.dir.to_str().unwrap(),
        "--type",
        "f16",
        "--prune-layers",
        "1",
        "-o",
        &case.path("jina.gguf"),
    ])
    .ok();
    assert!(told.err.contains("the adapters for its tasks are left out"), "{}", told.err);
    assert!(!Path::new(&case.adapter(TASKS[0])).exists());
    let mut tiny = all().remove(0);
    tiny.more = &[];
    case = Case::of(&tiny);
    case.converted("f16");
    assert!(!Path::new(&case.adapter(TASKS[0])).exists());
    let more = all()[0]
        .more
        .iter()
        .filter(|(name, _)| !name.ends_with("0.mlp.fc1.parametrizations.weight.0.lora_B"));
    tiny.more = more.copied().collect::<Vec<_>>().leak();
    let told = Case::of(&tiny).convert(&["--type", "f16", "--dry-run"]);
    assert!(
        told.code != 0
            && told
                .err
                .contains("0.mlp.fc1.parametrizations.weight.0.lora_B': a part of the adapters is missing"),
        "{}",
        told.err
    );
}

/// llama.cpp applies no adapter to the row for the type of a token, which here has none therefore.
#[test]
fn an_adapter_counts_in_llama_cpp_as_merged() {
    let Some(peer) = peer::peer() else { return };
    let mut tiny = all().remove(0);
    let more = tiny.more.iter().filter(|(name, _)| !name.contains("token_type"));
    tiny.more = more.copied().collect::<Vec<_>>().leak();
    let case = Case::of(&tiny);
    let (base, merged) = (case.converted("f32"), case.path("merged.gguf"));
    let text = [5, 17, 41, 60, 7];
    let vector = |file: &str, adapter: Option<&str>| {
        let mut model = peer.load_model(Path::new(file), false).unwrap();
        adapter.iter().for_each(|adapter| model.wear(Path::new(adapter)).unwrap());
        model.vector(&text, 1).unwrap()
    };
    let plain = vector(&base, None);
    for task in TASKS {
        let adapter = case.adapter(task);
        ggraft([
            "merge",
            "-q",
            "--onto",
            &base,
            "--adapter",
            &adapter,
            "--type",
            "f32",
            "-o",
            &merged,
            "--force",
        ])
        .ok();
        let (worn, merged) = (vector(&base, Some(&adapter)), vector(&merged, None));
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart(&worn, &merged) * 1e3 < apart(&worn, &plain), "{task}");
    }
}

#[test]
fn what_the_config_and_the_factors_do_not_agree_on_is_refused_by_name() {
    let case = Case::new();
    for (change, said) in [
        (json!({"lora_adaptations": ["retrieval.query"]}), "matrices of 1 tasks"),
        (json!({"lora_adaptations": ["a/../b", "c"]}), "'lora_adaptations' cannot be used"),
        (json!({"lora_adaptations": ["a", "a"]}), "names that differ"),
        (json!({"lora_adaptations": {"a": 1}}), "'lora_adaptations' cannot be used"),
        (json!({"task_instructions": {"text-matching": ""}}), "a text for each of 'lora_adaptations'"),
        (json!({"lora_alpha": "1"}), "'lora_alpha' cannot be used"),
    ] {
        let told = case.refused(&change);
        assert!(told.contains(said), "{change}: {told}");
    }
}
