//! Models that read a text both ways: the vector that they make of it, and the encoder before a decoder. Specification:
//! `llama.h`: `llama_encode`, `llama_get_embeddings_seq`, `llama_get_embeddings_ith`.

use super::model::{Context, Model};
use std::ffi::c_void;

/// `LLAMA_POOLING_TYPE_NONE` and `LLAMA_POOLING_TYPE_RANK`.
const NONE: i32 = 0;
const RANK: i32 = 4;

impl Model {
    /// Whether the file is of a model that makes vectors of texts, and not more text.
    pub fn is_encoder(&self) -> bool {
        let architecture = self.meta("general.architecture").unwrap_or_default();
        let key = |end: &str| self.meta(&format!("{architecture}.{end}"));
        let pools = key("pooling_type").is_some_and(|kind| kind != NONE.to_string());
        let looks_ahead = key("attention.causal").is_some_and(|causal| causal == "false");
        let goes_on = self.tells("llama_model_has_decoder");
        !goes_on || pools || looks_ahead && !self.tells("llama_model_is_diffusion")
    }

    /// The vector of `prompt`, pooled as the file asks for, or else that of its last token; of a model that judges, the
    /// scores of its classes.
    pub fn vector(&self, prompt: &[i32], threads: i32) -> Result<Vec<f32>, String> {
        let mut params = Context::params(self, prompt.len(), threads);
        params.embeddings = true;
        let context = Context::open(self, params)?;
        match self.tells("llama_model_has_encoder") {
            true => context.encode(prompt)?,
            false => context.read(prompt)?,
        }
        context.vector()
    }

    /// A yes or no of the model.
    pub(super) fn tells(&self, function: &str) -> bool {
        // SAFETY: the functions that are named here take a model and return a bool.
        unsafe { self.peer.symbol::<unsafe extern "C" fn(*const c_void) -> bool>(function)(self.model) }
    }

    /// A number of the model.
    fn number(&self, function: &str) -> i32 {
        // SAFETY: the functions that are named here take a model and return a 32-bit number.
        unsafe { self.peer.symbol::<unsafe extern "C" fn(*const c_void) -> i32>(function)(self.model) }
    }

    /// The token that a decoder begins with after the encoder has read.
    pub(super) fn decoders_first(&self) -> i32 {
        self.number("llama_model_decoder_start_token")
    }
}

impl Context<'_> {
    /// What was made of the text that was read.
    fn vector(&self) -> Result<Vec<f32>, String> {
        type Pooling = unsafe extern "C" fn(*const c_void) -> i32;
        type One = unsafe extern "C" fn(*mut c_void, i32) -> *const f32;
        let peer = self.model.peer;
        // SAFETY: the signatures are those of `llama.h`; what is returned is as long as the model says and stays
        // until the next call.
        peer.shared(|| unsafe {
            let pooling = peer.symbol::<Pooling>("llama_pooling_type")(self.context);
            let (from, which) = match pooling {
                NONE => ("llama_get_embeddings_ith", -1),
                _ => ("llama_get_embeddings_seq", 0),
            };
            let length = match pooling {
                RANK => "llama_model_n_cls_out",
                _ => "llama_model_n_embd_out",
            };
            let found = peer.symbol::<One>(from)(self.context, which);
            let length = self.model.number(length) as usize;
            (!found.is_null()).then(|| std::slice::from_raw_parts(found, length).to_vec())
        })
    }
}
