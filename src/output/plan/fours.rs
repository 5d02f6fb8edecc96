//! NVFP4 that stays what a checkpoint holds: blocks, rearranged without loss, beside them the scales of whole tensors and of
//! activations (`NAME.scale`, `NAME.input_scale`), and the names of those whose activations keep more than four bits.
//! Specification: `ModelBase._repack_nvfp4`, `_flush_nvfp4_experts` and `_tag_prec_a4` of llama.cpp's converter.

use super::Step;
use super::stored::{How, Stored};
use crate::ftype::{Assignment, Reason, reads_scale};
use ggraft_formats::{DType, Error, Fours, Metadata, Number, Result, Shape, Tensor};
use std::collections::HashSet;

/// The tensors that are kept, by their places, and what stands beside them.
#[derive(Default)]
pub(super) struct Kept {
    places: HashSet<usize>,
    beside: Vec<Tensor>,
    /// Those whose activations keep more than four bits.
    wide: Vec<String>,
    /// Those that are not kept, for the runtime would not multiply by their scales.
    unread: Vec<String>,
}

/// The parts of each tensor that has some, unless a merge changed it.
pub(super) fn of(tensors: &[Tensor], is_merged: bool) -> Vec<Option<Fours>> {
    tensors.iter().map(|tensor| tensor.fours().filter(|_| !is_merged)).collect()
}

/// Puts blocks in the place of tensors that have parts: of all but those of which the user asked for another dtype, if the file is
/// one of `plain` floats or eight bits, else of those that were going to be NVFP4.
///
/// # Errors
/// A scale cannot be read, or is not finite.
pub(super) fn keep(
    own: Vec<Option<Fours>>,
    (architecture, tensors): (&str, &mut [Tensor]),
    assignments: &mut [Assignment],
    is_plain: bool,
) -> Result<Kept> {
    let stays = |given: &Assignment| {
        given.dtype == DType::NVFP4 || is_plain && !matches!(given.reason, Reason::Requested(_))
    };
    let own = own.into_iter().zip(&*assignments).map(|(own, given)| own.filter(|_| stays(given))).collect();
    let kept = keep_all(own, architecture, tensors)?;
    let reason = Reason::Kept("published in these blocks");
    for (_, given) in assignments.iter_mut().enumerate().filter(|(i, _)| kept.has(*i)) {
        *given = Assignment { dtype: DType::NVFP4, fallback: None, reason, needs_imatrix: false };
    }
    Ok(kept)
}

/// The same of all that have parts. Where the runtime would not multiply by a scale, the weight stays decoded.
///
/// # Errors
/// Those of [`keep`].
pub(super) fn keep_all(own: Vec<Option<Fours>>, architecture: &str, tensors: &mut [Tensor]) -> Result<Kept> {
    let mut kept = Kept::default();
    let biases = tensors.iter().filter(|t| t.name.ends_with(".bias")).map(|t| t.name.clone());
    let biases: HashSet<String> = biases.collect();
    for (i, fours) in own.into_iter().enumerate() {
        let Some(fours) = fours else { continue };
        let Some(blocks) = fours.blocks(&tensors[i]) else { continue };
        let stem = blocks.name.trim_end_matches(".weight").to_string();
        let mut whole = values(&fours.whole)?;
        let name = format!("{stem}.scale");
        if !is_one(&whole) && !reads_scale(architecture, &stem, biases.contains(&format!("{stem}.bias"))) {
            kept.unread.push(blocks.name);
            continue;
        }
        // Gemma 4 has a scale of each expert of its own, by which what comes out is multiplied as well.
        match tensors.iter().position(|tensor| tensor.name == name) {
            Some(place) if tensors[place].shape().elements() == whole.len() as u64 => {
                let mut own = vec![0.0; whole.len()];
                tensors[place].decode_rows(0..tensors[place].shape().rows() as usize, &mut own)?;
                whole.iter_mut().zip(own).for_each(|(x, own)| *x *= own);
                tensors[place] = beside(&name, &whole)?;
            }
            Some(_) => continue,
            None if is_one(&whole) => {}
            None => kept.beside.push(beside(&name, &whole)?),
        }
        let inputs = values(&fours.inputs)?;
        if !is_one(&inputs) {
            kept.beside.push(beside(&format!("{stem}.input_scale"), &inputs)?);
        }
        if fours.wide_inputs {
            kept.wide.push(blocks.name.clone());
        }
        tensors[i] = blocks;
        kept.places.insert(i);
    }
    kept.wide.sort();
    Ok(kept)
}

impl Kept {
    /// Whether the tensor at this place is kept.
    pub fn has(&self, place: usize) -> bool {
        self.places.contains(&place)
    }

    /// Adds what stands beside, and tells whether anything was kept.
    pub fn add_beside(&self, parts: &mut Vec<(Tensor, Step)>, metadata: &mut Metadata) -> Result<bool> {
        for tensor in &self.beside {
            let how = How::plain(tensor.dtype(), false);
            parts.push(Stored::new(tensor.clone(), None, None, how)?.step(None, None));
        }
        if !self.wide.is_empty() {
            let before = "tokenizer.";
            metadata.set_before(before, "general.tensor_extra.name", self.wide.clone());
            metadata.set_before(before, "general.tensor_extra.prec_a4", vec![false; self.wide.len()]);
        }
        Ok(!self.places.is_empty())
    }

    /// What to say of it.
    pub fn told(&self, architecture: &str) -> Vec<String> {
        let kept = (!self.places.is_empty()).then(|| {
            format!(
                "{} of the unpacked weights stay NVFP4 in the file, rearranged without loss, as convert_hf_to_gguf has them",
                self.places.len()
            )
        });
        let unread = self.unread.first().map(|first| {
            format!(
                "{} weights that are NVFP4 are decoded, {first} the first: llama.cpp v0.5.0's graph of {architecture} would not \
                 multiply by the scales beside them (convert_hf_to_gguf keeps them all the same)",
                self.unread.len()
            )
        });
        kept.into_iter().chain(unread).collect()
    }
}

/// Refuses another dtype for an output whose scale llama.cpp reads beside NVFP4 alone.
pub(super) fn check_output(held: &[Tensor], to: DType) -> Result<()> {
    match held.iter().find(|tensor| tensor.name == "output.scale") {
        None => Ok(()),
        Some(scale) => Err(Error::unsupported(format!(
            "output.weight is NVFP4 under a scale, which llama.cpp reads beside NVFP4 alone: it cannot become {to}"
        ))
        .tensor(&scale.name)
        .hint("give --leave-output-tensor, or convert the checkpoint that it was made from")),
    }
}

/// What each number multiplies by.
fn values(numbers: &[Number]) -> Result<Vec<f32>> {
    numbers.iter().filter_map(|number| number.tensor.as_ref()).for_each(|tensor| tensor.prefetch(0..1));
    numbers.iter().map(Number::value).collect()
}

/// Whether the numbers are so near to 1 that the converter leaves them out.
fn is_one(values: &[f32]) -> bool {
    let most = if values.len() == 1 { 1e-6 } else { 1e-6 + 1e-5 };
    values.iter().all(|x| (f64::from(*x) - 1.0).abs() < most)
}

fn beside(name: &str, values: &[f32]) -> Result<Tensor> {
    let shape = Shape::new(&[values.len() as u64]);
    let shape = shape.ok_or_else(|| Error::invalid("the tensor has no matrices").tensor(name))?;
    Tensor::in_memory(name, shape, values)
}
