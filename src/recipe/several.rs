//! Several of mergekit's recipes in one file, of which later ones name the results of others (mergekit-multi). A run carries
//! out one recipe; the refusal says which runs do the same.
//! Specification: `multimerge.py` of mergekit 0.1.4.

use super::yaml::{self, Node, Value};
use ggraft_formats::Error;

/// What mergekit calls dtypes, and the types of a checkpoint that hold them.
const TYPES: [(&str, &str); 3] =
    [("float32", "safetensors-f32"), ("float16", "safetensors-f16"), ("bfloat16", "safetensors-bf16")];

/// The refusal of `text`, if it holds several of mergekit's recipes.
pub(super) fn refusal(text: &str) -> Option<Error> {
    let documents = yaml::documents(text);
    let second = documents.get(1)?;
    if documents.iter().any(|one| one.get("merge_method").is_none()) {
        return None;
    }
    let commands: Vec<String> = in_order(&documents).into_iter().map(command).collect();
    let what = "there are several recipes (mergekit-multi), and a run carries out one";
    Some(Error::unsupported(format!("line {}: {what}", second.line)).hint(format!(
        "write each document into a file of its own and run, in this order: {}",
        commands.join("; ")
    )))
}

/// The documents, each behind those whose results it names; of a circle in the order of the file.
fn in_order(documents: &[Node]) -> Vec<&Node> {
    let mut left: Vec<&Node> = documents.iter().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let awaits = |one: &Node| {
            let others = left.iter().filter(|other| !std::ptr::eq(**other, one));
            others.filter_map(|other| name(other)).any(|name| names(one, name))
        };
        let next = left.iter().position(|one| !awaits(one)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

fn name(document: &Node) -> Option<&str> {
    match &document.get("name")?.node.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

/// Whether a text of `node` is this one.
fn names(node: &Node, text: &str) -> bool {
    match &node.value {
        Value::Text(own) => own == text,
        Value::List(items) => items.iter().any(|item| names(item, text)),
        Value::Map(entries) => entries.iter().any(|e| e.key != "name" && names(&e.node, text)),
        _ => false,
    }
}

/// What carries out a document: its result is a checkpoint if others may name it.
fn command(document: &Node) -> String {
    let Some(name) = name(document) else { return String::from("ggraft merge last.yml") };
    let told = document.get("out_dtype").or_else(|| document.get("dtype"));
    let kind = TYPES.iter().find(|(word, _)| told.is_some_and(|told| names(&told.node, word)));
    let kind = kind.map_or("safetensors", |(_, kind)| kind);
    format!("ggraft merge {name}.yml --type {kind} -o {name}")
}
