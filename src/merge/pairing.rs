//! Which tensors belong together, and what becomes of each. Every difference in name or shape is told at once.

use super::models::parents;
use super::tokens::TableRows;
use super::{Fate, Vector, Verdict};
use crate::roles;
use ggraft_formats::{Error, Model, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The tables whose rows move by token, and what becomes of them.
type Tables = BTreeMap<String, TableRows>;

/// Decides what becomes of each tensor of `onto`; of the `tables`, the vocabulary plan has decided it.
pub(super) fn verdicts(onto: &Model, vectors: &[Vector], tables: &Tables) -> Result<Vec<Verdict>> {
    let mut problems = Vec::new();
    for (role, other) in parents(vectors) {
        problems.extend(mismatches(onto, role, other, tables));
    }
    if let Some(e) = Error::all(problems) {
        return Err(e.hint("the three models must be of one family: chat and onto are both made from base"));
    }
    Ok(onto.tensors.iter().map(|t| verdict(&t.name, tables)).collect())
}

fn verdict(name: &str, tables: &Tables) -> Verdict {
    if let Some(table) = tables.get(name) {
        return table.verdict;
    }
    // It cannot be moved by rows, and stays as it is when these do not follow ids.
    if name == roles::TOKEN_BIAS && !tables.is_empty() {
        return Verdict { fate: Fate::Kept, reason: "the vocabularies differ" };
    }
    if roles::is_generated(name) {
        return Verdict { fate: Fate::Kept, reason: "follows from the configuration" };
    }
    Verdict { fate: Fate::Merged, reason: "in all models" }
}

/// Tensors that `other` lacks, has besides, or has in another shape.
fn mismatches(onto: &Model, role: &str, other: &Model, tables: &Tables) -> Vec<Error> {
    let theirs: HashMap<&str, _> = other.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let ours: BTreeSet<&str> = onto.tensors.iter().map(|t| t.name.as_str()).collect();
    let exempt = |name: &str| tables.contains_key(name) || verdict(name, tables).fate == Fate::Kept;
    let mut problems = Vec::new();
    for t in onto.tensors.iter().filter(|t| !exempt(&t.name)) {
        match theirs.get(t.name.as_str()) {
            None => {
                problems.push(difference(other, format!("{role} lacks a tensor of onto")).tensor(&t.name))
            }
            Some(s) if s.shape().significant() != t.shape().significant() => problems.push(
                difference(other, format!("{role} has another shape than onto"))
                    .tensor(&t.name)
                    .expected(t.shape())
                    .found(s.shape()),
            ),
            Some(_) => {}
        }
    }
    for t in other.tensors.iter().filter(|t| !ours.contains(t.name.as_str()) && !exempt(&t.name)) {
        problems.push(difference(other, format!("{role} has a tensor that onto lacks")).tensor(&t.name));
    }
    problems
}

fn difference(model: &Model, what: String) -> Error {
    let e = Error::invalid(what);
    match model.containers.first() {
        Some(file) => e.file(file.path()),
        None => e,
    }
}
