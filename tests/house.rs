//! Rules of the house that a compiler holds only in part: where `unsafe` may stand, what a wrapper over rows passes on,
//! and that no file imports one that imports it.

#[path = "support/imports.rs"]
mod imports;

use imports::Imports;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `.rs` files below `dir`.
fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|e| e == "rs") => into.push(path),
            false => {}
        }
    }
}

/// The lines of a file that hold the keyword, without comments; with each whether a comment above explains it. The type of
/// a C function does nothing.
fn unsafe_lines(text: &str) -> Vec<(String, bool)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let code = |line: &str| line.split("//").next().unwrap_or("").to_string();
    let does = |line: &str| code(line).replace("unsafe extern \"C\" fn(", "");
    let holds =
        |line: &str| does(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
    let explained = |i: usize| lines[i.saturating_sub(4)..i].iter().any(|l| is_reason(l));
    (0..lines.len()).filter(|i| holds(lines[*i])).map(|i| (lines[i].to_string(), explained(i))).collect()
}

/// Why a block is sound, or what a function asks of who calls it.
fn is_reason(line: &str) -> bool {
    line.starts_with("// SAFETY:") || line == "/// # Safety"
}

#[test]
fn unsafe_stands_in_two_rooms_and_is_explained() {
    let mut files = Vec::new();
    for dir in ["src", "formats/src", "runtime/src", "fuzz/src"] {
        sources(&root().join(dir), &mut files);
    }
    assert!(files.len() > 100);
    for path in files {
        let found = unsafe_lines(&std::fs::read_to_string(&path).unwrap());
        if path.ends_with("formats/src/mmap.rs") || path.starts_with(root().join("runtime/src/ffi")) {
            assert!(found.iter().all(|(_, explained)| *explained), "{found:?}");
        } else {
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
    }
    // The compiler is told so, too.
    let text = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    assert!(text("src/lib.rs").contains("#![forbid(unsafe_code)]"));
    assert_eq!(text("formats/src/lib.rs").matches("#[allow(unsafe_code)]\npub mod mmap;").count(), 1);
    assert_eq!(text("formats/src/lib.rs").matches("unsafe_code").count(), 2);
    assert_eq!(text("runtime/src/lib.rs").matches("#[allow(unsafe_code)]\nmod ffi;").count(), 1);
    assert_eq!(text("runtime/src/lib.rs").matches("unsafe_code").count(), 2);
}

/// What a wrapper does not pass on is lost in silence: fetching ahead, giving memory back, what a run is known by. Rows
/// that lie in a file or in memory themselves, or are all zeros, wrap nothing.
#[test]
fn every_wrapper_over_rows_passes_on_what_it_is_told() {
    let mut files = Vec::new();
    ["src", "formats/src"].iter().for_each(|dir| sources(&root().join(dir), &mut files));
    let mut wrappers = 0;
    for path in files.into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for block in code.split("impl Rows for ").skip(1) {
            let block = block.split("\n}").next().unwrap_or_default();
            let name = block.split_whitespace().next().unwrap_or_default();
            if ["Mapped", "InMemory", "Zeros"].contains(&name) {
                continue;
            }
            wrappers += 1;
            for method in ["fn prefetch(", "fn release(", "fn identify("] {
                assert!(block.contains(method), "{}: {name} has no {method}", path.display());
            }
        }
    }
    assert!(wrappers > 8, "{wrappers}");
}

#[test]
fn files_that_import_each_other_make_no_circle() {
    for (dir, least) in [("src", 100), ("formats/src", 60), ("runtime/src", 8)] {
        let mut files = Vec::new();
        sources(&root().join(dir), &mut files);
        let imports = Imports::of(&root().join(dir), &files);
        assert!(imports.count() > least, "{dir}: {} imports", imports.count());
        assert_eq!(imports.circles(), Vec::<Vec<String>>::new(), "{dir}");
    }
}

/// Whether a licence, as SPDX writes it, may be met by those that are allowed.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    let plain = licence.replace(['(', ')'], " ").replace('/', " OR ");
    // Nothing that we depend on nests them deeper than one word in brackets, or a choice in a sum.
    let both = |text: &str| text.split(" AND ").all(|one| allowed.contains(&one.trim()));
    match licence.contains('(') {
        true => licence.split(" AND ").all(|part| {
            let part = part.replace(['(', ')'], "");
            part.split(" OR ").any(|one| allowed.contains(&one.trim()))
        }),
        false => plain.split(" OR ").any(both),
    }
}

#[test]
fn the_licences_of_what_we_depend_on_are_allowed() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let allowed: Vec<&str> = list.split(',').map(|one| one.trim().trim_matches('"')).collect();
    let mut tree = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"]);
    // Of what was not built the licences are not here.
    tree.args(cfg!(feature = "stores").then_some("--all-features"));
    let output = tree.args(["--format", "{p}|{l}"]).current_dir(root()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: std::collections::BTreeSet<&str> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(all.len() > 80, "{}", all.len());
    for line in all {
        let (name, licence) = line.split_once('|').unwrap();
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
    }
}
