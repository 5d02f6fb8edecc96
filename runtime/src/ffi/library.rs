//! The library: loaded once, asked for its version, refused if its structures are not known. Serves `model`.

use super::functions::{Functions, Symbols};
use super::layout::{ContextParams, KNOWN, ModelParams};
use crate::find::{VARIABLE, find, within};
use ggraft_formats::error::Printable;
use ggraft_formats::{Error, Kind, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// llama.cpp's shared library.
pub struct Library {
    pub(super) call: Functions,
    version: String,
    file: PathBuf,
}

/// What helps where there is no library that can be used.
fn hint() -> String {
    format!(
        "install llama.cpp {} with its shared libraries (a release for your system has them), and name their folder with \
         --llama-cpp or in {VARIABLE}",
        KNOWN.map(|version| format!("v{version}")).join(" or ")
    )
}

impl Library {
    /// Loads the library of the folder that is named, or else of `GGRAFT_LLAMA_CPP`, or else the first of a known version
    /// that is installed. It is never unloaded.
    ///
    /// # Errors
    /// There is none, or it does not load, or its version is not known, or it has no device to compute on.
    pub fn load(named: Option<&Path>) -> Result<&'static Library> {
        let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
        let variable = variable.filter(|path| named.is_none() && !path.as_os_str().is_empty());
        let named = named.or(variable.as_deref());
        let (files, folders) = find(named);
        let mut refused = Vec::new();
        for file in files {
            match Library::open(&file) {
                Ok(library) => return Ok(Box::leak(Box::new(library))),
                Err(e) => refused.push(e),
            }
        }
        Err(Error::all(refused).unwrap_or_else(|| none(named, &folders)))
    }

    fn open(file: &Path) -> Result<Library> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut libraries = vec![load(file)?];
        if cfg!(windows) {
            // There a library gives out its own functions only, not those of the libraries that it needs.
            let others = ["ggml", "ggml-base"].iter().filter_map(|stem| within(folder, stem));
            libraries.extend(others.map(|file| load(&file)).collect::<Result<Vec<_>>>()?);
        }
        // Threads of the library and what it has registered must not outlive it.
        let libraries: &'static [libloading::Library] = Box::leak(libraries.into_boxed_slice());
        let symbols = Symbols { libraries, file };
        let version = version(&symbols)?;
        // SAFETY: the version is known, and the libraries are never unloaded.
        let call = unsafe { Functions::of(&symbols)? };
        let library = Library { call, version, file: file.to_path_buf() };
        // SAFETY: `keep` is a function of the type that is asked for.
        unsafe { (library.call.log_set)(keep, std::ptr::null_mut()) };
        library.check_layout()?;
        library.start(folder)?;
        Ok(library)
    }

    fn check_layout(&self) -> Result<()> {
        match self.model_defaults().are_the_known_defaults()
            && self.context_defaults().are_the_known_defaults()
        {
            true => Ok(()),
            false => Err(Error::unsupported("this library of llama.cpp lays out its structures otherwise")
                .file(&self.file)
                .expected(format!("those of the release v{}", self.version))
                .found("other defaults")
                .hint(hint())),
        }
    }

    /// Loads what computes, unless it is a part of the library.
    fn start(&self, folder: &Path) -> Result<()> {
        let path = c_path(folder)?;
        // SAFETY: the functions have no demands but that the path is a string that lives through the call.
        let devices = unsafe {
            (self.call.backend_init)();
            if (self.call.dev_count)() == 0 {
                (self.call.load_all_from_path)(path.as_ptr());
            }
            (self.call.dev_count)()
        };
        match devices {
            0 => Err(Error::unsupported("this library of llama.cpp has nothing to compute on")
                .file(&self.file)
                .expected("a library such as libggml-cpu beside it that fits this processor")
                .found("none")
                .hint("name a whole build of llama.cpp with --llama-cpp")),
            _ => Ok(()),
        }
    }

    /// Its version, such as `0.5.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn model_defaults(&self) -> ModelParams {
        // SAFETY: of the versions that are known `ModelParams` has the layout of the structure that is returned.
        unsafe { (self.call.model_default_params)() }.value
    }

    pub(super) fn context_defaults(&self) -> ContextParams {
        // SAFETY: the same of `ContextParams`.
        unsafe { (self.call.context_default_params)() }.value
    }
}

/// That nothing was found, and where.
fn none(named: Option<&Path>, folders: &[PathBuf]) -> Error {
    let shown: Vec<String> =
        folders.iter().map(|folder| Printable(&folder.to_string_lossy()).to_string()).collect();
    let error = Error::new(Kind::Unsupported, "there is no shared library of llama.cpp here")
        .expected(if cfg!(windows) { "llama.dll" } else { "libllama" })
        .found(format!("none in {}", shown.join(", ")))
        .hint(hint());
    named.map_or_else(|| error.clone(), |folder| error.clone().file(folder))
}

fn load(file: &Path) -> Result<libloading::Library> {
    // SAFETY: the constructors of llama.cpp's libraries only fill their own tables; that the file is one of them is the
    // word of whoever named its folder or installed it.
    unsafe { libloading::Library::new(file) }.map_err(|e| {
        let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        Error::unsupported("this library does not load").file(file).found(why).hint(hint())
    })
}

/// The version, which must be known. Builds between two releases call themselves the next one, `-dev`.
fn version(symbols: &Symbols<'_>) -> Result<String> {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: `llama_version` takes nothing and gives a constant string, in every version that has it.
    let told = unsafe {
        let told = symbols.look::<Version>("llama_version").map(|version| version());
        told.filter(|text| !text.is_null()).map(|text| CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    let base = told.as_deref().map(|told| told.split('-').next().unwrap_or(told));
    match base {
        Some(base) if KNOWN.contains(&base) => Ok(base.to_string()),
        _ => Err(Error::unsupported("the structures of this version of llama.cpp are not known")
            .file(symbols.file)
            .expected(KNOWN.join(" or "))
            .found(told.map_or(String::from("a version that does not tell"), |v| Printable(&v).to_string()))
            .hint(hint())),
    }
}

/// A path as C takes it.
pub(super) fn c_path(path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
    #[cfg(not(unix))]
    let bytes = path.to_string_lossy().into_owned().into_bytes();
    CString::new(bytes).map_err(|_| Error::usage("a path holds no NUL").file(path))
}

/// What was logged as an error since it was last taken.
fn errors() -> MutexGuard<'static, String> {
    static ERRORS: Mutex<String> = Mutex::new(String::new());
    ERRORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most of them that is kept: a library that fails over and over must not fill the memory.
const MOST: usize = 1 << 14;

/// Keeps what is logged as an error (`GGML_LOG_LEVEL_ERROR`), and silences the rest.
///
/// # Safety
/// `text` is null or ends with a NUL: llama.cpp calls it so.
unsafe extern "C" fn keep(level: c_int, text: *const c_char, _: *mut c_void) {
    const ERROR: c_int = 4;
    if level == ERROR && !text.is_null() {
        // SAFETY: llama.cpp passes a string that ends with a NUL and lives through the call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        let mut errors = errors();
        if errors.len() < MOST {
            errors.push_str(&text);
        }
    }
}

/// Runs `call`, and gives its result, or else what was logged meanwhile as errors, in a line.
pub(super) fn logged<T>(call: impl FnOnce() -> Option<T>) -> std::result::Result<T, String> {
    errors().clear();
    call().ok_or_else(|| {
        let said = std::mem::take(&mut *errors());
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { String::from("no reason") } else { Printable(&lines.join("; ")).to_string() }
    })
}
