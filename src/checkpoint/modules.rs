//! The modules of sentence-transformers: how a model of embeddings makes one vector of a text's. `modules.json` lists them;
//! each but the model itself has a folder with its `config.json`, and weights if it has some.
//! Specification: `SentenceTransformer.save`, `Pooling` of sentence-transformers; `llama_pooling_type` of llama.cpp.

use super::Source;
use crate::arch::dense::{PICKLED, WEIGHT, WEIGHTS};
use crate::arrange::Arrange;
use ggraft_formats::{Error, Metadata, Result, Tensor, safetensors};
use serde_json::{Value, json};
use std::path::{Component, Path};

/// What lists them.
const LIST: &str = "modules.json";

/// Files beside the list, and in the folder of a module.
const BESIDE: [&str; 2] = ["config_sentence_transformers.json", "sentence_bert_config.json"];
const CONFIG: &str = "config.json";
/// Modules that are no more than their config.
const PLAIN: [&str; 3] = ["Pooling", "Normalize", "Dropout"];

/// GGUF's numbers of the ways of pooling, and the flags that say them.
const FLAGS: [(&str, u64); 3] =
    [("pooling_mode_mean_tokens", 1), ("pooling_mode_cls_token", 2), ("pooling_mode_lasttoken", 3)];

/// What the weights of a module may have: more is none's.
const LARGEST: usize = 256 << 20;

/// An entry of the list that has a folder.
struct Module {
    folder: String,
    /// The last part of its type.
    class: String,
}

impl Module {
    /// Whether its folder lies in the directory itself.
    fn is_inside(&self) -> bool {
        let mut parts = Path::new(&self.folder).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
            && !self.folder.contains(['/', '\\'])
    }

    /// Whether its folder goes along: what is a model of its own there is not this one.
    fn goes(&self) -> bool {
        self.is_inside() && self.class != "Transformer"
    }
}

/// The files of a checkpoint's modules, as they are.
pub fn files(source: &Source) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all: Vec<(String, Vec<u8>)> = source.copy(LIST)?.into_iter().collect();
    if all.is_empty() {
        return Ok(all);
    }
    for name in BESIDE {
        all.extend(source.copy(name)?);
    }
    for module in listed(source)?.iter().filter(|module| module.goes()) {
        for name in [CONFIG, WEIGHTS].map(|name| format!("{}/{name}", module.folder)) {
            let file = source.checkpoint.bytes(&name)?;
            if let Some(large) = file.as_ref().filter(|file| file.bytes().len() > LARGEST) {
                return Err(Error::unsupported("the weights of a module are larger than any is")
                    .file(large.path())
                    .expected(format!("at most {LARGEST} bytes"))
                    .found(large.bytes().len()));
            }
            all.extend(file.map(|file| (name, file.bytes().to_vec())));
        }
    }
    Ok(all)
}

/// What to say of modules: whose weights go along as they are, and what of them stays.
pub fn told(source: &Source) -> Result<Vec<String>> {
    let has = |folder: &str, name: &str| source.checkpoint.has(&format!("{folder}/{name}"));
    let one = |module: &Module| {
        let Module { folder, class } = module;
        match class.as_str() {
            _ if !module.is_inside() => {
                Some(format!("the module {folder} is not copied: it lies in no folder of its own here"))
            }
            "Transformer" => {
                Some(format!("{folder}, which is a model of its own by the list of modules, is not copied"))
            }
            _ if has(folder, WEIGHTS) => {
                Some(format!("the weights of the module {folder} go along as they are"))
            }
            _ if has(folder, PICKLED) => Some(format!(
                "{folder}/{PICKLED}, the weights of a module, is not copied: copy it from the model"
            )),
            "Dense" => Some(format!(
                "the module {folder} has no weights here: copy {folder}/{WEIGHTS} from the model"
            )),
            class if PLAIN.contains(&class) => None,
            _ => Some(format!("of the module {folder} ({class}) no more goes along than its {CONFIG}")),
        }
    };
    Ok(listed(source)?.iter().filter_map(one).collect())
}

/// The modules that have folders; none without a list.
fn listed(source: &Source) -> Result<Vec<Module>> {
    let list = source.checkpoint.json(LIST)?.unwrap_or_default();
    let text = |module: &Value, key: &str| module.get(key).and_then(Value::as_str).map(String::from);
    let module = |value: &Value| {
        let class = text(value, "type").unwrap_or_default();
        let class = class.rsplit('.').next().unwrap_or_default().to_string();
        Some(Module { folder: text(value, "path").filter(|path| !path.is_empty())?, class })
    };
    let mut all: Vec<Module> = list.as_array().into_iter().flatten().filter_map(module).collect();
    all.arrange_by(|a, b| a.folder.cmp(&b.folder));
    all.dedup_by(|a, b| a.folder == b.folder);
    Ok(all)
}

/// The files that say how a GGUF makes one vector of a text's, whose dense modules are `dense`, by their folders; none if it
/// does not say, or in no way that they know.
pub fn regained(metadata: &Metadata, dense: &[(&str, Tensor)]) -> Result<Vec<(String, Vec<u8>)>> {
    let arch = metadata.str("general.architecture").unwrap_or_default();
    let number = |key: &str| metadata.u64(&format!("{arch}.{key}"));
    let pooling = number("pooling_type").filter(|number| FLAGS.iter().any(|(_, flag)| flag == number));
    if pooling.is_none() && dense.is_empty() {
        return Ok(Vec::new());
    }
    let text = |json: &Value| format!("{json:#}\n").into_bytes();
    let (mut list, mut files) =
        (vec![(String::new(), "sentence_transformers.models.Transformer")], Vec::new());
    if pooling.is_some() {
        let mut config = json!({"word_embedding_dimension": number("embedding_length")});
        for (flag, number) in FLAGS {
            config[flag] = json!(pooling == Some(number));
        }
        list.push((String::from("1_Pooling"), "sentence_transformers.models.Pooling"));
        files.push((format!("1_Pooling/{CONFIG}"), text(&config)));
    }
    for (folder, tensor) in dense {
        let config = json!({
            "in_features": tensor.shape().row(), "out_features": tensor.shape().rows(), "bias": false,
            "activation_function": "torch.nn.modules.linear.Identity"
        });
        // The vectors of all tokens, which are not pooled, are PyLate's.
        let class = match pooling {
            Some(_) => "sentence_transformers.models.Dense",
            None => "pylate.models.Dense.Dense",
        };
        list.push((folder.to_string(), class));
        files.push((format!("{folder}/{CONFIG}"), text(&config)));
        files.push((format!("{folder}/{WEIGHTS}"), safetensors::bytes(&[(WEIGHT, tensor)])?));
    }
    let module = |(i, (path, class)): (usize, (String, &str))| json!({"idx": i, "name": i.to_string(), "path": path, "type": class});
    let list: Vec<Value> = list.into_iter().enumerate().map(module).collect();
    files.push((LIST.into(), text(&json!(list))));
    Ok(files)
}
