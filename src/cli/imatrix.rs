//! `ggraft imatrix MODEL --text FILE`: the importance matrix of a model's weights, measured in llama.cpp itself.

use super::options::Show;
use super::running;
use ggraft_formats::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A GGUF file; of a split model the first part
    model: PathBuf,
    /// Output file
    #[arg(short, long, value_name = "FILE", default_value = "imatrix.gguf", help_heading = "Output")]
    output: PathBuf,
    /// Replace an existing output
    #[arg(short, long, help_heading = "Safety")]
    force: bool,
    /// Measure the head, output.weight, too
    #[arg(long)]
    process_output: bool,
    /// Take tokens that the text spells, such as <|im_end|>, for what they spell
    #[arg(long, help_heading = "Text")]
    parse_special: bool,
    #[command(flatten)]
    running: running::Options,
    #[command(flatten)]
    show: Show,
}

#[cfg(not(feature = "runtime"))]
pub(super) fn run(_: Args) -> Result<()> {
    running::absent("imatrix")
}

#[cfg(feature = "runtime")]
pub(super) fn run(args: Args) -> Result<()> {
    written::run(&args)
}

#[cfg(feature = "runtime")]
mod written {
    use super::{Args, running};
    use crate::cli::{options, stdout};
    use crate::evaluate::{self, Collected};
    use crate::report;
    use crate::text::{Printable, shown};
    use ggraft_formats::source::is_away;
    use ggraft_formats::write::{Job, Resume, carry_out};
    use ggraft_formats::{Error, Result, gguf, imatrix};

    pub fn run(args: &Args) -> Result<()> {
        if is_away(&args.output) || args.output.is_dir() {
            return Err(Error::usage("an importance matrix is written to a file here")
                .file(&args.output)
                .expected("the path of a file"));
        }
        options::is_free(&args.output, args.force)?;
        running::is_gguf(&args.model)?;
        let text = args.running.text()?;
        let pool = options::thread_pool(args.running.threads)?;
        let library = args.running.library()?;
        let how = args.running.how(pool.current_num_threads(), args.parse_special);
        let stages = report::Stage::new(args.show.how_of_reading());
        let collected =
            evaluate::collect(library, &args.model, &text, (&how, args.process_output), &*stages)?;
        let window = u32::try_from(how.window).unwrap_or(u32::MAX);
        let model = imatrix::model(&collected.entries, &text.name(), collected.chunks, window)?;
        let job = Job { force: args.force, resume: Resume::Never, ..Job::default() };
        let layout = gguf::plan(&model, &args.output)?;
        pool.install(|| carry_out(&[layout], &job, &(), |_| Ok(Vec::new())))?;
        let mut notes = unseen(&collected);
        notes.push(format!(
            "{} weights, measured on {} windows of {} tokens ({} tokens in the text); llama.cpp v{}",
            collected.entries.len(),
            collected.windows,
            how.window,
            collected.tokens,
            library.version()
        ));
        report::print_notes(&notes, args.show.quiet);
        stdout::told(&shown(&args.output))
    }

    /// Which experts no token has chosen: their columns count alike.
    fn unseen(collected: &Collected) -> Vec<String> {
        let of = |(name, entry): (&String, &imatrix::Sums)| {
            let unseen = entry.counts.iter().filter(|count| **count == 0).count();
            let all = entry.counts.len();
            (unseen > 0).then(|| format!("{} ({unseen} of {all})", Printable(name)))
        };
        let names: Vec<String> = collected.entries.iter().filter_map(of).collect();
        if names.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "warning: no token has chosen some experts, whose columns therefore count alike: {}; a longer text helps",
            names.join(", ")
        )]
    }
}
