//! Every family of models, a page each. To add one: write its file with one `Arch` constant (a sibling states its
//! differences, `..NONE` for the rest), and add its line to `ARCHS`.

mod afmoe;
mod apertus;
mod arcee;
mod arch;
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
mod deepseek4;
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
mod granite_switch;
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
mod jina;
mod kimi;
mod kimi_k3;
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
mod mistral4;
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
mod plamo1;
mod plm;
mod pocket_tts;
mod qwen;
mod qwen1;
mod qwen35;
mod qwen3_tts;
mod qwen4;
mod qwen_moe;
mod qwen_vl;
mod refact;
mod rwkv6;
mod rwkv7;
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
mod told;
mod windows;

pub use arch::{Arch, Carried, Drafts, Made, NONE, TokenizerKey, Uses};
pub use decoder::DECODER;

pub use family::{Family, Line, Values, faults, fits};

/// Every architecture.
pub static ARCHS: &[Arch] = &[
    eagle3::EAGLE3,
    llama::LLAMA,
    llama::HEADLESS,
    llama::SEEING,
    mistral4::MISTRAL4,
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
    neox::BLOOM_MODEL,
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
    qwen_vl::QWEN2_VL_MODEL,
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
    jina::JINA_BERT_V3,
    bert::XLM_ROBERTA,
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
    deepseek4::DEEPSEEK4,
    mimo::MIMO2,
    kimi::KIMI_LINEAR,
    kimi_k3::KIMI_K3,
    deci::DECI,
    deci::DECI7,
    falcon_h1::FALCON_H1,
    hunyuan::HUNYUAN_MOE,
    hunyuan::HY_V3,
    hy_v4::HY_V4,
    granite::GRANITE_MOE_SWA,
    granite_switch::GRANITE_SWITCH,
    seeing::LLAMA_SEEING,
    seeing::QWEN2_SEEING,
    seeing::QWEN3_SEEING,
    seeing::QWEN2_OMNI,
    seeing::QWEN3_OMNI,
    seeing::QWEN3_ASR,
    qwen3_tts::QWEN3_TTS,
    pocket_tts::POCKET_TTS,
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
    deepseek4::DSPARK,
    muse::MUSE_GLIMMER,
    encoders::NEO_BERT,
    jina::JINA_BERT,
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
    qwen1::QWEN,
    plamo1::PLAMO,
    rwkv6::RWKV6,
    rwkv6::RWKV6_QWEN2,
    rwkv7::RWKV7,
    rwkv7::ARWKV7,
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
