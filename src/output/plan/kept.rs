//! A GGUF of a checkpoint whose weights stay what they are: floats in their own dtype, packed ones in blocks that hold the very
//! values, where a dtype of ggml has such blocks. Which it is the first rows of each matrix tell; all of them are held to it
//! when they are written.

use super::fours;
use super::gguf::{as_it_is, divided, made, stamp};
use super::stored::{How, Stored};
use super::{Fates, Loaded, Plan, idle};
use crate::ftype::{FTYPES, Ftype};
use crate::output::target::{KEEP, Target, Type};
use crate::roles;
use ggraft_formats::quant::EXACT;
use ggraft_formats::{DType, Error, Result, Tensor};

/// Rows of each matrix that are looked at.
const ROWS: usize = 4;

/// The plan of `keep`.
pub(super) fn kept(input: Loaded, fates: Option<Fates<'_>>, target: &Target) -> Result<Plan> {
    if fates.is_some() {
        return Err(Error::usage("a merge changes weights: nothing can be kept as it is")
            .hint("choose the type that the output shall have, such as Q8_0 or Q4_K_M"));
    }
    let Some(source) = input.source else {
        return Err(Error::usage("keep is for checkpoints").hint("COPY leaves a GGUF's tensors as they are"));
    };
    let mut model = input.model;
    let (mut parts, mut wide) = (Vec::with_capacity(model.tensors.len()), Vec::new());
    let mut tensors = std::mem::take(&mut model.tensors);
    let own = fours::of(&tensors, false);
    let architecture = model.architecture().unwrap_or_default().to_string();
    let fours = fours::keep_all(own, &architecture, &mut tensors)?;
    for (i, tensor) in tensors.into_iter().enumerate() {
        if fours.has(i) {
            parts.push(as_it_is(tensor)?);
            continue;
        }
        let pinned = source.stored.iter().find(|(name, dtype)| *name == tensor.name && !dtype.is_quantized());
        let pinned = pinned.map(|(_, dtype)| *dtype);
        let dtype = pinned.map_or_else(|| dtype(&tensor), Ok)?;
        if dtype == DType::F32 && is_matrix(&tensor) && roles::stays(&tensor.name).is_none() {
            wide.push(tensor.name.clone());
        }
        let from = tensor.dtype();
        let tensor = if EXACT.contains(&dtype) && dtype != from && pinned.is_none() {
            tensor.encode_exactly(dtype)?
        } else {
            tensor
        };
        let how = How::plain(dtype, false);
        let (tensor, mut step) = Stored::new(tensor, None, None, how)?.step(None, None);
        step.from = from;
        parts.push((tensor, step));
    }
    fours.add_beside(&mut parts, &mut model.metadata)?;
    let split = divided(&mut parts, None, target)?;
    let ftype = usual(&parts.iter().map(|(tensor, _)| tensor).collect::<Vec<_>>());
    stamp(&mut model.metadata, ftype, target, None);
    let wide = wide.first().map(|first| {
        format!(
            "{} matrices stay f32, {first} the first: no dtype of ggml holds their values in blocks",
            wide.len()
        )
    });
    let told = fours.told(&architecture);
    let notes = [input.notes, wide.into_iter().collect(), told, idle(&target.quantizing(), KEEP)].concat();
    Ok(made(Type::Keep, model, parts, split, notes))
}

fn is_matrix(tensor: &Tensor) -> bool {
    tensor.shape().significant().len() > 1
}

/// What the tensor is kept in: as the converter has it, all that is no matrix is f32, and what is never quantized.
fn dtype(tensor: &Tensor) -> Result<DType> {
    let own = tensor.dtype();
    // What is no weight, such as ids, stays as well.
    if own.is_quantized() || own.traits().decode.is_none() {
        return Ok(own);
    }
    if !is_matrix(tensor) || roles::stays(&tensor.name).is_some() {
        return Ok(DType::F32);
    }
    let row = tensor.row_elements()?;
    let rows = usize::try_from(tensor.shape().rows()).unwrap_or(usize::MAX).min(ROWS);
    let mut values = vec![0f32; rows * row];
    tensor.decode_rows(0..rows, &mut values)?;
    let holds = |dtype: &DType| {
        let bytes = dtype.row_bytes(row as u64)? as usize;
        dtype.encode_exactly(&values, &mut vec![0; bytes * rows]).ok()
    };
    // Zeros tell nothing.
    let found =
        EXACT.into_iter().filter(|_| values.iter().any(|x| *x != 0.0)).find(|dtype| holds(dtype).is_some());
    Ok(found.unwrap_or(match own {
        DType::F64 => DType::F32,
        // These hold the same values, and v0.5.0 knows them.
        DType::F8E4M3 | DType::F8E5M2 => DType::BF16,
        own => own,
    }))
}

/// The file type whose dtype most of the bytes have.
fn usual(tensors: &[&Tensor]) -> Option<&'static Ftype> {
    let bytes = |dtype: DType| {
        let those = tensors.iter().filter(|t| t.dtype() == dtype);
        those.map(|t| t.bytes()).fold(0u64, u64::saturating_add)
    };
    let dtypes = tensors.iter().map(|t| t.dtype());
    let most = dtypes.max_by_key(|dtype| (bytes(*dtype), *dtype as u32))?;
    FTYPES.iter().find(|ftype| ftype.default == most)
}
