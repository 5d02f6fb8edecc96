//! Rotary embedding backward: its base and its scaling, from the keys `rope.*` and from the tensors that hold factors.

use super::attempt::Attempt;
use super::judge::{self, Fault};
use super::told::{json, shortest, values};
use crate::arch::keys::From;
use crate::arch::rope;
use ggraft_formats::Result;
use serde_json::{Map, Value as Json, json};

/// The keys of the scaling, of GGUF's and of the config's.
const SCALING: [(&str, &str); 6] = [
    ("factor", "factor"),
    ("yarn_ext_factor", "extrapolation_factor"),
    ("yarn_attn_factor", "attention_factor"),
    ("yarn_beta_fast", "beta_fast"),
    ("yarn_beta_slow", "beta_slow"),
    ("original_context_length", ORIGINAL),
];

const LOG: &str = "rope.scaling.yarn_log_multiplier";
const ORIGINAL: &str = "original_max_position_embeddings";

impl Attempt<'_> {
    pub(super) fn read_rope(&mut self) -> Result<()> {
        if self.given.contains_key("rope_parameters") {
            return Ok(());
        }
        let (base, local) = (self.rope("freq_base"), self.rope("freq_base_swa"));
        let writes = self.all_keys().iter().any(|key| matches!(key.from, From::Rope(_)))
            || self
                .all_keys()
                .iter()
                .any(|key| key.gguf == "rope.freq_base" && matches!(key.from, From::Make(_)));
        let mut scaling = Map::new();
        if !writes {
            // A page without keys may have tensors of factors.
            self.read_factors(&mut scaling)?;
            if !scaling.is_empty() {
                self.give("rope_scaling", Json::Object(scaling));
            }
            return Ok(());
        }
        if let Some(base) = base {
            self.give("rope_theta", base);
        }
        if let Some(local) = local {
            self.give("rope_local_base_freq", local);
        }
        let log = self.number(LOG);
        match self.rope("scaling.type").as_ref().and_then(Json::as_str) {
            Some(kind @ ("linear" | "yarn")) => {
                scaling.insert("rope_type".into(), json!(kind));
                for (told, key) in SCALING {
                    if let Some(value) = self.rope(&format!("scaling.{told}")) {
                        scaling.insert(key.into(), value);
                    }
                }
                if let Some(x) = log {
                    magnify(&mut scaling, x / 0.1);
                }
                if let Some(beta) = self.number("attention.temperature_scale") {
                    scaling.insert("llama_4_scaling_beta".into(), shortest(beta as f32));
                }
            }
            _ => self.read_factors(&mut scaling)?,
        }
        if let Some(sections) = self.rope("dimension_sections").and_then(|s| s.as_array().cloned()) {
            let used = sections.iter().rposition(|n| *n != json!(0)).map_or(0, |last| last + 1).max(3);
            scaling.entry("rope_type").or_insert(json!("default"));
            scaling.insert("mrope_section".into(), sections.into_iter().take(used).collect());
        }
        if scaling.is_empty() {
            return Ok(());
        }
        self.give("rope_scaling", Json::Object(scaling));
        match log {
            Some(x) => self.judge_log(x),
            None => Ok(()),
        }
    }

    /// Of a page that takes the multiplier as it is, the config says it so.
    fn judge_log(&mut self, x: f64) -> Result<()> {
        let name = format!("{}.{LOG}", self.arch.gguf);
        let fault = Fault::Key { told: self.model.metadata.get(&name).cloned(), name, found: None };
        if judge::stands(self, &self.config()?, &fault)
            && let Some(scaling) = self.given.get_mut("rope_scaling").and_then(Json::as_object_mut)
        {
            magnify(scaling, x);
        }
        Ok(())
    }

    /// The key `rope.{key}`.
    fn rope(&self, key: &str) -> Option<Json> {
        self.model.metadata.get(&format!("{}.rope.{key}", self.arch.gguf)).map(json)
    }

    /// A number of the GGUF.
    fn number(&self, key: &str) -> Option<f64> {
        self.model.metadata.get(&format!("{}.{key}", self.arch.gguf))?.as_f64()
    }

    /// Factors that are tensors: longrope's two lists, or those of Llama 3.
    fn read_factors(&mut self, scaling: &mut Map<String, Json>) -> Result<()> {
        let lists =
            [("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")];
        for (key, name) in lists {
            if let Some(tensor) = self.tensors.get(name) {
                scaling.insert("rope_type".into(), json!("longrope"));
                scaling.insert(key.into(), values(tensor)?.into_iter().map(shortest).collect());
            }
        }
        if let Some(original) = self.rope("scaling.original_context_length") {
            if self.knows(ORIGINAL) {
                self.give(ORIGINAL, original);
            } else if !scaling.is_empty() {
                scaling.insert(ORIGINAL.into(), original);
            }
        }
        let Some(tensor) = self.tensors.get("rope_freqs.weight") else { return Ok(()) };
        let theta = self.given.get("rope_theta").and_then(Json::as_f64).unwrap_or(10000.0);
        if let Some(found) = rope::llama3_of(theta, &values(tensor)?) {
            scaling.insert("rope_type".into(), json!("llama3"));
            let (low, high) = (found.low, found.high);
            for (key, x) in [("factor", found.factor), ("low_freq_factor", low), ("high_freq_factor", high)] {
                scaling.insert(key.into(), json!(x));
            }
            scaling.insert(ORIGINAL.into(), json!(found.original as u64));
        }
        Ok(())
    }
}

/// Says `mscale_all_dim`; `mscale` is not told, and the same has no effect.
fn magnify(scaling: &mut Map<String, Json>, mscale: f64) {
    for key in ["mscale", "mscale_all_dim"] {
        scaling.insert(key.into(), shortest(mscale as f32));
    }
}
