//! The list of types at the end of the long help of `--type`: what each takes, by its mixture, on a model of the shape of
//! Llama 3.1 8B. It is worked out only when it is shown.

use crate::ftype::{self, FTYPES, Facts, Ftype, Options, TensorFact};
use crate::output::target::SAFETENSORS;
use ggraft_formats::{DType, Shape};
use std::fmt::Write;

/// The verbs that take `--type` with every type.
const VERBS: [&str; 3] = ["merge", "convert", "quantize"];

const LAYERS: u64 = 32;
/// The matrices of a layer, and of none: names and sides.
const LAYER: [(&str, [u64; 2]); 7] = [
    ("attn_q", [4096, 4096]),
    ("attn_k", [4096, 1024]),
    ("attn_v", [4096, 1024]),
    ("attn_output", [4096, 4096]),
    ("ffn_gate", [4096, 14336]),
    ("ffn_up", [4096, 14336]),
    ("ffn_down", [14336, 4096]),
];
const ENDS: [(&str, [u64; 2]); 2] =
    [("token_embd.weight", [4096, 128_256]), ("output.weight", [4096, 128_256])];

/// How many types stand on a line.
const COLUMNS: usize = 4;

/// The command with the list in its help.
pub(super) fn listed(command: clap::Command) -> clap::Command {
    let list = list();
    VERBS.into_iter().fold(command, |command, verb| {
        command.mut_subcommand(verb, |verb| {
            verb.mut_arg("types", |arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                arg.long_help(format!("{help}.\n{list}"))
            })
        })
    })
}

fn list() -> String {
    let names: Vec<String> = LAYER
        .iter()
        .flat_map(|(role, _)| (0..LAYERS).map(move |i| format!("blk.{i}.{role}.weight")))
        .collect();
    let shapes = LAYER.iter().flat_map(|(_, ne)| (0..LAYERS).map(move |_| *ne));
    let layers = names.iter().map(String::as_str).zip(shapes);
    let fact =
        |(name, ne): (_, [u64; 2])| Some(TensorFact { name, shape: Shape::new(&ne)?, dtype: DType::F32 });
    let facts = Facts {
        tensors: ENDS.into_iter().chain(layers).filter_map(fact).collect(),
        architecture: "llama",
        n_layer: LAYERS,
        n_head: 32,
        n_head_kv: 8,
        n_expert: 0,
        is_trained: false,
        pinned: Vec::new(),
    };
    let mut out = String::from("Types of GGUF and their bits per weight, on a model like Llama 3.1 8B:\n");
    let all: Vec<String> = FTYPES.iter().filter_map(|ftype| entry(&facts, ftype)).collect();
    for line in all.chunks(COLUMNS) {
        // Writing to a string cannot fail.
        _ = writeln!(out, "  {}", line.join(" ").trim_end());
    }
    let directories: Vec<&str> = SAFETENSORS.iter().map(|(name, _)| *name).collect();
    _ = writeln!(out, "* needs --imatrix or --importance weights");
    _ = write!(
        out,
        "Hugging Face directories: {}; COPY leaves the dtypes of a GGUF as they are, keep those of a checkpoint",
        directories.join(", ")
    );
    out
}

fn entry(facts: &Facts<'_>, ftype: &Ftype) -> Option<String> {
    let options = Options { has_imatrix: ftype.needs_imatrix, ..Options::default() };
    let assigned = ftype::assign(facts, ftype, &options).ok()?;
    let (mut bytes, mut weights) = (0u64, 0u64);
    for (tensor, given) in facts.tensors.iter().zip(&assigned) {
        bytes += given.dtype.row_bytes(tensor.shape.row())? * tensor.shape.rows();
        weights += tensor.shape.elements();
    }
    let mark = if ftype.needs_imatrix { "*" } else { "" };
    Some(format!("{:<11} {:>5.2}{mark:<1}", ftype.name, bytes as f64 * 8.0 / weights as f64))
}
