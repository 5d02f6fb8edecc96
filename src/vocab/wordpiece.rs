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

/// As the runtime has it.
fn spelled(text: &str) -> String {
    text.strip_prefix("##").map_or_else(|| format!("\u{2581}{text}"), String::from)
}
