//! Every codec on a few blocks, and the tensor core around it: small enough for Miri, which looks for undefined
//! behaviour (CONTRIBUTING.md has the command). What the bytes must be is compared with llama.cpp elsewhere.

use ggraft_formats::quant::By;
use ggraft_formats::{DType, Shape, Tensor, simd};

/// splitmix64 (Steele, Lea, Flood, 2014).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn floats(n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| (random(i) as i32) as f32 / i32::MAX as f32).collect()
}

#[test]
fn any_bytes_decode() {
    for dtype in DType::all() {
        let Some(decode) = dtype.traits().decode else { continue };
        let bytes: Vec<u8> = (0..2 * dtype.traits().bytes as u64).map(|i| random(i) as u8).collect();
        let mut values = vec![0f32; 2 * dtype.block()];
        decode(&bytes, &mut values);
        let finite = (dtype.traits().finite)(&bytes);
        assert!(!finite || values.iter().all(|x| x.is_finite()), "{dtype}");
    }
}

/// Blocks that are encoded; Miri takes seconds for one.
const BLOCKS: usize = if cfg!(miri) { 1 } else { 2 };

#[test]
fn any_floats_encode_to_the_same_bytes_with_all_instructions() {
    for dtype in DType::all() {
        let Some(encode) = dtype.traits().encode else { continue };
        let values = floats(BLOCKS * dtype.block());
        let weights: Vec<f32> = floats(dtype.block()).iter().map(|x| x.abs()).collect();
        for weights in [None, Some(weights.as_slice()).filter(|_| !cfg!(miri))] {
            let encoded = |level| {
                let mut out = vec![0; BLOCKS * dtype.traits().bytes];
                let by = By { weights, ..By::default() };
                simd::at(level, || encode(&values, dtype.block(), by, &mut out));
                out
            };
            let scalar = encoded(None);
            simd::levels()
                .into_iter()
                .for_each(|level| assert_eq!(encoded(level), scalar, "{dtype} {level:?}"));
        }
        // What is not finite ends in blocks, too.
        let mut wild = values;
        for (x, bad) in
            wild.iter_mut().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, -0.0])
        {
            *x = bad;
        }
        encode(&wild, dtype.block(), By::default(), &mut vec![0; BLOCKS * dtype.traits().bytes]);
    }
}

#[test]
fn a_tensor_is_encoded_and_decoded_row_by_row() {
    let shape = Shape::new(&[64, 3, 2]).unwrap();
    let values = floats(64 * 6);
    let tensor = Tensor::in_memory("a", shape, &values).unwrap().checked();
    let weights: Vec<f32> = floats(128).iter().map(|x| x.abs()).collect();
    for weights in [None, Some(weights.into())] {
        let encoded = tensor.clone().encode(DType::Q8_0, weights).unwrap();
        let mut whole = vec![0; encoded.bytes() as usize];
        encoded.read(0..6, &mut whole).unwrap();
        for row in 0..6 {
            let part = encoded.with_rows(row..row + 1, |bytes| Ok(bytes.to_vec())).unwrap();
            assert_eq!(part, whole[row * encoded.row_bytes()..][..encoded.row_bytes()]);
        }
        let mut decoded = vec![0f32; 64 * 6];
        encoded.decode_rows(0..6, &mut decoded).unwrap();
        assert!(decoded.iter().zip(&values).all(|(x, y)| (x - y).abs() < 0.01));
    }
}
