//! Are the three models in their places? Base and chat, or CP and chat, are easily swapped, and one model given twice
//! merges to itself; the output looks sound and talks nonsense. What tells: the files, the chat templates, the numbers
//! of tokens, and where CP starts on the way from base to chat (0 to 1: it was made from base, so near 0).
//! One sign is a warning, two that agree, or one that cannot be otherwise, a refusal.

use super::Vector;
use super::kinship::{Doubts, Kinship, SAME_WAY, middle};
use crate::merge::method::{Method, Sources};
use crate::roles::TABLES;
use ggraft_formats::{Error, Model, Result, Tensor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// CP starts on the base's side of the middle. The trio has 0.21 (0.35 in its worst tensor), swapped 0.79 (0.66).
const MIDDLE: f64 = 0.5;
/// Beyond this it starts at chat.
const AT_CHAT: f64 = 2.0 / 3.0;
/// CP is trained longer than chat: the trio's goes 8.5 times as far. Chat goes twice as far where the two are swapped.
const FARTHER: f64 = 2.0;
/// A chat model appends a few tokens, and padding; CP appends a language.
const MANY_TOKENS: u64 = 256;

/// What the headers tell of one model.
struct Facts {
    files: Vec<PathBuf>,
    has_template: bool,
    tokens: u64,
    /// The rows of tokens, which are merged by token and so not as they are.
    tables: Vec<Tensor>,
}

impl Facts {
    fn of(model: &Model) -> Facts {
        let tokens = model.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array());
        Facts {
            files: model.containers.iter().map(|file| file.path().to_path_buf()).collect(),
            has_template: model.metadata.str("tokenizer.chat_template").is_some_and(|t| !t.is_empty()),
            tokens: tokens.map_or(0, |tokens| tokens.len() as u64),
            tables: model.tensors.iter().filter(|t| TABLES.contains(&t.name.as_str())).cloned().collect(),
        }
    }

    /// Whether the rows of tokens are the same.
    fn has_rows_of(&self, other: &Facts) -> Result<bool> {
        let pairs = || self.tables.iter().zip(&other.tables);
        let alike = self.tokens == other.tokens && self.tables.len() == other.tables.len();
        pairs().try_fold(alike, |so_far, (a, b)| Ok(so_far && a.name == b.name && is_equal(a, b)?))
    }

    /// Whether the two are read from the same files.
    fn is(&self, other: &Facts) -> bool {
        let pairs = || self.files.iter().zip(&other.files);
        !self.files.is_empty() && self.files.len() == other.files.len() && pairs().all(|(a, b)| same(a, b))
    }
}

fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(a) == real(b) || linked(a, b)
}

#[cfg(unix)]
fn linked(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn linked(_a: &Path, _b: &Path) -> bool {
    false
}

/// The places of the models of one vector.
pub(crate) struct Places {
    cp: Facts,
    chat: Facts,
    /// None if the method reads none.
    base: Option<Facts>,
    /// Whether CP may be the base: differences of several models from one are added to it.
    may_be_base: bool,
}

impl Places {
    pub fn of(onto: &Model, vectors: &[Vector], method: &Method) -> Vec<Places> {
        let one = |v: &Vector| Places {
            cp: Facts::of(onto),
            chat: Facts::of(&v.chat),
            base: method.reads_base.then(|| Facts::of(&v.base)),
            may_be_base: vectors.len() > 1,
        };
        vectors.iter().map(one).collect()
    }

    /// Judges the figures of vector number `v`; notes, or the errors of what is out of its place.
    pub fn judge(
        &self,
        figures: &[Kinship],
        sources: &[Arc<Sources>],
        v: usize,
        base_is_onto: bool,
    ) -> Result<Doubts> {
        let mut doubts = Doubts::default();
        if let Some(e) = self.repeated(figures, sources, v, base_is_onto)? {
            doubts.refused.push(e);
        } else if let Some(base) = &self.base
            && !figures.is_empty()
            && !figures.iter().all(|k| k.is_blank)
        {
            self.base_and_chat(base, figures, &mut doubts);
            self.chat_and_cp(base, figures, &mut doubts);
        }
        Ok(doubts)
    }

    /// One model in two places. Whole tensors are compared only where nothing differs in the samples.
    fn repeated(
        &self,
        figures: &[Kinship],
        sources: &[Arc<Sources>],
        v: usize,
        base_is_onto: bool,
    ) -> Result<Option<Error>> {
        let body = || figures.iter().filter(|k| !TABLES.contains(&k.tensor.as_str()));
        let tells = body().any(|k| !k.is_blank);
        let tensors = sources.iter().filter(|s| !TABLES.contains(&s.own.onto.name.as_str()));
        let triples: Vec<[&Tensor; 3]> = tensors
            .filter_map(|s| s.own.pairs.get(v).map(|(chat, base)| [&s.own.onto, chat, base]))
            .collect();
        let found = |a: &Facts, b: &Facts, sampled: fn(&Kinship) -> bool, places: [usize; 2]| -> Result<_> {
            if a.is(b) {
                return Ok(Some("the same files"));
            }
            if !tells || !body().all(sampled) || !a.has_rows_of(b)? {
                return Ok(None);
            }
            let [x, y] = places;
            let same =
                triples.iter().try_fold(true, |so_far, t| Ok::<_, Error>(so_far && is_equal(t[x], t[y])?))?;
            Ok(same.then_some("the same weights"))
        };
        let told = |what: &str, found: &str, hint: &str| {
            let e = Error::invalid(what).found(found);
            Some(e.hint(format!("{hint}, or --allow-swapped if you mean it")))
        };
        if let Some(base) = &self.base {
            if let Some(found) = found(&self.chat, base, |k| k.delta == 0.0, [1, 2])? {
                let what = "chat is the base: the vector is zero, and the output would be the --onto model";
                return Ok(told(what, found, "give the chat model that was made from this base"));
            }
            if !self.may_be_base
                && !base_is_onto
                && let Some(found) = found(&self.cp, base, |k| k.drift == 0.0, [0, 2])?
            {
                let what = "onto is the base: the output would lie between base and chat";
                return Ok(told(what, found, "give the model that was trained further as --onto"));
            }
        }
        Ok(found(&self.cp, &self.chat, |k| k.is_chat, [0, 1])?.and_then(|found| {
            told("onto is the chat model", found, "give the model that lacks the chat ability as --onto")
        }))
    }

    /// Swapped base and chat. Templates decide where they can: a base model without one has a chat model with one.
    fn base_and_chat(&self, base: &Facts, figures: &[Kinship], doubts: &mut Doubts) {
        const ASK: &str = "are --base and --chat swapped?";
        if base.has_template && !self.chat.has_template {
            doubts.refused.push(swapped(format!("base has a chat template and chat has none: {ASK}")));
            return;
        }
        let start = middle(figures, |k| k.start);
        // Where both went the same way, another base is missing, and that is told.
        let same_way = middle(figures, |k| k.cosine) > SAME_WAY;
        if start <= MIDDLE || same_way || self.chat.has_template && !base.has_template {
            return;
        }
        let what = format!("onto starts nearer to chat than to base: {ASK}");
        let e = swapped(what).expected(format!("at most {MIDDLE} of the way from base to chat"));
        let e = e.found(format!("{start:.2}"));
        if start > AT_CHAT { doubts.refused.push(e) } else { doubts.warned.push(e) }
    }

    /// Swapped chat and CP: CP has the template, chat the new tokens, chat goes farther.
    fn chat_and_cp(&self, base: &Facts, figures: &[Kinship], doubts: &mut Doubts) {
        let (delta, drift) = (middle(figures, |k| k.delta), middle(figures, |k| k.drift));
        let more = |a: &Facts, b: &Facts| a.tokens.checked_sub(b.tokens).filter(|n| *n > MANY_TOKENS);
        let mut signs = Vec::new();
        if self.cp.has_template && !self.chat.has_template {
            signs.push(String::from("onto has a chat template and chat has none"));
        }
        if let Some(n) = more(&self.chat, &self.cp) {
            signs.push(format!("chat has {n} tokens more than onto"));
        }
        // Where onto is the base on purpose, how far it went tells nothing.
        if drift > 0.0 && delta > FARTHER * drift {
            signs.push(format!("chat differs from base {:.1} times as much as onto", delta / drift));
        }
        // A chat model that shows its template, beside a CP without one, is no CP.
        let doubt = usize::from(self.chat.has_template && !self.cp.has_template);
        if signs.len() > doubt {
            let e = swapped(format!("{}: are --chat and --onto swapped?", signs.join(", ")));
            if signs.len() > doubt + 1 { doubts.refused.push(e) } else { doubts.warned.push(e) }
        }
        if let Some(n) = more(base, &self.cp) {
            doubts
                .warned
                .push(swapped(format!("base has {n} tokens more than onto: are --base and --onto swapped?")));
        }
    }
}

/// What the headers tell against a chat model and its base, whose difference is wanted with no CP at hand.
///
/// # Errors
/// They are the same files.
pub fn paired(chat: &Model, base: &Model) -> Result<Option<String>> {
    let (chat, base) = (Facts::of(chat), Facts::of(base));
    if chat.is(&base) {
        return Err(Error::invalid("chat is the base: the vector is zero")
            .found("the same files")
            .hint("give the chat model that was made from this base"));
    }
    let is_doubtful = base.has_template && !chat.has_template;
    let doubt = "warning: base has a chat template and chat has none: are --base and --chat swapped?";
    Ok(is_doubtful.then(|| String::from(doubt)))
}

fn swapped(what: String) -> Error {
    Error::invalid(what).hint("give each model in its place, or --allow-swapped if they are")
}

/// Whether all weights of two tensors are the same numbers.
fn is_equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape() != b.shape() {
        return Ok(false);
    }
    let (row, rows) = (a.row_elements()?, usize::try_from(a.shape().rows()).unwrap_or(usize::MAX));
    let step = (1 << 16) / row.max(1) + 1;
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for first in (0..rows).step_by(step) {
        let part = first..rows.min(first + step);
        x.resize(part.len() * row, 0.0);
        y.resize(part.len() * row, 0.0);
        a.decode_rows(part.clone(), &mut x)?;
        b.decode_rows(part.clone(), &mut y)?;
        a.release(part.clone());
        b.release(part);
        if x != y {
            return Ok(false);
        }
    }
    Ok(true)
}
