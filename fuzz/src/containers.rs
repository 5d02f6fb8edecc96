//! Containers: whatever is accepted must lie within the file and can be read to the last row.

use ggraft_formats::error::is_obeyed;
use ggraft_formats::gguf::{self, Header};
use ggraft_formats::source::Container;
use ggraft_formats::{Input, Tensor, imatrix as importance};
use std::path::Path;

use super::{scratch, zip};

/// A header as bytes; of a sound file also the model, row by row.
pub fn gguf(data: &[u8]) {
    let header = match Header::parse(data, Path::new("x.gguf")) {
        Ok(header) => header,
        Err(e) => return printable(&e.to_string()),
    };
    let mut end = header.data_offset;
    for t in &header.tensors {
        let start = header.data_offset + t.offset;
        assert!(start >= end, "{} begins before the one in front of it ends", t.name);
        end = start + t.bytes;
        assert!(end <= data.len() as u64, "{} runs past the end of the file", t.name);
    }
    scratch::with(&[("x.gguf", data)], |dir| {
        let Ok(model) = gguf::open(&dir.join("x.gguf")) else { return };
        model.tensors.iter().for_each(read);
        // What was read can be written.
        gguf::plan(&model, Path::new("y.gguf")).expect("a plan of the model");
    });
}

/// Two parts, divided where the first byte says.
pub fn splits(data: &[u8]) {
    let Some((at, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(rest.len() * usize::from(*at) / 256);
    let files = [("x-00001-of-00002.gguf", first), ("x-00002-of-00002.gguf", second)];
    scratch::with(&files, |dir| open(&dir.join(files[0].0)));
}

pub fn safetensors(data: &[u8]) {
    scratch::with(&[("x.safetensors", data)], |dir| {
        let path = dir.join("x.safetensors");
        open(&path);
        if let Ok(file) = Container::open(&path)
            && let Ok(length) = ggraft_formats::safetensors::header(&file)
        {
            assert!(length <= data.len() as u64);
        }
    });
}

/// A file of PyTorch in either form.
pub fn pytorch(data: &[u8]) {
    scratch::with(&[("x.pt", data)], |dir| open(&dir.join("x.pt")));
}

/// A pickle in a sound archive, beside one storage of 64 bytes.
pub fn pickle(data: &[u8]) {
    let members = [zip::member("x/data.pkl", data), zip::member("x/data/0", &[0x3c; 64])];
    pytorch(&zip::archive(&members));
}

/// The index of a checkpoint with one shard.
pub fn index(data: &[u8]) {
    const SHARD: &[u8] = b"\x68\0\0\0\0\0\0\0\
        {\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\
        \"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[4,8]}}12345678";
    let files = [("m.safetensors", SHARD), ("model.safetensors.index.json", data)];
    scratch::with(&files, |dir| open(&dir.join(files[1].0)));
}

pub fn imatrix(data: &[u8]) {
    scratch::with(&[("x.imatrix", data)], |dir| match importance::open(&dir.join("x.imatrix")) {
        Err(e) => printable(&e.to_string()),
        Ok(matrix) => {
            assert!(!matrix.entries.is_empty());
            let sound = |w: &f32| *w >= 0.0;
            assert!(matrix.entries.values().all(|weights| weights.iter().all(sound)));
        }
    });
}

fn open(path: &Path) {
    match ggraft_formats::open(path) {
        Err(e) => printable(&e.to_string()),
        Ok(Input::Model(model)) => model.tensors.iter().for_each(read),
        Ok(Input::Checkpoint(checkpoint)) => checkpoint.tensors.iter().for_each(read),
    }
}

/// Reads every byte, and decodes what can be decoded.
fn read(tensor: &Tensor) {
    let rows = usize::try_from(tensor.shape().rows()).expect("few rows");
    // Empty rows may be many.
    for r in (0..rows).take(1 << 10) {
        let bytes = tensor.with_rows(r..r + 1, |bytes| Ok(bytes.len())).expect("a row");
        assert_eq!(bytes, tensor.row_bytes());
        if tensor.dtype().traits().decode.is_some() {
            let mut values = vec![0f32; tensor.row_elements().expect("a row that fits the memory")];
            tensor.decode_rows(r..r + 1, &mut values).expect("decoded");
        }
    }
}

/// Text for a terminal holds nothing that a terminal obeys.
pub fn printable(text: &str) {
    assert!(!text.contains(|c| is_obeyed(c) && c != '\n'), "{text:?}");
}
