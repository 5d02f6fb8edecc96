//! Which tensor of a checkpoint an adapter means. The names of modules in memory and of tensors on disk differ in what
//! stands before the layers, in models that see; else they are the same.

use ggraft_formats::Tensor;
use std::collections::HashMap;

/// Words that may stand at the beginning of a name, in any order and number.
const PREFIXES: &[&str] =
    &["base_model", "model", "language_model", "text_model", "transformer", "thinker", "llm"];

/// The tensors of a checkpoint, to be found by name.
pub struct Names<'a> {
    exact: HashMap<&'a str, usize>,
    /// By what follows the prefixes; nothing where several have that.
    loose: HashMap<&'a str, Option<usize>>,
}

impl<'a> Names<'a> {
    pub fn of(tensors: &'a [Tensor]) -> Names<'a> {
        let exact = tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        let mut loose = HashMap::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            let one = loose.entry(without_prefixes(&tensor.name));
            one.and_modify(|place| *place = None).or_insert(Some(i));
        }
        Names { exact, loose }
    }

    /// The place of the tensor that `name` means.
    pub fn find(&self, name: &str) -> Option<usize> {
        let exact = self.exact.get(name).copied();
        exact.or_else(|| self.loose.get(without_prefixes(name)).copied().flatten())
    }
}

fn without_prefixes(name: &str) -> &str {
    let mut rest = name;
    while let Some((first, after)) = rest.split_once('.') {
        if !PREFIXES.contains(&first) {
            break;
        }
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_layers_does_not_count() {
        let disk = "language_model.model.layers.3.self_attn.q_proj.weight";
        assert_eq!(without_prefixes(disk), "layers.3.self_attn.q_proj.weight");
        assert_eq!(
            without_prefixes("model.language_model.layers.3.self_attn.q_proj.weight"),
            without_prefixes(disk)
        );
        assert_eq!(without_prefixes("vision_tower.layers.3.q.weight"), "vision_tower.layers.3.q.weight");
        assert_eq!(without_prefixes("lm_head.weight"), "lm_head.weight");
    }
}
