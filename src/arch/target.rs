//! The tokenizer of a model: its own, or that of the model that it guesses for. That one is told by the user; its
//! weights are not needed.
//! Specification: `--target-model-dir` of llama.cpp's converter.

use super::config::Config;
use super::families::{Arch, Drafts, Family};
use super::options::Options;
use super::params::Params;
use crate::vocab::{self, Tokenizer};
use ggraft_formats::{Checkpoint, Error, Result, Value};
use serde_json::json;

/// The model that a draft guesses for.
pub struct Target {
    checkpoint: Checkpoint,
    pub config: Config,
    /// Its own page.
    arch: &'static Arch,
}

/// A row of the table of embeddings that a few drafts have beside their weights.
const MASK: &str = "mask_embedding.pt";

impl Target {
    /// The one that the options tell; none if the family guesses for none. `page` finds a model's.
    pub fn open(
        family: &Family,
        draft: &Config,
        beside: &Checkpoint,
        options: &Options,
        page: fn(&Config) -> Result<&'static Arch>,
    ) -> Result<Option<Target>> {
        let told = |e: Error, hint: &str| Err(e.file(draft.file()).hint(hint));
        match (&options.target, family.arch.drafts) {
            (None, Drafts::No) => Ok(None),
            (None, _) => told(
                Error::usage("this is a draft: its tokenizer is that of the model that it guesses for"),
                "name the directory of that model: --target-model-dir DIR",
            ),
            (Some(_), Drafts::No) => told(
                Error::usage("--target-model-dir is for drafts (EAGLE3, DFlash, DSpark), and this is none"),
                "leave it out",
            ),
            (Some(_), _) if beside.has(MASK) => told(
                Error::unsupported("the draft keeps the embedding of its mask apart, which is not read")
                    .found(MASK),
                "convert it with llama.cpp's convert_hf_to_gguf.py --target-model-dir",
            ),
            (Some(dir), _) => {
                let reads = beside.reads.clone();
                let checkpoint = Checkpoint { dir: dir.clone(), reads, ..Checkpoint::default() };
                let config = Config::open(&checkpoint)?;
                Ok(Some(Target { arch: page(&config)?, config, checkpoint }))
            }
        }
    }

    /// Its tokenizer as its draft has it.
    fn tokenizer(
        &self,
        draft: &Config,
        arch: &Arch,
        options: &vocab::Options,
    ) -> Result<(Tokenizer, &'static Arch)> {
        let own = self.arch;
        let mut told = self.config.spoken()?;
        if arch.drafts == Drafts::AsLlama && own.gguf != "gemma4" {
            told["architectures"] = json!(["LlamaForCausalLM"]);
        }
        // The draft may have more rows than its target has tokens.
        if let Some(size) = draft.optional_count("vocab_size")? {
            told["vocab_size"] = size.into();
            if let Some(text) = told.get_mut("text_config") {
                text["vocab_size"] = size.into();
            }
        }
        Ok((vocab::tokenizer(&self.checkpoint, &told, options)?, own))
    }
}

/// The tokenizer of a model of the page `arch`, with what the page adds to it.
pub fn tokenizer(
    checkpoint: &Checkpoint,
    params: &Params<'_>,
    arch: &'static Arch,
    target: Option<&Target>,
    options: &Options,
) -> Result<Tokenizer> {
    let asked = vocab::Options { pre: options.pre.clone() };
    let (mut tokenizer, own) = match target {
        Some(target) => target.tokenizer(params.config, arch, &asked)?,
        None => (vocab::tokenizer(checkpoint, &params.config.spoken()?, &asked)?, arch),
    };
    let sentencepiece = tokenizer.metadata.str("tokenizer.ggml.model") == Some("llama");
    for told in own.tokenizer.iter().filter(|told| sentencepiece || !told.sentencepiece) {
        tokenizer.metadata.set(told.key, Value::from(told.value));
    }
    arch.late.iter().try_for_each(|key| key.write(arch.gguf, params, &mut tokenizer.metadata))?;
    Ok(tokenizer)
}
