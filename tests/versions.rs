//! llama.cpp's versions: `--as` encodes and mixes as each does, and what a file needs is told and checked. The encoders are
//! compared with two versions of ggml (`fixtures/make_version_goldens.py`), the mixtures with what a later version's source says.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::version::Version;
use ggraft_formats::quant::{By, Search};
use ggraft_formats::{DType, Model, Shape, Tensor, gguf};
use run::{Folder, Ran, ggraft};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::Path;
use support::gguf::{TOYS, Toy, dtype, model};
use support::imatrix::{self, Entry};

const ROWS: u64 = 64;
const COLUMNS: u64 = 1024;

/// splitmix64 (Steele, Lea, Flood, 2014).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const WEIGHTS: u64 = 1 << 32;

/// Number `i`, from -1 to 1.
fn float(i: u64) -> f64 {
    f64::from(random(i) as i32) / 2f64.powi(31)
}

/// The same over as many powers of two.
fn scaled(i: u64, most: u64) -> f64 {
    float(i) / 2f64.powi((random((1 << 40) + i) % most) as i32)
}

/// The element and, if columns matter, the weight of a column.
fn case(name: &str, i: u64) -> (f64, Option<f64>) {
    let weight = float(WEIGHTS + i).abs();
    match name {
        "plain" => (float(i), None),
        "dense" => (float(i), Some(weight)),
        "sparse" => (-scaled(i, 20).abs(), Some(if random(i).is_multiple_of(8) { weight } else { 0.0 })),
        _ => (float(i).min(0.0), Some(scaled(WEIGHTS + i, 100).abs())),
    }
}

fn values(name: &str) -> (Vec<f32>, Option<Vec<f32>>) {
    let values = (0..ROWS * COLUMNS).map(|i| case(name, i).0 as f32).collect();
    let weights = (0..COLUMNS).map(|i| case(name, i).1.map(|w| w as f32)).collect();
    (values, weights)
}

#[test]
fn every_encoder_is_that_of_its_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/versions.json");
    let goldens: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut different = 0;
    for name in ["plain", "dense", "sparse", "wide"] {
        let (values, weights) = values(name);
        for golden in goldens.iter().filter(|golden| golden["case"] == name) {
            let dtype = DType::from_name(golden["dtype"].as_str().unwrap()).unwrap();
            for version in [Version::V0_5, Version::V0_6] {
                let mut out = vec![0; (dtype.row_bytes(COLUMNS).unwrap() * ROWS) as usize];
                let by = By { weights: weights.as_deref(), levels: version.levels(), search: Search::Exact };
                dtype.encode_by(&values, COLUMNS as usize, by, &mut out).unwrap();
                let hash: String = Sha256::digest(&out).iter().map(|byte| format!("{byte:02x}")).collect();
                if golden[version.name()] != hash {
                    wrong.push(format!("{dtype} {name} {version}"));
                }
            }
            different += golden["different_blocks"].as_u64().unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((goldens.len(), different > 50), (48, true));
}

const SMALL: Toy = Toy { layers: 3, ..TOYS[0] };

/// A toy of which tensors are added or renamed, as a file.
fn write(folder: &Folder, name: &str, change: impl FnOnce(&mut Model)) {
    let mut model = SMALL.model();
    change(&mut model);
    let path = folder.path(name);
    ggraft_formats::write::write(&[gguf::plan(&model, &path).unwrap()], &()).unwrap();
}

fn tensor(name: &str, ne: &[u64]) -> Tensor {
    let values: Vec<f32> = (0..ne.iter().product()).map(|i| float(i) as f32).collect();
    Tensor::in_memory(name, Shape::new(ne).unwrap(), &values).unwrap()
}

fn quantize(folder: &Folder, words: &str) -> Ran {
    ggraft(folder.words(&format!("quantize --force {words}")))
}

#[test]
fn experts_are_known_by_name_since_v0_8() {
    let folder = Folder::new();
    write(&folder, "in.gguf", |model| {
        model.tensors.push(tensor("blk.0.attn_k_b.weight", &[256, 32, 4]));
        model.tensors.push(tensor("blk.0.ffn_up_exps.weight", &[256, 32, 4]));
        model.tensors.push(tensor("blk.1.ffn_up_chexps.weight", &[256, 32]));
    });
    for (words, latent, group) in [
        ("", DType::MXFP4, DType::Q8_0),
        ("--as v0.6.0", DType::MXFP4, DType::Q8_0),
        ("--as v0.8", DType::Q8_0, DType::MXFP4),
    ] {
        let ran = quantize(&folder, format!("@in.gguf @out.gguf MXFP4_MOE {words}").trim_end()).ok();
        let out = model(&folder.path("out.gguf"));
        assert_eq!(dtype(&out, "blk.0.attn_k_b.weight"), latent, "{words}");
        assert_eq!(dtype(&out, "blk.1.ffn_up_chexps.weight"), group, "{words}");
        assert_eq!(dtype(&out, "blk.0.ffn_up_exps.weight"), DType::MXFP4, "{words}");
        assert_eq!(ran.err.contains("2 tensors get another dtype than in v0.5.0"), words.ends_with("v0.8"));
        assert_eq!(ran.err.contains("--as has no effect"), words.ends_with("v0.6.0"), "{}", ran.err);
    }
}

#[test]
fn more_is_kept_and_gates_are_mixed_since_v0_8() {
    let folder = Folder::new();
    write(&folder, "in.gguf", |model| {
        model.tensors.push(tensor("blk.0.attn_qkv_gate.weight", &[256, 32]));
        model.tensors.push(tensor("blk.0.conv_dw.weight", &[256, 32]));
    });
    quantize(&folder, "@in.gguf @old.gguf Q4_K_M").ok();
    quantize(&folder, "@in.gguf @new.gguf Q4_K_M --as 0.8.0").ok();
    let (old, new) = (model(&folder.path("old.gguf")), model(&folder.path("new.gguf")));
    let both = |name: &str| (dtype(&old, name), dtype(&new, name));
    assert_eq!(both("blk.0.conv_dw.weight"), (DType::Q4K, DType::F32));
    // What counts as values moves the others: of four the third and the last get more bits, of three the last.
    assert_eq!(both("blk.0.attn_qkv_gate.weight"), (DType::Q4K, DType::Q4K));
    assert_eq!(both("blk.1.attn_v.weight"), (DType::Q4K, DType::Q6K));
    assert_eq!(both("blk.2.attn_v.weight"), (DType::Q6K, DType::Q6K));
}

/// Blocks whose importance is nearly all 0 are found by both versions, each in its way.
#[test]
fn a_version_is_encoded_as_from_a_file_of_its_importance() {
    let folder = Folder::new();
    let (all, weights) = values("sparse");
    let columns = weights.unwrap();
    let name = "blk.0.ffn_up.weight";
    write(&folder, "in.gguf", |model| {
        model.tensors = vec![Tensor::in_memory(name, Shape::new(&[COLUMNS, ROWS]).unwrap(), &all).unwrap()];
    });
    let entry = Entry {
        name: String::from(name),
        columns: COLUMNS as usize,
        sums: columns.clone(),
        counts: vec![1.0],
    };
    imatrix::write(&[&entry], &folder.path("m.imatrix"));
    for version in Version::all() {
        let words = format!("@in.gguf @out.gguf Q4_K_M --pure --imatrix @m.imatrix --as {version}");
        let ran = quantize(&folder, &words).ok();
        let out = model(&folder.path("out.gguf"));
        let mut found = vec![0; out.tensors[0].bytes() as usize];
        out.tensors[0].read(0..ROWS as usize, &mut found).unwrap();
        let mut due = vec![0; found.len()];
        let by = By { weights: Some(&columns), levels: version.levels(), search: Search::Exact };
        DType::Q4K.encode_by(&all, COLUMNS as usize, by, &mut due).unwrap();
        assert!(found == due, "{version}");
        let told = ran.err.contains("as llama.cpp v0.6.0: the dtypes of v0.5.0");
        assert_eq!(told, version == Version::V0_6, "{}", ran.err);
    }
}

#[test]
fn a_recipe_names_a_version_and_an_unknown_one_is_refused() {
    let folder = Folder::new();
    let recipe =
        "onto: %cp\nvectors:\n- chat: %chat\n  base: %base\ntypes: Q4_0\noutput: @out.gguf\nmixture:\n  as: ";
    let text = |version: &str| folder.words(&format!("{recipe}{version}\n").replace(' ', "\u{1}")).concat();
    let run = |version: &str| {
        std::fs::write(folder.path("r.yaml"), text(version).replace('\u{1}', " ")).unwrap();
        ggraft(folder.words("merge @r.yaml --dry-run"))
    };
    let ran = run("v0.8.0").ok();
    assert!(ran.err.contains("--as has no effect"), "{}", ran.err);
    let ran = run("v0.7.0");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("v0.5.0, v0.6.0, v0.8.0"), "{}", ran.err);
    SMALL.write(&folder.path("in.gguf"));
    let ran = quantize(&folder, "@in.gguf @out.gguf Q4_0 --as v0.9.0");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("v0.5.0, v0.6.0, v0.8.0"), "{}", ran.err);
}

#[test]
fn floats_of_eight_bits_are_read_and_need_v0_8() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..256 * 4).map(|i| (random(i) % 0x7f) as u8).collect();
    write(&folder, "in.gguf", |model| {
        let shape = Shape::new(&[256, 4]).unwrap();
        let stored = Tensor::of_bytes("blk.0.x.weight", shape, DType::F8E4M3, bytes.clone()).unwrap();
        model.tensors.push(stored);
    });
    let ran = ggraft(folder.words("verify @in.gguf --for v0.5.0"));
    assert_eq!(ran.code, 7);
    assert!(ran.err.contains("dtype f8_e4m3 was first seen in v0.8.0"), "{}", ran.err);
    ggraft(folder.words("verify @in.gguf --for v0.8.0")).ok();
    quantize(&folder, "@in.gguf @out.gguf F32").ok();
    let out = model(&folder.path("out.gguf"));
    let stored = support::gguf::values(out.tensors.iter().find(|t| t.name == "blk.0.x.weight").unwrap());
    let mut due = vec![0.0; bytes.len()];
    DType::F8E4M3.decode(&bytes, &mut due).unwrap();
    assert_eq!(stored, due);
}

#[test]
fn verify_tells_whether_a_version_is_new_enough() {
    let folder = Folder::new();
    write(&folder, "in.gguf", |model| {
        model.metadata.set("general.architecture", "qwen4exp");
        model.tensors.push(tensor("blk.0.x.weight", &[256, 32]).encode(DType::MXFP4, None).unwrap());
    });
    let verify = |words: &str| ggraft(folder.words(&format!("verify @in.gguf {words}")));
    let ran = verify("--for v0.5.0").ok();
    assert!(ran.err.contains("v0.5.0 knows all that is in it"), "{}", ran.err);
    for version in ["v0.2.0", "b10587"] {
        let ran = verify(&format!("--for {version}"));
        assert_eq!(ran.code, 7, "{}", ran.err);
        let due = ["architecture qwen4exp", "first seen in b10705", "use llama.cpp b10705 or a later one"];
        due.iter().for_each(|part| assert!(ran.err.contains(part), "{part}: {}", ran.err));
    }
    let ran = verify("--for b6000");
    assert!(
        ran.err.contains("qwen4exp") && ran.err.contains("dtype mxfp4 is there since b6096"),
        "{}",
        ran.err
    );
    assert_eq!(verify("--for soon").code, 2);
    assert_eq!(ggraft(folder.words("verify %cp --for v0.5.0")).code, 2);
    let json: Json = serde_json::from_str(&verify("--json").ok().out).unwrap();
    assert_eq!(json["llama_cpp"]["oldest"], "b10705");
    assert_eq!(
        (&json["llama_cpp"]["exact"], &json["llama_cpp"]["because"]),
        (&false.into(), &"architecture qwen4exp".into())
    );
    let summary = ggraft(folder.words("inspect @in.gguf")).ok().out;
    assert!(
        summary.contains("b10705 or later, perhaps one a little older, for architecture qwen4exp"),
        "{summary}"
    );
}
