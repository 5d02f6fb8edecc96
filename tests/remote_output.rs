//! Outputs that go to the hub: written first, then taken there in one commit; through every stop on the way, and never over
//! what is there. The real client of the hub does the same with our hub on loopback, and shares its cache with us.

#[path = "support/hub.rs"]
mod hub;
#[path = "remote_output/jobs.rs"]
mod jobs;
#[path = "remote_output/lies.rs"]
mod lies;
#[path = "remote_output/meanwhile.rs"]
mod meanwhile;
#[path = "remote_output/real.rs"]
mod real;
#[path = "support/run.rs"]
mod run;
#[path = "support/server.rs"]
mod server;
#[cfg(feature = "stores")]
#[path = "remote_output/stores.rs"]
mod stores;

use hub::Hub;
use run::{Ran, ran, trio};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Bench {
    dir: tempfile::TempDir,
    hub: Hub,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap(), hub: Hub::start() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command; `%` stands for the folder of the trio.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        let trio = format!("{}/", trio("").display());
        command.args(words.split_whitespace().map(|word| word.replace('%', &trio)));
        command.current_dir(self.dir.path());
        self.hub.known_to(&mut command, &self.path("home"));
        command.env("HF_TOKEN", "hf_write");
        command
    }

    fn ggraft(&self, words: &str) -> Ran {
        ran(&mut self.command(words))
    }

    /// What is left of folders from which uploads are filled.
    fn stages(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path());
        entries.filter(|path| path.to_string_lossy().ends_with(".upload")).collect()
    }

    /// The requests that put something into the store, and their bytes.
    fn stored(&self) -> (usize, u64) {
        let seen = self.hub.server.seen();
        let puts = seen.iter().filter(|asked| asked.path.starts_with("/store/"));
        let bytes = |asked: &server::Asked| asked.header("content-length").unwrap().parse::<u64>().unwrap();
        puts.fold((0, 0), |(n, sum), asked| (n + 1, sum + bytes(asked)))
    }
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    words.iter().for_each(|word| assert!(ran.err.contains(word), "no '{word}' in {}", ran.err));
}

const CONVERT: &str = "convert %cp --type Q8_0";

#[test]
fn all_outputs_of_a_run_go_up_in_one_commit() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.writer = Some("hf_write".into()));
    bench.ggraft("convert %cp --type Q8_0,Q4_0 -o here/").ok();
    let words = "convert %cp --type Q8_0,Q4_0 --modelfile -o hf://acme/out --private";
    let dry = bench.ggraft(&format!("{words} --dry-run")).ok();
    says(&dry, 0, &["written first", "then it goes to hf://acme/out", "README.md", ".upload"]);
    assert!(bench.hub.names("acme/out", "main").is_empty() && bench.stages().is_empty());
    let ran = bench.ggraft(words).ok();
    let here: Vec<String> = std::fs::read_dir(bench.path("here"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(here.len(), 2);
    for name in &here {
        assert_eq!(
            bench.hub.file("acme/out", "main", name),
            std::fs::read(bench.path("here").join(name)).ok(),
            "{name}"
        );
        assert!(ran.out.contains(&format!("hf://acme/out/{name}\n")), "{}", ran.out);
    }
    let names = bench.hub.names("acme/out", "main");
    assert_eq!(names.len(), 6, "{names:?}");
    let card = bench.hub.file("acme/out", "main", "README.md").unwrap();
    assert!(here.iter().all(|name| String::from_utf8_lossy(&card).contains(name.as_str())));
    for word in
        ["made the private model acme/out", "uploaded in", "/acme/out/commit/", "llama-cli -hf acme/out:"]
    {
        assert!(ran.err.contains(word), "no '{word}' in {}", ran.err);
    }
    assert!(!ran.err.contains("hf_write") && !ran.out.contains("hf_write"));
    {
        let store = bench.hub.store.lock().unwrap();
        assert_eq!(store.commits.len(), 1, "{:?}", store.commits);
        assert_eq!(store.private, ["acme/out"]);
    }
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
    // The store refuses who shows a token; that none was shown is seen here, too.
    let seen = bench.hub.server.seen();
    assert!(seen.iter().any(|a| a.path.starts_with("/store/")));
    assert!(
        seen.iter().filter(|a| a.path.starts_with("/store/")).all(|a| a.header("authorization").is_none())
    );

    // What is there stays, unless it may be replaced; the card goes on.
    says(
        &bench.ggraft(&format!("{CONVERT} -o hf://acme/out")),
        1,
        &["the output exists", "hf://acme/out/", "--force"],
    );
    bench.hub.server.forget();
    let more = bench.ggraft("convert %cp --type Q5_0 -o hf://acme/out").ok();
    assert_eq!(bench.stored().0, 1, "{}", more.err);
    let card = String::from_utf8(bench.hub.file("acme/out", "main", "README.md").unwrap()).unwrap();
    assert!(here.iter().all(|name| card.contains(name.as_str())) && card.contains("Q5_0"), "{card}");
    bench.hub.server.forget();
    bench.ggraft(&format!("{CONVERT} -f -o hf://acme/out")).ok();
    assert_eq!(bench.stored().0, 0, "the store has that file");
}

#[test]
fn directories_branches_parts_and_names_are_as_for_paths() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.part = Some(300_000));
    bench.ggraft("convert %cp --type safetensors-bf16 -o here").ok();
    bench.ggraft("convert %cp --type safetensors-bf16 -o hf://acme/dir@dev --connections 3").ok();
    for entry in std::fs::read_dir(bench.path("here")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(bench.hub.file("acme/dir", "dev", name), std::fs::read(&path).ok(), "{name}");
    }
    assert_eq!(bench.hub.names("acme/dir", "main"), [".gitattributes"]);
    assert!(bench.stored().0 > 3);
    let ran =
        bench.ggraft("convert %cp --type Q4_0 --split-max-tensors 20 -o hf://acme/dir/sub/{type}.gguf").ok();
    assert!(ran.out.starts_with("hf://acme/dir/sub/Q4_0-00001-of-"), "{}", ran.out);
    let names = bench.hub.names("acme/dir", "main");
    assert!(names.iter().filter(|name| name.starts_with("sub/Q4_0-0000")).count() > 1, "{names:?}");
    bench.ggraft(&format!("{CONVERT} -o q.gguf")).ok();
    bench.ggraft("quantize q.gguf hf://acme/more/x.gguf COPY --staging away").ok();
    assert_eq!(bench.hub.names("acme/more", "main"), [".gitattributes", "README.md", "x.gguf"]);
    assert_eq!(std::fs::read_dir(bench.path("away")).unwrap().count(), 0);
    // What was uploaded is read again.
    bench.ggraft("verify hf://acme/more/x.gguf").ok();
}

#[test]
fn what_the_hub_does_not_take_is_told_before_the_work() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.writer = Some("hf_write".into()));
    bench.hub.put("acme/there", "README.md", b"mine".to_vec());
    let with = |token: &str, words: &str| {
        let mut command = bench.command(&format!("{CONVERT} {words}"));
        ran(command.env("HF_TOKEN", token))
    };
    let mut without = bench.command(&format!("{CONVERT} -o hf://acme/there"));
    says(&ran(without.env_remove("HF_TOKEN")), 5, &["hf://acme/there", "HF_TOKEN", "may write"]);
    for (token, place, told) in [
        ("hf_read", "hf://acme/there", "the token may not write there"),
        ("hf_read", "hf://acme/new", "the token may not write there"),
        ("hf_other", "hf://acme/there", "the hub does not know the token"),
    ] {
        let ran = with(token, &format!("-o {place}"));
        says(&ran, 5, &[place, told, "status 40"]);
        assert!(!ran.err.contains(token), "{}", ran.err);
    }
    let mut offline = bench.command(&format!("{CONVERT} -o hf://acme/there"));
    says(&ran(offline.env("HF_HUB_OFFLINE", "1")), 5, &["may not be asked"]);
    says(
        &with("hf_write", &format!("-o hf://acme/there@{}", "0".repeat(40))),
        2,
        &["a commit cannot be written"],
    );
    for place in ["hf://acme", "hf://datasets/acme/x", "hf://a/../b", "https://host/x.gguf"] {
        assert_eq!(with("hf_write", &format!("-o {place}")).code, 2, "{place}");
    }
    says(&with("hf_write", "--card -o hf://acme/there"), 1, &["README.md was not written by ggraft"]);
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
    // A card of another's is left alone, and the output goes beside it.
    with("hf_write", "-o hf://acme/there/x.gguf").ok();
    assert_eq!(bench.hub.file("acme/there", "main", "README.md").unwrap(), b"mine");
    assert_eq!(bench.hub.names("acme/there", "main"), ["README.md", "x.gguf"]);
}

#[test]
fn a_busy_store_and_a_lost_answer_change_nothing() {
    let bench = Bench::new();
    bench.hub.fail(|f| (f.part, f.refuse_parts, f.lose_commit) = (Some(400_000), (503, 3), true));
    bench.ggraft(&format!("{CONVERT} -o hf://acme/out/x.gguf")).ok();
    assert_eq!(bench.hub.store.lock().unwrap().commits.len(), 1, "what was committed is not committed again");
    bench.ggraft(&format!("{CONVERT} -o x.gguf")).ok();
    assert_eq!(bench.hub.file("acme/out", "main", "x.gguf"), std::fs::read(bench.path("x.gguf")).ok());
    // Addresses that are no longer good are asked for again; such as never are, not for ever.
    bench.hub.fail(|f| f.refuse_parts = (403, 1));
    bench.ggraft("convert %cp --type Q5_0 -o hf://acme/out/y.gguf").ok();
    bench.hub.fail(|f| f.refuse_parts = (403, 1000));
    let words = "convert %cp --type Q5_1 -o hf://acme/out/z.gguf";
    says(&bench.ggraft(words), 5, &["does not take this file", "status 403", "the outputs are whole, in"]);
    assert_eq!(bench.stages().len(), 1);
    bench.hub.fail(|f| f.refuse_parts = (0, 0));
    let ran = bench.ggraft(words).ok();
    assert!(ran.err.contains("written by an earlier run") && bench.stages().is_empty(), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn an_upload_that_is_killed_goes_on_with_the_parts_that_are_missing() {
    let bench = Bench::new();
    bench.hub.fail(|f| (f.part, f.rate) = (Some(100_000), Some(1_000_000)));
    let words = format!("{CONVERT} --connections 1 -o hf://acme/out/x.gguf");
    let mut child = bench.command(&words).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while bench.stored().0 < 5 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bench.stages().len(), 1);
    bench.hub.fail(|f| f.rate = None);
    bench.hub.server.forget();
    let ran = bench.ggraft(&words).ok();
    assert!(ran.err.contains("written by an earlier run"), "{}", ran.err);
    bench.ggraft(&format!("{CONVERT} -o x.gguf")).ok();
    let whole = std::fs::read(bench.path("x.gguf")).unwrap();
    let (_, bytes) = bench.stored();
    assert!(bytes <= whole.len() as u64 - 300_000, "{bytes} of {} bytes again", whole.len());
    assert!(bench.hub.file("acme/out", "main", "x.gguf") == Some(whole));
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
}

#[test]
fn the_page_about_outputs_keeps_its_word() {
    let bench = Bench::new();
    for name in ["base", "chat", "cp"] {
        bench.hub.add(&format!("acme/{name}"), &trio(name));
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/remote.md")).unwrap();
    let block = page.split("```sh hub output\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(block.lines().count() > 3);
    block.lines().for_each(|line| _ = bench.ggraft(line.strip_prefix("ggraft ").unwrap()).ok());
    let names = bench.hub.names("acme/grafted", "main");
    assert_eq!(
        names,
        [
            ".gitattributes",
            "Q4_K_M.Modelfile",
            "Q4_K_M.gguf",
            "Q8_0.Modelfile",
            "Q8_0.gguf",
            "README.md",
            "q5.gguf"
        ]
    );
}
