//! Structures of llama.cpp that are passed by value or read, in its own layout and with its own names, of the versions that
//! `KNOWN` lists. Specification: `llama.h` and `ggml.h` of llama.cpp v0.5.0.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

/// A structure that is returned by value, with room behind it: a build that calls itself by a known version and has a larger
/// one writes there, and not over what is ours, before its values are looked at.
#[repr(C)]
pub struct Roomy<T> {
    pub value: T,
    room: [MaybeUninit<u64>; 256],
}

/// The versions of llama.cpp whose structures are laid out as below. Others are refused: their numbers would be taken for
/// something else.
pub const KNOWN: [&str; 1] = ["0.5.0"];

/// `GGML_TYPE_F32`.
pub(super) const F32: c_int = 0;
/// `GGML_TYPE_F16`.
pub(super) const F16: c_int = 1;

/// `llama_model_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelParams {
    pub devices: *const c_void,
    pub tensor_buft_overrides: *const c_void,
    pub n_gpu_layers: i32,
    pub split_mode: c_int,
    pub load_mode: c_int,
    pub lazy_mode: c_int,
    pub main_gpu: i32,
    pub tensor_split: *const f32,
    pub progress_callback: *const c_void,
    pub progress_callback_user_data: *const c_void,
    pub kv_overrides: *const c_void,
    pub vocab_only: bool,
    pub check_tensors: bool,
    pub use_extra_bufts: bool,
    pub no_host: bool,
    pub no_alloc: bool,
    pub load_mtp: bool,
}

impl ModelParams {
    /// Whether these are the defaults that `llama.h` documents; else they are laid out otherwise.
    pub fn are_the_known_defaults(&self) -> bool {
        let none = [self.devices, self.tensor_buft_overrides, self.progress_callback, self.kv_overrides];
        none.iter().all(|p| p.is_null())
            && self.tensor_split.is_null()
            && self.main_gpu == 0
            && [self.vocab_only, self.check_tensors, self.use_extra_bufts, self.no_host, self.no_alloc]
                == [false, false, true, false, false]
    }
}

/// `ggml_backend_sched_eval_callback`.
pub(super) type Callback = unsafe extern "C" fn(*const Tensor, bool, *mut c_void) -> bool;

/// `llama_context_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextParams {
    pub n_ctx: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub n_rs_seq: u32,
    pub n_outputs_max: u32,
    pub n_outputs_max_per_seq: u32,
    pub n_threads: i32,
    pub n_threads_batch: i32,
    pub ctx_type: c_int,
    pub rope_scaling_type: c_int,
    pub pooling_type: c_int,
    pub attention_type: c_int,
    pub flash_attn_type: c_int,
    pub rope_freq_base: f32,
    pub rope_freq_scale: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_orig_ctx: u32,
    pub defrag_thold: f32,
    pub cb_eval: Option<Callback>,
    pub cb_eval_user_data: *mut c_void,
    pub type_k: c_int,
    pub type_v: c_int,
    pub abort_callback: *const c_void,
    pub abort_callback_data: *const c_void,
    pub embeddings: bool,
    pub offload_kqv: bool,
    pub no_perf: bool,
    pub op_offload: bool,
    pub swa_full: bool,
    pub kv_unified: bool,
    pub samplers: *const c_void,
    pub n_samplers: usize,
    pub ctx_other: *const c_void,
}

impl ContextParams {
    /// Whether these are the defaults that `llama.h` documents; else they are laid out otherwise.
    pub fn are_the_known_defaults(&self) -> bool {
        [self.n_ctx, self.n_batch, self.n_ubatch, self.n_seq_max, self.n_rs_seq] == [512, 2048, 512, 1, 0]
            && [self.type_k, self.type_v] == [F16, F16]
            && self.cb_eval.is_none()
            && [self.cb_eval_user_data.cast_const(), self.abort_callback, self.samplers, self.ctx_other]
                .iter()
                .all(|p| p.is_null())
            && self.n_samplers == 0
            && [self.embeddings, self.offload_kqv, self.no_perf] == [false, true, true]
    }
}

/// `llama_batch`.
#[repr(C)]
pub(super) struct Batch {
    pub n_tokens: i32,
    pub token: *const i32,
    pub embd: *const f32,
    pub pos: *const i32,
    pub n_seq_id: *const i32,
    pub seq_id: *const *const i32,
    pub logits: *const i8,
}

/// `ggml_tensor`: `ne` counts elements, row length first, `nb` strides in bytes.
#[repr(C)]
pub(super) struct Tensor {
    pub kind: c_int,
    pub buffer: *const c_void,
    pub ne: [i64; 4],
    pub nb: [usize; 4],
    pub op: c_int,
    pub op_params: [i32; 16],
    pub flags: i32,
    pub src: [*const Tensor; 10],
    pub view_src: *const Tensor,
    pub view_offs: usize,
    pub data: *const c_void,
    pub name: [c_char; 64],
    pub extra: *const c_void,
    pub padding: [u8; 8],
}
