//! Options for models that lie elsewhere: whether they are kept, and how they are fetched.

use super::signals;
use crate::recipe::Size;
use crate::report::{self, Stage};
use crate::stages::Stages;
use ggraft_formats::source::{Access, Watch};
use std::io::Write;
use std::sync::Arc;

/// The most connections that one program should have.
const MOST: usize = 256;

/// How models are read that do not lie on this machine.
#[derive(clap::Args)]
#[command(next_help_heading = "Models")]
pub(super) struct Elsewhere {
    /// Put models of the Hugging Face hub into its cache first, and read them from there; else nothing of the weights is kept
    #[arg(long)]
    download: bool,
    /// The most connections at a time by which models are read from elsewhere
    #[arg(long, value_name = "N", default_value = "16", value_parser = connections)]
    connections: usize,
    /// The most memory for what was fetched before it is needed
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    fetch_memory: Size,
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

impl Elsewhere {
    /// How to read, where downloads are shown as a stage.
    pub fn access(&self, stage: &Arc<Stage>) -> Access {
        Access {
            connections: self.connections,
            memory: self.fetch_memory.0,
            download: self.download,
            watch: Arc::new(Downloads(Arc::clone(stage))),
            ..Access::default()
        }
    }
}

/// Downloads as stages.
struct Downloads(Arc<Stage>);

impl Watch for Downloads {
    fn begin(&self, what: &str, parts: usize) {
        self.0.begin(what, parts);
    }

    fn step(&self) {
        self.0.step();
    }

    fn cancelled(&self) -> bool {
        signals::came().is_some()
    }
}

/// How outputs go elsewhere of verbs that read here.
pub(super) fn plain() -> Access {
    Access { watch: Arc::new(Signals), ..Access::default() }
}

/// Hears signals only.
struct Signals;

impl Watch for Signals {
    fn begin(&self, _what: &str, _parts: usize) {}

    fn step(&self) {}

    fn cancelled(&self) -> bool {
        signals::came().is_some()
    }
}

/// Says what was read from elsewhere, if anything was.
pub(super) fn print_traffic(access: &Access) {
    let traffic = &access.traffic;
    if traffic.bytes() == 0 {
        return;
    }
    let again = match traffic.again() {
        0 => String::new(),
        n => format!(", {n} of them again"),
    };
    let size = report::size(traffic.bytes());
    // A closed stderr must not stop the work.
    _ = writeln!(std::io::stderr(), "fetched {size} in {} requests{again}", traffic.requests());
}
