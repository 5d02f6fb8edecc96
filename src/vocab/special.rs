//! Special tokens: their ids, and whether BOS, EOS and SEP are added to a text. Serves the door.
//! Names come from `tokenizer_config.json`, as `post_processor` of `tokenizer.json` corrects them; `config.json`
//! gives the ids that are still missing. Specification: gguf-py `SpecialVocab`, whose results are kept, also
//! where they are odd: a template that ends with another token than EOS makes EOS the end-of-turn token.

use super::added::Added;
use super::files::{self, Files};
use ggraft_formats::Metadata;
use serde_json::Value;
use std::collections::BTreeMap;

/// Kinds of special tokens, in the order in which they are looked for.
const KINDS: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

/// The keys of the kinds that GGUF has; `seperator` is its spelling.
const ID_KEYS: [(&str, &str); 8] = [
    ("bos", "tokenizer.ggml.bos_token_id"),
    ("eos", "tokenizer.ggml.eos_token_id"),
    ("unk", "tokenizer.ggml.unknown_token_id"),
    ("sep", "tokenizer.ggml.seperator_token_id"),
    ("pad", "tokenizer.ggml.padding_token_id"),
    ("mask", "tokenizer.ggml.mask_token_id"),
    ("eot", "tokenizer.ggml.eot_token_id"),
    ("eom", "tokenizer.ggml.eom_token_id"),
];

const ADD_KEYS: [(&str, &str); 3] = [
    ("bos", "tokenizer.ggml.add_bos_token"),
    ("eos", "tokenizer.ggml.add_eos_token"),
    ("sep", "tokenizer.ggml.add_sep_token"),
];

/// What is known of the special tokens, in the order in which it is written.
#[derive(Default)]
pub struct Special {
    ids: Vec<(&'static str, u32)>,
    add: Vec<(&'static str, bool)>,
    lowercase: Option<bool>,
    strip_accents: Option<bool>,
}

impl Special {
    /// Ids must be below `limit`, if there is one; names are those of `added` tokens. `begins` says whether the runtime
    /// puts BOS before a text of this vocabulary unless it is told not to.
    pub fn read(
        files: &Files,
        config: &Value,
        added: &[Added],
        limit: Option<usize>,
        begins: bool,
        warnings: &mut Vec<String>,
    ) -> Special {
        let mut special = Special::default();
        let mut kinds: Vec<&'static str> = KINDS.to_vec();
        let mut names = Names::of(files);
        if let Some(json) = &files.tokenizer {
            names.stand_in();
            for processor in processors(json) {
                special.process(processor, &mut names, &mut kinds, warnings);
            }
            special.normalizer(json.get("normalizer").unwrap_or(&Value::Null));
        }
        if names.declared {
            for &kind in &kinds {
                special.flag(kind, files, warnings);
                // Without a tokenizer.json the converter knows no ids of names.
                let named = names.id(kind, added).filter(|_| files.tokenizer.is_some());
                if let Some(id) = named {
                    special.id(kind, &id.into(), limit, warnings);
                }
            }
        }
        special.begin(begins, files, warnings);
        for &kind in &kinds {
            let key = format!("{kind}_token_id");
            let root = config.get(&key).filter(|v| !v.is_null());
            if let Some(id) = root.or_else(|| config.get("text_config")?.get(&key)) {
                special.id(kind, id, limit, warnings);
            }
        }
        if files.tokenizer.is_none() {
            special.unlike_the_runtime(&names, added, limit, warnings);
        }
        special
    }

    /// Adds the begin and the end of a text where no file gives their ids, but a name that leads to another token than the
    /// runtime takes: SentencePiece's usual ids.
    fn unlike_the_runtime(
        &mut self,
        names: &Names,
        added: &[Added],
        limit: Option<usize>,
        warnings: &mut Vec<String>,
    ) {
        for (kind, usual) in [("bos", 1), ("eos", 2)] {
            let unknown = self.ids.iter().all(|(k, _)| *k != kind);
            if let Some(id) = names.id(kind, added).filter(|id| unknown && *id != usual) {
                warnings.push(format!(
                    "the {kind} token is {id} by its name (config.json gives no id, for which convert_hf_to_gguf leaves \
                     it to the runtime, which takes {usual})"
                ));
                self.id(kind, &id.into(), limit, warnings);
            }
        }
    }

    /// Writes ids and flags.
    pub fn write(&self, metadata: &mut Metadata, warnings: &mut Vec<String>) {
        for (kind, id) in &self.ids {
            match ID_KEYS.iter().find(|(k, _)| k == kind) {
                Some((_, key)) => metadata.set(key, *id),
                None => {
                    warnings.push(format!("the {kind} token {id} is not written: GGUF has no key for it"))
                }
            }
        }
        for (kind, value) in &self.add {
            if let Some((_, key)) = ADD_KEYS.iter().find(|(k, _)| k == kind) {
                metadata.set(key, *value);
            }
        }
    }

    /// Whether accents are stripped: as BERT's normalizer does where it lowercases, unless something else is told.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.or(self.lowercase).unwrap_or(true)
    }

    /// Writes what the normalizer does to letters.
    pub fn write_normalizer(&self, metadata: &mut Metadata) {
        let flags = [("lowercase", self.lowercase), ("strip_accents", self.strip_accents)];
        for (name, value) in flags {
            if let Some(value) = value {
                metadata.set(&format!("tokenizer.ggml.normalizer.{name}"), value);
            }
        }
    }

    /// The first id of a kind stands. A list of ids (several EOS) is not one.
    pub fn id(&mut self, kind: &'static str, id: &Value, limit: Option<usize>, warnings: &mut Vec<String>) {
        if !id.is_i64() && !id.is_u64() {
            return;
        }
        let fits = |id: &u32| limit.is_none_or(|limit| (*id as usize) < limit);
        match id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(fits) {
            None => warnings.push(format!("the {kind} token is not written: there is no id {id}")),
            Some(id) if self.ids.iter().all(|(k, _)| *k != kind) => self.ids.push((kind, id)),
            Some(_) => {}
        }
    }

    /// Puts `id` in the place of the one that the files give.
    pub fn replace(&mut self, kind: &'static str, id: u32) {
        match self.ids.iter_mut().find(|(k, _)| *k == kind) {
            Some(entry) => entry.1 = id,
            None => self.ids.push((kind, id)),
        }
    }

    fn set_add(&mut self, kind: &'static str, value: bool) {
        match self.add.iter_mut().find(|(k, _)| *k == kind) {
            Some(entry) => entry.1 = value,
            None => self.add.push((kind, value)),
        }
    }

    /// `add_{kind}_token` of `tokenizer_config.json`. Where there is a `tokenizer.json`, transformers 5 asks its
    /// post-processor alone.
    fn flag(&mut self, kind: &'static str, files: &Files, warnings: &mut Vec<String>) {
        let Some(wanted) = files.config(&format!("add_{kind}_token")).and_then(Value::as_bool) else {
            return;
        };
        let ends = ["bos", "eos"].contains(&kind);
        match self.add.iter().find(|(k, _)| *k == kind) {
            None if wanted && ends && files.tokenizer.is_some() => {
                self.add.push((kind, false));
                warnings.push(format!(
                    "add_{kind}_token is true in {}, but the post_processor of {} adds none, as transformers 5 has it (convert_hf_to_gguf writes true): false is written",
                    files::CONFIG,
                    files::TOKENIZER
                ));
            }
            None => self.add.push((kind, wanted)),
            Some((_, decided)) if *decided != wanted => warnings.push(format!(
                "add_{kind}_token is {wanted} in {}, but {decided} by the post_processor of {}, which is written",
                files::CONFIG,
                files::TOKENIZER
            )),
            Some(_) => {}
        }
    }

    /// Where a `tokenizer.json` adds no BOS, and nothing else says so, the runtime must be told.
    fn begin(&mut self, begins: bool, files: &Files, warnings: &mut Vec<String>) {
        if begins && files.tokenizer.is_some() && self.add.iter().all(|(kind, _)| *kind != "bos") {
            self.add.push(("bos", false));
            warnings.push(format!(
                "add_bos_token is false, as the post_processor of {} adds none (convert_hf_to_gguf leaves it to the runtime, which adds one)",
                files::TOKENIZER
            ));
        }
    }

    fn process(
        &mut self,
        of: &Value,
        names: &mut Names,
        kinds: &mut Vec<&'static str>,
        warnings: &mut Vec<String>,
    ) {
        match of.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => {
                for kind in ["bos", "eos"] {
                    if self.add.iter().all(|(k, _)| *k != kind) {
                        self.add.push((kind, false));
                    }
                }
            }
            Some("RobertaProcessing") => {
                for kind in ["bos", "eos", "sep"] {
                    self.set_add(kind, true);
                }
                for kind in ["cls", "sep"] {
                    if let Some(token) =
                        of.get(kind).and_then(|pair| pair.get(0)).filter(|_| !names.has(kind))
                    {
                        names.set(kind, token.clone());
                    }
                }
            }
            Some("TemplateProcessing") => {
                let ends = self.single(of, names, kinds, warnings);
                self.pair(of, names, ends);
            }
            _ => {}
        }
    }

    /// The first and last special token of `single` say whether BOS and EOS are added, and correct their names.
    fn single<'a>(
        &mut self,
        of: &'a Value,
        names: &mut Names,
        kinds: &mut Vec<&'static str>,
        warnings: &mut Vec<String>,
    ) -> (Option<&'a str>, Option<&'a str>) {
        let list = pieces(of, "single");
        if list.len() < 2 {
            return (None, None);
        }
        let (first, last) = (list.first().and_then(special_id), list.last().and_then(special_id));
        if let Some(first) = first {
            if !names.declared || !names.has("bos") {
                names.set("bos", first.into());
            } else if !names.is("bos", first) && !names.has("cls") {
                names.set("cls", first.into());
            }
            let known = names.is("bos", first) || names.is("cls", first);
            if !known {
                warnings
                    .push(format!("the post_processor begins with '{first}', which is neither BOS nor CLS"));
            }
            self.set_add("bos", known);
        }
        if let Some(last) = last {
            if names.declared && !names.is("eos", last) {
                match ["eot", "eom"].into_iter().find(|kind| !kinds.contains(kind)) {
                    Some(kind) => {
                        kinds.push(kind);
                        names.set(kind, names.get("eos"));
                    }
                    None => {
                        warnings.push(format!("EOS is '{last}' by the post_processor, its old name is lost"))
                    }
                }
            }
            names.set("eos", last.into());
            self.set_add("eos", true);
        }
        (first, last)
    }

    /// `A [sep] [eos] B` says whether SEP is added between two texts.
    fn pair(&mut self, of: &Value, names: &mut Names, (first, last): (Option<&str>, Option<&str>)) {
        let mut list = pieces(of, "pair");
        if let [head, rest @ ..] = list
            && first.is_some()
            && special_id(head) == first
        {
            list = rest;
        }
        if let [rest @ .., tail] = list
            && last.is_some()
            && special_id(tail) == last
        {
            list = rest;
        }
        let sequence = |piece: &Value, id: &str| {
            piece.get("Sequence").and_then(|s| s.get("id")).is_some_and(|v| v == id)
        };
        let [a, middle @ .., b] = list else { return };
        if middle.is_empty() || !sequence(a, "A") || !sequence(b, "B") {
            return;
        }
        let separates = |piece: Option<&Value>| {
            piece.and_then(special_id).is_some_and(|id| names.is("sep", id) || names.is("eos", id))
        };
        let second = middle.len() == 2 && separates(middle.get(1));
        let add = (separates(middle.first()) && last.is_none()) || second;
        self.set_add("sep", add);
        if add && !names.has("sep") {
            names.set("sep", names.get("eos"));
        }
    }

    /// Flags for letters, also inside a sequence of normalizers.
    fn normalizer(&mut self, of: &Value) {
        match of.get("type").and_then(Value::as_str) {
            Some("Lowercase") => self.lowercase = Some(true),
            Some("StripAccents") => self.strip_accents = Some(true),
            Some("BertNormalizer") => {
                let flag = |key: &str| of.get(key).and_then(Value::as_bool);
                self.lowercase = flag("lowercase").or(self.lowercase);
                self.strip_accents = flag("strip_accents").or(self.strip_accents);
            }
            Some("Sequence") => {
                for one in of.get("normalizers").and_then(Value::as_array).into_iter().flatten() {
                    self.normalizer(one);
                }
            }
            _ => {}
        }
    }
}

/// The names of the special tokens: texts, or objects with `content`.
struct Names {
    names: BTreeMap<&'static str, Value>,
    /// Whether `tokenizer_config.json` says anything; without it no name leads to an id.
    declared: bool,
}

impl Names {
    fn of(files: &Files) -> Names {
        let name = |kind: &'static str| Some((kind, files.config(&format!("{kind}_token"))?.clone()));
        let declared =
            files.tokenizer_config.as_ref().and_then(Value::as_object).is_some_and(|c| !c.is_empty());
        Names { names: KINDS.into_iter().filter_map(name).collect(), declared }
    }

    /// CLS stands in for a missing BOS, SEP for a missing EOS.
    fn stand_in(&mut self) {
        for (kind, other) in [("bos", "cls"), ("eos", "sep")] {
            if !self.has(kind) && self.has(other) {
                self.set(kind, self.get(other));
            }
        }
    }

    fn get(&self, kind: &str) -> Value {
        self.names.get(kind).cloned().unwrap_or_default()
    }

    fn set(&mut self, kind: &'static str, name: Value) {
        self.names.insert(kind, name);
    }

    fn has(&self, kind: &str) -> bool {
        self.names.get(kind).is_some_and(|name| !name.is_null() && name != "")
    }

    /// Only a plain text is compared; the converter holds an object to be another name.
    fn is(&self, kind: &str, text: &str) -> bool {
        self.names.get(kind).is_some_and(|name| name == text)
    }

    fn id(&self, kind: &str, added: &[Added]) -> Option<u32> {
        let name = self.names.get(kind)?;
        let text = name.as_str().or_else(|| name.get("content")?.as_str())?;
        added.iter().find(|token| token.content == text).map(|token| token.id)
    }
}

/// The post-processor, or those of a sequence.
pub fn processors(json: &Value) -> Vec<&Value> {
    match json.get("post_processor") {
        None | Some(Value::Null) => Vec::new(),
        Some(one) => {
            one.get("processors").and_then(Value::as_array).map_or(vec![one], |list| list.iter().collect())
        }
    }
}

fn pieces<'a>(template: &'a Value, key: &str) -> &'a [Value] {
    template.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn special_id(piece: &Value) -> Option<&str> {
    piece.get("SpecialToken")?.get("id")?.as_str().filter(|id| !id.is_empty())
}
