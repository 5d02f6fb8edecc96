//! What was measured once is not measured again: budgets of one model ask for the same errors. Serves `--sweep`, several
//! outputs, and the search for a divergence.

use super::measure::{self, Columns, Measured};
use ggraft_formats::quant::{Levels, Search};
use ggraft_formats::{DType, Result, Tensor};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh64::Xxh64;

/// The errors of one model's tensors, as far as they were asked for.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<Key, Found>>);

/// What an error depends on beside the weights and the dtype.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    levels: Levels,
    search: Search,
    /// Of the importance weights; 0 where there are none.
    importance: u64,
}

#[derive(Clone, Debug, Default)]
struct Found {
    energy: f64,
    rows: usize,
    errors: Vec<(DType, f64)>,
}

impl Known {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `tensor` loses as each dtype of its menu, of which no more than `most` weights are looked at.
    pub(super) fn measured(
        &self,
        tensor: &Tensor,
        menu: &[DType],
        columns: &Columns,
        most: usize,
    ) -> Result<Measured> {
        let key = Key::of(tensor, columns.importance, (columns.levels, columns.search));
        let before = self.all().get(&key).cloned();
        let is_new = before.is_none();
        let mut found = before.unwrap_or_default();
        let missing: Vec<DType> = menu.iter().copied().filter(|d| found.error(*d).is_none()).collect();
        if is_new || !missing.is_empty() {
            let now = measure::measure(tensor, &missing, columns, most)?;
            (found.energy, found.rows) = (now.energy, now.rows);
            found.errors.extend(missing.into_iter().zip(now.errors));
            self.all().insert(key, found.clone());
        }
        let errors = menu.iter().map(|dtype| found.error(*dtype).unwrap_or_default()).collect();
        Ok(Measured { energy: found.energy, errors, rows: found.rows })
    }

    /// The same without a look at the tensor; none if a dtype of the menu has not been measured.
    pub(super) fn of(
        &self,
        tensor: &Tensor,
        menu: &[DType],
        importance: Option<&[f32]>,
        how: (Levels, Search),
    ) -> Option<Measured> {
        let all = self.all();
        let found = all.get(&Key::of(tensor, importance, how))?;
        let errors = menu.iter().map(|dtype| found.error(*dtype)).collect::<Option<_>>()?;
        Some(Measured { energy: found.energy, errors, rows: found.rows })
    }
}

impl Key {
    fn of(tensor: &Tensor, importance: Option<&[f32]>, (levels, search): (Levels, Search)) -> Key {
        Key { name: tensor.name.clone(), levels, search, importance: importance.map_or(0, hash) }
    }
}

impl Found {
    fn error(&self, dtype: DType) -> Option<f64> {
        self.errors.iter().find(|(d, _)| *d == dtype).map(|(_, error)| *error)
    }
}

fn hash(weights: &[f32]) -> u64 {
    let mut hash = Xxh64::new(1);
    weights.iter().for_each(|w| hash.update(&w.to_le_bytes()));
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    #[test]
    fn what_is_known_is_what_is_measured_at_once() {
        let values: Vec<f32> = (0..4 * 256).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let tensor = Tensor::in_memory("t.weight", Shape::new(&[256, 4]).unwrap(), &values).unwrap();
        let how = (Levels::Rounded, Search::Exact);
        let columns = |importance| Columns { gains: None, importance, levels: how.0, search: how.1 };
        let weights = vec![1.0; 256];
        let known = Known::default();
        let of = |menu: &[DType], importance| {
            known.measured(&tensor, menu, &columns(importance), 1 << 16).unwrap().errors
        };
        let (few, weighed) =
            (of(&[DType::Q4K, DType::F32], None), of(&[DType::Q4K, DType::F32], Some(&weights[..])));
        let all = of(&[DType::Q3K, DType::Q4K, DType::IQ3S], None);
        let alone = Known::default().measured(
            &tensor,
            &[DType::Q3K, DType::Q4K, DType::IQ3S],
            &columns(None),
            1 << 16,
        );
        assert_eq!(all, alone.unwrap().errors);
        assert_eq!(few, [all[1], 0.0]);
        assert_ne!(few, weighed);
        assert_eq!(of(&[DType::Q3K], None), all[..1]);
        let told =
            |menu: &[DType], importance| known.of(&tensor, menu, importance, how).map(|found| found.errors);
        assert_eq!(told(&[DType::IQ3S, DType::Q3K], None), Some(vec![all[2], all[0]]));
        assert_eq!(told(&[DType::Q3K, DType::Q5K], None), None);
        assert_eq!(told(&[DType::Q3K], Some(&weights[..])), None);
    }
}
