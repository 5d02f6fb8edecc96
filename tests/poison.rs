//! Poisoned files: every prefix and every change of a single byte of a GGUF, a safetensors file and both forms of an
//! importance matrix. Each ends in a model or an error, never in a panic, with less than 64 MiB of memory and 100 ms
//! of the CPU's time; and what is printed of them holds nothing that a terminal obeys. This binary counts what it
//! allocates, so its tests take turns.

#[path = "../formats/tests/support/counting.rs"]
mod counting;
#[path = "support/raw_gguf.rs"]
mod raw_gguf;
#[path = "support/run.rs"]
mod run;

use counting::{counted, turn};
use ggraft_formats::error::is_obeyed;
use ggraft_formats::gguf::Header;
use ggraft_formats::{Input, Kind, Result, imatrix, open};
use raw_gguf::{file, pair, string, tensor, u32_pair};
use std::path::Path;
use std::time::Duration;

/// The most memory that a file of a few hundred bytes may cost.
const MEMORY: usize = 64 << 20;
/// The most time.
const TIME: Duration = Duration::from_millis(100);

/// What the worst input cost.
#[derive(Debug, Default)]
struct Worst {
    memory: usize,
    time: Duration,
    runs: usize,
    accepted: usize,
}

impl Worst {
    /// Reads one input and measures what it costs.
    fn run<T>(&mut self, read: impl FnOnce() -> Result<T>) {
        let start = cpu_time::ThreadTime::now();
        let (result, memory) = counted(read);
        let time = start.elapsed();
        match result {
            Ok(_) => self.accepted += 1,
            Err(e) => assert!([Kind::Invalid, Kind::Unsupported].contains(&e.kind()), "{e}"),
        }
        self.time = self.time.max(time);
        self.memory = self.memory.max(memory);
        self.runs += 1;
    }
}

/// Every prefix of `whole`, and `whole` with each byte as each of its other 255 values.
fn poisons(whole: &[u8], mut read: impl FnMut(&[u8])) {
    (0..whole.len()).for_each(|end| read(&whole[..end]));
    let mut bytes = whole.to_vec();
    for at in 0..whole.len() {
        for change in 1..=255u8 {
            bytes[at] = whole[at] ^ change;
            read(&bytes);
        }
        bytes[at] = whole[at];
    }
}

/// All poisons of `whole`, read as a file of this name.
fn poisoned<T>(name: &str, whole: &[u8], read: impl Fn(&Path) -> Result<T>) {
    let _turn = turn();
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let path = dir.path().join(name);
    let mut worst = Worst::default();
    let mut one = |bytes: &[u8]| {
        // A file that is mapped is never shortened: it is replaced.
        _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        worst.run(|| read(&path));
    };
    one(whole);
    poisons(whole, one);
    println!("{name}: {worst:?}");
    assert!(worst.accepted > 0, "the whole file is sound");
    assert!(worst.memory < MEMORY, "{worst:?}");
    assert!(worst.time < TIME, "{worst:?}");
}

/// A file with values of every kind, arrays, and tensors of three dtypes.
fn gguf() -> Vec<u8> {
    let array = |key: &str, kind: u32, items: &[u8]| {
        pair(key, 9, &[&kind.to_le_bytes()[..], &2u64.to_le_bytes(), items].concat())
    };
    let pairs = [
        pair("general.architecture", 8, &string(b"llama")),
        u32_pair("general.alignment", 32),
        pair("a", 0, &[1]),
        pair("b", 1, &[0xff]),
        pair("c", 2, &[1, 2]),
        pair("d", 3, &[1, 2]),
        pair("e", 5, &[1; 4]),
        pair("f", 6, &0.5f32.to_le_bytes()),
        pair("g", 7, &[1]),
        pair("h", 10, &[1; 8]),
        pair("i", 11, &[1; 8]),
        pair("j", 12, &0.5f64.to_le_bytes()),
        array("k", 8, &[string(b"x"), string(b"yz")].concat()),
        array("l", 5, &[1; 8]),
        array("m", 7, &[0, 1]),
    ];
    let tensors = [
        tensor("a", &[4, 2], 0, 0),
        tensor("b", &[32], 2, 32),
        tensor("c", &[3, 1, 2], 30, 64),
        tensor("d", &[0, 7], 1, 96),
    ];
    file(3, &pairs, &tensors, 96)
}

#[test]
fn a_gguf() {
    let whole = gguf();
    poisoned("x.gguf", &whole, open);
    // The second reader must not panic either, or take the memory that a length asks for.
    let path = Path::new("x.gguf");
    assert!(Header::parse(&whole, path).is_ok());
}

#[test]
fn a_safetensors_file() {
    let header = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"c":{"dtype":"F8_E4M3","shape":[0,4],"data_offsets":[26,26]}}"#;
    let whole = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 26]].concat();
    poisoned("x.safetensors", &whole, open);
}

#[test]
fn an_importance_matrix_of_the_older_form() {
    let mut whole = 2i32.to_le_bytes().to_vec();
    for (name, values) in [("blk.0.attn_q.weight", &[1f32, 2.0, 0.0][..]), ("b", &[0.5])] {
        whole.extend((name.len() as i32).to_le_bytes());
        whole.extend(name.as_bytes());
        whole.extend(4i32.to_le_bytes());
        whole.extend((values.len() as i32).to_le_bytes());
        whole.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    }
    whole.extend([&7i32.to_le_bytes()[..], &4i32.to_le_bytes(), b"text"].concat());
    poisoned("x.dat", &whole, imatrix::open);
}

#[test]
fn an_importance_matrix_as_gguf() {
    let datasets = [&8u32.to_le_bytes()[..], &1u64.to_le_bytes(), &string(b"text")].concat();
    let pairs = [
        pair("general.type", 8, &string(b"imatrix")),
        pair("imatrix.datasets", 9, &datasets),
        u32_pair("imatrix.chunk_count", 7),
        u32_pair("imatrix.chunk_size", 512),
    ];
    let tensors = [tensor("a.in_sum2", &[4, 2], 0, 0), tensor("a.counts", &[1, 2], 0, 32)];
    let mut whole = file(3, &pairs, &tensors, 0);
    whole.extend([1f32, 2.0, 3.0, 0.0, 1.0, 1.0, 1.0, 1.0, 3.0, 0.0].iter().flat_map(|x| x.to_le_bytes()));
    whole.resize(whole.len() + 24, 0);
    poisoned("x.gguf", &whole, imatrix::open);
}

/// A file costs memory as it is long, not as it says.
#[test]
fn memory_is_bounded_by_the_size_of_the_file() {
    let _turn = turn();
    let tokens: Vec<u8> = (0..100_000).flat_map(|i| string(format!("token {i}").as_bytes())).collect();
    let value = [&8u32.to_le_bytes()[..], &100_000u64.to_le_bytes(), &tokens].concat();
    let bytes = file(3, &[pair("tokenizer.ggml.tokens", 9, &value)], &[], 0);
    let (header, most) = counted(|| Header::parse(&bytes, Path::new("x.gguf")).unwrap());
    println!("{most} bytes of memory for {} of a file", bytes.len());
    assert_eq!(header.metadata.len(), 1);
    assert!(most < 8 * bytes.len(), "{most} for {}", bytes.len());
}

/// A name and a value that would say "ok", clear the screen, set the title and turn the text around.
const EVIL: &str = "a\nok: b\x1b[2J\x1b]0;title\x07b\u{202e}c\rd\u{9b}31m\u{200b}";

/// What is printed of a hostile file is only text.
#[test]
fn nothing_of_a_file_reaches_the_terminal_unescaped() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let key = format!("key.{EVIL}");
    let pairs = [
        pair("general.architecture", 8, &string(b"llama")),
        pair("general.name", 8, &string(EVIL.as_bytes())),
        pair("tokenizer.chat_template", 8, &string(EVIL.as_bytes())),
        pair(&key, 8, &string(EVIL.as_bytes())),
    ];
    let name = format!("blk.0.{EVIL}.weight");
    std::fs::write(dir.path().join("x.gguf"), file(3, &pairs, &[tensor(&name, &[32, 2], 0, 0)], 256))
        .unwrap();
    // Of this one the weights are not finite, so that its tensor stands in an error.
    let mut bad = file(3, &pairs, &[tensor(&name, &[32, 2], 0, 0)], 256);
    let last = bad.len() - 4;
    bad[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(dir.path().join("bad.gguf"), bad).unwrap();
    let st = format!(
        "{{\"__metadata__\":{{}},{}:{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}}}",
        serde_json::Value::from(name.as_str())
    );
    let st = [&(st.len() as u64).to_le_bytes()[..], st.as_bytes(), &[0; 4]].concat();
    std::fs::write(dir.path().join("x.safetensors"), st).unwrap();
    for args in [
        "inspect x.gguf --tensors --cross-check",
        "inspect x.gguf --tensors --json",
        "inspect x.safetensors --tensors",
        "inspect x.safetensors --tensors --json",
        "verify x.gguf",
        "verify bad.gguf",
        "hash x.gguf --all",
        "hash x.safetensors",
        "meta get x.gguf",
        "meta get x.gguf general.name",
        "meta get x.gguf --json",
        "diff x.gguf bad.gguf",
        "diff x.gguf x.safetensors --json",
        "split x.gguf part --max-tensors 1",
        "quantize x.gguf out5.gguf Q4_0 -v --progress json",
        "quantize x.gguf out6.gguf Q4_0 --report r.json --card --modelfile",
        "quantize x.gguf out.gguf Q8_0",
        "quantize x.gguf out.gguf Q8_0 --dry-run --json",
        "quantize bad.gguf out.gguf F16 --force",
        "convert x.safetensors --type F16 -o out.gguf",
        "merge --base x.gguf --chat x.gguf --onto x.gguf --allow-swapped --type F16 -o out2.gguf",
        "merge --base x.gguf --chat x.gguf --onto bad.gguf --type F16 -o out3.gguf",
        "merge --base x.gguf --chat x.gguf --onto x.gguf --allow-swapped --type safetensors -o out4",
    ] {
        let ran = run::ggraft_in(dir.path(), args.split(' '));
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains(|c| is_obeyed(c) && c != '\n'), "{args}: {text:?}");
            assert!(!text.lines().any(|line| line.starts_with("ok: b")), "{args}: {text:?}");
        }
        assert!(!ran.err.contains("panicked"), "{args}: {}", ran.err);
    }
    let Input::Model(model) = open(&dir.path().join("out.gguf")).unwrap() else { panic!("no model") };
    assert_eq!(model.metadata.str(&key), Some(EVIL), "the file itself is not changed");
}
