//! Chat templates: what a template says of a dialogue (`dialogue`, in a sandbox that `guard` bounds), and the templates
//! that can be named (`templates`), or read from a file (`file`). Serves `merge`, which chooses one, and `report`, which writes Modelfiles.

pub mod dialogue;
pub mod file;
mod guard;
pub mod templates;
