//! The same of architectures other than llama.
//! Specification: `models/*.cpp` of llama.cpp v0.5.0; what the classes of its converter insist on.

use super::{Refuse, Row};
use serde_json::json;

/// By GGUF's name of the architecture.
pub const ROWS: &[(&str, &[Row])] =
    &[("bitnet", BITNET), ("maple", MAPLE), ("spark2_5", SPARK2_5), ("talkie", SILU)];

const SILU: &[Row] = &[Row {
    key: "hidden_act",
    fine: |v| *v == json!("silu"),
    expected: "silu",
    otherwise: Refuse,
    runtime: "the runtime always computes SiLU in this family",
}];

/// What the newer models of the family have (relu2) the runtime does not compute.
const BITNET: &[Row] = SILU;

const MAPLE: &[Row] = &[
    Row {
        key: "hidden_act",
        fine: |v| *v == json!("silu"),
        expected: "silu",
        otherwise: Refuse,
        runtime: "the runtime always computes SiLU in this family",
    },
    Row {
        key: "num_shared_experts",
        fine: |v| *v == json!(0),
        expected: "0",
        otherwise: Refuse,
        runtime: "the runtime knows no expert that all tokens go to in this family",
    },
    Row {
        key: "norm_topk_prob",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Refuse,
        runtime: "the runtime always makes the weights of the chosen experts sum to one",
    },
    Row {
        key: "nope_on_global_attention",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Refuse,
        runtime: "the runtime does not rotate heads in layers that attend to all",
    },
];

const SPARK2_5: &[Row] = &[
    Row {
        key: "hidden_act",
        fine: |v| *v == json!("gelu"),
        expected: "gelu",
        otherwise: Refuse,
        runtime: "the runtime always computes GELU in this family",
    },
    Row {
        key: "gate_attn_act_mode",
        fine: |v| *v == json!("sigmoid"),
        expected: "sigmoid",
        otherwise: Refuse,
        runtime: "the runtime gates attention by a sigmoid",
    },
    Row {
        key: "headwise_attn_output_gate",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Refuse,
        runtime: "the runtime has one gate a head",
    },
];
