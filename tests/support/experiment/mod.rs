//! The experiment of the chat vector on the trio, shared by the example that runs it and the tests that hold it
//! against the documents.
#![allow(dead_code, reason = "the example and the test use another part each")]

pub mod arms;
pub mod page;
pub mod ranks;
pub mod record;
pub mod score;
