//! Every merge method against a readable f64 oracle, bit for bit, and the same bits whatever the threads, the chunks
//! and, where the formula is symmetric, the order of the vectors.

#[path = "support/small.rs"]
mod small;

use ggraft::merge::{Graft, METHODS, Method, Options, Own, Params, Vector, weights::Rules};
use ggraft_formats::{DType, Model, Result, Tensor};
use sha2::{Digest, Sha256};
use small::{NAME, decode};

const ROWS: usize = 48;
const ROW: usize = 40;

/// Small weights around those of `around`, many of them equal to it, some of the same size.
fn near(around: &[f32], seed: u64) -> Vec<f32> {
    let mut next = small::numbers(seed);
    let mut moved = |x: &f32| match next() % 8 {
        0 => *x,
        1 => x + 0.0625,
        2 => x - 0.0625,
        _ => x + small::fraction(next()),
    };
    around.iter().map(&mut moved).collect()
}

/// CP, and two vectors' chat and base, whose values in BF16 often coincide.
struct Case {
    cp: Vec<f32>,
    pairs: [(Vec<f32>, Vec<f32>); 2],
    dtype: DType,
}

impl Case {
    fn new(dtype: DType) -> Case {
        let base = near(&[0.0; ROWS * ROW], 1);
        let other = near(&base, 2);
        let stored = |values: Vec<f32>| decode(&tensor(&values, dtype));
        Case {
            cp: stored(near(&base, 3)),
            pairs: [(stored(near(&base, 4)), stored(base)), (stored(near(&other, 5)), stored(other))],
            dtype,
        }
    }

    /// With the vectors in this order.
    fn graft(&self, order: &[usize], options: Options) -> Result<Graft> {
        let model = |values: &[f32]| model(values, self.dtype);
        let vector = |v: &usize| Vector { chat: model(&self.pairs[*v].0), base: model(&self.pairs[*v].1) };
        Graft::new(model(&self.cp), &order.iter().map(vector).collect::<Vec<_>>(), options)
    }

    fn tensor(&self, order: &[usize], options: Options, weights: &[f64]) -> Tensor {
        self.graft(order, options).unwrap().model(weights).unwrap().tensors[0].clone()
    }

    /// Differences of vector `v`.
    fn deltas(&self, v: usize) -> Vec<f64> {
        let (chat, base) = &self.pairs[v];
        chat.iter().zip(base).map(|(c, b)| f64::from(*c) - f64::from(*b)).collect()
    }
}

fn tensor(values: &[f32], dtype: DType) -> Tensor {
    small::tensor(values, ROW, dtype)
}

fn model(values: &[f32], dtype: DType) -> Model {
    small::model(tensor(values, dtype))
}

fn method(name: &str) -> &'static Method {
    METHODS.iter().find(|m| m.name == name).unwrap()
}

/// `name param=value …`
fn options(words: &str) -> Options {
    let mut words = words.split(' ');
    let method = method(words.next().unwrap());
    let params = Params::read(method, words.map(|w| w.split_once('=').unwrap())).unwrap();
    Options { params, ..method.into() }
}

/// Holds what `words` make of both vectors against `oracle`, which is told CP and the number of an element.
#[track_caller]
fn meets(words: &str, case: &Case, weights: &[f64], oracle: impl Fn(f64, usize) -> f64) {
    let order: Vec<usize> = (0..weights.len()).collect();
    let found = decode(&case.tensor(&order, options(words), weights));
    let mut changed = 0;
    for (i, (x, cp)) in found.iter().zip(&case.cp).enumerate() {
        let expected = oracle(f64::from(*cp), i) as f32;
        assert_eq!(x.to_bits(), expected.to_bits(), "{words} {weights:?}: element {i}: {x} {expected}");
        changed += usize::from(x != cp);
    }
    assert!(changed > 0, "{words}: nothing was merged");
}

fn cases() -> [Case; 2] {
    [Case::new(DType::F32), Case::new(DType::BF16)]
}

/// As the README says: a zero leaves CP as it is; several differences are added up by size.
fn plus(x: f64, mut deltas: Vec<f64>) -> f64 {
    deltas.sort_by(f64::total_cmp);
    let sum: f64 = deltas.iter().sum();
    if sum == 0.0 { x } else { x + sum }
}

const WEIGHTS: [&[f64]; 3] = [&[0.7], &[1.0, 0.3], &[-0.5, 0.8]];

#[test]
fn task_arithmetic() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        for w in WEIGHTS {
            meets("task_arithmetic", &case, w, |x, i| {
                plus(x, (0..w.len()).map(|v| w[v] * d[v][i]).collect())
            });
        }
    }
}

#[test]
fn linear() {
    for case in cases() {
        let toward = |v: usize, x: f64, i: usize| f64::from(case.pairs[v].0[i]) - x;
        for w in WEIGHTS {
            meets("linear", &case, w, |x, i| plus(x, (0..w.len()).map(|v| w[v] * toward(v, x, i)).collect()));
            let mut all = [&[2.0], w].concat();
            all.sort_by(f64::total_cmp);
            let total: f64 = all.iter().sum();
            meets("linear cp-weight=2", &case, w, |x, i| {
                let sum = plus(0.0, (0..w.len()).map(|v| w[v] * toward(v, x, i)).collect());
                plus(x, vec![sum / total])
            });
        }
        meets("linear", &case, &[1.0], |_, i| f64::from(case.pairs[0].0[i]));
    }
}

/// Sums over rows, and then over the rows' sums.
fn by_rows(term: impl Fn(usize) -> f64) -> f64 {
    let sums: Vec<f64> = (0..ROWS).map(|r| (r * ROW..(r + 1) * ROW).map(&term).sum()).collect();
    sums.into_iter().reduce(|a, b| a + b).unwrap()
}

#[test]
fn slerp() {
    for case in cases() {
        let cp: Vec<f64> = case.cp.iter().map(|x| f64::from(*x)).collect();
        let chat: Vec<f64> = case.pairs[0].0.iter().map(|x| f64::from(*x)).collect();
        let norm = |v: &[f64]| by_rows(|i| v[i] * v[i]).sqrt();
        let cos = by_rows(|i| cp[i] * chat[i]) / (norm(&cp) * norm(&chat));
        assert!(cos.abs() < 0.9995, "{cos}");
        let angle = libm::acos(cos);
        for t in [0.25, 0.5, 0.9] {
            let [a, b] = [(1.0 - t) * angle, t * angle].map(|a| libm::sin(a) / libm::sin(angle));
            meets("slerp", &case, &[t], |x, i| a * x + b * chat[i]);
        }
        meets("slerp", &case, &[1.0], |_, i| chat[i]);
        assert_eq!(decode(&case.tensor(&[0], options("slerp"), &[0.0])), case.cp);
    }
}

#[test]
fn slerp_of_nearly_parallel_tensors_is_linear() {
    let mut case = Case::new(DType::F32);
    case.pairs[0].0 = case.cp.iter().map(|x| x * 1.5).collect();
    let chat = case.pairs[0].0.clone();
    meets("slerp", &case, &[0.3], |x, i| plus(x, vec![0.3 * (f64::from(chat[i]) - x)]));
}

/// The magnitude of rank `rank`, by sorting.
fn magnitude(d: &[f64], rank: usize) -> f32 {
    let mut sizes: Vec<f32> = d.iter().map(|d| d.abs() as f32).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    sizes[rank]
}

/// TIES' election: of the weighted differences `d` those with the sign of their sum are added, and divided by their
/// weights.
fn elect(x: f64, d: &[f64], w: &[f64], lambda: f64, normalize: bool) -> f64 {
    let mut votes: Vec<(f64, f64)> = d.iter().zip(w).map(|(d, w)| (w * d, *w)).collect();
    votes.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let positive = votes.iter().map(|v| v.0).sum::<f64>() >= 0.0;
    votes.retain(|v| if positive { v.0 > 0.0 } else { v.0 < 0.0 });
    let sum = votes.iter().fold(0.0, |sum, v| sum + v.0);
    let share = votes.iter().fold(0.0, |sum, v| sum + v.1);
    plus(x, vec![lambda * if normalize && share != 0.0 { sum / share } else { sum }])
}

#[test]
fn ties() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        for density in [0.1, 0.5, 1.0] {
            let k = (density * (ROWS * ROW) as f64) as usize;
            let least = [magnitude(&d[0], k - 1), magnitude(&d[1], k - 1)];
            let trimmed = |v: usize, i: usize| if d[v][i].abs() as f32 >= least[v] { d[v][i] } else { 0.0 };
            for w in WEIGHTS {
                let all = |i| (0..w.len()).map(|v| trimmed(v, i)).collect::<Vec<_>>();
                let words = format!("ties density={density}");
                meets(&words, &case, w, |x, i| elect(x, &all(i), w, 1.0, w.len() > 1));
                let words = words + " normalize=false lambda=0.5";
                meets(&words, &case, w, |x, i| elect(x, &all(i), w, 0.5, false));
            }
        }
    }
}

#[test]
fn breadcrumbs() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        let n = (ROWS * ROW) as f64;
        for (density, gamma) in [(0.3, 0.01), (0.6, 0.2), (0.95, 0.2), (1.0, 0.01)] {
            let kept = (density * n) as usize;
            let dropped = ((gamma * n) as usize).min(ROWS * ROW - kept);
            let bounds = [0, 1].map(|v| (magnitude(&d[v], dropped), magnitude(&d[v], dropped + kept - 1)));
            for w in WEIGHTS {
                meets(&format!("breadcrumbs density={density} gamma={gamma}"), &case, w, |x, i| {
                    let crumb = |v: usize| {
                        let size = d[v][i].abs() as f32;
                        if size <= bounds[v].0 && size >= bounds[v].1 { w[v] * d[v][i] } else { 0.0 }
                    };
                    plus(x, (0..w.len()).map(crumb).collect())
                });
            }
        }
    }
}

/// Whether DARE keeps an element: the first 53 bits of SplitMix64, whose state starts at a hash of seed, vector and
/// tensor name, against the density.
fn keeps(seed: u64, vector: u64, element: usize, density: f64) -> bool {
    let text = [&seed.to_le_bytes()[..], &vector.to_le_bytes(), NAME.as_bytes()].concat();
    let key = u64::from_le_bytes(Sha256::digest(text)[..8].try_into().unwrap());
    let mut z = key.wrapping_add((element as u64 + 1).wrapping_mul(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    let draw = ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(53);
    draw < density
}

#[test]
fn dare() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        for (density, seed) in [(0.1, 0), (0.5, 7), (1.0, 0)] {
            let thinned = [0, 1].map(|v| -> Vec<f64> {
                let keep = |i: usize| if keeps(seed, v as u64, i, density) { d[v][i] } else { 0.0 };
                (0..ROWS * ROW).map(keep).collect()
            });
            let share = thinned[0].iter().filter(|d| **d != 0.0).count() as f64
                / d[0].iter().filter(|d| **d != 0.0).count() as f64;
            assert!((share - density).abs() < 0.04, "{share} of the elements were kept");
            let norms = [0, 1].map(|v| by_rows(|i| d[v][i].abs()) / by_rows(|i| thinned[v][i].abs()));
            for (rescale, scales) in [("norm", norms), ("density", [1.0 / density; 2]), ("none", [1.0; 2])] {
                for w in WEIGHTS {
                    let all = |i| (0..w.len()).map(|v| scales[v] * thinned[v][i]).collect::<Vec<f64>>();
                    let words = format!("density={density} seed={seed} rescale={rescale}");
                    meets(&format!("dare_linear {words}"), &case, w, |x, i| {
                        plus(x, all(i).iter().zip(w).map(|(d, w)| w * d).collect())
                    });
                    let words = format!("dare_ties {words}");
                    meets(&words, &case, w, |x, i| elect(x, &all(i), w, 1.0, false));
                    meets(&(words + " normalize=true"), &case, w, |x, i| elect(x, &all(i), w, 1.0, true));
                }
            }
        }
    }
}

#[test]
fn gated() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        let moved = [0, 1].map(|v| -> Vec<f64> {
            let pairs = case.cp.iter().zip(&case.pairs[v].1);
            pairs.map(|(x, b)| (f64::from(*x) - f64::from(*b)).abs()).collect()
        });
        let ends = [0, 1].map(|v| {
            let moved = &moved[v];
            (moved.iter().copied().fold(f64::MAX, f64::min), moved.iter().copied().fold(0.0, f64::max))
        });
        for w in WEIGHTS {
            meets("gated", &case, w, |x, i| {
                let gate = |v: usize| {
                    let n = (moved[v][i] - ends[v].0) / (ends[v].1 - ends[v].0);
                    1.0 / (1.0 + libm::exp(12.0 * n - 6.0))
                };
                plus(x, (0..w.len()).map(|v| w[v] * gate(v) * d[v][i]).collect())
            });
        }
    }
}

/// Where CP moved everywhere alike there is no conflict to gate.
#[test]
fn gated_without_conflict_is_task_arithmetic() {
    let mut case = Case::new(DType::F32);
    case.cp = case.pairs[0].1.clone();
    let d = case.deltas(0);
    meets("gated", &case, &[0.7], |x, i| plus(x, vec![0.7 * d[i]]));
}

/// As [`meets`], where an oracle that goes another way may round otherwise in the last place.
#[track_caller]
fn meets_nearly(words: &str, case: &Case, weights: &[f64], oracle: &[f64]) {
    let order: Vec<usize> = (0..weights.len()).collect();
    let found = decode(&case.tensor(&order, options(words), weights));
    for (i, (x, expected)) in found.iter().zip(oracle).enumerate() {
        let close = (f64::from(*x) - expected).abs() <= expected.abs() * 2f64.powi(-23) + 1e-40;
        assert!(close, "{words} {weights:?}: element {i}: {x} {expected}");
    }
    assert!(found != case.cp, "{words}: nothing was merged");
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// How much of the mean of two vectors model stock takes.
fn stock(a: &[f64], b: &[f64]) -> f64 {
    let cos = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()).max(1e-6);
    2.0 * cos / (1.0 + cos)
}

#[test]
fn model_stock() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        for w in &WEIGHTS[1..] {
            let all = |t: &dyn Fn(usize) -> f64| -> Vec<f64> {
                (0..ROWS * ROW)
                    .map(|i| f64::from(case.cp[i]) + t(i) * (w[0] * d[0][i] + w[1] * d[1][i]) / 2.0)
                    .collect()
            };
            let whole = stock(&d[0], &d[1]);
            assert!(whole.abs() > 0.01);
            meets_nearly("model_stock", &case, w, &all(&|_| whole));
            let row = |i: usize| i / ROW * ROW..(i / ROW + 1) * ROW;
            meets_nearly(
                "model_stock filter_wise=true",
                &case,
                w,
                &all(&|i| stock(&d[0][row(i)], &d[1][row(i)])),
            );
        }
    }
}

/// The point between `a` and `b`, as mergekit has it.
fn arc(a: &[f64], b: &[f64], [s, t]: [f64; 2]) -> Vec<f64> {
    let unit = |v: &[f64]| v.iter().map(|x| x / dot(v, v).sqrt().max(1e-7)).collect::<Vec<_>>();
    let angle = dot(&unit(a), &unit(b)).clamp(-1.0, 1.0).acos();
    let [s, t] = match angle.sin().abs() < 1e-8 {
        true => [s, t],
        false => [s, t].map(|part| (part * angle).sin() / angle.sin()),
    };
    a.iter().zip(b).map(|(x, y)| s * x + t * y).collect()
}

/// Columns as rows, and back.
fn turned(values: &[f64], row: usize) -> Vec<f64> {
    (0..row).flat_map(|c| values.chunks(row).map(move |r| r[c])).collect()
}

#[test]
fn nuslerp() {
    for case in cases() {
        let (cp, chats) = (wide(&case.cp), case.pairs.each_ref().map(|pair| wide(&pair.0)));
        let moved = |v: usize| chats[v].iter().zip(&cp).map(|(c, x)| c - x).collect::<Vec<_>>();
        let by = |a: &[f64], b: &[f64], row: usize, shares: [f64; 2]| -> Vec<f64> {
            a.chunks(row).zip(b.chunks(row)).flat_map(|(a, b)| arc(a, b, shares)).collect()
        };
        let ways = |a: &[f64], b: &[f64], shares: [f64; 2]| {
            let columns = by(&turned(a, ROW), &turned(b, ROW), ROWS, shares);
            [by(a, b, ROWS * ROW, shares), by(a, b, ROW, shares), turned(&columns, ROWS)]
        };
        let words = ["", " nuslerp_flatten=false", " nuslerp_flatten=false nuslerp_row_wise=true"];
        for (words, expected) in words.iter().zip(ways(&cp, &chats[0], [0.75, 0.25])) {
            meets_nearly(&format!("nuslerp{words}"), &case, &[0.25], &expected);
        }
        for (words, moved) in words.iter().zip(ways(&moved(0), &moved(1), [0.25, 0.75])) {
            let expected: Vec<f64> = cp.iter().zip(moved).map(|(x, d)| x + d).collect();
            meets_nearly(&format!("nuslerp{words}"), &case, &[0.5, 1.5], &expected);
        }
        meets("nuslerp", &case, &[1.0], |_, i| chats[0][i]);
    }
}

/// The mean on the sphere, by steps on whole tensors.
fn sphere(models: &[Vec<f64>], weights: &[f64], steps: usize, tol: f64) -> Vec<f64> {
    let scaled = |v: &[f64], by: f64| v.iter().map(|x| x * by).collect::<Vec<_>>();
    let length = |v: &[f64]| dot(v, v).sqrt();
    let total: f64 = weights.iter().sum();
    let units: Vec<Vec<f64>> = models.iter().map(|m| scaled(m, 1.0 / length(m))).collect();
    let sum = |parts: Vec<Vec<f64>>| {
        (0..ROWS * ROW).map(|i| parts.iter().map(|p| p[i]).sum::<f64>()).collect::<Vec<_>>()
    };
    let mut at = sum(units.iter().zip(weights).map(|(u, w)| scaled(u, w / total)).collect());
    at = scaled(&at, 1.0 / length(&at));
    for _ in 0..steps {
        let toward = units.iter().zip(weights).map(|(u, w)| {
            let cos = dot(&at, u).clamp(-1.0, 1.0);
            let step: Vec<f64> = u.iter().zip(&at).map(|(u, x)| u - cos * x).collect();
            if cos.acos() < tol {
                vec![0.0; at.len()]
            } else {
                scaled(&step, w / total * cos.acos() / cos.acos().sin())
            }
        });
        let step = sum(toward.collect());
        let n = length(&step);
        if n < tol {
            break;
        }
        at = at.iter().zip(&step).map(|(x, s)| n.cos() * x + n.sin() / n * s).collect();
        at = scaled(&at, 1.0 / length(&at));
    }
    scaled(&at, models.iter().zip(weights).map(|(m, w)| w / total * length(m)).sum())
}

#[test]
fn karcher() {
    for case in cases() {
        let models = [wide(&case.cp), wide(&case.pairs[0].0), wide(&case.pairs[1].0)];
        meets_nearly("karcher", &case, &[1.0, 1.0], &sphere(&models, &[1.0; 3], 10, 1e-5));
        meets_nearly("karcher cp-weight=0", &case, &[1.0], &wide(&case.pairs[0].0));
        let words = "karcher cp-weight=0.5 max_iter=100 tol=0.0000000001";
        meets_nearly(words, &case, &[1.0, 3.0], &sphere(&models, &[0.5, 1.0, 3.0], 100, 1e-10));
        meets_nearly("karcher max_iter=1", &case, &[0.5], &sphere(&models[..2], &[1.0, 0.5], 1, 1e-5));
    }
    let mut case = Case::new(DType::F32);
    case.cp = vec![0.0; ROWS * ROW];
    // What has no direction has a length still.
    let half: Vec<f64> = case.pairs[0].0.iter().map(|x| f64::from(*x) / 2.0).collect();
    meets_nearly("karcher", &case, &[1.0], &half);
}

#[test]
fn sce() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        for topk in [1.0, 0.6, 0.1] {
            for w in WEIGHTS {
                let n = w.len() as f64;
                let variance = |i: usize| {
                    let mean = d[..w.len()].iter().map(|d| d[i]).sum::<f64>() / n;
                    (d[..w.len()].iter().map(|d| (d[i] - mean).powi(2)).sum::<f64>() / n) as f32
                };
                let mut differing: Vec<f32> = (0..ROWS * ROW).map(variance).filter(|v| *v > 0.0).collect();
                differing.sort_by(|a, b| b.total_cmp(a));
                let count = (topk * differing.len() as f64) as usize;
                if topk < 1.0 && count == 0 {
                    assert_eq!(
                        decode(&case.tensor(&[0], options(&format!("sce select_topk={topk}")), w)),
                        case.cp
                    );
                    continue;
                }
                let selected =
                    |i: usize| topk == 1.0 || variance(i) > 0.0 && variance(i) >= differing[count - 1];
                let square =
                    |v: usize| (0..ROWS * ROW).filter(|i| selected(*i)).map(|i| d[v][i].powi(2)).sum();
                let squares: Vec<f64> = (0..w.len()).map(square).collect();
                let total: f64 = squares.iter().sum();
                let expected: Vec<f64> = (0..ROWS * ROW)
                    .map(|i| {
                        let sum: f64 = (0..w.len()).map(|v| d[v][i]).sum();
                        let agree = |v: &usize| {
                            selected(i) && if sum >= 0.0 { d[*v][i] > 0.0 } else { d[*v][i] < 0.0 }
                        };
                        let agreeing: Vec<usize> = (0..w.len()).filter(agree).collect();
                        let shares: f64 = agreeing.iter().map(|v| squares[*v] / total).sum();
                        let mixed: f64 =
                            agreeing.iter().map(|v| w[*v] * squares[*v] / total * d[*v][i]).sum();
                        f64::from(case.cp[i]) + mixed / shares.max(1e-6)
                    })
                    .collect();
                meets_nearly(&format!("sce select_topk={topk}"), &case, w, &expected);
            }
        }
    }
}

/// How likely DELLA keeps an element: by its rank among the sizes of its row.
fn chance(deltas: &[f64], i: usize, density: f64, epsilon: f64) -> f64 {
    let row = &deltas[i / ROW * ROW..(i / ROW + 1) * ROW];
    let size = deltas[i].abs();
    let below = row.iter().filter(|d| d.abs() < size).count() as f64;
    let equal = row.iter().filter(|d| d.abs() == size).count() as f64;
    let rank = below + (equal - 1.0) / 2.0;
    density - epsilon + rank / (ROW as f64 - 1.0) * 2.0 * epsilon
}

#[test]
fn della() {
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        let (density, epsilon, seed) = (0.4, 0.3, 7);
        let probability = |v: usize, i: usize| chance(&d[v], i, density, epsilon);
        let kept = [0, 1].map(|v: usize| -> Vec<bool> {
            (0..ROWS * ROW).map(|i| keeps(seed, v as u64, i, probability(v, i))).collect()
        });
        let count = kept[0].iter().filter(|kept| **kept).count() as f64;
        assert!((count / (ROWS * ROW) as f64 - density).abs() < 0.04, "{count} elements were kept");
        let norms = [0, 1]
            .map(|v| by_rows(|i| d[v][i].abs()) / by_rows(|i| if kept[v][i] { d[v][i].abs() } else { 0.0 }));
        for rescale in ["norm", "density", "none"] {
            let left = |v: usize, i: usize| {
                let scale = match rescale {
                    "norm" => norms[v],
                    "density" => 1.0 / probability(v, i),
                    _ => 1.0,
                };
                if kept[v][i] { scale * d[v][i] } else { 0.0 }
            };
            for w in WEIGHTS {
                let all = |i| (0..w.len()).map(|v| left(v, i)).collect::<Vec<f64>>();
                let words = format!("density={density} epsilon={epsilon} seed={seed} rescale={rescale}");
                meets(&format!("della_linear {words}"), &case, w, |x, i| {
                    plus(x, all(i).iter().zip(w).map(|(d, w)| w * d).collect())
                });
                meets(&format!("della {words}"), &case, w, |x, i| elect(x, &all(i), w, 1.0, w.len() > 1));
                let words = format!("della {words} normalize=false lambda=0.5");
                meets(&words, &case, w, |x, i| elect(x, &all(i), w, 0.5, false));
            }
        }
        meets("della_linear", &case, &[0.7], |x, i| plus(x, vec![0.7 * d[0][i]]));
    }
}

#[test]
fn arcee_fusion() {
    for case in cases() {
        let (cp, chat) = (wide(&case.cp), wide(&case.pairs[0].0));
        let softmax = |row: &[f64]| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(|x| x.exp() / sum + 1e-8).collect::<Vec<_>>()
        };
        let scores: Vec<f32> = cp
            .chunks(ROW)
            .zip(chat.chunks(ROW))
            .flat_map(|(x, c)| {
                let (p, q) = (softmax(c), softmax(x));
                let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
                x.iter().zip(c).map(|(x, c)| ((c - x).abs() * divergence) as f32).collect::<Vec<_>>()
            })
            .collect();
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        let quantile = |q: f64| f64::from(sorted[(q * (sorted.len() - 1) as f64) as usize]);
        let least = quantile(0.5) + 1.5 * (quantile(0.75) - quantile(0.25));
        let moved = scores.iter().filter(|s| f64::from(**s) >= least).count();
        assert!((20..ROWS * ROW / 4).contains(&moved), "{moved} outliers");
        for w in [1.0, 0.5] {
            let expected: Vec<f64> = (0..ROWS * ROW)
                .map(|i| if f64::from(scores[i]) >= least { cp[i] + w * (chat[i] - cp[i]) } else { cp[i] })
                .collect();
            meets_nearly("arcee_fusion", &case, &[w], &expected);
        }
    }
}

const ALL: [&str; 16] = [
    "task_arithmetic",
    "gated",
    "linear cp-weight=0.1",
    "slerp",
    "ties density=0.3",
    "dare_linear density=0.3",
    "dare_ties density=0.3 normalize=true",
    "breadcrumbs density=0.3",
    "model_stock",
    "nuslerp",
    "karcher",
    "sce select_topk=0.3",
    "della density=0.3",
    "della_linear density=0.3",
    "arcee_fusion",
    "passthrough",
];

/// How many vectors each test of `words` can take.
fn order(words: &str) -> &'static [usize] {
    match words {
        "passthrough" => &[],
        "slerp" | "arcee_fusion" => &[0],
        _ => &[0, 1],
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn the_list_is_tested() {
    let names: Vec<&str> = METHODS.iter().map(|m| m.name).collect();
    assert_eq!(names, ALL.map(|words| words.split(' ').next().unwrap()));
}

#[test]
fn any_threads_and_chunks_give_the_same_bits() {
    let case = Case::new(DType::BF16);
    let more = [
        "nuslerp nuslerp_flatten=false",
        "nuslerp nuslerp_flatten=false nuslerp_row_wise=true",
        "model_stock filter_wise=true",
    ];
    for words in ALL.into_iter().chain(more) {
        let weights = [0.5, 0.25];
        let fresh = || case.tensor(order(words), options(words), &weights[..order(words).len()]);
        let expected = decode(&fresh());
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for chunk in [1, 5, 48] {
                let tensor = fresh();
                let next = std::sync::atomic::AtomicUsize::new(0);
                let parts = pool.broadcast(|_| {
                    let mut parts = Vec::new();
                    loop {
                        let first = next.fetch_add(chunk, std::sync::atomic::Ordering::Relaxed);
                        if first >= ROWS {
                            return parts;
                        }
                        let rows = first..ROWS.min(first + chunk);
                        let mut values = vec![0.0; rows.len() * ROW];
                        tensor.decode_rows(rows, &mut values).unwrap();
                        parts.push((first, values));
                    }
                });
                let mut parts = parts.concat();
                parts.sort_by_key(|(first, _)| *first);
                let found: Vec<f32> = parts.into_iter().flat_map(|(_, values)| values).collect();
                assert_eq!(
                    bits(&found),
                    bits(&expected),
                    "{words}: {threads} threads, {chunk} rows at a time"
                );
            }
        }
    }
}

/// All but DARE and DELLA, which drop other elements of each vector.
#[test]
fn vectors_in_any_order_give_the_same_bits() {
    let case = Case::new(DType::BF16);
    for words in ALL.iter().filter(|words| order(words).len() > 1 && !words.starts_with('d')) {
        let ahead = decode(&case.tensor(&[0, 1], options(words), &[0.5, 0.3]));
        let back = decode(&case.tensor(&[1, 0], options(words), &[0.3, 0.5]));
        assert_eq!(bits(&ahead), bits(&back), "{words}");
    }
}

#[test]
fn weight_zero_gives_cp() {
    let mut case = Case::new(DType::F32);
    case.cp[..3].copy_from_slice(&[-0.0, 0.0, -1e-40]);
    for words in ALL.iter().filter(|words| !words.starts_with("linear")).chain(&["linear"]) {
        let zeros = &[0.0, 0.0][..order(words).len()];
        let found = decode(&case.tensor(order(words), options(words), zeros));
        assert_eq!(bits(&found), bits(&case.cp), "{words}");
    }
}

/// A rule scales what is added, also where a method divides by the weights.
#[test]
fn rules_scale_every_method() {
    let case = Case::new(DType::F32);
    for words in ["task_arithmetic", "ties density=0.3", "dare_ties density=0.3 normalize=true", "linear"] {
        let ruled = || Options { rules: Rules::parse([], ["*=0.5"]).unwrap(), ..options(words) };
        let whole = decode(&case.tensor(&[0, 1], options(words), &[1.0, 0.5]));
        let half = decode(&case.tensor(&[0, 1], ruled(), &[1.0, 0.5]));
        for ((x, whole), half) in case.cp.iter().zip(whole).zip(half) {
            assert!((whole - x - 2.0 * (half - x)).abs() < 1e-6, "{words}: {x} {half} {whole}");
        }
    }
}

/// Each vector has a density and a share of its own: rules by tensor, of which one matches, and the common value else.
#[test]
fn vectors_have_parameters_of_their_own() {
    let own = |words: &str, each: [(&str, &[(&str, &str)]); 2]| {
        let common = options(words);
        let read = |(weights, params): (&str, &[(&str, &str)])| {
            let params = params.iter().map(|(name, rule)| (*name, vec![*rule]));
            let weights = Rules::parse([], [weights].into_iter().filter(|rule| !rule.is_empty())).unwrap();
            Own::new(common.method, &common.params, weights, params).unwrap()
        };
        Options { own: each.map(read).to_vec(), ..common }
    };
    let w = [0.8, 0.5];
    for case in cases() {
        let d = [case.deltas(0), case.deltas(1)];
        let n = (ROWS * ROW) as f64;
        let each: [(&str, &[(&str, &str)]); 2] = [("", &[("density", "*=0.1")]), ("*=0.25", &[])];
        let meets = |words: &str, oracle: &dyn Fn(f64, usize) -> f64| {
            for order in [[0, 1], [1, 0]] {
                let options = own(words, order.map(|v| each[v]));
                // What DARE and DELLA drop depends on the place of a vector.
                if words.starts_with('d') && order[0] > 0 {
                    continue;
                }
                let found = decode(&case.tensor(&order, options, &order.map(|v| w[v])));
                let expected: Vec<f32> =
                    case.cp.iter().enumerate().map(|(i, x)| oracle(f64::from(*x), i) as f32).collect();
                assert_eq!(bits(&found), bits(&expected), "{words} {order:?}");
            }
        };
        let shares = [w[0], w[1] * 0.25];
        let least = [(0.1, 0), (0.6, 1)].map(|(density, v)| magnitude(&d[v], (density * n) as usize - 1));
        let trimmed = |i: usize| [0, 1].map(|v| if d[v][i].abs() as f32 >= least[v] { d[v][i] } else { 0.0 });
        meets("ties density=0.6", &|x, i| elect(x, &trimmed(i), &shares, 1.0, true));
        meets("ties density=0.6 normalize=false", &|x, i| elect(x, &trimmed(i), &shares, 1.0, false));
        let crumbs = [(0.1, 0), (1.0, 1)].map(|(density, v)| {
            let dropped = ((0.2 * n) as usize).min((n - density * n) as usize);
            [dropped, dropped + (density * n) as usize - 1].map(|rank| magnitude(&d[v], rank))
        });
        meets("breadcrumbs gamma=0.2", &|x, i| {
            let crumb = |v: usize| {
                let (size, [most, least]) = (d[v][i].abs() as f32, crumbs[v]);
                if (least..=most).contains(&size) { shares[v] * d[v][i] } else { 0.0 }
            };
            plus(x, vec![crumb(0), crumb(1)])
        });
        meets("dare_linear density=0.6 rescale=none", &|x, i| {
            let kept = |v: usize, density| if keeps(0, v as u64, i, density) { d[v][i] } else { 0.0 };
            plus(x, vec![shares[0] * kept(0, 0.1), shares[1] * kept(1, 0.6)])
        });
        meets("dare_ties density=0.6 rescale=none", &|x, i| {
            let kept = |v: usize, density| if keeps(0, v as u64, i, density) { d[v][i] } else { 0.0 };
            elect(x, &[kept(0, 0.1), kept(1, 0.6)], &shares, 1.0, false)
        });
        for rescale in ["none", "density"] {
            let left = |v: usize, i: usize, density| {
                let chance = chance(&d[v], i, density, 0.05);
                let scale = if rescale == "density" { 1.0 / chance } else { 1.0 };
                if keeps(0, v as u64, i, chance) { scale * d[v][i] } else { 0.0 }
            };
            let words = format!("density=0.6 epsilon=0.05 rescale={rescale}");
            meets(&format!("della_linear {words}"), &|x, i| {
                plus(x, vec![shares[0] * left(0, i, 0.1), shares[1] * left(1, i, 0.6)])
            });
            meets(&format!("della {words}"), &|x, i| {
                elect(x, &[left(0, i, 0.1), left(1, i, 0.6)], &shares, 1.0, true)
            });
        }
        // What a mean divides by is each vector's own share.
        let mean = Options {
            own: [vec![], vec!["*=0.25"]]
                .map(|rules| {
                    let rules = Rules::parse([], rules).unwrap();
                    Own::new(method("linear"), &Params::default(), rules, []).unwrap()
                })
                .to_vec(),
            ..options("linear cp-weight=2")
        };
        let total = shares[1] + shares[0] + 2.0;
        let found = decode(&case.tensor(&[0, 1], mean, &w));
        for (i, (found, x)) in found.iter().zip(&case.cp).enumerate() {
            let x = f64::from(*x);
            let toward = |v: usize| shares[v] * (f64::from(case.pairs[v].0[i]) - x);
            let expected = plus(x, vec![plus(0.0, vec![toward(0), toward(1)]) / total]) as f32;
            assert_eq!(found.to_bits(), expected.to_bits(), "linear, element {i}");
        }
    }
    let case = Case::new(DType::F32);
    let refused = |words: &str, params: &[(&str, &str)]| {
        case.graft(&[0, 1], own(words, [("", params), ("", &[])])).err().unwrap().to_string()
    };
    assert!(refused("ties", &[("density", "*=1.5")]).contains("out of range"));
    assert!(refused("ties", &[("density", "none=0.5")]).contains("matches no tensor"));
    assert!(
        refused("della density=0.5", &[("epsilon", "*=0.49"), ("density", "*=0.2")]).contains("go together")
    );
    let ties = method("ties");
    let e = Own::new(ties, &Params::default(), Rules::default(), [("lambda", vec!["*=1"])]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "a vector of the method ties has no such parameter of its own: expected density, found lambda"
    );
}

#[test]
fn parameters_and_weights_that_a_method_cannot_take() {
    let read = |name: &str, param: &str| {
        let e = Params::read(method(name), [param.split_once('=').unwrap()]).unwrap_err();
        assert_eq!(e.kind().exit_code(), 2);
        e.to_string()
    };
    assert_eq!(
        read("ties", "gamma=0.1"),
        "the method ties has no such parameter: expected density, lambda, normalize, found gamma; leave it out"
    );
    assert_eq!(
        read("slerp", "density=0.1"),
        "the method slerp has no such parameter: expected no parameters, found density; leave it out"
    );
    assert_eq!(
        read("ties", "density=1.5"),
        "the parameter density of the method ties is out of range: expected a number above 0, at most 1, found 1.5"
    );
    for (name, param) in [
        ("ties", "density=0"),
        ("ties", "density=nan"),
        ("ties", "normalize=1"),
        ("breadcrumbs", "gamma=1"),
        ("dare_linear", "seed=-1"),
        ("dare_linear", "rescale=l2"),
        ("linear", "cp-weight=inf"),
        ("karcher", "max_iter=0"),
        ("karcher", "tol=0"),
        ("sce", "select_topk=1.5"),
        ("della", "epsilon=0.5"),
    ] {
        assert!(read(name, param).contains("out of range"));
    }
    let case = Case::new(DType::F32);
    let refused = |words: &str, order: &[usize], weights: &[f64]| {
        let e = case.graft(order, options(words)).and_then(|g| g.model(weights)).err().unwrap();
        assert_eq!(e.kind().exit_code(), 2);
        e.to_string()
    };
    assert_eq!(
        refused("slerp", &[0, 1], &[0.5, 0.5]),
        "the method slerp takes fewer vectors: expected at most 1, found 2"
    );
    assert_eq!(
        refused("model_stock", &[0], &[0.5]),
        "the method model_stock takes several vectors: expected at least 2, found 1; \
         give each as --vector CHAT:BASE:W, with the --onto model as BASE"
    );
    assert_eq!(
        refused("della density=0.1", &[0], &[0.5]),
        "density and epsilon of della do not go together: expected density - epsilon above 0 and density + epsilon \
         below 1, or a density of 1, found density=0.1 epsilon=0.15"
    );
    assert_eq!(
        refused("karcher", &[0], &[-1.0]),
        "tensor 'blk.0.attn_q.weight': a mean on the sphere takes no negative weights: expected weights from 0 on, found -1"
    );
    assert_eq!(
        refused("nuslerp", &[0, 1], &[1.0, -1.0]),
        "tensor 'blk.0.attn_q.weight': the two weights of nuslerp must not add up to zero: found 1, -1"
    );
    assert_eq!(
        refused("slerp", &[0], &[1.5]),
        "tensor 'blk.0.attn_q.weight': slerp goes from onto to chat: expected a weight from 0 to 1, found 1.5"
    );
    assert_eq!(
        refused("linear cp-weight=-1", &[0], &[1.0]),
        "tensor 'blk.0.attn_q.weight': the weights of a linear merge must not add up to zero; \
         choose another --weight or cp-weight"
    );
}
