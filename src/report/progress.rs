//! Progress on stderr: a bar with bytes, rate and time left on a terminal, elsewhere one plain line a tensor,
//! `[ 42/ 200] name`, the form that wrappers of llama-quantize read; or one JSON object a line, for programs
//! (`docs/json.md`).

use super::json::printable;
use super::screen;
use crate::output::plan::{Plan, Step};
use console::truncate_str;
use ggraft_formats::Watch;
use ggraft_formats::error::Printable;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Show {
    /// A bar on a terminal, else plain lines.
    #[default]
    Auto,
    /// A line for each tensor that is done.
    Plain,
    /// An object a line: each tensor that is done, and twice a second the bytes.
    Json,
    /// Nothing.
    None,
}

/// How often the bytes are told as JSON.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// What the work on plans is called.
const WRITING: &str = "writing";

/// Screens of so many columns have room for more than the bar.
const WIDE: usize = 80;
/// What a name takes at most there.
const NAME: usize = 20;

/// Shows how work goes on.
pub struct Progress<'a> {
    /// What each output is made of.
    items: Vec<Vec<Item<'a>>>,
    /// How many items there are, and their bytes.
    total: (usize, u64),
    sink: Sink,
    /// Whether the work is to be stopped.
    stop: fn() -> bool,
}

/// A tensor, or all of a file.
struct Item<'a> {
    name: &'a str,
    bytes: u64,
    step: Option<&'a Step>,
}

enum Sink {
    Bar(ProgressBar),
    /// Items told so far.
    Lines(Mutex<usize>),
    Objects(Mutex<Told>),
    Silent,
}

/// What was told as JSON.
struct Told {
    items: usize,
    bytes: u64,
    last: Instant,
}

impl<'a> Progress<'a> {
    /// The progress of carrying out `plans`; `stop` is asked whether to stop.
    pub fn new(plans: impl IntoIterator<Item = &'a Plan>, show: Show, stop: fn() -> bool) -> Progress<'a> {
        let item = |step: &'a Step| Item { name: &step.name, bytes: step.bytes, step: Some(step) };
        let items = plans.into_iter().map(|plan| plan.steps.iter().map(item).collect());
        Progress::of(WRITING, items.collect(), show, stop)
    }

    /// The progress of writing so many bytes of each tensor of `plans`.
    pub fn shares(
        plans: impl IntoIterator<Item = &'a Plan>,
        bytes: &[Vec<u64>],
        show: Show,
        stop: fn() -> bool,
    ) -> Progress<'a> {
        let item =
            |(step, bytes): (&'a Step, &u64)| Item { name: &step.name, bytes: *bytes, step: Some(step) };
        let items = plans
            .into_iter()
            .zip(bytes)
            .map(|(plan, bytes)| plan.steps.iter().zip(bytes).map(item).collect());
        let mut progress = Progress::of(WRITING, items.collect(), show, stop);
        progress.total.0 = bytes.iter().flatten().filter(|bytes| **bytes > 0).count();
        progress
    }

    /// The progress of work, called `phase`, on parts that are called so and have so many bytes.
    pub fn parts(
        phase: &'static str,
        parts: impl IntoIterator<Item = (&'a str, u64)>,
        show: Show,
        stop: fn() -> bool,
    ) -> Progress<'a> {
        let items = parts.into_iter().map(|(name, bytes)| Item { name, bytes, step: None });
        Progress::of(phase, vec![items.collect()], show, stop)
    }

    fn of(phase: &'static str, items: Vec<Vec<Item<'a>>>, show: Show, stop: fn() -> bool) -> Progress<'a> {
        let all = items.iter().flatten();
        let total = (all.clone().count(), all.map(|item| item.bytes).sum());
        let sink = match show {
            Show::None => Sink::Silent,
            Show::Json => Sink::Objects(Mutex::new(Told { items: 0, bytes: 0, last: Instant::now() })),
            Show::Auto if has_screen() => Sink::Bar(bar(phase, total.1)),
            Show::Auto | Show::Plain => Sink::Lines(Mutex::new(0)),
        };
        Progress { items, total, sink, stop }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }

    fn object(&self, item: &Item<'_>, told: &mut Told, bytes: u64, finished: bool) {
        told.bytes += bytes;
        let (items, total) = self.total;
        if finished {
            told.items += 1;
            print(&json!({
                "event": "tensor", "name": item.name, "bytes": item.bytes,
                "done": told.items, "of": items, "bytes_done": told.bytes, "bytes_total": total,
            }));
        } else if told.last.elapsed() >= PAUSE {
            told.last = Instant::now();
            print(&json!({ "event": "bytes", "bytes_done": told.bytes, "bytes_total": total }));
        }
    }
}

/// Whether stderr is a terminal that can move its cursor.
pub(super) fn has_screen() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes an object on a line of its own.
pub(super) fn print(object: &Json) {
    _ = writeln!(std::io::stderr(), "{}", printable(&object.to_string()));
}

/// What a wide screen has room for: the bytes, and what is worked on. Asked for every time, for screens change.
fn more(bar: &ProgressBar, name: &str) -> String {
    if screen::width().is_none_or(|width| width < WIDE) {
        return String::new();
    }
    let (done, of) = (super::size(bar.position()), super::size(bar.length().unwrap_or(0)));
    format!(" {done}/{of} {}", truncate_str(&Printable(name).to_string(), NAME, "…"))
}

fn bar(phase: &'static str, bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix} {percent:>3}% {wide_bar} {binary_bytes_per_sec} {eta}{msg}");
    let bar = ProgressBar::new(bytes);
    // The template is fixed; were it wrong, the default style would show.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(phase);
    bar
}

/// The plain line of an item.
fn line(item: &Item<'_>, done: usize, of: usize) -> String {
    let name = Printable(item.name).to_string();
    let what = item.step.map_or(String::new(), |step| {
        format!("{:>18} {:>7} -> {:<7} ", step.shape.to_string(), step.from.to_string(), step.to.to_string())
    });
    format!("[{done:>4}/{of:>4}] {name:<40} {what}{:>10}", super::size(item.bytes))
}

impl Watch for Progress<'_> {
    fn resumes(&self, pieces: usize) {
        let say = || _ = writeln!(std::io::stderr(), "resuming: {pieces} pieces are already written");
        match &self.sink {
            Sink::Bar(bar) => bar.suspend(say),
            Sink::Lines(_) => say(),
            Sink::Objects(_) => print(&json!({ "event": "resumes", "pieces": pieces })),
            Sink::Silent => {}
        }
    }

    fn unlocked(&self, target: &Path) {
        let name = Printable(&target.to_string_lossy()).to_string();
        let text =
            format!("note: {name}: this file system has no locks; see that no other run writes this output");
        match &self.sink {
            Sink::Bar(bar) => bar.suspend(|| _ = writeln!(std::io::stderr(), "{text}")),
            Sink::Lines(_) => _ = writeln!(std::io::stderr(), "{text}"),
            Sink::Objects(_) | Sink::Silent => {}
        }
    }

    fn cancelled(&self) -> bool {
        (self.stop)()
    }

    fn advance(&self, output: usize, index: usize, bytes: u64, finished: bool) {
        let Some(item) = self.items.get(output).and_then(|items| items.get(index)) else { return };
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => {
                bar.inc(bytes);
                bar.set_message(more(bar, item.name));
            }
            Sink::Objects(told) => {
                if let Ok(mut told) = told.lock() {
                    self.object(item, &mut told, bytes, finished);
                }
            }
            Sink::Lines(told) if finished => {
                let Ok(mut told) = told.lock() else { return };
                *told += 1;
                _ = writeln!(std::io::stderr(), "{}", line(item, *told, self.total.0));
            }
            Sink::Lines(_) => {}
        }
    }
}
