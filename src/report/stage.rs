//! The stages before the writing on stderr: a bar on a terminal; elsewhere a line now and then, where one takes long; or
//! JSON objects (`docs/json.md`).

use super::Show;
use super::progress::{PAUSE, has_screen, print};
use crate::stages::Stages;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a bar moves of itself, so that it is seen to live.
const TICK: Duration = Duration::from_millis(120);

/// After so long a line tells how far a stage is; shorter ones are none of anybody's business.
const LONG: Duration = Duration::from_secs(5);

/// Shows the stages of one run.
pub struct Stage {
    show: Show,
    now: Mutex<Option<Now>>,
}

/// The stage that is going on.
struct Now {
    what: String,
    steps: usize,
    done: usize,
    /// When it was last told.
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Stage {
    pub fn new(show: Show) -> Arc<Stage> {
        Arc::new(Stage { show, now: Mutex::default() })
    }

    fn tell(&self, now: &mut Now) {
        now.told = Instant::now();
        match self.show {
            Show::Json => {
                print(&json!({ "event": "stage", "stage": now.what, "done": now.done, "of": now.steps }));
            }
            _ => _ = writeln!(std::io::stderr(), "{}: {} of {}", now.what, now.done, now.steps),
        }
    }
}

impl Stages for Stage {
    fn begin(&self, what: &str, steps: usize) {
        self.end();
        if self.show == Show::None {
            return;
        }
        let bar = (self.show == Show::Auto && has_screen()).then(|| bar(what, steps));
        let mut now = Now { what: what.to_string(), steps, done: 0, told: Instant::now(), bar };
        if self.show == Show::Json {
            self.tell(&mut now);
        }
        if let Ok(mut slot) = self.now.lock() {
            *slot = Some(now);
        }
    }

    fn step(&self) {
        let Ok(mut slot) = self.now.lock() else { return };
        let Some(now) = slot.as_mut() else { return };
        now.done += 1;
        let pause = if self.show == Show::Json { PAUSE } else { LONG };
        match &now.bar {
            Some(bar) => bar.inc(1),
            None if now.told.elapsed() >= pause => self.tell(now),
            None => {}
        }
    }

    fn end(&self) {
        let Ok(mut slot) = self.now.lock() else { return };
        if let Some(bar) = slot.take().and_then(|now| now.bar) {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}");
    // Also where an error ends the stage.
    let bar = ProgressBar::new(steps as u64).with_finish(ProgressFinish::AndClear);
    // The template is fixed; were it wrong, the default style would show.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_string());
    bar.enable_steady_tick(TICK);
    bar
}
