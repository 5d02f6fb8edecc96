//! The chat template of the output, and the end of turn that belongs to it: a grafted model must stop after its
//! turn. Ids of special tokens, BOS and sampling follow the model whose template it is, by the texts of the tokens.
//! Templates are data; `vocab::dialogue` says how far they are ever run.

use crate::chat::dialogue::{self, Dialogue, Words};
use crate::merge::Vector;
use crate::vocab::{Kind, Tokens, kind};
use ggraft_formats::{Error, Metadata, Model, Result, Value};
use std::collections::BTreeSet;

const TEMPLATE: &str = "tokenizer.chat_template";
const SAMPLING: &str = "general.sampling.";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const FLAGS: [&str; 2] = ["tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"];

/// Which template a user wants.
#[derive(Clone, Debug, Default)]
pub enum TemplateChoice {
    /// CP's, or chat's if CP has none.
    #[default]
    Auto,
    Cp,
    Chat,
    /// This text, which people know by this name.
    Given {
        name: String,
        text: String,
    },
}

/// Whose template it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Nobody,
    Cp,
    /// Of this vector.
    Chat(usize),
    Given(String),
}

/// The template of the output.
pub(crate) struct Chosen {
    pub origin: Origin,
    pub dialogue: Dialogue,
    text: String,
    pub notes: Vec<String>,
}

impl Chosen {
    /// Whose template it is, for people.
    pub fn whose(&self) -> String {
        match &self.origin {
            Origin::Nobody => String::from("none"),
            Origin::Cp => String::from("onto's"),
            Origin::Chat(_) => String::from("the chat model's"),
            Origin::Given(name) => format!("'{name}'"),
        }
    }
}

/// Finds the template and reads what it writes.
pub(crate) fn choose(onto: &Model, vectors: &[Vector], choice: &TemplateChoice) -> Result<Chosen> {
    let mut notes = Vec::new();
    let ours = onto.metadata.str(TEMPLATE);
    let theirs = vectors.iter().enumerate().find_map(|(i, v)| Some((i, v.chat.metadata.str(TEMPLATE)?)));
    let (origin, text) = match (choice, ours, theirs) {
        (TemplateChoice::Given { name, text }, ..) => (Origin::Given(name.clone()), text.as_str()),
        (TemplateChoice::Auto, Some(ours), theirs) => {
            if theirs.is_some_and(|(_, text)| text != ours) {
                notes.push(String::from(
                    "onto's chat template is kept; the chat model has another one, which --chat-template chat takes",
                ));
            }
            (Origin::Cp, ours)
        }
        (TemplateChoice::Cp, Some(ours), _) => (Origin::Cp, ours),
        (TemplateChoice::Auto | TemplateChoice::Chat, _, Some((i, text))) => {
            one_of_chats(vectors, text)?;
            notes.push(String::from(match ours {
                None => "onto has no chat template: the chat model's is taken",
                Some(_) => "the chat model's template takes the place of onto's",
            }));
            (Origin::Chat(i), text)
        }
        (TemplateChoice::Auto, None, None) => {
            notes.push(String::from("warning: neither onto nor the chat model has a chat template"));
            (Origin::Nobody, "")
        }
        (TemplateChoice::Cp, None, _) => return Err(without(onto, "onto")),
        (TemplateChoice::Chat, _, None) => {
            return Err(without(vectors.first().map_or(onto, |v| &v.chat), "the chat model"));
        }
    };
    let dialogue = match origin {
        Origin::Nobody => Dialogue::default(),
        _ => read(text, &origin, onto, vectors)?,
    };
    if let Some(failure) = &dialogue.failure {
        notes.push(format!(
            "warning: the chat template cannot be rendered ({failure}); it is carried as it is, and only searched for texts that look like markers"
        ));
    }
    Ok(Chosen { text: text.to_string(), origin, dialogue, notes })
}

fn without(model: &Model, role: &str) -> Error {
    at(Error::invalid(format!("{role} has no chat template")), model)
        .hint("choose another one with --chat-template")
}

fn at(e: Error, model: &Model) -> Error {
    match model.containers.first() {
        Some(file) => e.file(file.path()),
        None => e,
    }
}

/// Chat models with several templates leave open which one the output speaks.
fn one_of_chats(vectors: &[Vector], text: &str) -> Result<()> {
    let another = |v: &&Vector| v.chat.metadata.str(TEMPLATE).is_some_and(|t| t != text);
    match vectors.iter().find(another) {
        None => Ok(()),
        Some(v) => Err(at(Error::invalid("the chat models have different chat templates"), &v.chat)
            .hint("choose one with --chat-template FILE or NAME")),
    }
}

/// Reads the template with the special tokens that it was written for.
fn read(text: &str, origin: &Origin, onto: &Model, vectors: &[Vector]) -> Result<Dialogue> {
    let source = match origin {
        Origin::Chat(i) => &vectors[*i].chat,
        _ => onto,
    };
    let mut special = BTreeSet::new();
    for model in vectors.iter().map(|v| &v.chat).chain([onto]) {
        special.extend(specials(&model.metadata)?);
    }
    let bos = named(&source.metadata, BOS)?.unwrap_or_default();
    let eos = named(&source.metadata, EOS)?.unwrap_or_default();
    dialogue::read(text, Words { bos: &bos, eos: &eos, special: &special }).ok_or_else(|| {
        Error::invalid("the chat template takes more memory or time than any template should")
            .expected("what two turns take")
            .hint("do not use this model without reading its template; --chat-template takes another one")
    })
}

/// Texts of control tokens, and of user-defined ones that are spelled as markers.
fn specials(metadata: &Metadata) -> Result<Vec<String>> {
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(Vec::new()) };
    let special = (0..tokens.len()).filter(|id| kind(&tokens, *id) == Kind::Special);
    let text = |id: usize| std::str::from_utf8(&tokens.tokens[id]).ok().map(String::from);
    let marker = |t: &String| {
        t.len() > 2 && t.contains(char::is_alphanumeric) && t.starts_with(['<', '[', '{', '|', '#'])
    };
    Ok(special.filter_map(text).filter(marker).collect())
}

/// The text of the token that a key names.
fn named(metadata: &Metadata, key: &str) -> Result<Option<String>> {
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(None) };
    let id = metadata.u64(key).and_then(|id| usize::try_from(id).ok());
    Ok(id.and_then(|id| tokens.tokens.get(id)).map(|t| t.to_string()))
}

/// The tokens that end a turn in the chat model, if the template is its.
pub(crate) fn ends(chosen: &Chosen, vectors: &[Vector]) -> Result<Vec<String>> {
    let mut ends: Vec<String> = chosen.dialogue.turn_end.iter().cloned().collect();
    if let Origin::Chat(i) = chosen.origin {
        for key in [EOS, EOT] {
            ends.extend(named(&vectors[i].chat.metadata, key)?);
        }
    }
    Ok(ends)
}

/// Writes the template into `out`, whose vocabulary is final, with all that follows it. Returns what was done.
pub(crate) fn apply(out: &mut Metadata, chosen: &Chosen, vectors: &[Vector]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    match &chosen.origin {
        Origin::Nobody => return Ok(notes),
        Origin::Cp => {}
        Origin::Chat(i) => take_all(out, &vectors[*i].chat.metadata, &mut notes)?,
        Origin::Given(name) => {
            clear(out, TEMPLATE);
            out.set(TEMPLATE, chosen.text.as_str());
            notes.push(format!("the chat template is '{name}'"));
        }
    }
    turn_end(out, chosen, vectors, &mut notes)?;
    markers(out, chosen, vectors, &mut notes)?;
    Ok(notes)
}

/// Takes template, special ids, flags and sampling from the chat model.
fn take_all(out: &mut Metadata, chat: &Metadata, notes: &mut Vec<String>) -> Result<()> {
    for prefix in [TEMPLATE, SAMPLING] {
        let had = clear(out, prefix);
        for (key, value) in chat.iter().filter(|(key, _)| key.starts_with(prefix)) {
            out.set(key, value.clone());
        }
        let has = chat.iter().any(|(key, _)| key.starts_with(prefix));
        if prefix == SAMPLING && (had || has) {
            notes.push(String::from("the sampling settings are the chat model's"));
        }
    }
    for key in [EOS, EOT, EOM, BOS] {
        if let Some(token) = named(chat, key)? {
            set_id(out, key, &token, "as in the chat model", notes)?;
        }
    }
    let same_family = out.str("tokenizer.ggml.model") == chat.str("tokenizer.ggml.model");
    for key in FLAGS {
        match (out.get(key).cloned(), chat.get(key).cloned()) {
            (ours, Some(theirs)) if ours.as_ref() != Some(&theirs) => {
                let word = if theirs == Value::Bool(true) { "true" } else { "false" };
                notes.push(format!("{key} becomes {word}, as in the chat model"));
                out.set(key, theirs);
            }
            (Some(_), None) if same_family => {
                out.remove(key);
                notes.push(format!("{key} is left to its default, as in the chat model"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes all keys with a prefix; says whether there were any.
fn clear(out: &mut Metadata, prefix: &str) -> bool {
    let before = out.len();
    out.retain(|key| !key.starts_with(prefix));
    out.len() < before
}

/// Gives `key` the id that `token` has in the output.
fn set_id(out: &mut Metadata, key: &str, token: &str, why: &str, notes: &mut Vec<String>) -> Result<()> {
    match special_id(out, token)? {
        Some(id) if out.u64(key) == Some(id.into()) => {}
        Some(id) => {
            out.set(key, id);
            notes.push(format!("{key} becomes {id} ('{token}'), {why}"));
        }
        None => notes.push(format!(
            "warning: {key} stays as in onto: '{token}' is not a special token of the output's vocabulary"
        )),
    }
    Ok(())
}

/// The id of a special token; of any token, in a vocabulary without types.
fn special_id(out: &Metadata, token: &str) -> Result<Option<u32>> {
    let Some(tokens) = Tokens::of(out)? else { return Ok(None) };
    let special =
        |id: usize| tokens.types.is_empty() || matches!(kind(&tokens, id), Kind::Special | Kind::Unknown);
    let found =
        tokens.tokens.iter().enumerate().find(|(id, t)| t.as_slice() == token.as_bytes() && special(*id));
    Ok(found.and_then(|(id, _)| u32::try_from(id).ok()))
}

/// Whether the chat model writes this marker as plain text, so that no vocabulary needs it.
fn plain_in_chat(chosen: &Chosen, vectors: &[Vector], marker: &str) -> Result<bool> {
    match chosen.origin {
        Origin::Chat(i) => Ok(special_id(&vectors[i].chat.metadata, marker)?.is_none()),
        _ => Ok(false),
    }
}

/// Sees to it that the token which ends a turn is one at which the runtime stops.
fn turn_end(out: &mut Metadata, chosen: &Chosen, vectors: &[Vector], notes: &mut Vec<String>) -> Result<()> {
    if Tokens::of(out)?.is_none() {
        return Ok(());
    }
    let theirs = match chosen.origin {
        Origin::Chat(i) => named(&vectors[i].chat.metadata, EOS)?,
        _ => named(out, EOS)?,
    };
    let written = match &chosen.dialogue.turn_end {
        Some(end) if !plain_in_chat(chosen, vectors, end)? => Some(end.clone()),
        _ => None,
    };
    let Some(end) = written.or(theirs) else {
        notes.push(String::from("warning: no token ends a turn: the model may never stop"));
        return Ok(());
    };
    let Some(id) = special_id(out, &end)? else {
        return Err(Error::invalid(format!(
            "the chat template ({}) ends a turn with a token that the output's vocabulary lacks, so the model would never stop",
            chosen.whose()
        ))
        .expected(format!("'{end}' to be one special token"))
        .found("none")
        .hint("choose a template whose tokens onto has with --chat-template, or take the token from the chat model with --add-chat-tokens"));
    };
    if [EOS, EOT, EOM].iter().any(|key| out.u64(key) == Some(id.into())) {
        return Ok(());
    }
    let key = if matches!(chosen.origin, Origin::Given(_)) { EOS } else { EOT };
    set_id(out, key, &end, "the end of a turn in the template", notes)
}

/// Warns of markers that the runtime would not read as one token.
fn markers(out: &Metadata, chosen: &Chosen, vectors: &[Vector], notes: &mut Vec<String>) -> Result<()> {
    if Tokens::of(out)?.is_none() {
        return Ok(());
    }
    let (mut missing, mut plain) = (Vec::new(), Vec::new());
    for marker in &chosen.dialogue.markers {
        if special_id(out, marker)?.is_none() {
            let list = if plain_in_chat(chosen, vectors, marker)? { &mut plain } else { &mut missing };
            list.push(marker.as_str());
        }
    }
    if !missing.is_empty() {
        notes.push(format!(
            "warning: the chat template ({}) writes markers that are not single special tokens of the output's vocabulary: {}",
            chosen.whose(),
            missing.join(" ")
        ));
    }
    if !plain.is_empty() {
        notes.push(format!(
            "the chat template writes as plain text, as in the chat model: {}",
            plain.join(" ")
        ));
    }
    Ok(())
}
