//! What people look at: the plan before the work, the progress during it, the summary after it.
//! Text goes to stderr, results to stdout; what comes out of files is printed with control characters escaped.

mod card;
mod file;
mod finished;
mod html;
mod json;
mod layers;
mod modelfile;
mod plan;
#[cfg(feature = "cli")]
mod progress;
#[cfg(feature = "cli")]
mod screen;
#[cfg(feature = "cli")]
mod stage;
mod summary;
mod sweep;
mod vocabulary;

pub use card::{Making, card, goes_on};
pub use file::{check_report, report};
pub use finished::{Finished, Hashed, Output, file_name};
pub use json::{figures_json, metadata_value, needs_json, plan_json, printable};
pub use modelfile::modelfile;
pub use plan::{plan_text, size, summary_text, tensors_text};
#[cfg(feature = "cli")]
pub use progress::{Progress, Show};
#[cfg(feature = "cli")]
pub use screen::{print_notes, rows, say};
#[cfg(feature = "cli")]
pub use stage::Stage;
pub use summary::{summary, token};
pub use sweep::sweep_text;
pub use vocabulary::vocabulary_json;
