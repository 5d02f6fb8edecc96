//! A model at work: it reads batches and gives the logits, and shows its products to a watch. Serves whoever measures.

use super::layout::{Batch as Raw, ContextParams};
use super::library::logged;
use super::model::Model;
use super::watch::{Watcher, observe};
use crate::batch::{Batch, Reading};
use crate::seen::Watch;
use ggraft_formats::{Error, Result};
use std::ffi::c_void;

/// The memory of what was read, and the room to compute in.
pub struct Context<'a> {
    model: &'a Model,
    /// Never null; freed with this.
    context: *mut c_void,
    /// Null if nobody watches; made by `Box::into_raw`, freed with this. llama.cpp has it too, and uses it while it
    /// decodes.
    watcher: *mut Watcher<'a>,
}

impl<'a> Context<'a> {
    /// A context for reading so.
    ///
    /// # Errors
    /// There is no memory for it, or the numbers are larger than llama.cpp's.
    pub fn new(model: &'a Model, reading: &Reading) -> Result<Context<'a>> {
        Context::make(model, reading, std::ptr::null_mut())
    }

    /// The same, watched.
    ///
    /// # Errors
    /// As of `new`.
    pub fn watched(model: &'a Model, reading: &Reading, watch: &'a mut dyn Watch) -> Result<Context<'a>> {
        let watcher = Box::new(Watcher::new(model.library, watch));
        Context::make(model, reading, Box::into_raw(watcher))
    }

    fn make(model: &'a Model, reading: &Reading, watcher: *mut Watcher<'a>) -> Result<Context<'a>> {
        // From here on it is freed also if the context cannot be made.
        let mut context = Context { model, context: std::ptr::null_mut(), watcher };
        let params = context.params(reading)?;
        // SAFETY: the parameters have the layout of this version; model and watcher outlive the context.
        let made = logged(|| unsafe {
            let made = (model.library.call.init_from_model)(model.model, params);
            (!made.is_null()).then_some(made)
        });
        context.context = made.map_err(|why| {
            Error::invalid("llama.cpp makes no room for the model to compute in")
                .file(&model.file)
                .expected(format!("room for {} texts of {} tokens", reading.texts, reading.window))
                .found(why)
        })?;
        // SAFETY: the context is alive.
        if unsafe { (model.library.call.get_memory)(context.context) }.is_null() {
            return Err(Error::unsupported(
                "the model keeps nothing of what it has read, and is not measured",
            )
            .file(&model.file)
            .expected("a model that reads a text from its beginning on")
            .found("one that reads all of it at once (an encoder, a diffusion model)"));
        }
        Ok(context)
    }

    fn params(&self, reading: &Reading) -> Result<ContextParams> {
        let number = |n: usize| {
            u32::try_from(n).ok().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
                Error::usage("this is more than llama.cpp counts").expected("less than 2^31").found(n)
            })
        };
        let threads = number(reading.threads)? as i32;
        let watched = !self.watcher.is_null();
        Ok(ContextParams {
            n_ctx: number(reading.window.saturating_mul(reading.texts))?,
            n_batch: number(reading.batch)?,
            n_seq_max: number(reading.texts)?,
            n_threads: threads,
            n_threads_batch: threads,
            cb_eval: watched.then_some(observe),
            cb_eval_user_data: self.watcher.cast(),
            ..self.model.library.context_defaults()
        })
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        let call = &self.model.library.call;
        // SAFETY: the context is alive, and its memory is a part of it.
        unsafe { (call.memory_clear)((call.get_memory)(self.context), true) }
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// llama.cpp does not compute it, or the watch has refused what it saw.
    pub fn read(&mut self, batch: &Batch) -> Result<()> {
        let n_tokens = i32::try_from(batch.len()).map_err(|_| Error::usage("a batch is too long"))?;
        let one_each = vec![1; batch.len()];
        let texts: Vec<*const i32> = batch.texts.iter().map(std::ptr::from_ref).collect();
        let raw = Raw {
            n_tokens,
            token: batch.tokens.as_ptr(),
            embd: std::ptr::null(),
            pos: batch.places.as_ptr(),
            n_seq_id: one_each.as_ptr(),
            seq_id: texts.as_ptr(),
            logits: batch.wanted.as_ptr(),
        };
        // SAFETY: all lists have `n_tokens` items and live through the call. The watcher, if there is one, is used by
        // llama.cpp alone meanwhile.
        let done =
            logged(|| unsafe { ((self.model.library.call.decode)(self.context, raw) == 0).then_some(()) });
        // SAFETY: the watcher is null or alive, and nobody else uses it now.
        if let Some(e) = unsafe { self.watcher.as_mut() }.and_then(Watcher::failure) {
            return Err(e.file(&self.model.file));
        }
        done.map_err(|why| {
            Error::invalid("llama.cpp does not compute the text").file(&self.model.file).found(why)
        })
    }

    /// The logits after the token of this number in the batch that was read last, one a token of the vocabulary.
    ///
    /// # Errors
    /// They were not wanted, or there is no such token.
    pub fn logits(&self, index: usize) -> Result<&[f32]> {
        let none = || Error::invalid("llama.cpp has no logits here").file(&self.model.file).found(index);
        let i = i32::try_from(index).map_err(|_| none())?;
        let count = self.model.vocabulary_size();
        // SAFETY: the logits of a token are null or one float a token of the vocabulary; they stay until the next batch,
        // which needs `&mut self`.
        logged(|| unsafe {
            let logits = (self.model.library.call.get_logits_ith)(self.context, i);
            (!logits.is_null()).then(|| std::slice::from_raw_parts(logits, count))
        })
        .map_err(|_| none())
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: both are freed once, the context first, which has the watcher.
        unsafe {
            if !self.context.is_null() {
                (self.model.library.call.free)(self.context);
            }
            if !self.watcher.is_null() {
                drop(Box::from_raw(self.watcher));
            }
        }
    }
}
