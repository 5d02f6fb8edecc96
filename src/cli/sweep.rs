//! `--dry-run --sweep`: what files of several sizes would be like, of one measuring. Served are `convert` and `quantize`.

use super::errand::Errand;
use super::options::Run;
use super::stdout;
use crate::budget::Budget;
use crate::output::target::Type;
use crate::pipeline::Plan;
use crate::recipe::{Choice, Mixture};
use crate::report;
use ggraft_formats::source::is_away;
use ggraft_formats::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// The sizes of these mixtures, unless others are typed.
const USUAL: &str = "Q2_K,Q3_K_S,Q3_K_M,Q4_K_S,Q4_K_M,Q5_K_M,Q6_K,Q8_0";

/// What to do about one that is too small.
const LARGER: &str = "name a larger one after --sweep=, or free pinned tensors";

#[derive(clap::Args)]
#[command(next_help_heading = "Quantization")]
pub(super) struct Sweep {
    /// Show what files of these sizes would be like, as --target-size would make them: a table of one measuring pass, and
    /// nothing is written. Sizes as there; without any those of Q2_K to Q8_0
    #[arg(
        long,
        value_name = "SIZE,…",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = USUAL,
        value_delimiter = ',',
        value_parser = size,
        requires = "dry_run",
        conflicts_with_all = ["target_size", "target_bpw", "target_kld", "device", "pure", "report", "modelfile", "card"]
    )]
    sweep: Vec<String>,
}

fn size(text: &str) -> Result<String, String> {
    Budget::size(text).map(|_| text.to_string())
}

impl Sweep {
    /// Whether it is asked for.
    pub fn is_given(&self) -> bool {
        !self.sweep.is_empty()
    }

    /// Refuses what a sweep would leave undone: it shows a table, and that is all.
    ///
    /// # Errors
    /// An output elsewhere is named, whose place would be opened, or jobs are to be planned.
    pub fn alone(&self, run: &Run, output: Option<&Path>) -> Result<()> {
        if !self.is_given() {
            return Ok(());
        }
        if !matches!(run.errand, Errand::Write) {
            return Err(Error::usage("a sweep is no plan for jobs")
                .found("--sweep")
                .hint("leave out `plan`, --jobs and --plan to see the table, or --sweep to plan one size"));
        }
        match output.filter(|output| is_away(output)) {
            None => Ok(()),
            Some(output) => Err(Error::usage("a sweep writes nothing, so it has no output elsewhere")
                .found(output.display())
                .hint("leave the output out; --target-size makes the file of a row of the table")),
        }
    }

    /// What is to be planned: the mixture as it was typed, or one for each size.
    ///
    /// # Errors
    /// Several types are given: a sweep is compared with one.
    pub fn mixtures(&self, mixture: &Mixture, types: &[Choice<Type>]) -> Result<Vec<Mixture>> {
        if !self.is_given() {
            return Ok(vec![mixture.clone()]);
        }
        if types.len() > 1 {
            return Err(Error::usage("--sweep compares with one type")
                .found(format!("{} types", types.len()))
                .hint("give one, or none: then each size is compared with the nearest mixture"));
        }
        let of = |size: &String| Mixture { target_size: Some(size.clone()), ..mixture.clone() };
        Ok(self.sweep.iter().map(of).collect())
    }

    /// Shows what was planned: a table, or with --json the plans. Sizes that cannot be had are told beside it.
    ///
    /// # Errors
    /// Not one size can be had, or something else than a size is wrong.
    pub fn tell(&self, planned: Vec<Result<Plan>>, run: &Run, threads: usize) -> Result<()> {
        let mut plans = Vec::with_capacity(planned.len());
        let mut notes = BTreeSet::new();
        let (any, sizes) = (planned.iter().any(Result::is_ok), self.sweep.iter());
        for (planned, size) in planned.into_iter().zip(sizes) {
            match planned {
                Ok(plan) => plans.push(plan),
                Err(e) if e.kind() != Kind::Usage => return Err(e),
                Err(e) if any => {
                    notes.insert(format!("warning: {size}: {}", e.hint(LARGER)));
                }
                Err(e) => return Err(e.hint(LARGER)),
            }
        }
        notes.extend(plans.iter().flat_map(|plan| plan.notes.iter().cloned()));
        report::print_notes(&notes.into_iter().collect::<Vec<_>>(), run.show.quiet);
        if run.json {
            let line = |plan: &Plan| report::plan_json(plan, &plan.file_name(None), threads).to_string();
            return plans.iter().try_for_each(|plan| stdout::told(&report::printable(&line(plan))));
        }
        stdout::line(&report::sweep_text(&plans.iter().collect::<Vec<_>>()))
    }
}
