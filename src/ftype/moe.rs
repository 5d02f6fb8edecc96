//! Files as publishers of models with experts make them: what every token passes (attention, states, shared experts,
//! embeddings) keeps many bits; the experts, which are most of the model and of which a token sees few, bear few, and what
//! leads out of them gets a little more. A dense model is one expert: its feed-forward part.
//! Source: the files of AesSedai's GLM-4.7-GGUF, whose mixtures, written as default, up, gate and down, are the aliases; the
//! names are ours, after llama.cpp's MXFP4_MOE.

use super::mixture::{Falcon, Mixture, Rules, When, When::*};
use super::{Ftype, named};
use ggraft_formats::DType::{self, *};

/// Part of the feed-forward, but of no expert of those that a token chooses: a shared one, or a dense layer's.
const PASSED_BY_ALL: When = Both(&ExpertsFrom(1), &Not(&Stacked));

/// Rules of dtype `all` for what every token passes, of the ftype's default for gates and ups, and of these for downs.
const fn mixture(all: DType, rules: Rules, gates: Rules, downs: Rules) -> Mixture {
    Mixture {
        output: all,
        embedding: Some(all),
        attn_q: rules,
        attn_k: rules,
        attn_v: rules,
        attn_output: rules,
        ffn_in: gates,
        ffn_down: downs,
        other: rules,
        falcon: Falcon::AS_OTHERS,
        spares_attention: false,
    }
}

/// Eight bits for all that every token passes, and the dtypes of downs.
const fn eight(downs: Rules) -> Option<Mixture> {
    Some(mixture(Q8_0, &[(Always, Q8_0)], &[(PASSED_BY_ALL, Q8_0)], downs))
}

pub(super) const Q5_K_MOE: Ftype = Ftype {
    aliases: &["Q8_0-Q5_K-Q5_K-Q6_K"],
    apart: true,
    ..named("Q5_K_MOE", 17, Q5K, eight(&[(PASSED_BY_ALL, Q8_0), (Always, Q6K)]))
};

pub(super) const Q4_K_MOE: Ftype = Ftype {
    aliases: &["Q8_0-Q4_K-Q4_K-Q5_K"],
    apart: true,
    ..named("Q4_K_MOE", 15, Q4K, eight(&[(PASSED_BY_ALL, Q8_0), (Always, Q5K)]))
};

pub(super) const IQ3_S_MOE: Ftype = Ftype {
    aliases: &["Q8_0-IQ3_S-IQ3_S-IQ4_XS"],
    apart: true,
    ..named("IQ3_S_MOE", 26, IQ3S, eight(&[(PASSED_BY_ALL, Q8_0), (Always, IQ4XS)]))
};

pub(super) const IQ2_XXS_MOE: Ftype = Ftype {
    aliases: &["Q5_K-IQ2_XXS-IQ2_XXS-IQ3_XXS"],
    apart: true,
    needs_imatrix: true,
    ..named(
        "IQ2_XXS_MOE",
        19,
        IQ2XXS,
        Some(mixture(
            Q5K,
            &[(Always, Q5K)],
            &[(PASSED_BY_ALL, Q5K)],
            &[(PASSED_BY_ALL, Q5K), (Always, IQ3XXS)],
        )),
    )
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftype::{Facts, Options, TensorFact, assign};
    use ggraft_formats::Shape;

    /// The dtypes of a model with so many experts.
    fn given(ftype: &Ftype, n_expert: u64, tensors: &[(&str, &[u64])]) -> Vec<DType> {
        let fact = |&(name, ne): &_| TensorFact { name, shape: Shape::new(ne).unwrap(), dtype: BF16 };
        let facts = Facts {
            tensors: tensors.iter().map(fact).collect(),
            architecture: "qwen35moe",
            n_layer: 2,
            n_head: 4,
            n_head_kv: 2,
            n_expert,
            is_trained: false,
            pinned: Vec::new(),
        };
        let options = Options { has_imatrix: true, ..Options::default() };
        assign(&facts, ftype, &options).unwrap().iter().map(|given| given.dtype).collect()
    }

    #[test]
    fn experts_have_few_bits_and_what_every_token_passes_has_many() {
        const SIDES: &[u64] = &[256, 256];
        const EXPERTS: &[u64] = &[256, 256, 4];
        let passed = [
            ("output.weight", SIDES),
            ("token_embd.weight", SIDES),
            ("blk.0.attn_qkv.weight", SIDES),
            ("blk.0.ssm_out.weight", SIDES),
            ("blk.0.attn_k_b.weight", EXPERTS),
            ("blk.0.ffn_gate.weight", SIDES),
            ("blk.0.ffn_down.weight", SIDES),
            ("blk.1.ffn_up_shexp.weight", SIDES),
            ("blk.1.ffn_down_shexp.weight", SIDES),
        ];
        let experts = [
            ("blk.1.ffn_gate_exps.weight", EXPERTS),
            ("blk.1.ffn_up_exps.weight", EXPERTS),
            ("blk.1.ffn_gate_up_exps.weight", EXPERTS),
            ("blk.1.ffn_down_exps.weight", EXPERTS),
        ];
        for (ftype, all, gates, downs) in [
            (Q5_K_MOE, Q8_0, Q5K, Q6K),
            (Q4_K_MOE, Q8_0, Q4K, Q5K),
            (IQ3_S_MOE, Q8_0, IQ3S, IQ4XS),
            (IQ2_XXS_MOE, Q5K, IQ2XXS, IQ3XXS),
        ] {
            assert_eq!(given(&ftype, 4, &passed), [all; 9], "{ftype}");
            assert_eq!(given(&ftype, 4, &experts), [gates, gates, gates, downs], "{ftype}");
            assert_eq!(Ftype::parse(ftype.aliases[0]).unwrap().name, ftype.name);
        }
    }

    #[test]
    fn the_feed_forward_part_of_a_dense_model_is_its_one_expert() {
        let tensors =
            ["attn_q", "ssm_out", "ffn_gate", "ffn_up", "ffn_down"].map(|n| format!("blk.0.{n}.weight"));
        let tensors: Vec<(&str, &[u64])> = tensors.iter().map(|n| (n.as_str(), &[256, 256][..])).collect();
        assert_eq!(given(&Q4_K_MOE, 0, &tensors), [Q8_0, Q8_0, Q4K, Q4K, Q5K]);
    }
}
