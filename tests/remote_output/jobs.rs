//! Plans whose outputs go to the hub: jobs fill a folder that all of them see, and the end takes it there.

use super::run::{Ran, ran};
use super::{Bench, says};

const PLAN: &str =
    "plan convert %cp --type Q8_0,Q4_0 --modelfile --private -o hf://acme/out --jobs 3 --plan p";

/// A job, which shows no token and finds no hub.
fn job(bench: &Bench, number: usize) -> Ran {
    let mut command = bench.command(&format!("job p --job {number}/3"));
    command.env_remove("HF_TOKEN").env("HF_ENDPOINT", "http://127.0.0.1:9");
    ran(&mut command)
}

#[test]
fn the_end_takes_there_what_jobs_have_written() {
    let bench = Bench::new();
    bench.hub.fail(|f| f.writer = Some("hf_write".into()));
    bench.ggraft("convert %cp --type Q8_0,Q4_0 --modelfile -o here/").ok();
    let words =
        ["the jobs write, in a folder that all of them see", "`ggraft finish` takes it to hf://acme/out"];
    says(&bench.ggraft(&format!("{PLAN} --dry-run")).ok(), 0, &words);
    assert!(bench.stages().is_empty());
    let planned = bench.ggraft(PLAN).ok();
    says(&planned, 0, &[words[0], words[1], "made the private model acme/out"]);
    says(&bench.ggraft("finish p"), 7, &["missing 3 of 3 jobs"]);
    [2, 0, 1, 0].iter().for_each(|number| _ = job(&bench, *number).ok());
    // Whoever may not write loses nothing by the attempt.
    let mut other = bench.command("finish p");
    says(&ran(other.env("HF_TOKEN", "hf_other")), 5, &["hf://acme/out", "status 40"]);
    let done = bench.ggraft("finish p").ok();
    says(&done, 0, &["uploaded in", "/acme/out/commit/", "llama-cli -hf acme/out:"]);
    assert_eq!(done.out.lines().filter(|line| line.starts_with("hf://acme/out/")).count(), 2, "{}", done.out);
    for entry in std::fs::read_dir(bench.path("here")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(bench.hub.file("acme/out", "main", name), std::fs::read(&path).ok(), "{name}");
    }
    assert_eq!(bench.hub.names("acme/out", "main").len(), 6);
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
    // Again, all of it.
    says(&bench.ggraft("finish p").ok(), 0, &["the outputs have gone already"]);
    says(&job(&bench, 1).ok(), 0, &["is done already"]);
    says(&bench.ggraft(PLAN), 1, &["the output exists", "hf://acme/out/"]);
    assert_eq!(bench.hub.store.lock().unwrap().commits.len(), 1);
    says(&bench.ggraft(&format!("{PLAN} --force --no-resume")).ok(), 0, &words);
    says(&bench.ggraft("finish p"), 7, &["missing 3 of 3 jobs"]);
}

#[test]
fn an_end_that_the_hub_refuses_goes_on() {
    let bench = Bench::new();
    bench.ggraft(PLAN).ok();
    (0..3).for_each(|number| _ = job(&bench, number).ok());
    bench.hub.fail(|f| f.refuse_parts = (403, 1000));
    says(&bench.ggraft("finish p"), 5, &["status 403", "the outputs are whole, in"]);
    assert_eq!(bench.stages().len(), 1);
    says(&bench.ggraft(PLAN), 1, &["not all of them have gone yet", "`ggraft finish` sends them"]);
    bench.hub.fail(|f| f.refuse_parts = (0, 0));
    bench.ggraft("finish p").ok();
    assert_eq!(bench.hub.names("acme/out", "main").len(), 6);
    assert!(bench.stages().is_empty(), "{:?}", bench.stages());
}
