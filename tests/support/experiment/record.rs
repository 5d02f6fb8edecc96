//! What the models of the experiment said, every answer: `fixtures/goldens/experiment.jsonl`. The tables of
//! `docs/chat-vector.md` are computed from it, and a test asks llama.cpp some of the same again.

use super::arms::{Model, trio};
use super::score::{Answer, Dialogue, Score};
use crate::peer::{self, Peer};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Tokens in a window of the perplexity.
pub const WINDOW: usize = 256;

/// One model as one type.
pub struct Run {
    pub arm: String,
    pub ftype: String,
    /// Of plain Korean and English.
    pub perplexity: [f64; 2],
    /// To the dialogues, in their order.
    pub answers: Vec<Answer>,
}

pub struct Record {
    /// The kernels of llama.cpp that computed it.
    pub kernels: String,
    pub runs: Vec<Run>,
}

impl Run {
    /// Has the peer run the model on all.
    pub fn of(peer: &'static Peer, model: &Model, dialogues: &[Dialogue]) -> Run {
        let loaded = peer.load_model(&model.path, false).expect("llama.cpp loads the file");
        Run {
            arm: model.arm.clone(),
            ftype: model.ftype.to_string(),
            perplexity: ["korean", "english"].map(|language| perplexity(&loaded, language)),
            answers: dialogues.iter().map(|d| Answer::of(&loaded, d)).collect(),
        }
    }

    pub fn score(&self, dialogues: &[Dialogue]) -> Score {
        Score::of(dialogues.iter().zip(&self.answers))
    }
}

/// The perplexity of the trio's plain text in a language.
pub fn perplexity(model: &peer::Model, language: &str) -> f64 {
    let text = std::fs::read_to_string(trio(&format!("{language}_heldout.txt"))).expect("a fixture");
    let exact = model.perplexity(&text, WINDOW, 1).expect("llama.cpp reads the text");
    (exact * 1e4).round() / 1e4
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/experiment.jsonl")
}

impl Record {
    pub fn read() -> Record {
        let text = std::fs::read_to_string(file()).expect("a fixture");
        let mut lines = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
        let head = lines.next().expect("a first line");
        let mut runs: Vec<Run> = Vec::new();
        for line in lines {
            let text = |key: &str| line[key].as_str().map(String::from);
            match (text("model"), text("type")) {
                (Some(arm), Some(ftype)) => {
                    let perplexity = ["ko", "en"].map(|l| line["perplexity"][l].as_f64().expect("a number"));
                    runs.push(Run { arm, ftype, perplexity, answers: Vec::new() });
                }
                _ => runs.last_mut().expect("a model").answers.push(Answer::from_json(&line)),
            }
        }
        Record { kernels: head["kernels"].as_str().expect("text").to_string(), runs }
    }

    pub fn write(&self, dialogues: &[Dialogue]) {
        let mut out = format!("{}\n", json!({"by": "llama.cpp v0.5.0", "kernels": self.kernels}));
        for run in &self.runs {
            let [ko, en] = run.perplexity;
            let head = json!({"model": run.arm, "type": run.ftype, "perplexity": {"ko": ko, "en": en}});
            _ = writeln!(out, "{head}");
            for (dialogue, answer) in dialogues.iter().zip(&run.answers) {
                _ = writeln!(out, "{}", answer.to_json(&dialogue.id));
            }
        }
        std::fs::write(file(), out).expect("the fixture is writable");
    }

    pub fn run(&self, arm: &str, ftype: &str) -> &Run {
        let found = self.runs.iter().find(|r| r.arm == arm && r.ftype == ftype);
        found.unwrap_or_else(|| panic!("the record has no {arm} as {ftype}"))
    }
}
