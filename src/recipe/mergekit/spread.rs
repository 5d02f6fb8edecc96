//! mergekit's settings as rules over GGUF's tensor names, as `merge::weights` reads them. Of mergekit's cases the first
//! that fits counts, of rules the last, so they are written in reverse. mergekit gives tensors outside the layers the
//! first value of a gradient; a rule would give the output head and its norm the last one.

use super::setting::{Case, Setting};
use crate::arch;
use crate::recipe::read::Fault;
use std::collections::BTreeSet;

/// The rules that give every tensor the value that the setting gives it.
pub(crate) fn rules(setting: &Setting) -> Result<Vec<String>, Fault> {
    if setting.cases.last().is_none_or(|case| case.filter.is_some()) {
        let fault = Fault::new("it says nothing of the tensors that no filter fits");
        return Err(setting.fault(fault.expected("a last value without a filter")));
    }
    let mut rules = Vec::new();
    for case in setting.cases.iter().rev() {
        match &case.filter {
            None => {
                rules.push(format!("*={}", text(&case.values)));
                if case.values.len() > 1 {
                    rules.push(format!("output*={}", case.values[0]));
                }
            }
            Some(filter) => rules.extend(filtered(filter, case).map_err(|fault| setting.fault(fault))?),
        }
    }
    Ok(rules)
}

/// A number, or a gradient.
fn text(values: &[f64]) -> String {
    let numbers: Vec<String> = values.iter().map(f64::to_string).collect();
    match numbers.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", numbers.join(",")),
    }
}

/// The rules of a case for the tensors whose names, in the checkpoint, hold `filter`.
fn filtered(filter: &str, case: &Case) -> Result<Vec<String>, Fault> {
    let all: Vec<(String, String)> = arch::tensor_names().collect();
    // A filter that fits a name without its ending fits weight and bias.
    let holds = |ending: &str, by_ending: bool| -> BTreeSet<&str> {
        let stems = all.iter().filter_map(|(name, gguf)| Some((name, name.strip_suffix(ending)?, gguf)));
        let fitting = stems.filter(|(name, stem, _)| match by_ending {
            true => name.contains(filter) && !stem.contains(filter),
            false => stem.contains(filter),
        });
        fitting.filter_map(|(_, _, gguf)| gguf.strip_suffix(ending)).collect()
    };
    let mut rules = Vec::new();
    let groups =
        [(holds(".weight", false), "*"), (holds(".weight", true), "weight"), (holds(".bias", true), "bias")];
    for (names, ending) in groups {
        let (layered, whole): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| name.starts_with("blk.{}."));
        if !whole.is_empty() {
            rules.push(format!("{{{}}}.{ending}={}", whole.join(","), case.values[0]));
        }
        if !layered.is_empty() {
            let kinds: Vec<&str> = layered.iter().map(|name| name.trim_start_matches("blk.{}.")).collect();
            rules.push(format!("blk.*.{{{}}}.{ending}={}", kinds.join(","), text(&case.values)));
        }
    }
    if rules.is_empty() {
        let layer = filter.contains(|c: char| c.is_ascii_digit());
        let hint = if layer {
            "give a gradient over the layers, or ggraft's --weights"
        } else {
            "see the tensor names"
        };
        return Err(Fault::unsupported("no kind of tensor has this text in its name")
            .found(format!("'{filter}'"))
            .hint(hint));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(cases: &[(Option<&str>, &[f64])]) -> Result<Vec<String>, Fault> {
        let case = |(filter, values): &(Option<&str>, &[f64])| Case {
            filter: filter.map(String::from),
            values: values.to_vec(),
        };
        rules(&Setting { cases: cases.iter().map(case).collect(), line: 1, path: String::from("weight") })
    }

    #[test]
    fn the_first_case_becomes_the_last_rule() {
        let rules =
            rules_of(&[(Some("mlp"), &[0.5, 1.0]), (Some("lm_head"), &[0.0]), (None, &[0.25])]).unwrap();
        assert_eq!(rules, ["*=0.25", "{output}.*=0", "blk.*.{ffn_down,ffn_gate,ffn_up}.*=[0.5,1]"]);
    }

    #[test]
    fn what_lies_outside_the_layers_takes_the_first_value() {
        let rules = rules_of(&[(Some("norm"), &[0.1, 0.9]), (None, &[0.2, 0.8])]).unwrap();
        let expected =
            ["*=[0.2,0.8]", "output*=0.2", "{output_norm}.*=0.1", "blk.*.{attn_norm,ffn_norm}.*=[0.1,0.9]"];
        assert_eq!(rules, expected);
    }

    #[test]
    fn an_ending_is_part_of_the_name() {
        assert_eq!(
            rules_of(&[(Some("q_proj.w"), &[0.5]), (None, &[1.0])]).unwrap()[1],
            "blk.*.{attn_q}.weight=0.5"
        );
        assert_eq!(rules_of(&[(Some("q_proj"), &[0.5]), (None, &[1.0])]).unwrap()[1], "blk.*.{attn_q}.*=0.5");
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        assert!(rules_of(&[(Some("mlp"), &[0.5])]).is_err());
        assert!(rules_of(&[(Some("layers.3."), &[0.5]), (None, &[1.0])]).is_err());
        assert!(rules_of(&[(Some("expert"), &[0.5]), (None, &[1.0])]).is_err());
    }
}
