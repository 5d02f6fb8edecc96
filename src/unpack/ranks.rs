//! Queries, keys and values in one matrix of FP8 that MiMo V2.5 publishes as the ranks of its tensor parallelism held them:
//! of each rank the rows of its queries, keys and values, and blocks of scales that begin anew with each rank. Rows come
//! out as one model has them: all queries, all keys, all values.
//! Specification: `MimoV2Model._tp_aware_qkv_dequant` of llama.cpp's converter.

use super::coded::Coded;
use super::grid::{Dims, Grid, torch};
use super::page::Parts;
use super::rows::{Packed, unpacked};
use super::settings::Settings;
use ggraft_formats::packed::{Packing, bytes};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use serde_json::Value;
use std::ops::Range;

/// The ranks that are published.
const RANKS: [usize; 2] = [8, 4];
/// Rows of a block of scales.
const HEIGHT: usize = 128;

/// The classes that keep them so.
const CLASSES: [&str; 2] = ["MiMoV2ForCausalLM", "MiMoV2FlashForCausalLM"];

/// The weight, if it is such a matrix.
pub fn regrouped(parts: &Parts<'_>, settings: &Settings) -> Result<Option<Tensor>> {
    let class = settings.model.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str);
    if !class.is_some_and(|class| CLASSES.contains(&class)) || !parts.stem().ends_with("self_attn.qkv_proj") {
        return Ok(None);
    }
    let codes = parts.need(&parts.weight)?;
    let Some(table) = bytes(codes.dtype()) else { return Ok(None) };
    let (dims, found) = (Dims::of(codes, None)?, torch(parts.mark));
    let sizes = sizes(parts, settings)?;
    let rows: usize = sizes.iter().sum();
    let fits = |ranks: &usize| {
        sizes.iter().all(|size| size.is_multiple_of(*ranks))
            && found.first() == Some(&((ranks * (rows / ranks).div_ceil(HEIGHT)) as u64))
    };
    let ranks = RANKS.into_iter().find(fits).filter(|_| rows == dims.rows && dims.matrices == 1);
    let Some(ranks) = ranks else {
        return Err(Error::invalid("queries, keys and values are shared out among no number of ranks")
            .tensor(&codes.name)
            .expected(format!("{rows} rows, and scales of blocks of {HEIGHT} of each of {RANKS:?} ranks"))
            .found(format!("{:?}, scales {found:?}", torch(codes)))
            .hint("the download is incomplete, or config.json is of another model"));
    };
    let share = rows / ranks;
    let scale = Grid::shares(parts.mark, dims, share, HEIGHT)?;
    let coded = Coded::plain(codes, Packing::Stream(8), dims.columns, table, dims, scale);
    let sizes = sizes.map(|size| size / ranks);
    let all = Regrouped { coded, sizes, ranks };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, all).map(Some)
}

/// Rows of queries, keys and values of the layer.
fn sizes(parts: &Parts<'_>, settings: &Settings) -> Result<[usize; 3]> {
    let of = |value: Option<&Value>, key: &str| {
        let n = value.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        n.filter(|n| *n < 1 << 20).ok_or_else(|| {
            Error::invalid(format!("'{key}' of the config is wrong"))
                .file(&settings.file)
                .expected("a whole number")
                .found(value.map_or(String::from("nothing"), Value::to_string))
        })
    };
    let number = |key: &str| of(settings.model.get(key), key);
    let layer = parts.stem().split('.').find_map(|part| part.parse::<usize>().ok());
    // Layers that predict further tokens attend within a window.
    let main = number("num_hidden_layers")?;
    let slides = parts.stem().contains("mtp.layers.") || layer.is_some_and(|layer| layer >= main) || {
        const PATTERN: &str = "hybrid_layer_pattern";
        let pattern = settings.model.get(PATTERN).and_then(|all| all.get(layer?));
        of(pattern, PATTERN)? == 1
    };
    let groups = number(if slides { "swa_num_key_value_heads" } else { "num_key_value_heads" })?;
    let (heads, width, own) = (number("num_attention_heads")?, number("head_dim")?, number("v_head_dim")?);
    Ok([heads * width, groups * width, groups * own])
}

struct Regrouped {
    /// The rows as the ranks held them.
    coded: Coded,
    /// Rows of queries, keys and values of a rank.
    sizes: [usize; 3],
    ranks: usize,
}

impl Regrouped {
    /// Where `row` lies, and how many after it lie there one after the other.
    fn place(&self, mut row: usize) -> (usize, usize) {
        let share: usize = self.sizes.iter().sum();
        let mut before = 0;
        for size in self.sizes {
            if row < size * self.ranks {
                return (row / size * share + before + row % size, size - row % size);
            }
            row -= size * self.ranks;
            before += size;
        }
        (self.ranks * share, usize::MAX)
    }

    /// These rows as runs of those of the ranks.
    fn runs(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (mut at, end) = (rows.start, rows.end);
        std::iter::from_fn(move || {
            let (place, run) = (at < end).then(|| self.place(at))?;
            let count = run.min(end - at);
            at += count;
            Some(place..place + count)
        })
    }
}

impl Packed for Regrouped {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let row = out.len() / rows.len().max(1);
        let mut rest = out;
        for run in self.runs(rows) {
            let (own, after) = rest.split_at_mut(run.len() * row);
            self.coded.decode(run, own)?;
            rest = after;
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        self.runs(rows).for_each(|run| self.coded.parts(run, f));
    }

    fn describe(&self, into: &mut Identity) {
        into.add(b"ranks");
        into.numbers(self.sizes.iter().chain([&self.ranks]).map(|n| *n as u64));
        self.coded.describe(into);
    }
}
