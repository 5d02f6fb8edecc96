//! Gates and ups of experts as one tensor a layer, the gates of an expert before its ups; and apart again.
//! Specification: `ModelBase.modify_tensors` of llama.cpp's converter; `create_tensor_gate_up_exps` of llama.cpp.

use super::{alike, store_as, takes};
use crate::arch::axes::{Axes, Stacks};
use crate::arch::families::{ARCHS, Family};
use crate::arch::moved::moved;
use ggraft_formats::{DType, Error, Model, Result, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The architectures for which llama.cpp's converter has such a tensor and its graph takes it.
pub(super) const FUSED: [&str; 8] = [
    "cohere2moe",
    "deepseek2-ocr",
    "gemma4",
    "granite_swa",
    "mistral4",
    "qwen35moe",
    "qwen3next",
    "qwen4exp",
];

const GATES: &str = ".ffn_gate_exps.weight";
const UPS: &str = ".ffn_up_exps.weight";
const BOTH: &str = ".ffn_gate_up_exps.weight";

/// Whether a tensor of a GGUF is of this name.
fn is_both(name: &str) -> bool {
    name.ends_with(BOTH)
}

/// `tensors` with the gates and ups of each layer as one, in the place of the gates.
///
/// # Errors
/// The runtime takes them apart alone, or those of a layer do not fit each other.
pub fn experts(
    gguf: &str,
    tensors: Vec<Tensor>,
    stored: &mut Vec<(String, DType)>,
    told: &mut Vec<String>,
) -> Result<Vec<Tensor>> {
    let what = "llama.cpp takes gates and ups of this architecture's experts apart alone";
    takes(gguf, &FUSED, what, "--fuse-gate-up-exps")?;
    let layer = |tensor: &Tensor, end: &str| tensor.name.strip_suffix(end).map(String::from);
    let ups = tensors.iter().filter_map(|tensor| Some((layer(tensor, UPS)?, tensor.clone())));
    let mut ups: BTreeMap<String, Tensor> = ups.collect();
    if ups.is_empty() {
        told.push(String::from(
            "--fuse-gate-up-exps changes nothing: no layer has gates and ups of experts apart",
        ));
        return Ok(tensors);
    }
    // What stays NVFP4 has a scale of each part, and the converter leaves it apart.
    let own = ups.len();
    ups.retain(|_, up| up.fours().is_none());
    if ups.len() < own {
        told.push(format!(
            "--fuse-gate-up-exps leaves {} layers as they are, whose experts are NVFP4",
            own - ups.len()
        ));
    }
    let mut all = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        match (layer(&tensor, GATES).and_then(|of| Some((ups.remove(&of)?, of))), layer(&tensor, UPS)) {
            (Some((up, of)), _) => {
                let name = format!("{of}{BOTH}");
                store_as(&name, &[tensor.name.clone(), up.name.clone()], stored);
                all.push(joined(&name, tensor, up)?);
            }
            (None, Some(_)) if tensor.fours().is_none() => {}
            (None, _) => all.push(tensor),
        }
    }
    // Ups without gates have no other part.
    match ups.into_values().next() {
        Some(up) => Err(Error::invalid("there are ups of experts without gates")
            .tensor(&up.name)
            .hint("leave --fuse-gate-up-exps out")),
        None => Ok(all),
    }
}

/// Whether pages of this architecture know such a tensor, which its checkpoints may hold themselves.
fn is_known(gguf: &str) -> bool {
    ARCHS
        .iter()
        .filter(|arch| arch.gguf == gguf)
        .any(|arch| Family::of(arch).rules.iter().any(|rule| rule.to.iter().any(|to| is_both(to))))
}

/// `model` with the gates and ups of experts apart, unless its pages know them as one.
///
/// # Errors
/// A tensor that should hold both has no two halves.
pub fn apart(model: Model) -> Result<Model> {
    let one = |tensor: Tensor| if is_both(&tensor.name) { halves(tensor) } else { Ok(vec![tensor]) };
    if is_known(model.architecture().unwrap_or_default()) {
        return Ok(model);
    }
    let tensors = model.tensors.into_iter().map(one).collect::<Result<Vec<_>>>()?.concat();
    Ok(Model { tensors, ..model })
}

/// `model` with gates and ups as `other` has those of the same layer: as one, or apart.
///
/// # Errors
/// Those of a layer do not fit each other.
pub fn as_in(model: &Model, other: &Model) -> Result<Option<Model>> {
    let theirs: HashSet<&str> = other.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let held: HashMap<&str, &Tensor> = model.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let (mut tensors, mut changed) = (Vec::with_capacity(model.tensors.len()), false);
    for tensor in &model.tensors {
        let layer = |end: &str| tensor.name.strip_suffix(end);
        let one = |of: &str| theirs.contains(format!("{of}{BOTH}").as_str());
        let two = |of: &str| theirs.contains(format!("{of}{GATES}").as_str());
        match (layer(BOTH), layer(GATES), layer(UPS)) {
            (Some(of), _, _) if two(of) => tensors.extend(halves(tensor.clone())?),
            (_, Some(of), _) if one(of) => match held.get(format!("{of}{UPS}").as_str()) {
                Some(ups) => tensors.push(joined(&format!("{of}{BOTH}"), tensor.clone(), (*ups).clone())?),
                None => tensors.push(tensor.clone()),
            },
            (_, _, Some(of)) if one(of) && held.contains_key(format!("{of}{GATES}").as_str()) => {}
            _ => {
                tensors.push(tensor.clone());
                continue;
            }
        }
        changed = true;
    }
    Ok(changed.then(|| Model { tensors, ..model.clone() }))
}

/// Gates and ups of a tensor that holds both.
fn halves(both: Tensor) -> Result<Vec<Tensor>> {
    let of = both.name.strip_suffix(BOTH).unwrap_or(&both.name).to_string();
    let [n, rows, e] = *both.shape().ne() else { return Err(uneven(&both)) };
    if rows % 2 != 0 {
        return Err(uneven(&both));
    }
    let sizes = [("n", n), ("ff", rows / 2), ("e", e)].into_iter().collect();
    let wrong = |what: String| Error::invalid(what).tensor(&both.name);
    let axes = Axes::parse("e [ff|ff] n -> e ff n ; e ff n").map_err(wrong)?;
    let part = |(at, end): (usize, &str)| {
        let pieces = axes.forth(&sizes, Stacks { from: &[], to: &[] }, at).map_err(wrong)?;
        moved(&format!("{of}{end}"), &[e, rows / 2, n], vec![both.clone()], &pieces)
    };
    [GATES, UPS].into_iter().enumerate().map(part).collect()
}

fn uneven(both: &Tensor) -> Error {
    let error = Error::invalid("these are no gates and ups of experts").tensor(&both.name);
    error.expected("three axes, and as many gates as ups").found(both.shape())
}

/// Gates and ups, `[experts, rows, columns]` each, as `[experts, 2 * rows, columns]`. Floats of two dtypes are all f32.
fn joined(name: &str, gates: Tensor, ups: Tensor) -> Result<Tensor> {
    let [n, ff, e] = *gates.shape().ne() else {
        return Err(Error::invalid("these are no gates of experts")
            .tensor(&gates.name)
            .expected("three axes")
            .found(gates.shape())
            .hint("leave --fuse-gate-up-exps out"));
    };
    if ups.shape() != gates.shape() {
        return Err(Error::invalid("gates and ups of experts differ in their shapes")
            .tensor(&ups.name)
            .expected(gates.shape())
            .found(ups.shape())
            .hint("leave --fuse-gate-up-exps out"));
    }
    let sizes = [("n", n), ("ff", ff), ("e", e)].into_iter().collect();
    let wrong = |what: String| Error::invalid(what).tensor(name);
    let axes = Axes::parse("e ff n ; e ff n -> e [ff|ff] n").map_err(wrong)?;
    let pieces = axes.forth(&sizes, Stacks { from: &[], to: &[] }, 0).map_err(wrong)?;
    moved(name, &[e, ff.saturating_mul(2), n], alike(vec![gates, ups])?, &pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    fn tensor(name: &str, first: u8) -> Tensor {
        let values: Vec<f32> = (0..12).map(|i| f32::from(first) + i as f32).collect();
        Tensor::in_memory(name, Shape::new(&[3, 2, 2]).unwrap(), &values).unwrap()
    }

    #[test]
    fn the_gates_of_an_expert_come_before_its_ups() {
        let [gates, ups] = ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"];
        let mut stored = vec![(gates.to_string(), DType::Q8_0), (ups.to_string(), DType::Q8_0)];
        let all = vec![tensor(ups, 100), tensor("output.weight", 0), tensor(gates, 0)];
        let fused = experts("qwen3next", all, &mut stored, &mut Vec::new()).unwrap();
        let names: Vec<&str> = fused.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["output.weight", "blk.0.ffn_gate_up_exps.weight"]);
        assert_eq!(stored[0].0, names[1]);
        let mut rows = vec![0.0; 24];
        fused[1].decode_rows(0..8, &mut rows).unwrap();
        let firsts: Vec<f32> = rows.iter().step_by(3).copied().collect();
        assert_eq!(firsts, [0.0, 3.0, 100.0, 103.0, 6.0, 9.0, 106.0, 109.0]);
        assert_eq!(fused[1].shape().ne(), [3, 4, 2]);
        // Back again, as the other model has them.
        let model = |tensors| Model { tensors, ..Model::default() };
        let (one, two) = (model(fused), model(vec![tensor(ups, 100), tensor(gates, 0)]));
        let apart = as_in(&one, &two).unwrap().unwrap();
        let names: Vec<&str> = apart.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["output.weight", gates, ups]);
        let mut half = vec![0.0; 12];
        apart.tensors[2].decode_rows(0..4, &mut half).unwrap();
        assert_eq!(half, (100..112).map(|i| i as f32).collect::<Vec<_>>());
        let again = as_in(&two, &one).unwrap().unwrap();
        let mut whole = vec![0.0; 24];
        again.tensors[0].decode_rows(0..8, &mut whole).unwrap();
        assert_eq!((again.tensors.len(), whole), (1, rows));
        assert!(as_in(&one, &one).unwrap().is_none());
    }

    #[test]
    fn floats_of_two_dtypes_become_one_and_what_is_stored_of_half_is_not_of_all() {
        let [gates, ups] = ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"];
        let half = tensor(ups, 100).encode(DType::F16, None).unwrap();
        let mut stored = vec![(gates.to_string(), DType::Q8_0), (String::from("other"), DType::Q8_0)];
        let fused = experts("gemma4", vec![tensor(gates, 0), half], &mut stored, &mut Vec::new()).unwrap();
        assert_eq!(fused[0].dtype(), DType::F32);
        let mut rows = vec![0.0; 24];
        fused[0].decode_rows(0..8, &mut rows).unwrap();
        assert_eq!(rows[..12], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 101.0, 102.0, 103.0, 104.0, 105.0]);
        assert_eq!(stored, [(String::from("other"), DType::Q8_0)]);
    }

    #[test]
    fn what_the_runtime_does_not_take_is_refused_and_what_changes_nothing_told() {
        let mut told = Vec::new();
        assert!(experts("llama", Vec::new(), &mut Vec::new(), &mut told).is_err());
        assert_eq!(
            experts("gemma4", vec![tensor("output.weight", 0)], &mut Vec::new(), &mut told).unwrap().len(),
            1
        );
        assert_eq!(told.len(), 1);
        let ups = vec![tensor("blk.0.ffn_up_exps.weight", 0)];
        assert!(experts("gemma4", ups, &mut Vec::new(), &mut told).is_err());
    }
}
