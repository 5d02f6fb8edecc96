//! The cache of Hugging Face: what we put into it is whole, and is found without the hub; what others put into it is read,
//! in all its forms.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/run.rs"]
mod run;
#[path = "support/server.rs"]
mod server;

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
        Bench { dir: tempfile::tempdir().unwrap(), hub: Hub::with_trio() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        command.args(words.split_whitespace()).current_dir(self.dir.path());
        self.hub.known_to(&mut command, &self.path("home"));
        command
    }

    fn ggraft(&self, words: &str) -> Ran {
        ran(&mut self.command(words))
    }

    /// The same without the hub.
    fn offline(&self, words: &str) -> Ran {
        let mut command = self.command(words);
        command.env("HF_HUB_OFFLINE", "1");
        ran(&mut command)
    }

    fn model(&self, name: &str) -> PathBuf {
        self.path("home/hub").join(format!("models--acme--{name}"))
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.model(name).join("snapshots").join(self.hub.commit(&format!("acme/{name}")))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const MERGE: &str = "merge --base acme/base --chat acme/chat --onto acme/cp --type Q4_K_M -f";

#[test]
fn a_download_fills_the_cache_and_serves_without_the_hub() {
    let bench = Bench::new();
    bench.ggraft(&format!("{MERGE} -o streamed.gguf")).ok();
    bench.ggraft(&format!("{MERGE} --download -o kept.gguf")).ok();
    for name in ["base", "chat", "cp"] {
        let commit = bench.hub.commit(&format!("acme/{name}"));
        assert_eq!(std::fs::read_to_string(bench.model(name).join("refs/main")).unwrap(), commit);
        for entry in std::fs::read_dir(trio(name)).unwrap() {
            let path = entry.unwrap().path();
            let held = bench.snapshot(name).join(path.file_name().unwrap());
            assert_eq!(std::fs::read(&held).unwrap(), std::fs::read(&path).unwrap(), "{}", held.display());
            #[cfg(unix)]
            assert!(std::fs::read_link(&held).unwrap().starts_with("../../blobs"));
        }
        assert!(names(&bench.model(name).join("blobs")).iter().all(|name| !name.contains("ggraft")));
    }
    assert!(bench.path("home/hub/CACHEDIR.TAG").is_file());
    bench.hub.server.forget();
    bench.offline(&format!("{MERGE} -o offline.gguf")).ok();
    let ran = bench.ggraft(&format!("{MERGE} -o again.gguf")).ok();
    assert!(ran.err.contains("acme/cp is read from the cache"), "{}", ran.err);
    assert_eq!(bench.hub.server.seen().len(), 0, "nothing is asked of a hub whose models are here");
    let bytes = |name: &str| std::fs::read(bench.path(name)).unwrap();
    for name in ["kept.gguf", "offline.gguf", "again.gguf"] {
        assert!(bytes(name) == bytes("streamed.gguf"), "{name}");
    }
    // What is there is not fetched again.
    bench.ggraft("convert acme/cp --download --type Q8_0 -o x.gguf").ok();
    assert_eq!(bench.hub.weights_asked().0, 0);
}

#[test]
fn without_the_hub_what_is_not_here_is_told() {
    let bench = Bench::new();
    let ran = bench.offline("inspect acme/cp");
    assert_eq!(ran.code, 5, "{}", ran.err);
    for word in ["hf://acme/cp", "models--acme--cp", "HF_HUB_OFFLINE", "--download"] {
        assert!(ran.err.contains(word), "no '{word}' in {}", ran.err);
    }
    assert_eq!(bench.hub.server.seen().len(), 0);
}

#[test]
fn what_other_programs_put_into_the_cache_is_read() {
    let bench = Bench::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let place = |name: &str| {
        let at = bench.model(name).join("snapshots").join(commit);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::create_dir_all(bench.model(name).join("refs/pr")).unwrap();
        at
    };
    // Copies, as on Windows, under a revision with a slash.
    let at = place("cp");
    for name in names(&trio("cp")) {
        std::fs::copy(trio("cp").join(&name), at.join(&name)).unwrap();
    }
    std::fs::write(bench.model("cp").join("refs/pr/7"), commit).unwrap();
    let ran = bench.offline("inspect acme/cp@pr/7").ok();
    assert!(ran.out.contains(commit), "{}", ran.out);
    bench.offline(&format!("inspect acme/cp@{commit}")).ok();
    // Links to links, as where blobs are shared.
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        let at = place("chat");
        std::fs::create_dir_all(bench.path("home/hub/blobs")).unwrap();
        std::fs::create_dir_all(bench.model("chat").join("blobs")).unwrap();
        for name in names(&trio("chat")) {
            std::fs::copy(trio("chat").join(&name), bench.path("home/hub/blobs").join(&name)).unwrap();
            symlink(format!("../../blobs/{name}"), bench.model("chat").join("blobs").join(&name)).unwrap();
            symlink(format!("../../blobs/{name}"), at.join(&name)).unwrap();
        }
        std::fs::write(bench.model("chat").join("refs/main"), format!("{commit}\n")).unwrap();
        bench.offline("convert acme/chat --type Q8_0 -o x.gguf").ok();
        let told = bench.offline("meta get x.gguf general.organization").ok().out;
        assert_eq!(told.trim(), "Acme");
    }
    // One that lacks its weights is streamed, with what is there.
    std::fs::remove_file(bench.model("cp").join("snapshots").join(commit).join("model.safetensors")).unwrap();
    std::fs::write(bench.model("cp").join("refs/main"), commit).unwrap();
    bench.ggraft("convert acme/cp --type Q8_0 -o y.gguf").ok();
    let ran = bench.offline("inspect acme/cp");
    assert_ne!(ran.code, 0);
}

#[test]
fn a_download_that_is_cut_off_goes_on() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.rate = Some(2_000_000));
    let words = "convert acme/cp --download --connections 1 --type Q8_0 -o x.gguf";
    let mut child = bench.command(words).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let blobs = bench.model("cp").join("blobs");
    let begun = Instant::now();
    let noted = || {
        let there = if blobs.is_dir() { names(&blobs) } else { Vec::new() };
        let parts = there.into_iter().find(|n| n.ends_with(".parts"));
        parts.is_some_and(|name| std::fs::metadata(blobs.join(name)).is_ok_and(|m| m.len() > 0))
    };
    while !noted() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    bench.hub.fail(|f| f.rate = None);
    bench.hub.server.forget();
    bench.ggraft(words).ok();
    let size = trio("cp").join("model.safetensors").metadata().unwrap().len() as usize;
    let (_, bytes) = bench.hub.weights_asked();
    assert!(bytes < size - (3 << 20), "{bytes} of {size} bytes again");
    let held = bench.snapshot("cp").join("model.safetensors");
    assert_eq!(std::fs::read(held).unwrap(), std::fs::read(trio("cp").join("model.safetensors")).unwrap());
}

#[test]
fn a_download_that_is_not_what_the_hub_says_is_no_blob() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.change_after = Some(0));
    let ran = bench.ggraft("inspect acme/cp");
    assert_ne!(ran.code, -1);
    let ran = bench.ggraft("convert acme/cp --download --type Q8_0 -o x.gguf");
    assert_eq!(ran.code, 7, "{}", ran.err);
    assert!(ran.err.contains("not the file that the hub tells"), "{}", ran.err);
    let blobs = names(&bench.model("cp").join("blobs"));
    assert!(blobs.iter().all(|name| !name.contains("incomplete") && name.len() == 40), "{blobs:?}");
}
