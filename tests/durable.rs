//! The paths that a run touches: none of the user's files is lost, whatever it is called and whatever fails, and what a
//! stopped run has left is proven to be of the same work before it is resumed. A test a fault that was found.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::output::target::{Target, Type};
use ggraft::pipeline::{self, Beside, Plan, Resume, Work};
use ggraft_formats::{Error, Kind, Result, Watch};
use run::{Folder, Ran, begin, ggraft, ggraft_in, let_go};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::checkpoint::{Rope, Spec};
use support::gguf::{TOYS, Toy};
use support::specs::{self, tiny};

const SMALL: Toy = Toy { hidden: 64, ffn: 96, layers: 2, vocab: 32, ..TOYS[1] };

/// A folder with a GGUF, `in.gguf`, and a checkpoint, `cp/`.
struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(Folder::new());
        SMALL.write(&bench.path("in.gguf"));
        Spec { rope: Rope::Llama3(8.0), ..tiny() }.write(&bench.path("cp"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self, words: &str) -> Ran {
        ggraft(self.0.words(words))
    }

    /// Runs in the folder itself, where names have no folder before them.
    fn run_here(&self, words: &str) -> Ran {
        ggraft_in(&self.path(""), words.split(' '))
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The names in the folder that begin so.
    fn names(&self, start: &str) -> Vec<String> {
        let names = fs::read_dir(self.path("")).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<String> =
            names.map(|n| n.into_string().unwrap()).filter(|n| n.starts_with(start)).collect();
        names.sort();
        names
    }

    /// The plan of converting an input.
    fn plan(&self, input: &str, kind: &str) -> Plan {
        let target = Target::new(Type::parse(kind).unwrap());
        self.plan_of(input, &target)
    }

    fn plan_of(&self, input: &str, target: &Target) -> Plan {
        let loaded = pipeline::open(&self.path(input), &Default::default()).unwrap();
        pipeline::convert(loaded, target).unwrap()
    }
}

/// Does something after so many pieces.
struct After<'a> {
    pieces: usize,
    seen: AtomicUsize,
    stop: bool,
    act: &'a (dyn Fn() + Sync),
}

impl Watch for After<'_> {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.pieces {
            (self.act)();
        }
    }

    fn cancelled(&self) -> bool {
        self.stop && self.seen.load(Ordering::Relaxed) >= self.pieces
    }
}

fn after(pieces: usize, act: &(dyn Fn() + Sync)) -> After<'_> {
    After { pieces, seen: AtomicUsize::new(0), stop: false, act }
}

/// Writes the plans on one thread.
fn write(plans: &[(Plan, PathBuf)], work: &Work<'_>, watch: &dyn Watch) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let contents = |_: &[Vec<PathBuf>]| Ok(work.beside.iter().map(|_| b"text".to_vec()).collect());
    let done = pool.install(|| pipeline::write_beside(plans, work, watch, contents));
    let_go();
    done
}

/// The same, stopped after some pieces.
fn stopped(plans: &[(Plan, PathBuf)], work: &Work<'_>) {
    let e = write(plans, work, &After { stop: true, ..after(4, &|| ()) }).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
}

/// Stopped when all is whole and nothing has its name.
fn stopped_before_the_names(plans: &[(Plan, PathBuf)], work: &Work<'_>) {
    let stop = |_: &[Vec<PathBuf>]| Err(Error::new(Kind::Interrupted, "stopped"));
    assert_eq!(pipeline::write_beside(plans, work, &(), stop).unwrap_err().kind(), Kind::Interrupted);
    let_go();
}

/// How many pieces an earlier run had written.
struct Resumed(AtomicUsize);

impl Watch for Resumed {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {}

    fn resumes(&self, pieces: usize) {
        self.0.store(pieces, Ordering::Relaxed);
    }
}

fn resumed(plans: &[(Plan, PathBuf)], work: &Work<'_>) -> usize {
    let watch = Resumed(AtomicUsize::new(0));
    write(plans, work, &watch).unwrap();
    watch.0.into_inner()
}

#[track_caller]
fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    words.iter().for_each(|word| assert!(ran.err.contains(word), "'{word}' is not in: {}", ran.err));
}

// What is not ours is never written over (review B1).

#[test]
fn an_input_called_as_the_unfinished_output_is_neither_cut_nor_removed() {
    let bench = Bench::new();
    fs::rename(bench.path("in.gguf"), bench.path("m.gguf.partial")).unwrap();
    let before = bench.read("m.gguf.partial");
    for force in ["", " --force", " --force --no-resume"] {
        let ran = bench.run(&format!("quantize @m.gguf.partial @m.gguf Q8_0{force}"));
        refused(&ran, 1, &["m.gguf.partial", "is one of the inputs"]);
        let ran = bench.run(&format!(
            "meta set @m.gguf.partial general.name=str:x -o @m.gguf{}",
            &force[..force.len().min(8)]
        ));
        refused(&ran, 1, &["m.gguf.partial"]);
        assert!(bench.read("m.gguf.partial") == before && bench.names("m") == ["m.gguf.partial"]);
    }
    fs::rename(bench.path("cp"), bench.path("merged.partial")).unwrap();
    let config = bench.read("merged.partial/config.json");
    let ran = bench.run("convert @merged.partial --type safetensors-f16 -o @merged --force");
    refused(&ran, 1, &["is one of the inputs"]);
    assert!(
        bench.read("merged.partial/config.json") == config && bench.names("merged") == ["merged.partial"]
    );
    // By a hard link, and by a symbolic one.
    fs::hard_link(bench.path("m.gguf.partial"), bench.path("a.gguf.partial")).unwrap();
    refused(&bench.run("quantize @m.gguf.partial @a.gguf Q8_0"), 1, &["is one of the inputs"]);
    std::os::unix::fs::symlink(bench.path("m.gguf.partial"), bench.path("b.gguf.partial")).unwrap();
    refused(&bench.run("quantize @m.gguf.partial @b.gguf Q8_0"), 1, &["is one of the inputs"]);
    assert!(bench.read("m.gguf.partial") == before);
}

#[test]
fn a_file_of_the_user_under_any_name_that_a_run_uses_stays() {
    for name in [
        "o.gguf.partial",
        "o.gguf.partial.journal",
        "r.html.partial",
        "README.md.partial",
        "Modelfile.partial",
    ] {
        let bench = Bench::new();
        bench.write(name, "my notes");
        let ran = bench
            .run("quantize @in.gguf @o.gguf Q8_0 --report @r.html --card --modelfile --force --no-resume");
        refused(&ran, 1, &[name, "in the way"]);
        assert!(!bench.path("o.gguf").exists() && bench.read(name) == b"my notes", "{name}");
    }
    let bench = Bench::new();
    bench.write("o.partial/thesis.txt", "years of work");
    let ran = bench.run("convert @cp --type safetensors-f16 -o @o --force --no-resume");
    refused(&ran, 1, &["thesis.txt", "in the way"]);
    assert_eq!(bench.read("o.partial/thesis.txt"), b"years of work");
}

#[test]
fn files_of_the_kind_replaced_stay_and_another_name_is_found() {
    let bench = Bench::new();
    bench.run("convert @cp --type safetensors-f16 -o @o").ok();
    bench.write("o.replaced/notes.txt", "mine");
    bench.run("convert @cp --type safetensors-f32 -o @o --force").ok();
    assert_eq!(
        (bench.names("o"), bench.read("o.replaced/notes.txt")),
        (vec!["o".into(), "o.replaced".into()], b"mine".to_vec())
    );
}

/// Review B6.
#[test]
fn a_directory_of_notes_is_not_replaced_by_a_model() {
    let bench = Bench::new();
    bench.write("o/thesis.md", "a");
    bench.write("o/todo.txt", "b");
    let ran = bench.run("convert @cp --type safetensors-f16 -o @o --force");
    refused(&ran, 1, &["holds no model", "config.json or weights"]);
    assert_eq!((bench.names("o"), bench.read("o/thesis.md")), (vec!["o".into()], b"a".to_vec()));
}

#[test]
fn two_things_of_one_run_cannot_have_one_name() {
    let bench = Bench::new();
    for report in ["o.html", "o.html.partial.html"] {
        let ran = bench.run(&format!("convert @cp --type safetensors-f16 -o @o.html --report @{report}"));
        if report == "o.html" {
            refused(&ran, 2, &["would be one file"]);
        }
    }
    assert_eq!(bench.names("o"), ["o.html", "o.html.partial.html"]);
}

// A run is known by all that decides its bytes (review B2, B3, B16, B18; attacks F4).

#[test]
fn a_changed_config_is_another_run() {
    let bench = Bench::new();
    let out = bench.path("o.gguf");
    stopped(&[(bench.plan("cp", "Q8_0"), out.clone())], &Work::default());
    let config = String::from_utf8(bench.read("cp/config.json")).unwrap();
    assert!(config.contains("8.0"));
    bench.write("cp/config.json", &config.replace("8.0", "32.0"));
    let plans = [(bench.plan("cp", "Q8_0"), out.clone())];
    let e = write(&plans, &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("an unfinished output of other work") && e.contains("config.json"), "{e}");
    write(&plans, &Work { resume: Resume::Never, ..Work::default() }, &()).unwrap();
    write(&[(bench.plan("cp", "Q8_0"), bench.path("fresh.gguf"))], &Work::default(), &()).unwrap();
    assert!(bench.read("o.gguf") == bench.read("fresh.gguf"));
}

#[test]
fn another_type_is_another_run_also_where_the_lengths_differ() {
    let bench = Bench::new();
    let out = bench.path("o.gguf");
    stopped(&[(bench.plan("in.gguf", "Q8_0"), out.clone())], &Work::default());
    let (partial, journal) = (bench.read("o.gguf.partial"), bench.read("o.gguf.partial.journal"));
    let e = write(&[(bench.plan("in.gguf", "Q4_0"), out.clone())], &Work::default(), &()).unwrap_err();
    let e = e.to_string();
    assert!(e.contains("expected type: Q4_0") && e.contains("found type: Q8_0"), "{e}");
    assert!(bench.read("o.gguf.partial") == partial && bench.read("o.gguf.partial.journal") == journal);
    // So from the command line, before a plan is shown.
    let ran = bench.run("quantize @in.gguf @o.gguf Q4_0");
    refused(&ran, 1, &["an unfinished output of other work"]);
    assert!(!ran.err.contains("tensors, "), "{}", ran.err);
    assert!(resumed(&[(bench.plan("in.gguf", "Q8_0"), out)], &Work::default()) >= 4);
}

#[test]
fn values_that_are_made_in_memory_are_a_part_of_the_run() {
    let bench = Bench::new();
    let model = |x: f32| {
        let mut model = SMALL.model();
        let first = model.tensors[1].clone();
        let values = vec![x; first.shape().elements() as usize];
        model.tensors[1] = ggraft_formats::Tensor::in_memory(&first.name, *first.shape(), &values).unwrap();
        model
    };
    let carry_out = |model: &ggraft_formats::Model, watch: &dyn Watch| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let layout = ggraft_formats::gguf::plan(model, &bench.path("o.gguf")).unwrap();
        let done = pool.install(|| {
            ggraft_formats::write::carry_out(&[layout], &Default::default(), watch, |_| Ok(Vec::new()))
        });
        let_go();
        done
    };
    carry_out(&model(1.0), &After { stop: true, ..after(4, &|| ()) }).unwrap_err();
    let e = carry_out(&model(2.0), &()).unwrap_err().to_string();
    assert!(e.contains("other work") && e.contains("how the tensors are made"), "{e}");
    carry_out(&model(1.0), &()).unwrap();
}

/// Size and time of modification can be set back; the time of the last change of anything cannot.
#[test]
fn content_that_changed_under_the_same_size_and_time_is_noticed() {
    let bench = Bench::new();
    let (input, out) = (bench.path("in.gguf"), bench.path("o.gguf"));
    stopped(&[(bench.plan("in.gguf", "Q8_0"), out.clone())], &Work::default());
    let time = fs::metadata(&input).unwrap().modified().unwrap();
    let mut bytes = bench.read("in.gguf");
    let end = bytes.len() - 4;
    bytes[end] ^= 1;
    fs::write(&input, bytes).unwrap();
    fs::File::options().write(true).open(&input).unwrap().set_modified(time).unwrap();
    let e = write(&[(bench.plan("in.gguf", "Q8_0"), out)], &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("an unfinished output of other work") && e.contains("in.gguf"), "{e}");
}

/// What is read is stamped when it is opened, by whoever opens it.
#[test]
fn an_input_that_changes_after_it_was_opened_is_noticed() {
    for file in ["cp/config.json", "cp/model.safetensors", "in.gguf"] {
        let bench = Bench::new();
        let plan = bench.plan(if file == "in.gguf" { file } else { "cp" }, "Q8_0");
        fs::write(bench.path("copy"), bench.read(file)).unwrap();
        fs::rename(bench.path("copy"), bench.path(file)).unwrap();
        let e = write(&[(plan, bench.path("o.gguf"))], &Work::default(), &()).unwrap_err();
        assert!(e.to_string().contains("the input changed while it was read"), "{e}");
        assert!(bench.names("o").is_empty());
    }
}

#[test]
fn what_only_the_stopped_run_had_tells_it_from_another() {
    let bench = Bench::new();
    let out = bench.path("o.gguf");
    let target = Target::new(Type::parse("Q8_0").unwrap());
    // A file more among the inputs.
    target.reads.add(ggraft_formats::stamp::Stamp::of(&bench.path("cp/config.json")).unwrap());
    stopped(&[(bench.plan_of("in.gguf", &target), out.clone())], &Work::default());
    let e = write(&[(bench.plan("in.gguf", "Q8_0"), out)], &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("other work") && e.contains("config.json: nothing"), "{e}");
}

#[test]
fn the_difference_of_a_refused_run_is_told_by_its_key() {
    let bench = Bench::new();
    let out = bench.path("o.gguf");
    let of = |name: &str| {
        let mut target = Target::new(Type::parse("Q8_0").unwrap());
        target.overrides.push((String::from("general.name"), name.into()));
        [(bench.plan_of("in.gguf", &target), out.clone())]
    };
    stopped(&of("one"), &Work::default());
    let e = write(&of("two"), &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("expected general.name: two") && e.contains("found general.name: one"), "{e}");
}

// What can be resumed, or is finished, outlasts every failure beside it (review B4, B5, B19; attacks F12, F15).

fn two(bench: &Bench) -> [(Plan, PathBuf); 2] {
    [("Q8_0", "a.gguf"), ("Q4_0", "b.gguf")]
        .map(|(kind, name)| (bench.plan("in.gguf", kind), bench.path(name)))
}

#[test]
fn a_lock_on_a_later_output_costs_the_first_nothing() {
    let bench = Bench::new();
    let plans = two(&bench);
    stopped(&plans, &Work::default());
    let lock = fs::File::options().append(true).open(bench.path("b.gguf.partial.journal")).unwrap();
    lock.try_lock().unwrap();
    let e = write(&plans, &Work::default(), &()).unwrap_err();
    assert!(e.kind() == Kind::Io && e.to_string().contains("another run is writing this output"), "{e}");
    assert_eq!(bench.names("a"), ["a.gguf.partial", "a.gguf.partial.journal"]);
    drop(lock);
    let_go();
    assert!(resumed(&plans, &Work::default()) >= 4);
    assert_eq!((bench.names("a"), bench.names("b")), (vec!["a.gguf".into()], vec!["b.gguf".into()]));
}

#[test]
fn a_file_that_appears_under_the_name_is_not_replaced_and_the_work_stays() {
    let bench = Bench::new();
    let plans = two(&bench);
    let appears = || fs::write(bench.path("b.gguf"), "mine").unwrap();
    let e = write(&plans, &Work::default(), &after(3, &appears)).unwrap_err().to_string();
    assert!(e.contains("b.gguf: something has got this name"), "{e}");
    assert_eq!(bench.read("b.gguf"), b"mine");
    // The first has its name, the second is whole, and both are known.
    assert!(bench.path("a.gguf").exists() && bench.path("b.gguf.partial").exists());
    let e = write(&plans, &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("b.gguf: the output exists") && !e.contains("a.gguf: the"), "{e}");
    fs::rename(bench.path("b.gguf"), bench.path("mine")).unwrap();
    write(&plans, &Work::default(), &()).unwrap();
    assert_eq!((bench.names("a"), bench.names("b")), (vec!["a.gguf".into()], vec!["b.gguf".into()]));
    assert_eq!(bench.read("mine"), b"mine");
    // So for a directory.
    let plans = [(bench.plan("cp", "safetensors-f16"), bench.path("d"))];
    let appears = || bench.write("d/thesis.txt", "mine");
    let e = write(&plans, &Work::default(), &after(3, &appears)).unwrap_err().to_string();
    assert!(e.contains("something has got this name"), "{e}");
    assert!(bench.read("d/thesis.txt") == b"mine" && bench.path("d.partial/config.json").exists());
}

#[test]
fn an_input_that_is_gone_and_comes_back_costs_nothing() {
    let bench = Bench::new();
    let plans = [(bench.plan("cp", "Q8_0"), bench.path("o.gguf"))];
    let away = || fs::rename(bench.path("cp"), bench.path("away")).unwrap();
    let e = write(&plans, &Work::default(), &after(3, &away)).unwrap_err().to_string();
    assert!(e.contains("put the input back"), "{e}");
    fs::rename(bench.path("away"), bench.path("cp")).unwrap();
    let plans = [(bench.plan("cp", "Q8_0"), bench.path("o.gguf"))];
    assert!(resumed(&plans, &Work::default()) > 10);
}

#[test]
fn a_part_that_is_lost_costs_the_others_nothing() {
    let bench = Bench::new();
    let words = "quantize @in.gguf @o.gguf Q8_0 --split-max-tensors 5";
    bench.run(words).ok();
    let parts = bench.names("o");
    assert!(parts.len() > 3, "{parts:?}");
    parts.iter().for_each(|name| fs::remove_file(bench.path(name)).unwrap());
    // A directory has the name of the second growing part.
    fs::create_dir(bench.path(&format!("{}.partial", parts[1]))).unwrap();
    refused(&bench.run(words), 1, &[&parts[1], "in the way"]);
    assert_eq!(bench.names("o"), [format!("{}.partial", parts[1])]);
}

// Several names are given one after another; the same command ends what was begun (attacks F5, F6).

#[test]
fn outputs_that_have_their_names_already_are_done() {
    let bench = Bench::new();
    let plans = two(&bench);
    let beside = vec![Beside { path: bench.path("note.txt"), what: "the report", replaces: false }];
    let work = Work { beside, ..Work::default() };
    for named in [&["a.gguf"][..], &["b.gguf"], &["a.gguf", "b.gguf"]] {
        stopped_before_the_names(&plans, &work);
        for name in named {
            fs::rename(bench.path(&format!("{name}.partial")), bench.path(name)).unwrap();
        }
        let begun = fs::metadata(bench.path(named[0])).unwrap().modified().unwrap();
        assert!(resumed(&plans, &work) > 20, "{named:?}");
        assert_eq!(
            fs::metadata(bench.path(named[0])).unwrap().modified().unwrap(),
            begun,
            "it is not written again"
        );
        assert_eq!(bench.read("note.txt"), b"text");
        assert_eq!((bench.names("a"), bench.names("b")), (vec!["a.gguf".into()], vec!["b.gguf".into()]));
        ["a.gguf", "b.gguf", "note.txt"].iter().for_each(|name| fs::remove_file(bench.path(name)).unwrap());
    }
}

/// It was killed when all had its name, before its journals went. The other run has an output more.
#[test]
fn a_run_that_shares_its_first_output_with_one_that_is_done_is_not_done() {
    let bench = Bench::new();
    let plans = two(&bench);
    stopped_before_the_names(&plans, &Work::default());
    let journal = bench.read("a.gguf.partial.journal");
    resumed(&plans, &Work::default());
    let path = std::path::absolute(bench.path("a.gguf")).unwrap();
    let stamp = ggraft_formats::stamp::Stamp::of(&path).unwrap().to_string();
    let done = serde_json::json!({ "done": [[path.to_string_lossy(), stamp]] });
    fs::write(bench.path("a.gguf.partial.journal"), [journal, format!("{done}\n").into_bytes()].concat())
        .unwrap();
    let b = bench.read("b.gguf");
    fs::remove_file(bench.path("b.gguf")).unwrap();
    let begun = fs::metadata(&path).unwrap().modified().unwrap();
    write(&plans, &Work::default(), &()).unwrap();
    assert!(bench.read("b.gguf") == b);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), begun, "it is not written again");
}

#[test]
fn a_finished_output_that_was_changed_since_is_not_replaced() {
    let bench = Bench::new();
    let plans = two(&bench);
    stopped_before_the_names(&plans, &Work::default());
    let mut bytes = bench.read("a.gguf.partial");
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::rename(bench.path("a.gguf.partial"), bench.path("a.gguf")).unwrap();
    fs::write(bench.path("a.gguf"), &bytes).unwrap();
    let e = write(&plans, &Work::default(), &()).unwrap_err().to_string();
    assert!(e.contains("no longer what the run has written"), "{e}");
    assert!(bench.read("a.gguf") == bytes);
}

#[test]
fn the_report_is_there_when_the_output_is() {
    let bench = Bench::new();
    bench.run("quantize @in.gguf @o.gguf Q4_0 --report @r.json --card --modelfile").ok();
    let whole = ["o.gguf", "r.json", "README.md", "Modelfile"].map(|name| bench.read(name));
    let again = bench.run("quantize @in.gguf @o.gguf Q4_0 --report @r.json --card --modelfile");
    // A card of ours that nobody has changed goes on.
    refused(&again, 1, &["the output exists", "the report exists", "the Modelfile exists"]);
    assert!(["o.gguf", "r.json", "README.md", "Modelfile"].map(|name| bench.read(name)) == whole);
    // In the directory that it tells of, too.
    bench.run("convert @cp --type safetensors-f16 -o @d --report @d/r.json").ok();
    assert!(bench.path("d/r.json").is_file() && bench.path("d/config.json").is_file());
    assert!(bench.names("d") == ["d"]);
}

/// Attacks F13.
#[test]
fn two_runs_cannot_write_one_report() {
    let bench = Bench::new();
    let other = fs::File::create(bench.path("r.html.partial")).unwrap();
    other.try_lock().unwrap();
    let ran = bench.run("quantize @in.gguf @o.gguf Q8_0 --report @r.html");
    refused(&ran, 5, &["r.html", "another run is writing"]);
    assert!(bench.names("o").is_empty(), "{:?}", bench.names("o"));
    drop(other);
    let_go();
    bench.run("quantize @in.gguf @o.gguf Q8_0 --report @r.html").ok();
    assert_eq!(bench.names("r"), ["r.html"]);
}

/// Attacks F14.
#[test]
fn the_journal_of_an_edit_that_ended_is_cleared_away() {
    let bench = Bench::new();
    bench.run("meta set @in.gguf general.name=str:one").ok();
    let journal = "{\"ggraft\":\"0.1.0\",\"work\":[[\"edit of\",\"what it was\"]]}\n{\"process\":1}\n";
    // The second one was killed before it told anything, the third while it cleared another away.
    for journal in [journal, "", "{\"ggraft\":\"0.1.0\",\"work\":[]}\n{\"process\":1}\n"] {
        bench.write("in.gguf.partial.journal", journal);
        bench.write("in.gguf.partial", "");
        let ran = bench.run("meta set @in.gguf general.name=str:one").ok();
        assert!(ran.err.contains("nothing changes"), "{}", ran.err);
        assert_eq!(bench.names("in"), ["in.gguf"]);
    }
}

/// Two outputs of one folder have one Modelfile; a run of the other one was killed and may never be repeated.
#[test]
fn a_small_file_that_a_killed_run_of_another_output_has_left_is_in_nobodys_way() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    bench.write("Modelfile.partial", "half of");
    let meta = fs::metadata(bench.path("Modelfile.partial")).unwrap();
    let born = meta.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let id = format!("{}-{}.{:09}", meta.ino(), born.as_secs(), born.subsec_nanos());
    let tell = |id: &str| {
        let head = "{\"ggraft\":\"0.1.0\",\"work\":[]}";
        let file = format!("{{\"file\":\"Modelfile.partial\",\"id\":\"{id}\"}}");
        bench.write("other.gguf.partial.journal", &format!("{head}\n{file}\n"));
    };
    tell("another file");
    let ran = bench.run("quantize @in.gguf @o.gguf Q8_0 --modelfile");
    refused(&ran, 1, &["Modelfile.partial", "this is in the way"]);
    tell(&id);
    bench.run("quantize @in.gguf @o.gguf Q8_0 --modelfile").ok();
    assert_eq!(bench.names("Modelfile"), ["Modelfile"]);
}

/// Attacks F26.
#[test]
fn a_pipe_for_a_journal_is_refused() {
    let bench = Bench::new();
    let made = begin(std::process::Command::new("mkfifo").arg(bench.path("o.gguf.partial.journal"))).wait();
    assert!(made.unwrap().success());
    refused(&bench.run("quantize @in.gguf @o.gguf Q8_0"), 1, &["o.gguf.partial.journal", "in the way"]);
    assert!(bench.names("o") == ["o.gguf.partial.journal"]);
}

// Where an output goes (users A1), and what is looked at first (users B7).

#[test]
fn a_folder_as_the_output_means_the_default_name_in_it() {
    let bench = Bench::new();
    fs::create_dir(bench.path("there")).unwrap();
    for folder in ["new/", "deep/er/", "there", "there/sub/"] {
        let ran = bench.run(&format!("convert @cp --type Q8_0 -o @{folder}")).ok();
        let path = PathBuf::from(ran.out.trim_end());
        assert!(path.is_file() && path.extension().is_some_and(|e| e == "gguf"), "{path:?}");
        assert_eq!(path.parent().unwrap(), bench.path(folder.trim_end_matches('/')));
        bench.run(&format!("quantize @in.gguf @{folder} Q8_0")).ok();
        assert!(bench.path(folder).join("ggml-model-Q8_0.gguf").is_file());
        bench.run(&format!("split @in.gguf @{folder} --max-tensors 11")).ok();
        let part = bench.path(folder).join("in-00001-of-00002.gguf");
        assert!(part.is_file());
        bench.run(&format!("join {} @{folder}", part.display())).ok();
        assert!(bench.path(folder).join("in.gguf").is_file());
        let edited = bench.run(&format!("meta set @in.gguf general.name=str:x -o @{folder} --force")).ok();
        assert!(edited.out.trim_end().ends_with("in.gguf"));
    }
    // Several outputs share it, those of a directory too.
    specs::write_trio_tiny(&bench.path(""));
    let words = "merge --base @base --chat @chat --onto @cp --allow-unrelated --type safetensors-f16,Q8_0";
    bench.run(&format!("{words} -o @several/")).ok();
    assert_eq!(fs::read_dir(bench.path("several")).unwrap().count(), 2);
    // A name that is made for each is its name, also where such a directory is there.
    bench.run(&format!("{words} -o @m-{{type}}")).ok();
    bench.run(&format!("{words} -o @m-{{type}} --force")).ok();
    assert_eq!(bench.names("m-"), ["m-Q8_0.gguf", "m-safetensors-f16"]);
    // A directory has the name itself.
    bench.run("convert @cp --type safetensors-f16 -o @model/").ok();
    assert!(bench.path("model/config.json").is_file());
    fs::write(bench.path("file"), "").unwrap();
    refused(&bench.run("convert @cp --type Q8_0 -o @file/m.gguf"), 5, &["/file: "]);
}

#[test]
fn what_costs_nothing_is_looked_at_before_a_plan_is_shown() {
    let bench = Bench::new();
    bench.write("o.gguf", "mine");
    let ran = bench.run("quantize @in.gguf @o.gguf Q8_0");
    refused(&ran, 1, &["the output exists"]);
    assert!(!ran.err.contains("tensors, "), "{}", ran.err);
    // A dry run shows the plan, and tells it as a note.
    let ran = bench.run("quantize @in.gguf @o.gguf Q8_0 --dry-run").ok();
    assert!(ran.err.contains("the output exists") && ran.err.contains("tensors, "), "{}", ran.err);
    refused(&bench.run("quantize @in.gguf @in.gguf Q8_0 --dry-run"), 1, &["is one of the inputs"]);
    assert_eq!(bench.read("o.gguf"), b"mine");
}

#[test]
fn names_without_a_folder_are_those_of_the_current_one() {
    let bench = Bench::new();
    bench.run_here("quantize in.gguf o.gguf Q8_0 --report r.json").ok();
    assert_eq!((bench.names("o"), bench.names("r")), (vec!["o.gguf".into()], vec!["r.json".into()]));
    refused(&bench.run_here("quantize in.gguf ./in.gguf Q8_0 --force"), 1, &["is one of the inputs"]);
    refused(&bench.run_here("quantize ./in.gguf in.gguf Q8_0 --force"), 1, &["is one of the inputs"]);
}
