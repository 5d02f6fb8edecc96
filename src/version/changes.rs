//! What llama.cpp does otherwise since v0.5.0, one row a change. Only what decides bytes of a file is here: speed, new
//! options and what a runtime computes are not.
//! Sources: the trees of the named versions, `src/llama-quant.cpp` and `ggml/src/ggml-quants.c`.

use super::Version;
use crate::roles::Role;
use ggraft_formats::quant::Levels;

/// A change.
pub struct Change {
    /// The first version that has it.
    pub since: Version,
    pub what: What,
    /// In words.
    pub told: &'static str,
    /// Where it stands in llama.cpp.
    pub source: &'static str,
}

/// What is otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The searches with importance weights bound levels before they round them.
    BoundedLevels,
    /// MXFP4_MOE knows experts by their names, not by how many matrices a tensor has.
    ExpertsByName,
    /// A matrix whose name has this is never quantized, in one architecture or in all.
    Kept { name: Name, arch: Option<&'static str>, why: &'static str },
    /// A tensor whose name contains this has this role in the mixtures.
    Role { part: &'static str, role: Role },
    /// A matrix whose name contains this has no fewer than eight bits in this architecture.
    EightBits { part: &'static str, arch: &'static str },
}

/// How a name is recognised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Name {
    Contains(&'static str),
    Begins(&'static str),
}

impl Name {
    fn fits(self, name: &str) -> bool {
        match self {
            Name::Contains(part) => name.contains(part),
            Name::Begins(start) => name.starts_with(start),
        }
    }
}

const ALLOWS: &str = "llama-quant.cpp, tensor_allows_quantization";
const MIXES: &str = "llama-quant.cpp, llama_tensor_get_type_impl";

/// A name that is never quantized since v0.8.0.
const fn kept(name: Name, arch: Option<&'static str>, why: &'static str) -> Change {
    let told = "more small matrices are never quantized";
    Change { since: Version::V0_8, what: What::Kept { name, arch, why }, told, source: ALLOWS }
}

/// A matrix of eight bits since v0.8.0.
const fn eight(part: &'static str, arch: &'static str) -> Change {
    let told = "gates and latents of muse-spark have no fewer than eight bits";
    Change { since: Version::V0_8, what: What::EightBits { part, arch }, told, source: MIXES }
}

const LIMITE: Option<&str> = Some("limite");

/// Every change, by version.
pub const CHANGES: &[Change] = &[
    Change {
        since: Version::V0_6,
        what: What::BoundedLevels,
        told: "with an importance matrix degenerate blocks of q2_K, q4_K, q5_K, q4_1 and q5_1 are searched otherwise",
        source: "ggml-quants.c, make_qkx3_quants",
    },
    Change {
        since: Version::V0_8,
        what: What::ExpertsByName,
        told: "MXFP4_MOE knows experts by name: stacks of attention (attn_k_b, attn_v_b) become q8_0",
        source: MIXES,
    },
    Change {
        since: Version::V0_8,
        what: What::Role { part: "attn_qkv_gate.weight", role: Role::AttnV },
        told: "attn_qkv_gate is mixed as attn_qkv",
        source: "llama-quant.cpp, tensor_get_category",
    },
    eight("ffn_latent", "muse-spark"),
    eight("attn_gate.weight", "muse-spark"),
    kept(Name::Contains("engram_gate.weight"), None, "multiplied by element"),
    kept(Name::Contains("conv2d_spatial.weight"), None, "a small convolution"),
    kept(Name::Begins("a.conv1d."), None, "a small convolution"),
    kept(Name::Contains("conv_dw"), None, "a small convolution"),
    kept(Name::Begins("a.gen.wav.quant."), None, "part of an audio codec"),
    kept(Name::Contains("attn_gate.weight"), LIMITE, "a small gate"),
    kept(Name::Contains("attn_ve_gate.weight"), LIMITE, "a small gate"),
    kept(Name::Contains("mudd_"), LIMITE, "mixes dense connections"),
    kept(Name::Begins("decision."), Some("vllm-decision2"), "the head that decides"),
];

impl Version {
    /// The changes that it has.
    fn changes(self) -> impl Iterator<Item = &'static What> {
        CHANGES.iter().filter(move |change| change.since <= self).map(|change| &change.what)
    }

    fn has(self, what: What) -> bool {
        self.changes().any(|had| *had == what)
    }

    /// How its encoders round levels.
    pub fn levels(self) -> Levels {
        if self.has(What::BoundedLevels) { Levels::Bounded } else { Levels::Rounded }
    }

    /// Whether it knows experts by their names.
    pub(crate) fn knows_experts_by_name(self) -> bool {
        self.has(What::ExpertsByName)
    }

    /// Why it never quantizes a matrix that v0.5.0 does, if so.
    pub(crate) fn keeps(self, name: &str, of: &str) -> Option<&'static str> {
        self.changes().find_map(|what| match what {
            What::Kept { name: named, arch, why }
                if named.fits(name) && arch.is_none_or(|arch| arch == of) =>
            {
                Some(*why)
            }
            _ => None,
        })
    }

    /// The role of a tensor in its mixtures.
    pub(crate) fn role(self, name: &str) -> Role {
        let own = self.changes().find_map(|what| match what {
            What::Role { part, role } if name.contains(part) => Some(*role),
            _ => None,
        });
        own.unwrap_or_else(|| Role::of(name))
    }

    /// Whether it gives a matrix eight bits that v0.5.0 does not.
    pub(crate) fn gives_eight_bits(self, name: &str, of: &str) -> bool {
        self.changes()
            .any(|what| matches!(what, What::EightBits { part, arch } if *arch == of && name.contains(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_no_change_and_the_newest_has_all() {
        assert_eq!(Version::default().changes().count(), 0);
        assert_eq!(Version::all().last().unwrap().changes().count(), CHANGES.len());
        assert!(CHANGES.iter().map(|change| change.since).is_sorted());
        assert!(CHANGES.iter().all(|change| !change.told.is_empty() && change.source.contains(',')));
    }

    #[test]
    fn a_version_has_the_changes_up_to_it() {
        let [old, next, new] = [Version::V0_5, Version::V0_6, Version::V0_8];
        assert_eq!(
            [old, next, new].map(Version::levels),
            [Levels::Rounded, Levels::Bounded, Levels::Bounded]
        );
        assert_eq!([old, next, new].map(Version::knows_experts_by_name), [false, false, true]);
        let gate = "blk.0.attn_gate.weight";
        assert_eq!(old.keeps(gate, "limite"), None);
        assert_eq!(new.keeps(gate, "limite"), Some("a small gate"));
        assert_eq!(new.keeps(gate, "llama"), None);
        assert_eq!(new.keeps("v.conv_dw.weight", "clip"), Some("a small convolution"));
        assert_eq!(new.keeps("b.a.conv1d.0.weight", "clip"), None);
        assert_eq!(next.role("blk.0.attn_qkv_gate.weight"), Role::Other);
        assert_eq!(new.role("blk.0.attn_qkv_gate.weight"), Role::AttnV);
        assert!(new.gives_eight_bits(gate, "muse-spark") && !next.gives_eight_bits(gate, "muse-spark"));
    }
}
