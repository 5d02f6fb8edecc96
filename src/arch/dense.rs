//! Dense modules of sentence-transformers, matrices through which the vector of a text goes after it was pooled. They have
//! folders of their own; llama.cpp computes those of a few architectures.
//! Specification: `--sentence-transformers-dense-modules`, `EmbeddingGemma` and `LFM2ColBertModel` of llama.cpp's converter;
//! `build_dense_out`.

/// The option that asks for them.
pub const OPTION: &str = "--sentence-transformers-dense-modules";
/// The files of a module that has weights, and what older ones call them.
pub const WEIGHTS: &str = "model.safetensors";
pub const PICKLED: &str = "pytorch_model.bin";
/// What their tensors are called in the folder.
pub const WEIGHT: &str = "linear.weight";

/// A dense module that an architecture has a place for.
pub struct Dense {
    pub folder: &'static str,
    /// The beginning of its names in GGUF.
    pub to: &'static str,
    pub taken: Taken,
}

/// When a module goes into the GGUF, and what is told of its size there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// If it is asked for: both numbers of features.
    Asked,
    /// Always: how long the vectors are that it makes.
    Always,
}
