//! The vocabulary plan of a merge: which row of chat and base belongs to which row of CP, and what becomes of each
//! row. Tokens are compared by bytes and type, never by the size of a table, so rows move by token. Serves `merge`;
//! `report` prints it. Policies: arXiv 2310.04799 keeps CP's rows when its vocabulary has grown; what each does to
//! a real trio is measured in `fixtures/trio/README.md`.

use crate::vocab::Tokens;
use crate::vocab::{Kind, kind};
use bstr::BString;
use std::collections::{BTreeSet, HashMap};

/// Marks a row of CP that a model has no row for.
pub const ABSENT: u32 = u32::MAX;

/// What is known of a row of CP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The token is in all three models, under one id.
    Shared,
    /// The token is in all three models, under several ids.
    Moved,
    /// The token is in chat and CP, not in base: there is no difference to add.
    Baseless,
    /// The token is in base and CP, not in chat: there is no difference to add.
    Chatless,
    /// The token is in CP alone: the new language.
    CpOnly,
    /// A row beyond the tokens, or a filler that a converter made up.
    Padding,
    /// The row was appended for a token of chat.
    Added,
}

impl Class {
    pub const ALL: [Class; 7] = [
        Class::Shared,
        Class::Moved,
        Class::Baseless,
        Class::Chatless,
        Class::CpOnly,
        Class::Padding,
        Class::Added,
    ];

    /// The words for it in plans and reports.
    pub fn words(self) -> &'static str {
        match self {
            Class::Shared => "shared, same id",
            Class::Moved => "shared, moved",
            Class::Baseless => "chat and onto, not base",
            Class::Chatless => "base and onto, not chat",
            Class::CpOnly => "onto only",
            Class::Padding => "padding",
            Class::Added => "added from chat",
        }
    }
}

/// Which rows of the embeddings and the head get the vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Embeddings {
    /// `All` when the vocabularies are identical, else `Template`.
    #[default]
    Auto,
    /// None.
    Keep,
    /// Those of the tokens that the chat template writes.
    Template,
    /// Those of every token that all three models have.
    Shared,
    /// Every row, by its id; for identical vocabularies.
    All,
}

impl Embeddings {
    pub const ALL: [Embeddings; 5] =
        [Embeddings::Auto, Embeddings::Keep, Embeddings::Template, Embeddings::Shared, Embeddings::All];

    /// As users type it.
    pub fn word(self) -> &'static str {
        match self {
            Embeddings::Auto => "auto",
            Embeddings::Keep => "keep",
            Embeddings::Template => "template",
            Embeddings::Shared => "shared",
            Embeddings::All => "all",
        }
    }
}

/// What becomes of the row of a token that chat and CP have, but base lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Baseless {
    /// `Copy` for tokens that the chat template writes, else `Keep`.
    #[default]
    Auto,
    /// CP's row.
    Keep,
    /// CP stands in for base: `CP + w·(chat − CP)`.
    Lerp,
    /// Chat's row, whatever the weight.
    Copy,
}

impl Baseless {
    pub const ALL: [Baseless; 4] = [Baseless::Auto, Baseless::Keep, Baseless::Lerp, Baseless::Copy];

    /// As users type it.
    pub fn word(self) -> &'static str {
        match self {
            Baseless::Auto => "auto",
            Baseless::Keep => "keep",
            Baseless::Lerp => "lerp",
            Baseless::Copy => "copy",
        }
    }
}

/// What becomes of a row of CP under one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    Keep,
    /// The difference of chat's and base's row is added.
    Add,
    /// As `Add`, with CP's row for base's.
    Lerp,
    /// Chat's row takes its place.
    Copy,
}

/// The tokens of a model that have rows in its embedding.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    pub tokens: Tokens<'a>,
    /// Rows of the embedding; ids beyond them have none, rows beyond the tokens are padding.
    pub rows: usize,
}

impl<'a> Table<'a> {
    /// What a row means; `None` for padding.
    pub fn token(&self, id: usize) -> Option<(&'a BString, Kind)> {
        let text = self.tokens.tokens.get(id).filter(|_| id < self.rows)?;
        let kind = kind(&self.tokens, id);
        let filler = kind == Kind::Unused && text.strip_prefix(b"[PAD").is_some_and(|t| t.ends_with(b"]"));
        (!filler).then_some((text, kind))
    }

    fn iter(&self) -> impl Iterator<Item = (usize, (&'a BString, Kind))> {
        (0..self.tokens.len().min(self.rows)).filter_map(|id| Some((id, self.token(id)?)))
    }

    /// The first id of a text.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        self.iter().find(|(_, (t, _))| t.as_slice() == text).map(|(id, _)| id)
    }
}

/// Which rows of one vector's models belong to the rows of CP.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// One a row of CP.
    pub classes: Vec<Class>,
    /// Chat's id for each row of CP, or `ABSENT`.
    pub chat: Vec<u32>,
    /// Base's id for each row of CP, or `ABSENT`.
    pub base: Vec<u32>,
    /// Ids of chat whose tokens CP lacks.
    pub chat_only: Vec<u32>,
    /// Texts that a model has with another type than CP, so that they are different tokens.
    pub retyped: Vec<String>,
    /// Whether all three have the same tokens under the same ids.
    pub identical: bool,
}

impl Matching {
    /// Matches the tokens of three models. The rows `added` of CP are those that chat brought.
    pub fn of(cp: &Table, chat: &Table, base: &Table, added: &BTreeSet<usize>) -> Matching {
        // Types are compared only where every model keeps them.
        let typed = [cp, chat, base].iter().all(|t| !t.tokens.types.is_empty());
        let fold = |kind: Kind| if typed { kind } else { Kind::Normal };
        let (in_chat, in_base) = (Index::of(chat, fold), Index::of(base, fold));
        let mut m = Matching {
            classes: Vec::with_capacity(cp.rows),
            chat: Vec::with_capacity(cp.rows),
            base: Vec::with_capacity(cp.rows),
            chat_only: Vec::new(),
            retyped: Vec::new(),
            identical: false,
        };
        let mut taken = vec![false; chat.rows];
        for id in 0..cp.rows {
            let Some((text, kind)) = cp.token(id) else {
                m.push(Class::Padding, None, None);
                continue;
            };
            let token = (text.as_slice(), fold(kind));
            let (c, b) = (in_chat.find(id, token), in_base.find(id, token));
            if let Some(taken) = c.and_then(|c| taken.get_mut(c)) {
                *taken = true;
            }
            if c.is_none() && in_chat.has_text(text) || b.is_none() && in_base.has_text(text) {
                m.retyped.push(text.to_string());
            }
            let class = match (c, b) {
                _ if added.contains(&id) => Class::Added,
                (Some(c), Some(b)) if c == id && b == id => Class::Shared,
                (Some(_), Some(_)) => Class::Moved,
                (Some(_), None) => Class::Baseless,
                (None, Some(_)) => Class::Chatless,
                (None, None) => Class::CpOnly,
            };
            m.push(class, c, b);
        }
        let left = chat.iter().map(|(id, _)| id).filter(|id| !taken[*id]);
        m.chat_only = left.filter_map(|id| u32::try_from(id).ok()).collect();
        let count = |t: &Table| t.iter().count();
        m.identical = m.classes.iter().all(|c| matches!(c, Class::Shared | Class::Padding))
            && count(cp) == count(chat)
            && count(cp) == count(base);
        m
    }

    fn push(&mut self, class: Class, chat: Option<usize>, base: Option<usize>) {
        let id = |id: Option<usize>| id.and_then(|id| u32::try_from(id).ok()).unwrap_or(ABSENT);
        self.classes.push(class);
        self.chat.push(id(chat));
        self.base.push(id(base));
    }

    /// The fate of every row. `markers` are the rows of CP whose tokens the template writes, `copies` those that are
    /// to be copied whatever the policy.
    pub fn rows(
        &self,
        policy: Embeddings,
        baseless: Baseless,
        markers: &BTreeSet<usize>,
        copies: &BTreeSet<usize>,
    ) -> Vec<Row> {
        let one = |(row, class): (usize, &Class)| match class {
            _ if copies.contains(&row) => Row::Copy,
            Class::Baseless => match baseless {
                _ if policy == Embeddings::Keep && baseless == Baseless::Auto => Row::Keep,
                Baseless::Auto if markers.contains(&row) => Row::Copy,
                Baseless::Auto | Baseless::Keep => Row::Keep,
                Baseless::Lerp => Row::Lerp,
                Baseless::Copy => Row::Copy,
            },
            Class::Shared | Class::Moved => match policy {
                Embeddings::Shared | Embeddings::All => Row::Add,
                Embeddings::Template if markers.contains(&row) => Row::Add,
                _ => Row::Keep,
            },
            _ => Row::Keep,
        };
        self.classes.iter().enumerate().map(one).collect()
    }
}

/// Where a model's tokens are.
struct Index<'a> {
    ids: HashMap<(&'a [u8], Kind), usize>,
    tokens: Vec<Option<(&'a [u8], Kind)>>,
    texts: HashMap<&'a [u8], Kind>,
}

impl<'a> Index<'a> {
    fn of(table: &Table<'a>, fold: impl Fn(Kind) -> Kind) -> Index<'a> {
        let mut index = Index { ids: HashMap::new(), tokens: vec![None; table.rows], texts: HashMap::new() };
        for (id, (text, kind)) in table.iter() {
            let token = (text.as_slice(), fold(kind));
            index.ids.entry(token).or_insert(id);
            index.texts.insert(token.0, token.1);
            index.tokens[id] = Some(token);
        }
        index
    }

    /// The id of a token: the same one if it has that token, else its first.
    fn find(&self, id: usize, token: (&'a [u8], Kind)) -> Option<usize> {
        match self.tokens.get(id) {
            Some(Some(t)) if *t == token => Some(id),
            _ => self.ids.get(&token).copied(),
        }
    }

    fn has_text(&self, text: &[u8]) -> bool {
        self.texts.contains_key(text)
    }
}

/// How many rows of a class have each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub rows: usize,
    pub kept: usize,
    pub added: usize,
    pub lerped: usize,
    pub copied: usize,
}

/// The rows of each class by their fates; classes without rows are left out.
pub fn count(classes: &[Class], rows: &[Row]) -> Vec<(Class, Count)> {
    let mut all = Class::ALL.map(|class| (class, Count::default())).to_vec();
    for (class, row) in classes.iter().zip(rows) {
        let Some((_, count)) = all.iter_mut().find(|(c, _)| c == class) else { continue };
        count.rows += 1;
        *match row {
            Row::Keep => &mut count.kept,
            Row::Add => &mut count.added,
            Row::Lerp => &mut count.lerped,
            Row::Copy => &mut count.copied,
        } += 1;
    }
    all.retain(|(_, count)| count.rows > 0);
    all
}
