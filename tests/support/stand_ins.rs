//! Checkpoints of the shapes of published models, for `docs/recipes.md`: their real number of tokens, layers and
//! weights, a real vocabulary of their family, and zeros for weights, in sparse files that take no room on the disk.
//! A dry run reads no more of a checkpoint than they have.

use super::checkpoint::{Arch, Spec, Tokens, Weight, write_sparse_weights};
use super::vocabulary::Vocabulary;
use super::{rng, tokenizer};
use ggraft::arch::Draft;
use ggraft::chat::templates::TEMPLATES;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Every name, as the models are called where they are published.
pub const NAMES: [&str; 22] = [
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
    "Qwen3-8B-Base",
    "Qwen3-8B",
    "my-Qwen3-8B",
    "Qwen3-30B-A3B-Base",
    "Qwen3-30B-A3B",
    "my-Qwen3-30B-A3B",
    "gemma-3-4b-pt",
    "gemma-3-4b-it",
    "my-gemma-3-4b",
];

/// Tokens of Llama 3 that its base model has never seen and its chat model knows: they begin and end a turn.
const TURNS: [usize; 3] = [128006, 128007, 128009];

/// Writes the stand-in of that name to `dir`.
pub fn write(name: &str, dir: &Path) {
    if let Some((config, words, template)) = family(name) {
        return write_family(config, words, template, dir);
    }
    let spec = spec(name);
    let vocab_size = spec.write_files(dir);
    write_sparse_weights(&spec.weights(vocab_size), dir);
    if name == "Meta-Llama-3-8B-Instruct" {
        train(&TURNS, dir);
    }
}

/// Config, vocabulary and template of a model of another family than llama.
fn family(name: &str) -> Option<(Value, Vocabulary, Option<&'static str>)> {
    let qwen = |config: Value| {
        let mut all = json!({"vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000, "head_dim": 128, "num_attention_heads": 32, "hidden_act": "silu",
            "tie_word_embeddings": false, "torch_dtype": "bfloat16"});
        all.as_object_mut()?.extend(config.as_object()?.clone());
        Some(all)
    };
    let template = |name: &str| TEMPLATES.iter().find(|t| t.name == name).map(|t| t.text);
    let dense = json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4096,
        "intermediate_size": 12288, "num_hidden_layers": 36, "num_key_value_heads": 8});
    let sparse = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
        "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
        "norm_topk_prob": true, "decoder_sparse_step": 1, "num_hidden_layers": 48, "num_key_value_heads": 4});
    let gemma = json!({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
            "sliding_window": 1024, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152}, "torch_dtype": "bfloat16"});
    let (config, words, chat) = match name {
        "Qwen3-8B-Base" | "my-Qwen3-8B" => (qwen(dense)?, "qwen2", None),
        "Qwen3-8B" => (qwen(dense)?, "qwen2", template("chatml")),
        "Qwen3-30B-A3B-Base" | "my-Qwen3-30B-A3B" => (qwen(sparse)?, "qwen2", None),
        "Qwen3-30B-A3B" => (qwen(sparse)?, "qwen2", template("chatml")),
        "gemma-3-4b-pt" | "my-gemma-3-4b" => (gemma, "llama-spm", None),
        "gemma-3-4b-it" => (gemma, "llama-spm", template("gemma")),
        _ => return None,
    };
    let vocabulary = Vocabulary::load(words);
    let turns = ["<start_of_turn>", "<end_of_turn>"];
    Some((config, if words == "llama-spm" { vocabulary.with(&turns) } else { vocabulary }, chat))
}

fn write_family(mut config: Value, words: Vocabulary, template: Option<&str>, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    tokenizer::write(&words, dir, template);
    let text = if config["text_config"].is_object() { &mut config["text_config"] } else { &mut config };
    if text.get("vocab_size").is_none() {
        text["vocab_size"] = json!(words.tokens.len());
    }
    for (key, id) in [("bos_token_id", words.bos), ("eos_token_id", words.eos)] {
        text[key] = json!(id);
    }
    tokenizer::write_json(&dir.join("config.json"), &config);
    let weight = |(name, shape): (String, Vec<u64>)| Weight {
        name,
        shape: shape.into_iter().map(|n| n as usize).collect(),
        dtype: safetensors::Dtype::BF16,
        mean: 0.0,
        layers: Vec::new(),
        whole: &[],
        period: None,
    };
    let tensors = Draft::default().tensors(&config).unwrap();
    write_sparse_weights(&tensors.into_iter().map(weight).collect::<Vec<_>>(), dir);
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
