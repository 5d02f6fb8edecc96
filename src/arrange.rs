//! Sorting with one sort in the program for lists of all types. The standard library's is built anew for each type and each
//! comparison, of five kilobytes each: fit for weights, not for the many short lists of a plan.

use std::cmp::Ordering;

/// Lists that are put in order, equals as they stood, as [`slice::sort_by`] does.
pub(crate) trait Arrange<T> {
    /// Sorts by a comparison.
    fn arrange_by(&mut self, compare: impl Fn(&T, &T) -> Ordering);

    /// Sorts by what is to be compared.
    fn arrange_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.arrange_by(|a, b| key(a).cmp(&key(b)));
    }
}

impl<T> Arrange<T> for [T] {
    fn arrange_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let mut from = sorted(self.len(), &|a, b| compare(&self[a], &self[b]));
        // Each place takes what belongs there, around every cycle.
        for start in 0..self.len() {
            let mut place = start;
            while from[place] != start {
                let next = std::mem::replace(&mut from[place], place);
                self.swap(place, next);
                place = next;
            }
            from[place] = place;
        }
    }
}

/// The places of `count` things in their order.
fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_as_the_standard_library_does() {
        for count in [0, 1, 2, 3, 7, 40, 333] {
            let mut ours: Vec<(u32, String)> =
                (0..count).map(|i: u32| (i * 7919 % 11, (i * 31).to_string())).collect();
            let mut due = ours.clone();
            ours.arrange_by_key(|(key, _)| *key);
            due.sort_by_key(|(key, _)| *key);
            assert_eq!(ours, due);
            ours.arrange_by(|a, b| b.1.cmp(&a.1));
            due.sort_by(|a, b| b.1.cmp(&a.1));
            assert_eq!(ours, due);
        }
    }
}
