//! A text cut into windows of as many tokens each, as llama-perplexity and llama-imatrix cut it: what is left over is not
//! read, and where the model wants a token to begin with, it takes the place of each window's first.

use ggraft_formats::{Error, Result};
use ggraft_runtime::{Batch, Model, Reading};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A text that models are run over.
pub struct Text {
    file: PathBuf,
    text: String,
}

impl Text {
    /// Reads it; a last line break is no part of it.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8, is larger than 64 MiB, or is empty.
    pub fn read(file: &Path) -> Result<Text> {
        let mut text = ggraft_formats::text(file)?;
        if text.ends_with('\n') {
            text.pop();
        }
        match text.is_empty() {
            true => Err(Error::invalid("the text is empty").file(file)),
            false => Ok(Text { file: file.to_path_buf(), text }),
        }
    }

    /// The last part of its path, by which it is told.
    pub fn name(&self) -> String {
        self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy().into_owned()
    }
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Tokens of a window.
    pub window: usize,
    /// The most windows that are read.
    pub most: Option<usize>,
    /// Threads that compute.
    pub threads: usize,
    /// Layers on another device than the processor; by default llama.cpp's choice.
    pub device_layers: Option<i32>,
    /// Whether the text may spell tokens such as `<|im_end|>`.
    pub parse: bool,
}

/// The windows of a text.
pub struct Windows {
    tokens: Vec<i32>,
    /// How many are read.
    pub count: usize,
    pub reading: Reading,
}

impl Windows {
    /// Cuts the text as this model takes it.
    ///
    /// # Errors
    /// The text has fewer tokens than two windows, or the model ends every text with a token of its own.
    pub fn of(text: &Text, model: &Model, how: &How) -> Result<Windows> {
        if model.ends() {
            return Err(Error::unsupported(
                "the model ends every text with a token, which windows cut out of a text have not",
            )
            .file(model.file())
            .expected("tokenizer.ggml.add_eos_token that is false")
            .found("true")
            .hint("`ggraft meta set FILE.gguf tokenizer.ggml.add_eos_token=bool:false` changes that"));
        }
        let tokens = model.tokens(&text.text, how.parse)?;
        let least = how.window.saturating_mul(2);
        if tokens.len() < least {
            return Err(Error::invalid("the text is too short")
                .file(&text.file)
                .expected(format!("at least {least} tokens, two windows of {}", how.window))
                .found(format!("{} tokens", tokens.len()))
                .hint("give a longer text, or smaller windows with --ctx"));
        }
        let count = (tokens.len() / how.window).min(how.most.unwrap_or(usize::MAX));
        Ok(Windows { tokens, count, reading: Reading::of(how.window, how.threads) })
    }

    /// How many tokens the text has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The first token that another model takes the text for otherwise, if there is one.
    pub fn differs(&self, other: &Windows) -> Option<usize> {
        let both = self.tokens.iter().zip(&other.tokens);
        let differing = both.enumerate().find(|(_, (a, b))| a != b).map(|(i, _)| i);
        let least = self.tokens.len().min(other.tokens.len());
        differing.or((self.tokens.len() != other.tokens.len()).then_some(least))
    }

    /// The windows that are read side by side.
    pub fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, texts) = (self.count, self.reading.texts);
        (0..count).step_by(texts).map(move |start| start..count.min(start + texts))
    }

    /// The places that are scored: the second half of a window, but for its last token, after which none comes.
    pub fn scored(&self) -> Range<usize> {
        self.reading.window / 2..self.reading.window - 1
    }

    /// The token at this place of a window, `start` at its first if there is one.
    pub fn token(&self, window: usize, place: usize, start: Option<i32>) -> i32 {
        match start {
            Some(start) if place == 0 => start,
            _ => self.tokens[window * self.reading.window + place],
        }
    }

    /// The same stretch of each window of a group; logits are wanted from the place `from` on.
    pub fn batch(
        &self,
        group: &Range<usize>,
        stretch: &Range<usize>,
        start: Option<i32>,
        from: usize,
    ) -> Batch {
        let mut batch = Batch::default();
        for (text, window) in group.clone().enumerate() {
            for place in stretch.clone() {
                batch.push(self.token(window, place, start), place, text, place >= from);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(tokens: std::ops::Range<i32>, window: usize, count: usize) -> Windows {
        Windows { tokens: tokens.collect(), count, reading: Reading::of(window, 1) }
    }

    #[test]
    fn groups_take_all_windows_and_what_is_left_over_is_not_read() {
        let w = windows(0..3333, 512, 6);
        assert_eq!(w.groups().collect::<Vec<_>>(), [0..4, 4..6]);
        assert_eq!(w.scored(), 256..511);
        assert_eq!((w.token(1, 0, Some(7)), w.token(1, 0, None), w.token(5, 511, Some(7))), (7, 512, 3071));
        assert_eq!(w.batch(&(4..6), &(0..512), None, 256).len(), 1024);
    }

    #[test]
    fn other_tokens_are_told_by_the_first_of_them() {
        let w = windows(0..40, 16, 2);
        assert_eq!(w.differs(&windows(0..40, 16, 2)), None);
        assert_eq!(w.differs(&windows(0..39, 16, 2)), Some(39));
        assert_eq!(w.differs(&windows(1..41, 16, 2)), Some(0));
    }
}
