//! HQQ: `W_q` has the codes of a weight in groups. Groups are the rows (`axis` 1) or the columns (0) of a matrix of the weight's
//! elements in their order; an element of `W_q` packs rows of it that lie a whole share of the matrix apart, the first in
//! the highest bits. The settings are tensors beside it; `scale` and `zero` may be packed likewise (`scale_q`, `meta_scale`).
//! Value: (code - zero) * scale, each rounded to the dtype that the layer computes in: `Quantizer.dequantize` of hqq.

use super::grid::torch;
use super::numbers::{elements, narrow, with_bytes};
use super::page::{Page, Parts};
use super::rows::{Packed, unpacked};
use ggraft_formats::packed::{Runs, Slots, multiply, round, subtract};
use ggraft_formats::write::Identity;
use ggraft_formats::{DType, Error, Result, Tensor};
use std::ops::Range;

/// The part that stands for a weight.
pub const MARK: &str = ".W_q";

pub const PAGE: Page = Page {
    names: &["hqq"],
    marks: &[(MARK, ".weight")],
    common: &[],
    ignored: &[],
    weights: |parts, _| Ok(vec![weight(parts)?]),
};

/// What lies beside a weight and says nothing of its values.
const BESIDE: [&str; 10] = [
    "nbits",
    "unpack_view_dtype",
    "view_as_float",
    "quant_scale",
    "quant_zero",
    "offload_meta",
    "encoded_state_dict",
    "stores_quant_config",
    "channel_wise",
    "optimize",
];

/// The longest text of a setting.
const LONGEST: u64 = 64;

fn weight(parts: &Parts<'_>) -> Result<Tensor> {
    let state = State { parts, place: format!("{}.", parts.stem()) };
    if let Some(both) = state.find("zero_scale") {
        return Err(Error::unsupported("HQQ with zero points and scales in one tensor is not read")
            .tensor(&both.name)
            .hint("take the checkpoint it was made from, or save it again with offload_meta off"));
    }
    let shape = narrow(state.need("shape")?)?;
    let dtype = match state.text("compute_dtype")?.as_deref() {
        Some("torch.float16") => Some(DType::F16),
        Some("torch.bfloat16") => Some(DType::BF16),
        Some("torch.float32") => Some(DType::F32),
        Some(other) => {
            return Err(state.wrong("compute_dtype", "torch.float16, bfloat16 or float32", other));
        }
        None => None,
    };
    let dtype = match (dtype, state.find("scale")) {
        (Some(dtype), _) => dtype,
        (None, Some(scale)) => scale.dtype(),
        // As hqq takes it.
        (None, None) => DType::F16,
    };
    let scale = state.numbers("scale", dtype)?;
    let zero = state.numbers("zero", dtype)?;
    let groups = state.groups(parts.mark, &shape, dtype, scale, zero)?;
    let torch: Vec<u64> = shape.iter().map(|n| n.unsigned_abs()).collect();
    unpacked(&parts.weight, &torch, dtype, groups)
}

/// The settings of a weight, or of numbers that are packed as one.
struct State<'a> {
    parts: &'a Parts<'a>,
    /// What their names begin with.
    place: String,
}

impl<'a> State<'a> {
    fn find(&self, name: &str) -> Option<&'a Tensor> {
        self.parts.find(&format!("{}{name}", self.place))
    }

    fn need(&self, name: &str) -> Result<&'a Tensor> {
        self.parts.need(&format!("{}{name}", self.place))
    }

    fn wrong(&self, key: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        Error::invalid(format!("'{key}' of a quantization is wrong"))
            .tensor(&format!("{}{key}", self.place))
            .expected(expected)
            .found(found)
    }

    /// A whole number, if it is there.
    fn number(&self, key: &str) -> Result<Option<usize>> {
        let Some(tensor) = self.find(key) else { return Ok(None) };
        match narrow(tensor)?.as_slice() {
            [n] if *n >= 0 => Ok(Some(*n as usize)),
            other => Err(self.wrong(key, "a whole number", format!("{other:?}"))),
        }
    }

    /// A text, if it is there: a byte for each character.
    fn text(&self, key: &str) -> Result<Option<String>> {
        let Some(tensor) = self.find(key) else { return Ok(None) };
        if tensor.dtype() != DType::U8 || tensor.bytes() > LONGEST {
            return Err(self.wrong(key, "a short text in U8", tensor.dtype()));
        }
        with_bytes(tensor, 0..tensor.bytes() as usize, |b| Ok(Some(String::from_utf8_lossy(b).into_owned())))
    }

    /// Scales or zero points: plain, or codes themselves.
    fn numbers(&self, key: &str, dtype: DType) -> Result<Tensor> {
        if let Some(plain) = self.find(key) {
            if matches!(plain.dtype(), DType::F32 | DType::F16 | DType::BF16) {
                return Ok(plain.clone());
            }
            return Err(self.wrong(key, "f32, f16 or bf16", plain.dtype()));
        }
        let codes = self.need(&format!("{key}_q"))?;
        let own = State { parts: self.parts, place: format!("{}meta_{key}.", self.place) };
        let shape = narrow(own.need("shape")?)?;
        let (scale, zero) = (own.need("scale")?.clone(), own.need("zero")?.clone());
        let groups = own.groups(codes, &shape, dtype, scale, zero)?;
        // One in a row, so that any of them can be read alone.
        let groups = Groups { rows: groups.count(), columns: 1, ..groups };
        unpacked(&codes.name, &[groups.rows as u64, 1], dtype, groups)
    }

    /// The groups of `codes`, which fit their numbers.
    fn groups(
        &self,
        codes: &Tensor,
        shape: &[i64],
        dtype: DType,
        scale: Tensor,
        zero: Tensor,
    ) -> Result<Groups> {
        for key in BESIDE.iter().chain(&["round_zero", "compute_dtype"]) {
            self.find(key);
        }
        let (slots, bits, item) = match self.text("packing")?.as_deref() {
            Some("8bit_u8") => (1, 8, 1),
            Some("4bit_u8") => (2, 4, 1),
            Some("3bit_32") => (10, 3, 4),
            Some("2bit_u8") => (4, 2, 1),
            Some("1bit_u8") => (8, 1, 1),
            other => {
                let known = "8bit_u8, 4bit_u8, 3bit_32, 2bit_u8 or 1bit_u8";
                return Err(self.wrong("packing", known, other.unwrap_or("nothing")));
            }
        };
        let axis = self.number("axis")?;
        let sizes: Option<Vec<usize>> =
            shape.iter().map(|n| usize::try_from(*n).ok().filter(|n| *n > 0)).collect();
        let count = sizes.as_ref().and_then(|all| all.iter().try_fold(1usize, |n, s| n.checked_mul(*s)));
        let (Some([rows, columns]), Some(count)) = (sizes.as_deref(), count) else {
            return Err(self.wrong("shape", "two whole numbers of at least 1", format!("{shape:?}")));
        };
        let group = self.number("group_size")?;
        let (line, by_row) = match (group, axis) {
            (Some(group), Some(1)) if group > 0 => (group, true),
            (Some(group), Some(0)) if group > 0 && count.is_multiple_of(group) => (count / group, false),
            (None, Some(axis @ (0 | 1))) => (*columns, axis == 1),
            _ => return Err(self.wrong("axis", "0 or 1, and groups of the weight", format!("{axis:?}"))),
        };
        let lines = count / line.max(1);
        let step = lines.div_ceil(slots);
        let groups = Groups {
            codes: codes.clone(),
            scale,
            zero,
            dtype,
            columns: *columns,
            rows: *rows,
            line,
            by_row,
            step,
            slots,
            bits,
            item,
        };
        groups.checked(lines)
    }
}

struct Groups {
    codes: Tensor,
    scale: Tensor,
    zero: Tensor,
    /// What every step is rounded to.
    dtype: DType,
    rows: usize,
    columns: usize,
    /// Elements of a row of the matrix of groups; whether such a row has one number, or each of its columns.
    line: usize,
    by_row: bool,
    /// Rows of that matrix from one that shares bytes with another to that one; how many share them.
    step: usize,
    slots: usize,
    bits: u32,
    /// Bytes of an element of `W_q`.
    item: usize,
}

impl Groups {
    fn count(&self) -> usize {
        self.rows * self.columns
    }

    fn checked(self, lines: usize) -> Result<Groups> {
        let due = self.step.checked_mul(self.line).and_then(|n| n.checked_mul(self.item));
        // Only codes of three bits are filled up.
        let whole = self.slots == 10 || self.step * self.slots == lines;
        if lines * self.line != self.count() || !whole || due.map(|n| n as u64) != Some(self.codes.bytes()) {
            return Err(Error::invalid("the codes are not those of the shape that is told")
                .tensor(&self.codes.name)
                .expected(format!("groups of {:?}, {due:?} bytes", [self.rows, self.columns]))
                .found(format!("{} {:?}", self.codes.dtype(), torch(&self.codes)))
                .hint("the download is incomplete"));
        }
        let numbers = if self.by_row { lines } else { self.line } as u64;
        for part in [&self.scale, &self.zero] {
            if ![1, numbers].contains(&part.shape().elements()) {
                return Err(Error::invalid("the scales do not fit the weights")
                    .tensor(&part.name)
                    .expected(format!("one for each of {numbers} groups, or one"))
                    .found(format!("{:?}", torch(part)))
                    .hint("the download is incomplete"));
            }
        }
        Ok(self)
    }

    /// The places of numbers that the elements from `start` on, below `end`, need.
    fn places(&self, part: &Tensor, start: usize, end: usize) -> Range<usize> {
        let (first, last) = (start / self.line, (end - 1) / self.line);
        match (part.shape().elements(), self.by_row) {
            (1, _) => 0..1,
            (_, true) => first..last + 1,
            (_, false) if first == last => start % self.line..(end - 1) % self.line + 1,
            (_, false) => 0..self.line,
        }
    }

    /// The numbers that the elements from `start` on, below `end`, need, rounded as the library rounds them before it computes.
    fn numbers(&self, part: &Tensor, start: usize, end: usize) -> Result<Numbers> {
        let places = self.places(part, start, end);
        let mut numbers = Numbers { values: vec![0.0; places.len()], first: places.start };
        elements(part, part.dtype(), places, &mut numbers.values)?;
        round(self.dtype, &mut numbers.values)?;
        Ok(numbers)
    }

    /// The codes of elements that lie in one place of their bytes.
    fn codes(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let (slot, place) = (start / self.line / self.step, start % (self.step * self.line));
        let shift = self.bits * (self.slots - 1 - slot) as u32;
        with_bytes(&self.codes, place * self.item..(place + out.len()) * self.item, |bytes| {
            Slots { item: self.item, shift, bits: self.bits }.numbers(bytes, out);
            Ok(())
        })
    }

    /// Calls `f` with the elements from `start` on and the numbers that hold for them.
    fn over(&self, start: usize, numbers: &Numbers, run: &mut [f32], f: fn(&mut [f32], Runs<'_>)) {
        if let [single] = numbers.values.as_slice() {
            return f(run, Runs::one(single));
        }
        let (line, column) = (start / self.line, start % self.line);
        if self.by_row {
            let numbers = &numbers.values[line - numbers.first..];
            return f(run, Runs { numbers, first: self.line - column, step: self.line });
        }
        let (first, rest) = run.split_at_mut(run.len().min(self.line - column));
        f(first, Runs::each(&numbers.values[column - numbers.first..]));
        rest.chunks_mut(self.line).for_each(|part| f(part, Runs::each(&numbers.values)));
    }
}

/// Numbers from a place on.
struct Numbers {
    values: Vec<f32>,
    first: usize,
}

impl Packed for Groups {
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (mut at, end, share) =
            (rows.start * self.columns, rows.end * self.columns, self.step * self.line);
        let mut rest = out;
        while at < end {
            let until = end.min((at / share + 1) * share);
            let (run, after) = rest.split_at_mut(until - at);
            self.codes(at, run)?;
            self.over(at, &self.numbers(&self.zero, at, until)?, run, subtract);
            round(self.dtype, run)?;
            self.over(at, &self.numbers(&self.scale, at, until)?, run, multiply);
            (at, rest) = (until, after);
        }
        Ok(())
    }

    fn parts(&self, rows: Range<usize>, f: &mut dyn FnMut(&Tensor, Range<usize>)) {
        let (start, end, share) = (rows.start * self.columns, rows.end * self.columns, self.step * self.line);
        if start == end {
            return;
        }
        let within = |part: &Tensor, places: Range<usize>| {
            let row = usize::try_from(part.shape().row()).unwrap_or(usize::MAX).max(1);
            places.start / row..places.end.div_ceil(row)
        };
        let (first, last) = (start % share * self.item, (end - 1) % share * self.item + self.item);
        let row = self.codes.row_bytes().max(1);
        let bytes = if start / share == (end - 1) / share { first..last } else { 0..share * self.item };
        f(&self.codes, bytes.start / row..bytes.end.div_ceil(row));
        for part in [&self.scale, &self.zero] {
            f(part, within(part, self.places(part, start, end)));
        }
    }

    fn describe(&self, into: &mut Identity) {
        into.add(b"hqq");
        let sizes = [self.rows, self.columns, self.line, usize::from(self.by_row), self.step, self.slots];
        into.numbers(sizes.map(|n| n as u64).into_iter().chain([u64::from(self.bits), self.dtype as u64]));
    }
}
