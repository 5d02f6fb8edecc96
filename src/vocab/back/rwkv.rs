//! The way back to RWKV's `rwkv_vocab_v20230424.txt`: every token as a Python literal of its bytes, which is read as one of a
//! string is. Serves the door.

use super::{Regained, Words, kinds};
use crate::vocab::rwkv::{FILE, bytes_of};
use ggraft_formats::{Error, Result};
use std::fmt::Write;

/// Adds the file.
pub fn write(words: &Words<'_>, out: &mut Regained) -> Result<()> {
    let mut text = String::new();
    for id in (1..words.tokens.len()).take_while(|id| words.kind(*id) == kinds::NORMAL) {
        let token = words.text(id)?;
        let quote = if token.contains('\'') && !token.contains('"') { '"' } else { '\'' };
        let literal = format!("b{quote}{token}{quote}");
        let Some(bytes) = bytes_of(&literal) else {
            return Err(Error::invalid("a token is not written as RWKV's are")
                .expected("bytes as Python prints them")
                .found(format!("'{token}' with the id {id}")));
        };
        _ = writeln!(text, "{id} {literal} {}", bytes.len());
    }
    out.files.push((String::from(FILE), text.into_bytes()));
    Ok(())
}
