//! What a chat template writes around the turns of a dialogue. It is rendered in a sandbox: no loader, no access to
//! anything, limited steps, depth, time and memory.
//! A template that does not render is only searched for texts that look like markers. Serves `merge`.
//! Specification: `apply_chat_template` of transformers 5 (trimmed blocks, its own `tojson`).

use super::guard::{Limits, guarded};
use crate::text::beginning;
use crate::vocab::looks_special;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use std::collections::BTreeSet;
use std::time::Duration;

/// Steps that a template may take; the longest published ones take about three thousand.
const FUEL: u64 = 200_000;
const DEPTH: usize = 64;
/// A longer template is not rendered, a longer rendering not looked at.
const LONGEST: usize = 1 << 18;
/// A few milliseconds and megabytes do; loops can double a text until the memory ends.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), memory: 256 << 20 };
/// A longer text is no marker.
const LONGEST_MARKER: usize = 48;

const SYSTEM: &str = "zqSYSTEMqz";
const USER: &str = "zqUSERqz";
const ASSISTANT: &str = "zqASSISTANTqz";

/// What is known of the tokens that a template may write.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    pub bos: &'a str,
    pub eos: &'a str,
    /// Texts of special tokens.
    pub special: &'a BTreeSet<String>,
}

/// What a template writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// Special tokens and texts that look like them, each once, in order; BOS is none.
    pub markers: Vec<String>,
    /// What follows an answer.
    pub turn_end: Option<String>,
    /// Why the template could not be rendered.
    pub failure: Option<String>,
}

/// Reads a template; `None` if it takes more time or memory than any template should: then the process should end.
pub fn read(template: &str, words: Words) -> Option<Dialogue> {
    let [source, bos, eos] = [template, words.bos, words.eos].map(String::from);
    let rendered = guarded(LIMITS, move || render(&source, &bos, &eos))?;
    Some(match rendered {
        Ok(text) => {
            let mut plain = text.replace(SYSTEM, "\n").replace(USER, "\n");
            let turn_end =
                plain.split_once(ASSISTANT).and_then(|(_, rest)| leading(rest.trim_start(), words));
            plain = plain.replace(ASSISTANT, "\n");
            Dialogue { markers: markers(&plain, words), turn_end, failure: None }
        }
        Err(failure) => {
            let text = beginning(template, LONGEST);
            Dialogue { markers: markers(text, words), turn_end: None, failure: Some(failure) }
        }
    })
}

/// Two turns and the start of an answer, with a system message if the template takes one.
fn render(template: &str, bos: &str, eos: &str) -> Result<String, String> {
    let all = [("system", SYSTEM), ("user", USER), ("assistant", ASSISTANT), ("user", USER)];
    let text = one(template, &all, bos, eos).or_else(|_| one(template, &all[1..], bos, eos))?;
    match text.contains(ASSISTANT) {
        true if text.len() <= LONGEST => Ok(text),
        true => Err(format!("it writes {} bytes for two turns", text.len())),
        false => Err(String::from("it does not write the assistant's message")),
    }
}

/// What a template writes for these messages, each a role and its content, and the start of an answer, or why it does not
/// render; `None` as in `read`.
pub fn write(
    template: &str,
    messages: &'static [(&str, &str)],
    words: Words,
) -> Option<Result<String, String>> {
    let [source, bos, eos] = [template, words.bos, words.eos].map(String::from);
    guarded(LIMITS, move || one(&source, messages, &bos, &eos))
}

fn one(template: &str, messages: &[(&str, &str)], bos: &str, eos: &str) -> Result<String, String> {
    if template.len() > LONGEST {
        return Err(format!("it has {} bytes, more than {LONGEST}", template.len()));
    }
    let env = sandbox().map_err(|e| e.to_string())?;
    let message = |(role, content): &(&str, &str)| context! { role => *role, content => *content };
    let messages: Vec<Value> = messages.iter().map(message).collect();
    let told = context! { messages, add_generation_prompt => true, bos_token => bos, eos_token => eos };
    env.render_str(&without_generation(template), told).map_err(|e| brief(&e))
}

fn sandbox() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(DEPTH);
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    // A fixed day, so that nothing depends on the clock.
    env.add_function("strftime_now", |_format: String| String::from("26 Jul 2024"));
    env.add_filter("tojson", |value: Value| -> Result<String, Error> {
        let mut out = String::new();
        json(&value, DEPTH, &mut out)?;
        Ok(out)
    });
    Ok(env)
}

/// Tags that only mark what is trained on.
fn without_generation(template: &str) -> String {
    let mut text = template.to_string();
    for word in ["generation", "endgeneration"] {
        for (open, close) in [("{%", "%}"), ("{%-", "-%}"), ("{%-", "%}"), ("{%", "-%}")] {
            text = text.replace(&format!("{open} {word} {close}"), "");
        }
    }
    text
}

fn brief(e: &Error) -> String {
    e.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// JSON as Python's `json.dumps` spells it, without escaping what HTML would want.
fn json(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    let deeper = depth.checked_sub(1).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "too deep"))?;
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                json(&item, deeper, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                out.push_str(&serde_json::Value::from(key.to_string()).to_string());
                out.push_str(": ");
                json(&value.get_item(&key)?, deeper, out)?;
            }
            out.push('}');
        }
        _ => out.push_str(&serde_json::Value::from(value.to_string()).to_string()),
    }
    Ok(())
}

/// The markers of a text, each once, in order.
fn markers(text: &str, words: Words) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let found = leading(rest, words);
        rest = &rest[found.as_ref().map_or(c.len_utf8(), String::len)..];
        if let Some(marker) = found.filter(|m| (m != words.bos || m == words.eos) && !all.contains(m)) {
            all.push(marker);
        }
    }
    all
}

/// The marker with which a text begins: the longest special token, or what looks like one.
fn leading(text: &str, words: Words) -> Option<String> {
    let ends =
        text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= LONGEST_MARKER * 2);
    let known = |end: &usize| {
        let part = &text[..*end];
        part == words.eos || part == words.bos || words.special.contains(part)
    };
    let known = ends.filter(known).last().map(|end| text[..end].to_string());
    known.filter(|m| !m.is_empty()).or_else(|| spelled(text))
}

/// `<|word|>`, `<word>`, `</word>`, `[WORD]` or `[/WORD]` at the beginning of a text.
fn spelled(text: &str) -> Option<String> {
    let close = match text.chars().next()? {
        '<' => '>',
        '[' => ']',
        _ => return None,
    };
    let end = text.find(close).filter(|end| *end > 1 && *end < LONGEST_MARKER)?;
    let (marker, inner) = (&text[..=end], &text[1..end]);
    let word = |c: char| c.is_alphanumeric() || "_-/|.:\u{ff5c}\u{2581}".contains(c);
    let shouted = |c: char| c.is_ascii_uppercase() || c == '_' || c == '/';
    let letters = inner.chars().any(char::is_alphabetic);
    let fits = if close == '>' {
        looks_special(marker) || inner.chars().all(word)
    } else {
        inner.chars().all(shouted)
    };
    (letters && fits).then(|| marker.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(template: &str, special: &[&str]) -> Dialogue {
        let special = special.iter().map(|s| s.to_string()).collect();
        read(template, Words { bos: "<s>", eos: "</s>", special: &special }).unwrap()
    }

    const CHATML: &str = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn markers_and_the_end_of_a_turn() {
        let chatml = read_with(CHATML, &["<|im_start|>"]);
        assert_eq!(chatml.markers, ["<|im_start|>", "<|im_end|>"]);
        assert_eq!(chatml.turn_end.as_deref(), Some("<|im_end|>"));
        assert_eq!(chatml.failure, None);
        let llama2 = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content.strip() }} [/INST]{% elif m.role == 'assistant' %} {{ m.content + ' ' + eos_token }}{% else %}{{ raise_exception('no system') }}{% endif %}{% endfor %}";
        let read = read_with(llama2, &[]);
        assert_eq!(read.markers, ["[INST]", "[/INST]", "</s>"]);
        assert_eq!(read.turn_end.as_deref(), Some("</s>"));
    }

    #[test]
    fn a_plain_text_template_has_no_markers() {
        let solar = "{% for m in messages %}### {{ m.role | title }}:\n{{ m.content }}\n\n{% endfor %}{{ [1, {'a': '<b>'}] | tojson }}";
        assert_eq!(read_with(solar, &[]), Dialogue { markers: vec!["<b>".into()], ..Dialogue::default() });
    }

    /// Eight bytes before the limit a marker, then characters of three bytes, of which the limit cuts one in two.
    #[test]
    fn a_template_beyond_the_limit_is_searched_up_to_it_wherever_that_falls() {
        let text = |before: usize| format!("{}<mark>{}<late>", " ".repeat(before), "가".repeat(100));
        for before in LONGEST - 8..LONGEST - 5 {
            let read = read_with(&text(before), &["<mark>", "<late>"]);
            assert_eq!(read.markers, ["<mark>"]);
            assert!(read.failure.unwrap().contains("more than"));
        }
    }

    #[test]
    fn a_template_that_does_not_render_is_searched() {
        for bad in [
            "{% for x in range(100000) %}{% for y in range(100000) %}{{ y }}{% endfor %}{% endfor %}<|im_end|>",
            "{% include '/etc/passwd' %}<|im_end|>",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}<|im_end|>",
            "{{ messages.x.y }}<|im_end|>",
            "{% if %}<|im_end|>",
            "<|im_end|>",
        ] {
            let read = read_with(bad, &[]);
            assert!(read.failure.is_some(), "{bad}");
            assert_eq!(read.markers, ["<|im_end|>"], "{bad}");
        }
    }
}
