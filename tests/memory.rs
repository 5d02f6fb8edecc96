//! Memory and disk at a real size: three checkpoints of 1.1 B weights (TinyLlama's shape, 3 x 2.2 GB) are merged in
//! less than 256 MiB of anonymous memory and 1 GiB in all, and nothing but the output is written. The inputs are sparse files, so
//! the test needs room for its output only.
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: u64 = 256 << 20;

#[test]
fn a_merge_of_three_large_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["base", "chat", "cp"] {
        support::specs::write_sparse_1b(&dir.path().join(name));
    }
    let output = dir.path().join("out.gguf");
    let mut merge = Command::new(env!("CARGO_BIN_EXE_ggraft"))
        .args([
            "merge", "--base", "base", "--chat", "chat", "--onto", "cp", "--type", "Q8_0", "-q", "-o",
            "out.gguf",
        ])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut most, mut resident, mut written) = (0, 0, 0);
    let status = loop {
        most = most.max(figure(merge.id(), "status", "RssAnon:").unwrap_or(0) * 1024);
        resident = figure(merge.id(), "status", "VmHWM:").map_or(resident, |n| n * 1024);
        written = figure(merge.id(), "io", "wchar:").unwrap_or(written);
        if let Some(status) = merge.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success());
    let bytes = std::fs::metadata(&output).unwrap().len();
    println!(
        "{} MiB of {} MiB of memory are anonymous; {} MiB written",
        most >> 20,
        resident >> 20,
        written >> 20
    );
    assert!(bytes > 1_100_000_000, "{bytes}");
    assert!(most > 0 && most < LIMIT, "{} MiB of anonymous memory", most >> 20);
    assert!(resident < 1 << 30, "{} MiB resident", resident >> 20);
    assert!(written <= bytes + (1 << 20), "{written} bytes written for a file of {bytes}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["base", "chat", "cp", "out.gguf"]);
}

/// A figure of a process, as the kernel tells it.
fn figure(id: u32, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join(file)).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
