//! Runs the built `ggraft`.
#![allow(dead_code, reason = "every test file uses another part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};

/// Held by all who begin a program.
static BEGINNING: RwLock<()> = RwLock::new(());

/// Begins a program. Until it is that program it has every file open that this one has, and with it its locks: the system
/// closes them after `spawn` has returned, and before the program's words can be seen.
pub fn begin(command: &mut Command) -> Child {
    let _others = BEGINNING.read().unwrap_or_else(PoisonError::into_inner);
    let mut child = command.spawn().unwrap();
    let words = format!("/proc/{}/cmdline", child.id());
    let is_on_its_way = |words: &str| std::fs::read(words).is_ok_and(|words| words.is_empty());
    while is_on_its_way(&words) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child
}

/// Returns when no program is left that was begun before and has a file open that was closed here meanwhile.
pub fn let_go() {
    drop(BEGINNING.write());
}

/// Runs a program to its end: what it printed, as it is.
pub fn output(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    begin(command).wait_with_output().unwrap()
}

/// What a run left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = output(command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs `ggraft` with these arguments.
pub fn ggraft<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    ggraft_in(Path::new("."), args)
}

/// Runs `ggraft` in `dir`.
pub fn ggraft_in<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_ggraft")).args(args).current_dir(dir))
}

impl Ran {
    /// Panics with what was printed unless the run succeeded.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

/// A model of the trio.
pub fn trio(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trio").join(name)
}

/// A copy of a model of the trio that may be damaged.
pub fn trio_copy(name: &str, into: &Path) -> PathBuf {
    let dir = into.join(name);
    std::fs::create_dir(&dir).unwrap();
    for entry in std::fs::read_dir(trio(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    dir
}

/// A folder that goes with the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The words, with `@` for the folder and `%` for that of the trio.
    pub fn words(&self, words: &str) -> Vec<String> {
        let (folder, trio) = (format!("{}/", self.0.path().display()), trio("").display().to_string());
        words.split(' ').map(|word| word.replace('@', &folder).replace('%', &trio)).collect()
    }

    /// Merges the trio.
    pub fn merge(&self, words: &str) -> Ran {
        ggraft(self.words(&format!("merge --base %base --chat %chat --onto %cp {words}")))
    }
}
