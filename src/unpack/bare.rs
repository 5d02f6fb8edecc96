//! Floats of eight bits that nothing scales: weights that were cast, and no method packed. They are plain numbers, read as f32.
//! Serves checkpoints that say nothing of any packing.
//! Specification: `ModelBase.prepare_tensors` of llama.cpp's converter, which casts them.

use ggraft_formats::{Checkpoint, DType, Result, Tensor};

/// What a scale of floats of eight bits is called somewhere in its name.
const SCALE: &str = "scale";

/// `checkpoint` with those as f32; as it is where one of them may have a scale, which is the number that it is worth.
pub fn plain(mut checkpoint: Checkpoint) -> Result<Checkpoint> {
    let is_bare = |tensor: &Tensor| matches!(tensor.dtype(), DType::F8E4M3 | DType::F8E5M2);
    let bare: Vec<&Tensor> = checkpoint.tensors.iter().filter(|tensor| is_bare(tensor)).collect();
    let stem = |name: &str| name.strip_suffix(".weight").unwrap_or(name).to_string();
    let is_scaled = |tensor: &&Tensor| {
        let stem = stem(&tensor.name);
        let of =
            |other: &Tensor| other.name.strip_prefix(stem.as_str()).is_some_and(|end| end.contains(SCALE));
        checkpoint.tensors.iter().any(of)
    };
    if bare.is_empty() || bare.iter().any(is_scaled) {
        return Ok(checkpoint);
    }
    checkpoint.notes.push(format!(
        "{} weights are floats of eight bits without scales: they are read as the plain numbers that they are",
        bare.len()
    ));
    let held: Vec<_> = bare.iter().map(|tensor| (tensor.name.clone(), None)).collect();
    checkpoint.packed.extend(held);
    for tensor in checkpoint.tensors.iter_mut().filter(|tensor| is_bare(tensor)) {
        *tensor = tensor.clone().encode(DType::F32, None)?;
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::write::Identity;
    use ggraft_formats::{Rows, Shape};
    use std::ops::Range;
    use std::sync::Arc;

    /// Bytes that are a half as floats of eight bits.
    struct Halves;

    impl Rows for Halves {
        fn read(&self, _: Range<usize>, out: &mut [u8]) -> Result<()> {
            out.fill(0x30);
            Ok(())
        }

        fn identify(&self, into: &mut Identity) {
            into.add(b"halves");
        }
    }

    fn of(name: &str, dtype: DType) -> Tensor {
        Tensor::new(name, Shape::new(&[32, 2]).unwrap(), dtype, Arc::new(Halves)).unwrap()
    }

    fn read(tensors: Vec<Tensor>) -> Checkpoint {
        plain(Checkpoint { tensors, ..Checkpoint::default() }).unwrap()
    }

    #[test]
    fn what_has_no_scale_is_a_plain_number() {
        let read = read(vec![of("a.weight", DType::F8E4M3), of("b.weight", DType::BF16)]);
        let dtypes: Vec<DType> = read.tensors.iter().map(Tensor::dtype).collect();
        assert_eq!((dtypes, read.notes.len()), (vec![DType::F32, DType::BF16], 1));
        // They are no codes: what is said of FP8 under scales is not of them.
        assert_eq!(read.packed.into_iter().collect::<Vec<_>>(), [(String::from("a.weight"), None)]);
        let mut values = [0.0; 64];
        read.tensors[0].decode_rows(0..2, &mut values).unwrap();
        assert_eq!(values, [0.5; 64]);
    }

    #[test]
    fn what_may_have_a_scale_stays() {
        for scale in ["a.weight_scale_inv", "a.scale", "a.input_scale"] {
            let read = read(vec![of("a.weight", DType::F8E4M3), of(scale, DType::F32)]);
            assert_eq!((read.tensors[0].dtype(), read.notes.len()), (DType::F8E4M3, 0), "{scale}");
        }
    }
}
