//! Checkpoints of the shapes of published models, for `docs/recipes.md`: their real number of tokens, layers and
//! weights, a real vocabulary of their family, and zeros for weights, in sparse files that take no room on the disk.
//! A dry run reads no more of a checkpoint than they have.

use super::checkpoint::{Arch, Spec, Tokens, write_sparse_weights};
use super::rng;
use ggraft::chat::templates::TEMPLATES;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Every name, as the models are called where they are published.
pub const NAMES: [&str; 13] = [
    "SOLAR-10.7B-v1.0",
    "SOLAR-10.7B-Instruct-v1.0",
    "EEVE-Korean-10.8B-v1.0",
    "Meta-Llama-3-8B",
    "Meta-Llama-3-8B-Instruct",
    "Llama-3-Open-Ko-8B",
    "Mistral-7B-v0.1",
    "Mistral-7B-Instruct-v0.1",
    "Mistral-7B-Instruct-v0.2",
    "Breeze-7B-Base-v1_0",
    "Llama-2-7b-hf",
    "Llama-2-7b-chat-hf",
    "chinese-llama-2-7b",
];

/// Tokens of Llama 3 that its base model has never seen and its chat model knows: they begin and end a turn.
const TURNS: [usize; 3] = [128006, 128007, 128009];

/// Writes the stand-in of that name to `dir`.
pub fn write(name: &str, dir: &Path) {
    let spec = spec(name);
    let vocab_size = spec.write_files(dir);
    write_sparse_weights(&spec.weights(vocab_size), dir);
    if name == "Meta-Llama-3-8B-Instruct" {
        train(&TURNS, dir);
    }
}

fn spec(name: &str) -> Spec {
    let common = Spec { hidden: 4096, ffn: 14336, layers: 32, heads: 32, kv_heads: 8, ..Spec::default() };
    let solar = Spec { tokens: Tokens::Real("llama-spm"), layers: 48, context: 4096, ..common.clone() };
    let llama3 =
        Spec { tokens: Tokens::Real("llama-bpe"), context: 8192, rope_theta: 500000.0, ..common.clone() };
    let mistral =
        Spec { arch: Arch::Mistral, tokens: Tokens::Real("llama-spm"), context: 32768, ..common.clone() };
    let llama2 =
        Spec { tokens: Tokens::Real("llama-spm"), ffn: 11008, kv_heads: 32, context: 4096, ..common };
    match name {
        "SOLAR-10.7B-v1.0" => solar,
        "SOLAR-10.7B-Instruct-v1.0" => chat("solar", solar),
        "EEVE-Korean-10.8B-v1.0" => Spec { tokens: Tokens::Grown("llama-spm", 8960), ..solar },
        "Meta-Llama-3-8B" | "Llama-3-Open-Ko-8B" => llama3,
        "Meta-Llama-3-8B-Instruct" => chat("llama3", llama3),
        "Mistral-7B-v0.1" => mistral,
        "Mistral-7B-Instruct-v0.1" => chat("mistral", mistral),
        "Mistral-7B-Instruct-v0.2" => chat("mistral", Spec { rope_theta: 1000000.0, ..mistral }),
        "Breeze-7B-Base-v1_0" => Spec { tokens: Tokens::Widened("llama-spm", 29872), ..mistral },
        "Llama-2-7b-hf" => llama2,
        "Llama-2-7b-chat-hf" => chat("llama2", llama2),
        "chinese-llama-2-7b" => Spec { tokens: Tokens::Widened("llama-spm", 23296), ..llama2 },
        other => panic!("there is no stand-in for {other}"),
    }
}

fn chat(template: &str, spec: Spec) -> Spec {
    Spec { chat_template: TEMPLATES.iter().find(|t| t.name == template).map(|t| t.text), ..spec }
}

/// Writes noise into these rows of the embedding and the head.
fn train(rows: &[usize], dir: &Path) {
    let mut file = File::options().read(true).write(true).open(dir.join("model.safetensors")).unwrap();
    let mut length = [0; 8];
    file.read_exact(&mut length).unwrap();
    let mut header = vec![0; u64::from_le_bytes(length) as usize];
    file.read_exact(&mut header).unwrap();
    let tensors: Value = serde_json::from_slice(&header).unwrap();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let table = &tensors[name];
        let row = table["shape"][1].as_u64().unwrap() as usize;
        let begin = 8 + header.len() + table["data_offsets"][0].as_u64().unwrap() as usize;
        for id in rows {
            let noise = |i: usize| rng::normal(rng::named(17, name), (id * row + i) as u64) * 0.02;
            let bytes: Vec<u8> =
                (0..row).flat_map(|i| half::bf16::from_f32(noise(i)).to_le_bytes()).collect();
            file.seek(SeekFrom::Start((begin + id * row * 2) as u64)).unwrap();
            file.write_all(&bytes).unwrap();
        }
    }
}
