//! What a user may ask for with `--type`: a GGUF of some mixture, a copy, or a Hugging Face directory of safetensors.
//! Serves the pipeline and the command line.

use super::split::Division;
use crate::budget::Budget;
use crate::ftype::{self, FTYPES, Ftype, Importance, Prune};
use crate::stages::Stages;
use crate::version::Version;
use ggraft_formats::quant::Search;
use ggraft_formats::stamp::Reads;
use ggraft_formats::{DType, Model, Result, Tensor, Value, safetensors};
use std::sync::Arc;

/// The container of an output, and its dtypes.
#[derive(Clone, Copy)]
pub enum Type {
    /// A GGUF file.
    Gguf(&'static Ftype),
    /// A GGUF file of the dtypes that a budget buys.
    Auto,
    /// A GGUF file with the tensors of another, in their dtypes.
    Copy,
    /// A GGUF file of a checkpoint's weights as they are: floats, or blocks that hold the very values.
    Keep,
    /// A Hugging Face directory whose weights all have this dtype; without one, the dtypes that CP's have.
    Safetensors(Option<DType>),
}

/// What llama-quantize calls it.
const COPY: &str = "COPY";

/// What leaves the weights of a checkpoint as they are.
pub const KEEP: &str = "keep";

/// The names of the directories.
pub const SAFETENSORS: &[(&str, Option<DType>)] = &[
    ("safetensors", None),
    ("safetensors-bf16", Some(DType::BF16)),
    ("safetensors-f16", Some(DType::F16)),
    ("safetensors-f32", Some(DType::F32)),
];

/// The word for what a budget decides.
const AUTO: &str = "auto";

impl Type {
    /// The type of this name, in any case.
    ///
    /// # Errors
    /// A usage error that lists the names and suggests the nearest.
    pub fn parse(text: &str) -> Result<Type> {
        if let Some(kind) =
            [Type::Copy, Type::Keep, Type::Auto].into_iter().find(|t| t.name().eq_ignore_ascii_case(text))
        {
            return Ok(kind);
        }
        if let Some((_, dtype)) = SAFETENSORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(Type::Safetensors(*dtype));
        }
        let others: Vec<&str> = SAFETENSORS.iter().map(|(name, _)| *name).chain([COPY, KEEP]).collect();
        Ftype::find(text).map(Type::Gguf).ok_or_else(|| ftype::unknown(text, &others))
    }

    /// Every type that can be asked for by name and be written.
    pub fn all() -> impl Iterator<Item = Type> {
        let written = FTYPES.iter().filter(|f| f.default.traits().encode.is_some()).map(Type::Gguf);
        written
            .chain([Type::Copy, Type::Keep])
            .chain(SAFETENSORS.iter().map(|(_, dtype)| Type::Safetensors(*dtype)))
    }

    /// The 16-bit type that loses least of these weights, as the converter's `auto`: that of the first tensor.
    pub fn of_weights(model: &Model) -> Type {
        let first = model.tensors.iter().find(|t| t.shape().ne().len() > 1).map(Tensor::dtype);
        let name = if first == Some(DType::F16) { "F16" } else { "BF16" };
        Ftype::find(name).map_or(Type::Auto, Type::Gguf)
    }

    /// As users type it.
    pub fn name(&self) -> &'static str {
        match self {
            Type::Gguf(ftype) => ftype.name,
            Type::Auto => AUTO,
            Type::Copy => COPY,
            Type::Keep => KEEP,
            Type::Safetensors(dtype) => {
                SAFETENSORS.iter().find(|(_, d)| d == dtype).map_or("safetensors", |(name, _)| name)
            }
        }
    }
}

/// What an output is to be.
pub struct Target {
    pub kind: Type,
    /// What the model is to be called, instead of what it says itself.
    pub name: Option<String>,
    /// What the dtypes are chosen for, instead of a mixture's.
    pub budget: Option<Budget>,
    pub options: ftype::Options,
    /// How much each weight matters, if that was measured.
    pub importance: Option<Importance>,
    /// Whether it is to be estimated from the weights.
    pub estimates: bool,
    /// Layers that are left out.
    pub prune: Prune,
    /// Keys of the metadata and what they are to be, in order.
    pub overrides: Vec<(String, Value)>,
    /// Whether tensors that are quantized already may be quantized anew.
    pub allow_requantize: bool,
    /// The most bytes of weights in one safetensors file.
    pub shard: u64,
    pub division: Division,
    /// Whether to measure, on the way into the file, how near every tensor stays to what it was.
    pub measure: bool,
    /// Is told how the planning goes on.
    pub stages: Arc<dyn Stages>,
    /// The files that it was read from, as they were before they were opened.
    pub reads: Reads,
}

impl Target {
    /// A target of this type, with nothing measured, left out or overridden.
    pub fn new(kind: Type) -> Target {
        Target {
            kind,
            name: None,
            budget: None,
            options: ftype::Options::default(),
            importance: None,
            estimates: false,
            prune: Prune::default(),
            overrides: Vec::new(),
            allow_requantize: false,
            shard: safetensors::SHARD,
            division: Division::Whole,
            measure: false,
            stages: Arc::new(()),
            reads: Reads::default(),
        }
    }

    /// What was said about dtypes and their weighing, as it is typed: it counts where something is quantized.
    pub fn quantizing(&self) -> Vec<&'static str> {
        let o = &self.options;
        let said = [
            ("--pure", o.pure),
            ("--leave-output-tensor", o.leave_output_tensor),
            ("--output-tensor-type", o.output_tensor_type.is_some()),
            ("--token-embedding-type", o.token_embedding_type.is_some()),
            ("--tensor-type", !o.tensor_types.is_empty()),
            ("--like", o.like.is_some()),
            ("--as", o.version != Version::default()),
            ("--search", o.search == Search::Fine),
            ("--imatrix", self.importance.is_some()),
            ("--importance", self.estimates),
        ];
        said.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

impl From<&'static Ftype> for Target {
    fn from(ftype: &'static Ftype) -> Target {
        Target::new(Type::Gguf(ftype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_in_any_case() {
        for name in [
            "safetensors",
            "safetensors-bf16",
            "safetensors-f16",
            "safetensors-f32",
            "Q4_K_M",
            "COPY",
            "keep",
            "auto",
        ] {
            assert_eq!(Type::parse(&name.to_ascii_uppercase()).unwrap().name(), name);
        }
        let error = Type::parse("safe-tensor").err().unwrap();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.to_string().contains("did you mean safetensors?"), "{error}");
    }
}
