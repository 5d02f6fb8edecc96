//! An adapter of PEFT as a GGUF that llama.cpp applies at run time: the factors under GGUF's names, moved as the weights
//! that they change. Of the model that it was made for only the config is needed, and the names of its tensors.
//! Specification: `convert_lora_to_gguf.py` of llama.cpp; where its scale would be wrong, ours is right (`scales`).

use super::named::Names;
use super::peft::{Peft, unknown};
use super::rows::{Change, changed};
use crate::arch::factors::{Factors, factors, outlined, transposed};
use crate::arch::{Draft, about};
use crate::ftype::QUANTIZATION_VERSION;
use crate::roles;
use ggraft_formats::{Array, Checkpoint, DType, Error, Metadata, Model, Result, Tensor, Value};
use std::collections::{BTreeMap, HashMap};

/// The checkpoints that a config may be of, of which the adapter's names tell the one.
const DRAFTS: [Draft; 4] = [
    Draft { newest: false, optional: true, prefix: 0 },
    Draft { newest: true, optional: true, prefix: 0 },
    Draft { newest: false, optional: true, prefix: 1 },
    Draft { newest: true, optional: true, prefix: 1 },
];

/// The adapter as a GGUF, its factors in `dtype` where their rows fit it, and what is to be told.
///
/// # Errors
/// It is no adapter of this model, or one that llama.cpp could not apply: all in one error.
pub(super) fn converted(peft: &Peft, base: Checkpoint, dtype: DType) -> Result<(Model, Vec<String>)> {
    let mut notes = peft.notes();
    check(peft)?;
    let (alpha, scales) = scales(peft, &mut notes)?;
    let base = with_names(peft, base)?;
    let names = Names::of(&base.tensors);
    let (mut pairs, mut whole, mut problems) = (HashMap::new(), Vec::new(), Vec::new());
    for (name, module) in &peft.parts.modules {
        let made = names.find(&format!("{name}.weight")).ok_or_else(|| unknown(name)).and_then(|i| {
            let (a, b, _) = module.factors(name)?;
            // An embedding is B·A turned over, and so is a weight that the checkpoint keeps transposed.
            let turned = module.is_embedding || is_turned(&base.tensors[i], a, b, peft.settings.transposed);
            let (a, b) = match turned {
                true => (transposed(b)?, transposed(a)?),
                false => (a.clone(), b.clone()),
            };
            fits(&base.tensors[i], &a, &b)?;
            let b = match scales.get(name).copied() {
                Some(scale) => changed(&b, Change::Times(scale))?,
                None => b,
            };
            Ok((base.tensors[i].name.clone(), Factors { a, b }))
        });
        match made {
            Ok((name, factors)) => _ = pairs.insert(name, factors),
            Err(e) => problems.push(e),
        }
    }
    for (name, tensor) in &peft.parts.whole {
        match names.find(name) {
            Some(i) => whole.push(tensor.clone().renamed(&base.tensors[i].name)),
            None => problems.push(unknown(name)),
        }
    }
    if let Some(e) = Error::all(problems) {
        return Err(e.file(&peft.checkpoint.dir));
    }
    if !whole.is_empty() {
        let names: Vec<&str> = whole.iter().map(|t| t.name.as_str()).collect();
        notes.push(format!(
            "llama.cpp applies no whole tensors of an adapter, only ggraft does: {}",
            names.join(", ")
        ));
    }
    let made = factors(&base, &pairs, &whole).map_err(|e| e.file(&peft.checkpoint.dir))?;
    let mut tensors =
        made.whole.into_iter().map(|t| t.encode(DType::F32, None)).collect::<Result<Vec<_>>>()?;
    for (name, pair) in made.pairs {
        let [a, b] = named(&name, pair)?;
        tensors.extend([stored(a, dtype)?, stored(b, dtype)?]);
    }
    let metadata = metadata(peft, made.architecture, alpha, &mut notes)?;
    let (containers, reads) = (peft.checkpoint.containers.clone(), peft.checkpoint.reads.clone());
    base.reads.all().into_iter().for_each(|stamp| reads.add(stamp));
    Ok((Model { metadata, tensors, containers, reads }, notes))
}

/// Refuses what no factors can say.
fn check(peft: &Peft) -> Result<()> {
    let refused = |what: &str| {
        Err(Error::unsupported(format!("{what}: llama.cpp's adapters cannot say that"))
            .file(&peft.settings.file)
            .hint("merge it: ggraft merge --onto MODEL --adapter DIR"))
    };
    let mut modules = peft.parts.modules.values();
    if peft.settings.dora || modules.clone().any(|m| m.magnitude.is_some()) {
        return refused("the adapter is one of DoRA");
    }
    if modules.any(|m| m.bias.is_some()) {
        return refused("the adapter has biases ('lora_bias')");
    }
    Ok(())
}

/// `adapter.lora.alpha`, and what B must be multiplied with besides, by module. llama.cpp multiplies with alpha by rank,
/// whatever the module is and however it was trained.
fn scales(peft: &Peft, notes: &mut Vec<String>) -> Result<(f64, BTreeMap<String, f64>)> {
    let mut due = BTreeMap::new();
    for (name, module) in &peft.parts.modules {
        let (_, _, rank) = module.factors(name)?;
        due.insert(name.clone(), peft.settings.scale(name, rank)? * rank as f64);
    }
    let common = peft.settings.common_alpha();
    let first = due.values().next().copied().unwrap_or(common);
    let near = |x: f64, y: f64| (x - y).abs() <= y.abs() * 1e-12;
    let alpha = if due.values().all(|x| near(*x, first)) { first } else { common };
    let alpha = if near(alpha, common) { common } else { alpha };
    if alpha == 0.0 {
        return Err(Error::unsupported("'lora_alpha' is 0, which llama.cpp takes for none")
            .file(&peft.settings.file)
            .hint("the adapter changes nothing"));
    }
    if alpha != common {
        notes.push(format!("lora_alpha is {common}; the GGUF says {alpha}, from which llama.cpp computes the scale that PEFT has (use_rslora, alpha_pattern)"));
    }
    due.retain(|_, x| !near(*x, alpha));
    due.values_mut().for_each(|x| *x /= alpha);
    if !due.is_empty() {
        notes.push(format!("B of {} modules is multiplied with what their scale differs by: a GGUF has one alpha (alpha_pattern, use_rslora with rank_pattern)", due.len()));
    }
    Ok((alpha, due))
}

/// `base` with names: of a directory without weights, those that its config asks for.
fn with_names(peft: &Peft, base: Checkpoint) -> Result<Checkpoint> {
    if !base.tensors.is_empty() {
        return Ok(base);
    }
    let parts = &peft.parts;
    let Some(any) = parts.modules.values().find_map(|m| m.a.as_ref()).or(parts.whole.first().map(|(_, t)| t))
    else {
        return Ok(base);
    };
    let mut best: Option<(usize, Vec<Tensor>)> = None;
    for draft in DRAFTS {
        let tensors = outlined(&base, any, draft)?;
        let names = Names::of(&tensors);
        let found =
            parts.modules.keys().filter(|name| names.find(&format!("{name}.weight")).is_some()).count();
        if best.as_ref().is_none_or(|(most, _)| found > *most) {
            best = Some((found, tensors));
        }
    }
    Ok(Checkpoint { tensors: best.map_or(Vec::new(), |(_, tensors)| tensors), ..base })
}

/// Whether B·A is the weight turned over; where both are possible, the config decides.
fn is_turned(weight: &Tensor, a: &Tensor, b: &Tensor, transposed: bool) -> bool {
    let (inner, outer) = (a.shape().row(), b.shape().dim(1));
    if inner == outer { transposed } else { weight.shape().ne() == [outer, inner] }
}

/// Refuses factors of another shape than the weight's.
fn fits(weight: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    let (inner, outer) = (a.shape().row(), b.shape().dim(1));
    if weight.shape().ne() == [inner, outer] {
        return Ok(());
    }
    Err(Error::invalid("the adapter has another shape than the model")
        .tensor(&weight.name)
        .expected(weight.shape())
        .found(format!("[{inner}, {outer}]")))
}

/// The two tensors as a GGUF has them. Rows of the embedding are looked up, and so A holds them, not B.
pub(super) fn named(name: &str, pair: Factors) -> Result<[Tensor; 2]> {
    let (a, b) = if name == roles::EMBEDDING { (pair.b, transposed(&pair.a)?) } else { (pair.a, pair.b) };
    Ok([a.renamed(&format!("{name}.lora_a")), b.renamed(&format!("{name}.lora_b"))])
}

fn stored(tensor: Tensor, dtype: DType) -> Result<Tensor> {
    let fits = tensor.shape().row().is_multiple_of(dtype.block() as u64);
    tensor.encode(if fits { dtype } else { DType::F16 }, None)
}

fn metadata(peft: &Peft, architecture: &str, alpha: f64, notes: &mut Vec<String>) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture);
    metadata.extend(about::adapter(&peft.checkpoint, notes)?);
    metadata.set("adapter.lora.alpha", alpha as f32);
    if let Some(tokens) = &peft.settings.invocation {
        metadata.set("adapter.alora.invocation_tokens", Value::Array(Array::U32(tokens.clone())));
    }
    metadata.set("general.quantization_version", QUANTIZATION_VERSION);
    Ok(metadata)
}
