//! The name that was probably meant by one that there is not. Serves every error about an unknown word.

/// The one of `names` that is nearest to `text`, if one is near. Case and separators do not count: they are what
/// people remember least.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.to_ascii_uppercase().replace(['_', '-', ' ', '.'], "");
    let wanted = bare(text);
    let measured = names.into_iter().map(|name| (edits(&wanted, &bare(name)), name));
    let (distance, name) = measured.min_by_key(|(distance, _)| *distance)?;
    let near = distance <= 2 && distance * 2 <= wanted.len() || distance * 5 <= wanted.len();
    near.then_some(name)
}

/// The end of an error about `text`: `; did you mean NAME?`, or nothing.
pub fn hint<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, names).map_or(String::new(), |name| format!("; did you mean {name}?"))
}

/// How many characters must be put in, left out or changed to make `b` of `a` (Levenshtein). Of a long `a` only the
/// beginning is looked at.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().take(80).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[row.len() - 1]
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
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(hint("ties_", ["ties", "slerp"]), "; did you mean ties?");
    }
}
