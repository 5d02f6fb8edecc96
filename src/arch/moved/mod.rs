//! Rows whose elements lie elsewhere in other tensors: permuted, transposed, stacked, split, interleaved. Where a row of
//! the result is a row of a source it is copied, or lent where it lies; elements that are scattered are gathered in
//! tiles that fit the nearest cache. No tensor is ever in memory.

mod floats;
mod fours;
mod gather;
mod padded;
#[cfg(test)]
mod tests;
mod tiles;
mod walk;

pub use padded::{Padded, Zeros};

use super::axes::{Piece, Step};
use gather::{Reader, read};
use ggraft_formats::gather::{Along, Gather};
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result, Rows, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;
use tiles::Tiles;
use walk::{Walk, join};

/// The tensor `name` with the dimensions `torch` (the outermost first), made of `pieces` of `sources`, which all have one
/// shape, if they are stacked, and one dtype; of floats of several it is in f32.
pub fn moved(name: &str, torch: &[u64], sources: Vec<Tensor>, pieces: &[Piece]) -> Result<Tensor> {
    let fours = fours::moved(torch, &sources, pieces);
    let tensor = elements(name, torch, sources, pieces)?;
    fours.map_or(Ok(tensor.clone()), |fours| fours.known_by(tensor))
}

/// The elements of a tensor that lie together from one on, with the dimensions `torch`.
pub fn part(tensor: &Tensor, torch: &[u64], from: u64) -> Result<Tensor> {
    let steps = vec![Step { size: torch.iter().product(), from: 1, to: 1, tensor: 0 }];
    moved(&tensor.name, torch, vec![tensor.clone()], &[Piece { source: 0, from, to: 0, steps }])
}

/// The same of elements, whatever parts they have.
fn elements(name: &str, torch: &[u64], sources: Vec<Tensor>, pieces: &[Piece]) -> Result<Tensor> {
    let shape = shape(name, torch)?;
    let sources = floats::alike(sources)?;
    let [first, ..] = sources.as_slice() else {
        return Err(Error::invalid("nothing becomes this tensor").tensor(name));
    };
    let dtype = first.dtype();
    if let Some(other) = sources.iter().find(|t| t.dtype() != dtype) {
        return Err(Error::unsupported("tensors that become one have different dtypes")
            .tensor(&other.name)
            .expected(format!("{dtype}, as {} has", first.name))
            .found(other.dtype())
            .hint("save the checkpoint with all of these packed alike, or with none of them packed"));
    }
    let row = usize::try_from(shape.row()).map_err(|_| too_large(name))?;
    let pieces: Vec<Copy> =
        pieces.iter().map(|piece| Copy::of(piece, row, &sources)).collect::<Result<_>>()?;
    if let ([piece], [source]) = (pieces.as_slice(), sources.as_slice())
        && piece.is_whole(&shape)
        && source.shape().row() == shape.row()
    {
        return Tensor::new(name, shape, dtype, source.rows());
    }
    let unit = dtype.traits().bytes;
    if dtype.block() != 1 {
        let apart = sources.iter().any(|source| source.shape().row() != shape.row());
        let Some(pieces) =
            pieces.into_iter().map(|p| p.of_rows(row)).collect::<Option<Vec<_>>>().filter(|_| !apart)
        else {
            let error =
                Error::unsupported(format!("weights in blocks of {dtype} cannot be moved one by one"));
            return Err(error.tensor(name));
        };
        let unit = first.row_bytes();
        return Tensor::new(
            name,
            shape,
            dtype,
            Arc::new(Moved { sources, unit, per: row, row: 1, pieces, tiles: None }),
        );
    }
    let is_scattered = pieces.iter().any(|piece| piece.run().is_none());
    let rows = usize::try_from(shape.rows()).map_err(|_| too_large(name))?;
    let tiles = is_scattered.then(|| Tiles::new(rows, row, unit));
    Tensor::new(name, shape, dtype, Arc::new(Moved { sources, unit, per: 1, row, pieces, tiles }))
}

/// A shape from the outermost dimension on.
pub fn shape(name: &str, torch: &[u64]) -> Result<Shape> {
    let ne: Vec<u64> = torch.iter().rev().copied().collect();
    Shape::new(&ne).ok_or_else(|| too_large(name))
}

fn too_large(name: &str) -> Error {
    Error::invalid("the tensor is larger than any file can be").tensor(name)
}

/// A piece, its steps from row to row apart from those along a row.
struct Copy {
    source: usize,
    from: usize,
    /// The first row, and the first column.
    row: usize,
    column: usize,
    /// The longest first; `to` counts rows.
    rows: Vec<Walk>,
    columns: Vec<Walk>,
}

/// Where a row of the result comes from.
struct Place {
    source: usize,
    from: usize,
    /// So many rows from this one on follow each other in the result, and lie `step` apart in the source.
    count: usize,
    step: usize,
}

impl Copy {
    fn of(piece: &Piece, row: usize, sources: &[Tensor]) -> Result<Copy> {
        let word = |n: u64| usize::try_from(n).map_err(|_| too_large("a moved tensor"));
        let row = row.max(1);
        let mut copy = Copy {
            source: word(piece.source)?,
            from: word(piece.from)?,
            row: word(piece.to)? / row,
            column: word(piece.to)? % row,
            rows: Vec::new(),
            columns: Vec::new(),
        };
        for Step { size, from, to, tensor } in piece.steps.iter().filter(|step| step.size != 1) {
            let walk =
                Walk { size: word(*size)?, from: word(*from)?, to: word(*to)?, tensor: word(*tensor)? };
            let (over, within) = walk.cut(row);
            if let Some(over) = over {
                copy.is_even(over.to.is_multiple_of(row), sources)?;
                join(&mut copy.rows, Walk { to: over.to / row, ..over });
            }
            within.into_iter().for_each(|within| join(&mut copy.columns, within));
        }
        copy.fits(sources)?;
        let width: usize = copy.columns.iter().map(|w| w.size.saturating_sub(1).saturating_mul(w.to)).sum();
        copy.is_even(copy.column.saturating_add(width) < row, sources)?;
        Ok(copy)
    }

    /// The same, counting rows of `row` elements in place of elements; none if it takes rows apart.
    fn of_rows(self, row: usize) -> Option<Copy> {
        let starts = self.rows.iter().map(|walk| walk.from).chain([self.from]);
        let whole =
            self.column == 0 && self.run() == Some(row) && starts.into_iter().all(|n| n.is_multiple_of(row));
        let rows = self.rows.iter().map(|walk| Walk { from: walk.from / row.max(1), ..*walk });
        whole.then(|| Copy {
            from: self.from / row.max(1),
            rows: rows.collect(),
            columns: Vec::new(),
            ..self
        })
    }

    /// Refuses a piece that begins in one row of the result and goes on in the middle of another.
    fn is_even(&self, is: bool, sources: &[Tensor]) -> Result<()> {
        let name = sources.get(self.source).map_or("", |t| t.name.as_str());
        let uneven = || Error::invalid("what becomes of the tensor does not fill rows evenly").tensor(name);
        is.then_some(()).ok_or_else(uneven)
    }

    /// Refuses a piece that reaches beyond its sources.
    fn fits(&self, sources: &[Tensor]) -> Result<()> {
        let all = || self.rows.iter().chain(&self.columns);
        let last = |of: fn(&Walk) -> usize| {
            all()
                .map(|walk| (walk.size.saturating_sub(1)).saturating_mul(of(walk)))
                .fold(0, usize::saturating_add)
        };
        let (source, from) =
            (self.source.saturating_add(last(|w| w.tensor)), self.from.saturating_add(last(|w| w.from)));
        let empty = all().any(|walk| walk.size == 0);
        let held = sources.get(source).map_or(0, |t| t.shape().elements());
        if empty || (from as u64) < held {
            return Ok(());
        }
        let name = sources.get(source).map_or("", |t| t.name.as_str());
        Err(Error::invalid("the tensor is smaller than what becomes of it")
            .tensor(name)
            .found(format!("{held} elements")))
    }

    /// Whether it is all of the result, in the order of the only source.
    fn is_whole(&self, shape: &Shape) -> bool {
        let in_order = |walk: &Walk, to: usize| walk.tensor == 0 && walk.from == to;
        let row = shape.row() as usize;
        self.from == 0
            && self.row == 0
            && self.column == 0
            && self.rows.iter().all(|walk| in_order(walk, walk.to * row))
            && self.columns.iter().all(|walk| in_order(walk, walk.to))
            && (shape.rows() == 1 || self.rows.iter().map(|w| w.size as u64).product::<u64>() == shape.rows())
    }

    /// Where row `row` of the result comes from, if it is of this piece.
    fn place(&self, row: usize) -> Option<Place> {
        let mut rest = row.checked_sub(self.row)?;
        let mut place = Place { source: self.source, from: self.from, count: 1, step: 0 };
        for walk in &self.rows {
            let i = rest / walk.to;
            if i >= walk.size {
                return None;
            }
            rest %= walk.to;
            place.source += i * walk.tensor;
            place.from += i * walk.from;
            (place.count, place.step) =
                if walk.to == 1 && walk.tensor == 0 { (walk.size - i, walk.from) } else { (1, 0) };
        }
        (rest == 0).then_some(place)
    }

    /// Adds where it takes and puts elements.
    fn identify(&self, into: &mut Identity) {
        into.numbers([self.row, self.column, self.source, self.from].map(|n| n as u64));
        for walks in [&self.rows, &self.columns] {
            into.numbers([walks.len() as u64]);
            into.numbers(walks.iter().flat_map(|w| [w.size, w.to, w.from, w.tensor]).map(|n| n as u64));
        }
    }

    /// Whether a row, or this part of it, is one run of the source.
    fn run(&self) -> Option<usize> {
        match self.columns.as_slice() {
            [] => Some(1),
            [walk] if walk.from == 1 && walk.to == 1 && walk.tensor == 0 => Some(walk.size),
            _ => None,
        }
    }
}

/// The rows of the result.
struct Moved {
    sources: Vec<Tensor>,
    /// Bytes of what is moved: an element, or a whole row where a dtype has blocks.
    unit: usize,
    /// Elements that it is.
    per: usize,
    /// How many of them a row is.
    row: usize,
    pieces: Vec<Copy>,
    /// If elements are scattered over the sources.
    tiles: Option<Tiles>,
}

impl Rows for Moved {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        match &self.tiles {
            Some(tiles) => tiles.read(rows, out, |rows, out| self.gather(rows, out)),
            None => self.gather(rows, out),
        }
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        let [piece] = self.pieces.as_slice() else { return None };
        let place = piece.place(rows.start)?;
        let in_order = rows.len() == 1 || place.step == self.row && place.count >= rows.len();
        if !in_order || piece.run() != Some(self.row) {
            return None;
        }
        let start = place.from * self.unit;
        whole(self.sources.get(place.source)?)?.get(start..start + rows.len() * self.row * self.unit)
    }

    fn prefetch(&self, rows: Range<usize>) {
        for piece in self.pieces.iter().filter(|piece| piece.run() == Some(self.row)) {
            self.of(piece, &rows, &|source, rows| source.prefetch(rows));
        }
    }

    fn release(&self, rows: Range<usize>) {
        if let Some(tiles) = &self.tiles {
            tiles.release(&rows);
        }
        for piece in &self.pieces {
            self.of(piece, &rows, &|source, rows| source.release(rows));
        }
    }

    fn identify(&self, into: &mut Identity) {
        for piece in &self.pieces {
            piece.identify(into);
        }
        self.sources.iter().for_each(|source| source.identify(into));
    }
}

/// All bytes of a source, if they lie in one piece.
fn whole(source: &Tensor) -> Option<&[u8]> {
    source.lent(0..usize::try_from(source.shape().rows()).ok()?)
}

impl Moved {
    /// Puts every element of `rows` in its place in `out`.
    fn gather(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        for piece in &self.pieces {
            let mut row = rows.start;
            while row < rows.end {
                let Some(mut place) = piece.place(row) else {
                    row += 1;
                    continue;
                };
                place.count = place.count.min(rows.end - row);
                let start = (row - rows.start) * self.row * self.unit;
                self.copy(piece, &place, &mut out[start..])?;
                row += place.count;
            }
        }
        Ok(())
    }

    /// Copies `place.count` rows, or the part of each that is of `piece`, into `out`, which starts with the first of them.
    fn copy(&self, piece: &Copy, place: &Place, out: &mut [u8]) -> Result<()> {
        let source = &self.sources[place.source];
        let out = &mut out[piece.column * self.unit..];
        if let Some(run) = piece.run() {
            let bytes = run * self.unit;
            if run == self.row && place.step == self.row {
                return copy_run(source, place.from, self.unit, &mut out[..place.count * bytes]);
            }
            for i in 0..place.count {
                let start = i * self.row * self.unit;
                let from = place.from + i * place.step;
                copy_run(source, from, self.unit, &mut out[start..start + bytes])?;
            }
            return Ok(());
        }
        let tile = Gather { unit: self.unit, row: self.row, count: place.count, step: place.step };
        match whole(source) {
            Some(bytes) => along(&piece.columns, place.from, 0, &mut |from, to, walk| {
                let walk = Along { size: walk.size, from: walk.from, to: walk.to };
                tile.gather(bytes, from, walk, &mut out[to * self.unit..]);
                Ok(())
            }),
            None => {
                let mut reader = Reader::new(source)?;
                along(&piece.columns, place.from, 0, &mut |from, to, walk| {
                    read(&tile, &mut reader, from, walk, &mut out[to * self.unit..])
                })
            }
        }
    }

    /// Calls `f` with the rows of sources that `rows` come from; if they lie scattered all over one, with all of it when
    /// the last of them is reached.
    fn of(&self, piece: &Copy, rows: &Range<usize>, f: &dyn Fn(&Tensor, Range<usize>)) {
        let places = || rows.clone().filter_map(|row| piece.place(row));
        let Some(first) = places().next() else { return };
        let total = piece.row + piece.rows.first().map_or(1, |walk| walk.size * walk.to);
        let row = usize::try_from(self.sources[first.source].shape().row()).unwrap_or(usize::MAX);
        let row = (row / self.per.max(1)).max(1);
        if piece.run().is_some_and(|run| run == self.row) {
            let one = |place: &Place| place.from / row..(place.from + self.row).div_ceil(row);
            let mut hull = (first.source, one(&first));
            for place in places() {
                let row = one(&place);
                if place.source == hull.0 {
                    hull.1 = hull.1.start.min(row.start)..hull.1.end.max(row.end);
                } else {
                    f(&self.sources[hull.0], hull.1);
                    hull = (place.source, row);
                }
            }
            f(&self.sources[hull.0], hull.1);
        } else if rows.end >= total {
            let all = usize::try_from(self.sources[first.source].shape().rows()).unwrap_or(0);
            f(&self.sources[first.source], 0..all);
        }
    }
}

/// Calls `f` for every run along the innermost of `walks`: where it starts in the source and in the row.
fn along(
    walks: &[Walk],
    from: usize,
    to: usize,
    f: &mut dyn FnMut(usize, usize, Walk) -> Result<()>,
) -> Result<()> {
    match walks {
        [] => f(from, to, Walk { size: 1, from: 0, to: 0, tensor: 0 }),
        [last] => f(from, to, *last),
        [walk, rest @ ..] => {
            (0..walk.size).try_for_each(|i| along(rest, from + i * walk.from, to + i * walk.to, f))
        }
    }
}

/// Copies as many elements as fill `out`, from element `from` of `source` on.
fn copy_run(source: &Tensor, from: usize, unit: usize, out: &mut [u8]) -> Result<()> {
    if let Some(bytes) = whole(source) {
        out.copy_from_slice(&bytes[from * unit..from * unit + out.len()]);
        return Ok(());
    }
    let row = source.row_bytes().max(1);
    let (start, end) = (from * unit, from * unit + out.len());
    let rows = start / row..end.div_ceil(row);
    if start.is_multiple_of(row) && end.is_multiple_of(row) {
        return source.read(rows, out);
    }
    let mut bytes = vec![0; rows.len() * row];
    source.read(rows.clone(), &mut bytes)?;
    let skipped = start - rows.start * row;
    out.copy_from_slice(&bytes[skipped..skipped + out.len()]);
    Ok(())
}
