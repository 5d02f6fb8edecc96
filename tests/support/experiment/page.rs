//! The parts of `docs/chat-vector.md` and its Korean sister that a run writes: the table and two dialogues. They
//! stand between `<!-- begin NAME -->` and `<!-- end NAME -->`.

use super::arms::{ARMS, CP, MERGED, TYPES};
use super::record::Record;
use super::score::{Answer, Dialogue};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The words of a language.
pub struct Words {
    pub file: &'static str,
    /// The names of `ARMS`.
    arms: [&'static str; 3],
    /// The heads of the table: the model, the type, the shares of `Score`, and two perplexities.
    heads: [&'static str; 12],
    roles: [&'static str; 3],
    /// An answer that ended its turn, one that did not, and what was expected.
    stopped: &'static str,
    endless: &'static str,
    expected: &'static str,
}

pub const ENGLISH: Words = Words {
    file: "chat-vector.md",
    arms: ["CP alone", "CP + chat vector", "the same with `--embeddings shared`"],
    heads: [
        "model",
        "type",
        "stops",
        "repeats",
        "in Korean",
        "name",
        "food",
        "all asked",
        "clean",
        "exact",
        "ppl Korean",
        "ppl English",
    ],
    roles: ["system", "user", "bot"],
    stopped: "stops",
    endless: "does not stop",
    expected: "expected",
};

pub const KOREAN: Words = Words {
    file: "chat-vector.ko.md",
    arms: ["CP", "CP + 챗 벡터", "같은 병합, `--embeddings shared`"],
    heads: [
        "모델",
        "타입",
        "멈춤",
        "반복",
        "한국어",
        "이름",
        "음식",
        "모두 기억",
        "모두 충족",
        "정답 일치",
        "한국어 PPL",
        "영어 PPL",
    ],
    roles: ["시스템", "사용자", "봇"],
    stopped: "멈춤",
    endless: "멈추지 않음",
    expected: "기대한 답",
};

impl Words {
    pub fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(self.file)
    }

    /// Every part by its name.
    pub fn parts(&self, record: &Record, dialogues: &[Dialogue]) -> [(&'static str, String); 3] {
        [
            ("table", self.table(record, dialogues)),
            ("good", self.dialogue(record, dialogues, good(record, dialogues))),
            ("first", self.dialogue(record, dialogues, 0)),
        ]
    }

    fn table(&self, record: &Record, dialogues: &[Dialogue]) -> String {
        let mut out = format!("| {} |\n|---|---{}|\n", self.heads.join(" | "), "|---:".repeat(10));
        for (arm, name) in ARMS.iter().zip(self.arms) {
            for ftype in TYPES {
                let run = record.run(arm, ftype);
                let [ko, en] = run.perplexity;
                _ = writeln!(out, "| {name} | {ftype} | {} | {ko:.3} | {en:.3} |", run.score(dialogues));
            }
        }
        out
    }

    /// What was said, and what CP alone and the merged model answer, side by side.
    fn dialogue(&self, record: &Record, dialogues: &[Dialogue], index: usize) -> String {
        let (dialogue, mut out) = (&dialogues[index], String::new());
        for (role, text) in &dialogue.turns {
            let role = match role.as_str() {
                "system" => self.roles[0],
                "user" => self.roles[1],
                _ => self.roles[2],
            };
            _ = writeln!(out, "> **{role}** {text}  ");
        }
        _ = writeln!(out, ">\n> **{}** {}\n", self.expected, dialogue.reference);
        _ = writeln!(out, "| | {} | {} |\n|---|---|---|", self.arms[0], self.arms[1]);
        for ftype in TYPES {
            let cell = |arm| self.cell(&record.run(arm, ftype).answers[index]);
            _ = writeln!(out, "| {ftype} | {} | {} |", cell(CP), cell(MERGED));
        }
        out
    }

    /// An answer as it is; line ends are shown as ⏎.
    fn cell(&self, answer: &Answer) -> String {
        let text = answer.text.replace('\n', "⏎").replace('`', "'").replace('|', "\\|");
        let end = if answer.stop { self.stopped } else { self.endless };
        format!("`{text}` *({end})*")
    }
}

/// The first dialogue that asks for a name and a food and that the merged model answers exactly as every type.
fn good(record: &Record, dialogues: &[Dialogue]) -> usize {
    let exact = |i: usize| {
        let told = |ftype: &str| record.run(MERGED, ftype).answers[i].is_exact(&dialogues[i]);
        dialogues[i].asks_for_name_and_food() && TYPES.into_iter().all(told)
    };
    (0..dialogues.len()).find(|i| exact(*i)).expect("a dialogue that is answered")
}

/// `page` with this text in the part of that name.
pub fn with_part(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (head, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no '{begin}'"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("no '{end}'"));
    format!("{head}{begin}\n{text}\n{end}{tail}")
}
