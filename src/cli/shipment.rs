//! One run whose outputs go elsewhere: what was written before, what there is to be sent, and the sending.

use super::away::{Away, CARD_IN_WORDS};
use super::{elsewhere, signals};
use crate::arrange::Arrange;
use crate::hash::sha256;
use crate::pipeline::Plan;
use crate::report::{self, Progress};
use crate::text::shown;
use ggraft_formats::mmap::Mapping;
use ggraft_formats::source::{Access, Parcel, Sending};
use ggraft_formats::write::{Beside as File, write_whole};
use ggraft_formats::{Error, Kind, Result};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::Instant;

/// Tells what lies in the folder, once all outputs are whole.
const RECORD: &str = "whole.json";
/// Held by the run that is at work there.
const LOCK: &str = "lock";

/// How the work is done.
pub(super) struct How<'a> {
    /// The options that decide the bytes.
    pub words: &'a str,
    /// Whether what is there may be replaced.
    pub force: bool,
    pub no_resume: bool,
    /// Whether cards were asked for.
    pub wants_card: bool,
    pub show: report::Show,
    pub quiet: bool,
    /// Whether stdout tells the plans.
    pub json: bool,
    pub access: &'a Access,
}

/// What goes.
pub(super) struct Shipment<'a> {
    away: &'a Away,
    how: How<'a>,
    id: String,
    /// Names there, paths here, bytes as far as they are known.
    files: Vec<(String, PathBuf, u64)>,
    /// Whether an earlier run has written all of it, and did not send it.
    pub is_whole: bool,
    /// The names of the cards that go on with what is there, or that nobody has asked for.
    cards: Vec<String>,
    lock: Option<std::fs::File>,
}

impl<'a> Shipment<'a> {
    /// What these plans, with the files beside them, are to be there.
    pub fn new(
        away: &'a Away,
        plans: &[(Plan, PathBuf)],
        how: How<'a>,
        beside: &[File],
    ) -> Result<Shipment<'a>> {
        let id = away.identity(plans, how.words, how.wants_card, beside)?;
        let files = away.files(plans, beside)?;
        let cards = beside.iter().filter(|file| file.what == CARD_IN_WORDS);
        let cards = cards.filter(|file| file.replaces || !how.wants_card);
        let cards = cards.filter_map(|file| away.name(&file.path)).collect();
        let mut new = Shipment { away, how, id, files, is_whole: false, cards, lock: None };
        let earlier = new.recorded().filter(|_| !new.how.no_resume);
        new.is_whole = earlier.as_deref().map_or(Ok(false), are_as_noted)?;
        if earlier.is_some() && !new.is_whole {
            let note = "what an earlier run has written is no longer what it was, and is written anew";
            report::print_notes(&[format!("{note}: {}", shown(&away.stage))], new.how.quiet);
        }
        Ok(new)
    }

    /// The outputs that are there, and may not be replaced.
    pub fn taken(&self, beside: &[File]) -> Result<Vec<Error>> {
        // What an earlier run has sent before it was stopped is ours.
        let names: Vec<String> = self.files.iter().map(|(name, ..)| name.clone()).collect();
        if self.how.force || self.is_whole { Ok(Vec::new()) } else { self.away.taken(&names, beside) }
    }

    /// Says what goes where.
    pub fn tell(&self) {
        let first = if self.is_whole { "written by an earlier run" } else { "written first" };
        self.tell_as(first, "it goes");
    }

    /// The same of a plan that jobs carry out.
    pub fn tell_of_jobs(&self) {
        self.tell_as("the jobs write, in a folder that all of them see", "`ggraft finish` takes it");
    }

    fn tell_as(&self, first: &str, then: &str) {
        let names: Vec<&str> = self.files.iter().map(|(name, ..)| name.as_str()).collect();
        let bytes = self.files.iter().map(|(.., bytes)| bytes).sum();
        let (stage, place) = (shown(&self.away.stage), self.away.depot.shown(""));
        let first = format!("{first}: {} in {stage}", report::size(bytes));
        let then = format!("then {then} to {}, and the folder with it: {}", shown(&place), names.join(", "));
        report::print_notes(&[first, then], self.how.quiet);
    }

    /// Refuses to plan anew what only waits to be sent.
    pub fn refuse_whole(&self) -> Result<()> {
        match self.is_whole {
            false => Ok(()),
            true => {
                Err(Error::new(Kind::Failure, "the outputs are whole, and not all of them have gone yet")
                    .file(&self.away.stage)
                    .hint("`ggraft finish` sends them; --no-resume begins anew"))
            }
        }
    }

    /// Makes the folder this run's, and sees that the files will be taken.
    ///
    /// # Errors
    /// Another run is at work there; those of the place.
    pub fn prepare(&mut self) -> Result<()> {
        let stage = &self.away.stage;
        std::fs::create_dir_all(stage).map_err(|e| Error::io(&e, stage))?;
        let path = stage.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io(&e, &path))?;
        if matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
            return Err(Error::new(Kind::Failure, "another run is at work on the same outputs").file(stage));
        }
        self.lock = Some(file);
        if !self.is_whole {
            _ = std::fs::remove_file(stage.join(RECORD));
        }
        let told: Vec<(String, u64)> = self.files.iter().map(|(name, _, n)| (name.clone(), *n)).collect();
        report::print_notes(&self.away.depot.prepare(&told)?, self.how.quiet);
        Ok(())
    }

    /// What the record says, if it is of these outputs and they are there.
    fn recorded(&self) -> Option<Vec<Parcel>> {
        let text = std::fs::read_to_string(self.away.stage.join(RECORD)).ok()?;
        let record: Value = serde_json::from_str(&text).ok()?;
        let is_same = record.get("id")?.as_str()? == self.id;
        let told = record.get("files")?.as_array().filter(|_| is_same)?;
        let parcel = |told: &Value| {
            let text = |key: &str| Some(told.get(key)?.as_str()?.to_string());
            let name = text("name")?;
            let path = self.away.place(&name);
            let bytes = std::fs::metadata(&path).ok()?.len();
            let replaces = self.how.force && text("follows").is_none();
            let is_same = told.get("bytes")?.as_u64()? == bytes;
            let sha256 = text("sha256")?;
            is_same.then(|| Parcel { name, path, bytes, sha256, replaces, follows: text("follows") })
        };
        let parcels = told.iter().map(parcel).collect::<Option<Vec<_>>>()?;
        let has = |name: &String| self.cards.contains(name) || parcels.iter().any(|p| p.name == *name);
        self.files.iter().all(|(name, ..)| has(name)).then_some(parcels)
    }

    fn record(&self, parcels: &[Parcel]) -> Result<()> {
        let file = |p: &Parcel| {
            let Parcel { name, bytes, sha256, follows, .. } = p;
            json!({ "name": name, "bytes": bytes, "sha256": sha256, "follows": follows })
        };
        let record = json!({ "id": self.id, "files": parcels.iter().map(file).collect::<Vec<_>>() });
        write_whole(&self.away.stage.join(RECORD), format!("{record:#}\n").as_bytes(), true)
    }

    /// The outputs are whole: that is noted, so that no later run writes them again.
    fn written(&mut self) -> Result<()> {
        let parcel = |(name, path, _): &(String, PathBuf, u64)| {
            let bytes = std::fs::metadata(path).map_err(|e| Error::io(&e, path))?.len();
            let follows = self.cards.contains(name).then(|| self.away.seen(name));
            let replaces = self.how.force && follows.is_none();
            let (name, path, sha256) = (name.clone(), path.clone(), String::new());
            Ok(Parcel { name, path, bytes, sha256, replaces, follows })
        };
        let parcels = self.files.iter().map(parcel).collect::<Result<Vec<_>>>()?;
        self.record(&parcels)?;
        self.is_whole = true;
        Ok(())
    }

    /// Sends all of it, which is written, and clears the folder once `gone` has noted that it went.
    pub fn send(&mut self, gone: impl FnOnce() -> Result<()>) -> Result<()> {
        let (start, quiet) = (Instant::now(), self.how.quiet);
        if !self.is_whole {
            self.written()?;
        }
        let lost =
            || Error::new(Kind::Changed, "the outputs are no longer what was written").file(&self.away.stage);
        let mut parcels = self.recorded().ok_or_else(lost)?;
        parcels.par_iter_mut().filter(|p| p.sha256.is_empty()).try_for_each(|parcel| {
            parcel.sha256 = hash(parcel)?;
            Ok::<_, Error>(())
        })?;
        self.record(&parcels)?;
        let items = parcels.iter().map(|p| (p.name.as_str(), p.bytes));
        let progress = Progress::parts("uploading", items, self.how.show, || signals::came().is_some());
        let sending = Sending { state: &self.away.stage, watch: &progress };
        let sent = self.away.depot.send(&parcels, &sending);
        progress.finish();
        let sent = sent.inspect_err(|_| {
            let note =
                format!("the outputs are whole, in {}: the same command sends them", shown(&self.away.stage));
            report::print_notes(&[note], quiet);
        })?;
        let bytes = parcels.iter().map(|p| p.bytes).sum();
        let (size, seconds) = (report::size(bytes), start.elapsed().as_secs_f64());
        let left = |name: &String| {
            let place = self.away.depot.shown(name);
            format!(
                "{} was changed there meanwhile, and stays as it is: this run's is not sent",
                shown(&place)
            )
        };
        let mut notes = vec![format!("{size} uploaded in {seconds:.1} s: {}", sent.place)];
        notes.extend(sent.behind.iter().map(left));
        report::print_notes(&notes, quiet);
        gone()?;
        parcels.iter().for_each(|parcel| _ = std::fs::remove_file(&parcel.path));
        _ = std::fs::remove_file(self.away.stage.join(RECORD));
        Ok(())
    }
}

/// The SHA-256 of a file that goes.
fn hash(parcel: &Parcel) -> Result<String> {
    Ok(sha256(&Mapping::open(&parcel.path)?))
}

/// Whether all files have the SHA-256 that is noted of them, if one is.
fn are_as_noted(parcels: &[Parcel]) -> Result<bool> {
    let noted = parcels.par_iter().filter(|parcel| !parcel.sha256.is_empty());
    let same = noted.map(|parcel| Ok(hash(parcel)? == parcel.sha256)).collect::<Result<Vec<_>>>()?;
    Ok(same.into_iter().all(|same| same))
}

impl Shipment<'_> {
    /// Says what there is now.
    pub fn conclude(&self, plans: &[(Plan, PathBuf)]) -> Result<()> {
        let How { quiet, json, access, .. } = self.how;
        if !quiet {
            elsewhere::print_traffic(access);
        }
        if !json {
            self.away.tell(plans)?;
        }
        report::print_notes(&self.away.start(plans)?, quiet);
        Ok(())
    }
}

/// What is empty goes; what is not is somebody's.
impl Drop for Shipment<'_> {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let mut folders: Vec<PathBuf> = Vec::new();
        for (_, path, _) in &self.files {
            let within = path.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.away.stage));
            folders.extend(within.filter(|dir| *dir != self.away.stage).map(PathBuf::from));
        }
        folders.arrange_by_key(|dir| std::cmp::Reverse(dir.components().count()));
        folders.iter().for_each(|dir| _ = std::fs::remove_dir(dir));
        let entries = std::fs::read_dir(&self.away.stage).into_iter().flatten().flatten();
        if entries.map(|entry| entry.file_name()).all(|name| name == LOCK) {
            _ = std::fs::remove_file(self.away.stage.join(LOCK));
            _ = std::fs::remove_dir(&self.away.stage);
        }
    }
}
