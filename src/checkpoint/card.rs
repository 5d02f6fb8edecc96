//! The model card of an output, a Hugging Face directory or GGUF files: front matter for the hub, and what was done with
//! what, in words that can be repeated. What comes from the models is shown, never obeyed.
//! Specification: Hugging Face's model card metadata (`base_model`, `base_model_relation`, `license`, `tags`).

use crate::merge::Origin;
use crate::text::{Printable, is_obeyed, shell_path};
use std::fmt::Write;
use std::path::Path;

/// What a card tells.
pub struct Card {
    /// What the output is called.
    pub name: String,
    /// What a merge has computed; none of a conversion.
    pub formula: Option<&'static str>,
    /// The models that it was made from.
    pub origins: Vec<Origin>,
    /// Their licence, if all have the same.
    pub licence: Option<String>,
    /// The command that makes this output.
    pub command: String,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
    /// The GGUF files; none for a Hugging Face directory.
    pub files: Vec<File>,
}

/// A GGUF file.
pub struct File {
    pub name: String,
    pub kind: String,
    pub bits_per_weight: f64,
    /// In words.
    pub size: String,
    pub sha256: String,
}

impl Card {
    /// The text of `README.md`.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.front_matter(&mut out);
        line(&mut out, format_args!("# {}\n", plain(&self.name)));
        let version = env!("CARGO_PKG_VERSION");
        match self.formula {
            Some(formula) => line(&mut out, format_args!("Merged by ggraft {version}: `{formula}`\n")),
            None => line(&mut out, format_args!("Converted by ggraft {version}:\n")),
        }
        line(&mut out, format_args!("```sh\n{}\n```\n", self.command));
        self.files(&mut out);
        line(&mut out, format_args!("| role | model | weight |\n|---|---|---|"));
        for origin in &self.origins {
            let weights: Vec<String> = origin.weights.iter().map(f64::to_string).collect();
            let (role, name) = (origin.role, plain(&origin.name));
            line(&mut out, format_args!("| {role} | {name} | {} |", weights.join(", ")));
        }
        if !self.notes.is_empty() {
            line(&mut out, format_args!(""));
        }
        for note in &self.notes {
            line(&mut out, format_args!("- {}", plain(note)));
        }
        out
    }

    fn front_matter(&self, out: &mut String) {
        line(out, format_args!("---\nbase_model:"));
        for origin in &self.origins {
            line(out, format_args!("- {}", quoted(origin.id())));
        }
        let relation = if self.formula.is_some() { "merge" } else { "quantized" };
        line(out, format_args!("base_model_relation: {relation}"));
        if self.files.is_empty() {
            line(out, format_args!("library_name: transformers"));
        }
        if let Some(licence) = &self.licence {
            line(out, format_args!("license: {}", quoted(licence)));
        }
        let merge = self.formula.map_or(&[][..], |_| &["merge", "chat-vector"]);
        let gguf = if self.files.is_empty() { &[][..] } else { &["gguf"] };
        let tags: Vec<&str> = [merge, gguf, &["ggraft"]].concat();
        line(out, format_args!("tags:\n- {}\n---\n", tags.join("\n- ")));
    }

    fn files(&self, out: &mut String) {
        let Some(first) = self.files.first() else { return };
        line(out, format_args!("| file | type | bits a weight | size | sha256 |\n|---|---|---|---|---|"));
        for f in &self.files {
            let (name, kind, bits) = (plain(&f.name), &f.kind, f.bits_per_weight);
            line(out, format_args!("| {name} | {kind} | {bits:.2} | {} | `{}` |", f.size, f.sha256));
        }
        let name = shell_path(Path::new(&first.name));
        line(out, format_args!("\nIn llama.cpp:\n\n```sh\nllama-cli -m {name}\n```\n"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{text}");
}

/// A YAML scalar in double quotes, which are those of JSON; what a reader would obey is escaped.
fn quoted(text: &str) -> String {
    yaml(&serde_json::Value::from(text))
}

/// A value in YAML, which holds JSON; what a reader would obey is escaped.
pub fn yaml(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let plain = |c: char| if is_obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(plain).collect()
}

/// Text that Markdown shows as it is, on one line.
fn plain(text: &str) -> String {
    Printable(text).to_string().replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_stays_on_its_line() {
        let card = Card {
            name: "a\n---\n<script>".into(),
            formula: None,
            origins: Vec::new(),
            licence: Some("mit\"\n- x".into()),
            command: "ggraft convert a".into(),
            notes: vec!["a | b\u{1b}[31m".into()],
            files: Vec::new(),
        };
        let text = card.markdown();
        assert!(
            text.contains("\n# a\\n---\\n&lt;script>\n") && text.contains("license: \"mit\\\"\\n- x\"\n"),
            "{text}"
        );
        assert!(text.ends_with("- a \\| b\\u{1b}[31m\n"), "{text}");
    }
}
