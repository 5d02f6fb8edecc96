//! The memory that a model takes in llama.cpp, which keeps keys and values in f16, works on 512 tokens at a time, and
//! uses flash attention where it can.
//! Specification: llama.cpp v0.5.0 as its log tells (`llama_kv_cache`, `llama_memory_recurrent`, `sched_reserve`);
//! `tests/device.rs` compares.

use crate::roles::PERIODS;
use ggraft_formats::{Array, Error, Metadata, Result, Value};

/// Tokens that are computed at a time.
const BATCH: u64 = 512;
/// Cells of the cache come in so many.
const CELLS: u64 = 256;
/// No model has more layers.
const MOST_LAYERS: u64 = 1 << 14;
/// Of EXAONE 4 only the model of so many layers has windows.
const EXAONE: (&str, u64) = ("exaone4", 64);
/// Llama 4 attends in chunks of so many where nothing is told.
const CHUNK: u64 = 8192;

/// Bytes that a model takes at a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub weights: u64,
    /// Keys and values of all tokens of the context.
    pub cache: u64,
    /// What layers without attention remember.
    pub state: u64,
    /// What is computed from layer to layer.
    pub buffers: u64,
}

impl Need {
    /// That of a model whose tensors take `weights` bytes, when it reads `context` tokens.
    ///
    /// # Errors
    /// The metadata do not tell its layers.
    pub fn of(metadata: &Metadata, weights: u64, context: u64) -> Result<Need> {
        let model = Hyperparameters::of(metadata)?;
        let cells = whole(context.max(1));
        let window = model.window().map_or(cells, |n| cells.min(whole(n.saturating_add(BATCH))));
        let (mut cache, mut state) = (0u64, 0u64);
        for layer in 0..model.layers {
            if model.remembers(layer) {
                state = state.saturating_add(model.state());
            }
            let cells = if model.is_windowed(layer) { window } else { cells };
            cache = cache.saturating_add(product(&[2, cells, model.kept(layer)]));
        }
        if !model.flag("attention.causal").unwrap_or(true) {
            cache = 0;
        }
        // The logits of a batch are the largest of what is computed.
        let width = model.tokens.saturating_add(model.number("embedding_length").unwrap_or(0));
        let buffers = product(&[4, BATCH, width]);
        Ok(Need { weights, cache, state, buffers })
    }

    pub fn total(&self) -> u64 {
        [self.weights, self.cache, self.state, self.buffers].into_iter().fold(0, u64::saturating_add)
    }
}

/// So many tokens are told of, if the model has as many: llama.cpp's and Ollama's default.
const USUAL: u64 = 4096;

/// What a model takes beside its weights and buffers, and at how many tokens.
pub struct Cache {
    pub tokens: u64,
    pub bytes: u64,
}

/// That of a usual context; none of metadata that do not tell.
pub fn cache(metadata: &Metadata) -> Option<Cache> {
    let tokens = super::trained(metadata)?.min(USUAL);
    let need = Need::of(metadata, 0, tokens).ok()?;
    Some(Cache { tokens, bytes: need.cache.saturating_add(need.state) })
}

/// Cells for so many tokens.
fn whole(tokens: u64) -> u64 {
    tokens.div_ceil(CELLS).saturating_mul(CELLS)
}

/// Numbers of a file may be any.
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

/// What the metadata tell of a model.
struct Hyperparameters<'a> {
    metadata: &'a Metadata,
    arch: &'a str,
    layers: u64,
    tokens: u64,
}

impl<'a> Hyperparameters<'a> {
    fn of(metadata: &'a Metadata) -> Result<Hyperparameters<'a>> {
        let arch = metadata.str("general.architecture").unwrap_or_default();
        let number = |key: &str| metadata.u64(&format!("{arch}.{key}"));
        let layers = number("block_count").ok_or_else(|| {
            Error::invalid("the metadata do not tell how many layers the model has")
                .expected(format!("{arch}.block_count"))
        })?;
        if layers > MOST_LAYERS {
            return Err(Error::invalid("the metadata tell of more layers than any model has")
                .expected(format!("at most {MOST_LAYERS}"))
                .found(format!("{arch}.block_count = {layers}")));
        }
        let tokens = metadata.get("tokenizer.ggml.tokens").and_then(Value::as_array).map(|a| a.len() as u64);
        let tokens = tokens.or_else(|| number("vocab_size")).unwrap_or(0);
        // Layers that predict further tokens keep nothing while a text is only read.
        let layers = layers.saturating_sub(number("nextn_predict_layers").unwrap_or(0));
        Ok(Hyperparameters { metadata, arch, layers, tokens })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{key}", self.arch))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::as_u64)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The number of a layer, where each may have its own.
    fn of_layer(&self, key: &str, layer: u64) -> Option<u64> {
        match self.get(key)? {
            Value::Array(all) => all.u64(usize::try_from(layer).ok()?),
            one => one.as_u64(),
        }
    }

    fn flag_of_layer(&self, key: &str, layer: u64) -> Option<bool> {
        match self.get(key)? {
            Value::Array(Array::Bool(all)) => all.get(usize::try_from(layer).ok()?).copied(),
            _ => None,
        }
    }

    /// The tokens that windowed layers look back on.
    fn window(&self) -> Option<u64> {
        let without = EXAONE.0 == self.arch && EXAONE.1 != self.layers;
        let told = self.number("attention.sliding_window").filter(|n| *n > 0 && !without);
        if self.arch == "llama4" { Some(self.number("attention.chunk_size").unwrap_or(CHUNK)) } else { told }
    }

    fn is_windowed(&self, layer: u64) -> bool {
        if self.window().is_none() {
            return false;
        }
        let told = self.flag_of_layer("attention.sliding_window_pattern", layer);
        told.unwrap_or_else(|| {
            let period = self.number("attention.sliding_window_pattern");
            let known = PERIODS.iter().find(|(arch, _)| *arch == self.arch).map(|(_, n)| *n);
            period.or(known).is_some_and(|n| n == 0 || layer % n != n - 1)
        })
    }

    /// Whether a layer has a state that does not grow.
    fn remembers(&self, layer: u64) -> bool {
        let has = self.number("ssm.inner_size").or_else(|| self.number("shortconv.l_cache")).is_some();
        has && self
            .recurrent(layer)
            .unwrap_or_else(|| self.of_layer("attention.head_count_kv", layer).unwrap_or(0) == 0)
    }

    /// Whether a layer has no attention, where the metadata tell it by themselves.
    fn recurrent(&self, layer: u64) -> Option<bool> {
        let told = self.flag_of_layer("attention.recurrent_layers", layer);
        told.or_else(|| {
            self.number("full_attention_interval")
                .filter(|n| *n > 0)
                .map(|n| !layer.saturating_add(1).is_multiple_of(n))
        })
    }

    /// Elements that a layer keeps of each token.
    fn kept(&self, layer: u64) -> u64 {
        if self.recurrent(layer) == Some(true) {
            return 0;
        }
        let heads = self.of_layer("attention.head_count", layer).unwrap_or(0);
        let kv = self.of_layer("attention.head_count_kv", layer).unwrap_or(heads);
        let usual = self.number("embedding_length").unwrap_or(0).checked_div(heads).unwrap_or(0);
        let swa = self.is_windowed(layer);
        let length = |name: &str| {
            let own = self.number(&format!("attention.{name}_length_swa")).filter(|_| swa);
            own.or_else(|| self.number(&format!("attention.{name}_length"))).unwrap_or(usual)
        };
        // Latent attention finds the values in its keys.
        let latent = self.number("attention.key_length_mla").is_some();
        product(&[kv, length("key").saturating_add(if latent { 0 } else { length("value") })])
    }

    /// Bytes of the state of a layer without attention.
    fn state(&self) -> u64 {
        if let Some(kernel) = self.number("shortconv.l_cache") {
            return product(&[4, kernel.saturating_sub(1), self.number("embedding_length").unwrap_or(0)]);
        }
        let part = |key: &str| self.number(&format!("ssm.{key}")).unwrap_or(0);
        let (inner, size) = (part("inner_size"), part("state_size"));
        let seen = inner.saturating_add(product(&[2, part("group_count"), size]));
        let seen = product(&[part("conv_kernel").saturating_sub(1), seen]);
        product(&[4, seen.saturating_add(product(&[size, inner]))])
    }
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
        m.set("llama.block_count", u64::MAX);
        assert!(cache(&m).is_none());
        m.set("llama.block_count", 32u32);
        for key in
            ["attention.head_count_kv", "attention.key_length", "attention.sliding_window", "ssm.inner_size"]
        {
            let mut wild = m.clone();
            wild.set(&format!("llama.{key}"), u64::MAX);
            assert!(Need::of(&wild, u64::MAX, u64::MAX).unwrap().total() == u64::MAX);
        }
        m.set("llama.attention.head_count_kv", 8u32);
        let found = cache(&m).unwrap();
        assert_eq!((found.tokens, found.bytes), (4096, 512 << 20));
    }
}
