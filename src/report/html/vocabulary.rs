//! The vocabulary of the outputs: which rows take the vector, samples of tokens, and the chat template at work.

use super::super::finished::Finished;
use super::super::modelfile;
use super::super::vocabulary_json;
use super::text::{Cell, block, heading, list, number, table};
use crate::merge::tokens::matching::{Class, Count};
use crate::merge::{Summary, VectorSummary};
use crate::vocab::Tokens;
use ggraft_formats::Metadata;

/// How many tokens stand for all.
const SAMPLES: usize = 12;

/// The vocabularies of the outputs, those that are the same once.
pub fn common(out: &mut String, finished: &Finished<'_>) {
    let mut seen = Vec::new();
    for (i, output) in finished.outputs.iter().enumerate() {
        // Models without token tables have no vectors there.
        let summary = output.plan.vocabulary.as_ref().filter(|summary| !summary.vectors.is_empty());
        let told = summary.map(|summary| vocabulary_json(summary).to_string());
        let is_new = told.is_some() && !seen.contains(&told);
        if let (Some(summary), true) = (summary, is_new) {
            heading(out, "h2", &format!("vocabulary-{}", i + 1), "Vocabulary");
            vectors(out, summary);
            seen.push(told);
        }
    }
    if let Some(output) = finished.outputs.first() {
        tokens(out, output.plan.metadata());
        dialogue(out, output.plan.metadata());
    }
}

fn vectors(out: &mut String, summary: &Summary) {
    for v in &summary.vectors {
        block(out, "p", &format!("--embeddings {}: {}", v.policy.word(), v.why));
        counts(
            out,
            if v.head_counts.is_some() { "rows of the embedding" } else { "rows of onto" },
            &v.counts,
        );
        if let Some(head) = &v.head_counts {
            counts(out, "rows of the head", head);
        }
        of_chat(out, v);
    }
    if !summary.markers.is_empty() {
        let markers = summary.markers.join(" ");
        block(out, "p", &format!("Chat template: {}; its markers: {markers}", summary.template));
    }
}

fn counts(out: &mut String, what: &str, counts: &[(Class, Count)]) {
    let rows = counts.iter().map(|(class, c)| {
        let figures = [c.rows, c.kept, c.added, c.lerped, c.copied];
        [class.words().into()].into_iter().chain(figures.map(number)).collect::<Vec<Cell>>()
    });
    let caption = format!("What became of the {what}");
    table(out, &caption, &["tokens", "rows", "kept", "delta", "lerp", "copied"], &rows.collect::<Vec<_>>());
}

fn of_chat(out: &mut String, v: &VectorSummary) {
    if v.chat_only > 0 {
        block(out, "p", &format!("Tokens of chat without a row in the output: {}", v.chat_only));
    }
    let copied = v.copied.iter().map(|c| format!("'{}' ({}): {}", c.token, c.id, c.why));
    list(out, "Copied from chat", &copied.collect::<Vec<_>>());
}

/// Tokens from all over the vocabulary.
fn tokens(out: &mut String, metadata: &Metadata) {
    let Some(tokens) = Tokens::of(metadata).ok().flatten().filter(|tokens| !tokens.is_empty()) else {
        return;
    };
    block(out, "h3", &format!("Some of {} tokens", tokens.len()));
    let ids = (0..SAMPLES).map(|i| i * tokens.len() / SAMPLES).collect::<Vec<_>>();
    let mut told: Vec<usize> = ids;
    for end in ["bos", "eos", "eot"] {
        let id = metadata.u64(&format!("tokenizer.ggml.{end}_token_id"));
        told.extend(id.and_then(|id| usize::try_from(id).ok()).filter(|id| *id < tokens.len()));
    }
    told.sort_unstable();
    told.dedup();
    let sample = |id: &usize| format!("{id} '{}'", tokens.tokens[*id]);
    block(out, "p", &told.iter().map(sample).collect::<Vec<_>>().join(" · "));
}

fn dialogue(out: &mut String, metadata: &Metadata) {
    if let Some(text) = modelfile::example(metadata) {
        block(out, "h3", "The chat template, with two turns");
        block(out, "pre", &text);
    }
}
