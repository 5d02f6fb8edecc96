//! Wrappers that re-order the rows of a tensor without touching an element.
//! `permuted` undoes the layout in which Hugging Face keeps rotary heads: there the two halves of a head lie
//! one after the other, in GGUF's llama family their rows alternate. `unpermuted` is its inverse.
//! Specification: `LlamaModel.permute` of llama.cpp's converter, which views the rows as
//! `[heads, 2, head / 2]` and swaps the last two axes.

use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result, Rows, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// `tensor` with the rows of each of its `heads` alternating between the head's halves. A bias, which is one
/// row, has its elements re-ordered instead. The rows must make `heads` heads of an even size.
pub fn permuted(tensor: Tensor, heads: u32) -> Result<Tensor> {
    reordered(tensor, heads, alternate)
}

/// `tensor` with the halves of each of its `heads` one after the other: the inverse of `permuted`.
pub fn unpermuted(tensor: Tensor, heads: u32) -> Result<Tensor> {
    reordered(tensor, heads, part)
}

/// Where unit `i` of the result comes from, in heads of so many units.
type Origin = fn(i: usize, head: usize) -> usize;

fn reordered(tensor: Tensor, heads: u32, origin: Origin) -> Result<Tensor> {
    let bias = tensor.shape().ne().len() == 1;
    let units = if bias { tensor.shape().row() } else { tensor.shape().rows() };
    let head = units.checked_div(heads.into()).filter(|n| n * u64::from(heads) == units && n % 2 == 0);
    let head = head.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
        Error::invalid("the rows do not make whole rotary heads")
            .tensor(&tensor.name)
            .expected(format!("{heads} heads of an even number of rows"))
            .found(format!("{units} rows"))
    })?;
    let (name, shape, dtype) = (tensor.name.clone(), *tensor.shape(), tensor.dtype());
    let rows: Arc<dyn Rows> = if bias {
        let element = tensor.row_bytes() / tensor.row_elements()?;
        Arc::new(PermutedElements { source: tensor, element, head, origin })
    } else {
        Arc::new(Permuted { source: tensor, head, origin })
    };
    Tensor::new(&name, shape, dtype, rows)
}

/// The halves of each head alternate.
fn alternate(i: usize, head: usize) -> usize {
    let (start, within) = (i - i % head, i % head);
    start + within % 2 * (head / 2) + within / 2
}

/// The halves of each head lie apart.
fn part(i: usize, head: usize) -> usize {
    let (start, within) = (i - i % head, i % head);
    start + within % (head / 2) * 2 + within / (head / 2)
}

/// Whole rows in another order.
struct Permuted {
    source: Tensor,
    head: usize,
    origin: Origin,
}

impl Rows for Permuted {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.source.row_bytes())) {
            let from = (self.origin)(row, self.head);
            self.source.read(from..from + 1, out)?;
        }
        Ok(())
    }

    fn release(&self, rows: Range<usize>) {
        // The rows come from all over their heads.
        self.source.release(rows.start - rows.start % self.head..rows.end.next_multiple_of(self.head));
    }

    fn identify(&self, into: &mut Identity) {
        into.numbers([self.head as u64, (self.origin)(1, self.head) as u64]);
        self.source.identify(into);
    }
}

/// The elements of the only row in another order.
struct PermutedElements {
    source: Tensor,
    /// Bytes of an element.
    element: usize,
    head: usize,
    origin: Origin,
}

impl Rows for PermutedElements {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.source.with_rows(rows, |bytes| {
            for (i, out) in out.chunks_exact_mut(self.element).enumerate() {
                let from = (self.origin)(i, self.head) * self.element;
                out.copy_from_slice(&bytes[from..from + self.element]);
            }
            Ok(())
        })
    }

    fn identify(&self, into: &mut Identity) {
        into.numbers([self.head as u64, (self.origin)(1, self.head) as u64]);
        self.source.identify(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn tensor(ne: &[u64]) -> Tensor {
        let shape = Shape::new(ne).unwrap();
        let values: Vec<f32> = (0..shape.elements()).map(|i| i as f32).collect();
        Tensor::in_memory("x", shape, &values).unwrap()
    }

    fn values(t: &Tensor) -> Vec<f32> {
        let mut out = vec![0.0; t.shape().elements() as usize];
        t.decode_rows(0..t.shape().rows() as usize, &mut out).unwrap();
        out
    }

    #[test]
    fn the_halves_of_each_head_alternate() {
        let firsts = |t: Tensor| values(&t).chunks(1).map(|r| r[0]).collect::<Vec<f32>>();
        let one = permuted(tensor(&[1, 8]), 1).unwrap();
        assert_eq!(firsts(one), [0., 4., 1., 5., 2., 6., 3., 7.]);
        let two = permuted(tensor(&[1, 8]), 2).unwrap();
        assert_eq!(firsts(two), [0., 2., 1., 3., 4., 6., 5., 7.]);
    }

    #[test]
    fn a_bias_is_permuted_as_the_rows_of_its_weight() {
        assert_eq!(values(&permuted(tensor(&[8]), 2).unwrap()), [0., 2., 1., 3., 4., 6., 5., 7.]);
    }

    #[test]
    fn the_inverse_undoes_it() {
        for (ne, heads) in [(&[3, 24][..], 2), (&[24], 3), (&[2, 4], 2)] {
            let there_and_back = unpermuted(permuted(tensor(ne), heads).unwrap(), heads).unwrap();
            assert_eq!(values(&there_and_back), values(&tensor(ne)));
        }
    }

    #[test]
    fn any_chunk_of_rows_reads_the_same() {
        let whole = permuted(tensor(&[3, 8]), 2).unwrap();
        let all = values(&whole);
        let mut part = vec![0.0; 9];
        whole.decode_rows(2..5, &mut part).unwrap();
        assert_eq!(part, all[6..15]);
    }

    #[test]
    fn rows_that_make_no_heads_are_refused() {
        for heads in [0, 3, 8] {
            let e = permuted(tensor(&[1, 8]), heads).unwrap_err();
            assert!(e.to_string().contains("found 8 rows"), "{e}");
        }
    }
}
