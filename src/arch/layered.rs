//! Where the layers of a checkpoint are: how their tensors are called, what stands behind them, and which key of the config
//! counts them. Serves those who put layers of several models together.

use super::config::{Config, TEXT};
use super::names;
use super::params::Params;
use crate::arrange::Arrange;
use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;

/// The keys that may count the layers, and nothing else.
const COUNTS: [&str; 4] = ["n_layers", "num_hidden_layers", "n_layer", "num_layers"];

/// The layers of a checkpoint.
pub(crate) struct Layered {
    /// What GGUF calls the architecture.
    pub gguf: &'static str,
    /// How many there are.
    pub count: u64,
    /// The key of the config that tells so.
    pub key: &'static str,
    /// What stands before the number of a layer in the name of a tensor; the longest first.
    prefixes: Vec<String>,
    /// The names of tensors that come after the layers: the last norm, the head.
    behind: BTreeSet<String>,
}

impl Layered {
    /// # Errors
    /// The architecture is not covered, or has layers of several kinds that are counted apart.
    pub fn of(checkpoint: &Checkpoint) -> Result<Layered> {
        let config = Config::open(checkpoint)?;
        let family = super::family(&config)?;
        let params = Params::new(&config, &family.axes).beside(checkpoint);
        let count = params.size("l", 0)?;
        let key = config.first(&COUNTS).unwrap_or(COUNTS[1]);
        if config.count(key)? != u32::try_from(count).unwrap_or(u32::MAX) {
            let error = Error::unsupported("layers of this model cannot be put together with others");
            return Err(error
                .file(config.file())
                .expected(format!("as many layers as '{key}' says"))
                .found(format!("{count}, some of which predict further tokens")));
        }
        let (mut prefixes, mut behind) = (BTreeSet::new(), BTreeSet::new());
        for placed in names::placed(&family, &params, checkpoint)? {
            match placed.layer {
                Some((layer, "l")) => prefixes.extend(before(&placed.name, layer).map(String::from)),
                Some((_, index)) => return Err(apart(&config, &placed.name, index)),
                None if placed.to.starts_with("output") => _ = behind.insert(placed.name),
                None => {}
            }
        }
        let mut prefixes: Vec<String> = prefixes.into_iter().collect();
        prefixes.arrange_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        Ok(Layered { gguf: family.arch.gguf, count, key, prefixes, behind })
    }

    /// The layer that a tensor of this name belongs to.
    pub fn layer(&self, name: &str) -> Option<u64> {
        self.split(name).map(|(_, layer, _)| layer)
    }

    /// The name that a tensor has in layer `to`.
    pub fn renumbered(&self, name: &str, to: u64) -> String {
        match self.split(name) {
            Some((prefix, _, rest)) => format!("{prefix}{to}{rest}"),
            None => name.to_string(),
        }
    }

    /// Whether a tensor of this name comes after the layers.
    pub fn is_behind(&self, name: &str) -> bool {
        self.behind.contains(name)
    }

    /// What stands before the numbers of layers.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    fn split<'a>(&self, name: &'a str) -> Option<(&'a str, u64, &'a str)> {
        let prefix = self.prefixes.iter().find(|prefix| name.starts_with(prefix.as_str()))?;
        let (prefix, rest) = name.split_at(prefix.len());
        let end = rest.find('.').unwrap_or(rest.len());
        let layer = rest[..end].parse().ok()?;
        Some((prefix, layer, &rest[end..]))
    }
}

/// What stands in `name` before the number of its layer.
fn before(name: &str, layer: u64) -> Option<&str> {
    let number = format!(".{layer}.");
    name.find(&number).map(|at| &name[..at + 1])
}

/// The refusal of layers that are counted by another index.
fn apart(config: &Config, tensor: &str, index: &str) -> Error {
    Error::unsupported("layers of this model cannot be put together with others")
        .file(config.file())
        .tensor(tensor)
        .expected("layers of one kind")
        .found(format!("layers that are counted apart ({index})"))
}

/// Where a config tells `key`, as a JSON pointer: in the section of the text model if that holds it, or if nothing does;
/// else at the root.
pub(super) fn telling(config: &Value, key: &str) -> String {
    let told = |section: &Value| section.get(key).is_some_and(|v| !v.is_null());
    let mut pointers = TEXT.iter().map(|path| format!("/{}", path.join("/")));
    let section = pointers.find(|pointer| config.pointer(pointer).is_some_and(Value::is_object));
    let inside = section.filter(|at| !told(config) || config.pointer(at).is_some_and(told));
    inside.unwrap_or_default()
}
