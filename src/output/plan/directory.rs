//! Hugging Face directories: the trainer's names, dtypes and files, as the checkpoint of CP had them.

use crate::arrange::Arrange;
use crate::checkpoint::{self, Card, Source};
use crate::ftype;
use crate::merge::{Fate, Verdict};
use crate::output::plan::stored::{How, Stored, fate};
use crate::output::plan::{Content, Fates, Loaded, Plan, Share, idle};
use crate::output::target::Target;
use ggraft_formats::safetensors::Named;
use ggraft_formats::stamp::Reads;
use ggraft_formats::{DType, Error, Model, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The checkpoint that names and files come from, and both models in its dtypes. That of a GGUF is what the GGUF tells.
fn sourced(input: Loaded, onto: &Model) -> Result<(Arc<Source>, Loaded, Cow<'_, Model>)> {
    if let Some(source) = input.source.clone() {
        return Ok((source, input, Cow::Borrowed(onto)));
    }
    let (source, notes) = checkpoint::source(onto)?;
    let model = checkpoint::plain(input.model)?;
    let input = Loaded::new(model, [input.notes, notes].concat(), None);
    Ok((Arc::new(source), input, Cow::Owned(checkpoint::plain(onto.clone())?)))
}

/// The directory of a merged or converted checkpoint.
pub(crate) fn released(
    input: Loaded,
    onto: &Model,
    fates: Option<Fates<'_>>,
    dtype: Option<DType>,
    target: &Target,
    card: Option<Card>,
) -> Result<Plan> {
    if !target.prune.is_empty() || !target.overrides.is_empty() {
        return Err(Error::unsupported("--prune-layers and --override-kv work on GGUF outputs only")
            .hint("leave them out, or choose a GGUF --type"));
    }
    let (source, input, onto) = sourced(input, onto)?;
    let released = source.release(&input.model)?;
    let origins = source.release(&onto)?.tensors;
    let places: HashMap<&str, usize> =
        input.model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let fate = |name: &str| fate(&fates, *places.get(name)?);
    let mut parts = Vec::with_capacity(released.tensors.len());
    for (i, Named { name, tensor }) in released.tensors.into_iter().enumerate() {
        let counts = tensor.dtype().traits().decode.is_none();
        let dtype = if counts { tensor.dtype() } else { dtype.unwrap_or_else(|| source.dtype(&name)) };
        let fate = fate(&tensor.name);
        let origin = origins.get(i).map(|o| &o.tensor).filter(|o| o.name == tensor.name);
        let how = How::plain(dtype, target.measure);
        let (tensor, step) = Stored::new(tensor, origin, fate, how)?.step(Some(&name), None);
        parts.push((Named { name, tensor }, step));
    }
    for Named { name, tensor } in released.alone {
        let float = matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16);
        let dtype = if float { dtype.unwrap_or_else(|| source.dtype(&name)) } else { tensor.dtype() };
        let reason = "the checkpoint alone has it";
        let fate = fates.is_some().then(|| (Verdict { fate: Fate::Kept, reason }, Vec::new()));
        let how = How::plain(dtype, target.measure);
        let (tensor, step) = Stored::new(tensor, None, fate, how)?.step(Some(&name), None);
        parts.push((Named { name, tensor }, step));
    }
    parts.arrange_by(|(a, _), (b, _)| ftype::order(&a.tensor.name).cmp(&ftype::order(&b.tensor.name)));
    let (tensors, steps): (Vec<Named>, Vec<_>) = parts.into_iter().unzip();
    let metadata = input.model.metadata;
    let mut directory = source.directory(tensors, &metadata, dtype, card)?;
    directory.shard = target.division.bytes().unwrap_or(target.shard);
    let said = [target.quantizing(), target.division.not_of_directories()].concat();
    let dropped = released.left.into_iter().map(|name| (name, "follows from the configuration")).collect();
    let content = Content::Directory { metadata, directory };
    Ok(Plan {
        kind: target.kind,
        steps,
        dropped,
        total: 0,
        notes: [input.notes, source.left()?, idle(&said, target.kind.name())].concat(),
        origins: Vec::new(),
        vocabulary: None,
        budget: None,
        passes: 1,
        company: Share::default(),
        reads: Reads::default(),
        content,
    })
}
