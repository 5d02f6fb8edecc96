//! Models that do not belong together are told from their headers or from a few of their weights: the merge stops
//! with the reason, or says what was allowed.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::merge::{Allowed, CHAT_VECTOR, Graft, Options, Vector};
use ggraft_formats::{DType, Error, Metadata, Model, Result, Shape, Tensor, Value};
use run::{Ran, ggraft, trio};
use std::path::{Path, PathBuf};
use support::rng;

const NAMES: [&str; 3] = ["blk.0.attn_q.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"];

/// Weights that lie `step` away from others, in a direction of their own.
fn away(from: &[f32], step: f32, seed: u64) -> Vec<f32> {
    from.iter().zip(rng::gaussian(seed, from.len())).map(|(x, n)| x + 0.02 * step * n).collect()
}

fn weights(seed: u64) -> Vec<f32> {
    rng::gaussian(seed, 256 * 32).into_iter().map(|x| 0.02 * x).collect()
}

fn model(values: &[f32], dtype: DType) -> Model {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "llama");
    metadata.set("tokenizer.chat_template", "t");
    for (key, n) in [("block_count", 1u32), ("embedding_length", 256), ("attention.head_count", 4)] {
        metadata.set(&format!("llama.{key}"), n);
    }
    metadata.set("llama.rope.freq_base", 10000f32);
    metadata.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let tensor = |name: &str| {
        let shape = Shape::new(&[256, 32]).unwrap();
        Tensor::in_memory(name, shape, values).unwrap().encode(dtype, None).unwrap()
    };
    Model { metadata, tensors: NAMES.map(tensor).to_vec(), ..Model::default() }
}

fn graft(cp: Model, chat: Model, base: Model) -> Result<Graft> {
    Graft::new(cp, &[Vector { chat, base }], CHAT_VECTOR)
}

/// What is found of three models of these weights.
fn kinship(cp: &[f32], chat: (&[f32], DType), base: (&[f32], DType)) -> Result<Vec<String>> {
    let graft = graft(model(cp, DType::F32), model(chat.0, chat.1), model(base.0, base.1))?;
    graft.check_kinship(Allowed::default())
}

fn text(e: Result<impl Sized>) -> String {
    e.map(|_| ()).map_err(|e: Error| e.to_string()).unwrap_err()
}

#[test]
fn every_difference_of_the_configurations_is_told_at_once() {
    let cp = model(&weights(1), DType::F32);
    let mut chat = cp.clone();
    chat.metadata.set("llama.rope.freq_base", 1000000f32);
    chat.metadata.set("llama.attention.sliding_window", 4096u32);
    let mut base = cp.clone();
    base.metadata.set("llama.attention.head_count", 8u32);
    base.metadata.set("llama.attention.layer_norm_rms_epsilon", 1e-6f32);
    let hint = "; if you know that it does no harm, give --allow-mismatch";
    assert_eq!(
        text(graft(cp.clone(), chat.clone(), base)),
        format!(
            "chat differs from onto in attention.sliding_window: expected nothing, found 4096{hint}\n\
             chat differs from onto in rope.freq_base: expected 10000, found 1000000{hint}\n\
             base differs from onto in attention.head_count: expected 4, found 8\n\
             base differs from onto in attention.head_count_kv: expected 4, found 8\n\
             base differs from onto in attention.key_length: expected 64, found 32\n\
             base differs from onto in attention.value_length: expected 64, found 32\n\
             base differs from onto in rope.dimension_count: expected 64, found 32\n\
             base differs from onto in attention.layer_norm_rms_epsilon: expected 0.00001, found 0.000001{hint}"
        )
    );
    let options = Options { allow_mismatch: true, ..CHAT_VECTOR.into() };
    let allowed = Graft::new(cp.clone(), &[Vector { chat, base: cp }], options).unwrap();
    let notes = allowed.notes.iter().filter(|n| n.starts_with("allowed: chat differs from onto in ")).count();
    assert_eq!(notes, 2);
}

#[test]
fn what_is_implied_is_no_difference() {
    let cp = model(&weights(1), DType::F32);
    let mut chat = cp.clone();
    chat.metadata.set("llama.attention.head_count_kv", 4u32);
    chat.metadata.set("llama.attention.key_length", 64u32);
    chat.metadata.set("llama.rope.dimension_count", 64u32);
    chat.metadata.remove("llama.rope.freq_base");
    graft(cp.clone(), chat, cp).unwrap();
}

#[test]
fn another_rope_scaling_is_a_difference() {
    let cp = model(&weights(1), DType::F32);
    let mut chat = cp.clone();
    chat.tensors
        .push(Tensor::in_memory("rope_freqs.weight", Shape::new(&[2]).unwrap(), &[1.0, 8.0]).unwrap());
    assert_eq!(
        text(graft(cp.clone(), chat, cp)),
        "chat differs from onto in rope_freqs.weight: expected no rope_freqs, found rope_freqs up to 8; \
         if you know that it does no harm, give --allow-mismatch"
    );
}

#[test]
fn relatives_are_merged() {
    let base = weights(1);
    let notes =
        kinship(&away(&base, 0.3, 2), (&away(&base, 0.05, 3), DType::F32), (&base, DType::F32)).unwrap();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("chat differs from base by 5.0") && notes[0].contains("onto by 30."),
        "{}",
        notes[0]
    );
}

#[test]
fn strangers_are_refused() {
    let base = weights(1);
    let (near, stranger) = (away(&base, 0.05, 2), weights(9));
    let hint = "give the model that both were made from, or --allow-unrelated if you know better";
    let e = text(kinship(&near, (&stranger, DType::F32), (&base, DType::F32)));
    assert!(
        e.starts_with(
            "chat does not come from this base: expected |chat - base| / |base| of at most 0.7, found 1.4"
        ),
        "{e}"
    );
    assert!(e.ends_with(hint), "{e}");
    let e = text(kinship(&stranger, (&near, DType::F32), (&base, DType::F32)));
    assert!(e.starts_with("onto does not come from this base: expected |onto - base| / |base|"), "{e}");
    // Chat and CP are made from one parent, and the base given is an earlier one.
    let parent = away(&base, 0.2, 3);
    let e =
        text(kinship(&away(&parent, 0.05, 4), (&away(&parent, 0.05, 5), DType::F32), (&base, DType::F32)));
    assert!(
        e.starts_with("chat and onto went the same way from this base: they seem to come from another one"),
        "{e}"
    );
    let graft =
        graft(model(&near, DType::F32), model(&stranger, DType::F32), model(&base, DType::F32)).unwrap();
    let notes = graft.check_kinship(Allowed { unrelated: true, ..Allowed::default() }).unwrap();
    assert!(notes[1].starts_with("allowed: chat does not come from this base"), "{}", notes[1]);
}

#[test]
fn a_coarsely_quantized_vector_is_refused_and_q8_warned_about() {
    let base = weights(1);
    let (cp, chat) = (away(&base, 0.3, 2), away(&base, 0.05, 3));
    let pair = |dtype| kinship(&cp, (&chat, dtype), (&base, dtype));
    let notes = pair(DType::Q8_0).unwrap();
    assert!(
        notes[1].starts_with("warning: chat (q8_0) and base (q8_0) are quantized: their noise is 0."),
        "{}",
        notes[1]
    );
    for dtype in [DType::Q4_0, DType::Q4K, DType::Q6K] {
        let e = text(pair(dtype));
        let start = format!(
            "the vector would be mostly noise: expected noise of at most 1 % in chat and base, \
             found chat ({dtype}) and base ({dtype}) are quantized: their noise is "
        );
        assert!(e.starts_with(&start), "{e}");
        assert!(e.ends_with("give --allow-quantized-vector"), "{e}");
    }
    // CP may be quantized.
    let quantized = model(&cp, DType::Q4_0);
    let graft = graft(quantized, model(&chat, DType::F32), model(&base, DType::F32)).unwrap();
    assert_eq!(graft.check_kinship(Allowed::default()).unwrap().len(), 1);
}

/// Merges with the program; `more` after the models.
fn merge(base: &Path, chat: &Path, onto: &Path, out: &Path, more: &[&str]) -> Ran {
    let mut args: Vec<PathBuf> = ["merge", "--type", "Q8_0", "-q"].map(PathBuf::from).to_vec();
    for (name, path) in [("--base", base), ("--chat", chat), ("--onto", onto), ("-o", out)] {
        args.extend([PathBuf::from(name), path.to_path_buf()]);
    }
    args.extend(more.iter().map(PathBuf::from));
    ggraft(args)
}

#[test]
fn the_program_stops_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    let ran = merge(&trio("cp"), &trio("chat"), &trio("base"), &out, &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("chat and onto went the same way from this base"), "{}", ran.err);
    let quantized = ["base", "chat"].map(|name| {
        let path = dir.path().join(format!("{name}.gguf"));
        let args = [
            "convert".into(),
            trio(name),
            "--type".into(),
            "Q4_0".into(),
            "-q".into(),
            "-o".into(),
            path.clone(),
        ];
        ggraft(args).ok();
        path
    });
    let ran = merge(&quantized[0], &quantized[1], &trio("cp"), &out, &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("the vector would be mostly noise"), "{}", ran.err);
    assert!(!out.exists());
    merge(&quantized[0], &quantized[1], &trio("cp"), &out, &["--allow-quantized-vector"]).ok();
    merge(&trio("cp"), &trio("chat"), &trio("base"), &out, &["--allow-unrelated", "--force"]).ok();
}

/// The figures are told, and do not depend on the threads.
#[test]
fn the_figures() {
    let base = weights(1);
    let graft = graft(
        model(&away(&base, 0.3, 2), DType::F32),
        model(&away(&base, 0.05, 3), DType::F32),
        model(&base, DType::F32),
    )
    .unwrap();
    let figures = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        format!("{:?}", pool.install(|| graft.kinship()).unwrap())
    };
    assert_eq!(figures(1), figures(3));
    let first = &graft.kinship().unwrap()[0][0];
    assert_eq!(first.tensor, NAMES[0]);
    assert!(
        (first.delta - 0.05).abs() < 0.002 && (first.drift - 0.3).abs() < 0.01 && first.cosine.abs() < 0.05
    );
    assert_eq!((first.noise, graft.onto().metadata.get("none")), (None, None::<&Value>));
}
