//! What the environment says of the hub, in the variables of huggingface_hub: where it is, where its cache is, by which
//! token it is asked, and whether it is asked at all.

use std::path::PathBuf;

/// The hub, as the environment describes it.
pub struct Environment {
    /// Without a slash at its end.
    pub endpoint: String,
    /// The cache of models.
    pub cache: PathBuf,
    pub token: Option<String>,
    pub is_offline: bool,
}

const ENDPOINT: &str = "https://huggingface.co";
/// The longest token that is believed.
const MOST_TOKEN: usize = 4096;

impl Environment {
    pub fn read() -> Environment {
        Environment::of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(var: &dyn Fn(&str) -> Option<String>) -> Environment {
        let path = |name: &str| var(name).map(|text| expanded(&text, var));
        let home = path("HF_HOME").or_else(|| path("XDG_CACHE_HOME").map(|dir| dir.join("huggingface")));
        let home = home.unwrap_or_else(|| expanded("~/.cache/huggingface", var));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let yes = |name: &str| {
            var(name).is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str()))
        };
        let file = || {
            let path = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            std::fs::read_to_string(path).ok()
        };
        let token = match yes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            true => None,
            false => var("HF_TOKEN").or_else(|| var("HUGGING_FACE_HUB_TOKEN")).or_else(file),
        };
        let token = token.map(|token| token.trim().to_string());
        let plain = |token: &String| {
            !token.is_empty() && token.len() <= MOST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic())
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| String::from(ENDPOINT));
        Environment {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: token.filter(plain),
            is_offline: yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"),
        }
    }
}

/// A path with `~` at its beginning and `$NAME` or `${NAME}` in it filled in.
fn expanded(text: &str, var: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let home = || var("HOME").or_else(|| var("USERPROFILE")).unwrap_or_default();
    let text = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => format!("{}{rest}", home()),
        _ => text.to_string(),
    };
    let mut parts = text.split('$');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let braced = part.strip_prefix('{').and_then(|part| part.split_once('}'));
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = braced.unwrap_or_else(|| part.split_at(end));
        match var(name) {
            Some(value) => out.extend([value.as_str(), rest]),
            None => out.extend(["$", part]),
        }
    }
    PathBuf::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Environment {
        Environment::of(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        let cache = |vars: &[(&str, &str)]| of(vars).cache.to_string_lossy().into_owned();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/hf")]), "/h/hf/hub");
        assert_eq!(cache(&[("A", "/a"), ("HF_HOME", "$A/${A}b$NONE")]), "/a//ab$NONE/hub");
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), "/c");
    }

    #[test]
    fn switches_and_tokens_are_those_of_huggingface_hub() {
        assert!(
            of(&[("HF_HUB_OFFLINE", "true")]).is_offline && of(&[("TRANSFORMERS_OFFLINE", "1")]).is_offline
        );
        assert!(!of(&[("HF_HUB_OFFLINE", "0")]).is_offline);
        assert_eq!(of(&[("HF_TOKEN", " t \n"), ("HF_HOME", "/none")]).token.as_deref(), Some("t"));
        let hidden = [("HF_TOKEN", "t"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(of(&hidden).token, None);
        assert_eq!(of(&[("HF_TOKEN", "a\nb"), ("HF_HOME", "/none")]).token, None);
    }
}
