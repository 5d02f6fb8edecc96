//! Every rule of the safetensors reader, its index and the checkpoint directory, with the words of the error.

use ggraft_formats::{Input, Result, Shape, open};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Dir(TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(self, name: &str, bytes: &[u8]) -> Dir {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// A checkpoint whose index must agree with its shards.
    fn open(&self) -> Result<Input> {
        let input = open(self.0.path())?;
        if let Input::Checkpoint(checkpoint) = &input {
            checkpoint.agrees()?;
        }
        Ok(input)
    }

    /// The errors, one a line, with file names alone instead of paths.
    fn error(&self) -> String {
        let text = self.open().unwrap_err().to_string();
        text.replace(&format!("{}/", self.0.path().display()), "")
            .replace(&self.0.path().display().to_string(), "DIR")
    }
}

fn container(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

fn one(name: &str) -> Vec<u8> {
    container(&json!({ name: entry("F32", &[2, 3], 0, 24) }).to_string(), 24)
}

fn entry(dtype: &str, shape: &[u64], start: u64, end: u64) -> Value {
    json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] })
}

fn index(map: Value) -> Vec<u8> {
    json!({ "metadata": {}, "weight_map": map }).to_string().into_bytes()
}

const MALFORMED: &str = "; the file is truncated or damaged: copy or download it again";

#[test]
fn one_file_is_read_with_the_row_length_first() {
    let Input::Checkpoint(checkpoint) = Dir::new().with("model.safetensors", &one("a")).open().unwrap()
    else {
        panic!("not a checkpoint")
    };
    assert_eq!(checkpoint.tensors[0].shape(), &Shape::new(&[3, 2]).unwrap());
}

#[test]
fn truncated_file() {
    let bytes = one("a");
    let dir = Dir::new().with("model.safetensors", &bytes[..bytes.len() - 1]);
    assert_eq!(
        dir.error(),
        format!(
            "model.safetensors: the safetensors file is malformed: incomplete metadata, file not fully covered: \
             found {} bytes{MALFORMED}",
            bytes.len() - 1
        )
    );
}

#[test]
fn every_prefix_is_refused() {
    let bytes = one("a");
    for n in 0..bytes.len() {
        Dir::new().with("model.safetensors", &bytes[..n]).open().map(|_| n).unwrap_err();
    }
}

#[test]
fn overlap_hole_and_wrong_size() {
    let overlap = json!({ "a": entry("F32", &[4], 0, 16), "b": entry("F32", &[4], 8, 24) });
    let hole = json!({ "a": entry("F32", &[4], 0, 16), "b": entry("F32", &[2], 24, 32) });
    let size = json!({ "a": entry("F32", &[5], 0, 16) });
    for (header, data) in [(overlap, 24), (hole, 32), (size, 16)] {
        let dir = Dir::new().with("model.safetensors", &container(&header.to_string(), data));
        let text = dir.error();
        assert!(text.starts_with("model.safetensors: the safetensors file is malformed: "), "{text}");
    }
}

#[test]
fn a_name_that_stands_there_twice() {
    let entry = entry("F32", &[4], 0, 16);
    let header = format!("{{\"a\": {entry}, \"a\": {entry}}}");
    let dir = Dir::new().with("model.safetensors", &container(&header, 16));
    assert_eq!(dir.error(), "model.safetensors: tensor 'a': the safetensors header names this tensor twice");
}

#[test]
fn dtype_that_is_not_covered() {
    let header = json!({ "a": entry("C64", &[2], 0, 16) });
    let dir = Dir::new().with("model.safetensors", &container(&header.to_string(), 16));
    assert_eq!(dir.error(), "model.safetensors: tensor 'a': the safetensors dtype C64 is not covered");
}

#[test]
fn nine_dimensions() {
    let header = json!({ "a": entry("F32", &[1, 1, 1, 1, 1, 1, 1, 1, 4], 0, 16) });
    let dir = Dir::new().with("model.safetensors", &container(&header.to_string(), 16));
    assert_eq!(
        dir.error(),
        "model.safetensors: tensor 'a': the tensor has too many dimensions or elements: \
         expected at most 8 dimensions, found [1, 1, 1, 1, 1, 1, 1, 1, 4]"
    );
}

#[test]
fn missing_shards_are_all_named() {
    let map = json!({ "a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors" });
    let dir =
        Dir::new().with("model.safetensors.index.json", &index(map)).with("model-2.safetensors", &one("b"));
    let hint = "this shard is missing; download it, or delete the index if the model has one file";
    assert_eq!(dir.error(), format!("model-1.safetensors: {hint}\nmodel-3.safetensors: {hint}"));
}

#[test]
fn shards_without_an_index_are_those_that_their_names_count() {
    let [first, third] = ["x-00001-of-00003.safetensors", "x-00003-of-00003.safetensors"];
    let dir = Dir::new().with(first, &one("a")).with(third, &one("c"));
    let hint = "this shard is missing; the names of the others count it: download it";
    assert_eq!(dir.error(), format!("x-00002-of-00003.safetensors: {hint}"));
    let whole = dir.with("x-00002-of-00003.safetensors", &one("b"));
    let Input::Checkpoint(checkpoint) = whole.open().unwrap() else { panic!("it is no checkpoint") };
    let names: Vec<&str> = checkpoint.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!((names, checkpoint.notes.len()), (vec!["a", "b", "c"], 1));
    let twice = whole.with("x-00002-of-00003.safetensors", &one("c"));
    assert_eq!(twice.error(), "DIR: tensor 'c': two shards hold this tensor");
    let other = twice.with("y.safetensors", &one("b"));
    assert!(other.error().contains("found 4 .safetensors files and no index"), "{}", other.error());
}

#[test]
fn index_and_shards_disagree() {
    let map = json!({ "a": "m.safetensors", "b": "m.safetensors" });
    let header = json!({ "a": entry("F32", &[1], 0, 4), "c": entry("F32", &[1], 4, 8) });
    let dir = Dir::new()
        .with("model.safetensors.index.json", &index(map))
        .with("m.safetensors", &container(&header.to_string(), 8));
    let hint = "; index and shards are of different versions: download both again";
    assert_eq!(
        dir.error(),
        format!(
            "m.safetensors: tensor 'b': the index puts this tensor here, but the shard does not hold it{hint}\n\
             m.safetensors: tensor 'c': the shard holds this tensor, but the index does not put it here{hint}"
        )
    );
}

#[test]
fn index_paths_stay_inside_the_directory() {
    for path in ["../x.safetensors", "/etc/passwd", "a/../../x", "C:\\x", "a\\b", ""] {
        let dir = Dir::new().with("model.safetensors.index.json", &index(json!({ "a": path })));
        assert_eq!(
            dir.error(),
            format!(
                "model.safetensors.index.json: tensor 'a': the index points outside its directory: \
                 expected a file name in the same directory, found {}",
                Value::from(path)
            )
        );
    }
}

#[test]
fn index_without_a_map() {
    let dir = Dir::new().with("model.safetensors.index.json", b"{}");
    assert_eq!(
        dir.error(),
        "model.safetensors.index.json: the index has no 'weight_map'; download the index again"
    );
}

#[test]
fn a_directory_without_weights_is_refused() {
    let dir = Dir::new().with("training_args.bin", b"x");
    assert_eq!(
        dir.error(),
        "DIR: this directory holds no checkpoint: expected model.safetensors or model.safetensors.index.json; \
         give a Hugging Face model directory or a .gguf file"
    );
}

#[test]
fn something_else_is_refused() {
    let dir = Dir::new().with("x.txt", b"hello");
    let text = open(&dir.path("x.txt")).unwrap_err().to_string();
    assert!(text.contains("x.txt: this is not a model that can be read: expected a .gguf file"), "{text}");
    let text = open(Path::new("no/such/model")).unwrap_err().to_string();
    assert!(text.starts_with("no/such/model: No such file or directory"), "{text}");
}
