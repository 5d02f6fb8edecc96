//! Progress on stderr: a bar with bytes, rate and time left on a terminal, elsewhere one plain line a tensor,
//! `[ 42/ 200] name`, the form that wrappers of llama-quantize read.

use crate::pipeline::{Plan, Step};
use ggraft_formats::Watch;
use ggraft_formats::error::Printable;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Shows how plans are carried out.
pub struct Progress<'a> {
    /// The steps of each output.
    steps: Vec<&'a [Step]>,
    sink: Sink,
    /// Whether the work is to be stopped.
    stop: fn() -> bool,
}

enum Sink {
    Bar(ProgressBar),
    /// Tensors told so far.
    Lines(Mutex<usize>),
    Silent,
}

impl<'a> Progress<'a> {
    /// A bar on a terminal, lines elsewhere, nothing when `quiet`; `stop` is asked whether to stop.
    pub fn new(plans: impl IntoIterator<Item = &'a Plan>, quiet: bool, stop: fn() -> bool) -> Progress<'a> {
        let steps: Vec<&[Step]> = plans.into_iter().map(|p| p.steps.as_slice()).collect();
        let sink = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Sink::Silent,
            (false, true) => Sink::Bar(bar(steps.iter().copied().flatten().map(|s| s.bytes).sum())),
            (false, false) => Sink::Lines(Mutex::new(0)),
        };
        Progress { steps, sink, stop }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta} {wide_msg}",
    );
    let bar = ProgressBar::new(bytes);
    // The template is fixed; were it wrong, the default style would show.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Watch for Progress<'_> {
    fn resumes(&self, pieces: usize) {
        let say =
            || _ = writeln!(std::io::stderr(), "going on with an earlier run: {pieces} pieces are written");
        match &self.sink {
            Sink::Bar(bar) => bar.suspend(say),
            Sink::Lines(_) => say(),
            Sink::Silent => {}
        }
    }

    fn cancelled(&self) -> bool {
        (self.stop)()
    }

    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool) {
        let Some(step) = self.steps.get(output).and_then(|steps| steps.get(index)) else { return };
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => {
                bar.inc(bytes);
                bar.set_message(Printable(&step.name).to_string());
            }
            Sink::Lines(told) if finished => {
                let Ok(mut told) = told.lock() else { return };
                *told += 1;
                _ = writeln!(
                    std::io::stderr(),
                    "[{:>4}/{:>4}] {:<40} {:>18} {:>7} -> {:<7} {:>10}",
                    *told,
                    self.steps.iter().map(|steps| steps.len()).sum::<usize>(),
                    Printable(&step.name).to_string(),
                    step.shape,
                    step.from,
                    step.to,
                    super::size(step.bytes)
                );
            }
            Sink::Lines(_) => {}
        }
    }
}
