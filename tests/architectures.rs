//! Adopting a checkpoint: names, the order of rows, hyperparameters, what a model is called, and what is refused.
//! `parity.rs` compares whole results with llama.cpp's converter; here each rule stands alone.

mod support;

use ggraft::arch::{ARCHS, Adopted, Options, adopt, converter};
use ggraft_formats::{Array, Error, Kind, Metadata, Tensor, Value, safetensors};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use support::checkpoint::{Spec, Tokens, Weight, write_weights};
use support::gguf::values;
use support::tokenizer::write_json;
use support::vocabulary::fixture;
use tempfile::TempDir;

/// A checkpoint directory that a test may spoil before it is adopted.
struct Case {
    _parent: TempDir,
    dir: PathBuf,
    config: Json,
    weights: Vec<Weight>,
}

/// One layer of four heads of four, two of them with keys and values.
fn small() -> Spec {
    Spec { tokens: Tokens::Real("llama-spm"), hidden: 16, ffn: 24, layers: 1, ..Spec::default() }
}

impl Case {
    fn new(name: &str, spec: Spec) -> Case {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join(name);
        let vocab_size = spec.write_files(&dir);
        let config = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        Case { _parent: parent, dir, config, weights: spec.weights(vocab_size) }
    }

    /// With these keys of `config.json`; null removes one.
    fn config(mut self, keys: Json) -> Case {
        let config = self.config.as_object_mut().unwrap();
        for (key, value) in keys.as_object().unwrap() {
            config.remove(key);
            if !value.is_null() {
                config.insert(key.clone(), value.clone());
            }
        }
        self
    }

    fn weights(mut self, change: impl FnOnce(&mut Vec<Weight>)) -> Case {
        change(&mut self.weights);
        self
    }

    fn file(self, name: &str, text: &str) -> Case {
        std::fs::write(self.dir.join(name), text).unwrap();
        self
    }

    fn adopt(&self) -> Result<Adopted, Error> {
        write_json(&self.dir.join("config.json"), &self.config);
        write_weights(self.weights.clone(), 1, &self.dir);
        adopt(&safetensors::open(&self.dir)?, &Options::default())
    }

    fn error(&self) -> (Kind, String) {
        let place = format!("{}/", self.dir.display());
        let error = self.adopt().unwrap_err();
        (error.kind(), error.to_string().replace(&place, ""))
    }
}

fn named<'a>(tensors: &'a [Tensor], name: &str) -> &'a Tensor {
    tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// The keys under `prefix` and their values, in order.
fn keys(metadata: &Metadata, prefix: &str) -> Vec<String> {
    let show = |value: &Value| match value {
        Value::Str(text) => format!("{:?}", text.to_string()),
        Value::Array(Array::Str(texts)) => format!("{texts:?}"),
        other => format!("{other:?}"),
    };
    let under = metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
    under.map(|(key, value)| format!("{key} = {}", show(value))).collect()
}

#[test]
fn every_tensor_has_its_gguf_name_and_keeps_its_dtype() {
    let adopted = Case::new("m", small()).adopt().unwrap();
    let mut names: Vec<String> =
        adopted.model.tensors.iter().map(|t| format!("{} {} {}", t.name, t.shape(), t.dtype())).collect();
    names.sort();
    let expected = [
        "blk.0.attn_k.weight [16, 8] bf16",
        "blk.0.attn_norm.weight [16] bf16",
        "blk.0.attn_output.weight [16, 16] bf16",
        "blk.0.attn_q.weight [16, 16] bf16",
        "blk.0.attn_v.weight [16, 8] bf16",
        "blk.0.ffn_down.weight [24, 16] bf16",
        "blk.0.ffn_gate.weight [16, 24] bf16",
        "blk.0.ffn_norm.weight [16] bf16",
        "blk.0.ffn_up.weight [16, 24] bf16",
        "output.weight [16, 32000] bf16",
        "output_norm.weight [16] bf16",
        "token_embd.weight [16, 32000] bf16",
    ];
    assert_eq!(names, expected);
    assert!(adopted.warnings.is_empty(), "{:?}", adopted.warnings);
}

/// The rows of `weights` in GGUF's order, by the definition: row j of half t of a head becomes row 2 j + t.
fn alternate(weights: &[f32], row: usize, heads: usize) -> Vec<f32> {
    let head = weights.len() / row / heads;
    let mut out = vec![0.0; weights.len()];
    for h in 0..heads {
        for t in 0..2 {
            for j in 0..head / 2 {
                let (from, to) = (h * head + t * head / 2 + j, h * head + 2 * j + t);
                out[to * row..(to + 1) * row].copy_from_slice(&weights[from * row..(from + 1) * row]);
            }
        }
    }
    out
}

#[test]
fn the_halves_of_query_and_key_heads_alternate_in_weights_and_biases() {
    let case = Case::new("m", Spec { bias: true, head_dim: Some(8), ..small() });
    let adopted = case.adopt().unwrap().model.tensors;
    let source = safetensors::open(&case.dir).unwrap().tensors;
    for (from, to, heads) in
        [("q_proj", "attn_q", Some(4)), ("k_proj", "attn_k", Some(2)), ("v_proj", "attn_v", None)]
    {
        for (suffix, row) in [("weight", 16), ("bias", 1)] {
            let before = values(named(&source, &format!("model.layers.0.self_attn.{from}.{suffix}")));
            let after = values(named(&adopted, &format!("blk.0.{to}.{suffix}")));
            let expected = heads.map_or(before.clone(), |heads| alternate(&before, row, heads));
            assert_eq!(after, expected, "{from}.{suffix}");
            assert_eq!(after == before, heads.is_none(), "{from}.{suffix}");
        }
    }
}

#[test]
fn absent_keys_have_the_defaults_of_their_model_type() {
    let gone = json!({"max_position_embeddings": null, "rms_norm_eps": null, "rope_theta": null});
    let llama = Case::new("m", small()).config(gone.clone()).adopt().unwrap();
    let expected = [
        "block_count = U32(1)",
        "context_length = U32(2048)",
        "embedding_length = U32(16)",
        "feed_forward_length = U32(24)",
        "attention.head_count = U32(4)",
        "attention.head_count_kv = U32(2)",
        "rope.freq_base = F32(10000.0)",
        "attention.layer_norm_rms_epsilon = F32(1e-6)",
        "attention.key_length = U32(4)",
        "attention.value_length = U32(4)",
        "vocab_size = U32(32000)",
        "rope.dimension_count = U32(4)",
    ];
    assert_eq!(keys(&llama.model.metadata, "llama."), expected);

    let class = json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral"});
    let mistral = Case::new("m", small()).config(gone).config(class).adopt().unwrap();
    assert_eq!(mistral.model.hparam("context_length"), Some(131072));
}

#[test]
fn without_key_value_heads_every_head_has_its_own() {
    let case = Case::new("m", Spec { kv_heads: 4, ..small() }).config(json!({"num_key_value_heads": null}));
    assert_eq!(case.adopt().unwrap().model.hparam("attention.head_count_kv"), Some(4));
}

#[test]
fn rope_is_read_from_either_style_of_config() {
    let yarn =
        json!({"factor": 4, "original_max_position_embeddings": 128, "beta_fast": 32, "attn_factor": 0.5});
    let expected = [
        "scaling.type = \"yarn\"",
        "scaling.factor = F32(4.0)",
        "scaling.original_context_length = U32(128)",
        "scaling.yarn_attn_factor = F32(0.5)",
        "scaling.yarn_beta_fast = F32(32.0)",
        "freq_base = F32(5000.0)",
        "dimension_count = U32(4)",
    ];
    let mut older = yarn.clone();
    older["type"] = "yarn".into();
    let mut newer = yarn;
    newer["rope_type"] = "yarn".into();
    newer["rope_theta"] = 5000.0.into();
    for config in [
        json!({"rope_scaling": older, "rope_theta": 5000.0}),
        json!({"rope_parameters": newer, "rope_theta": null}),
    ] {
        let adopted = Case::new("m", small()).config(config).adopt().unwrap();
        assert_eq!(keys(&adopted.model.metadata, "llama.rope."), expected);
    }
}

#[test]
fn llama3_rope_stretches_long_wavelengths_and_leaves_short_ones() {
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192});
    let config = json!({"rope_scaling": scaling, "rope_theta": 500000.0});
    let adopted = Case::new("m", Spec { head_dim: Some(128), ..small() }).config(config).adopt().unwrap();
    let factors = &adopted.model.tensors[0];
    assert_eq!((factors.name.as_str(), factors.shape().ne()), ("rope_freqs.weight", [64].as_slice()));
    let factors = values(factors);
    // Wavelength 2 pi 500000^(2i/128): below 8192 / 4 up to i = 28, above 8192 from i = 35 on.
    for (i, factor) in factors.iter().enumerate() {
        let wavelength = std::f64::consts::TAU * 500000f64.powf(i as f64 / 64.0);
        let smooth = (8192.0 / wavelength - 1.0) / 3.0;
        let expected = 1.0 / ((1.0 - smooth.clamp(0.0, 1.0)) / 8.0 + smooth.clamp(0.0, 1.0));
        assert!((f64::from(*factor) - expected).abs() < 1e-5 * expected, "{i}: {factor}, not {expected}");
    }
    assert!(factors[..29].iter().all(|f| *f == 1.0) && factors[35..].iter().all(|f| *f == 8.0));
}

#[test]
fn a_tied_model_needs_no_head_and_an_untied_one_does() {
    let tied = Case::new("m", Spec { tied: true, ..small() }).adopt().unwrap();
    assert!(tied.model.tensors.iter().all(|t| t.name != "output.weight"));
    let untied = Case::new("m", Spec { tied: true, ..small() }).config(json!({"tie_word_embeddings": false}));
    assert!(untied.error().1.contains("tensor 'lm_head.weight': the checkpoint lacks this tensor"));
}

#[test]
fn where_nothing_is_said_of_the_head_the_checkpoint_tells_whether_there_is_one() {
    let untold = json!({"tie_word_embeddings": null, "model_type": null});
    for tied in [true, false] {
        let adopted = Case::new("m", Spec { tied, ..small() }).config(untold.clone()).adopt().unwrap();
        assert_eq!(adopted.model.tensors.iter().all(|t| t.name != "output.weight"), tied);
        assert_eq!(adopted.warnings, [""; 0]);
    }
}

#[test]
fn what_the_config_does_not_announce_is_kept_and_said() {
    let both = Case::new("m", small()).config(json!({"tie_word_embeddings": true})).adopt().unwrap();
    named(&both.model.tensors, "output.weight");
    assert_eq!(
        both.warnings,
        ["config.json does not announce lm_head.weight, which transformers would ignore: kept"]
    );
    let biased = Case::new("m", Spec { bias: true, ..small() }).config(json!({"attention_bias": false}));
    let warnings = biased.adopt().unwrap().warnings;
    assert!(warnings[0].contains("q_proj.bias and 3 more tensors"), "{warnings:?}");
}

#[test]
fn a_sliding_window_is_lost_and_said() {
    let adopted = Case::new("m", small()).config(json!({"sliding_window": 64})).adopt().unwrap();
    assert!(adopted.warnings[0].contains("the sliding window of 64 tokens"), "{:?}", adopted.warnings);
}

#[test]
fn rotary_buffers_are_left_out() {
    let case = Case::new("m", small()).weights(|weights| {
        let inv_freq =
            Weight { name: "model.layers.0.self_attn.rotary_emb.inv_freq".into(), ..weights[1].clone() };
        weights.push(inv_freq);
    });
    assert_eq!(case.adopt().unwrap().model.tensors.len(), 12);
}

#[test]
fn a_bare_model_has_names_without_a_prefix() {
    let case = Case::new("m", small()).config(json!({"architectures": ["LlamaModel"]})).weights(|weights| {
        weights.retain(|w| w.name != "lm_head.weight");
        for weight in weights {
            weight.name = weight.name.replace("model.", "");
        }
    });
    assert_eq!(case.adopt().unwrap().model.tensors.len(), 11);
}

#[test]
fn what_a_part_of_the_config_was_trained_from_is_not_the_models_name() {
    let part = json!({"text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5"}});
    let adopted = Case::new("Llava-1M", small()).config(part).adopt().unwrap();
    assert!(keys(&adopted.model.metadata, "general.").contains(&String::from("name = \"Llava 1M\"")));
    assert!(adopted.model.metadata.get("general.organization").is_none());
}

#[test]
fn a_card_tells_more_than_the_directory_and_sampling_is_kept() {
    let card = "---\nlicense: [mit, other]\nlanguage:\n- ko\n- no\nbase_model:\n- upstage/SOLAR-10.7B-v1.0\n\
                - https://example.com/x\nmodel_creator: yanolja\npipeline_tag: text-generation\n---\n# EEVE\n";
    let sampling = r#"{"top_k": 50, "temperature": 0.5, "min_p": null, "repetition_penalty": "high"}"#;
    let case = Case::new("EEVE-Korean-10.8B-v1.0", small());
    let adopted = case.file("README.md", card).file("generation_config.json", sampling).adopt().unwrap();
    let expected = [
        "architecture = \"llama\"",
        "type = \"model\"",
        "sampling.top_k = I32(50)",
        "sampling.temp = F32(0.5)",
        "name = \"EEVE Korean 10.8B v1.0\"",
        "author = \"yanolja\"",
        "version = \"v1.0\"",
        "finetune = \"10.8b\"",
        "basename = \"EEVE-Korean\"",
        "size_label = \"1.0M\"",
        "license = \"mit,other\"",
        "base_model.count = U32(2)",
        "base_model.0.name = \"SOLAR 10.7B v1.0\"",
        "base_model.0.version = \"v1.0\"",
        "base_model.0.organization = \"Upstage\"",
        "base_model.0.repo_url = \"https://huggingface.co/upstage/SOLAR-10.7B-v1.0\"",
        "base_model.1.repo_url = \"https://example.com/x\"",
        "tags = [\"text-generation\"]",
        "languages = [\"ko\", \"no\"]",
    ];
    assert_eq!(keys(&adopted.model.metadata, "general."), expected);
    assert_eq!(
        adopted.warnings,
        ["generation_config.json: 'repetition_penalty' is left out: \"high\" is not what it should be"]
    );
}

#[test]
fn a_broken_card_is_no_reason_to_refuse_a_model() {
    let case = Case::new("Tiny", small()).file("README.md", "---\na: [1,\n---\n");
    let adopted = case.file("generation_config.json", "{").adopt().unwrap();
    assert_eq!(adopted.model.metadata.str("general.name"), Some("Tiny"));
    assert!(
        adopted.warnings[0].starts_with("README.md: the model card is left out: "),
        "{:?}",
        adopted.warnings
    );
    assert!(
        adopted.warnings[1].starts_with("the sampling defaults are left out: "),
        "{:?}",
        adopted.warnings
    );
}

/// Refused for its config: the kind, and what the message says besides the file.
fn refused(config: Json, kind: Kind, texts: &[&str]) {
    let plain = Spec { tokens: Tokens::Plain(32), ..small() };
    let (found, message) = Case::new("m", plain).config(config.clone()).error();
    assert_eq!(found, kind, "{config}: {message}");
    for text in ["config.json: "].iter().chain(texts) {
        assert!(message.contains(text), "{config}: '{message}' lacks '{text}'");
    }
}

#[test]
fn configs_that_cannot_be_right_are_refused() {
    let refused = |config, texts: &[&str]| refused(config, Kind::Invalid, texts);
    refused(json!({"num_hidden_layers": 0}), &["'num_hidden_layers'", "at least 1, found 0"]);
    refused(json!({"num_attention_heads": "4"}), &["'num_attention_heads'", "found \"4\""]);
    refused(json!({"num_key_value_heads": 3}), &["'num_key_value_heads'", "a divisor of 4 heads, found 3"]);
    refused(json!({"num_hidden_layers": 4000000000u32}), &["so many layers", "found 4000000000"]);
    refused(json!({"head_dim": 3}), &["'head_dim'", "an even size", "found 3"]);
    refused(json!({"hidden_size": 18}), &["'hidden_size'", "a multiple of 4 heads", "found 18"]);
    refused(json!({"rms_norm_eps": -1e-5}), &["'rms_norm_eps'", "a positive number, found -"]);
    refused(json!({"rope_scaling": {"type": "linear"}}), &["'rope_scaling.factor' is missing"]);
    refused(json!({"model_type": "other", "rope_theta": null}), &["'rope_theta' is missing"]);
    refused(json!({"architectures": null}), &["'architectures'", "found nothing"]);
}

#[test]
fn models_that_are_not_covered_are_refused_with_what_is() {
    let refused = |config, texts: &[&str]| refused(config, Kind::Unsupported, texts);
    refused(
        json!({"architectures": ["WhisperForConditionalGeneration"]}),
        &["that `ggraft architectures` lists", "found WhisperForConditionalGeneration"],
    );
    refused(
        json!({"architectures": ["WavTokenizerDec"]}),
        &["config.json: ", "converter knows the class WavTokenizerDec, ggraft has no page"],
    );
    refused(json!({"rope_scaling": {"type": "longrope"}}), &["'rope_scaling.type'", "found longrope"]);
    refused(json!({"partial_rotary_factor": 0.5}), &["'partial_rotary_factor'", "found 0.5"]);
}

#[test]
fn each_class_of_the_converter_has_a_page_or_a_reason() {
    let found = converter::faults();
    assert!(found.is_empty(), "src/arch/converter.tsv:\n{}", found.join("\n"));
    let names: Vec<&str> = converter::classes().map(|named| named.class).collect();
    assert!(names.is_sorted() && names.len() == 269, "{}", names.len());
    let (covered, all) = converter::covered();
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architectures.md")).unwrap();
    let told = format!(
        "Of the {all} classes of text models that llama.cpp's converter names (v0.5.0) {covered} have"
    );
    assert!(document.contains(&told), "{told}");
}

#[test]
fn each_architecture_that_the_converter_writes_has_a_page_or_a_reason() {
    let list = std::fs::read_to_string(fixture("architectures.tsv")).unwrap();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once('\t').unwrap_or((line, ""));
        assert_eq!(ARCHS.iter().any(|arch| arch.gguf == name), reason.is_empty(), "{line}");
    }
}

#[test]
fn all_that_is_wrong_with_the_tensors_is_said_at_once() {
    let plain = Spec { tokens: Tokens::Plain(32), ..small() };
    let case = Case::new("m", plain).weights(|weights| {
        weights.retain(|w| !w.name.ends_with("v_proj.weight"));
        let up = weights.iter_mut().find(|w| w.name.ends_with("up_proj.weight")).unwrap();
        up.shape = vec![16, 24];
        weights.push(Weight { name: "model.layers.1.input_layernorm.weight".into(), ..weights[1].clone() });
        weights.push(Weight { name: "model.vision.weight".into(), ..weights[1].clone() });
    });
    let (_, message) = case.error();
    let mut lines: Vec<&str> = message.lines().collect();
    lines.sort();
    let expected = [
        "model.safetensors: tensor 'model.layers.0.mlp.up_proj.weight': the shape is not the one that config.json \
         says: expected [24, 16] (intermediate_size, hidden_size), found [16, 24]",
        "model.safetensors: tensor 'model.layers.0.self_attn.v_proj.weight': the checkpoint lacks this tensor: \
         expected [8, 16] (num_key_value_heads * head_dim, hidden_size); \
         the download is incomplete, or config.json is of another model",
        "model.safetensors: tensor 'model.layers.1.input_layernorm.weight': the architecture llama knows no such \
         tensor: found bf16 [16]; config.json is of another model, or the model is not a plain one of this \
         architecture",
        "model.safetensors: tensor 'model.vision.weight': the architecture llama knows no such tensor: found bf16 \
         [16]; config.json is of another model, or the model is not a plain one of this architecture",
    ];
    assert_eq!(lines, expected);
}
