//! The folder of a plan: `plan.json`, what jobs tell while they run (`work/`), and what they tell when they are done
//! (`done/00003.json`); `done/sent.json` once the outputs have gone elsewhere.

use super::form::Form;
use super::report::Report;
use ggraft_formats::write::{Records, parts};
use ggraft_formats::{Error, Kind, Result};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest file of a plan that is read.
const LONGEST: u64 = 1 << 30;

/// Where a plan lies.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which is found also from another current directory.
    pub fn at(path: &Path) -> Result<Folder> {
        match std::fs::canonicalize(path) {
            Ok(path) => Ok(Folder(path)),
            Err(e) => Err(Error::io(&e, path).hint("`ggraft plan VERB … --plan FOLDER` makes it")),
        }
    }

    /// Makes the folder at `path`, or takes the one that is there.
    pub fn make(path: &Path) -> Result<Folder> {
        for dir in [path.join("done"), path.join("work")] {
            std::fs::create_dir_all(&dir).map_err(|e| Error::io(&e, &dir))?;
            // What a link leads to is somebody else's.
            if !dir.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(Error::new(
                    Kind::Failure,
                    "the folder of a plan is made of folders, not of links",
                )
                .file(&dir)
                .hint("choose another folder with --plan"));
            }
        }
        Folder::at(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// Where a job tells that it is done.
    pub fn done(&self, job: usize) -> PathBuf {
        self.0.join("done").join(format!("{job:05}.json"))
    }

    /// Whether a plan lies here.
    pub fn has_plan(&self) -> bool {
        self.plan().symlink_metadata().is_ok()
    }

    /// What the plan says.
    ///
    /// # Errors
    /// There is none, or it is not to be trusted.
    pub fn read(&self) -> Result<Form> {
        let path = self.plan();
        let text = read(&path)
            .map_err(|e| Error::io(&e, &path).hint("`ggraft plan VERB … --plan FOLDER` makes a plan"))?;
        Form::parse(&text, &path)
    }

    /// Puts the plan here.
    pub fn write(&self, form: &Form) -> Result<()> {
        let text =
            serde_json::to_string_pretty(form).map_err(|e| Error::new(Kind::Failure, e.to_string()))?;
        replace(&self.plan(), &(text + "\n"))
    }

    /// Whether any job has told something.
    pub fn has_told(&self) -> Result<bool> {
        let any = |name: &str| {
            let dir = self.0.join(name);
            std::fs::read_dir(&dir).map(|mut all| all.next().is_some()).map_err(|e| Error::io(&e, &dir))
        };
        Ok(any("done")? || any("work")?)
    }

    /// Removes what jobs of an earlier plan have told. What else lies in the folder stays.
    pub fn forget(&self) -> Result<()> {
        let dir = self.0.join("done");
        for entry in std::fs::read_dir(&dir).map_err(|e| Error::io(&e, &dir))? {
            let path = entry.map_err(|e| Error::io(&e, &dir))?.path();
            let is_ours =
                read(&path).is_ok_and(|text| Report::parse(&text, &path).is_ok() || sent_of(&text).is_some());
            if is_ours {
                std::fs::remove_file(&path).map_err(|e| Error::io(&e, &path))?;
            }
        }
        self.clear_work()
    }

    /// Removes what jobs have told while they ran, once nobody goes on with it.
    pub fn clear_work(&self) -> Result<()> {
        parts::clear(&self.0.join("work"))
    }

    /// Where the journals of a job lie.
    pub fn records(&self, job: usize) -> Records {
        Records { folder: self.0.join("work"), name: format!("{job:05}") }
    }

    /// What a job of this plan has told; none if it is not done.
    ///
    /// # Errors
    /// What lies there is no report.
    pub fn report(&self, form: &Form, job: usize) -> Result<Option<Report>> {
        let path = self.done(job);
        match read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&e, &path)),
            Ok(text) => Report::parse(&text, &path).map(|report| Some(report).filter(|r| r.is_of(form, job))),
        }
    }

    /// Tells that a job is done.
    pub fn tell(&self, report: &Report) -> Result<()> {
        let text =
            serde_json::to_string_pretty(report).map_err(|e| Error::new(Kind::Failure, e.to_string()))?;
        replace(&self.done(report.job), &(text + "\n"))
    }

    /// Where it is told that the outputs of a plan have gone to their place elsewhere.
    fn sent(&self) -> PathBuf {
        self.0.join("done").join("sent.json")
    }

    /// Tells that the outputs of this plan have gone to their place elsewhere.
    pub fn tell_sent(&self, form: &Form) -> Result<()> {
        replace(&self.sent(), &format!("{}\n", json!({ "plan": form.id })))
    }

    /// Whether they have.
    pub fn is_sent(&self, form: &Form) -> Result<bool> {
        let path = self.sent();
        match read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io(&e, &path)),
            Ok(text) => Ok(sent_of(&text).is_some_and(|id| id == form.id)),
        }
    }

    /// The folder in which the plan was typed.
    pub fn typed_in(&self, form: &Form) -> PathBuf {
        self.0.join(&form.folder)
    }
}

/// The plan whose outputs have gone, of the text that tells it.
fn sent_of(text: &str) -> Option<String> {
    let told: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    told.get("plan").filter(|_| told.len() == 1)?.as_str().map(String::from)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Gives a file its content at once, whoever else does the same.
fn replace(path: &Path, text: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{now}", std::process::id()));
    let growing = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create_new(&growing)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&growing, path)
    };
    write().map_err(|e| {
        _ = std::fs::remove_file(&growing);
        Error::io(&e, path)
    })
}
