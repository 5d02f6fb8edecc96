//! The name that was probably meant by one that there is not. Serves every error about an unknown word.

/// Of a longer text only the beginning is looked at.
const LONGEST: usize = 80;
/// The letters that a name must begin with to be taken for its beginning.
const BEGUN: usize = 4;

/// The one of `names` that is nearest to `text`, if one is near, else the first that begins so. Case and separators do
/// not count: they are what people remember least.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.to_ascii_uppercase().replace(['_', '-', ' ', '.'], "");
    // The time grows with the length, and nobody types more.
    let wanted: String = bare(text).chars().take(LONGEST).collect();
    let measured = |name: &'a str| (strsim::levenshtein(&wanted, &bare(name)), name);
    let measured: Vec<(usize, &str)> = names.into_iter().map(measured).collect();
    let (distance, name) = measured.iter().min_by_key(|(distance, _)| *distance)?;
    let near = *distance <= 2 && distance * 2 <= wanted.len() || distance * 5 <= wanted.len();
    let begun = || measured.iter().find(|(_, name)| wanted.len() >= BEGUN && bare(name).starts_with(&wanted));
    near.then_some(*name).or_else(|| begun().map(|(_, name)| *name))
}

/// The end of an error about `text`: `; did you mean NAME?`, or nothing.
pub fn did_you_mean<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, names).map_or(String::new(), |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_suggested_and_nothing_else() {
        let keys = ["general.name", "general.architecture", "tokenizer.ggml.eos_token_id"];
        assert_eq!(nearest("general.nam", keys), Some("general.name"));
        assert_eq!(nearest("tokenizer.ggml.eos-tokenid", keys), Some("tokenizer.ggml.eos_token_id"));
        assert_eq!(nearest("general.license", keys), None);
        assert_eq!(nearest("general.arch", keys), Some("general.architecture"));
        assert_eq!(nearest("gen", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(did_you_mean("ties_", ["ties", "slerp"]), "; did you mean ties?");
    }
}
