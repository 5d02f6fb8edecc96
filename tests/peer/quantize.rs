//! `llama_model_quantize`: a whole file by the peer, the oracle for mixtures, metadata and layout.

use super::{Peer, c_string, id};
use ggraft_formats::DType;
use std::ffi::{CString, c_char, c_int};
use std::path::Path;

/// What `llama-quantize` can be told; the default is its default, with a type to choose.
#[derive(Clone, Debug)]
pub struct QuantizeParams {
    /// `llama_ftype`, for example 15 for Q4_K_M.
    pub ftype: i32,
    /// 0 for as many as there are processors.
    pub threads: i32,
    pub pure: bool,
    pub token_embedding_type: Option<DType>,
    pub output_tensor_type: Option<DType>,
    pub allow_requantize: bool,
    pub quantize_output_tensor: bool,
    pub only_copy: bool,
    pub keep_split: bool,
    pub dry_run: bool,
    /// Patterns of tensor names and their dtypes; the first that matches wins.
    pub tensor_types: Vec<(String, DType)>,
    /// Tensor names and their importance weights.
    pub imatrix: Vec<(String, Vec<f32>)>,
    /// Keys of the metadata and their values, in order.
    pub overrides: Vec<(String, Override)>,
    /// Layers that are left out.
    pub prune: Vec<i32>,
}

/// A value of the metadata as the peer can be told it.
#[derive(Clone, Debug)]
pub enum Override {
    /// Written as u32.
    Int(i64),
    /// Written as f32.
    Float(f64),
    Bool(bool),
    Str(String),
}

impl QuantizeParams {
    /// The defaults, for this `llama_ftype`.
    pub fn new(ftype: i32) -> QuantizeParams {
        QuantizeParams {
            ftype,
            threads: 2,
            pure: false,
            token_embedding_type: None,
            output_tensor_type: None,
            allow_requantize: false,
            quantize_output_tensor: true,
            only_copy: false,
            keep_split: false,
            dry_run: false,
            tensor_types: Vec::new(),
            imatrix: Vec::new(),
            overrides: Vec::new(),
            prune: Vec::new(),
        }
    }
}

/// `llama_model_quantize_params`.
#[repr(C)]
#[derive(Debug)]
struct Raw {
    nthread: i32,
    ftype: c_int,
    output_tensor_type: c_int,
    token_embedding_type: c_int,
    allow_requantize: bool,
    quantize_output_tensor: bool,
    only_copy: bool,
    pure: bool,
    keep_split: bool,
    dry_run: bool,
    imatrix: *const Entry,
    kv_overrides: *const KvOverride,
    tensor_types: *const TensorOverride,
    prune_layers: *const i32,
    max_buf_size: usize,
}
const _: () = assert!(size_of::<Raw>() == 64);

/// `llama_model_imatrix_data`; a list ends with a null name.
#[repr(C)]
struct Entry {
    name: *const c_char,
    data: *const f32,
    size: usize,
}

/// `llama_model_tensor_override`; a list ends with a null pattern.
#[repr(C)]
struct TensorOverride {
    pattern: *const c_char,
    dtype: c_int,
}

/// `llama_model_kv_override`; a list ends with an empty key.
#[repr(C, align(8))]
struct KvOverride {
    tag: c_int,
    key: [u8; 128],
    value: Aligned,
}
const _: () = assert!(size_of::<KvOverride>() == 264);

#[repr(C, align(8))]
struct Aligned([u8; 128]);

impl KvOverride {
    const END: KvOverride = KvOverride { tag: 0, key: [0; 128], value: Aligned([0; 128]) };

    fn new(key: &str, value: &Override) -> KvOverride {
        let (tag, bytes) = match value {
            Override::Int(x) => (0, x.to_le_bytes().to_vec()),
            Override::Float(x) => (1, x.to_le_bytes().to_vec()),
            Override::Bool(x) => (2, vec![u8::from(*x)]),
            Override::Str(x) => (3, x.as_bytes()[..x.len().min(127)].to_vec()),
        };
        let mut all = KvOverride { tag, ..KvOverride::END };
        all.key[..key.len()].copy_from_slice(key.as_bytes());
        all.value.0[..bytes.len()].copy_from_slice(&bytes);
        all
    }
}

impl Peer {
    /// `llama_model_quantize`, or what it logged as errors.
    pub fn quantize_model(&self, input: &Path, output: &Path, params: &QuantizeParams) -> Result<(), String> {
        type Quantize = unsafe extern "C" fn(*const c_char, *const c_char, *const Raw) -> u32;
        let (input, output) = (c_string(&input.to_string_lossy()), c_string(&output.to_string_lossy()));
        let names: Vec<CString> = params.imatrix.iter().map(|(name, _)| c_string(name)).collect();
        let entries = imatrix_entries(&names, &params.imatrix);
        let patterns: Vec<CString> =
            params.tensor_types.iter().map(|(pattern, _)| c_string(pattern)).collect();
        let overrides = tensor_overrides(&patterns, &params.tensor_types);
        let keys = params.overrides.iter().map(|(key, value)| KvOverride::new(key, value));
        let kv_overrides: Vec<KvOverride> = keys.chain([KvOverride::END]).collect();
        let prune: Vec<i32> = params.prune.iter().copied().chain([-1]).collect();
        let mut raw = self.quantize_defaults();
        raw.nthread = params.threads;
        raw.ftype = params.ftype;
        raw.output_tensor_type = params.output_tensor_type.map_or(raw.output_tensor_type, id);
        raw.token_embedding_type = params.token_embedding_type.map_or(raw.token_embedding_type, id);
        raw.allow_requantize = params.allow_requantize;
        raw.quantize_output_tensor = params.quantize_output_tensor;
        raw.only_copy = params.only_copy;
        raw.pure = params.pure;
        raw.keep_split = params.keep_split;
        raw.dry_run = params.dry_run;
        if !params.imatrix.is_empty() {
            raw.imatrix = entries.as_ptr();
        }
        if !params.tensor_types.is_empty() {
            raw.tensor_types = overrides.as_ptr();
        }
        if !params.overrides.is_empty() {
            raw.kv_overrides = kv_overrides.as_ptr();
        }
        if !params.prune.is_empty() {
            raw.prune_layers = prune.as_ptr();
        }
        // SAFETY: the strings and lists outlive the call and end as the peer expects.
        self.logged(|| unsafe {
            let quantize: Quantize = self.symbol("llama_model_quantize");
            (quantize(input.as_ptr(), output.as_ptr(), &raw) == 0).then_some(())
        })
    }

    fn quantize_defaults(&self) -> Raw {
        // SAFETY: `Raw` has the layout of the struct that is returned.
        unsafe { self.symbol::<unsafe extern "C" fn() -> Raw>("llama_model_quantize_default_params")() }
    }
}

fn imatrix_entries(names: &[CString], imatrix: &[(String, Vec<f32>)]) -> Vec<Entry> {
    let entry = |(name, (_, data)): (&CString, &(String, Vec<f32>))| Entry {
        name: name.as_ptr(),
        data: data.as_ptr(),
        size: data.len(),
    };
    let end = Entry { name: std::ptr::null(), data: std::ptr::null(), size: 0 };
    names.iter().zip(imatrix).map(entry).chain([end]).collect()
}

fn tensor_overrides(patterns: &[CString], types: &[(String, DType)]) -> Vec<TensorOverride> {
    let one = |(pattern, (_, dtype)): (&CString, &(String, DType))| TensorOverride {
        pattern: pattern.as_ptr(),
        dtype: id(*dtype),
    };
    let end = TensorOverride { pattern: std::ptr::null(), dtype: 0 };
    patterns.iter().zip(types).map(one).chain([end]).collect()
}

/// The layout is right if the defaults are what `llama-quantize` documents.
#[test]
fn the_quantize_params_have_the_peers_layout() {
    let Some(peer) = super::peer() else { return };
    let raw = peer.quantize_defaults();
    assert_eq!((raw.ftype, raw.output_tensor_type, raw.token_embedding_type), (7, 43, 43), "{raw:?}");
    assert!(raw.quantize_output_tensor && !raw.allow_requantize && !raw.pure && !raw.keep_split, "{raw:?}");
    assert!(raw.imatrix.is_null() && raw.tensor_types.is_null() && raw.prune_layers.is_null(), "{raw:?}");
    assert_eq!(raw.max_buf_size, 8 << 30, "{raw:?}");
}
