//! What the compiler made of the codecs: no fused multiply-add, which would round otherwise than llama.cpp does, and
//! no more instructions than recorded. The code of this very program is looked at, and that of `target/release/ggraft`
//! if it is there and has names; needs `objdump` and `valgrind`, and says so where they are not.
//! `GGRAFT_WRITE_GOLDENS=1` records the counts anew.

mod support;

use ggraft_formats::quant::By;
use ggraft_formats::{DType, simd};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::weights::{Importance, Kind};

/// Instructions, and the function of the C library that stands in where the CPU has none.
const FUSED: [&str; 9] = ["vfmadd", "vfmsub", "vfnmadd", "vfnmsub", "fmla", "fmls", "fmadd", "fmsub", "fmaf"];

#[test]
fn no_codec_fuses_a_multiplication_with_an_addition() {
    let this = std::env::current_exe().unwrap();
    let release = this.ancestors().nth(3).unwrap().join("release/ggraft");
    for program in [&this, &release].into_iter().filter(|p| p.exists()) {
        let Some((functions, fused)) = fused(program) else {
            eprintln!("SKIPPED: fused multiply-adds were not looked for; install objdump (binutils)");
            return;
        };
        // A release is stripped of its names; `--profile profiling` is not, and has the same code.
        if functions == 0 && *program != this {
            eprintln!("SKIPPED: {} has no names of functions", program.display());
            continue;
        }
        // Both the scalar codecs and the kernels, which are instances of the functions of fearless_simd.
        assert!(functions > 100, "{}: only {functions} functions of the codecs", program.display());
        assert!(fused.is_empty(), "{}:\n{}", program.display(), fused.join("\n"));
    }
}

/// How many functions of the codecs a program has, and their fused multiply-adds; `None` without `objdump`.
fn fused(program: &Path) -> Option<(usize, Vec<String>)> {
    let mut command = Command::new("objdump");
    command.args(["--disassemble", "--no-show-raw-insn"]).arg(program).stdout(Stdio::piped());
    let mut objdump = command.spawn().ok()?;
    let (mut functions, mut found, mut function) = (0, Vec::new(), None);
    for line in BufReader::new(objdump.stdout.take()?).lines().map_while(Result::ok) {
        if let Some(name) = line.strip_suffix(">:") {
            let ours = name.contains("ggraft_formats") || name.contains("fearless_simd");
            function = ours.then(|| name.to_string());
            functions += usize::from(ours);
        } else if let Some(name) = &function
            && FUSED.iter().any(|fused| line.contains(fused))
        {
            found.push(format!("{name}: {line}"));
        }
    }
    objdump.wait().ok()?.success().then_some((functions, found))
}

/// Names the codec that `one_codec` runs.
const CASE: &str = "GGRAFT_COUNT";
const ROW: usize = 4096;
const ROWS: usize = 8;
const RUNS: usize = 4;

#[test]
fn no_encoder_takes_more_instructions_than_recorded() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/codecs/instructions.json");
    let recorded: BTreeMap<String, u64> =
        std::fs::read(&path).map_or(BTreeMap::new(), |json| serde_json::from_slice(&json).unwrap());
    let key = format!("compiled by {}", compiler());
    let writes = std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some();
    if !cfg!(debug_assertions) {
        return eprintln!("SKIPPED: instructions were not counted; those of another profile are recorded");
    }
    if avx2().is_none() || instructions("nothing").is_none() {
        return eprintln!("SKIPPED: instructions were not counted; install valgrind, on a CPU with AVX2");
    }
    if !writes && !recorded.contains_key(&key) {
        return eprintln!("SKIPPED: instructions were not counted; none are recorded that are {key}");
    }
    let nothing = instructions("nothing").unwrap();
    let names: Vec<String> = cases().map(|(name, ..)| name).collect();
    let found: BTreeMap<String, u64> =
        names.into_par_iter().map(|name| (name.clone(), instructions(&name).unwrap() - nothing)).collect();
    if writes {
        let all: BTreeMap<_, _> = found.into_iter().chain([(key, 1)]).collect();
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&all).unwrap())).unwrap();
        return;
    }
    let more = found.iter().filter(|(name, count)| **count > recorded[*name] / 20 * 21);
    let more: Vec<_> = more.map(|(name, count)| format!("{name}: {count}, not {}", recorded[name])).collect();
    assert!(more.is_empty(), "more instructions:\n{}", more.join("\n"));
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    String::from_utf8(version.unwrap_or_default()).unwrap().trim().to_string()
}

fn avx2() -> Option<simd::Level> {
    simd::levels().into_iter().flatten().find(|level| format!("{level:?}").starts_with("Avx2"))
}

/// The encoders that have kernels, plain and by importance.
fn cases() -> impl Iterator<Item = (String, DType, Importance)> {
    use DType::{BF16, F16, IQ4NL, IQ4XS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let plain = [F16, BF16, Q8_0].map(|d| (d, Importance::Plain));
    let both = [Q4_0, Q4_1, Q5_0, Q5_1, Q2K, Q3K, Q4K, Q5K, Q6K, IQ4NL, IQ4XS];
    let both = both.into_iter().flat_map(|d| [(d, Importance::Plain), (d, Importance::Measured)]);
    plain.into_iter().chain(both).map(|(d, i)| (format!("{d} {i:?}"), d, i))
}

/// What `one_codec` takes for a case, all that is around it included; `None` without `valgrind`.
fn instructions(case: &str) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(std::env::current_exe().ok()?).args(["--exact", "one_codec", "--test-threads=1"]);
    let output = command.env(CASE, case).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
}

#[test]
fn one_codec() {
    let Ok(case) = std::env::var(CASE) else { return };
    let weights = Kind::Bf16Gaussian.weights(ROWS, ROW);
    let Some((_, dtype, importance)) = cases().find(|(name, ..)| *name == case) else { return };
    let columns = importance.weights(ROW);
    let mut blocks = vec![0; dtype.row_bytes(weights.len() as u64).unwrap() as usize];
    simd::at(avx2(), || {
        for _ in 0..RUNS {
            let by = By { weights: columns.as_deref(), ..By::default() };
            (dtype.traits().encode.unwrap())(&weights, ROW, by, &mut blocks);
        }
    });
    std::hint::black_box(&blocks);
}
