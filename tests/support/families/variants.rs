//! Checkpoints of classes whose other form `all` has, of which that form once became something else than the converter's.

use super::{Tiny, json, laid_over};
use serde_json::Value;

/// The checkpoint of another name, with these keys in its config.
fn other(name: &'static str, of: &str, own: &Value) -> Tiny {
    let tiny = super::all().into_iter().find(|tiny| tiny.name == of).unwrap();
    Tiny { name, config: laid_over(tiny.config.clone(), own), is_second: true, ..tiny }
}

/// One whose config says that its head is its table of tokens, and that has one all the same.
fn tied(name: &'static str, of: &str, head: &'static [(&'static str, &'static [u64])]) -> Tiny {
    let mut tiny = Tiny { more: head, ..other(name, of, &json!({"tie_word_embeddings": true})) };
    if let Some(text) = tiny.config.get_mut("text_config") {
        text["tie_word_embeddings"] = true.into();
    }
    tiny
}

pub fn all() -> Vec<Tiny> {
    vec![
        other("Falcon-H1-Biased", "Falcon-H1-Tiny", &json!({"attention_bias": true, "mlp_bias": true})),
        tied("Hunyuan-Tied-Head", "Hunyuan-Tiny", &[("lm_head.weight", &[50257, 64])]),
        tied("Hy4-Tied-Head", "Hy4-Tiny", &[("lm_head.weight", &[50257, 32])]),
        tied("DeepSeek-OCR-Tied-Head", "DeepSeek-OCR-Tiny", &[("lm_head.weight", &[50257, 32])]),
        tied("openPangu-Tied-Head", "openPangu-Embedded-Tiny", &[("lm_head.weight", &[288, 64])]),
        tied("GLM-5.3-Tied-Head", "GLM-5.3-Tiny", &[("lm_head.weight", &[50264, 32])]),
        tied("DeepSeek-V2-Tied-Head", "DeepSeek-V2-Tiny", &[("lm_head.weight", &[50257, 16])]),
    ]
}
