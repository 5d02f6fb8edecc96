//! Files of blocks whose values are looked up in a codebook, the I-quants. Below three bits a weight most of the
//! attention and the first layers get a larger dtype, and an importance matrix is a must.

use super::mixture::{Falcon, Mixture, PLAIN, Rules, When::*};
use super::{Ftype, named};
use ggraft_formats::DType::{self, *};

const fn i(name: &'static str, number: u32, default: DType, mixture: Mixture) -> Ftype {
    named(name, number, default, Some(mixture))
}

/// Files of less than three bits a weight.
const fn low(name: &'static str, number: u32, default: DType, mixture: Mixture) -> Ftype {
    Ftype { needs_imatrix: true, ..i(name, number, default, mixture) }
}

/// IQ4_NL and IQ4_XS.
const FOUR: Mixture = Mixture {
    attn_v: &[(Gqa(4), Q5K)],
    attn_output: EIGHT_EXPERTS,
    ffn_down: &[(Both(&Part(8), &Not(&Imatrix)), Q5K)],
    ..PLAIN
};

const EIGHT_EXPERTS: Rules = &[(Experts(8), Q5K)];

/// IQ2_XXS and IQ2_XS.
const TWO: Mixture = Mixture {
    output: Q5K,
    embedding: Some(Q2K),
    attn_k: &[(Experts(8), Q4K)],
    attn_v: &[(Gqa(4), Q4K), (ExpertsFrom(4), Q4K), (Always, Q2K)],
    attn_output: EIGHT_EXPERTS,
    ffn_down: &[(CountedPart(8), Q2K)],
    falcon: Falcon::AS_OTHERS,
    spares_attention: false,
    ..PLAIN
};

/// IQ2_S and IQ2_M.
const TWO_AND_A_HALF: Mixture = Mixture {
    embedding: Some(IQ3S),
    attn_v: &[(Gqa(4), Q4K), (ExpertsFrom(4), Q4K), (Always, IQ3S)],
    attn_output: &[(Experts(8), Q5K), (Always, IQ3S)],
    ffn_down: &[(CountedPart(8), IQ3S)],
    ..TWO
};

/// IQ1_S and IQ1_M.
const ONE: Mixture = Mixture { attn_output: &[(Experts(8), Q5K), (Always, IQ2XXS)], ..TWO };

pub(super) const IQ4_NL: Ftype = i("IQ4_NL", 25, IQ4NL, FOUR);
pub(super) const IQ4_XS: Ftype = i("IQ4_XS", 30, IQ4XS, FOUR);

pub(super) const IQ3_M: Ftype = i(
    "IQ3_M",
    27,
    IQ3S,
    Mixture {
        attn_v: &[(Always, Q4K)],
        attn_output: &[(Experts(8), Q5K), (Always, Q4K)],
        ffn_down: &[(Part(8), Q4K), (Both(&Experts(8), &More), Q4K)],
        ..PLAIN
    },
);

pub(super) const IQ3_S: Ftype =
    i("IQ3_S", 26, IQ3S, Mixture { attn_v: &[(Gqa(4), Q4K)], attn_output: EIGHT_EXPERTS, ..PLAIN });

pub(super) const IQ3_XS: Ftype = low(
    "IQ3_XS",
    22,
    IQ3S,
    Mixture {
        attn_q: &[(Always, IQ3XXS)],
        attn_k: &[(Always, IQ3XXS)],
        attn_v: &[(Gqa(4), Q4K)],
        attn_output: EIGHT_EXPERTS,
        ffn_in: &[(Middle, IQ3XXS)],
        ..PLAIN
    },
);

pub(super) const IQ3_XXS: Ftype = low(
    "IQ3_XXS",
    23,
    IQ3XXS,
    Mixture {
        output: Q5K,
        embedding: Some(IQ3S),
        attn_q: &[(Always, IQ2S)],
        attn_k: &[(Always, IQ2S)],
        attn_v: &[(Gqa(4), Q4K), (Not(&Imatrix), IQ3S)],
        attn_output: &[(Experts(8), Q5K), (Always, IQ3S)],
        ffn_down: &[(Both(&Part(8), &Not(&Imatrix)), Q4K), (Not(&Imatrix), Q3K)],
        ..PLAIN
    },
);

pub(super) const IQ2_M: Ftype = low("IQ2_M", 29, IQ2S, TWO_AND_A_HALF);
pub(super) const IQ2_S: Ftype = low("IQ2_S", 28, IQ2XS, TWO_AND_A_HALF);
pub(super) const IQ2_XS: Ftype = low("IQ2_XS", 20, IQ2XS, TWO);
pub(super) const IQ2_XXS: Ftype = low("IQ2_XXS", 19, IQ2XXS, TWO);
pub(super) const IQ1_M: Ftype = low("IQ1_M", 31, IQ1M, ONE);
pub(super) const IQ1_S: Ftype = low("IQ1_S", 24, IQ1S, ONE);
