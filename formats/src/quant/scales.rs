//! What blocks store beside their codes, as numbers: for searches that look for better ones.

/// Of a block without minima: an element is `d * scale * level`.
#[derive(Clone, Copy)]
pub(super) struct Symmetric<const G: usize> {
    /// As f16.
    pub d: u16,
    /// One a sub-block; 1 where a block has one scale.
    pub of_subs: [i32; G],
}

/// Of a block with minima: an element is `d * scale * code - dmin * minimum`.
#[derive(Clone, Copy)]
pub(super) struct Affine<const G: usize> {
    /// As f16.
    pub d: u16,
    pub dmin: u16,
    /// One a sub-block; 1 where a block has one scale.
    pub of_subs: [i32; G],
    pub mins: [i32; G],
}
