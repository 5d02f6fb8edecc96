//! Block codecs: any bytes decode, any floats encode, and every instruction set gives the scalar code's bytes.

use ggraft_formats::DType;
use ggraft_formats::quant::{By, Decode, Encode, Levels, Search};
use ggraft_formats::simd;

/// The most blocks that are looked at.
const BLOCKS: usize = 8;

/// The first byte chooses the dtype, the others are blocks.
pub fn decode(data: &[u8]) {
    let Some((dtype, decode, blocks)) = blocks(data) else { return };
    let values = decoded(dtype, decode, blocks);
    if (dtype.traits().finite)(blocks) && dtype != DType::F64 {
        assert!(values.iter().all(|x| x.is_finite()), "{dtype}: finite blocks, but not their weights");
    }
}

/// The first byte chooses the dtype, the second whether there are importance weights and how levels are rounded; the others are
/// floats.
pub fn encode(data: &[u8]) {
    let [which, weighed, data @ ..] = data else { return };
    let Some((dtype, encode)) = nth(*which, |d| d.traits().encode) else { return };
    let mut floats: Vec<f32> = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    floats.truncate(2 * BLOCKS * dtype.block());
    let row = floats.len() / 2 / dtype.block() * dtype.block();
    if row == 0 {
        return;
    }
    // The importance of a column is the magnitude of the row after the two that are encoded, when it is sound.
    let sound = |x: &f32| if x.is_finite() { x.abs() } else { 1.0 };
    let weights: Option<Vec<f32>> =
        (weighed % 2 == 1).then(|| floats[row..2 * row].iter().map(sound).collect());
    let levels = if weighed & 2 == 0 { Levels::Rounded } else { Levels::Bounded };
    let by = By { weights: weights.as_deref(), levels, search: Search::Exact };
    let out = encoded(dtype, encode, &floats[..2 * row], row, by);
    if let Some(decode) = dtype.traits().decode {
        decoded(dtype, decode, &out);
    }
}

/// What was decoded encodes again; what is finite stays so.
pub fn round_trip(data: &[u8]) {
    let Some((dtype, decode, blocks)) = blocks(data) else { return };
    let Some(encode) = dtype.traits().encode else { return };
    let values = decoded(dtype, decode, blocks);
    if values.is_empty() {
        return;
    }
    let again = encoded(dtype, encode, &values, values.len(), By::default());
    // Plain floats come back as they were, but for the payload of a NaN.
    if !dtype.is_quantized() && (dtype.traits().finite)(blocks) && dtype.traits().bytes <= 4 {
        assert_eq!(again, blocks, "{dtype}");
    }
    decoded(dtype, decode, &again);
}

fn blocks(data: &[u8]) -> Option<(DType, Decode, &[u8])> {
    let (which, data) = data.split_first()?;
    let (dtype, decode) = nth(*which, |d| d.traits().decode)?;
    let bytes = dtype.traits().bytes;
    let n = (data.len() / bytes).min(BLOCKS);
    Some((dtype, decode, &data[..n * bytes]))
}

/// Codec number `which` of those that there are.
fn nth<T>(which: u8, codec: impl Fn(DType) -> Option<T>) -> Option<(DType, T)> {
    let all: Vec<(DType, T)> = DType::all().filter_map(|d| Some((d, codec(d)?))).collect();
    let n = all.len().max(1);
    all.into_iter().nth(usize::from(which) % n)
}

fn decoded(dtype: DType, decode: Decode, blocks: &[u8]) -> Vec<f32> {
    let mut values = vec![0f32; blocks.len() / dtype.traits().bytes * dtype.block()];
    decode(blocks, &mut values);
    values
}

fn encoded(dtype: DType, encode: Encode, values: &[f32], row: usize, by: By<'_>) -> Vec<u8> {
    let bytes = values.len() / dtype.block() * dtype.traits().bytes;
    let mut scalar = vec![0u8; bytes];
    simd::at(None, || encode(values, row, by, &mut scalar));
    // Which NaN comes of NaNs, no instruction set promises; nothing that holds one is ever written.
    if values.iter().all(|x| x.is_finite()) && (dtype.traits().finite)(&scalar) {
        for level in simd::levels() {
            let mut out = vec![0u8; bytes];
            simd::at(level, || encode(values, row, by, &mut out));
            assert_eq!(out, scalar, "{dtype} with {level:?}");
        }
    }
    scalar
}
