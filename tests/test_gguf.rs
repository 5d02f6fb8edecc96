//! The 34 hand-made cases of llama.cpp's `tests/test-gguf.cpp`, by their names there, each with the words of our error.
//! Values are ours: the name of a case says what is wrong with the file. `HEADER_EMPTY`, `ZERO_DIM`, the `SUCCESS` and
//! the `CUSTOM_ALIGN` cases must be read, and the data of the last ones is compared.

#[path = "support/raw_gguf.rs"]
mod raw_gguf;

use ggraft_formats::Input;
use raw_gguf::{F32, I8, aligned, file, pair, read, string, tensor, u32_pair};

const ALIGNMENT: &str = "general.alignment";

/// The file is refused with these words, and the error names it.
#[track_caller]
fn refused(bytes: &[u8], words: &str) {
    let e = read(bytes).unwrap_err();
    let text = e.to_string();
    assert!(text.contains("x.gguf: ") && text.contains(words), "{text}\nnot: {words}");
    assert!([3, 4].contains(&e.kind().exit_code()));
}

/// A header whose counts are replaced.
fn counts(tensors: u64, pairs: u64) -> Vec<u8> {
    let mut bytes = file(3, &[], &[], 0);
    bytes[8..16].copy_from_slice(&tensors.to_le_bytes());
    bytes[16..24].copy_from_slice(&pairs.to_le_bytes());
    bytes
}

/// One tensor of 4 x 2 f32 at the start of the data, and 32 bytes of it.
fn one(description: Vec<u8>) -> Vec<u8> {
    file(3, &[], &[description], 32)
}

/// A value of every kind, single and in arrays.
fn every_kind() -> Vec<Vec<u8>> {
    let widths = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)];
    let mut pairs: Vec<Vec<u8>> =
        widths.iter().map(|(kind, width)| pair(&format!("one.{kind}"), *kind, &vec![1; *width])).collect();
    pairs.push(pair("one.8", 8, &string("text".as_bytes())));
    for (kind, width) in widths {
        let value = [&kind.to_le_bytes()[..], &3u64.to_le_bytes(), &vec![1; 3 * width]].concat();
        pairs.push(pair(&format!("three.{kind}"), 9, &value));
    }
    let texts = [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &string(b"a"), &string(b"")].concat();
    pairs.push(pair("two.8", 9, &texts));
    pairs
}

/// The bytes of the data of every tensor.
fn data(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Input::Model(model) = read(bytes).unwrap() else { panic!("no model") };
    let rows = |t: &ggraft_formats::Tensor| {
        let mut out = vec![0; t.bytes() as usize];
        t.read(0..t.shape().rows() as usize, &mut out).unwrap();
        out
    };
    model.tensors.iter().map(rows).collect()
}

#[test]
fn header_bad_magic() {
    refused(b"GGUX\x03\0\0\0", "expected the magic \"GGUF\", found \"GGUX\"");
}

#[test]
fn header_bad_version_0() {
    refused(&file(0, &[], &[], 0), "expected version 2 or 3, found version 0");
}

#[test]
fn header_bad_version_1() {
    refused(&file(1, &[], &[], 0), "expected version 2 or 3, found version 1");
}

#[test]
fn header_bad_version_future() {
    refused(&file(4, &[], &[], 0), "expected version 2 or 3, found version 4");
}

#[test]
fn header_bad_n_tensors() {
    refused(&counts(u64::MAX, 0), "the number of tensors is more than the file has room for (at byte 8)");
}

#[test]
fn header_bad_n_kv() {
    refused(
        &counts(0, u64::MAX),
        "the number of key-value pairs is more than the file has room for (at byte 16)",
    );
}

#[test]
fn header_empty() {
    assert!(data(&file(3, &[], &[], 0)).is_empty());
}

#[test]
fn kv_bad_key_size() {
    let mut key = u32_pair("a", 1);
    key[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&file(3, &[key], &[], 0), "the length of a key is more than the file has room for (at byte 24)");
}

#[test]
fn kv_empty_key() {
    refused(&file(3, &[u32_pair("", 1)], &[], 0), "a metadata key is empty (at byte 24)");
}

#[test]
fn kv_bad_type() {
    for kind in [13, u32::MAX] {
        let words = format!("'a' has an unknown value type (at byte 37): expected 0 to 12, found {kind}");
        refused(&file(3, &[pair("a", kind, &[0; 8])], &[], 0), &words);
    }
}

#[test]
fn kv_duplicate_key() {
    refused(
        &file(3, &[u32_pair("a.b", 1), pair("a.b", 7, &[1])], &[], 0),
        "the metadata key 'a.b' stands there twice (at byte 43)",
    );
}

#[test]
fn kv_bad_align() {
    refused(&file(3, &[u32_pair(ALIGNMENT, 13)], &[], 0), "general.alignment must be a power of two");
}

#[test]
fn kv_wrong_type_align() {
    let pairs = [pair(ALIGNMENT, 5, &32i32.to_le_bytes())];
    refused(&file(3, &pairs, &[], 0), "expected a u32 from 1 to 65536, found a value of type i32");
}

#[test]
fn kv_success() {
    let Input::Model(model) = read(&file(3, &every_kind(), &[], 0)).unwrap() else { panic!("no model") };
    assert_eq!(model.metadata.len(), 24);
}

#[test]
fn tensors_bad_name_size() {
    let name = "n".repeat(64);
    refused(&one(tensor(&name, &[4, 2], F32, 0)), "expected 1 to 63 bytes, found 64 bytes");
}

#[test]
fn tensors_bad_n_dims() {
    refused(
        &one(tensor("a", &[1; 5], F32, 0)),
        "too many dimensions (at byte 33): expected at most 4, found 5",
    );
}

#[test]
fn tensors_bad_shape() {
    refused(&one(tensor("a", &[4, -1i64 as u64], F32, 0)), "tensor 'a': a dimension is negative");
}

#[test]
fn tensors_zero_dim() {
    assert_eq!(data(&file(3, &[], &[tensor("a", &[4, 0], F32, 0)], 0)), [Vec::<u8>::new()]);
}

#[test]
fn tensors_ne_too_big() {
    refused(&one(tensor("a", &[1 << 32, 1 << 31], F32, 0)), "tensor 'a': the number of elements overflows");
}

#[test]
fn tensors_nbytes_too_big() {
    refused(&one(tensor("a", &[1 << 31, 1 << 31], F32, 0)), "tensor 'a': the number of bytes overflows");
}

#[test]
fn tensors_nbytes_pad_wrap() {
    // 2^64 - 16 bytes: padded, they wrap to 0.
    let ne = [4, (1 << 30) - 1, (1 << 30) + 1];
    refused(&one(tensor("a", &ne, F32, 0)), "tensor 'a': the tensors are larger than any file can be");
}

#[test]
fn tensors_bad_type() {
    for kind in [4, 5, 36, 37, 38, 44, u32::MAX] {
        let words = format!("tensor 'a': the tensor has an unknown dtype (at byte 33): found type {kind}");
        refused(&one(tensor("a", &[32], kind, 0)), &words);
    }
}

#[test]
fn tensors_bad_offset() {
    refused(&one(tensor("a", &[4, 2], F32, 32)), "expected offset 0, found offset 32");
    refused(&one(tensor("a", &[4, 2], F32, 13)), "expected offset 0, found offset 13");
}

#[test]
fn tensors_duplicate_name() {
    let twice = [tensor("a", &[8], F32, 0), tensor("a", &[8], F32, 32)];
    refused(&file(3, &[], &twice, 64), "tensor 'a': two tensors have this name");
}

#[test]
fn tensors_bad_align() {
    let bytes = file(3, &[u32_pair(ALIGNMENT, 13)], &[tensor("a", &[8], F32, 0)], 32);
    refused(&bytes, "general.alignment must be a power of two");
}

#[test]
fn tensors_inconsistent_align() {
    // Laid out for 32, but 1 is what the file says.
    let tensors = [tensor("a", &[3], F32, 0), tensor("b", &[3], F32, 32)];
    let bytes = file(3, &[u32_pair(ALIGNMENT, 1)], &tensors, 64);
    refused(&bytes, "tensor 'b': the tensor's data is not where the one before it ends");
}

#[test]
fn tensors_success() {
    let tensors = [tensor("a", &[3], F32, 0), tensor("b", &[32, 2], 2, 32), tensor("c", &[5], I8, 96)];
    assert_eq!(data(&file(3, &every_kind(), &tensors, 128)), [vec![0; 12], vec![0; 36], vec![0; 5]]);
}

#[test]
fn tensors_custom_align() {
    let tensors = [tensor("a", &[3], F32, 0), tensor("b", &[3], I8, 12)];
    let bytes = aligned(3, &[u32_pair(ALIGNMENT, 1)], &tensors, 15, 1);
    assert_eq!(data(&bytes), [vec![0; 12], vec![0; 3]]);
}

#[test]
fn data_not_enough_data() {
    let whole = one(tensor("a", &[4, 2], F32, 0));
    refused(&whole[..whole.len() - 1], "tensor 'a': the tensor's data runs past the end of the file");
}

#[test]
fn data_bad_align() {
    let bytes =
        file(3, &[u32_pair(ALIGNMENT, 13)], &[tensor("a", &[3], F32, 0), tensor("b", &[3], F32, 13)], 64);
    refused(&bytes, "general.alignment must be a power of two");
}

#[test]
fn data_inconsistent_align() {
    // Laid out for 1, but nothing says so: 32 is meant.
    let tensors = [tensor("a", &[3], F32, 0), tensor("b", &[3], F32, 12)];
    refused(&aligned(3, &[], &tensors, 24, 1), "expected offset 32, found offset 12");
}

#[test]
fn data_mem_size_overflow() {
    // Each fits a signed number of 64 bits, and so does neither their sum nor what a reader adds to it.
    let near = (1u64 << 63) - 32;
    let tensors = [tensor("a", &[near], I8, 0), tensor("b", &[near], I8, near)];
    refused(&file(3, &[], &tensors, 64), "tensor 'a': the tensor's data runs past the end of the file");
}

#[test]
fn data_success() {
    let mut bytes = file(3, &[], &[tensor("a", &[3], I8, 0), tensor("b", &[2], I8, 32)], 0);
    bytes.extend([1, 2, 3]);
    bytes.resize(bytes.len() + 29, 0xee);
    bytes.extend([4, 5]);
    assert_eq!(data(&bytes), [vec![1, 2, 3], vec![4, 5]]);
}

#[test]
fn data_custom_align() {
    let tensors = [tensor("a", &[3], I8, 0), tensor("b", &[2], I8, 3)];
    let mut bytes = aligned(3, &[u32_pair(ALIGNMENT, 1)], &tensors, 0, 1);
    bytes.extend([1, 2, 3, 4, 5]);
    assert_eq!(data(&bytes), [vec![1, 2, 3], vec![4, 5]]);
}
