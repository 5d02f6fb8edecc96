//! How well a model answers the held-out dialogues: whether it stops, repeats itself, keeps to the language and
//! remembers what it was told. The measures are those of `fixtures/trio/README.md`.

use crate::peer::{Model, Piece};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// The most tokens of an answer.
const PATIENCE: usize = 64;

/// A dialogue up to the answer that is asked for.
pub struct Dialogue {
    pub id: String,
    /// Who says what.
    pub turns: Vec<(String, String)>,
    /// What the answer must name, as far as it is asked for.
    name: Option<String>,
    food: Option<String>,
    pub reference: String,
}

/// The dialogues of a file.
pub fn dialogues(path: &Path) -> Vec<Dialogue> {
    let text = std::fs::read_to_string(path).expect("a fixture");
    text.lines().map(|line| dialogue(&serde_json::from_str(line).expect("a dialogue"))).collect()
}

fn dialogue(json: &Value) -> Dialogue {
    let text = |v: &Value| v.as_str().map(String::from);
    let turn = |m: &Value| {
        let part = |key: &str| text(&m[key]).unwrap_or_default();
        (part("role"), part("content"))
    };
    Dialogue {
        id: text(&json["id"]).unwrap_or_default(),
        turns: json["messages"].as_array().into_iter().flatten().map(turn).collect(),
        name: text(&json["expect"]["name"]),
        food: text(&json["expect"]["food"]),
        reference: text(&json["reference"]).unwrap_or_default(),
    }
}

impl Dialogue {
    /// In the trio's chat template, up to where the answer begins.
    fn prompt(&self) -> String {
        let turn = |(role, text): &(String, String)| format!("<|im_start|>{role}\n{text}<|im_end|>\n");
        self.turns.iter().map(turn).collect::<String>() + "<|im_start|>assistant\n"
    }

    pub fn asks_for_name_and_food(&self) -> bool {
        self.name.is_some() && self.food.is_some()
    }
}

/// What a model said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    /// Whether it ended its turn.
    pub stop: bool,
    /// Whether four tokens stand together at least three times.
    pub repeat: bool,
}

impl Answer {
    /// Has `model` answer, greedily.
    pub fn of(model: &Model, dialogue: &Dialogue) -> Answer {
        let prompt = model.tokenize(&dialogue.prompt(), true, true);
        let tokens = model.generate(&prompt, PATIENCE, 1).expect("llama.cpp answers");
        let text = String::from_utf8_lossy(&model.detokenize(&tokens, Piece::Text)).trim().to_string();
        Answer { text, stop: tokens.len() < PATIENCE, repeat: repeats(&tokens) }
    }

    pub fn to_json(&self, id: &str) -> Value {
        json!({"id": id, "stop": self.stop, "repeat": self.repeat, "answer": self.text})
    }

    pub fn from_json(json: &Value) -> Answer {
        Answer {
            text: json["answer"].as_str().expect("an answer").to_string(),
            stop: json["stop"].as_bool().expect("true or false"),
            repeat: json["repeat"].as_bool().expect("true or false"),
        }
    }

    /// What is true of it, in the order of `TITLES`; `None` where it was not asked for.
    fn judged(&self, d: &Dialogue) -> [Option<bool>; 8] {
        let korean = self.text.chars().any(|c| ('가'..='힣').contains(&c))
            && !self.text.chars().any(|c| c.is_ascii_alphabetic());
        let named = |wanted: &Option<String>| wanted.as_ref().map(|w| self.text.contains(w.as_str()));
        let (name, food) = (named(&d.name), named(&d.food));
        let all = name.unwrap_or(true) && food.unwrap_or(true);
        let clean = all && self.stop && korean && !self.repeat;
        let exact = self.is_exact(d);
        [Some(self.stop), Some(self.repeat), Some(korean), name, food, Some(all), Some(clean), Some(exact)]
    }

    /// Whether it is the reference, and ends there.
    pub fn is_exact(&self, dialogue: &Dialogue) -> bool {
        self.stop && self.text == dialogue.reference
    }
}

/// Shares of the dialogues in percent, in the order of `TITLES`.
pub struct Score {
    pub shares: [f64; 8],
}

impl Score {
    pub const TITLES: [&str; 8] =
        ["stop", "repeat", "in Korean", "name", "food", "all asked", "clean", "exact"];

    /// The shares among the answers to these dialogues.
    pub fn of<'a>(answered: impl IntoIterator<Item = (&'a Dialogue, &'a Answer)>) -> Score {
        let (mut hits, mut asked) = ([0u32; 8], [0u32; 8]);
        for (dialogue, answer) in answered {
            for (i, told) in answer.judged(dialogue).into_iter().enumerate() {
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

fn repeats(tokens: &[i32]) -> bool {
    let mut seen: HashMap<&[i32], u32> = HashMap::new();
    tokens.windows(4).any(|four| {
        let n = seen.entry(four).or_default();
        *n += 1;
        *n >= 3
    })
}
