//! What a user may ask for with `--type`: a GGUF of some mixture, or a Hugging Face directory of safetensors.
//! Serves the pipeline and the command line.

use crate::budget::Budget;
use crate::ftype::{self, Ftype, Importance, Prune};
use ggraft_formats::{DType, Result, Value, safetensors};

/// The container of an output, and its dtypes.
#[derive(Clone, Copy)]
pub enum Type {
    /// A GGUF file.
    Gguf(&'static Ftype),
    /// A GGUF file of the dtypes that a budget buys.
    Auto,
    /// A Hugging Face directory whose weights all have this dtype; without one, the dtypes that CP's have.
    Safetensors(Option<DType>),
}

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
        if text.eq_ignore_ascii_case(AUTO) {
            return Ok(Type::Auto);
        }
        match SAFETENSORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, dtype)) => Ok(Type::Safetensors(*dtype)),
            None => Ftype::parse(text).map(Type::Gguf),
        }
    }

    /// As users type it.
    pub fn name(&self) -> &'static str {
        match self {
            Type::Gguf(ftype) => ftype.name,
            Type::Auto => AUTO,
            Type::Safetensors(dtype) => {
                SAFETENSORS.iter().find(|(_, d)| d == dtype).map_or("safetensors", |(name, _)| name)
            }
        }
    }
}

/// What an output is to be.
pub struct Target {
    pub kind: Type,
    /// What the dtypes are chosen for, instead of a mixture's.
    pub budget: Option<Budget>,
    pub options: ftype::Options,
    /// How much each weight matters, if that was measured.
    pub importance: Option<Importance>,
    /// Layers that are left out.
    pub prune: Prune,
    /// Keys of the metadata and what they are to be, in order.
    pub overrides: Vec<(String, Value)>,
    /// Whether tensors that are quantized already may be quantized anew.
    pub allow_requantize: bool,
    /// The most bytes of weights in one safetensors file.
    pub shard: u64,
}

impl Target {
    /// A target of this type, with nothing measured, left out or overridden.
    pub fn new(kind: Type) -> Target {
        Target {
            kind,
            budget: None,
            options: ftype::Options::default(),
            importance: None,
            prune: Prune::default(),
            overrides: Vec::new(),
            allow_requantize: false,
            shard: safetensors::SHARD,
        }
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
        for name in ["safetensors", "safetensors-bf16", "safetensors-f16", "safetensors-f32", "Q4_K_M", "F32"]
        {
            assert_eq!(Type::parse(&name.to_ascii_uppercase()).unwrap().name(), name);
        }
        assert_eq!(Type::parse("safetensors-q8").err().unwrap().kind().exit_code(), 2);
    }
}
