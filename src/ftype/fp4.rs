//! Files of 4-bit floats. OpenAI ships its models so that only the experts are small and all else has eight bits; the
//! names of dense files are ours, for llama-quantize has none.
//! Specification: llama.cpp v0.5.0, `LLAMA_FTYPE_MOSTLY_MXFP4_MOE`, `LLAMA_FTYPE_MOSTLY_NVFP4`.

use super::mixture::{Falcon, Mixture, PLAIN, Rules, When::*};
use super::{Ftype, named};
use ggraft_formats::DType;

const EXPERTS_ONLY: Rules = &[(Stacked, DType::MXFP4), (Always, DType::Q8_0)];

pub(super) const MXFP4_MOE: Ftype = named(
    "MXFP4_MOE",
    38,
    DType::MXFP4,
    Some(Mixture {
        attn_q: EXPERTS_ONLY,
        attn_k: EXPERTS_ONLY,
        attn_v: EXPERTS_ONLY,
        attn_output: EXPERTS_ONLY,
        ffn_in: EXPERTS_ONLY,
        ffn_down: EXPERTS_ONLY,
        other: EXPERTS_ONLY,
        ..DENSE
    }),
);

/// All but embeddings and output, which have eight bits.
const DENSE: Mixture = Mixture {
    output: DType::Q8_0,
    embedding: Some(DType::Q8_0),
    falcon: Falcon::AS_OTHERS,
    spares_attention: false,
    ..PLAIN
};

/// Its number is that of the files with experts: llama.cpp has no other for the dtype.
pub(super) const MXFP4: Ftype = Ftype { apart: true, ..named("MXFP4", 38, DType::MXFP4, Some(DENSE)) };
pub(super) const NVFP4: Ftype = Ftype { apart: true, ..named("NVFP4", 39, DType::NVFP4, Some(DENSE)) };
