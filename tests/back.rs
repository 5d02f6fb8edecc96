//! GGUF back to Hugging Face: for every family a checkpoint becomes a GGUF, the GGUF a directory again, with the weights that
//! the checkpoint had, and that directory the very same GGUF.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Checkpoint, DType, Model, Tensor};
use rayon::prelude::*;
use run::ggraft;
use std::collections::HashSet;
use std::path::Path;
use support::families::{Tiny, Words, distinct};
use support::gguf::{checkpoint, model, values};

/// Checkpoints that come back under other names: those of another form of the same class (experts one by one, RWKV 7 as
/// flash-linear-attention writes it), of the class whose GGUF it is (GPT-2), without their adapters (jina-embeddings-v3), or, of layers
/// that predict, those that are published.
const OTHER_NAMES: &[&str] = &[
    "ARWKV-7-Tiny",
    "jina-embeddings-v3-Tiny",
    "MiMo-V2-Flash-Tiny",
    "Qwen2-Moe-Fused",
    "Qwen3-Moe-Fused",
    "Qwen3-VL-Tiny",
    "Qwen3.5-MoE-Text-Tiny",
    "RWKV-7-Goose-Tiny",
    "ruGPT3XL-tiny",
    "rwkv7-fla-Tiny",
];

/// Models of whose weights a GGUF has others, which go back as they are there, and the end of those weights' names:
/// corrections of routers are centred, matrices of BitNet have three values, tables of Jais and matrices of Falcon H1 are
/// multiplied, norms of dots3-note are divided, RoBERTa's tables of places lack those that stand for none, and in how many parts a table of
/// Qwen 4 Exp was is not told.
const OTHER_WEIGHTS: &[(&str, &str)] = &[
    ("Falcon-H1-Tiny", "embed_tokens.weight"),
    ("Falcon-H1-Tiny", "lm_head.weight"),
    ("Falcon-H1-Tiny", "proj.weight"),
    ("Qwen4-Exp-Tiny", "ngram_embedding.shard_0.weight"),
    ("RoBERTa-Classifier-Tiny", PLACES),
    ("RoBERTa-Tiny", PLACES),
    ("Sarvam-Tiny", ""),
    ("bge-m3-Tiny", PLACES),
    ("bge-reranker-v2-m3-Tiny", PLACES),
    ("bitnet_b1_58-tiny", ""),
    ("dots3-note-Predicting", "_a_layernorm.weight"),
    ("jais-Tiny", "lm_head.weight"),
    ("jais-Tiny", "wte.weight"),
];

/// Models whose weights the trainer's class multiplies where their config did not ask for it, and the end of those weights'
/// names: they go back divided, which f32 may round.
const DIVIDED: &[(&str, &str)] = &[("dots3-note-Predicting", "_a_norm.weight")];

const PLACES: &str = "position_embeddings.weight";

/// A whole vocabulary takes seconds: one checkpoint has each, the others have the pieces of a small one.
fn lighten(all: &mut [Tiny]) {
    let mut seen = Vec::new();
    // A model that judges must have its answers, and one with tokens for turns those.
    let needs = |tiny: &Tiny| tiny.name.contains("Reranker") || !tiny.files.is_empty();
    for tiny in all.iter_mut().filter(|tiny| !needs(tiny)) {
        if let Words::Whole(name) = tiny.words {
            match seen.contains(&name) {
                true => tiny.words = Words::Pieces(288),
                false => seen.push(name),
            }
        }
    }
}

/// Does something with each checkpoint, and tells all that fails.
fn each(check: impl Fn(&Tiny, &Path) -> Vec<String> + Sync) {
    let wanted = std::env::var("FAMILY").unwrap_or_default();
    let failures = |tiny: &Tiny| {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(tiny.name);
        tiny.write(&dir);
        check(tiny, &dir).iter().map(|line| format!("{}: {line}", tiny.name)).collect::<Vec<_>>()
    };
    let mut all = distinct();
    all.extend(support::families::predicting::all());
    all.retain(|tiny| tiny.name.contains(&wanted));
    lighten(&mut all);
    let failed: Vec<String> = all.par_iter().flat_map_iter(failures).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn convert(from: &Path, kind: &str, to: &Path) -> Result<String, Vec<String>> {
    let ran = ggraft(["convert", from.to_str().unwrap(), "--type", kind, "-o", to.to_str().unwrap()]);
    if ran.code == 0 { Ok(ran.err) } else { Err(vec![format!("{kind}: {}", ran.err)]) }
}

#[test]
fn what_goes_to_gguf_and_back_is_the_same_gguf_again() {
    each(|_, dir| round(dir).unwrap_or_else(|lines| lines));
}

/// What is behind the pooling goes back into folders of its own, and is taken in again.
#[test]
fn dense_modules_go_back_into_their_folders() {
    for tiny in support::families::pooling::all() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        let (dir, gguf, back, again) = (path(tiny.name), path("a.gguf"), path("back"), path("b.gguf"));
        tiny.write(&dir);
        let take = |from: &Path, to: &Path| {
            let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
            let option = "--sentence-transformers-dense-modules";
            ggraft(["convert", from, "--type", "bf16", "--name", tiny.name, option, "-o", to]).ok();
        };
        take(&dir, &gguf);
        let told = convert(&gguf, "safetensors", &back).unwrap();
        assert!(!told.contains("does not say all"), "{told}");
        take(&back, &again);
        assert_eq!(differences(&model(&gguf), &model(&again)), [""; 0], "{}", tiny.name);
        for (folder, _) in tiny.modules {
            let [old, new] =
                [&dir, &back].map(|dir| std::fs::read(dir.join(folder).join("model.safetensors")));
            assert_eq!(old.unwrap(), new.unwrap(), "{folder}");
        }
        let list = std::fs::read_to_string(back.join("modules.json")).unwrap();
        assert!(tiny.modules.iter().all(|(folder, _)| list.contains(folder)), "{list}");
    }
}

/// Keys that a GGUF need not have, blocks, and sizes that cannot be.
#[test]
fn a_gguf_of_another_make_goes_back_or_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name);
    let cp = path("cp.gguf");
    convert(&run::trio("cp"), "f16", &cp).unwrap();
    for key in ["llama.rope.freq_base", "llama.rope.dimension_count"] {
        let (without, back) = (path(&format!("{key}.gguf")), path(key));
        ggraft(["meta", "unset", cp.to_str().unwrap(), key, "-o", without.to_str().unwrap()]).ok();
        convert(&without, "safetensors", &back).unwrap();
        let again = path(&format!("{key}.again.gguf"));
        convert(&back, "f16", &again).unwrap();
        let (old, new) = (model(&cp), model(&again));
        assert!(
            old.tensors.iter().zip(&new.tensors).all(|(a, b)| a.name == b.name && values(a) == values(b))
        );
    }
    let tiny = distinct().into_iter().find(|tiny| tiny.name == "DeepSeek-V2-Tiny").unwrap();
    let (dir, blocks, huge) = (path(tiny.name), path("blocks.gguf"), path("huge.gguf"));
    tiny.write(&dir);
    convert(&dir, "q8_0", &blocks).unwrap();
    convert(&blocks, "safetensors", &path("plain")).unwrap();
    let sizes = ["attention.kv_lora_rank", "rope.dimension_count"]
        .map(|key| format!("deepseek2.{key}=u64:{}", 1u64 << 63));
    ggraft([
        "meta",
        "set",
        blocks.to_str().unwrap(),
        &sizes[0],
        &sizes[1],
        "--force",
        "-o",
        huge.to_str().unwrap(),
    ])
    .ok();
    let refused = convert(&huge, "safetensors", &path("none")).unwrap_err();
    assert!(refused.concat().contains("error: ") && !refused.concat().contains("panicked"), "{refused:?}");
}

fn round(dir: &Path) -> Result<Vec<String>, Vec<String>> {
    let (gguf, again) = (dir.with_extension("gguf"), dir.with_extension("again.gguf"));
    // A model is called by its directory, where nothing else says how.
    let back = dir.with_extension("back").join(dir.file_name().unwrap());
    convert(dir, "f32", &gguf)?;
    convert(&gguf, "safetensors", &back)?;
    convert(&back, "f32", &again)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let other = OTHER_WEIGHTS.iter().filter(|(model, _)| *model == name).map(|(_, end)| *end);
    let mut lines = weights(&checkpoint(dir), &checkpoint(&back), &other.collect::<Vec<_>>());
    if !OTHER_NAMES.contains(&&*name) {
        lines.extend(names(&checkpoint(dir), &checkpoint(&back)));
    }
    let (first, second) = (model(&gguf), model(&again));
    let divided = |line: &String| {
        let tensor = line.strip_suffix(" is another").unwrap_or_default();
        DIVIDED.iter().any(|(model, end)| *model == name && tensor.ends_with(end))
            && rounded(&first, &second, tensor)
    };
    lines.extend(differences(&first, &second).into_iter().filter(|line| !divided(line)));
    if first.tensors.iter().any(|t| t.shape().ne() != t.shape().significant()) {
        let (trimmed, of_it) = (dir.with_extension("trimmed.gguf"), dir.with_extension("of-trimmed"));
        ggraft(["quantize", gguf.to_str().unwrap(), trimmed.to_str().unwrap(), "COPY"]).ok();
        convert(&trimmed, "safetensors", &of_it)?;
        lines.extend(weights(&checkpoint(&back), &checkpoint(&of_it), &[]));
    }
    Ok(lines)
}

/// Whether the values of a tensor differ by their last bit and no more.
fn rounded(a: &Model, b: &Model, tensor: &str) -> bool {
    let of = |model: &Model| model.tensors.iter().find(|t| t.name == tensor).map(values).unwrap_or_default();
    let (a, b) = (of(a), of(b));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.to_bits().abs_diff(b.to_bits()) <= 1)
}

/// Tensors of names that the checkpoint before did not have, whatever they are in.
fn names(before: &Checkpoint, after: &Checkpoint) -> Vec<String> {
    const WITHIN: [&str; 6] =
        ["bert.", "language_model.", "model.", "roberta.", "text_model.", "transformer."];
    fn bare(name: &str) -> &str {
        WITHIN.iter().find_map(|prefix| name.strip_prefix(prefix)).map_or(name, bare)
    }
    let held: HashSet<&str> = before.tensors.iter().map(|t| bare(&t.name)).collect();
    let other = after.tensors.iter().filter(|t| !held.contains(bare(&t.name)));
    other.map(|t| format!("{} is a name that it did not have", t.name)).collect()
}

/// The weights that a checkpoint has otherwise than the one before, of those that have the same names, or names under a prefix
/// that the one before did not have; but for those whose names end like `other`.
fn weights(before: &Checkpoint, after: &Checkpoint, other: &[&str]) -> Vec<String> {
    let prefix = |t: &Tensor| t.name.split('.').next().unwrap_or_default().to_string();
    let known: Vec<String> = before.tensors.iter().map(prefix).collect();
    let new: Vec<&Tensor> = after.tensors.iter().filter(|t| !known.contains(&prefix(t))).collect();
    let held = |t: &&Tensor| {
        let same = after.tensors.iter().find(|other| other.name == t.name);
        let alike = || {
            let (_, own) = t.name.split_once('.').filter(|(_, own)| own.contains('.'))?;
            new.iter().copied().find(|other| other.name.split_once('.').is_some_and(|(_, rest)| rest == own))
        };
        same.or_else(alike).cloned()
    };
    let compared = |t: &&Tensor| !other.iter().any(|end| t.name.ends_with(end));
    let both = before.tensors.iter().filter(compared).filter_map(|t| Some((t, held(&t)?)));
    // What is added to weights of f16 is rounded to f16.
    let near = |a: f32, b: f32| a == b || (a - b).abs() <= 1e-3 * a.abs().max(1.0);
    let mut lines = Vec::new();
    for (before, after) in both {
        if before.dtype() == DType::I64 {
            let bytes =
                |t: &Tensor| t.with_rows(0..t.shape().rows() as usize, |all| Ok(all.to_vec())).unwrap();
            if after.dtype() != DType::I64 || bytes(before) != bytes(&after) {
                lines.push(format!("{} differs", before.name));
            }
            continue;
        }
        let (old, new) = (values(before), values(&after));
        if before.shape().ne() != after.shape().ne() {
            lines.push(format!("{} is {} and not {}", after.name, after.shape(), before.shape()));
        } else if !old.iter().zip(&new).all(|(a, b)| near(*a, *b)) {
            lines.push(format!("{} differs", before.name));
        }
    }
    lines
}

/// What a GGUF says otherwise than another.
fn differences(a: &Model, b: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let keys = a.metadata.iter().chain(b.metadata.iter()).map(|(key, _)| key);
    let mut keys: Vec<&str> = keys.filter(|key| a.metadata.get(key) != b.metadata.get(key)).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let short = |m: &Model| match m.metadata.get(key) {
            Some(value) => format!("{value:?}").chars().take(120).collect::<String>(),
            None => String::from("nothing"),
        };
        lines.push(format!("{key}: {} and then {}", short(a), short(b)));
    }
    for t in &a.tensors {
        match b.tensors.iter().find(|other| other.name == t.name) {
            None => lines.push(format!("{} is gone", t.name)),
            Some(other) if other.shape() != t.shape() || values(other) != values(t) => {
                lines.push(format!("{} is another", t.name));
            }
            Some(_) => {}
        }
    }
    let more = b.tensors.iter().filter(|t| a.tensors.iter().all(|other| other.name != t.name));
    lines.extend(more.map(|t| format!("{} is new", t.name)));
    lines
}
