//! Budgets: the dtypes that `--target-size` and `--target-bpw` buy fit the size to the byte, are the same on any
//! number of threads, leave alone what the user pinned, and make better models than the fixed mixtures of that size.

#[path = "support/budget/bench.rs"]
mod bench;
mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use bench::Bench;
use ggraft_formats::{DType, Model};
use run::{ggraft, trio};
use serde_json::Value;
use std::path::{Path, PathBuf};
use support::gguf::{TOYS, Toy, dtype, model};
use support::imatrix::{self, Entry};

fn bits(model: &Model) -> f64 {
    let bytes: u64 = model.tensors.iter().map(|t| t.bytes()).sum();
    let elements: u64 = model.tensors.iter().map(|t| t.shape().elements()).sum();
    bytes as f64 * 8.0 / elements as f64
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

const SMALL: Toy = Toy { layers: 3, ..TOYS[2] };

/// The logits of a model after the first tokens of these texts, windows of 256 of each.
fn logits(peer: &'static peer::Peer, file: &Path, texts: &[PathBuf]) -> Vec<Vec<f32>> {
    let model = peer.load_model(file, false).unwrap();
    let of = |text: &PathBuf| {
        let text = std::fs::read_to_string(text).unwrap();
        model.scored_logits(&text, 256, 8, 2).unwrap()
    };
    texts.iter().flat_map(of).collect()
}

/// The mean KL divergence of `ours` from `reference`, as llama-perplexity measures it.
fn divergence(reference: &[Vec<f32>], ours: &[Vec<f32>]) -> f64 {
    let sum: f64 = reference.iter().zip(ours).map(|(p, q)| peer::divergence(p, q)).sum();
    sum / reference.len() as f64
}

/// At the size of a fixed mixture a budget's model is nearer to the F32 model, in llama.cpp.
#[test]
fn a_budget_beats_the_mixture_of_its_size() {
    let Some(peer) = peer::peer() else { return };
    let bench = Bench::new();
    let merged = bench.path("merged.gguf");
    let parents = [("--base", "base"), ("--chat", "chat"), ("--onto", "cp")];
    let mut words = vec![String::from("merge"), String::from("--quiet"), String::from("--type=F32")];
    words.extend(
        parents.iter().flat_map(|(option, name)| [option.to_string(), trio(name).display().to_string()]),
    );
    ggraft(words.into_iter().chain([String::from("-o"), merged.display().to_string()])).ok();
    let texts = ["korean_heldout.txt", "english_heldout.txt"].map(trio);
    let mut by_weights = 1.0;
    for (name, input) in [("cp", trio("cp")), ("merged", merged)] {
        for found in compared(peer, &bench, &input, &texts, &["Q3_K_M", "Q4_K_M"]) {
            let Compared { ftype, fixed, bought, .. } = found;
            assert!(bought < fixed * 0.95, "{name} {ftype}: {bought} is not below {fixed}");
            assert!(found.bought_weighed < fixed * 0.75 && found.fixed_weighed < fixed);
            by_weights *= found.bought_weighed / bought;
        }
    }
    assert!(by_weights < 0.8, "of four files together: {by_weights}");
}

/// Divergences from the model in F32.
struct Compared {
    ftype: &'static str,
    /// Of a mixture, and of what a budget of its size buys.
    fixed: f64,
    bought: f64,
    /// The same with importance that the weights tell.
    fixed_weighed: f64,
    bought_weighed: f64,
}

fn compared(
    peer: &'static peer::Peer,
    bench: &Bench,
    input: &Path,
    texts: &[PathBuf],
    ftypes: &[&'static str],
) -> Vec<Compared> {
    let full = bench.convert(input, "reference.gguf", &["--type", "F32"]);
    let reference = logits(peer, &full, texts);
    let of = |ftype: &&'static str| {
        let fixed = bench.convert(&full, "fixed.gguf", &["--type", ftype]);
        let budget = size(&fixed);
        let far = |file: &Path| divergence(&reference, &logits(peer, file, texts));
        let bought = |options: &[&str]| {
            let limit = budget.to_string();
            let file = bench.convert(&full, "bought.gguf", &[&["--target-size", &limit], options].concat());
            let ours = size(&file);
            assert!(ours <= budget && ours as f64 >= budget as f64 * 0.995, "{ours} of {budget} bytes");
            far(&file)
        };
        let weighed = ["--type", ftype, "--importance", "weights"];
        let found = Compared {
            ftype,
            fixed: far(&fixed),
            bought: bought(&[]),
            fixed_weighed: far(&bench.convert(&full, "fixed.gguf", &weighed)),
            bought_weighed: bought(&weighed[2..]),
        };
        println!(
            "{ftype} {budget} bytes: KL divergence {:.5} fixed, {:.5} bought; by importance of the weights {:.5}, {:.5}",
            found.fixed, found.bought, found.fixed_weighed, found.bought_weighed
        );
        found
    };
    ftypes.iter().map(of).collect()
}

/// `GGRAFT_MODEL=model.gguf GGRAFT_TEXT=text.txt cargo test --release --test budget -- --ignored --nocapture`
#[test]
#[ignore = "prints the figures of a model and a text of yours"]
fn a_model_of_yours() {
    let (Some(peer), Some(model), Some(text)) =
        (peer::peer(), std::env::var_os("GGRAFT_MODEL"), std::env::var_os("GGRAFT_TEXT"))
    else {
        panic!("GGRAFT_LLAMA_CPP, GGRAFT_MODEL and GGRAFT_TEXT must be set");
    };
    let ftypes = ["Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M"];
    compared(peer, &Bench::new(), Path::new(&model), &[PathBuf::from(text)], &ftypes);
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let bench = Bench::new();
    let bytes = |threads: &str| {
        let options = ["--target-bpw", "4.4", "--threads", threads];
        std::fs::read(bench.convert(&trio("chat"), "out.gguf", &options)).unwrap()
    };
    let one = bytes("1");
    assert!(one == bytes("2") && one == bytes("5"));
}

#[test]
fn a_file_is_never_larger_than_its_budget_and_as_large_as_its_plan_says() {
    let bench = Bench::new();
    let (mut last, mut least_error) = (0, f64::INFINITY);
    for budget in (1_100_000..3_400_000u64).step_by(290_001).chain([6_100_000, 20_000_000]) {
        let plan = bench.plan(&trio("cp"), &["--target-size", &budget.to_string()]);
        let planned = plan["bytes"].as_u64().unwrap();
        let error = plan["budget"]["error"].as_f64().unwrap();
        assert!(planned <= budget && planned >= last, "{planned} of {budget}");
        assert_eq!(plan["budget"]["spent"].as_u64(), Some(planned));
        assert!(error <= least_error);
        if budget < 6_000_000 {
            assert!(planned as f64 > budget as f64 * 0.99, "{planned} of {budget}");
        }
        (last, least_error) = (planned, error);
        if budget % 2 == 0 {
            let path = bench.convert(&trio("cp"), "out.gguf", &["--target-size", &budget.to_string()]);
            assert_eq!(size(&path), planned);
        }
    }
    // The checkpoint is bf16, so that loses nothing.
    assert_eq!(least_error, 0.0);
}

#[test]
fn bits_a_weight_are_those_of_the_weights() {
    let bench = Bench::new();
    for wanted in ["3.3", "4.5", "6.25", "8.5"] {
        let found = bits(&model(&bench.convert(&trio("cp"), "out.gguf", &["--target-bpw", wanted])));
        let wanted: f64 = wanted.parse().unwrap();
        assert!(found <= wanted && found > wanted * 0.99, "{found} of {wanted}");
    }
}

/// `--target-size Q4_K_M` is the size of that file, whose dtypes the plan compares with.
#[test]
fn a_budget_may_be_the_size_of_a_mixture() {
    let bench = Bench::new();
    let fixed = bench.convert(&trio("cp"), "fixed.gguf", &["--type", "Q4_K_M"]);
    let plan = bench.plan(&trio("cp"), &["--target-size", "q4_k_m"]);
    let budget = &plan["budget"];
    assert_eq!(budget["limit"].as_u64(), Some(size(&fixed)));
    assert_eq!(
        (&budget["fixed"]["bytes"], &budget["fixed"]["ftype"]),
        (&budget["limit"], &Value::from("Q4_K_M"))
    );
    assert!(budget["error"].as_f64() < budget["fixed"]["error"].as_f64());
    assert_eq!(plan["ftype"], "Q4_K_M");
    assert_eq!(budget["counted"], "file");
    let tensors = budget["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 23);
    for tensor in tensors {
        let of = |key: &str| tensor[key].as_f64().unwrap();
        assert_eq!(of("error"), of("sensitivity") * of("relative_error"), "{tensor}");
        assert!(!tensor["smaller"].is_null() && !tensor["larger"].is_null(), "{tensor}");
    }
}

#[test]
fn the_plan_says_what_was_bought_and_why() {
    let bench = Bench::new();
    let ran = bench.run(&["convert", trio("cp").to_str().unwrap(), "--target-bpw", "4.5", "--dry-run"]).ok();
    for line in [
        "budget: ",
        " bytes of weights spent (99.",
        "expected error (sum of sensitivity x relative squared error): 0.0",
        "; the fixed mixture Q",
        "  feed-forward down  error ",
        " (layers ",
        ".gguf: file type Q",
    ] {
        assert!(ran.err.contains(line), "{line}: {}", ran.err);
    }
    assert!(ran.err.contains("bpw.gguf"), "{}", ran.err);
}

/// The number is that of the nearest mixture, or of the type that was named.
#[test]
fn the_file_type_is_a_mixture_of_about_that_size() {
    let bench = Bench::new();
    for (options, expected) in [
        (&["--target-bpw", "8.5"][..], 7),
        (&["--target-bpw", "6.6"], 18),
        (&["--target-size", "Q3_K_M"], 12),
        (&["--target-bpw", "4.5", "--type", "IQ4_NL"], 25),
        // A browser does not run it; so much room is for F32, which it runs no faster.
        (&["--for", "browser", "--type", "IQ2_XS"], 7),
    ] {
        let found = model(&bench.convert(&trio("cp"), "out.gguf", options));
        assert_eq!(found.metadata.u64("general.file_type"), Some(expected), "{options:?}");
    }
    // Dtypes of another file have no name of their own.
    bench.convert(&trio("cp"), "like.gguf", &["--type", "Q4_K_M"]);
    let like = bench.path("like.gguf").display().to_string();
    let found = model(&bench.convert(&trio("cp"), "out.gguf", &["--like", &like, "--target-size", "3M"]));
    assert_eq!(found.metadata.u64("general.file_type"), Some(15));
}

#[test]
fn pinned_tensors_stay_as_they_are_pinned() {
    let bench = Bench::new();
    let options = [
        "--target-bpw",
        "4.8",
        "--tensor-type",
        "attn_v=q8_0",
        "--output-tensor-type",
        "q6_K",
        "--token-embedding-type",
        "q4_0",
    ];
    let plan = bench.plan(&trio("cp"), &options);
    let found = model(&bench.convert(&trio("cp"), "out.gguf", &options));
    assert!(bits(&found) <= 4.8);
    let pinned = [
        ("blk.1.attn_v.weight", DType::Q8_0),
        ("output.weight", DType::Q6K),
        ("token_embd.weight", DType::Q4_0),
    ];
    for (name, wanted) in pinned {
        assert_eq!(dtype(&found, name), wanted, "{name}");
        assert!(!plan["budget"]["tensors"].as_array().unwrap().iter().any(|t| t["name"] == name));
    }
    assert_eq!(dtype(&found, "blk.0.attn_norm.weight"), DType::F32);
}

/// The type may be left out; an unnamed output is named by its bits.
#[test]
fn quantize_takes_a_budget_instead_of_a_type() {
    let bench = Bench::new();
    bench.toy(&SMALL);
    bench.run(&["quantize", "-q", "@bf16.gguf", "@out.gguf", "--target-bpw", "5"]).ok();
    let named = bench.run(&["quantize", "-q", "--target-bpw=5", "@bf16.gguf"]).ok();
    assert!(named.out.ends_with("ggml-model-5.00bpw.gguf\n"), "{}", named.out);
    assert!(bits(&model(&bench.path("out.gguf"))) <= 5.0);
    let pure = bench.run(&["quantize", "--target-bpw=5", "--pure", "@bf16.gguf"]);
    assert_eq!((pure.code, pure.err.contains("--pure")), (2, true), "{}", pure.err);
    let both = bench.run(&["quantize", "--target-bpw=5", "--target-size=1GB", "@bf16.gguf"]);
    assert_eq!(both.code, 2, "{}", both.err);
    // Without a budget the weights' own type is meant, as in convert_hf_to_gguf.
    let neither = bench.run(&["convert", "--type=auto", "@bf16.gguf", "-o", "@auto.gguf"]).ok();
    assert!(neither.err.contains("BF16"), "{}", neither.err);
}

#[test]
fn an_impossible_budget_names_the_smallest_that_is_possible() {
    let bench = Bench::new();
    let input = trio("cp").display().to_string();
    for option in ["--target-size", "--target-bpw"] {
        let run =
            |budget: &str| bench.run(&["convert", "-q", "--force", &input, option, budget, "-o", "@o.gguf"]);
        let ran = run("1");
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(!bench.path("o.gguf").exists());
        let (_, hint) =
            ran.err.split_once(&format!("give {option} ")).unwrap_or_else(|| panic!("{}", ran.err));
        run(hint.split(' ').next().unwrap()).ok();
        std::fs::remove_file(bench.path("o.gguf")).unwrap();
    }
}

#[test]
fn what_is_quantized_already_stays_unless_it_may_be_requantized() {
    let bench = Bench::new();
    let q8 = bench.convert(&trio("cp"), "q8.gguf", &["--type", "Q8_0"]);
    let input = q8.display().to_string();
    let refused = bench.run(&["convert", "-q", &input, "--target-bpw", "4.5", "-o", "@o.gguf"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("at least 8.5"), "{}", refused.err);
    let found = model(&bench.convert(&q8, "o.gguf", &["--target-bpw", "4.5", "--allow-requantize"]));
    assert!(bits(&found) <= 4.5);
    let same = model(&bench.convert(&q8, "o.gguf", &["--target-bpw", "9", "--allow-requantize"]));
    assert!(same.tensors.iter().all(|t| matches!(t.dtype(), DType::Q8_0 | DType::F32)));
}

/// Rows of 288 and 272 columns fill no block of 256; experts and tied heads have their own roles.
#[test]
fn every_toy_meets_its_budget_with_dtypes_that_fit() {
    let bench = Bench::new();
    for toy in &TOYS {
        let toy = Toy { layers: 3, ..*toy };
        let found = model(&bench.convert(&bench.toy(&toy), "out.gguf", &["--target-bpw", "7.5"]));
        let spent = bits(&found);
        assert!(spent <= 7.5 && spent > 6.6, "{}: {spent}", toy.name);
    }
}

/// An importance matrix says which columns count: the measured errors are others, and the encoders use it.
#[test]
fn an_importance_matrix_counts() {
    let bench = Bench::new();
    let input = bench.toy(&SMALL);
    let entries = imatrix::measured(&SMALL);
    imatrix::write(&entries.iter().collect::<Vec<&Entry>>(), &bench.path("m.gguf"));
    let matrix = bench.path("m.gguf").display().to_string();
    let with = ["--target-bpw", "4.5", "--imatrix", &matrix];
    let error =
        |options: &[&str]| bench.plan(&input, options)["budget"]["tensors"][3]["relative_error"].as_f64();
    assert_ne!(error(&with), error(&with[..2]));
    let found = model(&bench.convert(&input, "out.gguf", &with));
    assert!(found.metadata.get("quantize.imatrix.file").is_some() && bits(&found) <= 4.5);
}

/// A merge takes a budget for each weight, from the command line or a recipe.
#[test]
fn a_merge_takes_a_budget() {
    let bench = Bench::new();
    let parents = [("--base", "base"), ("--chat", "chat"), ("--onto", "cp")]
        .map(|(o, n)| [o.to_string(), trio(n).display().to_string()]);
    let parents: Vec<&str> = parents.iter().flatten().map(String::as_str).collect();
    let merge = |more: &[&str]| bench.run(&[&["merge", "-q"], &parents[..], more].concat());
    merge(&["--target-size", "Q4_K_M", "-o", "@merged.gguf"]).ok();
    merge(&["--target-size", "Q4_K_M", "--emit-recipe", "@r.yml"]).ok();
    bench.run(&["merge", "-q", "@r.yml", "-o", "@again.gguf"]).ok();
    let bytes = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert!(bytes("merged.gguf") == bytes("again.gguf"));
    merge(&["--type", "Q4_K_M", "-o", "@fixed.gguf"]).ok();
    assert!(bytes("merged.gguf").len() <= bytes("fixed.gguf").len());
    let directory = merge(&["--target-bpw", "4.5", "--type", "safetensors", "-o", "@hf"]);
    assert_eq!((directory.code, directory.err.contains("GGUF outputs only")), (2, true), "{}", directory.err);
}

/// The parts of a split output are together within the budget.
#[test]
fn a_split_output_keeps_its_budget_too() {
    let bench = Bench::new();
    let options = ["--target-size", "1800000", "--split-max-tensors", "7"];
    let plan = bench.plan(&trio("cp"), &options);
    bench.convert(&trio("cp"), "parts.gguf", &options);
    let files = std::fs::read_dir(bench.dir.path()).unwrap();
    let sizes: Vec<u64> = files.map(|f| f.unwrap().metadata().unwrap().len()).collect();
    let sum: u64 = sizes.iter().sum();
    assert_eq!((sizes.len(), Some(sum)), (5, plan["bytes"].as_u64()));
    assert!(sum <= 1_800_000 && sum > 1_790_000, "{sum}");
}
