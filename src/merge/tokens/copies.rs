//! Which rows are copied from chat, whatever the weight: those that a user names, special tokens that chat trained and base
//! never did, and those that the template writes and base lacks.

use super::growth;
use super::matching::{ABSENT, Baseless, Class, Embeddings};
use super::planner::Planner;
use super::summary::Copied;
use super::tables::{TABLES, table_of, tokens_of};
use super::untrained::Yardstick;
use ggraft_formats::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Why a row is copied that a user has named.
pub(super) const ASKED: &str = "--copy-token";

impl Planner<'_> {
    /// The rows that are copied from chat, whatever the policy.
    pub(super) fn copies(
        &self,
        vector: usize,
        policy: Embeddings,
        markers: &BTreeSet<usize>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Copied>> {
        let m = &self.matchings[vector];
        let Some(cp) = tokens_of(self.onto)? else { return Ok(Vec::new()) };
        let name = |id: usize| cp.token(id).map_or_else(String::new, |(text, _)| text.to_string());
        let mut copies = Vec::new();
        for text in &self.choices.copy_tokens {
            let problem = |found: &str| {
                Err(Error::usage(format!("--copy-token '{text}' cannot be copied"))
                    .expected("a token of chat and onto")
                    .found(found)
                    .hint("spell it as in the tokenizer; for a token that only chat has, give --add-chat-tokens"))
            };
            match cp.find(text.as_bytes()) {
                None => return problem("none of onto"),
                Some(id) if m.chat[id] == ABSENT => return problem("none of chat"),
                Some(id) if m.classes[id] == Class::Added => {}
                Some(id) => copies.push(Copied {
                    token: text.clone(),
                    id,
                    embedding: true,
                    head: true,
                    why: String::from(ASKED),
                }),
            }
        }
        let asked: BTreeSet<usize> = copies.iter().map(|c| c.id).collect();
        let shared = |id: &usize| matches!(m.classes[*id], Class::Shared | Class::Moved);
        let candidates: Vec<usize> =
            markers.iter().copied().filter(|id| shared(id) && !asked.contains(id)).collect();
        let found = self.untrained(vector, &candidates, name)?;
        match (found.is_empty(), policy, self.choices.no_auto_copy) {
            (true, ..) => {}
            (false, Embeddings::Keep, _) | (false, _, true) => notes.push(format!(
                "warning: chat alone has trained {}; without --copy-token they are not copied",
                growth::brief(&found.iter().map(|c| format!("'{}'", c.token)).collect::<Vec<_>>())
            )),
            _ => copies.extend(found),
        }
        let baseless = |id: &&usize| m.classes[**id] == Class::Baseless && !asked.contains(*id);
        if self.choices.baseless == Baseless::Auto && policy != Embeddings::Keep {
            copies.extend(markers.iter().filter(baseless).map(|id| Copied {
                token: name(*id),
                id: *id,
                embedding: true,
                head: true,
                why: String::from("base lacks it, and the template writes it"),
            }));
        }
        Ok(copies)
    }

    /// Which of these rows chat has trained, and base and CP have not; table by table.
    fn untrained(
        &self,
        vector: usize,
        rows: &[usize],
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<Copied>> {
        let (m, v) = (&self.matchings[vector], &self.vectors[vector]);
        let ids = |map: &[u32]| -> Vec<usize> { rows.iter().map(|row| map[*row] as usize).collect() };
        let (in_chat, in_base) = (ids(&m.chat), ids(&m.base));
        let mut found: BTreeMap<usize, Copied> = BTreeMap::new();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        for (t, table) in TABLES.into_iter().enumerate() {
            if !self.onto.tensors.iter().any(|t| t.name == table) {
                continue;
            }
            let measure = |model, ids: &[usize]| match (table_of(model, table), tokens_of(model)?) {
                (Some(table), Some(tokens)) => Yardstick::of(table, &tokens, ids).map(Some),
                _ => Ok(None),
            };
            let all = (measure(self.onto, rows)?, measure(&v.chat, &in_chat)?, measure(&v.base, &in_base)?);
            let (Some(cp), Some(chat), Some(base)) = all else { continue };
            for ((row, c), b) in rows.iter().zip(&in_chat).zip(&in_base) {
                let (Some(ours), Some(old)) = (cp.untrained(*row)?, base.untrained(*b)?) else { continue };
                if chat.trained(*c, &base, *b)? {
                    let copied = found.entry(*row).or_insert_with(|| Copied {
                        token: name(*row),
                        id: *row,
                        embedding: false,
                        head: false,
                        why: format!("reserved token, trained only in chat (in base {old}, in onto {ours})"),
                    });
                    *[&mut copied.embedding, &mut copied.head][t] = true;
                }
            }
        }
        Ok(found.into_values().collect())
    }
}
