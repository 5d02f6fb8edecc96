//! Keys of a GGUF that come from one key of the config, flags that ask for tensors, and lists of layers: all of them can be
//! read backward as they stand in the pages.

use super::attempt::Attempt;
use super::told::json;
use crate::arch::config::TIED;
use crate::arch::keys::{From, Key};
use crate::arch::rule::{Layers, Need, Rule};
use ggraft_formats::{Array, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Ids of tokens that a config names.
const TOKENS: [(&str, &str); 5] = [
    ("bos_token_id", "tokenizer.ggml.bos_token_id"),
    ("eos_token_id", "tokenizer.ggml.eos_token_id"),
    ("pad_token_id", "tokenizer.ggml.padding_token_id"),
    ("sep_token_id", "tokenizer.ggml.seperator_token_id"),
    ("mask_token_id", "tokenizer.ggml.mask_token_id"),
];

/// The labels of a head that classifies.
const LABELS: &str = "classifier.output_labels";

impl Attempt<'_> {
    /// Every key that the page makes of the config.
    pub(super) fn all_keys(&self) -> Vec<&'static Key> {
        let own = self.family.keys.iter().filter(|line| line.place_of.is_none()).map(|line| line.key);
        self.arch.early.iter().chain(own).collect()
    }

    pub(super) fn read_keys(&mut self) {
        for key in self.all_keys() {
            let Some(value) = self.model.metadata.get(&key.name(self.arch.gguf)).cloned() else { continue };
            match key.from {
                From::Count(keys)
                | From::Number(keys)
                | From::Positive(keys)
                | From::Flag(keys)
                | From::Text(keys) => {
                    let key = self.spelled(keys);
                    self.give(key, json(&value));
                }
                From::Word(keys, words) => {
                    let found = words.iter().find(|(_, n)| Some(u64::from(*n)) == value.as_u64());
                    if let Some((word, _)) = found {
                        let key = self.spelled(keys);
                        self.give(key, json!(word));
                    }
                }
                From::Axis(axis) => self.read_axis(axis, &value),
                From::Is(_) | From::Rope(_) | From::Make(_) => {}
            }
        }
        for (key, told) in TOKENS {
            if let Some(id) = self.model.metadata.u64(told) {
                self.give(key, json!(id));
            }
        }
        // SentencePiece's own file names no id of it.
        let metadata = &self.model.metadata;
        if metadata.str("tokenizer.ggml.model") == Some("llama")
            && let Some(id) = metadata.u64("tokenizer.ggml.unknown_token_id")
        {
            self.give("unk_token_id", json!(id));
        }
    }

    /// The labels of a head that classifies, which a config numbers.
    pub(super) fn read_labels(&mut self) {
        let told = self.model.metadata.get(&format!("{}.{LABELS}", self.arch.gguf));
        let Some(Array::Str(labels)) = told.and_then(Value::as_array) else { return };
        if self.all_keys().iter().all(|key| key.gguf != LABELS) {
            return;
        }
        let text = |label: &bstr::BString| label.to_string();
        let numbered = labels.iter().enumerate();
        let by_number: Map<String, Json> =
            numbered.clone().map(|(i, label)| (i.to_string(), json!(text(label)))).collect();
        let by_label: Map<String, Json> = numbered.map(|(i, label)| (text(label), json!(i))).collect();
        self.give("id2label", Json::Object(by_number));
        self.give("label2id", Json::Object(by_label));
    }

    fn read_axis(&mut self, axis: &'static str, value: &Value) {
        if let Some(n) = value.as_u64() {
            self.sizes.set_all(axis, n);
        }
    }

    /// The flags, and the absence of keys, that go with the tensors which are there.
    pub(super) fn read_needs(&mut self) {
        // Of several tensors that one flag asks for one is enough.
        let mut flags: BTreeMap<&'static str, bool> = BTreeMap::new();
        let mut lists: BTreeMap<&'static str, Vec<Option<&'static str>>> = BTreeMap::new();
        for rule in self.family.rules.clone() {
            for (bias, need) in [(false, Some(rule.need)), (true, rule.bias)] {
                let there = self.is_there(rule, bias);
                match need {
                    Some(Need::If(flag)) => *flags.entry(flag).or_default() |= there,
                    Some(Need::Unless(flag)) => _ = flags.insert(flag, !there),
                    Some(Need::UnlessSet(key)) if there && self.knows(key) => self.give(key, Json::Null),
                    _ => {}
                }
            }
            if let Layers::Of(key, words) = rule.layers {
                let list = lists.entry(key).or_insert_with(|| vec![None; self.layers as usize]);
                for (layer, kind) in (0..).zip(list) {
                    if self.targets(rule, false, layer).is_some() {
                        *kind = kind.or(words.first().copied());
                    }
                }
            }
        }
        for (flag, set) in flags {
            if set || self.knows(flag) {
                self.give(flag, json!(set));
            }
        }
        // A head of its own tells it where no rule asks for the flag.
        if self.knows(TIED) {
            self.give(TIED, json!(!self.tensors.contains_key("output.weight")));
        }
        for (key, list) in lists {
            if let Some(list) = list.into_iter().collect::<Option<Vec<_>>>() {
                self.give(key, json!(list));
            }
        }
    }

    /// Whether any layer has the tensors of a rule.
    fn is_there(&self, rule: &'static Rule, bias: bool) -> bool {
        (0..self.layers.max(1)).any(|layer| self.targets(rule, bias, layer).is_some())
    }
}
