//! Whether this thread plans: then what is told by `Rows::prefetch` is written down, and nothing is fetched.

use std::cell::Cell;

thread_local! {
    static PLANS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread plans.
pub(crate) fn is_planning() -> bool {
    PLANS.get()
}

/// Does `f` while this thread plans.
pub(super) fn planning(f: impl FnOnce()) {
    let before = PLANS.replace(true);
    f();
    PLANS.set(before);
}
