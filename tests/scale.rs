//! Size is no excuse: 100 000 tensors, a vocabulary of 300 000 tokens, 1000 splits with 256 open files, tensors and
//! offsets beyond 4 GiB (in sparse files). All are handled, and looking at them takes about as long as reading their
//! headers does. With the peer, its own reader is timed beside ours.

mod peer;
#[path = "support/raw_gguf.rs"]
mod raw_gguf;
#[path = "support/run.rs"]
mod run;

use ggraft_formats::{Input, Model, open};
use raw_gguf::{aligned, file, pair, string, tensor, u32_pair};
use run::{Ran, ggraft_in};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Looking at a file takes less; on a loaded machine, with a build that is not optimised, ten times what it should.
const SOON: Duration = Duration::from_secs(10);

const F32: u32 = 0;
const I8: u32 = 24;

fn model(path: &Path) -> Model {
    let Input::Model(model) = open(path).unwrap() else { panic!("no model") };
    model
}

/// Runs `ggraft` in `dir` and tells how long it took.
#[track_caller]
fn timed(dir: &Path, args: &str) -> Ran {
    let start = Instant::now();
    let ran = ggraft_in(dir, args.split(' ')).ok();
    let took = start.elapsed();
    println!("ggraft {args}: {took:.2?}");
    assert!(took < SOON, "{args}: {took:?}");
    ran
}

/// How long the peer takes for the same header, if it is there.
fn timed_peer(path: &Path) {
    let Some(peer) = peer::peer() else { return };
    let start = Instant::now();
    let read = peer.reads_gguf(path, false);
    println!("gguf_init_from_file: {:.2?} ({read:?})", start.elapsed());
}

fn strings(key: &str, texts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let texts: Vec<Vec<u8>> = texts.map(|text| string(&text)).collect();
    let head = [&8u32.to_le_bytes()[..], &(texts.len() as u64).to_le_bytes()].concat();
    pair(key, 9, &[head, texts.concat()].concat())
}

fn numbers(key: &str, kind: u32, n: usize, bytes: impl Fn(usize) -> [u8; 4]) -> Vec<u8> {
    let items: Vec<u8> = (0..n).flat_map(bytes).collect();
    pair(key, 9, &[&kind.to_le_bytes()[..], &(n as u64).to_le_bytes(), &items].concat())
}

#[test]
fn a_hundred_thousand_tensors() {
    const N: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let tensors: Vec<_> = (0..N)
        .map(|i| tensor(&format!("blk.{}.part_{}.weight", i / 10, i % 10), &[8], F32, 32 * i))
        .collect();
    let pairs = [pair("general.architecture", 8, &string(b"llama"))];
    std::fs::write(dir.path().join("x.gguf"), file(3, &pairs, &tensors, 32 * N as usize)).unwrap();
    let ran = timed(dir.path(), "inspect x.gguf");
    assert!(ran.out.contains("100000 tensors, 800000 weights"), "{}", ran.out);
    // The peer compares every name with every other: half a minute.
    assert_eq!(timed(dir.path(), "inspect x.gguf --tensors --cross-check").out.lines().count() as u64, N + 9);
    timed(dir.path(), "verify x.gguf");
    let manifest = timed(dir.path(), "hash x.gguf").out;
    assert_eq!(manifest.lines().count() as u64, N + 1);
    std::fs::write(dir.path().join("m"), manifest).unwrap();
    timed(dir.path(), "hash x.gguf --check m");
    timed(dir.path(), "quantize x.gguf y.gguf F16 -q");
    assert_eq!(model(&dir.path().join("y.gguf")).tensors.len() as u64, N);
}

#[test]
fn a_vocabulary_of_three_hundred_thousand_tokens() {
    const N: usize = 300_000;
    let dir = tempfile::tempdir().unwrap();
    let token = |i: usize| format!("token-{i}");
    let pairs = [
        pair("general.architecture", 8, &string(b"llama")),
        u32_pair("llama.block_count", 0),
        pair("tokenizer.ggml.model", 8, &string(b"gpt2")),
        strings("tokenizer.ggml.tokens", (0..N).map(|i| token(i).into_bytes())),
        numbers("tokenizer.ggml.token_type", 5, N, |_| 1i32.to_le_bytes()),
        strings("tokenizer.ggml.merges", (0..N).map(|i| format!("token -{i}").into_bytes())),
    ];
    let embedding = [tensor("token_embd.weight", &[32, N as u64], 1, 0)];
    std::fs::write(dir.path().join("x.gguf"), file(3, &pairs, &embedding, 64 * N)).unwrap();
    timed(dir.path(), "inspect x.gguf");
    timed_peer(&dir.path().join("x.gguf"));
    timed(dir.path(), "verify x.gguf");
    // The tokens of three models are compared one by one.
    timed(
        dir.path(),
        "merge --base x.gguf --chat x.gguf --onto x.gguf --allow-swapped --type Q8_0 -q -o y.gguf",
    );
    assert_eq!(model(&dir.path().join("y.gguf")).tensors[0].shape().rows(), N as u64);
}

/// A tokenizer.json of that size is adopted, too.
#[test]
fn a_tokenizer_of_three_hundred_thousand_tokens() {
    const N: usize = 300_000;
    let dir = tempfile::tempdir().unwrap();
    let cp = run::trio_copy("cp", dir.path());
    std::fs::remove_file(cp.join("tokenizer.model")).unwrap();
    let path = cp.join("tokenizer.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let (have, mut merges) = (vocab.len(), Vec::new());
    for i in have..N {
        vocab.insert(format!("tok{i}"), json!(i));
        merges.push(json!(["a", format!("b{i}")]));
    }
    std::fs::write(&path, json.to_string()).unwrap();
    let config = cp.join("config.json");
    let mut config_json: Json = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    config_json["vocab_size"] = json!(N);
    std::fs::write(&config, config_json.to_string()).unwrap();
    // The embedding is as small as it was, so the conversion ends there, with that reason, and soon.
    let start = Instant::now();
    let ran = ggraft_in(dir.path(), ["convert", "cp", "--type", "F16", "--dry-run"]);
    println!("convert: {:.2?}", start.elapsed());
    assert!(ran.code == 3 && start.elapsed() < SOON, "{} {}", ran.code, ran.err);
    assert!(ran.err.contains("token_embd") || ran.err.contains("embed_tokens"), "{}", ran.err);
}

/// Keys that are removed, one by one, would take a minute.
#[test]
fn eighty_thousand_keys() {
    const N: u32 = 80_000;
    let dir = tempfile::tempdir().unwrap();
    let mut pairs = vec![pair("general.architecture", 8, &string(b"llama"))];
    pairs.extend((0..N).map(|i| u32_pair(&format!("split.x{i}"), i)));
    std::fs::write(dir.path().join("x.gguf"), file(3, &pairs, &[], 0)).unwrap();
    let start = Instant::now();
    let mut metadata = model(&dir.path().join("x.gguf")).metadata;
    ggraft_formats::gguf::unsplit(&mut metadata);
    println!("opened and unsplit: {:.2?}", start.elapsed());
    assert!(metadata.len() == 1 && start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    timed(dir.path(), "inspect x.gguf");
    timed(dir.path(), "verify x.gguf");
    timed(dir.path(), "split x.gguf y");
}

#[test]
#[cfg(unix)]
fn a_thousand_splits_with_256_open_files() {
    const N: u16 = 1000;
    let dir = tempfile::tempdir().unwrap();
    for no in 0..N {
        let pairs = [
            pair("split.no", 2, &no.to_le_bytes()),
            pair("split.count", 2, &N.to_le_bytes()),
            pair("split.tensors.count", 5, &i32::from(N).to_le_bytes()),
        ];
        let name = format!("x-{:05}-of-{N:05}.gguf", no + 1);
        let part = file(3, &pairs, &[tensor(&format!("t{no}"), &[8], F32, 0)], 32);
        std::fs::write(dir.path().join(name), part).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_ggraft");
    for verb in ["inspect --cross-check", "verify", "hash", "convert --type F16 -o y.gguf"] {
        let script = format!("ulimit -n 256; exec \"$0\" {verb} x-00001-of-01000.gguf");
        let start = Instant::now();
        let ran = std::process::Command::new("sh")
            .args(["-c", &script, program])
            .current_dir(dir.path())
            .output()
            .unwrap();
        println!("{verb}: {:.2?}", start.elapsed());
        assert!(ran.status.success(), "{verb}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    assert_eq!(model(&dir.path().join("y.gguf")).tensors.len(), usize::from(N));
}

/// Writes `head`, sets the length, and puts `tail` at the end: what lies between takes no room on the disk.
fn sparse(path: &Path, head: &[u8], length: u64, tail: &[u8]) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(head).unwrap();
    file.set_len(length).unwrap();
    file.seek(SeekFrom::Start(length - tail.len() as u64)).unwrap();
    file.write_all(tail).unwrap();
}

#[test]
fn tensors_and_offsets_beyond_four_gibibytes() {
    const LARGE: u64 = 5 << 30;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let last = LARGE;
    let tensors = [tensor("large", &[1 << 20, LARGE >> 20], I8, 0), tensor("last", &[4], I8, last)];
    let head = aligned(3, &[], &tensors, 0, 32);
    sparse(&path, &head, head.len() as u64 + last + 4, &[1, 2, 3, 4]);
    timed(dir.path(), "inspect x.gguf --tensors --cross-check");
    timed_peer(&path);
    let gguf = model(&path);
    let mut bytes = [0; 4];
    gguf.tensors[1].read(0..1, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    // One byte less, and it is refused.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(head.len() as u64 + last + 3)
        .unwrap();
    let e = open(&path).unwrap_err().to_string();
    assert!(e.contains("tensor 'last': the tensor's data runs past the end of the file"), "{e}");

    let header = json!({
        "large": { "dtype": "I8", "shape": [LARGE >> 20, 1 << 20], "data_offsets": [0, LARGE] },
        "last": { "dtype": "I8", "shape": [4], "data_offsets": [LARGE, LARGE + 4] },
    });
    let header = header.to_string();
    let head = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let path = dir.path().join("x.safetensors");
    sparse(&path, &head, head.len() as u64 + LARGE + 4, &[5, 6, 7, 8]);
    timed(dir.path(), "inspect x.safetensors --tensors");
    let Input::Checkpoint(checkpoint) = open(&path).unwrap() else { panic!("no checkpoint") };
    let last = checkpoint.tensors.iter().find(|t| t.name == "last").unwrap();
    last.read(0..1, &mut bytes).unwrap();
    assert_eq!(bytes, [5, 6, 7, 8]);
}
