//! What may be decided about the vocabulary and the chat template of a merge.

use crate::merge::templates::TEMPLATES;
use crate::merge::{TemplateChoice, VocabularyChoices};
use crate::vocab::plan::{Baseless, Embeddings};
use ggraft_formats::{Error, Result};
use std::path::Path;

/// A longer file is no chat template.
const LONGEST: u64 = 1 << 20;

#[derive(clap::Args)]
#[command(next_help_heading = "Vocabulary and chat template")]
pub(super) struct Vocabulary {
    /// Rows of embedding and head that get the vector: auto, keep (none), template (tokens that the chat template
    /// writes), shared (tokens of all three models), all (by id; identical vocabularies). auto is all for identical
    /// vocabularies, else template
    #[arg(long, value_name = "ROWS", default_value = "auto", value_parser = embeddings)]
    embeddings: Embeddings,
    /// Tokens that chat and CP have, but base lacks: auto, keep (CP's row), lerp (CP + w * (chat - CP)), copy (chat's
    /// row). auto is copy for tokens that the template writes, else keep
    #[arg(long, value_name = "ROWS", default_value = "auto", value_parser = baseless)]
    baseless_tokens: Baseless,
    /// Copy the rows of this token from chat, whatever the weight; may be given several times
    #[arg(long, value_name = "TOKEN")]
    copy_token: Vec<String>,
    /// Do not copy template tokens that chat has trained and base and CP have not
    #[arg(long)]
    no_auto_copy: bool,
    /// Append the special tokens that only chat has to CP's vocabulary, with chat's rows
    #[arg(long)]
    add_chat_tokens: bool,
    #[arg(long, value_name = "TEMPLATE", default_value = "auto", help = template_help())]
    chat_template: String,
}

fn names() -> String {
    TEMPLATES.iter().map(|t| t.name).collect::<Vec<_>>().join(", ")
}

fn template_help() -> String {
    format!(
        "The output's chat template, with its end of turn: auto (CP's, else chat's), cp, chat, a file, or one of {}",
        names()
    )
}

fn embeddings(text: &str) -> Result<Embeddings, String> {
    one_of(text, &Embeddings::ALL, Embeddings::word)
}

fn baseless(text: &str) -> Result<Baseless, String> {
    one_of(text, &Baseless::ALL, Baseless::word)
}

fn one_of<T: Copy>(text: &str, all: &[T], word: fn(T) -> &'static str) -> Result<T, String> {
    all.iter().copied().find(|x| word(*x) == text).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|x| word(*x)).collect();
        format!("expected one of {}", words.join(", "))
    })
}

impl Vocabulary {
    pub fn choices(&self) -> Result<VocabularyChoices> {
        Ok(VocabularyChoices {
            embeddings: self.embeddings,
            baseless: self.baseless_tokens,
            copy_tokens: self.copy_token.clone(),
            no_auto_copy: self.no_auto_copy,
            add_chat_tokens: self.add_chat_tokens,
            template: template(&self.chat_template)?,
        })
    }
}

/// A word, a built-in name, or a file.
fn template(text: &str) -> Result<TemplateChoice> {
    match text {
        "auto" => return Ok(TemplateChoice::Auto),
        "cp" => return Ok(TemplateChoice::Cp),
        "chat" => return Ok(TemplateChoice::Chat),
        _ => {}
    }
    if let Some(t) = TEMPLATES.iter().find(|t| t.name == text) {
        return Ok(TemplateChoice::Given { name: t.name.into(), text: t.text.into() });
    }
    let path = Path::new(text);
    let io = |e: std::io::Error| Error::io(&e, path);
    if !path.is_file() {
        return Err(Error::usage("there is no such chat template")
            .expected(format!("auto, cp, chat, a file, or one of {}", names()))
            .found(text));
    }
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > LONGEST {
        return Err(Error::invalid("this is too long for a chat template")
            .file(path)
            .expected(format!("at most {LONGEST} bytes"))
            .found(bytes));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    // The directory is nobody's business.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(TemplateChoice::Given { name, text: text.replace("\r\n", "\n") })
}
