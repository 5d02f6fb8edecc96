//! `ggraft measure MODEL... [--against REFERENCE] --text FILE`: how models do on a text, in llama.cpp itself.

use super::options::Show;
use super::running;
use ggraft_formats::Result;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// GGUF files; of a split model the first part
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// The GGUF that the models are compared with, such as the one before it was quantized
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    #[command(flatten)]
    running: running::Options,
    /// Print JSON, with more figures
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    show: Show,
}

#[cfg(not(feature = "runtime"))]
pub(super) fn run(_: Args) -> Result<()> {
    running::absent("measure")
}

#[cfg(feature = "runtime")]
pub(super) fn run(args: Args) -> Result<()> {
    told::run(&args)
}

#[cfg(feature = "runtime")]
mod told {
    use super::{Args, running};
    use crate::cli::{options, stdout};
    use crate::evaluate::{self, Measured, Run};
    use crate::measure::likelihood::{Comparison, Estimate};
    use crate::report;
    use crate::text::shown;
    use ggraft_formats::Result;
    use serde_json::{Value as Json, json};
    use std::fmt::Write;
    use std::path::Path;

    /// Percentiles of the divergences, by their names in the JSON.
    const PERCENTILES: [(&str, f64); 11] = [
        ("max", 1.0),
        ("p99.9", 0.999),
        ("p99", 0.99),
        ("p95", 0.95),
        ("p90", 0.9),
        ("median", 0.5),
        ("p10", 0.1),
        ("p5", 0.05),
        ("p1", 0.01),
        ("p0.1", 0.001),
        ("min", 0.0),
    ];
    /// Columns that a name takes at most.
    const NAME: usize = 40;

    pub fn run(args: &Args) -> Result<()> {
        args.models.iter().chain(&args.against).try_for_each(|file| running::is_gguf(file))?;
        let text = args.running.text()?;
        let pool = options::thread_pool(args.running.threads)?;
        let library = args.running.library()?;
        let how = args.running.how(pool.current_num_threads(), false);
        let stages = report::Stage::new(args.show.how_of_reading());
        let models = (args.models.as_slice(), args.against.as_deref());
        let measured = pool.install(|| evaluate::measure(library, models, &text, &how, &*stages))?;
        report::print_notes(&measured.notes, args.show.quiet);
        if args.json {
            let json = json(&measured, &text.name(), library.version());
            return stdout::line(&report::printable(&format!("{json:#}")));
        }
        if !args.show.quiet {
            report::say(&about(&measured, library.version()));
        }
        stdout::line(table(&measured).trim_end())
    }

    fn about(m: &Measured, version: &str) -> String {
        format!(
            "{} tokens in {} windows of {}, of which {} are scored; llama.cpp v{version}",
            m.tokens, m.windows, m.window, m.places
        )
    }

    /// What a row begins with.
    fn name(file: &Path) -> String {
        shown(Path::new(file.file_name().unwrap_or(file.as_os_str())))
    }

    fn table(m: &Measured) -> String {
        let mut rows: Vec<(String, Estimate, Option<&Comparison>)> = Vec::new();
        if let Some((file, perplexity)) = &m.reference {
            rows.push((format!("{} (reference)", name(file)), *perplexity, None));
        }
        rows.extend(m.models.iter().map(|r| (name(&r.file), r.perplexity, r.compared.as_ref())));
        let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).min(NAME);
        let mut out = format!("{:<width$} {:>20}", "model", "perplexity");
        if m.reference.is_some() {
            let columns = ("KL divergence", "median", "99 %", "same top", "RMS of p");
            _ = write!(
                out,
                " {:>19} {:>8} {:>8} {:>9} {:>8}",
                columns.0, columns.1, columns.2, columns.3, columns.4
            );
        }
        for (name, perplexity, compared) in rows {
            _ = write!(out, "\n{name:<width$} {:>20}", plus_minus(perplexity, 4));
            if let Some(c) = compared {
                _ = write!(
                    out,
                    " {:>19} {:>8.5} {:>8.5} {:>7.2} % {:>6.2} %",
                    plus_minus(c.divergence, 5),
                    c.spread.percentile(0.5),
                    c.spread.percentile(0.99),
                    100.0 * c.same_top.value,
                    100.0 * c.gain_rms.value,
                );
            }
        }
        out
    }

    fn plus_minus(e: Estimate, digits: usize) -> String {
        format!("{:.digits$} ± {:.digits$}", e.value, e.error)
    }

    fn estimate(e: Estimate) -> Json {
        json!({ "value": e.value, "error": e.error })
    }

    fn json(m: &Measured, text: &str, version: &str) -> Json {
        let reference = m.reference.as_ref().map(
            |(file, perplexity)| json!({ "file": file.to_string_lossy(), "perplexity": estimate(*perplexity) }),
        );
        json!({
            "text": text,
            "llama_cpp": version,
            "tokens": m.tokens,
            "windows": m.windows,
            "window": m.window,
            "scored": m.places,
            "reference": reference,
            "models": m.models.iter().map(run_json).collect::<Vec<_>>(),
        })
    }

    fn run_json(run: &Run) -> Json {
        let compared = run.compared.as_ref().map(|c| {
            let percentiles = PERCENTILES
                .iter()
                .map(|(name, share)| ((*name).to_string(), json!(c.spread.percentile(*share))));
            json!({
                "ln_perplexity_ratio": estimate(c.ln_ratio),
                "correlation": c.correlation,
                "kl_divergence": estimate(c.divergence),
                "kl_percentiles": percentiles.collect::<serde_json::Map<_, _>>(),
                "probability_gain": estimate(c.gain),
                "probability_gain_rms": estimate(c.gain_rms),
                "same_top": estimate(c.same_top),
            })
        });
        json!({ "file": run.file.to_string_lossy(), "perplexity": estimate(run.perplexity), "compared": compared })
    }
}
