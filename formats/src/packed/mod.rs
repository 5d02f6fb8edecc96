//! Weights in codes of up to eight bits, as trainers pack them: what a code is worth, how codes lie, and how scales, zero
//! points and biases make weights of them. Slices in, slices out: which parts a checkpoint has and what they are called is
//! known to the pages of `unpack` in ggraft alone, which this room serves.
//! rustc builds a function as the crate that it is instantiated in asks for, and this one is built for speed, ggraft for
//! size. So every loop that weights pass through stands here, and what is called from there is neither generic nor
//! ever inlined.

mod codes;
mod columns;
mod mxfp4;
mod numbers;
mod runs;
mod slots;
mod values;

pub use codes::{E2M1, Packing, Table, bytes, e2m1, mask, whole};
pub use columns::{Words, turned, weights};
pub use mxfp4::mxfp4;
pub use numbers::{numbers, round};
pub use runs::{Above, Runs, add, divide, multiply, scale, scale_each, subtract};
pub use slots::{Slots, fields};
pub use values::Values;
