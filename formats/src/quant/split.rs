//! The searches of IQ1: the weights of a sub-block, sorted, are split into three runs that stand for -1, 0 and 1, all
//! shifted up or down by an eighth; every split is tried. Then entries of the codebook stand for the codes. Serves `iq1.rs`.
//! Specification: ggml `quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl`.

use super::codebook::{Codebook, IQ1};

/// Code -> value, shifted up and shifted down; twice, as `Codebook::nearest` has it.
const VALUES: [[f32; 8]; 2] = [
    [-0.875, 0.125, 1.125, 0.0, -0.875, 0.125, 1.125, 0.0],
    [-1.125, -0.125, 0.875, 0.0, -1.125, -0.125, 0.875, 0.0],
];

/// What was found for a sub-block of `8 * G` elements.
#[derive(Clone, Copy)]
pub(super) struct Ternary<const G: usize> {
    pub scale: f32,
    /// For each eight elements, as are those below.
    pub entries: [u16; G],
    pub down: [bool; G],
}

impl<const G: usize> Ternary<G> {
    /// A sub-block that counts as zero.
    pub const ZERO: Self = Ternary { scale: 0.0, entries: [0; G], down: [false; G] };

    /// The values that the elements of group `i` stand for, before the scale.
    pub fn values(&self, i: usize) -> [f32; 8] {
        let values = &VALUES[usize::from(self.down[i])];
        Codebook::<8>::codes(IQ1.word_of(self.entries[i])).map(|code| values[usize::from(code)])
    }

    /// The entries nearest to the codes of a split, and the scale that fits them.
    fn of_split(split: Split<G>, x: &[[f32; 8]; G], weights: &[[f32; 8]; G]) -> Self {
        let Split { mut scale, mut codes, mut down } = split;
        if scale < 0.0 {
            codes = codes.map(|codes| codes.map(|code| 2 - code));
            scale = -scale;
            down = down.map(|down| !down);
        }
        let mut all = true;
        let mut found = Ternary { scale, entries: [0; G], down };
        for i in 0..G {
            let values = &VALUES[usize::from(down[i])];
            let (entry, on) = IQ1.nearest(Codebook::word(&codes[i]), &x[i], &weights[i], scale, values);
            found.entries[i] = entry;
            all &= on;
        }
        if all {
            return found;
        }
        let (mut sumqx, mut sumq2) = (0.0, 0.0);
        for i in 0..G {
            for ((x, w), q) in x[i].iter().zip(&weights[i]).zip(found.values(i)) {
                sumqx += w * q * x;
                sumq2 += w * q * q;
            }
        }
        if sumqx > 0.0 && sumq2 > 0.0 {
            found.scale = sumqx / sumq2;
        }
        found
    }
}

/// A split into three runs.
struct Split<const G: usize> {
    scale: f32,
    codes: [[u8; 8]; G],
    down: [bool; G],
}

/// The best split so far.
struct Best {
    score: f32,
    scale: f32,
    /// Where the second run begins, and where the third.
    ends: (usize, usize),
    shift: usize,
}

impl Best {
    /// Of equal splits the first stays.
    #[inline(always)]
    fn meet(&mut self, sumqx: f32, sumq2: f32, ends: (usize, usize), shift: usize) {
        if sumq2 > 0.0 && sumqx * sumqx > self.score * sumq2 {
            self.scale = sumqx / sumq2;
            *self = Best { score: self.scale * sumqx, scale: self.scale, ends, shift };
        }
    }
}

const NONE: Best = Best { score: f32::MIN, scale: 0.0, ends: (0, 0), shift: usize::MAX };

/// The places of the elements, the smallest first, equal ones in their order.
fn sorted<const N: usize>(x: &[f32; N]) -> [usize; N] {
    let mut order = std::array::from_fn(|i| i);
    for end in 1..N {
        let new = order[end];
        let place = order[..end].iter().rposition(|i| x[*i] <= x[new]).map_or(0, |i| i + 1);
        order[place..=end].rotate_right(1);
    }
    order
}

fn largest_magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max: f32, x| if x.abs() > max { x.abs() } else { max })
}

/// The codes of the elements in this order.
fn codes_of<const G: usize>(order: &[usize], (second, third): (usize, usize)) -> [[u8; 8]; G] {
    let mut codes = [[0; 8]; G];
    for (place, i) in order.iter().enumerate() {
        codes[i / 8][i % 8] = u8::from(place >= second) + u8::from(place >= third);
    }
    codes
}

/// The best for the 32 elements of IQ1_S, all shifted alike.
pub(super) fn in_step(x: &[f32; 32], weights: &[f32; 32]) -> Ternary<4> {
    if largest_magnitude(x) < 1e-12 {
        return Ternary::ZERO;
    }
    let order = sorted(x);
    let (mut sumx, mut sumw) = ([0.0; 33], [0.0; 33]);
    for (j, i) in order.iter().enumerate() {
        sumx[j + 1] = sumx[j] + weights[*i] * x[*i];
        sumw[j + 1] = sumw[j] + weights[*i];
    }
    let mut best = NONE;
    for second in 0..=32 {
        for third in second..=32 {
            let x = [sumx[second], sumx[third] - sumx[second], sumx[32] - sumx[third]];
            let w = [sumw[second], sumw[third] - sumw[second], sumw[32] - sumw[third]];
            for (shift, v) in VALUES.iter().enumerate() {
                let sumqx = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
                let sumq2 = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
                best.meet(sumqx, sumq2, (second, third), shift);
            }
        }
    }
    if best.shift == usize::MAX {
        return Ternary::ZERO;
    }
    let codes = codes_of(&order, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift == 1; 4] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The best for the 16 elements of IQ1_M, of which each half has its own shift.
pub(super) fn by_halves(x: &[f32; 16], weights: &[f32; 16]) -> Ternary<2> {
    if largest_magnitude(x) < 1e-7 {
        return Ternary::ZERO;
    }
    let order = sorted(x);
    let mut halves = [Half::default(), Half::default()];
    for (j, i) in order.iter().enumerate() {
        for (h, half) in halves.iter_mut().enumerate() {
            let (x, w) = if i / 8 == h { (weights[*i] * x[*i], weights[*i]) } else { (0.0, 0.0) };
            half.x[j + 1] = half.x[j] + x;
            half.w[j + 1] = half.w[j] + w;
        }
    }
    let mut best = NONE;
    for second in 0..=16 {
        for third in second..=16 {
            let [a, b] = halves.each_ref().map(|half| half.sums(second, third));
            for (shift, (a, b)) in
                [(a[0], b[0]), (a[0], b[1]), (a[1], b[0]), (a[1], b[1])].into_iter().enumerate()
            {
                best.meet(a.0 + b.0, a.1 + b.1, (second, third), shift);
            }
        }
    }
    if best.shift == usize::MAX {
        return Ternary::ZERO;
    }
    let codes = codes_of(&order, best.ends);
    let split = Split { scale: best.scale, codes, down: [best.shift >= 2, best.shift % 2 == 1] };
    Ternary::of_split(split, &eights(x), &eights(weights))
}

/// The running sums of the elements of one half, in the order of both.
#[derive(Default)]
struct Half {
    x: [f32; 17],
    w: [f32; 17],
}

impl Half {
    /// The sums of `w * q * x` and `w * q * q` of a split, shifted up and shifted down. Neighbouring values differ by 1.
    #[inline(always)]
    fn sums(&self, second: usize, third: usize) -> [(f32, f32); 2] {
        VALUES.map(|v| {
            let (first, last) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
            let sumqx = self.x[16] * v[2] - (self.x[second] + self.x[third]);
            let sumq2 = self.w[16] * v[2] * v[2] + self.w[second] * first + self.w[third] * last;
            (sumqx, sumq2)
        })
    }
}

fn eights<const N: usize, const G: usize>(x: &[f32; N]) -> [[f32; 8]; G] {
    std::array::from_fn(|i| std::array::from_fn(|k| x[8 * i + k]))
}
