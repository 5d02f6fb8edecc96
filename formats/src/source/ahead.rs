//! What is going to be read is told by `Rows::prefetch`, which every wrapper passes on. While a thread plans, those
//! that lie elsewhere write down what they are told, and nothing is fetched.

use super::object::Object;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of an object that are going to be read.
#[derive(Clone)]
pub struct Span {
    pub object: Arc<Object>,
    pub bytes: Range<u64>,
}

thread_local! {
    static PLAN: RefCell<Option<Vec<Span>>> = const { RefCell::new(None) };
}

/// Whether anything was opened that lies elsewhere: without it there is nothing to plan.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

pub(super) fn now_elsewhere() {
    ELSEWHERE.store(true, Ordering::Relaxed);
}

/// Whether anything was opened in this process that lies elsewhere.
pub fn is_elsewhere() -> bool {
    ELSEWHERE.load(Ordering::Relaxed)
}

/// What lies elsewhere of the rows that `f` tells to prefetch.
pub fn planned(f: impl FnOnce()) -> Vec<Span> {
    let outer = PLAN.replace(Some(Vec::new()));
    f();
    PLAN.replace(outer).unwrap_or_default()
}

/// Whether this thread plans: then nothing is fetched.
pub(crate) fn is_planning() -> bool {
    PLAN.with_borrow(Option::is_some)
}

/// Writes down these bytes, if this thread plans.
pub(super) fn tell(object: &Arc<Object>, bytes: Range<u64>) {
    PLAN.with_borrow_mut(|plan| {
        if let Some(spans) = plan {
            spans.push(Span { object: Arc::clone(object), bytes });
        }
    });
}
