//! Loading and running a GGUF file in the peer, on the CPU: tokenise, detokenise, greedy generation, logits.
//! A file that passes here is one that people can use.

use super::{Peer, buffers, c_string};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

/// A loaded model; a file whose tensors hold a NaN or an infinity does not load.
pub struct Model {
    pub(super) peer: &'static Peer,
    pub(super) model: *mut c_void,
    vocab: *const c_void,
    /// A LoRA adapter that every context applies; it is freed with the model.
    adapter: Option<*mut c_void>,
}

/// How a token is turned into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Control tokens are left out.
    Text,
    /// Control tokens are spelled.
    Special,
}

/// `llama_model_params`.
#[repr(C)]
#[derive(Debug)]
struct ModelParams {
    devices: *const c_void,
    tensor_buft_overrides: *const c_void,
    n_gpu_layers: i32,
    split_mode: c_int,
    load_mode: c_int,
    lazy_mode: c_int,
    main_gpu: i32,
    tensor_split: *const f32,
    progress_callback: *const c_void,
    progress_callback_user_data: *const c_void,
    kv_overrides: *const c_void,
    vocab_only: bool,
    check_tensors: bool,
    use_extra_bufts: bool,
    no_host: bool,
    no_alloc: bool,
    load_mtp: bool,
}

/// `llama_context_params`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct ContextParams {
    n_ctx: u32,
    n_batch: u32,
    n_ubatch: u32,
    n_seq_max: u32,
    n_rs_seq: u32,
    n_outputs_max: u32,
    n_outputs_max_per_seq: u32,
    n_threads: i32,
    n_threads_batch: i32,
    ctx_type: c_int,
    rope_scaling_type: c_int,
    pooling_type: c_int,
    attention_type: c_int,
    flash_attn_type: c_int,
    rope_freq_base: f32,
    rope_freq_scale: f32,
    yarn_ext_factor: f32,
    yarn_attn_factor: f32,
    yarn_beta_fast: f32,
    yarn_beta_slow: f32,
    yarn_orig_ctx: u32,
    defrag_thold: f32,
    cb_eval: *const c_void,
    cb_eval_user_data: *const c_void,
    type_k: c_int,
    type_v: c_int,
    abort_callback: *const c_void,
    abort_callback_data: *const c_void,
    pub(super) embeddings: bool,
    offload_kqv: bool,
    no_perf: bool,
    op_offload: bool,
    swa_full: bool,
    kv_unified: bool,
    samplers: *const c_void,
    n_samplers: usize,
    ctx_other: *const c_void,
}

/// `llama_batch`.
#[repr(C)]
struct Batch {
    n_tokens: i32,
    token: *const i32,
    embd: *const f32,
    pos: *const i32,
    n_seq_id: *const i32,
    seq_id: *const *const i32,
    logits: *const i8,
}

impl Peer {
    /// Loads a GGUF file, with its weights or only its vocabulary.
    pub fn load_model(&'static self, file: &Path, vocab_only: bool) -> Result<Model, String> {
        type Load = unsafe extern "C" fn(*const c_char, ModelParams) -> *mut c_void;
        let file = c_string(&file.to_string_lossy());
        let params =
            ModelParams { n_gpu_layers: 0, vocab_only, check_tensors: true, ..self.model_defaults() };
        // SAFETY: `ModelParams` has the peer's layout; the path lives through the call.
        let model = self.logged(|| unsafe {
            let model = self.symbol::<Load>("llama_model_load_from_file")(file.as_ptr(), params);
            (!model.is_null()).then_some(model)
        })?;
        // SAFETY: the model was just loaded, and its vocabulary lives as long as it does.
        let vocab = unsafe {
            self.symbol::<unsafe extern "C" fn(*const c_void) -> *const c_void>("llama_model_get_vocab")(
                model,
            )
        };
        Ok(Model { peer: self, model, vocab, adapter: None })
    }

    fn model_defaults(&self) -> ModelParams {
        // SAFETY: `ModelParams` has the layout of the struct that is returned.
        unsafe { self.symbol::<unsafe extern "C" fn() -> ModelParams>("llama_model_default_params")() }
    }

    fn context_defaults(&self) -> ContextParams {
        // SAFETY: `ContextParams` has the layout of the struct that is returned.
        unsafe { self.symbol::<unsafe extern "C" fn() -> ContextParams>("llama_context_default_params")() }
    }
}

impl Model {
    /// Loads a LoRA adapter, which every context from now on applies.
    pub fn wear(&mut self, file: &Path) -> Result<(), String> {
        type Init = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
        let file = c_string(&file.to_string_lossy());
        // SAFETY: the model is loaded, and the path lives through the call.
        let adapter = self.peer.logged(|| unsafe {
            let adapter = self.peer.symbol::<Init>("llama_adapter_lora_init")(self.model, file.as_ptr());
            (!adapter.is_null()).then_some(adapter)
        })?;
        self.adapter = Some(adapter);
        Ok(())
    }

    /// How many tokens the vocabulary has.
    pub fn vocab_size(&self) -> usize {
        // SAFETY: the vocabulary is that of a loaded model.
        let n = unsafe {
            self.peer.symbol::<unsafe extern "C" fn(*const c_void) -> i32>("llama_vocab_n_tokens")(self.vocab)
        };
        n as usize
    }

    /// The value of a metadata key as text (`llama_model_meta_val_str`), if there is such a key.
    pub fn meta(&self, key: &str) -> Option<String> {
        type Value = unsafe extern "C" fn(*const c_void, *const c_char, *mut c_char, usize) -> i32;
        let key = c_string(key);
        let mut out = vec![0u8; 1 << 20];
        // SAFETY: `out` has room for as many bytes as it says, and the key lives through the call.
        let length = unsafe {
            let value: Value = self.peer.symbol("llama_model_meta_val_str");
            value(self.model, key.as_ptr(), out.as_mut_ptr().cast(), out.len())
        };
        out.truncate(usize::try_from(length).ok()?);
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    /// Whether generation ends at this token.
    pub fn is_end(&self, token: i32) -> bool {
        // SAFETY: the vocabulary is that of a loaded model.
        unsafe {
            self.peer.symbol::<unsafe extern "C" fn(*const c_void, i32) -> bool>("llama_vocab_is_eog")(
                self.vocab, token,
            )
        }
    }

    /// `llama_tokenize`: `add_special` adds the start and end tokens that the vocabulary asks for,
    /// `parse_special` reads the spelling of control tokens as those tokens.
    pub fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<i32> {
        type Tokenize =
            unsafe extern "C" fn(*const c_void, *const c_char, i32, *mut i32, i32, bool, bool) -> i32;
        // SAFETY: `out` has room for as many tokens as it says.
        grow(|out: &mut [i32]| unsafe {
            self.peer.symbol::<Tokenize>("llama_tokenize")(
                self.vocab,
                text.as_ptr().cast(),
                text.len() as i32,
                out.as_mut_ptr(),
                out.len() as i32,
                add_special,
                parse_special,
            )
        })
    }

    /// The bytes of one token (`llama_token_to_piece`).
    pub fn token_to_piece(&self, token: i32, piece: Piece) -> Vec<u8> {
        type ToPiece = unsafe extern "C" fn(*const c_void, i32, *mut c_char, i32, i32, bool) -> i32;
        let special = piece == Piece::Special;
        // SAFETY: `out` has room for as many bytes as it says.
        grow(|out: &mut [u8]| unsafe {
            self.peer.symbol::<ToPiece>("llama_token_to_piece")(
                self.vocab,
                token,
                out.as_mut_ptr().cast(),
                out.len() as i32,
                0,
                special,
            )
        })
    }

    /// The text of `tokens` (`llama_detokenize`), start and end tokens kept.
    pub fn detokenize(&self, tokens: &[i32], piece: Piece) -> Vec<u8> {
        type Detokenize =
            unsafe extern "C" fn(*const c_void, *const i32, i32, *mut c_char, i32, bool, bool) -> i32;
        let special = piece == Piece::Special;
        // SAFETY: `tokens` and `out` are as long as they say.
        grow(|out: &mut [u8]| unsafe {
            self.peer.symbol::<Detokenize>("llama_detokenize")(
                self.vocab,
                tokens.as_ptr(),
                tokens.len() as i32,
                out.as_mut_ptr().cast(),
                out.len() as i32,
                false,
                special,
            )
        })
    }

    /// The most likely `count` tokens after `prompt`, fewer if the model ends its answer; the end token is not
    /// returned.
    pub fn generate(&self, prompt: &[i32], count: usize, threads: i32) -> Result<Vec<i32>, String> {
        let context = Context::new(self, prompt.len() + count, threads)?;
        let (mut answer, mut logits) = (Vec::new(), context.decode(prompt)?);
        while answer.len() < count {
            let token = most_likely(&logits);
            if self.is_end(token) {
                break;
            }
            answer.push(token);
            logits = context.decode(&[token])?;
        }
        Ok(answer)
    }

    /// The most likely `count` tokens after `prompt`, whatever they are; if an encoder reads that, those of the decoder.
    pub fn greedy(&self, prompt: &[i32], count: usize, threads: i32) -> Result<Vec<i32>, String> {
        let context = Context::new(self, prompt.len() + count, threads)?;
        let mut logits = match self.tells("llama_model_has_encoder") {
            true => {
                context.encode(prompt)?;
                context.decode(&[self.decoders_first()])?
            }
            false => context.decode(prompt)?,
        };
        let mut answer = Vec::new();
        while answer.len() < count {
            answer.push(most_likely(&logits));
            logits = context.decode(&answer[answer.len() - 1..])?;
        }
        Ok(answer)
    }

    /// The perplexity of `text` as llama-perplexity measures it: the text in windows of `window` tokens that each
    /// begin with the start token, scored on the second half of each window.
    pub fn perplexity(&self, text: &str, window: usize, threads: i32) -> Result<f64, String> {
        let tokens = self.tokenize(text, true, false);
        let (mut sum, mut count) = (0.0, 0u32);
        for chunk in tokens.chunks_exact(window) {
            let mut chunk = chunk.to_vec();
            chunk[0] = tokens[0];
            let context = Context::new(self, window, threads)?;
            let logits = context.decode_all(&chunk)?;
            for i in window / 2..window - 1 {
                sum += surprise(&logits[i], chunk[i + 1] as usize);
                count += 1;
            }
        }
        Ok((sum / f64::from(count)).exp())
    }

    /// The logits at the places of `text` that `perplexity` scores, of at most `most` windows.
    pub fn scored_logits(
        &self,
        text: &str,
        window: usize,
        most: usize,
        threads: i32,
    ) -> Result<Vec<Vec<f32>>, String> {
        let tokens = self.tokenize(text, true, false);
        let mut scored = Vec::new();
        for chunk in tokens.chunks_exact(window).take(most) {
            let mut chunk = chunk.to_vec();
            chunk[0] = tokens[0];
            let logits = Context::new(self, window, threads)?.decode_all(&chunk)?;
            scored.extend(logits.into_iter().take(window - 1).skip(window / 2));
        }
        Ok(scored)
    }

    /// The logits of the token that follows `prompt`, one a token of the vocabulary.
    pub fn logits(&self, prompt: &[i32], threads: i32) -> Result<Vec<f32>, String> {
        Context::new(self, prompt.len(), threads)?.decode(prompt)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the model is freed once; contexts borrow it and are gone.
        unsafe { self.peer.symbol::<unsafe extern "C" fn(*mut c_void)>("llama_model_free")(self.model) }
    }
}

impl Model {
    /// What a context of so many tokens takes beside the weights, as the peer tells it with its program's defaults: MiB by
    /// the kind of buffer (`KV`, `RS`, `compute`, `output`).
    pub fn memory(&self, tokens: u32) -> Result<Vec<(String, f64)>, String> {
        type Init = unsafe extern "C" fn(*mut c_void, ContextParams) -> *mut c_void;
        let defaults = self.peer.context_defaults();
        let params =
            ContextParams { n_ctx: tokens, n_batch: 2048, n_ubatch: 512, swa_full: false, ..defaults };
        // SAFETY: `ContextParams` has the peer's layout; the context is freed once.
        let said = self.peer.logged(|| unsafe {
            buffers().clear();
            let context = self.peer.symbol::<Init>("llama_init_from_model")(self.model, params);
            if context.is_null() {
                return None;
            }
            self.peer.symbol::<unsafe extern "C" fn(*mut c_void)>("llama_free")(context);
            Some(std::mem::take(&mut *buffers()))
        })?;
        let one = |line: &str| {
            let (before, after) = line.split_once(" buffer size =")?;
            let kind = before.split_whitespace().last()?.to_string();
            Some((kind, after.split_whitespace().next()?.parse().ok()?))
        };
        Ok(said.lines().filter_map(one).collect())
    }
}

/// A context of a model: its KV cache and what it has read so far.
pub(super) struct Context<'a> {
    pub(super) model: &'a Model,
    pub(super) context: *mut c_void,
}

impl Context<'_> {
    /// A context for at least `tokens` tokens.
    fn new(model: &Model, tokens: usize, threads: i32) -> Result<Context<'_>, String> {
        Context::open(model, Context::params(model, tokens, threads))
    }

    /// What asks for a context of at least `tokens` tokens.
    pub(super) fn params(model: &Model, tokens: usize, threads: i32) -> ContextParams {
        let size = tokens.next_multiple_of(256) as u32;
        ContextParams {
            n_ctx: size,
            n_batch: size,
            n_ubatch: size,
            n_threads: threads,
            n_threads_batch: threads,
            ..model.peer.context_defaults()
        }
    }

    pub(super) fn open(model: &Model, params: ContextParams) -> Result<Context<'_>, String> {
        type Init = unsafe extern "C" fn(*mut c_void, ContextParams) -> *mut c_void;
        // SAFETY: `ContextParams` has the peer's layout; the model outlives the context.
        let context = model.peer.logged(|| unsafe {
            let context = model.peer.symbol::<Init>("llama_init_from_model")(model.model, params);
            (!context.is_null()).then_some(context)
        })?;
        let context = Context { model, context };
        context.wear()?;
        Ok(context)
    }

    /// Applies the model's adapter as it is.
    fn wear(&self) -> Result<(), String> {
        type Set = unsafe extern "C" fn(*mut c_void, *mut *mut c_void, usize, *mut f32) -> i32;
        let Some(mut adapter) = self.model.adapter else { return Ok(()) };
        let mut scale = 1.0;
        // SAFETY: one adapter and one scale, as is told; both are copied.
        self.model.peer.logged(|| unsafe {
            let set: Set = self.model.peer.symbol("llama_set_adapters_lora");
            (set(self.context, &raw mut adapter, 1, &raw mut scale) == 0).then_some(())
        })
    }

    /// Reads `tokens`.
    pub(super) fn read(&self, tokens: &[i32]) -> Result<(), String> {
        self.take("llama_decode", tokens)
    }

    /// Has the encoder read `tokens`, for the decoder or for themselves.
    pub(super) fn encode(&self, tokens: &[i32]) -> Result<(), String> {
        self.take("llama_encode", tokens)
    }

    /// Reads `tokens` by the function of that name.
    fn take(&self, function: &str, tokens: &[i32]) -> Result<(), String> {
        type GetOne = unsafe extern "C" fn(*const i32, i32) -> Batch;
        type Take = unsafe extern "C" fn(*mut c_void, Batch) -> i32;
        let peer = self.model.peer;
        // SAFETY: `tokens` outlives the batch; `llama_decode` and `llama_encode` have this signature.
        peer.shared(|| unsafe {
            let batch = peer.symbol::<GetOne>("llama_batch_get_one")(tokens.as_ptr(), tokens.len() as i32);
            (peer.symbol::<Take>(function)(self.context, batch) == 0).then_some(())
        })
    }

    /// Reads `tokens` and returns the logits after the last of them.
    fn decode(&self, tokens: &[i32]) -> Result<Vec<f32>, String> {
        type Logits = unsafe extern "C" fn(*mut c_void, i32) -> *const f32;
        self.read(tokens)?;
        let peer = self.model.peer;
        // SAFETY: the logits of the last token, which a batch of this kind always computes, are one float a token of the
        // vocabulary and stay until the next call.
        peer.shared(|| unsafe {
            let logits = peer.symbol::<Logits>("llama_get_logits_ith")(self.context, -1);
            (!logits.is_null()).then(|| std::slice::from_raw_parts(logits, self.model.vocab_size()).to_vec())
        })
    }
}

impl Context<'_> {
    /// Reads `tokens` and returns the logits after each of them.
    fn decode_all(&self, tokens: &[i32]) -> Result<Vec<Vec<f32>>, String> {
        type Decode = unsafe extern "C" fn(*mut c_void, Batch) -> i32;
        type Logits = unsafe extern "C" fn(*mut c_void, i32) -> *const f32;
        let wanted = vec![1i8; tokens.len()];
        let batch = Batch {
            n_tokens: tokens.len() as i32,
            token: tokens.as_ptr(),
            embd: std::ptr::null(),
            pos: std::ptr::null(),
            n_seq_id: std::ptr::null(),
            seq_id: std::ptr::null(),
            logits: wanted.as_ptr(),
        };
        let peer = self.model.peer;
        // SAFETY: `tokens` and `wanted` outlive the batch; what is null the peer fills in. The logits of every token
        // are computed, as `wanted` asks, one float a token of the vocabulary, and stay until the next call.
        peer.shared(|| unsafe {
            if peer.symbol::<Decode>("llama_decode")(self.context, batch) != 0 {
                return None;
            }
            let one = |i: i32| {
                let logits = peer.symbol::<Logits>("llama_get_logits_ith")(self.context, i);
                (!logits.is_null())
                    .then(|| std::slice::from_raw_parts(logits, self.model.vocab_size()).to_vec())
            };
            (0..tokens.len() as i32).map(one).collect()
        })
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: the context is freed once.
        unsafe { self.model.peer.symbol::<unsafe extern "C" fn(*mut c_void)>("llama_free")(self.context) }
    }
}

/// Calls `fill` with a buffer, and once more with a larger one if it answers with the negated size it needs.
fn grow<T: Clone + Default>(fill: impl Fn(&mut [T]) -> i32) -> Vec<T> {
    let mut out = vec![T::default(); 256];
    let mut n = fill(&mut out);
    if n < 0 {
        out.resize(n.unsigned_abs() as usize, T::default());
        n = fill(&mut out);
    }
    out.truncate(usize::try_from(n).expect("the size that was asked for"));
    out
}

/// The negated logarithm of a token's probability.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
    sum.ln() - f64::from(logits[token] - max)
}

/// The KL divergence of the probabilities that `q` are the logits of from those of `p`, in nats.
pub fn divergence(p: &[f32], q: &[f32]) -> f64 {
    // A token's surprise is this, less its logit.
    let normalizer = |logits: &[f32]| surprise(logits, 0) + f64::from(logits[0]);
    let (of_p, of_q) = (normalizer(p), normalizer(q));
    let one = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p) - of_p, f64::from(*q) - of_q);
        p.exp() * (p - q)
    };
    p.iter().zip(q).map(one).sum()
}

/// The first of the largest logits.
fn most_likely(logits: &[f32]) -> i32 {
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    i32::try_from(best).expect("a token")
}

/// The layouts are right if the defaults are what `llama.h` documents.
#[test]
fn the_model_and_context_params_have_the_peers_layout() {
    let Some(peer) = super::peer() else { return };
    let model = peer.model_defaults();
    assert!(model.kv_overrides.is_null() && !model.vocab_only && !model.check_tensors, "{model:?}");
    assert!(model.use_extra_bufts && !model.no_alloc, "{model:?}");
    let context = peer.context_defaults();
    assert_eq!((context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max), (512, 2048, 512, 1));
    assert_eq!((context.type_k, context.type_v), (1, 1), "{context:?}");
    assert!(!context.embeddings && context.offload_kqv && context.no_perf, "{context:?}");
    assert!(context.samplers.is_null() && context.n_samplers == 0, "{context:?}");
}
