//! Names that a trainer has otherwise than the rules of a page: on the way in all that the page lists, on the way back those that
//! the trainer's own code has.

use crate::arch::families::Family;
use crate::arch::params::Params;
use crate::arch::rule::indices;
use ggraft_formats::Result;
use std::borrow::Cow;

/// How names begin: with this, a number if there is an index, and that.
struct Beginning {
    before: &'static str,
    index: Option<&'static str>,
    after: &'static str,
}

impl Beginning {
    fn of(pattern: &'static str) -> Beginning {
        let parts = pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        match parts {
            Some((before, (index, after))) => Beginning { before, index: Some(index), after },
            None => Beginning { before: pattern, index: None, after: "" },
        }
    }

    /// The number, or 0, and what follows, if `name` begins so.
    fn taken<'n>(&self, name: &'n str) -> Option<(u64, &'n str)> {
        let rest = name.strip_prefix(self.before)?;
        if self.index.is_none() {
            return Some((0, rest));
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(digits);
        Some((number.parse().ok()?, rest.strip_prefix(self.after)?))
    }
}

/// The name of a tensor as the rules of the family have it.
pub fn dialect<'a>(family: &Family, params: &Params<'_>, mut name: Cow<'a, str>) -> Result<Cow<'a, str>> {
    for (theirs, ours) in &family.renamed {
        if let (Some(end), Some(own)) = (theirs.strip_prefix('*'), ours.strip_prefix('*')) {
            if let Some(stem) = name.strip_suffix(end) {
                name = Cow::Owned(format!("{stem}{own}"));
            }
            continue;
        }
        if let Some((number, rest)) = Beginning::of(theirs).taken(&name) {
            let at = match indices(ours).first().copied() {
                Some("main" | "l+main") => params.size("main", 0)?.saturating_add(number),
                Some("l") | None => number,
                Some(axis) => params.size(axis, u32::try_from(number).unwrap_or(u32::MAX))?,
            };
            name = Cow::Owned(numbered(ours, &|_| at) + rest);
        }
    }
    Ok(name)
}

/// The name that the trainer's own code has for what the rules call `name`; the first of the page that fits.
pub fn published(family: &Family, params: &Params<'_>, name: String) -> Result<String> {
    for (theirs, ours) in &family.published {
        let own = Beginning::of(ours);
        let Some((number, rest)) = own.taken(&name) else { continue };
        let found = match own.index {
            None => match Beginning::of(theirs).index {
                Some(axis) => Some(params.size(axis, 0)?),
                None => Some(0),
            },
            Some("l") => Some(number),
            Some("main") => (params.size("main", 0)? == number).then_some(0),
            Some("l+main") => number.checked_sub(params.size("main", 0)?),
            Some(axis) => {
                let mut layers = 0..u32::try_from(number).unwrap_or(u32::MAX);
                layers.find(|layer| params.size(axis, *layer).is_ok_and(|at| at == number)).map(u64::from)
            }
        };
        if let Some(found) = found {
            return Ok(numbered(theirs, &|_| found) + rest);
        }
    }
    Ok(name)
}

/// `name` with numbers for its indices.
pub fn numbered(name: &str, index: &dyn Fn(&str) -> u64) -> String {
    let mut parts = name.split('{');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (inner, rest) = part.split_once('}').unwrap_or((part, ""));
        out.push_str(&index(inner).to_string());
        out.push_str(rest);
    }
    out
}
