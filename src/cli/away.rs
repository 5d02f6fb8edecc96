//! Outputs that lie elsewhere: written in a folder of this machine first, taken to their place together when they are whole,
//! and then the folder goes. A run that is stopped anywhere on the way goes on with the same command.

use super::errand::Errand;
use super::{command, stdout};
use crate::pipeline::Plan;
use crate::report::file_name;
use crate::text::shown;
use ggraft_formats::source::{Access, Depot, Destination, is_away, mark};
use ggraft_formats::write::{Beside as File, Identity, fingerprint};
use ggraft_formats::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a card is called.
pub(super) const CARD: &str = "README.md";
pub(super) const CARD_IN_WORDS: &str = "the model card";
/// Where in the folder the files lie as they will lie there.
const ROOT: &str = "files";
/// Digits by which folders of different commands are told apart.
const DIGITS: usize = 8;

/// How outputs go elsewhere.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Output")]
pub(super) struct Options {
    /// The folder in which outputs for elsewhere (-o hf://org/name) are written before they go there; by default the current one
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub staging: Option<PathBuf>,
    /// Make the model of -o hf://org/name a private one, if it is new
    #[arg(long)]
    pub private: bool,
}

/// A place elsewhere, and the folder from which it is filled.
pub(super) struct Away {
    pub depot: Box<dyn Depot>,
    /// The folder, with all that is kept until the outputs have gone.
    pub stage: PathBuf,
    root: PathBuf,
    /// The marks of the cards that were read there, by their names.
    cards: Mutex<BTreeMap<String, String>>,
}

impl Options {
    /// What has no effect where the output stays here.
    pub fn idle(&self) -> Vec<String> {
        let said = [("--private", self.private), ("--staging", self.staging.is_some())];
        let said: Vec<&str> = said.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        match said.is_empty() {
            true => Vec::new(),
            false => vec![format!("no effect on outputs that stay here: {}", said.join(", "))],
        }
    }
}

impl Away {
    /// Opens the place, if one was typed as the output; then `typed` becomes the path in the folder. A job fills what lies
    /// there, and has nothing to do with the place.
    ///
    /// # Errors
    /// What is typed is no place that takes files, or the place refuses.
    pub fn of(
        typed: &mut Option<PathBuf>,
        verb: &str,
        wish: &Options,
        errand: &Errand,
        access: &Access,
    ) -> Result<Option<Away>> {
        let Some(path) = typed.as_deref().filter(|path| is_away(path)) else { return Ok(None) };
        // Nothing is written.
        if let Errand::Compare(_) = errand {
            return Ok(None);
        }
        let found = Destination::of(path)?;
        let mut id = Identity::default();
        id.add(path.as_os_str().as_encoded_bytes());
        id.add(command::typed(verb, &[]).as_bytes());
        let id: String = id.hash().chars().take(DIGITS).collect();
        let stage = wish.staging.clone().unwrap_or_default().join(format!("{}-{id}.upload", found.name));
        let root = stage.join(ROOT);
        *typed = Some(root.join(&found.path));
        if let Errand::Job(_) = errand {
            return Ok(None);
        }
        Ok(Some(Away { depot: found.open(wish.private, access)?, stage, root, cards: Mutex::default() }))
    }

    /// The name there of a file in the folder.
    pub fn name(&self, path: &Path) -> Option<String> {
        let parts = path.strip_prefix(&self.root).ok()?.iter();
        let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
        Some(parts.join("/")).filter(|name| !name.is_empty())
    }

    /// How a file in the folder is called when it has gone.
    pub fn shown(&self, path: &Path) -> PathBuf {
        self.depot.shown(&self.name(path).unwrap_or_default())
    }

    /// The card that lies there, where this one will.
    pub fn card(&self, path: &Path) -> Result<Option<String>> {
        self.name(path).map_or(Ok(None), |name| self.depot.text(&name))
    }

    /// Notes what a card goes on with: this text, or none.
    pub fn goes_on(&self, path: &Path, text: Option<&str>) {
        let Some(name) = self.name(path) else { return };
        let seen = text.map_or_else(String::new, mark);
        self.cards.lock().unwrap_or_else(PoisonError::into_inner).insert(name, seen);
    }

    /// The mark of what a card goes on with; empty if it is nothing.
    pub fn seen(&self, name: &str) -> String {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.get(name).cloned().unwrap_or_default()
    }

    /// Where a file of this name lies until it goes.
    pub fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The names of the files that lie there beside this one.
    pub fn beside(&self, path: &Path) -> Result<Vec<String>> {
        let name = self.name(path).unwrap_or_default();
        let folder = name.rfind('/').map_or("", |at| &name[..=at]);
        self.depot.names(folder)
    }

    /// Whether outputs get a card that nobody has asked for: on the hub every model has one.
    pub fn wants_card(&self, plan: &Plan, path: &Path) -> bool {
        let is_model = plan.metadata().str("general.type").is_none_or(|kind| kind == "model");
        let folder = path.with_file_name("");
        is_model
            && self.depot.hub_id().is_some()
            && self.name(&folder.join(CARD)).is_some_and(|name| name == CARD)
    }

    /// What the outputs are, wherever they lie: the folder holds those of the same work only. A card that nobody has asked
    /// for is there or not.
    pub fn identity(
        &self,
        plans: &[(Plan, PathBuf)],
        words: &str,
        wants_card: bool,
        files: &[File],
    ) -> Result<String> {
        let mut id = Identity::default();
        id.add(env!("CARGO_PKG_VERSION").as_bytes());
        id.add(words.as_bytes());
        for (plan, path) in plans {
            let layout = plan.layout(path)?;
            id.add(fingerprint(&layout).as_bytes());
            layout.paths().iter().for_each(|path| id.add(path.as_os_str().as_encoded_bytes()));
            plan.reads.all().iter().for_each(|stamp| id.add(format!("{stamp:?}").as_bytes()));
        }
        let asked = files.iter().filter(|file| wants_card || file.what != CARD_IN_WORDS);
        asked.for_each(|file| id.add(file.path.as_os_str().as_encoded_bytes()));
        Ok(id.hash())
    }

    /// The files of the run that go there, with their bytes as far as they are known.
    pub fn files(&self, plans: &[(Plan, PathBuf)], files: &[File]) -> Result<Vec<(String, PathBuf, u64)>> {
        let mut all = Vec::new();
        for (plan, path) in plans {
            for part in plan.layout(path)?.parts() {
                all.extend(self.name(&part.path).map(|name| (name, part.path.clone(), part.bytes)));
            }
        }
        all.extend(files.iter().filter_map(|file| Some((self.name(&file.path)?, file.path.clone(), 0))));
        Ok(all)
    }

    /// The outputs that are there already, and are neither gone on with nor allowed to be replaced.
    pub fn taken(&self, names: &[String], files: &[File]) -> Result<Vec<Error>> {
        let goes_on = |name: &String| {
            files.iter().any(|file| file.replaces && self.name(&file.path).as_ref() == Some(name))
        };
        let held = self.depot.held(names)?;
        let how = if self.depot.hub_id().is_some() { " by a new commit" } else { "" };
        let taken = held.iter().filter(|name| !goes_on(name)).map(|name| {
            Error::new(Kind::Failure, "the output exists")
                .file(&self.depot.shown(name))
                .hint(format!("give --force to replace it{how}, or another name with -o"))
        });
        Ok(taken.collect())
    }

    /// The names of the outputs, on stdout.
    pub fn tell(&self, plans: &[(Plan, PathBuf)]) -> Result<()> {
        plans.iter().try_for_each(|(plan, path)| {
            let first = self.shown(&plan.first(path)?);
            stdout::told(&shown(&first).to_string())
        })
    }

    /// How the first GGUF is started from the hub, where its name tells its type.
    pub fn start(&self, plans: &[(Plan, PathBuf)]) -> Result<Vec<String>> {
        let Some(id) = self.depot.hub_id() else { return Ok(Vec::new()) };
        let Some((plan, path)) = plans.iter().find(|(plan, _)| !plan.is_directory()) else {
            return Ok(Vec::new());
        };
        let (name, kind) = (file_name(&plan.first(path)?), plan.encoding());
        let is_main = self.depot.shown("") == Path::new(&format!("hf://{id}"));
        if !is_main || !name.to_lowercase().contains(&kind.to_lowercase()) || !self.wants_card(plan, path) {
            return Ok(Vec::new());
        }
        let mut lines = vec![format!("run it: llama-cli -hf {id}:{kind}")];
        if plan.layout(path)?.paths().len() == 1 {
            lines.push(format!("in Ollama: ollama run hf.co/{id}:{kind}"));
        }
        Ok(lines)
    }
}
