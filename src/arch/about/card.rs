//! The model card: the YAML between the first two `---` lines of `README.md`. It is read as YAML 1.1, as Hugging
//! Face's own tools do, and turned into JSON values.
//! Specification: `Metadata.load_model_card` of llama.cpp's gguf-py.

use ggraft_formats::{Checkpoint, Kind, Result};
use serde_json::{Map, Value};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

/// The card of `checkpoint`, empty if there is none. A card that cannot be read is no reason to refuse a model:
/// that goes to `warnings`.
pub fn read(checkpoint: &Checkpoint, warnings: &mut Vec<String>) -> Result<Map<String, Value>> {
    let text = match checkpoint.text("README.md") {
        Ok(text) => text.unwrap_or_default(),
        Err(e) if e.kind() == Kind::Invalid => {
            warnings.push(format!("the model card is left out: {e}"));
            return Ok(Map::new());
        }
        Err(e) => return Err(e),
    };
    let Some(yaml) = front_matter(&text) else { return Ok(Map::new()) };
    Ok(parse(&yaml).unwrap_or_else(|problem| {
        warnings.push(format!("README.md: the model card is left out: {problem}"));
        Map::new()
    }))
}

/// The lines between the first line, which must be `---`, and the next such line.
fn front_matter(text: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.next().filter(|first| *first == "---")?;
    let mut yaml = String::new();
    for line in lines.take_while(|line| *line != "---") {
        // YAML forbids tabs, but cards have them; and a language list's `no` is Norwegian, not false.
        let line = line.replace('\t', "  ");
        match line.strip_suffix("- no") {
            Some(indent) => yaml.extend([indent, "- \"no\""]),
            None => yaml.push_str(&line),
        }
        yaml.push('\n');
    }
    Some(yaml)
}

fn parse(yaml: &str) -> Result<Map<String, Value>, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(yaml, options).map_err(|e| e.to_string())? {
        Value::Object(card) => Ok(card),
        Value::Null => Ok(Map::new()),
        _ => Err(String::from("its front matter is not a mapping")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_between_the_first_two_rules() {
        assert_eq!(front_matter("---\na: 1\n---\nb: 2\n").as_deref(), Some("a: 1\n"));
        assert_eq!(front_matter("# A model\n---\na: 1\n---\n"), None);
        assert_eq!(front_matter(""), None);
    }

    #[test]
    fn norwegian_is_a_language() {
        let card = parse(&front_matter("---\nlanguage:\n- en\n- no\n---").unwrap()).unwrap();
        assert_eq!(card["language"], serde_json::json!(["en", "no"]));
    }

    #[test]
    fn a_broken_card_says_where() {
        let problem = parse("a: [1,\n").unwrap_err();
        assert!(problem.contains("line 1"), "{problem}");
        assert!(parse("- a\n").is_err());
    }
}
