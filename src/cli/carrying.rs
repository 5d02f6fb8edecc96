//! The end of every verb that can be divided: its plans are carried out here and now, or what else its errand is.

use super::errand::{Ask, End, Errand, Task};
use super::options::{self, Order};
use super::{elsewhere, recomputed, signals, stdout};
use crate::jobs::report::host;
use crate::jobs::way::way;
use crate::jobs::{Folder, Form, Input, Output, Report, Share, Written, cost};
use crate::pipeline::{self, Plan, Resume, Work};
use crate::report;
use crate::text::shown;
use ggraft_formats::stamp::Reads;
use ggraft_formats::write::{Beside as File, Span, divide, fingerprint, parts};
use ggraft_formats::{Error, Kind, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

type Plans = [(Plan, PathBuf)];

/// Does what the verb is run for.
pub(super) fn carry_out(
    plans: &Plans,
    order: &Order<'_>,
    check: impl FnOnce() -> Result<Vec<String>> + Send,
) -> Result<()> {
    match &order.run.errand {
        Errand::Write => options::carry_out(plans, order, check),
        Errand::Plan(ask) => plan(plans, order, ask, check),
        Errand::Job(task) => job(plans, order, task),
        Errand::Finish(end) => finish(plans, order, end),
        Errand::Compare(claim) => recomputed::compare(plans, order, claim),
    }
}

/// What all steps of a plan tell the writer.
fn work<'a>(plans: &Plans, order: &Order<'a>, id: &'a str, resume: Resume) -> Result<Work<'a>> {
    let beside = options::files(plans, order)?.into_iter().map(|(file, _)| file).collect();
    // What lies in the folder of a shipment was written for it.
    let own = order.away.map(|away| away.stage.as_path());
    Ok(Work { options: order.words, resume, force: order.run.force, own, beside, plan: Some(id) })
}

/// The files that were read, as a plan names them.
fn inputs(plans: &Plans) -> Result<Vec<Input>> {
    let reads = Reads::default();
    plans.iter().flat_map(|(plan, _)| plan.reads.all()).for_each(|stamp| reads.add(stamp));
    Input::all(&reads.all(), &options::here()?)
}

fn outputs(plans: &Plans) -> Result<Vec<Output>> {
    let output = |(plan, path): &(Plan, PathBuf)| {
        let layout = plan.layout(path)?;
        Ok(Output {
            path: path.to_string_lossy().into_owned(),
            files: layout.paths().len(),
            bytes: plan.total,
            fingerprint: fingerprint(&layout),
        })
    };
    plans.iter().map(output).collect()
}

/// What each job does. Outputs that hold the same tensors are cut at the same ones, so that these are decoded once.
fn shares(plans: &Plans, ask: &Ask) -> Result<Vec<Share>> {
    let mut shares: Vec<Share> = (0..ask.jobs).map(|_| Share::default()).collect();
    let costs: Vec<Vec<f64>> = plans.iter().map(|(plan, _)| cost::of(plan, ask.speed)).collect();
    let mut sums: HashMap<&str, f64> = HashMap::new();
    for ((plan, _), costs) in plans.iter().zip(&costs) {
        let names = plan.steps.iter().map(|step| step.name.as_str());
        names.zip(costs).for_each(|(name, cost)| *sums.entry(name).or_default() += cost);
    }
    for ((plan, path), costs) in plans.iter().zip(&costs) {
        let layout = plan.layout(path)?;
        let sums: Vec<f64> = plan.steps.iter().map(|step| sums[step.name.as_str()]).collect();
        for (share, spans) in shares.iter_mut().zip(divide(&layout, &sums, ask.jobs)) {
            let (pieces, bytes) = parts::of_spans(&layout, &spans)?;
            share.pieces += pieces;
            share.bytes += spans.iter().map(|span| span.bytes.end - span.bytes.start).sum::<u64>();
            for ((bytes, step), cost) in bytes.iter().zip(&plan.steps).zip(costs) {
                share.seconds += cost * *bytes as f64 / step.bytes.max(1) as f64;
            }
            share.spans.push(spans.into_iter().map(|s| (s.file, s.bytes.start, s.bytes.end)).collect());
        }
    }
    Ok(shares)
}

/// Divides the plans into jobs, and makes the files that these fill.
fn plan(
    plans: &Plans,
    order: &Order<'_>,
    ask: &Ask,
    check: impl FnOnce() -> Result<Vec<String>> + Send,
) -> Result<()> {
    let run = order.run;
    if run.report.is_some() {
        return Err(Error::usage("jobs measure nothing for a report")
            .found("--report")
            .hint("leave it out; `ggraft diff` compares the finished output with its source"));
    }
    let pool = options::thread_pool(run.threads)?;
    options::show(plans, run, pool.current_num_threads())?;
    let notes = pool.install(check)?;
    report::print_notes(&notes, run.show.quiet);
    let base = options::here()?;
    let folder = if run.dry_run { None } else { Some(Folder::make(&ask.folder)?) };
    // A file that is no plan is not replaced by one, whatever is asked for.
    let found = folder.as_ref().filter(|folder| folder.has_plan()).map(Folder::read).transpose()?;
    let earlier = found.filter(|_| !run.no_resume);
    let is_there = earlier.is_some() && pipeline::is_prepared(plans)?;
    let begun = earlier.as_ref().filter(|_| is_there).map_or_else(now, |earlier| earlier.begun);
    let from = folder.as_ref().map_or(base.as_path(), Folder::path);
    let form = pool.install(|| form(plans, ask, begun, &way(from, &base)))?;
    if let (Some(folder), Some(earlier)) = (&folder, &earlier)
        && !earlier.is_like(&form)
    {
        return Err(Error::new(Kind::Failure, "another plan is there")
            .file(folder.path())
            .hint("choose another folder with --plan, or give --no-resume to begin anew"));
    }
    if let (Some(folder), Some(_), false) = (&folder, &earlier, is_there || pipeline::nothing_grows(plans)?)
        && folder.has_told()?
    {
        return Err(Error::new(
            Kind::Failure,
            "a part of what the plan has made is gone, and jobs have done some of it",
        )
        .file(folder.path())
        .hint("give --no-resume to begin anew, without what they have done"));
    }
    tell(&form, run.show.quiet);
    // What the same plan has made, and is not all there any more, is made anew; what a run has left there is not touched.
    let is_ours = |earlier: &Form| pipeline::are_of_plan(plans, &earlier.id);
    let anew = run.no_resume || (!is_there && earlier.as_ref().map_or(Ok(false), is_ours)?);
    let resume = if anew { Resume::Never } else { Resume::IfSame };
    let work = work(plans, order, &form.id, resume)?;
    let mut shipment = pool.install(|| options::shipment(plans, order, &work.beside))?;
    if let Some(shipment) = &shipment {
        shipment.tell_of_jobs();
        shipment.refuse_whole()?;
    }
    let mut exists = pipeline::look(plans, &work)?;
    exists.extend(shipment.as_ref().map_or(Ok(Vec::new()), |shipment| shipment.taken(&work.beside))?);
    let Some(folder) = folder else {
        let told = exists.iter().map(|e| e.to_string().replace("\n  ", "; "));
        report::print_notes(&told.collect::<Vec<_>>(), run.show.quiet);
        return Ok(());
    };
    if let Some(e) = Error::all(exists) {
        return Err(e);
    }
    shipment.iter_mut().try_for_each(|shipment| shipment.prepare())?;
    // A plan that was made only in part is made again by the same words.
    pipeline::prepare(plans, &work, || {
        folder.write(&form)?;
        if is_there { Ok(()) } else { folder.forget() }
    })?;
    if !run.json && !ask.emits {
        stdout::told(&shown(&ask.folder).to_string())?;
    }
    Ok(())
}

/// What the plan says; `folder` is the way to the current one.
fn form(plans: &Plans, ask: &Ask, begun: u64, folder: &Path) -> Result<Form> {
    let cores = usize::try_from(ask.speed.cores).unwrap_or(1);
    Form::new(Form {
        begun,
        words: ask.words.clone(),
        folder: folder.to_string_lossy().into_owned(),
        speed: ask.speed,
        inputs: inputs(plans)?,
        outputs: outputs(plans)?,
        jobs: shares(plans, ask)?,
        memory: plans.iter().map(|(plan, _)| plan.memory(cores)).max().unwrap_or(0),
        ..Form::default()
    })
}

/// The time, in nanoseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// Says how the work is divided.
fn tell(form: &Form, quiet: bool) {
    let seconds = form.jobs.iter().map(|job| job.seconds);
    let (most, sum) = (seconds.clone().fold(0.0, f64::max), seconds.sum::<f64>());
    let mean = sum / form.jobs.len().max(1) as f64;
    let (cores, reads) = (form.speed.cores, report::size(form.speed.reads));
    let idle = form.jobs.iter().filter(|job| job.bytes == 0).count();
    let mut notes = vec![format!(
        "{} jobs of about {mean:.1} s, the longest {most:.1} s, if each has {cores} cores and reads {reads} in a second",
        form.jobs.len()
    )];
    if idle > 0 {
        notes.push(format!("{idle} jobs have nothing to do: the output is small for so many"));
    }
    report::print_notes(&notes, quiet);
}

/// Refuses to go on with a plan of which other words, or other models, were made now.
fn same(plans: &Plans, form: &Form) -> Result<()> {
    Input::same(&form.inputs, &inputs(plans)?)?;
    let now = outputs(plans)?;
    if now == form.outputs {
        return Ok(());
    }
    let differs = form.outputs.iter().zip(&now).find(|(a, b)| a != b).map(|(_, now)| now);
    let path = differs.map_or("", |output| output.path.as_str());
    Err(Error::invalid("the plan would not be made so again, though its inputs are the same")
        .file(Path::new(path))
        .hint("see that nothing in the environment differs, or make the plan again with --no-resume"))
}

/// Does one job.
fn job(plans: &Plans, order: &Order<'_>, task: &Task) -> Result<()> {
    let Task { folder, form, number } = task;
    let (run, start) = (order.run, Instant::now());
    let pool = options::thread_pool(run.threads)?;
    pool.install(|| same(plans, form))?;
    let Some(share) = form.jobs.get(*number) else { return Err(Error::usage("the plan has no such job")) };
    let spans = share.to_spans();
    let bytes = |((plan, path), spans): (&(Plan, PathBuf), &Vec<Span>)| {
        parts::of_spans(&plan.layout(path)?, spans).map(|(_, bytes)| bytes)
    };
    let bytes = plans.iter().zip(&spans).map(bytes).collect::<Result<Vec<_>>>()?;
    let progress =
        report::Progress::shares(plans.iter().map(|(plan, _)| plan), &bytes, run.show.how(), || {
            signals::came().is_some()
        });
    let work = work(plans, order, &form.id, Resume::IfSame)?;
    let requests = signals::listen()?;
    let records = folder.records(*number);
    let done = pool.install(|| pipeline::write_spans(plans, &spans, &work, &records, &progress));
    drop(requests);
    progress.finish();
    let written = |spans: Vec<(Span, String)>| spans.into_iter().map(Written::new).collect();
    let outputs = done?.into_iter().map(written).collect();
    let seconds = start.elapsed().as_secs_f64();
    folder.tell(&Report { plan: form.id.clone(), job: *number, host: host(), seconds, outputs })?;
    if !run.show.quiet {
        elsewhere::print_traffic(order.access);
    }
    let of = form.jobs.len();
    let note = format!("job {number} of {of} is done: {} in {seconds:.1} s", report::size(share.bytes));
    report::print_notes(&[note], run.show.quiet);
    Ok(())
}

/// Gives the outputs their names, and takes them elsewhere if that is their place.
fn finish(plans: &Plans, order: &Order<'_>, end: &End) -> Result<()> {
    let (run, End { folder, form, .. }) = (order.run, end);
    let pool = options::thread_pool(run.threads)?;
    pool.install(|| same(plans, form))?;
    if let (Some(away), true) = (order.away, folder.is_sent(form)?) {
        report::print_notes(&[String::from("the outputs have gone already")], run.show.quiet);
        return away.tell(plans);
    }
    let files = options::files(plans, order)?;
    let work = work(plans, order, &form.id, Resume::IfSame)?;
    let mut shipment = pool.install(|| options::shipment(plans, order, &work.beside))?;
    if let Some(shipment) = &mut shipment {
        Error::all(shipment.taken(&work.beside)?).map_or(Ok(()), Err)?;
        shipment.prepare()?;
    }
    let is_named = pool.install(|| name(plans, order, end, &work, &files))?;
    folder.clear_work()?;
    if let Some(shipment) = &mut shipment {
        let requests = signals::listen()?;
        pool.install(|| shipment.send(|| folder.tell_sent(form)))?;
        drop(requests);
        return shipment.conclude(plans);
    }
    let names = files.iter().map(|(file, _)| format!("wrote {}", shown(&file.path)));
    let notes: Vec<String> =
        if is_named { names.collect() } else { vec![String::from("the outputs have their names already")] };
    report::print_notes(&notes, run.show.quiet);
    for (plan, path) in plans {
        stdout::told(&shown(&plan.first(path)?).to_string())?;
    }
    if run.show.quiet { Ok(()) } else { order.beside.print_start(plans) }
}

/// Gives the outputs their names; whether they had none before.
fn name(
    plans: &Plans,
    order: &Order<'_>,
    end: &End,
    work: &Work<'_>,
    files: &[(File, Option<String>)],
) -> Result<bool> {
    let mut hashes: Vec<Vec<(Span, String)>> = vec![Vec::new(); plans.len()];
    for number in 0..end.form.jobs.len() {
        let report = end.folder.report(&end.form, number)?;
        let outputs = report.into_iter().flat_map(|report| report.outputs);
        hashes.iter_mut().zip(outputs).for_each(|(all, own)| all.extend(own.iter().map(Written::to_span)));
    }
    if pipeline::is_finished(plans, &hashes)? {
        return Ok(false);
    }
    // What grows is what the jobs have written, as the journals tell; its bytes are read if that is asked for.
    let hashes = if end.hash { hashes } else { vec![Vec::new(); plans.len()] };
    pipeline::finish(plans, &hashes, work, &(), |places| {
        options::contents(plans, places, order, &[], files)
    })?;
    Ok(true)
}
