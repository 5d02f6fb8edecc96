//! Reads the recordings: llama.cpp's snapshots, and our own, which also state tensors, options and hyperparameters.

use ggraft::ftype::{Facts, Options, TensorFact};
use ggraft_formats::{DType, Shape};
use std::collections::BTreeMap;

pub struct Schema {
    /// `key=value` of the header.
    pub header: BTreeMap<String, String>,
    pub sections: Vec<Section>,
    options: Vec<String>,
    tensors: Vec<(String, DType, Shape)>,
}

/// `[FTYPE] default`, and the tensors whose dtype is another one.
pub struct Section {
    pub ftype: String,
    pub default: String,
    pub asks_imatrix: bool,
    pub named: Vec<(String, String)>,
}

/// The recordings in a directory, by name.
pub fn files(dir: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".schema"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no recordings in {dir}");
    files
}

impl Schema {
    pub fn read(path: &str) -> Schema {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut schema = Schema {
            header: BTreeMap::new(),
            sections: Vec::new(),
            options: Vec::new(),
            tensors: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(options) = line.strip_prefix("# options:") {
                schema.options = list(options).map(String::from).collect();
            } else if let Some(header) = line.strip_prefix("# ") {
                let pairs = list(header).filter_map(|pair| pair.split_once('='));
                schema.header.extend(pairs.map(|(key, value)| (key.to_string(), value.to_string())));
            } else if words[0] == "tensor" {
                let ne: Vec<u64> = words[3..].iter().map(|n| n.parse().unwrap()).collect();
                let (dtype, shape) = (DType::from_name(words[2]).unwrap(), Shape::new(&ne).unwrap());
                schema.tensors.extend(unfold(words[1]).into_iter().map(|name| (name, dtype, shape)));
            } else if let Some(ftype) = words[0].strip_prefix('[') {
                schema.sections.push(Section {
                    ftype: ftype.trim_end_matches(']').to_string(),
                    default: words[1].to_string(),
                    asks_imatrix: words.get(2) == Some(&"imatrix"),
                    named: Vec::new(),
                });
            } else {
                let section = schema.sections.last_mut().unwrap();
                section.named.extend(unfold(words[0]).into_iter().map(|name| (name, words[1].to_string())));
            }
        }
        schema
    }

    /// A hyperparameter of the header, 0 if it is not there.
    pub fn number(&self, key: &str) -> u64 {
        self.header.get(key).map_or(0, |value| value.parse().unwrap())
    }

    /// The facts that the recording states.
    pub fn facts(&self) -> Facts<'_> {
        let tensors = self.tensors.iter();
        Facts {
            tensors: tensors
                .map(|(name, dtype, shape)| TensorFact { name, dtype: *dtype, shape: *shape })
                .collect(),
            architecture: &self.header["architecture"],
            n_layer: self.number("n_layer"),
            n_head: self.number("n_head"),
            n_head_kv: self.number("n_head_kv"),
            n_expert: self.number("n_expert"),
            is_trained: false,
            pinned: Vec::new(),
        }
    }

    /// The options that the recording states.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        for option in &self.options {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "pure" => options.pure = true,
                "imatrix" => options.has_imatrix = true,
                "leave_output_tensor" => options.leave_output_tensor = true,
                "output_tensor_type" => options.output_tensor_type = DType::from_name(value),
                "token_embedding_type" => options.token_embedding_type = DType::from_name(value),
                "order" => {}
                _ => panic!("unknown option {option}"),
            }
        }
        options
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `blk.0-1,4.x` -> `blk.0.x`, `blk.1.x`, `blk.4.x`.
fn unfold(name: &str) -> Vec<String> {
    let Some((layers, rest)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return vec![name.to_string()];
    };
    let mut names = Vec::new();
    for run in layers.split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let layers = first.parse::<u64>().unwrap()..=last.parse().unwrap();
        names.extend(layers.map(|layer| format!("blk.{layer}.{rest}")));
    }
    names
}
