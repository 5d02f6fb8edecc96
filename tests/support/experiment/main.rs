//! The experiment of the chat vector on the trio, run in llama.cpp on the held-out dialogues; `GGRAFT_LLAMA_CPP`
//! names its folder. `cargo run --release --example experiment` prints a table of CP alone and merges of several
//! weights and policies; with `record` it runs those of `docs/chat-vector.md` and keeps every answer, and the adapters of
//! `docs/adapters.md`; with the names of GGUF files it runs those.

#[path = "mod.rs"]
mod experiment;
#[path = "../../peer/mod.rs"]
mod peer;

use experiment::arms::{self, Model, trio};
use experiment::ranks;
use experiment::record::{Record, Run};
use experiment::score::{self, Dialogue, Score};
use ggraft::merge::VocabularyChoices;
use ggraft::merge::tokens::matching::Embeddings;
use ggraft_formats::Result;
use peer::Peer;
use std::path::Path;
use std::sync::Mutex;

const WEIGHTS: [f64; 5] = [0.25, 0.5, 0.75, 1.0, 1.25];

/// The policies of the embeddings, with their names: plain, and as they are by default, which copies untrained rows.
fn policies() -> Vec<(&'static str, VocabularyChoices)> {
    let choices = |embeddings, no_auto_copy| VocabularyChoices {
        embeddings,
        no_auto_copy,
        ..VocabularyChoices::default()
    };
    vec![
        ("keep", choices(Embeddings::Keep, true)),
        ("template", choices(Embeddings::Template, true)),
        ("shared", choices(Embeddings::Shared, true)),
        ("template, copied", choices(Embeddings::Template, false)),
        ("shared, copied", choices(Embeddings::Shared, false)),
    ]
}

/// CP alone, and merges of every policy and weight.
fn grid(dir: &Path) -> Result<Vec<Model>> {
    let mut models = arms::alone(&["F32"], dir)?;
    for (name, choices) in policies() {
        models.extend(arms::merged(name, choices, &WEIGHTS, &["F32"], dir)?);
    }
    Ok(models)
}

/// Runs two models at a time, and gives the runs in the order of the models.
fn runs(peer: &'static Peer, models: &[Model], dialogues: &[Dialogue]) -> Vec<Run> {
    let next = Mutex::new(models.iter().enumerate());
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some((i, model)) = { next.lock().expect("no panic").next() } {
            let run = Run::of(peer, model, dialogues);
            eprintln!("{} as {}: {}", run.arm, run.ftype, run.score(dialogues));
            done.lock().expect("no panic").push((i, run));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, run)| run).collect()
}

fn print(runs: &[Run], dialogues: &[Dialogue]) {
    println!("| model | {} | ppl KO | ppl EN |", Score::TITLES.join(" | "));
    println!("|---{}|---|---|", "|---".repeat(Score::TITLES.len()));
    for run in runs {
        let [ko, en] = run.perplexity;
        println!("| {} | {} | {ko:.4} | {en:.4} |", run.arm, run.score(dialogues));
    }
}

fn main() {
    let Some(peer) = peer::peer() else { std::process::exit(1) };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let record = words == ["record"];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let models = match words.as_slice() {
        [] => grid(dir.path()),
        _ if record => arms::all(dir.path()),
        files => Ok(files.iter().map(|file| arms::given(file.as_ref())).collect()),
    };
    let models = models.unwrap_or_else(|e| panic!("{e}"));
    let dialogues = score::dialogues(&trio("dialogues_ko.jsonl"));
    let runs = runs(peer, &models, &dialogues);
    if record {
        Record { kernels: peer::kernels().to_string(), runs }.write(&dialogues);
        ranks::record(peer, &dialogues, dir.path());
    } else {
        print(&runs, &dialogues);
    }
}
