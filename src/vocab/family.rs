//! What the converter knows of the tokenizers of single families: special tokens by their texts, padded tables, keys that
//! come last. Serves the door.
//! Specification: the `set_vocab` of `Glm4Model` and others of llama.cpp's converter.

use super::files::Files;
use super::special::Special;
use super::spm::ModelProto;
use super::{SPACE_PREFIX, Tokens, class, kinds};
use bstr::ByteSlice;
use ggraft_formats::{Array, Metadata, Result};
use serde_json::Value;

/// Kinds of special tokens, and the texts that stand for those that no file names.
type Texts = &'static [(&'static str, &'static str)];

const GLM4: Texts =
    &[("eos", "<|endoftext|>"), ("eot", "<|user|>"), ("unk", "<|endoftext|>"), ("bos", "<|endoftext|>")];
const GLM: Texts = &[("eos", "<|endoftext|>"), ("eot", "<|user|>"), ("unk", "<|endoftext|>")];
const GLM4_MOE: Texts =
    &[("bos", "[gMASK]"), ("eot", "<|user|>"), ("unk", "<|endoftext|>"), ("eom", "<|observation|>")];
const SOLAR: Texts = &[("eot", "<|endoftext|>"), ("unk", "<unk>"), ("bos", "<|startoftext|>")];

const DOTS3: Texts = &[("eot", "<|endofassistant|>")];

const FAMILIES: &[(&str, Texts)] = &[
    ("Dots3NoteForCausalLM", DOTS3),
    ("Dots3NoteForConditionalGeneration", DOTS3),
    ("Dots3NoteTextForCausalLM", DOTS3),
    ("Glm5NextForConditionalGeneration", GLM4_MOE),
    ("Glm4ForCausalLM", GLM4),
    ("Glm4vForConditionalGeneration", GLM4),
    ("GlmOcrForConditionalGeneration", GLM4),
    ("GlmMoeDsaForCausalLM", GLM4_MOE),
    ("GlmForCausalLM", GLM),
    ("ChatGLMModel", GLM),
    ("ChatGLMForConditionalGeneration", GLM),
    ("Glm4MoeForCausalLM", GLM4_MOE),
    ("Glm4vMoeForConditionalGeneration", GLM4_MOE),
    ("Glm4MoeLiteForCausalLM", GLM4_MOE),
    ("SolarOpenForCausalLM", SOLAR),
];

/// The end of a turn, which InternLM 2 takes for the end of a text.
const TURN_END: &str = "<|im_end|>";

/// Whether the ends of turns that a GGUF names are those that the family of `class` has.
pub fn ends_turns(class: &str, metadata: &Metadata) -> bool {
    let Ok(Some(tokens)) = Tokens::of(metadata) else { return true };
    let texts = FAMILIES.iter().find(|(name, _)| *name == class).map_or(&[][..], |(_, texts)| texts);
    let agrees = |kind: &str| {
        let id = metadata.u64(&format!("tokenizer.ggml.{kind}_token_id"));
        let told = id.and_then(|id| tokens.tokens.get(usize::try_from(id).ok()?));
        let text = texts.iter().find(|(known, _)| *known == kind).map(|(_, text)| *text);
        let is_there = |text: &str| tokens.tokens.iter().any(|token| token == text);
        match (told, text) {
            (Some(told), Some(text)) => told == text,
            (Some(_), None) => false,
            (None, text) => !text.is_some_and(is_there),
        }
    };
    agrees("eot") && agrees("eom")
}

/// Adds to `special` what the family of `class` names by text, where the tokens of `metadata` hold it.
pub fn specials(
    class: &str,
    special: &mut Special,
    metadata: &Metadata,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Some(tokens) = Tokens::of(metadata)? else { return Ok(()) };
    let id = |text: &str| tokens.tokens.iter().position(|token| token == text);
    if let Some(id) =
        id(TURN_END).filter(|_| ["InternLM2ForCausalLM", "InternLM3ForCausalLM"].contains(&class))
    {
        special.replace("eos", id as u32);
    }
    let Some((_, texts)) = FAMILIES.iter().find(|(name, _)| *name == class) else { return Ok(()) };
    for (kind, text) in *texts {
        match id(text) {
            Some(id) => special.id(kind, &id.into(), None, warnings),
            None => {
                warnings.push(format!("the {kind} token of this family, '{text}', is not in the vocabulary"))
            }
        }
    }
    Ok(())
}

/// Classes whose table has a multiple of so many ids, unless the config says another.
const PADDED: &[(&str, usize)] = &[
    ("MambaForCausalLM", 8),
    ("MambaLMHeadModel", 8),
    ("FalconMambaForCausalLM", 8),
    ("Mamba2ForCausalLM", 16),
    ("BambaForCausalLM", 8),
    ("NemotronHForCausalLM", 8),
    ("NemotronHPuzzleForCausalLM", 8),
];

/// The number of ids of a vocabulary of `size`.
pub fn padded(config: &Value, size: usize) -> usize {
    let class = class(config).unwrap_or_default();
    let kinds = super::told(config, "layer_types").and_then(Value::as_array);
    let remembers = kinds.into_iter().flatten().any(|kind| kind == "mamba" || kind == "linear_attention");
    let hybrid = ("GraniteMoeHybridForCausalLM", if remembers { 8 } else { 1 });
    let Some((_, unit)) = PADDED.iter().chain([&hybrid]).find(|(name, _)| *name == class) else {
        return size;
    };
    let told = super::told(config, "pad_vocab_size_multiple").and_then(Value::as_u64);
    let told = told.filter(|_| class.starts_with("Mamba")).and_then(|n| usize::try_from(n).ok());
    size.checked_next_multiple_of(told.filter(|n| *n > 0).unwrap_or(*unit)).unwrap_or(size)
}

/// Whether models of this class have tokenizers of Unigram: encoders and T5. Decoders have none that their runtime reads.
pub fn reads_unigram(class: &str) -> bool {
    !class.ends_with("ForCausalLM")
}

/// Whether the runtime merges the tokens of this family by their list of merges, though they are SentencePiece's.
pub fn keeps_merges(class: &str) -> bool {
    class.starts_with("Gemma4")
}

/// The number of types of tokens that an encoder with fairseq's ids writes; none of another model.
pub fn token_types(config: &Value) -> Option<u32> {
    let class = class(config).unwrap_or_default();
    let default = match class {
        _ if class.starts_with("XLMRoberta") => 2,
        _ if class.starts_with("NomicBert") => 2,
        _ => return None,
    };
    let told = config.get("type_vocab_size").and_then(Value::as_u64);
    Some(told.and_then(|n| u32::try_from(n).ok()).unwrap_or(default))
}

/// Whether the tokens of this family are written without scores and merges.
pub fn is_bare(class: &str) -> bool {
    class == "XverseForCausalLM"
}

/// What Arctic and InternLM 2 do with SentencePiece's pieces.
pub fn pieces(class: &str, model: &ModelProto, files: &Files, metadata: &mut Metadata) -> Result<()> {
    match class {
        "ArcticForCausalLM" => return redefined(model, files, metadata),
        "InternLM2ForCausalLM" => {}
        _ => return Ok(()),
    }
    if let Some(tokens) = Tokens::of(metadata)? {
        let unused = |token: &[u8]| token.starts_with_str("[UNUSED");
        let types = tokens.tokens.iter().zip(tokens.types);
        let types: Vec<i32> =
            types.map(|(token, kind)| if unused(token) { kinds::UNUSED } else { *kind }).collect();
        metadata.set("tokenizer.ggml.token_type", types);
    }
    let prefix = model.normalizer_spec.clone().unwrap_or_default().add_dummy_prefix();
    metadata.set(SPACE_PREFIX, prefix);
    Ok(())
}

/// Arctic gives ids of its pieces other texts, which `tokenizer_config.json` lists; all others are as the pieces are.
fn redefined(model: &ModelProto, files: &Files, metadata: &mut Metadata) -> Result<()> {
    let Some(Tokens { types, .. }) = Tokens::of(metadata)? else { return Ok(()) };
    let mut types = types.to_vec();
    let scores = metadata.get(SCORES).and_then(|scores| scores.as_array());
    let mut scores = match scores {
        Some(Array::F32(scores)) => scores.to_vec(),
        _ => return Ok(()),
    };
    for ((piece, kind), score) in model.pieces.iter().zip(&mut types).zip(&mut scores) {
        let is_other = piece.r#type() == kinds::USER_DEFINED;
        (*kind, *score) = (if is_other { kinds::NORMAL } else { piece.r#type() }, piece.score());
    }
    let unknown = files.config("unk_token").and_then(Value::as_str);
    let added = files.config("added_tokens_decoder").and_then(Value::as_object);
    for (id, token) in added.into_iter().flatten() {
        let Some(id) = id.parse::<usize>().ok().filter(|id| *id < types.len() && *id < scores.len()) else {
            continue;
        };
        let is_special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        let text = token.get("content").and_then(Value::as_str);
        (types[id], scores[id]) = match is_special {
            true if text.is_some() && text == unknown => (kinds::UNKNOWN, 0.0),
            true => (kinds::CONTROL, 0.0),
            false => (kinds::USER_DEFINED, REDEFINED),
        };
    }
    metadata.set("tokenizer.ggml.token_type", types);
    metadata.set(SCORES, scores);
    Ok(())
}

const SCORES: &str = "tokenizer.ggml.scores";
/// The score of a token that is none of SentencePiece's.
const REDEFINED: f32 = -10_000.0;

/// The turns of a Qwen 3 ASR, whose own template is for something else.
const TURNS: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The end of a text that Hunyuan's configs have unless they say so.
const HUNYUAN_END: u32 = 3;

/// Writes what the converter of a family writes last.
pub fn last(class: &str, config: &Value, files: &Files, metadata: &mut Metadata) -> Result<()> {
    match class {
        "MuseGlimmerForConditionalGeneration" => {
            let tokens = Tokens::of(metadata)?;
            let eot = tokens.and_then(|tokens| tokens.tokens.iter().position(|token| token == "<|eot|>"));
            if let Some(eot) = eot {
                metadata.set("tokenizer.ggml.eot_token_id", eot as u32);
            }
        }
        "NemotronForCausalLM" => {
            metadata.set("tokenizer.ggml.padding_token_id", 0u32);
            metadata.set("tokenizer.ggml.unknown_token_id", 1u32);
        }
        "Ernie4_5_ForCausalLM"
        | "Ernie4_5ForCausalLM"
        | "Ernie4_5_MoeForCausalLM"
        | "PaddleOCRVLForConditionalGeneration"
        | "PanguEmbeddedForCausalLM" => {
            if let Some(prefix) = files.config("add_prefix_space").and_then(Value::as_bool) {
                metadata.set(SPACE_PREFIX, prefix);
            }
        }
        "HunYuanDenseV1ForCausalLM" | "HunYuanVLForConditionalGeneration" => {
            let id =
                |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
            metadata
                .set("tokenizer.ggml.eos_token_id", id(config.get("eod_token_id")).unwrap_or(HUNYUAN_END));
            let generation = files.checkpoint.json("generation_config.json")?.unwrap_or_default();
            let ends = generation.get("eos_token_id").and_then(Value::as_array);
            if let Some(turn) = ends.filter(|ends| ends.len() > 1).and_then(|ends| id(ends.first())) {
                metadata.set("tokenizer.ggml.eot_token_id", turn);
            }
        }
        "RobertaModel" | "RobertaForSequenceClassification" => {
            let told = config.get("type_vocab_size").and_then(Value::as_u64);
            let types = told.and_then(|n| u32::try_from(n).ok()).unwrap_or(2);
            metadata.set("tokenizer.ggml.token_type_count", types);
        }
        "Qwen3OmniMoeForConditionalGeneration" | "Qwen3ASRForConditionalGeneration" => {
            if class == "Qwen3ASRForConditionalGeneration" {
                metadata.set("tokenizer.chat_template", TURNS);
            }
            let added = files.config("added_tokens_decoder").and_then(Value::as_object);
            let is_end = |token: &Value| token.get("content").and_then(Value::as_str) == Some(TURN_END);
            let end = added.into_iter().flatten().find(|(_, token)| is_end(token));
            if let Some(id) = end.and_then(|(id, _)| id.parse::<u32>().ok()) {
                metadata.set("tokenizer.ggml.bos_token_id", id);
                metadata.set("tokenizer.ggml.eos_token_id", id);
            }
        }
        // What it speaks is no chat.
        "Qwen3TTSForConditionalGeneration" => {
            metadata.remove("tokenizer.chat_template");
        }
        class if keeps_merges(class) => {
            metadata.set(SPACE_PREFIX, false);
            metadata.set(super::ADD_BOS, true);
        }
        _ => {}
    }
    Ok(())
}
