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

/// Those whose kernels leave out what bounds of roundings exclude, and those that search for scales of signed codes.
const SEARCHED: [DType; 9] = [
    DType::IQ1S,
    DType::IQ2XXS,
    DType::IQ2XS,
    DType::IQ2S,
    DType::IQ3XXS,
    DType::IQ3S,
    DType::Q3K,
    DType::Q6K,
    DType::Q4_0,
];

/// What a search by bounds of roundings could get wrong: numbers that overflow or vanish in squares, distances that are
/// equal, sub-blocks that are constant, zero, or but for one element of no account.
fn awkward(dtype: DType) -> Vec<(String, Vec<f32>)> {
    let noise = floats(BLOCKS * dtype.block());
    let scales = [1e-38, 1e-30, 1e-22, 1e-15, 1e-8, 1.0, 1e8, 1e12, 1e16, 1e18, 1e20, 1e25, 1e30, 1e37];
    let mut rows: Vec<_> =
        scales.iter().map(|scale| (format!("noise * {scale:e}"), by(&noise, |x, _| x * scale))).collect();
    for scale in [1e-18, 1.0, 1e17] {
        rows.push((format!("constant {scale:e}"), by(&noise, |_, _| scale)));
        rows.push((format!("signs {scale:e}"), by(&noise, |x, _| scale.copysign(x))));
        rows.push((format!("steps {scale:e}"), by(&noise, |x, _| (x * 4.0).round() * scale)));
        rows.push((format!("odd {scale:e}"), by(&noise, |_, i| (2 * (i % 8) + 1) as f32 * scale)));
        rows.push((
            format!("mostly zero {scale:e}"),
            by(&noise, |x, i| if i % 13 == 0 { x * scale } else { 0.0 }),
        ));
    }
    for outlier in [1e2, 1e6, 1e12, 1e18, 1e30, 3e38] {
        rows.push((format!("outlier {outlier:e}"), by(&noise, |x, i| if i % 37 == 5 { outlier } else { x })));
    }
    rows.push(("magnitudes apart".into(), by(&noise, |x, i| x * 10f32.powi((i / 8 % 60) as i32 - 30))));
    rows.push(("zeros".into(), by(&noise, |_, _| 0.0)));
    rows
}

fn by(noise: &[f32], call: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    noise.iter().enumerate().map(|(i, x)| call(*x, i)).collect()
}

#[test]
#[cfg_attr(miri, ignore = "takes hours; the test above runs the same code")]
fn awkward_floats_encode_to_the_same_bytes_with_all_instructions() {
    for dtype in SEARCHED {
        let encode = dtype.traits().encode.unwrap();
        let noise = floats(dtype.block());
        let columns = [
            by(&noise, |_, _| 1.0),
            by(&noise, |x, i| if i % 3 == 0 { 0.0 } else { x.abs() }),
            by(&noise, |x, i| if i / 8 % 2 == 0 { 0.0 } else { x.abs() }),
            by(&noise, |x, i| x.abs() * 10f32.powi((i % 30) as i32 - 15)),
            by(&noise, |_, _| 0.0),
        ];
        for (name, values) in awkward(dtype) {
            for (n, weights) in columns.iter().enumerate() {
                let encoded = |level| {
                    let mut out = vec![0; BLOCKS * dtype.traits().bytes];
                    let by = By { weights: Some(weights), ..By::default() };
                    simd::at(level, || encode(&values, dtype.block(), by, &mut out));
                    out
                };
                let scalar = encoded(None);
                for level in simd::levels() {
                    assert_eq!(encoded(level), scalar, "{dtype} {name}, importance {n}, {level:?}");
                }
            }
        }
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
