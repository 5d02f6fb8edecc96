//! `ggraft verify`: a GGUF file is sound when the strict reader accepts it, every float in its blocks is finite,
//! and gguf-rs sees the same model.

use super::{inspect, options};
use ggraft_formats::tensor::not_finite;
use ggraft_formats::{Error, Input, Kind, Result, Tensor};
use rayon::prelude::*;
use std::path::PathBuf;

/// Bytes that are checked at a time.
const CHUNK: usize = 1 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A .gguf file; of a split model the first part
    file: PathBuf,
    /// Worker threads; by default one for each core
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let model = match ggraft_formats::open(&args.file)? {
        Input::Model(model) => model,
        Input::Checkpoint(_) => {
            return Err(Error::usage("verify takes a GGUF file")
                .file(&args.file)
                .mend("use `ggraft inspect`"));
        }
    };
    let pool = options::thread_pool(args.threads)?;
    let problems: Vec<Error> =
        pool.install(|| model.tensors.par_iter().filter_map(|t| finite(t).err()).collect());
    if let Some(e) = Error::all(problems.into_iter().map(|e| e.file(&args.file)).collect()) {
        return Err(e);
    }
    for line in inspect::cross_check(&model.containers)? {
        eprintln!("{line}");
    }
    println!("ok: {} ({} tensors, {} keys)", args.file.display(), model.tensors.len(), model.metadata.len());
    Ok(())
}

fn finite(t: &Tensor) -> Result<()> {
    let rows =
        usize::try_from(t.shape().rows()).map_err(|_| Error::invalid("too many rows").tensor(&t.name))?;
    let step = (CHUNK / t.row_bytes().max(1)).max(1);
    let all = (0..rows).into_par_iter().step_by(step).try_for_each(|start| {
        let part = start..rows.min(start + step);
        let sound = t.with_rows(part.clone(), |bytes| Ok((t.dtype().traits().finite)(bytes)))?;
        t.release(part);
        if sound { Ok(()) } else { Err(Error::new(Kind::Verification, "not finite")) }
    });
    // The exact place is looked for only when there is one to find.
    all.map_err(|_| not_finite(t).verification())
}
