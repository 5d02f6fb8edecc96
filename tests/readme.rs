//! The README keeps its word: its tables are the program's own lists. Its commands run in `docs.rs`. So does
//! `docs/architectures.md`.

#[path = "support/run.rs"]
mod run;

use ggraft::arch::ARCHS;
use ggraft::arch::projectors::{PROJECTORS, kind};
use ggraft::ftype::FTYPES;
use ggraft::merge::METHODS;
use ggraft::merge::weights::PRESETS;
use ggraft_formats::DType;
use run::ggraft;
use std::path::Path;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The rows below the header of the table whose header starts with `| name `, without their outer bars.
fn table(name: &str) -> Vec<String> {
    let text = readme();
    let mut lines = text.lines().skip_while(|l| !l.starts_with(&format!("| {name} ")));
    lines.next().unwrap_or_else(|| panic!("no table of {name}"));
    let rows = lines.skip(1).take_while(|l| l.starts_with('|'));
    rows.map(|l| l.trim_matches('|').trim().to_string()).collect()
}

#[test]
fn the_dtypes() {
    let names = |chosen: fn(DType) -> bool| {
        DType::all().filter(|d| chosen(*d)).map(|d| d.to_string()).collect::<Vec<_>>().join(" ")
    };
    let rows = [
        ("decoded and encoded", names(|d| d.traits().decode.is_some() && d.traits().encode.is_some())),
        ("decoded", names(|d| d.traits().decode.is_some() && d.traits().encode.is_none())),
        ("copied", names(|d| d.traits().decode.is_none())),
    ];
    assert_eq!(table("dtypes"), rows.map(|(what, names)| format!("{what} | {names}")));
}

#[test]
fn the_file_types() {
    let written = FTYPES.iter().filter(|f| f.default.traits().encode.is_some());
    let names: Vec<&str> = written.map(|f| f.name).collect();
    assert_eq!(table("`--type`"), [names.join(" ")]);
}

#[test]
fn the_architectures() {
    let mut names: Vec<&str> = ARCHS.iter().map(|arch| arch.gguf).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(table("architecture"), [names.join(" ")]);
}

#[test]
fn the_projectors() {
    let kinds: Vec<String> = PROJECTORS.iter().map(kind).collect();
    let mut names: Vec<&str> = kinds.iter().flat_map(|kinds| kinds.split(", ")).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(table("projector"), [names.join(" ")]);
}

/// `GGRAFT_WRITE_DOCS=1` writes it.
#[test]
fn the_pages_of_the_architectures() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architectures.md");
    let printed = ggraft(["architectures", "--all"]).ok().out;
    if std::env::var_os("GGRAFT_WRITE_DOCS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == printed, "docs/architectures.md is not current");
    for class in ARCHS.iter().flat_map(|arch| arch.classes) {
        let page = ggraft(["architectures", class]).ok().out;
        // The embeddings of a draft in stages are its target's.
        let first = if class.ends_with("V4DSparkModel") { "markov_w1.weight" } else { "token_embd.weight" };
        assert!(page.contains(class) && page.contains(first), "{page}");
    }
    let known = ggraft(["architectures", "WAVTokenizerDec"]);
    let told = "knows the class WavTokenizerDec, ggraft has no page for it yet: ";
    assert!(known.code == 4 && known.err.contains(told), "{}", known.err);
    let wrong = ggraft(["architectures", "qwen3mo"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean qwen3moe?"), "{}", wrong.err);
}

#[test]
fn the_methods() {
    let row = |m: &ggraft::merge::Method| {
        let params: Vec<&str> = m.params.iter().map(|p| p.name).collect();
        let params = if params.is_empty() { String::from("-") } else { params.join(", ") };
        format!("[{}]({}) | {} | {params}", m.name, m.paper, m.formula)
    };
    assert_eq!(table("`--method`"), METHODS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_weight_presets() {
    let rows: Vec<String> = PRESETS.iter().map(|p| format!("{} | {}", p.name, p.help)).collect();
    assert_eq!(table("`--weight-preset`"), rows);
}
