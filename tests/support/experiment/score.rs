//! How well a model answers the held-out dialogues: whether it stops, repeats itself, keeps to the language and
//! remembers what it was told.

use crate::peer::{Model, Piece};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// The most tokens of an answer.
const PATIENCE: usize = 64;

/// A dialogue up to the answer that is asked for.
pub struct Dialogue {
    prompt: String,
    /// What the answer must name, as far as it is asked for.
    name: Option<String>,
    food: Option<String>,
    reference: String,
}

/// The dialogues of a file, in the trio's chat template.
pub fn dialogues(path: &Path) -> Vec<Dialogue> {
    let text = std::fs::read_to_string(path).expect("a fixture");
    text.lines().map(|line| dialogue(&serde_json::from_str(line).expect("a dialogue"))).collect()
}

fn dialogue(json: &Value) -> Dialogue {
    let text = |v: &Value| v.as_str().map(String::from);
    let turn = |m: &Value| {
        let part = |key: &str| m[key].as_str().unwrap_or_default().to_string();
        format!("<|im_start|>{}\n{}<|im_end|>\n", part("role"), part("content"))
    };
    let turns: String = json["messages"].as_array().into_iter().flatten().map(turn).collect();
    Dialogue {
        prompt: turns + "<|im_start|>assistant\n",
        name: text(&json["expect"]["name"]),
        food: text(&json["expect"]["food"]),
        reference: text(&json["reference"]).unwrap_or_default(),
    }
}

/// Shares of the dialogues in percent.
pub struct Score {
    shares: [f64; 8],
}

impl Score {
    pub const TITLES: [&str; 8] =
        ["stop", "repeat", "in Korean", "name", "food", "all asked", "clean", "exact"];

    /// Has `model` answer the dialogues, greedily.
    pub fn of(model: &Model, dialogues: &[Dialogue]) -> Score {
        let (mut hits, mut asked) = ([0u32; 8], [0u32; 8]);
        for d in dialogues {
            for (i, told) in judge(model, d).into_iter().enumerate() {
                if let Some(hit) = told {
                    asked[i] += 1;
                    hits[i] += u32::from(hit);
                }
            }
        }
        let share = |i: usize| 100.0 * f64::from(hits[i]) / f64::from(asked[i].max(1));
        Score { shares: std::array::from_fn(share) }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares: Vec<String> = self.shares.iter().map(|s| format!("{s:.1}")).collect();
        f.write_str(&shares.join(" | "))
    }
}

/// What is true of an answer, in the order of `TITLES`; `None` where it was not asked for.
fn judge(model: &Model, d: &Dialogue) -> [Option<bool>; 8] {
    let prompt = model.tokenize(&d.prompt, true, true);
    let tokens = model.generate(&prompt, PATIENCE, 1).expect("llama.cpp answers");
    let answer = String::from_utf8_lossy(&model.detokenize(&tokens, Piece::Text)).trim().to_string();
    let stop = tokens.len() < PATIENCE;
    let repeat = repeats(&tokens);
    let korean = answer.chars().any(|c| ('가'..='힣').contains(&c))
        && !answer.chars().any(|c| c.is_ascii_alphabetic());
    let named = |wanted: &Option<String>| wanted.as_ref().map(|w| answer.contains(w.as_str()));
    let (name, food) = (named(&d.name), named(&d.food));
    let all = name.unwrap_or(true) && food.unwrap_or(true);
    let clean = all && stop && korean && !repeat;
    let exact = stop && answer == d.reference;
    [Some(stop), Some(repeat), Some(korean), name, food, Some(all), Some(clean), Some(exact)]
}

/// Whether four tokens stand together at least three times.
fn repeats(tokens: &[i32]) -> bool {
    let mut seen: HashMap<&[i32], u32> = HashMap::new();
    tokens.windows(4).any(|four| {
        let n = seen.entry(four).or_default();
        *n += 1;
        *n >= 3
    })
}
