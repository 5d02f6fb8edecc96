//! The named checkpoints. `fixtures/goldens/convert` holds what llama.cpp's converter makes of each, so a change
//! here asks for `fixtures/make_goldens.py` to be run again. The names are directory names too: the converter
//! makes `general.name` and its parts of them.

use super::checkpoint::{Arch, Layer, Rope, Spec, Tokens, Weight, write_sparse_weights, write_weights};
use ggraft::chat::templates::TEMPLATES;
use safetensors::Dtype;
use std::path::Path;

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
    + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const CARD: &str = "---
license: apache-2.0
language:
- en
- ko
tags:
- test
base_model: example/Base-7B-v0.1
---

# A model card

Only its front matter is read.
";

/// Every named checkpoint.
pub fn checkpoints() -> Vec<(&'static str, Spec)> {
    vec![
        (
            "Llama-3.1-Tiny",
            Spec {
                tokens: Tokens::Real("llama-bpe"),
                hidden: 32,
                head_dim: Some(128),
                context: 131072,
                rope: Rope::Llama3(8.0),
                rope_theta: 500000.0,
                sampling: true,
                ..Spec::default()
            },
        ),
        (
            "Llama-3.2-Tiny-Instruct",
            Spec {
                tokens: Tokens::Real("llama-bpe"),
                hidden: 32,
                tied: true,
                head_dim: Some(64),
                context: 131072,
                rope: Rope::Llama3(32.0),
                rope_theta: 500000.0,
                chat_template: Some(CHATML),
                ..Spec::default()
            },
        ),
        (
            "Mistral-Tiny-v0.3",
            Spec {
                arch: Arch::Mistral,
                tokens: Tokens::Real("llama-spm"),
                layers: 12,
                shards: 3,
                rope_theta: 1000000.0,
                card: Some(CARD),
                ..Spec::default()
            },
        ),
        (
            "Qwen-Tiny-Chat",
            Spec {
                tokens: Tokens::Real("qwen2"),
                hidden: 32,
                rope_theta: 1000000.0,
                chat_template: Some(CHATML),
                ..Spec::default()
            },
        ),
        (
            "Linear-Tiny",
            Spec {
                tokens: Tokens::Real("phi-3"),
                bias: true,
                rope: Rope::Linear,
                dtype: Dtype::F16,
                ..Spec::default()
            },
        ),
        (
            "Yarn-Tiny",
            Spec {
                tokens: Tokens::Real("gpt-2"),
                head_dim: Some(8),
                rope: Rope::Yarn,
                dtype: Dtype::F32,
                ..Spec::default()
            },
        ),
    ]
}

/// The checkpoint of that name.
pub fn checkpoint(name: &str) -> Option<Spec> {
    checkpoints().into_iter().find(|(n, _)| *n == name).map(|(_, spec)| spec)
}

/// TinyLlama's shape: 1.1 B weights, 2.2 GB in bf16.
fn tiny_llama() -> Spec {
    Spec {
        tokens: Tokens::Real("llama-spm"),
        hidden: 2048,
        ffn: 5632,
        layers: 22,
        heads: 32,
        kv_heads: 4,
        context: 2048,
        ..Spec::default()
    }
}

/// Writes base/, chat/ and cp/ of TinyLlama's shape.
pub fn write_trio_1b(dir: &Path) {
    write_trio(&tiny_llama(), &tiny_llama(), dir);
}

/// Writes base/, chat/ and cp/ of a Llama's shape, 450 MB each in two files.
pub fn write_trio_450m(dir: &Path) {
    let sizes = Spec { hidden: 1024, ffn: 2816, layers: 14, heads: 16, ..tiny_llama() };
    let spec = Spec { shards: 2, ..sizes };
    write_trio(&spec, &spec, dir);
}

/// Writes base/, chat/ and cp/ with the vocabularies of SOLAR (32000 tokens) and EEVE (8960 more), and narrow.
pub fn write_trio_eeve(dir: &Path) {
    let spec = Spec { tokens: Tokens::Real("llama-spm"), hidden: 32, ..Spec::default() };
    let cp = Spec { tokens: Tokens::Grown("llama-spm", 8960), ..spec.clone() };
    write_trio(&spec, &cp, dir);
}

/// Turns that end in EOS, which every vocabulary has.
const TURNS: &str = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}\
    {% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

/// The smallest model with a tokenizer: 300 kB.
pub fn tiny() -> Spec {
    Spec { tokens: Tokens::First("llama-spm", 300), chat_template: Some(TURNS), ..Spec::default() }
}

/// Writes base/, chat/ and cp/ so small that a merge takes a moment.
pub fn write_trio_tiny(dir: &Path) {
    write_trio(&tiny(), &tiny(), dir);
}

/// Writes base/, chat/ and cp/: chat and cp are the base plus noise of their own, a twentieth as strong; rows that
/// only cp has are new.
fn write_trio(spec: &Spec, cp: &Spec, dir: &Path) {
    write_moved([(spec, 0.0), (spec, 0.001), (cp, 0.001)], dir);
}

/// Writes base/, chat/ and cp/, each the base plus noise of its own of this deviation; the base's own is 0.02.
fn write_moved(models: [(&Spec, f32); 3], dir: &Path) {
    for ((name, seed), (spec, deviation)) in [("base", 0), ("chat", 11), ("cp", 13)].into_iter().zip(models) {
        let moved = |mut weight: Weight| {
            if deviation > 0.0 {
                let seed = super::rng::named(seed, &weight.name);
                weight.layers.push(Layer { seed, deviation });
            }
            weight
        };
        let dir = dir.join(name);
        let vocab_size = spec.write_files(&dir);
        write_weights(spec.weights(vocab_size).into_iter().map(moved).collect(), spec.shards, &dir);
    }
}

/// Trios by what tells their models apart: the vocabulary alone; the template of chat, and the distances; the distances
/// alone, for all three have a template.
pub const TRIOS: [&str; 3] = ["eeve", "solar", "alike"];

/// Writes base/, chat/ and cp/ of this name.
pub fn write_named_trio(name: &str, dir: &Path) {
    let bare = Spec { tokens: Tokens::Real("llama-spm"), hidden: 32, ..Spec::default() };
    let template = TEMPLATES.iter().find(|t| t.name == "solar").map(|t| t.text);
    let chat = Spec { chat_template: template, ..bare.clone() };
    match name {
        "eeve" => write_trio_eeve(dir),
        "solar" => write_moved([(&bare, 0.0), (&chat, 0.0006), (&bare, 0.004)], dir),
        "alike" => write_moved([(&chat, 0.0), (&chat, 0.0006), (&chat, 0.004)], dir),
        other => panic!("there is no trio {other}"),
    }
}

/// Writes a checkpoint of TinyLlama's shape whose weights are all zero, in a sparse file that takes no room.
pub fn write_sparse_1b(dir: &Path) {
    write_sparse(&tiny_llama(), dir);
}

/// The same of 90 M weights, which a merge takes a moment for.
pub fn write_sparse_90m(dir: &Path) {
    write_sparse(&Spec { hidden: 768, ffn: 2048, layers: 6, heads: 12, ..tiny_llama() }, dir);
}

/// The same of the shape of Llama-2-70B: 138 GB, of which the disk sees the header.
pub fn write_sparse_70b(dir: &Path) {
    let wide = Spec { hidden: 8192, ffn: 28672, heads: 64, kv_heads: 8, context: 4096, ..tiny_llama() };
    write_sparse(&Spec { layers: 80, ..wide }, dir);
}

fn write_sparse(spec: &Spec, dir: &Path) {
    let vocab_size = spec.write_files(dir);
    write_sparse_weights(&spec.weights(vocab_size), dir);
}
