//! What the tensors of a GGUF are to the one who trained them: the names that they had in the checkpoint, and which of
//! them were one tensor there. It follows from the pages of all families that a GGUF calls alike, so it is the same
//! whether a model comes as a checkpoint or as a GGUF. Serves the rules of the weights and the merge methods.

use super::families::{ARCHS, Family, fits};
use super::rule::{Rule, biased, spelled};
use crate::roles;
use std::collections::HashSet;

/// The names of both sides, of one architecture.
#[derive(Clone, Debug, Default)]
pub struct Trainer(Vec<Kind>);

/// One tensor of GGUF's in every layer.
#[derive(Clone, Debug)]
struct Kind {
    /// GGUF's name; `{l}` is the layer.
    to: String,
    /// Every name that the checkpoint may have for it; `{e}` is an expert.
    from: Vec<String>,
    /// What else the checkpoint's tensor becomes, itself among it; empty, if nothing else.
    together: Vec<String>,
}

impl Trainer {
    /// That of the architecture which a GGUF calls so; of one that is not known, nothing.
    pub fn of(gguf: &str) -> Trainer {
        let mut all: Vec<Kind> = Vec::new();
        for family in ARCHS.iter().filter(|arch| arch.gguf == gguf).map(Family::of) {
            for rule in &family.rules {
                for bias in [false, true].into_iter().filter(|bias| !bias || rule.bias.is_some()) {
                    add(&mut all, rule, bias, &family.prefixes);
                }
            }
        }
        Trainer(all)
    }

    /// Without the names that no tensor of the checkpoint has, whose tensors are `held`: trainers spell some in several
    /// ways.
    pub fn holding<'a>(mut self, held: impl IntoIterator<Item = &'a str>) -> Trainer {
        // A name of each kind is enough, so that numbers do not count.
        let kinds: HashSet<String> = held.into_iter().map(without_numbers).collect();
        for kind in &mut self.0 {
            kind.from.retain(|name| kinds.contains(&without_numbers(&without_indices(name))));
        }
        self
    }

    /// The names that the checkpoint may have for the tensor `name` of GGUF's; `{e}` is an expert.
    pub fn names(&self, name: &str) -> Vec<String> {
        let layer = roles::layer(name).map_or(String::new(), |layer| layer.to_string());
        let kinds = self.0.iter().filter(|kind| fits(&kind.to, name, 0));
        kinds.flat_map(|kind| &kind.from).map(|from| from.replace("{l}", &layer)).collect()
    }

    /// The tensors of GGUF's, in their order, that are one to the trainer together with `name`; none, if it is that
    /// alone. Experts are each a tensor of its own.
    pub fn together(&self, name: &str) -> Vec<String> {
        let layer = roles::layer(name).map_or(String::new(), |layer| layer.to_string());
        let kind = self.0.iter().find(|kind| fits(&kind.to, name, 0));
        kind.map_or(Vec::new(), |kind| kind.together.iter().map(|to| to.replace("{l}", &layer)).collect())
    }
}

/// Names of GGUF's for architectures whose models may be parents of each other: their tensors are the same, and lie in
/// files alike. The text model of a checkpoint that sees may have a name of its own.
const ALIKE: &[[&str; 2]] = &[["llama", "mistral3"]];

/// Whether the tensors of two architectures, as a GGUF calls them, mean the same.
pub fn alike(a: &str, b: &str) -> bool {
    a == b || ALIKE.iter().any(|pair| pair.contains(&a) && pair.contains(&b))
}

/// Adds what a rule says of weights, or of biases.
fn add(all: &mut Vec<Kind>, rule: &Rule, bias: bool, prefixes: &[&str]) {
    let name = |name: String| if bias { biased(&name) } else { name };
    let to: Vec<String> = rule.to.iter().flat_map(|to| spelled(to)).map(name).collect();
    let from = rule.from.iter().flat_map(|from| spelled(from)).map(name);
    let from = from.flat_map(|from| match from.strip_prefix('^') {
        Some(outside) => vec![outside.to_string()],
        None => prefixes.iter().map(|prefix| format!("{prefix}{from}")).collect(),
    });
    let mut names: Vec<String> = from.collect();
    names.dedup();
    let experts = to.iter().any(|name| roles::is_stack(name));
    for target in &to {
        match all.iter_mut().find(|kind| kind.to == *target) {
            Some(kind) => {
                kind.from.extend(names.iter().filter(|n| !kind.from.contains(n)).cloned().collect::<Vec<_>>())
            }
            None => {
                let together = if to.len() > 1 && !experts { to.clone() } else { Vec::new() };
                all.push(Kind { to: target.clone(), from: names.clone(), together });
            }
        }
    }
}

/// `name` with every number as one sign.
fn without_numbers(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.split('.') {
        out.push('.');
        out.push_str(if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) { "#" } else { part });
    }
    out
}

/// `name` with a number for each index.
fn without_indices(name: &str) -> String {
    name.replace("{l}", "0").replace("{e}", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_have_the_names_of_every_spelling_until_a_checkpoint_decides() {
        let trainer = Trainer::of("qwen3moe");
        let found = trainer.names("blk.3.ffn_up_exps.weight");
        let [stacked, fused] =
            ["model.layers.3.mlp.experts.{e}.up_proj.weight", "model.layers.3.mlp.experts.gate_up_proj"];
        assert!(found.iter().any(|n| n == stacked) && found.iter().any(|n| n == fused), "{found:?}");
        let held = ["model.layers.0.mlp.experts.5.up_proj.weight", "model.embed_tokens.weight"];
        assert_eq!(trainer.holding(held).names("blk.3.ffn_up_exps.weight"), [stacked]);
    }

    #[test]
    fn parts_of_one_tensor_belong_together_and_experts_do_not() {
        let trainer = Trainer::of("deepseek2");
        let both = ["blk.7.attn_k_b.weight", "blk.7.attn_v_b.weight"];
        both.iter().for_each(|name| assert_eq!(trainer.together(name), both));
        assert!(trainer.together("blk.7.ffn_gate_exps.weight").is_empty());
        assert!(trainer.together("blk.7.attn_output.weight").is_empty());
        assert!(Trainer::of("nothing").names("token_embd.weight").is_empty());
    }
}
