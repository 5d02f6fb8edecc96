//! The added tokens of a checkpoint as transformers has them once it has read every file: those of `tokenizer.json`,
//! then `added_tokens_decoder` (or, without one, `added_tokens.json`), then whatever is named as a special token.
//! Ids are those that the `tokenizers` library gives, which counts on and keeps no gap, whatever a file says.
//! Serves `spm`, `fallback`, `bpe` and `special`. Specification: `PreTrainedTokenizerBase._from_pretrained` and
//! `TokenizersBackend.__init__` of transformers 5; `AddedVocabulary::add_tokens` of tokenizers 0.23.

use super::added::{self, Added, Origin};
use super::bpe::Vocab;
use super::files::{self, Files};
use super::tell;
use ggraft_formats::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The added tokens of `files` over the trained vocabulary `base`, each once, in the order in which they were added.
pub fn read(files: &Files, base: &Vocab, warnings: &mut Vec<String>) -> Result<Vec<Added>> {
    let mut all = Library::over(base, files);
    let mut own = Vec::new();
    if let Some(json) = &files.tokenizer {
        own = added::of_tokenizer(files, json)?;
        for token in own.clone() {
            all.add(token)?;
        }
    }
    let declared = files.config("added_tokens_decoder").is_some();
    let named = named(files, declared)?;
    let mut more: BTreeMap<u32, Added> = BTreeMap::new();
    if declared {
        more.extend(added::of_config(files)?.into_iter().map(|token| (token.id, token)));
        say_unread(files, &more, &own, warnings)?;
    } else {
        for token in added::of_legacy(files)? {
            let special = named.contains(&token.content);
            more.insert(token.id, Added { special, normalized: !special, ..token });
        }
        for token in own {
            let content = token.content.clone();
            if let Some(lost) = more.insert(token.id, token).filter(|old| old.content != content) {
                warnings.push(format!(
                    "{}: '{}' is left out, as transformers leaves it out: its id {} is that of '{content}' in {}",
                    files::ADDED,
                    lost.content,
                    lost.id,
                    files::TOKENIZER
                ));
            }
        }
    }
    for token in more.into_values() {
        all.add(token)?;
    }
    for content in &named {
        all.name(content, warnings)?;
    }
    all.say(warnings);
    tell::matching(files, &all.tokens, warnings);
    Ok(all.tokens)
}

/// The ids that the library gives to the added tokens of a `tokenizer.json`, whatever that states; none for a
/// model whose vocabulary is no map.
pub fn library_ids(json: &Value) -> HashMap<String, u32> {
    let mut ids = HashMap::new();
    let Some(vocab) = json.get("model").and_then(|m| m.get("vocab")).and_then(Value::as_object) else {
        return ids;
    };
    let trained = u32::try_from(vocab.len()).unwrap_or(u32::MAX);
    let mut next = trained;
    for token in json.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        let Some(content) = token.get("content").and_then(Value::as_str).filter(|c| !ids.contains_key(*c))
        else {
            continue;
        };
        let inside = vocab.get(content).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let id = inside.unwrap_or(next);
        next = if id >= trained { next.max(id.saturating_add(1)) } else { next };
        ids.insert(content.to_string(), id);
    }
    ids
}

/// What the library holds while tokens are added to it.
struct Library<'a> {
    files: &'a Files<'a>,
    base: &'a Vocab<'a>,
    /// Texts by id of the trained vocabulary.
    trained: HashMap<u32, &'a str>,
    tokens: Vec<Added>,
    place: HashMap<String, usize>,
    taken: HashSet<u32>,
    highest: Option<u32>,
    /// Content, the id that a file states, and the id of the token.
    moved: Vec<(String, u32, u32)>,
    /// Contents to which the library gives the id of another token.
    clashes: Vec<String>,
}

impl<'a> Library<'a> {
    fn over(base: &'a Vocab<'a>, files: &'a Files<'a>) -> Library<'a> {
        Library {
            files,
            base,
            trained: base.iter().map(|(text, id)| (*id, *text)).collect(),
            tokens: Vec::new(),
            place: HashMap::new(),
            taken: HashSet::new(),
            highest: None,
            moved: Vec::new(),
            clashes: Vec::new(),
        }
    }

    /// The id of a token that is new to the library.
    fn next(&self) -> u32 {
        let trained = u32::try_from(self.base.len()).unwrap_or(u32::MAX);
        match self.highest {
            Some(highest) if highest >= trained => highest.saturating_add(1),
            _ => trained,
        }
    }

    fn free(&self, id: u32) -> bool {
        !self.trained.contains_key(&id) && !self.taken.contains(&id)
    }

    /// Adds a token; one that is there already takes its flags.
    fn add(&mut self, token: Added) -> Result<()> {
        if let Some(known) = self.place.get(&token.content).and_then(|at| self.tokens.get_mut(*at)) {
            let id = known.id;
            if token.id != id {
                self.moved.push((token.content.clone(), token.id, id));
            }
            *known = Added { id, ..token };
            return Ok(());
        }
        if token.content.is_empty() {
            return Ok(());
        }
        let stated = token.id;
        let id = match self.base.get(token.content.as_str()) {
            Some(id) => *id,
            None => self.new_id(&token)?,
        };
        if stated != id {
            self.moved.push((token.content.clone(), stated, id));
        }
        self.put(Added { id, ..token });
        Ok(())
    }

    fn new_id(&mut self, token: &Added) -> Result<u32> {
        // Without a tokenizer.json the place of a piece is where another token is meant to be.
        let replaces = self.files.tokenizer.is_none() && self.trained.contains_key(&token.id);
        if replaces && !self.taken.contains(&token.id) {
            return Ok(token.id);
        }
        let next = self.next();
        if self.free(next) {
            return Ok(next);
        }
        if self.free(token.id) {
            self.clashes.push(token.content.clone());
            return Ok(token.id);
        }
        Err(Error::invalid(format!("two tokens have the id {}", token.id))
            .file(&self.files.path(token.origin.file()))
            .expected("the token that the vocabulary gives this id")
            .found(format!("'{}'", token.content))
            .hint("use tokenizer.json and tokenizer_config.json of one repository"))
    }

    fn put(&mut self, token: Added) {
        self.highest = self.highest.max(Some(token.id));
        self.taken.insert(token.id);
        self.place.insert(token.content.clone(), self.tokens.len());
        self.tokens.push(token);
    }

    /// Makes what is named as a special token one, and adds it if no file has done so.
    fn name(&mut self, content: &str, warnings: &mut Vec<String>) -> Result<()> {
        if let Some(known) = self.place.get(content).and_then(|at| self.tokens.get_mut(*at)) {
            known.special = true;
            return Ok(());
        }
        if content.is_empty() {
            return Ok(());
        }
        let id = match self.base.get(content) {
            Some(id) => *id,
            None => {
                let id = self.next();
                if !self.free(id) {
                    warnings.push(format!(
                        "the special token '{content}' is in no vocabulary, and left out: its id would be {id}, which another token has"
                    ));
                    return Ok(());
                }
                warnings.push(format!(
                    "the special token '{content}' is in no vocabulary, it gets the next id, {id}"
                ));
                id
            }
        };
        self.put(Added { id, special: true, ..Added::plain(content, Origin::Tokenizer) });
        Ok(())
    }

    /// What the files say otherwise than the library does.
    fn say(&self, warnings: &mut Vec<String>) {
        let ids: HashMap<&str, u32> = self.tokens.iter().map(|t| (t.content.as_str(), t.id)).collect();
        let moved: Vec<_> =
            self.moved.iter().filter(|(text, stated, _)| ids.get(text.as_str()) != Some(stated)).collect();
        if let Some((text, stated, id)) = moved.first() {
            warnings.push(format!(
                "{} added tokens get the ids that transformers gives them, not those that the files state; the first is '{text}', {id} and not {stated}",
                moved.len()
            ));
        }
        if let Some(text) = self.clashes.first() {
            warnings.push(format!(
                "{} added tokens keep the id of their file, unlike transformers, which gives them that of another token (the vocabulary has gaps); the first is '{text}'",
                self.clashes.len()
            ));
        }
    }
}

/// `added_tokens.json` is not read where `added_tokens_decoder` is: what only it has is told.
fn say_unread(
    files: &Files,
    declared: &BTreeMap<u32, Added>,
    own: &[Added],
    warnings: &mut Vec<String>,
) -> Result<()> {
    let known: HashSet<&str> = declared.values().chain(own).map(|t| t.content.as_str()).collect();
    let lost: Vec<Added> =
        added::of_legacy(files)?.into_iter().filter(|t| !known.contains(t.content.as_str())).collect();
    if let Some(first) = lost.first() {
        warnings.push(format!(
            "{}: {} tokens are left out, as transformers leaves them out where {} has added_tokens_decoder; the first is '{}'",
            files::ADDED,
            lost.len(),
            files::CONFIG,
            first.content
        ));
    }
    Ok(())
}

/// The added tokens of `tokenizer.json` with the ids that it states.
pub fn stated(files: &Files) -> Result<Vec<Added>> {
    files.tokenizer.as_ref().map_or(Ok(Vec::new()), |json| added::of_tokenizer(files, json))
}

/// The texts that transformers calls special.
pub fn special(files: &Files) -> Result<HashSet<String>> {
    let declared = files.config("added_tokens_decoder").is_some();
    Ok(named(files, declared)?.into_iter().collect())
}

/// The texts that are named as special tokens, in `tokenizer_config.json` or the older `special_tokens_map.json`.
fn named(files: &Files, declared: bool) -> Result<Vec<String>> {
    const KEYS: [&str; 7] =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let map = if declared { None } else { files.checkpoint.json("special_tokens_map.json")? };
    let mut texts: Vec<String> = Vec::new();
    // The older file, where it is read, takes the place of what the newer one names.
    let name = |key: &str| {
        let of = |source: &Option<Value>| {
            source.as_ref().and_then(|s| s.get(key)).filter(|v| !v.is_null()).cloned()
        };
        of(&map).or_else(|| of(&files.tokenizer_config))
    };
    for value in KEYS.iter().filter_map(|key| name(key)) {
        texts.extend(text(&value));
    }
    for source in files.tokenizer_config.iter().chain(&map) {
        for list in
            ["additional_special_tokens", "extra_special_tokens"].iter().filter_map(|key| source.get(*key))
        {
            match list {
                Value::Array(list) => texts.extend(list.iter().filter_map(text)),
                Value::Object(named) => texts.extend(named.values().filter_map(text)),
                _ => {}
            }
        }
    }
    let mut seen = HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    Ok(texts)
}

fn text(name: &Value) -> Option<String> {
    name.as_str().or_else(|| name.get("content")?.as_str()).map(str::to_string)
}
