//! No weight vanishes in silence: what a dtype cannot hold is refused by row and column, what it can hold is there, and
//! what is stored as zeros is counted.

use ggraft_formats::quant::{Search, Vanished};
use ggraft_formats::{DType, Encoding, Shape, Tensor, simd};
use std::sync::Arc;

const ROW: usize = 512;
const ROWS: usize = 3;

fn encoders() -> impl Iterator<Item = DType> {
    DType::all().filter(|d| d.traits().encode.is_some())
}

/// Importance weights that say nothing, for a dtype that cannot do without.
fn least_weights(dtype: DType, row: usize) -> Option<Vec<f32>> {
    (!dtype.traits().plain).then(|| vec![1.0; row])
}

/// Weights as they are in models, `value` in row 1, column 300.
fn with(value: f32) -> Vec<f32> {
    let mut values: Vec<f32> = (0..ROWS * ROW).map(|i| ((i * i) as f32 * 0.37).sin() / 50.0).collect();
    values[ROW + 300] = value;
    values
}

fn encoded(
    values: &[f32],
    dtype: DType,
    weights: Option<&[f32]>,
    vanished: Option<Arc<Vanished>>,
) -> Result<Vec<f32>, String> {
    let shape = Shape::new(&[ROW as u64, ROWS as u64]).unwrap();
    let tensor = Tensor::in_memory("blk.0.t", shape, values).unwrap();
    let how = Encoding { vanished, ..Encoding::new(dtype, weights.map(Arc::from)) };
    let stored = tensor.encode_by(how).unwrap();
    let mut out = vec![0.0; values.len()];
    stored.decode_rows(0..ROWS, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

#[test]
fn a_weight_is_refused_or_kept_in_every_dtype() {
    let importances: [Option<Vec<f32>>; 3] =
        [None, Some(vec![1.0; ROW]), Some((0..ROW).map(|i| 1e4 * (1.1 + (i as f32).sin())).collect())];
    let mut refused = 0;
    for level in simd::levels() {
        for dtype in encoders() {
            for exponent in 0..=77 {
                let value = if exponent == 77 { -f32::MAX } else { 10f32.powf(exponent as f32 / 2.0) };
                for weights in importances.iter().filter(|w| w.is_some() || dtype.traits().plain) {
                    let found = simd::at(level, || encoded(&with(value), dtype, weights.as_deref(), None));
                    match found {
                        Err(e) => {
                            refused += 1;
                            let place = format!("found {value} at row 1, column 300");
                            assert!(e.contains("tensor 'blk.0.t': a weight is too large for"), "{e}");
                            assert!(e.contains(&place), "{dtype} {value}: {e}");
                            // Scales of f16 reach 65504; those of NVFP4, of four bits and three, 448, times 6.
                            let least = if dtype == DType::NVFP4 { 2688.0 } else { 6e4 };
                            assert!(value.abs() > least, "{dtype} {value}: {e}");
                        }
                        Ok(stored) => {
                            let kept = stored[ROW + 300] / value;
                            // Q1_0 has one magnitude for 128 weights, their mean.
                            let least = if dtype == DType::Q1_0 { 1.0 / 130.0 } else { 0.5 };
                            assert!(kept > least && kept < 2.0, "{dtype} {value:e}: {kept} {weights:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn what_is_too_small_for_the_scales_is_counted() {
    for dtype in encoders().filter(|d| !matches!(d, DType::F32 | DType::BF16 | DType::MXFP4)) {
        let (plain, vanished) = (with(0.0), Arc::new(Vanished::default()));
        let weights = least_weights(dtype, ROW);
        let weights = weights.as_deref();
        encoded(&plain, dtype, weights, Some(Arc::clone(&vanished))).unwrap();
        assert_eq!(vanished.found(), None, "{dtype}");
        // The last row: as large as its format can no longer hold.
        let mut small = plain;
        small[2 * ROW..].iter_mut().for_each(|x| *x *= 1e-9);
        let stored = encoded(&small, dtype, weights, Some(Arc::clone(&vanished))).unwrap();
        let (count, largest) = vanished.found().unwrap_or_else(|| panic!("{dtype}"));
        let unit = if dtype.is_quantized() { dtype.block() } else { ROW };
        assert_eq!(count as usize, ROW / unit, "{dtype}");
        assert!(largest > 1e-11 && largest < 3e-11, "{dtype} {largest}");
        assert!(stored[2 * ROW..].iter().all(|x| *x == 0.0), "{dtype}");
    }
}

#[test]
fn what_iq3_s_stores_in_the_wrong_place_is_counted() {
    let vanished = Arc::new(Vanished::default());
    encoded(&with(0.01), DType::IQ3S, None, Some(Arc::clone(&vanished))).unwrap();
    assert_eq!(vanished.misplaced(), 0);
    let mut holes = with(0.01);
    // Zeros at the end of a block and in a whole one move nothing.
    holes[224..512].fill(0.0);
    let stored = encoded(&holes, DType::IQ3S, None, Some(Arc::clone(&vanished))).unwrap();
    assert_eq!(vanished.misplaced(), 0);
    assert!(stored.iter().zip(&holes).all(|(x, y)| (x - y).abs() < 0.01));
    holes[ROW + 32..ROW + 64].fill(0.0);
    let stored = encoded(&holes, DType::IQ3S, None, Some(Arc::clone(&vanished))).unwrap();
    assert_eq!(vanished.misplaced(), 1);
    assert!(stored.iter().zip(&holes).any(|(x, y)| (x - y).abs() > 0.01));
}

#[test]
fn columns_without_importance_are_told_as_the_encoders_drop_them() {
    let mut told = 0;
    for dtype in encoders().filter(|d| d.is_quantized()) {
        assert_eq!(dtype.dead_columns(&[1.0; ROW], Search::Exact).unwrap(), 0, "{dtype}");
        let mut weights = vec![1.0; ROW];
        weights[256..].fill(0.0);
        let dead = dtype.dead_columns(&weights, Search::Exact).unwrap();
        let vanished = Arc::new(Vanished::default());
        let stored = encoded(&with(0.01), dtype, Some(&weights), Some(Arc::clone(&vanished))).unwrap();
        let zeros = (256..ROW).all(|column| (0..ROWS).all(|row| stored[row * ROW + column] == 0.0));
        assert_eq!(dead == 256, zeros, "{dtype}: {dead}");
        assert!(dead == 0 || zeros, "{dtype}: {dead}");
        // Told before, so it is not counted too.
        assert_eq!(vanished.found(), None, "{dtype}");
        told += usize::from(zeros);
    }
    assert!(told >= 8, "{told}");
}

#[test]
fn lengths_that_do_not_belong_together_are_an_error() {
    for dtype in DType::all() {
        let t = dtype.traits();
        let mut values = vec![0.0; 2 * t.block];
        let mut bytes = vec![0; 2 * t.bytes];
        assert_eq!(dtype.decode(&bytes, &mut values).is_ok(), t.decode.is_some(), "{dtype}");
        assert!(dtype.decode(&bytes[1..], &mut values).is_err(), "{dtype}");
        assert!(dtype.decode(&bytes, &mut values[1..]).is_err(), "{dtype}");
        let row = values.len();
        let plain = t.encode.is_some() && t.plain;
        assert_eq!(dtype.encode(&values, row, None, &mut bytes).is_ok(), plain, "{dtype}");
        let weights = vec![1.0; row];
        let found = dtype.encode(&values, row, Some(&weights), &mut bytes);
        assert_eq!(found.is_ok(), t.encode.is_some(), "{dtype}");
        assert!(dtype.encode(&values, row, None, &mut bytes[1..]).is_err(), "{dtype}");
        assert!(dtype.encode(&values, row, Some(&vec![1.0; row - 1]), &mut bytes).is_err(), "{dtype}");
        assert!(dtype.encode(&values, row + 1, None, &mut bytes).is_err(), "{dtype}");
    }
}
