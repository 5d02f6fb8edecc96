//! Into how many files an output goes, spelled as convert_hf_to_gguf.py and llama-quantize spell it. Arguments of every
//! verb that writes, and a section of a recipe.

use super::{Scalar, is_default};
use crate::budget;
use crate::output::split::Division;
use ggraft_formats::gguf::Limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Where an output is split.
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Splits"))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Splitting {
    /// Split the output so that no part has more bytes of tensors: such as 50G, 500MB or 1.5GiB; bare letters are powers of 1000
    #[cfg_attr(feature = "cli", arg(long, value_name = "SIZE"))]
    #[serde(skip_serializing_if = "is_default")]
    pub split_max_size: Option<Size>,
    /// Split the output so that no part has more tensors
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    #[serde(skip_serializing_if = "is_default")]
    pub split_max_tensors: Option<NonZeroU64>,
    /// Give the first part the metadata alone
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "is_default")]
    pub no_tensor_first_split: bool,
    /// Split the output where the input is split, and keep the order of its tensors
    #[cfg_attr(feature = "cli", arg(long, conflicts_with_all = ["split_max_size", "split_max_tensors", "no_tensor_first_split"]))]
    #[serde(skip_serializing_if = "is_default")]
    pub keep_split: bool,
}

impl Splitting {
    /// What was asked for.
    pub fn division(&self) -> Division {
        let limits = Limits {
            bytes: self.split_max_size.map(|size| size.0),
            tensors: self.split_max_tensors.map(NonZeroU64::get),
            bare_first: self.no_tensor_first_split,
        };
        match self.keep_split {
            true => Division::Kept,
            false if limits == Limits::default() => Division::Whole,
            false => Division::Limited(limits),
        }
    }
}

/// Bytes, as gguf-split counts them: `50G` are 50 000 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// The units in which a size is written down.
const UNITS: [(char, u64); 3] = [('G', 1_000_000_000), ('M', 1_000_000), ('K', 1_000)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || format!("expected a size above 0, such as 50G, 500MB, 1.5GiB or 4096, found '{text}'");
        budget::bytes(text).map(Size).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A plain number is as good as a word.
        Scalar::deserialize(deserializer)?.0.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_in_powers_of_1000() {
        for (text, bytes, again) in [
            ("50G", 50_000_000_000, "50G"),
            ("300m", 300_000_000, "300M"),
            ("1000K", 1_000_000, "1M"),
            ("4096", 4096, "4096"),
            ("100MB", 100_000_000, "100M"),
            ("1.5G", 1_500_000_000, "1500M"),
            ("2 GiB", 2 << 30, "2147483648"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, again));
        }
        for text in ["", "0", "0G", "G", "-1", "+5", "99999999999999999999", "20000000000G", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
