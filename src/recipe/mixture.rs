//! Which dtype every tensor gets beside what the type says, and how its weights are weighed; spelled as llama-quantize
//! spells it. Arguments of every verb that writes, and a section of a recipe.

#[cfg(feature = "cli")]
use super::typed;
use super::word::Estimate;
use super::{Choice, is_default};
use crate::budget::Budget;
use crate::device::Profile;
use crate::ftype::{self, Importance, Like, Prune, TensorType};
use crate::meta::Override;
use crate::output::target::{Target, Type};
use crate::version::Version;
use ggraft_formats::quant::Search;
use ggraft_formats::stamp::{Reads, Stamp};
use ggraft_formats::{DType, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Exceptions from a type's mixture.
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Quantization"))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixture {
    /// Allow quantized tensors to be quantized anew (adds error to error)
    #[cfg_attr(feature = "cli", arg(long, help_heading = "Safety"))]
    #[serde(skip_serializing_if = "is_default")]
    pub allow_requantize: bool,
    /// Leave output.weight as it is
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "is_default")]
    pub leave_output_tensor: bool,
    /// Give every quantizable tensor the same dtype
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "is_default")]
    pub pure: bool,
    /// The dtype of output.weight
    #[cfg_attr(feature = "cli", arg(long, value_name = "DTYPE", hide_possible_values = true))]
    #[serde(skip_serializing_if = "is_default")]
    pub output_tensor_type: Option<Choice<DType>>,
    /// The dtype of token_embd.weight
    #[cfg_attr(feature = "cli", arg(long, value_name = "DTYPE", hide_possible_values = true))]
    #[serde(skip_serializing_if = "is_default")]
    pub token_embedding_type: Option<Choice<DType>>,
    /// The dtype of the tensors whose names match; may be repeated, the first match decides
    #[cfg_attr(feature = "cli", arg(long, value_name = "REGEX=DTYPE", value_parser = typed::tensor_type))]
    #[serde(skip_serializing_if = "is_default")]
    pub tensor_type: Vec<String>,
    /// A file of REGEX=DTYPE words, tried after those of --tensor-type
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    #[serde(skip_serializing_if = "is_default")]
    pub tensor_type_file: Option<PathBuf>,
    /// Give every tensor the dtype that it has in this GGUF, such as a published one; the type decides where it has none
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE", conflicts_with = "pure"))]
    #[serde(skip_serializing_if = "is_default")]
    pub like: Option<PathBuf>,
    /// Leave out these layers and renumber the others
    #[cfg_attr(feature = "cli", arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = typed::layer))]
    #[serde(skip_serializing_if = "is_default")]
    pub prune_layers: Vec<u64>,
    /// Set a key of the metadata: int float bool str, any GGUF type such as i64, or an array such as [u32]:1,2
    #[cfg_attr(feature = "cli", arg(long, value_name = "KEY=TYPE:VALUE", value_parser = typed::override_kv))]
    #[serde(skip_serializing_if = "is_default")]
    pub override_kv: Vec<String>,
    /// Choose dtypes and encode as this version of llama.cpp does: v0.5.0 (the default), v0.6.0, v0.8.0
    #[cfg_attr(feature = "cli", arg(long = "as", value_name = "VERSION", hide_possible_values = true))]
    #[serde(rename = "as", skip_serializing_if = "is_default")]
    pub as_version: Option<Choice<Version>>,
    /// Importance matrix of the model, GGUF or .dat
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    #[serde(skip_serializing_if = "is_default")]
    pub imatrix: Option<PathBuf>,
    /// Tell what matters from the model's own weights, where no importance matrix was measured
    #[cfg_attr(feature = "cli", arg(long, value_name = "SOURCE", conflicts_with = "imatrix"))]
    #[serde(skip_serializing_if = "is_default")]
    pub importance: Option<Choice<Estimate>>,
    /// How blocks are searched for: exact, as llama.cpp does (the default), or fine, on from there to a lower error in the
    /// same format, for some two minutes of a core for a billion weights
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOW", hide_possible_values = true))]
    #[serde(skip_serializing_if = "is_default")]
    pub search: Option<Choice<Search>>,
    /// Use only the entries of the matrix whose names contain this; may be repeated
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "PART", requires = "imatrix", conflicts_with = "exclude_weights")
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub include_weights: Vec<String>,
    /// Do not use the entries of the matrix whose names contain this; may be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "PART", requires = "imatrix"))]
    #[serde(skip_serializing_if = "is_default")]
    pub exclude_weights: Vec<String>,
    /// Choose the dtypes by their measured errors so that the file is at most this large: 5.5GiB, 5500MB, bytes, or a
    /// type such as Q4_K_M for the size that it would give
    #[cfg_attr(feature = "cli", arg(long, value_name = "SIZE", value_parser = typed::size, conflicts_with_all = ["target_bpw", "pure"]))]
    #[serde(skip_serializing_if = "is_default")]
    pub target_size: Option<String>,
    /// Choose the dtypes so that the weights take at most this many bits each, such as 4.5
    #[cfg_attr(feature = "cli", arg(long, value_name = "BITS", value_parser = typed::bits, conflicts_with = "pure"))]
    #[serde(skip_serializing_if = "is_default")]
    pub target_bpw: Option<f64>,
    /// Choose the dtypes so that the file is as small as an estimated KL divergence of at most this allows, such as 0.02
    #[cfg_attr(feature = "cli", arg(long, value_name = "NATS", value_parser = typed::divergence, conflicts_with_all = ["target_size", "target_bpw", "pure"]))]
    #[serde(skip_serializing_if = "is_default")]
    pub target_kld: Option<f64>,
    /// Make the file for a device: as good as its memory allows, of dtypes that are fast there; `ggraft advise`
    /// lists the devices
    #[cfg_attr(feature = "cli", arg(long = "for", value_name = "DEVICE", hide_possible_values = true, conflicts_with_all = ["target_size", "target_bpw", "target_kld", "pure"]))]
    #[serde(rename = "for", skip_serializing_if = "is_default")]
    pub device: Option<Choice<&'static Profile>>,
    /// The tokens that the device is to read at once; by default 8192, or as many as the model was trained for if those
    /// are fewer
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", requires = "device", value_parser = clap::value_parser!(u64).range(1..=crate::device::MOST)))]
    #[serde(skip_serializing_if = "is_default")]
    pub context: Option<u64>,
}

impl Mixture {
    /// What a file of this type is to be; reads the importance matrix.
    pub fn target(&self, kind: Type) -> Result<Target> {
        let reads = Reads::default();
        for path in [&self.imatrix, &self.tensor_type_file, &self.like].into_iter().flatten() {
            reads.add(Stamp::of(path)?);
        }
        let prune = Prune::new(self.prune_layers.iter().copied());
        if self.imatrix.is_some() && self.importance.is_some() {
            return Err(Error::usage("--imatrix and --importance exclude each other"));
        }
        if self.importance.is_some() && !(self.include_weights.is_empty() && self.exclude_weights.is_empty())
        {
            return Err(Error::usage("--include-weights and --exclude-weights choose entries of a file")
                .found("--importance weights, which has no file")
                .hint("leave them out, or give --imatrix"));
        }
        let importance = self.measured()?.map(|importance| importance.pruned(&prune));
        let mut tensor_types =
            self.tensor_type.iter().map(|text| TensorType::parse(text)).collect::<Result<Vec<_>>>()?;
        if let Some(path) = &self.tensor_type_file {
            tensor_types.extend(TensorType::read(path)?);
        }
        let mut overrides = Vec::with_capacity(self.override_kv.len());
        for text in &self.override_kv {
            let Override { key, value } = text.parse().map_err(|e: String| Error::usage(e).found(text))?;
            overrides.push((key, value));
        }
        Ok(Target {
            budget: self.budget(kind)?,
            options: ftype::Options {
                pure: self.pure,
                leave_output_tensor: self.leave_output_tensor,
                output_tensor_type: self.output_tensor_type.map(|c| c.0),
                token_embedding_type: self.token_embedding_type.map(|c| c.0),
                tensor_types,
                like: self.like.as_deref().map(Like::read).transpose()?,
                has_imatrix: importance.is_some() || self.importance.is_some(),
                search: self.search.map(|choice| choice.0).unwrap_or_default(),
                version: self.as_version.map(|choice| choice.0).unwrap_or_default(),
            },
            importance,
            estimates: self.importance.is_some(),
            prune,
            overrides,
            allow_requantize: self.allow_requantize,
            reads,
            ..Target::new(kind)
        })
    }

    /// The options in words, which change only if one of them does.
    pub fn words(&self) -> Result<String> {
        let json = serde_json::to_value(self);
        let json = json.map_err(|e| Error::invalid(format!("the options cannot be told: {e}")))?;
        Ok(super::yaml::write(&json))
    }

    /// Whether dtypes are to be chosen by a budget.
    pub fn has_budget(&self) -> bool {
        let targets = [self.target_size.is_some(), self.target_bpw.is_some(), self.target_kld.is_some()];
        targets.contains(&true) || self.device.is_some()
    }

    /// The budget, if dtypes are to be chosen by one.
    fn budget(&self, kind: Type) -> Result<Option<Budget>> {
        let budget = match (&self.target_size, self.target_bpw, self.target_kld) {
            (None, None, None) => Ok(None),
            (Some(text), None, None) => Budget::size(text).map(Some),
            (None, Some(bits), None) => Budget::bits(bits).map(Some),
            (None, None, Some(nats)) => Budget::divergence(nats).map(Some),
            _ => Err(String::from("--target-size, --target-bpw and --target-kld exclude each other")),
        };
        let mut budget = budget.map_err(Error::usage)?;
        if self.context.is_some() && self.device.is_none() {
            return Err(Error::usage("--context belongs to --for").hint("name a device, or leave it out"));
        }
        if self.like.is_some() && self.pure {
            return Err(Error::usage("--pure gives every tensor the same dtype, --like each its own")
                .hint("leave out one or the other"));
        }
        if let Some(Choice(profile)) = self.device {
            if budget.is_some() {
                return Err(Error::usage("--for has the size of its device, and excludes another"));
            }
            budget = Some(Budget::Device(profile, self.context));
        }
        if budget.is_some() && self.pure {
            return Err(Error::usage("--pure gives every tensor the same dtype, a budget each its own")
                .hint("leave out --pure"));
        }
        if budget.is_none() && matches!(kind, Type::Auto) {
            return Err(Error::usage("the type auto needs a budget").hint(
                "give --target-size, --target-bpw, --target-kld or --for, or the type that the weights have: BF16, or F16",
            ));
        }
        Ok(budget)
    }

    fn measured(&self) -> Result<Option<Importance>> {
        let choice = match self.include_weights.as_slice() {
            [] => ftype::Choice::Excluding(&self.exclude_weights),
            words => ftype::Choice::Including(words),
        };
        self.imatrix.as_ref().map(|path| Importance::open(path, choice)).transpose()
    }

    /// The files that it names.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tensor_type_file.iter_mut().chain(&mut self.imatrix).chain(&mut self.like)
    }
}
