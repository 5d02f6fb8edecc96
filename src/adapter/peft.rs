//! An adapter of PEFT on a checkpoint: every weight that it names is changed as `merge_and_unload` does, in the trainer's
//! space, before the rules of the architecture move anything.
//! Specification: `merge` of peft's LoRA layers, `get_delta_weight`, and `DoraLinearVariant`.

use super::named::Names;
use super::parts::{Module, Parts};
use super::rows::{Change, Factor, Product, changed, count};
use super::settings::Settings;
use crate::arch::about;
use ggraft_formats::{Checkpoint, Error, Model, Result, Tensor};
use std::collections::BTreeMap;

/// An adapter that was opened.
pub struct Peft {
    pub checkpoint: Checkpoint,
    pub settings: Settings,
    pub parts: Parts,
}

impl Peft {
    /// Reads what the adapter in `checkpoint` says; no weights yet.
    pub fn open(checkpoint: Checkpoint) -> Result<Peft> {
        let settings = Settings::of(&checkpoint)?;
        let parts = Parts::of(&checkpoint).map_err(|e| e.file(&checkpoint.dir))?;
        if parts.modules.is_empty() && parts.whole.is_empty() {
            return Err(Error::invalid("the adapter holds no tensors").file(&checkpoint.dir));
        }
        Ok(Peft { checkpoint, settings, parts })
    }

    /// What the adapter says of itself, without tensors.
    pub fn described(&self) -> Result<Model> {
        let metadata = about::adapter(&self.checkpoint, &mut Vec::new())?;
        let (containers, reads) = (self.checkpoint.containers.clone(), self.checkpoint.reads.clone());
        Ok(Model { metadata, tensors: Vec::new(), containers, reads })
    }

    /// What was noticed, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let repeated = self.parts.repeated;
        let told = |n| {
            format!(
                "{n} weights of its base that the adapter holds beside its own are left out: onto's are taken"
            )
        };
        self.checkpoint.notes.iter().cloned().chain((repeated > 0).then(|| told(repeated))).collect()
    }

    /// The tensors of a checkpoint that the adapter changes, by their places.
    ///
    /// # Errors
    /// What does not fit them: all in one error.
    pub fn applied(&self, tensors: &[Tensor]) -> Result<BTreeMap<usize, Tensor>> {
        if self.settings.invocation.is_some() {
            return Err(Error::unsupported("the adapter counts only after some tokens: it cannot be merged")
                .file(&self.settings.file)
                .found("'alora_invocation_tokens'")
                .hint("`ggraft adapter` makes a GGUF of it, which llama.cpp applies so"));
        }
        let names = Names::of(tensors);
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        let mut set = |place: Result<(usize, Tensor)>| match place {
            Ok((i, tensor)) => {
                if all.insert(i, tensor).is_some() {
                    let e = Error::invalid("the adapter changes this tensor twice");
                    problems.push(e.tensor(&tensors[i].name).file(&self.checkpoint.dir));
                }
            }
            Err(e) => problems.push(e.file(&self.checkpoint.dir)),
        };
        for (name, tensor) in &self.parts.whole {
            set(whole(&names, tensors, name, tensor));
        }
        for (name, module) in &self.parts.modules {
            set(self.weight(&names, tensors, name, module));
            if let Some(bias) = &module.bias {
                set(self.bias(&names, tensors, name, (module, bias)));
            }
        }
        Error::all(problems).map_or(Ok(all), Err)
    }

    /// What becomes of the weight of a module.
    fn weight(
        &self,
        names: &Names<'_>,
        tensors: &[Tensor],
        name: &str,
        module: &Module,
    ) -> Result<(usize, Tensor)> {
        let (a, b, rank) = module.factors(name)?;
        let scale = self.settings.scale(name, rank)?;
        let i = find(names, &format!("{name}.weight"))?;
        let weight = &tensors[i];
        let (inner, outer) = (a.shape().row(), b.shape().dim(1));
        let is_turned = match weight.shape().ne() {
            _ if module.is_embedding => true,
            // Where both are possible, the config decides.
            [row, rows] if row == rows => self.settings.transposed,
            [row, rows] => *row == outer && *rows == inner,
            _ => false,
        };
        let due = if is_turned { [outer, inner] } else { [inner, outer] };
        if weight.shape().ne() != due {
            return Err(Error::invalid("the adapter has another shape than the model")
                .tensor(&weight.name)
                .expected(weight.shape())
                .found(format!("[{}, {}] of {name}", due[0], due[1])));
        }
        let (left, right) = match is_turned {
            true => (Factor::Turned(a.clone()), Factor::Turned(b.clone())),
            false => (Factor::Straight(b.clone()), Factor::Straight(a.clone())),
        };
        let rank = usize::try_from(rank).map_err(|_| Error::invalid("the rank is too large").tensor(name))?;
        let product = Product { scale, rank, left, right, rows: count(weight)? };
        let change = match &module.magnitude {
            None if self.settings.dora => {
                return Err(Error::invalid("a part of the adapter is missing")
                    .tensor(&format!("{name}.lora_magnitude_vector"))
                    .hint("the file is incomplete: download it again"));
            }
            None => Change::Product(product),
            Some(lengths) if !self.settings.dora => {
                return Err(Error::invalid("the adapter has magnitudes, and 'use_dora' is not true")
                    .tensor(&lengths.name)
                    .hint("set use_dora in adapter_config.json if it was trained so"));
            }
            Some(_) if is_turned => {
                return Err(Error::unsupported(
                    "DoRA of an embedding, or of a transposed weight, is not supported",
                )
                .tensor(&weight.name)
                .hint("merge the adapter with PEFT (merge_and_unload, then save_pretrained)"));
            }
            Some(lengths) if lengths.shape().ne() != [outer] => {
                return Err(Error::invalid("the adapter has another shape than the model")
                    .tensor(&lengths.name)
                    .expected(format!("[{outer}]"))
                    .found(lengths.shape()));
            }
            Some(lengths) => Change::Magnitude(product, lengths.clone()),
        };
        Ok((i, changed(weight, change)?))
    }

    /// What becomes of the bias of a module.
    fn bias(
        &self,
        names: &Names<'_>,
        tensors: &[Tensor],
        name: &str,
        (module, more): (&Module, &Tensor),
    ) -> Result<(usize, Tensor)> {
        let (_, _, rank) = module.factors(name)?;
        let scale = self.settings.scale(name, rank)?;
        let i = find(names, &format!("{name}.bias"))?;
        let bias = &tensors[i];
        if bias.shape().ne() != more.shape().ne() {
            return Err(Error::invalid("the adapter has another shape than the model")
                .tensor(&bias.name)
                .expected(bias.shape())
                .found(more.shape()));
        }
        Ok((i, changed(bias, Change::Plus(scale, more.clone()))?))
    }
}

/// A tensor that takes the place of the model's.
fn whole(names: &Names<'_>, tensors: &[Tensor], name: &str, tensor: &Tensor) -> Result<(usize, Tensor)> {
    let i = find(names, name)?;
    let old = &tensors[i];
    if old.shape().ne() != tensor.shape().ne() {
        let e = Error::invalid("the adapter has another shape than the model").tensor(&old.name);
        let e = e.expected(old.shape()).found(tensor.shape());
        return Err(match name.contains("embed") || name.contains("lm_head") {
            true => e.hint("its vocabulary is another one: give it with the model that it was trained on"),
            false => e,
        });
    }
    Ok((i, changed(&tensor.clone().renamed(&old.name), Change::Nothing)?))
}

fn find(names: &Names<'_>, name: &str) -> Result<usize> {
    names.find(name).ok_or_else(|| unknown(name))
}

/// The error for a tensor or module that the model has not.
pub fn unknown(name: &str) -> Error {
    let e = Error::invalid("the model has no such tensor").tensor(name);
    match name.contains("lm_head") {
        true => e.hint("its output head is its embedding, which an adapter of the head would change too"),
        false => e.hint("the adapter is of another model, or of weights that this one keeps in one piece"),
    }
}
