//! Three readers of GGUF: ours, gguf-rs and llama.cpp's `gguf_init_from_file`. Over files that are sound, files that are
//! broken by hand and thousands of random changes they accept and refuse the same, or the disagreement is on a list
//! with its reason. llama.cpp's ends its process on some of those that we refuse (127 of 14092 when this was written).
//! gguf-rs checks neither offsets nor lengths of data, so it is asked only about what we accept.

mod peer;
#[path = "support/raw_gguf.rs"]
mod raw_gguf;
#[path = "support/rng.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod rng;

use ggraft_formats::gguf::{Header, cross_check};
use ggraft_formats::source::Container;
use gguf_rs::{ByteOrder, GGUFContainer};
use raw_gguf::{aligned, file, pair, string, tensor, u32_pair};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A known disagreement: how the words of the reader that refuses begin, and why ours is right.
struct Reason {
    words: &'static str,
    why: &'static str,
}

/// Files that we refuse and llama.cpp accepts. All but the first two are bytes that no writer puts there.
const STRICTER: &[Reason] = &[
    Reason {
        words: "a metadata key is not UTF-8",
        why: "docs/gguf.md: keys are ASCII; it could not be printed",
    },
    Reason {
        words: "a tensor name is not UTF-8",
        why: "docs/gguf.md: names are UTF-8; it could not be printed",
    },
    Reason {
        words: "general.alignment must be a power of two",
        why: "beyond 65536 bytes: padding of any size would be believed (llama.cpp#26318)",
    },
    Reason { words: "the metadata key '", why: "a bool that is neither 0 nor 1 is undefined in C++" },
    Reason { words: "a tensor name has a wrong length", why: "an empty name cannot be asked for" },
    Reason { words: "the number of elements overflows", why: "rows without elements beyond counting" },
    Reason {
        words: "the tensors are larger than any file can be",
        why: "theirs is wrong: CVE-2026-33298, the bytes wrap to 0 when they are padded, and the file is believed",
    },
];

/// Files that we accept and llama.cpp refuses.
const LAXER: &[Reason] = &[Reason {
    words: "refused: gguf_init_from_reader: failed to read tensor data binary blob",
    why: "only the padding after the last tensor is missing: no weight is, and llama.cpp's own loader maps such files",
}];

/// Files that we accept and gguf-rs refuses or reads otherwise, by the words of the difference.
const BEYOND_GGUF_RS: &[Reason] = &[Reason {
    words: "the two readers disagree: gguf-rs refuses the file",
    why: "its decoder stops at what it cannot show as JSON",
}];

/// What a reader says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Says {
    Accepted,
    Refused(String),
}

fn ours(bytes: &[u8], path: &Path) -> Says {
    match Header::parse(bytes, path) {
        Ok(_) => Says::Accepted,
        Err(e) => {
            let text = e.to_string();
            let text = text.split_once("x.gguf: ").map_or(text.clone(), |(_, rest)| rest.to_string());
            // The tensor's name is of no matter here.
            Says::Refused(match text.strip_prefix("tensor '").and_then(|t| t.split_once("': ")) {
                Some((_, what)) => what.to_string(),
                None => text,
            })
        }
    }
}

/// Whether gguf-rs alone reads the file, by its own rules.
fn gguf_rs(bytes: &[u8]) -> Says {
    if bytes.get(..4) != Some(b"GGUF") {
        return Says::Refused("the magic".into());
    }
    let mut reader = Cursor::new(bytes.to_vec());
    reader.set_position(4);
    let decode = || {
        GGUFContainer::new(ByteOrder::LE, Box::new(reader) as Box<dyn Read>, u64::MAX).decode().map(|_| ())
    };
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(())) => Says::Accepted,
        Ok(Err(e)) => Says::Refused(e.to_string()),
        Err(_) => Says::Refused("a panic".into()),
    }
}

/// Sound files of every form.
fn sound() -> Vec<Vec<u8>> {
    let widths = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)];
    let one = widths.iter().map(|(kind, width)| pair(&format!("one.{kind}"), *kind, &vec![1; *width]));
    let many = widths.iter().map(|(kind, width)| {
        let value = [&kind.to_le_bytes()[..], &3u64.to_le_bytes(), &vec![1; 3 * width]].concat();
        pair(&format!("many.{kind}"), 9, &value)
    });
    let texts = [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &string(b"a"), &string(b"")].concat();
    let kinds: Vec<Vec<u8>> =
        one.chain(many).chain([pair("one.8", 8, &string(b"text")), pair("many.8", 9, &texts)]).collect();
    let tensors = [
        tensor("a", &[4, 2], 0, 0),
        tensor("b", &[32], 2, 32),
        tensor("c", &[256, 2], 12, 64),
        tensor("d", &[5], 24, 352),
        tensor("e", &[2, 1, 3], 1, 384),
    ];
    let eight = [tensor("a", &[3], 0, 0), tensor("b", &[3], 0, 16)];
    vec![
        file(3, &[], &[], 0),
        file(2, &[], &[], 0),
        file(3, &kinds, &[], 0),
        file(3, &kinds, &tensors, 416),
        file(2, &kinds[..3], &tensors[..2], 64),
        aligned(3, &[u32_pair("general.alignment", 8)], &eight, 32, 8),
        aligned(3, &[u32_pair("general.alignment", 64)], &[tensor("a", &[3], 0, 0)], 64, 64),
    ]
}

/// Changes that break something in particular.
fn broken() -> Vec<Vec<u8>> {
    let nested = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 24]].concat();
    let near = (1u64 << 63) - 32;
    let one = |ne: &[u64], kind: u32, offset: u64| file(3, &[], &[tensor("a", ne, kind, offset)], 64);
    let pairs = |pairs: &[Vec<u8>]| file(3, pairs, &[], 0);
    let mut all = vec![
        file(0, &[], &[], 0),
        file(1, &[], &[], 0),
        file(4, &[], &[], 0),
        file(3u32.swap_bytes(), &[], &[], 0),
        pairs(&[u32_pair("", 1)]),
        pairs(&[u32_pair("a", 1), u32_pair("a", 2)]),
        pairs(&[pair("a", 13, &[0; 8])]),
        pairs(&[pair("a", 9, &nested)]),
        pairs(&[pair("a", 7, &[2])]),
        pairs(&[u32_pair("general.alignment", 0)]),
        pairs(&[u32_pair("general.alignment", 13)]),
        pairs(&[pair("general.alignment", 5, &[32, 0, 0, 0])]),
        pairs(&[[&string(b"\xff")[..], &4u32.to_le_bytes(), &[0; 4]].concat()]),
        one(&[1; 5], 0, 0),
        one(&[u64::MAX], 0, 0),
        one(&[1 << 32, 1 << 31], 0, 0),
        one(&[1 << 31, 1 << 31], 0, 0),
        one(&[4, (1 << 30) - 1, (1 << 30) + 1], 0, 0),
        one(&[33], 2, 0),
        one(&[8], 4, 0),
        one(&[8], 0, 32),
        one(&[8], 0, 13),
        one(&[17], 0, 0),
        one(&[0, 1 << 62, 1 << 62], 0, 0),
        file(3, &[], &[tensor("", &[8], 0, 0)], 64),
        file(3, &[], &[tensor(&"n".repeat(64), &[8], 0, 0)], 64),
        file(3, &[], &[tensor("a", &[8], 0, 0), tensor("a", &[8], 0, 32)], 64),
        file(3, &[], &[tensor("a", &[near], 24, 0), tensor("b", &[near], 24, near)], 64),
        file(3, &[], &[tensor("a", &[4, 0], 0, 0), tensor("b", &[0], 0, 0)], 0),
        b"GGML\x03\0\0\0".to_vec(),
        Vec::new(),
    ];
    for at in [8, 16] {
        for n in [u64::MAX, 1 << 40, 1] {
            let mut bytes = file(3, &[], &[], 0);
            bytes[at..at + 8].copy_from_slice(&n.to_le_bytes());
            all.push(bytes);
        }
    }
    all
}

/// Every prefix, and random changes of one to three bytes.
fn changed(whole: &[u8], n: u64) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for i in 0..n {
        let mut bytes = whole.to_vec();
        for j in 0..=rng::splitmix64(i, 0) % 3 {
            let random = rng::splitmix64(i, j + 1);
            let at = (random % bytes.len() as u64) as usize;
            // Small numbers and single bits keep a file near to what is sound.
            bytes[at] = match random >> 60 {
                0..5 => bytes[at] ^ (1 << (random >> 32 & 7)),
                5..9 => (random >> 32 & 7) as u8,
                _ => (random >> 32) as u8,
            };
        }
        all.push(bytes);
    }
    all
}

/// A tally of what was compared.
#[derive(Debug, Default)]
struct Tally {
    both_accept: usize,
    both_refuse: usize,
    listed: BTreeMap<&'static str, usize>,
    /// What is on no list, with an example.
    unlisted: BTreeMap<String, String>,
}

impl Tally {
    fn count(&mut self, ours: &Says, theirs: &Says, stricter: &[Reason], laxer: &[Reason], bytes: &[u8]) {
        let list = match (ours, theirs) {
            (Says::Accepted, Says::Accepted) => return self.both_accept += 1,
            (Says::Refused(_), Says::Refused(_)) => return self.both_refuse += 1,
            (Says::Refused(_), Says::Accepted) => stricter,
            (Says::Accepted, Says::Refused(_)) => laxer,
        };
        let words = match (ours, theirs) {
            (Says::Refused(words), _) | (_, Says::Refused(words)) => words,
            _ => "",
        };
        let reason = list.iter().find(|r| words.starts_with(r.words));
        let Some(reason) = reason else {
            let what = format!("ours: {ours:?}; theirs: {theirs:?}");
            self.unlisted.entry(what).or_insert_with(|| bytes.escape_ascii().to_string());
            return;
        };
        *self.listed.entry(reason.why).or_default() += 1;
    }
}

fn all() -> impl Iterator<Item = Vec<u8>> {
    let changes =
        sound().into_iter().enumerate().flat_map(|(i, whole)| changed(&whole, 200 * (i as u64 + 1)));
    sound().into_iter().chain(broken()).chain(changes)
}

/// Names the folder of the files in the process that only asks the peer, and the first that it is to ask about.
const FOLDER: &str = "GGRAFT_DIFFERENTIAL";

#[test]
fn llama_cpp_agrees_or_is_listed() {
    if peer::peer().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<Vec<u8>> = all().collect();
    for (i, bytes) in files.iter().enumerate() {
        std::fs::write(dir.path().join(i.to_string()), bytes).unwrap();
    }
    let (mut tally, mut aborted, mut theirs) = (Tally::default(), 0, Vec::new());
    while theirs.len() < files.len() {
        theirs.extend(ask_from(dir.path(), theirs.len()));
        if theirs.len() < files.len() {
            theirs.push(Says::Refused("it ends the process".into()));
            aborted += 1;
        }
    }
    for (bytes, theirs) in files.iter().zip(&theirs) {
        tally.count(&ours(bytes, Path::new("x.gguf")), theirs, STRICTER, LAXER, bytes);
    }
    println!("{} files, of which {aborted} end llama.cpp's process: {tally:#?}", files.len());
    assert!(tally.unlisted.is_empty());
    assert!(tally.both_accept > 1000 && tally.both_refuse > 1000);
}

/// What the peer says of the files from number `first` on, until it is through or has ended its process.
fn ask_from(dir: &Path, first: usize) -> Vec<Says> {
    let asked = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "only_asks_the_peer", "--nocapture"])
        .env(FOLDER, format!("{first}:{}", dir.display()))
        .env("GGML_NO_BACKTRACE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let answer = |line: &str| match line.split_once(' ')? {
        ("peer:", "accepted") => Some(Says::Accepted),
        ("peer:", words) => Some(Says::Refused(words.to_string())),
        _ => None,
    };
    text.lines().filter_map(answer).collect()
}

/// Runs in a process of its own, because the peer ends it on some files. By itself it does nothing.
#[test]
fn only_asks_the_peer() {
    let Ok(asked) = std::env::var(FOLDER) else { return };
    let (first, dir) = asked.split_once(':').unwrap();
    let peer = peer::peer().unwrap();
    for i in first.parse::<usize>().unwrap().. {
        let path = Path::new(dir).join(i.to_string());
        if !path.exists() {
            return;
        }
        match peer.reads_gguf(&path, true) {
            Ok(_) => println!("\npeer: accepted"),
            Err(words) => println!("\npeer: refused: {}", words.escape_debug()),
        }
    }
}

/// gguf-rs is not strict: of broken files only that none is accepted by us and read otherwise by it can be asked.
#[test]
fn what_we_accept_gguf_rs_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let (mut agree, mut beyond, mut laxer, mut both_refuse) = (0, 0, 0, 0);
    let mut unlisted = BTreeMap::new();
    for bytes in all() {
        // A file that is mapped is never shortened: it is replaced.
        _ = std::fs::remove_file(&path);
        std::fs::write(&path, &bytes).unwrap();
        match Header::parse(&bytes, &path) {
            Ok(header) => match cross_check(&Container::open(&path).unwrap(), &header) {
                Ok(None) => agree += 1,
                Ok(Some(_)) => beyond += 1,
                Err(e) => {
                    let text = e.to_string();
                    let listed = BEYOND_GGUF_RS.iter().any(|r| text.contains(r.words));
                    match listed {
                        true => beyond += 1,
                        false => _ = unlisted.insert(text, bytes.escape_ascii().to_string()),
                    }
                }
            },
            Err(_) if bytes.len() < 1 << 16 => match gguf_rs(&bytes) {
                Says::Accepted => laxer += 1,
                Says::Refused(_) => both_refuse += 1,
            },
            Err(_) => {}
        }
    }
    println!(
        "agree {agree}, beyond gguf-rs {beyond}, only gguf-rs accepts {laxer}, both refuse {both_refuse}"
    );
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    assert!(agree > 1000 && both_refuse > 1000);
}
