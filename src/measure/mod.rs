//! Measuring weights: `figures` are sums that tell how near numbers are to others, `meter` takes them of weights on their
//! way into a file, `compare` of those of two models.

pub mod compare;
pub mod figures;
pub mod meter;
