//! An architecture with all that it has from the pages that it builds on.

use super::{ARCHS, Arch, Carried, Made};
use crate::arch::axes::{Side, Term};
use crate::arch::keys::Key;
use crate::arch::params::{Axis, Params};
use crate::arch::rule::Rule;
use crate::arch::values::Value;
use ggraft_formats::{Metadata, Result};

/// A key in its place. One that takes the place of the base's is written there if the base would have written it, else
/// where its own page has it.
pub struct Line {
    pub key: &'static Key,
    pub place_of: Option<&'static Key>,
}

/// An architecture with all that it has from its bases.
pub struct Family {
    pub arch: &'static Arch,
    pub prefixes: Vec<&'static str>,
    pub keys: Vec<Line>,
    pub axes: Vec<&'static Axis>,
    pub rules: Vec<&'static Rule>,
    pub renamed: Vec<(&'static str, &'static str)>,
    pub published: Vec<(&'static str, &'static str)>,
    pub ignored: Vec<&'static str>,
    pub made: Vec<&'static Made>,
    pub copies: Vec<(&'static str, &'static str)>,
    pub carried: Vec<&'static Carried>,
}

impl Family {
    pub fn of(arch: &'static Arch) -> Family {
        let mut family = match arch.base {
            Some(base) => Family::of(base),
            None => Family {
                arch,
                prefixes: Vec::new(),
                keys: Vec::new(),
                axes: Vec::new(),
                rules: Vec::new(),
                renamed: Vec::new(),
                published: Vec::new(),
                ignored: Vec::new(),
                made: Vec::new(),
                copies: Vec::new(),
                carried: Vec::new(),
            },
        };
        family.arch = arch;
        if !arch.prefixes.is_empty() {
            family.prefixes = arch.prefixes.to_vec();
        }
        let gone = |name: &str| arch.without.contains(&name);
        family.keys.retain(|line| !gone(line.key.gguf));
        family.made.retain(|made| !gone(made.name));
        family.rules.retain(|rule| !rule.targets().iter().any(|to| gone(to)));
        family.replace(arch.rules.iter().chain(arch.shares.iter().copied().flatten()).collect());
        family.renamed.extend(arch.renamed.iter().chain(arch.published));
        family.published.extend(arch.published);
        for key in arch.keys {
            for old in family.keys.iter_mut().filter(|old| old.key.gguf == key.gguf) {
                *old = Line { key, place_of: Some(old.place_of.unwrap_or(old.key)) };
            }
            family.keys.push(Line { key, place_of: None });
        }
        for axis in arch.axes {
            match family.axes.iter_mut().find(|old| old.name == axis.name) {
                Some(old) => *old = axis,
                None => family.axes.push(axis),
            }
        }
        family.ignored.extend(arch.ignored);
        family.made.extend(arch.made);
        family.copies.extend(arch.copies);
        family.carried.extend(arch.carried);
        family
    }

    /// The same where the model is a part of one that sees or hears.
    pub fn within(mut self) -> Family {
        let own = self.prefixes.clone();
        let more = PARTS.iter().filter(|prefix| !self.prefixes.contains(prefix));
        let more: Vec<&str> = more.copied().collect();
        self.prefixes.extend(more);
        // CogVLM's layers for images are a part of its text model, as what others talk with is Qwen 3 TTS itself.
        let named = |pattern: &str| {
            let all = self.rules.iter().flat_map(|rule| rule.from);
            let mut all = all.flat_map(|name| own.iter().map(move |prefix| format!("{prefix}{name}")));
            all.any(|name| fits(pattern, &name, u64::MAX))
        };
        let seeing: Vec<&str> = super::qwen_vl::SEEING.iter().copied().filter(|p| !named(p)).collect();
        self.ignored.extend(seeing);
        // What sees or hears, but of models that have an encoder of text themselves.
        let own = |rule: &&Rule| rule.from.iter().any(|name| name.starts_with("encoder."));
        if !self.rules.iter().any(own) {
            self.ignored.push("encoder.*");
        }
        self
    }

    /// Puts `rules` in the place of those that have a target of theirs; those that replace none come last.
    fn replace(&mut self, rules: Vec<&'static Rule>) {
        let targets: Vec<Vec<String>> = rules.iter().map(|rule| rule.targets()).collect();
        let mut placed = vec![false; rules.len()];
        let mut all = Vec::with_capacity(self.rules.len() + rules.len());
        for old in self.rules.drain(..) {
            let own = old.targets();
            let shares = |i: &usize| targets[*i].iter().any(|to| own.contains(to));
            let new: Vec<usize> = (0..rules.len()).filter(shares).collect();
            if new.is_empty() {
                all.push(old);
            }
            all.extend(
                new.into_iter().filter(|i| !std::mem::replace(&mut placed[*i], true)).map(|i| rules[i]),
            );
        }
        all.extend(rules.into_iter().zip(placed).filter(|(_, placed)| !placed).map(|(rule, _)| rule));
        self.rules = all;
    }

    /// The hyperparameters, in the converter's order.
    pub fn hparams(&self, params: &Params<'_>) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        for line in &self.keys {
            let name = line.key.name(self.arch.gguf);
            let here = match line.place_of {
                Some(old) => old.is_there(params),
                None => metadata.get(&name).is_none() || !self.is_placed(line.key),
            };
            if here {
                line.key.write(self.arch.gguf, params, &mut metadata)?;
            }
        }
        Ok(metadata)
    }

    /// Whether a key of this name stands in the place of the base's, too.
    pub fn is_placed(&self, key: &Key) -> bool {
        self.keys.iter().any(|line| line.place_of.is_some() && line.key.gguf == key.gguf)
    }

    /// The keys that stand before all others, `general.architecture` aside.
    pub fn early(&self, params: &Params<'_>) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        self.arch.early.iter().try_for_each(|key| key.write(self.arch.gguf, params, &mut metadata))?;
        Ok(metadata)
    }

    /// Whether a rule is of the checkpoint's tensor `name`.
    pub fn names(&self, name: &str) -> bool {
        let all = self.rules.iter().flat_map(|rule| rule.from);
        let mut whole =
            all.flat_map(|from| self.prefixes.iter().map(move |prefix| format!("{prefix}{from}")));
        whole.any(|from| fits(&from, name, 0))
    }

    /// Whether the tensor `name` of a GGUF follows from the configuration, or from another tensor.
    pub fn makes(&self, name: &str) -> bool {
        self.made.iter().any(|made| fits(made.name, name, 0))
            || self.copies.iter().any(|(_, copy)| *copy == name)
    }

    /// Whether a GGUF has no use for the checkpoint's tensor `name` of a model of so many layers.
    pub fn ignores(&self, name: &str, layers: u64) -> bool {
        self.ignored.iter().any(|pattern| fits(pattern, name, layers))
    }
}

/// What stands in front of the names of a text model that is a part of another.
const PARTS: &[&str] = &[
    "model.",
    "model.language_model.",
    "language_model.model.",
    "model.text_model.",
    "text_model.model.",
    "language_model.",
];

/// What the values of a GGUF's tensors have become, of the architecture that it calls `gguf`.
pub struct Values(Vec<(String, Value)>);

impl Values {
    pub fn of(gguf: &str) -> Values {
        let mut all = Vec::new();
        for arch in ARCHS.iter().filter(|arch| arch.gguf == gguf) {
            for rule in Family::of(arch).rules.iter().filter(|rule| !rule.value.is_same()) {
                all.extend(rule.targets().into_iter().map(|to| (to, rule.value)));
            }
        }
        Values(all)
    }

    /// That of the tensor `name`.
    pub fn get(&self, name: &str) -> Value {
        self.0.iter().find(|(pattern, _)| fits(pattern, name, 0)).map_or(Value::Same, |(_, value)| *value)
    }
}

/// Whether `name` is what `pattern` says.
pub fn fits(pattern: &str, name: &str, layers: u64) -> bool {
    if let Some((index, rest)) = pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
        let number = name[..end].parse::<u64>();
        return number.is_ok_and(|n| index != "l.." || n >= layers) && fits(rest, &name[end..], layers);
    }
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            name.char_indices().map(|(i, _)| i).chain([name.len()]).any(|i| fits(rest, &name[i..], layers))
        }
        (Some(p), Some(c)) if p == c => fits(&pattern[p.len_utf8()..], &name[c.len_utf8()..], layers),
        _ => false,
    }
}

/// All that is wrong with the rules of a page, a line each.
pub fn faults(arch: &'static Arch) -> Vec<String> {
    let family = Family::of(arch);
    let mut found = Vec::new();
    for rule in &family.rules {
        let mut tell = |what: String| found.push(format!("{} {:?}: {what}", arch.gguf, rule.to));
        for bias in [false, true].into_iter().filter(|bias| !bias || rule.bias.is_some()) {
            let axes = match rule.axes(bias) {
                Ok(axes) => axes,
                Err(what) => {
                    tell(what);
                    continue;
                }
            };
            if let Err(what) = axes.check(&rule.stacked()) {
                tell(what);
            }
            let known = |name: &str| family.axes.iter().any(|axis| axis.name == name);
            let all = axes.names().into_iter().chain(rule.indices()).chain(rule.stacked());
            for name in all.filter(|name| !known(name)) {
                tell(format!("the axis {name} has no size"));
            }
            let twice = |side: &Side| side.0.iter().flat_map(Term::names).count() == 0;
            if axes.from.iter().chain(&axes.to).any(twice) {
                tell(String::from("a side has no dimension"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_ignored_names() {
        assert!(fits("*.rotary_emb.inv_freq", "model.layers.0.rotary_emb.inv_freq", 1));
        assert!(fits("model.layers.{l..}.*", "model.layers.12.mlp.up_proj.weight", 12));
        assert!(!fits("model.layers.{l..}.*", "model.layers.11.mlp.up_proj.weight", 12));
        assert!(!fits("visual.*", "model.visual.x", 1));
    }
}
