//! A parameter of mergekit's: a number, a list of numbers spread over the layers (a gradient), or either of them
//! for the tensors whose names hold some text (a filter). What says nothing of a tensor leaves it to the next level:
//! a model's parameters come first, then its slice's, then those of the whole file.
//! Specification: `evaluate_setting` and `ConfigReader.parameter` of mergekit 0.1.4.

use crate::recipe::read::Fault;
use crate::recipe::walk::At;
use crate::recipe::yaml::Value;

/// The values of one parameter, of all levels; the first that fits a tensor counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Setting {
    pub cases: Vec<Case>,
    /// The line of its first value.
    pub line: u64,
    pub path: String,
}

/// A value for some tensors.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Text in the trainer's name of the tensor; none for all that are left.
    pub filter: Option<String>,
    /// One value, or several that are interpolated from the first layer to the last.
    pub values: Vec<f64>,
    /// The line and the key of the filter.
    pub place: String,
}

/// Where the filter stands does not count.
impl PartialEq for Case {
    fn eq(&self, other: &Case) -> bool {
        self.filter == other.filter && self.values == other.values
    }
}

impl Setting {
    /// The parameter `name` in `levels`, the innermost first.
    pub fn read(name: &str, levels: &[Option<At<'_>>]) -> Result<Option<Setting>, Fault> {
        let mut setting: Option<Setting> = None;
        for at in levels.iter().flatten().filter_map(|level| level.get(name)) {
            let here = setting.get_or_insert_with(|| Setting {
                cases: Vec::new(),
                line: at.line,
                path: at.path.clone(),
            });
            here.cases.append(&mut cases(&at)?);
            if here.cases.iter().any(|case| case.filter.is_none()) {
                break;
            }
        }
        if let Some(setting) = &mut setting {
            let end = setting.cases.iter().position(|case| case.filter.is_none());
            setting.cases.truncate(end.map_or(usize::MAX, |end| end + 1));
        }
        Ok(setting)
    }

    /// Its number, if it is one and the same for every tensor.
    pub fn number(&self) -> Option<f64> {
        match self.cases.as_slice() {
            [Case { filter: None, values, .. }] if values.iter().all(|x| x == &values[0]) => {
                values.first().copied()
            }
            _ => None,
        }
    }

    /// Whether the other says the opposite of every tensor.
    pub fn is_opposite(&self, other: &Setting) -> bool {
        let negated = |case: &Case| case.values.iter().map(|x| -x).collect::<Vec<_>>();
        self.cases.len() == other.cases.len()
            && self
                .cases
                .iter()
                .zip(&other.cases)
                .all(|(a, b)| a.filter == b.filter && negated(a) == b.values)
    }

    /// Whether the first number that is not zero is below it.
    pub fn is_negative(&self) -> bool {
        let mut values = self.cases.iter().flat_map(|case| &case.values);
        values.find(|x| **x != 0.0).is_some_and(|x| *x < 0.0)
    }

    /// The fault, at its place.
    pub fn fault(&self, fault: Fault) -> Fault {
        fault.line(self.line).within(&self.path)
    }
}

/// The cases of one level.
fn cases(at: &At<'_>) -> Result<Vec<Case>, Fault> {
    match &at.node.value {
        Value::List(items) if items.iter().any(|i| matches!(i.value, Value::Map(_))) => {
            at.items()?.iter().map(case).collect()
        }
        Value::Map(_) => Ok(vec![case(at)?]),
        _ => Ok(vec![Case { filter: None, values: values(at)?, place: String::new() }]),
    }
}

fn case(at: &At<'_>) -> Result<Case, Fault> {
    at.only(&["filter", "value"])?;
    let place =
        at.get("filter").map_or(String::new(), |filter| format!("line {}: {}", filter.line, filter.path));
    let filter = at.get("filter").map(|filter| filter.text().map(String::from)).transpose()?;
    let filter = filter.filter(|text| text != "*");
    Ok(Case { filter, values: values(&at.need("value")?)?, place })
}

fn values(at: &At<'_>) -> Result<Vec<f64>, Fault> {
    if !matches!(at.node.value, Value::List(_)) {
        return Ok(vec![number(at)?]);
    }
    let values: Vec<f64> = at.items()?.iter().map(number).collect::<Result<_, _>>()?;
    if values.is_empty() { Err(at.fault(Fault::new("the list must not be empty"))) } else { Ok(values) }
}

/// A number, which mergekit takes as a text too.
fn number(at: &At<'_>) -> Result<f64, Fault> {
    let spelled = match &at.node.value {
        Value::Text(text) => text.trim().parse().ok().filter(|x: &f64| x.is_finite()),
        _ => None,
    };
    spelled.map_or_else(|| at.number(), Ok)
}
