//! A row of values under numbers of which each holds for a run of columns: scales, zero points, biases.

/// The numbers of a row: the first holds for `first` columns, each further one for `step`. Where there are too few, NaN does.
#[derive(Clone, Copy)]
pub struct Runs<'a> {
    pub numbers: &'a [f32],
    pub first: usize,
    pub step: usize,
}

impl<'a> Runs<'a> {
    /// A number that holds for all columns.
    pub fn one(number: &'a f32) -> Runs<'a> {
        Runs { numbers: std::slice::from_ref(number), first: usize::MAX, step: usize::MAX }
    }

    /// A number for each column.
    pub fn each(numbers: &'a [f32]) -> Runs<'a> {
        Runs { numbers, first: 1, step: 1 }
    }

    fn start(self) -> Place<'a> {
        let mut numbers = self.numbers.iter();
        let number = numbers.next().copied().unwrap_or(f32::NAN);
        Place { numbers, number, until: self.first, step: self.step.max(1) }
    }
}

/// What multiplies or divides every scale before it scales.
#[derive(Clone, Copy)]
pub enum Above<'a> {
    Nothing,
    Times(Runs<'a>),
    Over(Runs<'a>),
}

/// How far the numbers of a row have come.
struct Place<'a> {
    numbers: std::slice::Iter<'a, f32>,
    number: f32,
    /// The column from which on the next one holds.
    until: usize,
    step: usize,
}

impl Place<'_> {
    /// The number that holds at `column`, which only grows, and the column up to which it does.
    fn at(&mut self, column: usize) -> (usize, f32) {
        while column >= self.until {
            self.number = self.numbers.next().copied().unwrap_or(f32::NAN);
            self.until = self.until.saturating_add(self.step);
        }
        (self.until, self.number)
    }
}

/// A row of values less its zero points, times its scales: `(x - zero) * scale`, each step rounded to f32.
#[inline(never)]
pub fn scale(row: &mut [f32], scales: Runs<'_>, zeros: Option<Runs<'_>>, above: Above<'_>) {
    if let (None, Above::Nothing) = (zeros, above) {
        return by_runs(row, scales, |x, scale| *x *= scale);
    }
    let (mut scales, mut zeros) = (scales.start(), zeros.map(Runs::start));
    let mut all = match above {
        Above::Nothing => None,
        Above::Times(all) | Above::Over(all) => Some(all.start()),
    };
    let (mut start, columns) = (0, row.len());
    while start < columns {
        let (mut end, mut scale) = scales.at(start);
        let zero = zeros.as_mut().map(|zeros| zeros.at(start));
        end = zero.map_or(end, |(until, _)| until.min(end)).min(columns);
        match (&above, &mut all) {
            (Above::Over(_), Some(all)) => scale /= all.at(start).1,
            (_, Some(all)) => scale *= all.at(start).1,
            _ => {}
        }
        let run = row[start..end].iter_mut();
        match zero {
            None => run.for_each(|x| *x *= scale),
            Some((_, zero)) => run.for_each(|x| *x = (*x - zero) * scale),
        }
        start = end;
    }
}

/// The same where columns are of groups in any order: `groups` has that of each column, by its place among the numbers.
#[inline(never)]
pub fn scale_each(row: &mut [f32], groups: &[usize], scales: &[f32], zeros: Option<&[f32]>) {
    let of = |numbers: &[f32], group: usize| numbers.get(group).copied().unwrap_or(f32::NAN);
    for (x, group) in row.iter_mut().zip(groups) {
        let zero = zeros.map_or(0.0, |zeros| of(zeros, *group));
        *x = (*x - zero) * of(scales, *group);
    }
}

/// Adds its number to each value.
#[inline(never)]
pub fn add(row: &mut [f32], numbers: Runs<'_>) {
    by_runs(row, numbers, |x, number| *x += number);
}

/// Takes its number from each value.
#[inline(never)]
pub fn subtract(row: &mut [f32], numbers: Runs<'_>) {
    by_runs(row, numbers, |x, number| *x -= number);
}

/// Multiplies each value by its number.
#[inline(never)]
pub fn multiply(row: &mut [f32], numbers: Runs<'_>) {
    by_runs(row, numbers, |x, number| *x *= number);
}

/// Divides each value by its number.
#[inline(never)]
pub fn divide(row: &mut [f32], numbers: Runs<'_>) {
    by_runs(row, numbers, |x, number| *x /= number);
}

#[inline(always)]
fn by_runs(row: &mut [f32], runs: Runs<'_>, f: impl Fn(&mut f32, f32)) {
    if (runs.first, runs.step) == (1, 1) && runs.numbers.len() >= row.len() {
        return row.iter_mut().zip(runs.numbers).for_each(|(x, number)| f(x, *number));
    }
    let (mut place, mut start, columns) = (runs.start(), 0, row.len());
    while start < columns {
        let (end, number) = place.at(start);
        let end = end.min(columns);
        row[start..end].iter_mut().for_each(|x| f(x, number));
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [f32; 7] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    const NUMBERS: [f32; 4] = [2.0, 3.0, 5.0, 7.0];

    /// The first run is shorter where a row begins within one.
    const RUNS: Runs<'static> = Runs { numbers: &NUMBERS, first: 1, step: 2 };

    fn made(f: impl Fn(&mut [f32])) -> [f32; 7] {
        let mut row = ROW;
        f(&mut row);
        row
    }

    #[test]
    fn each_number_holds_for_its_run() {
        assert_eq!(made(|row| multiply(row, RUNS)), [2.0, 6.0, 9.0, 20.0, 25.0, 42.0, 49.0]);
        assert_eq!(made(|row| add(row, RUNS)), [3.0, 5.0, 6.0, 9.0, 10.0, 13.0, 14.0]);
        assert_eq!(made(|row| subtract(row, Runs::one(&1.0))), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(made(|row| subtract(row, Runs::each(&ROW))), [0.0; 7]);
        assert_eq!(made(|row| divide(row, Runs::each(&ROW))), [1.0; 7]);
    }

    #[test]
    fn numbers_that_are_missing_are_none() {
        let short = Runs { numbers: &NUMBERS[..2], first: 2, step: 2 };
        let found = made(|row| multiply(row, short));
        assert_eq!(found[..4], [2.0, 4.0, 9.0, 12.0]);
        assert!(found[4..].iter().all(|x| x.is_nan()));
        assert!(made(|row| add(row, Runs::each(&NUMBERS)))[4..].iter().all(|x| x.is_nan()));
    }

    #[test]
    fn zero_points_and_scales_have_runs_of_their_own() {
        let zeros = Runs { numbers: &[1.0, 3.0], first: 4, step: 4 };
        let plain = made(|row| scale(row, RUNS, Some(zeros), Above::Nothing));
        assert_eq!(plain, [0.0, 3.0, 6.0, 15.0, 10.0, 21.0, 28.0]);
        let half = Runs::one(&0.5);
        let halved = made(|row| scale(row, RUNS, Some(zeros), Above::Times(half)));
        assert_eq!(halved, plain.map(|x| x * 0.5));
        assert_eq!(made(|row| scale(row, RUNS, Some(zeros), Above::Over(half))), plain.map(|x| x * 2.0));
        assert_eq!(made(|row| scale(row, RUNS, None, Above::Nothing)), made(|row| multiply(row, RUNS)));
    }

    #[test]
    fn groups_may_stand_in_any_order() {
        let groups = [3, 0, 1, 0, 2, 1, 9];
        let found = made(|row| scale_each(row, &groups, &NUMBERS, Some(&[1.0, 2.0, 3.0, 4.0])));
        assert_eq!(found[..6], [-21.0, 2.0, 3.0, 6.0, 10.0, 12.0]);
        assert!(found[6].is_nan());
        assert_eq!(made(|row| scale_each(row, &groups, &NUMBERS, None))[..2], [7.0, 4.0]);
    }
}
