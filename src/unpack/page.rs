//! What a method's page says, and what it is given: the parts of a weight, by the names that the method has for them.

use super::settings::Settings;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// A method of packing weights.
pub struct Page {
    /// What `quant_method` says, in lower case; the first is its name.
    pub names: &'static [&'static str],
    /// The endings of parts of which each stands for a weight, and what the weight's name ends with instead.
    pub marks: &'static [(&'static str, &'static str)],
    /// The same of endings that other tensors have, too: they stand for a weight only where that is there and no float of 16
    /// bits or more.
    pub common: &'static [(&'static str, &'static str)],
    /// The endings of numbers of which plain weights have no use: they are of activations.
    pub ignored: &'static [&'static str],
    /// The weights that a marked part stands for, as a rule one.
    pub weights: fn(&Parts<'_>, &Settings) -> Result<Vec<Tensor>>,
}

impl Page {
    /// The name of the weight that a part stands for, among these tensors.
    pub fn weight(&self, part: &str, held: &HashMap<&str, &Tensor>) -> Option<String> {
        let of = |marks: &[(&str, &str)]| {
            let marks = marks.iter().filter(|(ending, _)| part.ends_with(ending));
            let (ending, other) = marks.max_by_key(|(ending, _)| ending.len())?;
            Some(format!("{}{other}", part.strip_suffix(ending)?))
        };
        let packs = |name: &String| held.get(name.as_str()).is_some_and(|weight| !is_plain(weight));
        of(self.marks).or_else(|| of(self.common).filter(packs))
    }

    pub fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|ending| name.ends_with(ending))
    }
}

/// Whether nothing packs these numbers.
pub fn is_plain(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16)
}

/// The parts of one weight.
pub struct Parts<'a> {
    /// The name of the weight.
    pub weight: String,
    /// The part that stands for it.
    pub mark: &'a Tensor,
    pub held: &'a HashMap<&'a str, &'a Tensor>,
    pub taken: &'a RefCell<HashSet<String>>,
}

impl<'a> Parts<'a> {
    /// What comes before `.weight`.
    pub fn stem(&self) -> &str {
        self.weight.strip_suffix(".weight").unwrap_or(&self.weight)
    }

    /// The tensor of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&'a Tensor> {
        let found = self.held.get(name).copied()?;
        self.taken.borrow_mut().insert(name.to_string());
        Some(found)
    }

    /// The tensor of this name.
    pub fn need(&self, name: &str) -> Result<&'a Tensor> {
        self.find(name).ok_or_else(|| {
            Error::invalid("a part of packed weights is missing")
                .tensor(&self.mark.name)
                .expected(name)
                .found("nothing of that name")
                .hint("the download is incomplete")
        })
    }
}
