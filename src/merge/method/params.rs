//! The parameters of the merge methods: one typed struct, and for each parameter its name, its range and how it is
//! read, in one place. A method lists those that it takes; another one is refused, not ignored.

use crate::merge::Method;
use crate::nearest::nearest;
use ggraft_formats::write::Identity;
use ggraft_formats::{Error, Result};

/// How the elements that DARE keeps make up for those that it drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescale {
    /// By the ratio of the sums of magnitudes before and after, as mergekit does.
    Norm,
    /// By `1 / density`, as in the paper.
    Density,
    /// Not at all.
    Nothing,
}

/// What the methods can be told. The defaults are mergekit's.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// The share of each vector's elements that is kept, above 0, at most 1.
    pub density: f64,
    /// The share of each vector's elements, the largest, that breadcrumbs drops, from 0, below 1.
    pub gamma: f64,
    /// What the normalized sum of the vectors is multiplied with.
    pub lambda: f64,
    /// Whether to divide by the weights of the vectors that agree. `None`: with several vectors, for `ties`; with one
    /// it would only cancel the weight.
    pub normalize: Option<bool>,
    pub rescale: Rescale,
    /// Chooses what DARE drops.
    pub seed: u64,
    /// The weight of CP in a mean; `None`: what the others leave of 1 in a linear one, 1 in one on the sphere.
    pub cp_weight: Option<f64>,
    /// How far the probability goes from the density, in both directions, in which DELLA keeps an element.
    pub epsilon: f64,
    /// The share that SCE selects of the elements in which the vectors differ.
    pub select_topk: f64,
    /// Whether model stock takes its cosines row by row.
    pub filter_wise: bool,
    /// Whether NuSLERP takes a tensor for one vector, and if not, whether its columns are the vectors or its rows.
    pub nuslerp_flatten: bool,
    pub nuslerp_row_wise: bool,
    /// How many steps the Karcher mean makes at most, and below which length none.
    pub max_iter: u64,
    pub tol: f64,
    /// How each vector is thinned out, where they differ in that; else nothing.
    pub own: Vec<Thinning>,
}

/// How one vector is thinned out: the parameters that may differ from vector to vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thinning {
    pub density: f64,
    pub gamma: f64,
    pub epsilon: f64,
}

impl Thinning {
    /// The one of this name, of the three.
    pub(crate) fn get(&self, name: &str) -> f64 {
        match name {
            "density" => self.density,
            "gamma" => self.gamma,
            _ => self.epsilon,
        }
    }
}

impl Params {
    /// How this vector is thinned out.
    pub fn of(&self, vector: usize) -> Thinning {
        self.own.get(vector).copied().unwrap_or_else(|| self.thinning())
    }

    /// How vectors are that have no parameters of their own.
    pub(crate) fn thinning(&self) -> Thinning {
        Thinning { density: self.density, gamma: self.gamma, epsilon: self.epsilon }
    }

    /// Whether any vector is thinned out at all.
    pub(crate) fn thins(&self) -> bool {
        match self.own.is_empty() {
            true => self.density < 1.0,
            false => self.own.iter().any(|own| own.density < 1.0),
        }
    }

    /// Those that are not the defaults, each as its name and value.
    pub(crate) fn told(&self) -> Vec<String> {
        let default = Params::default();
        let mut told = Vec::new();
        let mut tell = |name: &str, differs: bool, value: String| {
            told.extend(differs.then(|| format!("{name}={value}")));
        };
        tell("density", self.density != default.density, self.density.to_string());
        tell("gamma", self.gamma != default.gamma, self.gamma.to_string());
        tell("lambda", self.lambda != default.lambda, self.lambda.to_string());
        tell("normalize", self.normalize.is_some(), self.normalize.unwrap_or_default().to_string());
        tell("rescale", self.rescale != default.rescale, format!("{:?}", self.rescale).to_lowercase());
        tell("seed", self.seed != default.seed, self.seed.to_string());
        tell("epsilon", self.epsilon != default.epsilon, self.epsilon.to_string());
        tell("select_topk", self.select_topk != default.select_topk, self.select_topk.to_string());
        tell("filter_wise", self.filter_wise, self.filter_wise.to_string());
        tell("nuslerp_flatten", !self.nuslerp_flatten, self.nuslerp_flatten.to_string());
        tell("nuslerp_row_wise", self.nuslerp_row_wise, self.nuslerp_row_wise.to_string());
        tell("max_iter", self.max_iter != default.max_iter, self.max_iter.to_string());
        tell("tol", self.tol != default.tol, self.tol.to_string());
        tell("cp_weight", self.cp_weight.is_some(), self.cp_weight.unwrap_or_default().to_string());
        told
    }

    /// Adds all of them to what a run is known by.
    pub(crate) fn identify(&self, into: &mut Identity) {
        let rescale = match self.rescale {
            Rescale::Norm => 0,
            Rescale::Density => 1,
            Rescale::Nothing => 2,
        };
        let optional = |x: Option<f64>| [u64::from(x.is_some()), x.unwrap_or_default().to_bits()];
        into.numbers([self.density, self.gamma, self.lambda].map(f64::to_bits));
        into.numbers(optional(self.cp_weight));
        into.numbers([self.normalize.map_or(2, u64::from), rescale, self.seed]);
        into.numbers([self.epsilon, self.select_topk, self.tol].map(f64::to_bits));
        into.numbers([self.filter_wise, self.nuslerp_flatten, self.nuslerp_row_wise].map(u64::from));
        into.numbers([self.max_iter]);
        let own = self.own.iter().flat_map(|own| [own.density, own.gamma, own.epsilon]);
        into.numbers(own.map(f64::to_bits));
    }
}

impl Default for Params {
    fn default() -> Params {
        Params {
            density: 1.0,
            gamma: 0.01,
            lambda: 1.0,
            normalize: None,
            rescale: Rescale::Norm,
            seed: 0,
            cp_weight: None,
            epsilon: 0.15,
            select_topk: 1.0,
            filter_wise: false,
            nuslerp_flatten: true,
            nuslerp_row_wise: false,
            max_iter: 10,
            tol: 1e-5,
            own: Vec::new(),
        }
    }
}

/// One parameter.
pub struct Param {
    pub name: &'static str,
    /// What it may be, for people.
    pub range: &'static str,
    /// Reads it; `None` if the text is not in the range.
    set: fn(&mut Params, &str) -> Option<()>,
}

pub(crate) const DENSITY: Param = Param {
    name: "density",
    range: "a number above 0, at most 1",
    set: |p, text| number(text).filter(|x| *x > 0.0 && *x <= 1.0).map(|x| p.density = x),
};

pub(crate) const GAMMA: Param = Param {
    name: "gamma",
    range: "a number from 0, below 1",
    set: |p, text| number(text).filter(|x| (0.0..1.0).contains(x)).map(|x| p.gamma = x),
};

pub(crate) const LAMBDA: Param =
    Param { name: "lambda", range: "a number", set: |p, text| number(text).map(|x| p.lambda = x) };

pub(crate) const NORMALIZE: Param = Param {
    name: "normalize",
    range: "true or false",
    set: |p, text| text.parse().ok().map(|x| p.normalize = Some(x)),
};

pub(crate) const RESCALE: Param = Param {
    name: "rescale",
    range: "norm, density or none",
    set: |p, text| {
        p.rescale = match text {
            "norm" => Rescale::Norm,
            "density" => Rescale::Density,
            "none" => Rescale::Nothing,
            _ => return None,
        };
        Some(())
    },
};

pub(crate) const SEED: Param = Param {
    name: "seed",
    range: "a whole number from 0",
    set: |p, text| text.parse().ok().map(|x| p.seed = x),
};

pub(crate) const CP_WEIGHT: Param = Param {
    name: "cp-weight",
    range: "a number",
    set: |p, text| number(text).map(|x| p.cp_weight = Some(x)),
};

pub(crate) const EPSILON: Param = Param {
    name: "epsilon",
    range: "a number from 0, below 0.5",
    set: |p, text| number(text).filter(|x| (0.0..0.5).contains(x)).map(|x| p.epsilon = x),
};

pub(crate) const SELECT_TOPK: Param = Param {
    name: "select_topk",
    range: "a number above 0, at most 1",
    set: |p, text| number(text).filter(|x| *x > 0.0 && *x <= 1.0).map(|x| p.select_topk = x),
};

pub(crate) const FILTER_WISE: Param = Param {
    name: "filter_wise",
    range: "true or false",
    set: |p, text| text.parse().ok().map(|x| p.filter_wise = x),
};

pub(crate) const NUSLERP_FLATTEN: Param = Param {
    name: "nuslerp_flatten",
    range: "true or false",
    set: |p, text| text.parse().ok().map(|x| p.nuslerp_flatten = x),
};

pub(crate) const NUSLERP_ROW_WISE: Param = Param {
    name: "nuslerp_row_wise",
    range: "true or false",
    set: |p, text| text.parse().ok().map(|x| p.nuslerp_row_wise = x),
};

pub(crate) const MAX_ITER: Param = Param {
    name: "max_iter",
    range: "a whole number from 1, at most 10000",
    set: |p, text| text.parse().ok().filter(|x| (1..=10_000).contains(x)).map(|x| p.max_iter = x),
};

pub(crate) const TOL: Param = Param {
    name: "tol",
    range: "a number above 0, below 1",
    set: |p, text| number(text).filter(|x| *x > 0.0 && *x < 1.0).map(|x| p.tol = x),
};

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

impl Params {
    /// Reads `NAME`, `VALUE` pairs; of one name the last counts. A name that `method` does not take is a usage error.
    pub fn read<'a>(method: &Method, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Params> {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.set(method, name, value)?;
        }
        Ok(params)
    }

    /// Sets one of them.
    pub(crate) fn set(&mut self, method: &Method, name: &str, value: &str) -> Result<()> {
        let param = method.params.iter().find(|p| p.name == name).ok_or_else(|| {
            let names: Vec<&str> = method.params.iter().map(|p| p.name).collect();
            let known = if names.is_empty() { String::from("no parameters") } else { names.join(", ") };
            let e = Error::usage(format!("the method {} has no such parameter", method.name));
            let hint =
                nearest(name, names).map_or(String::from("leave it out"), |n| format!("did you mean {n}?"));
            e.expected(known).found(name).hint(hint)
        })?;
        (param.set)(self, value).ok_or_else(|| {
            Error::usage(format!("the parameter {name} of the method {} is out of range", method.name))
                .expected(param.range)
                .found(value)
        })
    }
}
