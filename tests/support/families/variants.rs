//! Checkpoints of classes whose other form `all` has, of which that form once became something else than the converter's.

use super::{Tiny, json, laid_over};
use serde_json::Value;

/// The checkpoint of another name, with these keys in its config.
fn other(name: &'static str, of: &str, own: &Value) -> Tiny {
    let tiny = super::all().into_iter().chain(super::blocks::all()).find(|tiny| tiny.name == of).unwrap();
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

/// Kimi's, whose convolutions are matrices; those of K3 have more decays than heads.
fn flat(name: &'static str, of: &str) -> Tiny {
    let mut tiny = other(name, of, &json!({}));
    // The shapes that are looked at here are of no table of tokens.
    let own =
        tiny.weights(&laid_over(json!({"vocab_size": 8}), &tiny.config)).into_iter().filter_map(|weight| {
            let shape: &[u64] = match weight.name.rsplit_once("self_attn.")?.1 {
                "A_log" if of.contains("K3") => &[6],
                "q_conv1d.weight" | "k_conv1d.weight" | "v_conv1d.weight" => {
                    vec![weight.shape[0] as u64, weight.shape[2] as u64].leak()
                }
                _ => return None,
            };
            Some((&*weight.name.leak(), shape))
        });
    tiny.more = own.collect::<Vec<_>>().leak();
    tiny
}

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny {
            single: &["experts.1.up_proj.weight", "experts.0.down_proj.weight"],
            ..other("Qwen3-Moe-Mixed", "Qwen3-Moe-Tiny", &json!({}))
        },
        flat("Kimi-Linear-Flat", "Kimi-Linear-Tiny"),
        flat("Kimi-K3-Flat", "Kimi-K3-Tiny"),
        other("Falcon-H1-Biased", "Falcon-H1-Tiny", &json!({"attention_bias": true, "mlp_bias": true})),
        tied("Hunyuan-Tied-Head", "Hunyuan-Tiny", &[("lm_head.weight", &[50257, 64])]),
        tied("Hy4-Tied-Head", "Hy4-Tiny", &[("lm_head.weight", &[50257, 32])]),
        tied("DeepSeek-OCR-Tied-Head", "DeepSeek-OCR-Tiny", &[("lm_head.weight", &[50257, 32])]),
        tied("openPangu-Tied-Head", "openPangu-Embedded-Tiny", &[("lm_head.weight", &[288, 64])]),
        tied("GLM-5.3-Tied-Head", "GLM-5.3-Tiny", &[("lm_head.weight", &[50264, 32])]),
        tied("DeepSeek-V2-Tied-Head", "DeepSeek-V2-Tiny", &[("lm_head.weight", &[50257, 16])]),
    ]
}
