//! What the user says about single tensors: patterns of names, each with a dtype, of which the first that matches
//! decides. Served are `--tensor-type` and `--tensor-type-file`.
//! Specification: llama.cpp v0.5.0, llama-quantize; ours keeps the case of a pattern.

use ggraft_formats::{DType, Error, Result};
use regex::Regex;
use std::path::Path;

/// Tensors whose names hold a match of the pattern get the dtype.
#[derive(Clone, Debug)]
pub struct TensorType {
    pub pattern: Regex,
    pub dtype: DType,
    /// Whether it stands in a file, which may serve models that have other tensors, too.
    pub is_of_file: bool,
}

impl TensorType {
    /// Parses `REGEX=DTYPE`.
    ///
    /// # Errors
    /// There is no pattern, it is not a regular expression, or there is no such dtype.
    pub fn parse(text: &str) -> Result<TensorType> {
        let wrong = || {
            Error::usage("this is not a rule for a dtype").expected("REGEX=DTYPE").found(format!("'{text}'"))
        };
        // A pattern may hold a '=', a dtype does not.
        let (pattern, name) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or_else(|| wrong().hint("write such as attn_v=q8_0"))?;
        let dtype = DType::from_name(name).ok_or_else(|| {
            let names: Vec<&str> =
                DType::all().filter(|d| d.traits().encode.is_some()).map(|d| d.traits().name).collect();
            wrong()
                .hint(format!("there is no dtype '{name}'; those that can be written: {}", names.join(" ")))
        })?;
        let pattern = Regex::new(pattern).map_err(|e| {
            // The last line of the error says what is wrong, those before it show where.
            let why = e.to_string().lines().last().unwrap_or_default().trim().to_string();
            wrong().hint(format!("'{pattern}' is not a regular expression: {why}"))
        })?;
        Ok(TensorType { pattern, dtype, is_of_file: false })
    }

    /// Reads a file of such words, between white space.
    ///
    /// # Errors
    /// The file cannot be read, or a word of it is not one.
    pub fn read(path: &Path) -> Result<Vec<TensorType>> {
        let text = ggraft_formats::text(path)?;
        let read = |word| TensorType::parse(word).map(|t| TensorType { is_of_file: true, ..t });
        text.split_whitespace().map(|word| read(word).map_err(|e| e.file(path))).collect()
    }

    /// The dtype of the first that matches.
    pub(super) fn of(name: &str, all: &[TensorType]) -> Option<DType> {
        all.iter().find(|t| t.pattern.is_match(name)).map(|t| t.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_pattern_and_a_dtype() {
        let t = TensorType::parse(r"^blk\.\d+\.attn_(?P<x>v|k)=Q8_0").unwrap();
        assert_eq!((t.pattern.as_str(), t.dtype), (r"^blk\.\d+\.attn_(?P<x>v|k)", DType::Q8_0));
        assert_eq!(TensorType::parse("a=b=iq4_NL").unwrap().pattern.as_str(), "a=b");
        assert!(TensorType::parse(r"^\p{L}+$=q8_0").unwrap().pattern.is_match("가중치"));
    }

    #[test]
    fn wrong_words_are_usage_errors() {
        for (text, said) in [
            ("attn_v", "expected REGEX=DTYPE, found 'attn_v'; write such as attn_v=q8_0"),
            ("=q8_0", "write such as"),
            ("attn_v=", "there is no dtype ''"),
            ("attn_v=q9", "there is no dtype 'q9'; those that can be written: f32 f16"),
            ("(=q8_0", "'(' is not a regular expression: error: unclosed group"),
        ] {
            let error = TensorType::parse(text).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn the_first_match_decides_and_case_counts() {
        let all = ["attn_V=f16", "attn_v=q8_0", "attn=q4_0"].map(|t| TensorType::parse(t).unwrap());
        assert_eq!(TensorType::of("blk.0.attn_v.weight", &all), Some(DType::Q8_0));
        assert_eq!(TensorType::of("blk.0.ffn_up.weight", &all), None);
    }
}
