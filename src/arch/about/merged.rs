//! What a merged model is called: as CP, with the name of what was done to it, in `general.name` for people and in
//! `general.finetune`, which file names are made of. Serves `merge`; `rename` is what a user says instead.
//! Specification: GGUF's naming convention, `BaseName-SizeLabel-FineTune-Version-Encoding`.

use super::id;
use crate::text;
use ggraft_formats::Metadata;

const NAME: &str = "general.name";
const BASENAME: &str = "general.basename";
const FINETUNE: &str = "general.finetune";
const VERSION: &str = "general.version";

/// Marks the metadata of CP as those of a model that was made from it: `what` in words with hyphens, such as `chat-vector`.
pub fn mark(metadata: &mut Metadata, what: &str) {
    let text = |key: &str| metadata.str(key).map(str::trim).filter(|t| !t.is_empty()).map(String::from);
    let (name, finetune) = (text(NAME), text(FINETUNE));
    // The version is CP's: it stands in the name of the file, and would say something of the merge here.
    let plain = name.as_deref().map(|name| {
        let version = text(VERSION).and_then(|v| name.strip_suffix(v.as_str()).map(str::trim_end));
        version.filter(|rest| !rest.is_empty()).unwrap_or(name)
    });
    let (basename, title) = (plain.and_then(text::file_name), id::title(what));
    let titled = plain.map(|name| match name.ends_with(&title) {
        true => name.to_string(),
        false => format!("{name} {title}"),
    });
    if text(BASENAME).is_none()
        && let Some(basename) = basename
    {
        metadata.set(BASENAME, basename);
    }
    if let Some(titled) = titled {
        metadata.set(NAME, titled);
    }
    metadata.set(
        FINETUNE,
        match finetune {
            Some(other) if other.contains(what) => other,
            Some(other) => format!("{other}-{what}"),
            None => what.to_string(),
        },
    );
}

/// Calls the model `name`; what was taken from its old name is gone.
pub fn rename(metadata: &mut Metadata, name: &str) {
    [BASENAME, FINETUNE, VERSION].into_iter().for_each(|key| _ = metadata.remove(key));
    metadata.set(NAME, name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> Metadata {
        let mut metadata = Metadata::new();
        pairs.iter().for_each(|(key, value)| metadata.set(&format!("general.{key}"), *value));
        metadata
    }

    #[test]
    fn a_merge_is_not_called_as_cp_is() {
        let eeve = [("name", "EEVE Korean 10.8B v1.0"), ("basename", "EEVE-Korean"), ("version", "v1.0")];
        let instruct = [("name", "Qwen 7B Instruct"), ("basename", "Qwen"), ("finetune", "Instruct")];
        for (pairs, name, basename, finetune) in [
            (&eeve[..], Some("EEVE Korean 10.8B Chat Vector"), Some("EEVE-Korean"), "chat-vector"),
            (&instruct, Some("Qwen 7B Instruct Chat Vector"), Some("Qwen"), "Instruct-chat-vector"),
            (&[("name", "Cp")], Some("Cp Chat Vector"), Some("Cp"), "chat-vector"),
            (&[("name", "v1.0"), ("version", "v1.0")], Some("v1.0 Chat Vector"), Some("v1.0"), "chat-vector"),
            (&[], None, None, "chat-vector"),
        ] {
            let mut m = told(pairs);
            for _ in 0..2 {
                mark(&mut m, "chat-vector");
                assert_eq!((m.str(NAME), m.str(BASENAME), m.str(FINETUNE)), (name, basename, Some(finetune)));
            }
            rename(&mut m, "My model");
            assert_eq!((m.str(NAME), m.str(BASENAME), m.str(FINETUNE)), (Some("My model"), None, None));
        }
    }
}
