//! The assignment itself: for every tensor, in this order, is it quantized at all, did the user name its dtype, what
//! does the mixture say, do its rows fill whole blocks. Nothing is silent: each answer carries its reason.
//! Specification: llama.cpp v0.5.0, llama-quantize; the options are spelled as there.

use super::facts::{Facts, TensorFact};
use super::mixture::Walk;
use super::{Ftype, Like, TensorType, keep, like, order};
use crate::arrange::Arrange;
use crate::roles::Role;
use crate::version::Version;
use ggraft_formats::quant::Search;
use ggraft_formats::{DType, Error, Result};
use std::fmt;

/// What the user may say about the dtypes beside the ftype.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// No mixture: every tensor gets the ftype's default.
    pub pure: bool,
    /// `output.weight` keeps its dtype.
    pub leave_output_tensor: bool,
    /// The dtype of the projection to the vocabulary.
    pub output_tensor_type: Option<DType>,
    /// The dtype of the embeddings.
    pub token_embedding_type: Option<DType>,
    /// The dtypes of tensors by their names, of which the first that matches decides.
    pub tensor_types: Vec<TensorType>,
    /// The file whose dtypes those tensors get of which nothing else is said.
    pub like: Option<Like>,
    /// Whether an importance matrix is given; some mixtures spare less with one.
    pub has_imatrix: bool,
    /// How blocks are searched for.
    pub search: Search,
    /// The version of llama.cpp whose choices these are.
    pub version: Version,
}

/// The dtype of one tensor, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub dtype: DType,
    /// The dtype that it would have if its rows filled whole blocks of that.
    pub fallback: Option<DType>,
    pub reason: Reason,
    /// Whether the result is useless without an importance matrix.
    pub needs_imatrix: bool,
}

/// Why a tensor has its dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is carried as it is, because it is this.
    Kept(&'static str),
    /// The user named the dtype, with this option.
    Requested(&'static str),
    /// The ftype's default.
    Default,
    /// The ftype's mixture, for a tensor of this role.
    Mixture(Role),
    /// A budget bought it.
    Budget,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Kept(what) => write!(f, "kept: {what}"),
            Reason::Requested(option) => f.write_str(option),
            Reason::Default => f.write_str("default"),
            Reason::Mixture(role) => write!(f, "{role}"),
            Reason::Budget => f.write_str("budget"),
        }
    }
}

impl Assignment {
    /// Whether the tensor takes part in the quantization; otherwise it is carried as it is.
    pub fn is_quantized(&self) -> bool {
        !matches!(self.reason, Reason::Kept(_))
    }
}

/// The dtype of every tensor, in the order of `facts.tensors`, on whose order the choices do not depend.
///
/// # Errors
/// A dtype that was asked for, or for which nothing can stand in, does not fit a tensor; or a mixture needs the
/// layer of a tensor whose name does not tell it. All such tensors are named.
pub fn assign(facts: &Facts, ftype: &Ftype, options: &Options) -> Result<Vec<Assignment>> {
    let mut visit: Vec<usize> = (0..facts.tensors.len()).collect();
    visit.arrange_by(|a, b| order(facts.tensors[*a].name).cmp(&order(facts.tensors[*b].name)));

    let mixture = ftype.mixture.as_ref().filter(|_| !options.pure);
    let mut walk = mixture.map(|m| Walk::new(facts, m, ftype.default, options.has_imatrix, options.version));
    let mut assignments: Vec<Option<Assignment>> = vec![None; facts.tensors.len()];
    let mut errors = Vec::new();
    for i in visit {
        let converts = facts.is_trained && ftype.is_converted();
        let tensor = &facts.tensors[i];
        let pinned = facts.pinned.contains(&tensor.name).then_some(tensor.dtype);
        let wanted = pinned.or_else(|| keep::kernel(tensor, facts.architecture, ftype)).filter(|_| converts);
        if let Some(dtype) = wanted {
            let reason = Reason::Kept("wanted so by the runtime");
            assignments[i] = Some(Assignment { dtype, fallback: None, reason, needs_imatrix: false });
            continue;
        }
        let kept = keep::kept(tensor, facts.architecture, converts, options.version);
        match one(tensor, ftype, options, kept, walk.as_mut()) {
            Ok(assignment) => assignments[i] = Some(assignment),
            Err(e) => errors.push(e),
        }
    }
    match Error::all(errors) {
        None => Ok(assignments.into_iter().flatten().collect()),
        Some(e) => Err(e),
    }
}

/// The dtype of the next tensor of the walk, `kept` as it is for a reason or not; without a walk the default is everyone's.
fn one(
    tensor: &TensorFact,
    ftype: &Ftype,
    options: &Options,
    kept: Option<&'static str>,
    walk: Option<&mut Walk>,
) -> Result<Assignment> {
    let leave = options.leave_output_tensor && tensor.name == "output.weight";
    if let Some(what) = kept.or(leave.then_some("--leave-output-tensor")) {
        let reason = Reason::Kept(what);
        return Ok(Assignment { dtype: tensor.dtype, fallback: None, reason, needs_imatrix: false });
    }
    let role = Role::of(tensor.name);
    let needs_imatrix = |dtype| keep::needs_imatrix(role, dtype, ftype.name);
    let typed = TensorType::of(tensor.name, &options.tensor_types).map(|dtype| (dtype, TENSOR_TYPE));
    let likened =
        || options.like.as_ref().and_then(|like| like.of(tensor.name)).map(|dtype| (dtype, like::OPTION));
    let typed = typed.or_else(likened);
    // The embeddings by layer of a Gemma 3n may be named apart from the others.
    let apart = typed.is_some() && tensor.name == "per_layer_token_embd.weight";
    if let Some((dtype, option)) = requested(role, options).filter(|_| !apart) {
        if dtype.row_bytes(tensor.shape.row()).is_none() {
            return Err(keep::misfit(tensor, dtype).hint(format!("choose another {option}")));
        }
        let reason = Reason::Requested(option);
        return Ok(Assignment { dtype, fallback: None, reason, needs_imatrix: needs_imatrix(dtype) });
    }
    let ends = ftype
        .ends
        .filter(|_| !apart && options.like.is_none() && matches!(role, Role::Embedding | Role::Output));
    if let Some(wanted) = ends {
        let dtype = keep::fitting(tensor, wanted)?;
        let fallback = (dtype != wanted).then_some(wanted);
        return Ok(Assignment { dtype, fallback, reason: Reason::Mixture(role), needs_imatrix: false });
    }
    let (wanted, reason) = match (typed, walk) {
        (Some((dtype, option)), _) => (dtype, Reason::Requested(option)),
        (None, None) => (ftype.default, Reason::Default),
        // In a model without an output the embeddings take the dtype that was named for it, if it fits.
        (None, Some(walk)) => match options.output_tensor_type.filter(|_| walk.is_output(role)) {
            Some(dtype) => (dtype, Reason::Requested(OUTPUT)),
            None => match walk.next(tensor)? {
                dtype if dtype == ftype.default => (dtype, Reason::Default),
                dtype => (dtype, Reason::Mixture(role)),
            },
        },
    };
    let dtype = keep::fitting(tensor, wanted)?;
    let fallback = (dtype != wanted).then_some(wanted);
    Ok(Assignment { dtype, fallback, reason, needs_imatrix: needs_imatrix(dtype) })
}

const OUTPUT: &str = "--output-tensor-type";
const EMBEDDING: &str = "--token-embedding-type";
const TENSOR_TYPE: &str = "--tensor-type";

/// The dtype that the user named for tensors of this role, and with which option.
fn requested(role: Role, options: &Options) -> Option<(DType, &'static str)> {
    match role {
        Role::Embedding => options.token_embedding_type.map(|dtype| (dtype, EMBEDDING)),
        Role::Output => options.output_tensor_type.map(|dtype| (dtype, OUTPUT)),
        _ => None,
    }
}
