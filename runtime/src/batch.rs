//! What is read at once: tokens of one or several texts side by side, each with its place. Serves `ffi::context`, which
//! hands it to llama.cpp.

/// How a context reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of each text.
    pub window: usize,
    /// Texts side by side.
    pub texts: usize,
    /// The most tokens that are handed over at once.
    pub batch: usize,
    /// Threads that compute.
    pub threads: usize,
}

/// The most tokens of a batch if nothing else is said, as in llama.cpp's programs (`--batch-size`).
const BATCH: usize = 2048;

impl Reading {
    /// As llama-perplexity and llama-imatrix read windows of so many tokens: as many side by side as a batch holds.
    pub fn of(window: usize, threads: usize) -> Reading {
        let texts = (BATCH / window.max(1)).max(1);
        Reading { window, texts, batch: BATCH.min(texts * window), threads }
    }

    /// The stretches of a window that are handed over one after the other.
    pub fn stretches(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (window, batch) = (self.window, self.batch.min(self.window).max(1));
        (0..window).step_by(batch).map(move |start| start..window.min(start + batch))
    }
}

/// Tokens that are read at once. All lists have one item a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) tokens: Vec<i32>,
    pub(crate) places: Vec<i32>,
    pub(crate) texts: Vec<i32>,
    pub(crate) wanted: Vec<i8>,
}

impl Batch {
    /// Adds a token of the text of this number at its place there, and says whether the logits after it are wanted.
    pub fn push(&mut self, token: i32, place: usize, text: usize, wanted: bool) {
        self.tokens.push(token);
        self.places.push(number(place));
        self.texts.push(number(text));
        self.wanted.push(i8::from(wanted));
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// As llama.cpp counts; what does not fit it refuses.
fn number(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fill_a_batch_or_are_read_in_stretches() {
        let reading = Reading::of(512, 2);
        assert_eq!((reading.texts, reading.batch), (4, 2048));
        assert!(reading.stretches().eq(std::iter::once(0..512)));
        let odd = Reading::of(300, 2);
        assert_eq!((odd.texts, odd.batch), (6, 1800));
        let long = Reading::of(5000, 2);
        assert_eq!((long.texts, long.batch), (1, 2048));
        assert_eq!(long.stretches().collect::<Vec<_>>(), [0..2048, 2048..4096, 4096..5000]);
    }
}
