//! How fast the codecs are on one thread: `cargo bench -p ggraft-formats`, with a part of a name to choose.
//! With `GGRAFT_LLAMA_CPP` set, a table follows that compares them with llama.cpp in this very process, round by round
//! in turn and by the thread's own time, so that what else the machine does slows both or neither: medians of the
//! rounds. See README.md.

#[path = "../../tests/peer/mod.rs"]
mod peer;
// The tests use more of it.
#[allow(dead_code)]
#[path = "../../tests/support/rng.rs"]
mod rng;
#[allow(dead_code)]
#[path = "../../tests/support/weights.rs"]
mod weights;

use cpu_time::ThreadTime;
use criterion::{Criterion, Throughput};
use ggraft_formats::DType;
use ggraft_formats::quant::By;
use ggraft_formats::simd::{self, Level};
use peer::{Peer, peer};
use std::hint::black_box;
use std::time::Duration;
use weights::{Importance, Kind};

const ROW: usize = 4096;
const WEIGHTS: usize = 8 * ROW;

/// One thing to measure.
struct Case {
    dtype: DType,
    what: What,
    weights: Vec<f32>,
    columns: Option<Vec<f32>>,
    blocks: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum What {
    Plain,
    Imatrix,
    Decode,
}

impl Case {
    fn new(dtype: DType, what: What) -> Case {
        let importance = if what == What::Imatrix { Importance::Measured } else { Importance::Plain };
        let mut case = Case {
            dtype,
            what,
            weights: Kind::Bf16Gaussian.weights(WEIGHTS / ROW, ROW),
            columns: importance.weights(ROW),
            blocks: vec![0; WEIGHTS / dtype.block() * dtype.traits().bytes],
        };
        if let (What::Decode, Some(encode)) = (what, dtype.traits().encode) {
            encode(&case.weights, ROW, By::default(), &mut case.blocks);
        }
        case
    }

    fn all() -> impl Iterator<Item = Case> {
        let codecs = DType::all().filter(|d| d.traits().encode.is_some());
        let cases = codecs.flat_map(|d| [What::Plain, What::Imatrix, What::Decode].map(|what| (d, what)));
        // llama.cpp aborts where a dtype needs importance weights and has none.
        let cases = cases.filter(|(d, what)| *what != What::Plain || d.traits().plain);
        cases.map(|(d, what)| Case::new(d, what))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.dtype, format!("{:?}", self.what).to_lowercase())
    }

    fn ours(&mut self) {
        let traits = self.dtype.traits();
        match (self.what, traits.encode, traits.decode) {
            (What::Decode, _, Some(decode)) => decode(&self.blocks, &mut self.weights),
            (_, Some(encode), _) => {
                let by = By { weights: self.columns.as_deref(), ..By::default() };
                encode(&self.weights, ROW, by, &mut self.blocks);
            }
            _ => {}
        }
        black_box((&self.weights, &self.blocks));
    }

    fn theirs(&mut self, peer: &Peer) {
        let columns = self.columns.as_deref();
        match self.what {
            What::Decode => self.weights = peer.dequantize(self.dtype, &self.blocks),
            _ => peer.quantize_into(self.dtype, &self.weights, ROW, columns, &mut self.blocks),
        }
        black_box((&self.weights, &self.blocks));
    }

    /// The median rates of both, in weights a second, and the median of the ratios of the rounds.
    fn compare(&mut self, peer: &Peer, level: Option<Level>) -> (f64, f64, f64) {
        const ROUNDS: usize = 75;
        const ROUND: Duration = Duration::from_millis(2);
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let a = simd::at(level, || rate(ROUND, || self.ours()));
            let b = rate(ROUND, || self.theirs(peer));
            ours.push(a);
            theirs.push(b);
            ratios.push(a / b);
        }
        (median(ours), median(theirs), median(ratios))
    }
}

/// Weights a second of the thread's own time, over at least `time` and one run.
fn rate(time: Duration, mut run: impl FnMut()) -> f64 {
    let start = ThreadTime::now();
    for runs in 1.. {
        run();
        let elapsed = start.elapsed();
        if elapsed >= time {
            return (runs * WEIGHTS) as f64 / elapsed.as_secs_f64();
        }
    }
    0.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(filter: &str) {
    let Some(peer) = peer() else { return };
    let levels = simd::levels();
    let (names, rules): (String, String) =
        levels.iter().map(|level| (format!(" {} |", name(*level)), "---|")).unzip();
    println!("\n| codec | llama.cpp | ours |{names}\n|---|---|---|{rules}");
    for mut case in Case::all().filter(|case| format!("ratio/{}", case.name()).contains(filter)) {
        let found: Vec<_> = levels.iter().map(|level| case.compare(peer, *level)).collect();
        let (ours, theirs, _) = found[found.len() - 1];
        let ratios: String = found.iter().map(|(_, _, ratio)| format!(" {ratio:.1} |")).collect();
        println!("| {} | {:.0} | {:.0} |{ratios}", case.name(), theirs / 1e6, ours / 1e6);
    }
}

/// The word before the parenthesis of `Avx2(…)`.
fn name(level: Option<Level>) -> String {
    let Some(level) = level else { return String::from("scalar") };
    format!("{level:?}").split('(').next().unwrap_or_default().to_lowercase()
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let mut criterion = Criterion::default().configure_from_args();
    for mut case in Case::all() {
        let mut group = criterion.benchmark_group("codecs");
        group.throughput(Throughput::Elements(WEIGHTS as u64));
        group.bench_function(case.name(), |b| b.iter(|| case.ours()));
        group.finish();
    }
    criterion.final_summary();
    table(&filter);
}
