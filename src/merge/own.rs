//! What a vector is told for itself: how much of it each tensor gets, beside the rules for all vectors, and how it is
//! thinned out. Each is a list of rules over tensors' names, as `weights` reads them.

use super::method::{Method, Params};
use super::parts::Factors;
use super::weights::{self, Names, Rules};
use ggraft_formats::{Error, Result};

/// What one vector is told.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// What its weight is multiplied with, tensor by tensor.
    pub weights: Rules,
    /// Its parameters by their names.
    params: Vec<(String, Rules)>,
}

impl Own {
    /// The parameters that a vector may have for itself.
    pub const PARAMS: [&str; 3] = ["density", "gamma", "epsilon"];

    /// Reads the rules of each parameter; a tensor that none of them matches has the vectors' common value of `params`.
    ///
    /// # Errors
    /// Usage, where the method takes no such parameter of one vector.
    pub fn new<'a>(
        method: &Method,
        params: &Params,
        weights: Rules,
        own: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    ) -> Result<Own> {
        let read = |(name, rules): (&str, Vec<&str>)| {
            let takes: Vec<&str> =
                method.params.iter().map(|p| p.name).filter(|p| Own::PARAMS.contains(p)).collect();
            if !takes.contains(&name) {
                let expected =
                    if takes.is_empty() { String::from("no parameters") } else { takes.join(", ") };
                return Err(Error::usage(format!(
                    "a vector of the method {} has no such parameter of its own",
                    method.name
                ))
                .expected(expected)
                .found(name));
            }
            let common = format!("*={}", params.thinning().get(name));
            let rules = Rules::parse([], [common.as_str()].into_iter().chain(rules))?;
            Ok((name.to_string(), rules))
        };
        Ok(Own { weights, params: own.into_iter().map(read).collect::<Result<_>>()? })
    }

    /// Whether the vector is thinned out in its own way.
    pub(super) fn thins(&self) -> bool {
        !self.params.is_empty()
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.params.is_empty()
    }

    /// What was typed: the rules of the weights, and those of each parameter.
    pub(super) fn texts(&self) -> (Vec<&str>, Vec<(&str, Vec<&str>)>) {
        let params = self.params.iter().map(|(name, rules)| (name.as_str(), rules.texts()[1..].to_vec()));
        (self.weights.texts(), params.collect())
    }
}

/// What one tensor gets of the vectors.
#[derive(Clone)]
pub(super) struct Share {
    /// What each vector's weight is multiplied with; empty, where none has rules of its own.
    pub factors: Vec<Factors>,
    pub params: Params,
}

impl Share {
    /// Whether no vector has any weight here.
    pub fn is_nothing(&self) -> bool {
        !self.factors.is_empty() && self.factors.iter().all(|f| f.same() == Some(0.0))
    }
}

/// What each tensor gets of so many vectors, and a sentence for each thing that a vector is told.
///
/// # Errors
/// A rule that matches nothing, a value that is out of the parameter's range, parameters that do not go together.
pub(super) fn spread(
    own: &[Own],
    (method, params): (&Method, &Params),
    names: &Names,
    vectors: usize,
) -> Result<(Vec<Share>, Vec<String>)> {
    let common = Share { factors: Vec::new(), params: params.clone() };
    let mut shares = vec![common; names.len()];
    let mut notes = Vec::new();
    if own.iter().all(Own::is_empty) {
        return Ok((shares, notes));
    }
    let silent = Own::default();
    for v in 0..vectors {
        let told = own.get(v).unwrap_or(&silent);
        let factors = told.weights.spread(names)?;
        let whose = format!("the rules of vector {} multiply its weight by", v + 1);
        notes.extend(weights::summary(&told.weights, &factors).map(|told| format!("{whose} {told}")));
        let rules = [&told.weights].into_iter().chain(told.params.iter().map(|(_, rules)| rules));
        notes.extend(rules.flat_map(|rules| rules.without_effect(names)));
        let mut each = vec![Params { own: Vec::new(), ..params.clone() }; names.len()];
        for (name, rules) in &told.params {
            let values = rules.spread(names)?;
            notes.extend(
                weights::summary(rules, &values).map(|told| format!("{name} of vector {}: {told}", v + 1)),
            );
            for (i, (params, value)) in each.iter_mut().zip(&values).enumerate() {
                set(method, params, name, value).map_err(|e| e.tensor(names.name(i)))?;
            }
        }
        for ((share, factors), params) in shares.iter_mut().zip(factors).zip(each) {
            (method.fits)(&params)?;
            share.factors.push(factors);
            share.params.own.push(params.thinning());
        }
    }
    Ok((shares, notes))
}

/// Sets the parameter to the one value that the tensor has.
fn set(method: &Method, params: &mut Params, name: &str, value: &Factors) -> Result<()> {
    let Some(value) = value.same() else {
        return Err(Error::unsupported(format!("parts of one tensor cannot have a {name} each"))
            .hint("name the whole tensor"));
    };
    params.set(method, name, &value.to_string())
}
