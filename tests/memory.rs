//! Memory and disk at a real size: three checkpoints of 1.1 B weights (TinyLlama's shape, 3 x 2.2 GB) are merged in
//! less than 256 MiB of anonymous memory and 1 GiB in all, and nothing but the output is written; so are layers of
//! three of 70 B. The inputs are sparse files, so the tests need room for their outputs only.
#![cfg(target_os = "linux")]

#[path = "support/raw_gguf.rs"]
mod raw_gguf;
mod support;

use serde_json::Value as Json;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_merge_of_three_large_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    trio(dir.path(), support::specs::write_sparse_1b);
    let used = Used::by(dir.path(), &["merge", "--type", "Q8_0"]);
    println!("{used:?}");
    used.check();
    let bytes = std::fs::metadata(dir.path().join("out-Q8_0.gguf")).unwrap().len();
    assert!(bytes > 1_100_000_000, "{bytes}");
    assert!(used.written <= bytes + (1 << 20), "{} bytes written for a file of {bytes}", used.written);
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["base", "chat", "cp", "out-Q8_0.gguf"]);
}

/// Three times 138 GB take no more memory: all layers planned, and one of them merged with the token tables.
#[test]
fn models_of_70b_take_no_more() {
    let dir = tempfile::tempdir().unwrap();
    trio(dir.path(), support::specs::write_sparse_70b);
    let plan = Used::by(dir.path(), &["merge", "--type", "Q4_K_M", "--dry-run"]);
    let pruned: Vec<String> = (1..80).map(|layer| layer.to_string()).collect();
    let layer = Used::by(dir.path(), &["merge", "--type", "Q4_K_M", "--prune-layers", &pruned.join(",")]);
    println!("{plan:?}, {layer:?}");
    plan.check();
    layer.check();
}

/// The memory of the plan is what is taken, within a factor of 1.5: of outputs of several types, of many threads, of a
/// large vocabulary.
#[test]
fn the_plan_tells_the_memory_that_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    trio(dir.path(), support::specs::write_sparse_1b);
    let pruned: Vec<String> = (2..22).map(|layer| layer.to_string()).collect();
    let prune = format!("--prune-layers={}", pruned.join(","));
    for more in [
        &["merge", "--type", "Q4_K_M", &prune, "-t", "2"][..],
        &["merge", "--type", "Q4_K_M", &prune, "-t", "8"],
        &["merge", "--type", "Q4_K_M,Q8_0,F16,Q6_K", &prune, "-t", "2"],
    ] {
        let used = Used::by(dir.path(), more);
        let planned = used.planned.unwrap() as f64;
        let ratio = planned / used.anonymous as f64;
        println!("{more:?}: {planned} planned, {} taken: {ratio:.2}", used.anonymous);
        assert!((1.0 / 1.5..1.5).contains(&ratio), "{more:?}: {planned} planned, {} taken", used.anonymous);
    }
}

/// A small file that would make another reader take a hundred times its size, and one of many keys.
#[test]
fn verifying_eight_megabytes_takes_less_than_a_hundred() {
    let dir = tempfile::tempdir().unwrap();
    let array = [&0u32.to_le_bytes()[..], &(8u64 << 20).to_le_bytes(), &vec![7; 8 << 20]].concat();
    let large = raw_gguf::file(3, &[raw_gguf::pair("a.b", 9, &array)], &[], 0);
    let keys: Vec<Vec<u8>> = (0..450_000).map(|i| raw_gguf::pair(&format!("{i:x}"), 0, &[1])).collect();
    let many = raw_gguf::file(3, &keys, &[], 0);
    for (name, bytes) in [("large.gguf", large), ("many.gguf", many)] {
        std::fs::write(dir.path().join(name), &bytes).unwrap();
        let used = Used::of(dir.path(), &["verify", name]);
        println!("{name}: {} bytes, {used:?}", bytes.len());
        assert!(used.resident < 100 << 20, "{name}: {used:?}");
    }
}

/// Writes base/, chat/ and cp/.
fn trio(dir: &Path, write: fn(&Path)) {
    ["base", "chat", "cp"].iter().for_each(|name| write(&dir.join(name)));
}

/// What a process took at most, in bytes.
#[derive(Debug, Default)]
struct Used {
    anonymous: u64,
    resident: u64,
    written: u64,
    /// What its plan tells, if it is printed as JSON.
    planned: Option<u64>,
}

impl Used {
    /// Runs ggraft on the trio in `dir`.
    fn by(dir: &Path, arguments: &[&str]) -> Used {
        let models = [
            "--base",
            "base",
            "--chat",
            "chat",
            "--onto",
            "cp",
            "-q",
            "--json",
            "-o",
            "out-{type}.gguf",
            "-f",
        ];
        Used::of(dir, &[arguments, &models].concat())
    }

    /// Runs ggraft in `dir`.
    fn of(dir: &Path, arguments: &[&str]) -> Used {
        // A pipe would be full before the program ends.
        let mut out = tempfile::tempfile().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(arguments)
            .current_dir(dir)
            .stdout(Stdio::from(out.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let mut used = Used::default();
        let status = loop {
            let of = |file: &str, key: &str| figure(process.id(), file, key);
            used.anonymous = used.anonymous.max(of("status", "RssAnon:").unwrap_or(0) * 1024);
            used.resident = of("status", "VmHWM:").map_or(used.resident, |n| n * 1024);
            used.written = of("io", "wchar:").unwrap_or(used.written);
            if let Some(status) = process.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{arguments:?}");
        let mut text = String::new();
        out.rewind().unwrap();
        out.read_to_string(&mut text).unwrap();
        let plan = text.lines().next().and_then(|line| serde_json::from_str::<Json>(line).ok());
        used.planned = plan.and_then(|plan| plan["memory"].as_u64());
        used
    }

    fn check(&self) {
        assert!(self.anonymous > 0 && self.anonymous < 256 << 20, "{self:?}");
        assert!(self.resident < 1 << 30, "{self:?}");
    }
}

/// A figure of a process, as the kernel tells it.
fn figure(id: u32, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join(file)).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
