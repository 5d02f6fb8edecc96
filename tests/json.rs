//! What every verb prints with `--json` fits `docs/json.schema.json`, the lines of `--progress json` too, and
//! `docs/json.md` names every verb.

#[path = "support/run.rs"]
mod run;
#[path = "support/schema.rs"]
mod schema;
mod support;

use run::{Ran, ggraft, trio};
use serde_json::{Value as Json, json};
use std::path::Path;
use support::gguf::TOYS;
use tempfile::TempDir;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

struct Bench {
    dir: TempDir,
    schema: Json,
}

impl Bench {
    /// A folder with a toy, `in.gguf`.
    fn new() -> Bench {
        let schema = serde_json::from_str(&document("json.schema.json")).unwrap();
        let bench = Bench { dir: tempfile::tempdir().unwrap(), schema };
        TOYS[1].write(&bench.dir.path().join("in.gguf"));
        bench
    }

    fn ggraft(&self, words: &str) -> Ran {
        let trio = trio("").display().to_string();
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.split(' ').map(|word| word.replace('@', &folder).replace('%', &trio)))
    }

    #[track_caller]
    fn fits(&self, definition: &str, text: &str) -> Json {
        let value: Json = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let problems = schema::problems(&self.schema, definition, &value);
        assert!(problems.is_empty(), "{}\n{value:#}", problems.join("\n"));
        value
    }
}

#[test]
fn every_verb_prints_what_the_schema_says() {
    let bench = Bench::new();
    let merge = "merge --base %base --chat %chat --onto %cp --json -q";
    for (words, definition) in [
        (format!("{merge} --type Q8_0 -o @m.gguf"), "plan"),
        (format!("{merge} --type safetensors --dry-run -o @m"), "plan"),
        (format!("{merge} --type Q8_0 --target-bpw 6 --dry-run -o @b.gguf"), "plan"),
        (String::from("convert %cp --type Q4_K_M --json -q -o @c.gguf"), "plan"),
        (String::from("quantize @in.gguf @q.gguf Q4_K_M --json -q"), "plan"),
        (String::from("quantize @in.gguf @t.gguf --target-size 3M --json -q"), "plan"),
        (String::from("adapter %../adapters/llama --base %cp --json -q -o @a.gguf"), "plan"),
        (String::from("vector --base %base --chat %chat --rank 2 --json -q -o @v.gguf"), "plan"),
        (String::from("merge --onto %cp --adapter @a.gguf --type Q8_0 --json -q -o @w.gguf"), "plan"),
        (String::from("split @in.gguf @part --max-tensors 40 --json -q"), "plan"),
        (String::from("join @part-00001-of-00002.gguf @joined.gguf --json -q"), "plan"),
        (String::from("plan quantize @in.gguf @p.gguf Q4_K_M --json -q --jobs 2 --plan @run.plan"), "plan"),
        (String::from("status @run.plan --json"), "status"),
        (String::from("job @run.plan --job 1/2 -q"), ""),
        (String::from("status @run.plan --json"), "status"),
        (String::from("inspect @m.gguf --json"), "inspect"),
        (String::from("inspect @m.gguf --json --tensors"), "inspect"),
        (String::from("inspect %cp --json --tensors"), "inspect"),
        (String::from("verify @m.gguf --json"), "verify"),
        (String::from("verify %cp --json"), "verify"),
        (String::from("hash @m.gguf --json"), "hash"),
        (String::from("hash @m.gguf --json --all --uuid --no-layer"), "hash"),
        (String::from("diff @m.gguf @c.gguf --json"), "diff"),
        (String::from("diff %cp %base --json"), "diff"),
        (String::from("diff %base @in.gguf --json"), "diff"),
        (String::from("meta get @m.gguf --json"), "meta-get"),
        (String::from("meta get @m.gguf --json tokenizer.ggml.tokens general.name"), "meta-get"),
        (String::from("meta set @m.gguf --force --json a.b=[f32]:nan,1 general.name=str:x"), "meta-edit"),
        (String::from("meta unset @m.gguf --json a.b --dry-run"), "meta-edit"),
    ] {
        let ran = bench.ggraft(&words).ok();
        if !definition.is_empty() {
            bench.fits(definition, ran.out.trim_end());
        }
    }
    // What costs infinitely is no number of JSON's.
    let loud = "convert @loud.gguf --target-bpw 15 --tensor-type attn_v=f16 --dry-run --json -q";
    bench.ggraft("merge --onto %cp --method passthrough --weights *=1e9 --type F32 -q -o @loud.gguf").ok();
    let told = bench.fits("plan", &bench.ggraft(loud).ok().out);
    assert_eq!((&told["budget"]["error"], &told["budget"]["divergence"]), (&Json::Null, &Json::Null));
    // Several outputs, several lines.
    let ran = bench.ggraft(&format!("{merge} --type Q8_0,Q4_0 --weight 0.5,1 --dry-run")).ok();
    let plans: Vec<Json> = ran.out.lines().map(|line| bench.fits("plan", line)).collect();
    assert_eq!(plans.len(), 4);
}

/// It needs llama.cpp, and a build that can run models.
#[test]
fn what_models_do_on_a_text_is_told_too() {
    if !cfg!(feature = "runtime") || std::env::var_os("GGRAFT_LLAMA_CPP").is_none() {
        eprintln!("SKIPPED: measure --json; set GGRAFT_LLAMA_CPP, and build with --all-features");
        return;
    }
    let bench = Bench::new();
    bench.ggraft("convert %cp --type Q8_0,Q4_0 -o @{type}.gguf -q").ok();
    let text = "--text %korean_heldout.txt --ctx 64 --chunks 4 --json -q";
    let alone = bench.ggraft(&format!("measure @Q4_0.gguf {text}")).ok();
    assert_eq!(bench.fits("measure", &alone.out)["models"][0]["compared"], Json::Null);
    let both = bench.ggraft(&format!("measure @Q4_0.gguf --against @Q8_0.gguf {text}")).ok();
    let told = bench.fits("measure", &both.out);
    assert!(told["models"][0]["compared"]["kl_divergence"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_failed_check_is_told_too() {
    let bench = Bench::new();
    std::fs::write(bench.dir.path().join("wrong"), format!("xxh64  {}  in.gguf\n", "0".repeat(16))).unwrap();
    let ran = bench.ggraft("hash @in.gguf --check @wrong --json --no-layer");
    let told = bench.fits("hash", &ran.out);
    assert_eq!(
        (ran.code, &told["ok"], &told["hashes"][0]["verdict"]),
        (7, &json!(false), &json!("Mismatch"))
    );
    let ran = bench.ggraft("verify @wrong --json");
    let told = bench.fits("verify", &ran.out);
    assert!(ran.code == 4 && told["ok"] == false && told["problems"][0].as_str().unwrap().contains("wrong"));
}

#[test]
fn progress_is_an_object_a_line() {
    let bench = Bench::new();
    for words in [
        "quantize @in.gguf @q.gguf Q4_K_M -q --progress json",
        "verify @in.gguf -q --progress json",
        "meta set @in.gguf general.description=str:a-long-text-that-moves-all-tensors -q --progress json",
    ] {
        let ran = bench.ggraft(words).ok();
        let events: Vec<Json> = ran.err.lines().map(|line| bench.fits("progress", line)).collect();
        let last = events.last().unwrap();
        assert_eq!(last["done"], last["of"], "{words}");
        assert_eq!(last["bytes_done"], last["bytes_total"], "{words}");
    }
    let ran = bench.ggraft("quantize @in.gguf @q.gguf Q4_K_M -f --progress none").ok();
    assert!(!ran.err.contains("[   1/") && ran.err.contains("disk: "), "{}", ran.err);
    let ran = bench.ggraft("quantize @in.gguf @q.gguf Q4_K_M -f -q --progress plain").ok();
    assert_eq!(ran.err.lines().count(), 75, "{}", ran.err);
    let ran = bench.ggraft("quantize @in.gguf @q.gguf Q4_K_M -f -v --dry-run").ok();
    assert!(
        ran.err.lines().any(|l| l.starts_with("blk.0.attn_q.weight ") && l.contains("f16 -> q4_K")),
        "{}",
        ran.err
    );
}

#[test]
fn the_document_tells_of_every_verb() {
    let page = document("json.md");
    for verb in ggraft::cli::verbs() {
        let named = page.contains(&format!("`{verb}`"));
        let has = ggraft([verb.split(' ').collect::<Vec<_>>(), vec!["--help"]].concat())
            .ok()
            .out
            .contains("--json");
        assert_eq!(named, has, "{verb}");
    }
}
