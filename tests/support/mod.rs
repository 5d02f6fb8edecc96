//! What the integration tests share: deterministic test models, made from the fixtures.
#![allow(dead_code, reason = "every test file uses another part")]

pub mod checkpoint;
pub mod rng;
pub mod run;
pub mod specs;
pub mod tokenizer;
pub mod vocabulary;
