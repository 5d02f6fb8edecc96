//! What the graph of the runtime cannot do otherwise than it does: keys of `config.json`, the values that it takes them
//! for granted, and what to say of any other. Called once, from `adopt`.
//! Specification: `LlamaConfig` and `MistralConfig` of transformers 5; `models/llama.cpp` of llama.cpp v0.5.0.

mod others;

use super::config::{Config, brief};
use ggraft_formats::{Error, Metadata, Result};
use serde_json::{Value, json};

/// What becomes of a model whose config says something else.
enum Otherwise {
    /// It is not converted: every answer would be another.
    Refuse,
    /// It is converted, and told.
    Tell,
}
use Otherwise::{Refuse, Tell};

/// A key, possibly in a section (`section.key`), and its values that are fine; an absent key is.
struct Row {
    key: &'static str,
    fine: fn(&Value) -> bool,
    expected: &'static str,
    otherwise: Otherwise,
    /// What the runtime does.
    runtime: &'static str,
}

/// Of models of every architecture.
const EVERY: &[Row] = &[Row {
    key: "norm_head",
    fine: |v| *v == json!(false),
    expected: "false",
    otherwise: Refuse,
    runtime: "the head would have to be divided by the norms of its columns, which is not done here",
}];

const LLAMA: &[Row] = &[
    Row {
        key: "hidden_act",
        fine: |v| *v == json!("silu") || *v == json!("swish"),
        expected: "silu",
        otherwise: Refuse,
        runtime: "the runtime always computes SiLU in a llama model",
    },
    Row {
        key: "hidden_activation",
        fine: |v| *v == json!("silu") || *v == json!("swish"),
        expected: "silu",
        otherwise: Refuse,
        runtime: "the runtime always computes SiLU in a llama model",
    },
    Row {
        key: "is_causal",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Refuse,
        runtime: "the runtime lets no token of a llama model attend to later ones",
    },
    Row {
        key: "use_bidirectional_attention",
        fine: |v| *v == json!(false),
        expected: "false",
        otherwise: Refuse,
        runtime: "the runtime lets no token of a llama model attend to later ones",
    },
    Row {
        key: "is_decoder",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Tell,
        runtime: "the runtime runs it as a decoder, as transformers does with this class",
    },
    Row {
        key: "add_cross_attention",
        fine: |v| *v == json!(false),
        expected: "false",
        otherwise: Refuse,
        runtime: "the runtime has no cross-attention in a llama model",
    },
    Row {
        key: "layer_types",
        fine: |v| v.as_array().is_some_and(|all| all.iter().all(|kind| kind == "full_attention")),
        expected: "full_attention in every layer",
        otherwise: Tell,
        runtime: "the runtime attends to everything in every layer of a llama model",
    },
    Row {
        key: "attention_chunk_size",
        fine: |_| false,
        expected: "none",
        otherwise: Tell,
        runtime: "the runtime attends to everything in every layer of a llama model",
    },
    Row {
        key: "final_logit_softcapping",
        fine: |v| *v == json!(0.0) || *v == json!(0),
        expected: "none",
        otherwise: Refuse,
        runtime: "the runtime caps no logits in a llama model",
    },
    Row {
        key: "attn_logit_softcapping",
        fine: |v| *v == json!(0.0) || *v == json!(0),
        expected: "none",
        otherwise: Refuse,
        runtime: "the runtime caps no logits in a llama model",
    },
    Row {
        key: "embedding_multiplier",
        fine: one,
        expected: "1",
        otherwise: Refuse,
        runtime: "the runtime scales no embeddings in a llama model",
    },
    Row {
        key: "residual_multiplier",
        fine: one,
        expected: "1",
        otherwise: Refuse,
        runtime: "the runtime scales no residuals in a llama model",
    },
    Row {
        key: "logits_scaling",
        fine: one,
        expected: "1",
        otherwise: Refuse,
        runtime: "the runtime scales no logits in a llama model",
    },
    Row {
        key: "logit_scale",
        fine: one,
        expected: "1",
        otherwise: Refuse,
        runtime: "the runtime scales no logits in a llama model",
    },
    Row {
        key: "attention_multiplier",
        fine: |_| false,
        expected: "none",
        otherwise: Refuse,
        runtime: "the runtime scales attention by the size of a head",
    },
    Row {
        key: "query_pre_attn_scalar",
        fine: |_| false,
        expected: "none",
        otherwise: Refuse,
        runtime: "the runtime scales attention by the size of a head",
    },
    Row {
        key: "no_rope_layers",
        fine: |v| v.as_array().is_some_and(|all| all.iter().all(|rotates| *rotates == json!(1))),
        expected: "1 in every layer",
        otherwise: Refuse,
        runtime: "the runtime rotates heads in every layer of a llama model",
    },
    Row {
        key: "qk_norm",
        fine: |v| *v == json!(false),
        expected: "false",
        otherwise: Refuse,
        runtime: "the runtime norms no queries and keys in a llama model",
    },
    Row {
        key: "use_qk_norm",
        fine: |v| *v == json!(false),
        expected: "false",
        otherwise: Refuse,
        runtime: "the runtime norms no queries and keys in a llama model",
    },
];

/// Keys of the section that says how positions are stretched, where that is yarn. The graph of a llama model reads
/// neither them nor GGUF's keys for them.
const YARN: &[Row] = &[
    Row {
        key: "truncate",
        fine: |v| *v == json!(true),
        expected: "true",
        otherwise: Tell,
        runtime: "the runtime rounds the ends of yarn's ramp, so that a few frequencies differ",
    },
    Row {
        key: "beta_fast",
        fine: |v| matches!(v.as_f64(), Some(0.0 | 32.0)),
        expected: "32",
        otherwise: Tell,
        runtime: "the runtime takes 32 in a llama model, so that a few frequencies differ",
    },
    Row {
        key: "beta_slow",
        fine: |v| matches!(v.as_f64(), Some(0.0 | 1.0)),
        expected: "1",
        otherwise: Tell,
        runtime: "the runtime takes 1 in a llama model, so that a few frequencies differ",
    },
    Row {
        key: "extrapolation_factor",
        fine: one,
        expected: "1",
        otherwise: Tell,
        runtime: "the runtime takes 1 in a llama model",
    },
];

fn one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

/// Refuses what the graph of `arch` cannot do, all of it at once, and tells what it does otherwise. Gives the keys that
/// make up for what it can be told.
pub fn check(config: &Config, arch: &str, warnings: &mut Vec<String>) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    let mut problems = Vec::new();
    look(config, EVERY, &mut problems, warnings);
    if arch != "llama" {
        let own = others::ROWS.iter().filter(|(name, _)| *name == arch);
        own.for_each(|(_, rows)| look(config, rows, &mut problems, warnings));
        return Error::all(problems).map_or(Ok(metadata), Err);
    }
    look(config, LLAMA, &mut problems, warnings);
    let section = match config.section("rope_scaling")? {
        Some(section) => Some(section),
        None => config.section("rope_parameters")?,
    };
    if let Some(section) = section
        && section.text("rope_type")?.or(section.text("type")?) == Some("yarn")
    {
        look(&section, YARN, &mut problems, warnings);
        if let Some(scale) = attention(&section, warnings)? {
            metadata.set(&format!("{arch}.rope.scaling.attn_factor"), scale);
        }
    }
    Error::all(problems).map_or(Ok(metadata), Err)
}

fn look(config: &Config, rows: &[Row], problems: &mut Vec<Error>, warnings: &mut Vec<String>) {
    for row in rows {
        let Some(value) = config.get(row.key).filter(|value| !(row.fine)(value)) else { continue };
        match row.otherwise {
            Refuse => problems.push(
                config
                    .unsupported(row.key)
                    .expected(row.expected)
                    .found(brief(value))
                    .hint(format!("{}; it would be another model", row.runtime)),
            ),
            Tell => warnings.push(format!("{} is {}, but {}", row.key, brief(value), row.runtime)),
        }
    }
}

/// What yarn multiplies queries and keys with beyond what the runtime multiplies them with, `1 + ln(factor) / 10`.
/// `attention_factor` says it, or else `mscale` and `mscale_all_dim` together. The converter's `yarn_attn_factor` is
/// not read in a llama model; this key is.
fn attention(section: &Config, warnings: &mut Vec<String>) -> Result<Option<f32>> {
    let stretch = section.number("factor")?;
    let by = |mscale: f64| if stretch <= 1.0 { 1.0 } else { 0.1 * mscale * stretch.ln() + 1.0 };
    let given = section.optional_number("attention_factor")?;
    let mscale = |key| Ok::<_, Error>(section.optional_number(key)?.filter(|x| *x != 0.0));
    let wanted = match (given, mscale("mscale")?, mscale("mscale_all_dim")?) {
        (Some(factor), ..) => factor,
        (None, Some(some), Some(all)) => by(some) / by(all),
        (None, None, None) => return Ok(None),
        (None, ..) => {
            warnings.push(String::from(
                "mscale and mscale_all_dim count only together, in transformers too: they are left out",
            ));
            return Ok(None);
        }
    };
    let scale = (wanted / by(1.0)) as f32;
    if !scale.is_finite() || (scale - 1.0).abs() < 1e-6 {
        return Ok(None);
    }
    warnings.push(format!(
        "rope.scaling.attn_factor is {scale}, by attention_factor or mscale (convert_hf_to_gguf writes nothing that the runtime reads)"
    ));
    Ok(Some(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: Value) -> Result<(Metadata, Vec<String>)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
        let checkpoint = ggraft_formats::Checkpoint {
            dir: dir.path().into(),
            containers: Vec::new(),
            tensors: Vec::new(),
            ..ggraft_formats::Checkpoint::default()
        };
        let mut warnings = Vec::new();
        let metadata = check(&Config::open(&checkpoint)?, "llama", &mut warnings)?;
        Ok((metadata, warnings))
    }

    #[test]
    fn what_the_graph_takes_for_granted_says_nothing() {
        let (metadata, warnings) =
            told(json!({"hidden_act": "silu", "is_causal": true, "logits_scaling": 1.0,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "truncate": true}}))
            .unwrap();
        assert_eq!((metadata.len(), warnings.len()), (0, 0), "{warnings:?}");
        assert!(told(json!({"hidden_act": null})).unwrap().1.is_empty(), "null is as good as absent");
    }

    #[test]
    fn every_other_value_is_refused_or_told() {
        for row in EVERY.iter().chain(LLAMA) {
            let mut config = json!({});
            config[row.key] = json!("another");
            match row.otherwise {
                Refuse => {
                    let e = told(config).unwrap_err().to_string();
                    assert!(e.contains(row.key) && e.contains(row.runtime), "{e}");
                }
                Tell => assert!(told(config).unwrap().1[0].starts_with(row.key)),
            }
        }
        for row in YARN {
            let mut config = json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}});
            config["rope_scaling"][row.key] = json!(7.5);
            assert!(told(config).unwrap().1[0].starts_with(row.key), "{}", row.key);
        }
    }

    #[test]
    fn yarns_attention_factor_is_written_as_the_runtime_reads_it() {
        let scale = |more: Value| {
            let mut section = json!({"rope_type": "yarn", "factor": 4.0});
            section.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let (metadata, _) = told(json!({"rope_parameters": section})).unwrap();
            metadata.get("llama.rope.scaling.attn_factor").and_then(|v| v.as_f64())
        };
        let own = 0.1 * 4f64.ln() + 1.0;
        assert_eq!(scale(json!({"mscale": 1.0, "mscale_all_dim": 1.0})), Some(f64::from((1.0 / own) as f32)));
        assert_eq!(
            scale(json!({"attention_factor": 2.0, "mscale": 1.0})),
            Some(f64::from((2.0 / own) as f32))
        );
        assert_eq!(scale(json!({"mscale": 0.5})), None);
        assert_eq!(scale(json!({})), None);
    }
}
