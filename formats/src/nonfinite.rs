//! Numbers that JSON has no words for, but Python writes (`Infinity`, `-Infinity`, `NaN`): configs of Mamba 2 bound
//! their time steps so. They become what transformers 5 writes in their place, `{"__float__": "Infinity"}`, so that
//! whoever asks for such a number is told that it is none.
//! Specification: Python's `json`, `allow_nan`; `PreTrainedConfig.to_json_string` of transformers 5.

use std::borrow::Cow;

const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// The most of them: each takes a hundred times its text. Configs have two.
const MOST: usize = 1000;

/// `text` with such words replaced; as it is where it holds none outside strings, or too many.
pub fn replaced(text: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut done, mut at) = (Vec::new(), 0, 0);
    let (mut within, mut found) = (false, 0);
    while let Some(byte) = text.get(at) {
        let word = WORDS.iter().find(|word| !within && text[at..].starts_with(word));
        match (byte, word) {
            (_, Some(word)) => {
                out.extend_from_slice(&text[done..at]);
                out.extend_from_slice(b"{\"__float__\":\"");
                out.extend_from_slice(word);
                out.extend_from_slice(b"\"}");
                at += word.len();
                done = at;
                found += 1;
                continue;
            }
            (b'"', None) => within = !within,
            (b'\\', None) if within => at += 1,
            _ => {}
        }
        at += 1;
    }
    if found == 0 || found > MOST {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[done..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_json;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn what_python_writes_for_no_number_is_read_as_what_transformers_writes() {
        let text =
            br#"{"time_step_limit": [0.0, Infinity, -Infinity], "a": NaN, "Infinity \" NaN": "Infinity"}"#;
        let float = |word: &str| json!({"__float__": word});
        let read = json!({"time_step_limit": [0.0, float("Infinity"), float("-Infinity")], "a": float("NaN"),
                          "Infinity \" NaN": "Infinity"});
        assert_eq!(parse_json(text, Path::new("config.json")).unwrap(), read);
    }

    #[test]
    fn what_is_no_json_stays_an_error_of_its_own_place() {
        for text in [&b"{\"a\": Infinit}"[..], b"{\"a\": [Infinity}", b"{\"a\": \"\\", b"InfinityNaN"] {
            let error = parse_json(text, Path::new("config.json")).unwrap_err().to_string();
            assert!(error.contains("this is not valid JSON: "), "{error}");
        }
        let many = format!("[{}0]", "NaN,".repeat(MOST + 1));
        assert!(parse_json(many.as_bytes(), Path::new("config.json")).is_err());
    }
}
