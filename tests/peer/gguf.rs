//! The peer as a reader of GGUF files, to compare what is accepted. Specification: `gguf.h` and `ggml.h`.

use super::{Peer, c_string};
use std::ffi::{c_char, c_void};
use std::path::Path;

/// `gguf_init_params`.
#[repr(C)]
#[derive(Clone, Copy)]
struct InitParams {
    no_alloc: bool,
    /// Where the context of the tensors goes, if they are wanted.
    context: *mut *mut c_void,
}

/// What it saw: numbers of tensors and of keys.
pub type Seen = (i64, i64);

impl Peer {
    /// `gguf_init_from_file`; with `data` the tensors are loaded as well. The error is what it logged.
    pub fn reads_gguf(&self, path: &Path, data: bool) -> Result<Seen, String> {
        type Init = unsafe extern "C" fn(*const c_char, InitParams) -> *mut c_void;
        type Count = unsafe extern "C" fn(*const c_void) -> i64;
        type Free = unsafe extern "C" fn(*mut c_void);
        let path = c_string(path.to_str().expect("a path in UTF-8"));
        let mut context = std::ptr::null_mut();
        let params = InitParams {
            no_alloc: !data,
            context: if data { &raw mut context } else { std::ptr::null_mut() },
        };
        self.logged(|| {
            // SAFETY: the signatures are those of `gguf.h` and `ggml.h`; what was made is freed once.
            unsafe {
                let gguf = self.symbol::<Init>("gguf_init_from_file")(path.as_ptr(), params);
                if gguf.is_null() {
                    return None;
                }
                let seen = (
                    self.symbol::<Count>("gguf_get_n_tensors")(gguf),
                    self.symbol::<Count>("gguf_get_n_kv")(gguf),
                );
                self.symbol::<Free>("gguf_free")(gguf);
                if !context.is_null() {
                    self.symbol::<Free>("ggml_free")(context);
                }
                Some(seen)
            }
        })
    }
}
