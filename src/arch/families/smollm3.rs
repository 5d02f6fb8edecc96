//! SmolLM3: llama, but every fourth layer has no rotary embedding, which its runtime knows without being told.
//! Specification: `SmolLM3Model` of llama.cpp's converter; `llm_build_smollm3`.

use super::llama::LLAMA;
use super::{Arch, NONE};
use crate::arch::keys::{Key, make};
use crate::arch::params::Params;
use ggraft_formats::{Result, Value};

pub const SMOLLM3: Arch =
    Arch { classes: &["SmolLM3ForCausalLM"], gguf: "smollm3", base: Some(&LLAMA), keys: KEYS, ..NONE };

const KEYS: &[Key] = &[make("no_rope_layers", unlike_the_runtime)];

/// Tells if the layers without rotary embedding are others than the runtime's; GGUF cannot say it.
fn unlike_the_runtime(params: &Params<'_>) -> Result<Option<Value>> {
    let all = params.config.get("no_rope_layers").and_then(|v| v.as_array());
    let flags = all.into_iter().flatten().enumerate();
    let odd = flags.filter(|(layer, rotates)| rotates.as_u64() != Some(u64::from((layer + 1) % 4 != 0)));
    if let Some((layer, _)) = odd.into_iter().next() {
        params.tell(format!(
            "'no_rope_layers' cannot be said in GGUF: llama.cpp leaves out the rotation in every fourth layer, which \
             layer {layer} is not like"
        ));
    }
    Ok(None)
}
