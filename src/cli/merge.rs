//! `ggraft merge`: the main job.

use super::mixture::Mixture;
use super::options::{self, Output};
use crate::ftype::Ftype;
use crate::merge::{CHAT_VECTOR, Vector};
use crate::{arch, pipeline};
use ggraft_formats::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The pre-trained parent of both other models: a Hugging Face directory, a .safetensors or a .gguf file
    #[arg(long, value_name = "MODEL")]
    base: PathBuf,
    /// The chat model that was made from the base
    #[arg(long, value_name = "MODEL")]
    chat: PathBuf,
    /// CP: the continually pre-trained model that gets the chat vector
    #[arg(long, value_name = "MODEL", visible_alias = "cp")]
    onto: PathBuf,
    /// How much of the chat vector to add
    #[arg(short, long, value_name = "W", default_value = "1.0", allow_negative_numbers = true, value_parser = weight)]
    weight: f64,
    /// Output type: Q4_K_M, Q8_0, F16, …
    #[arg(long = "type", value_name = "TYPE", value_parser = options::ftype)]
    ftype: &'static Ftype,
    /// Name of the BPE pre-tokenizer, where it cannot be told from the tokenizer
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    output: Output,
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(w) if w.is_finite() => Ok(w),
        _ => Err(String::from("expected a finite number, such as 1.0 or 0.5")),
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let options = arch::Options { pre: args.pre };
    let onto = pipeline::load(&args.onto, &options)?;
    let chat = pipeline::load(&args.chat, &options)?;
    let base = pipeline::load(&args.base, &options)?;
    let vector = Vector { chat: chat.model, base: base.model, weight: args.weight };
    let plan = pipeline::graft(onto, vec![vector], CHAT_VECTOR, &args.mixture.target(args.ftype)?)?;
    let output = args.output.output.unwrap_or_else(|| plan.file_name());
    options::carry_out(&plan, &output, &[&args.onto, &args.chat, &args.base], &args.output.run)
}
