//! What is fuzzed: one plain function a target, which takes any bytes and must neither panic, nor hang, nor break
//! its own assertions. `fuzz_targets` hands them to libFuzzer, `tests/fuzz.rs` to the stable toolchain: there the
//! corpus is replayed and mutated a little, so that no nightly compiler is needed to keep what was found.

mod codecs;
mod containers;
mod models;
pub mod mutate;
mod scratch;
mod texts;
#[path = "../../formats/tests/support/zip.rs"]
mod zip;

/// One thing that is fuzzed.
pub struct Target {
    /// Also the name of its folder in `corpus`.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// All of them; a line in `Cargo.toml` and a file in `fuzz_targets` belong to each.
pub const TARGETS: &[Target] = &[
    Target { name: "gguf", run: containers::gguf },
    Target { name: "splits", run: containers::splits },
    Target { name: "safetensors", run: containers::safetensors },
    Target { name: "index", run: containers::index },
    Target { name: "pytorch", run: containers::pytorch },
    Target { name: "pickle", run: containers::pickle },
    Target { name: "imatrix", run: containers::imatrix },
    Target { name: "tokenizer_json", run: texts::tokenizer_json },
    Target { name: "tokenizer_model", run: texts::tokenizer_model },
    Target { name: "tokenizer_tiktoken", run: texts::tokenizer_tiktoken },
    Target { name: "checkpoint", run: texts::checkpoint },
    Target { name: "recipe", run: texts::recipe },
    Target { name: "words", run: texts::words },
    Target { name: "template", run: texts::template },
    Target { name: "decode", run: codecs::decode },
    Target { name: "encode", run: codecs::encode },
    Target { name: "round_trip", run: codecs::round_trip },
    Target { name: "quantize", run: models::quantize },
    Target { name: "merge", run: models::merge },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, and of course if it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|t| t.name == name);
    (target.unwrap_or_else(|| panic!("there is no target '{name}'")).run)(data);
}
