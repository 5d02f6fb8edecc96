//! Plans that jobs carry out: the bytes are those of one run, however many jobs there are, in whatever order, with jobs that
//! are killed, fail, run twice, or twice at once without locks. What changed is refused, what is missing is told.
#![cfg(target_os = "linux")]

#[path = "support/run.rs"]
mod run;
mod support;

use run::{Folder, Ran, begin, ggraft_in, trio_copy};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::rng::splitmix64;

/// The same merge as one GGUF, as parts, as a directory, and as two outputs at once.
const KINDS: [&str; 4] = [
    "--type Q4_K_M -o out/m.gguf",
    "--type Q4_K_M --split-max-size 300K -o out/m.gguf",
    "--type safetensors-bf16 -o out/m",
    "--type Q8_0,Q4_0 -o out/m-{type}.gguf",
];

/// A folder with the trio.
struct Bench {
    dir: Folder,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: Folder::new() };
        ["base", "chat", "cp"].iter().for_each(|name| _ = trio_copy(name, &bench.path("")));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    fn ggraft(&self, words: &str) -> Ran {
        ggraft_in(&self.path(""), words.split_whitespace())
    }

    fn merge(&self, before: &str, more: &str) -> Ran {
        self.ggraft(&format!("{before} merge --base base --chat chat --onto cp -q {more}"))
    }

    /// What one run writes.
    fn alone(&self, more: &str) -> BTreeMap<String, Vec<u8>> {
        self.merge("", more).ok();
        let files = self.files();
        fs::remove_dir_all(self.path("out")).unwrap();
        files
    }

    fn plan(&self, jobs: usize, more: &str) -> Ran {
        self.merge("plan", &format!("{more} --jobs {jobs} --plan run.plan"))
    }

    fn job(&self, job: usize, of: usize) -> Ran {
        self.ggraft(&format!("job run.plan --job {job}/{of} --threads 1"))
    }

    fn start(&self, job: usize, of: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        let words = format!("job run.plan --job {job}/{of} --threads 1");
        let command = command.args(words.split(' ')).current_dir(self.path(""));
        begin(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// All files of the outputs.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path("out"), "", &mut files);
        files
    }

    /// Begins anew.
    fn clear(&self) {
        ["out", "run.plan"].iter().for_each(|name| _ = fs::remove_dir_all(self.path(name)));
    }
}

fn collect(dir: &Path, name: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => collect(&path, &name, into),
            false => _ = into.insert(name, fs::read(&path).unwrap()),
        }
    }
}

#[track_caller]
fn same(found: &BTreeMap<String, Vec<u8>>, due: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), due.keys().collect::<Vec<_>>());
    for (name, bytes) in due {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

#[test]
fn eight_processes_at_once_write_the_bytes_of_one_run() {
    let bench = Bench::new();
    for words in KINDS {
        let due = bench.alone(words);
        bench.plan(8, words).ok();
        let jobs: Vec<Child> = (0..8).map(|job| bench.start(job, 8)).collect();
        assert!(jobs.into_iter().all(|mut job| job.wait().unwrap().success()), "{words}");
        assert!(!bench.files().keys().any(|name| due.contains_key(name)), "{words}: a name came too early");
        let finished = bench.ggraft("finish run.plan --hash -q").ok();
        same(&bench.files(), &due);
        assert!(finished.out.starts_with("out/m"), "{}", finished.out);
        // Every step may be repeated when all is done.
        bench.job(3, 8).ok();
        bench.ggraft("finish run.plan").ok();
        same(&bench.files(), &due);
        bench.clear();
    }
}

/// The most lines that a journal of a job has.
fn told(bench: &Bench) -> usize {
    let journals = fs::read_dir(bench.path("run.plan/work")).unwrap();
    let lines = |path: PathBuf| fs::read(path).map_or(0, |text| text.iter().filter(|b| **b == b'\n').count());
    journals.map(|entry| lines(entry.unwrap().path())).max().unwrap_or(0)
}

#[test]
fn a_job_that_is_killed_or_runs_twice_or_fails_changes_no_byte() {
    let bench = Bench::new();
    for (round, words) in (0..).zip(&KINDS[..3]) {
        let due = bench.alone(words);
        bench.plan(3, words).ok();
        // Killed at some moment, in reversed order.
        for job in (0..3).rev() {
            let mut process = bench.start(job, 3);
            // When it has told of so many pieces, or is done.
            let due = 2 + splitmix64(round, job as u64) as usize % 12;
            while process.try_wait().unwrap().is_none() && told(&bench) < due {
                std::thread::yield_now();
            }
            _ = process.kill();
            process.wait().unwrap();
        }
        // An input is away for a while.
        fs::rename(bench.path("chat"), bench.path("away")).unwrap();
        if !bench.path("run.plan/done/00001.json").exists() {
            assert_eq!(bench.job(1, 3).code, 5);
        }
        fs::rename(bench.path("away"), bench.path("chat")).unwrap();
        // Each twice at the same time.
        let twice: Vec<Child> = (0..3).flat_map(|job| [bench.start(job, 3), bench.start(job, 3)]).collect();
        assert!(twice.into_iter().all(|mut job| job.wait().unwrap().success()), "{words}");
        bench.ggraft("finish run.plan -q").ok();
        same(&bench.files(), &due);
        bench.clear();
    }
}

#[test]
fn any_number_of_jobs_in_any_order_gives_the_same_bytes() {
    let bench = Bench::new();
    bench.ggraft("convert cp --type F16 -q -o in.gguf").ok();
    let quantize = "quantize in.gguf out/q.gguf Q4_K_M --split-max-tensors 2 -q";
    bench.ggraft(quantize).ok();
    let due = bench.files();
    assert!(due.len() > 12);
    fs::remove_dir_all(bench.path("out")).unwrap();
    for jobs in [1, 2, 7, 16] {
        bench
            .ggraft(&format!("plan {quantize} --jobs {jobs} --plan run.plan --read-speed 1G --cores 1"))
            .ok();
        let text = fs::read_to_string(bench.path("run.plan/plan.json")).unwrap();
        let plan: Json = serde_json::from_str(&text).unwrap();
        let costs = plan["jobs"].as_array().unwrap().iter().map(|job| job["seconds"].as_f64().unwrap());
        let (most, sum) = (costs.clone().fold(0.0, f64::max), costs.sum::<f64>());
        // Here a page of memory, below which nothing is cut, is much of a share.
        assert!(most / (sum / jobs as f64) < if jobs == 16 { 1.6 } else { 1.2 }, "{jobs}: {most} of {sum}");
        let mut order: Vec<usize> = (0..jobs).collect();
        order.sort_by_key(|job| splitmix64(jobs as u64, *job as u64));
        order.iter().for_each(|job| _ = bench.job(*job, jobs).ok());
        bench.ggraft("finish run.plan -q").ok();
        same(&bench.files(), &due);
        bench.clear();
    }
}

#[test]
fn a_method_that_looks_at_whole_tensors_first_may_be_divided_too() {
    let bench = Bench::new();
    let words = "--type Q4_K_M --method ties --param density=0.5 -o out/m.gguf";
    let due = bench.alone(words);
    bench.plan(3, words).ok();
    [2, 0, 1].iter().for_each(|job| _ = bench.job(*job, 3).ok());
    bench.ggraft("finish run.plan -q").ok();
    same(&bench.files(), &due);
}

#[test]
fn the_end_is_refused_until_all_is_there() {
    let bench = Bench::new();
    let words = KINDS[1];
    let due = bench.alone(words);
    bench.plan(6, words).ok();
    for job in [0, 2, 5] {
        bench.job(job, 6).ok();
    }
    let refused = bench.ggraft("finish run.plan");
    assert_eq!(refused.code, 7);
    assert!(refused.err.contains("missing 3 of 6 jobs: --array=1,3-4"), "{}", refused.err);
    let told = bench.ggraft("status run.plan").ok().out;
    assert!(told.starts_with("3 of 6 jobs are done") && told.contains("not begun: 1,3-4"), "{told}");
    let json: Json = serde_json::from_str(&bench.ggraft("status run.plan --json").ok().out).unwrap();
    let states: Vec<&str> =
        json["jobs"].as_array().unwrap().iter().map(|j| j["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "waiting", "done", "waiting", "waiting", "done"]);
    [1, 3, 4].iter().for_each(|job| _ = bench.job(*job, 6).ok());
    // One byte of one file.
    let name = first_partial(&bench);
    let mut bytes = fs::read(&name).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&name, &bytes).unwrap();
    let refused = bench.ggraft("finish run.plan --hash");
    assert!(refused.code == 7 && refused.err.contains("is not what the job has written"), "{}", refused.err);
    fs::write(&name, &bytes[..last]).unwrap();
    let refused = bench.ggraft("finish run.plan");
    assert!(refused.code == 7 && refused.err.contains("wrong length"), "{}", refused.err);
    bytes[last] ^= 1;
    bytes[9] ^= 1;
    fs::write(&name, &bytes).unwrap();
    let refused = bench.ggraft("finish run.plan");
    assert!(refused.code == 7 && refused.err.contains("does not begin as planned"), "{}", refused.err);
    bytes[9] ^= 1;
    fs::write(&name, &bytes).unwrap();
    assert!(!bench.files().keys().any(|name| due.contains_key(name)));
    // A report of another plan counts for nothing.
    let report = bench.path("run.plan/done/00004.json");
    let text = fs::read_to_string(&report).unwrap();
    let foreign = text.replacen("\"plan\": \"", "\"plan\": \"00", 1);
    fs::write(&report, foreign).unwrap();
    assert!(bench.ggraft("finish run.plan").err.contains("missing 1 of 6 jobs: --array=4"));
    fs::write(&report, text).unwrap();
    bench.ggraft("finish run.plan --hash -q").ok();
    same(&bench.files(), &due);
}

/// A part that grows.
fn first_partial(bench: &Bench) -> PathBuf {
    let files = bench.files();
    let name =
        files.keys().find(|name| name.ends_with(".gguf.partial") && name.contains("00002-of")).unwrap();
    bench.path("out").join(name.trim_start_matches('/'))
}

#[test]
fn inputs_that_changed_since_the_plan_are_refused_and_nothing_is_written() {
    let bench = Bench::new();
    bench.plan(2, KINDS[0]).ok();
    bench.job(0, 2).ok();
    let partial = fs::read(bench.path("out/m.gguf.partial")).unwrap();
    for name in ["chat/model.safetensors", "cp/tokenizer.json", "base/config.json"] {
        let path = bench.path(name);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        for words in ["job run.plan --job 1/2", "finish run.plan"] {
            let refused = bench.ggraft(words);
            let is_missing = words.starts_with("finish");
            assert_eq!(refused.code, if is_missing { 7 } else { 5 }, "{name}: {}", refused.err);
            assert!(is_missing || refused.err.contains("is not what it was when the plan was made"));
            assert!(is_missing || refused.err.contains(name), "{}", refused.err);
        }
        fs::write(&path, before).unwrap();
    }
    // A file that the plan has not read.
    fs::write(bench.path("cp/chat_template.jinja"), "{{ messages }}").unwrap();
    let refused = bench.job(1, 2);
    assert!(refused.code == 5 && refused.err.contains("chat_template.jinja"), "{}", refused.err);
    fs::remove_file(bench.path("cp/chat_template.jinja")).unwrap();
    assert!(fs::read(bench.path("out/m.gguf.partial")).unwrap() == partial);
    bench.job(1, 2).ok();
    bench.ggraft("finish run.plan").ok();
}

#[test]
fn what_a_plan_made_is_safe_from_other_runs_and_other_plans() {
    let bench = Bench::new();
    let words = KINDS[0];
    let due = bench.alone(words);
    bench.plan(3, words).ok();
    // The same plan again is the same plan.
    bench.job(1, 3).ok();
    bench.plan(3, words).ok();
    let run = bench.merge("", words);
    assert!(run.code == 1 && run.err.contains("an unfinished output of other work"), "{}", run.err);
    let other = bench.plan(4, words);
    assert!(other.code == 1 && other.err.contains("another plan is there"), "{}", other.err);
    for (words, code) in [
        ("job run.plan --job 3/3", 2),
        ("job run.plan --job 0/4", 2),
        ("job run.plan --job-from env:NO_SUCH_VARIABLE", 2),
        ("job run.plan", 2),
        ("job none.plan --job 0/3", 5),
        ("plan --plan run.plan", 2),
        ("plan merge --base base --chat chat --onto cp --type F16 --emit-recipe - --jobs 2 --plan r.plan", 2),
        ("plan convert cp --type F16 --report r.json --jobs 2 --plan r.plan", 2),
    ] {
        let ran = bench.ggraft(words);
        assert_eq!(ran.code, code, "{words}: {}", ran.err);
    }
    // Where the files of the plan are gone and another plan's lie, it touches nothing of those.
    let (plan, journal) = (bench.path("run.plan"), bench.path("out/m.gguf.partial.journal"));
    let whole = bench.files();
    fs::remove_dir_all(bench.path("out")).unwrap();
    fs::rename(&plan, bench.path("first.plan")).unwrap();
    bench.plan(4, words).ok();
    let others = fs::read(&journal).unwrap();
    fs::rename(&plan, bench.path("second.plan")).unwrap();
    fs::rename(bench.path("first.plan"), &plan).unwrap();
    let refused = bench.plan(3, words);
    assert!(refused.code == 1 && refused.err.contains("of other work"), "{}", refused.err);
    assert_eq!(fs::read(&journal).unwrap(), others);
    fs::remove_dir_all(bench.path("out")).unwrap();
    bench.plan(3, words).ok();
    assert_eq!(bench.files().keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    let file = bench.path("run.plan/plan.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"cores\": 8", "\"cores\": 9", 1)).unwrap();
    let altered = bench.job(0, 3);
    assert!(altered.code == 3 && altered.err.contains("the plan was altered"), "{}", altered.err);
    fs::write(&file, text).unwrap();
    // What was made is gone, and made again: what the job has told of it counts for nothing.
    fs::remove_file(bench.path("out/m.gguf.partial")).unwrap();
    assert_eq!(bench.job(0, 3).code, 5);
    bench.plan(3, words).ok();
    assert!(bench.ggraft("finish run.plan").err.contains("missing 3 of 3 jobs: --array=0-2"));
    bench.job(1, 3).ok();
    fs::remove_dir_all(bench.path("out")).unwrap();
    bench.plan(3, words).ok();
    for job in [1, 0, 2] {
        bench.job(job, 3).ok();
    }
    bench.plan(3, words).ok();
    bench.ggraft("finish run.plan -q").ok();
    same(&bench.files(), &due);
    let exists = bench.plan(3, words);
    assert!(exists.code == 1 && exists.err.contains("exists"), "{}", exists.err);
}

/// The end of a plan gives names to what jobs have written, and to nothing else.
#[test]
fn the_end_makes_no_file_and_takes_no_other() {
    let bench = Bench::new();
    let words = KINDS[0];
    let due = bench.alone(words);
    bench.merge("", words).ok();
    let old = fs::read(bench.path("out/m.gguf")).unwrap();
    let forced = format!("{words} --force");
    bench.plan(2, &forced).ok();
    (0..2).for_each(|job| _ = bench.job(job, 2).ok());
    fs::remove_file(bench.path("out/m.gguf.partial")).unwrap();
    for more in ["", " --hash"] {
        let ran = bench.ggraft(&format!("finish run.plan -q{more}"));
        assert!(
            ran.code == 7 && ran.err.contains("the file that the plan has made is not there"),
            "{}",
            ran.err
        );
        assert_eq!(fs::read(bench.path("out/m.gguf")).unwrap(), old);
        assert!(!bench.path("out/m.gguf.partial").exists());
    }
    // All is swept away, and an older model of the same head lies there: that is not what the jobs have written.
    fs::remove_file(bench.path("out/m.gguf.partial.journal")).unwrap();
    let mut other = old.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    fs::write(bench.path("out/m.gguf"), &other).unwrap();
    let ran = bench.ggraft("finish run.plan -q");
    assert!(ran.code == 7 && ran.err.contains("is not what the job has written"), "{}", ran.err);
    fs::write(bench.path("out/m.gguf"), &old).unwrap();
    bench.ggraft("finish run.plan -q").ok();
    same(&bench.files(), &due);
}

#[test]
fn what_others_have_in_the_folder_of_a_plan_stays() {
    let bench = Bench::new();
    let words = KINDS[0];
    let theirs = ["run.plan/work/thesis.txt", "run.plan/done/list.json", "run.plan/work/00000-0.7"];
    for name in theirs {
        fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
        fs::write(bench.path(name), "theirs").unwrap();
    }
    bench.plan(2, words).ok();
    (0..2).for_each(|job| _ = bench.job(job, 2).ok());
    bench.ggraft("finish run.plan -q").ok();
    assert!(theirs.iter().all(|name| fs::read(bench.path(name)).unwrap() == b"theirs"));
    // Nor is a file replaced that is no plan, or a link followed.
    bench.clear();
    fs::create_dir_all(bench.path("run.plan")).unwrap();
    fs::write(bench.path("run.plan/plan.json"), "{}").unwrap();
    assert_ne!(bench.plan(2, &format!("{words} --no-resume")).code, 0);
    assert_eq!(fs::read(bench.path("run.plan/plan.json")).unwrap(), b"{}");
    bench.clear();
    fs::create_dir_all(bench.path("run.plan")).unwrap();
    std::os::unix::fs::symlink(bench.path("base"), bench.path("run.plan/work")).unwrap();
    let ran = bench.plan(2, words);
    assert!(ran.code == 1 && ran.err.contains("not of links"), "{}", ran.err);
}

/// Parts of an output that are gone are not made anew at the cost of what jobs have done.
#[test]
fn a_plan_made_again_does_not_throw_away_what_jobs_have_done() {
    let bench = Bench::new();
    let words = KINDS[1];
    bench.plan(3, words).ok();
    (0..2).for_each(|job| _ = bench.job(job, 3).ok());
    fs::remove_file(first_partial(&bench)).unwrap();
    let ran = bench.plan(3, words);
    assert!(ran.code == 1 && ran.err.contains("jobs have done some of it"), "{}", ran.err);
    assert!(bench.path("run.plan/done/00001.json").exists());
    bench.plan(3, &format!("{words} --no-resume")).ok();
    assert!(bench.ggraft("finish run.plan").err.contains("missing 3 of 3 jobs"));
}

#[test]
fn machines_may_see_the_same_tree_at_different_places() {
    let bench = Bench::new();
    let due = bench.alone(KINDS[1]);
    bench.plan(2, KINDS[1]).ok();
    bench.job(0, 2).ok();
    let elsewhere = Folder::new();
    let words = format!("-r {}. {}", bench.path("").display(), elsewhere.path("").display());
    run::ran(Command::new("cp").args(words.split(' '))).ok();
    let there = |words: &str| {
        ggraft_in(Path::new("/"), words.replace('@', &elsewhere.path("").to_string_lossy()).split(' ')).ok()
    };
    there("job @run.plan --job 1/2 -q");
    there("finish @run.plan --hash -q");
    let mut found = BTreeMap::new();
    collect(&elsewhere.path("out"), "", &mut found);
    same(&found, &due);
}

#[test]
fn schedulers_tell_jobs_their_numbers() {
    let bench = Bench::new();
    bench.ggraft("plan convert cp --type Q8_0 -o out/c.gguf --jobs 3 --plan run.plan -q").ok();
    let program = env!("CARGO_BIN_EXE_ggraft");
    for (job, from, variable, value) in [
        (0, "slurm", "SLURM_ARRAY_TASK_ID", "0"),
        (1, "k8s", "JOB_COMPLETION_INDEX", "1"),
        (2, "env:NUMBER:1", "NUMBER", "3"),
    ] {
        let words = ["job", "run.plan", "--job-from", from];
        let mut command = Command::new(program);
        run::ran(command.args(words).env(variable, value).current_dir(bench.path(""))).ok();
        assert!(bench.path(&format!("run.plan/done/0000{job}.json")).exists(), "{from}");
    }
    bench.ggraft("finish run.plan -q").ok();
    bench.ggraft("verify out/c.gguf").ok();
}

/// What Kubernetes v1.34 has in the objects of our manifest; a word that it does not know would be refused, or worse, ignored.
const FIELDS: [(&str, &[&str]); 14] = [
    ("", &["apiVersion", "kind", "metadata", "spec"]),
    ("metadata", &["name"]),
    (
        "spec",
        &[
            "completionMode",
            "completions",
            "parallelism",
            "backoffLimitPerIndex",
            "podFailurePolicy",
            "template",
        ],
    ),
    ("spec.podFailurePolicy", &["rules"]),
    ("spec.podFailurePolicy.rules", &["action", "onExitCodes", "onPodConditions"]),
    ("spec.podFailurePolicy.rules.onExitCodes", &["containerName", "operator", "values"]),
    ("spec.podFailurePolicy.rules.onPodConditions", &["type", "status"]),
    ("spec.template", &["spec"]),
    ("spec.template.spec", &["restartPolicy", "terminationGracePeriodSeconds", "containers", "volumes"]),
    ("spec.template.spec.containers", &["name", "image", "command", "resources", "volumeMounts"]),
    ("spec.template.spec.containers.resources", &["requests", "limits"]),
    ("spec.template.spec.containers.volumeMounts", &["name", "mountPath"]),
    ("spec.template.spec.volumes", &["name", "persistentVolumeClaim"]),
    ("spec.template.spec.volumes.persistentVolumeClaim", &["claimName"]),
];

/// The words that may stand in some of them, which schemas do not tell.
const CHOICES: [(&str, &[&str]); 5] = [
    ("spec.completionMode", &["Indexed"]),
    ("spec.podFailurePolicy.rules.action", &["FailIndex", "Ignore"]),
    ("spec.podFailurePolicy.rules.onExitCodes.operator", &["In"]),
    ("spec.podFailurePolicy.rules.onPodConditions.type", &["DisruptionTarget"]),
    ("spec.template.spec.restartPolicy", &["Never"]),
];

fn fields(value: &Json, path: &str) {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match value {
        Json::Object(_) if path.ends_with(".requests") || path.ends_with(".limits") => {}
        Json::Object(object) => {
            let known = FIELDS.iter().find(|(at, _)| *at == path).unwrap_or_else(|| panic!("{path}")).1;
            for (name, value) in object {
                assert!(known.contains(&name.as_str()), "{path}: {name}");
                fields(value, &below(name));
            }
        }
        Json::Array(items) => items.iter().for_each(|item| fields(item, path)),
        Json::String(word) => {
            let choices = CHOICES.iter().find(|(at, _)| *at == path);
            assert!(choices.is_none_or(|(_, words)| words.contains(&word.as_str())), "{path}: {word}");
        }
        _ => {}
    }
}

#[test]
fn manifests_are_those_that_schedulers_take() {
    let bench = Bench::new();
    let words = "plan convert cp --type Q8_0 -o out/c.gguf --jobs 12 --plan run.plan -q --cores 4 --emit k8s --image 'a:1";
    let yaml = bench.ggraft(words).ok().out;
    let job: Json = serde_saphyr::from_str(&yaml).unwrap();
    fields(&job, "");
    let spec = &job["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&Json::from(12), &Json::from(12)));
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "'a:1");
    assert_eq!(container["resources"]["requests"]["cpu"], "4");
    let codes = &spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"];
    assert_eq!(codes, &serde_json::json!([2, 3, 4]));
    for scheduler in ["slurm", "aws"] {
        let script = bench.ggraft(&format!("plan --plan run.plan --emit {scheduler}")).ok().out;
        let file = bench.path(scheduler);
        fs::write(&file, &script).unwrap();
        run::ran(Command::new("sh").arg("-n").arg(&file)).ok();
        if scheduler == "slurm" {
            assert!(script.contains("#SBATCH --array=0-11\n") && script.contains("--cpus-per-task=4\n"));
            continue;
        }
        // The shell gives the documents to the program; here to one that prints them.
        fs::write(&file, script.replace("aws batch ", "printf '%s\\n' ")).unwrap();
        let printed = run::ran(Command::new("sh").arg(&file)).ok().out;
        let documents: Vec<Json> =
            printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(documents[1]["arrayProperties"]["size"], 12);
        assert_eq!(documents[0]["retryStrategy"]["evaluateOnExit"][3]["action"], "RETRY");
    }
    bench.ggraft("plan convert cp --type Q8_0 -o out/d.gguf --jobs 1 --plan one.plan -q").ok();
    assert_eq!(bench.ggraft("plan --plan one.plan --emit aws").code, 2);
}
