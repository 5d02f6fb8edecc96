//! Pairs of tensors of which a GGUF has the product alone: computed row by row before the rules of a page, and what cannot be
//! done with what they, and tables with folded layers (`Arch::folded`), become. A merge would be one of products, which is none
//! of their factors, and a product goes back to no pair. Serves `adopt`, the way back, and merges.
//! Specification: `KimiK3Model._try_fuse_res` of llama.cpp's converter.

use super::computed::{Computation, computed};
use super::families::{ARCHS, Arch};
use ggraft_formats::{Checkpoint, DType, Error, Model, Result, Tensor};
use std::collections::BTreeMap;

/// Rounded once, in f32.
const PRODUCT: Computation =
    Computation { name: "product", formula: |all, round| round(all.iter().product()) };

const NORM: &str = "_norm.weight";
const PROJECTION: &str = "_proj.weight";

/// What stands before the end of a name, if it is one of such a pair.
fn stem<'a>(arch: &Arch, name: &'a str, end: &str) -> Option<&'a str> {
    let stem = name.strip_suffix(end)?;
    arch.products.iter().any(|own| stem.ends_with(own)).then_some(stem)
}

/// `checkpoint` with the products of the pairs that `arch` names, each in the place of the norm; none if there are none.
///
/// # Errors
/// A tensor of a pair is missing, they differ in their length, or their product is there already.
pub fn multiplied(arch: &Arch, checkpoint: &Checkpoint) -> Result<Option<Checkpoint>> {
    if arch.products.is_empty() {
        return Ok(None);
    }
    let of = |tensor: &Tensor| Some((stem(arch, &tensor.name, PROJECTION)?.to_string(), tensor.clone()));
    let mut others: BTreeMap<String, Tensor> = checkpoint.tensors.iter().filter_map(of).collect();
    let damaged = |error: Error| {
        error.file(&checkpoint.dir).hint("the weights are not those that were published: download them again")
    };
    let alone = |name: &str, expected: String| {
        damaged(Error::invalid("the other tensor of a product is missing").tensor(name).expected(expected))
    };
    let mut tensors = Vec::with_capacity(checkpoint.tensors.len());
    for tensor in &checkpoint.tensors {
        if let Some(stem) = stem(arch, &tensor.name, NORM) {
            let missing = || alone(&tensor.name, format!("{stem}{PROJECTION}"));
            let pair = [tensor.clone(), others.remove(stem).ok_or_else(missing)?];
            let plain = pair.into_iter().map(|one| one.trimmed().encode(DType::F32, None));
            let product = computed(&format!("{stem}.weight"), PRODUCT, plain.collect::<Result<_>>()?);
            tensors.push(product.map_err(damaged)?);
        } else if stem(arch, &tensor.name, ".weight").is_some() {
            let error = Error::invalid("a product stands in the place of its pair").tensor(&tensor.name);
            return Err(damaged(error));
        } else if stem(arch, &tensor.name, PROJECTION).is_none() {
            tensors.push(tensor.clone());
        }
    }
    match others.into_iter().next() {
        Some((stem, other)) => Err(alone(&other.name, format!("{stem}{NORM}"))),
        None => Ok(Some(Checkpoint { tensors, ..checkpoint.clone() })),
    }
}

/// What of a page's GGUFs is computed from several tensors of the trainer, and what to call that; nothing of most pages.
fn computed_of(arch: &Arch) -> Option<(&'static str, String)> {
    let named = |all: &[&str]| format!("{} of {}", all.join(", "), arch.gguf);
    match (arch.products, arch.folded) {
        ([], []) => None,
        ([], folded) => Some(("tables with layers folded into them", named(folded))),
        (products, _) => Some(("products of pairs of tensors", named(products))),
    }
}

/// Refuses to take a model back to the names of its trainer, if it has such tensors.
pub fn check_back(arch: &Arch) -> Result<()> {
    let Some((what, which)) = computed_of(arch) else { return Ok(()) };
    let error =
        Error::unsupported(format!("a GGUF has {what}, and what they are made of cannot be told from them"));
    let error = error.expected("the tensors of a checkpoint").found(which);
    Err(error.hint("choose a GGUF --type, of the checkpoint itself"))
}

/// Refuses to merge a model that has such tensors.
pub fn check_merge(model: &Model) -> Result<()> {
    let gguf = model.architecture().unwrap_or_default();
    let found = ARCHS.iter().filter(|arch| arch.gguf == gguf).find_map(computed_of);
    let Some((what, which)) = found else { return Ok(()) };
    let error = Error::unsupported(format!("a merge of this architecture would be one of {what}"));
    let error = error.expected("an architecture whose GGUFs have the trainer's tensors").found(which);
    Err(error.hint("merge the checkpoints with another tool, and convert the result"))
}

#[cfg(test)]
mod tests {
    use super::super::families::NONE;
    use super::*;
    use ggraft_formats::Shape;

    const PAIRED: Arch = Arch { products: &["mlp_res"], ..NONE };

    fn of(name: &str, ne: &[u64], values: &[f32]) -> Tensor {
        Tensor::in_memory(name, Shape::new(ne).unwrap(), values).unwrap()
    }

    #[test]
    fn a_pair_becomes_its_product_and_all_else_stays() {
        let tensors = vec![
            of("a.mlp_res_proj.weight", &[2, 1], &[3.0, 5.0]),
            of("norm.weight", &[2], &[1.0, 1.0]),
            of("a.mlp_res_norm.weight", &[2], &[7.0, 0.5]),
        ];
        let all = multiplied(&PAIRED, &Checkpoint { tensors, ..Checkpoint::default() }).unwrap().unwrap();
        let names: Vec<&str> = all.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["norm.weight", "a.mlp_res.weight"]);
        let mut values = [0.0; 2];
        all.tensors[1].decode_rows(0..1, &mut values).unwrap();
        assert_eq!(values, [21.0, 2.5]);
        assert!(multiplied(&NONE, &Checkpoint::default()).unwrap().is_none());
    }

    fn refusal(tensors: Vec<Tensor>) -> String {
        let dir = std::path::PathBuf::from("model");
        let checkpoint = Checkpoint { tensors, dir, ..Checkpoint::default() };
        multiplied(&PAIRED, &checkpoint).unwrap_err().to_string()
    }

    #[test]
    fn half_of_a_pair_is_refused() {
        for name in ["a.mlp_res_proj.weight", "a.mlp_res_norm.weight"] {
            let error = refusal(vec![of(name, &[2], &[1.0, 2.0])]);
            assert!(error.contains("the other tensor of a product is missing"), "{error}");
        }
    }

    #[test]
    fn a_pair_of_two_shapes_is_refused_by_its_file_and_so_is_a_product_beside_it() {
        let (norm, projection) = ("a.mlp_res_norm.weight", "a.mlp_res_proj.weight");
        let error = refusal(vec![of(norm, &[2], &[1.0; 2]), of(projection, &[2, 2], &[1.0; 4])]);
        assert!(error.starts_with("model: tensor 'a.mlp_res_proj.weight': "), "{error}");
        assert!(error.contains("expected [2]") && error.contains("download them again"), "{error}");
        let all = [norm, projection, "a.mlp_res.weight"];
        let error = refusal(all.map(|name| of(name, &[2], &[1.0; 2])).to_vec());
        assert!(error.contains("a product stands in the place of its pair"), "{error}");
    }
}
