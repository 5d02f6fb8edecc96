//! Every family of models, a page each. To add one: write its file with one `Arch` constant (a sibling states its
//! differences, `..NONE` for the rest), and add its line to `ARCHS`.

mod afmoe;
mod apertus;
mod arcee;
mod arctic;
mod baichuan;
mod bailing;
mod bailing3;
mod bert;
mod bitnet;
mod chameleon;
mod cogvlm;
mod cohere;
mod dbrx;
mod deci;
mod decoder;
mod deepseek;
mod deepseek1;
mod deepseek_ocr;
mod dflash;
mod dots1;
mod dots3;
mod dream;
mod dsa;
mod eagle3;
mod encoders;
mod ernie;
mod exaone;
mod exaone4;
mod experts;
mod falcon;
mod falcon_h1;
mod family;
mod gemma;
mod gemma3;
mod gemma3n;
mod gemma4;
mod gemma4_dspark;
mod glm;
mod glm4;
mod glm4moe;
mod glm5;
mod gpt2;
mod gpt_oss;
mod granite;
mod grok;
mod grovemoe;
mod hrm;
mod hunyuan;
mod hy_v4;
mod hybrid;
mod internlm;
mod jais;
mod jais2;
mod jamba;
mod kimi;
mod kin;
mod laguna;
mod lfm2;
mod llada;
mod llama;
mod llama4;
mod mamba;
mod maple;
mod mellum;
mod mimo;
mod minicpm;
mod minimax;
mod minimax01;
mod mistral3;
mod mixtral;
mod modern_bert;
mod mpt;
pub mod mtp;
mod muse;
mod native;
mod nemotron;
mod nemotron_h;
mod neox;
mod nomic_bert;
mod olmo;
mod olmo2;
mod openelm;
mod orion;
mod partial;
mod phi2;
mod phi3;
mod plamo;
mod plm;
mod qwen;
mod qwen35;
mod qwen4;
mod qwen_moe;
mod qwen_vl;
mod refact;
mod seed_oss;
mod seeing;
mod smallthinker;
mod smollm3;
mod spark;
mod stablelm;
mod starcoder;
mod starcoder2;
mod step35;
mod t5;
mod talkie;
mod windows;

pub use decoder::DECODER;

pub use family::{Family, Line, Values, faults, fits};

use super::config::Config;
use super::keys::{Fixed, Key};
use super::params::{Axis, Params};
use super::rule::Rule;
use ggraft_formats::{DType, Model, Result};
use serde_json::Value as Json;

/// What the house knows of one architecture. All but `classes` and `gguf` adds to that of `base`.
pub struct Arch {
    /// What `architectures` in `config.json` calls it.
    pub classes: &'static [&'static str],
    /// Parts of names of a GGUF's tensors, and the class of those above that alone has such ones.
    pub told_by: &'static [(&'static str, &'static str)],
    /// Keys of the config of a GGUF, in so many layers, that goes back, where neither a key nor a trial tells them.
    pub regains: fn(&Model, u32) -> Vec<(&'static str, Json)>,
    /// `general.architecture` of the GGUF; of a page that no model is of, what it is called.
    pub gguf: &'static str,
    /// Which models of the classes it is for, where pages share them: the first that applies, or says nothing.
    pub applies: Option<fn(&Config) -> Result<bool>>,
    /// The family whose differences these are.
    pub base: Option<&'static Arch>,
    /// What the checkpoint puts in front of its names; the first that fits.
    pub prefixes: &'static [&'static str],
    /// In the converter's order; one that the base has too takes its place.
    pub keys: &'static [Key],
    /// Keys that the converter writes together with made tensors, before all others.
    pub early: &'static [Key],
    pub axes: &'static [Axis],
    /// Several of one page with the same target are alternatives; those of the base that have it go.
    pub rules: &'static [Rule],
    /// Lists of rules that pages have in common; they count as the page's own.
    pub shares: &'static [&'static [Rule]],
    /// Beginnings of names in the checkpoint (or, after `*`, ends), and what the rules have instead; `{l}` is an index, `{main}` and `{l+main}`
    /// are counted from the end of the layers proper, any other is the axis whose size for `{l}` it is.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Targets and keys of the base that it lacks.
    pub without: &'static [&'static str],
    /// Tensors of checkpoints that a GGUF has no use for; `*` is anything, `{l..}` a layer beyond the last.
    pub ignored: &'static [&'static str],
    /// Tensors that are carried as they are, whatever their shape.
    pub carried: &'static [Carried],
    /// Tensors that no checkpoint holds; they come first.
    pub made: &'static [Made],
    /// Keys of the tokenizer that the converter adds for these classes, after all others.
    pub tokenizer: &'static [TokenizerKey],
    /// The same that the config tells.
    pub late: &'static [Key],
    /// Whether it guesses for another model, whose tokenizer it has.
    pub drafts: Drafts,
    /// What else it may be used for: embeddings, or judging documents.
    pub uses: Uses,
}

/// Whether a model guesses for another, and how it writes that model's tokenizer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Drafts {
    No,
    /// As the other model itself.
    AsTarget,
    /// As a llama.
    AsLlama,
}

/// What the models of a class may be used for beside going on with a text. It is decided by files beside the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    Text,
    /// One vector for a whole text, pooled as `modules.json` says.
    Pooled,
    /// That, or a judgement, yes or no.
    Judging,
}

/// A key of the tokenizer that is the same for every model of a family.
pub struct TokenizerKey {
    pub key: &'static str,
    pub value: Fixed,
    /// Whether it is only for tokenizers of SentencePiece.
    pub sentencepiece: bool,
}

/// Tensors that only get another name, of layers that no number of the configuration tells.
pub struct Carried {
    /// How their names begin in the checkpoint, and in GGUF.
    pub from: &'static str,
    pub to: &'static str,
    /// How the names of those that are known end.
    pub ends: &'static [&'static str],
    /// The dtype that they have whatever is asked for.
    pub stored: Option<DType>,
}

impl Carried {
    /// GGUF's name of the checkpoint's tensor `name`, if it is one of them.
    pub fn name(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(self.from)?;
        let known = |end: &&str| match end.starts_with('.') {
            true => rest.strip_suffix(*end).is_some_and(is_numbered),
            false => rest == *end,
        };
        self.ends.iter().any(known).then(|| format!("{}{rest}", self.to))
    }
}

/// Whether `text` is numbers with points between.
fn is_numbered(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// A tensor that follows from the configuration.
pub struct Made {
    pub name: &'static str,
    /// The axis that a row of it is; of one without, all of it is a row.
    pub row: Option<&'static str>,
    pub values: fn(&Params<'_>) -> Result<Option<Vec<f32>>>,
}

/// What a page that says nothing says.
pub const NONE: Arch = Arch {
    classes: &[],
    gguf: "",
    applies: None,
    base: None,
    told_by: &[],
    regains: |_, _| Vec::new(),
    prefixes: &[],
    keys: &[],
    early: &[],
    axes: &[],
    rules: &[],
    shares: &[],
    renamed: &[],
    without: &[],
    ignored: &[],
    carried: &[],
    made: &[],
    tokenizer: &[],
    late: &[],
    drafts: Drafts::No,
    uses: Uses::Text,
};

/// Every architecture.
pub const ARCHS: &[Arch] = &[
    eagle3::EAGLE3,
    llama::LLAMA,
    llama::HEADLESS,
    llama::SEEING,
    mistral3::MISTRAL3,
    native::MISTRAL,
    native::MINISTRAL,
    granite::GRANITE,
    granite::GRANITE_SPEECH,
    granite::GRANITE_MOE,
    granite::GRANITE_SWA,
    arcee::ARCEE,
    mixtral::MIXTRAL,
    qwen::QWEN2,
    qwen::QWEN2_MODEL,
    qwen::QWEN3,
    qwen::QWEN3_MODEL,
    qwen_moe::QWEN2_MOE,
    qwen_moe::QWEN3_MOE,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma3::GEMMA3,
    gemma3::EMBEDDING_GEMMA,
    smollm3::SMOLLM3,
    olmo2::OLMO2,
    stablelm::STABLELM,
    gpt_oss::GPT_OSS,
    gpt2::GPT2,
    deepseek::DEEPSEEK2,
    deepseek_ocr::DEEPSEEK_OCR,
    phi2::PHI2,
    phi3::PHI3,
    starcoder2::STARCODER2,
    glm4::GLM4,
    cogvlm::COGVLM,
    chameleon::CHAMELEON,
    cohere::COMMAND_R,
    cohere::COHERE2,
    seed_oss::SEED_OSS,
    exaone::EXAONE,
    olmo::OLMO,
    olmo::OLMOE,
    ernie::ERNIE4_5,
    ernie::ERNIE4_5_MOE,
    hunyuan::HUNYUAN,
    nemotron::NEMOTRON,
    neox::GPT_NEOX,
    neox::BLOOM,
    falcon::FALCON,
    starcoder::STARCODER,
    orion::ORION,
    glm4moe::GLM4_MOE,
    glm4moe::SOLAR_OPEN,
    glm4moe::GLM4_MOE_LITE,
    glm5::GLM5_NEXT,
    glm::GLM,
    apertus::APERTUS,
    exaone4::EXAONE4,
    exaone4::EXAONE_MOE,
    internlm::INTERNLM2,
    internlm::INTERNLM3,
    jais2::JAIS2,
    minicpm::MINICPM,
    minicpm::MINICPM3,
    dream::DREAM,
    mellum::MELLUM,
    qwen_vl::QWEN2_VL,
    qwen_vl::QWEN3_VL,
    qwen_vl::QWEN3_VL_MOE,
    qwen35::QWEN35,
    qwen35::QWEN35_MOE,
    qwen35::QWEN3_NEXT,
    qwen4::QWEN4_EXP,
    dots1::DOTS1,
    dots3::DOTS3_NOTE,
    afmoe::AFMOE,
    mpt::MPT,
    minimax::MINIMAX_M2,
    minimax::MINIMAX_M3,
    phi3::PHI_MOE,
    cohere::COHERE2_MOE,
    llama4::LLAMA4,
    lfm2::LFM2,
    lfm2::LFM2_MOE,
    mamba::MAMBA,
    mamba::MAMBA2,
    hybrid::GRANITE_HYBRID,
    hybrid::GRANITE4,
    hybrid::GRANITE4_MOE,
    hybrid::BAMBA,
    nemotron_h::NEMOTRON_H,
    nemotron_h::NEMOTRON_H_MOE,
    jamba::JAMBA,
    gemma3n::GEMMA3N,
    gemma4::GEMMA4,
    bert::BERT,
    bert::ROBERTA,
    bert::DISTILBERT,
    modern_bert::MODERN_BERT,
    modern_bert::EUROBERT,
    nomic_bert::NOMIC_BERT_MOE,
    nomic_bert::NOMIC_BERT,
    t5::T5,
    t5::T5_ENCODER,
    deepseek1::DEEPSEEK,
    bailing::BAILING_MOE,
    bailing::BAILING_MOE2,
    bailing3::BAILING_MOE3,
    bailing3::BAILING_MOE3_VL,
    smallthinker::SMALLTHINKER,
    baichuan::BAICHUAN,
    baichuan::XVERSE,
    dbrx::DBRX,
    llada::LLADA,
    llada::LLADA_MOE,
    plm::PLM,
    openelm::OPENELM,
    refact::REFACT,
    refact::CODESHELL,
    jais::JAIS,
    grok::GROK,
    arctic::ARCTIC,
    grovemoe::GROVE_MOE,
    kin::PANGU,
    kin::NANBEIGE,
    kin::MAINCODER,
    kin::KORMO,
    dsa::DEEPSEEK32,
    dsa::GLM_DSA,
    mimo::MIMO2,
    kimi::KIMI_LINEAR,
    deci::DECI,
    deci::DECI7,
    falcon_h1::FALCON_H1,
    hunyuan::HUNYUAN_MOE,
    hunyuan::HY_V3,
    hy_v4::HY_V4,
    granite::GRANITE_MOE_SWA,
    seeing::LLAMA_SEEING,
    seeing::QWEN2_SEEING,
    seeing::QWEN3_SEEING,
    seeing::QWEN2_OMNI,
    seeing::QWEN3_OMNI,
    seeing::QWEN3_ASR,
    seeing::PADDLE_OCR,
    seeing::GEMMA4_UNIFIED,
    seeing::GLM4_SEEING,
    seeing::GLM4_SECTIONS,
    seeing::EXAONE4_5,
    seeing::HUNYUAN_VL,
    gemma4::ASSISTANT,
    dflash::DFLASH,
    dflash::DSPARK,
    dflash::DSPARK_WHOLE,
    dflash::DSPARK_PAIRED,
    dflash::DSPARK_PAIRED_WHOLE,
    dflash::MUSE_ASSISTANT,
    gemma4_dspark::GEMMA4_DSPARK,
    muse::MUSE_GLIMMER,
    encoders::NEO_BERT,
    encoders::JINA_BERT,
    encoders::LLAMA_EMBED,
    encoders::LFM2_EMBED,
    bailing::SARVAM,
    bitnet::BITNET,
    glm::CHAT_GLM,
    gpt2::RU_GPT3_XL,
    hrm::HRM_TEXT,
    laguna::LAGUNA,
    maple::MAPLE,
    minimax01::MINIMAX01,
    nemotron_h::NEMOTRON_H_PUZZLE,
    plamo::PLAMO2,
    plamo::PLAMO3,
    qwen_moe::RND1,
    spark::SPARK2_5,
    step35::STEP35,
    talkie::TALKIE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::values::Value;

    #[test]
    fn both_sides_of_every_rule_hold_the_same_axes_which_all_have_a_size() {
        let found: Vec<String> = ARCHS.iter().flat_map(faults).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// A value by its name: addresses of functions differ from place to place.
    fn shown(value: Value) -> String {
        match value {
            Value::Custom(custom) => custom.name.to_string(),
            Value::Times(times) => times.name.to_string(),
            Value::Whole(whole) => whole.name.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn families_of_one_name_change_values_alike() {
        for arch in ARCHS {
            let values = Values::of(arch.gguf);
            for rule in Family::of(arch).rules {
                for to in rule.targets() {
                    let found = values.get(&to.replace("{l}", "0"));
                    let own = if rule.value.is_same() { Value::Same } else { rule.value };
                    assert_eq!(shown(found), shown(own), "{}: {to}", arch.gguf);
                }
            }
        }
    }

    #[test]
    fn no_class_is_of_two_families() {
        let sole = ARCHS.iter().filter(|arch| arch.applies.is_none());
        let mut classes: Vec<&str> = sole.flat_map(|arch| arch.classes).copied().collect();
        let all = classes.len();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), all);
    }
}
