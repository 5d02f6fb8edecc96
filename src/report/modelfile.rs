//! The Modelfile of a GGUF, by which Ollama takes it in: the file, the prompt's template if it is one that can be said in
//! Ollama's language, the texts at which an answer ends, and the sampling that the model asks for.
//! Specification: Ollama's `docs/modelfile.md` (FROM, TEMPLATE, SYSTEM, PARAMETER).

use crate::chat::dialogue::{self, Words};
use crate::chat::templates::{BuiltIn, TEMPLATES};
use crate::vocab::Tokens;
use ggraft_formats::error::Printable;
use ggraft_formats::{Error, Metadata, Result};
use std::collections::BTreeSet;
use std::fmt::Write;

const TEMPLATE: &str = "tokenizer.chat_template";
/// The tokens that end an answer.
const ENDS: [&str; 3] = ["eos", "eot", "eom"];
/// Sampling: what GGUF calls it, and Ollama.
const SAMPLING: [(&str, &str); 6] = [
    ("temp", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("penalty_repeat", "repeat_penalty"),
    ("penalty_last_n", "repeat_last_n"),
];

/// A content by which templates are told apart.
const SYSTEM: &str = "zqSYSTEMqz";
/// A dialogue; without its first message one that has no system message.
const TURNS: &[(&str, &str)] =
    &[("system", SYSTEM), ("user", "zqONEqz"), ("assistant", "zqTWOqz"), ("user", "zqTHREEqz")];

/// The Modelfile of the GGUF of this name, which lies beside it.
pub fn modelfile(name: &str, metadata: &Metadata) -> Result<String> {
    if name.contains(char::is_control) {
        return Err(Error::usage("a Modelfile cannot name a file with control characters")
            .found(format!("'{name}'"))
            .hint("choose another name with -o"));
    }
    let ends = Ends::of(metadata)?;
    let words = ends.words();
    let token = |id: &str| ends.token(id);
    let mut out = format!("FROM ./{name}\n");
    let mut stops: Vec<String> = Vec::new();
    match metadata.str(TEMPLATE) {
        None => line(&mut out, "# The model has no chat template."),
        Some(text) => {
            template(&mut out, text, words)?;
            stops.extend(dialogue::read(text, words).ok_or_else(endless)?.turn_end);
        }
    }
    stops.extend(ENDS.iter().filter_map(|id| token(id)));
    let mut told = BTreeSet::new();
    for stop in stops.iter().filter(|stop| !stop.is_empty() && told.insert(stop.as_str())) {
        match quoted(stop) {
            Some(word) => line(&mut out, &format!("PARAMETER stop {word}")),
            None => line(&mut out, &format!("# An answer ends at {}, too.", Printable(stop))),
        }
    }
    for (key, parameter) in SAMPLING {
        let value = metadata.get(&format!("general.sampling.{key}"));
        if let Some(x) =
            value.and_then(|v| v.as_f64().or(v.as_u64().map(|n| n as f64))).filter(|x| x.is_finite())
        {
            line(&mut out, &format!("PARAMETER {parameter} {}", x as f32));
        }
    }
    Ok(out)
}

/// What the model's template and its answers end with.
struct Ends {
    bos: String,
    eos: String,
    /// The special tokens that there are, by what GGUF calls them.
    tokens: Vec<(&'static str, String)>,
    special: BTreeSet<String>,
}

impl Ends {
    fn of(metadata: &Metadata) -> Result<Ends> {
        let tokens = Tokens::of(metadata)?;
        let token = |id: &&'static str| {
            let number = metadata.u64(&format!("tokenizer.ggml.{id}_token_id"))?;
            let text = tokens.as_ref()?.tokens.get(usize::try_from(number).ok()?)?;
            Some((*id, std::str::from_utf8(text).ok()?.to_string()))
        };
        let known: Vec<(&'static str, String)> = ["bos"].iter().chain(&ENDS).filter_map(token).collect();
        let text = |id: &str| {
            known.iter().find(|(known, _)| *known == id).map(|(_, text)| text.clone()).unwrap_or_default()
        };
        let special = known.iter().filter(|(id, _)| *id != "bos").map(|(_, text)| text.clone()).collect();
        Ok(Ends { bos: text("bos"), eos: text("eos"), special, tokens: known })
    }

    fn token(&self, id: &str) -> Option<String> {
        self.tokens.iter().find(|(known, _)| *known == id).map(|(_, text)| text.clone())
    }

    fn words(&self) -> Words<'_> {
        Words { bos: &self.bos, eos: &self.eos, special: &self.special }
    }
}

/// Messages that stand for others where a prompt's format is shown.
const SHOWN: &[(&str, &str)] = &[("system", "{system_prompt}"), ("user", "{prompt}")];

/// Two turns of a dialogue, and a question.
const TURNS_SHOWN: &[(&str, &str)] =
    &[("user", "{question}"), ("assistant", "{answer}"), ("user", "{next question}")];

/// What the chat template writes for a dialogue; none if there is no template that renders.
pub fn example(metadata: &Metadata) -> Option<String> {
    let template = metadata.str(TEMPLATE)?;
    dialogue::write(template, TURNS_SHOWN, Ends::of(metadata).ok()?.words())?.ok()
}

/// What the chat template writes for a system message and a prompt, or for a prompt alone if it takes no system message;
/// none if there is no template that renders.
pub fn prompt(metadata: &Metadata) -> Option<String> {
    let template = metadata.str(TEMPLATE)?;
    let ends = Ends::of(metadata).ok()?;
    let write = |messages| dialogue::write(template, messages, ends.words())?.ok();
    let text = write(SHOWN).or_else(|| write(&SHOWN[1..]))?;
    Some(text.lines().map(|line| Printable(line).to_string()).collect::<Vec<_>>().join("\n"))
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{text}");
}

/// A value in quotes, which have no escapes; none if no quotes can hold it.
fn quoted(text: &str) -> Option<String> {
    match () {
        () if text.contains("\"\"\"") || text.contains(char::is_control) || text.ends_with('"') => None,
        () if text.contains('"') => Some(format!("\"\"\"{text}\"\"\"")),
        () => Some(format!("\"{text}\"")),
    }
}

fn endless() -> Error {
    Error::invalid("the chat template takes more memory or time than any template should")
        .hint("do not use this model without reading its template")
}

fn template(out: &mut String, text: &str, words: Words) -> Result<()> {
    match known(text, words)? {
        Some((name, template, system)) => {
            line(out, &format!("# The chat template is {name}."));
            line(out, &format!("TEMPLATE \"\"\"{template}\"\"\""));
            if let Some(system) = system {
                line(out, &format!("SYSTEM \"\"\"{system}\"\"\""));
            }
        }
        None => line(
            out,
            "# TEMPLATE is left to Ollama, which looks for its nearest one by the chat template in the file: the two languages\n# differ, and this is none of those whose translation is known.",
        ),
    }
    Ok(())
}

/// What a template writes for a dialogue with and one without a system message; nothing where it refuses.
struct Written {
    with: Option<String>,
    without: Option<String>,
}

impl Written {
    fn by(template: &str, words: Words) -> Result<Written> {
        // Ollama puts BOS before the prompt if the tokenizer says so, and templates differ in whether they write it.
        let write = |messages| -> Result<Option<String>> {
            let text = dialogue::write(template, messages, words).ok_or_else(endless)?.ok();
            Ok(text.map(|text| text.strip_prefix(words.bos).unwrap_or(&text).to_string()))
        };
        Ok(Written { with: write(TURNS)?, without: write(&TURNS[1..])? })
    }

    /// Whether this is what the template of `known` writes; if so, the system message that it supplies where there is none.
    fn is_of(&self, known: &Written) -> Option<Option<String>> {
        if self.with != known.with || self.without.is_none() {
            return None;
        }
        if self.without == known.without {
            return Some(None);
        }
        let (before, after) = known.with.as_ref()?.split_once(SYSTEM)?;
        let system = self.without.as_ref()?.strip_prefix(before)?.strip_suffix(after)?;
        (!system.contains("\"\"\"") && !system.ends_with('"')).then(|| Some(system.to_string()))
    }
}

/// A template's name, the template in Ollama's language, and the system message that the model's own supplies.
type Known = (&'static str, &'static str, Option<String>);

/// The named template that writes the same.
fn known(text: &str, words: Words) -> Result<Option<Known>> {
    let ours = Written::by(text, words)?;
    for BuiltIn { name, text, ollama, .. } in TEMPLATES {
        let Some(ollama) = ollama else { continue };
        // Its end of an answer must be this model's.
        if ollama.contains("</s>") && words.eos != "</s>" {
            continue;
        }
        if let Some(system) = ours.is_of(&Written::by(text, words)?) {
            return Ok(Some((name, ollama, system)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BString;

    const WORDS: [&str; 4] = ["<s>", "</s>", "<|im_end|>", "a\"b"];

    fn told(template: Option<&str>, eos: u32) -> Metadata {
        let mut m = Metadata::new();
        m.set("tokenizer.ggml.tokens", WORDS.map(BString::from).to_vec());
        m.set("tokenizer.ggml.token_type", vec![3i32; WORDS.len()]);
        m.set("tokenizer.ggml.bos_token_id", 0u32);
        m.set("tokenizer.ggml.eos_token_id", eos);
        if let Some(template) = template {
            m.set(TEMPLATE, template);
        }
        m
    }

    #[test]
    fn every_named_template_is_known_again() {
        for t in TEMPLATES {
            let text = modelfile("a.gguf", &told(Some(t.text), 1)).unwrap();
            let said = text.contains(&format!("# The chat template is {}.\nTEMPLATE \"\"\"", t.name));
            assert_eq!(said, t.ollama.is_some(), "{text}");
            assert_eq!(text.contains("# TEMPLATE is left to Ollama"), t.ollama.is_none(), "{text}");
            assert!(text.starts_with("FROM ./a.gguf\n") && !text.contains("SYSTEM \"\"\""), "{text}");
        }
    }

    /// A text of llama.cpp's kind, with another end of the answer than that of the named one.
    #[test]
    fn an_end_of_its_own_is_not_taken_for_another() {
        let solar = TEMPLATES.iter().find(|t| t.name == "solar").unwrap();
        let text = modelfile("a.gguf", &told(Some(solar.text), 2)).unwrap();
        assert!(text.contains("left to Ollama") && text.contains("PARAMETER stop \"<|im_end|>\""), "{text}");
    }

    #[test]
    fn a_supplied_system_message_is_found() {
        let template = "{{ bos_token }}{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe \"kind\" now.<|im_end|>\n' }}{% endif %}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
        let text = modelfile("a.gguf", &told(Some(template), 1)).unwrap();
        assert!(
            text.contains("chat template is chatml.")
                && text.contains("SYSTEM \"\"\"Be \"kind\" now.\"\"\"\n"),
            "{text}"
        );
        assert!(text.ends_with("PARAMETER stop \"<|im_end|>\"\nPARAMETER stop \"</s>\"\n"), "{text}");
    }

    #[test]
    fn sampling_and_quotes() {
        let mut m = told(None, 3);
        m.set("general.sampling.temp", 0.6f32);
        m.set("general.sampling.top_k", 40i32);
        assert_eq!(
            modelfile("a b.gguf", &m).unwrap(),
            "FROM ./a b.gguf\n# The model has no chat template.\nPARAMETER stop \"\"\"a\"b\"\"\"\nPARAMETER temperature 0.6\nPARAMETER top_k 40\n"
        );
        assert!(modelfile("a\nb.gguf", &m).is_err());
        assert_eq!((quoted("a\nb"), quoted("\"\"\"")), (None, None));
    }
}
