//! Edges: what is out of the ordinary is held, told or refused by name. Tensors of more dimensions than GGUF knows,
//! importance that is zero, weights that a dtype cannot hold, the least budget, layers that are left out.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::safetensors::{self, Directory, Named};
use ggraft_formats::{Input, Model, Tensor, gguf, open};
use run::{Ran, ggraft, ggraft_in, trio};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use support::gguf::{TOYS, Toy, model};
use support::imatrix::legacy;
use tempfile::TempDir;

const SMALL: Toy = Toy { layers: 3, ..TOYS[2] };

fn write(model: &Model, path: &Path) {
    ggraft_formats::write::write(&[gguf::plan(model, path).unwrap()], &()).unwrap();
}

/// chat of the trio as F16.
fn chat(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("in.gguf");
    let words = ["convert", "--type", "F16", "-q", "-o"].map(String::from);
    let files = [&path, &trio("chat")].map(|p| p.display().to_string());
    ggraft(words.into_iter().chain(files)).ok();
    path
}

fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// A checkpoint's tensor of five dimensions, such as a convolution over images in time.
#[test]
fn five_dimensions_are_read_hashed_and_copied_and_only_gguf_refuses_them() {
    let dir = tempfile::tempdir().unwrap();
    let header = json!({
        "visual.patch_embed.proj.weight": { "dtype": "F32", "shape": [4, 3, 2, 2, 2], "data_offsets": [0, 384] },
        "eight": { "dtype": "F32", "shape": [1, 1, 1, 1, 1, 1, 2, 2], "data_offsets": [384, 400] },
    })
    .to_string();
    let data: Vec<u8> = (0..100).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    std::fs::write(dir.path().join("x.safetensors"), &bytes).unwrap();
    let seen = ggraft_in(dir.path(), ["inspect", "x.safetensors", "--tensors"]).ok().out;
    assert!(seen.contains("[2, 2, 2, 3, 4]"), "{seen}");
    for verb in ["verify", "hash"] {
        assert!(ggraft_in(dir.path(), [verb, "x.safetensors"]).ok().out.contains("x.safetensors"));
    }
    ggraft_in(dir.path(), ["diff", "x.safetensors", "x.safetensors", "--exit-code"]).ok();
    let Input::Checkpoint(checkpoint) = open(&dir.path().join("x.safetensors")).unwrap() else { panic!() };
    let copy = Directory {
        tensors: checkpoint
            .tensors
            .iter()
            .map(|tensor| Named { name: tensor.name.clone(), tensor: tensor.clone() })
            .collect(),
        metadata: Vec::new(),
        files: Vec::new(),
        shard: safetensors::SHARD,
    };
    let target = dir.path().join("copy");
    ggraft_formats::write::write(&[safetensors::plan(&copy, &target).unwrap()], &()).unwrap();
    let Input::Checkpoint(again) = open(&target).unwrap() else { panic!() };
    for (a, b) in checkpoint.tensors.iter().zip(&again.tensors) {
        let bytes = |t: &Tensor| {
            let mut bytes = vec![0; t.bytes() as usize];
            t.read(0..t.shape().rows() as usize, &mut bytes).unwrap();
            bytes
        };
        assert_eq!((&a.name, a.shape(), bytes(a)), (&b.name, b.shape(), bytes(b)));
    }
    let model = Model { tensors: checkpoint.tensors, ..Model::default() };
    let e = gguf::plan(&model, Path::new("x.gguf")).err().unwrap().to_string();
    let said = "tensor 'visual.patch_embed.proj.weight': the tensor has too many dimensions for GGUF: expected at \
                most 4, found [2, 2, 2, 3, 4]";
    assert!(e.starts_with(said), "{e}");
}

/// Importance of 1 everywhere, but for `zeros` of a tensor's columns.
fn importance(input: &Path, dir: &TempDir, name: &str, zeros: std::ops::Range<usize>) -> PathBuf {
    let tensors = model(input).tensors;
    let matrices =
        tensors.iter().filter(|t| t.shape().significant().len() == 2 && t.name != "token_embd.weight");
    let entries: Vec<(String, Vec<f32>)> = matrices
        .map(|t| {
            let mut weights = vec![1.0; t.shape().row() as usize];
            if t.name == name {
                weights[zeros.start..zeros.end.min(t.shape().row() as usize)].fill(0.0);
            }
            (t.name.clone(), weights)
        })
        .collect();
    let entries: Vec<(&str, &[f32])> =
        entries.iter().map(|(name, w)| (name.as_str(), w.as_slice())).collect();
    let path = dir.path().join("i.dat");
    std::fs::write(&path, legacy(&entries)).unwrap();
    path
}

#[test]
fn columns_whose_importance_is_zero_are_told_by_tensor_and_a_whole_tensor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let input = chat(&dir);
    let run = |matrix: &Path| {
        let (matrix, input) = (matrix.display().to_string(), input.display().to_string());
        let out = dir.path().join("o.gguf").display().to_string();
        ggraft(["quantize", "-f", "--imatrix", &matrix, &input, &out, "Q4_K_M"])
    };
    let name = "blk.1.ffn_down.weight";
    let ran = run(&importance(&input, &dir, name, 256..512)).ok();
    let told = "warning: stored as zeros, for the importance matrix gives them 0 and llama.cpp's encoders drop such \
                columns: blk.1.ffn_down.weight (256 of ";
    assert!(ran.err.contains(told), "{}", ran.err);
    let stored = model(&dir.path().join("o.gguf")).tensors.into_iter().find(|t| t.name == name).unwrap();
    let mut row = vec![0f32; stored.shape().row() as usize];
    stored.decode_rows(0..1, &mut row).unwrap();
    assert!(row[256..512].iter().all(|x| *x == 0.0) && row[..256].iter().any(|x| *x != 0.0));
    let ran = run(&importance(&input, &dir, "none", 0..0)).ok();
    assert!(!ran.err.contains("stored as zeros"), "{}", ran.err);
    let ran = run(&importance(&input, &dir, name, 0..usize::MAX));
    refused(&ran, 3, &[name, "gives every column 0, so nothing would be left", "--exclude-weights"]);
}

/// The model with one weight in place of another.
fn with_weight(value: f32, scale: f32) -> Model {
    let mut model = SMALL.model();
    let tensor = model.tensors.iter_mut().find(|t| t.name == "blk.1.ffn_gate.weight").unwrap();
    let mut values = vec![0f32; tensor.shape().elements() as usize];
    tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values).unwrap();
    values.iter_mut().for_each(|x| *x *= scale);
    let row = tensor.shape().row() as usize;
    values[3 * row + 5] += value;
    *tensor = Tensor::in_memory(&tensor.name, *tensor.shape(), &values).unwrap();
    model
}

#[test]
fn a_weight_that_no_scale_can_hold_is_refused_by_row_and_column_in_every_type() {
    let dir = tempfile::tempdir().unwrap();
    write(&with_weight(1e19, 1.0), &dir.path().join("in.gguf"));
    for kind in [
        "F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K",
        "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0",
    ] {
        let ran = ggraft_in(dir.path(), ["quantize", "--pure", "-q", "-f", "in.gguf", "o.gguf", kind]);
        refused(&ran, 3, &["tensor 'blk.1.ffn_gate.weight': a weight is too large for", "row 3, column 5"]);
    }
    ggraft_in(dir.path(), ["quantize", "--pure", "-q", "-f", "in.gguf", "o.gguf", "BF16"]).ok();
}

#[test]
fn weights_that_are_too_small_for_the_scales_are_told_when_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    write(&with_weight(0.0, 1e-9), &dir.path().join("in.gguf"));
    for kind in ["Q4_K_M", "Q8_0", "F16"] {
        let ran = ggraft_in(dir.path(), ["quantize", "-f", "in.gguf", "o.gguf", kind]).ok();
        assert!(ran.err.contains("so stored as zeros: blk.1.ffn_gate.weight ("), "{kind}: {}", ran.err);
        assert_eq!(ran.err.matches("stored as zeros").count(), 1, "{}", ran.err);
    }
    write(&SMALL.model(), &dir.path().join("in.gguf"));
    let ran = ggraft_in(dir.path(), ["quantize", "-f", "in.gguf", "o.gguf", "Q4_K_M"]).ok();
    assert!(!ran.err.contains("stored as zeros"), "{}", ran.err);
}

/// The figure behind `give OPTION` in what was said.
fn least(said: &str, option: &str) -> String {
    let (_, rest) = said.split_once(&format!("give {option} ")).unwrap_or_else(|| panic!("{said}"));
    rest.split(' ').next().unwrap().to_string()
}

#[test]
fn the_least_budget_that_is_told_is_one_that_works() {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(&dir.path().join("toy.gguf"));
    let inputs = [trio("cp"), chat(&dir), dir.path().join("toy.gguf")];
    for (input, (option, tried)) in inputs.iter().flat_map(|input| {
        let budgets = [
            ("--target-size", "IQ2_XXS"),
            ("--target-size", "1000"),
            ("--target-size", "TQ1_0"),
            ("--target-bpw", "0.5"),
        ];
        budgets.map(|budget| (input, budget))
    }) {
        let input = input.display().to_string();
        let run = |budget: &str| ggraft(["convert", "--dry-run", "-q", &input, option, budget]);
        let ran = run(tried);
        if ran.code == 0 {
            continue;
        }
        refused(&ran, 2, &["the budget is too small"]);
        run(&least(&ran.err, option)).ok();
    }
}

#[test]
fn a_budget_knows_what_is_only_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut half = model(&chat(&dir));
    let q8 = |t: Tensor| {
        if t.name.contains("ffn_") { t.encode(ggraft_formats::DType::Q8_0, None).unwrap() } else { t }
    };
    let norms = |t: &Tensor| t.shape().significant().len() < 2;
    half.tensors = half.tensors.into_iter().map(|t| if norms(&t) { t } else { q8(t) }).collect();
    write(&half, &dir.path().join("half.gguf"));
    let run = |words: &[&str]| {
        ggraft_in(dir.path(), [&["convert", "half.gguf", "--dry-run", "--target-bpw", "7.5"], words].concat())
            .ok()
    };
    let plan: Json = serde_json::from_str(&run(&["--json", "-q"]).out).unwrap();
    assert!(plan["budget"]["fixed"]["error"].is_number(), "{}", plan["budget"]["fixed"]);
    let text = run(&[]).err;
    assert!(!text.contains("NaN") && text.contains("the fixed mixture"), "{text}");
}

#[test]
fn leaving_out_layers_cuts_what_goes_by_layer_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut toy = SMALL.model();
    let architecture = toy.architecture().unwrap().to_string();
    let key = |name: &str| format!("{architecture}.{name}");
    toy.metadata.set(&key("classifier.output_labels"), ["a", "b", "c"].map(String::from).to_vec());
    toy.metadata
        .set(&key("attention.head_count_kv"), vec![toy.hparam("attention.head_count_kv").unwrap() as u32; 3]);
    write(&toy, &dir.path().join("in.gguf"));
    ggraft_in(dir.path(), ["quantize", "-q", "in.gguf", "o.gguf", "COPY", "--prune-layers", "1"]).ok();
    let metadata = model(&dir.path().join("o.gguf")).metadata;
    let length = |name: &str| metadata.get(&key(name)).unwrap().as_array().unwrap().len();
    assert_eq!((length("classifier.output_labels"), length("attention.head_count_kv")), (3, 2));
}

#[test]
fn words_that_are_mistaken_for_numbers_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(&dir.path().join("in.gguf"));
    let said = |words: &str| ggraft_in(dir.path(), words.split(' ')).err;
    for (words, answer) in [
        ("convert in.gguf -t Q4_K_M", "the type is given with --type"),
        ("quantize in.gguf o.gguf Q8_0 --prune-layers 0-1", "such as 0,1"),
        ("quantize in.gguf o.gguf Q8_0 --split-max-size 100QB", "such as 50G, 500MB"),
    ] {
        assert!(said(words).contains(answer), "{words}: {}", said(words));
    }
    let ran = ggraft_in(dir.path(), "quantize -q in.gguf o.gguf Q8_0 --split-max-size 100MB".split(' ')).ok();
    assert!(ran.out.contains("o-00001-of-00001.gguf") || ran.out.contains("o.gguf"), "{}", ran.out);
    let parents = [("--base", "base"), ("--chat", "chat"), ("--onto", "cp")];
    let paths =
        parents.iter().flat_map(|(option, name)| [option.to_string(), trio(name).display().to_string()]);
    let words = ["merge", "--type", "F16", "-w", "1,5", "--dry-run"].map(String::from);
    let ran = ggraft_in(dir.path(), words.into_iter().chain(paths));
    assert!(ran.code == 2 && ran.err.contains("for one output of 1.5 give -w 1.5"), "{}", ran.err);
}
