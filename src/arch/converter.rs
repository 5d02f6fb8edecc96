//! The classes of text models that llama.cpp's converter names (`converter.tsv`), and why one has no page here. Serves the
//! list of classes and the errors about a class without a page.

use super::families::ARCHS;
use ggraft_formats::Error;

/// A class that the converter names.
pub struct Named {
    pub class: &'static str,
    /// Why it has no page; none of those that have one.
    pub reason: Option<&'static str>,
}

/// Every class, in the order of the alphabet.
pub fn classes() -> impl Iterator<Item = Named> {
    let lines = include_str!("converter.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| match line.split_once('\t') {
        Some((class, reason)) => Named { class, reason: Some(reason) },
        None => Named { class: line, reason: None },
    })
}

/// Whether a page is of this class.
pub fn has_page(class: &str) -> bool {
    ARCHS.iter().any(|arch| arch.classes.contains(&class))
}

/// How many of the converter's classes have a page, and how many there are.
pub fn covered() -> (usize, usize) {
    (classes().filter(|named| has_page(named.class)).count(), classes().count())
}

/// What to say of a class that the converter knows and no page of a text model is of; nothing of another.
pub fn told(class: &str) -> Option<String> {
    let named = classes().find(|named| named.class.eq_ignore_ascii_case(class))?;
    let (class, reason) = (named.class, named.reason?);
    Some(format!("llama.cpp's converter knows the class {class}, ggraft has no page for it yet: {reason}"))
}

/// The same as an error.
pub fn without_page(class: &str) -> Option<Error> {
    let error = Error::unsupported(told(class)?);
    Some(
        error
            .hint("convert it with convert_hf_to_gguf.py and give the GGUF: that works for any architecture"),
    )
}

/// What is wrong with the list, a line each: what to remove, and what lacks.
pub fn faults() -> Vec<String> {
    let of = |named: Named| match (named.reason, has_page(named.class)) {
        (Some(_), true) => Some(format!("{} has a page: remove its reason", named.class)),
        (None, false) => Some(format!("{} has no page: give a reason", named.class)),
        _ => None,
    };
    classes().filter_map(of).collect()
}
