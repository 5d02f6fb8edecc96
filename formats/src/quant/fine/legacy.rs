//! The fine search of blocks of 32 that have one scale.

use super::symmetric::Levels;
use super::{Fine, Refine, affine, refine, symmetric};
use crate::quant::DType;
use crate::quant::float::{f16_bits, f32_of_f16};
use crate::quant::iq4::BlockIQ4NL;
use crate::quant::q4::{BlockQ4_0, BlockQ4_1};
use crate::quant::q5::{BlockQ5_0, BlockQ5_1};
use crate::quant::q8::BlockQ8_0;
use crate::quant::scales::{Affine, Symmetric};
use zerocopy::little_endian::U16;

/// The search for a dtype that has blocks of one scale.
pub(super) fn of(dtype: DType) -> Option<Refine> {
    Some(match dtype {
        DType::Q4_0 => refine::<BlockQ4_0, 32>,
        DType::Q4_1 => refine::<BlockQ4_1, 32>,
        DType::Q5_0 => refine::<BlockQ5_0, 32>,
        DType::Q5_1 => refine::<BlockQ5_1, 32>,
        DType::Q8_0 => refine::<BlockQ8_0, 32>,
        DType::IQ4NL => refine::<BlockIQ4NL, 32>,
        _ => return None,
    })
}

/// A form without minima and with one scale.
const fn one(levels: Levels, ends: (f32, f32, u8)) -> symmetric::Form {
    symmetric::Form { levels, scales: (1, 1), ends, common: (1, 0.0) }
}

const Q4_0: symmetric::Form = one(Levels::Whole(-8.0, 7.0), (-0.2, 0.03, 16));
const Q5_0: symmetric::Form = one(Levels::Whole(-16.0, 15.0), (-0.1, 0.015, 16));
const Q8_0: symmetric::Form = one(Levels::Whole(-127.0, 127.0), (-0.02, 0.002, 16));
const IQ4: symmetric::Form = one(Levels::Table, (-0.2, 0.03, 16));

/// A form with one scale and one minimum.
const fn two(top: f32) -> affine::Form {
    affine::Form { top, scales: (1, 1), common: (1, 1, 0.0) }
}

const Q4_1: affine::Form = two(15.0);
const Q5_1: affine::Form = two(31.0);

/// A block as one sub-block with one scale, searched for; the scale and the codes.
#[inline(always)]
fn of_one(form: &symmetric::Form, x: &[f32; 32], weights: &[f32; 32], d: U16) -> (f32, [u8; 32]) {
    let start = Symmetric { d: d.get(), of_subs: [1] };
    let scales = form.refined(&[*x], &[*weights], start);
    let [codes] = form.codes(&[*x], &scales);
    (f32_of_f16(scales.d), codes)
}

/// The same with a minimum, which is added.
#[inline(always)]
fn of_two(
    form: &affine::Form,
    x: &[f32; 32],
    weights: &[f32; 32],
    (d, m): (U16, U16),
) -> (f32, f32, [u8; 32]) {
    const SIGN: u16 = 0x8000;
    let start = Affine { d: d.get(), dmin: m.get() ^ SIGN, of_subs: [1], mins: [1] };
    let scales = form.refined(&[*x], &[*weights], start);
    let [codes] = form.codes(&[*x], &scales);
    (f32_of_f16(scales.d), -f32_of_f16(scales.dmin), codes)
}

impl Fine<32> for BlockQ4_0 {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, codes) = of_one(&Q4_0, x, weights, self.d);
        Self::new(d, &codes)
    }
}

impl Fine<32> for BlockQ5_0 {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, codes) = of_one(&Q5_0, x, weights, self.d);
        Self::new(d, &codes)
    }
}

impl Fine<32> for BlockQ8_0 {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, codes) = of_one(&Q8_0, x, weights, self.d);
        BlockQ8_0 { d: U16::new(f16_bits(d)), qs: codes.map(|code| code.wrapping_sub(127) as i8) }
    }
}

impl Fine<32> for BlockIQ4NL {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, codes) = of_one(&IQ4, x, weights, self.d);
        Self::new(d, &codes)
    }
}

impl Fine<32> for BlockQ4_1 {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, m, codes) = of_two(&Q4_1, x, weights, (self.d, self.m));
        Self::new(d, m, &codes)
    }
}

impl Fine<32> for BlockQ5_1 {
    #[inline(always)]
    fn refined(&self, x: &[f32; 32], weights: &[f32; 32]) -> Self {
        let (d, m, codes) = of_two(&Q5_1, x, weights, (self.d, self.m));
        Self::new(d, m, &codes)
    }
}
