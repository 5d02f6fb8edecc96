//! What lies in an object store, as a user names it: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`. A key is a
//! file, or the folder of a model.

use std::path::{Path, PathBuf};

/// Whose interface a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon's, which many others have too.
    S3,
    /// Google's.
    Gcs,
    /// Azure's.
    Azure,
}

/// A file or a folder in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub cloud: Cloud,
    /// A bucket; Azure says container.
    pub bucket: String,
    /// Without slashes at its ends; empty for the bucket itself.
    pub key: String,
}

const CLOUDS: [(&str, Cloud); 3] = [("s3://", Cloud::S3), ("gs://", Cloud::Gcs), ("az://", Cloud::Azure)];
/// The longest name of a bucket.
const MOST_BUCKET: usize = 255;
/// The longest key.
const MOST_KEY: usize = 1024;

impl Cloud {
    /// With what the names of its files begin.
    pub fn scheme(self) -> &'static str {
        CLOUDS.iter().find(|(_, cloud)| *cloud == self).map_or("", |(scheme, _)| scheme)
    }

    /// Where its credentials are looked for.
    pub fn variables(self) -> &'static str {
        match self {
            Cloud::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)",
            Cloud::Gcs => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
            Cloud::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        }
    }

    /// Of whom a text begins with the scheme.
    pub fn of(text: &str) -> Option<Cloud> {
        CLOUDS.iter().find(|(scheme, _)| text.starts_with(scheme)).map(|(_, cloud)| *cloud)
    }
}

impl Stored {
    /// Reads what was typed, or told to people.
    pub fn parse(text: &str) -> Option<Stored> {
        let cloud = Cloud::of(text)?;
        let rest = text.strip_prefix(cloud.scheme())?.trim_end_matches('/');
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_bucket = !bucket.is_empty() && bucket.len() <= MOST_BUCKET && bucket.chars().all(plain);
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_key = key.is_empty()
            || (key.len() <= MOST_KEY && key.split('/').all(is_part) && !key.chars().any(char::is_control));
        (is_bucket && is_key).then(|| Stored { cloud, bucket: bucket.into(), key: key.into() })
    }

    /// As it is told to people, who can type it so.
    pub fn shown(&self) -> PathBuf {
        let slash = if self.key.is_empty() { "" } else { "/" };
        PathBuf::from(format!("{}{}{slash}{}", self.cloud.scheme(), self.bucket, self.key))
    }

    /// The same store, and another key.
    pub fn with(&self, key: &str) -> Stored {
        Stored { key: key.to_string(), ..self.clone() }
    }

    /// What is told of a file of a store, if it is one.
    pub fn of_shown(path: &Path) -> Option<Stored> {
        path.to_str().and_then(Stored::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_stores_are_read_as_they_are_told() {
        let parse = |text: &str| Stored::parse(text).map(|found| (found.cloud, found.bucket, found.key));
        let of = |cloud, bucket: &str, key: &str| Some((cloud, bucket.to_string(), key.to_string()));
        assert_eq!(parse("s3://models/a/b/"), of(Cloud::S3, "models", "a/b"));
        assert_eq!(parse("gs://models/x.gguf"), of(Cloud::Gcs, "models", "x.gguf"));
        assert_eq!(parse("az://c"), of(Cloud::Azure, "c", ""));
        for wrong in
            ["s3://", "s3:///x", "s3://b/../x", "s3://b//x", "s3://u:p@b/x", "s4://b/x", "s3://b/a\nb"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let shown = |text: &str| Stored::parse(text).map(|found| found.shown());
        assert_eq!(shown("s3://models/a/"), Some("s3://models/a".into()));
        assert_eq!(shown("s3://models/"), Some("s3://models".into()));
    }
}
