//! Which bytes are fetched with one request: neighbouring spans are joined to blocks, over small gaps too, and long spans
//! are cut. Serves `Window`.

use super::object::{Object, Span};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// The most bytes of a block.
const BLOCK: u64 = 8 << 20;
/// Bytes between two spans that are fetched for nothing, so that one request does for both.
const GAP: u64 = 256 << 10;
/// How many blocks of an object may still grow.
pub(super) const OPEN: usize = 8;

/// Bytes that are fetched with one request.
pub(super) struct Block {
    pub object: usize,
    pub bytes: Range<u64>,
}

/// Joins spans to blocks.
#[derive(Default)]
pub(super) struct Planner {
    pub objects: Vec<Arc<Object>>,
    pub blocks: Vec<Block>,
    /// The blocks that each piece needs.
    pub pieces: Vec<Vec<usize>>,
    /// The blocks of each object that may still grow.
    open: HashMap<usize, VecDeque<usize>>,
}

impl Planner {
    fn object(&mut self, object: &Arc<Object>) -> usize {
        self.objects.iter().position(|one| Arc::ptr_eq(one, object)).unwrap_or_else(|| {
            self.objects.push(Arc::clone(object));
            self.objects.len() - 1
        })
    }

    /// Adds a piece of work with the bytes that it needs.
    pub fn piece(&mut self, spans: Vec<Span>) {
        let access = spans.first().map(|span| span.object.access().memory);
        let most = BLOCK.min(access.unwrap_or(BLOCK) / 2).max(GAP);
        let mut spans: Vec<(usize, Range<u64>)> =
            spans.into_iter().map(|span| (self.object(&span.object), span.bytes)).collect();
        spans.retain(|(_, bytes)| !bytes.is_empty());
        spans.sort_by_key(|(object, bytes)| (*object, bytes.start, bytes.end));
        let mut needs: Vec<usize> = Vec::new();
        for (object, bytes) in spans {
            let mut start = bytes.start;
            // What is longer than a block is several.
            while start < bytes.end {
                let end = bytes.end.min(start.saturating_add(most));
                let block = self.block(object, start..end, most);
                if !needs.contains(&block) {
                    needs.push(block);
                }
                start = end;
            }
        }
        self.pieces.push(needs);
    }

    /// The block that these bytes are in: one of the last of the object, if they are in it or it can grow so far, to
    /// either side; pieces do not come in the order of the file.
    fn block(&mut self, object: usize, bytes: Range<u64>, most: u64) -> usize {
        let open = self.open.entry(object).or_default();
        for i in open.iter().rev() {
            let block = &mut self.blocks[*i].bytes;
            let hull = block.start.min(bytes.start)..block.end.max(bytes.end);
            let apart = bytes.start.saturating_sub(block.end).max(block.start.saturating_sub(bytes.end));
            if apart <= GAP && (hull == *block || hull.end - hull.start <= most) {
                *block = hull;
                return *i;
            }
        }
        self.blocks.push(Block { object, bytes });
        if open.len() == OPEN {
            open.pop_front();
        }
        open.push_back(self.blocks.len() - 1);
        self.blocks.len() - 1
    }
}
