//! Tables of ids: which token of its target's each token of a draft is. Trainers keep how far that is from the token's own
//! place, a GGUF keeps the id, and always as i64. Which experts each token goes to a GGUF keeps as i32.
//! Specification: `d2t` in `LlamaModel.prepare_tensors`, `tid2eid` in `DeepseekV4Model` of llama.cpp's converter.

use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// The dtypes that trainers keep such tables in.
pub const DTYPES: &[DType] = &[DType::I64, DType::I32];

/// `table` with ids (`forth`), or with distances.
pub fn counted(table: Tensor, forth: bool) -> Result<Tensor> {
    numbers(table, DType::I64, Change::Place, forth)
}

/// `table` as i32 (`forth`), or as i64.
pub fn narrowed(table: Tensor, forth: bool) -> Result<Tensor> {
    let dtype = if forth { DType::I32 } else { DType::I64 };
    if table.dtype() == dtype { Ok(table) } else { numbers(table, dtype, Change::Width, forth) }
}

fn numbers(source: Tensor, dtype: DType, change: Change, forth: bool) -> Result<Tensor> {
    let (name, shape) = (source.name.clone(), *source.shape());
    Tensor::new(&name, shape, dtype, Arc::new(Numbers { source, dtype, change, forth }))
}

/// Refuses a table with an id that the target does not have, or that two tokens share.
pub fn check(table: &Tensor, tokens: u64) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let rows = usize::try_from(table.shape().rows()).unwrap_or(usize::MAX);
    let ids = table.with_rows(0..rows, |bytes| Ok(whole(bytes)))?;
    let wrong = |what: &str| Error::invalid(what).tensor(&table.name);
    for id in ids {
        if u64::try_from(id).is_ok_and(|id| id < tokens) {
            if !seen.insert(id) {
                return Err(wrong("two tokens of the draft are the same one of its target").found(id));
            }
        } else {
            return Err(wrong("the target has no such token")
                .expected(format!("an id below {tokens}"))
                .found(id)
                .hint("give the model that this draft was trained for: --target-model-dir DIR"));
        }
    }
    Ok(())
}

fn whole(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
}

/// What becomes of whole numbers.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// They count from elsewhere: from zero, or from their own place.
    Place,
    /// They have another dtype.
    Width,
}

/// A table of whole numbers that are changed.
struct Numbers {
    source: Tensor,
    dtype: DType,
    change: Change,
    forth: bool,
}

impl Numbers {
    /// The numbers of these rows, as the source has them.
    fn held(&self, rows: Range<usize>) -> Result<Vec<i64>> {
        self.source.with_rows(rows, |bytes| match self.source.dtype() {
            DType::I32 => {
                let all = bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b)));
                Ok(all.collect())
            }
            _ => Ok(whole(bytes)),
        })
    }
}

impl Rows for Numbers {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let start = rows.start as i64 * self.source.row_elements()? as i64;
        let mut held = self.held(rows)?;
        if self.change == Change::Place {
            for (number, place) in held.iter_mut().zip(start..) {
                *number = number.saturating_add(if self.forth { place } else { -place });
            }
        }
        if self.dtype != DType::I32 {
            let pairs = out.as_chunks_mut().0.iter_mut().zip(held);
            pairs.for_each(|(bytes, number)| *bytes = number.to_le_bytes());
            return Ok(());
        }
        for (bytes, number) in out.as_chunks_mut().0.iter_mut().zip(held) {
            let wrong = || Error::invalid("a whole number is too large for a GGUF").tensor(&self.source.name);
            let narrow =
                i32::try_from(number).map_err(|_| wrong().expected("one of 32 bits").found(number))?;
            *bytes = narrow.to_le_bytes();
        }
        Ok(())
    }

    fn origin(&self) -> Option<Tensor> {
        self.forth.then(|| self.source.clone())
    }

    fn prefetch(&self, rows: Range<usize>) {
        self.source.prefetch(rows);
    }

    fn release(&self, rows: Range<usize>) {
        self.source.release(rows);
    }

    fn identify(&self, into: &mut Identity) {
        let name: &[u8] = if self.change == Change::Place { b"ids" } else { b"narrow" };
        into.add(name);
        into.numbers([u64::from(self.forth)]);
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn table(numbers: &[i64]) -> Tensor {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        struct Held(Vec<u8>);
        impl Rows for Held {
            fn read(&self, _: Range<usize>, out: &mut [u8]) -> Result<()> {
                out.copy_from_slice(&self.0);
                Ok(())
            }
            fn identify(&self, into: &mut Identity) {
                into.add(&self.0);
            }
        }
        let shape = Shape::new(&[numbers.len() as u64]).unwrap();
        Tensor::new("d2t", shape, DType::I64, Arc::new(Held(bytes))).unwrap()
    }

    #[test]
    fn distances_become_ids_and_come_back() {
        let ids = counted(table(&[0, 1, 5]), true).unwrap();
        assert_eq!(ids.with_rows(0..1, |bytes| Ok(whole(bytes))).unwrap(), [0, 2, 7]);
        assert!(check(&ids, 8).is_ok() && check(&ids, 7).unwrap_err().to_string().contains("no such token"));
        let back = counted(ids, false).unwrap();
        assert_eq!(back.with_rows(0..1, |bytes| Ok(whole(bytes))).unwrap(), [0, 1, 5]);
        let twice = counted(table(&[3, 2]), true).unwrap();
        assert!(check(&twice, 8).unwrap_err().to_string().contains("the same one"));
    }

    #[test]
    fn numbers_are_narrowed_and_widened_and_too_large_ones_refused() {
        let narrow = narrowed(table(&[0, -3, 255]), true).unwrap();
        assert_eq!(narrow.dtype(), DType::I32);
        let wide = narrowed(narrow, false).unwrap();
        assert_eq!(wide.with_rows(0..1, |bytes| Ok(whole(bytes))).unwrap(), [0, -3, 255]);
        let large = narrowed(table(&[1 << 40]), true).unwrap();
        let e = large.with_rows(0..1, |bytes| Ok(bytes.len())).unwrap_err();
        assert!(e.to_string().contains("too large"), "{e}");
    }
}
