//! The room that knows bytes: model containers (GGUF, safetensors), dtypes and their block codecs.
//! It knows nothing of architectures, vocabularies or merging. `open` is the door: a path goes in, and a
//! `Checkpoint` or a `Model` comes out whose tensors are lazy rows over mapped files.

#![deny(unsafe_code)]

pub mod error;
pub mod metadata;
#[allow(unsafe_code)]
pub mod mmap;
pub mod model;
pub mod quant;
pub mod tensor;

pub use error::{Error, Kind, Result};
pub use metadata::{Array, Metadata, Value};
pub use model::{Checkpoint, Input, Model};
pub use quant::DType;
pub use tensor::{Rows, Shape, Tensor};
