//! The post-processor of a `tokenizer.json`: the tokens that are put before, after and between texts.
//! Specification: `TemplateProcessing` of the `tokenizers` library.

use super::Words;
use crate::vocab::kinds;
use ggraft_formats::Result;
use serde_json::{Map, Value, json};

/// The template that adds what the flags say; null, if nothing is added.
pub fn template(words: &Words<'_>) -> Result<Value> {
    let id = |flag: &str, key: &str| words.flag(flag).filter(|set| *set).and_then(|_| words.id(key));
    let bos = id("add_bos_token", "bos_token_id");
    let eos = id("add_eos_token", "eos_token_id");
    // An ordinary token, which no file can name, separates texts in the runtime alone.
    let is_named = |id: &usize| words.kind(*id) != kinds::NORMAL;
    let sep = id("add_sep_token", "seperator_token_id").filter(is_named);
    // The runtime ends the first text before it separates it.
    let ends = eos.filter(|_| sep.is_some());
    let middle: Vec<usize> = ends.into_iter().chain(sep).collect();
    between(words, bos, &middle, eos)
}

/// The template that puts these tokens before, between and after texts.
pub fn between(
    words: &Words<'_>,
    first: Option<usize>,
    middle: &[usize],
    last: Option<usize>,
) -> Result<Value> {
    if first.is_none() && middle.is_empty() && last.is_none() {
        return Ok(Value::Null);
    }
    let mut named: Map<String, Value> = Map::new();
    let mut special = |id: Option<usize>, kind: u8| -> Result<Option<Value>> {
        let Some(id) = id else { return Ok(None) };
        let text = words.text(id)?;
        named.insert(text.into(), json!({"id": text, "ids": [id], "tokens": [text]}));
        Ok(Some(json!({"SpecialToken": {"id": text, "type_id": kind}})))
    };
    let text = |name: &str, kind: u8| Some(json!({"Sequence": {"id": name, "type_id": kind}}));
    let single = [special(first, 0)?, text("A", 0), special(last, 0)?];
    let mut pair = vec![special(first, 0)?, text("A", 0)];
    for id in middle {
        pair.push(special(Some(*id), 0)?);
    }
    if middle.is_empty() {
        // What ends a text, too, would be read as what separates two; whoever says nothing of that has no template for two.
        let begins_again = words.flag("add_sep_token").is_some();
        let again =
            first.filter(|id| begins_again && (last.is_some() || words.id("eos_token_id") != Some(*id)));
        pair.extend([special(last, 0)?, special(again, 1)?]);
    }
    pair.extend([text("B", 1), special(last, 1)?]);
    let list = |all: &[Option<Value>]| Value::Array(all.iter().flatten().cloned().collect());
    let (single, pair) = (list(&single), list(&pair));
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": named}))
}
