//! Those of `fixtures/families.json`. Of each: `name`, `config` as published ones have it, `words` (how many pieces of llama's, a
//! whole vocabulary, or whose small one), `dtype` if it is not BF16, `respelled` where published names are not the page's
//! first, `prefix` for another of the page's prefixes than its first, `newest` for the last spellings, `optional` for all tensors that a page may do
//! without,
//! `turns` for the tokens of GLM's turns, `tokens` for what `tokenizer_config.json` says besides, `template` for a chat template,
//! `shards` if there are several. A class that is another's second name is `like` that one's checkpoint.

use super::{Draft, Kind, Tiny, Words, newest};
use crate::support::vocabulary::fixture;
use safetensors::Dtype;
use serde_json::{Value, json};

/// How many pieces Gemma's small vocabulary has.
const PIECES: usize = 288;

pub fn all(known: &[Tiny]) -> Vec<Tiny> {
    let text = std::fs::read(fixture("families.json")).unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let mut all: Vec<Tiny> = Vec::new();
    for entry in &listed {
        let name = || leaked(entry["name"].as_str().unwrap());
        let tiny = match entry["like"].as_str() {
            Some(like) => {
                let like = known.iter().chain(&all).find(|tiny| tiny.name == like).expect(like);
                let mut tiny = Tiny { name: name(), is_second: true, ..like.clone() };
                tiny.config["architectures"] = json!([entry["class"]]);
                tiny
            }
            None => Tiny::new(name(), entry["config"].clone()),
        };
        let words = match &entry["words"] {
            Value::Number(n) => Words::Pieces(n.as_u64().unwrap() as usize),
            Value::String(whose) if whose == "bert" => Words::Encoder(Kind::Bert),
            Value::String(whose) if whose == "xlm-roberta" => Words::Encoder(Kind::Xlm),
            Value::String(whose) if whose == "t5" => Words::Encoder(Kind::T5),
            Value::String(whose) if whose == "qwen" => Words::Qwen,
            Value::String(whose) if whose == "rwkv" => Words::Rwkv,
            Value::String(whose) if whose == "gemma" => Words::Merged(PIECES),
            Value::String(whole) => Words::Whole(leaked(whole)),
            _ => tiny.words,
        };
        let dtype = match entry["dtype"].as_str() {
            Some("F16") => Dtype::F16,
            Some("F32") => Dtype::F32,
            _ => tiny.dtype,
        };
        let respelled = match entry["respelled"].as_object() {
            Some(pairs) => {
                let pairs = pairs.iter().map(|(page, own)| (leaked(page), leaked(own.as_str().unwrap())));
                pairs.collect::<Vec<_>>().leak()
            }
            None => tiny.respelled,
        };
        let turns: &[_] = match entry["template"].as_str() {
            Some(template) => vec![("chat_template.jinja", leaked(template))].leak(),
            None if entry["turns"] == true => &[("tokenizer_config.json", newest::GLM)],
            None => tiny.files,
        };
        let tokens = if entry["tokens"].is_object() { entry["tokens"].clone() } else { tiny.tokens.clone() };
        let shards = entry["shards"].as_u64().map_or(tiny.shards, |n| n as usize);
        let newest = entry["newest"] == true || tiny.draft.newest;
        let optional = entry["optional"] == true || tiny.draft.optional;
        let prefix = entry["prefix"].as_u64().map_or(tiny.draft.prefix, |n| n as usize);
        let draft = Draft { newest, optional, prefix };
        all.push(Tiny { words, dtype, draft, respelled, files: turns, tokens, shards, ..tiny });
    }
    all
}

/// A text that lives as long as the tests do.
fn leaked(text: &str) -> &'static str {
    text.to_string().leak()
}
