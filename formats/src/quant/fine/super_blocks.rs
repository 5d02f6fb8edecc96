//! The fine search of super-blocks of 256.

use super::symmetric::Levels;
use super::{Fine, Refine, affine, refine, symmetric};
use crate::quant::DType;
use crate::quant::iq4::BlockIQ4XS;
use crate::quant::q2_k::BlockQ2K;
use crate::quant::q3_k::BlockQ3K;
use crate::quant::q4_k::{self, BlockQ4K};
use crate::quant::q5_k::BlockQ5K;
use crate::quant::q6_k::BlockQ6K;
use crate::quant::scales::{Affine, Symmetric};

/// The search for a dtype that has super-blocks.
pub(super) fn of(dtype: DType) -> Option<Refine> {
    Some(match dtype {
        DType::Q2K => refine::<BlockQ2K, 256>,
        DType::Q3K => refine::<BlockQ3K, 256>,
        DType::Q4K => refine::<BlockQ4K, 256>,
        DType::Q5K => refine::<BlockQ5K, 256>,
        DType::Q6K => refine::<BlockQ6K, 256>,
        DType::IQ4XS => refine::<BlockIQ4XS, 256>,
        _ => return None,
    })
}

/// The elements by sub-blocks.
#[inline(always)]
fn subs<const G: usize, const S: usize>(x: &[f32; 256]) -> [[f32; S]; G] {
    std::array::from_fn(|j| std::array::from_fn(|i| x[S * j + i]))
}

/// Better scales and minima than those of the start, and the codes under them.
#[inline(always)]
fn affine<const G: usize, const S: usize>(
    form: &affine::Form,
    x: &[f32; 256],
    weights: &[f32; 256],
    start: Affine<G>,
) -> (Affine<G>, [[u8; S]; G]) {
    let x = subs(x);
    let scales = form.refined(&x, &subs(weights), start);
    (scales, form.codes(&x, &scales))
}

/// The same without minima.
#[inline(always)]
fn symmetric<const G: usize, const S: usize>(
    form: &symmetric::Form,
    x: &[f32; 256],
    weights: &[f32; 256],
    start: Symmetric<G>,
) -> (Symmetric<G>, [[u8; S]; G]) {
    let x = subs(x);
    let scales = form.refined(&x, &subs(weights), start);
    (scales, form.codes(&x, &scales))
}

const Q2: affine::Form = affine::Form { top: 3.0, scales: (0, 15), common: (6, 6, 0.5) };
const Q4: affine::Form = affine::Form { top: 15.0, scales: (0, 63), common: (4, 3, 0.5) };
const Q5: affine::Form = affine::Form { top: 31.0, scales: (0, 63), common: (4, 3, 0.5) };

const Q3: symmetric::Form = symmetric::Form {
    levels: Levels::Whole(-4.0, 3.0),
    scales: (-32, 31),
    ends: (-0.2, 0.04, 16),
    common: (8, 0.5),
};
const Q6: symmetric::Form = symmetric::Form {
    levels: Levels::Whole(-32.0, 31.0),
    scales: (-128, 127),
    ends: (-0.04, 0.005, 16),
    common: (8, 0.5),
};
const IQ4: symmetric::Form =
    symmetric::Form { levels: Levels::Table, scales: (-32, 31), ends: (-0.2, 0.03, 16), common: (8, 0.5) };

impl Fine<256> for BlockQ2K {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = affine::<16, 16>(&Q2, x, weights, self.parts());
        Self::of_parts(&scales, codes.as_flattened())
    }
}

impl Fine<256> for BlockQ4K {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = affine(&Q4, x, weights, self.scales.parts());
        Self::new((q4_k::Scales::of_parts(&scales), codes))
    }
}

impl Fine<256> for BlockQ5K {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = affine(&Q5, x, weights, self.scales.parts());
        Self::new((q4_k::Scales::of_parts(&scales), codes))
    }
}

impl Fine<256> for BlockQ3K {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = symmetric::<16, 16>(&Q3, x, weights, self.parts());
        Self::of_parts(&scales, codes.as_flattened())
    }
}

impl Fine<256> for BlockQ6K {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = symmetric::<16, 16>(&Q6, x, weights, self.parts());
        Self::of_parts(&scales, codes.as_flattened())
    }
}

impl Fine<256> for BlockIQ4XS {
    #[inline(always)]
    fn refined(&self, x: &[f32; 256], weights: &[f32; 256]) -> Self {
        let (scales, codes) = symmetric(&IQ4, x, weights, self.parts());
        Self::of_parts(&scales, &codes)
    }
}
