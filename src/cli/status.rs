//! `ggraft status FOLDER`: how far the jobs of a plan are, by what they have told. Neither models nor outputs are read.

use super::finish::array;
use super::stdout;
use crate::jobs::{Folder, Form};
use crate::report::{self, size};
use ggraft_formats::Result;
use ggraft_formats::write::parts;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::time::SystemTime;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of the plan
    #[arg(value_name = "FOLDER")]
    plan: PathBuf,
    /// Print JSON: every job with its state
    #[arg(long)]
    json: bool,
}

/// How far a job is.
enum State {
    Done {
        host: String,
        seconds: f64,
    },
    /// So many pieces are written; the last was told so many seconds ago.
    Begun {
        pieces: usize,
        ago: u64,
    },
    Waiting,
}

pub(super) fn run(args: Args) -> Result<()> {
    let folder = Folder::at(&args.plan)?;
    let form = folder.read()?;
    let states = (0..form.jobs.len()).map(|job| state(&folder, &form, job)).collect::<Result<Vec<_>>>()?;
    if args.json {
        return stdout::print(
            format!("{}\n", report::printable(&json(&form, &states).to_string())).as_bytes(),
        );
    }
    for line in lines(&form, &states) {
        stdout::line(&line)?;
    }
    Ok(())
}

fn state(folder: &Folder, form: &Form, job: usize) -> Result<State> {
    if let Some(report) = folder.report(form, job)? {
        return Ok(State::Done { host: report.host, seconds: report.seconds });
    }
    Ok(match parts::progress(&folder.records(job))? {
        None => State::Waiting,
        Some((pieces, last)) => {
            let ago = SystemTime::now().duration_since(last).map_or(0, |ago| ago.as_secs());
            State::Begun { pieces, ago }
        }
    })
}

fn lines(form: &Form, states: &[State]) -> Vec<String> {
    let select = |is: fn(&State) -> bool| -> Vec<usize> {
        states.iter().enumerate().filter(|(_, state)| is(state)).map(|(job, _)| job).collect()
    };
    let done = select(|state| matches!(state, State::Done { .. }));
    let begun = select(|state| matches!(state, State::Begun { .. }));
    let waiting = select(|state| matches!(state, State::Waiting));
    let bytes = |jobs: &[usize]| size(jobs.iter().map(|job| form.jobs[*job].bytes).sum());
    let all: Vec<usize> = (0..states.len()).collect();
    let mut lines = vec![format!(
        "{} of {} jobs are done, {} of {}",
        done.len(),
        states.len(),
        bytes(&done),
        bytes(&all)
    )];
    for job in begun {
        if let State::Begun { pieces, ago } = states[job] {
            let of = form.jobs[job].pieces;
            lines.push(format!("job {job}: {pieces} of {of} pieces, the last {ago} s ago"));
        }
    }
    if !waiting.is_empty() {
        lines.push(format!("not begun: {}", array(&waiting)));
    }
    let slowest = states.iter().filter_map(|state| match state {
        State::Done { seconds, host } => Some((*seconds, host)),
        _ => None,
    });
    if let Some((seconds, host)) = slowest.max_by(|a, b| a.0.total_cmp(&b.0)) {
        let host = report::printable(host);
        lines.push(format!("the longest of the jobs that are done took {seconds:.1} s, on {host}"));
    }
    if done.len() == states.len() {
        lines.push(String::from("`ggraft finish` gives the outputs their names"));
    }
    lines
}

fn json(form: &Form, states: &[State]) -> Json {
    let job = |(job, state): (usize, &State)| {
        let share = &form.jobs[job];
        let (word, pieces, seconds, host, ago) = match state {
            State::Done { host, seconds } => ("done", share.pieces, Some(*seconds), Some(host), None),
            State::Begun { pieces, ago } => ("begun", *pieces, None, None, Some(*ago)),
            State::Waiting => ("waiting", 0, None, None, None),
        };
        json!({
            "job": job, "state": word, "bytes": share.bytes, "pieces": share.pieces, "pieces_done": pieces,
            "seconds_expected": share.seconds, "seconds": seconds, "host": host, "seconds_since": ago,
        })
    };
    let jobs: Vec<Json> = states.iter().enumerate().map(job).collect();
    let outputs: Vec<Json> = form
        .outputs
        .iter()
        .map(|output| json!({ "path": output.path, "files": output.files, "bytes": output.bytes }))
        .collect();
    json!({ "plan": form.id, "outputs": outputs, "jobs": jobs })
}
