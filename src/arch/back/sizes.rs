//! The sizes of axes as far as they are known, and what follows from one for others: by the length of a dimension, and by
//! what a page says of one axis by others.

use crate::arch::axes::Term;
use crate::arch::params::Size;
use std::collections::HashMap;

/// The sizes of axes in each layer, as far as they are known.
pub struct Sizes {
    layers: u32,
    known: HashMap<(&'static str, u32), u64>,
}

impl Sizes {
    pub fn new(layers: u32) -> Sizes {
        Sizes { layers: layers.max(1), known: HashMap::new() }
    }

    pub fn get(&self, axis: &'static str, layer: u32) -> Option<u64> {
        self.known.get(&(axis, layer)).copied()
    }

    /// Whether something new is known; none if it was known otherwise.
    pub fn set(&mut self, axis: &'static str, layer: u32, size: u64) -> Option<bool> {
        match self.known.insert((axis, layer), size) {
            None => Some(true),
            Some(old) if old == size => Some(false),
            Some(old) => {
                self.known.insert((axis, layer), old);
                None
            }
        }
    }

    /// Says it of every layer.
    pub fn set_all(&mut self, axis: &'static str, size: u64) {
        for layer in 0..self.layers {
            self.set(axis, layer, size);
        }
    }

    /// The sizes of an axis in all layers where it is known.
    pub fn of(&self, axis: &'static str) -> Vec<(u32, u64)> {
        (0..self.layers).filter_map(|layer| Some((layer, self.get(axis, layer)?))).collect()
    }

    fn value(&self, term: &Term, layer: u32) -> Option<u64> {
        match term {
            Term::One => Some(1),
            Term::Axis(name) => self.get(name, layer),
            Term::Product(terms) => {
                terms.iter().try_fold(1u64, |n, term| n.checked_mul(self.value(term, layer)?))
            }
            Term::Parts(terms) => {
                terms.iter().try_fold(0u64, |n, term| n.checked_add(self.value(term, layer)?))
            }
        }
    }

    /// Takes in that a dimension is `n` long: whether something new is known, or none if it cannot be so long.
    pub fn learn(&mut self, term: &Term, n: u64, layer: u32) -> Option<bool> {
        let terms = match term {
            Term::One => return (n == 1).then_some(false),
            Term::Axis(name) => return self.set(name, layer, n),
            Term::Product(terms) | Term::Parts(terms) => terms,
        };
        let unknown: Vec<&Term> = terms.iter().filter(|term| self.value(term, layer).is_none()).collect();
        let mut known = terms.iter().filter_map(|term| self.value(term, layer));
        let (rest, even) = match term {
            Term::Parts(_) => (known.try_fold(n, u64::checked_sub)?, unknown.len() as u64),
            _ => {
                let product = known.fold(1u64, u64::saturating_mul);
                (n.checked_div(product).filter(|rest| rest * product == n)?, 1)
            }
        };
        match (unknown.as_slice(), term) {
            ([], Term::Parts(_)) => (rest == 0).then_some(false),
            ([], _) => (rest == 1).then_some(false),
            ([one], _) => self.learn(one, rest, layer),
            // Parts of one size.
            ([one, others @ ..], Term::Parts(_)) if others.iter().all(|other| other == one) => {
                self.learn(one, rest / even, layer)
            }
            _ => Some(false),
        }
    }

    /// Takes in what is said of `axis` by others.
    pub fn relate(&mut self, axis: &'static str, size: &Size, layer: u32) -> bool {
        let axis = Term::Axis(axis);
        let learned = match *size {
            Size::Is(n) => self.learn(&axis, n, layer),
            Size::Same(other) => self.equal(&axis, &Term::Axis(other), layer),
            Size::Mul(a, b) => self.equal(&axis, &Term::Product(vec![Term::Axis(a), Term::Axis(b)]), layer),
            Size::Div(a, b) => self.equal(&Term::Axis(a), &Term::Product(vec![axis, Term::Axis(b)]), layer),
            Size::Add(a, b) => self.equal(&axis, &Term::Parts(vec![Term::Axis(a), Term::Axis(b)]), layer),
            Size::Sub(a, b) => self.equal(&Term::Axis(a), &Term::Parts(vec![axis, Term::Axis(b)]), layer),
            Size::Of(_) | Size::Or(..) | Size::Make(_) => None,
        };
        learned.unwrap_or(false)
    }

    fn equal(&mut self, a: &Term, b: &Term, layer: u32) -> Option<bool> {
        match (self.value(a, layer), self.value(b, layer)) {
            (Some(n), _) => self.learn(b, n, layer),
            (None, Some(n)) => self.learn(a, n, layer),
            (None, None) => None,
        }
    }
}
