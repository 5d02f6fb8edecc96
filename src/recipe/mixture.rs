//! Which dtype the tensors get beside what the type says, spelled as llama-quantize spells it.

use super::{Choice, is_default};
use crate::ftype::{self, Ftype};
use crate::pipeline::Target;
use ggraft_formats::DType;
use serde::{Deserialize, Serialize};

/// Exceptions from a type's mixture. Arguments of every verb that writes, and a section of a recipe.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixture {
    /// Allow quantized tensors to be quantized anew (adds error to error)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub allow_requantize: bool,
    /// Leave output.weight as it is
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub leave_output_tensor: bool,
    /// Give every quantizable tensor the same dtype
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub pure: bool,
    /// The dtype of output.weight
    #[arg(long, value_name = "DTYPE")]
    #[serde(skip_serializing_if = "is_default")]
    pub output_tensor_type: Option<Choice<DType>>,
    /// The dtype of token_embd.weight
    #[arg(long, value_name = "DTYPE")]
    #[serde(skip_serializing_if = "is_default")]
    pub token_embedding_type: Option<Choice<DType>>,
}

impl Mixture {
    /// What a file of this type is to be.
    pub fn target(&self, ftype: &'static Ftype) -> Target {
        Target {
            ftype,
            options: ftype::Options {
                pure: self.pure,
                leave_output_tensor: self.leave_output_tensor,
                output_tensor_type: self.output_tensor_type.map(|c| c.0),
                token_embedding_type: self.token_embedding_type.map(|c| c.0),
                ..ftype::Options::default()
            },
            allow_requantize: self.allow_requantize,
        }
    }
}
