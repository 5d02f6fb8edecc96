//! Whether a name that a file tells stays in the folder of that file. Serves all who follow such names.

use std::path::{Component, Path};

/// Whether a path consists of plain names alone, on any system.
pub(crate) fn stays_inside(path: &str) -> bool {
    let plain = |c: Component| matches!(c, Component::Normal(_));
    !path.is_empty() && !path.contains(['\\', ':', '\0']) && Path::new(path).components().all(plain)
}
