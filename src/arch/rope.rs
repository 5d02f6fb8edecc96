//! Rotary position embedding: its base, and how it is stretched over a longer context. Older configs say it as
//! `rope_theta` and `rope_scaling`, newer ones (transformers 5) in one `rope_parameters`, some with one for full and one
//! for sliding attention.
//! Specification: `TextModel.__init__`, `TextModel.set_gguf_parameters` and `LlamaModel.generate_extra_tensors` of
//! llama.cpp's converter; `RotaryEmbeddingConfigMixin` of transformers 5.

use super::config::Config;
use super::params::Params;
use ggraft_formats::{Array, Metadata, Result, Value};
use std::f64::consts::PI;

/// The types of scaling that every graph with rotary embedding can do.
pub const PLAIN: &[&str] = &["default", "linear", "yarn", "llama3", "dynamic"];

/// The config's names of the base, in order of precedence.
const THETA: &[&str] =
    &["global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base"];
/// The same for layers with a sliding window.
const LOCAL_THETA: &[&str] =
    &["local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq"];
const ORIGINAL: &str = "original_max_position_embeddings";

/// YaRN's optional keys: in GGUF, and in the config in order of precedence.
const YARN_TUNING: &[(&str, &[&str])] = &[
    ("yarn_ext_factor", &["extrapolation_factor"]),
    ("yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("yarn_beta_fast", &["beta_fast"]),
    ("yarn_beta_slow", &["beta_slow"]),
];

/// What the config says of rotary embedding, wherever it says it.
pub struct Rope<'a> {
    config: &'a Config,
    /// Of all layers, or of those with full attention.
    full: Option<Config>,
    /// `full_attention` and `sliding_attention` of the parameters, where they are told apart.
    parts: [Option<Config>; 2],
}

impl<'a> Rope<'a> {
    pub fn read(config: &'a Config) -> Result<Rope<'a>> {
        let parameters = config.section("rope_parameters")?;
        let part = |key: &str| parameters.as_ref().map_or(Ok(None), |all| all.section(key));
        let parts = [part("full_attention")?, part("sliding_attention")?];
        let full = match config.section("rope_scaling")? {
            Some(scaling) => Some(scaling),
            None if parts.iter().all(Option::is_none) => parameters,
            None => part("full_attention")?,
        };
        Ok(Rope { config, full, parts })
    }

    /// The base of the frequencies: of the parameters, of the whole config, or of the part for full attention.
    pub fn theta(&self) -> Result<Option<f64>> {
        let [full, _] = &self.parts;
        if let Some(section) = self.full.as_ref().filter(|s| full.is_none() && s.get("rope_theta").is_some())
        {
            return section.number("rope_theta").map(Some);
        }
        Self::base(self.config, THETA, full.as_ref())
    }

    /// The base for layers with a sliding window, if that is another. Where one is listed for each layer, the first attends to
    /// all and the second within a window.
    fn local_theta(&self) -> Result<Option<f64>> {
        let [_, sliding] = &self.parts;
        if let Some(listed) = self.config.get("rope_theta").filter(|theta| theta.is_array()) {
            return Ok(listed.get(1).and_then(serde_json::Value::as_f64));
        }
        Self::base(self.config, LOCAL_THETA, sliding.as_ref())
    }

    fn base(config: &Config, keys: &[&str], part: Option<&Config>) -> Result<Option<f64>> {
        if let Some(key) = config.first(keys) {
            let first = config.get(key).and_then(|value| value.get(0)?.as_f64());
            return first.map_or_else(|| config.number(key), Ok).map(Some);
        }
        let part = part.filter(|part| part.get("rope_theta").is_some());
        part.map(|part| part.number("rope_theta")).transpose()
    }

    /// The share of a head that rotates, and where it is told.
    pub fn partial(&self) -> Result<Option<(f64, &Config, &'static str)>> {
        for place in self.full.iter().chain([self.config]) {
            if let Some(key) =
                place.first(&["partial_rotary_factor", "rope_pct", "rope_percent", "rotary_pct"])
            {
                return Ok(Some((place.number(key)?, place, key)));
            }
        }
        Ok(None)
    }

    /// The type of scaling, where it is told, and by which key.
    pub fn kind(&self) -> Result<Option<(&str, &Config, &'static str)>> {
        let Some(section) = &self.full else { return Ok(None) };
        let key = if section.get("rope_type").is_some() { "rope_type" } else { "type" };
        Ok(section.text(key)?.map(|kind| (kind, section, key)))
    }

    /// A number of the scaling.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.full.as_ref().map_or(Ok(None), |section| section.optional_number(key))
    }

    /// Numbers of the scaling; an empty list is as good as absent.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let Some((section, value)) = self.full.as_ref().and_then(|s| Some((s, s.get(key)?))) else {
            return Ok(None);
        };
        let all = value
            .as_array()
            .and_then(|all| all.iter().map(|x| x.as_f64().map(|x| x as f32)).collect::<Option<Vec<f32>>>());
        let wrong = || section.wrong(key, "a list of numbers").found(super::config::brief(value));
        all.map(|all| Some(all).filter(|all| !all.is_empty())).ok_or_else(wrong)
    }

    /// The length of the context before it was stretched; `AutoConfig` takes the whole where that is not given.
    pub fn original(&self) -> Result<u32> {
        for place in self.full.iter().chain([self.config]) {
            if let Some(n) = place.optional_count(ORIGINAL)? {
                return Ok(n);
            }
        }
        self.config.count("max_position_embeddings")
    }
}

/// Adds the keys `{arch}.rope.*` but the dimension count. Of the types of scaling those that are `known` to the
/// runtime's graph are written; `dynamic`, which GGUF cannot say, is told.
pub fn describe(params: &Params<'_>, known: &[&str], arch: &str, metadata: &mut Metadata) -> Result<()> {
    let rope = Rope::read(params.config)?;
    let mut set = |key: &str, value: Value| metadata.set(&format!("{arch}.rope.{key}"), value);
    if let Some((kind, section, key)) = rope.kind()? {
        if !known.contains(&kind) {
            let shown = known.iter().filter(|kind| **kind != "su").copied().collect::<Vec<_>>().join(", ");
            let error = section.unsupported(key).expected(format!("one of {shown}"));
            return Err(error.found(kind).hint("llama.cpp cannot run it in this family"));
        }
        match kind {
            "linear" => {
                set("scaling.type", "linear".into());
                set("scaling.factor", (section.number("factor")? as f32).into());
            }
            "yarn" => {
                set("scaling.type", "yarn".into());
                set("scaling.factor", (section.number("factor")? as f32).into());
                set("scaling.original_context_length", rope.original()?.into());
                for (key, names) in YARN_TUNING {
                    let name = section.first(names);
                    if let Some(value) = name.map(|name| section.optional_number(name)).transpose()?.flatten() {
                        set(&format!("scaling.{key}"), (value as f32).into());
                    }
                }
            }
            "longrope" | "su" => set("scaling.type", "longrope".into()),
            "llama3" => ["factor", "low_freq_factor", "high_freq_factor"].iter().try_for_each(|key| section.number(key).map(drop))?,
            // Hunyuan's is told by its base.
            "dynamic" if section.get("alpha").is_some() => {}
            "dynamic" => params.tell(String::from(
                "rope type 'dynamic' cannot be said in GGUF: beyond max_position_embeddings the model will differ",
            )),
            _ => {}
        }
    }
    if let Some(sections) = rope.full.as_ref().and_then(|s| s.get("mrope_section")).and_then(|v| v.as_array())
    {
        let mut sections: Vec<i32> = sections.iter().filter_map(|n| n.as_i64()?.try_into().ok()).collect();
        sections.resize(4, 0);
        set("dimension_sections", Value::Array(Array::I32(sections)));
    }
    if let Some(theta) = rope.theta()? {
        set("freq_base", (theta as f32).into());
    }
    if let Some(theta) = rope.local_theta()? {
        set("freq_base_swa", (theta as f32).into());
    }
    Ok(())
}

/// What stretches the wavelengths of Llama 3.1.
pub struct Stretch {
    pub factor: f64,
    pub low: f64,
    pub high: f64,
    pub original: f64,
}

/// Meta's own numbers, and those that are tried where they do not fit.
const LOW: f64 = 1.0;
const HIGH: f64 = 4.0;
const ORIGINALS: [f64; 6] = [8192.0, 4096.0, 2048.0, 16384.0, 32768.0, 1024.0];

/// The numbers that give these factors, which do not tell all of them: Meta's, or others of which `low_freq_factor` is 1.
pub fn llama3_of(theta: f64, factors: &[f32]) -> Option<Stretch> {
    stretch_of(theta, factors, |f, s| llama3_factor(f, s.factor, s.low, s.high, s.original))
}

/// The same where the factor of a frequency is computed otherwise.
pub fn stretch_of(theta: f64, factors: &[f32], of: impl Fn(f32, &Stretch) -> f32) -> Option<Stretch> {
    let factor = f64::from(factors.iter().copied().fold(1.0f32, f32::max));
    let frequencies: Vec<f32> = frequencies(theta, 2 * factors.len() as u32).collect();
    let gives =
        |s: &Stretch| frequencies.iter().map(|f| of(*f, s)).zip(factors).all(|(made, told)| made == *told);
    let published =
        ORIGINALS.iter().map(|original| Stretch { factor, low: LOW, high: HIGH, original: *original });
    let mut all = published.chain(fitted(factor, &frequencies, factors));
    all.find(gives)
}

/// The numbers by two factors between the ends: the smoothing between them is linear in the frequency.
fn fitted(factor: f64, frequencies: &[f32], factors: &[f32]) -> Option<Stretch> {
    let between = frequencies.iter().zip(factors).filter(|(_, x)| **x > 1.0 && f64::from(**x) < factor);
    let points: Vec<(f64, f64)> = between
        .map(|(f, x)| {
            (f64::from(*f) / (2.0 * PI), (1.0 / f64::from(*x) - 1.0 / factor) / (1.0 - 1.0 / factor))
        })
        .collect();
    let ((x0, y0), (x1, y1)) = (*points.first()?, *points.last().filter(|_| points.len() > 1)?);
    let slope = (y1 - y0) / (x1 - x0);
    // smooth = (original * f / 2 pi - low) / (high - low), with low at 1.
    let high = LOW + LOW / (slope * x0 - y0);
    let original = slope * (high - LOW);
    let whole = |x: f64| if (x - x.round()).abs() < 1e-2 { x.round() } else { x };
    Some(Stretch { factor, low: LOW, high: whole(high), original: original.round() })
}

/// The values of `rope_freqs.weight`, by which Llama 3.1 stretches each wavelength; none for other models.
pub fn llama3_factors(params: &Params<'_>) -> Result<Option<Vec<f32>>> {
    let rope = Rope::read(params.config)?;
    let Some(("llama3", section, _)) = rope.kind()? else { return Ok(None) };
    let factor = section.number("factor")?;
    let (low, high) = (section.number("low_freq_factor")?, section.number("high_freq_factor")?);
    let original = f64::from(rope.original()?);
    let theta = rope.theta()?.unwrap_or(10000.0);
    let stretched = frequencies(theta, params.count("d", 0)?);
    Ok(Some(stretched.map(|frequency| llama3_factor(frequency, factor, low, high, original)).collect()))
}

/// The rotary frequencies of a head, one a pair of elements. The power is rounded once from f64: PyTorch's own
/// is off by one unit in the last place now and then, and not the same on every CPU.
pub fn frequencies(theta: f64, head_dim: u32) -> impl Iterator<Item = f32> {
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
