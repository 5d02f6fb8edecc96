//! Divides an output among jobs: each gets bytes that follow each other, of about the same cost. Where one ends and the next
//! begins lies between files if that is near, else on whole pages of any machine, so that no two jobs write one page. The
//! bytes of the output are the same however it is divided.

use super::job::Span;
use super::layout::Layout;

/// The least that is cut at: no system has larger pages.
const PAGE: u64 = 64 << 10;

/// The most: what file systems of many machines lock and write at a time.
const STRIPE: u64 = 4 << 20;

/// How many steps there should be in the share of a job.
const STEPS: u64 = 16;

/// How far a cut is moved to lie between two files, in parts of a job's share.
const NEAR: f64 = 0.05;

/// A place in an output: a file, and an offset in it that is less than its length.
type Place = (usize, u64);

/// The spans of each of `jobs` jobs, where tensor `i` of the layout costs `costs[i]`.
pub fn divide(layout: &Layout<'_>, costs: &[f64], jobs: usize) -> Vec<Vec<Span>> {
    let totals: Vec<u64> = layout.files.iter().map(|file| file.total).collect();
    let tensors: Vec<Item> = layout
        .tensors
        .iter()
        .zip(costs)
        .map(|(t, cost)| Item { place: (t.file, t.offset), bytes: t.tensor.bytes(), cost: *cost })
        .collect();
    spans(&totals, &tensors, jobs.max(1))
}

/// Some bytes, and what it costs to make them.
struct Item {
    place: Place,
    bytes: u64,
    cost: f64,
}

fn spans(totals: &[u64], items: &[Item], jobs: usize) -> Vec<Vec<Span>> {
    let all: u64 = totals.iter().sum();
    let share = all as f64 / jobs as f64;
    let wanted = (all / (jobs as u64 * STEPS)).max(1);
    let grain = (1u64 << wanted.ilog2()).clamp(PAGE, STRIPE);
    let end = (totals.len(), 0);
    let mut cuts = vec![(0, 0)];
    let cost: f64 = items.iter().map(|item| item.cost).sum();
    let (mut i, mut sum) = (0, 0.0);
    for k in 1..jobs {
        let due = cost * k as f64 / jobs as f64;
        while i < items.len() && sum + items[i].cost <= due {
            sum += items[i].cost;
            i += 1;
        }
        let place = items.get(i).map_or(end, |item| {
            let part = if item.cost > 0.0 { (due - sum) / item.cost } else { 0.0 };
            let at = item.place.1 + (item.bytes as f64 * part.clamp(0.0, 1.0)) as u64;
            between((item.place.0, at), totals, grain, share)
        });
        cuts.push(place.max(cuts.last().copied().unwrap_or_default()));
    }
    cuts.push(end);
    cuts.windows(2).map(|pair| span(pair[0], pair[1], totals)).collect()
}

/// The place at which is cut instead of this one.
fn between((file, at): Place, totals: &[u64], grain: u64, share: f64) -> Place {
    let total = totals.get(file).copied().unwrap_or(0);
    let near = (share * NEAR) as u64;
    let at = at / grain * grain;
    if at <= near {
        (file, 0)
    } else if total.saturating_sub(at) <= near || at >= total {
        (file + 1, 0)
    } else {
        (file, at)
    }
}

/// All bytes from one place to another, a span a file.
fn span(from: Place, to: Place, totals: &[u64]) -> Vec<Span> {
    let bytes = |file: usize| {
        let start = if file == from.0 { from.1 } else { 0 };
        let end = if file == to.0 { to.1 } else { totals[file] };
        Span { file, bytes: start..end }
    };
    (from.0..totals.len().min(to.0 + 1)).map(bytes).filter(|span| !span.bytes.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance, and are the same every time.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn every_byte_belongs_to_one_job_and_the_costs_are_even() {
        let mut state = 1;
        for round in 0..300 {
            let files = 1 + next(&mut state) % 12;
            let (mut totals, mut items) = (Vec::new(), Vec::new());
            for file in 0..files as usize {
                let mut at = next(&mut state) % 200_000;
                for _ in 0..next(&mut state) % 30 {
                    let bytes = next(&mut state) % 9_000_000;
                    let cost = (bytes * (1 + next(&mut state) % 20)) as f64;
                    items.push(Item { place: (file, at), bytes, cost });
                    at += bytes;
                }
                totals.push(at);
            }
            let jobs = 1 + (next(&mut state) % 64) as usize;
            let shares = spans(&totals, &items, jobs);
            assert_eq!(shares.len(), jobs, "round {round}");
            let (mut file, mut at) = (0, 0);
            for span in shares.iter().flatten() {
                while at == totals[file] {
                    (file, at) = (file + 1, 0);
                }
                assert_eq!((span.file, span.bytes.start), (file, at), "round {round}");
                assert!(at.is_multiple_of(PAGE), "round {round}: {at}");
                at = span.bytes.end;
            }
            assert!(totals[file + 1..].iter().all(|total| *total == 0), "round {round}");
            assert!(at == totals[file], "round {round}");
        }
    }

    #[test]
    fn jobs_get_even_shares_of_even_files() {
        let totals = vec![50 << 20; 40];
        let items: Vec<Item> =
            (0..40).map(|file| Item { place: (file, 0), bytes: 50 << 20, cost: 1.0 }).collect();
        for jobs in [1, 2, 4, 7, 16] {
            let cost = |share: &Vec<Span>| -> u64 { share.iter().map(|s| s.bytes.end - s.bytes.start).sum() };
            let costs: Vec<u64> = spans(&totals, &items, jobs).iter().map(cost).collect();
            let mean = (2000 << 20) as f64 / jobs as f64;
            let most = costs.iter().max().copied().unwrap_or(0) as f64;
            assert!(most / mean < 1.12, "{jobs}: {costs:?}");
        }
        // Cuts near the ends of files lie there.
        let whole = |share: &Vec<Span>| share.iter().all(|s| s.bytes == (0..50 << 20));
        assert!(spans(&totals, &items, 8).iter().all(whole));
    }
}
