//! Which dtypes a tensor may get: those whose blocks its rows fill, no coarser than its role bears. What the user
//! pinned, what no mixture quantizes, and what is quantized already has one.

use super::Terms;
use crate::ftype::{self, Assignment, Reason, TensorFact};
use crate::roles::Role;
use ggraft_formats::DType::{self, *};

/// For rows of whole 256-blocks, from the fewest bits to the most. Left out are dtypes that take as many bits as
/// another and lose more.
const LARGE: [DType; 16] =
    [IQ1S, IQ1M, IQ2XXS, IQ2XS, IQ2S, Q2K, IQ3XXS, IQ3S, Q3K, IQ4XS, Q4K, Q5K, Q6K, Q8_0, BF16, F16];
/// For rows of whole 32-blocks.
const SMALL: [DType; 7] = [IQ4NL, Q4_1, Q5_0, Q5_1, Q8_0, BF16, F16];
/// For other rows.
const NONE: [DType; 2] = [BF16, F16];

/// The dtypes to choose from, without repetition. `fixed` is what a mixture gives the tensor; its dtype is always
/// among them, unless it needs what is not there, so that a budget that has room for the mixture costs no more than it.
/// Dtypes that are useless without importance are left out where nothing tells that of this tensor; so is IQ3_S, which was
/// never bought then.
pub(super) fn of(tensor: &TensorFact, fixed: &Assignment, terms: &Terms) -> Vec<DType> {
    let allow_requantize = terms.allow_requantize;
    let is_weighed = terms.importance.is_some_and(|importance| importance.tells_of(tensor));
    let opaque = tensor.dtype.traits().decode.is_none();
    match fixed.reason {
        Reason::Kept(_) | Reason::Requested(_) => return vec![fixed.dtype],
        _ if opaque || (tensor.dtype.is_quantized() && !allow_requantize) => return vec![tensor.dtype],
        _ => {}
    }
    let fits = |dtype: DType| dtype.row_bytes(tensor.shape.row()).is_some();
    let ladder = match terms.only {
        Some(only) if only.iter().any(|dtype| fits(*dtype)) => only,
        _ => ladder(&fits),
    };
    let bits = |dtype: DType| dtype.traits().bytes as f64 * 8.0 / dtype.block() as f64;
    // The model's own dtype loses nothing; what takes more bits than that is of no use.
    let most = bits(tensor.dtype);
    let coarse = |dtype: DType| bits(dtype) < FINE && is_delicate(Role::of(tensor.name));
    let blind = |dtype: DType| !is_weighed && (dtype == IQ3S || ftype::is_useless_unweighed(dtype));
    let mut menu: Vec<DType> = ladder
        .iter()
        .copied()
        .filter(|dtype| fits(*dtype) && !coarse(*dtype) && !blind(*dtype) && bits(*dtype) <= most)
        .collect();
    let encodable = |dtype: DType| dtype.traits().encode.is_some() && dtype.traits().decode.is_some();
    let weighed = |dtype: DType| is_weighed || dtype != fixed.dtype || !fixed.needs_imatrix;
    let own = [fixed.dtype, tensor.dtype].into_iter();
    let allowed = |dtype: DType| terms.only.is_none_or(|only| only.contains(&dtype));
    let other = menu.is_empty();
    menu.extend(own.filter(|dtype| {
        encodable(*dtype) && (*dtype == tensor.dtype || weighed(*dtype)) && (other || allowed(*dtype))
    }));
    let mut seen = Vec::new();
    menu.retain(|dtype| !seen.contains(dtype) && (seen.push(*dtype), true).1);
    menu
}

/// All dtypes that are worth it in rows of this length.
fn ladder(fits: &dyn Fn(DType) -> bool) -> &'static [DType] {
    match () {
        () if fits(Q4K) => LARGE.as_slice(),
        () if fits(Q8_0) => SMALL.as_slice(),
        () => NONE.as_slice(),
    }
}

/// The fewest bits of a weight whose loss is small.
const FINE: f64 = 3.0;

/// Whether fewer are too few, whatever the sum says: it adds small losses, and these would not be small.
fn is_delicate(role: Role) -> bool {
    matches!(role, Role::Output | Role::Embedding | Role::AttnV)
}
