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
    let (name, shape) = (table.name.clone(), *table.shape());
    Tensor::new(&name, shape, DType::I64, Arc::new(Counted { source: table, forth }))
}

/// `table` as i32 (`forth`), or as i64.
pub fn narrowed(table: Tensor, forth: bool) -> Result<Tensor> {
    let dtype = if forth { DType::I32 } else { DType::I64 };
    if table.dtype() == dtype {
        return Ok(table);
    }
    let (name, shape) = (table.name.clone(), *table.shape());
    Tensor::new(&name, shape, dtype, Arc::new(Narrowed { source: table, forth }))
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

/// A table whose numbers count from elsewhere.
struct Counted {
    source: Tensor,
    forth: bool,
}

impl Rows for Counted {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        let start = rows.start as i64 * self.source.row_elements()? as i64;
        let held = self.source.with_rows(rows, |bytes| match self.source.dtype() {
            DType::I32 => {
                let all = bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b)));
                Ok(all.collect())
            }
            _ => Ok(whole(bytes)),
        })?;
        let places = start..;
        for ((bytes, id), place) in out.as_chunks_mut().0.iter_mut().zip(held).zip(places) {
            let by = if self.forth { place } else { -place };
            *bytes = id.saturating_add(by).to_le_bytes();
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
        into.add(b"ids");
        into.numbers([u64::from(self.forth)]);
        self.source.identify(into);
    }
}

/// The same numbers in another dtype.
struct Narrowed {
    source: Tensor,
    forth: bool,
}

impl Rows for Narrowed {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.with_rows(rows, |bytes| {
            if !self.forth {
                for (bytes, id) in out.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
                    *bytes = i64::from(i32::from_le_bytes(*id)).to_le_bytes();
                }
                return Ok(());
            }
            for (bytes, id) in out.as_chunks_mut().0.iter_mut().zip(whole(bytes)) {
                let wrong =
                    || Error::invalid("a whole number is too large for a GGUF").tensor(&self.source.name);
                let narrow = i32::try_from(id).map_err(|_| wrong().expected("one of 32 bits").found(id))?;
                *bytes = narrow.to_le_bytes();
            }
            Ok(())
        })
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
        into.add(b"narrow");
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
