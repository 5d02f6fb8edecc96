//! Memory and disk at a real size: three checkpoints of 1.1 B weights (TinyLlama's shape, 3 x 2.2 GB) are merged in
//! less than 256 MiB of anonymous memory and 1 GiB in all, and nothing but the output is written; so are layers of
//! three of 70 B. The inputs are sparse files, so the tests need room for their outputs only.
#![cfg(target_os = "linux")]

mod support;

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
    let bytes = std::fs::metadata(dir.path().join("out.gguf")).unwrap().len();
    assert!(bytes > 1_100_000_000, "{bytes}");
    assert!(used.written <= bytes + (1 << 20), "{} bytes written for a file of {bytes}", used.written);
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["base", "chat", "cp", "out.gguf"]);
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
}

impl Used {
    /// Runs ggraft on the trio in `dir`.
    fn by(dir: &Path, arguments: &[&str]) -> Used {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ggraft"))
            .args(arguments)
            .args(["--base", "base", "--chat", "chat", "--onto", "cp", "-q", "-o", "out.gguf"])
            .current_dir(dir)
            .stdout(Stdio::null())
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
