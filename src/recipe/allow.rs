//! What may be merged although it does not seem to belong together.

use super::is_default;
use crate::merge::Allowed;
use serde::{Deserialize, Serialize};

/// What would be refused otherwise. Arguments of a merge, and a section of a recipe.
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Safety"))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Merge models whose configurations differ in norm epsilon, rope or window
    #[cfg_attr(feature = "cli", arg(long = "allow-mismatch"))]
    #[serde(skip_serializing_if = "is_default")]
    pub mismatch: bool,
    /// Merge models whose weights show that they do not come from one base
    #[cfg_attr(feature = "cli", arg(long = "allow-unrelated"))]
    #[serde(skip_serializing_if = "is_default")]
    pub unrelated: bool,
    /// Merge models that seem to be in each other's places, or one that is given twice
    #[cfg_attr(feature = "cli", arg(long = "allow-swapped"))]
    #[serde(skip_serializing_if = "is_default")]
    pub swapped: bool,
    /// CP is the base, because a recipe of mergekit's adds differences from its base model to that model.
    #[cfg_attr(feature = "cli", arg(skip))]
    #[serde(skip_serializing_if = "is_default")]
    pub base_is_onto: bool,
    /// Take the vector from models that are quantized more coarsely than Q8_0
    #[cfg_attr(feature = "cli", arg(long = "allow-quantized-vector"))]
    #[serde(skip_serializing_if = "is_default")]
    pub quantized_vector: bool,
}

impl Allow {
    /// Allows what the other allows, too.
    pub fn extend(&mut self, other: &Allow) {
        let Allow { mismatch, unrelated, swapped, base_is_onto, quantized_vector } = *other;
        self.mismatch |= mismatch;
        self.unrelated |= unrelated;
        self.swapped |= swapped;
        self.base_is_onto |= base_is_onto;
        self.quantized_vector |= quantized_vector;
    }

    /// What the weights may be like.
    pub fn allowed(&self) -> Allowed {
        Allowed {
            unrelated: self.unrelated,
            swapped: self.swapped,
            base_is_onto: self.base_is_onto,
            quantized_vector: self.quantized_vector,
        }
    }
}
