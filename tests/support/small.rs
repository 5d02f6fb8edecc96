//! Models of a single tensor, for the algebra of merging.

use ggraft_formats::{DType, Metadata, Model, Shape, Tensor};

/// The only tensor.
pub const NAME: &str = "blk.0.attn_q.weight";

/// Endless numbers of xorshift64 (Marsaglia, 2003).
pub fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Between -0.05 and 0.05.
pub fn fraction(number: u64) -> f32 {
    ((number >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.1
}

/// Rows of `row` values, stored as `dtype`.
pub fn tensor(values: &[f32], row: usize, dtype: DType) -> Tensor {
    let shape = Shape::new(&[row as u64, (values.len() / row) as u64]).unwrap();
    Tensor::in_memory(NAME, shape, values).unwrap().encode(dtype, None).unwrap()
}

/// A llama of one tensor.
pub fn model(tensor: Tensor) -> Model {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "llama");
    metadata.set("tokenizer.chat_template", "t");
    Model { metadata, tensors: vec![tensor], ..Model::default() }
}

/// All values of a tensor.
pub fn decode(t: &Tensor) -> Vec<f32> {
    let mut out = vec![0.0; t.shape().elements() as usize];
    t.decode_rows(0..t.shape().rows() as usize, &mut out).unwrap();
    out
}
