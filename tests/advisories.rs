//! Advisories against readers of model files, each as the file that it tells of, by its name. What they have in common is
//! asked of all: an error that says what is wrong, no panic, no output, and soon.
//! Rows that do not touch a converter have no test: tokenizing texts (CVE-2025-52566), archives and servers
//! (CVE-2024-12886, -39719, -39721, -45436, -7773, -42477, 2025-1975, 2026-21869, -34159), registries and downloads
//! (CVE-2024-37032, 2025-51471, 2026-7020, -47155). What is fuzzed (CVE-2024-12055, 2025-0313) is in `fuzz`;
//! allocations (CVE-2025-0315) and every prefix and byte (CVE-2024-39720) are measured in `poison.rs`.

#[path = "support/raw_gguf.rs"]
mod raw_gguf;
#[path = "support/run.rs"]
mod run;

use ggraft_formats::{Input, imatrix, open};
use raw_gguf::{F32, I8, file, pair, read, string, tensor, u32_pair};
use run::{ggraft, ggraft_in, trio, trio_copy};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const U8: u32 = 0;
const STR: u32 = 8;
const ARRAY: u32 = 9;

/// The file is refused, soon, with these words.
#[track_caller]
fn refused(bytes: &[u8], words: &str) {
    let start = Instant::now();
    let e = read(bytes).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1), "{e}");
    assert!(e.to_string().contains(words), "{e}\nnot: {words}");
    assert!([3, 4].contains(&e.kind().exit_code()));
}

fn array(key: &str, kind: u32, n: u64, items: &[u8]) -> Vec<u8> {
    pair(key, ARRAY, &[&kind.to_le_bytes()[..], &n.to_le_bytes(), items].concat())
}

/// A llama without layers: an embedding of two tokens and what `pairs` add.
fn llama(pairs: &[Vec<u8>]) -> Vec<u8> {
    let mut all = vec![pair("general.architecture", STR, &string(b"llama"))];
    all.extend_from_slice(pairs);
    file(3, &all, &[tensor("token_embd.weight", &[32, 2], F32, 0)], 256)
}

/// Runs `ggraft` with `args` in a directory that holds `x.gguf`; it must end by itself, with one of these codes, and
/// leave no output when it fails.
#[track_caller]
fn run_on(bytes: &[u8], args: &[&str], codes: &[i32]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.gguf"), bytes).unwrap();
    let ran = ggraft_in(dir.path(), args);
    assert!(codes.contains(&ran.code), "{args:?}: {}\n{}", ran.code, ran.err);
    assert_eq!(dir.path().join("out.gguf").exists(), ran.code == 0 && args.contains(&"out.gguf"));
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran.err
}

#[test]
fn cve_2024_21802_the_product_of_dimensions_overflows() {
    for ne in [&[1u64 << 62, 2][..], &[1 << 32, 1 << 32], &[i64::MAX as u64, 2], &[1 << 16; 4]] {
        refused(
            &file(3, &[], &[tensor("a", ne, F32, 0)], 32),
            "tensor 'a': the number of elements overflows",
        );
    }
    refused(
        &file(3, &[], &[tensor("a", &[1 << 62], F32, 0)], 32),
        "tensor 'a': the number of bytes overflows",
    );
}

#[test]
fn cve_2024_21825_the_length_of_an_array_overflows() {
    for kind in [10, STR, U8] {
        for n in [1u64 << 61, u64::MAX, 1 << 60] {
            refused(
                &file(3, &[array("a", kind, n, &[])], &[], 0),
                "the length of the array 'a' is more than the file has room for (at byte 41)",
            );
        }
    }
}

#[test]
fn cve_2024_21836_the_number_of_tensors_overflows() {
    for n in [u64::MAX, 1 << 63, 1 << 40] {
        let mut bytes = file(3, &[], &[], 0);
        bytes[8..16].copy_from_slice(&n.to_le_bytes());
        refused(&bytes, "the number of tensors is more than the file has room for");
    }
}

#[test]
fn cve_2024_23496_the_length_of_a_string_wraps() {
    let whole = file(3, &[pair("a", STR, &string(b"text"))], &[], 0);
    for n in [u64::MAX, u64::MAX - 1, whole.len() as u64 + 1] {
        let mut bytes = whole.clone();
        bytes[37..45].copy_from_slice(&n.to_le_bytes());
        refused(&bytes, "the length of a metadata value is more than the file has room for (at byte 37)");
    }
}

#[test]
fn cve_2024_23605_the_number_of_pairs_overflows() {
    for n in [u64::MAX, 1 << 63, 1 << 40] {
        let mut bytes = file(3, &[], &[], 0);
        bytes[16..24].copy_from_slice(&n.to_le_bytes());
        refused(&bytes, "the number of key-value pairs is more than the file has room for");
    }
}

#[test]
fn cve_2024_32878_every_kind_of_value_cut_at_every_byte() {
    let widths = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)];
    for (kind, width) in widths {
        for pair in [pair("a", kind, &vec![1; width]), array("a", kind, 2, &vec![1; 2 * width])] {
            let start = 24 + 9;
            let bytes = file(3, std::slice::from_ref(&pair), &[], 0);
            (start..24 + pair.len()).for_each(|end| _ = read(&bytes[..end]).unwrap_err());
        }
    }
    for pair in
        [pair("a", STR, &string(b"text")), array("a", STR, 2, &[string(b"x"), string(b"yz")].concat())]
    {
        let bytes = file(3, std::slice::from_ref(&pair), &[], 0);
        (33..24 + pair.len()).for_each(|end| _ = read(&bytes[..end]).unwrap_err());
    }
}

#[test]
fn cve_2025_49847_a_token_longer_than_an_i32() {
    let tokens = |length: u64, text: &[u8]| {
        array("tokenizer.ggml.tokens", STR, 1, &[&length.to_le_bytes()[..], text].concat())
    };
    refused(
        &llama(&[tokens((1 << 31) + 1, b"a")]),
        "the length of an array's string is more than the file has room for",
    );
    // A long one that is there is only long.
    let long = vec![b'a'; 1 << 20];
    let Input::Model(model) = read(&llama(&[tokens(1 << 20, &long)])).unwrap() else { panic!("no model") };
    assert!(model.metadata.get("tokenizer.ggml.tokens").is_some());
}

#[test]
fn cve_2025_53630_the_sum_of_padded_sizes_wraps() {
    let size = 1u64 << 61;
    let tensors: Vec<_> = (0..8).map(|i: u64| tensor(&format!("t{i}"), &[size], I8, i * size)).collect();
    refused(&file(3, &[], &tensors, 64), "tensor 't7': the tensors are larger than any file can be");
}

#[test]
fn cve_2026_27940_two_tensors_near_two_to_the_63() {
    let near = i64::MAX as u64 & !31;
    let tensors = [tensor("a", &[near], I8, 0), tensor("b", &[near], I8, near)];
    refused(&file(3, &[], &tensors, 64), "tensor 'a': the tensor's data runs past the end of the file");
}

#[test]
fn cve_2026_33298_bytes_wrap_when_they_are_padded() {
    let ne = [4, (1 << 30) - 1, (1 << 30) + 1];
    refused(
        &file(3, &[], &[tensor("a", &ne, F32, 0)], 32),
        "tensor 'a': the tensors are larger than any file can be",
    );
}

#[test]
fn ghsa_3p75_a_dimension_of_zero_is_an_empty_tensor() {
    for ne in [&[0u64][..], &[0, 5], &[32, 0], &[32, 0, 7], &[1, 1, 1, 0]] {
        let bytes = file(3, &[], &[tensor("a", ne, F32, 0)], 0);
        let Input::Model(model) = read(&bytes).unwrap() else { panic!("no model") };
        assert_eq!(model.tensors[0].bytes(), 0);
        for verb in [&["verify", "x.gguf"][..], &["hash", "x.gguf"], &["inspect", "x.gguf", "--tensors"]] {
            run_on(&bytes, verb, &[0]);
        }
        run_on(&bytes, &["quantize", "x.gguf", "out.gguf", "Q8_0"], &[0, 3, 4]);
    }
}

/// Found by fuzzing: rows without elements were counted without looking.
#[test]
fn zero_elements_in_more_rows_than_can_be_counted() {
    let bytes = file(3, &[], &[tensor("a", &[0, 1 << 62, 1 << 62], F32, 0)], 0);
    refused(&bytes, "tensor 'a': the number of elements overflows");
}

#[test]
fn oss_sec_2026_05_15_alignment_of_zero_odd_huge_or_of_another_type() {
    // Also CVE-2025-0317, ggml#1516 and llama.cpp#24997.
    for n in [0, 3, 13, 1 << 17, 1 << 31, u32::MAX] {
        refused(
            &file(3, &[u32_pair("general.alignment", n)], &[tensor("a", &[8], F32, 0)], 32),
            "general.alignment must be a power of two",
        );
    }
    for value in
        [pair("general.alignment", 5, &[32, 0, 0, 0]), pair("general.alignment", STR, &string(b"32"))]
    {
        refused(&file(3, &[value], &[], 0), "expected a u32 from 1 to 65536");
    }
}

#[test]
fn llama_cpp_19856_a_gibibyte_in_a_hundred_bytes() {
    // Also CVE-2025-66959, 2025-66960 and 2026-65315.
    for length in [1u64 << 30, (1 << 30) + 1] {
        let mut bytes = file(3, &[pair("a", STR, &string(b"text"))], &[], 0);
        bytes[37..45].copy_from_slice(&length.to_le_bytes());
        refused(&bytes, "more than the file has room for");
        refused(&file(3, &[array("a", U8, length, &[0; 8])], &[], 0), "more than the file has room for");
    }
}

/// The kinds of values are looked at before they are used: by whom that uses them.
#[test]
fn kinds_of_values_are_not_believed() {
    let tokens = array("tokenizer.ggml.tokens", STR, 2, &[string(b"a"), string(b"b")].concat());
    let wrong = [
        array("tokenizer.ggml.tokens", U8, 2, &[1, 2]),
        pair("tokenizer.ggml.tokens", STR, &string(b"a")),
        pair("llama.block_count", STR, &string(b"one")),
        pair("llama.block_count", 6, &1f32.to_le_bytes()),
        pair("llama.attention.head_count", 1, &[0xff]),
        pair("llama.rope.freq_base", 7, &[1]),
        pair("tokenizer.chat_template", U8, &[1]),
        pair("general.name", 4, &[1, 0, 0, 0]),
    ];
    for pair in wrong {
        let x = llama(std::slice::from_ref(&pair));
        run_on(&x, &["inspect", "x.gguf", "--cross-check"], &[0]);
        run_on(&x, &["quantize", "x.gguf", "out.gguf", "Q8_0"], &[0, 3]);
        run_on(&x, &merge("x.gguf"), &[0, 3]);
    }
    for types in [
        array("tokenizer.ggml.token_type", 1, 2, &[1, 2]),
        array("tokenizer.ggml.token_type", 5, 1, &[1, 0, 0, 0]),
        pair("tokenizer.ggml.token_type", 4, &[1, 0, 0, 0]),
    ] {
        let err = run_on(&llama(&[tokens.clone(), types]), &merge("x.gguf"), &[3]);
        assert!(err.contains("`tokenizer.ggml.token_type` has the wrong form"), "{err}");
    }
    let scores = array("tokenizer.ggml.scores", 1, 2, &[1, 2]);
    run_on(&llama(&[tokens, scores]), &merge("x.gguf"), &[0, 3]);
}

/// A merge of a model with itself.
fn merge(model: &str) -> Vec<&str> {
    vec!["merge", "--base", model, "--chat", model, "--onto", model, "--type", "F32", "-o", "out.gguf"]
}

#[test]
fn empty_and_double_keys_and_nested_arrays() {
    refused(&file(3, &[u32_pair("", 1)], &[], 0), "a metadata key is empty");
    refused(
        &file(3, &[u32_pair("a", 1), u32_pair("a", 1)], &[], 0),
        "the metadata key 'a' stands there twice",
    );
    refused(
        &file(3, &[array("a", ARRAY, 1, &[0; 24])], &[], 0),
        "the metadata key 'a' holds an array of arrays",
    );
}

#[test]
fn gguf_py_27188_deep_nesting_many_dimensions_and_a_hang() {
    let mut value = Vec::new();
    for _ in 0..10_000 {
        value.extend(ARRAY.to_le_bytes());
        value.extend(1u64.to_le_bytes());
    }
    refused(&file(3, &[pair("a", ARRAY, &value)], &[], 0), "holds an array of arrays");
    // 43 bytes that promise many empty strings.
    let bytes = file(3, &[array("a", STR, 1 << 29, &[])], &[], 0);
    refused(&bytes[..43.min(bytes.len())], "the file ends within");
}

#[test]
fn openvino_genai_4170_more_dimensions_than_there_is_room_for() {
    for dims in [5u32, 255, 1 << 31, u32::MAX] {
        let mut description = tensor("a", &[1; 5], F32, 0);
        description[9..13].copy_from_slice(&dims.to_le_bytes());
        refused(&file(3, &[], &[description], 32), "tensor 'a': the tensor has too many dimensions");
    }
}

#[test]
fn importance_matrices_are_not_believed_either() {
    let dir = tempfile::tempdir().unwrap();
    let entry = |length: i32, calls: i32, n: i32, values: &[f32]| {
        let mut out = 1i32.to_le_bytes().to_vec();
        out.extend(length.to_le_bytes());
        out.extend(b"blk.0.attn_q.weight");
        out.extend(calls.to_le_bytes());
        out.extend(n.to_le_bytes());
        out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        out
    };
    let read = |bytes: &[u8]| {
        let path = dir.path().join("x.dat");
        std::fs::write(&path, bytes).unwrap();
        imatrix::open(&path)
    };
    read(&entry(19, 0, 2, &[1.0, 2.0])).unwrap();
    for bytes in [
        entry(-1, 1, 2, &[1.0, 2.0]),
        entry(i32::MAX, 1, 2, &[1.0, 2.0]),
        entry(19, -1, 2, &[1.0, 2.0]),
        entry(19, 1, i32::MAX, &[1.0, 2.0]),
        entry(19, 1, i32::MIN, &[1.0, 2.0]),
        entry(19, 1, 0, &[]),
        entry(19, 1, 1, &[1.0, 2.0]),
        entry(19, 1, 2, &[1.0, f32::NAN]),
        entry(19, 1, 2, &[1.0, f32::INFINITY]),
        entry(19, 1, 2, &[1.0, -1.0]),
        (-1i32).to_le_bytes().to_vec(),
        i32::MAX.to_le_bytes().to_vec(),
        Vec::new(),
    ] {
        assert_eq!(read(&bytes).unwrap_err().kind().exit_code(), 3);
    }
    // One that is sound, but of another width, is not used, and that is said.
    let path = dir.path().join("wide.dat");
    let name = b"token_embd.weight";
    let mut wide = entry(19, 1, 2, &[1.0, 2.0]);
    wide.splice(4..8 + 19, (name.len() as i32).to_le_bytes().into_iter().chain(*name));
    std::fs::write(&path, wide).unwrap();
    std::fs::write(dir.path().join("x.gguf"), llama(&[])).unwrap();
    let args =
        ["quantize", "x.gguf", "out.gguf", "Q4_0", "--imatrix", "wide.dat", "--token-embedding-type", "q4_0"];
    let ran = ggraft_in(dir.path(), args);
    assert!(ran.ok().err.contains(
        "not used: tensor 'token_embd.weight': the importance matrix was measured on a model of another shape"
    ));
}

/// A copy of a model of the trio with one of its JSON files changed, converted.
struct Changed {
    dir: TempDir,
    model: PathBuf,
}

impl Changed {
    fn new() -> Changed {
        let dir = tempfile::tempdir().unwrap();
        let model = trio_copy("cp", dir.path());
        Changed { dir, model }
    }

    fn json(&self, name: &str, change: impl FnOnce(&mut Json)) {
        let path = self.model.join(name);
        let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    /// Plans the conversion; the exit code and what was said.
    fn plan(&self) -> (i32, String) {
        let out = self.dir.path().join("out.gguf");
        let words = ["convert", "cp", "--type", "F16", "--dry-run", "-q", "-o"].map(String::from);
        let start = Instant::now();
        let ran = ggraft_in(self.dir.path(), words.into_iter().chain([out.display().to_string()]));
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert!(start.elapsed() < Duration::from_secs(20));
        (ran.code, ran.err)
    }
}

#[test]
fn plamo_byte_tokens_are_no_indices() {
    let changed = Changed::new();
    std::fs::remove_file(changed.model.join("tokenizer.model")).unwrap();
    for text in ["<0x-1>", "<0xZZ>", "<0x100>", "<0x>", "<0x1F600>"] {
        changed.json("tokenizer.json", |json| {
            let vocab = json["model"]["vocab"].as_object_mut().unwrap();
            let id = vocab.values().filter_map(Json::as_u64).max().unwrap();
            let last = vocab.iter().find(|(_, v)| v.as_u64() == Some(id)).map(|(k, _)| k.clone()).unwrap();
            vocab.shift_remove(&last);
            vocab.insert(text.to_string(), json!(id));
        });
        let (code, err) = changed.plan();
        assert!([0, 3].contains(&code), "{text}: {err}");
    }
}

#[test]
fn cve_2024_8063_counts_of_zero() {
    let counts =
        ["num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "vocab_size"];
    for key in counts.into_iter().chain(["intermediate_size", "head_dim", "max_position_embeddings"]) {
        for value in
            [json!(0), json!(-1), json!(u32::MAX), json!(u64::MAX), json!(1e300), json!("4"), json!([])]
        {
            let changed = Changed::new();
            changed.json("config.json", |json| json[key] = value.clone());
            let (code, err) = changed.plan();
            // The window alone is nobody's divisor, and a vocabulary of 0 is one that is not told.
            let free = ["vocab_size", "max_position_embeddings"].contains(&key);
            assert!(code == 3 || (free && code == 0), "{key} = {value}: {code} {err}");
        }
    }
    for key in
        ["block_count", "attention.head_count", "attention.head_count_kv", "vocab_size", "embedding_length"]
    {
        let x = llama(&[u32_pair(&format!("llama.{key}"), 0)]);
        run_on(&x, &["quantize", "x.gguf", "out.gguf", "Q4_K_M"], &[0, 3, 4]);
        run_on(&x, &merge("x.gguf"), &[0, 3]);
    }
}

#[test]
fn cve_2025_0312_every_key_taken_away() {
    let keys: Vec<String> = {
        let text = std::fs::read(trio("cp").join("config.json")).unwrap();
        serde_json::from_slice::<Json>(&text).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    for key in keys {
        let changed = Changed::new();
        changed.json("config.json", |json| _ = json.as_object_mut().unwrap().shift_remove(&key));
        let (code, err) = changed.plan();
        assert!(code == 0 || ([3, 4].contains(&code) && err.contains(&key)), "{key}: {code} {err}");
    }
}

#[test]
fn cve_2026_7482_a_truncated_source_gives_no_output() {
    let whole = llama(&[]);
    for cut in [1, 17, 128, 255, 256] {
        let err = run_on(
            &whole[..whole.len() - cut],
            &["quantize", "x.gguf", "out.gguf", "Q8_0", "--token-embedding-type", "q8_0"],
            &[3],
        );
        assert!(
            err.contains("tensor 'token_embd.weight': the tensor's data runs past the end of the file"),
            "{err}"
        );
    }
}

/// Nothing that lay in memory before may get into the output: the same input gives the same bytes, whatever a larger
/// model left behind.
#[test]
fn cve_2026_5757_no_byte_of_another_model_leaks() {
    let (small, dir) = (llama(&[]), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("x.gguf"), small).unwrap();
    let mut seen = Vec::new();
    for threads in ["1", "2", "7"] {
        let args =
            ["quantize", "x.gguf", "out.gguf", "Q8_0", threads, "--force", "--token-embedding-type", "q8_0"];
        ggraft_in(dir.path(), args).ok();
        seen.push(std::fs::read(dir.path().join("out.gguf")).unwrap());
    }
    assert!(seen.windows(2).all(|w| w[0] == w[1]));
    // The weights are zeros, and so is all that lies between them.
    let Input::Model(model) = open(&dir.path().join("out.gguf")).unwrap() else { panic!("no model") };
    let data: u64 = model.tensors.iter().map(|t| t.bytes().next_multiple_of(32)).sum();
    let bytes = &seen[0];
    assert!(bytes[bytes.len() - data as usize..].iter().all(|b| *b == 0));
}

fn safetensors(header: Json, data: usize) -> Vec<u8> {
    let header = header.to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

#[test]
fn ds4_543_a_shape_that_is_larger_than_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for (dtype, shape, bytes) in
        [("F8_E4M3", json!([64, 2]), 64), ("F32", json!([5]), 16), ("BF16", json!([3]), 4)]
    {
        let header = json!({ "a": { "dtype": dtype, "shape": shape, "data_offsets": [0, bytes] } });
        std::fs::write(&path, safetensors(header, bytes)).unwrap();
        let e = open(&path).unwrap_err();
        assert_eq!(e.kind().exit_code(), 3, "{e}");
    }
    let huge = json!({ "a": { "dtype": "F32", "shape": [1u64 << 62, 16], "data_offsets": [0, 0] } });
    std::fs::write(&path, safetensors(huge, 0)).unwrap();
    open(&path).unwrap_err();
}

#[test]
#[cfg(unix)]
fn cve_2024_39722_what_is_no_file_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.gguf");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero.gguf")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.gguf")).unwrap();
    std::fs::create_dir(dir.path().join("folder.gguf")).unwrap();
    std::fs::write(dir.path().join("x.gguf"), llama(&[])).unwrap();
    for (name, codes) in
        [("pipe.gguf", [3, 4]), ("zero.gguf", [3, 4]), ("folder.gguf", [3, 4]), ("dangling.gguf", [5, 5])]
    {
        for args in [
            vec!["inspect", name],
            vec!["verify", name],
            vec!["quantize", name, "out.gguf", "F16"],
            vec!["quantize", "x.gguf", "out.gguf", "F16", "--imatrix", name],
        ] {
            let ran = ggraft_in(dir.path(), &args);
            assert!(codes.contains(&ran.code), "{args:?}: {} {}", ran.code, ran.err);
            assert!(ran.err.contains(name), "{}", ran.err);
        }
    }
    // Texts may come from a pipe, but not for ever.
    for args in [
        vec!["merge", "/dev/zero"],
        vec!["quantize", "x.gguf", "out.gguf", "F16", "--tensor-type-file", "/dev/zero"],
        vec!["hash", "x.gguf", "--check", "/dev/zero"],
        vec!["verify", "x.gguf", "--manifest", "/dev/zero"],
    ] {
        let ran = ggraft_in(dir.path(), &args);
        assert_eq!(ran.code, 3, "{args:?}: {}", ran.err);
        assert!(ran.err.contains("/dev/zero: this text is too long"), "{}", ran.err);
    }
}

#[test]
fn transformers_47176_an_index_does_not_leave_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("model");
    std::fs::create_dir(&inside).unwrap();
    let one = safetensors(json!({ "a": { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] } }), 4);
    std::fs::write(dir.path().join("x.safetensors"), one).unwrap();
    let absolute = dir.path().join("x.safetensors").display().to_string();
    for value in [
        "../x.safetensors",
        "./../x.safetensors",
        "a/../../x.safetensors",
        r"..\x.safetensors",
        &absolute,
        "file:///x.safetensors",
        "https://host/x.safetensors",
        "C:/x.safetensors",
        "x\0.safetensors",
    ] {
        let index = json!({ "weight_map": { "a": value } }).to_string();
        std::fs::write(inside.join("model.safetensors.index.json"), index).unwrap();
        let e = open(&inside).unwrap_err().to_string();
        assert!(e.contains("the index points outside its directory"), "{value}: {e}");
    }
}

/// The caches of Hugging Face are links to blobs elsewhere: those are followed, for reading.
#[test]
#[cfg(unix)]
fn links_of_a_cache_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("snapshots/0123");
    let blobs = dir.path().join("blobs");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    for entry in std::fs::read_dir(trio("cp")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        std::fs::copy(&path, blobs.join(format!("blob-of-{name}"))).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/blob-of-{name}"), snapshot.join(name)).unwrap();
    }
    std::fs::write(blobs.join("abc.incomplete"), b"half of a download").unwrap();
    ggraft(["verify".as_ref(), snapshot.as_os_str()]).ok();
    std::fs::remove_file(blobs.join("blob-of-model.safetensors")).unwrap();
    let ran = ggraft(["verify".as_ref(), snapshot.as_os_str()]);
    assert!([3, 5].contains(&ran.code) && ran.err.contains("safetensors"), "{}", ran.err);
}

#[test]
fn burn_5353_release_builds_check_arithmetic() {
    // Other readers in Rust have wrapped in release builds.
    let manifest = include_str!("../Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    assert!(release.split("[profile").next().unwrap().contains("overflow-checks = true"));
}

#[test]
fn cve_2024_34359_a_template_is_data() {
    let attacks = [
        "{% for c in ().__class__.__base__.__subclasses__() %}{{ c.__init__.__globals__['os'].system('touch owned') }}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.popen('touch owned').read() }}",
        "{% include '/etc/passwd' %}{% import 'x' as y %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ '{{ messages }}' ",
    ];
    let changed = Changed::new();
    for template in attacks {
        changed.json("tokenizer_config.json", |json| json["chat_template"] = json!(template));
        let start = Instant::now();
        let out = changed.dir.path().join("out.gguf");
        let cp = changed.model.as_os_str();
        let args =
            ["merge", "--base", "--chat", "--onto", "--type", "F16", "-q", "-f", "-o"].map(AsRef::as_ref);
        let [merge, base, chat, onto, ty, f16, q, f, o]: [&std::ffi::OsStr; 9] = args;
        let (base_model, chat_model) = (trio("base"), trio("chat"));
        let ran = ggraft_in(
            changed.dir.path(),
            [
                merge,
                base,
                base_model.as_os_str(),
                chat,
                chat_model.as_os_str(),
                onto,
                cp,
                ty,
                f16,
                q,
                f,
                o,
                out.as_os_str(),
            ],
        );
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!([0, 3].contains(&ran.code), "{}", ran.err);
        assert!(!changed.dir.path().join("owned").exists());
        if ran.code == 0 {
            let Input::Model(model) = open(&out).unwrap() else { panic!("no model") };
            assert_eq!(model.metadata.str("tokenizer.chat_template"), Some(template), "byte for byte");
        }
    }
}

/// A template of a hundred bytes that doubles a text forty times.
#[test]
#[cfg(target_os = "linux")]
fn a_template_that_grows_without_end_ends_the_program_before_the_memory_does() {
    let changed = Changed::new();
    let template = "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(40) %}\
                    {% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ messages }}";
    changed.json("tokenizer_config.json", |json| json["chat_template"] = json!(template));
    let words =
        ["merge", "--base", "BASE", "--chat", "CHAT", "--onto", "cp", "--type", "F16", "-o", "out.gguf"];
    let path = |name: &str| trio(name).display().to_string();
    let words = words.map(|w| w.replace("BASE", &path("base")).replace("CHAT", &path("chat")));
    let ran = ggraft_in(changed.dir.path(), words);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("the chat template takes more memory or time than any template should"),
        "{}",
        ran.err
    );
    assert!(!changed.dir.path().join("out.gguf").exists());
}

#[test]
fn cve_2026_1260_sentencepiece_models_are_not_believed() {
    let changed = Changed::new();
    let path = changed.model.join("tokenizer.model");
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        changed.plan()
    };
    for end in [0, 1, 2, 3, 7, 100, whole.len() / 2 + 1] {
        let (code, err) = refused(&whole[..end]);
        assert!([0, 3].contains(&code), "{end}: {err}");
    }
    // A piece that claims 4 GiB, and one that claims 2^63 bytes; a group that nests without end.
    for bytes in [
        &b"\x0a\xff\xff\xff\xff\x0f"[..],
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        &[0x0b; 4096],
        b"\x0a\x00",
    ] {
        let (code, err) = refused(bytes);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("tokenizer.model: "), "{err}");
    }
}

#[test]
fn tokenizers_that_nest_deeply_or_backtrack() {
    let changed = Changed::new();
    std::fs::remove_file(changed.model.join("tokenizer.model")).unwrap();
    let path = changed.model.join("tokenizer.json");
    for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        std::fs::write(&path, text).unwrap();
        let (code, err) = changed.plan();
        assert_eq!(code, 3);
        assert!(err.contains("tokenizer.json: this is not valid JSON: recursion limit exceeded"), "{err}");
    }
    // A pattern that would backtrack for ever is compared as text, not run.
    std::fs::copy(trio("cp").join("tokenizer.json"), &path).unwrap();
    changed.json("tokenizer.json", |json| {
        json["model"]["byte_fallback"] = json!(false);
        json["pre_tokenizer"] =
            json!({ "type": "Split", "pattern": { "Regex": "(a+)+$" }, "behavior": "Isolated" });
    });
    let (code, err) = changed.plan();
    assert!([3, 4].contains(&code), "{code} {err}");
}

#[test]
fn cve_2025_32434_pickles_are_never_executed() {
    for name in ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "x.ckpt"] {
        let dir = tempfile::tempdir().unwrap();
        // Would make a file if it were unpickled.
        std::fs::write(dir.path().join(name), b"cos\nsystem\n(S'touch owned'\ntR.").unwrap();
        for path in [dir.path().to_path_buf(), dir.path().join(name)] {
            let ran = ggraft_in(dir.path(), ["inspect".as_ref(), path.as_os_str()]);
            assert!([3, 4].contains(&ran.code), "{}", ran.err);
        }
        assert!(!Path::new("owned").exists() && !dir.path().join("owned").exists());
    }
}

/// Found by fuzzing: an infinite weight ended the encoder of MXFP4 with a panic. A weight of f64 may be infinite as f32,
/// and some encoders would have hidden that.
#[test]
fn a_weight_of_f64_that_is_infinite_as_f32_is_refused_by_every_encoder() {
    use ggraft_formats::DType;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for bad in [1e300f64, -1e300] {
        let header = json!({ "a": { "dtype": "F64", "shape": [256], "data_offsets": [0, 2048] } });
        let mut bytes = safetensors(header, 0);
        (0..256).for_each(|i| bytes.extend(if i == 37 { bad } else { 0.5 }.to_le_bytes()));
        std::fs::write(&path, bytes).unwrap();
        let Input::Checkpoint(checkpoint) = open(&path).unwrap() else { panic!("no checkpoint") };
        for dtype in DType::all().filter(|d| d.traits().encode.is_some() && *d != DType::F64) {
            for weights in
                [None, Some(vec![1f32; 256].into())].into_iter().skip(usize::from(!dtype.traits().plain))
            {
                let tensor = checkpoint.tensors[0].clone().encode(dtype, weights).unwrap();
                let e = tensor.read(0..1, &mut vec![0; tensor.row_bytes()]).unwrap_err().to_string();
                assert_eq!(
                    e,
                    format!(
                        "tensor 'a': a weight is too large for f32: found {} at row 0, column 37; the checkpoint may be \
                         damaged; else choose a dtype with a larger range, such as bf16",
                        bad as f32
                    )
                );
            }
        }
    }
}
