//! A folder for tests of budgets, and the programs run in it.

use crate::run::{Ran, ggraft};
use crate::support::gguf::Toy;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder, and the programs run in it.
pub struct Bench {
    pub dir: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `ggraft VERB INPUT -o OUT`; `@` in an option is the folder.
    pub fn run(&self, words: &[&str]) -> Ran {
        let folder = format!("{}/", self.dir.path().display());
        ggraft(words.iter().map(|word| word.replace('@', &folder)))
    }

    pub fn convert(&self, input: &Path, output: &str, options: &[&str]) -> PathBuf {
        let (input, path) = (input.display().to_string(), self.path(output));
        let out = path.display().to_string();
        self.run(&[&["convert", "--quiet", "--force", &input, "-o", &out], options].concat()).ok();
        path
    }

    /// The plan of a dry run, as JSON.
    pub fn plan(&self, input: &Path, options: &[&str]) -> Value {
        let input = input.display().to_string();
        let ran = self.run(&[&["convert", "--quiet", "--dry-run", "--json", &input], options].concat()).ok();
        serde_json::from_str(&ran.out).unwrap()
    }

    pub fn toy(&self, toy: &Toy) -> PathBuf {
        let path = self.path(&format!("{}.gguf", toy.name));
        toy.write(&path);
        path
    }
}
