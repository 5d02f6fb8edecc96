//! From the trainer's tensors to GGUF's and back: a table says for each kind of tensor both names, its shape in terms of
//! the hyperparameters, and what becomes of its rows. All that is missing, unknown or of the wrong shape is
//! found before a weight is read, and told at once.

use super::Arch;
use super::hparams::Hparams;
use super::rows;
use ggraft_formats::safetensors::Named;
use ggraft_formats::{Checkpoint, DType, Error, Model, Result, Tensor};
use std::collections::HashMap;

/// One kind of tensor, in a checkpoint and in a GGUF.
pub struct Map {
    /// The checkpoint's name without `.weight`; `{}` is the layer.
    pub from: &'static str,
    /// GGUF's name without `.weight`; `{}` is the layer.
    pub to: &'static str,
    /// The weight's dimensions, row length first; the last one is the length of a bias.
    pub shape: &'static [Dim],
    /// Whether the checkpoint must hold the weight.
    pub needed: fn(&Hparams) -> bool,
    /// Whether the checkpoint must hold a bias; none if it may not.
    pub bias: Option<fn(&Hparams) -> bool>,
    /// The number of rotary heads whose halves alternate in GGUF; none if rows stay where they are.
    pub heads: Option<fn(&Hparams) -> u32>,
}

/// A dimension in terms of the hyperparameters.
#[derive(Clone, Copy)]
pub enum Dim {
    Vocab,
    Hidden,
    Ffn,
    Heads,
    KvHeads,
}

impl Dim {
    fn size(self, h: &Hparams) -> u64 {
        match self {
            Dim::Vocab => h.vocab_size.into(),
            Dim::Hidden => h.embedding_length.into(),
            Dim::Ffn => h.feed_forward_length.into(),
            Dim::Heads => u64::from(h.head_count) * u64::from(h.head_dim),
            Dim::KvHeads => u64::from(h.head_count_kv) * u64::from(h.head_dim),
        }
    }

    /// The keys of `config.json` that decide it.
    fn key(self) -> &'static str {
        match self {
            Dim::Vocab => "vocab_size",
            Dim::Hidden => "hidden_size",
            Dim::Ffn => "intermediate_size",
            Dim::Heads => "num_attention_heads * head_dim",
            Dim::KvHeads => "num_key_value_heads * head_dim",
        }
    }
}

/// Buffers that old trainers saved; GGUF has no use for them.
const SKIPPED: &[&str] = &[".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq"];

/// A tensor that the checkpoint may or must hold.
struct Expected<'a> {
    map: &'a Map,
    from: String,
    to: String,
    bias: bool,
    needed: bool,
    found: bool,
}

/// The tensors of `checkpoint` under GGUF's names, in its order and its dtypes.
pub fn adopt(
    arch: &Arch,
    h: &Hparams,
    checkpoint: &Checkpoint,
    warnings: &mut Vec<String>,
) -> Result<Vec<Tensor>> {
    let held = checkpoint.tensors.len();
    if h.block_count as usize > held {
        return Err(Error::invalid("the checkpoint cannot hold so many layers")
            .file(&checkpoint.dir.join("config.json"))
            .expected(format!("num_hidden_layers of at most {held}, the number of tensors"))
            .found(h.block_count));
    }
    let mut expected = expected(arch, h);
    let index: HashMap<String, usize> =
        expected.iter().enumerate().map(|(i, e)| (e.from.clone(), i)).collect();
    let (mut tensors, mut problems) = (Vec::with_capacity(held), Vec::new());
    for tensor in &checkpoint.tensors {
        if is_skipped(&tensor.name) {
            continue;
        }
        let result = match index.get(&tensor.name).and_then(|i| expected.get_mut(*i)) {
            Some(expected) => expected.adopt(tensor, h),
            None => Err(unknown(arch, tensor)),
        };
        match result {
            Ok(tensor) => tensors.push(tensor),
            Err(e) => problems.push(e),
        }
    }
    problems.extend(expected.iter().filter(|e| e.needed && !e.found).map(|e| e.missing(h)));
    // With several shards it is not known which one a tensor came from, or should have been in.
    let place = match checkpoint.containers.as_slice() {
        [file] => file,
        _ => &checkpoint.dir,
    };
    if let Some(e) = Error::all(problems.into_iter().map(|e| e.file(place)).collect()) {
        return Err(e);
    }
    warnings.extend(unannounced(&expected));
    Ok(tensors)
}

fn is_skipped(name: &str) -> bool {
    SKIPPED.iter().any(|ending| name.ends_with(ending))
}

/// The buffers that `adopt` skips.
pub fn skipped(checkpoint: &Checkpoint) -> impl Iterator<Item = String> {
    checkpoint.tensors.iter().map(|t| t.name.clone()).filter(|name| is_skipped(name))
}

/// The tensors of `model` under the trainer's names and with its order of rows: the inverse of `adopt`. What the
/// checkpoint of such a model does not hold is named in `left`.
pub fn release(arch: &Arch, h: &Hparams, model: &Model, left: &mut Vec<String>) -> Result<Vec<Named>> {
    let expected = expected(arch, h);
    let index: HashMap<&str, &Expected> = expected.iter().map(|e| (e.to.as_str(), e)).collect();
    let generated: Vec<String> = (arch.extra)(h)?.into_iter().map(|t| t.name).collect();
    let (mut tensors, mut problems) = (Vec::with_capacity(model.tensors.len()), Vec::new());
    for tensor in &model.tensors {
        let Some(expected) = index.get(tensor.name.as_str()) else {
            match generated.contains(&tensor.name) {
                true => left.push(tensor.name.clone()),
                false => problems.push(unknown(arch, tensor)),
            }
            continue;
        };
        let tensor = match expected.map.heads {
            Some(heads) => rows::unpermuted(tensor.clone(), heads(h))?,
            None => tensor.clone(),
        };
        tensors.push(Named { name: expected.from.clone(), tensor });
    }
    Error::all(problems).map_or(Ok(tensors), Err)
}

/// Every tensor that a model of `h` may hold: those of the whole, then layer by layer.
fn expected<'a>(arch: &'a Arch, h: &Hparams) -> Vec<Expected<'a>> {
    let mut all = Vec::new();
    let mut add = |map: &'a Map, prefix: &str, layer: &str| {
        let (from, to) = (format!("{prefix}{}", map.from.replace("{}", layer)), map.to.replace("{}", layer));
        let one = |suffix: &str, bias: bool, needed: bool| {
            let (from, to) = (format!("{from}{suffix}"), format!("{to}{suffix}"));
            Expected { map, from, to, bias, needed, found: false }
        };
        all.push(one(".weight", false, (map.needed)(h)));
        all.extend(map.bias.map(|needed| one(".bias", true, needed(h))));
    };
    let maps = || arch.tensors.iter().flat_map(|(prefix, maps)| maps.iter().map(move |map| (*prefix, map)));
    for (prefix, map) in maps().filter(|(_, map)| !map.from.contains("{}")) {
        add(map, prefix, "");
    }
    for layer in 0..h.block_count {
        for (prefix, map) in maps().filter(|(_, map)| map.from.contains("{}")) {
            add(map, prefix, &layer.to_string());
        }
    }
    all
}

impl Expected<'_> {
    /// `tensor` as this one, if it fits.
    fn adopt(&mut self, tensor: &Tensor, h: &Hparams) -> Result<Tensor> {
        if std::mem::replace(&mut self.found, true) {
            return Err(Error::invalid("the checkpoint holds this tensor twice").tensor(&tensor.name));
        }
        let shape: Vec<u64> = self.dims().iter().map(|d| d.size(h)).collect();
        if tensor.shape().ne() != shape {
            return Err(Error::invalid("the shape is not the one that config.json says")
                .tensor(&tensor.name)
                .expected(self.shape(h))
                .found(torch(tensor.shape().ne())));
        }
        if !matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            return Err(Error::unsupported("the weights are not plain floats")
                .tensor(&tensor.name)
                .expected("f64, f32, f16 or bf16")
                .found(tensor.dtype())
                .mend("take the checkpoint that was not quantized"));
        }
        let renamed = tensor.clone().renamed(&self.to);
        match self.map.heads {
            Some(heads) => rows::permuted(renamed, heads(h)),
            None => Ok(renamed),
        }
    }

    fn dims(&self) -> &[Dim] {
        match self.map.shape {
            [.., last] if self.bias => std::slice::from_ref(last),
            all => all,
        }
    }

    /// The expected shape as trainers print it, with the keys that decide it.
    fn shape(&self, h: &Hparams) -> String {
        let sizes: Vec<u64> = self.dims().iter().map(|d| d.size(h)).collect();
        let keys: Vec<&str> = self.dims().iter().rev().map(|d| d.key()).collect();
        format!("{} ({})", torch(&sizes), keys.join(", "))
    }

    fn missing(&self, h: &Hparams) -> Error {
        Error::invalid("the checkpoint lacks this tensor")
            .tensor(&self.from)
            .expected(self.shape(h))
            .mend("the download is incomplete, or config.json is of another model")
    }
}

/// A shape as trainers print it: the row length last.
fn torch(ne: &[u64]) -> String {
    let reversed: Vec<u64> = ne.iter().rev().copied().collect();
    format!("{reversed:?}")
}

fn unknown(arch: &Arch, tensor: &Tensor) -> Error {
    Error::unsupported(format!("the architecture {} knows no such tensor", arch.gguf))
        .tensor(&tensor.name)
        .found(format!("{} {}", tensor.dtype(), torch(tensor.shape().ne())))
        .mend("config.json is of another model, or the model is not a plain one of this architecture")
}

/// What the checkpoint holds though `config.json` does not announce it. It is kept, as the converter keeps it.
fn unannounced(expected: &[Expected]) -> Option<String> {
    let mut names = expected.iter().filter(|e| e.found && !e.needed).map(|e| e.from.as_str());
    let first = names.next()?;
    let others = names.count();
    Some(format!(
        "config.json does not announce {first}{}, which transformers would ignore: kept",
        if others > 0 { format!(" and {others} more tensors") } else { String::new() }
    ))
}
