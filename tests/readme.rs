//! The README keeps its word: its tables are the program's own lists. Its commands run in `docs.rs`.

use ggraft::arch::ARCHS;
use ggraft::ftype::FTYPES;
use ggraft::merge::METHODS;
use ggraft::merge::weights::PRESETS;
use ggraft_formats::DType;
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
    let rows: Vec<String> = ARCHS.iter().map(|a| format!("{} | {}", a.gguf, a.classes.join(", "))).collect();
    assert_eq!(table("architecture"), rows);
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
