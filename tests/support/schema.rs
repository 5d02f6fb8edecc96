//! Holds JSON against a JSON Schema, as far as the schemas in `docs/` go: type, properties, required,
//! additionalProperties, items, enum, minimum, anyOf and local references. Any other keyword is an error.

use serde_json::Value as Json;

/// What is wrong with `value`, each with its place; nothing if the schema at `definition` accepts it.
pub fn problems(schema: &Json, definition: &str, value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, resolve(schema, &format!("#/$defs/{definition}")), value, definition, &mut found);
    found
}

fn resolve<'a>(root: &'a Json, reference: &str) -> &'a Json {
    let pointer = reference.strip_prefix('#').unwrap();
    root.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {reference}"))
}

fn check(root: &Json, schema: &Json, value: &Json, at: &str, found: &mut Vec<String>) {
    let mut own = Vec::new();
    let mut wrong = |what: String| own.push(format!("{at}: {what}"));
    let rules = schema.as_object().unwrap();
    for (rule, it) in rules {
        match rule.as_str() {
            "description" => {}
            "$ref" => check(root, resolve(root, it.as_str().unwrap()), value, at, found),
            "type" => {
                let types = it.as_array().cloned().unwrap_or_else(|| vec![it.clone()]);
                if !types.iter().any(|t| is(value, t.as_str().unwrap())) {
                    wrong(format!("expected {it}, found {value}"));
                }
            }
            "enum" if !it.as_array().unwrap().contains(value) => wrong(format!("{value} is none of {it}")),
            "enum" => {}
            "minimum" if value.as_f64() < it.as_f64() && value.is_number() => {
                wrong(format!("{value} is below {it}"))
            }
            "minimum" => {}
            "anyOf" => {
                let fits = |one: &Json| {
                    let mut others = Vec::new();
                    check(root, one, value, at, &mut others);
                    others.is_empty()
                };
                if !it.as_array().unwrap().iter().any(fits) {
                    wrong(format!("{value} fits none of the choices"));
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, it, item, &format!("{at}[{i}]"), found);
                }
            }
            "required" if value.is_object() => {
                let names = it.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                names
                    .filter(|name| value.get(name).is_none())
                    .for_each(|name| wrong(format!("{name} is missing")));
            }
            "required" => {}
            "properties" | "additionalProperties" => {}
            other => panic!("the keyword {other} is not known here"),
        }
    }
    found.extend(own);
    for (name, item) in value.as_object().into_iter().flatten() {
        let place = format!("{at}.{name}");
        match (rules.get("properties").and_then(|p| p.get(name)), rules.get("additionalProperties")) {
            (Some(own), _) => check(root, own, item, &place, found),
            (None, Some(Json::Bool(false))) => found.push(format!("{place} is not in the schema")),
            (None, Some(others @ Json::Object(_))) => check(root, others, item, &place, found),
            (None, _) => {}
        }
    }
}

fn is(value: &Json, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
