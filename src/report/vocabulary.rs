//! The vocabulary plan of a merge as a table, and the same for programs.

use crate::merge::tokens::matching::{Class, Count};
use crate::merge::{Copied, Summary, VectorSummary};
use ggraft_formats::error::Printable;
use serde_json::{Value as Json, json};
use std::fmt::{Display, Write};

/// Tokens that a line names at most; the JSON names all.
const FEW: usize = 12;

/// What the columns of the counts mean.
const LEGEND: &str = "kept: onto's row; delta: vector added; lerp: mixed with chat's; copied: chat's";

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
    let class = |(class, c): &(Class, Count)| {
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
        "head_classes": v.head_counts.as_ref().map(|head| head.iter().map(class).collect::<Vec<_>>()),
        "chat_only": v.chat_only,
        "copied": v.copied.iter().map(copied).collect::<Vec<_>>(),
    })
}

/// The plan as text.
pub(super) fn write_vocabulary(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    _ = write(&mut out, summary);
    out
}

fn write(out: &mut String, summary: &Summary) -> std::fmt::Result {
    for v in &summary.vectors {
        writeln!(out, "vocabulary: --embeddings {} ({})", v.policy.word(), v.why)?;
        match &v.head_counts {
            None => write_counts(out, "rows of onto", &v.counts)?,
            Some(head) => {
                write_counts(out, "rows of the embedding", &v.counts)?;
                write_counts(out, "rows of the head", head)?;
            }
        }
        writeln!(out, "  {LEGEND}")?;
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
        writeln!(
            out,
            "chat template: {}; its markers: {}",
            Printable(&summary.template),
            Printable(&markers)
        )?;
    }
    Ok(())
}

fn write_counts(out: &mut String, title: &str, counts: &[(Class, Count)]) -> std::fmt::Result {
    let mut line = |first: &str, [a, b, c, d, e]: [&dyn Display; 5]| {
        writeln!(out, "  {first:<24} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}")
    };
    line(title, [&"rows", &"kept", &"delta", &"lerp", &"copied"])?;
    for (class, c) in counts {
        line(class.words(), [&c.rows, &c.kept, &c.added, &c.lerped, &c.copied])?;
    }
    Ok(())
}
