//! What becomes of a tensor, and why.

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// Computed by the method.
    Merged,
    /// As it is in CP.
    Kept,
}

impl Fate {
    /// The word for it in plans and reports.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Merged => "merged",
            Fate::Kept => "kept",
        }
    }
}

/// What becomes of one tensor, and why.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub fate: Fate,
    pub reason: &'static str,
}

impl Verdict {
    /// Why a tensor stays that nothing is merged into: all do, so none is told by its name.
    pub const PASSED: &'static str = "passed through";
}
