//! The peer: llama.cpp v0.5.0 itself, called through its prebuilt shared libraries, to compare with.
//! Serves every test that claims parity: blocks (here), whole files (`quantize.rs`), and whether a file runs
//! (`model.rs`). `GGRAFT_LLAMA_CPP` names the folder of the libraries; without it `peer` says so and is `None`.
//! Specification: `ggml.h` and `llama.h` of that release, of which only names and layouts are used.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code, unused_imports)]

mod encoder;
mod gguf;
mod model;
mod quantize;

pub use model::{Model, Piece, divergence};
pub use quantize::{Override, QuantizeParams};

use ggraft_formats::DType;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const VARIABLE: &str = "GGRAFT_LLAMA_CPP";

/// In the order of their dependence; each finds its symbols in those before it.
const LIBRARIES: [&str; 3] = ["libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"];

/// Whatever kernels the peer finds best.
const BEST: &str = "best";

/// The peer's kernels that compute: those for AVX2, which nearly every x86-64 CPU has, or else the best.
pub fn kernels() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2")
    {
        return "haswell";
    }
    BEST
}

/// The loaded libraries. Encoding and decoding blocks may run on many threads at once; the calls that report
/// errors through the log take turns.
pub struct Peer {
    libraries: Vec<Library>,
    turn: Mutex<()>,
}

/// What ggml knows of a dtype.
#[derive(Debug, PartialEq, Eq)]
pub struct TypeInfo {
    pub name: String,
    /// Elements in a block.
    pub block: usize,
    /// Bytes in a block.
    pub bytes: usize,
}

/// The peer, or `None`, loudly, if its folder is not named.
///
/// # Panics
/// If the folder is named but the libraries do not load.
pub fn peer() -> Option<&'static Peer> {
    static PEER: OnceLock<Option<Peer>> = OnceLock::new();
    PEER.get_or_init(|| {
        let Some(folder) = std::env::var_os(VARIABLE) else {
            eprintln!(
                "SKIPPED: comparison with llama.cpp; set {VARIABLE} to the folder of llama.cpp v0.5.0's libraries"
            );
            return None;
        };
        Some(Peer::load(Path::new(&folder)))
    })
    .as_ref()
}

impl Peer {
    fn load(folder: &Path) -> Peer {
        let libraries = LIBRARIES.iter().map(|name| open(&folder.join(name))).collect();
        let peer = Peer { libraries, turn: Mutex::new(()) };
        type LogSet = unsafe extern "C" fn(LogCallback, *mut c_void);
        // SAFETY: the signatures are those of `llama.h`; `keep_error` fits the callback.
        unsafe {
            peer.symbol::<LogSet>("llama_log_set")(keep_error, std::ptr::null_mut());
            peer.load_kernels(folder);
            peer.symbol::<unsafe extern "C" fn()>("llama_backend_init")();
        }
        peer
    }

    /// Loads the kernels that `kernels` names: models then say the same on CPUs of different features.
    fn load_kernels(&self, folder: &Path) {
        type LoadAll = unsafe extern "C" fn(*const c_char);
        type LoadOne = unsafe extern "C" fn(*const c_char) -> *const c_void;
        let one = folder.join(format!("libggml-cpu-{}.so", kernels()));
        let path = |path: &Path| c_string(&path.to_string_lossy());
        // SAFETY: the signatures are those of `ggml-backend.h`; the paths live through the calls.
        unsafe {
            if kernels() == BEST {
                self.symbol::<LoadAll>("ggml_backend_load_all_from_path")(path(folder).as_ptr());
            } else {
                let loaded = self.symbol::<LoadOne>("ggml_backend_load")(path(&one).as_ptr());
                assert!(!loaded.is_null(), "{VARIABLE} is set, but {} does not load", one.display());
            }
        }
    }

    /// The function of this name. `T` must be its type.
    unsafe fn symbol<T: Copy>(&self, name: &str) -> T {
        // SAFETY: the caller vouches for the type; the libraries are never unloaded.
        let find = |library: &Library| unsafe { library.get::<T>(name).ok().map(|s| *s) };
        self.libraries.iter().find_map(find).unwrap_or_else(|| panic!("the peer has no symbol '{name}'"))
    }

    /// Runs `call` alone and returns its result, if any, or the errors that the peer logged meanwhile.
    fn logged<T>(&self, call: impl FnOnce() -> Option<T>) -> Result<T, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        errors().clear();
        call().ok_or_else(|| std::mem::take(&mut *errors()).trim_end().to_string())
    }

    /// Runs `call`, others meanwhile too, and returns its result, if any, or what errors were logged of late.
    fn shared<T>(&self, call: impl FnOnce() -> Option<T>) -> Result<T, String> {
        call().ok_or_else(|| errors().trim_end().to_string())
    }

    /// `ggml_quantize_chunk` over all of `src`: rows of `row` elements, `weights` one a column.
    pub fn quantize_chunk(&self, dtype: DType, src: &[f32], row: usize, weights: Option<&[f32]>) -> Vec<u8> {
        let mut dst = vec![0u8; src.len() / dtype.block() * dtype.traits().bytes];
        self.quantize_into(dtype, src, row, weights, &mut dst);
        dst
    }

    /// The same into `dst`, which is as long as the encoding.
    pub fn quantize_into(
        &self,
        dtype: DType,
        src: &[f32],
        row: usize,
        weights: Option<&[f32]>,
        dst: &mut [u8],
    ) {
        type Chunk = unsafe extern "C" fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;
        assert!(src.len().is_multiple_of(row) && row.is_multiple_of(dtype.block()));
        assert!(weights.is_none_or(|w| w.len() == row));
        assert_eq!(dst.len(), src.len() / dtype.block() * dtype.traits().bytes);
        let weights = weights.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let (rows, row) = ((src.len() / row) as i64, row as i64);
        // SAFETY: `src` holds `rows * row` floats, `dst` their encoding, `weights` one float a column or null.
        let written = unsafe {
            let chunk: Chunk = self.symbol("ggml_quantize_chunk");
            chunk(id(dtype), src.as_ptr(), dst.as_mut_ptr().cast(), 0, rows, row, weights)
        };
        assert_eq!(written, dst.len(), "{dtype}: bytes that the peer wrote");
    }

    /// `dequantize_row_*` (`ggml_*_to_fp32_row` for f16 and bf16) over all of `src`.
    pub fn dequantize(&self, dtype: DType, src: &[u8]) -> Vec<f32> {
        type Decode = unsafe extern "C" fn(*const c_void, *mut f32, i64);
        let name = match dtype {
            DType::F32 => return src.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            DType::F16 => String::from("ggml_fp16_to_fp32_row"),
            DType::BF16 => String::from("ggml_bf16_to_fp32_row"),
            _ => format!("dequantize_row_{dtype}"),
        };
        // Blocks hold 16-bit scales, which the peer reads in place.
        let aligned: Vec<u16> =
            src.chunks(2).map(|b| u16::from_le_bytes([b[0], *b.get(1).unwrap_or(&0)])).collect();
        let mut dst = vec![0f32; src.len() / dtype.traits().bytes * dtype.block()];
        // SAFETY: `aligned` holds the blocks of `dst.len()` elements.
        unsafe {
            self.symbol::<Decode>(&name)(aligned.as_ptr().cast(), dst.as_mut_ptr(), dst.len() as i64);
        }
        dst
    }

    /// `ggml_type_name`, `ggml_blck_size` and `ggml_type_size`.
    pub fn type_info(&self, dtype: DType) -> TypeInfo {
        // SAFETY: the signatures are those of `ggml.h`; names are static strings.
        unsafe {
            let name: unsafe extern "C" fn(c_int) -> *const c_char = self.symbol("ggml_type_name");
            let block: unsafe extern "C" fn(c_int) -> i64 = self.symbol("ggml_blck_size");
            let bytes: unsafe extern "C" fn(c_int) -> usize = self.symbol("ggml_type_size");
            TypeInfo {
                name: CStr::from_ptr(name(id(dtype))).to_string_lossy().into_owned(),
                block: block(id(dtype)) as usize,
                bytes: bytes(id(dtype)),
            }
        }
    }
}

/// ggml's number of a dtype.
fn id(dtype: DType) -> c_int {
    let id = dtype.traits().id.unwrap_or_else(|| panic!("ggml has no {dtype}"));
    c_int::try_from(id).expect("a small number")
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("text without a NUL")
}

fn open(path: &Path) -> Library {
    #[cfg(unix)]
    let library = {
        use libloading::os::unix::{self, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: the constructors of these libraries only fill their own tables.
        unsafe { unix::Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map(Library::from)
    };
    #[cfg(not(unix))]
    // SAFETY: as above.
    let library = unsafe { Library::new(path) };
    library.unwrap_or_else(|e| panic!("{VARIABLE} is set, but {} does not load: {e}", path.display()))
}

type LogCallback = unsafe extern "C" fn(c_int, *const c_char, *mut c_void);

/// The errors logged since they were last cleared.
fn errors() -> MutexGuard<'static, String> {
    static ERRORS: Mutex<String> = Mutex::new(String::new());
    ERRORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was logged of buffers since it was last cleared.
fn buffers() -> MutexGuard<'static, String> {
    static BUFFERS: Mutex<String> = Mutex::new(String::new());
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what the peer logs as an error (`GGML_LOG_LEVEL_ERROR`), and how large its buffers are, and silences the rest.
unsafe extern "C" fn keep_error(level: c_int, text: *const c_char, _: *mut c_void) {
    const ERROR: c_int = 4;
    // SAFETY: the peer passes a NUL-terminated string that lives through the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if level == ERROR {
        errors().push_str(&text);
    } else if text.contains("buffer size =") {
        buffers().push_str(&text);
    }
}
