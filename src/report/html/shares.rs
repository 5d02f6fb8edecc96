//! Where the bytes of an output are and where it lost most: by class of tensor, by layer, and the worst tensors.

use super::super::plan::size;
use super::heat::{bars, percent};
use super::text::{Cell, block, figure, number, table};
use super::{stored, told};
use crate::arrange::Arrange;
use crate::output::plan::{Plan, Step};
use crate::roles::place;
use std::collections::BTreeMap;

/// How many of the worst are told.
const WORST: usize = 10;

/// Bytes and weights of some tensors.
#[derive(Default)]
struct Share {
    bytes: u64,
    weights: u64,
    tensors: usize,
}

impl Share {
    fn add(&mut self, step: &Step) {
        self.bytes += step.bytes;
        self.weights += step.shape.elements();
        self.tensors += 1;
    }

    fn bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.weights.max(1) as f64
    }

    fn cells(&self) -> [Cell; 3] {
        [number(self.tensors), number(size(self.bytes)), number(format!("{:.2}", self.bits()))]
    }
}

/// What a tensor is part of, by its role.
fn class(role: &str) -> &'static str {
    match role {
        r if r.contains("norm") => "norms",
        r if r.contains("token_embd") || r.contains("tok_") || r.starts_with("output") => {
            "embedding and head"
        }
        r if r.contains("attn") => "attention",
        r if r.contains("exp") => "experts",
        r if r.contains("ffn") => "feed-forward",
        r if r.contains("ssm") || r.contains("shortconv") || r.contains("time_mix") => "recurrent",
        _ => "other",
    }
}

/// Size and bits per weight by dtype, class and layer.
pub fn shares(out: &mut String, plan: &Plan) {
    let (mut dtypes, mut classes) = (BTreeMap::<String, Share>::new(), BTreeMap::<&str, Share>::new());
    let mut layers = BTreeMap::<u64, Share>::new();
    for step in &plan.steps {
        let (layer, role) = place(&step.name);
        dtypes.entry(step.to.to_string()).or_default().add(step);
        classes.entry(class(&role)).or_default().add(step);
        if let Some(layer) = layer {
            layers.entry(layer).or_default().add(step);
        }
    }
    block(out, "h3", "Size by dtype");
    let mut rows: Vec<(String, u64, String)> = dtypes
        .into_iter()
        .map(|(dtype, s)| (dtype, s.bytes, format!("{} in {} tensors", size(s.bytes), s.tensors)))
        .collect();
    rows.arrange_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    figure(out, &bars("Size by dtype", &rows), "The bytes of all tensors of a dtype.");
    block(out, "h3", "Size by part of the model");
    let rows = classes
        .into_iter()
        .map(|(class, share)| [class.into()].into_iter().chain(share.cells()).collect::<Vec<Cell>>());
    table(
        out,
        "Size by part of the model",
        &["part", "tensors", "size", "bits per weight"],
        &rows.collect::<Vec<_>>(),
    );
    if !layers.is_empty() {
        out.push_str("<details>\n");
        block(out, "summary", &format!("Size of each of the {} layers", layers.len()));
        let rows = layers
            .into_iter()
            .map(|(layer, share)| [number(layer)].into_iter().chain(share.cells()).collect::<Vec<Cell>>());
        table(
            out,
            "Size by layer",
            &["layer", "tensors", "size", "bits per weight"],
            &rows.collect::<Vec<_>>(),
        );
        out.push_str("</details>\n");
    }
}

/// The tensors with the largest relative error.
pub fn worst(out: &mut String, plan: &Plan) {
    let error = |step: &Step| stored(step)?.relative().filter(|e| e.is_finite() && *e > 0.0);
    let mut worst: Vec<(f64, &Step)> =
        plan.steps.iter().filter_map(|step| Some((error(step)?, step))).collect();
    if worst.is_empty() {
        return;
    }
    worst.arrange_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    worst.truncate(WORST);
    block(out, "h3", "The largest errors");
    let rows = worst.into_iter().map(|(error, step)| {
        let cosine = stored(step).and_then(|f| f.cosine());
        vec![
            step.name.clone().into(),
            step.to.to_string().into(),
            number(size(step.bytes)),
            number(percent(error)),
            number(told(cosine, |x| format!("{x:.6}"))),
        ]
    });
    table(
        out,
        "The tensors with the largest relative error",
        &["tensor", "dtype", "size", "error", "cosine"],
        &rows.collect::<Vec<_>>(),
    );
}
