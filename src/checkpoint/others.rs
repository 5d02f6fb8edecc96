//! Files of a checkpoint that neither its weights nor its tokenizer need: what prepares images and sounds goes along as it is;
//! of code it is told that it stays.

use super::{Source, modules};
use ggraft_formats::Result;
use serde_json::Value;

/// What the processors of transformers read.
const CARRIED: [&str; 3] =
    ["preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"];

/// The files that go along.
pub fn files(source: &Source) -> Result<Vec<(String, Vec<u8>)>> {
    CARRIED.iter().filter_map(|name| source.copy(name).transpose()).collect()
}

/// What to say of files that stay, or go along as they are.
pub fn left(source: &Source) -> Result<Vec<String>> {
    let config = source.checkpoint.json("config.json")?.unwrap_or_default();
    let mut all = Vec::new();
    let code = code(&config);
    if !code.is_empty() {
        all.push(format!(
            "the code that config.json names (auto_map: {}) is not copied: copy it from the model",
            code.join(", ")
        ));
    }
    all.extend(modules::told(source)?);
    Ok(all)
}

/// The files of code that a config names, each once.
fn code(config: &Value) -> Vec<String> {
    let named = config["auto_map"].as_object().into_iter().flatten();
    let text = |value: &Value| match value {
        Value::Array(list) => list.iter().find_map(Value::as_str).map(String::from),
        other => other.as_str().map(String::from),
    };
    // "org/name--module.Class" is code of another repository, which transformers fetches.
    let own = named.filter_map(|(_, value)| text(value)).filter(|name| !name.contains("--"));
    let mut all: Vec<String> =
        own.filter_map(|name| Some(format!("{}.py", name.rsplit_once('.')?.0))).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn code_is_named_by_its_file_each_once() {
        let config = json!({"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.X",
            "AutoModelForCausalLM": "modeling_x.XForCausalLM", "AutoTokenizer": ["tokenization_x.XTokenizer", null],
            "AutoProcessor": "org/other--processing_y.Y"}});
        assert_eq!(code(&config), ["configuration_x.py", "modeling_x.py", "tokenization_x.py"]);
        assert!(code(&json!({})).is_empty());
    }
}
