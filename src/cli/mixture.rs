//! The options that say which dtype every tensor gets and how its weights are weighed, for all verbs that write.

use super::override_kv::Override;
use crate::ftype::{self, Choice, Ftype, Importance, Prune, TensorType};
use crate::pipeline::Target;
use ggraft_formats::{DType, Result};
use std::path::PathBuf;

/// Which dtype the tensors get, spelled as llama-quantize spells it.
#[derive(clap::Args)]
pub(super) struct Mixture {
    /// Allow quantized tensors to be quantized anew (adds error to error)
    #[arg(long)]
    pub allow_requantize: bool,
    /// Leave output.weight as it is
    #[arg(long)]
    pub leave_output_tensor: bool,
    /// Give every quantizable tensor the same dtype
    #[arg(long)]
    pub pure: bool,
    /// The dtype of output.weight
    #[arg(long, value_name = "DTYPE", value_parser = dtype)]
    pub output_tensor_type: Option<DType>,
    /// The dtype of token_embd.weight
    #[arg(long, value_name = "DTYPE", value_parser = dtype)]
    pub token_embedding_type: Option<DType>,
    /// The dtype of the tensors whose names match; may be repeated, the first match decides
    #[arg(long, value_name = "REGEX=DTYPE", value_parser = TensorType::parse)]
    pub tensor_type: Vec<TensorType>,
    /// A file of REGEX=DTYPE words, tried after those of --tensor-type
    #[arg(long, value_name = "FILE")]
    pub tensor_type_file: Option<PathBuf>,
    /// Leave out these layers and renumber the others
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub prune_layers: Vec<u64>,
    /// Set a key of the metadata: int float bool str, any GGUF type such as i64, or an array such as [u32]:1,2
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    pub override_kv: Vec<Override>,
    #[command(flatten)]
    pub importance: ImportanceOptions,
}

impl Mixture {
    /// What the file is to be; reads the importance matrix.
    pub fn target(&self, ftype: &'static Ftype) -> Result<Target> {
        let prune = Prune::new(self.prune_layers.iter().copied());
        let importance = self.importance.open()?.map(|importance| importance.pruned(&prune));
        let mut tensor_types = self.tensor_type.clone();
        if let Some(path) = &self.tensor_type_file {
            tensor_types.extend(TensorType::read(path)?);
        }
        Ok(Target {
            ftype,
            options: ftype::Options {
                pure: self.pure,
                leave_output_tensor: self.leave_output_tensor,
                output_tensor_type: self.output_tensor_type,
                token_embedding_type: self.token_embedding_type,
                tensor_types,
                has_imatrix: importance.is_some(),
            },
            importance,
            prune,
            overrides: self.override_kv.iter().map(|o| (o.key.clone(), o.value.clone())).collect(),
            allow_requantize: self.allow_requantize,
        })
    }
}

fn dtype(text: &str) -> Result<DType, String> {
    DType::from_name(text).ok_or_else(|| {
        let names: Vec<&str> =
            DType::all().filter(|d| d.traits().encode.is_some()).map(|d| d.traits().name).collect();
        format!("there is no dtype '{text}'; those that can be written: {}", names.join(" "))
    })
}

/// The importance matrix, spelled as llama-quantize spells it.
#[derive(clap::Args)]
pub(super) struct ImportanceOptions {
    /// Importance matrix of the model, GGUF or .dat
    #[arg(long, value_name = "FILE")]
    pub imatrix: Option<PathBuf>,
    /// Use only the entries of the matrix whose names contain this; may be repeated
    #[arg(long, value_name = "PART", requires = "imatrix", conflicts_with = "exclude_weights")]
    pub include_weights: Vec<String>,
    /// Do not use the entries of the matrix whose names contain this; may be repeated
    #[arg(long, value_name = "PART", requires = "imatrix")]
    pub exclude_weights: Vec<String>,
}

impl ImportanceOptions {
    fn open(&self) -> Result<Option<Importance>> {
        let choice = match self.include_weights.as_slice() {
            [] => Choice::Excluding(&self.exclude_weights),
            words => Choice::Including(words),
        };
        self.imatrix.as_ref().map(|path| Importance::open(path, choice)).transpose()
    }
}
