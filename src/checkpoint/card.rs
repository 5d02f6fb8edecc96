//! The model card of a merge: front matter for the hub, and what was done with what, in words that can be repeated.
//! Specification: Hugging Face's model card metadata (`base_model`, `base_model_relation`, `license`, `tags`).

use crate::merge::Origin;
use std::fmt::Write;

/// What a card tells.
pub struct Card {
    /// What the output is called.
    pub name: String,
    pub formula: &'static str,
    /// The models that were merged.
    pub origins: Vec<Origin>,
    /// Their licence, if all have the same.
    pub licence: Option<String>,
    /// The command that makes this output.
    pub command: String,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

impl Card {
    /// The text of `README.md`.
    pub fn markdown(&self) -> String {
        let mut out = String::from("---\nbase_model:\n");
        for origin in &self.origins {
            line(&mut out, format_args!("- {}", quoted(origin.id())));
        }
        line(&mut out, format_args!("base_model_relation: merge\nlibrary_name: transformers"));
        if let Some(licence) = &self.licence {
            line(&mut out, format_args!("license: {}", quoted(licence)));
        }
        line(&mut out, format_args!("tags:\n- merge\n- chat-vector\n- ggraft\n---\n"));
        line(&mut out, format_args!("# {}\n", self.name));
        line(&mut out, format_args!("Merged by ggraft {}: `{}`\n", env!("CARGO_PKG_VERSION"), self.formula));
        line(&mut out, format_args!("```sh\n{}\n```\n", self.command));
        line(&mut out, format_args!("| role | model | weight | sha256 of the header |\n|---|---|---|---|"));
        for origin in &self.origins {
            let weights: Vec<String> = origin.weights.iter().map(f64::to_string).collect();
            let (role, name) = (origin.role, &origin.name);
            line(
                &mut out,
                format_args!("| {role} | {name} | {} | `{}` |", weights.join(", "), origin.sha256),
            );
        }
        if !self.notes.is_empty() {
            line(&mut out, format_args!(""));
        }
        for note in &self.notes {
            line(&mut out, format_args!("- {note}"));
        }
        out
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{text}");
}

/// A YAML scalar in double quotes, which are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
