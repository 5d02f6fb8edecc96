//! Every rule of the strict GGUF reader, one test a rule, with the exact words of the error.

#[path = "support/raw_gguf.rs"]
mod raw_gguf;

use ggraft_formats::{Input, Result, open};
use raw_gguf::{aligned, file, pair, string, tensor, u32_pair};
use std::path::Path;

const F32: u32 = 0;
const Q4_0: u32 = 2;
const DAMAGED: &str = "the file is truncated or damaged: copy or download it again";

fn read(bytes: &[u8]) -> Result<Input> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

/// The error without the path of the file, which every one must name.
fn error(bytes: &[u8]) -> String {
    let e = read(bytes).unwrap_err();
    let text = e.to_string();
    let (file, rest) = text.split_once(": ").unwrap();
    assert!(Path::new(file).ends_with("x.gguf"), "{text}");
    rest.to_string()
}

#[test]
fn empty_model_is_accepted() {
    read(&file(3, &[], &[], 0)).unwrap();
    read(&file(2, &[], &[], 0)).unwrap();
}

#[test]
fn bad_magic() {
    assert_eq!(
        error(b"GGML\x03\0\0\0"),
        r#"this is not a GGUF file (at byte 0): expected the magic "GGUF", found "GGML""#
    );
}

#[test]
fn empty_file() {
    assert_eq!(
        error(b""),
        "the file ends within the magic (at byte 0): expected 4 more bytes, found 0; \
         the file is truncated or damaged: copy or download it again"
    );
}

#[test]
fn bad_versions() {
    for version in [0u32, 1, 4, 1000] {
        assert_eq!(
            error(&file(version, &[], &[], 0)),
            format!(
                "this GGUF version cannot be read: expected version 2 or 3, found version {version}; \
                 convert the original checkpoint again with a current converter"
            )
        );
    }
}

#[test]
fn big_endian() {
    assert_eq!(
        error(&file(3u32.swap_bytes(), &[], &[], 0)),
        "this GGUF file is big-endian: found version 3; convert it with llama.cpp's gguf-convert-endian first"
    );
}

#[test]
fn counts_beyond_the_file() {
    for (at, what, least) in [(8, "tensors", 24), (16, "key-value pairs", 14)] {
        for count in [u64::MAX, 1 << 63, 1 << 40, 100] {
            let mut bytes = file(3, &[], &[], 0);
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            let most = (bytes.len() - at - 8) / least;
            assert_eq!(
                error(&bytes),
                format!(
                    "the number of {what} is more than the file has room for (at byte {at}): \
                     expected at most {most}, found {count}; {DAMAGED}"
                )
            );
        }
    }
}

#[test]
fn string_longer_than_the_file() {
    for length in [u64::MAX, u64::MAX - 1, 1 << 30, 50] {
        let mut bytes = file(3, &[u32_pair("a", 1)], &[], 0);
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
        let most = bytes.len() - 32;
        assert_eq!(
            error(&bytes),
            format!(
                "the length of a key is more than the file has room for (at byte 24): \
                 expected at most {most}, found {length}; {DAMAGED}"
            )
        );
    }
}

#[test]
fn array_longer_than_the_file() {
    let value = [&10u32.to_le_bytes()[..], &(1u64 << 61).to_le_bytes()].concat();
    assert_eq!(
        error(&file(3, &[pair("a", 9, &value)], &[], 0)),
        format!(
            "the length of the array 'a' is more than the file has room for (at byte 41): \
             expected at most 1, found 2305843009213693952; {DAMAGED}"
        )
    );
}

#[test]
fn empty_key() {
    assert_eq!(error(&file(3, &[u32_pair("", 1)], &[], 0)), "a metadata key is empty (at byte 24)");
}

#[test]
fn duplicate_key() {
    let twice = [u32_pair("general.x", 1), u32_pair("general.x", 2)];
    assert_eq!(
        error(&file(3, &twice, &[], 0)),
        "the metadata key 'general.x' stands there twice (at byte 49)"
    );
}

#[test]
fn key_that_is_not_utf8() {
    let key = [&string(b"\xff\xfe")[..], &4u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
    assert_eq!(error(&file(3, &[key], &[], 0)), "a metadata key is not UTF-8 (at byte 24)");
}

#[test]
fn unknown_value_type() {
    assert_eq!(
        error(&file(3, &[pair("a", 13, &[0; 8])], &[], 0)),
        "the metadata key 'a' has an unknown value type (at byte 37): expected 0 to 12, found 13"
    );
}

#[test]
fn bool_that_is_neither() {
    assert_eq!(
        error(&file(3, &[pair("a", 7, &[2])], &[], 0)),
        "the metadata key 'a' holds a bool that is neither true nor false: expected 0 or 1, found 2"
    );
}

#[test]
fn nested_array() {
    let value = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 32]].concat();
    assert_eq!(
        error(&file(3, &[pair("a", 9, &value)], &[], 0)),
        "the metadata key 'a' holds an array of arrays (at byte 41); \
         GGUF readers refuse nested arrays: write the file again without this key"
    );
}

#[test]
fn alignment_must_be_a_power_of_two() {
    for n in [0, 13, 24, 1 << 31] {
        assert_eq!(
            error(&file(3, &[u32_pair("general.alignment", n)], &[], 0)),
            format!("general.alignment must be a power of two: expected a u32 from 1 to 65536, found {n}")
        );
    }
}

#[test]
fn alignment_must_be_a_u32() {
    assert_eq!(
        error(&file(3, &[pair("general.alignment", 5, &32i32.to_le_bytes())], &[], 0)),
        "general.alignment must be a power of two: expected a u32 from 1 to 65536, found a value of type i32"
    );
}

#[test]
fn alignment_other_than_32_is_kept() {
    let tensors = [tensor("a", &[4], F32, 0), tensor("b", &[4], F32, 64)];
    read(&aligned(3, &[u32_pair("general.alignment", 64)], &tensors, 128, 64)).unwrap();
}

#[test]
fn tensor_name_of_64_bytes() {
    let name = "n".repeat(64);
    assert_eq!(
        error(&file(3, &[], &[tensor(&name, &[4], F32, 0)], 32)),
        format!(
            "tensor '{name}': a tensor name has a wrong length (at byte 24): expected 1 to 63 bytes, found 64 bytes"
        )
    );
}

#[test]
fn five_dimensions() {
    for dims in [5u32, 255, 1 << 31] {
        let mut description = tensor("a", &[1; 5], F32, 0);
        description[9..13].copy_from_slice(&dims.to_le_bytes());
        assert_eq!(
            error(&file(3, &[], &[description], 32)),
            format!(
                "tensor 'a': the tensor has too many dimensions (at byte 33): expected at most 4, found {dims}"
            )
        );
    }
}

#[test]
fn negative_dimension() {
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &[u64::MAX], F32, 0)], 32)),
        "tensor 'a': a dimension is negative (at byte 33): found -1"
    );
}

#[test]
fn elements_overflow() {
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &[1 << 32, 1 << 32], F32, 0)], 32)),
        "tensor 'a': the number of elements overflows (at byte 33): found [4294967296, 4294967296, 1, 1]"
    );
}

#[test]
fn bytes_overflow() {
    let ne = [4, (1 << 30) - 1, (1 << 30) + 1];
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &ne, F32, 0)], 32)),
        "tensor 'a': the tensors are larger than any file can be"
    );
}

#[test]
fn zero_dimension_is_an_empty_tensor() {
    read(&file(3, &[], &[tensor("a", &[0], F32, 0), tensor("b", &[4, 0], F32, 0)], 0)).unwrap();
}

#[test]
fn unknown_dtype() {
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &[4], 4, 0)], 32)),
        "tensor 'a': the tensor has an unknown dtype (at byte 33): found type 4"
    );
}

#[test]
fn row_of_broken_blocks() {
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &[33], Q4_0, 0)], 64)),
        "tensor 'a': a row does not fill whole blocks of q4_0 (at byte 33): expected a multiple of 32, found 33"
    );
}

#[test]
fn offsets_are_the_padded_running_sum() {
    for offset in [16, 64, 1 << 63, u64::MAX] {
        let tensors = [tensor("a", &[4], F32, 0), tensor("b", &[4], F32, offset)];
        assert_eq!(
            error(&file(3, &[], &tensors, 64)),
            format!(
                "tensor 'b': the tensor's data is not where the one before it ends (at byte 66): \
                 expected offset 32, found offset {offset}"
            )
        );
    }
}

#[test]
fn duplicate_tensor() {
    let tensors = [tensor("a", &[4], F32, 0), tensor("a", &[4], F32, 32)];
    assert_eq!(error(&file(3, &[], &tensors, 64)), "tensor 'a': two tensors have this name");
}

#[test]
fn data_one_byte_short() {
    assert_eq!(
        error(&file(3, &[], &[tensor("a", &[4], F32, 0)], 15)),
        "tensor 'a': the tensor's data runs past the end of the file: expected at least 80 bytes, found 79 bytes; \
         the file is truncated: copy or download it again"
    );
}

#[test]
fn padding_after_the_last_tensor_may_be_missing() {
    read(&file(3, &[], &[tensor("a", &[4], F32, 0)], 16)).unwrap();
}

/// No prefix of a valid file is accepted, and none makes the reader panic.
#[test]
fn every_prefix_is_refused() {
    let array = [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &string(b"x"), &string(b"yz")].concat();
    let pairs = [u32_pair("general.alignment", 32), pair("tokens", 9, &array), pair("t", 7, &[1])];
    let whole = file(3, &pairs, &[tensor("a", &[4, 2], F32, 0), tensor("b", &[32], Q4_0, 32)], 32 + 18);
    read(&whole).unwrap();
    for n in 0..whole.len() {
        read(&whole[..n]).map(|_| n).unwrap_err();
    }
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(
        error(&file(3, &[], &[tensor("\u{1b}[31mred", &[4], 4, 0)], 32)),
        r"tensor '\u{1b}[31mred': the tensor has an unknown dtype (at byte 40): found type 4"
    );
}
