//! What a mixture is made of: for each role of a tensor rules of which the first that holds names the dtype. A family's file states its rules as tables; what all families share is here and in `Walk`.
//! Specification: llama.cpp v0.5.0, as its choices are recorded in `fixtures/snapshots` and `fixtures/mixtures`.

use super::facts::{Facts, TensorFact};
use crate::roles::{self, Role};
use crate::version::Version;
use ggraft_formats::{DType, Error, Result};

/// When a rule holds. A tensor's place is its position among those of its role in layer order; in the feed-forward
/// part of a model with experts, which has several tensors of a role in a layer, it is the layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Always,
    /// Among the first few.
    First(u64),
    /// In the first n-th of the model.
    Part(u64),
    /// In the first n-th of the model by position, never by layer.
    CountedPart(u64),
    /// Neither in the first nor in the last eighth.
    Middle,
    /// In the first or last eighth, or every third between: the tensors that get more bits.
    More,
    /// At least so many query heads share a key and a value, so that these are small and matter much.
    Gqa(u64),
    /// Exactly so many experts.
    Experts(u64),
    /// At least so many experts.
    ExpertsFrom(u64),
    /// An importance matrix is given.
    Imatrix,
    /// The tensor holds several matrices, one an expert.
    Stacked,
    Not(&'static When),
    Both(&'static When, &'static When),
}

/// The first rule that holds decides; if none does, the ftype's default.
pub(super) type Rules = &'static [(When, DType)];

/// Which tensors of a file get another dtype than the default.
#[derive(Clone, Copy)]
pub(super) struct Mixture {
    /// The projection to the vocabulary; without one, every embedding.
    pub output: DType,
    /// The embeddings of a model with an output, if not the default.
    pub embedding: Option<DType>,
    pub attn_q: Rules,
    pub attn_k: Rules,
    pub attn_v: Rules,
    pub attn_output: Rules,
    /// Both `ffn_gate` and `ffn_up`.
    pub ffn_in: Rules,
    pub ffn_down: Rules,
    pub other: Rules,
    /// What Falcon has instead.
    pub falcon: Falcon,
    /// Whether small attention is spared, whatever the rules say: in a 70B the values get five bits, and with
    /// eight experts (Mixtral) keys and values eight.
    pub spares_attention: bool,
}

/// Falcon's own rules; `None` where it has the common ones.
#[derive(Clone, Copy)]
pub(super) struct Falcon {
    pub attn_output: Option<Rules>,
    pub ffn_down: Option<Rules>,
}

impl Falcon {
    /// Falcon has the common rules.
    pub const AS_OTHERS: Falcon = Falcon { attn_output: None, ffn_down: None };
}

/// A mixture that spares only the output and small attention; the families start from it.
pub(super) const PLAIN: Mixture = Mixture {
    output: DType::Q6K,
    embedding: None,
    attn_q: &[],
    attn_k: &[],
    attn_v: &[],
    attn_output: &[],
    ffn_in: &[],
    ffn_down: &[],
    other: &[],
    // Falcon's one head of keys and values leaves its output as it is in nearly all mixtures.
    falcon: Falcon { attn_output: Some(&[]), ffn_down: None },
    spares_attention: true,
};

impl Mixture {
    fn rules(&self, role: Role, falcon: bool) -> Rules {
        let own = if falcon { self.falcon } else { Falcon::AS_OTHERS };
        match role {
            Role::AttnQ => self.attn_q,
            Role::AttnK => self.attn_k,
            Role::AttnV => self.attn_v,
            Role::AttnOutput => own.attn_output.unwrap_or(self.attn_output),
            Role::FfnGate | Role::FfnUp => self.ffn_in,
            Role::FfnDown => own.ffn_down.unwrap_or(self.ffn_down),
            Role::Output | Role::Embedding | Role::Other => self.other,
        }
    }
}

/// Visits the quantized tensors of a model in layer order and counts them by role.
pub(super) struct Walk<'a> {
    facts: &'a Facts<'a>,
    mixture: &'a Mixture,
    default: DType,
    imatrix: bool,
    version: Version,
    tied: bool,
    /// All tensors that hold attention values, quantized or not.
    n_attn_v: u64,
    attn_v: u64,
    ffn_gate: u64,
    ffn_up: u64,
    ffn_down: u64,
}

impl<'a> Walk<'a> {
    pub fn new(
        facts: &'a Facts<'a>,
        mixture: &'a Mixture,
        default: DType,
        imatrix: bool,
        version: Version,
    ) -> Walk<'a> {
        let n_attn_v = facts.tensors.iter().filter(|t| version.role(t.name) == Role::AttnV).count() as u64;
        let tied = facts.is_tied();
        Walk {
            facts,
            mixture,
            default,
            imatrix,
            version,
            tied,
            n_attn_v,
            attn_v: 0,
            ffn_gate: 0,
            ffn_up: 0,
            ffn_down: 0,
        }
    }

    /// Whether a tensor of this role has the output's dtype, as every embedding does in a model without an output.
    pub fn is_output(&self, role: Role) -> bool {
        role == Role::Output || (self.tied && role == Role::Embedding)
    }

    /// The dtype of the next tensor, before it is known whether its rows fill whole blocks.
    pub fn next(&mut self, tensor: &TensorFact) -> Result<DType> {
        let falcon = self.facts.architecture == "falcon";
        let role = self.version.role(tensor.name);
        let (name, arch) = (tensor.name, self.facts.architecture);
        let eight = roles::has_eight_bits(name, arch) || self.version.gives_eight_bits(name, arch);
        if self.default.is_quantized() && eight {
            return Ok(DType::Q8_0);
        }
        if self.is_output(role) {
            let fits = self.default.row_bytes(tensor.shape.row()).is_some();
            return Ok(if falcon || !fits { DType::Q8_0 } else { self.mixture.output });
        }
        if role == Role::Embedding {
            return Ok(self.mixture.embedding.unwrap_or(self.default));
        }
        let count = self.count(role);
        let site = Site { walk: self, tensor, role, count };
        let mut dtype = self.default;
        for (when, named) in self.mixture.rules(role, falcon) {
            if site.holds(*when)? {
                dtype = *named;
                break;
            }
        }
        Ok(if self.mixture.spares_attention { self.spare(role, dtype) } else { dtype })
    }

    /// How many tensors of this role came before.
    fn count(&mut self, role: Role) -> u64 {
        let counter = match role {
            Role::AttnV => &mut self.attn_v,
            Role::FfnGate => &mut self.ffn_gate,
            Role::FfnUp => &mut self.ffn_up,
            Role::FfnDown => &mut self.ffn_down,
            _ => return 0,
        };
        *counter += 1;
        *counter - 1
    }

    fn spare(&self, role: Role, dtype: DType) -> DType {
        match (role, dtype) {
            (Role::AttnV | Role::AttnK, _) if self.facts.n_expert == 8 => DType::Q8_0,
            (Role::AttnV, DType::Q3K | DType::Q4K) if self.facts.is_large() => DType::Q5K,
            _ => dtype,
        }
    }
}

/// A tensor where the walk stands.
struct Site<'a> {
    walk: &'a Walk<'a>,
    tensor: &'a TensorFact<'a>,
    role: Role,
    count: u64,
}

impl Site<'_> {
    fn holds(&self, when: When) -> Result<bool> {
        let facts = self.walk.facts;
        let n = self.total();
        Ok(match when {
            When::Always => true,
            When::First(some) => self.place()? < some,
            When::Part(parts) => self.place()? < n / parts,
            When::CountedPart(parts) => self.count < n / parts,
            When::Middle => {
                let place = self.place()?;
                n / 8 <= place && place < seven_eighths(n)
            }
            When::More => more(self.place()?, n),
            When::Gqa(heads) => facts.gqa() >= heads,
            When::Experts(experts) => facts.n_expert == experts,
            When::ExpertsFrom(experts) => facts.n_expert >= experts,
            When::Imatrix => self.walk.imatrix,
            When::Stacked if self.walk.version.knows_experts_by_name() => {
                ["_exps.", "_chexps."].iter().any(|part| self.tensor.name.contains(part))
            }
            When::Stacked => {
                // There the latents of attention are stacked, too.
                let may = facts.architecture != "bailingmoe3" || self.is_of_ffn();
                may && self.tensor.shape.dim(2) > 1
            }
            When::Not(when) => !self.holds(*when)?,
            When::Both(a, b) => self.holds(*a)? && self.holds(*b)?,
        })
    }

    fn is_of_ffn(&self) -> bool {
        matches!(self.role, Role::FfnGate | Role::FfnUp | Role::FfnDown)
    }

    /// Of how many tensors this is one.
    fn total(&self) -> u64 {
        if self.role == Role::AttnV { self.walk.n_attn_v } else { self.walk.facts.n_layer }
    }

    fn place(&self) -> Result<u64> {
        if !self.is_of_ffn() || self.walk.facts.n_expert <= 1 {
            return Ok(self.count);
        }
        let n_layer = self.walk.facts.n_layer;
        roles::layer(self.tensor.name).filter(|layer| *layer < n_layer).ok_or_else(|| {
            Error::unsupported("the mixture of a model with experts depends on the layer, which is not known")
                .tensor(self.tensor.name)
                .expected(format!("a name that begins with blk.N., N below {n_layer}"))
                .hint("choose an ftype without a mixture, such as Q8_0")
        })
    }
}

/// Whether tensor `i` of `n` is one of those that get more bits: those near both ends, and every third between.
fn more(i: u64, n: u64) -> bool {
    let eighth = n / 8;
    i < eighth || i >= seven_eighths(n) || (i - eighth) % 3 == 2
}

/// Seven eighths of `n`, rounded down.
fn seven_eighths(n: u64) -> u64 {
    n - n.div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bits_go_to_both_ends_and_every_third_between() {
        let of = |n: u64| (0..n).filter(|i| more(*i, n)).collect::<Vec<_>>();
        assert_eq!(of(8), [0, 3, 6, 7]);
        assert_eq!(of(28), [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]);
        assert_eq!(of(4), [2, 3]);
        assert_eq!(of(1), [0]);
    }

    #[test]
    fn seven_eighths_are_rounded_down() {
        for n in 0..1000 {
            assert_eq!(seven_eighths(n), 7 * n / 8);
        }
    }

    #[test]
    fn roles_are_told_by_parts_of_names() {
        for (name, role) in [
            ("output.weight", Role::Output),
            ("token_embd.weight", Role::Embedding),
            ("per_layer_token_embd.weight", Role::Embedding),
            ("blk.0.attn_qkv.weight", Role::AttnV),
            ("blk.0.attn_kv_b.weight", Role::AttnV),
            ("blk.0.cross_attn_v.weight", Role::AttnV),
            ("blk.0.attn_v_b.weight", Role::Other),
            ("blk.0.attn_output.weight", Role::AttnOutput),
            ("blk.0.ffn_down_shexp.weight", Role::FfnDown),
            ("blk.0.ffn_gate_up_exps.weight", Role::FfnGate),
            ("blk.0.ssm_out.weight", Role::Other),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }
}
