//! The plain floats: f32, f16, bf16 (read and written), f64 and the 8-bit floats of safetensors (read).
//! All little-endian. Specification: ggml `ggml_fp32_to_fp16_row`, `ggml_fp32_to_bf16_row_ref`; OCP MX for the f8 kinds.

use super::{By, DType, Traits};
use crate::simd;

pub(super) const F32: Traits = Traits {
    dtype: DType::F32,
    name: "f32",
    id: Some(0),
    block: 1,
    bytes: 4,
    decode: Some(decode_f32),
    encode: Some(encode_f32),
    plain: true,
    finite: |src| all(src, |b| f32::from_le_bytes(b).is_finite()),
    empty: |_| false,
    most: f32::MAX,
};

pub(super) const F16: Traits = Traits {
    dtype: DType::F16,
    name: "f16",
    id: Some(1),
    bytes: 2,
    decode: Some(decode_f16),
    encode: Some(encode_f16),
    plain: true,
    finite: |src| all(src, |b| u16::from_le_bytes(b) & 0x7c00 != 0x7c00),
    empty: is_zero,
    most: 65504.0,
    ..F32
};

pub(super) const BF16: Traits = Traits {
    dtype: DType::BF16,
    name: "bf16",
    id: Some(30),
    bytes: 2,
    decode: Some(decode_bf16),
    encode: Some(encode_bf16),
    plain: true,
    finite: |src| all(src, |b| u16::from_le_bytes(b) & 0x7f80 != 0x7f80),
    empty: is_zero,
    // 255 / 128 times the largest power of two.
    most: 3.3895314e38,
    ..F32
};

pub(super) const F64: Traits = Traits {
    dtype: DType::F64,
    name: "f64",
    id: Some(28),
    bytes: 8,
    decode: Some(decode_f64),
    encode: None,
    plain: true,
    finite: |src| all(src, |b| f64::from_le_bytes(b).is_finite()),
    ..F32
};

pub(super) const F8_E4M3: Traits = Traits {
    dtype: DType::F8E4M3,
    name: "f8_e4m3",
    // Since llama.cpp v0.8.0.
    id: Some(43),
    bytes: 1,
    decode: Some(|src, dst| dst.iter_mut().zip(src).for_each(|(x, b)| *x = f8_e4m3(*b))),
    encode: None,
    plain: true,
    finite: |src| src.iter().all(|b| b & 0x7f != 0x7f),
    ..F32
};

pub(super) const F8_E5M2: Traits = Traits {
    dtype: DType::F8E5M2,
    name: "f8_e5m2",
    id: None,
    decode: Some(|src, dst| dst.iter_mut().zip(src).for_each(|(x, b)| *x = f8_e5m2(*b))),
    finite: |src| src.iter().all(|b| b & 0x7c != 0x7c),
    ..F8_E4M3
};

pub(super) const F8_E8M0: Traits = Traits {
    dtype: DType::F8E8M0,
    name: "f8_e8m0",
    id: None,
    decode: Some(|src, dst| dst.iter_mut().zip(src).for_each(|(x, b)| *x = f8_e8m0(*b))),
    finite: |src| src.iter().all(|b| *b != 0xff),
    ..F8_E4M3
};

/// Whether all numbers are as they should be. Without a way out within a part, so that it can be done in vectors.
fn all<const N: usize>(src: &[u8], good: impl Fn([u8; N]) -> bool) -> bool {
    simd::vectorized(
        #[inline(always)]
        || src.as_chunks().0.chunks(1024).all(|part| part.iter().fold(true, |all, b| all & good(*b))),
    )
}

/// Whether all floats of 16 bits are zeros, of either sign.
fn is_zero(src: &[u8]) -> bool {
    src.as_chunks().0.iter().all(|b| u16::from_le_bytes(*b) & 0x7fff == 0)
}

/// Decodes elements of `N` bytes, in vectors.
fn decode<const N: usize>(src: &[u8], dst: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    simd::vectorized(
        #[inline(always)]
        || dst.iter_mut().zip(src.as_chunks().0).for_each(|(x, b)| *x = value(*b)),
    );
}

fn decode_f32(src: &[u8], dst: &mut [f32]) {
    for (x, b) in dst.iter_mut().zip(src.as_chunks::<4>().0) {
        *x = f32::from_le_bytes(*b);
    }
}

fn encode_f32(src: &[f32], _row: usize, _by: By<'_>, dst: &mut [u8]) {
    for (b, x) in dst.as_chunks_mut::<4>().0.iter_mut().zip(src) {
        *b = x.to_le_bytes();
    }
}

fn decode_f16(src: &[u8], dst: &mut [f32]) {
    decode(src, dst, |b| f32_of_f16(u16::from_le_bytes(b)));
}

/// The f32 of f16 bits, exactly; a NaN is made quiet, as CPUs do.
#[inline(always)]
pub(super) fn f32_of_f16(bits: u16) -> f32 {
    /// The exponents of the least normal f16 and of infinity, where those of f16 lie in an f32; how far the biases are
    /// apart.
    const NORMAL: u32 = 1 << 23;
    const INFINITE: u32 = 31 << 23;
    const BIAS: u32 = 112 << 23;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let subnormal = (f32::from_bits(magnitude + BIAS + NORMAL) - f32::from_bits(BIAS + NORMAL)).to_bits();
    let quiet = if magnitude > INFINITE { 1 << 22 } else { 0 };
    let special = (magnitude + 2 * BIAS) | quiet;
    let finite = if magnitude < NORMAL { subnormal } else { magnitude + BIAS };
    let all = if magnitude < INFINITE { finite } else { special };
    f32::from_bits(all | u32::from(bits & 0x8000) << 16)
}

fn encode_f16(src: &[f32], _row: usize, _by: By<'_>, dst: &mut [u8]) {
    if let Some(level) = simd::level() {
        return simd::to_f16(level, src, dst);
    }
    for (b, x) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src) {
        *b = f16_bits(*x).to_le_bytes();
    }
}

/// Rounds to the nearest f16, ties to even; NaN becomes the quiet NaN `sign | 0x7e00`, as in ggml.
pub(super) fn f16_bits(x: f32) -> u16 {
    if x.is_nan() { ((x.to_bits() >> 16) as u16 & 0x8000) | 0x7e00 } else { half::f16::from_f32(x).to_bits() }
}

fn decode_bf16(src: &[u8], dst: &mut [f32]) {
    decode(src, dst, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16));
}

fn encode_bf16(src: &[f32], _row: usize, _by: By<'_>, dst: &mut [u8]) {
    if let Some(level) = simd::level() {
        return simd::to_bf16(level, src, dst);
    }
    for (b, x) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src) {
        *b = bf16_bits(*x).to_le_bytes();
    }
}

/// Rounds to the nearest bf16, ties to even; NaN keeps its upper bits and is made quiet, as in ggml.
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 64;
    }
    ((bits + (0x7fff + ((bits >> 16) & 1))) >> 16) as u16
}

fn decode_f64(src: &[u8], dst: &mut [f32]) {
    for (x, b) in dst.iter_mut().zip(src.as_chunks::<8>().0) {
        *x = f64::from_le_bytes(*b) as f32;
    }
}

fn f8_e4m3(b: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(b >> 3 & 15), f32::from(b & 7));
    let magnitude = match (exponent, b & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    if b & 0x80 == 0 { magnitude } else { -magnitude }
}

fn f8_e5m2(b: u8) -> f32 {
    f32_of_f16(u16::from(b) << 8)
}

fn f8_e8m0(b: u8) -> f32 {
    if b == 0xff { f32::NAN } else { 2f64.powi(i32::from(b) - 127) as f32 }
}

#[cfg(test)]
mod tests {
    use super::super::Encode;
    use super::*;

    /// Every f16 and what lies between two of them, and a walk through all f32, NaN included.
    #[test]
    fn every_instruction_set_rounds_as_the_scalar_code() {
        let near = (0..=u16::MAX).flat_map(|h| {
            let bits = half::f16::from_bits(h).to_f32().to_bits();
            [0, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000].map(|step| bits.wrapping_add(step))
        });
        let bits: Vec<u32> = near.chain((0..=u32::MAX).step_by(4099)).collect();
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let mut found = vec![0; 2 * x.len()];
        for level in simd::levels() {
            for (encode, bits) in
                [(encode_f16 as Encode, f16_bits as fn(f32) -> u16), (encode_bf16, bf16_bits)]
            {
                simd::at(level, || encode(&x, x.len(), By::default(), &mut found));
                for (found, x) in found.as_chunks().0.iter().zip(&x) {
                    assert_eq!(u16::from_le_bytes(*found), bits(*x), "{level:?} {:08x}", x.to_bits());
                }
            }
        }
    }

    /// All that there are, NaN included.
    #[test]
    fn every_instruction_set_reads_every_f16_and_bf16() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut found = vec![0.0f32; 1 << 16];
        for level in simd::levels() {
            simd::at(level, || decode_f16(&all, &mut found));
            for (h, x) in (0..=u16::MAX).zip(&found) {
                assert_eq!(x.to_bits(), half::f16::from_bits(h).to_f32().to_bits(), "{level:?} {h:04x}");
            }
            simd::at(level, || decode_bf16(&all, &mut found));
            for (h, x) in (0u32..1 << 16).zip(&found) {
                assert_eq!(x.to_bits(), h << 16, "{level:?} {h:04x}");
            }
        }
    }

    #[test]
    fn one_infinity_is_found_wherever_it_is() {
        for (traits, one, infinite) in
            [(&F32, &1f32.to_le_bytes()[..], &f32::INFINITY.to_le_bytes()[..]), (&F16, &[0, 60], &[0, 124])]
        {
            let mut bytes = one.repeat(5000);
            assert!((traits.finite)(&bytes));
            for at in [0, 4095, 4096, 4999] {
                let place = at * one.len()..(at + 1) * one.len();
                bytes[place.clone()].copy_from_slice(infinite);
                assert!(!(traits.finite)(&bytes), "{} {at}", traits.name);
                bytes[place].copy_from_slice(one);
            }
        }
    }

    /// Values from the OCP tables: one, the largest, the least positive.
    #[test]
    fn eight_bit_floats() {
        let e4m3 = [(0x38, 1.0), (0x7e, 448.0), (0x01, 2f32.powi(-9)), (0xb8, -1.0), (0x80, -0.0)];
        let e5m2 = [(0x3c, 1.0), (0x7b, 57344.0), (0x01, 2f32.powi(-16)), (0xc0, -2.0)];
        let e8m0 = [(127, 1.0), (0, 2f32.powi(-127)), (254, 2f32.powi(127))];
        e4m3.iter().for_each(|(b, x)| assert_eq!(f8_e4m3(*b).to_bits(), f32::to_bits(*x)));
        e5m2.iter().for_each(|(b, x)| assert_eq!(f8_e5m2(*b).to_bits(), f32::to_bits(*x)));
        e8m0.iter().for_each(|(b, x)| assert_eq!(f8_e8m0(*b).to_bits(), f32::to_bits(*x)));
        assert!(f8_e4m3(0x7f).is_nan() && f8_e5m2(0x7e).is_nan() && f8_e8m0(0xff).is_nan());
        assert!(f8_e5m2(0x7c).is_infinite());
    }
}
