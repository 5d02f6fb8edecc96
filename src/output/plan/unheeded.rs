//! Options that change nothing: each is told once, with the reason, so that a slip does not pass for a wish. A pattern
//! that was typed and matches nothing is such a slip, and refused.

use crate::ftype::{self, Assignment, Facts, Ftype, Like, Options, Reason, TensorType};
use crate::nearest::nearest;
use crate::roles::{EMBEDDING, HEAD};
use crate::text::shown;
use crate::version::Version;
use ggraft_formats::{Error, Result};
use std::collections::HashSet;

/// What to say about the options that gave no tensor its dtype.
pub(crate) fn unheeded(
    facts: &Facts,
    assignments: &[Assignment],
    options: &Options,
    ftype: &Ftype,
) -> Result<Vec<String>> {
    let names: &[&str] = &facts.tensors.iter().map(|t| t.name).collect::<Vec<_>>();
    let all = &options.tensor_types;
    let patterns = (0..all.len()).map(|i| pattern(i, names, assignments, all));
    let mut notes: Vec<String> = patterns.filter_map(Result::transpose).collect::<Result<_>>()?;
    notes.extend(options.like.iter().flat_map(|like| unlike(like, names, assignments)));
    let has = |reason: Reason| assignments.iter().any(|a| a.reason == reason);
    let is_missing = |name: &str| names.iter().all(|n| *n != name);
    let mut idle = |option: &'static str, is_given: bool, is_heeded: bool, name: &str| {
        if is_given && !is_heeded {
            let why = match is_missing(name) {
                true => format!("the model has no {name}"),
                false => format!("{name} is not quantized"),
            };
            notes.push(format!("warning: {option} has no effect: {why}"));
        }
    };
    let kept = has(Reason::Kept("--leave-output-tensor"));
    idle("--leave-output-tensor", options.leave_output_tensor, kept, HEAD);
    let requested = |option| has(Reason::Requested(option));
    let output = "--output-tensor-type";
    idle(output, options.output_tensor_type.is_some(), requested(output), HEAD);
    let embedding = "--token-embedding-type";
    idle(embedding, options.token_embedding_type.is_some(), requested(embedding), EMBEDDING);
    notes.extend(of_version(facts, assignments, options, ftype));
    if options.pure && is_pure_anyway(facts, assignments, options, ftype) {
        notes.push(format!("warning: --pure has no effect: {ftype} gives the same dtypes without it"));
    }
    Ok(notes)
}

/// What a version does otherwise than the usual one, if it is not that.
fn of_version(facts: &Facts, assignments: &[Assignment], options: &Options, ftype: &Ftype) -> Option<String> {
    let (version, usual) = (options.version, Version::default());
    if version == usual {
        return None;
    }
    if assignments.iter().any(|a| a.reason == Reason::Budget) {
        return Some(format!("as llama.cpp {version}, where the budget leaves a choice"));
    }
    let others = ftype::assign(facts, ftype, &Options { version: usual, ..options.clone() });
    let pairs = facts.tensors.iter().zip(assignments).zip(others.iter().flatten());
    let mut changed = pairs.filter(|((_, here), there)| here.dtype != there.dtype);
    let first = changed.next().map(|((tensor, here), there)| {
        format!("{}, the first, is {} instead of {}", tensor.name, here.dtype, there.dtype)
    });
    // Which blocks are degenerate is seen when they are encoded.
    let searches = options.has_imatrix && version.levels() != usual.levels();
    Some(match first {
        Some(first) => format!(
            "as llama.cpp {version}: {} tensors get another dtype than in {usual}; {first}",
            1 + changed.count()
        ),
        None if searches => format!(
            "as llama.cpp {version}: the dtypes of {usual}; blocks whose importance is nearly all 0 may be encoded otherwise"
        ),
        None => format!(
            "warning: --as has no effect: {usual} gives the same dtypes, and without importance the same bytes"
        ),
    })
}

fn is_pure_anyway(facts: &Facts, assignments: &[Assignment], options: &Options, ftype: &Ftype) -> bool {
    let mixed = ftype::assign(facts, ftype, &Options { pure: false, ..options.clone() });
    let dtypes = |all: &[Assignment]| all.iter().map(|a| a.dtype).collect::<Vec<_>>();
    mixed.is_ok_and(|mixed| dtypes(&mixed) == dtypes(assignments))
}

/// What of the model and of the file that lends its dtypes has no counterpart.
fn unlike(like: &Like, names: &[&str], assignments: &[Assignment]) -> Vec<String> {
    let free = names.iter().zip(assignments).filter(|(_, given)| !matches!(given.reason, Reason::Kept(_)));
    let lacking: Vec<&str> = free.map(|(name, _)| *name).filter(|name| like.of(name).is_none()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    let mut idle: Vec<&str> = like.names().filter(|name| !known.contains(name)).collect();
    idle.sort_unstable();
    let file = shown(&like.path);
    let told = |all: &[&str], what: String| {
        all.first().map(|first| format!("warning: {} tensors {what}, {first} the first", all.len()))
    };
    let lacking = told(&lacking, format!("are not in {file}, so that the type decides"));
    let idle = told(&idle, format!("of {file} are not in the model"));
    lacking.into_iter().chain(idle).collect()
}

/// The same of one pattern for names.
///
/// # Errors
/// It was typed and matches no tensor.
fn pattern(
    i: usize,
    names: &[&str],
    assignments: &[Assignment],
    all: &[TensorType],
) -> Result<Option<String>> {
    let Some(this) = all.get(i) else { return Ok(None) };
    let option = format!("--tensor-type '{}'", this.pattern);
    let matched = || names.iter().zip(assignments).filter(|(name, _)| this.pattern.is_match(name));
    if matched().next().is_none() {
        return match this.is_of_file {
            true => Ok(Some(format!("warning: {option} matches no tensor"))),
            false => Err(matches_nothing(&option, this.pattern.as_str(), names)),
        };
    }
    let earlier = |name: &str| all.iter().take(i).any(|t| t.pattern.is_match(name));
    let mut decided = matched().filter(|(name, _)| !earlier(name)).peekable();
    if decided.peek().is_none() {
        return Ok(Some(format!(
            "warning: {option} has no effect: an earlier one decides for all that it matches"
        )));
    }
    let mut reasons: Vec<String> = Vec::new();
    for (_, given) in decided {
        if given.reason == Reason::Requested("--tensor-type") {
            return Ok(None);
        }
        let reason = given.reason.to_string();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Ok(Some(format!("warning: {option} has no effect on what it matches: {}", reasons.join(", "))))
}

fn matches_nothing(option: &str, pattern: &str, names: &[&str]) -> Error {
    let parts = names.iter().flat_map(|name| name.split('.'));
    let hint = match nearest(pattern, parts) {
        Some(near) => format!("did you mean {near}?"),
        None => String::from("`ggraft inspect MODEL --tensors` lists the names of a GGUF"),
    };
    Error::usage(format!("{option} matches no tensor")).hint(hint)
}
