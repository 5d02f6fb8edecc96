//! `ggraft diff A B`: how far two models lie apart, tensor by tensor, and in which metadata they differ.

use super::{options, stdout};
use crate::measure::compare::{Compare, Compared, Datum, Difference, Key};
use crate::report;
use ggraft_formats::error::Printable;
use ggraft_formats::figures::Figures;
use ggraft_formats::{DType, Error, Kind, Result, Shape};
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Arrays longer than this are only counted.
const MOST_ITEMS: usize = 16;
/// Characters of a value that the text shows.
const MOST_CHARACTERS: usize = 60;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model that the errors are relative to: a Hugging Face directory, a .safetensors or a .gguf file
    a: PathBuf,
    /// The model that it is compared with, of the same or another kind
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// End with exit code 1 if the models differ in anything
    #[arg(long)]
    exit_code: bool,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let pool = options::thread_pool(args.threads)?;
    let difference = pool.install(|| Difference::of(&args.a, &args.b, &*options::reading()))?;
    match args.json {
        // What was found decides the exit code, also where nobody reads it.
        true => stdout::told(&report::printable(&format!("{:#}", difference_json(&difference))))?,
        false => stdout::told(text(&difference).trim_end())?,
    }
    match args.exit_code && !difference.is_none() {
        true => Err(Error::new(Kind::Failure, "the models differ")),
        false => Ok(()),
    }
}

fn difference_json(d: &Difference) -> Json {
    json!({
        "tensors": d.tensors.iter().map(tensor_json).collect::<Vec<_>>(),
        "metadata": d.metadata.iter().map(key_json).collect::<Vec<_>>(),
        "total": report::figures_json(&d.total()),
        "equal": d.is_none(),
    })
}

fn tensor_json(t: &Compared) -> Json {
    let side = |side: &Option<(Shape, DType)>| {
        side.map(|(shape, dtype)| json!({ "shape": shape.ne(), "dtype": dtype.to_string() }))
    };
    let mut json = json!({ "name": t.name, "a": side(&t.a), "b": side(&t.b), "verdict": word(t) });
    if let Compare::Numbers(figures) = &t.verdict {
        json["figures"] = report::figures_json(figures);
    }
    json
}

/// What was found of a tensor, in a word.
fn word(t: &Compared) -> &'static str {
    match (&t.verdict, t.a.is_some()) {
        (Compare::Missing, true) => "only in A",
        (Compare::Missing, false) => "only in B",
        (Compare::Shapes, _) => "other shape",
        (verdict, _) => {
            if verdict.is_equal() {
                "equal"
            } else {
                "different"
            }
        }
    }
}

fn key_json(key: &Key) -> Json {
    json!({ "key": key.name, "a": key.a.as_ref().map(datum_json), "b": key.b.as_ref().map(datum_json) })
}

fn datum_json(datum: &Datum) -> Json {
    match datum {
        Datum::Typed(value) => {
            json!({ "type": value.type_name(), "value": report::metadata_value(value, MOST_ITEMS) })
        }
        Datum::Json(value) => json!({ "value": value }),
        Datum::File(sha256) => json!({ "sha256": sha256 }),
    }
}

fn text(d: &Difference) -> String {
    let mut out = String::new();
    let mut line = |text: String| _ = writeln!(out, "{text}");
    line(format!("{:<33} {:>6} {:>6} {:>9} {:>9} {:>9}", "tensor", "A", "B", "RMSE", "relative", "cosine"));
    d.tensors.iter().for_each(|t| line(tensor_line(t)));
    for key in &d.metadata {
        line(format!("{}: {} | {}", Printable(&key.name), told(&key.a), told(&key.b)));
    }
    let equal = d.tensors.iter().filter(|t| t.verdict.is_equal()).count();
    line(format!(
        "{} tensors, {equal} with equal numbers; {} keys of metadata differ",
        d.tensors.len(),
        d.metadata.len()
    ));
    line(format!("{:<47} {}", "all that was compared", numbers(&d.total())));
    out
}

fn tensor_line(t: &Compared) -> String {
    let dtype =
        |side: &Option<(Shape, DType)>| side.map_or(String::from("-"), |(_, dtype)| dtype.to_string());
    let name = Printable(&t.name).to_string();
    let rest = match (&t.verdict, &t.a, &t.b) {
        (Compare::Numbers(figures), ..) if figures.is_equal() => String::from("equal"),
        (Compare::Numbers(figures), ..) => numbers(figures),
        (Compare::Shapes, Some((a, _)), Some((b, _))) => format!("other shape: {a} | {b}"),
        _ => word(t).to_string(),
    };
    format!("{name:<33} {:>6} {:>6} {rest:>9}", dtype(&t.a), dtype(&t.b))
}

fn numbers(f: &Figures) -> String {
    let some = |x: Option<f64>, text: fn(f64) -> String| x.map_or(String::from("-"), text);
    let mut line = format!(
        "{:>9.2e} {:>9} {:>9}",
        f.rmse(),
        some(f.relative(), percent),
        some(f.cosine(), |x| format!("{x:.6}")),
    );
    if f.not_finite > 0 {
        _ = write!(line, "; {} not finite", f.not_finite);
    }
    line
}

/// A share in percent, with what of it can be told.
fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => String::from("0 %"),
        p if p >= 0.01 => format!("{p:.2} %"),
        p => format!("{p:.0e} %"),
    }
}

/// A value in few characters.
fn told(datum: &Option<Datum>) -> String {
    let text = match datum {
        None => return String::from("-"),
        Some(Datum::Typed(value)) => {
            format!("{} {}", value.type_name(), report::metadata_value(value, MOST_ITEMS))
        }
        Some(Datum::Json(value)) => value.to_string(),
        Some(Datum::File(sha256)) => format!("sha256 {sha256}"),
    };
    let mut short: String = text.chars().take(MOST_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Printable(&short).to_string()
}
