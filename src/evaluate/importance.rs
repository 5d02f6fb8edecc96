//! What the weights of a model are multiplied by while it reads a text: for each column the sum of squares, for each matrix
//! how many rows came by. That is an importance matrix, in sums of f32 taken in the order of the rows, as llama-imatrix's.
//! Specification: llama.cpp v0.5.0, `tools/imatrix`.

use super::windows::{How, Text, Windows};
use crate::stages::Stages;
use ggraft_formats::imatrix::Sums;
use ggraft_formats::vectors::add_squares;
use ggraft_formats::{Error, Result};
use ggraft_runtime::{Chosen, Context, Library, Model, Operand, Product, Watch};
use std::collections::BTreeMap;
use std::path::Path;

/// The weight of the head, which is measured only if it is asked for.
const HEAD: &str = "output.weight";
/// Products of fewer rows are not of the text (`tools/imatrix` leaves them out as well).
const LEAST: usize = 16;

/// Adds up what it sees.
#[derive(Debug, Default)]
pub struct Collector {
    entries: BTreeMap<String, Sums>,
    /// Whether the head is measured too.
    head: bool,
}

/// What was measured, and of what.
pub struct Collected {
    pub entries: BTreeMap<String, Sums>,
    /// How often the most used matrix has seen a window's tokens.
    pub chunks: u32,
    /// Windows that were read, and tokens of the text.
    pub windows: usize,
    pub tokens: usize,
}

impl Collector {
    /// One that has seen nothing.
    pub fn new(head: bool) -> Collector {
        Collector { entries: BTreeMap::new(), head }
    }

    /// What it has seen.
    pub fn entries(self) -> BTreeMap<String, Sums> {
        self.entries
    }

    /// The entry of a weight of so many matrices and columns, which has a count for each matrix or one for all.
    fn entry(&mut self, product: &Product, columns: usize, matrices: usize) -> Result<&mut Sums> {
        let counts = if product.chooses { matrices } else { 1 };
        let entry = self.entries.entry(product.weight.clone()).or_insert_with(|| Sums {
            columns,
            sums: vec![0.0; columns * matrices],
            counts: vec![0; counts],
        });
        if entry.columns != columns || entry.sums.len() != columns * matrices {
            return Err(Error::invalid("the weight is multiplied by rows of several lengths")
                .expected(format!("{} sums of {} columns", entry.sums.len(), entry.columns))
                .found(format!("{} of {columns}", columns * matrices)));
        }
        // A weight may be multiplied in both ways.
        if product.chooses && entry.counts.len() == 1 {
            entry.counts.resize(counts, entry.counts[0]);
        } else if !product.chooses && entry.counts.iter().all(|count| *count == entry.counts[0]) {
            entry.counts.truncate(1);
        }
        Ok(entry)
    }

    fn see_chosen(&mut self, product: &Product, input: &Operand<'_>, chosen: &Chosen<'_>) -> Result<()> {
        let (columns, matrices) = (input.shape[0], product.weight_shape[2]);
        let entry = self.entry(product, columns, matrices)?;
        let [places, tokens] = chosen.shape;
        for place in 0..places {
            for token in 0..tokens {
                let matrix = chosen.matrix(place, token, matrices)?;
                let row = input.row([place % input.shape[1].max(1), token, 0])?;
                entry.counts[matrix] += 1;
                add_squares(&mut entry.sums[matrix * columns..(matrix + 1) * columns], row);
            }
        }
        finite(&entry.sums)
    }

    fn see_all(&mut self, product: &Product, input: &Operand<'_>) -> Result<()> {
        let [columns, rows, inner, outer] = input.shape;
        let [_, _, stack, stacks] = product.weight_shape.map(|n| n.max(1));
        let matrices = stack * stacks;
        let entry = self.entry(product, columns, matrices)?;
        for i3 in 0..outer {
            for i2 in 0..inner {
                let matrix = (i3 % stacks) * stack + i2 % stack;
                let sums = &mut entry.sums[matrix * columns..(matrix + 1) * columns];
                (0..rows).try_for_each(|i1| input.row([i1, i2, i3]).map(|row| add_squares(sums, row)))?;
            }
        }
        let seen = (rows * inner * outer / matrices) as u64;
        entry.counts.iter_mut().for_each(|count| *count += seen);
        finite(&entry.sums)
    }
}

fn finite(sums: &[f32]) -> Result<()> {
    match sums.iter().find(|sum| !sum.is_finite()) {
        None => Ok(()),
        Some(sum) => Err(Error::invalid("what the weight is multiplied by is not finite")
            .expected("finite squares")
            .found(sum)
            .hint("an activation has overflowed: see `ggraft verify`, or measure another file of the model")),
    }
}

impl Watch for Collector {
    fn wants(&mut self, product: &Product) -> bool {
        product.chooses
            || product.is_f32
                && product.input_shape[1] >= LEAST
                && (product.weight.starts_with("blk.") || self.head && product.weight == HEAD)
    }

    fn see(&mut self, product: &Product, input: Operand<'_>, chosen: Option<Chosen<'_>>) -> Result<()> {
        match chosen {
            Some(chosen) => self.see_chosen(product, &input, &chosen),
            None => self.see_all(product, &input),
        }
    }
}

/// Runs the model over the text, and adds up what its weights are multiplied by; the head's too if `head` says so.
///
/// # Errors
/// The model does not load or compute, the text is too short, an activation is not finite, or nothing was seen.
pub fn collect(
    library: &'static Library,
    file: &Path,
    text: &Text,
    (how, head): (&How, bool),
    stages: &dyn Stages,
) -> Result<Collected> {
    stages.begin("loading the model", 1);
    let model = Model::load(library, file, how.device_layers)?;
    let windows = Windows::of(text, &model, how)?;
    let mut collector = Collector::new(head);
    let mut context = Context::watched(&model, &windows.reading, &mut collector)?;
    stages.begin("reading the text", windows.count);
    for group in windows.groups() {
        context.clear();
        for stretch in windows.reading.stretches() {
            // Logits are wanted everywhere: else the last layer computes a part of the places only.
            context.read(&windows.batch(&group, &stretch, model.start(), 0))?;
        }
        group.for_each(|_| stages.step());
    }
    stages.end();
    drop(context);
    let entries = collector.entries();
    let most = entries.values().flat_map(|entry| &entry.counts).max().copied();
    let Some(most) = most else {
        return Err(Error::invalid("the model multiplies no weight of a layer").file(file));
    };
    let chunks = u32::try_from(most / how.window.max(1) as u64).unwrap_or(u32::MAX);
    Ok(Collected { entries, chunks, windows: windows.count, tokens: windows.tokens() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(weight: &str, weight_shape: [usize; 4], input_shape: [usize; 4], chooses: bool) -> Product {
        Product { weight: weight.to_string(), weight_shape, input_shape, is_f32: true, chooses }
    }

    #[test]
    fn what_is_wanted() {
        let mut collector = Collector::default();
        let mut wants =
            |weight, rows, chooses| collector.wants(&product(weight, [2, 2, 1, 1], [2, rows, 1, 1], chooses));
        assert!(wants("blk.0.attn_q.weight", 16, false) && wants("any", 1, true));
        assert!(!wants("blk.0.attn_q.weight", 15, false) && !wants("output.weight", 512, false));
        assert!(Collector::new(true).wants(&product("output.weight", [2, 2, 1, 1], [2, 16, 1, 1], false)));
    }

    #[test]
    fn rows_of_a_plain_weight_are_squared_and_added() {
        let mut collector = Collector::default();
        // Rows of two numbers with a gap of one.
        let values = [1.0, 2.0, 9.0, 3.0, 4.0];
        let input = Operand { values: &values, shape: [2, 2, 1, 1], strides: [1, 3, 6, 6] };
        let seen = product("w", [2, 7, 1, 1], [2, 2, 1, 1], false);
        collector.see(&seen, input, None).unwrap();
        collector.see(&seen, input, None).unwrap();
        let entry = &collector.entries()["w"];
        assert_eq!((entry.sums.as_slice(), entry.counts.as_slice()), (&[20.0, 40.0][..], &[4][..]));
    }

    #[test]
    fn each_matrix_of_a_stack_has_its_own_sums_and_all_have_one_count() {
        let mut collector = Collector::default();
        let values = [1.0, 2.0, 3.0, 4.0];
        let input = Operand { values: &values, shape: [1, 1, 4, 1], strides: [1, 1, 1, 4] };
        collector.see(&product("w", [1, 1, 2, 1], [1, 1, 4, 1], false), input, None).unwrap();
        let entry = &collector.entries()["w"];
        assert_eq!((entry.sums.as_slice(), entry.counts.as_slice()), (&[10.0, 20.0][..], &[2][..]));
    }

    #[test]
    fn experts_are_counted_by_those_who_choose_them() {
        let mut collector = Collector::default();
        // Two tokens, each of one row that both of its experts see.
        let input = Operand { values: &[1.0, 2.0], shape: [1, 1, 2, 1], strides: [1, 1, 1, 2] };
        let chosen = Chosen { numbers: &[2, 0, 2, 1], shape: [2, 2], stride: 2 };
        let seen = product("e", [1, 1, 4, 1], [1, 1, 2, 1], true);
        collector.see(&seen, input, Some(chosen)).unwrap();
        let entry = &collector.entries["e"];
        assert_eq!(
            (entry.sums.as_slice(), entry.counts.as_slice()),
            (&[1.0, 4.0, 5.0, 0.0][..], &[1, 1, 2, 0][..])
        );
        let wrong = Chosen { numbers: &[4, 0, 0, 0], ..chosen };
        assert!(collector.see(&seen, input, Some(wrong)).is_err());
    }

    #[test]
    fn what_overflows_is_refused() {
        let mut collector = Collector::default();
        let input = Operand { values: &[1e30], shape: [1, 1, 1, 1], strides: [1; 4] };
        let error = collector.see(&product("w", [1; 4], [1; 4], false), input, None).unwrap_err();
        assert!(error.to_string().contains("is not finite: expected finite squares, found inf"), "{error}");
    }
}
