//! GGUF outputs: the dtypes that a mixture or a budget gives, the order, the parts, what is written into the
//! metadata. Specification: llama-quantize.

use crate::arch::{headless, windowless};
use crate::arrange::Arrange;
use crate::budget::{self, Account, Budget, Known};
use crate::device::{self, Weight};
use crate::estimate;
use crate::ftype::{self, Assignment, Ftype, Importance, Reason};
use crate::output::plan::fours;
use crate::output::plan::searched::{self, Searched};
use crate::output::plan::stored::{How, Stored, fate};
use crate::output::plan::unheeded::unheeded;
use crate::output::plan::{Content, Fates, Loaded, Plan, Share, Step, idle};
use crate::output::split::Division;
use crate::output::target::{Target, Type};
use crate::unpack::unscaled;
use ggraft_formats::gguf::{self, Split};
use ggraft_formats::quant::Search;
use ggraft_formats::stamp::Reads;
use ggraft_formats::{DType, Error, Metadata, Model, Result, Tensor};
use std::path::Path;
use std::sync::OnceLock;

/// A GGUF file; which mixture stands for it is open only if there is a budget.
pub(crate) fn quantized(
    input: Loaded,
    onto: &Model,
    fates: Option<Fates<'_>>,
    named: Option<&'static Ftype>,
    target: &Target,
) -> Result<Plan> {
    if let Some(Budget::Device(profile, _)) = target.budget {
        profile.check_parts(target.division != Division::Whole)?;
    }
    let mut model = input.model;
    let is_gguf = input.source.is_none();
    // Blocks that a converter would write are blocks of another mixture only if that is asked for.
    let converts = named.is_some_and(Ftype::is_converted);
    let stored = input.source.iter().flat_map(|source| &source.stored);
    let pinned: Vec<&(String, DType)> =
        stored.filter(|(_, dtype)| converts || !dtype.is_quantized()).collect();
    let own = fours::of(&model.tensors, fates.is_some());
    if !is_gguf {
        // A checkpoint is quantized as if its F32 conversion were: so every route to a type gives the same bytes.
        let plain = |t: Tensor| {
            let counts = t.dtype().traits().decode.is_none();
            let wanted =
                pinned.iter().find(|(name, _)| *name == t.name).map_or(DType::F32, |(_, dtype)| *dtype);
            match counts || t.dtype().is_quantized() || t.dtype() == wanted {
                true => Ok(t),
                false => t.encode(DType::F32, None)?.encode(wanted, None),
            }
        };
        model.tensors = model.tensors.into_iter().map(plain).collect::<Result<_>>()?;
    }
    // The hyperparameters are those that the output will have.
    target.overrides.iter().for_each(|(key, value)| model.metadata.set(key, value.clone()));
    let mut facts = ftype::Facts::of(&model)?;
    // The mixtures go by the layers that there were, as in llama-quantize.
    facts.is_trained = !is_gguf;
    facts.pinned = pinned.iter().map(|(name, _)| name.as_str()).collect();
    facts.n_layer = facts.n_layer.saturating_add(target.prune.len());
    let estimated = estimated(&model, &input.estimated, target)?;
    let importance = estimated.as_ref().or(target.importance.as_ref());
    let source = is_gguf.then_some(onto);
    let known = (importance, &*input.measured);
    let (ftype, mut assignments, account) = assigned(&model, &facts, source, named, target, known)?;
    let keeps_blocks = !is_gguf && keep_blocks(&model, &mut assignments);
    let mut tensors = model.tensors.clone();
    let is_plain = converts && target.budget.is_none();
    let kept = fours::keep(own, (facts.architecture, &mut tensors), &mut assignments, is_plain)?;
    let chosen = assignments.iter().filter(|given| !matches!(given.reason, Reason::Kept(_))).count();
    let search = target.options.search;
    let ftype::Weighed { weights, notes } = ftype::weigh(&tensors, &assignments, importance, search)?;
    let (scales, unscaled) = ftype::scales(&facts, ftype, &assignments);
    let is_guided = weights.iter().any(Option::is_some);
    let searched = Searched::of((&tensors, &assignments), &weights, search, ftype);
    let unheeded = unheeded(&facts, &assignments, &target.options, ftype)?;
    // What was estimated and not used is not claimed.
    let unused = estimated.is_some() && !is_guided;
    let importance = importance.filter(|_| !unused);
    let idle = if unused { idle(&["--importance"], ftype.name) } else { Vec::new() };
    let notes = [
        input.notes,
        target.prune.note().into_iter().collect(),
        windowless::told(&model.metadata).into_iter().chain(headless::told(&model)).collect(),
        unheeded,
        notes,
        idle,
        searched.notes.clone(),
        unscaled.into_iter().collect(),
        kept.told(facts.architecture),
    ]
    .concat();
    let mut parts = Vec::with_capacity(model.tensors.len());
    // The converter keeps dimensions of one that come last, llama-quantize does not.
    let converts = ftype.is_converted();
    let trimmed = |t: Tensor| if converts && !is_gguf { t } else { t.trimmed() };
    model.tensors.clear();
    let tensors = tensors.into_iter().map(trimmed);
    for (i, (((tensor, given), weights), scale)) in
        tensors.zip(assignments).zip(weights).zip(scales).enumerate()
    {
        if !target.allow_requantize && tensor.dtype().is_quantized() && given.dtype != tensor.dtype() {
            requantizing(&tensor.name, tensor.dtype(), given.dtype)?;
        }
        if tensor.name == "output.weight" && tensor.dtype() == DType::NVFP4 && given.dtype != DType::NVFP4 {
            fours::check_output(&onto.tensors, given.dtype)?;
        }
        let (onto, scale) = match kept.has(i) {
            true => (None, None),
            false => (onto.tensors.get(i), scale),
        };
        if let Some(scale) = scale {
            if target.division == Division::Kept {
                return Err(Error::unsupported(
                    "scales stand beside NVFP4, so the parts cannot be those that there were",
                )
                .tensor(&tensor.name)
                .hint("give --split-max-size in the place of --keep-split"));
            }
            parts.push(as_it_is(scale.tensor(&tensor.name)?)?);
        }
        let how = How {
            dtype: given.dtype,
            search: ftype::search_of(search, is_guided, weights.is_some()),
            importance: weights,
            levels: target.options.version.levels(),
            measure: target.measure,
            scale,
        };
        let stored = Stored::new(tensor, onto, fate(&fates, i), how)?;
        parts.push(stored.step(None, given.fallback));
    }
    let has_fours = kept.add_beside(&mut parts, &mut model.metadata)?;
    let split = divided(&mut parts, is_gguf.then_some(onto), target)?;
    let mut notes = notes;
    if let Some(Budget::Device(profile, context)) = target.budget {
        let steps = parts.iter().map(|(_, step)| step);
        let weights: Vec<Weight<'_>> =
            steps.map(|step| Weight { name: &step.name, dtype: step.to, bytes: step.bytes }).collect();
        let context = device::context(&model.metadata, context);
        notes.extend(profile.told(&model.metadata, context, &weights, split.is_some())?);
    }
    // A file of plain floats whose experts are in blocks goes by those, and one of whose matrices none was the mixture's choice.
    // Of eight bits beside them that is the very mixture; the converter calls it so where matrices were packed too.
    let blocks = ftype::FTYPES.iter().find(|f| f.default == DType::MXFP4);
    let is_packed = input.source.is_some_and(|source| !source.checkpoint.packed.is_empty());
    let goes_by_blocks = chosen == 0 || !ftype.default.is_quantized() || ftype.is_converted() && is_packed;
    let fours = ftype::FTYPES.iter().find(|f| f.default == DType::NVFP4);
    let fours = fours.filter(|_| has_fours && !ftype.default.is_quantized());
    let blocks = blocks.filter(|_| keeps_blocks && goes_by_blocks);
    stamp(&mut model.metadata, fours.or(blocks).or(Some(ftype)), target, importance);
    searched.stamp(&mut model.metadata);
    Ok(Plan { budget: account, ..made(Type::Gguf(ftype), model, parts, split, notes) })
}

/// What the weights tell of their importance, if that is asked for: once for all outputs of one model.
fn estimated(model: &Model, known: &OnceLock<Importance>, target: &Target) -> Result<Option<Importance>> {
    if !target.estimates {
        return Ok(None);
    }
    if let Some(known) = known.get() {
        return Ok(Some(known.clone()));
    }
    let meant = unscaled(model.clone())?;
    let found = Importance::estimated(estimate::of_weights(&meant, &*target.stages)?);
    Ok(Some(known.get_or_init(|| found).clone()))
}

/// Leaves the blocks that a trainer has published as they are wherever another dtype would not be smaller, and tells whether some
/// are MXFP4.
fn keep_blocks(model: &Model, assignments: &mut [Assignment]) -> bool {
    let mut any = false;
    for (tensor, given) in model.tensors.iter().zip(assignments).filter(|(t, _)| t.dtype().is_quantized()) {
        let bytes = |dtype: DType| dtype.row_bytes(tensor.shape().row());
        if bytes(given.dtype) >= bytes(tensor.dtype()) {
            let reason = Reason::Kept("published in these blocks");
            *given = Assignment { dtype: tensor.dtype(), fallback: None, reason, needs_imatrix: false };
            any |= tensor.dtype() == DType::MXFP4;
        }
    }
    any
}

/// A GGUF file with the tensors of another.
pub(crate) fn copied(input: Loaded, merges: bool, target: &Target) -> Result<Plan> {
    if merges || input.source.is_some() {
        return Err(Error::usage("COPY copies the tensors of a GGUF as they are")
            .hint("choose the type that the output shall have, such as F16 or Q4_K_M"));
    }
    let mut model = input.model;
    let headless = headless::told(&model);
    let tensors = std::mem::take(&mut model.tensors).into_iter();
    let mut parts = tensors.map(|t| as_it_is(t.trimmed())).collect::<Result<Vec<_>>>()?;
    let split = divided(&mut parts, Some(&model), target)?;
    stamp(&mut model.metadata, None, target, target.importance.as_ref());
    let notes =
        [input.notes, target.prune.note().into_iter().collect(), idle(&target.quantizing(), "COPY")].concat();
    let notes = notes.into_iter().chain(windowless::told(&model.metadata)).chain(headless).collect();
    Ok(made(Type::Copy, model, parts, split, notes))
}

/// The same model in other files, called a `kind`.
pub(crate) fn rearranged(mut model: Model, kind: Type, split: Option<Split>) -> Result<Plan> {
    gguf::unsplit(&mut model.metadata);
    let tensors = std::mem::take(&mut model.tensors).into_iter();
    let parts = tensors.map(as_it_is).collect::<Result<Vec<_>>>()?;
    Ok(made(kind, model, parts, split, Vec::new()))
}

/// A GGUF of these tensors.
pub(super) fn made(
    kind: Type,
    model: Model,
    parts: Vec<(Tensor, Step)>,
    split: Option<Split>,
    notes: Vec<String>,
) -> Plan {
    let (tensors, steps) = parts.into_iter().unzip();
    let content = Content::Gguf { model: Model { tensors, ..model }, split };
    let (dropped, origins) = (Vec::new(), Vec::new());
    let (vocabulary, budget, reads, company) = (None, None, Reads::default(), Share::default());
    Plan {
        kind,
        steps,
        dropped,
        total: 0,
        notes,
        origins,
        vocabulary,
        budget,
        passes: 1,
        company,
        reads,
        content,
    }
}

/// A tensor that is copied.
pub(super) fn as_it_is(tensor: Tensor) -> Result<(Tensor, Step)> {
    let dtype = tensor.dtype();
    Ok(Stored::new(tensor, None, None, How::plain(dtype, false))?.step(None, None))
}

/// Puts the tensors in their final order, that of llama-quantize unless the parts of `source` are kept, and says where they
/// are split.
pub(super) fn divided(
    parts: &mut [(Tensor, Step)],
    source: Option<&Model>,
    target: &Target,
) -> Result<Option<Split>> {
    if target.division != Division::Kept {
        parts.arrange_by(|(a, _), (b, _)| ftype::order(&a.name).cmp(&ftype::order(&b.name)));
    }
    target.division.split(source, parts.iter().map(|(t, _)| t.name.as_str()), &target.prune)
}

/// The dtypes, by the mixture or by the budget; with the ftype that the file goes by.
fn assigned(
    model: &Model,
    facts: &ftype::Facts,
    source: Option<&Model>,
    named: Option<&'static Ftype>,
    target: &Target,
    (importance, measured): (Option<&Importance>, &Known),
) -> Result<(&'static Ftype, Vec<Assignment>, Option<Account>)> {
    let ftype = match (&target.budget, named) {
        (None, Some(ftype)) => ftype,
        (None, None) => return Err(Error::usage("neither a type nor a budget is given")),
        (Some(budget), named) => {
            let terms = budget::Terms {
                only: None,
                options: &target.options,
                importance,
                known: measured,
                allow_requantize: target.allow_requantize,
                ftype: named,
                overhead: overhead(model, source, target, importance)?,
                stages: &*target.stages,
            };
            let bought = budget::choose(model, facts, budget, &terms)?;
            return Ok((bought.ftype, bought.assignments, Some(bought.account)));
        }
    };
    Ok((ftype, ftype::assign(facts, ftype, &target.options)?, None))
}

/// Bytes of the output beside its tensors and their padding, whatever their dtypes; of one that is split, as many as
/// its parts would be in the dtypes that the tensors have.
fn overhead(
    model: &Model,
    source: Option<&Model>,
    target: &Target,
    importance: Option<&Importance>,
) -> Result<u64> {
    let mut model = model.clone();
    stamp(&mut model.metadata, Some(&ftype::FTYPES[0]), target, importance);
    if target.options.search == Search::Fine {
        searched::tell(&mut model.metadata);
    }
    let mut parts = model.tensors.drain(..).map(as_it_is).collect::<Result<Vec<_>>>()?;
    let split = divided(&mut parts, source, target)?;
    let plan = made(Type::Auto, model, parts, split, Vec::new());
    let alignment = gguf::alignment(plan.metadata())?;
    let weights: u64 = plan.steps.iter().map(|s| s.bytes.next_multiple_of(alignment)).sum();
    Ok(plan.layout(Path::new(""))?.total().saturating_sub(weights))
}

/// Writes what was done into the metadata, in the order of llama-quantize.
pub(super) fn stamp(
    metadata: &mut Metadata,
    ftype: Option<&Ftype>,
    target: &Target,
    importance: Option<&Importance>,
) {
    ftype::stamp(metadata, ftype);
    for (key, value) in &target.overrides {
        metadata.set_last(key, value.clone());
    }
    if let Some(importance) = importance {
        importance.stamp(metadata);
    }
    if !target.prune.is_empty() {
        let key = format!("{}.block_count", metadata.str("general.architecture").unwrap_or_default());
        if let Some(count) = metadata.remove(&key) {
            metadata.set_last(&key, count);
        }
    }
}

/// Quantizing what is quantized already adds its error to the old one; going to plain floats adds none.
fn requantizing(name: &str, from: DType, to: DType) -> Result<()> {
    if !to.is_quantized() {
        return Ok(());
    }
    Err(Error::invalid(format!("the tensor is quantized already: {from} would be requantized to {to}"))
        .tensor(name)
        .hint("start from the F16, BF16 or F32 model, or give --allow-requantize and accept the loss"))
}
