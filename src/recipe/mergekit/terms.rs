//! What mergekit computes with its models, in ggraft's words: vectors with their weights, rules, parameters.
//! Task arithmetic and what is made of it add to the base model differences of others from it. Two models with opposite
//! weights are the chat vector: the base model drops out of `w * (chat - CP) - w * (base - CP)`.
//! Specification: `generalized_task_arithmetic.py`, `linear.py`, `slerp.py` of mergekit 0.1.4.

use super::setting::Setting;
use super::spread;
use crate::merge::{Method, Own, Params};
use crate::recipe::read::Fault;
use crate::recipe::walk::At;
use crate::recipe::{Adapter, Rule, Scalar, Spread, Vector};
use std::collections::BTreeMap;

/// One model of mergekit's list, with its parameters, the innermost first; the last two are the slice's and the file's.
pub(crate) struct Source<'a> {
    pub model: At<'a>,
    pub path: &'a str,
    pub adapter: Option<&'a str>,
    pub levels: [Option<At<'a>>; 3],
}

/// What is computed.
#[derive(Default)]
pub(crate) struct Terms {
    pub vectors: Vec<Vector>,
    pub adapters: Vec<Adapter>,
    pub weights: Vec<Rule>,
    pub parameters: BTreeMap<String, Scalar>,
    pub notes: Vec<String>,
}

/// What mergekit lets a method be told of a model, and of the merge as a whole.
const KNOWN: &[(&str, &[&str], &[&str])] = &[
    ("task_arithmetic", &["weight"], &["lambda", "normalize", "int8_mask"]),
    ("ties", &["weight", "density"], &["lambda", "normalize", "int8_mask"]),
    ("dare_linear", &["weight", "density"], &["lambda", "normalize", "rescale", "int8_mask"]),
    ("dare_ties", &["weight", "density"], &["lambda", "normalize", "rescale", "int8_mask"]),
    ("breadcrumbs", &["weight", "density", "gamma"], &["lambda", "normalize", "int8_mask"]),
    ("linear", &["weight"], &["normalize"]),
    ("slerp", &[], &["t"]),
    ("della", &["weight", "density", "epsilon"], &["lambda", "normalize", "rescale", "int8_mask"]),
    ("della_linear", &["weight", "density", "epsilon"], &["lambda", "normalize", "rescale", "int8_mask"]),
    ("model_stock", &[], &["filter_wise"]),
    ("nuslerp", &["weight"], &["nuslerp_flatten", "nuslerp_row_wise"]),
    ("karcher", &[], &["max_iter", "tol"]),
    ("sce", &[], &["select_topk", "int8_mask"]),
    ("arcee_fusion", &[], &[]),
];

/// Whether mergekit has a method of this name that means the same here.
pub(crate) fn is_known(method: &str) -> bool {
    KNOWN.iter().any(|(name, ..)| *name == method)
}

/// What `method` makes of `sources` and the base model `onto`.
pub(crate) fn read(method: &'static Method, onto: &At<'_>, sources: &[Source<'_>]) -> Result<Terms, Fault> {
    let onto_path = onto.text()?;
    let (_, own, common) = KNOWN.iter().find(|(name, ..)| *name == method.name).unwrap_or(&KNOWN[0]);
    let mut terms = Terms::default();
    for source in sources {
        let [model, slice, file] = &source.levels;
        only(model, own)?;
        [slice, file].into_iter().try_for_each(|level| only(level, &[*own, *common].concat()))?;
    }
    let Some(first) = sources.first() else { return Err(onto.fault(Fault::new("there are no models"))) };
    let common = Common { levels: [first.levels[1].clone(), first.levels[2].clone()] };
    let (worn, whole): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.adapter.is_some());
    let others: Vec<&Source<'_>> = whole.into_iter().filter(|s| s.path != onto_path).collect();
    terms.wear(method, onto_path, &worn)?;
    if others.is_empty() && worn.is_empty() {
        return Err(onto.fault(Fault::new("there is no model beside the base model")));
    }
    match method.name {
        "slerp" => slerp(&mut terms, onto_path, &others, &common)?,
        "linear" => linear(&mut terms, onto, sources, &common)?,
        "nuslerp" => nuslerp(&mut terms, method, onto, sources, &common)?,
        "model_stock" | "karcher" | "sce" | "arcee_fusion" => {
            alike(&mut terms, method, onto_path, &others, &common)?;
        }
        _ => differences(&mut terms, method, onto_path, &others, &common)?,
    }
    Ok(terms)
}

/// Refuses any other parameters.
pub(super) fn only(level: &Option<At<'_>>, names: &[&str]) -> Result<(), Fault> {
    let Some(level) = level else { return Ok(()) };
    match level.entries()?.into_iter().find(|(name, _)| !names.contains(name)) {
        None => Ok(()),
        Some((_, at)) => {
            let fault = Fault::unsupported("this parameter is not supported here");
            let known = format!("one of {}", names.join(", "));
            Err(at.fault(fault.expected(if names.is_empty() { String::from("none") } else { known })))
        }
    }
}

/// The parameters of the merge as a whole.
struct Common<'a> {
    levels: [Option<At<'a>>; 2],
}

impl<'a> Common<'a> {
    fn get(&self, name: &str) -> Option<At<'a>> {
        self.levels.iter().flatten().find_map(|level| level.get(name))
    }

    fn truth(&self, name: &str, default: bool) -> Result<bool, Fault> {
        self.get(name).map_or(Ok(default), |at| at.truth())
    }
}

fn weight(source: &Source<'_>) -> Result<Setting, Fault> {
    Setting::read("weight", &source.levels)?
        .ok_or_else(|| source.model.fault(Fault::new("the model has no weight")))
}

/// From the base model along the arc to the one other.
fn slerp(terms: &mut Terms, onto: &str, others: &[&Source<'_>], common: &Common<'_>) -> Result<(), Fault> {
    let [other] = others else {
        let fault = Fault::new("slerp takes one model beside the base model");
        return Err(others[1].model.fault(fault.found(others.len())));
    };
    let t = Setting::read("t", &common.levels)?
        .ok_or_else(|| other.model.fault(Fault::new("slerp needs the parameter t")))?;
    terms.weigh(vec![(other.path, onto, t)], 1.0, false)
}

/// The weighted mean of all models, the base model among them.
fn linear(
    terms: &mut Terms,
    onto: &At<'_>,
    sources: &[Source<'_>],
    common: &Common<'_>,
) -> Result<(), Fault> {
    let (mut vectors, mut own, mut total) = (Vec::new(), None, 0.0);
    let path = onto.text()?;
    for source in sources {
        let weight = weight(source)?;
        total += weight.number().unwrap_or(f64::NAN);
        match source.path == path {
            true => own = Some(weight.number().ok_or_else(|| by_tensor(&weight))?),
            false => vectors.push((source.path, path, weight)),
        }
    }
    let own = own.ok_or_else(|| onto.fault(Fault::new("the base model is not among the models")))?;
    if let Some(at) = common.get("normalize")
        && !at.truth()?
        && total != 1.0
    {
        let fault = Fault::unsupported("a sum of weights other than 1 is always divided by");
        return Err(at.fault(fault.found(format!("normalize: false, and weights that add up to {total}"))));
    }
    terms.set("cp-weight", own);
    terms.weigh(vectors, 1.0, true)
}

/// The refusal of a weight of the base model that is not one number.
fn by_tensor(weight: &Setting) -> Fault {
    weight.fault(Fault::unsupported("the weight of the base model must be the same for all tensors"))
}

/// Between two models, or between the vectors of two from the base model.
fn nuslerp(
    terms: &mut Terms,
    method: &'static Method,
    onto: &At<'_>,
    sources: &[Source<'_>],
    common: &Common<'_>,
) -> Result<(), Fault> {
    let path = onto.text()?;
    let has_base = onto.path == "base_model";
    if let Some(source) = sources.iter().find(|source| has_base && source.path == path) {
        return Err(source
            .model
            .fault(Fault::new("the base model is not one of the two that nuslerp merges")));
    }
    let [a, b] = sources else {
        let fault = Fault::new("nuslerp takes two models, perhaps beside a base model");
        return Err(onto.fault(fault.found(sources.len())));
    };
    let weights = [weight(a)?, weight(b)?];
    let [Some(x), Some(y)] = weights.each_ref().map(Setting::number) else {
        let one = weights.iter().find(|w| w.number().is_none()).unwrap_or(&weights[0]);
        return Err(one.fault(Fault::unsupported("the weights of nuslerp must be the same for all tensors")));
    };
    if (x + y).abs() < NOTHING {
        let fault = Fault::unsupported("the two weights of nuslerp must not add up to zero");
        return Err(
            weights[1].fault(fault.found(format!("{x}, {y}")).hint("mergekit takes them for 0.5 and 0.5"))
        );
    }
    let vector = |source: &Source<'_>, w| Vector::new(source.path, path, vec![w]);
    match has_base {
        true => terms.vectors.extend([vector(a, x), vector(b, y)]),
        false => terms.vectors.push(vector(b, y / (x + y))),
    }
    terms.common(method, common)
}

/// Weights whose sum is smaller add up to nothing.
const NOTHING: f64 = 1e-6;

/// What all models count alike in.
fn alike(
    terms: &mut Terms,
    method: &'static Method,
    onto: &str,
    others: &[&Source<'_>],
    common: &Common<'_>,
) -> Result<(), Fault> {
    let [least, most] = method.vectors;
    if !(least..=most).contains(&others.len()) {
        let (few, many) = (format!("at least {least}"), format!("at most {most}"));
        let fault = Fault::new(format!("{} takes other models beside the base model", method.name));
        let fault = fault.expected(if others.len() < least { few } else { many }).found(others.len());
        return Err(others[others.len() - 1].model.fault(fault));
    }
    let vector = |s: &&Source<'_>| Vector::new(s.path, onto, vec![1.0]);
    terms.vectors.extend(others.iter().map(vector));
    terms.common(method, common)?;
    terms.int8_mask(common)?;
    let told = match method.name {
        "sce" if terms.parameters.contains_key("select_topk") => {
            "of elements with the variance of the last that is selected all are selected; mergekit takes some"
        }
        "arcee_fusion" => {
            "quantiles are those of the whole tensor; mergekit takes those of a random million elements of a larger one"
        }
        _ => return Ok(()),
    };
    terms.notes.push(String::from(told));
    Ok(())
}

/// Task arithmetic, and what thins its differences out first.
fn differences(
    terms: &mut Terms,
    method: &'static Method,
    onto: &str,
    others: &[&Source<'_>],
    common: &Common<'_>,
) -> Result<(), Fault> {
    let takes = |name: &str| method.params.iter().any(|p| p.name == name);
    let own = Own::PARAMS.into_iter().filter(|name| takes(name));
    let own = own.map(|name| Ok((name, terms.thinning(method, name, others)?)));
    let own = own.collect::<Result<Vec<_>, Fault>>()?;
    let normalize = common.truth("normalize", ["ties", "della"].contains(&method.name))?;
    if takes("normalize") {
        terms.set("normalize", normalize);
    } else if let Some(at) = common.get("normalize").filter(|_| normalize) {
        return Err(at.fault(Fault::unsupported("the method does not normalize here").found("true")));
    }
    if takes("rescale") {
        terms.set("rescale", if common.truth("rescale", true)? { "norm" } else { "none" });
        terms
            .notes
            .push(String::from("the elements that are dropped are others than those that torch chooses"));
    }
    terms.int8_mask(common)?;
    let mut lambda = common.get("lambda").map_or(Ok(1.0), |at| at.number())?;
    if takes("lambda") {
        terms.set("lambda", lambda);
        lambda = 1.0;
    }
    let mut rest = others.iter().map(|s| Ok((*s, weight(s)?))).collect::<Result<Vec<_>, Fault>>()?;
    let mut vectors = Vec::new();
    while !rest.is_empty() {
        let (source, weight) = rest.remove(0);
        let opposite =
            rest.iter().position(|(_, w)| method.name == "task_arithmetic" && w.is_opposite(&weight));
        vectors.push(match opposite.map(|i| rest.remove(i)) {
            Some((other, opposite)) if weight.is_negative() => (other.path, source.path, opposite),
            Some((other, _)) => (source.path, other.path, weight),
            None => (source.path, onto, weight),
        });
    }
    terms.weigh(vectors, lambda, normalize)?;
    for (name, each) in own {
        // Vectors that are thinned out are those of the models, one by one.
        for (vector, value) in terms.vectors.iter_mut().zip(each) {
            vector.parameters.extend(value.map(|value| (String::from(name), value)));
        }
    }
    Ok(())
}

impl Terms {
    /// Takes the adapters that models wear. That of the base model is its difference from the base model, with nothing besides.
    fn wear(&mut self, method: &Method, onto: &str, worn: &[&Source<'_>]) -> Result<(), Fault> {
        for source in worn {
            if method.name != "task_arithmetic" || source.path != onto {
                let fault = Fault::unsupported(
                    "an adapter (+) is merged by task_arithmetic, of the base model alone",
                );
                let found = format!("{}, of '{}'", method.name, source.path);
                return Err(source.model.fault(fault.found(found).hint(
                    "make the model whole first: ggraft merge --onto MODEL --adapter ADAPTER --type safetensors",
                )));
            }
            let weight = weight(source)?;
            let number = weight.number().ok_or_else(|| {
                weight.fault(Fault::unsupported("the weight of an adapter must be the same for all tensors"))
            })?;
            let lambda = source.levels[2].as_ref().and_then(|file| file.get("lambda"));
            let lambda = lambda.map_or(Ok(1.0), |at| at.number())?;
            let path = source.adapter.unwrap_or_default().into();
            self.adapters.push(Adapter { path, weight: vec![number * lambda] });
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.parameters.insert(name.to_string(), Scalar(value.to_string()));
    }

    /// The method's parameters that mergekit has for the merge as a whole.
    fn common(&mut self, method: &Method, common: &Common<'_>) -> Result<(), Fault> {
        for param in method.params {
            let Some(at) = common.get(param.name) else { continue };
            let text = match at.truth() {
                Ok(truth) if param.range == "true or false" => truth.to_string(),
                _ => match Setting::read(param.name, &common.levels)?.and_then(|s| s.number()) {
                    Some(x) => x.to_string(),
                    None => {
                        return Err(
                            at.fault(Fault::unsupported("this parameter must be the same for all tensors"))
                        );
                    }
                },
            };
            Params::read(method, [(param.name, text.as_str())])
                .map_err(|e| at.fault(Fault::new(e.to_string())))?;
            self.set(param.name, text);
        }
        Ok(())
    }

    fn int8_mask(&mut self, common: &Common<'_>) -> Result<(), Fault> {
        if let Some(at) = common.get("int8_mask") {
            at.truth()?;
            self.notes.push(format!("line {}: int8_mask has no effect: masks take no memory here", at.line));
        }
        Ok(())
    }

    /// A parameter that mergekit has for each model: one of the merge, if it is one number, else one of each vector.
    fn thinning(
        &mut self,
        method: &Method,
        name: &'static str,
        sources: &[&Source<'_>],
    ) -> Result<Vec<Option<Spread>>, Fault> {
        let all: Vec<Option<Setting>> =
            sources.iter().map(|s| Setting::read(name, &s.levels)).collect::<Result<_, _>>()?;
        for setting in all.iter().flatten() {
            for value in setting.cases.iter().flat_map(|case| &case.values) {
                Params::read(method, [(name, value.to_string().as_str())])
                    .map_err(|e| setting.fault(Fault::new(e.to_string())))?;
            }
        }
        let number = all.first().and_then(|s| s.as_ref()?.number());
        if let Some(x) = number
            && all.iter().all(|s| s.as_ref().and_then(Setting::number) == number)
        {
            self.set(name, x);
            return Ok(Vec::new());
        }
        let spread = |setting: Setting| spread::rules(&setting).map(Spread);
        all.into_iter().map(|setting| setting.map(spread).transpose()).collect()
    }

    /// Makes vectors of (chat, base, weight), each weight times `scale`. Weights by tensor become rules: of all vectors where
    /// they are the same, the method does not divide by them and they are not of adapters too, else of each.
    fn weigh(&mut self, vectors: Vec<(&str, &str, Setting)>, scale: f64, divides: bool) -> Result<(), Fault> {
        let first = vectors.iter().map(|(.., weight)| weight).find(|weight| weight.number().is_none());
        let common = first
            .filter(|first| {
                !divides && self.adapters.is_empty() && vectors.iter().all(|(.., w)| w.cases == first.cases)
            })
            .cloned();
        if let Some(common) = &common {
            self.weights.extend(spread::rules(common)?);
        }
        for (chat, base, weight) in vectors {
            let number = if common.is_some() { Some(1.0) } else { weight.number() };
            let weights = if number.is_none() { spread::rules(&weight)? } else { Vec::new() };
            let vector = Vector::new(chat, base, vec![number.unwrap_or(1.0) * scale]);
            self.vectors.push(Vector { weights, ..vector });
        }
        Ok(())
    }
}
