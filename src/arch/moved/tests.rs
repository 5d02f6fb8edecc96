//! Every way to move elements, against the plain definition.

use super::super::axes::{Axes, Sizes, Stacks};
use super::*;
use ggraft_formats::DType;

/// Rows that are never lent.
struct Shy(Tensor);

impl Rows for Shy {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.0.read(rows, out)
    }
}

fn tensor(torch: &[u64], first: u64) -> Tensor {
    let shape = shape("x", torch).unwrap();
    let values: Vec<f32> = (first..first + shape.elements()).map(|i| i as f32).collect();
    Tensor::in_memory("x", shape, &values).unwrap()
}

fn shy(t: Tensor) -> Tensor {
    Tensor::new(&t.name.clone(), *t.shape(), t.dtype(), Arc::new(Shy(t))).unwrap()
}

fn values(t: &Tensor) -> Vec<f32> {
    let mut out = vec![0.0; t.shape().elements() as usize];
    t.decode_rows(0..t.shape().rows() as usize, &mut out).unwrap();
    out
}

fn sizes() -> Sizes {
    [("h", 3), ("two", 2), ("pair", 2), ("n", 37), ("m", 41), ("k", 4), ("v", 2), ("e", 3)].into()
}

fn check(text: &'static str, stack: &'static [&'static str], targets: usize) {
    let axes = Axes::parse(text).unwrap();
    let stacks = Stacks { from: stack, to: &[] };
    let sizes = sizes();
    let count = stack.iter().map(|name| sizes[name]).product::<u64>();
    let torch: Vec<Vec<u64>> = axes.from.iter().map(|side| side.shape(&sizes).unwrap()).collect();
    let each: u64 = torch[0].iter().product();
    let sources = |hide: fn(Tensor) -> Tensor| -> Vec<Tensor> {
        (0..count * axes.from.len() as u64)
            .map(|i| hide(tensor(&torch[(i / count) as usize], i * each)))
            .collect()
    };
    let made = |hide: fn(Tensor) -> Tensor| -> Vec<Tensor> {
        let one = |target: usize| {
            let shape = axes.to[target].shape(&sizes).unwrap();
            moved("y", &shape, sources(hide), &axes.forth(&sizes, stacks, target).unwrap()).unwrap()
        };
        (0..targets).map(one).collect()
    };
    let (lent, read) = (made(|t| t), made(shy));
    for (lent, read) in lent.iter().zip(&read) {
        assert_eq!(values(lent), values(read), "{text}");
        let all = values(lent);
        let row = lent.shape().row() as usize;
        for (start, end) in [(0, 1), (1, 3), (2, lent.shape().rows() as usize)] {
            if end <= lent.shape().rows() as usize && start < end {
                let mut part = vec![0.0; (end - start) * row];
                lent.decode_rows(start..end, &mut part).unwrap();
                assert_eq!(part, all[start * row..end * row], "{text}: {start}..{end}");
            }
        }
        lent.release(0..lent.shape().rows() as usize);
    }
    // Back again, each source from all targets.
    for (i, source) in sources(|t| t).iter().enumerate() {
        let at: Vec<u64> = if stack.is_empty() { Vec::new() } else { vec![i as u64 % count] };
        let side = i / count as usize;
        let pieces = axes.back(&sizes, stacks, side, &at).unwrap();
        let back = moved("x", &torch[side], lent.clone(), &pieces).unwrap();
        assert_eq!(values(&back), values(source), "{text}");
    }
}

#[test]
fn every_kind_of_move_reads_the_same_lent_read_in_parts_and_comes_back() {
    for text in [
        "(h two pair) n -> (h pair two) n",
        "(h two pair) -> (h pair two)",
        "n m -> m n",
        "n 1 k -> n k",
        "n 1 -> n",
        "(h k v) n -> (k h v) n",
        "e n m -> n e m",
        "n (h k) -> (h k) n",
        "h n m -> m h n",
        "(h [k|1|1] v) n -> [(h k v)|(h v)|(h v)] n",
        "(h [k|1|1] v) -> [(h k v)|(h v)|(h v)]",
    ] {
        check(text, &[], 1);
    }
    check("(h [k|v]) n -> h n k ; h v n", &[], 2);
    check("e n (m [1|1]) -> e m n ; e m n", &[], 2);
    check("n m -> e n m", &["e"], 1);
    check("n m -> e m n", &["e"], 1);
    check("(k h) n ; (v h) n ; v n -> [(k h)|(v h)|v] n", &[], 1);
}

#[test]
fn rows_that_stay_rows_are_lent_where_they_lie() {
    let axes = Axes::parse("n m -> e n m").unwrap();
    let pieces = axes.forth(&sizes(), Stacks { from: &["e"], to: &[] }, 0).unwrap();
    let stack =
        moved("y", &[3, 37, 41], (0..3).map(|i| tensor(&[37, 41], i * 2000)).collect(), &pieces).unwrap();
    assert!(stack.lent(37..74).is_some() && stack.lent(36..38).is_none());
}

#[test]
fn a_source_that_is_too_small_is_refused() {
    let axes = Axes::parse("n m -> m n").unwrap();
    let pieces = axes.forth(&sizes(), Stacks::default(), 0).unwrap();
    assert!(moved("y", &[41, 37], vec![tensor(&[30, 41], 0)], &pieces).is_err());
}

#[test]
fn a_step_over_rows_is_cut_where_they_end_and_one_that_ends_amid_a_row_is_refused() {
    let step = |size, from, to| Step { size, from, to, tensor: 0 };
    let read = |torch: &[u64], steps: Vec<Step>| {
        let piece = Piece { source: 0, from: 0, to: 0, steps };
        moved("y", torch, vec![tensor(&[6, 4], 0)], &[piece]).map(|t| values(&t))
    };
    let all: Vec<f32> = (0..24).map(|i| i as f32).collect();
    assert_eq!(read(&[3, 8], vec![step(24, 1, 1)]).unwrap(), all);
    let turned: Vec<f32> = (0..4).flat_map(|i| (0..6).map(move |j| (j * 4 + i) as f32)).collect();
    assert_eq!(read(&[2, 12], vec![step(4, 1, 6), step(6, 4, 1)]).unwrap(), turned);
    for steps in [vec![step(9, 1, 1)], vec![step(3, 8, 12), step(8, 1, 1)]] {
        let error = read(&[3, 8], steps).unwrap_err().to_string();
        assert!(error.contains("does not fill rows evenly"), "{error}");
    }
}

/// A source of elements of any width that lies in one piece.
struct Dense {
    bytes: Vec<u8>,
    row_bytes: usize,
}

impl Rows for Dense {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes]);
        Ok(())
    }

    fn borrow(&self, rows: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(rows.start * self.row_bytes..rows.end * self.row_bytes)
    }
}

#[test]
fn elements_of_every_width_are_transposed_whole_tiles_and_what_is_left_of_them() {
    for dtype in [DType::I8, DType::BF16, DType::F32, DType::F64] {
        for (n, m) in [(1usize, 1usize), (3, 300), (300, 3), (64, 256), (131, 289)] {
            let unit = dtype.traits().bytes;
            let bytes: Vec<u8> = (0..n * m * unit).map(|i| (i * 31 + i / 256) as u8).collect();
            let torch = shape("x", &[n as u64, m as u64]).unwrap();
            let source = Dense { bytes: bytes.clone(), row_bytes: m * unit };
            let source = Tensor::new("x", torch, dtype, Arc::new(source)).unwrap();
            let sizes = [("n", n as u64), ("m", m as u64)].into();
            let pieces = Axes::parse("n m -> m n").unwrap().forth(&sizes, Stacks::default(), 0).unwrap();
            let turned = moved("y", &[m as u64, n as u64], vec![source], &pieces).unwrap();
            for rows in [0..m, m / 3..m, m / 2..m / 2 + 1] {
                let mut out = vec![0; rows.len() * n * unit];
                turned.read(rows.clone(), &mut out).unwrap();
                let element = |i: usize, j: usize| &bytes[(j * m + i) * unit..][..unit];
                let right: Vec<u8> =
                    rows.clone().flat_map(|i| (0..n).flat_map(move |j| element(i, j))).copied().collect();
                assert!(out == right, "{dtype} {n} x {m}, rows {rows:?}");
            }
        }
    }
}
