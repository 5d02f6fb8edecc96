//! The model card of an output, a Hugging Face directory or GGUF files: front matter for the hub, and what was done with
//! what, in words that can be repeated. What comes from the models is shown, never obeyed.
//! Specification: Hugging Face's model card metadata (`base_model`, `base_model_relation`, `license`, `tags`).

use crate::arrange::Arrange;
use crate::ftype::Ftype;
use crate::hash::hexadecimal;
use crate::merge::{Origin, SLICE};
use crate::text::{Printable, is_obeyed, shell_path};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// What a card tells.
#[derive(Default)]
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
    /// What the GGUF files are beside each other and how they are used.
    pub publication: Publication,
}

/// What those want to know who choose one of the files and run it.
#[derive(Default)]
pub struct Publication {
    /// The languages, as the hub abbreviates them.
    pub languages: Vec<String>,
    /// Whether each of the files is a model that runs by itself.
    pub runs: bool,
    /// What the model is used for, in the hub's word.
    pub task: &'static str,
    /// Who has quantized the model.
    pub quantized_by: Option<String>,
    /// Rows of other files in the folder, from the card that is replaced.
    pub earlier: Vec<String>,
    /// What keys and values take, in words.
    pub cache: Option<String>,
    /// What the chat template writes for a dialogue.
    pub prompt: Option<String>,
    /// Where the importance of the weights comes from.
    pub importance: Option<String>,
    /// What was merged, as a recipe in YAML.
    pub recipe: Option<String>,
}

/// A GGUF file.
pub struct File {
    pub name: String,
    pub kind: String,
    pub bits_per_weight: f64,
    /// What it is for, of an adapter.
    pub adapter: Option<String>,
    /// In words.
    pub size: String,
    pub sha256: String,
}

impl Card {
    /// The text of `README.md`. Of GGUF files its end proves that it is all ours.
    pub fn markdown(&self) -> String {
        let text = self.text();
        if self.files.is_empty() { text } else { sealed(text) }
    }

    /// What stands below the front matter first.
    pub fn title(name: &str) -> String {
        format!("# {}", plain(name))
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.front_matter(&mut out);
        line(&mut out, format_args!("{}\n", Card::title(&self.name)));
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
            let (role, name) = (origin.place(), model(origin));
            line(&mut out, format_args!("| {role} | {name} | {} |", weights.join(", ")));
        }
        self.recipe(&mut out);
        if !self.notes.is_empty() {
            line(&mut out, format_args!(""));
        }
        for note in &self.notes {
            match note.strip_prefix("warning: ") {
                Some(warning) => line(&mut out, format_args!("- **Warning:** {}", plain(warning))),
                None => line(&mut out, format_args!("- {}", plain(note))),
            }
        }
        out
    }

    fn front_matter(&self, out: &mut String) {
        line(out, format_args!("---\nbase_model:"));
        // A stack of layers is told by the models that they are of.
        let is_stack = self.origins.iter().any(|origin| origin.role == SLICE);
        for origin in self.origins.iter().skip(usize::from(is_stack)) {
            line(out, format_args!("- {}", quoted(origin.id())));
        }
        let relation = if self.formula.is_some() { "merge" } else { "quantized" };
        line(out, format_args!("base_model_relation: {relation}"));
        if self.files.is_empty() {
            line(out, format_args!("library_name: transformers"));
        }
        let Publication { languages, quantized_by, .. } = &self.publication;
        if !languages.is_empty() {
            let all: Vec<String> = languages.iter().map(|one| quoted(one)).collect();
            line(out, format_args!("language:\n- {}", all.join("\n- ")));
        }
        if let Some(licence) = &self.licence {
            line(out, format_args!("license: {}", quoted(licence)));
        }
        if !self.files.is_empty() {
            line(out, format_args!("pipeline_tag: {}", self.publication.task));
        }
        if let Some(who) = quantized_by {
            line(out, format_args!("quantized_by: {}", quoted(who)));
        }
        let merge = self.formula.map_or(&[][..], |_| &["merge", "chat-vector"]);
        let gguf = if self.files.is_empty() { &[][..] } else { &["gguf"] };
        let tags: Vec<&str> = [merge, gguf, &["ggraft"]].concat();
        line(out, format_args!("tags:\n- {}\n---\n", tags.join("\n- ")));
    }

    fn files(&self, out: &mut String) {
        let Some(first) = self.files.first() else { return };
        line(
            out,
            format_args!(
                "## Files\n\n| file | type | bits per weight | size | what for | sha256 |\n|---|---|---|---|---|---|"
            ),
        );
        // Adapters come last.
        let bits = |f: &File| if f.adapter.is_some() { 0.0 } else { f.bits_per_weight };
        let own = self.files.iter().map(|f| (bits(f), f.row()));
        let mut rows: Vec<(f64, String)> = own.collect();
        let is_known = |row: &str| self.files.iter().any(|f| row.starts_with(&link(&f.name)));
        for row in self.publication.earlier.iter().filter(|row| !is_known(row)) {
            let bits = row.split(" | ").nth(2).and_then(|bits| bits.parse().ok()).unwrap_or(0.0);
            rows.push((bits, row.clone()));
        }
        rows.arrange_by(|a, b| b.0.total_cmp(&a.0));
        rows.iter().for_each(|(_, row)| line(out, format_args!("{row}")));
        let cache = self
            .publication
            .cache
            .as_ref()
            .map_or(String::new(), |cache| format!(", together with {cache},"));
        line(
            out,
            format_args!(
                "\nWhich file? The largest that fits into memory{cache} with room for the rest of the system; into the memory of the GPU, if it is to run there. Below four bits the loss is noticeable.\n"
            ),
        );
        if let Some(importance) = &self.publication.importance {
            line(out, format_args!("Importance of the weights: {}.\n", plain(importance)));
        }
        if let Some(prompt) = &self.publication.prompt {
            let fence = fence(prompt);
            line(out, format_args!("## Prompt format\n\n{fence}text\n{}\n{fence}\n", prompt.trim_end()));
        }
        if self.publication.runs {
            running(out, &first.name, &first.kind);
        }
        line(out, format_args!("## How it was made\n"));
    }

    fn recipe(&self, out: &mut String) {
        let Some(recipe) = &self.publication.recipe else { return };
        let fence = fence(recipe);
        line(
            out,
            format_args!(
                "\nThe recipe, which `ggraft merge FILE` repeats:\n\n{fence}yaml\n{}\n{fence}",
                recipe.trim_end()
            ),
        );
    }
}

impl File {
    fn row(&self) -> String {
        let kind = &self.kind;
        let (bits, purpose) = match &self.adapter {
            Some(purpose) => (String::from("-"), purpose.as_str()),
            None => (format!("{:.2}", self.bits_per_weight), purpose(self.bits_per_weight)),
        };
        format!("{} {kind} | {bits} | {} | {purpose} | `{}` |", link(&self.name), self.size, self.sha256)
    }
}

/// What files of so many bits per weight are for.
fn purpose(bits: f64) -> &'static str {
    match bits {
        b if b >= 15.0 => "full precision, to quantize from",
        b if b >= 8.0 => "practically no loss",
        b if b >= 6.4 => "very near to full precision",
        b if b >= 5.3 => "high quality",
        b if b >= 4.6 => "good quality for its size, the usual choice",
        b if b >= 3.9 => "small, of decent quality",
        b if b >= 3.0 => "low quality, for little memory",
        _ => "lowest quality, where nothing else fits",
    }
}

/// The beginning of a file's row, by which it is known again.
pub fn link(name: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let address: String = name.bytes().map(encoded).collect();
    format!("| [{}]({address}) |", plain(name).replace('[', "\\[").replace(']', "\\]"))
}

const SEAL: &str = "<!-- ggraft card ";

/// `text` with a last line that holds its hash.
fn sealed(mut text: String) -> String {
    let hash = hexadecimal(&Sha256::digest(text.as_bytes()));
    line(&mut text, format_args!("\n{SEAL}{hash} -->"));
    text
}

/// Whether nobody has changed a card of GGUF files since ggraft has written it.
pub fn is_sealed(text: &str) -> bool {
    let body = text.rfind(SEAL).and_then(|at| text.get(..at)?.strip_suffix('\n'));
    body.is_some_and(|body| sealed(body.to_string()) == text)
}

/// The commands that get a file and run it.
fn running(out: &mut String, name: &str, kind: &str) {
    let file = shell_path(Path::new(name));
    // The hub knows a file by the type in its name.
    let ollama = match Ftype::parse(kind) {
        Ok(_) => format!("# Ollama\nollama run hf.co/REPOSITORY:{kind}\n"),
        Err(_) => String::new(),
    };
    line(
        out,
        format_args!(
            "## Use\n\nWith `REPOSITORY` for the name of this repository on the hub, `org/name`:\n\n\
             ```sh\n\
             hf download REPOSITORY {file} --local-dir .\n\
             # llama.cpp\n\
             llama-cli -m {file}\n\
             {ollama}\
             # LM Studio\n\
             lms import {file}\n\
             ```\n"
        ),
    );
}

/// A fence that is longer than any in the text.
fn fence(text: &str) -> String {
    let (mut longest, mut run) = (2, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest + 1)
}

/// A model, as a link if the hub has it.
fn model(origin: &Origin) -> String {
    let (id, name) = (origin.id(), plain(&origin.name));
    match id.split_once('/') {
        Some((org, model))
            if crate::text::file_name(org).as_deref() == Some(org)
                && crate::text::file_name(model).as_deref() == Some(model) =>
        {
            format!("[{id}](https://huggingface.co/{id})")
        }
        _ => name,
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
            ..Card::default()
        };
        let text = card.markdown();
        assert!(
            text.contains("\n# a\\n---\\n&lt;script>\n") && text.contains("license: \"mit\\\"\\n- x\"\n"),
            "{text}"
        );
        assert!(text.ends_with("- a \\| b\\u{1b}[31m\n"), "{text}");
    }
}
