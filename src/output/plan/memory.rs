//! The memory that a run takes beside the mapped inputs, told in the plan: within a factor of 1.5 of what is measured
//! (`tests/memory.rs`). The models' metadata and tables of tensors, the headers that are written, and what each thread
//! holds: a chunk of every output, a block of every source decoded to f64, the same in f32, and its encoding.

use crate::merge::Fate;
use crate::output::plan::{Plan, Share, Step};
use ggraft_formats::write::{BLOCK, CHUNK};

/// What a process takes that does nothing: its own data, the allocator's arenas.
const BASE: u64 = 3 << 20;
/// What a thread takes that does nothing: its arena, and what was left of its earlier work.
const THREAD: u64 = 192 << 10;
/// What is known of a tensor: its name, places, fate and meters.
const TENSOR: u64 = 1 << 10;
/// What is kept of a token of a model while vocabularies are matched.
const TOKEN: u64 = 64;
/// Weights of each source that are sampled at a time to see how models are related, in f32.
const SAMPLE: u64 = (3 * 4) << 16;

/// Tells each of `plans`, which are carried out together, what the others take.
pub fn in_company(plans: &mut [Plan]) {
    let all: Vec<Share> = plans.iter().map(Plan::share).collect();
    let heads: u64 = all.iter().map(|share| share.heads).sum();
    let chunks: u64 = all.iter().map(|share| share.chunks).sum();
    for (plan, own) in plans.iter_mut().zip(&all) {
        plan.company = Share { heads: heads - own.heads, chunks: chunks - own.chunks };
    }
}

impl Plan {
    /// What this output takes.
    fn share(&self) -> Share {
        let weights: u64 = self.steps.iter().map(|s| s.bytes).sum();
        let chunk = |s: &Step| {
            let rows = s.shape.rows().max(1);
            s.bytes / rows * (CHUNK as u64 / s.shape.row().max(1)).clamp(1, rows)
        };
        let chunks = self.steps.iter().map(chunk).max().unwrap_or(0);
        Share { heads: self.total.saturating_sub(weights), chunks }
    }

    /// The bytes of anonymous memory that the run takes at most, on so many threads.
    pub fn memory(&self, threads: usize) -> u64 {
        let models = self.origins.len().max(1) as u64;
        let merges = self.steps.iter().any(|s| s.verdict.is_some_and(|v| v.fate == Fate::Merged));
        let metered = self.steps.iter().any(|s| s.meter.is_some());
        let longest = self.steps.iter().map(|s| s.shape.row()).max().unwrap_or(0).max(BLOCK as u64);
        // Several outputs remember what they have in common, as it lies and decoded.
        let remembered = if self.company.chunks > 0 && !merges { 2 * 4 } else { 0 };
        let per_weight = if merges { (models + 1) * 8 + 4 * 4 } else { 3 * 4 }
            + if metered { 5 * 4 } else { 0 }
            + remembered;
        let share = self.share();
        // One comes after the other.
        let sampled = if merges { SAMPLE } else { 0 };
        let thread = sampled.max(longest * per_weight + share.chunks + self.company.chunks) + THREAD;
        let tokens = self.metadata().get("tokenizer.ggml.tokens").and_then(|v| v.as_array());
        let matching =
            if merges { models * tokens.map_or(0, |tokens| tokens.len() as u64) * TOKEN } else { 0 };
        let metadata = self.metadata().memory();
        let known = models * (metadata + self.steps.len() as u64 * TENSOR);
        // A header is planned, and then laid out once more; the finished one is read back.
        BASE + known
            + matching.max(metadata)
            + 2 * (share.heads + self.company.heads)
            + thread * threads as u64
    }
}
