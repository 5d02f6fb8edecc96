//! The one error of both crates: what went wrong, where (file, tensor, byte offset), what was expected,
//! what was found, and a hint what to do. `Kind` decides the exit code of the program.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is; callers act on this, people read the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something failed that fits nowhere below.
    Failure,
    /// The command line, or an option's value, is wrong.
    Usage,
    /// A file is malformed, or the models do not belong together.
    Invalid,
    /// Well-formed, but outside what this program covers.
    Unsupported,
    /// The system refused or failed a read or write; trying again may help.
    Io,
    /// An input is no longer what it was when it was opened.
    Changed,
    /// The disk is full.
    NoSpace,
    /// A finished file is not what it should be.
    Verification,
    /// Stopped by a signal.
    Interrupted,
    /// Nobody reads what is printed any more: an end, and no failure.
    Closed,
}

impl Kind {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Closed => 0,
            Kind::Failure => 1,
            Kind::Usage => 2,
            Kind::Invalid => 3,
            Kind::Unsupported => 4,
            Kind::Io | Kind::Changed => 5,
            Kind::NoSpace => 6,
            Kind::Verification => 7,
            Kind::Interrupted => 130,
        }
    }
}

/// A failure with its place and its hint. Built by naming what is known:
/// `Error::invalid("the tensor runs past the end of the file").file(path).tensor(name).expected(a).found(b)`.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    what: String,
    file: Option<PathBuf>,
    tensor: Option<String>,
    offset: Option<u64>,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<String>,
    others: Vec<Error>,
}

impl Error {
    /// An error of this kind that says `what`.
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            file: None,
            tensor: None,
            offset: None,
            expected: None,
            found: None,
            hint: None,
            others: Vec::new(),
        }))
    }

    /// A malformed file, or models that do not belong together.
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, what)
    }

    /// Well-formed, but not covered.
    pub fn unsupported(what: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, what)
    }

    /// A wrong command line.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Kind::Usage, what)
    }

    /// The system's own error, on this file; a full disk is recognised.
    pub fn io(source: &std::io::Error, file: &Path) -> Error {
        let kind = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Kind::NoSpace,
            _ => Kind::Io,
        };
        Error::new(kind, source.to_string()).file(file)
    }

    /// All of `errors` as one, so that a user mends everything at once. `None` if there are none.
    pub fn all(errors: Vec<Error>) -> Option<Error> {
        let each = |mut e: Error| {
            let others = std::mem::take(&mut e.0.others);
            std::iter::once(e).chain(others)
        };
        let mut all = errors.into_iter().flat_map(each);
        let mut first = all.next()?;
        first.0.others.extend(all);
        Some(first)
    }

    /// Names the file, unless it is named already.
    pub fn file(mut self, file: &Path) -> Error {
        self.0.file.get_or_insert_with(|| file.to_path_buf());
        self
    }

    /// Names the tensor, unless it is named already.
    pub fn tensor(mut self, name: &str) -> Error {
        self.0.tensor.get_or_insert_with(|| name.to_string());
        self
    }

    /// Gives the byte offset in the file.
    pub fn offset(mut self, offset: u64) -> Error {
        self.0.offset = Some(offset);
        self
    }

    /// Says what should have been there.
    pub fn expected(mut self, expected: impl fmt::Display) -> Error {
        self.0.expected = Some(expected.to_string());
        self
    }

    /// Says what was there.
    pub fn found(mut self, found: impl fmt::Display) -> Error {
        self.0.found = Some(found.to_string());
        self
    }

    /// Says what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says what the user can do, unless that is said already.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The same failure, found while verifying a finished file.
    pub fn verification(mut self) -> Error {
        self.0.kind = Kind::Verification;
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Every failure of it in words, all of a kind too.
    pub fn each(&self) -> Vec<String> {
        std::iter::once(self).chain(&self.0.others).map(|e| One(e).to_string()).collect()
    }
}

/// One failure, without those beside it.
struct One<'a>(&'a Error);

impl fmt::Display for One<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0.0;
        if let Some(file) = &e.file {
            write!(f, "{}: ", Printable(&file.to_string_lossy()))?;
        }
        if let Some(tensor) = &e.tensor {
            write!(f, "tensor '{}': ", Printable(tensor))?;
        }
        write!(f, "{}", Lines(&e.what))?;
        if let Some(offset) = e.offset {
            write!(f, " (at byte {offset})")?;
        }
        match (&e.expected, &e.found) {
            (Some(x), Some(y)) => write!(f, ": expected {}, found {}", Lines(x), Lines(y))?,
            (Some(x), None) => write!(f, ": expected {}", Lines(x))?,
            (None, Some(y)) => write!(f, ": found {}", Lines(y))?,
            (None, None) => {}
        }
        if let Some(hint) = &e.hint {
            write!(f, "; {}", Lines(hint))?;
        }
        Ok(())
    }
}

/// So many failures of one kind are told one by one, the others counted: one cause has one message.
const MOST_OF_A_KIND: usize = 8;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(self).chain(&self.0.others);
        let mut kinds: HashMap<&str, (usize, usize)> = HashMap::new();
        all().for_each(|e| kinds.entry(&e.0.what).or_default().1 += 1);
        for e in all() {
            let (told, count) = kinds.entry(&e.0.what).or_default();
            *told += 1;
            let line = if std::ptr::eq(e, self) { "" } else { "\n" };
            // One that is left over is told as it is.
            if *told <= MOST_OF_A_KIND || *count == MOST_OF_A_KIND + 1 {
                write!(f, "{line}{}", One(e))?;
            } else if *told == MOST_OF_A_KIND + 1 {
                write!(f, "{line}and {} more of the kind: {}", *count - MOST_OF_A_KIND, Lines(&e.0.what))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Whether a terminal acts on a character instead of showing it: controls, and what is invisible or turns text around.
pub fn is_obeyed(c: char) -> bool {
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || hidden
}

/// Text from a file, safe to print on one line: what a terminal obeys, among it line ends, is shown escaped.
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, is_obeyed, f)
    }
}

/// The same of text that may have several lines of its own.
struct Lines<'a>(&'a str);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, |c| is_obeyed(c) && c != '\n', f)
    }
}

fn escaped(text: &str, escape: impl Fn(char) -> bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars()
        .try_for_each(|c| if escape(c) { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
}
