//! The adapters that a checkpoint of jina-embeddings-v3 holds within its weights, one a task, stacked by task. Each becomes a
//! GGUF of its own, as llama.cpp applies it.
//! Specification: `XLMRobertaModel` of llama.cpp's converter; `LoRAParametrization` of jinaai/xlm-roberta-flash-implementation.

use super::convert::named;
use super::rows::twin;
use crate::arch::factors::{Factors, factors, one_of};
use ggraft_formats::{Checkpoint, DType, Error, Metadata, Model, Result, Tensor};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// What PyTorch adds to the name of a weight that has a parametrization: the weight itself, and the factors of the change.
const WEIGHT: &str = ".original";
const A: &str = ".0.lora_A";
const B: &str = ".0.lora_B";

/// The head that pools, which a GGUF does not have.
const POOLER: &str = "pooler.dense";

/// An adapter, and the task that it is for.
pub struct Task {
    pub name: String,
    pub adapter: Model,
}

/// The adapters of a checkpoint, in the order in which its config names them; none where there are no factors.
///
/// # Errors
/// The config and the tensors do not fit each other.
pub fn tasks(checkpoint: &Checkpoint) -> Result<Vec<Task>> {
    let Some(config) = Told::of(checkpoint)? else { return Ok(Vec::new()) };
    let stacks = stacks(checkpoint, config.names.len())?;
    if stacks.is_empty() {
        return Ok(Vec::new());
    }
    let one = |(i, name): (usize, &String)| {
        Ok(Task { name: name.clone(), adapter: adapter(checkpoint, &config, &stacks, i)? })
    };
    config.names.iter().enumerate().map(one).collect()
}

/// What the config says of the adapters.
struct Told {
    names: Vec<String>,
    alpha: f64,
    prefixes: Option<Map<String, Json>>,
}

impl Told {
    fn of(checkpoint: &Checkpoint) -> Result<Option<Told>> {
        let file = checkpoint.dir.join("config.json");
        let Some(json) = checkpoint.json("config.json")? else { return Ok(None) };
        let wrong = |key: &str, due: &str, found: &Json| {
            let error = Error::invalid(format!("'{key}' cannot be used")).file(&file);
            Err(error.expected(due).found(found.to_string().chars().take(60).collect::<String>()))
        };
        let told = match json.get("lora_adaptations") {
            None | Some(Json::Null) => return Ok(None),
            Some(told) => told,
        };
        // They become parts of names of files.
        let fits = |name: &&str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
        };
        let name = |name: &Json| name.as_str().filter(fits).map(String::from);
        let names = told.as_array().and_then(|all| all.iter().map(name).collect::<Option<Vec<_>>>());
        let Some(names) = names else {
            return wrong("lora_adaptations", "names of tasks, of letters, digits, '.', '_' and '-'", told);
        };
        if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return wrong("lora_adaptations", "names that differ", &Json::from(twice.1.as_str()));
        }
        let alpha = match json.get("lora_alpha") {
            None | Some(Json::Null) => 1.0,
            Some(told) => match told.as_f64() {
                Some(alpha) => alpha,
                None => return wrong("lora_alpha", "a number", told),
            },
        };
        let prefixes = match json.get("task_instructions") {
            None | Some(Json::Null) => None,
            Some(told) => match told.as_object() {
                Some(texts) if names.iter().all(|name| texts.get(name).is_some_and(Json::is_string)) => {
                    Some(texts.clone())
                }
                _ => return wrong("task_instructions", "a text for each of 'lora_adaptations'", told),
            },
        };
        Ok((!names.is_empty()).then_some(Told { names, alpha, prefixes }))
    }
}

/// Both factors of a weight for all tasks.
struct Stack<'a> {
    /// The checkpoint's name of the weight.
    weight: String,
    a: &'a Tensor,
    b: &'a Tensor,
}

/// The factors in `checkpoint`, which must be of so many tasks.
fn stacks(checkpoint: &Checkpoint, count: usize) -> Result<Vec<Stack<'_>>> {
    let by_name: HashMap<&str, &Tensor> = checkpoint.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for tensor in &checkpoint.tensors {
        let Some((stem, twin)) = twin(&tensor.name, A, B) else { continue };
        if stem.contains(POOLER) {
            continue;
        }
        match by_name.get(twin.as_str()) {
            _ if tensor.shape().ne().len() > 3 || tensor.shape().dim(2) != count as u64 => problems.push(
                Error::invalid("these are not the factors of the tasks that the config names")
                    .tensor(&tensor.name)
                    .expected(format!("matrices of {count} tasks"))
                    .found(tensor.shape()),
            ),
            None => problems.push(Error::invalid("a part of the adapters is missing").tensor(&twin)),
            Some(twin) if tensor.name.ends_with(A) => {
                all.push(Stack { weight: format!("{stem}{WEIGHT}"), a: tensor, b: twin });
            }
            Some(_) => {}
        }
    }
    match Error::all(problems) {
        Some(e) => Err(e.file(&checkpoint.dir)),
        None => Ok(all),
    }
}

/// The adapter of one task.
fn adapter(checkpoint: &Checkpoint, told: &Told, stacks: &[Stack<'_>], task: usize) -> Result<Model> {
    let mut pairs = HashMap::new();
    for stack in stacks {
        let (a, b) = (one_of(stack.a, task as u64)?, one_of(stack.b, task as u64)?);
        // Rows of a table are looked up: its change is A·B, that of a matrix B·A.
        let is_table = stack.weight.contains("embeddings.");
        pairs.insert(stack.weight.clone(), if is_table { Factors { a: b, b: a } } else { Factors { a, b } });
    }
    let made = factors(checkpoint, &pairs, &[]).map_err(|e| e.file(&checkpoint.dir))?;
    let mut tensors = Vec::new();
    for (name, pair) in made.pairs {
        let [a, b] = named(&name, pair)?;
        tensors.extend([a.encode(DType::F32, None)?, b.encode(DType::F32, None)?]);
    }
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", made.architecture);
    metadata.set("general.type", "adapter");
    metadata.set("adapter.type", "lora");
    metadata.set("adapter.lora.alpha", told.alpha as f32);
    let name = &told.names[task];
    metadata.set("adapter.lora.task_name", name.as_str());
    let prefix = told.prefixes.as_ref().and_then(|all| all.get(name)).and_then(Json::as_str);
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        metadata.set("adapter.lora.prompt_prefix", prefix);
    }
    Ok(Model {
        metadata,
        tensors,
        containers: checkpoint.containers.clone(),
        reads: checkpoint.reads.clone(),
    })
}
