//! Runs that are stopped: by signals, by a kill at any moment, by a second run, by inputs that change, by limits. Nothing
//! unfinished has the final name, what is written stays, and the same command goes on with it to the same bytes.
#![cfg(target_os = "linux")]

mod support;

use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::rng::splitmix64;

const TRIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/trio");

/// A folder with the trio of 90 M weights, and the merge of it.
struct Work {
    dir: tempfile::TempDir,
}

impl Work {
    fn new() -> Work {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base", "chat", "cp"] {
            support::specs::write_sparse_90m(&dir.path().join(name));
        }
        Work { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, more: &[&str]) -> Child {
        merge(self.dir.path(), self.dir.path(), more).spawn().unwrap()
    }

    fn run(&self, more: &[&str]) -> Output {
        self.start(more).wait_with_output().unwrap()
    }

    /// Starts a merge and waits until some of it is written.
    fn under_way(&self, more: &[&str]) -> Child {
        let process = self.start(more);
        let begun = Instant::now();
        while pieces(&self.path("out.gguf")) < 5 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the merge does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        process
    }

    /// Starts a merge and stops it by this signal.
    fn stopped(&self, signal: &str, more: &[&str]) -> Output {
        let process = self.under_way(more);
        send(signal, &process);
        let begun = Instant::now();
        let output = process.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        output
    }
}

fn merge(models: &Path, dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
    command.arg("merge").current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["base", "chat"] {
        command.arg(format!("--{name}")).arg(models.join(name));
    }
    command.arg("--onto").arg(models.join("cp")).args(["--type", "Q5_K_M"]).args(more);
    if !more.contains(&"-o") {
        command.args(["-o", "out.gguf"]);
    }
    command
}

fn send(signal: &str, process: &Child) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// The pieces that the journal of this output tells of.
fn pieces(output: &Path) -> usize {
    let text = fs::read_to_string(journal(output)).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    // A piece that was written anew, because its line or it was cut off, is told twice.
    let pieces = whole.lines().filter(|line| line.split(' ').count() == 3 && !line.starts_with('{'));
    pieces.filter_map(|line| line.rsplit_once(' ')).map(|(place, _)| place).collect::<HashSet<_>>().len()
}

fn partial(output: &Path) -> PathBuf {
    output.with_file_name("out.gguf.partial")
}

fn journal(output: &Path) -> PathBuf {
    output.with_file_name("out.gguf.partial.journal")
}

fn hash(path: &Path) -> String {
    format!("{:x?}", Sha256::digest(fs::read(path).unwrap()))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ends_with(output: &Output, code: i32, words: &[&str]) {
    let told = told(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    words.iter().for_each(|word| assert!(told.contains(word), "'{word}' is not in: {told}"));
}

#[test]
fn a_signal_stops_and_the_same_command_goes_on() {
    let work = Work::new();
    let out = work.path("out.gguf");
    ends_with(&work.run(&["-o", "whole.gguf"]), 0, &[]);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let stopped = work.stopped(signal, &[]);
        ends_with(&stopped, code, &["stopped by a signal", "give the same command again"]);
        assert!(!out.exists() && partial(&out).exists(), "{signal}");
        let known = pieces(&out);
        assert!(known >= 5, "{known}");
        ends_with(&work.run(&[]), 0, &[&format!("resuming: {known} pieces")]);
        assert_eq!(hash(&out), hash(&work.path("whole.gguf")));
        assert!(!partial(&out).exists() && !journal(&out).exists());
        fs::remove_file(&out).unwrap();
    }
}

/// What an earlier run has written is measured in the end; asking for a report does not make other work of it.
#[test]
fn the_report_of_a_resumed_run_is_that_of_a_whole_one() {
    let work = Work::new();
    ends_with(&work.run(&["--report", "whole.json"]), 0, &[]);
    fs::remove_file(work.path("out.gguf")).unwrap();
    for without in [true, false] {
        let report: &[&str] = &["--report", "resumed.json"];
        work.stopped("-KILL", if without { &[] } else { report });
        ends_with(&work.run(report), 0, &["resuming: "]);
        let read = |name: &str| fs::read_to_string(work.path(name)).unwrap();
        assert_eq!(read("resumed.json"), read("whole.json"));
        fs::remove_file(work.path("out.gguf")).unwrap();
        fs::remove_file(work.path("resumed.json")).unwrap();
    }
}

#[test]
fn damaged_pieces_are_made_again() {
    let work = Work::new();
    let out = work.path("out.gguf");
    ends_with(&work.run(&["-o", "whole.gguf"]), 0, &[]);
    work.stopped("-KILL", &[]);
    let mut bytes = fs::read(partial(&out)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x55);
    bytes[..64].fill(0);
    fs::write(partial(&out), bytes).unwrap();
    // A line that was cut off, and what never was a line.
    let mut lines = fs::read_to_string(journal(&out)).unwrap();
    lines.push_str("no piece\n7 0 0123456789abcdef\n3 0 01");
    fs::write(journal(&out), lines).unwrap();
    ends_with(&work.run(&[]), 0, &["resuming: "]);
    assert_eq!(hash(&out), hash(&work.path("whole.gguf")));
}

#[test]
fn other_work_is_refused_and_begun_anew_if_asked() {
    let work = Work::new();
    let out = work.path("out.gguf");
    work.stopped("-KILL", &[]);
    let refused = work.run(&["--weight", "0.5"]);
    ends_with(&refused, 1, &["an unfinished output of other work", "weight: 0.5", "--no-resume"]);
    assert!(partial(&out).exists() && pieces(&out) >= 5);
    // The same words, and another file of the same length and header.
    let weights = work.path("chat/model.safetensors");
    let time = std::time::SystemTime::now() - Duration::from_secs(1000);
    fs::File::options().write(true).open(&weights).unwrap().set_modified(time).unwrap();
    ends_with(&work.run(&[]), 1, &["an unfinished output of other work", "chat/model.safetensors"]);
    let anew = work.run(&["--weight", "0.5", "--no-resume"]);
    ends_with(&anew, 0, &[]);
    assert!(!told(&anew).contains("resuming: "));
    ends_with(&work.run(&["--weight", "0.5", "-o", "whole.gguf"]), 0, &[]);
    assert_eq!(hash(&out), hash(&work.path("whole.gguf")));
}

/// Both searches make blocks of the same length, which must not come to lie in one file.
#[test]
fn an_unfinished_file_of_one_search_is_not_gone_on_with_by_the_other() {
    let work = Work::new();
    let out = work.path("out.gguf");
    for (one, other) in [("exact", "fine"), ("fine", "exact")] {
        work.stopped("-KILL", &["--search", one]);
        let known = pieces(&out);
        let words = ["an unfinished output of other work", &format!("search: {other}"), "--no-resume"];
        ends_with(&work.run(&["--search", other]), 1, &words);
        assert!(known >= 5 && pieces(&out) == known && !out.exists());
        fs::remove_file(partial(&out)).unwrap();
        fs::remove_file(journal(&out)).unwrap();
    }
}

#[test]
fn a_second_run_is_told_who_writes() {
    let work = Work::new();
    let mut first = work.under_way(&[]);
    ends_with(&work.run(&[]), 5, &["another run is writing this output", &format!("process {}", first.id())]);
    assert!(first.wait().unwrap().success());
    assert!(work.path("out.gguf").exists());
}

#[test]
fn an_input_that_changes_is_an_error() {
    let work = Work::new();
    let base = work.path("base/model.safetensors");
    let replaced = work.under_way(&["--threads", "1"]);
    fs::copy(&base, work.path("other")).unwrap();
    fs::rename(work.path("other"), &base).unwrap();
    let output = replaced.wait_with_output().unwrap();
    ends_with(&output, 5, &["the input changed while it was read", "base/model.safetensors"]);
    assert!(!work.path("out.gguf").exists());
    // What was made of the old file is not mixed with the new one.
    assert!(!partial(&work.path("out.gguf")).exists() && !journal(&work.path("out.gguf")).exists());

    let truncated = work.under_way(&["--threads", "1"]);
    fs::File::options().write(true).open(&base).unwrap().set_len(1 << 20).unwrap();
    let output = truncated.wait_with_output().unwrap();
    ends_with(&output, 5, &["an input became shorter while it was read"]);
    assert!(!work.path("out.gguf").exists());
}

#[test]
fn without_room_nothing_is_left() {
    let work = Work::new();
    let command = merge(work.dir.path(), work.dir.path(), &[]);
    let mut words = vec![String::from("ulimit -f 2048; exec \"$0\" \"$@\"")];
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    let output = Command::new("sh").arg("-c").args(words).current_dir(work.dir.path()).output().unwrap();
    ends_with(&output, 6, &["out.gguf"]);
    let mut names: Vec<_> = fs::read_dir(work.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["base", "chat", "cp"]);
}

/// `/proc` takes no files, not even of root.
#[test]
fn a_folder_that_takes_no_files_is_named() {
    let output = merge(Path::new(TRIO), Path::new("/proc"), &[]).output().unwrap();
    ends_with(&output, 5, &["out.gguf"]);
}

/// Kills at any moment; the final name is always that of a whole file, and every resumed run ends in the same bytes.
#[test]
fn two_hundred_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (out, trio) = (dir.path().join("out.gguf"), Path::new(TRIO));
    let begun = Instant::now();
    assert!(merge(trio, dir.path(), &["-q"]).output().unwrap().status.success());
    let (whole, length) = (hash(&out), begun.elapsed());
    let (mut runs, mut kills, mut resumed, mut again) = (0, 0, 0, 0);
    while kills < 200 {
        runs += 1;
        let existed = out.exists();
        let mut process = merge(trio, dir.path(), &["-q", "--force"]).spawn().unwrap();
        std::thread::sleep(length.mul_f64((splitmix64(7, runs) % 1000) as f64 / 900.0));
        let killed = process.try_wait().unwrap().is_none();
        if killed {
            process.kill().unwrap();
            kills += 1;
        }
        process.wait().unwrap();
        assert!(!existed || out.exists(), "the old file is gone");
        if out.exists() {
            assert_eq!(hash(&out), whole, "after {kills} kills");
        }
        if kills % 8 == 0 && killed {
            // Now and then the run is let go on to its end.
            let (known, unfinished) = (pieces(&out), partial(&out).exists());
            let end = merge(trio, dir.path(), &["--force"]).output().unwrap();
            ends_with(&end, 0, &[]);
            if known > 0 {
                resumed += usize::from(unfinished);
                let all = told(&end).contains(&format!("{known} pieces"));
                // Without the partial file it was published, and killed before the journal went.
                again += usize::from(!all && unfinished);
            }
            assert_eq!(hash(&out), whole);
            fs::remove_file(&out).unwrap();
        }
    }
    println!(
        "{runs} runs, {kills} kills, {resumed} runs resumed to their end, {again} of them without all known pieces"
    );
    assert_eq!(again, 0);
}
