//! LoRA adapters: of PEFT (a directory with `adapter_config.json`) and of llama.cpp (a GGUF). One is opened, and worn by a
//! model: that gives the model as the adapter makes it, whose weights are computed when they are read, in f64. What an
//! adapter says and a model has no place for is refused by name.
//! The map: `settings` and `parts` read what PEFT saves, `named` finds what it means, `peft` and `gguf` change a model by
//! the two kinds, `rows` computes; `convert` makes a GGUF of what PEFT saves, and `extract` one
//! of a chat vector (`svd`), which `whole` keeps as it is; `tasks` finds those that a checkpoint has within its weights.

mod convert;
mod extract;
mod gguf;
mod named;
mod parts;
mod peft;
mod rows;
mod settings;
mod svd;
mod tasks;
pub(crate) mod whole;

pub use extract::{Job, Wearer, extracted};
pub use tasks::{Task, tasks};

use crate::arch;
use crate::merge::Vector;
use crate::placed::at;
use crate::unpack;
use ggraft_formats::source::{Access, is_named, shown};
use ggraft_formats::{Checkpoint, DType, Error, Input, Kind, Model, Result, Tensor};
use gguf::Gguf;
use peft::Peft;
use std::collections::HashMap;
use std::path::Path;

/// The names of the file that holds an adapter's tensors, the first that is there.
const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What metadata of a model says of its vocabulary's use, and an adapter does not.
const OF_THE_BASE: [&str; 2] = ["tokenizer.chat_template", "tokenizer.chat_templates"];

/// An adapter that was opened; its weights were not read.
pub enum Adapter {
    Peft(Box<Peft>),
    Gguf(Box<Gguf>),
    /// No adapter but a whole vector, which is put on in the same way.
    Whole(Box<Checkpoint>),
}

impl Adapter {
    /// Opens a directory that PEFT has saved, the file of its tensors, or a GGUF.
    ///
    /// # Errors
    /// It is no adapter, or one that is not supported.
    pub fn open(path: &Path, access: &Access) -> Result<Adapter> {
        match opened(path, access)? {
            Input::Model(model) if Gguf::is(&model) => Gguf::open(model).map(|g| Adapter::Gguf(Box::new(g))),
            Input::Checkpoint(checkpoint) if checkpoint.has(settings::FILE) => {
                checkpoint.agrees()?;
                Peft::open(checkpoint).map(|p| Adapter::Peft(Box::new(p)))
            }
            Input::Checkpoint(checkpoint) if whole::is(&checkpoint)? => Ok(Adapter::Whole(Box::new(checkpoint))),
            _ => Err(Error::invalid("this is no adapter")
                .file(path)
                .expected("a directory with adapter_config.json, a GGUF of the type 'adapter', or a vector that `ggraft vector` has written")
                .hint("a whole model is given with --chat and its base with --base")),
        }
    }

    /// What it adds to `model`. `checkpoint` is the one that the model was adopted from, if there is one.
    ///
    /// # Errors
    /// It does not fit the model.
    pub fn vector(
        &self,
        model: &Model,
        checkpoint: Option<&Checkpoint>,
        options: &arch::Options,
    ) -> Result<Vector> {
        match self {
            Adapter::Whole(vector) => whole::vector(Checkpoint::clone(vector), options),
            _ => Ok(Vector { chat: self.worn(model, checkpoint, options)?, base: model.clone() }),
        }
    }

    /// `model` with this adapter at work. What it does not change are the very tensors of `model`.
    fn worn(&self, model: &Model, checkpoint: Option<&Checkpoint>, options: &arch::Options) -> Result<Model> {
        let (tensors, own) = match (self, checkpoint) {
            (Adapter::Gguf(gguf), _) => {
                gguf.is_of(model)?;
                let mut tensors = model.tensors.clone();
                let changed = gguf.applied(&tensors)?;
                changed.into_iter().for_each(|(i, tensor)| tensors[i] = tensor);
                (tensors, gguf.model.clone())
            }
            (Adapter::Peft(peft), Some(checkpoint)) => {
                (adopted(peft, model, checkpoint, options)?, peft.described()?)
            }
            (Adapter::Whole(vector), _) => return whole::refuse(vector).map(|()| model.clone()),
            (Adapter::Peft(peft), None) => {
                return Err(Error::unsupported(
                    "an adapter of PEFT has the names and the order of a checkpoint",
                )
                .file(&peft.checkpoint.dir)
                .expected("--onto as a Hugging Face checkpoint")
                .found("a GGUF")
                .hint("make a GGUF of the adapter first: ggraft adapter DIR --base MODEL -o adapter.gguf"));
            }
        };
        let place = own.containers.first().map(|file| file.path().to_path_buf());
        let (mut all, mut metadata) = (Vec::with_capacity(tensors.len()), model.metadata.clone());
        for (tensor, old) in tensors.into_iter().zip(&model.tensors) {
            all.push(match &place {
                _ if tensor.shares_rows(old) => tensor,
                Some(place) => at(tensor.checked(), place)?,
                None => tensor.checked(),
            });
        }
        // It is told as what it is: what the model under it is called is not its name.
        metadata.retain(|key| !key.starts_with("general.") && !OF_THE_BASE.contains(&key));
        metadata.set("general.architecture", model.architecture().unwrap_or_default());
        for (key, value) in own.metadata.iter().filter(|(key, _)| key.starts_with("general.")) {
            if key != "general.architecture" {
                metadata.set(key, value.clone());
            }
        }
        metadata.set("general.type", "adapter");
        Ok(Model { metadata, tensors: all, containers: own.containers, reads: own.reads })
    }

    /// The model that it was made for, if it tells.
    pub fn base(&self) -> Option<&str> {
        match self {
            Adapter::Gguf(_) | Adapter::Whole(_) => None,
            Adapter::Peft(peft) => peft.settings.base.as_deref(),
        }
    }

    /// An adapter of PEFT as llama.cpp's, its factors in `dtype`, and what is to be told; `base` is the model that it was
    /// made for.
    ///
    /// # Errors
    /// It is not of this model, or one that llama.cpp could not apply.
    pub fn converted(&self, base: &Path, access: &Access, dtype: DType) -> Result<(Model, Vec<String>)> {
        match self {
            Adapter::Peft(peft) => convert::converted(peft, of_base(base, access)?, dtype),
            Adapter::Gguf(gguf) => {
                let e = Error::usage("this is an adapter of llama.cpp already");
                Err(gguf.model.containers.iter().fold(e, |e, file| e.file(file.path())))
            }
            Adapter::Whole(vector) => {
                Err(Error::usage("this is a whole vector, not an adapter").file(&vector.dir).hint(
                    "its models give an adapter of low rank: ggraft vector --chat CHAT --base BASE --rank 64",
                ))
            }
        }
    }

    /// What was noticed when it was opened, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Adapter::Gguf(_) | Adapter::Whole(_) => Vec::new(),
            Adapter::Peft(peft) => peft.notes(),
        }
    }
}

/// The tensors of `model`, which was adopted from `checkpoint`, as they are when the adapter has changed that.
fn adopted(
    peft: &Peft,
    model: &Model,
    checkpoint: &Checkpoint,
    options: &arch::Options,
) -> Result<Vec<Tensor>> {
    let changes = peft.applied(&checkpoint.tensors)?;
    let mut tensors = checkpoint.tensors.clone();
    changes.into_iter().for_each(|(i, tensor)| tensors[i] = tensor);
    let named = |(new, old): (&Tensor, &Tensor)| (!new.shares_rows(old)).then(|| old.name.clone());
    let names: Vec<String> = tensors.iter().zip(&checkpoint.tensors).filter_map(named).collect();
    let names = names.iter().map(String::as_str).collect();
    let (to, from) = arch::touched(checkpoint, &names)?;
    // Tensors that become one must have one dtype, changed or not.
    for tensor in tensors.iter_mut().filter(|t| from.contains(&t.name) && !names.contains(t.name.as_str())) {
        *tensor = rows::changed(tensor, rows::Change::Nothing)?;
    }
    let made = arch::adopt(&Checkpoint { tensors, ..checkpoint.clone() }, options)?.model.tensors;
    let made: HashMap<String, Tensor> = made.into_iter().map(|t| (t.name.clone(), t)).collect();
    let one = |old: &Tensor| match made.get(&old.name).filter(|_| to.contains(&old.name)) {
        Some(new) => new.clone(),
        None => old.clone(),
    };
    Ok(model.tensors.iter().map(one).collect())
}

/// Opens the file that holds the tensors of what a user names.
fn opened(path: &Path, access: &Access) -> Result<Input> {
    if path.is_dir() {
        let found = FILES.map(|name| path.join(name)).into_iter().find(|file| file.is_file());
        return ggraft_formats::open_with(found.as_deref().unwrap_or(path), access);
    }
    let is_file = path.extension().is_some_and(|e| ["gguf", "safetensors", "bin"].iter().any(|x| e == *x));
    if !is_named(path) || is_file {
        return ggraft_formats::open_with(path, access);
    }
    // Which of them it is only the place knows; the error about the first tells what is there.
    let first = ggraft_formats::open_with(&shown(path).join(FILES[0]), access);
    let Some(e) = first.as_ref().err().filter(|e| e.kind() == Kind::Io) else { return first };
    match ggraft_formats::open_with(&shown(path).join(FILES[1]), access) {
        Err(other) if other.kind() == Kind::Io => match ggraft_formats::open_with(path, access) {
            Ok(Input::Checkpoint(checkpoint)) if whole::is(&checkpoint)? => Ok(Input::Checkpoint(checkpoint)),
            _ => Err(e.clone()),
        },
        found => found,
    }
}

/// The checkpoint of a model; of a directory that holds a config and no weights, without tensors.
fn of_base(path: &Path, access: &Access) -> Result<Checkpoint> {
    let is_weights = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        [".safetensors", ".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end))
    };
    if path.join("config.json").is_file() {
        let mut entries = std::fs::read_dir(path).map_err(|e| Error::io(&e, path))?;
        if !entries.any(|entry| entry.is_ok_and(is_weights)) {
            return Ok(Checkpoint { dir: path.to_path_buf(), ..Checkpoint::default() });
        }
    }
    match ggraft_formats::open_with(path, access)? {
        Input::Checkpoint(checkpoint) => unpack::seen(checkpoint),
        Input::Model(_) => Err(Error::usage("the names of a checkpoint are not told by a GGUF")
            .file(path)
            .expected("the Hugging Face checkpoint that the adapter was made for, or a directory with its config.json")),
    }
}
