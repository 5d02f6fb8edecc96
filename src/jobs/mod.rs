//! Plans that are carried out by jobs, on one machine or on many, under any scheduler: a folder says what is to be made of
//! what, and which bytes of it each job writes. A job plans all of it again from the same words, must reach the same
//! fingerprint, and writes its bytes; so they are those of one run. `finish` gives the outputs their names when all jobs
//! have told that they are done. Nothing rests on locks, and every step may be repeated.
//! The map: `form` is what the plan says, `folder` where it lies, `input` what was read, `cost` what work costs,
//! `report` what a job tells when it is done, `emit` what schedulers are told, `way` how files are found.

pub mod cost;
pub mod emit;
pub mod folder;
pub mod form;
pub mod input;
pub mod report;
pub mod way;

pub use folder::Folder;
pub use form::{Form, Output, Share};
pub use input::Input;
pub use report::{Report, Written};
