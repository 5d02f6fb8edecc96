//! Walks a node tree by hand, where a struct does not fit what a file may say: every step knows its path and line,
//! so that whatever is refused on the way is named.

use super::read::Fault;
use super::yaml::{Node, Value};

/// A node, and where it stands.
#[derive(Clone)]
pub(super) struct At<'a> {
    pub node: &'a Node,
    pub line: u64,
    pub path: String,
}

impl<'a> At<'a> {
    pub fn root(node: &'a Node) -> At<'a> {
        At { node, line: node.line, path: String::new() }
    }

    /// The fault, at this place.
    pub fn fault(&self, fault: Fault) -> Fault {
        let fault = fault.line(self.line);
        if self.path.is_empty() { fault } else { fault.within(&self.path) }
    }

    fn wrong(&self, expected: &str) -> Fault {
        self.fault(Fault::new("the value is of the wrong type").expected(expected).found(&self.node.value))
    }

    /// The value of a key; none if it is absent or empty.
    pub fn get(&self, key: &str) -> Option<At<'a>> {
        let entry = self.node.get(key).filter(|entry| entry.node.value != Value::Null)?;
        Some(At { node: &entry.node, line: entry.line, path: self.path_of(key) })
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str) -> Result<At<'a>, Fault> {
        self.get(key)
            .ok_or_else(|| Fault::new("this key is missing").line(self.line).within(&self.path_of(key)))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Every key of a mapping and its value.
    pub fn entries(&self) -> Result<Vec<(&'a str, At<'a>)>, Fault> {
        let Value::Map(entries) = &self.node.value else { return Err(self.wrong("a mapping")) };
        let at = |key: &str, node, line| At { node, line, path: self.path_of(key) };
        Ok(entries.iter().map(|e| (e.key.as_str(), at(&e.key, &e.node, e.line))).collect())
    }

    /// Refuses a mapping with any other keys than these.
    pub fn only(&self, keys: &[&str]) -> Result<(), Fault> {
        match self.entries()?.into_iter().find(|(key, _)| !keys.contains(key)) {
            None => Ok(()),
            Some((_, at)) => Err(at.fault(
                Fault::unsupported("this key is not supported")
                    .expected(format!("one of {}", keys.join(", "))),
            )),
        }
    }

    pub fn items(&self) -> Result<Vec<At<'a>>, Fault> {
        let Value::List(items) = &self.node.value else { return Err(self.wrong("a list")) };
        let at =
            |(i, node): (usize, &'a Node)| At { node, line: node.line, path: format!("{}[{i}]", self.path) };
        Ok(items.iter().enumerate().map(at).collect())
    }

    pub fn text(&self) -> Result<&'a str, Fault> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong("text")),
        }
    }

    pub fn number(&self) -> Result<f64, Fault> {
        match self.node.value {
            Value::Float(x) => Ok(x),
            Value::Integer(x) => Ok(x as f64),
            _ => Err(self.wrong("a number")),
        }
    }

    pub fn count(&self) -> Result<u64, Fault> {
        match self.node.value {
            Value::Integer(x) => u64::try_from(x).map_err(|_| self.wrong("a whole number, zero or more")),
            _ => Err(self.wrong("a whole number, zero or more")),
        }
    }

    /// True or false, also written 1 or 0.
    pub fn truth(&self) -> Result<bool, Fault> {
        match self.node.value {
            Value::Bool(x) => Ok(x),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => Err(self.wrong("true or false")),
        }
    }
}
