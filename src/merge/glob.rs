//! Patterns over tensor names: `*` any text, `?` one character, `{a,b}` one of several texts, `{0-3}` a whole number in
//! that range, `{-2--1}` counted from the end, where -1 is the last layer. `{1}` is a number too and so does not match
//! a part of 12. All else stands for itself. Names are matched as a whole, in time linear in both lengths.

use ggraft_formats::{Error, Result};

/// A pattern; its numbers from the end are not counted yet.
#[derive(Clone, Debug)]
pub struct Glob {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    One(char),
    Any,
    Star,
    Choice(Vec<Item>),
}

#[derive(Clone, Debug)]
enum Item {
    Text(Vec<char>),
    /// First and last; below zero counted from the end.
    Numbers(i64, i64),
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Glob> {
        let wrong = |what: &str| Error::usage(what).found(text);
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            pieces.push(match c {
                '*' => Piece::Star,
                '?' => Piece::Any,
                '}' => return Err(wrong("the pattern closes a brace that it does not open")),
                '{' => {
                    let (inside, after) = rest
                        .as_str()
                        .split_once('}')
                        .ok_or_else(|| wrong("the pattern does not close its brace"))?;
                    rest = after.chars();
                    if inside.is_empty() || inside.contains(['{', '*', '?']) {
                        return Err(wrong("braces must hold texts or numbers, as in {a,b} or {0-3,-1}"));
                    }
                    Piece::Choice(inside.split(',').map(item).collect())
                }
                c => Piece::One(c),
            });
        }
        Ok(Glob { pieces })
    }

    /// Counts the numbers from the end of `layers`; a range that is then empty or begins before the first layer is an
    /// error.
    pub fn resolve(mut self, layers: usize) -> Result<Glob> {
        let layers = i64::try_from(layers).unwrap_or(i64::MAX);
        for piece in &mut self.pieces {
            let Piece::Choice(items) = piece else { continue };
            for item in items {
                let Item::Numbers(first, last) = item else { continue };
                let [a, b] = [*first, *last].map(|n| if n < 0 { n.saturating_add(layers) } else { n });
                if a < 0 || b < a {
                    return Err(Error::usage(
                        "the pattern's range of layers is empty or begins before the first",
                    )
                    .expected(format!("layers from 0 to {}", layers - 1))
                    .found(format!("{first}-{last}")));
                }
                (*first, *last) = (a, b);
            }
        }
        Ok(self)
    }

    /// Whether the pattern matches all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        // at[i]: the pieces so far can match the first i characters.
        let mut at = vec![false; name.len() + 1];
        at[0] = true;
        for piece in &self.pieces {
            let mut next = vec![false; at.len()];
            match piece {
                Piece::Star => {
                    let first = at.iter().position(|x| *x).unwrap_or(at.len());
                    next[first..].fill(true);
                }
                _ => {
                    for start in (0..at.len()).filter(|i| at[*i]) {
                        piece.ends(&name, start).for_each(|end| next[end] = true);
                    }
                }
            }
            at = next;
        }
        at[name.len()]
    }
}

impl Piece {
    /// Where in `name` the piece can end that starts at `start`.
    fn ends<'a>(&'a self, name: &'a [char], start: usize) -> Box<dyn Iterator<Item = usize> + 'a> {
        let rest = &name[start..];
        match self {
            Piece::One(c) => Box::new((rest.first() == Some(c)).then_some(start + 1).into_iter()),
            Piece::Any => Box::new((!rest.is_empty()).then_some(start + 1).into_iter()),
            Piece::Star => Box::new(start..=name.len()),
            Piece::Choice(items) => Box::new(items.iter().filter_map(move |item| match item {
                Item::Text(text) => rest.starts_with(text).then_some(start + text.len()),
                Item::Numbers(first, last) => {
                    let inside = start > 0 && name[start - 1].is_ascii_digit();
                    let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
                    let number: i64 = rest[..digits].iter().collect::<String>().parse().ok()?;
                    (!inside && (*first..=*last).contains(&number)).then_some(start + digits)
                }
            })),
        }
    }
}

/// A number, a range of numbers, or else a text.
fn item(text: &str) -> Item {
    let range = || {
        let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-')?.0;
        Some((number(&text[..dash])?, number(&text[dash + 1..])?))
    };
    match number(text).map(|n| (n, n)).or_else(range) {
        Some((first, last)) => Item::Numbers(first, last),
        None => Item::Text(text.chars().collect()),
    }
}

/// Digits, perhaps after a minus.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}
