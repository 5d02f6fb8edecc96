//! How much a relative error of a tensor matters, told from the weights alone. In a residual network a block's
//! error counts by the block's share of the stream that it writes to, as the next norm divides by the whole; so the
//! energies are followed through the model as a mean field: inputs of unit variance behind a norm, independent
//! weights. The output and the embedding are whole streams. Names that are not known share evenly.

use crate::estimate::Named;
use crate::ftype::{Facts, TensorFact};
use crate::roles::{self, Part, Role, block};
use ggraft_formats::Result;
use std::collections::BTreeMap;

/// Of the variance of gate x up that the activation lets through: E[silu(z)^2] of a normal z.
const ACTIVATION: f64 = 0.36;

/// The energies are estimates; a share is believed up to this factor from what it is when all blocks write alike.
const TRUST: f64 = 4.0;

/// How a role's relative error counts beside that of its block. Measured on the models of the trio, where the others'
/// are alike within a factor of two: errors of queries and keys move the attention, which forgives most of them, and
/// an embedding's are averaged over the tokens that are read.
const FACTORS: [(Role, f64); 3] = [(Role::AttnQ, 0.4), (Role::AttnK, 0.4), (Role::Embedding, 0.5)];

/// The mean KL divergence, in nats, of a relative squared error of 1 behind the last block, for each unit of the energy that the
/// logits have there; half of it would be that of logits of which none stands out. Measured: `docs/quality.md`.
const NATS: f64 = 0.11;

/// The most energy that logits are believed to have: where the last norm's gains are large, what it reads is no noise.
const LOUDEST: f64 = 40.0;

/// The shares of all blocks.
pub(super) struct Field {
    shares: BTreeMap<(u64, Part), f64>,
    tied: bool,
    /// Of the logits.
    energy: f64,
}

impl Field {
    /// `energies` are the mean sums of squares of the tensors' rows, in the order of the facts.
    pub fn new(facts: &Facts, energies: &[f64], model: &Named<'_>) -> Result<Field> {
        let mut blocks: BTreeMap<(u64, Part), Flow> = BTreeMap::new();
        let (mut stream, mut head) = (Mean::default(), None);
        for (tensor, energy) in facts.tensors.iter().zip(energies) {
            if tensor.name == roles::EMBEDDING {
                stream.add(*energy);
            }
            if tensor.name == roles::HEAD {
                head = Some(*energy);
            }
            // What no matrix writes is no block.
            if let Some(key) = block(tensor.name).filter(|_| tensor.shape.significant().len() > 1) {
                blocks.entry(key).or_default().add(tensor, *energy);
            }
        }
        for (key, flow) in &mut blocks {
            flow.normed = post_norm(model, *key)?;
        }
        let tied = facts.is_tied();
        let embedding = facts.tensors.iter().find(|t| tied && t.name == roles::EMBEDDING);
        // An embedding was measured as it is looked up, without the norm before it.
        if let (Some(tensor), Some(energy)) = (embedding, stream.get()) {
            let gains = model.values("output_norm.weight", tensor.shape.row())?.unwrap_or_default();
            let squares: f64 = gains.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
            head = Some(energy * if gains.is_empty() { 1.0 } else { squares / gains.len() as f64 });
        }
        // Rows of zeros tell nothing of the others: what is not known is taken to be loud.
        let told = head.filter(|energy| energy.is_finite() && *energy > 0.0);
        let energy = told.unwrap_or(LOUDEST).min(LOUDEST);
        Ok(Field { shares: shares(stream.get().unwrap_or(1.0), &blocks), tied, energy })
    }

    /// The mean KL divergence in nats that an expected error of 1 would have, if it grew as that of small ones does.
    pub fn nats(&self) -> f64 {
        NATS * self.energy
    }

    /// How much a relative squared error of the tensor counts.
    pub fn sensitivity(&self, name: &str) -> f64 {
        let role = Role::of(name);
        let factor = FACTORS.iter().find(|(r, _)| *r == role).map_or(1.0, |(_, factor)| *factor);
        let share = block(name).and_then(|key| self.shares.get(&key)).copied().unwrap_or(1.0);
        let as_output = if self.tied && name == "token_embd.weight" { 1.0 } else { 0.0 };
        factor * share + as_output
    }
}

/// Each block's part of the stream behind it.
fn shares(embedding: f64, blocks: &BTreeMap<(u64, Part), Flow>) -> BTreeMap<(u64, Part), f64> {
    let mut stream = if embedding.is_finite() && embedding > 0.0 { embedding } else { 1.0 };
    let mut shares = BTreeMap::new();
    for (before, (key, flow)) in blocks.iter().enumerate() {
        let writers = (before + 1) as f64;
        let written = flow.written().filter(|w| w.is_finite() && *w > 0.0).unwrap_or(stream / writers);
        stream += written;
        let even = 1.0 / (writers + 1.0);
        shares.insert(*key, (written / stream).clamp(even / TRUST, (even * TRUST).min(1.0)));
    }
    shares
}

/// A mean, as it grows.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1.0;
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

/// The energies of a block's tensors.
#[derive(Default)]
struct Flow {
    /// Of the rows that make the input of the last matrix: values, gates, and what is gated.
    values: Mean,
    gates: Mean,
    ups: Mean,
    /// Of the whole last matrices.
    writers: f64,
    /// What a norm behind the block makes of it.
    normed: Option<f64>,
}

impl Flow {
    fn add(&mut self, tensor: &TensorFact, energy: f64) {
        match Role::of(tensor.name) {
            Role::AttnV => self.values.add(energy),
            Role::FfnGate => self.gates.add(energy),
            Role::FfnUp => self.ups.add(energy),
            Role::AttnOutput | Role::FfnDown => self.writers += energy * tensor.shape.dim(1) as f64,
            _ => {}
        }
    }

    /// The energy that the block adds to the stream, if it can be told.
    fn written(&self) -> Option<f64> {
        let hidden = || {
            let (gate, up) = (self.gates.get(), self.ups.get());
            Some(ACTIVATION * gate.unwrap_or(1.0) * up.or(gate)?)
        };
        self.normed.or_else(|| Some(self.values.get().or_else(hidden)? * self.writers))
    }
}

/// The energy behind a block that ends in a norm. Models with such norms have one behind each block.
fn post_norm(model: &Named<'_>, (layer, part): (u64, Part)) -> Result<Option<f64>> {
    let name = |which: &str| format!("blk.{layer}.{which}.weight");
    let (attn, ffn) = (name("post_attention_norm"), name("post_ffw_norm"));
    let Some(columns) = model.get(&ffn).map(|t| t.shape().elements()) else { return Ok(None) };
    let gains = model.values(if part == Part::Ffn { &ffn } else { &attn }, columns)?;
    Ok(gains.map(|g| g.iter().map(|g| f64::from(*g) * f64::from(*g)).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::{DType, Model, Shape, Tensor};

    fn facts<'a>(tensors: &[(&'a str, [u64; 2])]) -> Facts<'a> {
        let fact = |(name, ne): &(&'a str, [u64; 2])| TensorFact {
            name,
            shape: Shape::new(ne).unwrap(),
            dtype: DType::F32,
        };
        Facts {
            is_trained: false,
            pinned: Vec::new(),
            tensors: tensors.iter().map(fact).collect(),
            architecture: "llama",
            n_layer: 1,
            n_head: 1,
            n_head_kv: 1,
            n_expert: 0,
        }
    }

    #[test]
    fn a_block_counts_by_what_it_adds_to_the_stream() {
        let facts = facts(&[
            ("token_embd.weight", [4, 9]),
            ("output.weight", [4, 9]),
            ("blk.0.attn_q.weight", [4, 4]),
            ("blk.0.attn_v.weight", [4, 4]),
            ("blk.0.attn_output.weight", [4, 4]),
            ("blk.0.ffn_gate.weight", [4, 8]),
            ("blk.0.ffn_up.weight", [4, 8]),
            ("blk.0.ffn_down.weight", [8, 4]),
        ]);
        // The stream is 3, the attention adds 0.25 * 4 * 4 = 4, the rest 0.36 * 2 * 5 * 0.5 * 4 = 7.2.
        let field =
            Field::new(&facts, &[3.0, 1.0, 1.0, 0.25, 4.0, 2.0, 5.0, 0.5], &Named::of(&Model::default()))
                .unwrap();
        let of = |name: &str| field.sensitivity(name);
        assert_eq!(of("blk.0.attn_v.weight"), 4.0 / 7.0);
        assert_eq!(of("blk.0.attn_q.weight"), 0.4 * (4.0 / 7.0));
        assert!((of("blk.0.ffn_up.weight") - 7.2 / 14.2).abs() < 1e-12);
        assert_eq!((of("output.weight"), of("token_embd.weight"), of("mm.0.weight")), (1.0, 0.5, 1.0));
        assert_eq!(field.nats(), NATS);
    }

    #[test]
    fn a_tied_embedding_is_an_output_too() {
        let field =
            Field::new(&facts(&[("token_embd.weight", [4, 9])]), &[1.0], &Named::of(&Model::default()))
                .unwrap();
        assert_eq!(field.sensitivity("token_embd.weight"), 1.5);
        let loud =
            Field::new(&facts(&[("output.weight", [4, 9])]), &[1e9], &Named::of(&Model::default())).unwrap();
        assert_eq!((field.nats(), loud.nats()), (NATS, NATS * LOUDEST));
    }

    /// A divergence of 0 would be promised of any file.
    #[test]
    fn a_head_that_tells_nothing_is_taken_to_be_loud() {
        for (name, energy) in [
            ("output.weight", 0.0),
            ("token_embd.weight", 0.0),
            ("output.weight", f64::NAN),
            ("output.weight", f64::INFINITY),
            ("blk.0.attn_v.weight", 1.0),
        ] {
            let facts = facts(&[(name, [4, 9])]);
            let field = Field::new(&facts, &[energy], &Named::of(&Model::default())).unwrap();
            assert_eq!(field.nats(), NATS * LOUDEST, "{name} {energy}");
        }
    }

    #[test]
    fn unknown_blocks_share_evenly_and_estimates_are_bounded() {
        let names = [
            ("blk.0.ssm_out.weight", [4, 4]),
            ("blk.1.attn_v.weight", [4, 4]),
            ("blk.1.attn_output.weight", [4, 4]),
        ];
        let of = |energies: &[f64]| {
            let field = Field::new(&facts(&names), energies, &Named::of(&Model::default())).unwrap();
            (field.sensitivity(names[0].0), field.sensitivity(names[1].0))
        };
        assert_eq!(of(&[1.0, 1e30, 1e30]), (0.5, 1.0));
        assert_eq!(of(&[1.0, 1e-30, 1e-30]), (0.5, 1.0 / 12.0));
        assert_eq!(of(&[1.0, f64::NAN, 1.0]), (0.5, 1.0 / 3.0));
    }

    #[test]
    fn a_norm_behind_a_block_says_what_it_adds() {
        let row =
            |name: &str, gain: f32| Tensor::in_memory(name, Shape::new(&[4]).unwrap(), &[gain; 4]).unwrap();
        let tensors =
            vec![row("blk.0.post_attention_norm.weight", 0.5), row("blk.0.post_ffw_norm.weight", 1.0)];
        let model = Model { tensors, ..Model::default() };
        let names =
            [("token_embd.weight", [4, 9]), ("blk.0.attn_v.weight", [4, 4]), ("blk.0.ffn_up.weight", [4, 4])];
        let field = Field::new(&facts(&names), &[1.0, 7.0, 7.0], &Named::of(&model)).unwrap();
        assert_eq!(field.sensitivity("blk.0.attn_v.weight"), 0.5);
        assert!((field.sensitivity("blk.0.ffn_up.weight") - 4.0 / 6.0).abs() < 1e-12);
    }
}
