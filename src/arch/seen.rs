//! A checkpoint that sees or hears becomes the GGUF of its projector, as `adopt` makes that of its text model.

use super::config::Config;
use super::families::Family;
use super::params::Params;
use super::rule::RowCount;
use super::{Adopted, Options, about, after, beside, made, names, one_row, projectors, refuse};
use ggraft_formats::{Checkpoint, DType, Metadata, Model, Result};

/// The projector of `checkpoint` as a GGUF of its own.
pub fn adopt_projector(checkpoint: &Checkpoint, options: &Options) -> Result<Adopted> {
    let mut warnings = checkpoint.notes.clone();
    warnings.extend(refuse::adapter(checkpoint, || {
        Ok(Family::of(projectors::page(&Config::of_projector(checkpoint)?)?))
    })?);
    let config = Config::of_projector(checkpoint)?;
    let family = Family::of(projectors::page(&config)?);
    let whole = family.arch.folder.map(|folder| beside::with_weights(checkpoint, folder)).transpose()?;
    let checkpoint = whole.as_ref().unwrap_or(checkpoint);
    let params = Params::new(&config, &family.axes).beside(checkpoint);
    let prepared = (family.arch.prepared)(&params, checkpoint)?;
    let checkpoint = prepared.as_ref().unwrap_or(checkpoint);
    names::refuse_more(&family, &params, checkpoint)?;
    let hparams = family.hparams(&params)?;
    let layers = params.size("l", 0)?;
    let adopted = names::adopt(&family, &params, checkpoint, false);
    let adopted = refuse::disagreements(checkpoint, adopted, |name| !family.ignores(name, layers))?;
    let (mut tensors, mut stored) = (made(&family, &params)?, Vec::new());
    for names::Adopted { tensor, value, rows, stored: dtype } in adopted {
        let tensor = match rows {
            RowCount::One(axis) => one_row(value.applied(tensor)?, params.size(axis, 0)?)?,
            RowCount::After(axis) => after(value.applied(tensor)?, params.size(axis, 0)?)?,
            _ => value.applied(tensor)?,
        };
        stored.extend(dtype.map(|dtype| (tensor.name.clone(), dtype)));
        tensors.push(match dtype {
            Some(dtype) => tensor.encode(DType::F32, None)?.encode(dtype, None)?,
            None => tensor,
        });
    }
    warnings.extend(params.told());
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", family.arch.gguf);
    let size = about::Size::of(tensors.iter());
    metadata.extend(about::metadata(checkpoint, &config, &size, &options.told, &mut warnings)?);
    metadata.set("general.type", "mmproj");
    metadata.extend(family.early(&params)?);
    metadata.extend(hparams);
    let (containers, reads) = (checkpoint.containers.clone(), checkpoint.reads.clone());
    Ok(Adopted { model: Model { metadata, tensors, containers, reads }, warnings, stored })
}
