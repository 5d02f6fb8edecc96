//! Rows that know which model they are of: of several models that are read at once an error names the one. Serves the
//! pipeline, which wraps what it opens.

use ggraft_formats::write::Identity;
use ggraft_formats::{Fours, Model, Number, Result, Rows, Tensor};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tensors of `model`, whose errors name its file; of several files it is not known which, so their directory.
pub fn placed(model: Model) -> Result<Model> {
    let place: Arc<Path> = match model.containers.as_slice() {
        [] => return Ok(model),
        [file] => file.path().into(),
        [first, ..] => first.path().parent().map(PathBuf::from).unwrap_or_default().into(),
    };
    let tensors = model.tensors.into_iter().map(|t| wrapped(t, &place)).collect::<Result<_>>()?;
    Ok(Model { tensors, ..model })
}

/// A tensor whose errors name this file.
pub fn at(tensor: Tensor, file: &Path) -> Result<Tensor> {
    wrapped(tensor, &Arc::from(file))
}

fn wrapped(tensor: Tensor, place: &Arc<Path>) -> Result<Tensor> {
    let rows = Placed { source: tensor.rows(), place: Arc::clone(place) };
    Tensor::new(&tensor.name, *tensor.shape(), tensor.dtype(), Arc::new(rows))
}

struct Placed {
    source: Arc<dyn Rows>,
    place: Arc<Path>,
}

impl Rows for Placed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.read(rows, out).map_err(|e| e.file(&self.place))
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.source.borrow(rows)
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn origin(&self) -> Option<Tensor> {
        let origin = self.source.origin()?;
        let rows = Placed { source: origin.rows(), place: Arc::clone(&self.place) };
        Tensor::new(&origin.name, *origin.shape(), origin.dtype(), Arc::new(rows)).ok()
    }

    fn fours(&self) -> Option<Fours> {
        let fours = self.source.fours()?;
        let at = |tensor: Tensor| wrapped(tensor, &self.place).ok();
        let number = |Number { tensor, divides }: Number| {
            let tensor = tensor.map(|t| at(t).ok_or(())).transpose().ok()?;
            Some(Number { tensor, divides })
        };
        let placed = |numbers: Vec<Number>| numbers.into_iter().map(number).collect::<Option<_>>();
        Some(Fours {
            codes: at(fours.codes)?,
            scales: at(fours.scales)?,
            whole: placed(fours.whole)?,
            inputs: placed(fours.inputs)?,
            ..fours
        })
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        self.source.identify(into);
    }
}
