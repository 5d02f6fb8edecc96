//! What the hub says of a model: how it spells its name, the commit, the files. Nothing of it is believed that could lead
//! elsewhere, and no more is kept than is used, however long the answer is.

use super::cache::is_commit;
use crate::error::{Error, Result};
use crate::inside::stays_inside;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The branch that is meant where none is named.
pub const MAIN: &str = "main";

/// The most files of a model: the hub itself advises against more.
const MOST_FILES: usize = 100_000;

/// A model as the hub lists it.
pub struct Listing {
    /// As the hub spells it.
    pub id: String,
    pub commit: String,
    /// With the bytes of each, where the hub tells them.
    pub files: BTreeMap<String, Option<u64>>,
    /// The SHA-256 of large files, what git calls the others.
    pub hashes: BTreeMap<String, String>,
}

/// The members of the answer that are read.
#[derive(Deserialize)]
struct Told {
    id: Option<String>,
    sha: Option<String>,
    siblings: Option<Siblings>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: Option<String>,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: Option<String>,
}

struct Siblings(Vec<Sibling>);

impl<'de> Deserialize<'de> for Siblings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Siblings, D::Error> {
        from.deserialize_seq(Counted)
    }
}

/// Reads siblings as long as they are not too many.
struct Counted;

impl<'de> Visitor<'de> for Counted {
    type Value = Siblings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Siblings, A::Error> {
        let mut all = Vec::new();
        while let Some(sibling) = list.next_element()? {
            if all.len() == MOST_FILES {
                return Err(A::Error::custom(format!("more than {MOST_FILES} files")));
            }
            all.push(sibling);
        }
        Ok(Siblings(all))
    }
}

/// Reads the answer about the model that was `asked` for.
pub fn listing(text: &[u8], asked: &str) -> Result<Listing> {
    let lie = |what: &str| Error::invalid(format!("the hub's answer is not one about a model: {what}"));
    let told: Told = serde_json::from_slice(text).map_err(|e| lie(&format!("not valid JSON: {e}")))?;
    let id = told.id.as_deref().unwrap_or(asked);
    // What was renamed is answered under its new name.
    let id = crate::source::hub_id(Path::new(&format!("hf://{id}")));
    let id = id.ok_or_else(|| lie("its name is no name"))?;
    let commit = told.sha.filter(|sha| is_commit(sha)).ok_or_else(|| lie("it tells no commit"))?;
    let siblings = told.siblings.ok_or_else(|| lie("it lists no files"))?;
    let (mut files, mut hashes) = (BTreeMap::new(), BTreeMap::new());
    for Sibling { rfilename, size, blob, lfs } in siblings.0 {
        let name = rfilename.ok_or_else(|| lie("a file has no name"))?;
        if !stays_inside(&name) {
            return Err(lie("a file lies outside").found(format!("'{name}'")));
        }
        let hash = lfs.map_or(blob, |large| large.sha256);
        hashes.extend(hash.map(|hash| (name.clone(), hash)));
        files.insert(name, size);
    }
    Ok(Listing { id, commit, files, hashes })
}
