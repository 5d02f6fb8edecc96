//! How importance, measured or estimated, meets a model: which tensor has weights in it, which has none and which cannot do
//! without; and what the output's metadata tells of it.
//! Specification: llama.cpp v0.5.0, llama-quantize.

use super::{Assignment, Prune, TensorFact};
use crate::estimate::Estimates;
use crate::text::beginning;
use ggraft_formats::quant::Search;
use ggraft_formats::{DType, Error, Imatrix, Metadata, Result, Shape, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How much the columns of a model's matrices matter, and who says so.
#[derive(Clone, Debug)]
pub struct Importance {
    entries: BTreeMap<String, Arc<[f32]>>,
    evidence: Evidence,
}

/// Who says how much columns matter.
#[derive(Clone, Debug)]
enum Evidence {
    /// A file that was measured.
    Measured {
        /// Without the folder: an output tells nothing of the machine that it was made on.
        file: String,
        dataset: Option<String>,
        chunks: Option<u32>,
        /// How many entries were chosen, those of layers that are left out included.
        count: u32,
        /// Tensors of the file that are no part of an entry.
        ignored: Vec<String>,
    },
    /// The weights themselves.
    Weights,
}

/// Which entries of an importance matrix are used: those whose names contain one of these words.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    Including(&'a [String]),
    Excluding(&'a [String]),
}

impl Importance {
    /// Reads `path` and keeps the chosen entries.
    ///
    /// # Errors
    /// The file cannot be read, or no entry is left.
    pub fn open(path: &Path, choice: Choice) -> Result<Importance> {
        let Imatrix { mut entries, dataset, chunks, ignored } = ggraft_formats::imatrix::open(path)?;
        let count = entries.len();
        let named = |name: &str, words: &[String]| words.iter().any(|w| name.contains(w.as_str()));
        entries.retain(|name, _| match choice {
            Choice::Including(words) => named(name, words),
            Choice::Excluding(words) => !named(name, words),
        });
        if entries.is_empty() {
            return Err(Error::usage("no entry of the importance matrix is left to be used")
                .file(path)
                .expected("a word that names some of them")
                .found(format!("{count} entries, none chosen"))
                .hint(
                    "change --include-weights or --exclude-weights, which look for parts of tensor names",
                ));
        }
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let file = last_part(&path.to_string_lossy());
        Ok(Importance { entries, evidence: Evidence::Measured { file, dataset, chunks, count, ignored } })
    }

    /// What the weights of the model themselves tell.
    pub fn estimated(entries: Estimates) -> Importance {
        Importance { entries, evidence: Evidence::Weights }
    }

    /// The entries under the names that the tensors have without some layers.
    pub fn pruned(mut self, prune: &Prune) -> Importance {
        let entries = std::mem::take(&mut self.entries);
        self.entries =
            entries.into_iter().filter_map(|(name, w)| prune.rename(&name).map(|name| (name, w))).collect();
        self
    }

    /// The weights of a tensor, if there are some that fit it.
    pub fn weights(&self, tensor: &Tensor) -> Option<&[f32]> {
        self.entries.get(&tensor.name).map(|w| &**w).filter(|w| fitting(tensor, w).is_ok())
    }

    /// Whether there are weights of a tensor that fit it.
    pub fn tells_of(&self, tensor: &TensorFact) -> bool {
        self.entries.get(tensor.name).is_some_and(|w| is_of_shape(tensor.shape, w))
    }

    /// Tells the output's metadata where the importance came from: of a file at the place and in the types of
    /// llama-quantize.
    pub fn stamp(&self, metadata: &mut Metadata) {
        let Evidence::Measured { file, dataset, chunks, count, .. } = &self.evidence else {
            metadata.set_last(ESTIMATED, "weights");
            return;
        };
        metadata.set_last("quantize.imatrix.file", beginning(file, SHORT));
        if let Some(dataset) = dataset {
            metadata.set_last("quantize.imatrix.dataset", beginning(&last_part(dataset), SHORT));
        }
        metadata.set_last("quantize.imatrix.entries_count", *count);
        if let Some(chunks) = chunks.filter(|n| *n > 0) {
            metadata.set_last("quantize.imatrix.chunks_count", chunks);
        }
    }

    /// What to say of tensors that are encoded without it, and of what it holds beside weights.
    fn notes(&self, missing: &[&str]) -> Vec<String> {
        let (ignored, why) = match &self.evidence {
            Evidence::Measured { ignored, .. } => (&ignored[..], "the matrix has no entry"),
            Evidence::Weights => (&[][..], "the weights do not tell what they are multiplied by"),
        };
        let ignored = (!ignored.is_empty()).then(|| {
            format!("the importance matrix holds tensors that mean nothing here: {}", ignored.join(", "))
        });
        let missing =
            (!missing.is_empty()).then(|| format!("no importance data ({why}) for: {}", missing.join(", ")));
        ignored.into_iter().chain(missing).collect()
    }
}

/// Says in an output that its importance was estimated.
const ESTIMATED: &str = "ggraft.importance";

/// What fits into llama-quantize's 128 bytes.
const SHORT: usize = 127;

/// The name without the folders, of whichever system.
fn last_part(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_string()
}

/// The importance weights of a model's tensors, and what is to be said about them.
pub struct Weighed {
    /// In the order of the tensors; none for those that are not encoded by importance.
    pub weights: Vec<Option<Arc<[f32]>>>,
    pub notes: Vec<String>,
}

/// Finds the weights of every tensor that is going to be quantized.
///
/// # Errors
/// A tensor gets a dtype that is useless without importance weights and has none, or has some of another width. All
/// such tensors are named.
pub fn weigh(
    tensors: &[Tensor],
    assignments: &[Assignment],
    importance: Option<&Importance>,
    search: Search,
) -> Result<Weighed> {
    let mut weights = vec![None; tensors.len()];
    let (mut bare, mut missing, mut notes, mut errors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut dead = Vec::new();
    for (i, (tensor, given)) in tensors.iter().zip(assignments).enumerate() {
        // What is copied needs no weights, and what cannot be encoded is refused for that.
        let encoded = given.dtype.is_quantized() && given.dtype.traits().encode.is_some();
        if !encoded || given.dtype == tensor.dtype() {
            continue;
        }
        // llama.cpp ends where it would encode such an embedding.
        let needs = given.needs_imatrix || !given.dtype.traits().plain;
        match importance.and_then(|importance| importance.entries.get(&tensor.name)) {
            None if needs => bare.push((tensor, given.dtype)),
            None => missing.push(tensor.name.as_str()),
            Some(found) => match fitting(tensor, found) {
                Ok(()) => {
                    weights[i] = Some(Arc::clone(found));
                    match dead_columns(tensor, given.dtype, found, search) {
                        Ok(note) => dead.extend(note),
                        Err(e) => errors.push(e),
                    }
                }
                // Embeddings are looked up, not multiplied: a matrix has no good measure of them.
                Err(e) if tensor.name == "token_embd.weight" && !needs => {
                    notes.push(format!("not used: {e}"))
                }
                Err(e) => errors.push(e),
            },
        }
    }
    errors.extend(bare_tensors(&bare, importance));
    if let Some(e) = Error::all(errors) {
        return Err(e);
    }
    if !dead.is_empty() {
        notes.push(format!(
            "warning: stored as zeros, for the importance matrix gives them 0 and llama.cpp's encoders drop such columns: {}",
            dead.join(", ")
        ));
    }
    notes.extend(importance.map(|importance| importance.notes(&missing)).unwrap_or_default());
    Ok(Weighed { weights, notes })
}

/// The search for blocks of a tensor. Where importance tells of others and not of it (of a table of tokens, as a rule), the fine
/// one gained nothing, whichever way its elements were weighted (`docs/quality.md`).
pub fn search_of(asked: Search, is_guided: bool, is_told: bool) -> Search {
    if is_guided && !is_told { Search::Exact } else { asked }
}

/// What to say of columns that become zeros because nothing in them is said to matter.
///
/// # Errors
/// These are all columns: nothing would be left of the tensor.
fn dead_columns(tensor: &Tensor, dtype: DType, weights: &[f32], search: Search) -> Result<Option<String>> {
    let mut dead = 0;
    for of_matrix in weights.chunks_exact(tensor.row_elements()?.max(1)) {
        dead += dtype.dead_columns(of_matrix, search)?;
    }
    if dead > 0 && dead == weights.len() {
        return Err(Error::invalid("the importance matrix gives every column 0, so nothing would be left")
            .tensor(&tensor.name)
            .expected("some column that matters")
            .found(format!("{dead} columns, all 0"))
            .hint("measure it again, or leave the entry out with --exclude-weights"));
    }
    Ok((dead > 0).then(|| format!("{} ({dead} of {} columns as {dtype})", tensor.name, weights.len())))
}

/// Whether these are weights of every column of every matrix.
fn is_of_shape(shape: Shape, weights: &[f32]) -> bool {
    shape.row().checked_mul(shape.dim(2)) == Some(weights.len() as u64)
}

fn fitting(tensor: &Tensor, weights: &[f32]) -> Result<()> {
    if is_of_shape(*tensor.shape(), weights) {
        return Ok(());
    }
    let (columns, matrices) = (tensor.shape().row(), tensor.shape().dim(2));
    Err(Error::invalid("the importance matrix was measured on a model of another shape")
        .tensor(&tensor.name)
        .expected(format!("{columns} columns of {matrices} matrices"))
        .found(format!("{} values", weights.len()))
        .hint("measure one for this model"))
}

/// The error for tensors that cannot do without importance weights.
fn bare_tensors(bare: &[(&Tensor, DType)], importance: Option<&Importance>) -> Option<Error> {
    let (first, dtype) = bare.first()?;
    let what = match dtype.traits().plain {
        true => format!("{dtype} is useless without an importance matrix"),
        false => format!("{dtype} requires an importance matrix"),
    };
    Some(match importance {
        None => Error::usage(what)
            .tensor(&first.name)
            .found(format!("no --imatrix, and {} tensors that need one", bare.len()))
            .hint("give --imatrix FILE, or --importance weights, or choose a larger type"),
        Some(Importance { evidence: Evidence::Weights, .. }) => {
            let names: Vec<&str> = bare.iter().map(|(t, _)| t.name.as_str()).collect();
            Error::invalid(what)
                .tensor(&first.name)
                .found(format!("the weights do not tell what these are multiplied by: {}", names.join(", ")))
                .hint("give them another dtype with --tensor-type, or a measured --imatrix")
        }
        Some(_) => {
            let names: Vec<&str> = bare.iter().map(|(t, _)| t.name.as_str()).collect();
            Error::invalid(what)
                .tensor(&first.name)
                .expected("an entry for it")
                .found(format!("none for {}", names.join(", ")))
                .hint("measure them too, or give them another dtype with --tensor-type")
        }
    })
}
