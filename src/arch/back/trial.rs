//! What a page computes, backward: the keys of the config that it asks for are given values, one after the other, until it
//! computes what the GGUF says. A value is kept only if less is wrong with it than without.

use super::attempt::Attempt;
use super::judge::{self, Fault};
use super::told::json;
use ggraft_formats::{Result, Value};
use serde_json::{Value as Json, json};

/// Words by which configs tell apart two kinds of layers.
const KINDS: [[&str; 2]; 8] = [
    ["sliding_attention", "full_attention"],
    ["chunked_attention", "full_attention"],
    ["linear_attention", "full_attention"],
    ["conv", "full_attention"],
    ["mamba", "attention"],
    ["mamba", "hybrid"],
    ["sparse", "dense"],
    ["moe", "dense"],
];

/// The longest period of layers that is tried.
const LONGEST: u64 = 16;

impl Attempt<'_> {
    /// Tries keys until nothing gets better.
    pub(super) fn try_the_rest(&mut self) -> Result<()> {
        let mut left = self.judged()?;
        let mut goes_on = true;
        while goes_on && !left.is_empty() {
            goes_on = false;
            for fault in left.clone() {
                if !left.contains(&fault) {
                    continue;
                }
                if let Some(fewer) = self.mend(&fault, left.len())? {
                    left = fewer;
                    goes_on = true;
                }
            }
        }
        Ok(())
    }

    /// Gives one key a value with which fewer than `wrong` things are wrong.
    fn mend(&mut self, fault: &Fault, wrong: usize) -> Result<Option<Vec<Fault>>> {
        let candidates = self.candidates(fault);
        for key in self.asked(fault)? {
            for value in &candidates {
                let old = self.given.insert(key.clone(), value.clone());
                if !judge::stands(self, &self.config()?, fault) {
                    let left = self.judged()?;
                    if left.len() < wrong {
                        return Ok(Some(left));
                    }
                }
                match old {
                    Some(old) => _ = self.given.insert(key.clone(), old),
                    None => _ = self.given.shift_remove(&key),
                }
            }
        }
        Ok(None)
    }

    /// The keys that the page asks for where it says something wrong, and that nothing has said.
    fn asked(&self, fault: &Fault) -> Result<Vec<String>> {
        let config = self.config()?;
        _ = judge::stands(self, &config, fault);
        Ok(config.asked().into_iter().filter(|key| !self.given.contains_key(key)).collect())
    }

    /// What a key may be to say what the GGUF says.
    fn candidates(&self, fault: &Fault) -> Vec<Json> {
        match fault {
            Fault::Key { told: Some(value), .. } => self.values(value),
            Fault::Key { told: None, .. } => vec![Json::Null, json!(false), json!(0), json!([]), json!(1)],
            Fault::Size { axis, told, .. } => {
                let all = self.sizes.of(axis);
                let mut found = self.numbers(*told as f64);
                found.push(all.iter().map(|(_, n)| json!(n)).collect());
                found
            }
            Fault::Layers { there, .. } => self.patterns(there),
            Fault::Made(_) | Fault::Missing(_) | Fault::Turns | Fault::Foreign(_) => Vec::new(),
            Fault::Page => vec![json!(true), json!(1), json!([])],
        }
    }

    fn values(&self, value: &Value) -> Vec<Json> {
        let told = json(value);
        let mut all = vec![told.clone()];
        match &told {
            Json::Number(n) => all.extend(self.numbers(n.as_f64().unwrap_or_default())),
            Json::Array(list) => {
                let flags: Vec<bool> = list.iter().map(|x| *x != json!(0) && *x != json!(false)).collect();
                all.extend(list.iter().find(|x| **x != json!(0)).cloned());
                // What has more values than the model has tensors goes by no layers.
                if list.len() <= self.model.tensors.len() {
                    all.extend(self.patterns(&flags));
                }
            }
            _ => {}
        }
        all
    }

    /// A number, and what it is a share or a multiple of.
    fn numbers(&self, x: f64) -> Vec<Json> {
        let whole = |x: f64| if x.fract() == 0.0 { json!(x as i64) } else { json!(x) };
        let mut all = vec![whole(x), json!(x), json!(x != 0.0)];
        for axis in &self.family.axes {
            for (_, n) in self.sizes.of(axis.name).into_iter().take(1).filter(|(_, n)| *n > 0) {
                let n = n as f64;
                all.extend(
                    [x / n, x * n, n / x, x * n.sqrt()].into_iter().filter(|x| x.is_finite()).map(whole),
                );
            }
        }
        all.dedup();
        all
    }

    /// The ways to say which layers are of the one kind.
    fn patterns(&self, there: &[bool]) -> Vec<Json> {
        let mut all = Vec::new();
        for kinds in KINDS {
            for [yes, no] in [kinds, [kinds[1], kinds[0]]] {
                all.push(there.iter().map(|set| json!(if *set { yes } else { no })).collect());
            }
        }
        for wanted in [true, false] {
            let those = there.iter().enumerate().filter(|(_, set)| **set == wanted);
            all.push(those.map(|(layer, _)| json!(layer)).collect());
            all.push(there.iter().map(|set| json!(*set == wanted)).collect());
            all.push(there.iter().map(|set| json!(u8::from(*set == wanted))).collect());
        }
        let first = there.iter().position(|set| *set).unwrap_or(there.len());
        all.extend([json!(first), json!(there.iter().any(|set| *set))]);
        all.extend((0..=LONGEST).map(|n| json!(n)));
        all
    }
}
