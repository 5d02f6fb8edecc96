//! What a tensor loses as another dtype: its rows, or a sample of them, are encoded and decoded again, and the
//! squares of the differences summed, column by column as much as the column's input matters. Which rows are looked
//! at depends on the shape alone, and the sums run in the order of the rows.

use ggraft_formats::quant::{By, Levels, Search};
use ggraft_formats::write::BLOCK;
use ggraft_formats::{DType, Result, Tensor};

/// The most weights of a tensor that are looked at, and the fewest of a model of many tensors; they are whole rows, and no
/// fewer rows than this, as one may be unlike the others.
const SAMPLE: usize = 1 << 20;
const LEAST: usize = 1 << 16;
const ROWS: usize = 16;
/// The most weights of a model: each is encoded as every dtype that its tensor may get, which takes a minute for 2^30.
/// The more tensors there are, the less the error of one of them counts.
const ALL: usize = 1 << 27;
/// Dtypes whose encoders search a codebook, which takes twenty times as long: one row in so many of the others' is looked
/// at, as long as there are as many weights as this, and no fewer rows than those either.
const SEARCHED: [DType; 7] =
    [DType::IQ1S, DType::IQ1M, DType::IQ2XXS, DType::IQ2XS, DType::IQ2S, DType::IQ3XXS, DType::IQ3S];
const SPARSE: usize = 16;
const ENOUGH: usize = 1 << 15;
/// Fewer rows than this are not taken for all: what `GUIDE`, which is quick, loses on them and on all tells how much more
/// or less they lose than all do.
const SURE: usize = 32;
const GUIDE: DType = DType::Q3K;
/// No column counts for more than so many usual ones. Some are a thousand times as loud as the others for the sake of a single
/// token (massive activations, arXiv 2402.17762): beside one that has nine tenths of all importance whatever spares it would
/// seem to lose nothing, and IQ1 was bought that spoiled what all the other tokens read.
const LOUD: f64 = 32.0;

/// What is known of a tensor's input.
pub(super) struct Columns<'a> {
    /// The gain of the norm before it, one a column.
    pub gains: Option<Vec<f32>>,
    /// Importance weights, one a column of each matrix; they guide the encoder too.
    pub importance: Option<&'a [f32]>,
    pub levels: Levels,
    pub search: Search,
}

/// What was found.
pub(super) struct Measured {
    /// The mean over the rows of their sums of squares, columns weighted by the gains.
    pub energy: f64,
    /// For each dtype the squared error as a part of the squared weights, columns weighted by importance within bounds, else
    /// by the gains; infinite if the dtype cannot hold the weights.
    pub errors: Vec<f64>,
    /// The rows that were looked at.
    pub rows: usize,
}

/// The most weights that are looked at of each of so many tensors.
pub(super) fn most(tensors: usize) -> usize {
    (ALL / tensors.max(1)).clamp(LEAST, SAMPLE)
}

/// The rows of a tensor that are looked at, if no more than `most` weights are.
fn looked_at(tensor: &Tensor, most: usize) -> Vec<usize> {
    let row = tensor.row_elements().unwrap_or(usize::MAX);
    sample(tensor.shape().rows(), (most / row.max(1)).max(ROWS))
}

/// Asks for all of them before the first is needed: the disk reads many at a time.
pub(super) fn ask(tensor: &Tensor, most: usize) {
    looked_at(tensor, most).iter().for_each(|row| tensor.prefetch(*row..*row + 1));
}

/// Measures `most` weights of `tensor` as each of `dtypes`.
pub(super) fn measure(tensor: &Tensor, dtypes: &[DType], columns: &Columns, most: usize) -> Result<Measured> {
    let found = sampled(tensor, dtypes, columns, most);
    // Around each row more was mapped than was asked for.
    tensor.release(0..usize::try_from(tensor.shape().rows()).unwrap_or(0));
    found
}

fn sampled(tensor: &Tensor, dtypes: &[DType], columns: &Columns, most: usize) -> Result<Measured> {
    let rows = looked_at(tensor, most);
    ask(tensor, most);
    let (mut searched, mut quick): (Vec<DType>, Vec<DType>) =
        dtypes.iter().partition(|dtype| SEARCHED.contains(dtype));
    let stride = (rows.len().saturating_mul(tensor.row_elements()?) / ENOUGH).clamp(1, SPARSE);
    let stride = stride.min((rows.len() / ROWS).max(1));
    let few: Vec<usize> =
        if searched.is_empty() { Vec::new() } else { rows.iter().copied().step_by(stride).collect() };
    if !few.is_empty() && few.len() < rows.len().min(SURE) {
        searched.push(GUIDE);
        quick.extend((!quick.contains(&GUIDE)).then_some(GUIDE));
    }
    let exact = Columns { gains: columns.gains.clone(), search: Search::Exact, ..*columns };
    let all = Sums::of(tensor, &rows, quick, &exact)?;
    let some = Sums::of(tensor, &few, searched, &exact)?;
    let guided = all.relative(GUIDE).zip(some.relative(GUIDE)).map(|(all, some)| all / some);
    let scale = guided.filter(|scale| scale.is_finite() && *scale > 0.0).unwrap_or(1.0);
    let searched = |dtype: &DType| some.relative(*dtype).map(|error| error * scale);
    let better = bettered(tensor, dtypes, &rows, columns)?;
    let relative = |dtype: &DType| {
        let exact = all.relative(*dtype).or_else(|| searched(dtype)).unwrap_or(0.0);
        better.iter().find(|(d, _)| d == dtype).map_or(exact, |(_, part)| exact * part)
    };
    Ok(Measured {
        energy: all.energy / rows.len().max(1) as f64,
        errors: dtypes.iter().map(relative).collect(),
        rows: rows.len(),
    })
}

/// What the fine search leaves of the errors, of the dtypes that have one: it takes so long that it is looked at in few rows,
/// beside what ggml's encoders lose there.
fn bettered(
    tensor: &Tensor,
    dtypes: &[DType],
    rows: &[usize],
    columns: &Columns,
) -> Result<Vec<(DType, f64)>> {
    let is_weighted = columns.importance.is_some();
    let fine: Vec<DType> =
        dtypes.iter().copied().filter(|dtype| dtype.has_fine_search(is_weighted)).collect();
    if columns.search == Search::Exact || fine.is_empty() {
        return Ok(Vec::new());
    }
    let stride = (rows.len().saturating_mul(tensor.row_elements()?) / ENOUGH).clamp(1, SPARSE);
    let stride = stride.min((rows.len() / ROWS).max(1));
    let few: Vec<usize> = rows.iter().copied().step_by(stride).collect();
    let exact = Columns { gains: columns.gains.clone(), search: Search::Exact, ..*columns };
    let before = Sums::of(tensor, &few, fine.clone(), &exact)?;
    let after = Sums::of(tensor, &few, fine.clone(), columns)?;
    let part = |dtype: DType| {
        let part = after.relative(dtype)? / before.relative(dtype)?;
        Some((dtype, part)).filter(|_| part.is_finite())
    };
    Ok(fine.into_iter().filter_map(part).collect())
}

/// One row of each of `most` equal parts of `rows`, at a place in it that looks random, so that no period of the
/// rows (heads, rotations) falls into step; all if they are no more.
fn sample(rows: u64, most: usize) -> Vec<usize> {
    let parts = rows.min(most as u64);
    let start = |i: u64| (u128::from(i) * u128::from(rows) / u128::from(parts.max(1))) as u64;
    (0..parts).map(|i| (start(i) + scattered(i) % (start(i + 1) - start(i))) as usize).collect()
}

/// SplitMix64's output function.
fn scattered(i: u64) -> u64 {
    let mut x = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// What some rows lose as each of some dtypes.
struct Sums {
    energy: f64,
    signal: f64,
    dtypes: Vec<DType>,
    errors: Vec<f64>,
}

impl Sums {
    /// Those of these rows, in their order; nothing of a tensor that cannot be decoded, which has no choice.
    fn of(tensor: &Tensor, rows: &[usize], dtypes: Vec<DType>, columns: &Columns) -> Result<Sums> {
        let mut sums = Sums { energy: 0.0, signal: 0.0, errors: vec![0.0; dtypes.len()], dtypes };
        if tensor.dtype().traits().decode.is_none() {
            return Ok(sums);
        }
        let row = tensor.row_elements()?;
        let matrix = |r: &usize| *r as u64 / tensor.shape().dim(1).max(1) % tensor.shape().dim(2).max(1);
        for of_matrix in rows.chunk_by(|a, b| matrix(a) == matrix(b)) {
            let first = matrix(&of_matrix[0]) as usize * row;
            let importance = columns.importance.and_then(|w| w.get(first..first + row));
            let by = By { weights: importance, levels: columns.levels, search: columns.search };
            for batch in of_matrix.chunks((BLOCK / row.max(1)).max(1)) {
                sums.add(tensor, batch, columns.gains.as_deref(), by)?;
            }
        }
        Ok(sums)
    }

    /// The error as a part of the weights' squares, if it was measured.
    fn relative(&self, dtype: DType) -> Option<f64> {
        let error = self.errors[self.dtypes.iter().position(|d| *d == dtype)?];
        Some(if error == 0.0 { 0.0 } else { error / self.signal })
    }

    /// Adds rows of one matrix.
    fn add(&mut self, tensor: &Tensor, rows: &[usize], gains: Option<&[f32]>, by: By<'_>) -> Result<()> {
        let row = tensor.row_elements()?;
        let mut values = vec![0f32; rows.len() * row];
        for (r, out) in rows.iter().zip(values.chunks_exact_mut(row.max(1))) {
            tensor.decode_rows(*r..*r + 1, out)?;
        }
        let squared: Option<Vec<f64>> =
            gains.map(|g| g.iter().map(|g| f64::from(*g) * f64::from(*g)).collect());
        let weights: Option<Vec<f64>> = by.weights.map(bounded).or_else(|| squared.clone());
        let zeros = vec![0f32; values.len()];
        self.energy += distance(&values, &zeros, row, squared.as_deref());
        self.signal += distance(&values, &zeros, row, weights.as_deref());
        let mut decoded = zeros;
        for (dtype, error) in self.dtypes.iter().zip(&mut self.errors) {
            let traits = dtype.traits();
            if *dtype == tensor.dtype() || traits.encode.is_none() || traits.decode.is_none() {
                continue;
            }
            if by.weights.is_none() && !traits.plain {
                *error = f64::INFINITY;
                continue;
            }
            let mut encoded = vec![0u8; values.len() / traits.block * traits.bytes];
            dtype.encode_by(&values, row, by, &mut encoded)?;
            if !dtype.holds(&values, &encoded) {
                *error = f64::INFINITY;
                continue;
            }
            dtype.decode(&encoded, &mut decoded)?;
            *error += distance(&values, &decoded, row, weights.as_deref());
        }
        Ok(())
    }
}

/// What the columns of a matrix count for: their importance, within bounds. The usual is the square of the mean root, which a
/// few loud columns hardly raise.
fn bounded(importance: &[f32]) -> Vec<f64> {
    let roots: f64 = importance.iter().map(|w| f64::from(*w).sqrt()).sum();
    let usual = roots / importance.len().max(1) as f64;
    let most = LOUD * usual * usual;
    importance.iter().map(|w| f64::from(*w).min(most)).collect()
}

/// The sum of the squared differences, columns weighted.
fn distance(a: &[f32], b: &[f32], row: usize, weights: Option<&[f64]>) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks_exact(row.max(1)).zip(b.chunks_exact(row.max(1))) {
        let squares = a.iter().zip(b).map(|(a, b)| {
            let d = f64::from(*a) - f64::from(*b);
            d * d
        });
        let of_row: f64 = match weights {
            None => squares.sum(),
            Some(w) => squares.zip(w).map(|(d, w)| d * w).sum(),
        };
        sum += of_row;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn tensor(rows: u64, value: impl Fn(usize) -> f32) -> Tensor {
        let values: Vec<f32> = (0..rows as usize * 256).map(value).collect();
        Tensor::in_memory("t.weight", Shape::new(&[256, rows]).unwrap(), &values).unwrap()
    }

    const NOTHING: Columns =
        Columns { gains: None, importance: None, levels: Levels::Rounded, search: Search::Exact };

    #[test]
    fn a_sample_has_a_row_of_each_part_and_all_rows_if_they_are_few() {
        assert_eq!(sample(5, 9), [0, 1, 2, 3, 4]);
        assert!(sample(0, 9).is_empty());
        for (rows, most) in [(1000, 7), (4096, 256), (u64::MAX >> 8, 100)] {
            let found = sample(rows, most);
            assert_eq!(found.len(), most);
            for (i, r) in found.iter().enumerate() {
                let part =
                    rows as u128 * i as u128 / most as u128..rows as u128 * (i as u128 + 1) / most as u128;
                assert!(part.contains(&(*r as u128)));
            }
        }
    }

    #[test]
    fn more_bits_lose_less_and_the_own_dtype_nothing() {
        let wave = tensor(64, |i| ((i * i) as f32 * 0.37).sin());
        let dtypes = [DType::Q2K, DType::Q3K, DType::Q4K, DType::Q5K, DType::Q6K, DType::Q8_0, DType::F32];
        let found = measure(&wave, &dtypes, &NOTHING, SAMPLE).unwrap();
        assert!(found.errors.is_sorted_by(|a, b| a > b), "{:?}", found.errors);
        assert_eq!(found.errors[6], 0.0);
        assert_eq!(found.rows, 64);
    }

    #[test]
    fn a_sample_tells_what_all_rows_do() {
        let wave = tensor(4096, |i| ((i * i) as f32 * 0.37).sin() * (1.0 + (i / 256 % 7) as f32));
        let dtypes = [DType::Q3K, DType::Q4K];
        let all = sampled(&wave, &dtypes, &NOTHING, usize::MAX).unwrap();
        let some = sampled(&wave, &dtypes, &NOTHING, 1 << 16).unwrap();
        assert_eq!((all.rows, some.rows), (4096, 256));
        for (a, b) in all.errors.iter().zip(&some.errors) {
            assert!((a / b - 1.0).abs() < 0.05, "{a} {b}");
        }
    }

    /// Rows as long as those of the largest models are looked at as each dtype.
    #[test]
    fn dtypes_of_a_codebook_are_judged_by_the_rows_of_their_rivals() {
        let values: Vec<f32> = (0..32 * 8192u64).map(|i| (((i * i) % 100_003) as f32 * 0.37).sin()).collect();
        let long = Tensor::in_memory("t.weight", Shape::new(&[8192, 32]).unwrap(), &values).unwrap();
        let weights = vec![1.0; 8192];
        let columns = Columns { importance: Some(&weights), ..NOTHING };
        let dtypes = [DType::IQ2S, DType::Q3K];
        let found = sampled(&long, &dtypes, &columns, LEAST).unwrap();
        let same = Sums::of(&long, &looked_at(&long, LEAST), dtypes.to_vec(), &columns).unwrap();
        assert_eq!(found.rows, ROWS);
        assert_eq!(found.errors, dtypes.map(|dtype| same.relative(dtype).unwrap()));
    }

    /// Where it is a part of the rows, and all the others are full of outliers, the guide tells that they lose more.
    #[test]
    fn few_rows_are_judged_with_a_guide() {
        let tame: Vec<usize> = (0..64).step_by(4).collect();
        let value = |i: usize| {
            let wave = (((i * i) % 100_003) as f32 * 0.37).sin();
            if tame.contains(&(i / 2048)) { wave } else { wave.powi(5) }
        };
        let values: Vec<f32> = (0..64 * 2048).map(value).collect();
        let mixed = Tensor::in_memory("t.weight", Shape::new(&[2048, 64]).unwrap(), &values).unwrap();
        let weights = vec![1.0; 2048];
        let columns = Columns { importance: Some(&weights), ..NOTHING };
        let found = sampled(&mixed, &[DType::IQ3S, DType::Q3K], &columns, SAMPLE).unwrap();
        let alone = sampled(&mixed, &[DType::IQ3S], &columns, SAMPLE).unwrap();
        assert_eq!((found.rows, found.errors[0]), (64, alone.errors[0]));
        let all: Vec<usize> = (0..64).collect();
        let on = |rows: &[usize], dtype| {
            Sums::of(&mixed, rows, vec![dtype], &columns).unwrap().relative(dtype).unwrap()
        };
        let (few, whole) = (on(&tame, DType::IQ3S), on(&all, DType::IQ3S));
        assert_eq!(found.errors[1], on(&all, DType::Q3K));
        println!("all rows {whole}, as measured {}, few rows {few}", found.errors[0]);
        assert!(few < found.errors[0] && found.errors[0] < whole * 1.1, "{whole} {few}");
    }

    #[test]
    fn what_cannot_be_held_is_never_chosen_and_zeros_lose_nothing() {
        let large = measure(&tensor(1, |_| 1e6), &[DType::F16, DType::BF16], &NOTHING, SAMPLE).unwrap();
        assert!(large.errors[0].is_infinite() && large.errors[1].is_finite());
        assert_eq!(
            measure(&tensor(2, |_| 0.0), &[DType::Q4K, DType::F32], &NOTHING, SAMPLE).unwrap().errors,
            [0.0, 0.0]
        );
    }

    /// A dtype that spares the one loud column and spoils the others is not taken for a good one.
    #[test]
    fn one_loud_column_does_not_speak_for_all() {
        let wave = tensor(16, |i| ((i * i) as f32 * 0.37).sin());
        let dtypes = [DType::IQ1S, DType::Q4K];
        let loud: Vec<f32> = (0..256).map(|i| if i == 7 { 1e4 } else { 1.0 }).collect();
        let even = vec![1.0; 256];
        let of = |importance: &[f32]| {
            let columns = Columns { importance: Some(importance), ..NOTHING };
            measure(&wave, &dtypes, &columns, SAMPLE).unwrap().errors
        };
        let (one, all) = (of(&loud), of(&even));
        assert!(one.iter().zip(&all).all(|(one, all)| one / all > 0.5), "{one:?} {all:?}");
        assert_eq!(bounded(&even), vec![1.0; 256]);
        assert_eq!(bounded(&[0.0; 8]), [0.0; 8]);
    }

    #[test]
    fn columns_count_by_their_gains() {
        // The second half of the columns is noise that nobody hears.
        let noisy = tensor(8, |i| if i % 256 < 128 { 1.0 } else { ((i * i) as f32).sin() });
        let gains: Vec<f32> = (0..256).map(|i| if i < 128 { 1.0 } else { 0.0 }).collect();
        let dtypes = [DType::Q4_0, DType::F32];
        let deaf = measure(&noisy, &dtypes, &Columns { gains: Some(gains), ..NOTHING }, SAMPLE).unwrap();
        let plain = measure(&noisy, &dtypes, &NOTHING, SAMPLE).unwrap();
        assert!(deaf.errors[0] < plain.errors[0] / 10.0, "{} {}", deaf.errors[0], plain.errors[0]);
        assert_eq!(deaf.energy, 128.0);
    }
}
