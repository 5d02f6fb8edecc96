//! The vocabulary plan of a merge as a table, and the same for programs.

use crate::merge::{Copied, Summary, VectorSummary};
use ggraft_formats::error::Printable;
use serde_json::{Value as Json, json};
use std::io::Write;

/// Tokens that a line names at most; the JSON names all.
const FEW: usize = 12;

/// The plan as JSON.
pub fn vocabulary_json(summary: &Summary) -> Json {
    json!({
        "template": summary.template,
        "markers": summary.markers,
        "added": summary.added,
        "vectors": summary.vectors.iter().map(vector_json).collect::<Vec<_>>(),
    })
}

fn vector_json(v: &VectorSummary) -> Json {
    let class = |(class, c): &(crate::vocab::plan::Class, crate::vocab::plan::Count)| {
        json!({
            "class": class.words(), "rows": c.rows,
            "kept": c.kept, "delta": c.added, "lerp": c.lerped, "copied": c.copied,
        })
    };
    let copied = |c: &Copied| json!({ "token": c.token, "id": c.id, "embedding": c.embedding, "head": c.head, "reason": c.why });
    json!({
        "embeddings": v.policy.word(),
        "reason": v.why,
        "classes": v.counts.iter().map(class).collect::<Vec<_>>(),
        "chat_only": v.chat_only,
        "copied": v.copied.iter().map(copied).collect::<Vec<_>>(),
    })
}

/// The plan as text.
pub(super) fn write_vocabulary(out: &mut impl Write, summary: &Summary) -> std::io::Result<()> {
    for v in &summary.vectors {
        writeln!(out, "vocabulary: --embeddings {} ({})", v.policy.word(), v.why)?;
        writeln!(
            out,
            "  {:<24} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "rows of CP", "rows", "kept", "delta", "lerp", "copied"
        )?;
        for (class, c) in &v.counts {
            let words = class.words();
            writeln!(
                out,
                "  {words:<24} {:>8} {:>8} {:>8} {:>8} {:>8}",
                c.rows, c.kept, c.added, c.lerped, c.copied
            )?;
        }
        if v.chat_only > 0 {
            writeln!(out, "  {:<24} {:>8} (no row in the output)", "chat only", v.chat_only)?;
        }
        for c in v.copied.iter().take(FEW) {
            let where_ = match (c.embedding, c.head) {
                (true, true) => "",
                (true, false) => " in the embedding",
                (false, _) => " in the head",
            };
            writeln!(out, "copied from chat{where_}: '{}' ({}): {}", Printable(&c.token), c.id, c.why)?;
        }
        if let Some(more) = v.copied.len().checked_sub(FEW).filter(|n| *n > 0) {
            writeln!(out, "copied from chat: {more} more")?;
        }
    }
    if !summary.markers.is_empty() {
        let markers = summary.markers.join(" ");
        writeln!(out, "chat template: {}; its markers: {}", summary.template, Printable(&markers))?;
    }
    Ok(())
}
