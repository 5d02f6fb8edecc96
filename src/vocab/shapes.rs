//! The table of pre-tokenizers: chains of splits as published `tokenizer.json` files have them, and the
//! runtime's names for them. Serves `pre`. `source` names a model with the chain; rows of `known` tell apart
//! the vocabularies that share it; `stand_ins` are names whose regexes, whole-word rule and clean-up of
//! spaces are right for any vocabulary of the chain, measured with libllama v0.5.0: for one text, names of a
//! group give the same ids. A name that is missing here can be given with `--pre`.

use super::added::Added;
use serde_json::{Map, Value};

/// One split.
#[derive(Debug)]
pub enum Step {
    /// Matches are pieces of their own.
    Regex(&'static str),
    /// A match is joined with the text that follows it.
    BeforeNext(&'static str),
    /// Digits are pieces of their own, each or in runs.
    Digits { each: bool },
    /// Runs of punctuation are pieces of their own.
    Punctuation,
    /// Bytes become GPT-2's alphabet, and GPT-2's regex splits if `words`.
    ByteLevel { words: bool },
}

/// What tells apart the vocabularies of one chain.
#[derive(Default)]
pub struct Facts<'a> {
    pub vocab: Option<&'a Map<String, Value>>,
    pub added: &'a [Added],
    /// Whether a word that is a token is never split (`ignore_merges`).
    pub whole_words: bool,
}

impl Facts<'_> {
    /// Whether `token` is in the vocabulary.
    pub fn has(&self, token: &str) -> bool {
        self.vocab.is_some_and(|vocab| vocab.contains_key(token))
            || self.added.iter().any(|t| t.content == token)
    }
}

/// A fact of a vocabulary, and the name of the pre-tokenizer where it holds.
pub type Row = (fn(&Facts) -> bool, &'static str);

/// A chain of splits.
pub struct Shape {
    pub source: &'static str,
    pub chain: &'static [Step],
    pub known: &'static [Row],
    pub stand_ins: &'static [Row],
}

const WORDS: Step = Step::ByteLevel { words: true };
const BYTES: Step = Step::ByteLevel { words: false };
const EACH_DIGIT: Step = Step::Digits { each: true };
const THREE_DIGITS: Step = Step::Regex(r"\p{N}{1,3}");
const NEWLINES: Step = Step::Regex(r"[\r\n]");
const CJK_HANGUL: Step = Step::Regex("[一-龥ࠀ-一가-\u{d7ff}]+");
const CJK_KANA: Step = Step::Regex("[一-龥぀-ゟ゠-ヿ]+");
const QWEN2: Step = Step::Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
// Escaped are letters that a Unicode normalization of this file would change.
const DEEPSEEK_LETTERS: Step = Step::Regex(
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
);
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub const SHAPES: &[Shape] = &[
    Shape {
        source: "meta-llama/Meta-Llama-3-8B",
        chain: &[
            Step::Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[
            (|v| v.has("[IMG]") && v.has("[INST]") && v.whole_words, "pixtral"),
            // Only the first takes whole words before it merges; whether BOS is added is told by a key of its own.
            (|v| v.has("<|begin_of_text|>") && v.whole_words, "llama-bpe"),
            (|v| v.has("<|begin_of_text|>"), "smaug-bpe"),
        ],
        stand_ins: &[(|v| v.whole_words, "llama-bpe"), (|_| true, "dbrx")],
    },
    Shape {
        source: "Qwen/Qwen2-7B",
        chain: &[QWEN2, BYTES],
        known: &[
            (|v| v.has("<｜begin▁of▁sentence｜>"), "deepseek-r1-qwen"),
            (|v| v.has("[|endofturn|]"), "exaone4"),
            (|v| v.has("<|endoftext|>") && v.has("<|im_start|>"), "qwen2"),
        ],
        stand_ins: &[(|_| true, "qwen2")],
    },
    Shape {
        source: "Qwen/Qwen3.5-9B",
        chain: &[
            Step::Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[(|v| v.has("<|im_start|>"), "qwen35")],
        stand_ins: &[(|_| true, "qwen35")],
    },
    Shape {
        source: "openai-community/gpt2",
        chain: &[WORDS],
        known: &[
            // Only Phi-2 (CodeGen's vocabulary) adds runs of tabs, only GPT-NeoX's has this padding.
            (|v| v.has("<|endoftext|>") && v.has("\t\t"), "phi-2"),
            (|v| v.has("<|padding|>"), "olmo"),
            (|v| v.has("[CLS]") && v.has("[MASK]"), "modern-bert"),
            (|v| v.has("<s>") && v.has("<mask>"), "roberta-bpe"),
            (|v| v.has("<|endoftext|>"), "gpt-2"),
        ],
        stand_ins: &[(|_| true, "gpt-2")],
    },
    Shape {
        source: "HuggingFaceTB/SmolLM-135M",
        chain: &[EACH_DIGIT, WORDS],
        known: &[
            (|v| v.has("<BOS_TOKEN>") && v.has("<|START_OF_TURN_TOKEN|>"), "command-r"),
            (|v| v.has("<|im_start|>") && v.has("<repo_name>"), "smollm"),
            (|v| v.has("<fim_prefix>") && v.has("<repo_name>"), "starcoder"),
            (|v| v.has("<fim_prefix>") && v.has("<filename>"), "refact"),
            (|v| v.has("[|endofturn|]"), "exaone"),
        ],
        stand_ins: &[(|_| true, "smollm")],
    },
    Shape {
        source: "mistralai/Mistral-Nemo-Base-2407",
        chain: &[
            Step::Regex(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[(|v| v.has("[INST]"), "tekken")],
        stand_ins: &[(|_| true, "tekken")],
    },
    Shape {
        source: "openai/gpt-oss-20b",
        chain: &[Step::Regex(GPT4O), BYTES],
        known: &[
            (|v| v.has("<|begin_of_text|>"), "llama4"),
            (|v| v.has("]~!b["), "minimax-m2"),
            (|v| v.has("<|endoftext|>"), "gpt-4o"),
        ],
        stand_ins: &[(|_| true, "gpt-4o")],
    },
    Shape {
        source: "CohereLabs/tiny-aya-base",
        chain: &[Step::Regex(r"\d{1,3}(?=(?:\d{3})*\b)"), Step::Regex(GPT4O), BYTES],
        known: &[],
        stand_ins: &[(|_| true, "tiny_aya")],
    },
    Shape {
        source: "deepseek-ai/deepseek-llm-7b-base, DeepSeek-Coder-V2",
        chain: &[
            NEWLINES,
            DEEPSEEK_LETTERS,
            Step::Regex(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            Step::Regex(r"\s+$"),
            CJK_HANGUL,
            EACH_DIGIT,
            BYTES,
        ],
        known: &[(|_| true, "deepseek-llm")],
        stand_ins: &[(|_| true, "deepseek-llm")],
    },
    Shape {
        source: "deepseek-ai/deepseek-coder-6.7b-base",
        chain: &[
            NEWLINES,
            Step::Regex(r"\s?\p{L}+"),
            Step::Regex(r"\s?\p{P}+"),
            CJK_HANGUL,
            EACH_DIGIT,
            BYTES,
        ],
        known: &[(|_| true, "deepseek-coder")],
        stand_ins: &[(|_| true, "deepseek-coder")],
    },
    Shape {
        source: "deepseek-ai/DeepSeek-V3",
        chain: &[
            THREE_DIGITS,
            CJK_KANA,
            Step::Regex(
                r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
            ),
            BYTES,
        ],
        known: &[
            (|v| v.has("<｜hy_begin▁of▁sentence｜>"), "hunyuan-dense"),
            (|v| v.has("<｜begin▁of▁sentence｜>"), "deepseek-v3"),
        ],
        stand_ins: &[(|_| true, "deepseek-v3")],
    },
    Shape {
        source: "tiiuae/falcon-7b",
        chain: &[Step::Punctuation, WORDS, Step::Digits { each: false }, Step::Regex("[0-9][0-9][0-9]")],
        known: &[(|_| true, "falcon")],
        stand_ins: &[(|_| true, "falcon")],
    },
    Shape {
        source: "bigscience/bloom",
        chain: &[Step::Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), BYTES],
        known: &[],
        stand_ins: &[(|_| true, "bloom")],
    },
    Shape {
        source: "inclusionAI/Ling-lite, GSAI-ML/LLaDA-8B",
        chain: &[
            Step::Regex(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[],
        stand_ins: &[(|_| true, "bailingmoe")],
    },
    Shape {
        source: "ByteDance-Seed/Seed-Coder-8B-Base",
        chain: &[
            Step::Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[],
        stand_ins: &[(|_| true, "seed-coder")],
    },
    Shape {
        source: "openbmb/MiniCPM5-1B",
        chain: &[
            THREE_DIGITS,
            Step::Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ),
            BYTES,
        ],
        known: &[],
        stand_ins: &[(|_| true, "minicpm5")],
    },
    Shape {
        source: "poolside/Laguna-XS.2",
        chain: &[Step::BeforeNext(r"(?:\r?\n)+(?!\r?\n)"), QWEN2, BYTES],
        known: &[],
        stand_ins: &[(|_| true, "laguna")],
    },
    Shape {
        source: "XHToken/Spark-X2.5",
        chain: &[
            THREE_DIGITS,
            CJK_KANA,
            Step::Regex(
                r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##,
            ),
            EACH_DIGIT,
            BYTES,
        ],
        known: &[],
        stand_ins: &[(|_| true, "spark2_5")],
    },
];

/// Vocabularies that are known by tokens of their own, however their splits are written.
pub const VOCABULARIES: &[Row] = &[
    (|v| v.has("<seed:bos>"), "seed-coder"),
    (|v| v.has("<|reg0|>"), "stablelm2"),
    (|v| v.has("<|startoftext|>") && v.has("<|extra_0|>"), "hunyuan"),
    (|v| v.has("[gMASK]") && v.has("<sop>"), "glm4"),
    (|v| v.has(">>TITLE<<"), "falcon"),
    (|v| v.has("<|startoftext|>") && v.has("<|tool_list_start|>"), "lfm2"),
];

/// Names that split text as others of the table do, in the runtime.
pub const ALIKE: &[(&str, &[&str])] = &[
    (
        "llama-bpe",
        &[
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
            "chatglm-bpe",
            "glm4",
        ],
    ),
    ("deepseek-v3", &["joyai-llm", "hy_v4"]),
    ("smollm", &["codeshell", "minerva-7b", "mellum2"]),
    (
        "gpt-2",
        &[
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v1-en",
            "jina-v2-code",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "mpt",
            "jais",
            "trillion",
            "granite-docling",
        ],
    ),
    ("qwen2", &["kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open", "megrez", "grok-2"]),
    ("bloom", &["poro-chat", "gpt3-finnish"]),
    ("gpt-4o", &["kanana2", "talkie"]),
    ("tiny_aya", &["cohere2moe"]),
    ("bailingmoe", &["bailingmoe2", "llada-moe"]),
];

/// The names under which the runtime takes a word that is a token whole, before it merges.
pub const WHOLE_WORDS: [&str; 14] = [
    "minicpm5",
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
    "youtu",
    "glm4",
    "tekken",
    "granite-embed-multi-97m",
];

/// The names under which the runtime puts BOS before a text unless it is told not to.
pub const BEGINS: [&str; 12] = [
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
    "tekken",
    "chameleon",
    "gemma4",
];

/// The names that libllama v0.5.0 loads, each tried.
#[rustfmt::skip]
pub const NAMES: [&str; 90] = [
    "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell",
    "cohere2moe", "command-r", "dbrx", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "deepseek-v3",
    "default", "exaone", "exaone-moe", "exaone4", "f2llmv2", "falcon", "falcon-h1", "falcon3", "gemma4",
    "gigachat", "glm4", "gpt-2", "gpt-4o", "gpt3-finnish", "granite-docling", "granite-embed-multi-311m",
    "granite-embed-multi-97m", "grok-2", "hunyuan", "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de",
    "jina-es", "jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm",
    "kanana2", "kimi-k2", "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3", "llama3",
    "llama4", "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5", "minimax-m2",
    "modern-bert", "mpt", "olmo", "phi-2", "pixtral", "poro-chat", "qwen2", "qwen35", "refact",
    "roberta-bpe", "sarvam-moe", "seed-coder", "smaug-bpe", "smollm", "solar-open", "spark2_5", "stablelm2",
    "starcoder", "superbpe", "talkie", "tekken", "tiny_aya", "trillion", "ufakzeka", "viking", "whitespace",
    "youtu",
];
