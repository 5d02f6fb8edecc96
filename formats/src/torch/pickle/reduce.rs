//! What becomes of a known name and its arguments: an empty dict, a shape, a view of a storage. Nothing is called;
//! the arguments are looked at. A view is checked against its storage here, so none is larger than the file.

use super::Machine;
use super::globals::{Global, Means};
use super::value::{Node, Storage, Value, View};
use crate::error::{Error, Result};
use crate::quant::DType;
use crate::shape::Shape;

/// What a reduction gives.
enum Made {
    Known(Value),
    New(Node),
}

impl Machine<'_> {
    /// REDUCE: a function and a tuple of arguments.
    pub(super) fn reduce(&mut self, function: Value, arguments: Value) -> Result<Value> {
        let Value::Global(global) = function else {
            return Err(self.invalid("the pickle calls what is no function"));
        };
        match self.made(global, arguments)? {
            Made::Known(value) => Ok(value),
            Made::New(node) => Ok(self.heap.add(node)),
        }
    }

    fn made(&self, global: &'static Global, arguments: Value) -> Result<Made> {
        let wrong = || self.wrong_arguments(global);
        let items = self.heap.tuple(arguments).ok_or_else(wrong)?;
        let view = |function: &'static Global, items: &[Value]| {
            Ok(Made::New(Node::Tensor(Box::new(self.view(function, items)?))))
        };
        match (global.means, items) {
            (Means::OrderedDict, []) => Ok(Made::New(Node::Dict(Vec::new()))),
            // As Python 2 wrote it: a list of pairs.
            (Means::OrderedDict, [list]) => {
                let pair = |item: &Value| match self.heap.items(*item) {
                    Some([key, value]) => Some((*key, *value)),
                    _ => None,
                };
                let list = self.heap.items(*list).ok_or_else(wrong)?;
                self.affords(list.len())?;
                let pairs: Option<Vec<_>> = list.iter().map(pair).collect();
                Ok(Made::New(Node::Dict(pairs.ok_or_else(wrong)?)))
            }
            (Means::Size, [sizes]) if self.heap.items(*sizes).is_some() => Ok(Made::Known(*sizes)),
            (Means::Parameter, [tensor, _, _]) | (Means::ParameterWithState, [tensor, _, _, _])
                if self.heap.tensor(*tensor).is_some() =>
            {
                Ok(Made::Known(*tensor))
            }
            (Means::Tensor | Means::TensorV2 | Means::TensorV3, items) => view(global, items),
            (Means::FromType, [Value::Global(inner), Value::Global(class), inner_arguments, _state])
                if class.means == Means::Class =>
            {
                view(inner, self.heap.tuple(*inner_arguments).ok_or_else(wrong)?)
            }
            _ => Err(wrong()),
        }
    }

    fn wrong_arguments(&self, global: &Global) -> Error {
        self.invalid("the pickle gives arguments that this function does not take")
            .found(format!("{}.{}", global.module, global.name))
    }

    /// The tensor that `_rebuild_tensor` and its successors make.
    fn view(&self, global: &'static Global, items: &[Value]) -> Result<View> {
        let wrong = || self.wrong_arguments(global);
        let [storage, offset, sizes, strides, rest @ ..] = items else { return Err(wrong()) };
        let storage = match self.heap.get(*storage) {
            Some(Node::Storage(storage)) => *storage,
            _ => return Err(wrong()),
        };
        let (dtype, metadata) = match (global.means, rest) {
            (Means::Tensor, []) | (Means::TensorV2, [_, _]) => (storage.dtype, Value::None),
            (Means::TensorV2, [_, _, metadata]) => (storage.dtype, *metadata),
            (Means::TensorV3, [_, _, Value::Global(Global { means: Means::Type(dtype), .. }), rest @ ..])
                if rest.len() < 2 =>
            {
                (Some(*dtype), rest.first().copied().unwrap_or(Value::None))
            }
            _ => return Err(wrong()),
        };
        let dtype = dtype.ok_or_else(|| self.invalid("a tensor of an untyped storage has no dtype"))?;
        let is_plain =
            matches!(metadata, Value::None) || self.heap.dict(metadata).is_some_and(<[_]>::is_empty);
        if !is_plain {
            return Err(self.unsupported("a tensor that is conjugated or negated on reading is not covered"));
        }
        let offset = natural(*offset)
            .ok_or_else(|| self.invalid("the offset of a tensor is not a number of elements"))?;
        let numbers = |value: Value, what: &str| {
            let items = self.heap.items(value).filter(|items| items.len() <= Shape::MAX_DIMS);
            items
                .and_then(|items| items.iter().map(|x| natural(*x)).collect::<Option<Vec<u64>>>())
                .ok_or_else(|| {
                    self.invalid(format!("the {what} of a tensor are not covered"))
                        .expected(format!("at most {} numbers, none negative", Shape::MAX_DIMS))
                })
        };
        let (sizes, strides) = (numbers(*sizes, "sizes")?, numbers(*strides, "strides")?);
        let view = View { storage, dtype, offset, sizes, strides };
        self.check(&view)?;
        Ok(view)
    }

    /// Refuses a view that leaves its storage, or repeats elements of it without end.
    fn check(&self, view: &View) -> Result<()> {
        let View { storage, dtype, offset, sizes, strides } = view;
        let told = || format!("offset {offset}, sizes {sizes:?}, strides {strides:?}");
        if sizes.len() != strides.len() {
            return Err(self.invalid("a tensor has not a stride for each size").found(told()));
        }
        let held = held(storage, *dtype).ok_or_else(|| {
            self.invalid("a tensor has another dtype than its storage").found(dtype.to_string())
        })?;
        let elements = sizes.iter().try_fold(1u64, |n, size| n.checked_mul(*size));
        let last = match elements {
            Some(0) => Some(0),
            _ => sizes.iter().zip(strides).try_fold(1u64, |end, (size, stride)| {
                end.checked_add(size.checked_sub(1)?.checked_mul(*stride)?)
            }),
        };
        if last.and_then(|last| last.checked_add(*offset)).is_none_or(|end| end > held) {
            return Err(self
                .invalid("a tensor runs past the end of its storage")
                .expected(format!("at most {held} elements"))
                .found(told()));
        }
        if elements.is_none_or(|n| n > held) {
            return Err(self
                .unsupported("a tensor that repeats the elements of its storage is not covered")
                .expected(format!("at most {held} elements"))
                .found(told())
                .hint("save it as a tensor of its own (in PyTorch: contiguous())"));
        }
        Ok(())
    }

    /// The storage that a persistent id names: `("storage", type, key, location, elements[, None])`.
    pub(super) fn storage(&self, id: Value) -> Result<Storage> {
        let wrong = || {
            self.invalid("a persistent id names no storage")
                .expected("(\"storage\", type, key, place, elements)")
        };
        let items = self.heap.tuple(id).ok_or_else(wrong)?;
        let (key, dtype, elements) = match items {
            [
                Value::Text(kind),
                Value::Global(Global { means: Means::Storage(dtype), .. }),
                Value::Text(key),
                Value::Text(_place),
                elements,
                rest @ ..,
            ] if self.bytes(*kind) == b"storage" && matches!(rest, [] | [Value::None]) => {
                (*key, *dtype, natural(*elements).ok_or_else(wrong)?)
            }
            [Value::Text(kind), Value::Global(_), Value::Text(_), Value::Text(_), _, _]
                if self.bytes(*kind) == b"storage" =>
            {
                return Err(self.unsupported("views of storages, as PyTorch 0.3 wrote them, are not covered"));
            }
            _ => return Err(wrong()),
        };
        let is_short = (1..=super::LONGEST_KEY).contains(&self.bytes(key).len());
        let size = dtype.map_or(1, item);
        if !is_short || elements.checked_mul(size).is_none_or(|bytes| bytes > i64::MAX as u64) {
            return Err(self.invalid("a storage is larger, or its key longer, than any can be"));
        }
        Ok(Storage { key, dtype, elements })
    }
}

/// Bytes of an element.
pub(in crate::torch) fn item(dtype: DType) -> u64 {
    dtype.traits().bytes as u64
}

/// Elements of `dtype` in a storage; `None` if it has another.
fn held(storage: &Storage, dtype: DType) -> Option<u64> {
    match storage.dtype {
        None => Some(storage.elements / item(dtype)),
        Some(own) => (own == dtype).then_some(storage.elements),
    }
}

fn natural(value: Value) -> Option<u64> {
    match value {
        Value::Int(n) => n.try_into().ok(),
        _ => None,
    }
}
