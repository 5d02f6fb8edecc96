//! What the experiment compares: CP alone, and CP with the chat vector, as files that ggraft writes; and the vector as an
//! adapter that llama.cpp puts on CP.

use ggraft::adapter::{self, Wearer};
use ggraft::arch::Options;
use ggraft::ftype::Ftype;
use ggraft::merge::tokens::matching::Embeddings;
use ggraft::merge::{CHAT_VECTOR, Options as How, Vector, VocabularyChoices};
use ggraft::pipeline::{self, Plan, Target, Type, Work};
use ggraft_formats::{DType, Result, Watch};
use std::path::{Path, PathBuf};

/// The models, by the names that the record has for them.
pub const CP: &str = "CP";
pub const MERGED: &str = "merged";
/// With `--embeddings shared`, as the trio's README has it.
pub const SHARED: &str = "merged, shared rows";
pub const ARMS: [&str; 3] = [CP, MERGED, SHARED];

pub const TYPES: [&str; 3] = ["F32", "Q8_0", "Q4_K_M"];

struct Silent;

impl Watch for Silent {
    fn advance(&self, _output: usize, _index: usize, _bytes: u64, _finished: bool) {}
}

/// A file of the trio.
pub fn trio(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trio").join(name)
}

/// One file of an arm; `w` is the vector's weight.
pub struct Model {
    pub arm: String,
    pub ftype: &'static str,
    pub path: PathBuf,
}

/// Writes CP, merged with nothing, as each type.
pub fn alone(types: &[&'static str], dir: &Path) -> Result<Vec<Model>> {
    types
        .iter()
        .map(|ftype| written(pipeline::convert(load("cp")?, &target(ftype)?)?, CP, ftype, dir))
        .collect()
}

/// Writes merges of each weight, as each type. They are named `arm`, followed by the weight if there are several.
pub fn merged(
    arm: &str,
    vocabulary: VocabularyChoices,
    weights: &[f64],
    types: &[&'static str],
    dir: &Path,
) -> Result<Vec<Model>> {
    let vectors = [Vector { chat: load("chat")?.model, base: load("base")?.model }];
    let how = How { vocabulary, ..CHAT_VECTOR.into() };
    let grafted = pipeline::graft(load("cp")?, &vectors, how)?;
    let mut models = Vec::new();
    for w in weights {
        let arm = if weights.len() > 1 { format!("{arm} {w}") } else { arm.to_string() };
        for ftype in types {
            for plan in grafted.plans(&[vec![*w]], &[target(ftype)?])? {
                models.push(written(plan, &arm, ftype, dir)?);
            }
        }
    }
    Ok(models)
}

/// Every arm as every type.
pub fn all(dir: &Path) -> Result<Vec<Model>> {
    let shared = VocabularyChoices {
        embeddings: Embeddings::Shared,
        no_auto_copy: true,
        ..VocabularyChoices::default()
    };
    let mut models = alone(&TYPES, dir)?;
    models.extend(merged(MERGED, VocabularyChoices::default(), &[1.0], &TYPES, dir)?);
    models.extend(merged(SHARED, shared, &[1.0], &TYPES, dir)?);
    Ok(models)
}

/// A file of someone else's making, named after itself.
pub fn given(path: &Path) -> Model {
    Model {
        arm: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        ftype: "it is",
        path: path.into(),
    }
}

/// The chat vector as an adapter to CP.
pub struct Worn {
    pub rank: usize,
    /// Of the squares of the difference, in the median of the tensors.
    pub kept: f64,
    pub path: PathBuf,
}

/// Writes the adapter of this rank that makes of CP what a merge makes of it.
pub fn worn(rank: usize, dir: &Path) -> Result<Worn> {
    let vectors = [Vector { chat: load("chat")?.model, base: load("base")?.model }];
    let graft = pipeline::graft(load("cp")?, &vectors, CHAT_VECTOR)?.graft;
    let merged = graft.model(&[1.0])?;
    let (model, jobs, _) = adapter::extracted(&merged, graft.onto(), Wearer::Itself, rank, DType::F16)?;
    let path = dir.join(format!("r{rank}.gguf"));
    let plans = [(pipeline::rearranged(model, Type::Gguf(Ftype::find("F16").unwrap()))?, path.clone())];
    pipeline::write(&plans, &Work { force: true, ..Work::default() }, &Silent)?;
    let mut kept: Vec<f64> = jobs.iter().filter_map(|job| job.kept()).map(|(_, kept)| kept).collect();
    kept.sort_by(f64::total_cmp);
    Ok(Worn { rank, kept: kept[kept.len() / 2], path })
}

fn load(name: &str) -> Result<pipeline::Loaded> {
    pipeline::open(&trio(name), &Options::default())
}

fn target(name: &str) -> Result<Target> {
    Ok(Ftype::parse(name)?.into())
}

fn written(plan: Plan, arm: &str, ftype: &'static str, dir: &Path) -> Result<Model> {
    let path = dir.join(format!("{arm}-{ftype}.gguf"));
    pipeline::write(&[(plan, path.clone())], &Work { force: true, ..Work::default() }, &Silent)?;
    Ok(Model { arm: arm.to_string(), ftype, path })
}
