//! How a model finds a text, and how far its guesses are from those of a reference: perplexity, Kullback-Leibler
//! divergence and their errors, from logits, in f64. Serves `evaluate`, which has the logits from llama.cpp.
//! The figures are those of llama-perplexity (`--kl-divergence`), which rounds the reference's logarithms to 16 bits, cuts
//! them off at -16, and takes exponentials in f32: so its last digits are not these.

/// What a model guesses to come next, in one place of a text.
#[derive(Clone, Copy, Debug)]
pub struct Guess<'a> {
    logits: &'a [f32],
    /// The logarithm of the sum of the exponentials: a logit less this is the logarithm of a probability.
    normalizer: f64,
    /// The first of the likeliest tokens.
    top: usize,
    /// The token that does come.
    token: usize,
}

impl Guess<'_> {
    /// The guess that these logits are, one a token of the vocabulary, where `token` comes. None if they are not finite, or
    /// the vocabulary lacks the token.
    pub fn of(logits: &[f32], token: usize) -> Option<Guess<'_>> {
        let top = (0..logits.len()).fold(0, |top, i| if logits[i] > logits[top] { i } else { top });
        let most = f64::from(*logits.get(top)?);
        let sum: f64 = logits.iter().map(|l| (f64::from(*l) - most).exp()).sum();
        let normalizer = most + sum.ln();
        let is_finite = normalizer.is_finite() && logits.get(token)?.is_finite();
        is_finite.then_some(Guess { logits, normalizer, top, token })
    }

    /// The negated logarithm of the probability of the token that comes, in nats.
    pub fn surprise(&self) -> f64 {
        self.normalizer - f64::from(self.logits[self.token])
    }

    /// How far this guess is from `reference`, over the same vocabulary.
    pub fn beside(&self, reference: &Guess<'_>) -> Place {
        let one = |(p, q): (&f32, &f32)| {
            let (p, q) = (f64::from(*p) - reference.normalizer, f64::from(*q) - self.normalizer);
            // What cannot be weighs nothing, also where it is impossible to both.
            if p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }
        };
        Place {
            surprise: self.surprise(),
            reference: reference.surprise(),
            divergence: reference.logits.iter().zip(self.logits).map(one).sum(),
            is_same_top: self.top == reference.top,
        }
    }
}

/// A guess beside the reference's, in one place of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The model's surprise and the reference's, in nats.
    pub surprise: f64,
    pub reference: f64,
    /// The Kullback-Leibler divergence of the model's probabilities from the reference's, in nats.
    pub divergence: f64,
    /// Whether both find the same token likeliest.
    pub is_same_top: bool,
}

impl Place {
    /// How much more probable the model finds what comes than the reference does.
    pub fn gain(&self) -> f64 {
        (-self.surprise).exp() - (-self.reference).exp()
    }
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub error: f64,
}

impl Estimate {
    /// Of values in their order; of fewer than two the error is 0.
    pub fn mean(values: &[f64]) -> Estimate {
        let count = values.len() as f64;
        if values.is_empty() {
            return Estimate::default();
        }
        let value = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - value) * (x - value)).sum::<f64>() / count;
        Estimate { value, error: if values.len() > 1 { (variance / (count - 1.0)).sqrt() } else { 0.0 } }
    }

    /// What `of` makes of the mean, and of its error by the slope there.
    fn through(self, of: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> Estimate {
        let error = if self.error == 0.0 { 0.0 } else { self.error * slope(self.value).abs() };
        Estimate { value: of(self.value), error }
    }
}

/// The perplexity of a text, by the surprises in its places.
pub fn perplexity(surprises: &[f64]) -> Estimate {
    Estimate::mean(surprises).through(f64::exp, f64::exp)
}

/// A model beside the reference, over all places of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub perplexity: Estimate,
    /// The logarithm of the model's perplexity over the reference's.
    pub ln_ratio: Estimate,
    /// How the surprises of both go together, -1 to 1; none if one of them is the same everywhere.
    pub correlation: Option<f64>,
    /// The mean divergence, in nats.
    pub divergence: Estimate,
    /// The divergences in the places.
    pub spread: Spread,
    /// The mean of the gains, and the root of the mean of their squares.
    pub gain: Estimate,
    pub gain_rms: Estimate,
    /// The share of places with the same likeliest token.
    pub same_top: Estimate,
}

impl Comparison {
    pub fn of(places: &[Place]) -> Comparison {
        let all = |of: fn(&Place) -> f64| places.iter().map(of).collect::<Vec<f64>>();
        let (ours, theirs) = (all(|p| p.surprise), all(|p| p.reference));
        let divergences = all(|p| p.divergence);
        let squares = all(|p| p.gain() * p.gain());
        Comparison {
            perplexity: perplexity(&ours),
            ln_ratio: Estimate::mean(&all(|p| p.surprise - p.reference)),
            correlation: correlation(&ours, &theirs),
            divergence: Estimate::mean(&divergences),
            spread: Spread::of(divergences),
            gain: Estimate::mean(&all(Place::gain)),
            gain_rms: Estimate::mean(&squares).through(f64::sqrt, |x| 0.5 / x.sqrt()),
            same_top: Estimate::mean(&all(|p| f64::from(u8::from(p.is_same_top)))),
        }
    }
}

fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (Estimate::mean(a).value, Estimate::mean(b).value);
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(a - mean_a, b - mean_b)).sum::<f64>();
    let scale = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    (scale > 0.0).then(|| sum(&|a, b| a * b) / scale)
}

/// Values by size.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    /// The value that this share of the others, 0 to 1, does not exceed: between two of them on the line. 0 of none.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = share.clamp(0.0, 1.0) * self.0.len().saturating_sub(1) as f64;
        let value = |i: usize| self.0.get(i).or(self.0.last()).copied().unwrap_or(0.0);
        let (low, part) = (value(at as usize), at.fract());
        low + part * (value(at as usize + 1) - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} {b}");
    }

    #[test]
    fn a_guess_is_the_probabilities_that_its_logits_stand_for() {
        // Shifted by anything, logits mean the same.
        let logits = [1.0f32, 2.0, 4.0].map(|p| p.ln() + 100.0);
        let guess = Guess::of(&logits, 1).unwrap();
        assert!((guess.surprise() - (7.0f64 / 2.0).ln()).abs() < 1e-5);
        assert_eq!(guess.top, 2);
        assert_eq!(guess.beside(&guess).divergence, 0.0);
        // (1/7, 2/7, 4/7) from (1/3, 1/3, 1/3).
        let place = guess.beside(&Guess::of(&[0.0; 3], 1).unwrap());
        let expected: f64 = [1.0f64, 2.0, 4.0].iter().map(|q| (7.0 / 3.0 / q).ln() / 3.0).sum();
        assert!((place.divergence - expected).abs() < 1e-5 && !place.is_same_top);
        assert!((place.gain() - (2.0 / 7.0 - 1.0 / 3.0)).abs() < 1e-6);
    }

    #[test]
    fn logits_that_are_not_finite_are_no_guess() {
        assert!(Guess::of(&[0.0, f32::NAN], 0).is_none() && Guess::of(&[0.0, f32::INFINITY], 0).is_none());
        assert!(Guess::of(&[], 0).is_none() && Guess::of(&[0.0], 1).is_none());
        // What cannot come may be infinitely unlikely.
        let never = [0.0, f32::NEG_INFINITY];
        let guess = Guess::of(&never, 0).unwrap();
        assert_eq!((guess.surprise(), guess.beside(&guess).divergence), (0.0, 0.0));
        assert!(Guess::of(&never, 1).is_none());
    }

    #[test]
    fn means_have_the_errors_of_the_sums_of_squares() {
        let values = [1.0, 2.0, 4.0, 9.0];
        let found = Estimate::mean(&values);
        let (sum, squares): (f64, f64) = (values.iter().sum(), values.iter().map(|x| x * x).sum());
        near(found.value, sum / 4.0);
        near(found.error, ((squares / 4.0 - (sum / 4.0) * (sum / 4.0)) / 3.0).sqrt());
        let ppl = perplexity(&values);
        near(ppl.value, 4f64.exp());
        near(ppl.error, found.error * 4f64.exp());
        assert_eq!(Estimate::mean(&[]), Estimate::default());
        assert_eq!(Estimate::mean(&[3.0]), Estimate { value: 3.0, error: 0.0 });
    }

    #[test]
    fn percentiles_lie_between_their_neighbours() {
        let spread = Spread::of(vec![3.0, 0.0, 1.0, 2.0, 10.0]);
        for (share, expected) in [(0.0, 0.0), (0.5, 2.0), (0.9, 7.2), (1.0, 10.0)] {
            near(spread.percentile(share), expected);
        }
        assert_eq!(Spread::of(Vec::new()).percentile(0.5), 0.0);
    }

    #[test]
    fn a_model_beside_itself_differs_in_nothing() {
        let place =
            |surprise: f64| Place { surprise, reference: surprise, divergence: 0.0, is_same_top: true };
        let found = Comparison::of(&[1.0, 2.0, 0.5].map(place));
        assert_eq!((found.ln_ratio, found.divergence), (Estimate::default(), Estimate::default()));
        near(found.correlation.unwrap(), 1.0);
        assert_eq!((found.gain_rms, found.same_top.value), (Estimate::default(), 1.0));
        assert_eq!(Comparison::of(&[place(1.0)]).correlation, None);
    }
}
