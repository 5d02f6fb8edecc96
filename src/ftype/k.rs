//! Files of 256-blocks with two levels of scales, the K-quants. S, M and L say how many tensors get more bits; names
//! that publishers use and llama-quantize has not add that embeddings and output have eight.

use super::mixture::{Falcon, Mixture, PLAIN, When::*};
use super::{Ftype, named};
use ggraft_formats::DType::{self, *};

const fn k(name: &'static str, number: u32, default: DType, mixture: Mixture) -> Ftype {
    named(name, number, default, Some(mixture))
}

pub(super) const Q2_K: Ftype = k(
    "Q2_K",
    10,
    Q2K,
    Mixture {
        attn_v: &[(Gqa(4), Q4K), (Always, Q3K)],
        attn_output: &[(Experts(8), Q5K), (Always, Q3K)],
        ffn_down: &[(Always, Q3K)],
        ..PLAIN
    },
);

pub(super) const Q2_K_S: Ftype = Ftype {
    needs_imatrix: true,
    ..k("Q2_K_S", 21, Q2K, Mixture { attn_v: &[(Gqa(4), Q4K)], ffn_down: &[(Part(8), Q4K)], ..PLAIN })
};

pub(super) const Q3_K_S: Ftype = k("Q3_K_S", 11, Q3K, Mixture { attn_output: &[(Experts(8), Q5K)], ..PLAIN });

pub(super) const Q3_K_M: Ftype = Ftype {
    aliases: &["Q3_K"],
    ..k(
        "Q3_K_M",
        12,
        Q3K,
        Mixture {
            attn_v: &[(First(2), Q5K), (Always, Q4K)],
            attn_output: &[(Experts(8), Q5K), (Always, Q4K)],
            ffn_down: &[(Part(16), Q5K), (Always, Q4K)],
            falcon: Falcon { ffn_down: Some(&[(Part(16), Q5K), (More, Q4K)]), ..PLAIN.falcon },
            ..PLAIN
        },
    )
};

pub(super) const Q3_K_L: Ftype = k(
    "Q3_K_L",
    13,
    Q3K,
    Mixture {
        attn_v: &[(Always, Q5K)],
        attn_output: &[(Not(&Experts(8)), Q5K)],
        ffn_down: &[(Always, Q5K)],
        falcon: Falcon { attn_output: Some(&[(Always, Q4K)]), ffn_down: Some(&[(Always, Q4K)]) },
        ..PLAIN
    },
);

pub(super) const Q4_K_S: Ftype = k(
    "Q4_K_S",
    14,
    Q4K,
    Mixture {
        attn_v: &[(First(4), Q5K)],
        attn_output: &[(Experts(8), Q5K)],
        ffn_down: &[(Part(8), Q5K)],
        falcon: Falcon { ffn_down: Some(&[]), ..PLAIN.falcon },
        ..PLAIN
    },
);

pub(super) const Q4_K_M: Ftype = Ftype {
    aliases: &["Q4_K"],
    ..k(
        "Q4_K_M",
        15,
        Q4K,
        Mixture {
            attn_v: &[(More, Q6K)],
            attn_output: &[(Experts(8), Q5K)],
            ffn_down: &[(More, Q6K)],
            falcon: Falcon { ffn_down: Some(&[(Part(16), Q6K), (More, Q5K)]), ..PLAIN.falcon },
            ..PLAIN
        },
    )
};

pub(super) const Q5_K_S: Ftype = k("Q5_K_S", 16, Q5K, PLAIN);

pub(super) const Q5_K_M: Ftype = Ftype {
    aliases: &["Q5_K"],
    ..k("Q5_K_M", 17, Q5K, Mixture { attn_v: &[(More, Q6K)], ffn_down: &[(More, Q6K)], ..PLAIN })
};

pub(super) const Q6_K: Ftype = k("Q6_K", 18, Q6K, PLAIN);

/// A mixture whose embeddings and output have eight bits.
const fn with_eight_bit_ends(name: &'static str, base: Ftype) -> Ftype {
    Ftype { name, aliases: &[], ends: Some(Q8_0), apart: true, ..base }
}

pub(super) const Q6_K_L: Ftype = with_eight_bit_ends("Q6_K_L", Q6_K);
pub(super) const Q5_K_L: Ftype = with_eight_bit_ends("Q5_K_L", Q5_K_M);
pub(super) const Q4_K_L: Ftype = with_eight_bit_ends("Q4_K_L", Q4_K_M);
pub(super) const Q3_K_XL: Ftype = with_eight_bit_ends("Q3_K_XL", Q3_K_L);
pub(super) const Q2_K_L: Ftype = with_eight_bit_ends("Q2_K_L", Q2_K);
