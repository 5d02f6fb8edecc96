//! WordPiece (BERT's `tokenizer.json`) -> the table of a "bert" vocabulary: a piece that goes on a word loses its `##`, one
//! that begins a word gets U+2581, special tokens stay as they are. Serves the door.
//! Specification: `WordPiece` of the `tokenizers` library; convert_hf_to_gguf `BertModel.set_vocab`.

use super::added::{Added, Origin};
use super::bpe::{self, Vocab};
use super::files::{self, Files};
use super::kinds;
use super::table::Table;
use ggraft_formats::Result;
use serde_json::Value;

/// The name of the pre-tokenizer: the runtime has one for all of them.
pub const PRE: &str = "bert-bge";

pub fn is_wordpiece(json: &Value) -> bool {
    json.get("model").and_then(|m| m.get("type")).is_some_and(|kind| kind == "WordPiece")
}

/// The table of `vocab` and the tokens added to it, padded to `size` ids.
pub fn table(files: &Files, vocab: &Vocab, added: &[Added], size: Option<usize>) -> Result<Table> {
    let n = bpe::table_len(files, vocab, added, size)?;
    let mut table = Table::holes(n, false);
    for (&text, &id) in vocab {
        table.set(id as usize, spelled(text), kinds::NORMAL, 0.0);
    }
    for id in 0..n {
        table.respell(id, |text| format!("\u{2581}{text}"));
    }
    for token in added {
        let (text, kind) = Added { origin: Origin::Tokenizer, ..token.clone() }.text_and_type();
        let text = if kind == kinds::CONTROL { text } else { spelled(&text) };
        table.set(token.id as usize, text, kind, 0.0);
    }
    table.finish(&files.path(files::TOKENIZER))?;
    Ok(table)
}

/// What to say of a vocabulary that spells Korean by its letters, if accents are stripped: of the letters of a syllable the runtime
/// takes the first alone (llama.cpp v0.5.0, `unicode_cpts_normalize_nfd`), the library all.
pub fn of_hangul(vocab: &Vocab, strips_accents: bool) -> Option<String> {
    const VOWELS: std::ops::RangeInclusive<char> = '\u{1161}'..='\u{1175}';
    let spells = || vocab.keys().any(|text| text.chars().any(|c| VOWELS.contains(&c)));
    (strips_accents && spells()).then(|| {
        String::from(
            "llama.cpp keeps the first letter alone of each Hangul syllable where a tokenizer strips accents: Korean text gets other \
             tokens than the model's own tokenizer gives it",
        )
    })
}

/// As the runtime has it.
fn spelled(text: &str) -> String {
    text.strip_prefix("##").map_or_else(|| format!("\u{2581}{text}"), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_is_spoken_of_where_it_is_spelled_by_letters_and_accents_go() {
        let spells: Vocab = [("a", 0), ("\u{1100}", 1), ("##\u{1161}", 2)].into_iter().collect();
        assert!(of_hangul(&spells, true).unwrap().contains("Hangul"));
        assert_eq!(of_hangul(&spells, false), None);
        assert_eq!(of_hangul(&[("a", 0), ("##\u{ac00}", 1)].into_iter().collect(), true), None);
    }
}
