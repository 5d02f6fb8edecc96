//! The chat vector as an adapter of some ranks that llama.cpp puts on CP: what each keeps of the vector and how well CP then
//! answers. `fixtures/goldens/ranks.json` has it, and `docs/adapters.md` shows it.

use super::arms::{self, Model, Worn};
use super::record::perplexity;
use super::score::{Answer, Dialogue, Score};
use crate::peer::Peer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub const RANKS: [usize; 6] = [4, 8, 16, 32, 64, 128];

/// The columns of `Score` that the table shows.
const SHOWN: [&str; 3] = ["stop", "clean", "exact"];

pub fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/ranks.json")
}

/// The answers of CP in F32 with the adapter, to some of the dialogues.
pub fn answers<'a>(
    peer: &'static Peer,
    cp: &Model,
    worn: &Worn,
    dialogues: impl Iterator<Item = &'a Dialogue>,
) -> Vec<Answer> {
    let model = loaded(peer, cp, worn);
    dialogues.map(|dialogue| Answer::of(&model, dialogue)).collect()
}

fn loaded(peer: &'static Peer, cp: &Model, worn: &Worn) -> crate::peer::Model {
    let mut model = peer.load_model(&cp.path, false).expect("llama.cpp loads the file");
    model.wear(&worn.path).expect("llama.cpp takes the adapter");
    model
}

/// Runs every rank, and writes the record.
pub fn record(peer: &'static Peer, dialogues: &[Dialogue], dir: &Path) {
    let cp = &arms::alone(&["F32"], dir).expect("CP is written")[0];
    let one = |rank: usize| {
        let worn = arms::worn(rank, dir).expect("the adapter is written");
        let answers = answers(peer, cp, &worn, dialogues.iter());
        let shares = Score::of(dialogues.iter().zip(&answers)).shares;
        let bytes = std::fs::metadata(&worn.path).expect("it was written").len();
        let korean = perplexity(&loaded(peer, cp, &worn), "korean");
        let run = json!({"rank": rank, "kept": (worn.kept * 1e4).round() / 1e4, "bytes": bytes, "shares":
            shares.map(|share| (share * 10.0).round() / 10.0), "perplexity": korean});
        eprintln!("{run}");
        run
    };
    let lines: Vec<String> = RANKS.into_iter().map(|rank| format!("  {}", one(rank))).collect();
    std::fs::write(file(), format!("[\n{}\n]\n", lines.join(",\n"))).expect("the fixture is writable");
}

/// The table of the page.
pub fn table(record: &Value) -> String {
    let mut out = String::from(
        "| rank | file | kept of the vector | stops | clean | exact | ppl Korean |\n|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for run in record.as_array().into_iter().flatten() {
        let share = |title: &&str| {
            let i = Score::TITLES.iter().position(|t| t == title).expect("a title");
            format!("{:.1}", run["shares"][i].as_f64().expect("a share"))
        };
        let number = |key: &str| run[key].as_f64().expect("a number");
        out += &format!(
            "| {} | {:.2} MiB | {:.1} % | {} | {:.3} |\n",
            run["rank"],
            number("bytes") / 1048576.0,
            number("kept") * 100.0,
            SHOWN.iter().map(share).collect::<Vec<_>>().join(" | "),
            number("perplexity")
        );
    }
    out
}
