//! What a page says: an architecture, and the parts that only it has. `NONE` says nothing.

use crate::arch::config::Config;
use crate::arch::dense::Dense;
use crate::arch::keys::{Fixed, Key};
use crate::arch::params::{Axis, Params};
use crate::arch::rule::Rule;
use ggraft_formats::{Checkpoint, DType, Model, Result, Tensor};
use serde_json::Value as Json;

/// What the house knows of one architecture. All but `classes` and `gguf` adds to that of `base`.
pub struct Arch {
    /// What `architectures` in `config.json` calls it.
    pub classes: &'static [&'static str],
    /// Parts of names of a GGUF's tensors, and the class of those above that alone has such ones.
    pub told_by: &'static [(&'static str, &'static str)],
    /// The `tokenizer.ggml.model` of its GGUFs, where that tells which of several pages is meant.
    pub vocabulary: Option<&'static str>,
    /// Keys of the config of a GGUF, in so many layers, that goes back, where neither a key nor a trial tells them.
    pub regains: fn(&Model, u32) -> Vec<(&'static str, Json)>,
    /// Tensors of the checkpoint that a GGUF keeps as keys, under the checkpoint's names.
    pub keeps: fn(&Model) -> Result<Vec<Tensor>>,
    /// `general.architecture` of the GGUF; of a page that no model is of, what it is called.
    pub gguf: &'static str,
    /// Which models of the classes it is for, where pages share them: the first that applies, or says nothing.
    pub applies: Option<fn(&Config) -> Result<bool>>,
    /// The family whose differences these are.
    pub base: Option<&'static Arch>,
    /// The checkpoint with tensors that are computed from several of it, which no rule can say; none if it stays.
    pub prepared: fn(&Params<'_>, &Checkpoint) -> Result<Option<Checkpoint>>,
    /// Ends of the names of pairs of tensors, `…_norm.weight` and `…_proj.weight`, of which a GGUF has the product alone; the
    /// rules call it `….weight`.
    pub products: &'static [&'static str],
    /// Tensors of a text model's GGUF that are computed from several: such a model is neither taken back nor merged.
    pub folded: &'static [&'static str],
    /// A tensor that checkpoints without `config.json` of this page alone hold, and what their tensors tell in its place.
    pub untold: Option<(&'static str, Telling)>,
    /// The folder of a tower that has weights of its own; its name stands in front of theirs. Of what sees or hears alone.
    pub folder: Option<&'static str>,
    /// What the checkpoint puts in front of its names; the first that fits.
    pub prefixes: &'static [&'static str],
    /// In the converter's order; one that the base has too takes its place.
    pub keys: &'static [Key],
    /// Keys that the converter writes together with made tensors, before all others; of what sees, before its other ones.
    pub early: &'static [Key],
    pub axes: &'static [Axis],
    /// Several of one page with the same target are alternatives; those of the base that have it go.
    pub rules: &'static [Rule],
    /// Lists of rules that pages have in common; they count as the page's own.
    pub shares: &'static [&'static [Rule]],
    /// Beginnings of names in the checkpoint (or, after `*`, ends), and what the rules have instead; `{l}` is an index, `{main}` and `{l+main}`
    /// are counted from the end of the layers proper, any other is the axis whose size for `{l}` it is.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The same of names that the trainer's own code has: what goes back is called so again. An index that the rules' name lacks
    /// is the axis of that name.
    pub published: &'static [(&'static str, &'static str)],
    /// Targets and keys of the base that it lacks.
    pub without: &'static [&'static str],
    /// Tensors of checkpoints that a GGUF has no use for; `*` is anything, `{l..}` a layer beyond the last.
    pub ignored: &'static [&'static str],
    /// Whether matrices have the dtype of the checkpoint (bf16, f32) whatever type of floats or of eight bits is asked for, and
    /// packed ones eight bits.
    pub holds: bool,
    /// A part of the names of weights that stay blocks of MXFP4 where a checkpoint of compressed-tensors has them so; others become
    /// floats.
    pub blocks: Option<&'static str>,
    /// The page of its layers that predict further tokens, where these are only ever a file of their own.
    pub predictor: Option<&'static Arch>,
    /// The Python beside the weights by which the trainer writes chats, having no template for them.
    pub writes_chats: Option<&'static str>,
    /// Tensors that are carried as they are, whatever their shape.
    pub carried: &'static [Carried],
    /// Tensors of GGUF's, and others there that are the same again, which no checkpoint holds; each comes before its own.
    pub copies: &'static [(&'static str, &'static str)],
    /// Tensors that no checkpoint holds; they come first.
    pub made: &'static [Made],
    /// Dense modules of sentence-transformers for which GGUF has a place.
    pub dense: &'static [Dense],
    /// Keys of the tokenizer that the converter adds for these classes, after all others.
    pub tokenizer: &'static [TokenizerKey],
    /// The same that the config tells.
    pub late: &'static [Key],
    /// Whether it guesses for another model, whose tokenizer it has.
    pub drafts: Drafts,
    /// What else it may be used for: embeddings, or judging documents.
    pub uses: Uses,
}

/// What the tensors of a checkpoint tell in the place of its `config.json`.
pub type Telling = fn(&Checkpoint) -> Result<Json>;

/// Whether a model guesses for another, and how it writes that model's tokenizer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Drafts {
    No,
    /// As the other model itself.
    AsTarget,
    /// As a llama.
    AsLlama,
}

/// What the models of a class may be used for beside going on with a text. It is decided by files beside the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    Text,
    /// One vector for a whole text, pooled as `modules.json` says.
    Pooled,
    /// That, or a judgement, yes or no.
    Judging,
}

/// A key of the tokenizer that is the same for every model of a family.
pub struct TokenizerKey {
    pub key: &'static str,
    pub value: Fixed,
    /// Whether it is only for tokenizers of SentencePiece.
    pub sentencepiece: bool,
}

/// Tensors that only get another name, of layers that no number of the configuration tells.
pub struct Carried {
    /// How their names begin in the checkpoint, and in GGUF.
    pub from: &'static str,
    pub to: &'static str,
    /// How the names of those that are known end.
    pub ends: &'static [&'static str],
    /// The dtype that they have whatever is asked for.
    pub stored: Option<DType>,
}

impl Carried {
    /// GGUF's name of the checkpoint's tensor `name`, if it is one of them.
    pub fn name(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(self.from)?;
        let known = |end: &&str| match end.starts_with('.') {
            true => rest.strip_suffix(*end).is_some_and(is_numbered),
            false => rest == *end,
        };
        self.ends.iter().any(known).then(|| format!("{}{rest}", self.to))
    }
}

/// Whether `text` is numbers with points between.
fn is_numbered(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// A tensor that follows from the configuration.
pub struct Made {
    pub name: &'static str,
    /// The axis that a row of it is; of one without, all of it is a row.
    pub row: Option<&'static str>,
    pub values: fn(&Params<'_>) -> Result<Option<Vec<f32>>>,
}

/// What a page that says nothing says.
pub const NONE: Arch = Arch {
    classes: &[],
    gguf: "",
    applies: None,
    base: None,
    told_by: &[],
    vocabulary: None,
    regains: |_, _| Vec::new(),
    keeps: |_| Ok(Vec::new()),
    prepared: |_, _| Ok(None),
    products: &[],
    folded: &[],
    untold: None,
    folder: None,
    prefixes: &[],
    keys: &[],
    early: &[],
    axes: &[],
    rules: &[],
    shares: &[],
    renamed: &[],
    published: &[],
    without: &[],
    ignored: &[],
    holds: false,
    blocks: None,
    predictor: None,
    writes_chats: None,
    carried: &[],
    copies: &[],
    made: &[],
    dense: &[],
    tokenizer: &[],
    late: &[],
    drafts: Drafts::No,
    uses: Uses::Text,
};
