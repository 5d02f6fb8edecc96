//! The tokenizer's files of an output: CP's, with the tokens that the merge has added and the ends of text that it
//! has changed.

use super::{Source, json_file, template, without_paths};
use crate::arrange::Arrange;
use crate::vocab::{self, Tokens};
use ggraft_formats::error::Result;
use ggraft_formats::{Error, Metadata};
use serde_json::{Map, Value, json};
use std::path::Path;

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

/// Files that stay as they are.
const COPIED: [&str; 9] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.jsonl",
    "vocab.json",
    "merges.txt",
    "tekken.json",
    "rwkv_vocab_v20230424.txt",
    "qwen.tiktoken",
];

/// `llama_token_type` of tokens that are matched whole and never shown.
const CONTROL: i32 = 3;
/// That of a row without a token.
const UNUSED: i32 = 5;

/// A token that CP did not have.
struct Added {
    id: usize,
    text: String,
    special: bool,
}

/// A change of a JSON file.
type Edit<'a> = &'a dyn Fn(&mut Value);

/// All files of the tokenizer but those that hold only chat templates.
pub fn files(source: &Source, metadata: &Metadata) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in COPIED {
        files.extend(source.copy(name)?);
    }
    let added = added(source, metadata)?;
    let specials = specials(source, metadata)?;
    if let Some(json) = source.checkpoint.json(TOKENIZER)?.filter(|_| !added.is_empty()) {
        check(&json, &added, &source.checkpoint.dir.join(TOKENIZER))?;
    }
    let edits: [(&str, Edit); 4] = [
        (TOKENIZER, &|json| append(json, &added)),
        (CONFIG, &|json| {
            declare(json, &added);
            name(json, &specials);
            template::set(json, source, metadata);
        }),
        (SPECIAL, &|json| name(json, &specials)),
        (ADDED, &|json| list(json, &added)),
    ];
    for (file, edit) in edits {
        let Some(old) = source.checkpoint.json(file)?.filter(Value::is_object) else {
            // Without any other place, what was decided is said in files of its own.
            if file == CONFIG {
                let mut new = json!({});
                edit(&mut new);
                files.extend((new != json!({})).then(|| json_file(file, &new, None)));
            }
            continue;
        };
        let mut new = old.clone();
        without_paths(&mut new);
        edit(&mut new);
        let bytes = source.checkpoint.bytes(file)?;
        files.push(json_file(file, &new, bytes.as_ref().map(|b| (&old, b.bytes()))));
    }
    Ok(files)
}

/// The `tokenizers` library numbers the tokens anew: it must give each the id of its row.
fn check(json: &Value, added: &[Added], file: &Path) -> Result<()> {
    let mut new = json.clone();
    append(&mut new, added);
    let ids = vocab::library_ids(&new);
    let wrong = added.iter().find(|t| ids.get(&t.text).is_some_and(|id| *id as usize != t.id));
    let Some(token) = wrong else { return Ok(()) };
    Err(Error::unsupported(
        "tokenizer.json cannot give an added token the id of its row: onto's vocabulary has gaps",
    )
    .file(file)
    .expected(format!("'{}' with the id {}", token.text, token.id))
    .found(ids.get(&token.text).copied().unwrap_or_default())
    .hint("choose GGUF types, or close the gaps in onto's tokenizer.json"))
}

/// The tokens of `metadata` that are not those of the source, or have become special.
fn added(source: &Source, metadata: &Metadata) -> Result<Vec<Added>> {
    let (Some(new), Some(old)) = (Tokens::of(metadata)?, Tokens::of(&source.metadata)?) else {
        return Ok(Vec::new());
    };
    let same = |id: usize| old.tokens.get(id) == new.tokens.get(id) && old.types.get(id) == new.types.get(id);
    let filler = |id: usize| new.types.get(id) == Some(&UNUSED);
    let changed = new.tokens.iter().enumerate().filter(|(id, _)| !same(*id) && !filler(*id));
    let one = |(id, text): (usize, &bstr::BString)| {
        let text = String::from_utf8(text.to_vec()).map_err(|_| {
            Error::unsupported("an added token is not UTF-8, which tokenizer.json cannot say")
                .found(format!("'{text}' with the id {id}"))
        })?;
        Ok(Added { id, text, special: new.types.get(id) == Some(&CONTROL) })
    };
    changed.map(one).collect()
}

/// `bos_token` and `eos_token`, where the merge has changed them: the key and the token.
fn specials(source: &Source, metadata: &Metadata) -> Result<Vec<(&'static str, String)>> {
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(Vec::new()) };
    let mut changed = Vec::new();
    for (name, key) in
        [("bos_token", "tokenizer.ggml.bos_token_id"), ("eos_token", "tokenizer.ggml.eos_token_id")]
    {
        let id = metadata.u64(key).filter(|id| source.metadata.u64(key) != Some(*id));
        let token = id.and_then(|id| tokens.tokens.get(usize::try_from(id).ok()?));
        changed.extend(token.map(|token| (name, token.to_string())));
    }
    Ok(changed)
}

fn flags(token: &Added) -> Map<String, Value> {
    let flags = json!({
        "content": token.text, "lstrip": false, "normalized": false, "rstrip": false,
        "single_word": false, "special": token.special,
    });
    flags.as_object().cloned().unwrap_or_default()
}

/// `added_tokens` of `tokenizer.json`.
fn append(json: &mut Value, added: &[Added]) {
    if added.is_empty() {
        return;
    }
    let mut all = json["added_tokens"].as_array().cloned().unwrap_or_default();
    for token in added {
        all.retain(|old| old["id"].as_u64() != Some(token.id as u64));
        let id = [("id".to_string(), json!(token.id))];
        all.push(Value::Object(id.into_iter().chain(flags(token)).collect()));
    }
    all.arrange_by_key(|token| token["id"].as_u64());
    json["added_tokens"] = Value::Array(all);
}

/// `added_tokens_decoder` of `tokenizer_config.json`.
fn declare(json: &mut Value, added: &[Added]) {
    if added.is_empty() {
        return;
    }
    let mut all = json["added_tokens_decoder"].as_object().cloned().unwrap_or_default();
    for token in added {
        all.insert(token.id.to_string(), Value::Object(flags(token)));
    }
    json["added_tokens_decoder"] = Value::Object(all);
}

/// `added_tokens.json`.
fn list(json: &mut Value, added: &[Added]) {
    for token in added {
        json[&token.text] = json!(token.id);
    }
}

/// The special tokens, which are texts, or objects with `content`.
fn name(json: &mut Value, specials: &[(&str, String)]) {
    for (key, token) in specials {
        match json[*key].get_mut("content") {
            Some(content) => *content = json!(token),
            None => json[*key] = json!(token),
        }
    }
}
