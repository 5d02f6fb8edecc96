//! Spends the bytes: one price for each tensor, so that they fit and the costs add up to little. First by Lagrange:
//! along the lower convex hulls of the prices, the steps that save most a byte first. What then remains of the budget
//! is filled by single changes and by exchanges of two. The same changes are made to a choice that was known before, and
//! the cheaper of the two is taken. Ties go to the earlier tensor, and to the first way, so the result is one.

use crate::arrange::Arrange;

/// What one choice takes and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Price {
    pub bytes: u64,
    pub cost: f64,
}

/// Exchanges of two tensors' dtypes that are made at most; they matter only where a model has few tensors.
const EXCHANGES: usize = 64;

/// The index of a price for each item, together within `budget`; `None` if the smallest are too much. They never cost
/// more than `known`, where that is within the budget.
pub(super) fn solve(items: &[Vec<Price>], budget: u64, known: Option<&[usize]>) -> Option<Vec<usize>> {
    let hulls: Vec<Vec<usize>> = items.iter().map(|prices| hull(prices)).collect();
    let mut picks: Vec<usize> = hulls.iter().map(|hull| hull.first().copied()).collect::<Option<_>>()?;
    let mut left = room(items, &picks, budget)?;
    climb(items, &hulls, &mut picks, &mut left);
    improve_all(items, &mut picks, left);
    let Some((mut others, left)) =
        known.and_then(|known| Some((known.to_vec(), room(items, known, budget)?)))
    else {
        return Some(picks);
    };
    improve_all(items, &mut others, left);
    Some(if cost(items, &others) < cost(items, &picks) { others } else { picks })
}

/// What remains of the budget beside these picks, if it suffices for them.
fn room(items: &[Vec<Price>], picks: &[usize], budget: u64) -> Option<u64> {
    let mut prices = items.iter().zip(picks).map(|(prices, pick)| prices[*pick]);
    budget.checked_sub(prices.try_fold(0u64, |sum, price| sum.checked_add(price.bytes))?)
}

/// How many picks cost infinitely, and the sum of the others: where one has to, the others count all the same.
fn cost(items: &[Vec<Price>], picks: &[usize]) -> (usize, f64) {
    let costs = items.iter().zip(picks).map(|(prices, pick)| prices[*pick].cost);
    costs.fold((0, 0.0), |(infinite, sum), cost| match cost.is_finite() {
        true => (infinite, sum + cost),
        false => (infinite + 1, sum),
    })
}

/// Improves the picks as long as that lowers the cost, and not without end.
fn improve_all(items: &[Vec<Price>], picks: &mut [usize], mut left: u64) {
    for _ in 0..items.len() + EXCHANGES {
        if !improve(items, picks, &mut left) {
            break;
        }
    }
}

/// The prices on the lower convex hull, from the fewest bytes to the lowest cost.
fn hull(prices: &[Price]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..prices.len()).collect();
    order.arrange_by(|a, b| {
        let (a, b) = (&prices[*a], &prices[*b]);
        a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost))
    });
    let mut hull: Vec<usize> = Vec::new();
    for i in order {
        if hull.last().is_some_and(|last| prices[i].cost >= prices[*last].cost) {
            continue;
        }
        while let [.., a, b] = hull[..]
            && slope(prices, a, b) <= slope(prices, b, i)
        {
            hull.pop();
        }
        hull.push(i);
    }
    hull
}

/// The cost that a byte saves on the way from `a` to the larger `b`.
fn slope(prices: &[Price], a: usize, b: usize) -> f64 {
    (prices[a].cost - prices[b].cost) / (prices[b].bytes - prices[a].bytes) as f64
}

/// Takes the steps up the hulls, the most saving first, as far as they fit.
fn climb(items: &[Vec<Price>], hulls: &[Vec<usize>], picks: &mut [usize], left: &mut u64) {
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    for (item, hull) in hulls.iter().enumerate() {
        steps.extend(hull.windows(2).enumerate().map(|(i, w)| (slope(&items[item], w[0], w[1]), item, i)));
    }
    // Slopes fall along a hull, so an item's steps keep their order.
    steps.arrange_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut stuck = vec![false; items.len()];
    for (_, item, i) in steps {
        let (from, to) = (hulls[item][i], hulls[item][i + 1]);
        let more = items[item][to].bytes - items[item][from].bytes;
        if stuck[item] || more > *left {
            stuck[item] = true;
            continue;
        }
        *left -= more;
        picks[item] = to;
    }
}

/// A change of one pick.
#[derive(Clone, Copy)]
struct Move {
    item: usize,
    to: usize,
    /// Bytes more, or fewer if negative.
    bytes: i128,
    cost: f64,
}

/// Changes that save bytes, by how many.
struct Cheapest {
    /// From the most bytes that are saved to the fewest.
    moves: Vec<Move>,
    /// Of the moves up to each the cheapest, and the cheapest of another item.
    best: Vec<(Move, Option<Move>)>,
}

impl Cheapest {
    fn of(mut moves: Vec<Move>) -> Cheapest {
        moves.arrange_by(|a, b| {
            a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost)).then((a.item, a.to).cmp(&(b.item, b.to)))
        });
        let before =
            |a: &Move, b: &Move| a.cost.total_cmp(&b.cost).then((a.item, a.to).cmp(&(b.item, b.to))).is_lt();
        let mut best: Vec<(Move, Option<Move>)> = Vec::with_capacity(moves.len());
        for one in &moves {
            best.push(match best.last().copied() {
                None => (*one, None),
                Some((first, second)) if before(one, &first) => {
                    (*one, if first.item == one.item { second } else { Some(first) })
                }
                Some((first, second)) => {
                    let better = one.item != first.item && second.is_none_or(|second| before(one, &second));
                    (first, if better { Some(*one) } else { second })
                }
            });
        }
        Cheapest { moves, best }
    }

    /// The cheapest that takes at most `bytes`, which are negative, and is of another item.
    fn within(&self, bytes: i128, item: usize) -> Option<Move> {
        let fitting = self.moves.partition_point(|one| one.bytes <= bytes);
        let (first, second) = *self.best.get(fitting.checked_sub(1)?)?;
        if first.item == item { second } else { Some(first) }
    }
}

/// Makes the one change, or the exchange of two, that lowers the cost most; whether there is one.
fn improve(items: &[Vec<Price>], picks: &mut [usize], left: &mut u64) -> bool {
    let (mut better, mut smaller) = (Vec::new(), Vec::new());
    for (item, (prices, pick)) in items.iter().zip(&*picks).enumerate() {
        let now = prices[*pick];
        for (to, price) in prices.iter().enumerate() {
            let (bytes, cost) = (i128::from(price.bytes) - i128::from(now.bytes), price.cost - now.cost);
            let change = Move { item, to, bytes, cost };
            if cost < 0.0 {
                better.push(change);
            } else if bytes < 0 && cost.is_finite() {
                smaller.push(change);
            }
        }
    }
    let room = i128::from(*left);
    let cheapest = Cheapest::of(smaller);
    let mut best: Option<(f64, Move, Option<Move>)> = None;
    let mut offer = |gain: f64, a: Move, b: Option<Move>| {
        if gain < best.as_ref().map_or(0.0, |(least, ..)| *least) {
            best = Some((gain, a, b));
        }
    };
    for up in &better {
        if up.bytes <= room {
            offer(up.cost, *up, None);
            continue;
        }
        if let Some(down) = cheapest.within(room - up.bytes, up.item) {
            offer(up.cost + down.cost, *up, Some(down));
        }
    }
    let Some((_, first, second)) = best else { return false };
    let moves = [Some(first), second];
    let grown: i128 = moves.iter().flatten().map(|m| m.bytes).sum();
    *left = u64::try_from(room - grown).unwrap_or(0);
    for m in moves.into_iter().flatten() {
        picks[m.item] = m.to;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn prices(of: &[(u64, f64)]) -> Vec<Price> {
        of.iter().map(|(bytes, cost)| Price { bytes: *bytes, cost: *cost }).collect()
    }

    fn sum(items: &[Vec<Price>], picks: &[usize]) -> (u64, f64) {
        let chosen = items.iter().zip(picks).map(|(prices, pick)| prices[*pick]);
        chosen.fold((0, 0.0), |(bytes, cost), p| (bytes + p.bytes, cost + p.cost))
    }

    /// The least cost of all choices.
    fn least(items: &[Vec<Price>], budget: u64) -> Option<f64> {
        let Some((first, rest)) = items.split_first() else { return Some(0.0) };
        let fits = first.iter().filter(|p| p.bytes <= budget);
        fits.filter_map(|p| Some(least(rest, budget - p.bytes)? + p.cost)).min_by(f64::total_cmp)
    }

    #[test]
    fn bytes_go_where_they_save_most() {
        let items = [prices(&[(1, 10.0), (2, 1.0), (3, 0.9)]), prices(&[(1, 3.0), (2, 2.0), (3, 0.0)])];
        for (budget, picks) in [(2, [0, 0]), (3, [1, 0]), (5, [1, 2]), (6, [2, 2]), (99, [2, 2])] {
            assert_eq!(solve(&items, budget, None).unwrap(), picks, "{budget}");
        }
        assert_eq!(solve(&items, 1, None), None);
        assert_eq!(solve(&[], 0, None), Some(vec![]));
        assert_eq!(solve(&[vec![]], 9, None), None);
    }

    #[test]
    fn what_costs_infinitely_is_left_when_there_is_room() {
        let items = [prices(&[(2, f64::INFINITY), (2, 1.0), (3, 0.0)])];
        assert_eq!(solve(&items, 2, None).unwrap(), [1]);
    }

    /// The best raises three for one; exchanges of two do not find that.
    #[test]
    fn a_choice_that_was_known_is_never_cheaper() {
        let three = [(1, 3.9), (5, 0.0)];
        let items = [prices(&[(1, 10.0), (11, 0.0)]), prices(&three), prices(&three), prices(&three)];
        let of = |known: Option<&[usize]>| solve(&items, 16, known).unwrap();
        assert_eq!(of(None), [1, 0, 0, 0]);
        assert_eq!(of(Some(&[0, 1, 1, 1])), [0, 1, 1, 1]);
        // It is improved too; what is too large or dearer changes nothing.
        assert_eq!(of(Some(&[0, 1, 1, 0])), [0, 1, 1, 1]);
        assert_eq!(of(Some(&[1, 1, 1, 1])), of(None));
        assert_eq!(of(Some(&[1, 0, 0, 0])), of(None));
        // One that costs infinitely whatever is taken hides nothing.
        let pinned = [&items[..], &[prices(&[(1, f64::INFINITY)])]].concat();
        assert_eq!(solve(&pinned, 17, Some(&[0, 1, 1, 1, 0])).unwrap(), [0, 1, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn never_above_the_budget_and_close_to_the_best(
            items in vec(vec((1u64..60, 0.0f64..100.0), 1..5), 1..6),
            budget in 1u64..200,
            seed in 0usize..60,
        ) {
            let items: Vec<Vec<Price>> = items.iter().map(|of| prices(of)).collect();
            let known: Vec<usize> = items.iter().map(|prices| seed % prices.len()).collect();
            match (solve(&items, budget, Some(&known)), least(&items, budget)) {
                (None, None) => {}
                (Some(picks), Some(least)) => {
                    let (bytes, cost) = sum(&items, &picks);
                    prop_assert!(bytes <= budget);
                    let (known_bytes, known_cost) = sum(&items, &known);
                    prop_assert!(known_bytes > budget || cost <= known_cost + 1e-9, "{} {}", cost, known_cost);
                    // What it may miss is less than one step of one tensor.
                    prop_assert!(cost <= least + 100.0, "{} {}", cost, least);
                }
                (found, least) => prop_assert!(false, "{found:?} {least:?}"),
            }
        }
    }
}
