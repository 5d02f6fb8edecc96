//! The experiment of the chat vector on the trio, as a table: CP alone and merges of several weights, run in llama.cpp
//! on the held-out dialogues. `GGRAFT_LLAMA_CPP=FOLDER cargo run --release --example experiment` takes some minutes.
//! The measures are those of `fixtures/trio/README.md`.

#[path = "../../peer/mod.rs"]
mod peer;
mod score;

use ggraft::ftype::Ftype;
use ggraft::merge::{CHAT_VECTOR, Options as How, Vector, VocabularyChoices};
use ggraft::pipeline::{self, Plan, Target, Work};
use ggraft::vocab::Options;
use ggraft::vocab::plan::Embeddings;
use ggraft_formats::Result;
use ggraft_formats::Watch;
use peer::Peer;
use score::{Dialogue, Score};
use std::path::{Path, PathBuf};

const WEIGHTS: [f64; 5] = [0.25, 0.5, 0.75, 1.0, 1.25];
/// Tokens in a window of the perplexity.
const WINDOW: usize = 256;

struct Silent;

impl Watch for Silent {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {}
}

fn trio(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trio").join(name)
}

fn target(name: &str) -> Result<Target> {
    Ok(Ftype::parse(name)?.into())
}

fn written(plan: Plan, dir: &Path, name: String) -> Result<(String, PathBuf)> {
    let path = dir.join(format!("{name}.gguf"));
    pipeline::write(&[(plan, path.clone())], &Work { force: true, ..Work::default() }, &Silent)?;
    Ok((name, path))
}

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

/// The models to compare, with their names.
fn models(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let load = |name: &str| pipeline::load(&trio(name), &Options::default());
    let mut models = vec![written(pipeline::convert(load("cp")?, &target("F32")?)?, dir, "CP".into())?];
    let vectors = [Vector { chat: load("chat")?.model, base: load("base")?.model }];
    for (name, choices) in policies() {
        let how = How { vocabulary: choices, ..CHAT_VECTOR.into() };
        let grafted = pipeline::graft(load("cp")?, &vectors, how)?;
        for w in WEIGHTS {
            for plan in grafted.plans(&[vec![w]], &[target("F32")?])? {
                models.push(written(plan, dir, format!("{name} {w}"))?);
            }
        }
    }
    Ok(models)
}

fn row(peer: &'static Peer, name: &str, file: &Path, dialogues: &[Dialogue]) -> String {
    let model = peer.load_model(file, false).expect("llama.cpp loads the file");
    let score = Score::of(&model, dialogues);
    let ppl = |language: &str| {
        let text = std::fs::read_to_string(trio(&format!("{language}_heldout.txt"))).expect("a fixture");
        model.perplexity(&text, WINDOW, 2).expect("llama.cpp reads the text")
    };
    format!("| {name} | {score} | {:.4} | {:.4} |", ppl("korean"), ppl("english"))
}

fn main() {
    let Some(peer) = peer::peer() else { std::process::exit(1) };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let models = models(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let dialogues = score::dialogues(&trio("dialogues_ko.jsonl"));
    println!("| model | {} | ppl KO | ppl EN |", Score::TITLES.join(" | "));
    println!("|---{}|---|---|", "|---".repeat(Score::TITLES.len()));
    for (name, file) in &models {
        println!("{}", row(peer, name, file, &dialogues));
    }
}
