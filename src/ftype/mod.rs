//! File-level mixtures: an ftype (`Q4_K_M`) says which dtype every tensor of a model gets. Served are the plan of a
//! run and its dry run: everything here works on names, shapes and hyperparameters, never on weights.
//! `FTYPES` is the one list; to add an ftype, write its constant in a family's file and add its line.
//! Specification: llama.cpp v0.5.0, `llama_ftype` and the choices of llama-quantize, recorded in `fixtures/`.

mod assign;
mod facts;
mod float;
mod fp4;
mod i;
mod importance;
mod k;
mod keep;
mod legacy;
mod like;
mod mixture;
mod moe;
pub(crate) mod prune;
mod scales;
pub(crate) mod stack;
mod tensor_types;
mod ternary;

pub use assign::{Assignment, Options, Reason, assign};
pub use facts::{Facts, TensorFact};
pub use importance::{Choice, Importance, Weighed, search_of, weigh};
pub use keep::is_useless_unweighed;
pub use like::Like;
pub use prune::Prune;
pub use scales::{Scale, reads_scale, scales};
pub use tensor_types::TensorType;

use crate::nearest::nearest;
use crate::roles;
use ggraft_formats::{DType, Error, Metadata, Result, Value, gguf};
use mixture::Mixture;

/// How a whole file is quantized.
pub struct Ftype {
    /// As users type it, in any case.
    pub name: &'static str,
    /// The value of `general.file_type`.
    pub number: u32,
    /// Other names that users type for it.
    pub aliases: &'static [&'static str],
    /// The dtype of every tensor for which the mixture has no other.
    pub default: DType,
    /// Whether some tensor of an ordinary model gets a dtype that cannot do without an importance matrix.
    pub needs_imatrix: bool,
    /// The dtype that the name adds for embeddings and output, as if `--token-embedding-type` and `--output-tensor-type`
    /// said so.
    pub ends: Option<DType>,
    /// Whether llama-quantize has no such name; the number is that of the mixture from which it is made.
    pub apart: bool,
    /// The tensors that get another dtype; none for the plain floats.
    mixture: Option<Mixture>,
}

/// A mixture that llama.cpp knows, by its name and number, and that can do without an importance matrix.
const fn named(name: &'static str, number: u32, default: DType, mixture: Option<Mixture>) -> Ftype {
    let (needs_imatrix, ends, apart) = (false, None, false);
    Ftype { name, number, aliases: &[], default, needs_imatrix, ends, apart, mixture }
}

/// Every ftype, from the most bits a weight to the fewest within each family.
pub const FTYPES: &[Ftype] = &[
    float::F32,
    float::F16,
    float::BF16,
    legacy::Q8_0,
    legacy::Q5_1,
    legacy::Q5_0,
    legacy::Q4_1,
    legacy::Q4_0,
    k::Q6_K_L,
    k::Q6_K,
    k::Q5_K_L,
    k::Q5_K_M,
    k::Q5_K_S,
    k::Q4_K_L,
    k::Q4_K_M,
    k::Q4_K_S,
    k::Q3_K_XL,
    k::Q3_K_L,
    k::Q3_K_M,
    k::Q3_K_S,
    k::Q2_K_L,
    k::Q2_K,
    k::Q2_K_S,
    i::IQ4_NL,
    i::IQ4_XS,
    i::IQ3_M,
    i::IQ3_S,
    i::IQ3_XS,
    i::IQ3_XXS,
    i::IQ2_M,
    i::IQ2_S,
    i::IQ2_XS,
    i::IQ2_XXS,
    i::IQ1_M,
    i::IQ1_S,
    moe::Q5_K_MOE,
    moe::Q4_K_MOE,
    moe::IQ3_S_MOE,
    moe::IQ2_XXS_MOE,
    fp4::MXFP4_MOE,
    fp4::NVFP4,
    fp4::MXFP4,
    ternary::TQ2_0,
    ternary::TQ1_0,
    ternary::Q2_0,
    ternary::Q1_0,
];

impl Ftype {
    /// Whether convert_hf_to_gguf writes it.
    pub fn is_converted(&self) -> bool {
        matches!(self.default, DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0)
    }

    /// The ftype of this name, alias or number.
    ///
    /// # Errors
    /// A usage error that lists the names and suggests the nearest.
    pub fn parse(text: &str) -> Result<&'static Ftype> {
        Ftype::find(text).ok_or_else(|| unknown(text, &[]))
    }

    /// The ftype of this name, alias or number, if there is one.
    pub fn find(text: &str) -> Option<&'static Ftype> {
        let named = FTYPES.iter().find(|f| f.names().any(|n| n.eq_ignore_ascii_case(text)));
        let number = text.parse::<u32>().ok();
        named.or_else(|| FTYPES.iter().find(|f| !f.apart && Some(f.number) == number))
    }

    /// Its name, then its aliases.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

impl std::fmt::Display for Ftype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name)
    }
}

/// What is meant by words that are too short, or another program's.
const MEANT: [(&str, &str); 11] = [
    ("Q2", "Q2_K"),
    ("Q3", "Q3_K_M"),
    ("Q4", "Q4_K_M"),
    ("Q5", "Q5_K_M"),
    ("Q6", "Q6_K"),
    ("Q8", "Q8_0"),
    ("IQ3", "IQ3_M"),
    ("IQ4", "IQ4_XS"),
    ("INT4", "Q4_K_M"),
    ("INT8", "Q8_0"),
    ("FP32", "F32"),
];

/// Floats of eight bits, which ggml has as a dtype from llama.cpp v0.8 on (`GGML_TYPE_F8_E4M3`).
const FLOATS_OF_EIGHT: [&str; 5] = ["F8_E4M3", "F8", "FP8", "FP8_E4M3", "F8_E4M3FN"];

/// The error for a name that neither an ftype has nor is one of `others`.
pub fn unknown(text: &str, others: &[&'static str]) -> Error {
    let names: Vec<&str> = FTYPES.iter().map(|f| f.name).chain(others.iter().copied()).collect();
    let known = FTYPES.iter().flat_map(|f| f.names()).chain(others.iter().copied());
    let meant = MEANT.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, name)| *name);
    let suggested = match meant.or_else(|| nearest(text, known)) {
        Some(name) => format!("did you mean {name}? The types are "),
        None => String::from("the types are "),
    };
    let text: String = text.chars().take(40).collect();
    if FLOATS_OF_EIGHT.iter().any(|word| word.eq_ignore_ascii_case(&text)) {
        return Error::usage(format!("llama.cpp v0.5.0 has no type '{text}'"))
            .expected("a type that it can load")
            .hint("choose Q8_0, which has eight bits too; weights of f8_e4m3 are read from checkpoints");
    }
    Error::usage(format!("there is no type '{text}'")).hint(suggested + &names.join(", "))
}

/// The place of a tensor in llama-quantize's output: first what belongs to no layer, then layer by layer, each by
/// the bytes of the names.
pub fn order(name: &str) -> impl Ord + '_ {
    (roles::layer(name), name.as_bytes())
}

/// llama.cpp's `GGML_QNT_VERSION`: how the blocks of the quantized dtypes are laid out.
pub const QUANTIZATION_VERSION: u32 = 2;

/// Marks the metadata of a model that becomes one file of this ftype, or of the one that it tells, in the order of
/// llama-quantize.
pub fn stamp(metadata: &mut Metadata, ftype: Option<&Ftype>) {
    const FILE_TYPE: &str = "general.file_type";
    metadata.set_last("general.quantization_version", QUANTIZATION_VERSION);
    let told = metadata.remove(FILE_TYPE);
    if let Some(number) = ftype.map(|f| Value::U32(f.number)).or(told) {
        metadata.set_last(FILE_TYPE, number);
    }
    gguf::unsplit(metadata);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_alias_and_number_is_parsed_in_any_case() {
        for ftype in FTYPES {
            for name in ftype.names() {
                for text in [name.to_string(), name.to_ascii_lowercase()] {
                    assert_eq!(Ftype::parse(&text).unwrap().name, ftype.name, "{text}");
                }
            }
            if !ftype.apart {
                assert_eq!(Ftype::parse(&ftype.number.to_string()).unwrap().name, ftype.name);
            }
        }
        for (alias, name) in [("q4_k", "Q4_K_M"), ("Q3_K", "Q3_K_M"), ("q5_K", "Q5_K_M"), ("15", "Q4_K_M")] {
            assert_eq!(Ftype::parse(alias).unwrap().name, name);
        }
    }

    #[test]
    fn names_and_numbers_are_unique() {
        let mut names: Vec<_> = FTYPES.iter().flat_map(|f| f.names()).collect();
        let mut numbers: Vec<_> = FTYPES.iter().filter(|f| !f.apart).map(|f| f.number).collect();
        let (n, m) = (names.len(), numbers.len());
        names.sort_unstable();
        names.dedup();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((names.len(), numbers.len()), (n, m));
    }

    #[test]
    fn an_unknown_name_lists_the_names_and_suggests_the_nearest() {
        for (text, suggestion) in [
            ("Q4KM", "did you mean Q4_K_M?"),
            ("q4-k-m", "did you mean Q4_K_M?"),
            ("FP16", "did you mean F16?"),
            ("Q4", "did you mean Q4_K_M?"),
            ("q8", "did you mean Q8_0?"),
            ("something else", "'something else'; the types are F32"),
            ("", "''; the types are F32"),
            ("4", "'4'; the types are F32"),
        ] {
            let error = Ftype::parse(text).err().unwrap();
            assert_eq!(error.kind().exit_code(), 2);
            let said = error.to_string();
            assert!(said.contains(suggestion) && said.contains("IQ4_XS"), "{text}: {said}");
        }
    }

    #[test]
    fn the_order_is_by_layer_and_then_by_name() {
        let mut names = [
            "token_embd.weight",
            "blk.10.attn_k.weight",
            "blk.2.ffn_up.weight",
            "blk.2.attn_k.bias",
            "output.weight",
            "blk.0.attn_q.weight",
            "blk.x",
            "enc.blk.0.attn_q.weight",
        ];
        names.sort_by(|a, b| order(a).cmp(&order(b)));
        assert_eq!(
            names,
            [
                "blk.x",
                "enc.blk.0.attn_q.weight",
                "output.weight",
                "token_embd.weight",
                "blk.0.attn_q.weight",
                "blk.2.attn_k.bias",
                "blk.2.ffn_up.weight",
                "blk.10.attn_k.weight",
            ]
        );
    }

    #[test]
    fn a_stamp_moves_to_the_end_and_ends_a_split() {
        let mut metadata = Metadata::new();
        metadata.set("general.file_type", 1u32);
        metadata.set("split.no", 0u16);
        metadata.set("general.architecture", "llama");
        metadata.set("split.count", 2u16);
        metadata.set("split.tensors.count", 9i32);
        stamp(&mut metadata, Some(Ftype::parse("q4_k_m").unwrap()));
        let expected = [
            ("general.architecture", Value::from("llama")),
            ("general.quantization_version", Value::from(2u32)),
            ("general.file_type", Value::from(15u32)),
        ];
        let entries: Vec<_> = metadata.iter().map(|(k, v)| (k, v.clone())).collect();
        assert_eq!(entries, expected);
    }
}
