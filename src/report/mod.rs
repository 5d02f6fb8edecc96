//! What people look at: the plan before the work, the progress during it, the summary after it.
//! Text goes to stderr, results to stdout; what comes out of files is printed with control characters escaped.

mod file;
mod json;
mod plan;
mod progress;
mod vocabulary;

pub use file::{check_report, write_report};
pub use json::{figures_json, metadata_value, plan_json, printable};
pub use plan::{print_notes, print_plan, print_summary, size};
pub use progress::Progress;
pub use vocabulary::vocabulary_json;
