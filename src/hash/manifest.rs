//! A manifest: the lines that `ggraft hash` and `llama-gguf-hash` print, `ALGORITHM  DIGEST  FILE[:TENSOR]`, read
//! again to be compared. A model is found in it by its file name, wherever it was when it was hashed.

use super::{ALGORITHMS, Algorithm, Hash};
use crate::arrange::Arrange;
use ggraft_formats::error::Printable;
use ggraft_formats::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a manifest says of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    Mismatch,
    NotFound,
}

impl Verdict {
    /// As llama-gguf-hash prints it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Same => "Ok",
            Verdict::Mismatch => "Mismatch",
            Verdict::NotFound => "Not Found",
        }
    }
}

/// The hashes of one model, as a file recorded them.
pub struct Manifest {
    path: PathBuf,
    /// (algorithm, tensor; none for the whole model) -> digest.
    entries: BTreeMap<(&'static str, Option<String>), String>,
}

impl Manifest {
    /// What the manifest `path` says of the model `file`.
    ///
    /// # Errors
    /// A line is malformed or contradicts another, or none is about the file.
    pub fn read(path: &Path, file: &Path) -> Result<Manifest> {
        let text = ggraft_formats::text(path)?;
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        Manifest::parse(&text, path, &Printable(&name).to_string())
    }

    /// The same of the text of `path`; `name` as it is printed.
    fn parse(text: &str, path: &Path, name: &str) -> Result<Manifest> {
        let mut manifest = Manifest { path: path.to_path_buf(), entries: BTreeMap::new() };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (i, line) in lines {
            let (algorithm, digest, subject) = split(line).map_err(|e| {
                Error::invalid(format!("line {}: {}", i + 1, e.0))
                    .file(path)
                    .expected(e.1)
                    .found(format!("'{line}'"))
                    .hint("give what `ggraft hash` or llama-gguf-hash printed")
            })?;
            let Some(tensor) = of_file(subject, name) else { continue };
            let key = (algorithm.name, tensor.map(String::from));
            let digest = digest.to_ascii_lowercase();
            if manifest.entries.insert(key, digest.clone()).is_some_and(|before| before != digest) {
                return Err(Error::invalid(format!("line {}: another line has another hash of this", i + 1))
                    .file(path)
                    .found(format!("'{line}'")));
            }
        }
        if manifest.entries.is_empty() {
            return Err(Error::invalid(format!("the manifest has no hash of '{name}'"))
                .file(path)
                .hint("give the manifest of this model; it finds a model by its file name"));
        }
        Ok(manifest)
    }

    /// The algorithms that it has hashes of, the strongest first.
    pub fn algorithms(&self) -> Vec<&'static Algorithm> {
        let has = |a: &&Algorithm| self.entries.keys().any(|(name, _)| *name == a.name);
        let mut all: Vec<_> = ALGORITHMS.iter().filter(has).collect();
        all.arrange_by_key(|a| std::cmp::Reverse(a.strength));
        all
    }

    /// Whether it tells tensors apart.
    pub fn names_tensors(&self) -> bool {
        self.entries.keys().any(|(_, tensor)| tensor.is_some())
    }

    /// Compares a hash; it is counted as seen.
    pub fn check(&mut self, hash: &Hash) -> Verdict {
        let tensor = hash.tensor.map(|name| Printable(name).to_string());
        match self.entries.remove(&(hash.algorithm.name, tensor)) {
            None => Verdict::NotFound,
            Some(digest) if digest == hash.digest => Verdict::Same,
            Some(_) => Verdict::Mismatch,
        }
    }

    /// The error for tensors of the manifest, as far as it has one of `algorithms`, that the model does not hold.
    pub fn unseen(&self, algorithms: &[&'static Algorithm]) -> Option<Error> {
        let asked = |name: &str| algorithms.iter().any(|a| a.name == name);
        let absent = |(name, tensor): &(&str, Option<String>)| {
            let tensor = tensor.as_ref().filter(|_| asked(name))?;
            Some(Error::invalid("the model does not hold this tensor of the manifest").tensor(tensor))
        };
        let all: Vec<Error> = self.entries.keys().filter_map(absent).collect();
        Error::all(all.into_iter().map(|e| e.file(&self.path).verification()).collect())
    }
}

/// What is wrong with a line, and what was expected.
struct Fault(&'static str, String);

fn split(line: &str) -> Result<(&'static Algorithm, &str, &str), Fault> {
    let form = || Fault("this is no hash", String::from("ALGORITHM  DIGEST  FILE[:TENSOR]"));
    let (name, rest) = line.split_once(' ').ok_or_else(form)?;
    let algorithm = Algorithm::named(name).ok_or_else(|| {
        let names: Vec<&str> = ALGORITHMS.iter().map(|a| a.name).collect();
        Fault("there is no such hash", names.join(", "))
    })?;
    let (digest, subject) = rest.trim_start().split_once("  ").ok_or_else(form)?;
    let digit = |c: char| c.is_ascii_hexdigit() || (c == '-' && algorithm.name == "uuid");
    if digest.len() != algorithm.digits || !digest.chars().all(digit) {
        return Err(Fault("the digest is malformed", format!("{} hexadecimal digits", algorithm.digits)));
    }
    Ok((algorithm, digest, subject))
}

/// Whether `subject` is the file `name`, in any folder: `Some(None)`, or one of its tensors: `Some(Some(tensor))`.
fn of_file<'a>(subject: &'a str, name: &str) -> Option<Option<&'a str>> {
    let starts = subject.match_indices(name).filter(|(at, _)| {
        let before = &subject[..*at];
        before.is_empty() || before.ends_with(['/', '\\'])
    });
    starts.map(|(at, _)| &subject[at + name.len()..]).find_map(|rest| match rest {
        "" => Some(None),
        rest => rest.strip_prefix(':').map(Some),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(text, Path::new("m.manifest"), "a.gguf")
    }

    #[test]
    fn a_file_is_found_in_any_folder() {
        assert_eq!(of_file("a.gguf", "a.gguf"), Some(None));
        assert_eq!(of_file("x/y/a.gguf:b", "a.gguf"), Some(Some("b")));
        assert_eq!(of_file(r"C:\x\a.gguf:b:c/d", "a.gguf"), Some(Some("b:c/d")));
        assert_eq!(of_file("ba.gguf:a.gguf", "a.gguf"), None);
        assert_eq!(of_file("a.gguf2", "a.gguf"), None);
    }

    #[test]
    fn malformed_lines_are_named() {
        for (text, error) in [
            ("xxh64", "line 1: this is no hash: expected ALGORITHM  DIGEST  FILE[:TENSOR], found 'xxh64'"),
            (
                "\nmd5       0  a.gguf",
                "line 2: there is no such hash: expected xxh64, sha1, sha256, uuid, found 'md5       0  a.gguf'",
            ),
            (
                "xxh64     0g  a.gguf",
                "line 1: the digest is malformed: expected 16 hexadecimal digits, found 'xxh64     0g  a.gguf'",
            ),
        ] {
            let e = parse(text).err().unwrap().to_string();
            assert!(e.starts_with(&format!("m.manifest: {error}")), "{e}");
        }
    }

    #[test]
    fn lines_must_not_contradict_each_other() {
        let line = |digit: &str| format!("xxh64     {}  a.gguf\n", digit.repeat(16));
        assert!(parse(&[line("0"), line("0")].concat()).is_ok());
        let e = parse(&[line("0"), line("1")].concat()).err().unwrap().to_string();
        assert!(e.contains("line 2: another line has another hash of this"), "{e}");
    }
}
