//! The parts of a tensor that a rule of the weights may name, elements that follow each other: the experts of a stack,
//! and queries, keys and values that are kept in one. A part goes by GGUF's names for such tensors where they stand
//! alone, and by the names that the checkpoint has for it; so does a tensor that is whole.

use crate::arch::Trainer;
use crate::roles;
use ggraft_formats::{Metadata, Tensor};

/// A tensor with all names that its parts go by.
pub struct Named {
    /// GGUF's name of the whole.
    pub name: String,
    /// At least one.
    pub parts: Vec<Part>,
}

/// Some elements of a tensor.
#[derive(Default)]
pub struct Part {
    /// The element behind the last one.
    pub end: u64,
    /// GGUF's names of this part alone.
    pub gguf: Vec<String>,
    /// The checkpoint's names.
    pub trainer: Vec<String>,
}

impl Named {
    /// A tensor without parts, of which no more is known than its name.
    pub fn plain(name: &str) -> Named {
        Named { name: name.to_string(), parts: vec![Part { end: u64::MAX, ..Part::default() }] }
    }

    /// A tensor of a model with this metadata.
    pub fn of(tensor: &Tensor, trainer: &Trainer, metadata: &Metadata) -> Named {
        let name = &tensor.name;
        let names = trainer.names(name);
        let (elements, row) = (tensor.shape().elements(), tensor.shape().row());
        let each = roles::expert_rows(name, tensor.shape().ne()).map(|rows| rows.saturating_mul(row));
        let parts = if let Some(each) = each.filter(|each| *each > 0) {
            let part = |e: u64| Part {
                end: (e + 1) * each,
                gguf: vec![name.replace("_exps.", &format!(".{e}."))],
                trainer: names.iter().map(|n| n.replace("{e}", &e.to_string())).collect(),
            };
            (0..elements / each).map(part).collect()
        } else if let Some(ends) = heads(tensor, metadata) {
            let one = |(end, kind): (u64, &str)| Part {
                end,
                gguf: vec![name.replace("attn_qkv.", &format!("attn_{kind}."))],
                trainer: names.clone(),
            };
            ends.into_iter().zip(["q", "k", "v"]).map(one).collect()
        } else {
            vec![Part { end: elements, gguf: Vec::new(), trainer: names }]
        };
        Named { name: name.clone(), parts }
    }
}

/// Where queries, keys and values end in a tensor that holds them all; none, if it is another one.
fn heads(tensor: &Tensor, metadata: &Metadata) -> Option<[u64; 3]> {
    if !tensor.name.contains("attn_qkv.") {
        return None;
    }
    let arch = metadata.str("general.architecture")?;
    let layer = usize::try_from(roles::layer(&tensor.name)?).ok()?;
    let number = |key: &str| {
        let value = metadata.get(&format!("{arch}.{key}"))?;
        value.as_u64().or(value.as_array().and_then(|all| all.u64(layer)))
    };
    let queries = number("attention.head_count").filter(|n| *n > 0)?;
    let keys = number("attention.head_count_kv").unwrap_or(queries);
    let head = number("attention.key_length").or_else(|| Some(number("embedding_length")? / queries))?;
    let (q, kv) = (queries.checked_mul(head)?, keys.checked_mul(head)?);
    let all = q.checked_add(kv.checked_mul(2)?)?;
    // A bias is one row.
    let row = if tensor.name.ends_with(".bias") { 1 } else { tensor.shape().row() };
    let ends = [q.checked_mul(row)?, (q + kv).checked_mul(row)?, all.checked_mul(row)?];
    (ends[2] == tensor.shape().elements()).then_some(ends)
}

/// A factor for each element of a tensor: runs that have one, each with the element behind its last.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors(Vec<(u64, f64)>);

impl Factors {
    /// One factor a part.
    pub fn of(parts: impl IntoIterator<Item = (u64, f64)>) -> Factors {
        let mut runs: Vec<(u64, f64)> = Vec::new();
        for (end, factor) in parts {
            match runs.last_mut() {
                Some(last) if last.1 == factor => last.0 = end,
                _ => runs.push((end, factor)),
            }
        }
        Factors(runs)
    }

    /// The factor, if all elements have one.
    pub fn same(&self) -> Option<f64> {
        match self.0.as_slice() {
            [(_, factor)] => Some(*factor),
            _ => None,
        }
    }

    /// The products of two factors of the same elements.
    pub fn times(&self, other: &Factors) -> Factors {
        let ends = ends([self, other]);
        Factors::of(ends.into_iter().map(|end| (end, self.before(end) * other.before(end))))
    }

    /// Every run: the element behind its last, and its factor.
    pub fn runs(&self) -> &[(u64, f64)] {
        &self.0
    }

    /// The factor of the element before this one.
    fn before(&self, end: u64) -> f64 {
        self.0.iter().find(|(own, _)| *own >= end).map_or(1.0, |(_, factor)| *factor)
    }

    /// The mean over the elements.
    pub fn mean(&self) -> f64 {
        if let Some(same) = self.same() {
            return same;
        }
        let (mut start, mut sum) = (0, 0.0);
        for (end, factor) in &self.0 {
            sum += factor * (end - start) as f64;
            start = *end;
        }
        sum / start.max(1) as f64
    }
}

/// Elements that get one share of each vector.
#[derive(Clone, Debug)]
pub struct Run {
    /// The element behind the last one.
    pub end: u64,
    /// What all weights are multiplied with.
    pub factor: f64,
    /// What each vector's is multiplied with besides; empty, where none has rules of its own.
    pub own: Vec<f64>,
}

impl Run {
    /// The runs of a tensor with these factors.
    pub fn all(factors: &Factors, own: &[Factors]) -> Vec<Run> {
        let one = |end| Run {
            end,
            factor: factors.before(end),
            own: own.iter().map(|factors| factors.before(end)).collect(),
        };
        ends([factors].into_iter().chain(own)).into_iter().map(one).collect()
    }

    /// What this vector counts, which typed `weight`, before the factor of all.
    pub fn share(&self, vector: usize, weight: f64) -> f64 {
        weight * self.own.get(vector).copied().unwrap_or(1.0)
    }
}

/// Where any run of these ends, each place once.
fn ends<'a>(all: impl IntoIterator<Item = &'a Factors>) -> Vec<u64> {
    let mut ends: Vec<u64> = all.into_iter().flat_map(|f| &f.0).map(|(end, _)| *end).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
