//! Who is told how the work goes on that comes before the writing: models are opened, their weights sampled. Of a large
//! model that takes seconds, and a program that says nothing for seconds seems to hang.

/// Is told of stages, one after the other. Called from many threads.
pub trait Stages: Send + Sync {
    /// A stage begins, which has so many steps; the one before has ended.
    fn begin(&self, what: &str, steps: usize);

    /// A step is done.
    fn step(&self);

    /// The last stage has ended.
    fn end(&self) {}
}

/// A watcher that shows nothing.
impl Stages for () {
    fn begin(&self, _what: &str, _steps: usize) {}

    fn step(&self) {}
}
