//! The chat vector on every family: what is merged of checkpoints is, bit for bit, what is merged of the GGUFs that they
//! become, whatever has moved or changed on the way.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Model, open};
use rayon::prelude::*;
use run::ggraft;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::path::Path;
use support::families::{Tiny, distinct};

/// Merges the trio in `dir`, whose models are called so, to f32.
fn merge(dir: &Path, ending: &str, more: &[&str]) -> Result<Model, String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| path(&format!("{name}{ending}")));
    let out = path("out.gguf");
    let models = ["merge", "-q", "--force", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "f32"];
    let ran = ggraft([&models[..], &["-o", &out], more].concat());
    if ran.code != 0 {
        return Err(ran.err);
    }
    match open(Path::new(&out)).unwrap() {
        Input::Model(model) => Ok(model),
        Input::Checkpoint(_) => panic!("{out} is no GGUF"),
    }
}

/// The values of every tensor, as bits.
fn bits(model: &Model) -> Vec<(String, Vec<u32>)> {
    let of = |t: &ggraft_formats::Tensor| {
        let mut values = vec![0.0; t.shape().elements() as usize];
        t.decode_rows(0..t.shape().rows() as usize, &mut values).unwrap();
        (t.name.clone(), values.into_iter().map(f32::to_bits).collect())
    };
    let mut all: Vec<_> = model.tensors.iter().map(of).collect();
    all.sort();
    all
}

/// What differs between the trio as checkpoints and as GGUFs, merged in these ways.
fn differences(tiny: &Tiny, dir: &Path, ways: &[&[&str]]) -> Vec<String> {
    for name in ["base", "chat", "cp"] {
        let (from, to) = (dir.join(name), dir.join(format!("{name}.gguf")));
        let (from, to) = (from.display().to_string(), to.display().to_string());
        let ran = ggraft(["convert", "-q", &from, "--type", "f32", "-o", &to]);
        if ran.code != 0 {
            return vec![ran.err];
        }
    }
    let mut lines = Vec::new();
    for way in ways {
        let found = [merge(dir, "", way), merge(dir, ".gguf", way)];
        let [Ok(checkpoints), Ok(ggufs)] = &found else {
            lines.extend(found.into_iter().filter_map(Result::err));
            continue;
        };
        let (expected, found) = (bits(checkpoints), bits(ggufs));
        if expected.len() != found.len() {
            lines.push(format!("{way:?}: {} tensors, {} tensors", expected.len(), found.len()));
        }
        for ((name, a), (other, b)) in expected.iter().zip(&found) {
            let differ = a.iter().zip(b).filter(|(a, b)| !is_same(name, tiny.dtype, **a, **b)).count();
            if name != other || differ > 0 {
                lines.push(format!("{way:?}: {name} and {other}: {differ} of {} weights differ", a.len()));
            }
        }
    }
    lines.iter().map(|line| format!("{}: {line}", tiny.name)).collect()
}

/// Whether two values are the same. A GGUF holds the decay of a state as -exp(A_log), rounded to f32, or of halves to
/// f16: what comes of it is as good as that.
fn is_same(name: &str, dtype: Dtype, a: u32, b: u32) -> bool {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let rounding = 2f32.powi(if dtype == Dtype::F16 { -9 } else { -21 });
    a == b || (name.ends_with("ssm_a") && (x - y).abs() <= x.abs() * rounding)
}

/// One checkpoint for each kind of move and of value.
const KINDS: [&str; 14] = [
    "Qwen3-Tiny",
    "Mixtral-Tiny-4x1M",
    "Qwen3-Moe-Tiny",
    "Qwen3-Moe-Fused",
    "gpt-oss-tiny",
    "Gemma-Tiny",
    "Gemma-2-Tiny",
    "Gemma-3-Tiny",
    "gemma-3-tiny-it",
    "gpt2-tiny",
    "DeepSeek-V2-Tiny",
    "Phi-3-mini-4k-tiny",
    "granite-shared-1m",
    "granite-3-biased",
];

/// What a GGUF cannot give back exactly: a norm that it holds as a number + w, rounded, of weights finer than bf16 or of a number that is
/// no power of two; weights that became one of three values.
fn excused(tiny: &Tiny) -> &'static [&'static str] {
    match tiny.config["architectures"][0].as_str().unwrap_or_default() {
        name if name.starts_with("Gemma") && tiny.dtype != Dtype::BF16 => &["norm.weight"],
        "Plamo2ForCausalLM" | "Plamo3ForCausalLM" => &["post_attention_norm", "post_ffw_norm"],
        "BitnetForCausalLM" => {
            &["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
        }
        _ => &[],
    }
}

#[test]
fn merging_checkpoints_and_merging_their_ggufs_give_the_same_weights() {
    let ways: [&[&str]; 3] = [
        &["-w", "0.7"],
        &["-w", "0.7", "--method", "ties", "--param", "density=0.4"],
        &["-w", "0.3", "--method", "slerp"],
    ];
    // All families take minutes.
    let every = std::env::var("GGRAFT_LONG").is_ok();
    let failures = |tiny: &Tiny| {
        let is_kind = KINDS.contains(&tiny.name);
        if std::env::var("FAMILY").is_ok_and(|wanted| !tiny.name.contains(&wanted)) {
            return Vec::new();
        }
        if !is_kind && !every {
            return Vec::new();
        }
        let dir = tempfile::tempdir().unwrap();
        tiny.write_trio(dir.path());
        let found = differences(tiny, dir.path(), if is_kind { &ways[..] } else { &ways[..1] });
        let excused = excused(tiny);
        found.into_iter().filter(|line| !excused.iter().any(|part| line.contains(part))).collect()
    };
    let failed: Vec<String> = distinct().par_iter().flat_map_iter(failures).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The goldens of `fixtures/make_family_merge_goldens.py`, which computes in numpy.
#[test]
fn merges_are_those_of_an_oracle_that_knows_no_gguf() {
    let folder = support::vocabulary::fixture("goldens/families-merged");
    let mut failed = Vec::new();
    for name in ["Qwen3-Tiny", "Qwen3-Moe-128-Experts", "Gemma-3-Tiny", "gpt2-tiny", "DeepSeek-V2-Tiny"] {
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        support::families::family(name).unwrap().write_trio(dir.path());
        for recipe in ["vector", "ties"] {
            let file = dir.path().join(format!("{recipe}.yml"));
            std::fs::copy(folder.join(format!("{recipe}.yml")), &file).unwrap();
            let out = dir.path().join("out.gguf");
            let words = ["merge", file.to_str().unwrap(), "-q", "--force", "-o", out.to_str().unwrap()];
            ggraft(words).ok();
            let Input::Model(model) = open(&out).unwrap() else { panic!("no GGUF") };
            let mut expected = golden["tensors"][recipe].as_object().unwrap().clone();
            for (tensor, bits) in bits(&model) {
                let mut hash = Sha256::new();
                bits.iter().for_each(|x| hash.update(x.to_le_bytes()));
                let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
                if expected.remove(&tensor).as_ref().and_then(|h| h.as_str()) != Some(&hash) {
                    failed.push(format!("{name}, {recipe}: {tensor} differs"));
                }
            }
            let left = expected.keys().filter(|t| !t.starts_with("rope_"));
            failed.extend(left.map(|tensor| format!("{name}, {recipe}: {tensor} is missing")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A gradient or a factor for the head of a model whose head is its embedding does nothing, which is told: of the rules of all
/// vectors as of those of one.
#[test]
fn rules_for_a_head_that_is_the_embedding_are_told_to_have_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = support::families::family("Gemma-3-Tiny").unwrap();
    tiny.write_trio(dir.path());
    let rules = ["weights: [output.weight=0.1]\n", "weights: [output.weight=0.2]", "output.weight=0.3"];
    let [all, weights, density] = rules;
    let recipe = format!(
        "onto: cp\nvectors:\n- chat: chat\n  base: base\n  {weights}\n  parameters:\n    density: [{density}]\n\
         method: ties\n{all}types: F32\noutput: out.gguf\n"
    );
    std::fs::write(dir.path().join("r.yml"), recipe).unwrap();
    let ran = run::ggraft_in(dir.path(), ["merge", "r.yml", "--dry-run"]).ok();
    for factor in ["0.1", "0.2", "0.3"] {
        let told = format!(
            "the rule output.weight={factor} has no effect: the output head of this model is its embedding"
        );
        assert_eq!(ran.err.matches(&told).count(), 1, "{told}: {}", ran.err);
    }
}
