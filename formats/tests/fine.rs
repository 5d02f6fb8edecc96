//! The fine search: no block is worse than that of ggml's encoders, whatever its weights; the ordinary decoder reads it;
//! all instructions give the same bytes.

use ggraft_formats::quant::{By, Search};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Encoding, Shape, Tensor, simd};
use std::sync::Arc;

const ROW: usize = 512;

/// splitmix64 (Steele, Lea, Flood, 2014).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Nearly normal, of variance 1.
fn gaussian(i: u64) -> f32 {
    let uniform = |k: u64| (random(i * 4 + k) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    (0..4).map(uniform).sum::<f32>() * 3f32.sqrt()
}

/// Rows of every kind that may come.
fn rows() -> Vec<(&'static str, Vec<f32>)> {
    let row = |value: &dyn Fn(u64) -> f32| (0..ROW as u64).map(value).collect::<Vec<f32>>();
    let sign = |i: u64| if random(i).is_multiple_of(2) { 1.0 } else { -1.0 };
    vec![
        ("trained", row(&|i| gaussian(i) / 50.0)),
        ("all positive", row(&|i| gaussian(i).abs() / 50.0)),
        ("all negative", row(&|i| -gaussian(i).abs() / 50.0 - 0.1)),
        ("zeros", row(&|_| 0.0)),
        ("negative zeros", row(&|_| -0.0)),
        ("one value", row(&|_| 0.37)),
        ("few values", row(&|i| (random(i) % 5) as f32 * 0.125 - 0.25)),
        ("mostly zeros", row(&|i| if i.is_multiple_of(37) { gaussian(i) } else { 0.0 })),
        ("outliers", row(&|i| gaussian(i) * if i % 64 == 7 { 900.0 } else { 0.02 })),
        ("denormals", row(&|i| f32::from_bits(random(i) as u32 & 0x007f_ffff) * sign(i))),
        ("tiny", row(&|i| gaussian(i) * 1e-9)),
        ("least scales", row(&|i| gaussian(i) * 1e-7)),
        ("large", row(&|i| gaussian(i) * 1e4)),
        ("huge", row(&|i| gaussian(i) * 1e30)),
        ("largest", row(&|i| f32::MAX * sign(i))),
        ("all sizes", row(&|i| gaussian(i) * 10f32.powi((random(i) % 60) as i32 - 40))),
    ]
}

/// None; as measured; nearly all 0; all 0; of all sizes.
fn importances() -> Vec<Option<Vec<f32>>> {
    let of = |weight: &dyn Fn(u64) -> f32| Some((0..ROW as u64).map(weight).collect::<Vec<f32>>());
    let square = |i: u64| gaussian(i ^ 0x5eed) * gaussian(i ^ 0x5eed);
    vec![
        None,
        of(&square),
        of(&|i| if random(i).is_multiple_of(12) && i / 64 % 3 != 1 { square(i) } else { 0.0 }),
        of(&|_| 0.0),
        of(&|i| 10f32.powi((random(i) % 30) as i32 - 20)),
    ]
}

fn fine() -> impl Iterator<Item = DType> {
    DType::all().filter(|dtype| dtype.has_fine_search(false))
}

fn encoded(dtype: DType, x: &[f32], weights: Option<&[f32]>, search: Search) -> Vec<u8> {
    let mut out = vec![0; x.len() / dtype.block() * dtype.traits().bytes];
    dtype.encode_by(x, ROW, By { weights, search, ..By::default() }, &mut out).unwrap();
    out
}

/// The weighted squared errors, block by block.
fn errors(dtype: DType, x: &[f32], weights: Option<&[f32]>, bytes: &[u8]) -> Vec<f64> {
    let mut decoded = vec![0.0; x.len()];
    dtype.decode(bytes, &mut decoded).unwrap();
    let squares = x.iter().zip(&decoded).enumerate().map(|(i, (x, y))| {
        let e = f64::from(*x) - f64::from(*y);
        f64::from(weights.map_or(1.0, |w| w[i % ROW])) * e * e
    });
    let squares: Vec<f64> = squares.collect();
    squares.chunks(dtype.block()).map(|block| block.iter().sum()).collect()
}

#[test]
fn no_block_is_worse_than_that_of_the_exact_search() {
    for dtype in fine() {
        for (kind, x) in rows() {
            for weights in importances() {
                let weights = weights.as_deref();
                let [exact, fine] = [Search::Exact, Search::Fine].map(|s| encoded(dtype, &x, weights, s));
                let (before, after) = (errors(dtype, &x, weights, &exact), errors(dtype, &x, weights, &fine));
                for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                    // Where the exact search overflows, both are not finite.
                    let worse = after > before || (after.is_nan() && !before.is_nan());
                    assert!(!worse, "{dtype} {kind} block {i}: {before} {after}");
                }
                assert!((dtype.traits().finite)(&fine) || !(dtype.traits().finite)(&exact), "{dtype} {kind}");
            }
        }
    }
}

/// What it is for: on weights as they are, with and without importance.
#[test]
fn ordinary_weights_lose_less() {
    let x: Vec<f32> = (0..16 * ROW as u64).map(|i| gaussian(i) / 50.0).collect();
    for dtype in fine() {
        for weights in importances().into_iter().take(2) {
            let weights = weights.as_deref();
            if !dtype.has_fine_search(weights.is_some()) {
                continue;
            }
            let sum = |search| errors(dtype, &x, weights, &encoded(dtype, &x, weights, search)).iter().sum();
            let [exact, fine]: [f64; 2] = [Search::Exact, Search::Fine].map(sum);
            assert!(fine < 0.995 * exact, "{dtype} {}: {exact} {fine}", weights.is_some());
        }
    }
}

#[test]
fn all_instructions_give_the_same_blocks() {
    for dtype in fine() {
        for (kind, x) in rows() {
            for weights in importances().into_iter().take(3) {
                let of = |level| simd::at(level, || encoded(dtype, &x, weights.as_deref(), Search::Fine));
                let scalar = of(None);
                simd::levels()
                    .into_iter()
                    .for_each(|level| assert!(of(level) == scalar, "{dtype} {kind} {level:?}"));
            }
        }
    }
}

/// By default, and where there is no fine search, the bytes are those of the encoders alone.
#[test]
fn the_exact_search_is_what_it_was() {
    assert_eq!(By::default().search, Search::Exact);
    let x: Vec<f32> = (0..4 * ROW as u64).map(|i| gaussian(i) / 50.0).collect();
    let weights: Vec<f32> = (0..ROW as u64).map(|i| gaussian(i).abs()).collect();
    for dtype in DType::all() {
        let Some(encode) = dtype.traits().encode else { continue };
        let mut plain = vec![0; x.len() / dtype.block() * dtype.traits().bytes];
        encode(&x, ROW, By { weights: Some(&weights), ..By::default() }, &mut plain);
        assert!(encoded(dtype, &x, Some(&weights), Search::Exact) == plain, "{dtype}");
        let fine = encoded(dtype, &x, Some(&weights), Search::Fine);
        assert_eq!(fine != plain, dtype.has_fine_search(true), "{dtype}");
    }
}

/// Rows may be read in any portions, and what was written by the one search is not taken for the other's.
#[test]
fn tensors_are_searched_row_by_row_and_told_apart() {
    let shape = Shape::new(&[ROW as u64, 4]).unwrap();
    let values: Vec<f32> = (0..4 * ROW as u64).map(|i| gaussian(i) / 50.0).collect();
    let weights: Arc<[f32]> = (0..ROW as u64).map(|i| gaussian(i).abs()).collect();
    for dtype in fine().chain([DType::F16]) {
        let of = |search| {
            let tensor = Tensor::in_memory("a", shape, &values).unwrap();
            let weights = Some(Arc::clone(&weights));
            tensor.encode_by(Encoding { search, ..Encoding::new(dtype, weights) }).unwrap()
        };
        let (exact, fine) = (of(Search::Exact), of(Search::Fine));
        let mut whole = vec![0; fine.bytes() as usize];
        fine.read(0..4, &mut whole).unwrap();
        for row in 0..4 {
            let part = fine.with_rows(row..row + 1, |bytes| Ok(bytes.to_vec())).unwrap();
            assert!(part == whole[row * fine.row_bytes()..][..fine.row_bytes()], "{dtype}");
        }
        let identity = |tensor: &Tensor| {
            let mut all = Identity::default();
            tensor.identify(&mut all);
            all.hash()
        };
        assert_eq!(identity(&exact) != identity(&fine), dtype.has_fine_search(true), "{dtype}");
    }
}
