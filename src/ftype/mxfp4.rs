//! Files of 4-bit floats, as OpenAI ships its models: only the experts are small, all else has eight bits.

use super::Ftype;
use super::mixture::{Falcon, Mixture, Rules, When::*};
use ggraft_formats::DType::{MXFP4, Q8_0};

const EXPERTS_ONLY: Rules = &[(Stacked, MXFP4), (Always, Q8_0)];

pub(super) const MXFP4_MOE: Ftype = Ftype {
    name: "MXFP4_MOE",
    number: 38,
    aliases: &[],
    default: MXFP4,
    needs_imatrix: false,
    mixture: Some(Mixture {
        output: Q8_0,
        embedding: Some(Q8_0),
        attn_q: EXPERTS_ONLY,
        attn_k: EXPERTS_ONLY,
        attn_v: EXPERTS_ONLY,
        attn_output: EXPERTS_ONLY,
        ffn_in: EXPERTS_ONLY,
        ffn_down: EXPERTS_ONLY,
        other: EXPERTS_ONLY,
        falcon: Falcon::AS_OTHERS,
        spares_attention: false,
    }),
};
