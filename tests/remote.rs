//! Models that lie elsewhere give the bytes of those that lie here: streamed from a hub or an address, through every
//! fault that a network has, with few requests and nothing of the weights on the disk.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/run.rs"]
mod run;
#[path = "support/server.rs"]
mod server;

use hub::{Faults, Hub, alone};
use run::{Ran, ran, trio};
use server::{Reply, Server};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A folder for one test: a home for the cache, and outputs.
struct Bench {
    dir: tempfile::TempDir,
    hub: Hub,
}

const NAMES: &str = "--base acme/base --chat hf://acme/chat --onto acme/cp@main";

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

    /// Merges the names, and gives the bytes of the output.
    fn merged(&self, words: &str) -> Vec<u8> {
        self.ggraft(&format!("merge {NAMES} {words} -f -o out.gguf")).ok();
        std::fs::read(self.path("out.gguf")).unwrap()
    }

    /// What a merge of the same models gives that lie in the cache.
    fn local(&self, words: &str) -> Vec<u8> {
        let dir = self.path("local");
        let place = |name: &str| {
            let at = dir
                .join(format!("models--acme--{name}/snapshots/{}", self.hub.commit(&format!("acme/{name}"))));
            if !at.exists() {
                std::fs::create_dir_all(&at).unwrap();
                for entry in std::fs::read_dir(trio(name)).unwrap() {
                    let path = entry.unwrap().path();
                    std::fs::copy(&path, at.join(path.file_name().unwrap())).unwrap();
                }
            }
            at.display().to_string()
        };
        let models = format!("--base {} --chat {} --onto {}", place("base"), place("chat"), place("cp"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        let words = format!("merge {models} {words} -f -o local.gguf");
        command.args(words.split_whitespace()).current_dir(self.dir.path());
        alone(&mut command, &self.path("none"));
        ran(&mut command).ok();
        std::fs::read(self.path("local.gguf")).unwrap()
    }
}

fn tensors_of(dir: &Path) -> usize {
    match ggraft_formats::open(dir).unwrap() {
        ggraft_formats::Input::Checkpoint(checkpoint) => checkpoint.tensors.len(),
        ggraft_formats::Input::Model(model) => model.tensors.len(),
    }
}

/// The bytes of all files below a folder.
fn held(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { held(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

#[test]
fn names_give_the_bytes_of_local_files_with_few_requests_and_nothing_kept() {
    let bench = Bench::new();
    let local = bench.local("--type Q4_K_M");
    assert_eq!(bench.merged("--type Q4_K_M"), local);
    let (requests, bytes) = bench.hub.weights_asked();
    let weights: u64 = ["base", "chat", "cp"]
        .map(|name| trio(name).join("model.safetensors").metadata().unwrap().len())
        .iter()
        .sum();
    // Whoever fetches tensor by tensor asks once for each. In so small a model the rows that are looked at first, those of
    // tokens and those that tell how the models are related, are most of it.
    let tensors: usize = ["base", "chat", "cp"].iter().map(|name| tensors_of(&trio(name))).sum();
    assert!(requests < tensors, "{requests} requests for {tensors} tensors");
    assert!(bytes as u64 <= 3 * weights, "{bytes} of {weights} bytes");
    let resolved = bench
        .hub
        .server
        .seen()
        .iter()
        .filter(|a| a.path.ends_with("/model.safetensors") && a.path.contains("/resolve/"))
        .count();
    assert_eq!(resolved, 3);
    assert_eq!(held(&bench.path("home")), 0, "nothing is kept");
    for threads in [1, 2, 5] {
        assert_eq!(
            bench.merged(&format!("--type Q4_K_M --threads {threads} --connections {threads}")),
            local
        );
    }
    assert_eq!(bench.merged("--type Q4_K_M --fetch-memory 1M --connections 2"), local);
}

#[test]
fn methods_types_and_directories_come_out_the_same() {
    let bench = Bench::new();
    for words in
        ["--type Q8_0 --method ties --param density=0.5", "--type F16 --method slerp", "--target-size 3M"]
    {
        assert_eq!(bench.merged(words), bench.local(words), "{words}");
    }
    bench.ggraft(&format!("merge {NAMES} --type safetensors-bf16 -o out")).ok();
    let card = std::fs::read_to_string(bench.path("out/README.md")).unwrap();
    for id in ["acme/base", "acme/chat", "acme/cp"] {
        assert!(card.contains(id), "{card}");
    }
}

#[test]
fn models_are_opened_together_unless_one_connection_is_all() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.latency = Some(Duration::from_millis(100)));
    let asked_first = |words: &str| {
        bench.hub.server.forget();
        bench.merged(words);
        let seen = bench.hub.server.seen();
        seen.iter().take(3).filter(|asked| asked.path.starts_with("/api/models/")).count()
    };
    assert_eq!(asked_first("--type Q8_0"), 3);
    assert_eq!(asked_first("--type Q8_0 --connections 1"), 1);
}

#[test]
fn cut_lines_expiring_addresses_and_busy_hubs_change_nothing() {
    let bench = Bench::new();
    let local = bench.local("--type Q4_K_M");
    let words = "--type Q4_K_M --fetch-memory 1M";
    bench.hub.fail(|f| *f = Faults { cut: Some(3), ..Faults::default() });
    assert_eq!(bench.merged(words), local, "cut");
    bench.hub.fail(|f| {
        *f = Faults {
            expire: Some(Duration::from_millis(400)),
            latency: Some(Duration::from_millis(20)),
            ..Faults::default()
        }
    });
    bench.hub.server.forget();
    assert_eq!(bench.merged(&format!("{words} --connections 1")), local, "expired");
    let resolved = bench
        .hub
        .server
        .seen()
        .iter()
        .filter(|a| a.path.contains("/resolve/") && a.path.ends_with(".safetensors"))
        .count();
    assert!(resolved > 3, "{resolved}");
    for status in [429, 503] {
        bench.hub.fail(|f| *f = Faults { refuse: (status, 2), ..Faults::default() });
        assert_eq!(bench.merged(words), local, "{status}");
    }
}

#[test]
fn a_file_that_changes_is_an_error_and_leaves_nothing() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.change_after = Some(50));
    let ran =
        bench.ggraft(&format!("merge {NAMES} --type Q4_K_M --fetch-memory 1M --connections 1 -o out.gguf"));
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(
        ran.err.contains("the file changed while it was read") && ran.err.contains("hf://acme/"),
        "{}",
        ran.err
    );
    let left: Vec<_> = std::fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("out")), "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_goes_on_and_fetches_only_what_is_missing() {
    let bench = Bench::new();
    let local = bench.local("--type Q4_K_M");
    let words = format!("merge {NAMES} --type Q4_K_M --fetch-memory 1M --connections 1 -o out.gguf");
    bench.hub.fail(|f| f.rate = Some(4_000_000));
    let mut child = bench.command(&words).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // The look at the weights is over, and most of them are written.
    let pieces = || {
        std::fs::read_to_string(bench.path("out.gguf.partial.journal")).map_or(0, |text| text.lines().count())
    };
    let mut first = 0;
    while begun.elapsed() < Duration::from_secs(120) {
        first = if first == 0 { pieces() } else { first };
        if first > 0 && pieces() > first + 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bench.path("out.gguf.partial").exists());
    bench.hub.fail(|f| f.rate = None);
    bench.hub.server.forget();
    let ran = bench.ggraft(&words).ok();
    assert!(ran.err.contains("resuming: "), "{}", ran.err);
    assert_eq!(std::fs::read(bench.path("out.gguf")).unwrap(), local);
    let (_, rest) = bench.hub.weights_asked();
    bench.hub.server.forget();
    bench.ggraft(&format!("{words} -f")).ok();
    let (_, whole) = bench.hub.weights_asked();
    println!("{rest} of {whole} bytes again");
    assert!(rest + (1 << 20) < whole, "{rest} of {whole} bytes again");
}

#[test]
fn what_is_looked_at_is_fetched_ahead_and_about_once() {
    let bench = Bench::new();
    let length = |name: &str| trio(name).join("model.safetensors").metadata().unwrap().len() as usize;
    let all: usize = ["base", "chat", "cp"].map(length).iter().sum();
    let merge = format!("merge {NAMES} --type Q4_K_M -f -o out.gguf");
    bench.ggraft(&merge).ok();
    let (_, plain) = bench.hub.weights_asked();
    for (words, bytes, requests) in [
        ("hash acme/cp".to_string(), length("cp"), 3),
        ("verify acme/cp".to_string(), length("cp"), 3),
        ("diff acme/cp acme/base".to_string(), length("cp") + length("base"), 6),
        (format!("{merge} --importance weights"), plain + all, 200),
        (format!("merge {NAMES} --target-size 3M -f -o out.gguf"), plain + all, 200),
    ] {
        bench.hub.server.forget();
        bench.ggraft(&words);
        let (asked, came) = bench.hub.weights_asked();
        println!("{words}: {asked} requests, {came} of {bytes} bytes");
        assert!(came <= bytes + bytes / 4 && asked <= requests, "{words}: {asked} requests, {came} bytes");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_that_waits_for_a_server() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.rate = Some(200_000));
    let words = format!("merge {NAMES} --type Q4_K_M --fetch-memory 1M --connections 1 -o out.gguf");
    let mut child = bench.command(&words).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !bench.path("out.gguf.partial").exists() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
        bench.hub.fail(|f| f.rate = Some(20_000_000));
    }
    bench.hub.fail(|f| f.rate = Some(100_000));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let asked = Instant::now();
    let code = child.wait().unwrap().code();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(code, Some(143));
}

#[test]
fn verbs_that_look_at_models_take_names_too() {
    let bench = Bench::new();
    let here = |name: &str| trio(name).display().to_string();
    // Of each line the digest, and what is behind the path.
    let digests = |text: &str| {
        let one =
            |l: &str| (l.split_whitespace().nth(1).map(String::from), l.rsplit(':').next().map(String::from));
        text.lines().take(30).map(one).collect::<Vec<_>>()
    };
    let there = bench.ggraft("hash acme/cp").ok().out;
    assert_eq!(digests(&there), digests(&bench.ggraft(&format!("hash {}", here("cp"))).ok().out));
    bench.ggraft("verify acme/cp").ok();
    let seen = bench.ggraft("inspect acme/cp --tensors").ok().out;
    let local = bench.ggraft(&format!("inspect {} --tensors", here("cp"))).ok().out;
    assert_eq!(seen.lines().skip(1).collect::<Vec<_>>(), local.lines().skip(1).collect::<Vec<_>>());
    assert!(seen.starts_with("safetensors: hf://acme/cp@"), "{seen}");
    let ran = bench.ggraft(&format!("diff acme/cp {} --exit-code", here("cp")));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_ne!(bench.ggraft("diff acme/cp acme/chat --exit-code").code, 0);
    // A path that exists wins.
    std::fs::create_dir(bench.path("acme")).unwrap();
    let copy = run::trio_copy("base", &bench.path("acme"));
    std::fs::rename(&copy, bench.path("acme/cp")).unwrap();
    assert!(bench.ggraft("inspect acme/cp").ok().out.contains("acme/cp/model.safetensors"));
}

#[test]
fn recipes_name_models_of_the_hub_wherever_they_lie() {
    let bench = Bench::new();
    let local = bench.local("--type Q4_K_M");
    std::fs::create_dir(bench.path("recipes")).unwrap();
    bench.ggraft(&format!("merge {NAMES} --type Q4_K_M --emit-recipe recipes/r.yaml")).ok();
    let text = std::fs::read_to_string(bench.path("recipes/r.yaml")).unwrap();
    assert!(
        text.contains("hf://acme/chat") && text.contains("acme/cp@main") && !text.contains("../"),
        "{text}"
    );
    bench.ggraft("merge recipes/r.yaml -o out.gguf").ok();
    assert_eq!(std::fs::read(bench.path("out.gguf")).unwrap(), local);
    let yaml = "merge_method: task_arithmetic\nbase_model: acme/cp@main\nmodels:\n  - model: acme/chat\n    parameters:\n      weight: 1\n  - model: hf://acme/base\n    parameters:\n      weight: -1\ndtype: bfloat16\n";
    std::fs::write(bench.path("recipes/m.yaml"), yaml).unwrap();
    bench.ggraft("merge recipes/m.yaml --type Q8_0 --embeddings shared -o m.gguf").ok();
    bench
        .ggraft("merge --vector acme/chat:hf://acme/base:1 --onto acme/cp --type Q4_K_M -f -o out.gguf")
        .ok();
    assert_eq!(std::fs::read(bench.path("out.gguf")).unwrap(), local);
}

#[test]
fn files_at_addresses_are_read_by_parts() {
    let bench = Bench::new();
    let words = format!("convert {} --type Q8_0", trio("cp").display());
    bench.ggraft(&format!("{words} -o whole.gguf")).ok();
    bench.ggraft("split whole.gguf parts --split-max-tensors 10").ok();
    let root = bench.dir.path().to_path_buf();
    let site = Server::start(move |asked| {
        let file = match asked.path.strip_prefix("/moved/") {
            Some(rest) => return Reply::new(302, "").with("Location", format!("/{rest}")),
            None => std::fs::read(root.join(asked.path.trim_start_matches('/'))),
        };
        file.map_or(Reply::new(404, ""), |content| Reply::file(asked, &content, "\"one\""))
    });
    std::fs::create_dir(bench.path("dir")).unwrap();
    run::trio_copy("cp", &bench.path("dir"));
    let url = site.url();
    bench.ggraft("quantize whole.gguf local.gguf Q4_K_M --allow-requantize").ok();
    let local = std::fs::read(bench.path("local.gguf")).unwrap();
    let first = std::fs::read_dir(bench.dir.path())
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok());
    let first = first.into_iter().find(|name| name.starts_with("parts-00001")).unwrap();
    for at in ["whole.gguf", "moved/whole.gguf?signature=secret", &first] {
        let ran = bench.ggraft(&format!("quantize {url}/{at} out.gguf Q4_K_M --allow-requantize -f")).ok();
        assert!(!ran.err.contains("secret"), "{}", ran.err);
        assert_eq!(std::fs::read(bench.path("out.gguf")).unwrap(), local, "{at}");
    }
    bench.ggraft(&format!("verify {url}/whole.gguf")).ok();
    bench.ggraft(&format!("inspect {url}/whole.gguf --cross-check")).ok();
    // A checkpoint's files lie beside it.
    bench.ggraft(&format!("convert {url}/dir/cp/model.safetensors --type Q8_0 --name x -o out.gguf -f")).ok();
    bench.ggraft(&format!("{words} --name x -o local.gguf -f")).ok();
    assert_eq!(
        std::fs::read(bench.path("out.gguf")).unwrap(),
        std::fs::read(bench.path("local.gguf")).unwrap()
    );
    // Addresses of a hub are names of it.
    let ran = bench
        .ggraft(&format!("inspect {}/acme/cp/resolve/main/model.safetensors", bench.hub.server.url()))
        .ok();
    assert!(ran.out.starts_with("safetensors: hf://acme/cp@"), "{}", ran.out);
}

#[test]
fn the_page_about_it_keeps_its_word() {
    let bench = Bench::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/remote.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split("```sh hub\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for line in block.lines() {
        let line = line.strip_prefix("ggraft ").unwrap();
        let words = line.strip_suffix(" || true").unwrap_or(line);
        let ran = bench.ggraft(words);
        assert!(ran.code == 0 || words != line, "{line}: {}", ran.err);
    }
    let ran = bench
        .ggraft(&format!("merge {NAMES} --type Q8_0 --method ties --param density=0.5 --dry-run --json"));
    assert!(ran.err.contains("to be fetched: ") && ran.err.contains("3 times"), "{}", ran.err);
    assert_eq!(ran.ok().out.matches("\"times\":3").count(), 3);
}
