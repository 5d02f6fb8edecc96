//! `ggraft diff`: its figures are numpy's, its lists are whole, and neither depends on the threads.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{DType, Model, Shape, Tensor, gguf};
use run::{Ran, ggraft, trio};
use serde_json::{Value as Json, json};
use std::path::Path;
use support::gguf::TOYS;

fn diff(a: &Path, b: &Path, more: &[&str]) -> Ran {
    ggraft([&["diff", a.to_str().unwrap(), b.to_str().unwrap()], more].concat())
}

fn told(a: &Path, b: &Path) -> Json {
    serde_json::from_str(&diff(a, b, &["--json"]).ok().out).unwrap()
}

fn golden() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/diff.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every tensor that numpy compared has its figures, to the rounding of sums of f64.
#[track_caller]
fn agrees(told: &Json, golden: &Json) {
    let golden = golden.as_object().unwrap();
    assert!(golden.len() > 20);
    let figures: Vec<&Json> = told["tensors"].as_array().unwrap().iter().collect();
    assert_eq!(figures.iter().filter(|t| t.get("figures").is_some()).count(), golden.len());
    for (name, numpy) in golden {
        let ours = figures.iter().find(|t| t["name"] == name.as_str()).unwrap();
        for (key, value) in numpy.as_object().unwrap() {
            let (ours, numpy) = (ours["figures"][key].as_f64().unwrap(), value.as_f64().unwrap());
            assert!((ours - numpy).abs() <= 1e-12 * numpy.abs(), "{name} {key}: {ours} {numpy}");
        }
    }
}

#[test]
fn checkpoints_differ_as_numpy_says() {
    agrees(&told(&trio("base"), &trio("cp")), &golden()["checkpoints"]);
}

/// `ggraft merge --base base --chat chat --onto cp` as F32 and as Q4_K_M.
#[test]
fn a_quantized_file_differs_as_numpy_says() {
    let dir = tempfile::tempdir().unwrap();
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let out = dir.path().join("{type}.gguf").display().to_string();
    let models = ["merge", "--base", &base, "--chat", &chat, "--onto", &cp];
    ggraft([&models[..], &["--type", "F32,Q4_K_M", "-q", "-o", &out]].concat()).ok();
    let paths = ["F32", "Q4_K_M"].map(|kind| dir.path().join(format!("{kind}.gguf")));
    agrees(&told(&paths[0], &paths[1]), &golden()["ggufs"]);
}

/// NVFP4 is compared as it is meant, with the scales that stand beside it.
#[test]
fn a_scale_beside_a_tensor_is_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let cp = trio("cp").display().to_string();
    let out = dir.path().join("{type}.gguf").display().to_string();
    ggraft(["convert", &cp, "--type", "F16,NVFP4", "-q", "-o", &out]).ok();
    let paths = ["F16", "NVFP4"].map(|kind| dir.path().join(format!("{kind}.gguf")));
    let told = told(&paths[0], &paths[1]);
    let tensors = told["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 30, "{told}");
    for tensor in tensors.iter().filter(|t| t.get("figures").is_some()) {
        let relative = tensor["figures"]["relative"].as_f64().unwrap();
        assert!(relative < 0.15, "{tensor}");
    }
}

#[test]
fn a_model_does_not_differ_from_itself() {
    let told = told(&trio("chat"), &trio("chat"));
    assert_eq!(
        (
            told["equal"].as_bool(),
            told["metadata"].as_array().unwrap().len(),
            told["total"]["cosine"].as_f64()
        ),
        (Some(true), 0, Some(1.0))
    );
    diff(&trio("chat"), &trio("chat"), &["--exit-code"]).ok();
    let ran = diff(&trio("chat"), &trio("base"), &["--exit-code"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("the models differ"), "{}", ran.err);
}

/// A checkpoint is put into GGUF's words where the other model is one, rows in llama.cpp's order.
#[test]
fn a_checkpoint_is_its_conversion() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("cp.gguf");
    ggraft(["convert", trio("cp").to_str().unwrap(), "--type", "F32", "-q", "-o", out.to_str().unwrap()])
        .ok();
    for (a, b) in [(trio("cp"), out.clone()), (out, trio("cp"))] {
        let told = told(&a, &b);
        assert!(told["tensors"].as_array().unwrap().iter().all(|t| t["verdict"] == "equal"));
        // The numbers are equal, the dtypes are not.
        assert_eq!(told["equal"], false);
        let keys: Vec<&str> =
            told["metadata"].as_array().unwrap().iter().map(|k| k["key"].as_str().unwrap()).collect();
        assert_eq!(keys, ["general.quantization_version", "general.file_type"]);
    }
}

fn write(dir: &Path, name: &str, change: impl FnOnce(&mut Model)) -> std::path::PathBuf {
    let (mut model, path) = (TOYS[1].model(), dir.join(name));
    change(&mut model);
    ggraft_formats::write::write(&[gguf::plan(&model, &path).unwrap()], &()).unwrap();
    path
}

#[test]
fn what_is_missing_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a.gguf", |m| m.metadata.set("a.key", 5u32));
    let b = write(dir.path(), "b.gguf", |m| {
        m.metadata.set("a.key", 5u64);
        m.metadata.set("b.key", "x");
        let first = m.tensors.remove(0).renamed("other.weight");
        m.tensors.push(first);
        m.tensors[0] = Tensor::in_memory(&m.tensors[0].name, Shape::new(&[3]).unwrap(), &[1.0; 3]).unwrap();
    });
    let told = told(&a, &b);
    let verdicts: Vec<(&str, &str)> = told["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["name"].as_str().unwrap(), t["verdict"].as_str().unwrap()))
        .filter(|(_, verdict)| *verdict != "equal")
        .collect();
    assert_eq!(
        verdicts,
        [
            ("token_embd.weight", "only in A"),
            ("blk.0.attn_norm.weight", "other shape"),
            ("other.weight", "only in B")
        ]
    );
    assert_eq!(
        told["metadata"],
        json!([
            { "key": "a.key", "a": { "type": "u32", "value": 5 }, "b": { "type": "u64", "value": 5 } },
            { "key": "b.key", "a": null, "b": { "type": "str", "value": "x" } },
        ])
    );
    let text = diff(&a, &b, &[]).ok().out;
    for line in
        ["only in A", "other shape: [256] | [3]", "only in B", "a.key: u32 5 | u64 5", "b.key: - | str \"x\""]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_figures_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a.gguf", |_| {});
    let b = write(dir.path(), "b.gguf", |m| {
        let tensors = std::mem::take(&mut m.tensors).into_iter();
        m.tensors = tensors
            .map(|t| if t.shape().rows() > 1 { t.encode(DType::Q5K, None).unwrap() } else { t })
            .collect();
    });
    let one = diff(&a, &b, &["--json", "-t", "1"]).ok().out;
    assert!(one.contains("\"different\"") && one == diff(&a, &b, &["--json", "-t", "3"]).ok().out);
}

#[test]
fn what_is_not_finite_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let with = |name: &str, x: f32| {
        write(dir.path(), name, |m| {
            m.tensors = vec![
                Tensor::in_memory("x\u{1b}[31m", Shape::new(&[4]).unwrap(), &[1.0, x, 2.0, 2.0]).unwrap(),
            ];
        })
    };
    let (a, b) = (with("a.gguf", 1.0), with("b.gguf", f32::NAN));
    let figures = &told(&a, &b)["tensors"][0]["figures"];
    assert_eq!((figures["not_finite"].as_u64(), figures["rmse"].as_f64()), (Some(1), Some(0.0)));
    let text = diff(&a, &b, &[]).ok().out;
    assert!(text.contains("1 not finite") && !text.contains('\u{1b}'), "{text}");
}
