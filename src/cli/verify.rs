//! `ggraft verify`: a model is sound when the strict reader accepts it, every float in its blocks is finite, llama.cpp
//! takes its vocabulary and finds the layers that the file counts, its weights are those of a manifest, if one is given, gguf-rs
//! sees the same GGUF file, and a version of llama.cpp knows all that is in it, if one is named.

use super::errand::{Claim, Errand};
use super::{inspect, options, stdout, verb};
use crate::hash::{self, Manifest, Verdict};
use crate::meta;
use crate::predicting;
use crate::report::{self, Progress};
use crate::version::{Build, Needs, needs};
use crate::vocab;
use ggraft_formats::error::Printable;
use ggraft_formats::source::{Fetching, fetch_ahead, planned};
use ggraft_formats::tensor::not_finite;
use ggraft_formats::{Error, Input, Kind, Result, Tensor, Watch};
use rayon::prelude::*;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are checked at a time.
const CHUNK: usize = 1 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A .gguf file (of a split model the first part), a .safetensors file or a Hugging Face directory
    file: PathBuf,
    /// Compare the weights with this manifest of `ggraft hash` or llama-gguf-hash, by its strongest hash
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Check that this llama.cpp knows what is in the file: a release such as v0.5.0, or a build such as b9442
    #[arg(long = "for", value_name = "VERSION", value_parser = Build::parse)]
    for_version: Option<Build>,
    /// Compute rows of every tensor again from the models of this recipe, and compare: is it what it claims to be?
    #[arg(long, value_name = "RECIPE", conflicts_with_all = ["manifest", "json", "for_version"])]
    recipe: Option<PathBuf>,
    /// Compute all rows again, not a sample
    #[arg(long, requires = "recipe")]
    all: bool,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
    /// Print JSON: what was checked, and all problems
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    show: options::Show,
}

/// What a sound model holds.
struct Sound {
    tensors: usize,
    /// Of the metadata; a checkpoint has none.
    keys: Option<usize>,
    /// The llama.cpp that a GGUF needs.
    needs: Option<Needs>,
    /// What others said of it, a line each.
    checks: Vec<String>,
}

pub(super) fn run(args: Args) -> Result<()> {
    if let Some(recipe) = &args.recipe {
        let recipe =
            recipe.to_str().ok_or_else(|| Error::usage("the name of the recipe is not text").file(recipe))?;
        let claim = Claim { file: args.file, all: args.all };
        let words = ["merge", "--dry-run", "--", recipe].map(String::from);
        return verb::again(&words, Errand::Compare(Box::new(claim)), args.threads, args.show);
    }
    let result = verify(&args);
    let file = args.file.to_string_lossy();
    if args.json {
        // What was found decides the exit code, also where nobody reads it.
        stdout::told(&report::printable(&format!("{:#}", verdict(&file, &result))))?;
        return result.map(|_| ());
    }
    let sound = result?;
    report::print_notes(&sound.checks, args.show.quiet);
    let keys = sound.keys.map(|n| format!(", {n} keys")).unwrap_or_default();
    stdout::line(&format!("ok: {} ({} tensors{keys})", Printable(&file), sound.tensors))
}

fn verdict(file: &str, result: &Result<Sound>) -> Json {
    let problems = result.as_ref().err().map(Error::each).unwrap_or_default();
    let sound = result.as_ref().ok();
    json!({
        "file": file,
        "ok": sound.is_some(),
        "tensors": sound.map(|s| s.tensors),
        "keys": sound.and_then(|s| s.keys),
        "llama_cpp": sound.and_then(|s| s.needs.as_ref()).map(report::needs_json),
        "checks": sound.map_or(&[][..], |s| &s.checks),
        "problems": problems,
    })
}

fn verify(args: &Args) -> Result<Sound> {
    let mut vocabulary = Vec::new();
    let mut needed = None;
    let (tensors, ggufs, keys) = match ggraft_formats::open(&args.file)? {
        Input::Model(model) => {
            vocabulary = vocab::check::problems(&model.metadata, &model.tensors);
            vocabulary.extend(predicting::problem(&model.metadata, &model.tensors).map(Error::verification));
            vocabulary.extend(meta::not_finite(&model.metadata).into_iter().map(Error::verification));
            let needs = needs(&model.metadata, model.tensors.iter().map(Tensor::dtype));
            vocabulary.extend(args.for_version.and_then(|version| needs.met_by(version).err()));
            needed = Some(needs);
            (model.tensors, model.containers, Some(model.metadata.len()))
        }
        Input::Checkpoint(_) if args.for_version.is_some() => {
            return Err(Error::usage("llama.cpp reads GGUF files, so --for is for one").file(&args.file));
        }
        Input::Checkpoint(checkpoint) => {
            checkpoint.agrees()?;
            (checkpoint.tensors, Vec::new(), None)
        }
    };
    let pool = options::thread_pool(args.threads)?;
    let parts = tensors.iter().map(|t| (t.name.as_str(), t.bytes()));
    let progress = Progress::parts("verifying", parts, args.show.how_of_reading(), || false);
    let ahead = Ahead::of(&tensors);
    let unsound = |(i, t): (usize, &Tensor)| finite(t, i, &ahead, &progress).err();
    let problems: Vec<Error> = pool.install(|| tensors.par_iter().enumerate().filter_map(unsound).collect());
    progress.finish();
    drop(ahead);
    if let Some(e) = Error::all(vocabulary.into_iter().chain(problems).map(|e| e.file(&args.file)).collect())
    {
        return Err(e);
    }
    let mut checks = Vec::new();
    if let Some((version, needs)) = args.for_version.zip(needed.as_ref()) {
        checks.push(format!("llama.cpp {version} knows all that is in it; it needs {needs}"));
    } else if let Some(needs) = needed.as_ref().filter(|needs| needs.met_by(Build::usual()).is_err()) {
        checks.push(format!("llama.cpp {} is too old for it; it needs {needs}", Build::usual()));
    }
    if let Some(manifest) = &args.manifest {
        checks.push(pool.install(|| same(&tensors, &args.file, manifest))?);
    }
    checks.extend(inspect::cross_check(&ggufs)?);
    Ok(Sound { tensors: tensors.len(), keys, needs: needed, checks })
}

/// Rows that are checked at a time.
fn step(t: &Tensor) -> usize {
    (CHUNK / t.row_bytes().max(1)).max(1)
}

/// What is fetched of tensors that lie elsewhere, in the parts that are checked.
struct Ahead {
    fetching: Option<Fetching>,
    /// The first part of each tensor.
    firsts: Vec<usize>,
}

impl Ahead {
    fn of(tensors: &[Tensor]) -> Ahead {
        let rows = |t: &Tensor| usize::try_from(t.shape().rows()).unwrap_or(0);
        let parts = |t: &Tensor| rows(t).div_ceil(step(t));
        let mut next = 0;
        let first = |t: &Tensor| {
            next += parts(t);
            next - parts(t)
        };
        let firsts = tensors.iter().map(first).collect();
        let all = tensors.iter().flat_map(|t| (0..rows(t)).step_by(step(t)).map(move |start| (t, start)));
        let needed =
            |(t, start): (&Tensor, usize)| planned(|| t.prefetch(start..rows(t).min(start + step(t))));
        Ahead { fetching: fetch_ahead(all.map(needed)), firsts }
    }

    /// A part of a tensor is done.
    fn done(&self, tensor: usize, part: usize) {
        if let Some((fetching, first)) = self.fetching.as_ref().zip(self.firsts.get(tensor)) {
            fetching.done(first + part);
        }
    }
}

fn finite(t: &Tensor, index: usize, ahead: &Ahead, watch: &dyn Watch) -> Result<()> {
    let rows =
        usize::try_from(t.shape().rows()).map_err(|_| Error::invalid("too many rows").tensor(&t.name))?;
    let step = step(t);
    let left = AtomicUsize::new(rows);
    let all = (0..rows).into_par_iter().step_by(step).enumerate().try_for_each(|(no, start)| {
        let part = start..rows.min(start + step);
        let sound = t.with_rows(part.clone(), |bytes| Ok((t.dtype().traits().finite)(bytes)))?;
        t.release(part.clone());
        ahead.done(index, no);
        let last = left.fetch_sub(part.len(), Ordering::Relaxed) == part.len();
        watch.advance(0, index, (part.len() * t.row_bytes()) as u64, last);
        if sound { Ok(()) } else { Err(Error::new(Kind::Verification, "not finite")) }
    });
    // The exact place is looked for only when there is one to find.
    all.map_err(|_| not_finite(t).verification())
}

/// Compares every hash of the manifest's strongest kind; all that differ are told.
fn same(tensors: &[Tensor], file: &Path, path: &Path) -> Result<String> {
    let mut manifest = Manifest::read(path, file)?;
    let algorithms: Vec<_> = manifest.algorithms().into_iter().take(1).collect();
    let mut problems = Vec::new();
    // A manifest may tell the hash of the whole alone.
    let layers = manifest.names_tensors();
    hash::hash(tensors, &algorithms, layers, &(), |hash| {
        let what = match manifest.check(&hash) {
            Verdict::Same => return Ok(()),
            Verdict::NotFound => "the manifest has no such hash",
            Verdict::Mismatch => "the weights are not those of the manifest",
        };
        let e = Error::new(Kind::Verification, what).file(file).found(hash.digest);
        problems.push(match hash.tensor {
            Some(name) => e.tensor(name),
            None => e,
        });
        Ok(())
    })?;
    problems.extend(manifest.unseen(&algorithms));
    let name = path.to_string_lossy();
    let kind = algorithms.first().map_or("", |a| a.name);
    Error::all(problems).map_or_else(|| Ok(format!("{}: {kind} agrees", Printable(&name))), Err)
}
