//! What people look at: the plan before the work, the progress during it, the summary after it.
//! Text goes to stderr, results to stdout; what comes out of files is printed with control characters escaped.

mod json;
mod plan;
mod progress;
mod vocabulary;

pub use json::{metadata_value, plan_json};
pub use plan::{print_notes, print_plan, print_summary, size};
pub use progress::Progress;
pub use vocabulary::vocabulary_json;
