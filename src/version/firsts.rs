//! Since when llama.cpp reads each thing of a GGUF that one that is too old refuses: architecture, dtypes, tokenizer,
//! pre-tokenizer, projector. The table `firsts.json` is made by `fixtures/make_versions.py` from llama.cpp's history and
//! trees. That a name is known is the least that is needed: what a model does with it may have come later.

use super::is_called;
use ggraft_formats::{DType, Error, Kind, Metadata, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

/// A state of llama.cpp: a build of its main branch, or a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    Number(u32),
    Release(&'static Release),
}

/// A release, which lies between builds: all of build `from` is in it, all of it is in build `before`.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    name: &'static str,
    from: u32,
    before: u32,
}

const fn release(name: &'static str, from: u32, before: u32) -> Release {
    Release { name, from, before }
}

/// The releases. Builds before b10587 have the numbers of commits; of later ones those trees were looked at that are named.
static RELEASES: [Release; 8] = [
    release("v0.1.0", 10394, 10566),
    release("v0.2.0", 10566, 10894),
    release("v0.3.0", 10587, 11223),
    release("v0.4.0", 10798, 11223),
    release("v0.5.0", 11117, 11223),
    release("v0.6.0", 11401, 12032),
    release("v0.7.0", 11434, 12032),
    release("v0.8.0", 11434, 12032),
];

impl Build {
    /// Reads b1234, v0.5.0, 0.5.0 or v0.5.
    ///
    /// # Errors
    /// It is neither a build nor a release that is known.
    pub fn parse(text: &str) -> std::result::Result<Build, String> {
        if let Some(number) = text.strip_prefix('b').and_then(|digits| digits.parse().ok()) {
            return Ok(Build::Number(number));
        }
        let found = RELEASES.iter().find(|release| is_called(release.name, text));
        found.map(Build::Release).ok_or_else(|| {
            let names: Vec<&str> = RELEASES.iter().map(|release| release.name).collect();
            format!(
                "expected a build of llama.cpp, such as b9442, or one of {}, found '{text}'",
                names.join(", ")
            )
        })
    }

    /// The release that all else here is held against.
    pub fn usual() -> Build {
        Build::Release(&RELEASES[4])
    }

    /// Whether this has all that `other` has, as far as is known.
    pub fn includes(self, other: Build) -> bool {
        match (self, other) {
            (Build::Number(this), Build::Number(other)) => this >= other,
            (Build::Number(this), Build::Release(other)) => this >= other.before,
            (Build::Release(this), Build::Number(other)) => this.from >= other,
            (Build::Release(this), Build::Release(other)) => {
                (this.from, this.before) >= (other.from, other.before)
            }
        }
    }

    /// The build that surely has all of it.
    fn number(self) -> u32 {
        match self {
            Build::Number(number) => number,
            Build::Release(release) => release.before,
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Build::Number(number) => write!(f, "b{number}"),
            Build::Release(release) => f.write_str(release.name),
        }
    }
}

/// Something that a file holds and a version must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Such as `architecture qwen3`.
    pub what: String,
    /// The first that is known to know it; none if no version that was looked at does.
    pub since: Option<Build>,
    /// Whether the one before does not, so that it is the very first.
    pub exact: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            None => write!(f, "{} is in no llama.cpp that was looked at", self.what),
            Some(since) if self.exact => write!(f, "{} is there since {since}", self.what),
            Some(since) => write!(f, "{} was first seen in {since}", self.what),
        }
    }
}

/// All that a file needs, in the order in which it is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs(Vec<Need>);

impl Needs {
    /// Whether this version is new enough for all of it, as far as is known.
    ///
    /// # Errors
    /// Something came after this version.
    pub fn met_by(&self, version: Build) -> Result<()> {
        let late = self.beyond(version).map(|need| {
            let hint = match need.since {
                Some(since) => format!("use llama.cpp {since} or a later one"),
                None => String::from("ask the one who made the file which runtime it is for"),
            };
            Error::new(Kind::Verification, format!("llama.cpp {version} is too old for this file"))
                .expected(format!("nothing that came after {version}"))
                .found(need)
                .hint(hint)
        });
        Error::all(late.collect()).map_or(Ok(()), Err)
    }

    /// What came last, which decides: the oldest llama.cpp that reads the file knows it. None for a file that says nothing.
    pub fn last(&self) -> Option<&Need> {
        // Of equals the first: the architecture says more than a dtype.
        let at = |need: &Need| need.since.map_or(u32::MAX, Build::number);
        self.0.iter().reduce(|last, need| if at(need) > at(last) { need } else { last })
    }

    /// What this version is not known to know.
    fn beyond(&self, version: Build) -> impl Iterator<Item = &Need> {
        self.0.iter().filter(move |need| !need.since.is_some_and(|since| version.includes(since)))
    }
}

/// The oldest version and why, in a line.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last() {
            None => f.write_str("not known"),
            Some(Need { what, since: None, .. }) => write!(f, "no version that is known here: {what}"),
            Some(Need { what, since: Some(since), exact: true }) => write!(f, "{since} or later, for {what}"),
            Some(Need { what, since: Some(since), .. }) => {
                write!(f, "{since} or later, perhaps one a little older, for {what}")
            }
        }
    }
}

/// Tokenizers that split text by a pre-tokenizer before they merge pairs.
pub const SPLITTING: [&str; 4] = ["gpt2", "gemma4", "hybriddna", "whitespace"];

/// What a GGUF of these entries, and of tensors of these dtypes, needs.
pub fn needs(metadata: &Metadata, dtypes: impl IntoIterator<Item = DType>) -> Needs {
    let mut all = Vec::new();
    let mut add = |kind: &str, name: &str, told: &str| all.push(need(kind, name, &format!("{told} {name}")));
    match metadata.str("general.architecture") {
        Some("clip") => {
            let keys = ["clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type"];
            let types: BTreeSet<&str> = keys.iter().filter_map(|key| metadata.str(key)).collect();
            types.into_iter().for_each(|name| add("projector", name, "projector"));
        }
        Some(name) => add("architecture", name, "architecture"),
        None => {}
    }
    let tokenizer = metadata.str("tokenizer.ggml.model");
    if let Some(name) = tokenizer {
        add("tokenizer", name, "tokenizer");
    }
    if let Some(name) = metadata.str("tokenizer.ggml.pre")
        && tokenizer.is_some_and(|model| SPLITTING.contains(&model))
    {
        add("pre", name, "pre-tokenizer");
    }
    let ids = dtypes.into_iter().map(DType::traits);
    let ids: BTreeSet<(u32, &str)> = ids.filter_map(|traits| Some((traits.id?, traits.name))).collect();
    for (id, name) in ids {
        all.push(need("dtype", &id.to_string(), &format!("dtype {name}")));
    }
    if metadata.iter().any(|(key, _)| key.starts_with("prism.hadamard.")) {
        let since = RELEASES.last().map(Build::Release);
        all.push(Need { what: String::from("rotated weights"), since, exact: false });
    }
    Needs(all)
}

/// Whether some version knows the tokenizer of this name, `tokenizer.ggml.model`.
pub fn knows_tokenizer(name: &str) -> bool {
    need("tokenizer", name, name).since.is_some()
}

/// Whether some version knows the pre-tokenizer of this name, `tokenizer.ggml.pre`.
pub fn knows_pre_tokenizer(name: &str) -> bool {
    need("pre", name, name).since.is_some()
}

/// What the table says of a name.
fn need(kind: &str, name: &str, what: &str) -> Need {
    static TABLE: OnceLock<Map<String, Value>> = OnceLock::new();
    let table = TABLE.get_or_init(|| serde_json::from_str(include_str!("firsts.json")).unwrap_or_default());
    let text = table.get(kind).and_then(|names| names.get(name)?.as_str()).unwrap_or_default();
    let since = Build::parse(text.trim_start_matches('<')).ok();
    Need { what: what.to_string(), since, exact: since.is_some() && !text.starts_with('<') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &str)]) -> Needs {
        let mut metadata = Metadata::new();
        entries.iter().for_each(|(key, value)| metadata.set(key, *value));
        needs(&metadata, [])
    }

    #[test]
    fn builds_and_releases_are_read_and_ordered() {
        for text in ["b9442", "v0.5.0", "v0.1.0"] {
            assert_eq!(Build::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Build::parse("0.5"), Ok(Build::usual()));
        assert_eq!(Build::usual().to_string(), crate::version::Version::default().name());
        assert!(Build::parse("v9.9.9").unwrap_err().contains("v0.1.0, v0.2.0"));
        let includes = |a: &str, b: &str| Build::parse(a).unwrap().includes(Build::parse(b).unwrap());
        assert!(includes("b9442", "b9442") && !includes("b9441", "b9442"));
        assert!(includes("v0.5.0", "b10587") && !includes("v0.5.0", "b11223"));
        assert!(includes("b11223", "v0.5.0") && !includes("b11200", "v0.5.0"));
        assert!(
            includes("v0.6.0", "v0.5.0") && includes("v0.5.0", "v0.5.0") && !includes("v0.5.0", "v0.6.0")
        );
        for pair in RELEASES.windows(2) {
            assert!(Build::Release(&pair[1]).includes(Build::Release(&pair[0])));
        }
    }

    #[test]
    fn every_entry_of_the_table_is_a_version() {
        let table: Map<String, Value> = serde_json::from_str(include_str!("firsts.json")).unwrap();
        assert_eq!(table.len(), 5);
        for (name, since) in table.values().flat_map(|kind| kind.as_object().unwrap()) {
            let since = since.as_str().unwrap().trim_start_matches('<');
            assert!(Build::parse(since).is_ok(), "{name}: {since}");
        }
    }

    #[test]
    fn what_came_last_decides() {
        let needs = of(&[
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "whitespace"),
        ]);
        assert_eq!(needs.to_string(), "b9442 or later, for pre-tokenizer whitespace");
        assert_eq!(needs.beyond(Build::Number(9441)).count(), 1);
        assert_eq!(needs.beyond(Build::Number(9442)).count(), 0);
        assert_eq!(of(&[]).to_string(), "not known");
    }

    #[test]
    fn what_no_version_knows_is_said_to_be_unknown() {
        let needs = of(&[("general.architecture", "no-such-architecture")]);
        assert!(needs.to_string().starts_with("no version that is known here"), "{needs}");
        assert_eq!(needs.beyond(Build::parse("v0.8.0").unwrap()).count(), 1);
    }

    #[test]
    fn a_spm_vocabulary_has_no_use_for_a_pre_tokenizer() {
        let needs = of(&[("tokenizer.ggml.model", "llama"), ("tokenizer.ggml.pre", "something new")]);
        assert_eq!(needs.beyond(Build::parse("v0.1.0").unwrap()).count(), 0);
    }
}
