//! The functions of llama.cpp that are called, by name and type, found once when the library is loaded.
//! Specification: `llama.h`, `ggml.h` and `ggml-backend.h` of llama.cpp v0.5.0.

use super::layout::{Batch, ContextParams, ModelParams, Roomy, Tensor};
use ggraft_formats::{Error, Result};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

/// `ggml_log_callback`: a level, a text, and what was given with the callback.
pub(super) type Log = unsafe extern "C" fn(c_int, *const c_char, *mut c_void);
/// Takes a model, context, vocabulary or memory.
pub(super) type Of<T> = unsafe extern "C" fn(*const c_void) -> T;

/// The functions, each under its name without `llama_`.
pub(super) struct Functions {
    pub log_set: unsafe extern "C" fn(Log, *mut c_void),
    pub backend_init: unsafe extern "C" fn(),
    pub model_default_params: unsafe extern "C" fn() -> Roomy<ModelParams>,
    pub context_default_params: unsafe extern "C" fn() -> Roomy<ContextParams>,
    pub model_load_from_file: unsafe extern "C" fn(*const c_char, ModelParams) -> *mut c_void,
    pub model_free: Of<()>,
    pub model_get_vocab: Of<*const c_void>,
    pub model_n_ctx_train: Of<i32>,
    pub model_has_encoder: Of<bool>,
    pub model_has_decoder: Of<bool>,
    pub vocab_n_tokens: Of<i32>,
    pub vocab_bos: Of<i32>,
    pub vocab_get_add_bos: Of<bool>,
    pub vocab_get_add_eos: Of<bool>,
    /// Vocabulary, text and its bytes, room for tokens and how many, whether to add special tokens and to parse them.
    pub tokenize: unsafe extern "C" fn(*const c_void, *const c_char, i32, *mut i32, i32, bool, bool) -> i32,
    pub init_from_model: unsafe extern "C" fn(*mut c_void, ContextParams) -> *mut c_void,
    pub free: Of<()>,
    pub get_memory: Of<*mut c_void>,
    pub memory_clear: unsafe extern "C" fn(*mut c_void, bool),
    pub decode: unsafe extern "C" fn(*mut c_void, Batch) -> i32,
    pub get_logits_ith: unsafe extern "C" fn(*mut c_void, i32) -> *const f32,
    pub dev_count: unsafe extern "C" fn() -> usize,
    pub load_all_from_path: unsafe extern "C" fn(*const c_char),
    pub op_name: unsafe extern "C" fn(c_int) -> *const c_char,
    pub get_name: unsafe extern "C" fn(*const Tensor) -> *const c_char,
    pub nbytes: unsafe extern "C" fn(*const Tensor) -> usize,
    /// Tensor, where its bytes go, from which byte on, how many.
    pub tensor_get: unsafe extern "C" fn(*const Tensor, *mut c_void, usize, usize),
}

/// Libraries that are loaded, and the file of the first.
pub(super) struct Symbols<'a> {
    pub libraries: &'a [libloading::Library],
    pub file: &'a Path,
}

impl Symbols<'_> {
    /// The function of this name, if there is one.
    ///
    /// # Safety
    /// `T` is its type, and it is not called after the libraries are unloaded.
    pub unsafe fn look<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: the caller vouches for the type.
        self.libraries.iter().find_map(|l| unsafe { l.get::<T>(name) }.ok().map(|s| *s))
    }

    /// The same; that there is none is an error.
    ///
    /// # Safety
    /// As of `look`.
    unsafe fn get<T: Copy>(&self, name: &str) -> Result<T> {
        // SAFETY: the caller vouches for the type.
        unsafe { self.look(name) }.ok_or_else(|| {
            Error::unsupported("this library of llama.cpp lacks a function")
                .file(self.file)
                .expected(name)
                .found("no such symbol")
                .hint("name a whole build of llama.cpp, of shared libraries, with --llama-cpp")
        })
    }
}

impl Functions {
    /// Finds them.
    ///
    /// # Safety
    /// The libraries are llama.cpp's of a version in `KNOWN`, and stay loaded as long as the functions are called.
    pub unsafe fn of(symbols: &Symbols<'_>) -> Result<Functions> {
        // SAFETY: each field has the type that the headers of those versions give to the function of its name.
        unsafe {
            Ok(Functions {
                log_set: symbols.get("llama_log_set")?,
                backend_init: symbols.get("llama_backend_init")?,
                model_default_params: symbols.get("llama_model_default_params")?,
                context_default_params: symbols.get("llama_context_default_params")?,
                model_load_from_file: symbols.get("llama_model_load_from_file")?,
                model_free: symbols.get("llama_model_free")?,
                model_get_vocab: symbols.get("llama_model_get_vocab")?,
                model_n_ctx_train: symbols.get("llama_model_n_ctx_train")?,
                model_has_encoder: symbols.get("llama_model_has_encoder")?,
                model_has_decoder: symbols.get("llama_model_has_decoder")?,
                vocab_n_tokens: symbols.get("llama_vocab_n_tokens")?,
                vocab_bos: symbols.get("llama_vocab_bos")?,
                vocab_get_add_bos: symbols.get("llama_vocab_get_add_bos")?,
                vocab_get_add_eos: symbols.get("llama_vocab_get_add_eos")?,
                tokenize: symbols.get("llama_tokenize")?,
                init_from_model: symbols.get("llama_init_from_model")?,
                free: symbols.get("llama_free")?,
                get_memory: symbols.get("llama_get_memory")?,
                memory_clear: symbols.get("llama_memory_clear")?,
                decode: symbols.get("llama_decode")?,
                get_logits_ith: symbols.get("llama_get_logits_ith")?,
                dev_count: symbols.get("ggml_backend_dev_count")?,
                load_all_from_path: symbols.get("ggml_backend_load_all_from_path")?,
                op_name: symbols.get("ggml_op_name")?,
                get_name: symbols.get("ggml_get_name")?,
                nbytes: symbols.get("ggml_nbytes")?,
                tensor_get: symbols.get("ggml_backend_tensor_get")?,
            })
        }
    }
}
