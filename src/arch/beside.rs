//! What stands beside `config.json` of a model that sees or hears: how images and sounds are prepared, and the folders that
//! hold towers with a config and weights of their own.
//! Specification: `MmprojModel.__init__`, `MiMoV2VisionAudioModel` of llama.cpp's converter.

use ggraft_formats::safetensors;
use ggraft_formats::{Checkpoint, Error, Result};
use serde_json::{Map, Value};

/// The section of what is told of preparing images and sounds, and the file that tells it first.
pub const PREPARED: &str = "preprocessor_config";
const PREPARED_FILE: &str = "preprocessor_config.json";

/// The folders of towers; their configs are sections of these names.
const TOWERS: &[&str] = &["audio_tokenizer", "speech_tokenizer"];

/// The file that tells a key of a section that is not of `config.json`, and what the key is called there.
pub fn told_in(key: &str) -> Option<(String, &str)> {
    let (section, own) = key.split_once('.')?;
    match section {
        PREPARED => Some((PREPARED_FILE.into(), own)),
        _ => TOWERS.contains(&section).then(|| (format!("{section}/config.json"), own)),
    }
}

/// How images and sounds are prepared: what `preprocessor_config.json` says, and over it `processor_config.json`; what either
/// says of images alone counts more.
pub fn prepared(checkpoint: &Checkpoint) -> Result<Value> {
    let mut all = Map::new();
    for (file, own) in [(PREPARED_FILE, "media_proc_cfg"), ("processor_config.json", "image_processor")] {
        let Some(told) = checkpoint.json(file)? else { continue };
        let inner = told.get(own).and_then(Value::as_object).cloned();
        all.extend(told.as_object().cloned().unwrap_or_default());
        all.extend(inner.unwrap_or_default());
    }
    Ok(Value::Object(all))
}

/// `config` with those of the folders as sections.
pub fn with_towers(checkpoint: &Checkpoint, mut config: Value) -> Result<Value> {
    let Some(root) = config.as_object_mut() else { return Ok(config) };
    for folder in TOWERS {
        if let Some(told) = checkpoint.json(&format!("{folder}/config.json"))? {
            root.insert(String::from(*folder), told);
        }
    }
    Ok(config)
}

/// What weights of a folder may be called: an index, or the one file.
const WEIGHTS: [&str; 2] = ["model.safetensors.index.json", "model.safetensors"];

/// `checkpoint` with the weights of one of its folders, whose name stands in front of theirs.
///
/// # Errors
/// The folder holds no weights, or such as cannot be read.
pub fn with_weights(checkpoint: &Checkpoint, folder: &str) -> Result<Checkpoint> {
    let found = WEIGHTS.iter().map(|file| format!("{folder}/{file}")).find(|file| checkpoint.has(file));
    let Some(file) = found else {
        return Err(Error::invalid("the weights of what hears or speaks are missing")
            .file(&checkpoint.dir.join(folder))
            .expected(WEIGHTS[1])
            .hint("copy the folder, with its config and weights, from the model's repository"));
    };
    let own = safetensors::beside(checkpoint, &file)?;
    let mut all = checkpoint.clone();
    for mut tensor in own.tensors {
        tensor.name = format!("{folder}.{}", tensor.name);
        all.tensors.push(tensor);
    }
    all.containers.extend(own.containers);
    own.reads.all().into_iter().for_each(|stamp| all.reads.add(stamp));
    all.notes.extend(own.notes);
    Ok(all)
}
