//! The output runs in llama.cpp, and the chat vector does what it is for: CP never ends its turn, the merge does.

mod peer;
#[path = "support/run.rs"]
mod run;

use ggraft::ftype::FTYPES;
use peer::{Peer, Piece};
use run::{ggraft, trio};
use serde_json::Value;
use std::path::Path;

/// Tokens that a model may take for an answer.
const PATIENCE: usize = 64;

/// The first Korean dialogues of the trio, in its chat template, ready for the answer.
fn prompts(count: usize) -> Vec<String> {
    let text = std::fs::read_to_string(trio("dialogues_ko.jsonl")).unwrap();
    let prompt = |line: &str| {
        let dialogue: Value = serde_json::from_str(line).unwrap();
        let turns = dialogue["messages"].as_array().unwrap().iter().map(|m| {
            format!(
                "<|im_start|>{}\n{}<|im_end|>\n",
                m["role"].as_str().unwrap(),
                m["content"].as_str().unwrap()
            )
        });
        turns.collect::<String>() + "<|im_start|>assistant\n"
    };
    text.lines().take(count).map(prompt).collect()
}

/// How many of the dialogues the model answers to the end; every answer is text.
fn turns_ended(peer: &'static Peer, file: &Path, prompts: &[String]) -> usize {
    let model = peer.load_model(file, false).unwrap();
    let ended = prompts.iter().filter(|prompt| {
        let answer = model.generate(&model.tokenize(prompt, true, true), PATIENCE, 1).unwrap();
        assert!(!model.detokenize(&answer, Piece::Text).is_empty());
        answer.len() < PATIENCE
    });
    ended.count()
}

#[test]
fn the_chat_vector_ends_its_turn_and_cp_alone_does_not() {
    let Some(peer) = peer::peer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let merge = |ftype: &str| {
        let out = path(&format!("merged-{ftype}.gguf"));
        let models = ["--base", &base, "--chat", &chat, "--onto", &cp, "-o", out.to_str().unwrap()];
        ggraft([&["merge", "--type", ftype, "-q"], &models[..]].concat()).ok();
        out
    };
    let alone = path("cp.gguf");
    ggraft(["convert", &cp, "--type", "f32", "-q", "-o", alone.to_str().unwrap()]).ok();
    let prompts = prompts(20);
    assert_eq!(turns_ended(peer, &alone, &prompts), 0);
    for (ftype, least) in [("f32", 18), ("Q8_0", 18), ("Q4_K_M", 14)] {
        let ended = turns_ended(peer, &merge(ftype), &prompts);
        println!("{ftype}: {ended} of {} turns ended", prompts.len());
        assert!(ended >= least, "{ftype}: {ended} of {}", prompts.len());
    }
}

#[test]
fn files_of_names_that_llama_quantize_has_not_are_loaded_and_speak() {
    let Some(peer) = peer::peer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(trio("korean_heldout.txt")).unwrap();
    let text: String = text.chars().take(3000).collect();
    let perplexity = |ftype: &str, more: &[&str]| {
        let out = dir.path().join(format!("{ftype}.gguf"));
        let words = ["--type", ftype, "-q", "-o", out.to_str().unwrap()];
        ggraft([&["convert", trio("cp").to_str().unwrap()], &words[..], more].concat()).ok();
        peer.load_model(&out, false).unwrap().perplexity(&text, 256, 2).unwrap()
    };
    let whole = perplexity("F32", &[]);
    for ftype in FTYPES.iter().filter(|f| f.apart) {
        let weighed: &[&str] = if ftype.needs_imatrix { &["--importance", "weights"] } else { &[] };
        let found = perplexity(ftype.name, weighed);
        println!("{ftype}: {found} against {whole}");
        assert!(found < whole * 1.5, "{ftype}: {found} against {whole}");
    }
}
