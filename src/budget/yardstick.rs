//! Which fixed mixture a budget is compared with, by whose number its file goes.

use super::goal::Limit;
use super::sizes::{Sizes, weights_limit};
use super::{Terms, candidates};
use crate::ftype::{self, Assignment, Facts, Ftype};
use ggraft_formats::{Error, Result};

/// The mixtures that are tried; those that need importance only where there is some.
pub(super) const YARDSTICKS: [&str; 20] = [
    "F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M",
    "Q3_K_S", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
];

/// A mixture and the dtypes that it gives.
pub(super) type Given = (&'static Ftype, Vec<Assignment>);

/// The one to compare with, by whose number the file goes: the one that was named if its dtype is to be had, else the
/// nearest in size of those that can be written.
pub(super) fn compared(facts: &Facts, terms: &Terms, sizes: &Sizes) -> Result<Given> {
    let named = match sizes.budget {
        Limit::Like(ftype) => terms.ftype.or(Some(*ftype)),
        _ => terms.ftype,
    };
    if let Some(ftype) = named.filter(|ftype| is_had(ftype, terms)) {
        return Ok((ftype, assign(facts, ftype, terms)?));
    }
    let (ftype, given) = nearest(facts, bytes_of(facts, sizes, terms)?, terms, sizes)?;
    if terms.options.like.is_none() {
        return Ok((ftype, given));
    }
    // Where a file gives the dtypes, every mixture gives the same: their size tells which it is.
    let options = &ftype::Options { like: None, ..terms.options.clone() };
    let (ftype, _) = nearest(facts, sizes.of(facts, &given)?, &Terms { options, ..*terms }, sizes)?;
    Ok((ftype, given))
}

/// The bytes of a limit.
pub(super) fn bytes_of(facts: &Facts, sizes: &Sizes, terms: &Terms) -> Result<u64> {
    Ok(match sizes.budget {
        Limit::Bytes(bytes) => *bytes,
        Limit::Like(ftype) => sizes.of(facts, &assign(facts, ftype, terms)?)?,
        Limit::Bits(bits) => weights_limit(facts, *bits),
        Limit::Divergence(_) => u64::MAX,
    })
}

/// Whether the device runs it.
fn is_had(ftype: &Ftype, terms: &Terms) -> bool {
    terms.only.is_none_or(|only| only.contains(&ftype.default))
}

fn nearest(facts: &Facts, bytes: u64, terms: &Terms, sizes: &Sizes) -> Result<Given> {
    let allowed =
        |ftype: &&'static Ftype| is_had(ftype, terms) && (terms.options.has_imatrix || !ftype.needs_imatrix);
    let mut found: Option<(u64, Given)> = None;
    for ftype in YARDSTICKS.into_iter().filter_map(Ftype::find).filter(allowed) {
        let given = assign(facts, ftype, terms)?;
        let distance = sizes.of(facts, &given)?.abs_diff(bytes);
        if found.as_ref().is_none_or(|(least, _)| distance < *least) {
            found = Some((distance, (ftype, given)));
        }
    }
    found.map(|(_, given)| given).ok_or_else(|| Error::unsupported("there is no mixture to compare with"))
}

/// The dtypes that a fixed mixture gives. What may only be copied keeps its own there as well.
pub(super) fn assign(facts: &Facts, ftype: &'static Ftype, terms: &Terms) -> Result<Vec<Assignment>> {
    let mut assignments = ftype::assign(facts, ftype, terms.options)?;
    for (tensor, given) in facts.tensors.iter().zip(&mut assignments) {
        if candidates::of(tensor, given, terms) == [tensor.dtype] {
            given.dtype = tensor.dtype;
            given.fallback = None;
        }
    }
    Ok(assignments)
}
