//! What people look at: the plan before the work, the progress during it, the summary after it.
//! Text goes to stderr, results to stdout; what comes out of files is printed with control characters escaped.

mod card;
mod file;
mod finished;
mod html;
mod json;
mod modelfile;
mod plan;
#[cfg(feature = "cli")]
mod progress;
#[cfg(feature = "cli")]
mod stage;
mod vocabulary;

pub use card::card;
pub use file::{check_report, report};
pub use finished::{Finished, Hashed, Output, file_name};
pub use json::{figures_json, metadata_value, plan_json, printable};
pub use modelfile::modelfile;
pub use plan::{print_notes, print_plan, print_summary, print_tensors, size};
#[cfg(feature = "cli")]
pub use progress::{Progress, Show};
#[cfg(feature = "cli")]
pub use stage::Stage;
pub use vocabulary::vocabulary_json;
