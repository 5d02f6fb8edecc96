//! The dense modules of a checkpoint, taken into its GGUF, and those of a GGUF: `dense` says which an architecture has.

use super::dense::{Dense, OPTION, PICKLED, Taken, WEIGHT, WEIGHTS};
use super::families::{ARCHS, Arch};
use crate::arrange::Arrange;
use ggraft_formats::source::Container;
use ggraft_formats::{Checkpoint, Error, Metadata, Model, Result, Tensor, safetensors};

/// How long the vectors are that come out.
const LENGTH: &str = "embedding_length_out";

/// The dense modules of a checkpoint that go into its GGUF.
#[derive(Default)]
pub struct Modules {
    found: Vec<(&'static Dense, Tensor)>,
    pub containers: Vec<Container>,
}

impl Modules {
    /// Those of `checkpoint` that `arch` has a place for; what is left out is told.
    ///
    /// # Errors
    /// They are asked for, and there are none, or no place for them; one is damaged.
    pub fn of(
        arch: &Arch,
        checkpoint: &Checkpoint,
        asked: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Modules> {
        let (mut modules, mut left, mut pickled) = (Modules::default(), Vec::new(), Vec::new());
        for dense in arch.dense {
            let name = format!("{}/{WEIGHTS}", dense.folder);
            if !checkpoint.has(&name) {
                let other = format!("{}/{PICKLED}", dense.folder);
                pickled.extend(checkpoint.has(&other).then_some(other));
            } else if dense.taken == Taken::Asked && !asked {
                left.push(dense.folder);
            } else {
                modules.add(dense, checkpoint, &name, warnings)?;
            }
        }
        if !left.is_empty() {
            warnings.push(format!(
                "{}: what sentence-transformers computes after pooling is left out; {OPTION} puts it in, and llama.cpp computes it",
                left.join(" and ")
            ));
        }
        if asked && modules.found.is_empty() {
            return Err(none_to_take(arch, checkpoint, &pickled));
        }
        warnings.extend(pickled.iter().map(|file| {
            format!("{file}, a module behind the pooling, is left out: it is read as {WEIGHTS} only")
        }));
        Ok(modules)
    }

    fn add(
        &mut self,
        dense: &'static Dense,
        checkpoint: &Checkpoint,
        name: &str,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let file = safetensors::beside(checkpoint, name)?;
        let of_file = |e: Error| e.file(&checkpoint.dir.join(name));
        let weight = file.tensors.iter().find(|t| t.name == WEIGHT);
        let weight = weight.filter(|t| t.shape().ne().len() == 2).ok_or_else(|| {
            let found: Vec<String> =
                file.tensors.iter().map(|t| format!("{} {}", t.name, t.shape())).collect();
            let e = Error::invalid("this is no dense module of sentence-transformers");
            of_file(e.expected(format!("{WEIGHT}, a matrix")).found(found.join(", ")))
        })?;
        let rest = file.tensors.iter().filter(|t| t.name != WEIGHT);
        warnings
            .extend(rest.map(|t| format!("{} of {name} is left out: llama.cpp has no place for it", t.name)));
        self.found.push((dense, weight.clone().renamed(&format!("{}.weight", dense.to))));
        self.containers.extend(file.containers);
        Ok(())
    }

    /// Refuses modules that do not fit the vectors of so many numbers, or each other.
    pub fn check(&self, mut width: u64) -> Result<()> {
        for (_, tensor) in &self.found {
            if tensor.shape().row() != width {
                return Err(Error::invalid("a dense module does not fit what comes before it")
                    .tensor(&tensor.name)
                    .expected(format!("{width} features"))
                    .found(tensor.shape()));
            }
            width = tensor.shape().rows();
        }
        Ok(())
    }

    pub fn tensors(&self) -> impl Iterator<Item = Tensor> {
        self.found.iter().map(|(_, tensor)| tensor.clone())
    }

    /// What is told of those that are `taken` so.
    pub fn told(&self, arch: &str, taken: Taken) -> Metadata {
        let mut metadata = Metadata::new();
        for (dense, tensor) in self.found.iter().filter(|(dense, _)| dense.taken == taken) {
            let (read, made) = (tensor.shape().row() as u32, tensor.shape().rows() as u32);
            match taken {
                Taken::Asked => {
                    metadata.set(&format!("{arch}.{}_feat_in", dense.to), read);
                    metadata.set(&format!("{arch}.{}_feat_out", dense.to), made);
                }
                Taken::Always => metadata.set(&format!("{arch}.{LENGTH}"), made),
            }
        }
        metadata
    }
}

/// The error where modules are asked for and none are taken.
fn none_to_take(arch: &Arch, checkpoint: &Checkpoint, pickled: &[String]) -> Error {
    let folders: Vec<&str> = arch.dense.iter().map(|dense| dense.folder).collect();
    let e = match folders.as_slice() {
        [] => Error::usage(format!("a GGUF of {} has no place for dense modules", arch.gguf)).found(OPTION),
        _ => Error::usage("there are no dense modules here")
            .expected(folders.iter().map(|f| format!("{f}/{WEIGHTS}")).collect::<Vec<_>>().join(" or "))
            .found(if pickled.is_empty() { String::from("none") } else { pickled.join(", ") }),
    };
    e.file(&checkpoint.dir).hint("leave it out")
}

/// The dense modules that an architecture of this name has a place for.
fn places(gguf: &str) -> impl Iterator<Item = &'static Dense> {
    ARCHS.iter().filter(move |arch| arch.gguf == gguf).flat_map(|arch| arch.dense)
}

/// The folder of the dense module that the tensor `name` of GGUF's is.
pub fn folder(gguf: &str, name: &str) -> Option<&'static str> {
    let stem = name.strip_suffix(".weight")?;
    Some(places(gguf).find(|dense| dense.to == stem)?.folder)
}

/// Whether metadata tell of dense modules.
pub fn is_told(gguf: &str, metadata: &Metadata) -> bool {
    let has = |key: &str| metadata.get(&format!("{gguf}.{key}")).is_some();
    places(gguf).any(|dense| match dense.taken {
        Taken::Asked => has(&format!("{}_feat_out", dense.to)),
        Taken::Always => has(LENGTH),
    })
}

/// `model` without its dense modules, and these by their folders.
pub fn apart(mut model: Model) -> (Model, Vec<(&'static str, Tensor)>) {
    let gguf = model.metadata.str("general.architecture").unwrap_or_default().to_string();
    let place = |tensor: &Tensor| folder(&gguf, &tensor.name);
    let (dense, rest) = model.tensors.into_iter().partition(|tensor| place(tensor).is_some());
    model.tensors = rest;
    let mut dense: Vec<_> =
        Vec::into_iter(dense).filter_map(|tensor| Some((place(&tensor)?, tensor))).collect();
    dense.arrange_by_key(|(folder, _)| *folder);
    (model, dense)
}
