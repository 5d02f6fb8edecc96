//! What a budget may be beside a size: a divergence that is not exceeded, several sizes of one measuring, and sizes below
//! those of three bits a weight, where something tells of the columns.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/run.rs"]
mod run;
#[path = "support/server.rs"]
mod server;

use hub::Hub;
use run::{Folder, Ran, ggraft, ran, trio};
use serde_json::Value;
use std::process::Command;

/// `ggraft convert` of the trio's CP.
fn convert(options: &str) -> Ran {
    let cp = trio("cp").display().to_string();
    ggraft(["convert", &cp, "-q", "--dry-run"].into_iter().chain(options.split(' ')))
}

fn plans(options: &str) -> Vec<Value> {
    let ran = convert(&format!("{options} --json")).ok();
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn error(plan: &Value) -> f64 {
    plan["budget"]["error"].as_f64().unwrap()
}

const SIZES: &str = "Q3_K_M,Q2_K,1700000,q5_k_m";

/// The rows are those of the files that `--target-size` makes, from the smallest; what is larger loses less.
#[test]
fn a_sweep_is_a_table_of_what_budgets_would_make() {
    let table = convert(&format!("--sweep={SIZES}")).ok().out;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[0].trim_start().starts_with("size") && lines[0].contains("est. KLD"), "{table}");
    let column = |i: usize| -> Vec<f64> {
        lines[1..].iter().map(|line| line.split_whitespace().nth(i).unwrap().parse().unwrap()).collect()
    };
    assert!(column(0).is_sorted_by(|a, b| a < b) && column(2).is_sorted_by(|a, b| a < b), "{table}");
    assert!(column(3).is_sorted_by(|a, b| a > b), "{table}");
    for (line, mixture) in lines[1..].iter().zip(["Q2_K (", "Q3_K_M (", "Q4_K_S (", "Q5_K_M ("]) {
        assert!(line.contains(mixture) || line.contains("Q3_K_L ("), "{line}");
        assert!(line.contains(" %, ") && !line.contains("f32"), "{line}");
    }
    let swept = plans(&format!("--sweep={SIZES}"));
    for (plan, size) in swept.iter().zip(SIZES.split(',')) {
        let alone = plans(&format!("--target-size {size}"));
        assert_eq!(plan["budget"], alone[0]["budget"], "{size}");
        assert_eq!((&plan["bytes"], &plan["tensors"]), (&alone[0]["bytes"], &alone[0]["tensors"]));
    }
}

#[test]
fn without_sizes_those_of_the_usual_mixtures_are_swept_whatever_the_threads() {
    let of = |threads: &str| convert(&format!("--sweep --threads {threads}")).ok().out;
    let one = of("1");
    assert!(one == of("2") && one == of("5"));
    assert_eq!(one.lines().count(), 9, "{one}");
}

#[test]
fn quantize_sweeps_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.gguf").display().to_string();
    let cp = trio("cp").display().to_string();
    ggraft(["convert", &cp, "-q", "--type", "F16", "-o", &path]).ok();
    let swept = ggraft(["quantize", "-q", "--dry-run", "--sweep=Q3_K_M,Q4_K_M", &path]).ok().out;
    assert_eq!(swept.lines().count(), 3, "{swept}");
    let named = ggraft(["quantize", "-q", "--dry-run", "--sweep=1.5M,Q4_K_M", &path, "Q4_K_M"]).ok().out;
    assert_eq!(named.matches("Q4_K_M (").count(), 2, "{named}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is written");
}

/// As small as it may be: with a little less the estimate is above what was asked for.
#[test]
fn a_divergence_is_the_most_that_is_expected_of_the_smallest_file() {
    let mut last = u64::MAX;
    for most in [0.004, 0.02, 0.1] {
        let plan = &plans(&format!("--target-kld {most}"))[0];
        let (bytes, told) = (plan["bytes"].as_u64().unwrap(), plan["budget"]["divergence"].as_f64().unwrap());
        assert!(told <= most && told > most * 0.97, "{told} of {most}");
        assert!(bytes < last, "{bytes} for {most}");
        assert_eq!(plan["budget"]["aim"].as_f64(), Some(most));
        let smaller = &plans(&format!("--target-size {}", bytes - bytes / 500))[0];
        assert!(smaller["budget"]["divergence"].as_f64().unwrap() > most, "{most}");
        last = bytes;
    }
    let exact = &plans("--target-kld 1e-9")[0];
    assert_eq!(error(exact), 0.0);
}

#[test]
fn what_does_not_go_together_is_refused_in_words() {
    for (options, said) in [
        ("--target-kld 0.1 --target-size Q4_0", "cannot be used with"),
        ("--target-kld 0.1 --for pi5-8gb", "cannot be used with"),
        ("--target-kld 0.1 --pure", "cannot be used with"),
        ("--target-kld 0", "above 0 and at most 10"),
        ("--target-kld small", "such as 0.02, found 'small'"),
        ("--sweep --target-bpw 4", "cannot be used with"),
        ("--sweep=Q4_K_M,huge", "or a type such as Q4_K_M, found 'huge'"),
        ("--sweep --type Q4_K_M,Q8_0", "--sweep compares with one type"),
        ("--sweep=1000,2000", "name a larger one after --sweep="),
        ("--target-kld 0.1 --type safetensors", "GGUF outputs only"),
    ] {
        let ran = convert(options);
        assert_eq!((ran.code, ran.err.contains(said)), (2, true), "{options}: {}", ran.err);
    }
    let cp = trio("cp").display().to_string();
    let wet = ggraft(["convert", &cp, "--sweep"]);
    assert_eq!((wet.code, wet.err.contains("--dry-run")), (2, true), "{}", wet.err);
}

/// A size that nothing can have leaves the others.
#[test]
fn a_size_too_small_is_told_beside_the_table() {
    let cp = trio("cp").display().to_string();
    let ran = ggraft(["convert", &cp, "--dry-run", "--sweep=1000,Q4_K_M"]).ok();
    assert!(ran.err.contains("warning: 1000: the budget is too small"), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
}

/// Nothing that is asked for is left undone in silence: a sweep is a table, and that is all.
#[test]
fn a_sweep_makes_no_plan_no_report_and_no_output() {
    let folder = Folder::new();
    ggraft(folder.words("convert %cp -q --type F16 -o @in.gguf")).ok();
    let jobs = "--jobs 4 --plan @p";
    for (words, said) in [
        (format!("plan quantize @in.gguf --dry-run --sweep {jobs}"), "a sweep is no plan for jobs"),
        (format!("plan convert %cp --dry-run --sweep {jobs}"), "a sweep is no plan for jobs"),
        (format!("plan convert %cp --dry-run --sweep {jobs} --emit slurm"), "a sweep is no plan for jobs"),
        ("convert %cp --dry-run --sweep --report @r.html".into(), "cannot be used with"),
        ("quantize @in.gguf --dry-run --sweep --report @r.json".into(), "cannot be used with"),
        ("convert %cp --dry-run --sweep --modelfile".into(), "cannot be used with"),
        ("quantize @in.gguf --dry-run --sweep --card".into(), "cannot be used with"),
        // No place is opened: there is no token, and the network would be asked.
        (
            "convert %cp --dry-run --sweep -o hf://acme/new".into(),
            "so it has no output elsewhere: found hf://acme/new",
        ),
        (
            "quantize @in.gguf hf://acme/new --dry-run --sweep".into(),
            "so it has no output elsewhere: found hf://acme/new",
        ),
    ] {
        let ran = ggraft(folder.words(&words));
        assert_eq!((ran.code, ran.err.contains(said)), (2, true), "{words}: {}", ran.err);
        assert!(ran.out.is_empty(), "{words}: {}", ran.out);
    }
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 1, "nothing is written");
}

/// What was measured for one size is not fetched again for the others, nor for the steps to a divergence.
#[test]
fn a_model_from_afar_is_fetched_once_for_all_sizes() {
    let (dir, hub) = (tempfile::tempdir().unwrap(), Hub::with_trio());
    let bytes = |options: &str| {
        hub.server.forget();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        hub.known_to(&mut command, &dir.path().join("home"));
        command.args(["convert", "acme/cp", "-q", "--dry-run"]).args(options.split(' '));
        ran(&mut command).ok();
        hub.weights_asked().1
    };
    let one = bytes("--sweep=Q4_K_M");
    assert!(one > 0);
    for options in ["--sweep=Q3_K_M,Q4_K_S,Q4_K_M,Q5_K_M,Q6_K", "--target-kld 0.02"] {
        let came = bytes(options);
        println!("{options}: {came} bytes, {one} for one size");
        assert!(came <= one + one / 4, "{options}: {came} bytes, {one} for one size");
    }
}

/// The dtypes of a plan and the tensors that have them.
fn dtypes(plan: &Value) -> Vec<(String, String)> {
    let tensors = plan["tensors"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    tensors.map(|tensor| (text(&tensor["name"]), text(&tensor["to"]))).collect()
}

#[test]
fn below_three_bits_there_are_dtypes_where_the_columns_are_told_of() {
    let low = ["iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s"];
    let is_low = |dtype: &str| low.contains(&dtype);
    let size = "--target-size IQ2_XS";
    let refused = convert(size);
    assert_eq!((refused.code, refused.err.contains("too small")), (2, true), "{}", refused.err);
    let plan = &plans(&format!("{size} --importance weights"))[0];
    let given = dtypes(plan);
    assert!(given.iter().filter(|(_, dtype)| is_low(dtype)).count() > 4, "{given:?}");
    let delicate = |name: &str| name.contains("attn_v") || !name.starts_with("blk.");
    assert!(given.iter().all(|(name, dtype)| !is_low(dtype) || !delicate(name)), "{given:?}");
    assert_eq!(plan["budget"]["fixed"]["ftype"], "IQ2_XS");
    assert!(error(plan) < plan["budget"]["fixed"]["error"].as_f64().unwrap());
    // Without importance none that is useless without it is bought.
    let blind = dtypes(&plans("--target-size Q2_K")[0]);
    assert!(blind.iter().all(|(_, dtype)| !is_low(dtype) && dtype != "iq3_xxs"), "{blind:?}");
}
