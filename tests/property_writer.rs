//! Whatever happens to runs one after another, no file is lost: random sequences of kills, full disks, refused locks, names
//! in the way, changed inputs, changed options and other outputs over every kind of output. After each step every file
//! that was there before is there bit for bit, or has made way, as was asked for, for a whole output; and in the end there
//! is a way to the right bytes, which leaves nothing behind. `GGRAFT_LONG` says how many sequences.
#![cfg(target_os = "linux")]

#[path = "support/run.rs"]
mod run;
mod support;

use run::{begin, let_go};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::gguf::{TOYS, Toy};
use support::rng::splitmix64;
use support::specs::write_trio_tiny;

const SMALL: Toy = Toy { hidden: 64, ffn: 96, layers: 1, vocab: 32, ..TOYS[1] };

/// How many sequences are tried if nothing is said.
const SHORT: u64 = 36;

/// One kind of output: the words of a run, with `%` for the choice between two options and `@` for its name.
struct Kind {
    words: &'static str,
    options: [&'static str; 2],
    /// The file of the inputs that may change.
    input: &'static str,
    /// What the run writes, with `@` and `%`.
    outputs: &'static [&'static str],
}

const KINDS: [Kind; 6] = [
    Kind {
        words: "quantize in.gguf @.gguf %",
        options: ["Q8_0", "Q4_0"],
        input: "in.gguf",
        outputs: &["@.gguf"],
    },
    Kind {
        words: "quantize in.gguf @.gguf % --split-max-tensors 5",
        options: ["Q8_0", "Q4_0"],
        input: "in.gguf",
        outputs: &["@-00001-of-00003.gguf", "@-00002-of-00003.gguf", "@-00003-of-00003.gguf"],
    },
    Kind {
        words: "convert cp --type safetensors-% -o @.hf",
        options: ["f16", "f32"],
        input: "cp/model.safetensors",
        outputs: &["@.hf"],
    },
    Kind {
        words: "merge --base base --chat chat --onto cp --allow-unrelated --type safetensors-f16,% -o @-{type}",
        options: ["Q8_0", "F16"],
        input: "chat/model.safetensors",
        outputs: &["@-safetensors-f16", "@-%"],
    },
    Kind {
        words: "meta set @.gguf general.name=str:%",
        options: [
            "a",
            "a-name-that-is-so-long-that-the-header-grows-and-all-of-the-data-moves-to-another-place",
        ],
        input: "",
        outputs: &["@.gguf"],
    },
    Kind {
        // A card tells of all files of its folder, so each name has one of its own.
        words: "convert cp --type % -o @/m.gguf --report @/m.html --card --modelfile",
        options: ["Q8_0", "Q4_0"],
        input: "cp/config.json",
        outputs: &["@/m.gguf", "@/m.html", "@/README.md", "@/Modelfile"],
    },
];

/// Files by their paths in the folder.
type Files = BTreeMap<String, Vec<u8>>;

/// All files below `dir`.
fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(content) = fs::read(&path) {
                found.insert(path.strip_prefix(dir).unwrap().to_string_lossy().into_owned(), content);
            }
        }
    }
    found
}

/// The models that runs read, as they are and as they are changed.
struct Inputs {
    dir: tempfile::TempDir,
    changed: BTreeMap<&'static str, Vec<u8>>,
}

impl Inputs {
    fn new() -> Inputs {
        let dir = tempfile::tempdir().unwrap();
        SMALL.write(&dir.path().join("in.gguf"));
        write_trio_tiny(dir.path());
        // A directory that is written has a folder, too.
        let cp = dir.path().join("cp");
        fs::create_dir(cp.join("1_Pooling")).unwrap();
        fs::write(cp.join("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#).unwrap();
        fs::write(cp.join("modules.json"), r#"[{"path": ""}, {"path": "1_Pooling"}]"#).unwrap();
        let mut changed = BTreeMap::new();
        for name in KINDS.iter().map(|kind| kind.input).filter(|name| !name.is_empty()) {
            let mut bytes = fs::read(dir.path().join(name)).unwrap();
            match name.ends_with("json") {
                true => {
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(text.contains("10000.0"), "{text}");
                    bytes = text.replace("10000.0", "20000.0").into_bytes();
                }
                false => {
                    let end = bytes.len() - 256;
                    bytes[end..].rotate_left(8);
                }
            }
            changed.insert(name, bytes);
        }
        Inputs { dir, changed }
    }

    fn content(&self, name: &str, changed: bool) -> Vec<u8> {
        if changed { self.changed[name].clone() } else { fs::read(self.dir.path().join(name)).unwrap() }
    }

    /// A folder with a copy of them.
    fn copied(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for (name, content) in files(self.dir.path()) {
            let path = copy.path().join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        copy
    }
}

/// The whole outputs of every kind, by option, by whether the input is changed, and by name; and how long a run takes.
struct Whole {
    outputs: BTreeMap<(usize, usize, bool, &'static str), Files>,
    length: [Duration; KINDS.len()],
}

/// Every option, whether the input is changed, and every name.
fn every() -> impl Iterator<Item = (usize, bool, &'static str)> {
    let options = (0..2).flat_map(|option| [false, true].map(|changed| (option, changed)));
    options.flat_map(|(option, changed)| ["out", "other"].map(|name| (option, changed, name)))
}

impl Whole {
    fn new(inputs: &Inputs) -> Whole {
        let (mut outputs, mut length) = (BTreeMap::new(), [Duration::ZERO; KINDS.len()]);
        for (k, kind) in KINDS.iter().enumerate() {
            for (option, changed, name) in every() {
                if changed && kind.input.is_empty() {
                    continue;
                }
                let world = World::new(inputs, k);
                if changed {
                    fs::write(world.path(kind.input), inputs.content(kind.input, true)).unwrap();
                }
                let before = files(world.dir.path());
                let begun = Instant::now();
                let run = world.run(&Run { option, name, ..Run::default() });
                assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
                length[k] = length[k].max(begun.elapsed());
                let mut made = files(world.dir.path());
                made.retain(|name, content| before.get(name) != Some(content));
                for output in kind.outputs {
                    let output = world.name(output, option, name);
                    assert!(made.keys().any(|name| name.starts_with(&output)), "{output}: {:?}", made.keys());
                }
                outputs.insert((k, option, changed, name), made);
            }
        }
        Whole { outputs, length }
    }

    /// Whether this is the content of a whole output of the kind under this name.
    fn has(&self, kind: usize, name: &str, content: &[u8]) -> bool {
        self.outputs
            .iter()
            .any(|((k, ..), files)| *k == kind && files.get(name).is_some_and(|c| c == content))
    }
}

/// How a run is made.
#[derive(Clone, Debug)]
struct Run {
    option: usize,
    name: &'static str,
    force: bool,
    anew: bool,
    /// The largest file that it may write, in blocks of 512 bytes.
    limit: Option<u64>,
}

impl Default for Run {
    fn default() -> Run {
        Run { option: 0, name: "out", force: false, anew: false, limit: None }
    }
}

/// A folder in which runs are made.
struct World {
    dir: tempfile::TempDir,
    kind: usize,
    /// What is there and must not be lost.
    kept: Files,
    /// Whether a run was allowed to replace.
    forced: bool,
    log: Vec<String>,
}

impl World {
    fn new(inputs: &Inputs, kind: usize) -> World {
        let dir = inputs.copied();
        let is_edit = KINDS[kind].words.starts_with("meta");
        if is_edit {
            for name in ["out", "other"] {
                fs::copy(dir.path().join("in.gguf"), dir.path().join(format!("{name}.gguf"))).unwrap();
            }
        }
        if KINDS[kind].outputs[0].contains('/') {
            ["out", "other"].iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        }
        let kept = files(dir.path());
        World { dir, kind, kept, forced: is_edit, log: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn kind(&self) -> &'static Kind {
        &KINDS[self.kind]
    }

    fn name(&self, pattern: &str, option: usize, name: &str) -> String {
        pattern.replace('@', name).replace('%', self.kind().options[option])
    }

    fn command(&self, run: &Run) -> Command {
        let program = env!("CARGO_BIN_EXE_ggraft");
        let mut command = match run.limit {
            None => Command::new(program),
            Some(blocks) => {
                let mut sh = Command::new("sh");
                sh.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), program]);
                sh
            }
        };
        command.args(self.name(self.kind().words, run.option, run.name).split(' '));
        let edits = self.kind().words.starts_with("meta");
        if run.force {
            command.arg("--force");
        }
        if run.anew && !edits {
            command.arg("--no-resume");
        }
        if !edits {
            command.args(["--threads", "2"]);
        }
        command.arg("-q").current_dir(self.dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, run: &Run) -> Output {
        run::output(&mut self.command(run))
    }

    /// Puts a file of the user there, if nothing is.
    fn put(&mut self, name: &str, content: &[u8]) -> bool {
        let Ok(mut file) = fs::File::create_new(self.path(name)) else { return false };
        file.write_all(content).unwrap();
        self.kept.insert(name.to_string(), content.to_vec());
        true
    }

    /// Nothing is lost, and what has an output's name is whole.
    fn check(&mut self, whole: &Whole) {
        let now = files(self.dir.path());
        let mut made_way = Vec::new();
        for (name, content) in &self.kept {
            let found = now.get(name);
            if found == Some(content) {
                continue;
            }
            // What was to be replaced has made way: for a whole output, or to the name that tells so.
            let aside = |(other, c): (&String, &Vec<u8>)| other.contains(".replaced") && c == content;
            let replaced = self.forced
                && (found.is_some_and(|c| whole.has(self.kind, name, c)) || now.iter().any(aside));
            let there: Vec<(&String, usize)> = now.iter().map(|(name, c)| (name, c.len())).collect();
            // From now on it is the whole output that is kept.
            made_way
                .extend(found.filter(|c| whole.has(self.kind, name, c)).map(|c| (name.clone(), c.clone())));
            assert!(replaced, "{name} is lost: {}, there are {there:?}\n{:#?}", kind_of(found), self.log);
        }
        for (name, content) in &now {
            if self.kept.get(name) == Some(content) || is_unfinished(name) {
                continue;
            }
            assert!(whole.has(self.kind, name, content), "{name} is not whole\n{:#?}", self.log);
        }
        self.kept.extend(made_way);
    }
}

fn kind_of(found: Option<&Vec<u8>>) -> String {
    found.map_or(String::from("gone"), |c| format!("{} other bytes", c.len()))
}

/// Whether a name tells that the file is unfinished, or was replaced.
fn is_unfinished(name: &str) -> bool {
    [".partial", ".replaced"].iter().any(|ending| name.contains(ending))
}

/// Numbers of one sequence.
struct Numbers(u64, u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.1 += 1;
        splitmix64(self.0, self.1) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One sequence; whether a run of it was resumed to the right bytes.
fn sequence(seed: u64, inputs: &Inputs, whole: &Whole) {
    let mut n = Numbers(seed, 0);
    let kind = n.below(KINDS.len() as u64) as usize;
    let mut world = World::new(inputs, kind);
    let mut changed = false;
    hazards(&mut world, &mut n);
    for _ in 0..2 + n.below(4) {
        let run = Run {
            option: usize::from(n.one_in(4)),
            name: if n.one_in(8) { "other" } else { "out" },
            force: n.one_in(3),
            anew: n.one_in(10),
            limit: n.one_in(6).then(|| n.below(300)),
        };
        world.forced |= run.force;
        let event = n.below(8);
        world.log.push(format!("{event} {run:?}"));
        let told = step(&mut world, &mut n, inputs, whole, &run, event, &mut changed);
        world.log.push(told);
        world.check(whole);
    }
    way_out(&mut world, &n, whole, changed);
}

/// Files of the user at names that runs use.
fn hazards(world: &mut World, n: &mut Numbers) {
    for output in world.kind().outputs {
        let output = world.name(output, 0, "out");
        for ending in ["", ".partial", ".partial.journal", ".replaced"] {
            if n.one_in(12) && (!ending.is_empty() || !output.ends_with(".hf")) {
                let name = format!("{output}{ending}");
                let content = format!("the user's own {name}");
                world.put(&name, content.as_bytes());
            }
        }
    }
}

/// One event; what was said.
fn step(
    world: &mut World,
    n: &mut Numbers,
    inputs: &Inputs,
    whole: &Whole,
    run: &Run,
    event: u64,
    changed: &mut bool,
) -> String {
    let at = whole.length[world.kind].mul_f64(n.below(1200) as f64 / 1000.0);
    let input = world.kind().input;
    let first = world.name(world.kind().outputs[0], run.option, run.name);
    let mut change = |world: &mut World| {
        if input.is_empty() {
            return;
        }
        *changed = !*changed;
        let (path, content) = (world.path(input), inputs.content(input, *changed));
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, &content).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        world.kept.insert(input.to_string(), content);
    };
    if event == 3 {
        change(world);
    }
    let lock = (event == 4).then(|| {
        let name =
            world.name(world.kind().outputs.last().unwrap(), run.option, run.name) + ".partial.journal";
        let file = fs::File::options().append(true).create(true).open(world.path(&name)).unwrap();
        file.try_lock().unwrap();
        (file, world.path(&name))
    });
    let mut process = begin(&mut world.command(run));
    match event {
        0..=2 => {
            std::thread::sleep(at);
            _ = process.kill();
        }
        5 => {
            std::thread::sleep(at);
            let content = format!("appeared as {first}");
            let name = if first.contains('.') && !first.ends_with(".hf") {
                first
            } else {
                format!("{first}/notes.docx")
            };
            if !run.force {
                world.put(&name, content.as_bytes());
            }
        }
        6 => {
            std::thread::sleep(at);
            change(world);
        }
        _ => {}
    }
    let output = process.wait_with_output().unwrap();
    if let Some((file, path)) = lock {
        // The lock's own file, where there was no journal.
        if file.metadata().unwrap().len() == 0 {
            fs::remove_file(path).unwrap();
        }
        drop(file);
        let_go();
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    format!("{:?} {said}", output.status.code())
}

/// However it stands: what is in the way moved out of it, the run gives the right bytes and leaves nothing behind.
fn way_out(world: &mut World, n: &Numbers, whole: &Whole, changed: bool) {
    let option = usize::from(n.0.is_multiple_of(2));
    let plain = world.run(&Run { option, ..Run::default() });
    world.log.push(format!("the end: {:?} {}", plain.status.code(), String::from_utf8_lossy(&plain.stderr)));
    world.check(whole);
    if !plain.status.success() {
        let mine: Vec<String> = world.kept.keys().filter(|name| is_unfinished(name)).cloned().collect();
        for name in mine {
            fs::remove_file(world.path(&name)).unwrap();
            world.kept.remove(&name);
        }
        for output in world.kind().outputs {
            // What has an output's name and is not to be replaced: a folder of notes, a card by hand.
            let path = world.path(&world.name(output, option, "out"));
            if path.is_dir() && path.join("notes.docx").exists() {
                fs::remove_dir_all(&path).unwrap();
                let start = format!("{}/", world.name(output, option, "out"));
                world.kept.retain(|name, _| !name.starts_with(&start));
            }
            if path.is_file() && (output.ends_with(".md") || !output.contains('.')) {
                fs::remove_file(&path).unwrap();
                world.kept.remove(&world.name(output, option, "out"));
            }
        }
        world.forced = true;
        let run = world.run(&Run { option, force: true, anew: true, ..Run::default() });
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "there is no way out: {said}\n{:#?}", world.log);
    }
    let now = files(world.dir.path());
    let due = &whole.outputs[&(world.kind, option, changed, "out")];
    for (name, content) in due {
        assert!(now.get(name) == Some(content), "{name} is wrong in the end\n{:#?}", world.log);
    }
    let start = |name: &String| {
        world
            .kind()
            .outputs
            .iter()
            .any(|output| name.starts_with(&format!("{}.", world.name(output, option, "out"))))
    };
    let left: Vec<&String> = now
        .keys()
        .filter(|name| start(name) && is_unfinished(name) && !world.kept.contains_key(*name))
        .collect();
    let told: Vec<_> = left.iter().map(|name| (name, String::from_utf8_lossy(&now[*name]))).collect();
    let replaced = left.iter().all(|name| name.contains(".replaced"));
    assert!(replaced, "these are left: {told:?}\n{:#?}", world.log);
}

#[test]
fn no_sequence_of_events_loses_a_file() {
    let count = match std::env::var("GGRAFT_LONG") {
        Ok(text) => text.parse().unwrap_or(1000),
        Err(_) => SHORT,
    };
    let first: u64 = std::env::var("GGRAFT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let inputs = Inputs::new();
    let whole = Whole::new(&inputs);
    let (next, done) = (AtomicU64::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        break;
                    }
                    let seed = first + i;
                    let run = std::panic::AssertUnwindSafe(|| sequence(seed, &inputs, &whole));
                    if let Err(e) = std::panic::catch_unwind(run) {
                        eprintln!("sequence {seed} (GGRAFT_SEED={seed} GGRAFT_LONG=1)");
                        std::panic::resume_unwind(e);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} sequences", done.into_inner());
}
