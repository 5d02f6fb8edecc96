//! Blocks that hold the very values: of weights that were codes under a scale once, the codes and the scale are found again.
//! Nothing is rounded: each weight that a block would give is compared with the one that it stands for.
//! Specification: `block_mxfp4`, `block_q4_0`, `block_q5_0` and `block_q8_0` of ggml.

use super::DType;
use half::f16;

/// The dtypes whose blocks can be found, the smallest first.
pub const EXACT: [DType; 4] = [DType::MXFP4, DType::Q4_0, DType::Q5_0, DType::Q8_0];

/// Elements in a block of each.
const BLOCK: usize = 32;

/// The magnitudes of E2M1.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

impl DType {
    /// Encodes whole blocks of `values` into `out` so that decoding gives the same values; the number of the first block that
    /// cannot hold its own.
    ///
    /// # Errors
    /// There is such a block, or the dtype is not of [`EXACT`]: then it is the first.
    pub fn encode_exactly(self, values: &[f32], out: &mut [u8]) -> Result<(), usize> {
        let blocks = values.as_chunks::<BLOCK>().0;
        let bytes = out.len() / blocks.len().max(1);
        for (i, (values, out)) in blocks.iter().zip(out.chunks_exact_mut(bytes.max(1))).enumerate() {
            let found = match self {
                DType::MXFP4 => mxfp4(values, out),
                DType::Q4_0 => q4_0(values, out),
                DType::Q5_0 => q5_0(values, out),
                DType::Q8_0 => q8_0(values, out),
                _ => None,
            };
            found.ok_or(i)?;
        }
        Ok(())
    }
}

/// The value of the largest magnitude.
fn largest(values: &[f32; BLOCK]) -> Option<f32> {
    values
        .iter()
        .all(|x| x.is_finite())
        .then(|| values.iter().fold(0.0f32, |most, x| if x.abs() > most.abs() { *x } else { most }))
}

/// Two codes a byte, elements 16 apart.
fn pack(codes: &[u8; BLOCK], out: &mut [u8]) {
    let (low, high) = codes.split_at(BLOCK / 2);
    out.iter_mut().zip(low.iter().zip(high)).for_each(|(byte, (a, b))| *byte = a | b << 4);
}

fn mxfp4(values: &[f32; BLOCK], out: &mut [u8]) -> Option<()> {
    let most = largest(values)?.abs();
    // The code of a value under 2^(exponent - 127).
    let code = |x: f32, exponent: i32| {
        let scaled = f64::from(x.abs()) * 2f64.powi(127 - exponent);
        let code = E2M1.iter().position(|v| f64::from(*v) == scaled)? as u8;
        Some(if x < 0.0 { code | 8 } else { code })
    };
    let exponents = match most {
        0.0 => 0..=0,
        // The largest is between half of the scale and six times it.
        _ => {
            let e = most.log2().floor() as i32 + 127;
            (e - 3).max(0)..=(e + 2).min(254)
        }
    };
    exponents.rev().find_map(|exponent| {
        let mut codes = [0; BLOCK];
        for (to, x) in codes.iter_mut().zip(values) {
            *to = code(*x, exponent)?;
        }
        let (scale, codes_out) = out.split_first_mut()?;
        *scale = exponent as u8;
        pack(&codes, codes_out);
        Some(())
    })
}

/// The scale that the largest value is `steps` of, and how many of it every value is, if f16 has it and all are whole.
fn whole(values: &[f32; BLOCK], scale: f32, range: std::ops::RangeInclusive<i32>) -> Option<[i32; BLOCK]> {
    let exact = scale != 0.0 && scale.is_finite() && f16::from_f32(scale).to_f32() == scale;
    if !exact {
        return None;
    }
    let mut all = [0; BLOCK];
    for (to, x) in all.iter_mut().zip(values) {
        let steps = (x / scale).round() as i32;
        if !range.contains(&steps) || steps as f32 * scale != *x {
            return None;
        }
        *to = steps;
    }
    Some(all)
}

/// The scale and how many of it each value is, between `-most` and `most - 1`; a positive scale if there is one.
fn steps(values: &[f32; BLOCK], most: i32) -> Option<(f32, [i32; BLOCK])> {
    let peak = largest(values)?;
    if peak == 0.0 {
        return Some((0.0, [0; BLOCK]));
    }
    let of = |sign: f32| {
        (1..=most).rev().find_map(|n| {
            let scale = sign * peak.abs() / n as f32;
            Some((scale, whole(values, scale, -most..=most - 1)?))
        })
    };
    of(1.0).or_else(|| of(-1.0))
}

fn q4_0(values: &[f32; BLOCK], out: &mut [u8]) -> Option<()> {
    let (scale, steps) = steps(values, 8)?;
    let (head, codes) = out.split_first_chunk_mut::<2>()?;
    *head = f16::from_f32(scale).to_le_bytes();
    pack(&steps.map(|n| (n + 8) as u8), codes);
    Some(())
}

fn q5_0(values: &[f32; BLOCK], out: &mut [u8]) -> Option<()> {
    let (scale, steps) = steps(values, 16)?;
    let (head, rest) = out.split_first_chunk_mut::<2>()?;
    let (high, codes) = rest.split_first_chunk_mut::<4>()?;
    *head = f16::from_f32(scale).to_le_bytes();
    let all = steps.map(|n| (n + 16) as u8);
    let bits = all.iter().enumerate().fold(0u32, |bits, (i, code)| bits | u32::from(code >> 4) << i);
    *high = bits.to_le_bytes();
    pack(&all.map(|code| code & 15), codes);
    Some(())
}

fn q8_0(values: &[f32; BLOCK], out: &mut [u8]) -> Option<()> {
    let (scale, steps) = steps(values, 128)?;
    let (head, codes) = out.split_first_chunk_mut::<2>()?;
    *head = f16::from_f32(scale).to_le_bytes();
    codes.iter_mut().zip(steps).for_each(|(code, n)| *code = n as i8 as u8);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(i: u64) -> u64 {
        let mut z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ z >> 27
    }

    /// Blocks of any scale and codes are found again, or others that give the same values.
    #[test]
    fn what_decodes_is_found_again() {
        for dtype in EXACT {
            let bytes = dtype.row_bytes(32).unwrap() as usize;
            let blocks: Vec<u8> = (0..512u64)
                .flat_map(|i| {
                    let mut block: Vec<u8> = (0..bytes as u64).map(|j| random(i * 64 + j) as u8).collect();
                    match dtype {
                        DType::MXFP4 => block[0] = 100 + block[0] % 60,
                        // A scale that f16 holds without losing bits of its products.
                        _ => block[..2]
                            .copy_from_slice(&f16::from_f32((i as f32 - 255.5) / 4096.0).to_le_bytes()),
                    }
                    if i.is_multiple_of(17) {
                        block[1..].fill(0);
                    }
                    block
                })
                .collect();
            let count = blocks.len() / bytes * 32;
            let (mut values, mut again) = (vec![0.0; count], vec![0.0; count]);
            dtype.decode(&blocks, &mut values).unwrap();
            let mut out = vec![0; blocks.len()];
            dtype.encode_exactly(&values, &mut out).unwrap_or_else(|i| panic!("{dtype}: block {i}"));
            dtype.decode(&out, &mut again).unwrap();
            assert!(values == again, "{dtype}");
        }
    }

    #[test]
    fn what_no_block_holds_is_told_by_its_number() {
        for dtype in EXACT {
            let mut values = [0.0; 96];
            values[64] = 1.0;
            values[65] = 0.3;
            let mut out = vec![0; 3 * dtype.row_bytes(32).unwrap() as usize];
            assert_eq!(dtype.encode_exactly(&values, &mut out), Err(2), "{dtype}");
            values[65] = f32::NAN;
            assert_eq!(dtype.encode_exactly(&values, &mut out), Err(2), "{dtype}");
        }
    }
}
