//! llama.cpp's versions as data: what later ones do otherwise than the one that all else here equals (`changes`), and since
//! when each thing of a file can be read (`firsts`). Serves the mixtures and encoders, which are told a version, and
//! whoever asks what a file needs. A change is one row of `CHANGES`; a version is one of `VERSIONS`.

mod changes;
mod firsts;

pub use changes::{CHANGES, Change, What};
pub use firsts::{Build, Need, Needs, SPLITTING, knows_pre_tokenizer, knows_tokenizer, needs};

use crate::nearest::did_you_mean;
use std::fmt;

/// A version of llama.cpp whose choices are known, the oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The one that the tests compare with.
    #[default]
    V0_5,
    V0_6,
    V0_8,
}

/// Each with its name and the builds that were looked at.
const VERSIONS: [(Version, &str, &[&str]); 3] = [
    (Version::V0_5, "v0.5.0", &[]),
    (Version::V0_6, "v0.6.0", &["b11434", "b11549"]),
    (Version::V0_8, "v0.8.0", &["b12032"]),
];

impl Version {
    /// Every version, the oldest first.
    pub fn all() -> impl Iterator<Item = Version> {
        VERSIONS.iter().map(|(version, ..)| *version)
    }

    /// As llama.cpp calls it.
    pub fn name(self) -> &'static str {
        VERSIONS.iter().find(|(version, ..)| *version == self).map_or("", |(_, name, _)| name)
    }

    /// The version of this name, such as v0.8.0, 0.8.0 or v0.8, or of a build.
    ///
    /// # Errors
    /// It is none whose choices are known: says which are.
    pub fn parse(text: &str) -> Result<Version, String> {
        let known = VERSIONS.iter().find(|(_, name, builds)| is_called(name, text) || builds.contains(&text));
        known.map(|(version, ..)| *version).ok_or_else(|| {
            let names: Vec<&str> = Version::all().map(Version::name).collect();
            let hint = did_you_mean(text, names.iter().copied());
            format!("expected a version whose choices are known, {}, found '{text}'{hint}", names.join(", "))
        })
    }
}

/// Whether the version of this name, such as v0.8.0, is meant by v0.8.0, 0.8.0, v0.8 or 0.8.
fn is_called(name: &str, text: &str) -> bool {
    let (name, text) = (name.trim_start_matches('v'), text.strip_prefix('v').unwrap_or(text));
    name == text || name.strip_suffix(".0") == Some(text)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_names_and_builds() {
        for (text, version) in [
            ("v0.5.0", Version::V0_5),
            ("0.6.0", Version::V0_6),
            ("v0.8", Version::V0_8),
            ("b11549", Version::V0_6),
            ("b12032", Version::V0_8),
        ] {
            assert_eq!(Version::parse(text), Ok(version), "{text}");
        }
        assert!(Version::all().is_sorted());
        assert_eq!(Version::all().count(), VERSIONS.len());
    }

    #[test]
    fn an_unknown_version_is_refused_with_those_that_are_known() {
        for text in ["v0.7.0", "v0.50", "b1", "latest", "", "v"] {
            let said = Version::parse(text).unwrap_err();
            assert!(said.contains("v0.5.0, v0.6.0, v0.8.0"), "{text}: {said}");
        }
    }
}
