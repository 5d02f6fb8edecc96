//! A family's page as people read it, in Markdown: which tensors become which, the axes and the keys. It is made from the
//! rules that the conversion follows, so it cannot say anything else. `docs/architectures.md` is all of them.

use super::converter;
use super::dense::{self, Dense, Taken};
use super::families::{ARCHS, Arch, DECODER, Family};
use super::keys::{Absent, Fixed, From, Key};
use super::params::{Axis, Size};
use super::projectors::{self, PROJECTORS};
use super::rule::{Layers, Need, RowCount, Rule};
use super::values::Value;
use std::fmt::Write;

/// The architectures of this name: a class of `config.json`, or what a GGUF calls it; and the projectors.
pub fn named(name: &str) -> Vec<&'static Arch> {
    let is = |one: &str| one.eq_ignore_ascii_case(name);
    let of_class = |arch: &&Arch| arch.classes.iter().any(|class| is(class));
    let texts = ARCHS.iter().filter(|arch| is(arch.gguf) || of_class(arch));
    texts.chain(PROJECTORS.iter().filter(|arch| is(&projectors::kind(arch)) || of_class(arch))).collect()
}

/// Every name that `named` knows.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = ARCHS.iter().map(|arch| arch.gguf).collect();
    names.dedup();
    names.extend(ARCHS.iter().chain(PROJECTORS).flat_map(|arch| arch.classes));
    names
}

/// A table of all classes.
pub fn classes() -> String {
    let row = |class: &&str, arch: &Arch| vec![code(class), code(arch.gguf)];
    let mut rows: Vec<Vec<String>> =
        ARCHS.iter().flat_map(|arch| arch.classes.iter().map(|class| row(class, arch))).collect();
    rows.sort();
    let texts = table(&["`architectures` in config.json", "`general.architecture`"], rows);
    let row = |class: &&str, arch: &'static Arch| vec![code(class), code(&projectors::kind(arch))];
    let mut rows: Vec<Vec<String>> =
        PROJECTORS.iter().flat_map(|arch| arch.classes.iter().map(|class| row(class, arch))).collect();
    rows.sort();
    let projectors = table(&["with `--mmproj`: class of what sees or hears", "projector"], rows);
    format!("{texts}\n{}\n{projectors}", without())
}

/// How many of the converter's classes have a page, and a table of those that have none.
fn without() -> String {
    let (covered, all) = converter::covered();
    let row = |named: converter::Named| Some(vec![code(named.class), named.reason?.to_string()]);
    let rows = converter::classes().filter_map(row);
    let names = "classes of text models that llama.cpp's converter names";
    format!(
        "Of the {all} {names} (v0.5.0) {covered} have a page. The others:\n\n{}",
        table(&["class of the converter without a page", "why"], rows)
    )
}

/// What a page is called: what the GGUF calls the architecture, and the projector.
fn title(arch: &'static Arch) -> String {
    let is_projector = PROJECTORS.iter().any(|page| std::ptr::eq(page, arch));
    if is_projector { format!("{} ({})", arch.gguf, projectors::kind(arch)) } else { arch.gguf.to_string() }
}

/// All that a conversion of this architecture does: its own page and those that it builds on.
pub fn page(arch: &'static Arch) -> String {
    let family = Family::of(arch);
    let mut text = format!("# {}: {}\n", title(arch), arch.classes.join(", "));
    let rules = family.rules.iter().map(|rule| tensor(rule)).chain(arch.dense.iter().map(module));
    section(&mut text, "Tensors", table(&TENSORS, rules));
    section(&mut text, "Axes", table(&AXES, family.axes.iter().map(|axis| size_of(axis))));
    let keys = family.keys.iter().filter(|line| line.place_of.is_none()).map(|line| line.key);
    section(&mut text, "Keys", table(&KEYS, arch.early.iter().chain(keys).map(|key| key_of(arch.gguf, key))));
    let carried = family.carried.iter().flat_map(|all| {
        let cells = |end: &&str| {
            let number = if end.starts_with('.') { "{..}" } else { "" };
            vec![code(&format!("{}{number}{end}", all.from)), code(&format!("{}{number}{end}", all.to))]
        };
        all.ends.iter().map(cells).collect::<Vec<_>>()
    });
    if !family.carried.is_empty() {
        section(&mut text, "Tensors of any shape", table(&["checkpoint", "GGUF"], carried));
    }
    let made: Vec<&str> = family.made.iter().map(|made| made.name).collect();
    for (what, names) in [
        ("Prefixes of names", &family.prefixes),
        ("Tensors that follow from the configuration", &made),
        ("Tensors that a GGUF has no use for", &family.ignored),
    ] {
        let names: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
        if !names.is_empty() {
            section(&mut text, what, codes(&names, ", ") + "\n");
        }
    }
    let tokenizer = arch.tokenizer.iter().map(|told| vec![code(told.key), fixed(told.value)]);
    if !arch.tokenizer.is_empty() {
        section(&mut text, "Keys of the tokenizer", table(&["key", "value"], tokenizer));
    }
    text
}

/// All pages, each with its differences from what it builds on: `docs/architectures.md`.
pub fn document() -> String {
    let mut text = format!(
        "# Architectures\n\nWhat `ggraft architectures --all` prints. `{{l}}` in a name is a layer, `{{e}}` an expert. *Elements* \
         tells how the dimensions of the checkpoint's tensor (left) become those of GGUF's, an axis a word; one side alone is \
         both. `ggraft architectures NAME` prints the whole page of one.\n\n{}",
        classes()
    );
    _ = write!(text, "\n## {MOST}\n{}", stated(&[&DECODER], "ARCH"));
    for arch in ARCHS {
        _ = write!(text, "\n{}", differences(arch));
    }
    _ = write!(
        text,
        "\n# Projectors\n\nWhat `convert --mmproj` writes: the parts of a model that see or hear.\n"
    );
    for base in projectors::BASES {
        _ = write!(text, "\n## {}\n{}", base.gguf, stated(&[base], "clip"));
    }
    for arch in PROJECTORS {
        _ = write!(text, "\n{}", differences(arch));
    }
    text
}

/// What is written for the root of most families.
const MOST: &str = "most decoders";

/// The pages that have no name of their own between this one and the one that it builds on, the nearest last; and that.
fn lineage(arch: &'static Arch) -> (Vec<&'static Arch>, Option<&'static Arch>) {
    let (mut own, mut base) = (vec![arch], arch.base);
    while let Some(page) = base.filter(|page| page.gguf.is_empty() && page.base.is_some()) {
        own.insert(0, page);
        base = page.base;
    }
    (own, base)
}

/// What a page states beyond the one that it builds on.
fn differences(arch: &'static Arch) -> String {
    let (own, base) = lineage(arch);
    let stated = stated(&own, arch.gguf);
    let base = base.map_or(String::new(), |base| match base.gguf {
        "" => format!(", as {MOST}"),
        gguf => format!(", as {}", code(gguf)),
    });
    let but = if stated.is_empty() { "." } else { ", but for:" };
    format!("## {}\n\n{}{base}{but}\n{stated}", title(arch), codes(arch.classes, ", "))
}

/// The tables of these pages, one after the other; `gguf` stands in front of the keys.
fn stated(pages: &[&'static Arch], gguf: &str) -> String {
    let mut text = String::new();
    let mut add = |head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            _ = write!(text, "\n{}", table(head, rows));
        }
    };
    let shared = |page: &&'static Arch| page.shares.iter().flat_map(|rules| rules.iter());
    let rules = pages.iter().flat_map(|page| page.rules.iter().chain(shared(page)));
    let dense = pages.iter().flat_map(|page| page.dense).map(module);
    add(&TENSORS, rules.map(tensor).chain(dense).collect());
    add(&AXES, pages.iter().flat_map(|page| page.axes).map(size_of).collect());
    let keys = pages.iter().flat_map(|page| page.early.iter().chain(page.keys));
    add(&KEYS, keys.map(|key| key_of(gguf, key)).collect());
    let without: Vec<&str> = pages.iter().flat_map(|page| page.without).copied().collect();
    if !without.is_empty() {
        _ = write!(text, "\nWithout {}.\n", codes(&without, ", "));
    }
    text
}

const TENSORS: [&str; 4] = ["checkpoint", "GGUF", "elements", "where"];
const AXES: [&str; 2] = ["axis", "size"];
const KEYS: [&str; 3] = ["key", "from", "if absent"];

fn section(text: &mut String, title: &str, body: String) {
    _ = write!(text, "\n## {title}\n\n{body}");
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// As code in a table, where a bar would end the cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn codes(texts: &[&str], between: &str) -> String {
    texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(between)
}

/// A dense module, whose tensor lies in a folder of its own.
fn module(dense: &Dense) -> Vec<String> {
    let file = format!("{} of {}/{}", code(dense::WEIGHT), dense.folder, dense::WEIGHTS);
    let told = match dense.taken {
        Taken::Asked => format!("with {}", code(dense::OPTION)),
        Taken::Always => String::from("if it is there"),
    };
    vec![file, code(&format!("{}.weight", dense.to)), String::from("as it is"), told]
}

fn tensor(rule: &Rule) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(need(rule.need));
    told.extend(rule.bias.map(|bias| match need(bias) {
        Some(when) => format!("bias {when}"),
        None => String::from("with a bias"),
    }));
    told.extend(layers(rule.layers));
    told.extend(rule.spare.then(|| String::from("left out of others")));
    told.extend(value(rule.value));
    match rule.rows {
        RowCount::All => {}
        RowCount::Tokens => told.push(String::from("no more rows than tokens")),
        RowCount::Padded => told.push(String::from("rows of zeros up to the number of tokens")),
        RowCount::After(axis) => told.push(format!("without the first {} rows", code(axis))),
        RowCount::BehindZeros => told.push(String::from("behind one more of zeros")),
        RowCount::One(axis) => told.push(format!("row {} alone", code(axis))),
    }
    told.extend(rule.stored.map(|dtype| format!("always {}", dtype.to_string().to_uppercase())));
    let spelled = |name: &&str| name.strip_prefix('^').unwrap_or(name).to_string();
    let from: Vec<String> = rule.from.iter().map(spelled).collect();
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    vec![codes(&from, " or "), codes(rule.to, ", "), code(rule.axes), told.join("; ")]
}

fn need(need: Need) -> Option<String> {
    match need {
        Need::Must => None,
        Need::May => Some(String::from("if there")),
        Need::If(flag) => Some(format!("if {}", code(flag))),
        Need::Unless(flag) => Some(format!("unless {}", code(flag))),
        Need::IfSet(key) => Some(format!("if {} is set", code(key))),
        Need::UnlessSet(key) => Some(format!("unless {} is set", code(key))),
        Need::Without(tensor) => Some(format!("unless {} is there", code(tensor))),
    }
}

fn layers(layers: Layers) -> Option<String> {
    match layers {
        Layers::All => None,
        Layers::From(axis) => Some(format!("from layer {} on", code(axis))),
        Layers::Before(axis) => Some(format!("before layer {}", code(axis))),
        Layers::Of(key, words) => Some(format!("layers that {} calls {}", code(key), codes(words, " or "))),
        Layers::When(_) => Some(String::from("some layers")),
    }
}

fn value(value: Value) -> Option<String> {
    match value {
        Value::Same => None,
        Value::Plus(by) => Some(format!("w + {by}")),
        Value::NegExp => Some(String::from("-exp(w)")),
        Value::Softplus => Some(String::from("ln(1 + exp(w))")),
        Value::Ids => Some(String::from("each plus its own place, as I64")),
        Value::Narrow => Some(String::from("as I32")),
        Value::Times(times) => Some(times.name.to_string()),
        Value::Whole(whole) => Some(whole.name.to_string()),
        Value::Custom(custom) => Some(custom.name.to_string()),
    }
}

fn size_of(axis: &Axis) -> Vec<String> {
    vec![code(axis.name), size(&axis.size)]
}

fn size(of: &Size) -> String {
    match of {
        Size::Is(n) => n.to_string(),
        Size::Of(keys) => codes(keys, " or "),
        Size::Or(keys, other) => format!("{}, else {}", codes(keys, " or "), size(other)),
        Size::Same(axis) => format!("as axis {}", code(axis)),
        Size::Div(a, b) => format!("axes {} / {}", code(a), code(b)),
        Size::Mul(a, b) => format!("axes {} * {}", code(a), code(b)),
        Size::Add(a, b) => format!("axes {} + {}", code(a), code(b)),
        Size::Sub(a, b) => format!("axes {} - {}", code(a), code(b)),
        Size::Make(_) => String::from("computed"),
    }
}

fn key_of(gguf: &str, key: &Key) -> Vec<String> {
    let from = match &key.from {
        From::Count(keys)
        | From::Number(keys)
        | From::Positive(keys)
        | From::Flag(keys)
        | From::Text(keys) => codes(keys, " or "),
        From::Word(keys, words) => {
            let words: Vec<String> = words.iter().map(|(word, n)| format!("{word} = {n}")).collect();
            format!("{} ({})", codes(keys, " or "), words.join(", "))
        }
        From::Axis(axis) => format!("axis {}", code(axis)),
        From::Is(value) => format!("always {}", fixed(*value)),
        From::Rope(types) => match types {
            [] => String::from("the configuration of rope"),
            types => format!("the configuration of rope; {}", codes(types, ", ")),
        },
        From::Make(_) => String::from("computed"),
    };
    let absent = match key.absent {
        Absent::Omit => String::new(),
        Absent::Refuse => String::from("refused"),
        Absent::Is(value) => fixed(value),
    };
    let name = match key.from {
        From::Rope(_) => code(&format!("{gguf}.rope.*")),
        _ => code(&key.name(gguf)),
    };
    vec![name, from, absent]
}

fn fixed(value: Fixed) -> String {
    match value {
        Fixed::Count(n) => n.to_string(),
        Fixed::Number(x) => x.to_string(),
        Fixed::Flag(flag) => flag.to_string(),
        Fixed::Text(text) => code(text),
    }
}
