//! What a split of sorted weights into three runs is computed from: running sums, and the values of the codes.

/// Running sums of `w * x` and of `w` in the order of the values, from 0 on, of `L` sub-blocks.
#[derive(Clone, Copy)]
pub struct Running<const P: usize, const L: usize> {
    pub x: [[f32; L]; P],
    pub w: [[f32; L]; P],
}

impl<const P: usize, const L: usize> Running<P, L> {
    pub const ZERO: Self = Running { x: [[0.0; L]; P], w: [[0.0; L]; P] };

    /// Turns what the places hold into their running sums.
    #[inline(always)]
    pub fn add_up(&mut self) {
        for sums in [&mut self.x, &mut self.w] {
            let mut before = [0.0; L];
            for sums in sums {
                for (sum, before) in sums.iter_mut().zip(&mut before) {
                    *sum += *before;
                    *before = *sum;
                }
            }
        }
    }
}

/// Code -> value, shifted up and shifted down.
pub const SHIFTED: [[f32; 3]; 2] = [[-0.875, 0.125, 1.125], [-1.125, -0.125, 0.875]];
