//! Options that say how a merge computes: the method and its parameters, and rules for the weight of each tensor.

use crate::merge::weights::{PRESETS, Preset};
use crate::merge::{CHAT_VECTOR, METHODS, Method};
use crate::recipe::{Choice, Rule};

#[derive(clap::Args)]
#[command(next_help_heading = "Models")]
pub(super) struct Weights {
    /// How the models are merged
    #[arg(long, value_name = "NAME", default_value = CHAT_VECTOR.name, long_help = method_help(), hide_possible_values = true)]
    pub method: Choice<&'static Method>,
    /// A parameter of the method, such as density=0.5; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair, long_help = param_help())]
    pub params: Vec<(String, String)>,
    /// Multiplies --weight for the tensors that match, such as 'blk.{0-1,-2--1}.*=0.3' or 'blk.*=[0.2,1.0,0.2]' over the
    /// layers; names are GGUF's or, as in '*.experts.3.*=0', the checkpoint's (alone after hf:); may be given several
    /// times, the last that matches counts
    #[arg(long = "weights", value_name = "GLOB=VALUE")]
    pub rules: Vec<Rule>,
    /// Rules by name, which multiply besides those of --weights
    #[arg(long = "weight-preset", value_name = "NAME", long_help = preset_help(), hide_possible_values = true)]
    pub presets: Vec<Choice<&'static Preset>>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as density=0.5")?;
    Ok((name.to_string(), value.to_string()))
}

fn method_help() -> String {
    let lines = METHODS.iter().map(|m| format!("\n- {}: {}", m.name, m.formula));
    format!("How the models are merged:{}", lines.collect::<String>())
}

fn param_help() -> String {
    let mut lines = String::new();
    for method in METHODS.iter().filter(|m| !m.params.is_empty()) {
        let params = method.params.iter().map(|p| format!("{} ({})", p.name, p.range));
        lines += &format!("\n- {}: {}", method.name, params.collect::<Vec<_>>().join("; "));
    }
    format!("A parameter of the method; may be given several times:{lines}")
}

fn preset_help() -> String {
    let lines = PRESETS.iter().map(|p| format!("\n- {}: {}", p.name, p.help));
    format!("Rules by name, which multiply besides those of --weights:{}", lines.collect::<String>())
}
