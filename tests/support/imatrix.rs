//! Importance matrices of the toys, as the peer takes them and as files of both forms.

use super::gguf::Toy;
use super::rng::splitmix64;
use ggraft_formats::{Model, Shape, Tensor, gguf};
use std::path::Path;

/// One entry: what was summed up and how many tokens came by, matrix by matrix.
pub struct Entry {
    pub name: String,
    pub columns: usize,
    pub sums: Vec<f32>,
    pub counts: Vec<f32>,
}

pub const DATASET: &str = "calibration.txt";
pub const CHUNKS: u32 = 7;
/// A weight that the tests leave out where it may be missing.
pub const MISSING: &str = "blk.1.attn_q.weight";

impl Entry {
    /// The weights of the columns: a mean, or 1 where nothing was measured.
    pub fn weights(&self) -> Vec<f32> {
        let mean = |(i, sum): (usize, &f32)| match self.counts[i / self.columns] {
            0.0 => 1.0,
            count => sum / count,
        };
        self.sums.iter().enumerate().map(mean).collect()
    }
}

/// Entries for a toy.
pub fn measured(toy: &Toy) -> Vec<Entry> {
    of(toy.shapes())
}

/// An entry for every matrix of the layers, by name and dimensions. Some columns are dead; of stacked matrices one
/// was never chosen.
pub fn of(shapes: Vec<(String, Vec<usize>)>) -> Vec<Entry> {
    let matrices = shapes
        .into_iter()
        .filter(|(name, ne)| name.starts_with("blk.") && ne.len() > 1 && !name.contains("gate_inp"));
    matrices
        .enumerate()
        .map(|(seed, (name, ne))| {
            let n = ne.get(2).copied().unwrap_or(1);
            let sum = |i: u64| match splitmix64(seed as u64, i) >> 40 {
                r if r.is_multiple_of(11) => 0.0,
                r => r as f32 / 4096.0,
            };
            let count = |i: usize| if n > 1 && i == 3 { 0.0 } else { (512 * (i + 1)) as f32 };
            Entry {
                name,
                columns: ne[0],
                sums: (0..(ne[0] * n) as u64).map(sum).collect(),
                counts: (0..n).map(count).collect(),
            }
        })
        .collect()
}

/// The GGUF form.
pub fn model(entries: &[&Entry]) -> Model {
    let mut model = Model::default();
    model.metadata.set("general.type", "imatrix");
    model.metadata.set("imatrix.datasets", vec![DATASET.to_string(), "more.txt".to_string()]);
    model.metadata.set("imatrix.chunk_count", CHUNKS);
    model.metadata.set("imatrix.chunk_size", 512u32);
    let tensor = |name: String, ne: [usize; 2], values: &[f32]| {
        let shape = Shape::new(&ne.map(|n| n as u64)).unwrap();
        Tensor::in_memory(&name, shape, values).unwrap()
    };
    for e in entries {
        let n = e.counts.len();
        model.tensors.push(tensor(format!("{}.in_sum2", e.name), [e.columns, n], &e.sums));
        model.tensors.push(tensor(format!("{}.counts", e.name), [1, n], &e.counts));
    }
    model
}

/// Writes the GGUF form.
pub fn write(entries: &[&Entry], path: &Path) {
    let model = model(entries);
    ggraft_formats::write::write(&[gguf::plan(&model, path).unwrap()], &()).unwrap();
}

/// The older form of these weights, each said to be measured in four calls, so that nothing is rounded.
pub fn legacy(entries: &[(&str, &[f32])]) -> Vec<u8> {
    const CALLS: i32 = 4;
    let mut out = (entries.len() as i32).to_le_bytes().to_vec();
    for (name, weights) in entries {
        out.extend((name.len() as i32).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(CALLS.to_le_bytes());
        out.extend((weights.len() as i32).to_le_bytes());
        out.extend(weights.iter().flat_map(|w| (w * CALLS as f32).to_le_bytes()));
    }
    out
}

/// What newer files of the older form end with.
pub fn trailer(chunks: i32, dataset: &str) -> Vec<u8> {
    [&chunks.to_le_bytes()[..], &(dataset.len() as i32).to_le_bytes(), dataset.as_bytes()].concat()
}
