//! Options of the verbs that run models in llama.cpp, and the refusal of builds that cannot.

#[cfg(feature = "runtime")]
use crate::evaluate::{How, Library, Text};
#[cfg(feature = "runtime")]
use crate::text::shown;
use ggraft_formats::{Error, Result};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// How a text is read.
#[derive(clap::Args)]
#[command(next_help_heading = "Text")]
pub(super) struct Options {
    /// The text, in UTF-8; what does not fill a window is not read
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens of a window
    #[arg(long, visible_alias = "ctx-size", value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(16..))]
    ctx: u32,
    /// Read this many windows at most
    #[arg(long, value_name = "N")]
    chunks: Option<NonZeroU32>,
    /// Threads that compute; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = super::options::threads, help_heading = "Progress")]
    pub threads: Option<usize>,
    /// Layers on the graphics card, if llama.cpp has one; by default its own choice
    #[arg(long, visible_alias = "n-gpu-layers", value_name = "N", help_heading = "llama.cpp")]
    gpu_layers: Option<i32>,
    /// The folder of llama.cpp's shared libraries; by default that of GGRAFT_LLAMA_CPP, else where llama.cpp is installed
    #[arg(long, value_name = "DIR", help_heading = "llama.cpp")]
    llama_cpp: Option<PathBuf>,
}

#[cfg(feature = "runtime")]
impl Options {
    /// The text, read.
    pub fn text(&self) -> Result<Text> {
        Text::read(&self.text)
    }

    /// The library, loaded.
    pub fn library(&self) -> Result<&'static Library> {
        Library::load(self.llama_cpp.as_deref())
    }

    /// How the text is read by so many threads.
    pub fn how(&self, threads: usize, parse: bool) -> How {
        How {
            window: self.ctx as usize,
            most: self.chunks.map(|n| n.get() as usize),
            threads,
            device_layers: self.gpu_layers,
            parse,
        }
    }
}

/// Refuses what llama.cpp cannot open: checkpoints, and models that are not on this machine.
#[cfg(feature = "runtime")]
pub(super) fn is_gguf(file: &std::path::Path) -> Result<()> {
    if ggraft_formats::source::is_named(file) {
        return Err(Error::usage("llama.cpp runs models that are on this machine")
            .found(shown(&ggraft_formats::source::shown(file)))
            .hint("download the file first"));
    }
    match ggraft_formats::open(file)? {
        ggraft_formats::Input::Model(_) => Ok(()),
        ggraft_formats::Input::Checkpoint(_) => Err(Error::usage("llama.cpp runs GGUF files")
            .file(file)
            .found("a checkpoint")
            .hint("convert it first: ggraft convert MODEL --type BF16")),
    }
}

/// That this build runs no models.
#[cfg(not(feature = "runtime"))]
pub(super) fn absent(verb: &str) -> Result<()> {
    Err(Error::unsupported(format!("this build of ggraft runs no models, so it has no `{verb}`"))
        .expected("the feature runtime")
        .found("a build without it")
        .hint("build it with it: cargo install --path . --features runtime"))
}
