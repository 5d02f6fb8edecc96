//! The tensors of a PEFT adapter by what they belong to: factors of a module's weight, or whole tensors that take the
//! place of the model's.
//! Specification: the names that `get_peft_model_state_dict` of peft 0.21 saves.

use ggraft_formats::{Checkpoint, Error, Result, Tensor};
use std::borrow::Cow;
use std::collections::BTreeMap;

const PREFIX: &str = "base_model.model.";

/// What an adapter says of one module, whose name has no prefix and no `.weight`.
#[derive(Clone, Default)]
pub struct Module {
    /// A of a matrix: `[rank, in]` in torch's order; of an embedding `[rank, tokens]`.
    pub a: Option<Tensor>,
    /// B of a matrix: `[out, rank]`; of an embedding `[width, rank]`.
    pub b: Option<Tensor>,
    pub is_embedding: bool,
    /// The lengths of rows that DoRA has learnt.
    pub magnitude: Option<Tensor>,
    /// What is added to the bias.
    pub bias: Option<Tensor>,
}

impl Module {
    /// Both factors and their rank.
    ///
    /// # Errors
    /// One is missing, or they do not fit each other.
    pub fn factors(&self, name: &str) -> Result<(&Tensor, &Tensor, u64)> {
        let missing = |which: &str| {
            Error::invalid("a part of the adapter is missing")
                .tensor(&format!("{name}.lora_{which}"))
                .hint("the file is incomplete: download it again")
        };
        let a = self.a.as_ref().ok_or_else(|| missing("A"))?;
        let b = self.b.as_ref().ok_or_else(|| missing("B"))?;
        match (a.shape().ne(), b.shape().ne()) {
            ([_, rank], [other, _]) if rank == other => Ok((a, b, *rank)),
            ([_, _], [_, _]) => Err(Error::invalid("A and B have another rank")
                .tensor(name)
                .expected(format!("the rank of A, {}", a.shape().dim(1)))
                .found(b.shape().dim(0))),
            _ => Err(Error::unsupported("only adapters of matrices are supported, not of convolutions")
                .tensor(name)
                .expected("two dimensions of A and of B")
                .found(format!("{} and {}", a.shape(), b.shape()))),
        }
    }
}

/// All that an adapter says.
#[derive(Default)]
pub struct Parts {
    pub modules: BTreeMap<String, Module>,
    /// Tensors that are saved whole, by the names that the model has for them.
    pub whole: Vec<(String, Tensor)>,
    /// Weights of the base that were saved beside the factors of an embedding.
    pub repeated: usize,
}

/// What a tensor is, by the end of its name.
enum Part {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
    Bias,
}

const ENDINGS: &[(&str, Part)] = &[
    (".lora_A.weight", Part::A),
    (".lora_B.weight", Part::B),
    (".lora_embedding_A", Part::EmbeddingA),
    (".lora_embedding_B", Part::EmbeddingB),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".lora_B.bias", Part::Bias),
];

/// The name without that of the adapter, which stands in it where a trainer has saved the state of the wrapped model itself.
fn unnamed(name: &str) -> Cow<'_, str> {
    const NAMED: &str = ".default";
    let place = name.find(".lora_").or_else(|| name.find(".modules_to_save."));
    let split = place.and_then(|place| Some((place, place + name[place..].find(NAMED)?)));
    match split {
        Some((place, at)) if matches!(name[at + NAMED.len()..].chars().next(), None | Some('.')) => {
            let kept = if name[place..].starts_with(".lora_") { &name[..at] } else { &name[..place] };
            Cow::Owned(format!("{kept}{}", &name[at + NAMED.len()..]))
        }
        _ => Cow::Borrowed(name),
    }
}

impl Parts {
    /// Sorts the tensors of an adapter.
    ///
    /// # Errors
    /// A tensor of an adapter whose kind is not known.
    pub fn of(checkpoint: &Checkpoint) -> Result<Parts> {
        let mut parts = Parts::default();
        let mut problems = Vec::new();
        for tensor in &checkpoint.tensors {
            let name = &*unnamed(tensor.name.strip_prefix(PREFIX).unwrap_or(&tensor.name));
            let found = ENDINGS.iter().find_map(|(end, part)| Some((name.strip_suffix(end)?, part)));
            if let Some((module, part)) = found {
                if !parts.take(module, part, tensor) {
                    problems.push(
                        Error::invalid("this part of the adapter is there twice, with and without a prefix")
                            .tensor(&tensor.name),
                    );
                }
            } else if name.contains(".lora_") || name.contains(".trainable_tokens_") {
                problems.push(
                    Error::unsupported("this tensor of an adapter is not supported")
                        .tensor(&tensor.name)
                        .hint("merge the adapter with PEFT (merge_and_unload, then save_pretrained)"),
                );
            } else if name.ends_with(".base_layer.weight") || name.contains(".original_module.") {
                parts.repeated += 1;
            } else {
                parts.whole.push((name.replace(".base_layer.", "."), tensor.clone()));
            }
        }
        match Error::all(problems) {
            Some(e) => Err(e),
            None => Ok(parts),
        }
    }

    /// Takes a part of a module; false if it has such a one.
    fn take(&mut self, module: &str, part: &Part, tensor: &Tensor) -> bool {
        let module = self.modules.entry(module.to_string()).or_default();
        let place = match part {
            Part::A | Part::EmbeddingA => &mut module.a,
            Part::B | Part::EmbeddingB => &mut module.b,
            Part::Magnitude => &mut module.magnitude,
            Part::Bias => &mut module.bias,
        };
        module.is_embedding |= matches!(part, Part::EmbeddingA | Part::EmbeddingB);
        place.replace(tensor.clone()).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_adapter_is_no_part_of_a_name() {
        for (saved, meant) in [
            ("layers.0.q_proj.lora_A.default.weight", "layers.0.q_proj.lora_A.weight"),
            ("embed_tokens.lora_embedding_B.default", "embed_tokens.lora_embedding_B"),
            ("q_proj.lora_magnitude_vector.default.weight", "q_proj.lora_magnitude_vector.weight"),
            ("lm_head.modules_to_save.default.weight", "lm_head.weight"),
            ("q_proj.lora_A.weight", "q_proj.lora_A.weight"),
            ("q_proj.lora_A.defaults.weight", "q_proj.lora_A.defaults.weight"),
            ("default.q_proj.weight", "default.q_proj.weight"),
        ] {
            assert_eq!(unnamed(saved), meant);
        }
    }
}
