//! Products on their way through llama.cpp's scheduler, which asks of each node whether it is to be seen, computes, and
//! shows it. The operands are copied off their device. Specification: `ggml_backend_sched_eval_callback`.

use super::layout::{F32, Tensor};
use super::library::Library;
use crate::seen::{Chosen, Operand, Product, Watch};
use ggraft_formats::{Error, Result};
use std::ffi::{CStr, c_void};

/// What llama.cpp is given with the callback.
pub(super) struct Watcher<'a> {
    library: &'static Library,
    watch: &'a mut dyn Watch,
    /// Whether a tensor was found to be laid out as is known.
    is_checked: bool,
    failed: Option<Error>,
    values: Vec<f32>,
    numbers: Vec<i32>,
}

impl<'a> Watcher<'a> {
    pub fn new(library: &'static Library, watch: &'a mut dyn Watch) -> Watcher<'a> {
        let (values, numbers) = (Vec::new(), Vec::new());
        Watcher { library, watch, is_checked: false, failed: None, values, numbers }
    }

    /// What has gone wrong since it was last asked.
    pub fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    fn answer(&mut self, tensor: &Tensor, asked: bool) -> Result<bool> {
        if !self.is_checked {
            self.check_layout(tensor)?;
        }
        let Some((product, input, ids)) = self.product(tensor) else { return Ok(false) };
        if asked {
            return Ok(self.watch.wants(&product));
        }
        let wrong = |e: Error| e.tensor(&product.weight);
        let strides = copy(self.library, input, &mut self.values).map_err(wrong)?;
        let operand = Operand { values: &self.values, shape: product.input_shape, strides };
        let chosen = match ids {
            None => None,
            Some(ids) => {
                let strides = copy(self.library, ids, &mut self.numbers).map_err(wrong)?;
                let shape = shape(ids);
                let (shape, stride) = ([shape[0], shape[1]], strides[1]);
                Some(Chosen { numbers: &self.numbers, shape, stride })
            }
        };
        self.watch.see(&product, operand, chosen).map_err(wrong).map(|()| true)
    }

    /// The name of a tensor lies where the layout says.
    fn check_layout(&mut self, tensor: &Tensor) -> Result<()> {
        // SAFETY: the tensor is llama.cpp's, and alive through the callback.
        let name = unsafe { (self.library.call.get_name)(tensor) };
        self.is_checked = name == tensor.name.as_ptr();
        match self.is_checked {
            true => Ok(()),
            false => Err(Error::unsupported("this build of llama.cpp lays out its tensors otherwise")
                .expected(format!("those of the release v{}", self.library.version()))
                .hint("name the folder of a release with --llama-cpp")),
        }
    }

    /// The product that a node is, what is multiplied, and what is chosen by.
    fn product<'t>(&self, tensor: &'t Tensor) -> Option<(Product, &'t Tensor, Option<&'t Tensor>)> {
        // SAFETY: the name of an operation is a constant string; operands are null or as alive as their node.
        let (op, weight, input, ids) = unsafe {
            let op = CStr::from_ptr((self.library.call.op_name)(tensor.op));
            let [weight, input, ids] = [tensor.src[0], tensor.src[1], tensor.src[2]].map(|s| s.as_ref());
            (op.to_bytes(), weight?, input?, ids)
        };
        let ids = match op {
            b"MUL_MAT" => None,
            b"MUL_MAT_ID" => Some(ids?),
            _ => return None,
        };
        // SAFETY: the name ends with a NUL within its array, or llama.cpp could not print it.
        let name = unsafe { CStr::from_ptr(weight.name.as_ptr()) }.to_string_lossy();
        let product = Product {
            weight: plain(&name).to_string(),
            weight_shape: shape(weight),
            input_shape: shape(input),
            is_f32: input.kind == F32,
            chooses: ids.is_some(),
        };
        Some((product, input, ids))
    }
}

/// A tensor's name without that of a device before it and what stands behind it: `CUDA0#blk.0.attn_k.weight#0`.
fn plain(name: &str) -> &str {
    match name.split_once('#') {
        Some((_, rest)) => rest.split('#').next().unwrap_or(rest),
        None => name,
    }
}

/// The dimensions; negative ones, which there are none of, would be nothing.
fn shape(tensor: &Tensor) -> [usize; 4] {
    tensor.ne.map(|n| usize::try_from(n).unwrap_or(0))
}

/// Numbers of four bytes that any bits are.
trait Word: Copy + Default {}
impl Word for f32 {}
impl Word for i32 {}

/// Copies a tensor of four-byte numbers; gives its strides in numbers.
fn copy<T: Word>(library: &Library, tensor: &Tensor, into: &mut Vec<T>) -> Result<[usize; 4]> {
    const SIZE: usize = 4;
    // SAFETY: the tensor is llama.cpp's, and alive through the callback.
    let bytes = unsafe { (library.call.nbytes)(tensor) };
    if tensor.nb[0] != SIZE
        || !bytes.is_multiple_of(SIZE)
        || tensor.nb.iter().any(|nb| !nb.is_multiple_of(SIZE))
    {
        return Err(Error::unsupported("llama.cpp multiplies by numbers that do not lie side by side")
            .expected("four bytes each")
            .found(format!("strides {:?}", tensor.nb)));
    }
    into.clear();
    into.resize(bytes / SIZE, T::default());
    // SAFETY: `into` has room for all bytes of the tensor, and any bits are a `T`.
    unsafe { (library.call.tensor_get)(tensor, into.as_mut_ptr().cast(), 0, bytes) };
    Ok(tensor.nb.map(|nb| nb / SIZE))
}

/// The callback: whether a node is wanted, or that the computation is to go on.
///
/// # Safety
/// `tensor` is null or alive, and `watcher` the one that llama.cpp was given with it.
pub(super) unsafe extern "C" fn observe(tensor: *const Tensor, asked: bool, watcher: *mut c_void) -> bool {
    // SAFETY: this is the watcher that the context was made with and has not outlived; llama.cpp calls from the thread
    // that decodes, once at a time, with a tensor that lives through the call.
    let (Some(tensor), Some(watcher)) =
        (unsafe { (tensor.as_ref(), watcher.cast::<Watcher<'_>>().as_mut()) })
    else {
        return false;
    };
    if watcher.failed.is_some() {
        return false;
    }
    watcher.answer(tensor, asked).unwrap_or_else(|e| {
        watcher.failed = Some(e);
        // Wanted, so that the computation ends there.
        asked
    })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_lose_their_devices() {
        for (name, expected) in [
            ("blk.0.attn_k.weight", "blk.0.attn_k.weight"),
            ("CUDA0#blk.0.attn_k.weight#0", "blk.0.attn_k.weight"),
            ("CPU#blk.0.attn_k.weight", "blk.0.attn_k.weight"),
        ] {
            assert_eq!(plain(name), expected);
        }
    }
}
