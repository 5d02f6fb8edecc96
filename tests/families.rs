//! Every family: what `ggraft convert` makes of its tiny checkpoints is what llama.cpp's converter made of them
//! (`fixtures/goldens/families`), and releasing what was adopted gives the checkpoint back.

#[path = "support/run.rs"]
mod run;
mod support;

use rayon::prelude::*;
use run::ggraft;
use std::path::Path;
use support::families::{Tiny, all, projectors};
use support::gguf::{checkpoint, model, values};
use support::golden::{Golden, OUTTYPES};

/// Does something with each checkpoint, and tells all that fails.
fn each(check: impl Fn(&Tiny, &Path) -> Vec<String> + Sync) {
    each_of(&all(), check);
}

fn each_of(all: &[Tiny], check: impl Fn(&Tiny, &Path) -> Vec<String> + Sync) {
    let wanted = std::env::var("FAMILY").unwrap_or_default();
    let failures = |tiny: &Tiny| {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(tiny.name);
        tiny.write(&dir);
        check(tiny, &dir).iter().map(|line| format!("{}: {line}", tiny.name)).collect::<Vec<_>>()
    };
    let failed: Vec<String> =
        all.par_iter().filter(|tiny| tiny.name.contains(&wanted)).flat_map_iter(failures).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_checkpoint_becomes_what_the_converter_makes_of_it() {
    each(|tiny, dir| differences(Golden::family(tiny.name), dir, &[]));
}

#[test]
fn what_sees_or_hears_becomes_what_the_converter_makes_of_it() {
    each_of(&projectors::all(), |tiny, dir| differences(Golden::projector(tiny.name), dir, &["--mmproj"]));
}

/// A line for each difference between what is made of a checkpoint and what the converter made of it.
fn differences(goldens: Option<Vec<Golden>>, dir: &Path, more: &[&str]) -> Vec<String> {
    let Some(goldens) = goldens else { return vec![String::from("there is no golden")] };
    let mut lines = Vec::new();
    for (golden, outtype) in goldens.iter().zip(OUTTYPES) {
        golden.check_generator(dir);
        let out = dir.with_extension(format!("{outtype}.gguf"));
        let (dir, path) = (dir.to_str().unwrap(), out.to_str().unwrap());
        let ran = ggraft([&["convert", "-q", dir, "--type", outtype, "-o", path], more].concat());
        if ran.code != 0 {
            return vec![ran.err];
        }
        lines.extend(golden.differences(&model(&out)).iter().map(|line| format!("{outtype}: {line}")));
    }
    lines
}

#[test]
fn releasing_what_was_adopted_gives_the_checkpoint_back() {
    each(|_, dir| {
        let checkpoint = checkpoint(dir);
        let adopted = match ggraft::arch::adopt(&checkpoint, &Default::default()) {
            Ok(adopted) => adopted,
            Err(e) => return vec![e.to_string()],
        };
        let released = match ggraft::arch::release(&adopted.model, &checkpoint) {
            Ok(released) => released,
            Err(e) => return vec![e.to_string()],
        };
        let mut lines = Vec::new();
        for before in &checkpoint.tensors {
            let mut all = released.tensors.iter().chain(&released.alone);
            match all.find(|after| after.name == before.name) {
                None if released.left.contains(&before.name) => {}
                None => lines.push(format!("{} is gone", before.name)),
                Some(after) if after.tensor.shape().ne() != before.shape().ne() => {
                    lines.push(format!("{}: {} is {}", before.name, before.shape(), after.tensor.shape()));
                }
                Some(after) if values(&after.tensor) != values(before) => {
                    lines.push(format!("{} differs", before.name))
                }
                Some(_) => {}
            }
        }
        if released.tensors.len() + released.alone.len() + released.left.len() < checkpoint.tensors.len() {
            lines.push(String::from("some tensors are gone"));
        }
        lines
    });
}

#[test]
fn every_golden_has_its_checkpoint() {
    let folder = std::fs::read_dir(support::vocabulary::fixture("goldens/families")).unwrap();
    for file in folder.map(|entry| entry.unwrap().path()) {
        let name = file.file_stem().unwrap().to_string_lossy().to_string();
        assert!(support::families::family(&name).is_some(), "{name}");
    }
}

#[test]
fn the_rules_of_every_page_are_sound() {
    let found: Vec<String> = ggraft::arch::ARCHS.iter().flat_map(ggraft::arch::faults).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn sizes_that_a_checkpoint_cannot_have_are_refused_at_once() {
    let tiny = projectors::all().into_iter().find(|tiny| tiny.name.contains("Qwen3-VL")).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("hostile");
    tiny.write(&dir);
    let file = dir.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["vision_config"]["depth"] = 3_000_000.into();
    std::fs::write(&file, config.to_string()).unwrap();
    let ran = ggraft(["convert", dir.to_str().unwrap(), "--mmproj", "--type", "f16", "--dry-run"]);
    assert!(ran.code != 0 && ran.err.contains("cannot hold so many layers"), "{}", ran.err);
}
