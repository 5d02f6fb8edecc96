//! mergekit's settings as rules, as `merge::weights` reads them: a filter is text in the checkpoint's name of a tensor,
//! and so becomes a rule over those names, whatever family the models are of. Of mergekit's cases the first that fits
//! counts, of rules the last, so they are written in reverse. mergekit gives tensors outside the layers the first value
//! of a gradient; a rule over all names would give the output head and its norm the last one.

use super::setting::{Case, Setting};
use crate::merge::weights::TRAINERS;
use crate::recipe::Rule;
use crate::recipe::read::Fault;

/// The rules that give every tensor the value that the setting gives it.
pub(crate) fn rules(setting: &Setting) -> Result<Vec<Rule>, Fault> {
    if setting.cases.last().is_none_or(|case| case.filter.is_some()) {
        let fault = Fault::new("it says nothing of the tensors that no filter fits");
        return Err(setting.fault(fault.expected("a last value without a filter")));
    }
    let mut rules = Vec::new();
    let mut add = |text: String, place: Option<&str>| -> Result<(), Fault> {
        let rule: Rule = text.parse().map_err(|e: String| setting.fault(Fault::unsupported(e)))?;
        rules.push(rule.at(place.map(String::from)));
        Ok(())
    };
    for case in setting.cases.iter().rev() {
        match &case.filter {
            None => {
                add(format!("*={}", text(&case.values)), None)?;
                if let [first, _, ..] = case.values[..] {
                    add(format!("output*={first}"), None)?;
                }
            }
            Some(filter) => add(filtered(filter, case).map_err(|f| setting.fault(f))?, Some(&case.place))?,
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

/// The rule of a case for the tensors whose names, in the checkpoint, hold `filter`. Signs of a pattern are in no name.
fn filtered(filter: &str, case: &Case) -> Result<String, Fault> {
    if filter.contains(['*', '?', '{', '}']) {
        let fault = Fault::unsupported("no tensor has this text in its name").found(format!("'{filter}'"));
        return Err(fault.hint("give a part of a name as it is: a filter is no pattern"));
    }
    Ok(format!("{TRAINERS}*{filter}*={}", text(&case.values)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(cases: &[(Option<&str>, &[f64])]) -> Result<Vec<String>, Fault> {
        let case = |(filter, values): &(Option<&str>, &[f64])| Case {
            filter: filter.map(String::from),
            values: values.to_vec(),
            place: String::from("line 7: filter"),
        };
        let setting =
            Setting { cases: cases.iter().map(case).collect(), line: 1, path: String::from("weight") };
        Ok(rules(&setting)?.iter().map(|rule| rule.text().to_string()).collect())
    }

    #[test]
    fn the_first_case_becomes_the_last_rule() {
        let rules =
            rules_of(&[(Some("mlp"), &[0.5, 1.0]), (Some("lm_head"), &[0.0]), (None, &[0.25])]).unwrap();
        assert_eq!(rules, ["*=0.25", "hf:*lm_head*=0", "hf:*mlp*=[0.5,1]"]);
    }

    #[test]
    fn what_lies_outside_the_layers_takes_the_first_value() {
        let rules = rules_of(&[(Some("norm"), &[0.1, 0.9]), (None, &[0.2, 0.8])]).unwrap();
        assert_eq!(rules, ["*=[0.2,0.8]", "output*=0.2", "hf:*norm*=[0.1,0.9]"]);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        assert!(rules_of(&[(Some("mlp"), &[0.5])]).is_err());
        assert!(rules_of(&[(Some("*.mlp"), &[0.5]), (None, &[1.0])]).is_err());
    }
}
