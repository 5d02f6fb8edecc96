//! Several hands for things that go elsewhere one by one: the first failure ends the work of all, and is the one that is told.

use super::Stop;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Does `one` with each of `items`, at most `hands` at a time. What it gets with it says whether to stop.
pub fn share<T: Sync, E: Send>(
    items: &[T],
    hands: usize,
    cancelled: Stop<'_>,
    one: impl Fn(&T, Stop<'_>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let first: Mutex<Option<E>> = Mutex::default();
    let stop = || failed.load(Ordering::Relaxed) || cancelled();
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            if let Err(e) = one(item, &stop) {
                // In this order: those who end because of it find it told.
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                failed.store(true, Ordering::Release);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        (1..hands.clamp(1, items.len().max(1))).for_each(|_| _ = scope.spawn(work));
        work();
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What `one` makes of each of `items`, at most `hands` at a time, in the order of the items. What waits for answers
/// from elsewhere waits for many at a time.
pub fn together<T: Sync, U: Send + Sync>(items: &[T], hands: usize, one: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let made: Vec<OnceLock<U>> = items.iter().map(|_| OnceLock::new()).collect();
    let pairs: Vec<(&T, &OnceLock<U>)> = items.iter().zip(&made).collect();
    let done = share(&pairs, hands, &|| false, |(item, place), _| {
        place.get_or_init(|| one(item));
        Ok::<_, Infallible>(())
    });
    let Ok(()) = done;
    made.into_iter().filter_map(OnceLock::into_inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn the_first_failure_is_told_and_not_that_the_others_were_stopped() {
        let items: Vec<usize> = (0..8).collect();
        let done = share(&items, 4, &|| false, |item, stop| {
            let begun = Instant::now();
            while *item != 2 && !stop() && begun.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            Err(if *item == 2 { "it failed" } else { "stopped" })
        });
        assert_eq!(done, Err("it failed"));
        let done = share(&items, 3, &|| false, |_, _| Ok::<_, ()>(()));
        assert_eq!(done, Ok(()));
        assert_eq!(share::<usize, ()>(&[], 3, &|| false, |_, _| Err(())), Ok(()));
    }

    #[test]
    fn what_is_made_together_keeps_the_order_of_its_items() {
        let items: Vec<usize> = (0..40).collect();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let made = together(&items, 5, |item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis((40 - *item as u64) / 4));
            now.fetch_sub(1, Ordering::SeqCst);
            item * item
        });
        assert_eq!(made, items.iter().map(|item| item * item).collect::<Vec<_>>());
        assert!((2..=5).contains(&most.into_inner()));
    }
}
