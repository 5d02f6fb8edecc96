//! How many weights a model has, and how that is told in its name: `7B`, or `8x7B` if there are experts.
//! Specification: `GGUFWriter.get_total_parameter_count`, `gguf.utility.size_label`.

use super::id;
use ggraft_formats::Tensor;

/// The weights of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    pub total: u64,
    /// Those that all tokens meet, and those of one expert.
    shared: u64,
    expert: u64,
    /// How many experts there are.
    experts: u64,
}

impl Weights {
    pub fn of(tensors: &[Tensor]) -> Weights {
        let mut weights = Weights::default();
        let (mut stacks, mut experts) = (0u64, 0u64);
        for tensor in tensors {
            let size = tensor.shape().elements();
            weights.total = weights.total.saturating_add(size);
            // Biases count as shared, though each expert has its own.
            if tensor.name.contains("_exps.") && tensor.shape().ne().len() > 2 {
                let count = tensor.shape().dim(2);
                weights.expert = weights.expert.saturating_add(size / count.max(1));
                experts = experts.saturating_add(count);
                stacks += 1;
            } else {
                weights.shared = weights.shared.saturating_add(size);
            }
        }
        weights.experts = experts.checked_div(stacks).unwrap_or(0);
        weights
    }

    /// The size label.
    pub fn label(&self) -> String {
        match self.experts {
            0 => id::size_label(self.total),
            n => format!("{n}x{}", id::size_label(self.shared.saturating_add(self.expert))),
        }
    }
}
