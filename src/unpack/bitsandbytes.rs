//! bitsandbytes. NF4 and FP4: two codes in a byte, the upper half first, each the place of a value in `quant_map`, scaled by
//! the largest magnitude (`absmax`) of a run of the matrix; those may be codes themselves (`nested_*`). `quant_state` is JSON
//! that tells runs, shape and dtype. Int8: rows scaled by `SCB` / 127.
//! Value: in f32, rounded once to the dtype that `quant_state` tells, as `dequantize_4bit`; int8 is f32.

use super::coded::{All, Bias, Coded};
use super::grid::{Blocks, Dims, Grid};
use super::numbers::elements;
use super::page::{Page, Parts};
use super::rows::unpacked;
use ggraft_formats::packed::{Packing, Table, Values, bytes};
use ggraft_formats::{DType, Error, Result, Tensor};
use serde_json::Value;

pub const PAGE: Page = Page {
    names: &["bitsandbytes"],
    marks: &[
        (".quant_state.bitsandbytes__nf4", ""),
        (".quant_state.bitsandbytes__fp4", ""),
        (".SCB", ".weight"),
    ],
    common: &[],
    ignored: &[".weight_format"],
    weights: |parts, _| {
        let made = if parts.mark.name.ends_with(".SCB") { int8(parts)? } else { halves(parts)? };
        Ok(vec![made])
    },
};

/// By what bitsandbytes multiplies, where a magnitude is to be divided by 127.
const RECIPROCAL: f32 = 1.0 / 127.0;

fn int8(parts: &Parts<'_>) -> Result<Tensor> {
    let codes = parts.need(&parts.weight)?;
    let dims = Dims::of(codes, None)?;
    let wrong = || {
        Error::invalid("there are scales of weights that are not packed")
            .tensor(&codes.name)
            .expected("I8")
            .found(codes.dtype())
    };
    if codes.dtype() != DType::I8 {
        return Err(wrong());
    }
    if let Some(format) = parts.find(&format!("{}_format", parts.weight)) {
        by_rows(format)?;
    }
    let coded = Coded {
        codes: codes.clone(),
        values: Values::new(Packing::Stream(8), bytes(DType::I8).ok_or_else(wrong)?),
        stride: dims.columns,
        dims,
        scale: Grid::new(parts.mark, dims, Blocks { height: Some(1), width: Some(dims.columns) })?,
        all: All::Then(RECIPROCAL),
        zero: None,
        bias: Bias::Nothing,
        groups: None,
    };
    unpacked(&parts.weight, &dims.torch(codes), DType::F32, coded)
}

/// Refuses codes that lie in another order than row by row, as bitsandbytes itself does since it has no kernels for them.
fn by_rows(format: &Tensor) -> Result<()> {
    let mut told = vec![0; format.row_bytes()];
    format.read(0..1, &mut told)?;
    if told.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(Error::unsupported("codes of bitsandbytes that do not lie row by row are not read")
        .tensor(&format.name)
        .expected("0, which stands for rows")
        .found(told.first().copied().unwrap_or_default())
        .hint("take the checkpoint it was made from"))
}

fn halves(parts: &Parts<'_>) -> Result<Tensor> {
    let state = State::read(parts.mark)?;
    let codes = parts.need(&parts.weight)?;
    let part = |name: &str| parts.need(&format!("{}.{name}", parts.weight));
    let dims = state.dims(parts.mark)?;
    // A row that ends within a byte would begin the next one there.
    let held = dims.matrices.checked_mul(dims.rows).and_then(|n| n.checked_mul(dims.columns));
    let held = held.filter(|_| dims.columns.is_multiple_of(2));
    if held.map(|n| (n / 2) as u64) != Some(codes.bytes()) {
        return Err(Error::invalid("the codes are not those of the shape that quant_state tells")
            .tensor(&codes.name)
            .expected(format!("half a byte for each of {:?}, an even number of columns", state.shape))
            .found(format!("{} bytes", codes.bytes()))
            .hint("the download is incomplete"));
    }
    let mut absmax = part("absmax")?.clone();
    if state.nested {
        absmax = nested(&absmax, part("nested_absmax")?, part("nested_quant_map")?, &state, parts.mark)?;
    }
    let mut table = map(part("quant_map")?, 16)?;
    if parts.mark.name.ends_with("fp4") && table[8] == 0.0 {
        // The map does not say so, but the sign of FP4 is a bit, at zero too.
        table[8] = -0.0;
    }
    let coded = Coded {
        codes: codes.clone(),
        values: Values::new(Packing::Upper, table),
        stride: dims.columns / 2,
        dims,
        scale: Grid::runs(&absmax, dims, state.run)?,
        all: All::Nothing,
        zero: None,
        bias: Bias::Nothing,
        groups: None,
    };
    unpacked(&parts.weight, &state.shape, state.dtype, coded)
}

/// Magnitudes that are codes themselves.
fn nested(codes: &Tensor, scales: &Tensor, values: &Tensor, state: &State, mark: &Tensor) -> Result<Tensor> {
    if codes.dtype() != DType::U8 {
        return Err(Error::invalid("nested magnitudes are codes")
            .tensor(&codes.name)
            .expected("U8")
            .found(codes.dtype()));
    }
    let count = codes.shape().elements();
    let rows = usize::try_from(count).ok().filter(|n| *n > 0);
    let dims = Dims {
        matrices: 1,
        rows: rows.ok_or_else(|| Error::invalid("there are no magnitudes").tensor(&codes.name))?,
        columns: 1,
    };
    let offset = state.json.get("nested_offset").and_then(Value::as_f64).map(|x| x as f32);
    let coded = Coded {
        codes: codes.clone(),
        values: Values::new(Packing::Stream(8), map(values, 256)?),
        stride: 1,
        dims,
        scale: Grid::runs(scales, dims, state.number("nested_blocksize", mark)?)?,
        all: All::Nothing,
        zero: None,
        bias: Bias::Always(offset.ok_or_else(|| state.wrong("nested_offset", mark))?),
        groups: None,
    };
    unpacked(&codes.name, &[count, 1], DType::F32, coded)
}

/// The values of so many codes.
fn map(values: &Tensor, count: usize) -> Result<Table> {
    let mut table = [0.0; 256];
    if values.dtype() != DType::F32 || values.shape().elements() != count as u64 {
        return Err(Error::invalid("these are not the values of codes")
            .tensor(&values.name)
            .expected(format!("{count} numbers in f32"))
            .found(format!("{} {}", values.dtype(), values.shape())));
    }
    elements(values, DType::F32, 0..count, &mut table[..count])?;
    Ok(table)
}

/// What `quant_state` tells.
struct State {
    json: Value,
    run: usize,
    shape: Vec<u64>,
    dtype: DType,
    nested: bool,
}

impl State {
    fn read(mark: &Tensor) -> Result<State> {
        /// It is a handful of keys.
        const MOST: u64 = 1 << 16;
        let wrong = |what: String| {
            Error::invalid("this is no state of a quantization")
                .tensor(&mark.name)
                .expected("JSON in U8, as bitsandbytes writes it")
                .found(what)
        };
        if mark.dtype() != DType::U8 || mark.bytes() > MOST {
            return Err(wrong(format!("{} bytes of {}", mark.bytes(), mark.dtype())));
        }
        let rows = usize::try_from(mark.shape().rows()).unwrap_or(0);
        let json: Value = mark.with_rows(0..rows, |text| {
            serde_json::from_slice(text).map_err(|e| wrong(format!("not JSON: {e}")))
        })?;
        let mut state = State {
            run: 0,
            shape: Vec::new(),
            dtype: DType::F32,
            nested: json.get("nested_offset").is_some(),
            json,
        };
        state.run = state.number("blocksize", mark)?;
        let shape = state.json.get("shape").and_then(Value::as_array);
        let shape: Option<Vec<u64>> = shape.and_then(|all| all.iter().map(Value::as_u64).collect());
        state.shape = shape.ok_or_else(|| state.wrong("shape", mark))?;
        state.dtype = match state.json.get("dtype").and_then(Value::as_str) {
            Some("bfloat16") => DType::BF16,
            Some("float16") => DType::F16,
            Some("float32") => DType::F32,
            _ => return Err(state.wrong("dtype", mark)),
        };
        Ok(state)
    }

    fn dims(&self, mark: &Tensor) -> Result<Dims> {
        let word = |n: &u64| usize::try_from(*n).ok().filter(|n| *n > 0);
        let sizes: Option<Vec<usize>> = self.shape.iter().map(word).collect();
        match sizes.as_deref() {
            Some([rows, columns]) => Ok(Dims { matrices: 1, rows: *rows, columns: *columns }),
            Some([matrices, rows, columns]) => {
                Ok(Dims { matrices: *matrices, rows: *rows, columns: *columns })
            }
            _ => Err(self.wrong("shape", mark)),
        }
    }

    fn number(&self, key: &str, mark: &Tensor) -> Result<usize> {
        let n = self.json.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        n.filter(|n| *n > 0).ok_or_else(|| self.wrong(key, mark))
    }

    fn wrong(&self, key: &str, mark: &Tensor) -> Error {
        let found = self.json.get(key).map_or(String::from("nothing"), Value::to_string);
        let expected = match key {
            "dtype" => "bfloat16, float16 or float32",
            "shape" => "two or three whole numbers of at least 1",
            "nested_offset" => "a number",
            _ => "a whole number of at least 1",
        };
        Error::invalid(format!("'{key}' of a quantization is wrong"))
            .tensor(&mark.name)
            .expected(expected)
            .found(found.chars().take(60).collect::<String>())
    }
}
