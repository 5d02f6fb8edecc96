//! What a model takes when it runs, beside its weights: keys and values of the tokens that it has seen. Served are the
//! plan and the summary of a file.

use ggraft_formats::{Metadata, Value};

/// So many tokens are told of, if the model has as many: llama.cpp's and Ollama's default.
const USUAL: u64 = 4096;
/// Bytes of a number in the cache.
const BYTES: u64 = 2;

/// The cache of a context.
pub struct Cache {
    pub tokens: u64,
    pub bytes: u64,
}

/// The cache of keys and values in 16 bits, where every layer looks at all tokens: of others it is the most that they
/// take. None of models whose layers keep something else.
pub fn cache(metadata: &Metadata) -> Option<Cache> {
    let arch = metadata.str("general.architecture")?;
    let key = |key: &str| format!("{arch}.{key}");
    let number = |name: &str| metadata.u64(&key(name));
    let keeps_else = ["attention.kv_lora_rank", "ssm.state_size", "shortconv.l_cache", "wkv.head_size"];
    if keeps_else.iter().any(|name| metadata.get(&key(name)).is_some()) {
        return None;
    }
    let (layers, heads) = (number("block_count")?, number("attention.head_count"));
    let per_head = |name: &str| number(name).or_else(|| number("embedding_length")?.checked_div(heads?));
    // A model of which no layer attends has no such key.
    let kept: u64 = match metadata.get(&key("attention.head_count_kv")) {
        Some(Value::Array(array)) => array.iter().filter_map(|heads| heads.as_u64()).sum(),
        Some(value) => value.as_u64()?.checked_mul(layers)?,
        None => heads?.checked_mul(layers)?,
    };
    let row = per_head("attention.key_length")?.checked_add(per_head("attention.value_length")?)?;
    let tokens = number("context_length")?.min(USUAL);
    let bytes = kept.checked_mul(row)?.checked_mul(BYTES)?.checked_mul(tokens)?;
    Some(Cache { tokens, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1 8B: 32 layers, 8 heads of 128, 4096 tokens take 512 MiB.
    #[test]
    fn the_cache_of_a_model_with_grouped_heads() {
        let mut m = Metadata::new();
        m.set("general.architecture", "llama");
        assert!(cache(&m).is_none());
        for (key, n) in [
            ("block_count", 32u32),
            ("attention.head_count", 32),
            ("embedding_length", 4096),
            ("context_length", 131_072),
        ] {
            m.set(&format!("llama.{key}"), n);
        }
        assert_eq!(cache(&m).unwrap().bytes, 2 << 30);
        m.set("llama.attention.head_count_kv", 8u32);
        let found = cache(&m).unwrap();
        assert_eq!((found.tokens, found.bytes), (4096, 512 << 20));
        m.set("llama.ssm.state_size", 1u32);
        assert!(cache(&m).is_none());
    }
}
