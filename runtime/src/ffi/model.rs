//! A GGUF that llama.cpp has loaded, and its tokens. Serves `context`, which runs it.

use super::layout::ModelParams;
use super::library::{Library, c_path, logged};
use ggraft_formats::{Error, Result};
use std::ffi::c_void;
use std::path::{Path, PathBuf};

/// A loaded model.
pub struct Model {
    pub(super) library: &'static Library,
    /// Never null; freed with this.
    pub(super) model: *mut c_void,
    /// A part of the model.
    vocabulary: *const c_void,
    pub(super) file: PathBuf,
}

impl Model {
    /// Loads a GGUF, of a split one by its first part, with so many layers on another device than the processor; by
    /// default as many as llama.cpp puts there.
    ///
    /// # Errors
    /// llama.cpp does not load it, or it writes no text.
    pub fn load(library: &'static Library, file: &Path, device_layers: Option<i32>) -> Result<Model> {
        let path = c_path(file)?;
        let defaults = library.model_defaults();
        let params = ModelParams { n_gpu_layers: device_layers.unwrap_or(defaults.n_gpu_layers), ..defaults };
        // SAFETY: the parameters have the layout of this version; the path lives through the call.
        let loaded = logged(|| unsafe {
            let model = (library.call.model_load_from_file)(path.as_ptr(), params);
            (!model.is_null()).then_some(model)
        });
        let refused = |why| Error::invalid("llama.cpp does not load the model").file(file).found(why);
        let model =
            loaded.map_err(|why| refused(why).hint("see `ggraft verify` for whether the file is whole"))?;
        // SAFETY: the model was just loaded.
        let (vocabulary, reads, writes) = unsafe {
            let model = model.cast_const();
            let call = &library.call;
            ((call.model_get_vocab)(model), (call.model_has_encoder)(model), (call.model_has_decoder)(model))
        };
        let model = Model { library, model, vocabulary, file: file.to_path_buf() };
        match writes && !reads {
            true => Ok(model),
            false => Err(Error::unsupported("only models that go on with a text are run")
                .file(file)
                .found("a model with an encoder")),
        }
    }

    /// The file that it was loaded from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How many tokens the vocabulary has.
    pub fn vocabulary_size(&self) -> usize {
        // SAFETY: the vocabulary lives as long as the model.
        usize::try_from(unsafe { (self.library.call.vocab_n_tokens)(self.vocabulary) }).unwrap_or(0)
    }

    /// The token that texts begin with, if the model wants one.
    pub fn start(&self) -> Option<i32> {
        // SAFETY: the vocabulary lives as long as the model.
        unsafe {
            let adds = (self.library.call.vocab_get_add_bos)(self.vocabulary);
            adds.then(|| (self.library.call.vocab_bos)(self.vocabulary))
        }
    }

    /// Whether texts end with a token of their own.
    pub fn ends(&self) -> bool {
        // SAFETY: the vocabulary lives as long as the model.
        unsafe { (self.library.call.vocab_get_add_eos)(self.vocabulary) }
    }

    /// How many tokens the model was trained to read.
    pub fn trained_on(&self) -> usize {
        // SAFETY: the model is loaded.
        usize::try_from(unsafe { (self.library.call.model_n_ctx_train)(self.model) }).unwrap_or(0)
    }

    /// The tokens of `text`, with those that the model wants at its beginning and end; those that `text` spells, such as
    /// `<|im_end|>`, are taken for what they spell if `parse` says so.
    ///
    /// # Errors
    /// The text has more than 2 GiB or as many tokens.
    pub fn tokens(&self, text: &str, parse: bool) -> Result<Vec<i32>> {
        let too_long =
            || Error::usage("llama.cpp takes at most 2 GiB of text").found(format!("{} bytes", text.len()));
        let length = i32::try_from(text.len()).map_err(|_| too_long())?;
        let mut tokens = vec![0; text.len().saturating_add(2)];
        for _ in 0..2 {
            let room = i32::try_from(tokens.len()).map_err(|_| too_long())?;
            // SAFETY: text and room are as long as is told.
            let count = unsafe {
                let text = text.as_ptr().cast();
                (self.library.call.tokenize)(
                    self.vocabulary,
                    text,
                    length,
                    tokens.as_mut_ptr(),
                    room,
                    true,
                    parse,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                tokens.truncate(count);
                return Ok(tokens);
            }
            // The negative of the room that is needed.
            let needed = count.checked_neg().and_then(|n| usize::try_from(n).ok());
            tokens.resize(needed.ok_or_else(too_long)?, 0);
        }
        Err(Error::invalid("llama.cpp cannot tell the tokens of the text").file(&self.file))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the model is freed once; contexts borrow it and are gone.
        unsafe { (self.library.call.model_free)(self.model) }
    }
}
