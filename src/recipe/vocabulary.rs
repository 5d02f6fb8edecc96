//! What may be decided about the vocabulary and the chat template of a merge.

use super::{Choice, is_default};
use crate::chat::file;
use crate::chat::templates::TEMPLATES;
use crate::merge::tokens::matching::{Baseless, Embeddings};
use crate::merge::{TemplateChoice, VocabularyChoices};
use ggraft_formats::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Choices about rows, tokens and the template. Arguments of a merge, and a section of a recipe.
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", command(next_help_heading = "Vocabulary"))]
#[serde(deny_unknown_fields, default)]
pub struct Vocabulary {
    /// Rows of embedding and head that get the vector: auto, keep (none), template (tokens that the chat template
    /// writes), shared (tokens of all three models), all (by id; identical vocabularies). auto is all for identical
    /// vocabularies, else template
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "ROWS", default_value = "auto", hide_possible_values = true)
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub embeddings: Choice<Embeddings>,
    /// Tokens that chat and CP have, but base lacks: auto, keep (CP's row), lerp (CP + w * (chat - CP)), copy (chat's
    /// row). auto is copy for tokens that the template writes, else keep
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "ROWS", default_value = "auto", hide_possible_values = true)
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub baseless_tokens: Choice<Baseless>,
    /// Copy the rows of this token from chat, whatever the weight; may be given several times
    #[cfg_attr(feature = "cli", arg(long = "copy-token", value_name = "TOKEN"))]
    #[serde(skip_serializing_if = "is_default")]
    pub copy_tokens: Vec<String>,
    /// Do not copy template tokens that chat has trained and base and CP have not
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "is_default")]
    pub no_auto_copy: bool,
    /// Append the special tokens that only chat has to CP's vocabulary, with chat's rows
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "is_default")]
    pub add_chat_tokens: bool,
    /// The output's chat template, with its end of turn: auto (CP's, else chat's; the default), cp, chat, a file, or a
    /// name: alpaca chatml gemma llama2 llama3 mistral solar
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEMPLATE"))]
    #[serde(skip_serializing_if = "is_default")]
    pub chat_template: Option<PathBuf>,
}

impl Vocabulary {
    /// Takes over from `other` what `typed` says was typed, by the names of the fields.
    pub fn lay(&mut self, other: Vocabulary, typed: impl Fn(&str) -> bool) {
        if typed("embeddings") {
            self.embeddings = other.embeddings;
        }
        if typed("baseless_tokens") {
            self.baseless_tokens = other.baseless_tokens;
        }
        if typed("copy_tokens") {
            self.copy_tokens = other.copy_tokens;
        }
        if typed("chat_template") {
            self.chat_template = other.chat_template;
        }
        self.no_auto_copy |= other.no_auto_copy;
        self.add_chat_tokens |= other.add_chat_tokens;
    }

    /// What a merge is told of it; a chat template's file is read.
    pub fn choices(&self) -> Result<VocabularyChoices> {
        Ok(VocabularyChoices {
            embeddings: self.embeddings.0,
            baseless: self.baseless_tokens.0,
            copy_tokens: self.copy_tokens.clone(),
            no_auto_copy: self.no_auto_copy,
            add_chat_tokens: self.add_chat_tokens,
            template: self.chat_template.as_deref().map_or(Ok(TemplateChoice::Auto), template)?,
        })
    }

    /// Refuses what is taken from a chat model, where there is none.
    pub fn of_one_model(&self, method: &str) -> Result<()> {
        let chosen = [
            ("embeddings", !is_default(&self.embeddings)),
            ("baseless tokens", !is_default(&self.baseless_tokens)),
            ("copied tokens", !self.copy_tokens.is_empty()),
            ("no automatic copies", self.no_auto_copy),
            ("added chat tokens", self.add_chat_tokens),
            ("the chat's template", self.chat_template.as_deref() == Some(Path::new("chat"))),
        ];
        let chosen: Vec<&str> = chosen.iter().filter(|(_, is)| *is).map(|(what, _)| *what).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!("the method {method} has no chat model to take tokens from"))
            .found(chosen.join(", "))
            .hint("leave it out, or merge with a method that takes --chat afterwards"))
    }

    /// The chat template's file, if it is one.
    pub(super) fn template_file(&mut self) -> Option<&mut PathBuf> {
        self.chat_template.as_mut().filter(|path| word(path).is_none())
    }
}

/// The template that is no file: by a word, or by its name.
fn word(path: &Path) -> Option<TemplateChoice> {
    match path.to_str()? {
        "auto" => Some(TemplateChoice::Auto),
        "cp" => Some(TemplateChoice::Cp),
        "chat" => Some(TemplateChoice::Chat),
        name => TEMPLATES
            .iter()
            .find(|t| t.name == name)
            .map(|t| TemplateChoice::Given { name: t.name.into(), text: t.text.into() }),
    }
}

/// A word, a built-in name, or a file.
fn template(path: &Path) -> Result<TemplateChoice> {
    if let Some(choice) = word(path) {
        return Ok(choice);
    }
    if !path.exists() {
        let names: Vec<&str> = TEMPLATES.iter().map(|t| t.name).collect();
        return Err(Error::usage("there is no such chat template")
            .expected(format!("auto, cp, chat, a file, or one of {}", names.join(", ")))
            .found(path.display()));
    }
    // The directory is nobody's business.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(TemplateChoice::Given { name, text: file::read(path)? })
}
