//! What the work on a tensor costs, so that jobs take about the same time: the slower of reading and computing. The rates of
//! the encoders were measured as in `formats/benches/README.md` (one thread, AVX-512): those of IQ1 to IQ3 and of the ternary and
//! 4-bit floats on an Intel Xeon on 2026-11-27, the others on an AMD EPYC on 2026-11-22. That of a merge is an estimate; how
//! fast a machine reads, and how many cores it has, the user may say.

use crate::output::plan::{Plan, SEARCH, Step};
use ggraft_formats::DType;
use serde::{Deserialize, Serialize};

/// What a job has.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    pub cores: u64,
    /// Bytes that it reads in a second.
    pub reads: u64,
}

/// Nanoseconds of one thread to decode a weight, merge it and hand it on, each time that it is read.
const MERGE: f64 = 4.0;

/// Nanoseconds of one thread to move a weight from one place to another.
const MOVE: f64 = 0.5;

/// Nanoseconds of one thread to encode a weight: plain, and with an importance matrix.
fn encode(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::Q4_0 | DType::Q5_0 => (0.15, 2.4),
        DType::Q4_1 | DType::Q5_1 => (0.15, 6.8),
        DType::Q8_0 => (0.13, 0.14),
        DType::Q2K => (3.9, 9.0),
        DType::Q3K => (1.8, 4.4),
        DType::Q4K => (4.2, 7.4),
        DType::Q5K => (3.4, 7.3),
        DType::Q6K => (2.0, 2.3),
        DType::IQ4NL | DType::IQ4XS => (2.7, 3.4),
        DType::TQ1_0 | DType::TQ2_0 => (0.3, 0.3),
        DType::NVFP4 => (1.0, 1.0),
        DType::MXFP4 | DType::Q2_0 => (0.4, 0.4),
        DType::Q1_0 => (0.5, 0.5),
        DType::IQ1S => (29.0, 29.0),
        DType::IQ1M => (32.0, 36.0),
        DType::IQ2XXS => (63.0, 63.0),
        DType::IQ2XS => (83.0, 83.0),
        DType::IQ2S => (34.0, 42.0),
        DType::IQ3XXS => (59.0, 67.0),
        DType::IQ3S => (45.0, 59.0),
        _ => (0.1, 0.1),
    }
}

/// Nanoseconds of one thread that the fine search adds for a weight (AVX-512).
fn refine(dtype: DType) -> f64 {
    match dtype {
        DType::Q2K => 190.0,
        DType::Q4K | DType::Q5K | DType::IQ4XS => 120.0,
        DType::Q3K | DType::Q6K | DType::Q4_1 | DType::Q5_1 | DType::IQ4NL => 80.0,
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => 40.0,
        _ => 0.0,
    }
}

/// The seconds that a job of this speed would take for each tensor of a plan.
pub fn of(plan: &Plan, speed: Speed) -> Vec<f64> {
    let weighed = plan.metadata().get("quantize.imatrix.file").is_some();
    let fine = plan.metadata().get(SEARCH).is_some();
    let models = plan.origins.len().max(1) as f64;
    plan.steps.iter().map(|step| seconds(step, plan.passes as f64, models, (weighed, fine), speed)).collect()
}

fn seconds(step: &Step, passes: f64, models: f64, (weighed, fine): (bool, bool), speed: Speed) -> f64 {
    let weights = step.shape.elements() as f64;
    let merges = step.weights.iter().any(|w| *w != 0.0);
    let (plain, importance) = if step.from == step.to && !merges { (0.0, 0.0) } else { encode(step.to) };
    let (passes, models) = if merges { (passes, models) } else { (1.0, 1.0) };
    let encode = if weighed { importance } else { plain };
    let refines = fine && encode > 0.0 && step.to.has_fine_search(weighed);
    let refine = if refines { refine(step.to) } else { 0.0 };
    let merge = if merges { MERGE * passes } else { 0.0 };
    let computes = weights * (MOVE + merge + encode + refine) / 1e9 / speed.cores.max(1) as f64;
    let source = step.from.row_bytes(step.shape.row()).unwrap_or(step.bytes);
    let bytes = source as f64 * step.shape.rows() as f64 * passes * models + step.bytes as f64;
    computes.max(bytes / speed.reads.max(1) as f64)
}
