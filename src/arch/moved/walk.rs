//! The steps of a piece: how far apart elements lie in the source and in the result.

/// A step in machine words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) size: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) tensor: usize,
}

impl Walk {
    /// The same as steps from row to row and steps along a row of so many elements.
    pub(super) fn cut(self, row: usize) -> (Option<Walk>, Option<Walk>) {
        if self.to >= row {
            return (Some(self), None);
        }
        let each = row.checked_div(self.to).unwrap_or(usize::MAX);
        if self.size <= each || !row.is_multiple_of(self.to) || !self.size.is_multiple_of(each) {
            return (None, Some(self));
        }
        let over =
            Walk { size: self.size / each, from: self.from * each, to: row, tensor: self.tensor * each };
        (Some(over), Some(Walk { size: each, ..self }))
    }
}

/// Adds a step; two that follow each other on both sides are one.
pub(super) fn join(walks: &mut Vec<Walk>, walk: Walk) {
    if let Some(last) = walks.last_mut()
        && last.to == walk.to * walk.size
        && last.from == walk.from * walk.size
        && last.tensor == walk.tensor * walk.size
    {
        *last = Walk { size: last.size * walk.size, ..walk };
    } else {
        walks.push(walk);
    }
}
