//! What the integration tests share: deterministic weights and test models, made from the fixtures.
#![allow(dead_code, reason = "every test file uses another part")]

pub mod checkpoint;
pub mod encoding;
pub mod families;
pub mod gguf;
pub mod golden;
pub mod imatrix;
pub mod packed;
pub mod plamo;
pub mod qwen;
pub mod random_tokenizers;
pub mod rng;
pub mod rwkv;
pub mod small;
pub mod specs;
pub mod stand_ins;
pub mod tekken;
pub mod tokenizer;
pub mod vocabulary;
pub mod weights;
