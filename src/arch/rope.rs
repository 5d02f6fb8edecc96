//! Rotary position embedding: its base, and how it is stretched over a longer context. Older configs say it as
//! `rope_theta` and `rope_scaling`, newer ones (transformers 5) in one `rope_parameters`.
//! Specification: `TextModel.set_gguf_parameters` and `LlamaModel.generate_extra_tensors` of llama.cpp's
//! converter; `RotaryEmbeddingConfigMixin` of transformers 5.

use super::hparams::Config;
use ggraft_formats::{Metadata, Result, Shape, Tensor};
use std::f64::consts::PI;

/// The base of the frequencies and how they are stretched.
pub struct Rope {
    theta: f64,
    scaling: Scaling,
}

enum Scaling {
    None,
    Linear { factor: f64 },
    Yarn { factor: f64, original: u32, tuning: Vec<(&'static str, f64)> },
    Llama3 { factor: f64, low: f64, high: f64, original: u32 },
}

/// YaRN's optional keys: in GGUF, and in the config in order of precedence.
const YARN_TUNING: &[(&str, &[&str])] = &[
    ("yarn_ext_factor", &["extrapolation_factor"]),
    ("yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("yarn_beta_fast", &["beta_fast"]),
    ("yarn_beta_slow", &["beta_slow"]),
];

impl Rope {
    /// Reads it from the model's `config`. What GGUF cannot say is refused, or told in `warnings`.
    pub fn read(config: &Config, warnings: &mut Vec<String>) -> Result<Rope> {
        let section = match config.section("rope_scaling")? {
            Some(section) => Some(section),
            None => config.section("rope_parameters")?,
        };
        let holder = section.as_ref().filter(|s| s.get("rope_theta").is_some()).unwrap_or(config);
        let theta = holder.number("rope_theta")?;
        for place in [Some(config), section.as_ref()].into_iter().flatten() {
            if place.optional_number("partial_rotary_factor")?.is_some_and(|x| x != 1.0) {
                let error = place.unsupported("partial_rotary_factor").expected("heads that rotate whole");
                return Err(error.found(place.number("partial_rotary_factor")?));
            }
        }
        let scaling = match &section {
            Some(section) => Scaling::read(section, config, warnings)?,
            None => Scaling::None,
        };
        Ok(Rope { theta, scaling })
    }

    /// Adds the keys `{arch}.rope.*` but the dimension count.
    pub fn describe(&self, arch: &str, metadata: &mut Metadata) {
        let mut scaling = |key: &str, value: ggraft_formats::Value| {
            metadata.set(&format!("{arch}.rope.scaling.{key}"), value);
        };
        match &self.scaling {
            Scaling::None | Scaling::Llama3 { .. } => {}
            Scaling::Linear { factor } => {
                scaling("type", "linear".into());
                scaling("factor", (*factor as f32).into());
            }
            Scaling::Yarn { factor, original, tuning } => {
                scaling("type", "yarn".into());
                scaling("factor", (*factor as f32).into());
                scaling("original_context_length", (*original).into());
                for (key, value) in tuning {
                    scaling(key, (*value as f32).into());
                }
            }
        }
        metadata.set(&format!("{arch}.rope.freq_base"), self.theta as f32);
    }

    /// `rope_freqs.weight`, the factors by which Llama 3.1 stretches each wavelength; none for other models.
    pub fn factors(&self, head_dim: u32) -> Result<Option<Tensor>> {
        let Scaling::Llama3 { factor, low, high, original } = self.scaling else { return Ok(None) };
        let factors: Vec<f32> = frequencies(self.theta, head_dim)
            .map(|frequency| llama3_factor(frequency, factor, low, high, original.into()))
            .collect();
        let shape = Shape::new(&[factors.len() as u64]);
        shape.map(|shape| Tensor::in_memory("rope_freqs.weight", shape, &factors)).transpose()
    }
}

impl Scaling {
    fn read(section: &Config, config: &Config, warnings: &mut Vec<String>) -> Result<Scaling> {
        let key = if section.get("rope_type").is_some() { "rope_type" } else { "type" };
        // AutoConfig takes the context length for the original one where that is not given.
        let original = || match section.optional_count("original_max_position_embeddings")? {
            Some(n) => Ok(n),
            None => config.count("max_position_embeddings"),
        };
        match section.text(key)?.unwrap_or("default") {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear { factor: section.number("factor")? }),
            "yarn" => Ok(Scaling::Yarn {
                factor: section.number("factor")?,
                original: original()?,
                tuning: tuning(section)?,
            }),
            "llama3" => Ok(Scaling::Llama3 {
                factor: section.number("factor")?,
                low: section.number("low_freq_factor")?,
                high: section.number("high_freq_factor")?,
                original: original()?,
            }),
            "dynamic" => {
                warnings.push(String::from(
                    "rope type 'dynamic' cannot be said in GGUF: beyond max_position_embeddings the model will differ",
                ));
                Ok(Scaling::None)
            }
            other => Err(section
                .unsupported(key)
                .expected("one of default, linear, yarn, llama3, dynamic")
                .found(other)
                .mend("llama.cpp cannot run it in this family")),
        }
    }
}

fn tuning(section: &Config) -> Result<Vec<(&'static str, f64)>> {
    let mut found = Vec::new();
    for (gguf, keys) in YARN_TUNING {
        let key = keys.iter().find(|key| section.get(key).is_some());
        if let Some(value) = key.map(|key| section.optional_number(key)).transpose()?.flatten() {
            found.push((*gguf, value));
        }
    }
    Ok(found)
}

/// The rotary frequencies of a head, one a pair of elements. The power is rounded once from f64: PyTorch's own
/// is off by one unit in the last place now and then, and not the same on every CPU.
fn frequencies(theta: f64, head_dim: u32) -> impl Iterator<Item = f32> {
    let base = f64::from(theta as f32);
    (0..head_dim).step_by(2).map(move |i| {
        let exponent = i as f32 / head_dim as f32;
        1.0 / base.powf(exponent.into()) as f32
    })
}

/// The factor of one frequency, in f32 and in the order of PyTorch's operations: a number divided by a tensor is
/// that number times the tensor's reciprocal.
fn llama3_factor(frequency: f32, factor: f64, low: f64, high: f64, original: f64) -> f32 {
    let wavelength = 1.0 / frequency * (2.0 * PI) as f32;
    if wavelength < (original / high) as f32 {
        return 1.0;
    }
    if wavelength > (original / low) as f32 {
        return factor as f32;
    }
    let smooth = (1.0 / wavelength * original as f32 - low as f32) / (high - low) as f32;
    1.0 / ((1.0 - smooth) / factor as f32 + smooth)
}
