//! Packed checkpoints that are damaged, or lie: every fault is told with file, tensor, what was expected and what was found,
//! before a weight is read where the headers tell it.

use ggraft::unpack;
use ggraft_formats::{Error, Input};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::path::Path;

/// A tensor that may be changed.
struct Part {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Part {
    fn view(&self) -> (String, TensorView<'_>) {
        (self.name.clone(), TensorView::new(self.dtype, self.shape.clone(), &self.bytes).unwrap())
    }
}

/// A copy of a packed fixture in memory.
struct Bench {
    config: Value,
    parts: Vec<Part>,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/packed").join(name);
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        let part = |(name, view): (String, TensorView<'_>)| Part {
            name,
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        let parts = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(part).collect();
        let config = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        Bench { config, parts }
    }

    /// Only what begins so.
    fn only(mut self, beginning: &str) -> Bench {
        self.parts.retain(|part| part.name.starts_with(beginning));
        assert!(!self.parts.is_empty());
        self
    }

    fn without(mut self, name: &str) -> Bench {
        let held = self.parts.len();
        self.parts.retain(|part| part.name != name);
        assert_eq!(self.parts.len(), held - 1);
        self
    }

    fn part(&mut self, name: &str) -> &mut Part {
        self.parts.iter_mut().find(|part| part.name == name).unwrap()
    }

    /// With one part of another shape, filled with zeros.
    fn shaped(mut self, name: &str, shape: &[usize]) -> Bench {
        let part = self.part(name);
        let each = part.bytes.len() / part.shape.iter().product::<usize>().max(1);
        (part.shape, part.bytes) = (shape.to_vec(), vec![0; shape.iter().product::<usize>() * each]);
        self
    }

    fn told(mut self, key: &str, value: Value) -> Bench {
        for place in ["quantization_config", "quantization"] {
            if self.config.get(place).is_some() {
                self.config[place][key] = value.clone();
            }
        }
        self
    }

    /// What is said when it is unpacked, or else when its weights are read.
    fn refused(&self) -> Error {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), self.config.to_string()).unwrap();
        let whole: Vec<_> = self.parts.iter().map(Part::view).collect();
        let bytes = safetensors::serialize(whole.iter().map(|(n, v)| (n, v)), None).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let Input::Checkpoint(checkpoint) = ggraft_formats::open(dir.path()).unwrap() else { panic!() };
        let checkpoint = match unpack::unpacked(checkpoint) {
            Ok(checkpoint) => checkpoint,
            Err(e) => return e,
        };
        for tensor in checkpoint.tensors {
            let rows = tensor.shape().rows() as usize;
            let mut bytes = vec![0; tensor.bytes() as usize];
            if let Err(e) = tensor.checked().read(0..rows, &mut bytes) {
                return e;
            }
        }
        panic!("it was taken");
    }

    #[track_caller]
    fn says(&self, kind: u8, words: &[&str]) {
        let e = self.refused();
        let said = e.to_string();
        assert_eq!(e.kind().exit_code(), kind, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
    }
}

#[test]
fn a_method_that_is_not_read_is_named_with_those_that_are() {
    let bench = Bench::new("awq-4").told("quant_method", json!("exl3"));
    bench.says(4, &["config.json", "quantized with exl3", "gptq, ", "take the checkpoint it was made from"]);
}

#[test]
fn missing_parts_are_told_by_name() {
    for (name, beginning, part) in [
        ("gptq-4", "ordered", "ordered.4.qzeros"),
        ("gptq-4", "ordered", "ordered.4.scales"),
        ("awq-4", "half", "half.scales"),
        ("bitsandbytes-4bit", "nf4.bf16.nested", "nf4.bf16.nested.weight.nested_absmax"),
        ("bitsandbytes-4bit", "nf4.bf16.plain", "nf4.bf16.plain.weight.quant_map"),
        ("mlx", "bits4.group64", "bits4.group64.biases"),
        ("compressed-tensors", "int4", "int4.weight_shape"),
        ("compressed-tensors", "int4", "int4.weight_scale"),
        ("hqq", "bits4.axis1.f16", "bits4.axis1.f16.zero"),
        ("hqq", "bits4.axis1.f16", "bits4.axis1.f16.shape"),
        ("quark", "uint4.groups", "uint4.groups.weight_zero_point"),
    ] {
        let bench = Bench::new(name).only(beginning).without(part);
        bench.says(3, &["model.safetensors", "is missing", &format!("expected {part}"), "incomplete"]);
    }
    let bench = Bench::new("fp8-blocks").only("even").without("even.weight_scale_inv");
    bench.says(3, &["even.weight", "the scales of these weights are missing", "even.weight_scale"]);
}

/// Files of torchao say in their headers what each weight is; these were written again without that.
#[test]
fn a_header_that_lost_what_it_says_is_told() {
    let bench = Bench::new("torchao").only("int4");
    bench.says(
        3,
        &["int4._weight_qdata", "does not say what these packed weights are", "int4.weight", "__metadata__"],
    );
}

#[test]
fn parts_of_other_shapes_are_told_with_both() {
    for (name, beginning, part, shape) in [
        ("fp8-blocks", "even", "even.weight_scale_inv", vec![3, 2]),
        ("fp8-blocks", "even", "even.weight_scale_inv", vec![0, 2]),
        ("fp8-blocks", "even", "even.weight", vec![128, 0]),
        ("fp8-scales", "rows", "rows.weight_scale", vec![7]),
        ("gptq-4", "act", "act.4.qzeros", vec![3, 7]),
        ("gptq-4", "act", "act.4.qweight", vec![13, 64]),
        ("gptq-4", "act", "act.4.g_idx", vec![64]),
        ("gptq-4", "act", "act.4.g_idx", vec![0]),
        ("gptq-4", "act", "act.4.scales", vec![0, 64]),
        ("gptq-3", "ordered", "ordered.3.qweight", vec![10, 64]),
        ("awq-4", "half", "half.qzeros", vec![2, 8]),
        ("awq-4", "half", "half.qweight", vec![96]),
        ("bitsandbytes-4bit", "nf4.bf16.plain", "nf4.bf16.plain.weight", vec![1919, 1]),
        ("bitsandbytes-4bit", "nf4.bf16.plain", "nf4.bf16.plain.weight.absmax", vec![59]),
        ("bitsandbytes-4bit", "nf4.bf16.plain", "nf4.bf16.plain.weight.quant_map", vec![15]),
        ("bitsandbytes-4bit", "nf4.bf16.nested", "nf4.bf16.nested.weight.nested_absmax", vec![2]),
        ("bitsandbytes-int8", "int8", "int8.SCB", vec![47]),
        ("mlx", "bits4.group64", "bits4.group64.scales", vec![24, 3]),
        ("mlx", "bits4.group64", "bits4.group64.weight", vec![24, 15]),
        ("mlx", "bits4.group64", "bits4.group64.biases", vec![23, 2]),
        ("compressed-tensors", "int4", "int4.weight_packed", vec![48, 15]),
        ("compressed-tensors", "int4", "int4.weight_scale", vec![48, 5]),
        ("compressed-tensors", "asym4", "asym4.weight_zero_point", vec![5, 2]),
        ("compressed-tensors", "int4", "int4.weight_shape", vec![1]),
        ("compressed-tensors", "nvfp4", "nvfp4.weight_global_scale", vec![2]),
        ("compressed-tensors", "nvfp4", "nvfp4.weight_scale", vec![48, 7]),
        ("modelopt", "nvfp4", "nvfp4.weight_scale_2", vec![5]),
        ("hqq", "bits4.axis1.f16", "bits4.axis1.f16.W_q", vec![59, 32]),
        ("hqq", "bits3.axis0.f16", "bits3.axis0.f16.scale", vec![1, 7]),
        ("quark", "int4.groups", "int4.groups.weight", vec![128, 5]),
        ("quark", "int8.groups", "int8.groups.weight_scale", vec![3, 48]),
    ] {
        let bench = Bench::new(name).only(beginning).shaped(part, &shape);
        bench.says(3, &["model.safetensors", "tensor '", "found"]);
    }
}

#[test]
fn settings_that_cannot_be_are_told_with_their_key() {
    for (name, beginning, key, value) in [
        ("gptq-4", "act", "bits", json!(5)),
        ("gptq-4", "act", "bits", json!("4")),
        ("gptq-4", "ordered", "group_size", json!(0)),
        ("gptq-4", "ordered", "group_size", json!(-2)),
        ("awq-4", "half", "group_size", json!(0)),
        ("awq-4", "half", "bits", json!(3)),
        ("fp8-blocks", "even", "weight_block_size", json!([0, 128])),
        ("fp8-blocks", "even", "weight_block_size", json!(128)),
        ("mlx", "mxfp4", "bits", json!(null)),
    ] {
        let bench = Bench::new(name).only(beginning).told(key, value);
        let own = json!({"mode": "affine", "bits": 9});
        let bench = if name == "mlx" { bench.told("mxfp4", own) } else { bench };
        bench.says(3, &["config.json", &format!("'{key}'"), "expected", "found"]);
    }
    Bench::new("gptq-4").only("act").told("checkpoint_format", json!("gptq_p")).says(4, &["gptq_p"]);
    Bench::new("awq-4").only("half").told("version", json!("gemv")).says(4, &["gemv"]);
    Bench::new("awq-4").only("half").told("checkpoint_format", json!("gemv_fast")).says(4, &["gemv_fast"]);
    Bench::new("compressed-tensors").only("int4").told("format", json!("marlin-24")).says(4, &["marlin-24"]);
    Bench::new("mlx").only("mxfp4").told("mxfp4", json!({"mode": "fp5"})).says(4, &["fp5"]);
}

/// What a GGUF cannot do as the model runs, and orders that are not read.
#[test]
fn weights_that_are_not_all_of_it_are_refused_by_name() {
    let rotated =
        |name: &str, beginning: &str| Bench::new(name).only(beginning).told("rotation", json!("hadamard"));
    rotated("gptq-4", "act").says(4, &["config.json", "rotated (hadamard)"]);
    rotated("awq-4", "half").says(4, &["config.json", "rotated (hadamard)"]);
    let at = |place: &str| {
        let scheme = json!({"type": "hadamard", "apply": [{"targets": ["Linear"], "location": place}]});
        let config = json!({"config_groups": {"R4": scheme}});
        Bench::new("compressed-tensors").only("int4").told("transform_config", config)
    };
    at("input").says(4, &["config.json", "transform as the model runs", "found input"]);
    let weights = |bits: u32| json!({"num_bits": bits, "group_size": 32});
    let groups = json!({"group_0": {"targets": ["re:.*(?<!gate)_proj"], "weights": weights(4)},
        "group_1": {"targets": ["Linear"], "weights": weights(8)}});
    let bench = Bench::new("compressed-tensors").only("int4").told("config_groups", groups);
    bench.says(3, &["config.json", "'config_groups'", "found re:.*(?<!gate)_proj"]);
    let mut bench = Bench::new("bitsandbytes-int8").only("int8");
    let name = String::from("int8.weight_format");
    bench.parts.retain(|part| part.name != name);
    bench.parts.push(Part { name, dtype: Dtype::U8, shape: vec![], bytes: vec![2] });
    bench.says(4, &["int8.weight_format", "do not lie row by row", "found 2"]);
}

#[test]
fn groups_that_are_not_there_are_told_with_the_column() {
    for group in [3i32, -1, i32::MAX] {
        let mut bench = Bench::new("gptq-4").only("act");
        bench.part("act.4.g_idx").bytes[20..24].copy_from_slice(&group.to_le_bytes());
        bench.says(3, &["act.4.g_idx", "expected one of 3 groups", &format!("group {group} at column 5")]);
    }
}

#[test]
fn a_state_that_lies_is_told() {
    let state = |text: &str| {
        let mut bench = Bench::new("bitsandbytes-4bit").only("nf4.bf16.nested");
        let part = bench.part("nf4.bf16.nested.weight.quant_state.bitsandbytes__nf4");
        (part.bytes, part.shape) = (text.as_bytes().to_vec(), vec![text.len()]);
        bench
    };
    let nested = r#""nested_blocksize": 256, "nested_offset": 0.1, "dtype": "bfloat16""#;
    for (text, word) in [
        (String::from("{"), "not JSON"),
        (format!(r#"{{"blocksize": 0, "shape": [48, 80], {nested}}}"#), "'blocksize'"),
        (format!(r#"{{"blocksize": 64, "shape": [48, 0], {nested}}}"#), "'shape'"),
        (format!(r#"{{"blocksize": 64, "shape": [48, 81], {nested}}}"#), "even number of columns"),
        (format!(r#"{{"blocksize": 64, "shape": [9223372036854775807, 80], {nested}}}"#), "shape that"),
        (
            format!(r#"{{"blocksize": 64, "shape": [48, 80], {}}}"#, nested.replace("bfloat16", "int3")),
            "'dtype'",
        ),
        (
            format!(r#"{{"blocksize": 64, "shape": [48, 80], {}}}"#, nested.replace("256", "0")),
            "'nested_block",
        ),
    ] {
        state(&text).says(3, &["model.safetensors", word]);
    }
}

#[test]
fn shapes_that_lie_about_their_size_are_refused() {
    for shape in [[48i64, 129], [48, i64::MAX], [-1, 128], [49, 128], [0, 0]] {
        let mut bench = Bench::new("compressed-tensors").only("int4");
        bench.part("int4.weight_shape").bytes = shape.iter().flat_map(|n| n.to_le_bytes()).collect();
        bench.says(3, &["int4.weight", "expected", "found"]);
    }
}

#[test]
fn scales_that_are_not_finite_are_found_where_they_are() {
    let mut bench = Bench::new("fp8-blocks").only("even");
    bench.part("even.weight_scale_inv").bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    bench.says(3, &["even.weight", "NaN at row 0, column 128"]);
}
