//! The searches for a scale of signed codes, of sixteen sub-blocks at once: `quant/search.rs`, `make_qx_quants` and
//! `make_q3_quants`.

use super::layout::{load, load_from, nearest, nearest_codes, rounded};
use super::{Columns, EPS, LANES, Lanes, Level};
use fearless_simd::{Simd, dispatch, f32x16, mask32x16, prelude::*};

/// The best fit of each sub-block.
pub struct SymmetricLanes {
    pub scale: Lanes,
    /// The codes of the fit are `iscale * x`, rounded and bounded, plus `nmax`.
    iscale: Lanes,
    /// Bit `i` tells that lane `i` counts as zero: its codes are 0.
    nil: u16,
    /// Bit `i` tells that lane `i` is certain to be what the scalar search finds.
    pub exact: u16,
}

/// `make_qx_quants` of sixteen sub-blocks.
pub fn qx<const N: usize>(
    level: Level,
    nmax: u8,
    x: &Columns<N>,
    weights: Option<&Columns<N>>,
) -> SymmetricLanes {
    dispatch!(level, simd => search::<_, N>(simd, nmax, x, weights))
}

/// How many candidates are tried at once: their sums do not wait for each other, and all are held in registers.
const ABREAST: usize = 3;

/// Looks through as many sub-blocks at a time as a register holds.
#[inline(always)]
fn search<S: Simd, const N: usize>(
    simd: S,
    nmax: u8,
    x: &Columns<N>,
    weights: Option<&Columns<N>>,
) -> SymmetricLanes {
    let lanes = [0.0; LANES];
    let mut found = SymmetricLanes { scale: lanes, iscale: lanes, nil: 0, exact: 0 };
    for first in (0..LANES).step_by(<S::f32s as SimdBase<S>>::LEN) {
        let terms = Terms::new(simd, x, weights, first);
        terms.search(f32::from(nmax), first, &mut found);
    }
    found
}

/// What the sums of all candidates are made of.
struct Terms<S: Simd, const N: usize> {
    x: [S::f32s; N],
    w: [S::f32s; N],
    wx: [S::f32s; N],
}

impl<S: Simd, const N: usize> Terms<S, N> {
    /// Those of the lanes from `first` on.
    #[inline(always)]
    fn new(simd: S, x: &Columns<N>, weights: Option<&Columns<N>>, first: usize) -> Self {
        let zero = S::f32s::splat(simd, 0.0);
        let mut terms = Terms { x: [zero; N], w: [zero; N], wx: [zero; N] };
        for i in 0..N {
            let x = load_from(simd, &x[i], first);
            let w = match weights {
                Some(weights) => load_from(simd, &weights[i], first),
                None => x * x,
            };
            (terms.x[i], terms.w[i], terms.wx[i]) = (x, w, w * x);
        }
        terms
    }

    #[inline(always)]
    fn search(&self, n: f32, first: usize, found: &mut SymmetricLanes) {
        let simd = self.x[0].token();
        let (zero, one) = (S::f32s::splat(simd, 0.0), S::f32s::splat(simd, 1.0));
        let mut max = zero;
        for x in &self.x {
            max = x.abs().simd_gt(max.abs()).select(*x, max);
        }
        let nil = max.abs().simd_lt(EPS);
        let max = nil.select(one, max);
        let iscale = S::f32s::splat(simd, -n) / max;
        let [(sumlx, suml2)] = self.sums::<1, false, true>(n, [iscale]);
        // A NaN or an infinity among the elements shows here.
        let exact = sumlx.simd_eq(sumlx) & max.abs().simd_le(f32::MAX);
        let scale = suml2.simd_eq(zero).select(zero, sumlx / suml2);
        let mut best = Fit { score: scale * sumlx, scale, iscale };
        let trials = |steps: [i8; ABREAST]| steps.map(|step| -(n + 0.1 * f32::from(step)));
        // What takes the extreme to less than half a code beyond a bound needs no bound.
        self.meet::<false, false>(n, trials([-9, -8, -7]), max, &mut best);
        for steps in [[-6, -5, -4], [-3, -2, -1], [1, 2, 3]] {
            self.meet::<false, true>(n, trials(steps), max, &mut best);
        }
        for steps in [[4, 5, 6], [7, 8, 9]] {
            self.meet::<true, true>(n, trials(steps), max, &mut best);
        }
        let end = first + <S::f32s as SimdBase<S>>::LEN;
        nil.select(zero, best.scale).store_slice(&mut found.scale[first..end]);
        nil.select(zero, best.iscale).store_slice(&mut found.iscale[first..end]);
        found.nil |= (nil.to_bitmask() as u16) << first;
        found.exact |= ((exact | nil).to_bitmask() as u16) << first;
    }

    /// Tries the candidates that take `max` to these codes.
    #[inline(always)]
    fn meet<const LEAST: bool, const MOST: bool>(
        &self,
        n: f32,
        codes: [f32; ABREAST],
        max: S::f32s,
        best: &mut Fit<S>,
    ) {
        let simd = max.token();
        let mut trials = [max; ABREAST];
        for (trial, code) in trials.iter_mut().zip(codes) {
            *trial = S::f32s::splat(simd, code) / max;
        }
        let found = self.sums::<ABREAST, LEAST, MOST>(n, trials);
        for k in 0..ABREAST {
            let (sumlx, suml2) = found[k];
            let better = suml2.simd_gt(0.0) & (sumlx * sumlx).simd_gt(best.score * suml2);
            best.scale = better.select(sumlx / suml2, best.scale);
            best.score = better.select(best.scale * sumlx, best.score);
            best.iscale = better.select(trials[k], best.iscale);
        }
    }

    /// The sums of `w * x * l` and `w * l * l` of `K` candidates, whose codes may pass the least or the most.
    #[inline(always)]
    fn sums<const K: usize, const LEAST: bool, const MOST: bool>(
        &self,
        n: f32,
        iscales: [S::f32s; K],
    ) -> [(S::f32s, S::f32s); K] {
        let simd = iscales[0].token();
        let zero = S::f32s::splat(simd, 0.0);
        let (least, most) = (S::f32s::splat(simd, -n), S::f32s::splat(simd, n - 1.0));
        let mut sums = [(zero, zero); K];
        for i in 0..N {
            for k in 0..K {
                let mut l = rounded::<S, S::f32s>(iscales[k] * self.x[i]);
                if LEAST {
                    l = l.max(least);
                }
                if MOST {
                    l = l.min(most);
                }
                sums[k].0 += self.wx[i] * l;
                sums[k].1 += self.w[i] * l * l;
            }
        }
        sums
    }
}

/// The best fit so far of each lane.
struct Fit<S: Simd> {
    score: S::f32s,
    scale: S::f32s,
    iscale: S::f32s,
}

/// The element of largest magnitude, the first of equals, and whether it counts as zero; it is then 1.
#[inline(always)]
fn extreme<S: Simd, const N: usize>(simd: S, x: &Columns<N>) -> (f32x16<S>, mask32x16<S>) {
    let mut extreme = f32x16::splat(simd, 0.0);
    for x in x {
        let x = load(simd, x);
        extreme = x.abs().simd_gt(extreme.abs()).select(x, extreme);
    }
    let nil = extreme.abs().simd_lt(EPS);
    (nil.select(f32x16::splat(simd, 1.0), extreme), nil)
}

/// The scales of `make_q3_quants` of `K` times sixteen sub-blocks. Each step waits for the one before it, so that there
/// is time for several of them.
pub fn q3<const N: usize, const K: usize>(level: Level, nmax: u8, x: &[Columns<N>; K]) -> [Lanes; K] {
    dispatch!(level, simd => descend::<_, N, K>(simd, nmax, x))
}

/// How many sweeps over the elements there are at most.
const SWEEPS: usize = 5;

#[inline(always)]
fn descend<S: Simd, const N: usize, const K: usize>(simd: S, nmax: u8, x: &[Columns<N>; K]) -> [Lanes; K] {
    let mut fits = [Descent::<S, N>::nil(simd); K];
    let mut moved = [mask32x16::splat(simd, false); K];
    for k in 0..K {
        fits[k].start(simd, nmax, &x[k]);
    }
    for i in 0..N {
        for k in 0..K {
            moved[k] |= fits[k].step(nmax, &x[k], i);
        }
    }
    let mut found = Restless { lanes: [(0, 0); 3 * LANES], count: 0 };
    let mut scales = [[0.0; LANES]; K];
    for k in 0..K {
        scales[k] = fits[k].scale().to_array();
        found.find(k, (moved[k] & !fits[k].nil).to_bitmask() as u16);
        if found.count > 2 * LANES {
            found.settle(simd, nmax, x, &fits, &mut scales);
        }
    }
    found.settle(simd, nmax, x, &fits, &mut scales);
    scales
}

/// The lanes whose codes the first sweep changed. A sweep that changes nothing is the last, and that is most often the
/// first; the few others go on side by side.
struct Restless {
    /// The numbers of the sixteen and of the lane.
    lanes: [(usize, usize); 3 * LANES],
    count: usize,
}

impl Restless {
    #[inline(always)]
    fn find(&mut self, k: usize, mut moved: u16) {
        while moved != 0 {
            self.lanes[self.count] = (k, moved.trailing_zeros() as usize);
            self.count += 1;
            moved &= moved - 1;
        }
    }

    /// Gives up to two times sixteen of them the rest of their sweeps.
    #[inline(always)]
    fn settle<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        nmax: u8,
        x: &[Columns<N>],
        fits: &[Descent<S, N>],
        scales: &mut [Lanes],
    ) {
        let count = self.count.min(2 * LANES);
        let lanes = &self.lanes[self.count - count..self.count];
        self.count -= count;
        if count == 0 {
            return;
        }
        let (mut columns, mut codes) = ([[[0.0; LANES]; N]; 2], [[[0.0; LANES]; N]; 2]);
        let (mut sumlx, mut suml2) = ([[0.0; LANES]; 2], [[0.0; LANES]; 2]);
        for (to, (k, lane)) in lanes.iter().enumerate() {
            let (half, to) = (to / LANES, to % LANES);
            sumlx[half][to] = fits[*k].sumlx[*lane];
            suml2[half][to] = fits[*k].suml2[*lane];
            for i in 0..N {
                columns[half][i][to] = x[*k][i][*lane];
                codes[half][i][to] = fits[*k].codes[i][*lane];
            }
        }
        let mut halves = [Descent::<S, N>::nil(simd); 2];
        for h in 0..2 {
            halves[h].sumlx = load(simd, &sumlx[h]);
            halves[h].suml2 = load(simd, &suml2[h]);
            halves[h].nil = mask32x16::splat(simd, false);
            for (code, lanes) in halves[h].codes.iter_mut().zip(&codes[h]) {
                *code = load(simd, lanes);
            }
        }
        sweep(nmax, &columns, &mut halves);
        let found = [halves[0].scale().to_array(), halves[1].scale().to_array()];
        for (from, (k, lane)) in lanes.iter().enumerate() {
            scales[*k][*lane] = found[from / LANES][from % LANES];
        }
    }
}

/// All sweeps but the first, until as many steps as there are elements have changed nothing.
#[inline(always)]
fn sweep<S: Simd, const N: usize>(nmax: u8, x: &[Columns<N>; 2], fits: &mut [Descent<S, N>; 2]) {
    let mut quiet = 0;
    for _ in 1..SWEEPS {
        for i in 0..N {
            let moved = fits[0].step(nmax, &x[0], i) | fits[1].step(nmax, &x[1], i);
            quiet = if moved.any_true() { 0 } else { quiet + 1 };
            if quiet == N {
                return;
            }
        }
    }
}

/// The state of `descend` of `quant/search.rs`.
#[derive(Clone, Copy)]
struct Descent<S: Simd, const N: usize> {
    sumlx: f32x16<S>,
    suml2: f32x16<S>,
    codes: [f32x16<S>; N],
    nil: mask32x16<S>,
}

impl<S: Simd, const N: usize> Descent<S, N> {
    #[inline(always)]
    fn nil(simd: S) -> Self {
        let zero = f32x16::splat(simd, 0.0);
        Descent { sumlx: zero, suml2: zero, codes: [zero; N], nil: mask32x16::splat(simd, true) }
    }

    #[inline(always)]
    fn start(&mut self, simd: S, nmax: u8, x: &Columns<N>) {
        let (max, nil) = extreme(simd, x);
        let iscale = f32x16::splat(simd, -f32::from(nmax)) / max;
        for i in 0..N {
            let x = load(simd, &x[i]);
            let l = signed(iscale * x, nmax);
            let w = x * x;
            self.sumlx += w * x * l;
            self.suml2 += w * l * l;
            self.codes[i] = l;
        }
        self.nil = nil;
    }

    /// Gives element `i` its best code; tells where that is another.
    #[inline(always)]
    fn step(&mut self, nmax: u8, x: &Columns<N>, i: usize) -> mask32x16<S> {
        let x = load(self.sumlx.token(), &x[i]);
        let old = self.codes[i];
        let w = x * x;
        let slx = self.sumlx - w * x * old;
        let sl2 = self.suml2 - w * old * old;
        let l = signed(x * sl2 / slx, nmax);
        let (new_slx, new_sl2) = (slx + w * x * l, sl2 + w * l * l);
        let better = slx.simd_gt(0.0)
            & !l.simd_eq(old)
            & new_sl2.simd_gt(0.0)
            & (new_slx * new_slx * self.suml2).simd_gt(self.sumlx * self.sumlx * new_sl2);
        self.codes[i] = better.select(l, old);
        self.sumlx = better.select(new_slx, self.sumlx);
        self.suml2 = better.select(new_sl2, self.suml2);
        better
    }

    #[inline(always)]
    fn scale(self) -> f32x16<S> {
        let zero = f32x16::splat(self.sumlx.token(), 0.0);
        (!self.nil & self.suml2.simd_gt(0.0)).select(self.sumlx / self.suml2, zero)
    }
}

/// The nearest code from `-nmax` to `nmax - 1`.
#[inline(always)]
fn signed<S: Simd>(x: f32x16<S>, nmax: u8) -> f32x16<S> {
    nearest(x, -i32::from(nmax), i32::from(nmax) - 1)
}

/// The codes of the 256 elements of `x`, sub-blocks of `N` end to end, at the scales as they are stored. Where one is 0
/// and so says nothing, they are those of the fit, if there is one.
pub fn symmetric_codes<const N: usize>(
    level: Level,
    nmax: u8,
    x: &[f32; 256],
    scales: &Lanes,
    fits: Option<&SymmetricLanes>,
) -> [u8; 256] {
    let mut out = [0; 256];
    if let Some(fits) = fits.filter(|_| scales.contains(&0.0)) {
        fit_codes::<N>(level, nmax, x, fits, &mut out);
    }
    dispatch!(level, simd => recode::<_, N>(simd, nmax, x, scales, &mut out));
    out
}

#[inline(always)]
fn recode<S: Simd, const N: usize>(simd: S, nmax: u8, x: &[f32], scales: &Lanes, out: &mut [u8]) {
    let (least, most) = (-i32::from(nmax), i32::from(nmax) - 1);
    let subs = x.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<N>().0);
    for ((x, out), scale) in subs.zip(scales).filter(|(_, scale)| **scale != 0.0) {
        for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
            *out = nearest_codes(load(simd, x) / *scale, least, most);
        }
    }
}

/// The codes of a fit.
pub fn fit_codes<const N: usize>(level: Level, nmax: u8, x: &[f32], fits: &SymmetricLanes, out: &mut [u8]) {
    dispatch!(level, simd => code::<_, N>(simd, nmax, x, fits, out));
}

#[inline(always)]
fn code<S: Simd, const N: usize>(simd: S, nmax: u8, x: &[f32], fits: &SymmetricLanes, out: &mut [u8]) {
    let subs = x.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<N>().0);
    for (lane, (x, out)) in subs.enumerate() {
        let n = i32::from(nmax);
        for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
            let codes = nearest_codes(load(simd, x) * fits.iscale[lane], -n, n - 1);
            *out = if fits.nil >> lane & 1 == 1 { [0; LANES] } else { codes };
        }
    }
}
