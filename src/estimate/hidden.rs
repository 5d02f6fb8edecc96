//! The mean square of what an activation makes of normal numbers: E[act(g)^2] and E[(act(g) u)^2], by the trapezoid rule,
//! which is exact to many digits for such integrands. Specification: the activations of ggml's graphs.

/// A normal number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normal {
    pub mean: f64,
    pub variance: f64,
}

impl Normal {
    pub fn moved(self, by: f64) -> Normal {
        Normal { mean: self.mean + by, ..self }
    }
}

/// What a feed-forward network does to its gate, or to what has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    Gelu,
    /// The square of what is positive.
    ReluSquared,
    /// What is positive.
    Relu,
}

/// Architectures whose activation is not SiLU, by how their names begin.
const OTHERS: &[(&str, Activation)] = &[
    ("gemma", Activation::Gelu),
    ("gpt2", Activation::Gelu),
    ("gptneox", Activation::Gelu),
    ("starcoder", Activation::Gelu),
    ("phi2", Activation::Gelu),
    ("bloom", Activation::Gelu),
    ("falcon", Activation::Gelu),
    ("mpt", Activation::Gelu),
    ("codeshell", Activation::Gelu),
    ("bert", Activation::Gelu),
    ("modern-bert", Activation::Gelu),
    ("nomic-bert-moe", Activation::Gelu),
    ("jina-bert", Activation::Gelu),
    ("grok", Activation::Gelu),
    ("t5", Activation::Gelu),
    ("nemotron", Activation::ReluSquared),
    ("arcee", Activation::ReluSquared),
    ("plm", Activation::ReluSquared),
    ("jais2", Activation::ReluSquared),
    ("smallthinker", Activation::Relu),
];

/// Architectures with an activation of their own: xIELU, and a SwiGLU that is clamped.
const UNLIKE: [&str; 3] = ["apertus", "gpt-oss", "minimax-m3"];

/// The integral runs over so many deviations on each side, in steps of a part of one.
const REACH: i32 = 8;
const PARTS: i32 = 8;

impl Activation {
    /// That of an architecture; none where it is none of these.
    pub fn of(architecture: &str) -> Option<Activation> {
        // Falcon H1 is a hybrid of another house.
        if architecture == "falcon-h1" {
            return Some(Activation::Silu);
        }
        if UNLIKE.contains(&architecture) {
            return None;
        }
        let known = OTHERS.iter().find(|(name, _)| architecture.starts_with(name));
        Some(known.map_or(Activation::Silu, |(_, activation)| *activation))
    }

    fn value(self, x: f64) -> f64 {
        match self {
            Activation::Silu => x / (1.0 + libm::exp(-x)),
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::ReluSquared => x.max(0.0) * x.max(0.0),
            Activation::Relu => x.max(0.0),
        }
    }

    /// E[act(g)^2].
    pub fn square(self, g: Normal) -> f64 {
        mean(g, |x, _| self.value(x) * self.value(x))
    }

    /// E[(act(g) u)^2] of two that vary together.
    pub fn gated(self, g: Normal, u: Normal, covariance: f64) -> f64 {
        // Given g, u is normal too.
        let slope = if g.variance > 0.0 { covariance / g.variance } else { 0.0 };
        let rest = (u.variance - slope * covariance).max(0.0);
        mean(g, |x, from_mean| {
            let expected = u.mean + slope * from_mean;
            let act = self.value(x);
            act * act * (expected * expected + rest)
        })
    }
}

/// The mean of a function of a normal number and of its distance from its mean.
fn mean(of: Normal, f: impl Fn(f64, f64) -> f64) -> f64 {
    let deviation = of.variance.max(0.0).sqrt();
    let (mut sum, mut whole) = (0.0, 0.0);
    for i in -REACH * PARTS..=REACH * PARTS {
        let z = f64::from(i) / f64::from(PARTS);
        let density = libm::exp(-0.5 * z * z);
        sum += density * f(of.mean + deviation * z, deviation * z);
        whole += density;
    }
    sum / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_normal_numbers() {
        let unit = Normal { mean: 0.0, variance: 1.0 };
        let wide = Normal { mean: 0.5, variance: 4.0 };
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-3, "{a} {b}");
        // Half of the square, and half of the fourth moment.
        close(Activation::Relu.square(unit), 0.5);
        close(Activation::ReluSquared.square(unit), 1.5);
        // E[silu(z)^2] and E[gelu(z)^2], by numerical integration to six digits.
        close(Activation::Silu.square(unit), 0.355_776);
        close(Activation::Gelu.square(unit), 0.425_221);
        // Of independent numbers it is the product of the means of the squares.
        close(Activation::Silu.gated(unit, wide, 0.0), 0.355_776 * 4.25);
        // Of one number twice: E[relu(z)^2 z^2].
        close(Activation::Relu.gated(unit, unit, 1.0), 1.5);
        close(Activation::Relu.gated(Normal { mean: 2.0, variance: 0.0 }, unit, 0.0), 4.0);
    }
}
