//! Packed weights become what the library of their method makes of them, bit for bit, however their rows are cut, and what
//! is wrong with a part is told. `fixtures/packed` holds weights that each library has packed.

use ggraft::unpack;
use ggraft_formats::{Checkpoint, DType, Input, Tensor};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn packed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/packed").join(name)
}

fn opened(dir: &Path) -> Checkpoint {
    match ggraft_formats::open(dir).unwrap() {
        Input::Checkpoint(checkpoint) => checkpoint,
        Input::Model(_) => panic!("{} is a GGUF", dir.display()),
    }
}

fn rows(tensor: &Tensor) -> usize {
    tensor.shape().rows() as usize
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.bytes() as usize];
    tensor.read(0..rows(tensor), &mut bytes).unwrap();
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Compares every weight of a directory with what its library makes of it.
#[track_caller]
fn as_its_library(name: &str) {
    let dir = packed(name);
    let checkpoint = unpack::unpacked(opened(&dir)).unwrap();
    let expected: Value = serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    let mut problems = Vec::new();
    for (weight, due) in expected {
        let Some(tensor) = checkpoint.tensors.iter().find(|t| t.name == *weight) else {
            problems.push(format!("{weight} is not there"));
            continue;
        };
        let torch: Vec<u64> = tensor.shape().ne().iter().rev().copied().collect();
        if json!(torch) != due["shape"] {
            problems.push(format!("{weight}: shape {torch:?}, not {}", due["shape"]));
        }
        let library = DType::from_name(due["library"][0].as_str().unwrap()).unwrap();
        let rounded = tensor.clone().encode(library, None).unwrap();
        if json!(sha256(&bytes(&rounded))) != due["library"][1] {
            problems.push(format!("{weight} is not what the library makes of it in {library}"));
        }
        match due.get("f32") {
            Some(hash) if tensor.dtype() != DType::F32 || json!(sha256(&bytes(tensor))) != *hash => {
                problems.push(format!("{weight} is not what the library makes of it in f32"));
            }
            None if tensor.dtype() != library => {
                problems.push(format!("{weight} is {}, not {library}", tensor.dtype()));
            }
            _ => {}
        }
    }
    assert_eq!(checkpoint.tensors.len(), expected.len(), "{:?}", checkpoint.tensors);
    assert!(problems.is_empty(), "{name}:\n{}", problems.join("\n"));
}

#[test]
fn fp8() {
    as_its_library("fp8-blocks");
    as_its_library("fp8-scales");
}

#[test]
fn bitsandbytes() {
    as_its_library("bitsandbytes-4bit");
    as_its_library("bitsandbytes-int8");
}

#[test]
fn gptq() {
    for version in ["gptq", "gptq-v2"] {
        for bits in [2, 3, 4, 8] {
            as_its_library(&format!("{version}-{bits}"));
        }
    }
}

/// Modules with settings of their own, in the words of GPTQModel: what is said of all fits none of them.
#[test]
fn gptq_by_module() {
    let (from, dir) = (packed("gptq-4"), tempfile::tempdir().unwrap());
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    let told = &mut config["quantization_config"];
    let [bits, size] = ["bits", "group_size"].map(|key| told[key].take());
    (told["bits"], told["group_size"]) = (json!(8), json!(64));
    told["dynamic"] =
        json!({"-:lm_head": {}, "none": {"bits": 2}, "+:.*": {"bits": bits, "group_size": size}});
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(from.join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let whole = |dir: &Path| {
        let tensors = unpack::unpacked(opened(dir)).unwrap().tensors;
        tensors.iter().map(|t| (t.name.clone(), bytes(t))).collect::<Vec<_>>()
    };
    assert_eq!(whole(dir.path()), whole(&from));
}

#[test]
fn awq() {
    as_its_library("awq-4");
}

#[test]
fn mlx() {
    as_its_library("mlx");
}

#[test]
fn compressed_tensors() {
    as_its_library("compressed-tensors");
}

#[test]
fn modelopt() {
    as_its_library("modelopt");
}

#[test]
fn bitnet() {
    as_its_library("bitnet");
}

/// A copy of a packed fixture whose config says something else of the packing.
fn told(name: &str, change: impl Fn(&mut Value)) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(packed(name).join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(packed(name).join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let checkpoint = unpack::unpacked(opened(dir.path())).unwrap();
    (dir, checkpoint)
}

/// `AutoBitLinear` of transformers multiplies by the scale by which `BitLinear` divides.
#[test]
fn the_class_of_layers_tells_whether_bitnet_multiplies() {
    let values = |checkpoint: &Checkpoint| -> Vec<Vec<f32>> {
        let all = checkpoint.tensors.iter().map(|t| {
            let mut values = vec![0.0; t.shape().elements() as usize];
            t.decode_rows(0..rows(t), &mut values).unwrap();
            values
        });
        all.collect()
    };
    let class = |name: &str| {
        let (_dir, checkpoint) =
            told("bitnet", |config| config["quantization_config"]["linear_class"] = json!(name));
        values(&checkpoint)
    };
    for (divided, multiplied) in class("bitlinear").iter().zip(class("autobitlinear")) {
        assert!(divided.iter().any(|x| *x != 0.0));
        for (x, y) in divided.iter().zip(multiplied) {
            assert!(*x == 0.0 && y == 0.0 || (x * y - 1.0).abs() < 1e-6, "{x} {y}");
        }
    }
}

/// MLX takes what a module's own settings leave out from itself, not from those of all.
#[test]
fn what_settings_of_a_module_of_mlx_leave_out_is_not_that_of_all() {
    let change = |config: &mut Value| {
        let all = config["quantization"].as_object_mut().unwrap();
        all.insert("mode".into(), json!("mxfp8"));
        all["bits4.group64"] = json!({});
        for (name, own) in all.iter_mut().filter(|(name, own)| name.starts_with("bits") && own.is_object()) {
            assert!(own.get("mode").is_none(), "{name}");
        }
    };
    let (_dir, changed) = told("mlx", change);
    let (_same, plain) = told("mlx", |_| {});
    let of = |checkpoint: &Checkpoint, name: &str| {
        bytes(checkpoint.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}")))
    };
    for name in ["bits4.group64.weight", "bits2.group32.weight"] {
        assert_eq!(of(&changed, name), of(&plain, name), "{name}");
    }
}

#[test]
fn hqq() {
    as_its_library("hqq");
    as_its_library("hqq-own");
}

#[test]
fn torchao() {
    as_its_library("torchao");
}

#[test]
fn quark() {
    as_its_library("quark");
    as_its_library("quark-order");
}

/// Short ranges and long ones, from places that begin blocks and words and from such that do not.
#[test]
fn cuts_of_rows_give_the_rows_of_the_whole() {
    for entry in std::fs::read_dir(packed("")).unwrap() {
        let dir = entry.unwrap().path();
        for tensor in unpack::unpacked(opened(&dir)).unwrap().tensors {
            let (whole, row, count) = (bytes(&tensor), tensor.row_bytes(), rows(&tensor));
            let ends = |start: usize| (start + 1..=count).filter(move |end| end - start < 4 || *end == count);
            for start in (0..count).filter(|start| *start < 10 || start % 37 == 0) {
                for end in ends(start) {
                    let mut part = vec![0; (end - start) * row];
                    tensor.read(start..end, &mut part).unwrap();
                    let name = format!("{} {start}..{end} of {}", dir.display(), tensor.name);
                    assert!(part == whole[start * row..end * row], "{name}");
                }
            }
        }
    }
}

/// E2M1 under powers of two, as two libraries pack it, is what blocks of MXFP4 are.
#[test]
fn mxfp4_of_a_library_has_blocks_that_hold_the_very_values() {
    for name in ["compressed-tensors", "mlx"] {
        let checkpoint = unpack::unpacked(opened(&packed(name))).unwrap();
        let tensor = checkpoint.tensors.iter().find(|t| t.name == "mxfp4.weight").unwrap();
        let kept = tensor.clone().encode_exactly(DType::MXFP4).unwrap();
        let [before, after] = [tensor, &kept].map(|t| {
            let mut values = vec![0f32; t.shape().elements() as usize];
            t.decode_rows(0..rows(t), &mut values).unwrap();
            values
        });
        assert!(before == after && before.iter().any(|x| *x != 0.0), "{name}");
    }
}
