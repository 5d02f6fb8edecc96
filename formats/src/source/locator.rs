//! What a user may name a model by: a path, `org/name[@revision]` or `hf://org/name[@revision][/file]` of the Hugging
//! Face hub, a place in an object store, or an address. A path that exists wins over a name.

use super::stored::{Cloud, Stored};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A model, or a file of one, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locator {
    /// On this machine.
    Path(PathBuf),
    /// On the Hugging Face hub.
    Hub(Name),
    /// In an object store.
    Store(Stored),
    /// A file at an address of the web.
    Url(String),
}

/// A model of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `org/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: Option<String>,
    /// One file of it.
    pub file: Option<String>,
}

const HUB: &str = "hf://";
const WEB: [&str; 2] = ["https://", "http://"];
/// Endings by which a name with one slash is taken for a path, though nothing is there.
const ENDINGS: [&str; 9] =
    [".gguf", ".safetensors", ".json", ".bin", ".pt", ".pth", ".ckpt", ".yaml", ".yml"];

impl Locator {
    /// Reads what was typed.
    ///
    /// # Errors
    /// A name of the hub, or an address, is malformed; a store is named that is not read.
    pub fn parse(typed: &Path) -> Result<Locator> {
        let path = || Locator::Path(typed.to_path_buf());
        let Some(text) = typed.to_str().filter(|_| !typed.exists()) else { return Ok(path()) };
        let wrong =
            |expected: &str| Error::usage("this is not the name of a model").file(typed).expected(expected);
        if let Some(cloud) = Cloud::of(text) {
            let expected = format!("{}bucket/folder, or {0}bucket/file.gguf", cloud.scheme());
            return Stored::parse(text).map(Locator::Store).ok_or_else(|| wrong(&expected));
        }
        if let Some(rest) = text.strip_prefix(HUB) {
            let name = Name::parse(rest);
            return name.map(Locator::Hub).ok_or_else(|| wrong("hf://org/name[@revision][/file]"));
        }
        if WEB.iter().any(|scheme| text.starts_with(scheme)) {
            return match Name::of_address(text) {
                Some(name) => Ok(Locator::Hub(name)),
                None => Ok(Locator::Url(text.to_string())),
            };
        }
        if text.contains("://") {
            return Err(wrong(
                "a path, org/name, hf://org/name, s3://bucket/key (gs://, az://) or https://address",
            ));
        }
        Ok(plain(typed, text).map_or_else(path, Locator::Hub))
    }

    /// What is told to people.
    pub fn path(&self) -> PathBuf {
        match self {
            Locator::Path(path) => path.clone(),
            Locator::Hub(name) => PathBuf::from(name.shown()),
            Locator::Store(place) => place.shown(),
            Locator::Url(url) => shown_address(url),
        }
    }
}

/// How what was typed is told to people: a name in full, an address without its secrets.
pub fn shown(typed: &Path) -> PathBuf {
    Locator::parse(typed).map_or_else(|_| shown_address(&typed.to_string_lossy()), |found| found.path())
}

/// Whether what was typed is a name, so that it is not relative to any folder.
pub fn is_named(typed: &Path) -> bool {
    typed
        .to_str()
        .is_some_and(|text| text.contains("://") || (!typed.exists() && plain(typed, text).is_some()))
}

/// `org/name[@revision]`, unless it looks like a path on this machine.
fn plain(typed: &Path, text: &str) -> Option<Name> {
    let lower = text.to_ascii_lowercase();
    let (repo, revision) = text.split_once('@').map_or((text, None), |(repo, rev)| (repo, Some(rev)));
    let (org, _) = repo.split_once('/').filter(|(_, name)| !name.contains('/'))?;
    let is_path = ENDINGS.iter().any(|ending| lower.ends_with(ending))
        || typed.parent().is_some_and(|parent| parent.is_dir())
        || Path::new(org).is_dir();
    if is_path || revision.is_some_and(|rev| !is_revision(rev)) {
        return None;
    }
    Some(Name { repo: repository(repo)?, revision: revision.map(String::from), file: None })
}

/// A name of a repository that the hub allows.
fn repository(text: &str) -> Option<String> {
    let part = |part: &str| {
        let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        plain && !part.is_empty() && part.len() <= 96 && !part.starts_with(['.', '-']) && !part.contains("..")
    };
    let parts: Vec<&str> = text.split('/').collect();
    (parts.len() <= 2 && parts.into_iter().all(part) && !text.contains("--")).then(|| text.to_string())
}

fn is_revision(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !text.is_empty() && text.chars().all(plain) && crate::inside::stays_inside(text)
}

impl Name {
    /// What stands behind `hf://`.
    pub(super) fn parse(text: &str) -> Option<Name> {
        let text = text.trim_end_matches('/');
        let parts: Vec<&str> = text.split('/').collect();
        // A repository of the hub's first years has no organization.
        let split = if parts.len() == 1 || parts.first()?.contains('@') { 1 } else { 2 };
        let (repo, rest) = (parts.get(..split)?.join("/"), parts.get(split..)?);
        let Some((repo, revision)) = repo.split_once('@') else {
            let file = (!rest.is_empty()).then(|| rest.join("/"));
            return Name { repo: repository(&repo)?, revision: None, file }.checked();
        };
        // Pull requests have revisions of three parts.
        let more = if revision == "refs" { 2.min(rest.len()) } else { 0 };
        let revision = [&[revision], &rest[..more]].concat().join("/");
        let file = (rest.len() > more).then(|| rest[more..].join("/"));
        Name { repo: repository(repo)?, revision: Some(revision), file }.checked()
    }

    /// An address of a file, or of a model, at the hub.
    fn of_address(url: &str) -> Option<Name> {
        let hosts = ["https://huggingface.co/", "https://hf.co/"];
        let endpoint = std::env::var("HF_ENDPOINT").ok().map(|e| format!("{}/", e.trim_end_matches('/')));
        let rest = hosts.iter().find_map(|host| url.strip_prefix(host));
        let rest = rest.or_else(|| url.strip_prefix(endpoint.as_deref()?))?;
        let rest = rest.split(['?', '#']).next()?.trim_end_matches('/');
        let parts: Vec<&str> = rest.split('/').collect();
        let [org, name, more @ ..] = parts.as_slice() else { return None };
        let (revision, file) = match more {
            [] => (None, None),
            ["resolve" | "blob" | "raw" | "tree", rest @ ..] => {
                let text = rest.join("/").replace("%2F", "/");
                let rest: Vec<&str> = text.split('/').collect();
                let split = if rest.first() == Some(&"refs") { 3.min(rest.len()) } else { 1 };
                let file = rest[split..].join("/");
                (Some(rest[..split].join("/")), (!file.is_empty()).then_some(file))
            }
            _ => return None,
        };
        Name { repo: repository(&format!("{org}/{name}"))?, revision, file }.checked()
    }

    fn checked(self) -> Option<Name> {
        let revision = self.revision.as_deref().is_none_or(is_revision);
        let file = self.file.as_deref().is_none_or(crate::inside::stays_inside);
        (revision && file).then_some(self)
    }

    /// As it is told to people.
    pub fn shown(&self) -> String {
        let revision = self.revision.as_ref().map(|rev| format!("@{rev}")).unwrap_or_default();
        let file = self.file.as_ref().map(|file| format!("/{file}")).unwrap_or_default();
        format!("{HUB}{}{revision}{file}", self.repo)
    }
}

/// An address without what may be secret: names and passwords, and what stands behind a question mark.
pub(super) fn shown_address(url: &str) -> PathBuf {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return PathBuf::from(url) };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    PathBuf::from(format!("{scheme}://{host}/{path}"))
}

/// What the hub calls the model whose file or folder is at `path`: one that is read from there, or lies in its cache.
pub fn hub_id(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    if let Some(rest) = text.strip_prefix(HUB) {
        return Name::parse(rest).map(|name| name.repo);
    }
    let parts: Vec<&str> = text.split(['/', '\\']).collect();
    let at = parts.iter().rposition(|part| *part == "snapshots").filter(|at| at + 1 < parts.len())?;
    let repo = parts.get(at.checked_sub(1)?)?.strip_prefix("models--")?.replace("--", "/");
    repository(&repo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(repo: &str, revision: Option<&str>, file: Option<&str>) -> Option<Locator> {
        let text = |text: Option<&str>| text.map(String::from);
        Some(Locator::Hub(Name { repo: repo.into(), revision: text(revision), file: text(file) }))
    }

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let parse = |text: &str| Locator::parse(Path::new(text)).ok();
        assert_eq!(parse("org/name"), hub("org/name", None, None));
        assert_eq!(parse("org/na-me.v1@v0.2"), hub("org/na-me.v1", Some("v0.2"), None));
        assert_eq!(parse("org/name@refs/pr/1"), hub("org/name", Some("refs/pr/1"), None));
        assert_eq!(parse("hf://gpt2"), hub("gpt2", None, None));
        assert_eq!(parse("hf://org/name/a/b.gguf"), hub("org/name", None, Some("a/b.gguf")));
        assert_eq!(
            parse("hf://org/name@refs/pr/3/x.gguf"),
            hub("org/name", Some("refs/pr/3"), Some("x.gguf"))
        );
        let address = "https://huggingface.co/org/name/resolve/main/x.gguf?download=true";
        assert_eq!(parse(address), hub("org/name", Some("main"), Some("x.gguf")));
        assert_eq!(parse("https://huggingface.co/org/name"), hub("org/name", None, None));
        for path in ["src/none", "./org/name", "/org/name", "org/name.gguf", "a/b/c", "name", "../x/y"] {
            assert_eq!(parse(path), Some(Locator::Path(path.into())), "{path}");
        }
        assert!(matches!(parse("https://example.org/x.gguf"), Some(Locator::Url(_))));
        assert!(matches!(parse("s3://bucket/x"), Some(Locator::Store(_))));
        for wrong in [
            "s3://a//b",
            "abfs://a/b",
            "hf://",
            "hf://org/name/../x",
            "hf://org/name@..",
            "file:///etc/passwd",
            "ftp://x/y",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_cache_tells_what_the_hub_calls_a_model() {
        let id = |path: &str| hub_id(Path::new(path));
        assert_eq!(id("hf://org/name@0123/x.safetensors").as_deref(), Some("org/name"));
        assert_eq!(id("/c/models--org--name/snapshots/0123/x.json").as_deref(), Some("org/name"));
        assert_eq!(id("/c/models--org--name/snapshots/0123").as_deref(), Some("org/name"));
        assert_eq!(id("/c/models--org--name/blobs/0123"), None);
        assert_eq!(id("/c/name/snapshots/0123"), None);
    }

    #[test]
    fn addresses_are_told_without_their_secrets() {
        let shown = shown_address("https://me:secret@host/a/x.gguf?Signature=secret#f");
        assert_eq!(shown, Path::new("https://host/a/x.gguf"));
    }
}
