//! Checkpoints of PyTorch as torch saves them (fixtures/make_pickles.py), against the same tensors as safetensors.

use ggraft_formats::{Checkpoint, Error, Input, Tensor, open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/pickles").join(name)
}

fn checkpoint(path: &Path) -> Checkpoint {
    match open(path).unwrap_or_else(|e| panic!("{e}")) {
        Input::Checkpoint(checkpoint) => checkpoint,
        Input::Model(_) => panic!("{} is a checkpoint", path.display()),
    }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let rows = tensor.shape().rows() as usize;
    let mut out = vec![0; tensor.bytes() as usize];
    tensor.read(0..rows, &mut out).unwrap();
    out
}

/// Shape, dtype and bytes by name.
fn tensors(checkpoint: &Checkpoint) -> BTreeMap<String, (String, Vec<u8>)> {
    let one = |t: &Tensor| (t.name.clone(), (format!("{} {}", t.shape(), t.dtype()), bytes(t)));
    checkpoint.tensors.iter().map(one).collect()
}

/// The fixtures that have a safetensors file beside them.
const SOUND: [&str; 17] = [
    "plain.pt",
    "plain-legacy.bin",
    "plain-4.pt",
    "plain-legacy-4.bin",
    "dtypes.pt",
    "dtypes-legacy.bin",
    "new-dtypes.pt",
    "strided.pt",
    "strided-legacy.bin",
    "tied.pt",
    "tied-legacy.bin",
    "module.pth",
    "module-legacy.pth",
    "lightning.ckpt",
    "nested.pt",
    "deep.pt",
    "others.pt",
];

#[test]
fn what_torch_saves_is_read_as_its_safetensors_are() {
    for name in SOUND {
        let path = fixture(name);
        let (ours, theirs) =
            (checkpoint(&path), checkpoint(&fixture(&path.with_extension("safetensors").to_string_lossy())));
        assert_eq!(tensors(&ours), tensors(&theirs), "{name}");
        assert_eq!(ours.tensors.len(), theirs.tensors.len(), "{name}");
        assert_eq!((ours.format, theirs.format), ("PyTorch", "safetensors"));
        assert_eq!(ours.containers.iter().map(|c| c.path()).collect::<Vec<_>>(), [path], "{name}");
    }
}

#[test]
fn any_cut_of_rows_equals_the_whole() {
    for name in ["strided.pt", "strided-legacy.bin"] {
        for tensor in &checkpoint(&fixture(name)).tensors {
            let (whole, row) = (bytes(tensor), tensor.row_bytes());
            let rows = tensor.shape().rows() as usize;
            for (start, end) in (0..rows).flat_map(|start| (start..=rows).map(move |end| (start, end))) {
                let mut part = vec![0; (end - start) * row];
                tensor.read(start..end, &mut part).unwrap();
                let expected = &whole[start * row..end * row];
                assert_eq!(part, expected, "{name} {} {start}..{end}", tensor.name);
                let same = tensor.with_rows(start..end, |lent| Ok(lent == expected));
                assert!(same.unwrap(), "rows {start} to {end}");
                tensor.prefetch(start..end);
                tensor.release(start..end);
            }
        }
    }
}

#[test]
fn shared_storages_are_mapped_and_never_copied() {
    for name in ["tied.pt", "tied-legacy.bin"] {
        let checkpoint = checkpoint(&fixture(name));
        let lent = |name: &str| {
            let tensor = checkpoint.tensors.iter().find(|t| t.name == name).unwrap();
            tensor.lent(0..tensor.shape().rows() as usize).unwrap().as_ptr_range()
        };
        let (head, table, view) =
            (lent("lm_head.weight"), lent("model.embed_tokens.weight"), lent("model.view"));
        assert_eq!(head, table, "{name}");
        assert!(table.start < view.start && view.end == table.end, "{name}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let notes = |name: &str| checkpoint(&fixture(name)).notes.join("\n");
    assert_eq!(notes("plain.pt"), "");
    assert_eq!(notes("module.pth"), "");
    let told = notes("lightning.ckpt");
    assert!(
        told.ends_with("lightning.ckpt: the state dict is taken from 'state_dict', the rest is left out"),
        "{told}"
    );
    assert!(notes("nested.pt").contains("taken from 'model'"));
    assert!(notes("deep.pt").contains("taken from 'state_dict'"));
    let told = notes("others.pt");
    assert!(told.ends_with("2 entries are no tensors and are left out, such as version, args"), "{told}");
}

fn refusal(name: &str) -> String {
    open(&fixture(name)).map(|_| name.to_string()).map_err(|e: Error| e.to_string()).unwrap_err()
}

#[test]
fn what_is_no_plain_state_dict_is_refused_with_its_reason() {
    for (name, reason) in [
        ("two.pt", "several dicts of tensors, and none is said to be the model: found model, ema"),
        ("list.pt", "this file holds no state dict"),
        ("sparse.pt", "found torch._utils._rebuild_sparse_tensor"),
        ("complex.pt", "found torch.ComplexFloatStorage"),
        ("expanded.pt", "a tensor that repeats the elements of its storage is not covered"),
        ("whole-module.pt", "found __main__.Small"),
        ("script.pt", "this is a program of TorchScript, not a checkpoint"),
    ] {
        let text = refusal(name);
        assert!(text.contains(reason) && text.contains(name), "{name}: {text}");
    }
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in files {
        std::fs::copy(fixture(from), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_directory_is_read_by_its_safetensors_if_it_has_both() {
    let dir = directory(&[("pytorch_model.bin", "plain.pt")]);
    assert_eq!(checkpoint(dir.path()).format, "PyTorch");
    std::fs::copy(fixture("dtypes.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let both = checkpoint(dir.path());
    assert_eq!((both.format, both.tensors.len(), both.notes.len()), ("safetensors", 10, 1));
    assert!(
        both.notes[0].ends_with("those of safetensors are read, those of PyTorch are not"),
        "{:?}",
        both.notes
    );
}

#[test]
fn a_directory_of_one_file_is_read_whatever_its_name() {
    for name in ["consolidated.00.pth", "model.pt", "last.ckpt", "x.bin"] {
        let dir =
            directory(&[(name, "plain.pt"), ("training_args.bin", "list.pt"), ("optimizer.pt", "list.pt")]);
        let containers = checkpoint(dir.path()).containers;
        assert_eq!(containers.iter().map(|c| c.path()).collect::<Vec<_>>(), [dir.path().join(name)]);
    }
    let dir = directory(&[("a.pth", "plain.pt"), ("b.pth", "plain.pt")]);
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("found 2 files of PyTorch and no index"), "{text}");
}

#[test]
fn shards_are_read_by_their_index() {
    let dir = directory(&[("a.bin", "plain.pt"), ("b.bin", "strided-legacy.bin")]);
    let names =
        |name: &str| checkpoint(&fixture(name)).tensors.into_iter().map(|t| t.name).collect::<Vec<_>>();
    let mut map = serde_json::Map::new();
    map.extend(names("plain.pt").into_iter().map(|name| (name, "a.bin".into())));
    map.extend(names("strided.pt").into_iter().map(|name| (name, "b.bin".into())));
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    let path = dir.path().join("pytorch_model.bin.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    for path in [dir.path(), &path] {
        let read = checkpoint(path);
        read.agrees().unwrap();
        let mut expected = tensors(&checkpoint(&fixture("plain.safetensors")));
        expected.extend(tensors(&checkpoint(&fixture("strided.safetensors"))));
        assert_eq!(tensors(&read), expected);
        assert_eq!(read.reads.all().len(), 3);
    }
    std::fs::remove_file(dir.path().join("b.bin")).unwrap();
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("b.bin: this shard is missing"), "{text}");
}

#[test]
fn shards_without_an_index_are_those_that_their_names_count() {
    let dir = directory(&[("m-00001-of-00002.bin", "plain.pt"), ("training_args.bin", "list.pt")]);
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("m-00002-of-00002.bin: this shard is missing"), "{text}");
    std::fs::copy(fixture("strided-legacy.bin"), dir.path().join("m-00002-of-00002.bin")).unwrap();
    let mut expected = tensors(&checkpoint(&fixture("plain.safetensors")));
    expected.extend(tensors(&checkpoint(&fixture("strided.safetensors"))));
    let read = checkpoint(dir.path());
    assert_eq!((tensors(&read), read.format), (expected, "PyTorch"));
}

#[test]
fn the_header_is_the_pickle() {
    for name in ["plain.pt", "plain-legacy.bin"] {
        let file = ggraft_formats::source::Container::open(&fixture(name)).unwrap();
        let header = ggraft_formats::header(&file).unwrap();
        assert!(
            header.starts_with(b"\x80\x02ccollections\nOrderedDict\n") && header.ends_with(b"."),
            "{name}"
        );
    }
}
