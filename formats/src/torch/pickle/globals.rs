//! The only names that a pickle may speak of: what the state dicts of PyTorch are made of. None is a function that
//! runs; each is a word that `reduce` understands. Specification: `torch/_utils.py` (`_rebuild_*`), `torch/storage.py`.

use crate::quant::DType;

/// What a name means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    OrderedDict,
    Size,
    /// `_rebuild_tensor(storage, offset, size, stride)`.
    Tensor,
    /// The same, then `requires_grad, hooks[, metadata]`.
    TensorV2,
    /// The same, then `requires_grad, hooks, dtype[, metadata]`.
    TensorV3,
    /// `_rebuild_parameter(tensor, requires_grad, hooks)`.
    Parameter,
    /// The same, then the attributes that were set on it.
    ParameterWithState,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`.
    FromType,
    /// The type of tensors and of parameters.
    Class,
    /// Elements of a dtype, or bytes.
    Storage(Option<DType>),
    Type(DType),
}

/// A name that is known.
#[derive(Debug)]
pub struct Global {
    pub module: &'static str,
    pub name: &'static str,
    pub means: Means,
}

const fn global(module: &'static str, name: &'static str, means: Means) -> Global {
    Global { module, name, means }
}

const fn storage(name: &'static str, dtype: DType) -> Global {
    global("torch", name, Means::Storage(Some(dtype)))
}

const fn dtype(name: &'static str, dtype: DType) -> Global {
    global("torch", name, Means::Type(dtype))
}

/// All of them. Every other name is refused.
pub static GLOBALS: &[Global] = &[
    global("collections", "OrderedDict", Means::OrderedDict),
    global("torch", "Size", Means::Size),
    global("torch._utils", "_rebuild_tensor", Means::Tensor),
    global("torch._utils", "_rebuild_tensor_v2", Means::TensorV2),
    global("torch._utils", "_rebuild_tensor_v3", Means::TensorV3),
    global("torch._utils", "_rebuild_parameter", Means::Parameter),
    global("torch._utils", "_rebuild_parameter_with_state", Means::ParameterWithState),
    global("torch._tensor", "_rebuild_from_type_v2", Means::FromType),
    global("torch", "Tensor", Means::Class),
    global("torch.nn.parameter", "Parameter", Means::Class),
    global("torch.storage", "UntypedStorage", Means::Storage(None)),
    storage("DoubleStorage", DType::F64),
    storage("FloatStorage", DType::F32),
    storage("HalfStorage", DType::F16),
    storage("BFloat16Storage", DType::BF16),
    storage("BoolStorage", DType::Bool),
    storage("CharStorage", DType::I8),
    storage("ShortStorage", DType::I16),
    storage("IntStorage", DType::I32),
    storage("LongStorage", DType::I64),
    storage("ByteStorage", DType::U8),
    dtype("float64", DType::F64),
    dtype("float32", DType::F32),
    dtype("float16", DType::F16),
    dtype("bfloat16", DType::BF16),
    dtype("float8_e4m3fn", DType::F8E4M3),
    dtype("float8_e5m2", DType::F8E5M2),
    dtype("float8_e8m0fnu", DType::F8E8M0),
    dtype("bool", DType::Bool),
    dtype("int8", DType::I8),
    dtype("int16", DType::I16),
    dtype("int32", DType::I32),
    dtype("int64", DType::I64),
    dtype("uint8", DType::U8),
    dtype("uint16", DType::U16),
    dtype("uint32", DType::U32),
    dtype("uint64", DType::U64),
];

/// The global of this name, if it is known.
pub fn find(module: &[u8], name: &[u8]) -> Option<&'static Global> {
    GLOBALS.iter().find(|g| g.module.as_bytes() == module && g.name.as_bytes() == name)
}
