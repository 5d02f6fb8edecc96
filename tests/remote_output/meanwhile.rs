//! What happens while outputs are written and sent: somebody else commits, a file changes here, a signal comes.

use super::run::ran;
use super::{Bench, CONVERT, says};

#[test]
fn what_somebody_else_commits_meanwhile_stays() {
    let bench = Bench::new();
    bench.ggraft(&format!("{CONVERT} -o hf://acme/out/x.gguf")).ok();
    // Another file: the commit is made anew upon it.
    bench.hub.fail(|f| f.meanwhile = Some(("theirs.txt".into(), b"theirs".to_vec())));
    bench.ggraft("convert %cp --type Q5_0 -o hf://acme/out/y.gguf").ok();
    let names = bench.hub.names("acme/out", "main");
    assert_eq!(names, [".gitattributes", "README.md", "theirs.txt", "x.gguf", "y.gguf"]);
    let card = bench.hub.file("acme/out", "main", "README.md").unwrap();
    assert!(String::from_utf8_lossy(&card).contains("y.gguf"));
    // The card: it stays as it is now, and the output goes beside it.
    let edited = [card.as_slice(), b"\nA line of theirs.\n"].concat();
    bench.hub.fail(|f| f.meanwhile = Some(("README.md".into(), edited.clone())));
    let ran = bench.ggraft("convert %cp --type Q5_1 -o hf://acme/out/z.gguf").ok();
    says(&ran, 0, &["hf://acme/out/README.md was changed there meanwhile"]);
    assert_eq!(bench.hub.file("acme/out", "main", "README.md"), Some(edited));
    assert!(bench.hub.file("acme/out", "main", "z.gguf").is_some() && bench.stages().is_empty());
    // One that appears where nobody has asked for ours.
    bench.hub.fail(|f| f.meanwhile = Some(("README.md".into(), b"mine".to_vec())));
    let ran = bench.ggraft(&format!("{CONVERT} -o hf://acme/new/x.gguf")).ok();
    says(&ran, 0, &["README.md was changed there meanwhile"]);
    assert_eq!(bench.hub.file("acme/new", "main", "README.md").unwrap(), b"mine");
    // One that was asked for, or an output, replaces nothing.
    bench.hub.fail(|f| f.meanwhile = Some(("x.gguf".into(), b"theirs".to_vec())));
    let ran = bench.ggraft(&format!("{CONVERT} -o hf://acme/other/x.gguf"));
    says(&ran, 1, &["the output exists", "hf://acme/other/x.gguf", "meanwhile"]);
    assert_eq!(bench.hub.file("acme/other", "main", "x.gguf").unwrap(), b"theirs");
}

#[test]
fn what_changes_in_the_folder_is_written_anew() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.refuse_parts = (403, 1000));
    let words = format!("{CONVERT} -o hf://acme/out/x.gguf");
    says(&bench.ggraft(&words), 5, &["the outputs are whole, in"]);
    let file = bench.stages()[0].join("files/x.gguf");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    bench.hub.fail(|f| f.refuse_parts = (0, 0));
    says(&bench.ggraft(&words).ok(), 0, &["is no longer what it was, and is written anew"]);
    bytes[at] ^= 1;
    assert!(bench.hub.file("acme/out", "main", "x.gguf") == Some(bytes));
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
}

#[test]
fn a_report_that_exists_is_not_replaced_by_the_run_of_an_upload() {
    let bench = Bench::new();
    std::fs::write(bench.path("r.json"), "mine").unwrap();
    let words = format!("{CONVERT} --report r.json -o hf://acme/out/x.gguf");
    says(&bench.ggraft(&words), 1, &["the report exists", "r.json", "--force"]);
    assert_eq!(std::fs::read_to_string(bench.path("r.json")).unwrap(), "mine");
    assert!(bench.hub.names("acme/out", "main").is_empty());
    bench.ggraft(&format!("{words} --force")).ok();
    assert!(std::fs::read_to_string(bench.path("r.json")).unwrap().starts_with('{'));
}

#[test]
fn a_revision_that_is_no_branch_makes_no_model() {
    let bench = Bench::new();
    says(&bench.ggraft(&format!("{CONVERT} -o hf://acme/new@refs/pr/1")), 5, &["no such revision"]);
    assert!(bench.hub.repos.lock().unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_wait_for_a_busy_store() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let bench = Bench::new();
    bench.hub.fail(|f| (f.refuse_parts, f.retry_after) = ((503, 1000), Some(300)));
    let words = format!("{CONVERT} -o hf://acme/out/x.gguf");
    let mut child = bench.command(&words).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while bench.stored().0 == 0 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut kill = Command::new("kill");
    assert_eq!(ran(kill.args(["-INT", &child.id().to_string()])).code, 0);
    let code = child.wait().unwrap().code();
    assert!(code == Some(130) && begun.elapsed() < Duration::from_secs(60), "{code:?}");
    bench.hub.fail(|f| f.refuse_parts = (0, 0));
    says(&bench.ggraft(&words).ok(), 0, &["written by an earlier run"]);
}
