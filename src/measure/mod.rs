//! Measuring: `meter` takes figures, which tell how near numbers are to others, of weights on their way into a file, `compare` of
//! those of two models; `likelihood` tells how near what models guess is to a text, and to others' guesses.

pub mod compare;
pub mod likelihood;
pub mod meter;
