//! How one table of the output comes about of those of CP and the vectors: by ids, or row by row as the vocabulary plan has it.

use super::matching::{ABSENT, Row};
use super::planner::Planner;
use super::tables::{HEAD, TableRows, table_of};
use super::token_rows::{Copy, Overlay, gathered};
use crate::merge::{Fate, Verdict};
use ggraft_formats::{Error, Model, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Planner<'_> {
    /// How one table of CP comes about; `None` if its rows simply follow their ids.
    pub(super) fn table(
        &self,
        onto: &Tensor,
        fates: &[Vec<Row>],
        asked: &[BTreeSet<usize>],
    ) -> Result<Option<TableRows>> {
        let name = onto.name.as_str();
        let all = |row: Row| fates.iter().flatten().all(|r| *r == row);
        if all(Row::Add) && self.matchings.iter().all(|m| m.identical) && self.has_own(name) {
            return Ok(None);
        }
        if all(Row::Keep) {
            let verdict = Verdict { fate: Fate::Kept, reason: "the vocabulary plan keeps every row" };
            return Ok(Some(TableRows { verdict, pairs: Vec::new(), overlay: None }));
        }
        let mut pairs = Vec::with_capacity(self.vectors.len());
        let mut overlay = Overlay::default();
        for (vector, ((v, m), rows)) in self.vectors.iter().zip(self.matchings).zip(fates).enumerate() {
            let chat = same_width(table_of(&v.chat, name), onto, &v.chat)?;
            let base = same_width(table_of(&v.base, name), onto, &v.base)?;
            for (row, _) in rows.iter().enumerate().filter(|(_, fate)| **fate == Row::Copy) {
                let asked = asked[vector].contains(&row);
                let copy = Copy { vector, asked, table: chat.clone(), row: m.chat[row] as usize };
                let copies = overlay.rows.entry(row).or_default();
                if let Some(other) = copies.iter().find(|other| other.asked && asked) {
                    other.agrees(&copy, onto, row)?;
                }
                copies.push(copy);
            }
            let map = |ids: &[u32], wanted: &[Row]| -> Arc<[u32]> {
                let one = |(id, fate): (&u32, &Row)| if wanted.contains(fate) { *id } else { ABSENT };
                ids.iter().zip(rows).map(one).collect()
            };
            pairs.push((
                gathered(chat, map(&m.chat, &[Row::Add, Row::Lerp]), onto)?,
                gathered(base, map(&m.base, &[Row::Add]), onto)?,
            ));
        }
        if !fates.iter().flatten().any(|r| matches!(r, Row::Add | Row::Lerp)) {
            pairs.clear();
        }
        let verdict = Verdict { fate: Fate::Merged, reason: "row by row, by the vocabulary plan" };
        let overlay = Some(overlay).filter(|o| !o.rows.is_empty()).map(Arc::new);
        Ok(Some(TableRows { verdict, pairs, overlay }))
    }

    /// Whether every model has a table of its own of that name.
    fn has_own(&self, name: &str) -> bool {
        let own = |m: &Model| m.tensors.iter().any(|t| t.name == name);
        self.vectors.iter().all(|v| own(&v.chat) && own(&v.base))
    }

    /// CP's head is its embedding: one row cannot take the different vectors of two tables.
    pub(super) fn tied(&self, fates: &[Vec<Row>], tables: &mut BTreeMap<String, TableRows>) -> Result<()> {
        let untied = |m: &&Model| m.tensors.iter().any(|t| t.name == HEAD);
        let other = self.vectors.iter().flat_map(|v| [&v.chat, &v.base]).find(untied);
        let Some(other) = other else { return Ok(()) };
        if fates.iter().flatten().all(|r| *r == Row::Keep) {
            let verdict = Verdict { fate: Fate::Kept, reason: "onto's head is its embedding" };
            tables.insert(HEAD.to_string(), TableRows { verdict, pairs: Vec::new(), overlay: None });
            return Ok(());
        }
        let e = Error::invalid("onto's head is its embedding, but a model of the vector has a head of its own: one row cannot get two vectors")
            .tensor(HEAD)
            .expected("a tied head in all models, or in none of onto's")
            .found("onto tied, the vector not")
            .hint("give --embeddings keep --no-auto-copy, which leaves the rows of onto as they are");
        Err(match other.containers.first() {
            Some(file) => e.file(file.path()),
            None => e,
        })
    }
}

fn same_width<'a>(table: Option<&'a Tensor>, onto: &Tensor, model: &Model) -> Result<&'a Tensor> {
    let fits = table.filter(|t| t.shape().row() == onto.shape().row());
    fits.ok_or_else(|| {
        let e = Error::invalid("the rows of a model of the vector are not as long as onto's")
            .tensor(&onto.name)
            .expected(onto.shape().row())
            .found(table.map_or(String::from("no such tensor"), |t| t.shape().row().to_string()))
            .hint("the three models must be of one family: chat and onto are both made from base");
        match model.containers.first() {
            Some(file) => e.file(file.path()),
            None => e,
        }
    })
}
