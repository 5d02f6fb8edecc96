//! Importance matrices: both forms give the same weights, and nothing that is wrong with a file gets past.

mod support;

use ggraft_formats::{Imatrix, Result, Shape, Tensor, gguf, imatrix};
use std::path::Path;
use support::gguf::TOYS;
use support::imatrix::{CHUNKS, DATASET, legacy, measured, model, trailer};

fn read(bytes: &[u8]) -> Result<Imatrix> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.imatrix");
    std::fs::write(&path, bytes).unwrap();
    imatrix::open(&path)
}

/// The error without the path of the file, which every one must name.
#[track_caller]
fn error(bytes: &[u8]) -> String {
    let text = read(bytes).unwrap_err().to_string();
    let (file, rest) = text.split_once(": ").unwrap();
    assert!(Path::new(file).ends_with("x.imatrix"), "{text}");
    rest.to_string()
}

/// The bytes of a small matrix of the GGUF form, changed by `change`.
fn modern(change: impl FnOnce(&mut ggraft_formats::Model)) -> Vec<u8> {
    let entries = measured(&TOYS[0]);
    let mut model = model(&[&entries[0], &entries[1]]);
    change(&mut model);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    ggraft_formats::write::write(&[gguf::plan(&model, &path).unwrap()], &()).unwrap();
    std::fs::read(path).unwrap()
}

fn tensor(name: &str, ne: &[u64], values: &[f32]) -> Tensor {
    Tensor::in_memory(name, Shape::new(ne).unwrap(), values).unwrap()
}

#[test]
fn both_forms_give_the_same_weights() {
    for toy in &TOYS {
        let entries = measured(toy);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("toy.gguf");
        support::imatrix::write(&entries.iter().collect::<Vec<_>>(), &path);
        let new = imatrix::open(&path).unwrap();
        let weights: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.weights())).collect();
        let weights: Vec<_> = weights.iter().map(|(name, w)| (*name, w.as_slice())).collect();
        let mut bytes = legacy(&weights);
        let bare = read(&bytes).unwrap();
        bytes.extend(trailer(7, DATASET));
        let old = read(&bytes).unwrap();
        for (name, weights) in weights {
            for matrix in [&new, &bare, &old] {
                assert_eq!(*matrix.entries[name], *weights, "{} {name}", toy.name);
            }
        }
        for matrix in [&new, &old] {
            assert_eq!((matrix.dataset.as_deref(), matrix.chunks), (Some(DATASET), Some(CHUNKS)));
            assert_eq!(matrix.entries.len(), entries.len());
        }
        assert_eq!((bare.dataset, bare.chunks), (None, None));
    }
}

#[test]
fn every_prefix_and_every_excess_of_either_form_is_refused() {
    let old = [legacy(&[("a", &[1.0, 2.0]), ("bc", &[0.5])]), trailer(3, "text")].concat();
    // What older files end with is a file too.
    let whole = old.len() - trailer(3, "text").len();
    for (bytes, also) in [(old, Some(whole)), (modern(|_| {}), None)] {
        read(&bytes).unwrap();
        for end in (0..bytes.len()).filter(|end| Some(*end) != also) {
            assert_eq!(read(&bytes[..end]).unwrap_err().kind().exit_code(), 3, "{end} of {}", bytes.len());
        }
        assert!(error(&[&bytes[..], &[0]].concat()).contains("bytes, found "));
    }
}

#[test]
fn values_that_cannot_have_been_measured_are_refused() {
    for (value, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-4.0, "-4")] {
        let tail = format!(
            "the importance matrix holds a value that cannot have been measured: expected finite values, none \
             negative, found {shown} at 1; measure it again"
        );
        assert_eq!(
            error(&legacy(&[("blk.0.a.weight", &[1.0, value / 4.0])])),
            format!("tensor 'blk.0.a.weight': {tail}")
        );
        let sums = modern(|m| {
            m.tensors.truncate(2);
            m.tensors[0] = tensor("a.in_sum2", &[2, 1], &[1.0, value]);
            m.tensors[1] = tensor("a.counts", &[1, 1], &[1.0]);
        });
        assert_eq!(error(&sums), format!("tensor 'a.in_sum2': {tail}"));
        let counts = modern(|m| {
            m.tensors[0] = tensor("a.in_sum2", &[1, 2], &[1.0, 1.0]);
            m.tensors[1] = tensor("a.counts", &[1, 2], &[1.0, value]);
        });
        assert_eq!(error(&counts), format!("tensor 'a.counts': {tail}"));
    }
}

#[test]
fn a_matrix_that_saw_no_token_has_weights_of_one() {
    let bytes = modern(|m| {
        m.tensors = vec![
            tensor("a.in_sum2", &[2, 2], &[6.0, 3.0, 5.0, 0.0]),
            tensor("a.counts", &[1, 2], &[3.0, 0.0]),
        ];
    });
    assert_eq!(*read(&bytes).unwrap().entries["a"], [2.0, 1.0, 1.0, 1.0]);
    let mut bytes = legacy(&[("a", &[6.0, 3.0])]);
    bytes[9..13].fill(0);
    assert_eq!(*read(&bytes).unwrap().entries["a"], [1.0, 1.0]);
}

#[test]
fn incomplete_and_odd_entries_of_the_gguf_form() {
    assert_eq!(
        error(&modern(|m| drop(m.tensors.remove(1)))),
        "tensor 'blk.0.attn_q.weight': an entry of the importance matrix is incomplete: expected \
         'blk.0.attn_q.weight.counts', found 'blk.0.attn_q.weight.in_sum2' alone; measure it again"
    );
    assert!(
        error(&modern(|m| drop(m.tensors.remove(0)))).contains("found 'blk.0.attn_q.weight.counts' alone")
    );
    assert_eq!(
        error(&modern(|m| m.tensors[1] = tensor("blk.0.attn_q.weight.counts", &[2], &[1.0, 1.0]))),
        "tensor 'blk.0.attn_q.weight.in_sum2': the counts do not fit the sums: expected one count for each of 1 rows \
         of at least one column, found sums [256, 1] and counts [2]"
    );
    assert_eq!(
        error(&modern(|m| m.tensors.clear())),
        "the importance matrix has no entries; measure it again"
    );
    let more = modern(|m| m.tensors.push(tensor("blk.0.attn_q.weight.in_sum", &[1], &[-1.0])));
    assert_eq!(read(&more).unwrap().ignored, ["blk.0.attn_q.weight.in_sum"]);
    for key in ["imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"] {
        let text = error(&modern(|m| drop(m.metadata.remove(key))));
        assert!(
            text.contains(&format!("the metadata key '{key}' is unusable")) && text.contains("no such key")
        );
    }
    assert!(error(&modern(|m| m.metadata.set("general.type", "model"))).contains("expected \"imatrix\""));
}

#[test]
fn odd_entries_of_the_older_form() {
    let twice = legacy(&[("a", &[1.0]), ("a", &[2.0])]);
    assert_eq!(error(&twice), "tensor 'a': two entries of the importance matrix have this name");
    assert!(error(&legacy(&[("", &[1.0])])).contains("found a name of 0 bytes, 1 values"));
    assert!(error(&legacy(&[("a", &[])])).contains("is empty"));
    assert_eq!(error(&legacy(&[])), "the importance matrix has no entries; measure it again");
    let mut negative = legacy(&[("a", &[1.0])]);
    negative[9..13].copy_from_slice(&(-1i32).to_le_bytes());
    assert!(error(&negative).contains("the number of calls cannot be (at byte 9)"), "{}", error(&negative));
    let mut many = legacy(&[("a", &[1.0])]);
    many[..4].copy_from_slice(&i32::MAX.to_le_bytes());
    assert!(error(&many).contains("expected a number from 0 to 1, found 2147483647"), "{}", error(&many));
    let mut name = legacy(&[("a", &[1.0])]);
    name[8] = 0xff;
    assert!(error(&name).contains("a name is not UTF-8 (at byte 8)"), "{}", error(&name));
}

/// Whatever a byte is changed to, the answer is an error or another matrix, soon and without a panic.
#[test]
fn no_changed_byte_does_harm() {
    let old = [legacy(&[("a", &[1.0, 2.0]), ("bc", &[0.5])]), trailer(3, "text")].concat();
    let new = modern(|m| {
        m.tensors = vec![tensor("a.in_sum2", &[2, 1], &[1.0, 2.0]), tensor("a.counts", &[1, 1], &[1.0])];
    });
    for bytes in [old, new] {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Err(e) = read(&changed) {
                    assert!([3, 4].contains(&e.kind().exit_code()), "{e}");
                }
            }
        }
    }
}
