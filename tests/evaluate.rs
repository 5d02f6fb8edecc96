//! `ggraft measure` and `ggraft imatrix` run models in llama.cpp itself: what they tell is held against plain sums over the
//! logits that the peer gives window by window, and against activations that can be computed by hand.

#[cfg(feature = "runtime")]
mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use run::{Folder, Ran, ggraft, trio};

/// Runs the words in the folder, without a library but that which they name.
fn ran(folder: &Folder, words: &str) -> Ran {
    ggraft(folder.words(words))
}

#[cfg(not(feature = "runtime"))]
#[test]
fn a_build_that_runs_no_models_says_so() {
    let folder = Folder::new();
    for words in ["measure @x.gguf --text @x.txt", "imatrix @x.gguf --text @x.txt"] {
        let ran = ran(&folder, words);
        assert_eq!(ran.code, 4);
        let said = "expected the feature runtime, found a build without it; build it with it: cargo install --path . --features runtime";
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    assert!(trio("cp").exists());
}

#[cfg(feature = "runtime")]
mod running {
    use super::*;
    use ggraft::evaluate::{How, Library, Measured, Text, measure};
    use ggraft_formats::{Input, Model, imatrix, open};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    const WINDOW: usize = 64;

    /// The cp of the trio as these types, `@TYPE.gguf`, and a text of some windows, `@text.txt`.
    fn bench(types: &str) -> Folder {
        let folder = Folder::new();
        ran(&folder, &format!("convert %cp --type {types} -o @{{type}}.gguf -q")).ok();
        let text = std::fs::read_to_string(trio("korean_heldout.txt")).unwrap();
        let some: String = text.chars().take(4000).collect();
        std::fs::write(folder.path("text.txt"), some).unwrap();
        folder
    }

    fn how(most: Option<usize>) -> How {
        How { window: WINDOW, most, threads: 2, device_layers: None, parse: false }
    }

    fn measured(folder: &Folder, models: &[&str], against: Option<&str>, how: &How) -> Measured {
        let models: Vec<PathBuf> = models.iter().map(|name| folder.path(name)).collect();
        let against = against.map(|name| folder.path(name));
        let text = Text::read(&folder.path("text.txt")).unwrap();
        measure(Library::load(None).unwrap(), (&models, against.as_deref()), &text, how, &()).unwrap()
    }

    /// Windows read side by side are computed in another order than one by one, in f32.
    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 2e-3 * expected.abs(), "{found}, expected {expected}");
    }

    #[test]
    fn the_figures_are_those_of_plain_sums_over_the_peers_logits() {
        let Some(peer) = peer::peer() else { return };
        let folder = bench("F32,Q4_0");
        // What llama.cpp computes at once holds these whole; of one more it would cut all of them, and attention of shorter
        // pieces is summed in f16 there.
        const WINDOWS: usize = 512 / WINDOW;
        let found = measured(&folder, &["Q4_0.gguf"], Some("F32.gguf"), &how(Some(WINDOWS)));
        assert_eq!((found.windows, found.places), (WINDOWS, WINDOWS * (WINDOW / 2 - 1)));
        let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
        let logits = |name: &str| {
            let model = peer.load_model(&folder.path(name), false).unwrap();
            model.scored_logits(text.trim_end_matches('\n'), WINDOW, WINDOWS, 2).unwrap()
        };
        let (p, q) = (logits("F32.gguf"), logits("Q4_0.gguf"));
        let all: Vec<f64> = p.iter().zip(&q).map(|(p, q)| peer::divergence(p, q)).collect();
        let compared = found.models[0].compared.as_ref().unwrap();
        near(compared.divergence.value, all.iter().sum::<f64>() / all.len() as f64);
        near(compared.spread.percentile(1.0), all.iter().copied().fold(0.0, f64::max));
        let top = |l: &[f32]| (0..l.len()).fold(0, |top, i| if l[i] > l[top] { i } else { top });
        let same = p.iter().zip(&q).filter(|(p, q)| top(p) == top(q)).count() as f64;
        // A near tie may fall otherwise.
        assert!((compared.same_top.value - same / all.len() as f64).abs() < 2.5 / all.len() as f64);
        assert!(compared.divergence.error > 0.0 && compared.correlation.unwrap() > 0.8);
    }

    #[test]
    fn the_perplexity_is_the_peers() {
        let Some(peer) = peer::peer() else { return };
        let folder = bench("Q8_0");
        let found = measured(&folder, &["Q8_0.gguf"], None, &how(None));
        let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
        let model = peer.load_model(&folder.path("Q8_0.gguf"), false).unwrap();
        let expected = model.perplexity(text.trim_end_matches('\n'), WINDOW, 2).unwrap();
        near(found.models[0].perplexity.value, expected);
        assert!(found.models[0].compared.is_none() && found.reference.is_none());
    }

    #[test]
    fn a_model_beside_itself_differs_in_nothing() {
        let Some(_) = peer::peer() else { return };
        let folder = bench("Q8_0");
        let found = measured(&folder, &["Q8_0.gguf", "Q8_0.gguf"], Some("Q8_0.gguf"), &how(Some(4)));
        for run in &found.models {
            let compared = run.compared.as_ref().unwrap();
            assert_eq!((compared.divergence.value, compared.same_top.value), (0.0, 1.0));
            assert_eq!(Some(run.perplexity), found.reference.as_ref().map(|(_, perplexity)| *perplexity));
        }
    }

    #[test]
    fn a_table_is_told_and_more_as_json() {
        let Some(_) = peer::peer() else { return };
        let folder = bench("F16,Q4_0");
        let words = "measure @Q4_0.gguf --against @F16.gguf --text @text.txt --ctx 64 --chunks 4 -t 2";
        let told = ran(&folder, words).ok();
        let lines: Vec<&str> = told.out.lines().collect();
        assert!(lines[0].starts_with("model ") && lines[0].contains("KL divergence"), "{}", told.out);
        assert!(
            lines[1].starts_with("F16.gguf (reference)") && lines[2].starts_with("Q4_0.gguf "),
            "{}",
            told.out
        );
        assert!(
            told.err.contains(" tokens in 4 windows of 64, of which 124 are scored; llama.cpp v0.5.0"),
            "{}",
            told.err
        );
        assert_eq!(ran(&folder, words).ok().out, told.out);
    }

    /// The values of a tensor of f32.
    fn values(model: &Model, name: &str) -> Vec<f32> {
        let tensor = model.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}"));
        let mut values = vec![0.0; usize::try_from(tensor.shape().elements()).unwrap()];
        tensor.decode_rows(0..usize::try_from(tensor.shape().rows()).unwrap(), &mut values).unwrap();
        values
    }

    fn gguf(path: &Path) -> Model {
        let Input::Model(model) = open(path).unwrap() else { panic!("no GGUF") };
        model
    }

    /// The first layer multiplies the normed embeddings of the tokens, which are a few lines of f64 away.
    #[test]
    fn the_first_layer_is_measured_as_by_hand() {
        let Some(peer) = peer::peer() else { return };
        let folder = bench("F32");
        ran(&folder, "imatrix @F32.gguf --text @text.txt --ctx 64 --chunks 5 -t 2 -o @i.gguf -q").ok();
        let model = gguf(&folder.path("F32.gguf"));
        let (embedding, norm) =
            (values(&model, "token_embd.weight"), values(&model, "blk.0.attn_norm.weight"));
        let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
        let vocabulary = peer.load_model(&folder.path("F32.gguf"), true).unwrap();
        let mut tokens = vocabulary.tokenize(text.trim_end_matches('\n'), true, false);
        let start = tokens[0];
        tokens.truncate(5 * WINDOW);
        tokens.iter_mut().step_by(WINDOW).for_each(|token| *token = start);
        let columns = norm.len();
        let mut expected = vec![0f64; columns];
        for token in tokens {
            let row = &embedding[token as usize * columns..][..columns];
            let squares = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / columns as f64;
            for (j, sum) in expected.iter_mut().enumerate() {
                let x = f64::from(row[j]) / (squares + 1e-5).sqrt() * f64::from(norm[j]);
                *sum += x * x;
            }
        }
        assert_eq!(
            model.metadata.get("llama.attention.layer_norm_rms_epsilon").and_then(|v| v.as_f64()),
            Some(f64::from(1e-5f32))
        );
        let measured = gguf(&folder.path("i.gguf"));
        for name in ["attn_q", "attn_k", "attn_v"] {
            let found = values(&measured, &format!("blk.0.{name}.weight.in_sum2"));
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (f64::from(*a) - b).abs() / b.max(1e-3))
                .fold(0.0, f64::max);
            assert!(worst < 1e-4, "{name}: {worst}");
            assert_eq!(values(&measured, &format!("blk.0.{name}.weight.counts")), [(5 * WINDOW) as f32]);
        }
    }

    #[test]
    fn every_matrix_of_a_layer_has_an_entry_and_the_file_quantizes() {
        let Some(_) = peer::peer() else { return };
        let folder = bench("F16");
        let words = "imatrix @F16.gguf --text @text.txt --ctx 64 --chunks 5 -t 2 -q -o";
        ran(&folder, &format!("{words} @i.gguf")).ok();
        let read = imatrix::open(&folder.path("i.gguf")).unwrap();
        assert_eq!(
            (read.dataset.as_deref(), read.chunks, read.ignored.len()),
            (Some("text.txt"), Some(5), 0)
        );
        let model = gguf(&folder.path("F16.gguf"));
        let matrices = model.tensors.iter().filter(|t| t.name.starts_with("blk.") && t.shape().rows() > 1);
        let expected: Vec<&String> = matrices.map(|t| &t.name).collect();
        assert!(expected.len() > 20 && expected.iter().all(|name| read.entries.contains_key(*name)));
        assert_eq!(read.entries.len(), expected.len());
        // The head only if it is asked for.
        let head = ran(&folder, &format!("{words} @head.gguf --process-output")).code;
        let with_head = imatrix::open(&folder.path("head.gguf")).unwrap().entries;
        let has_head = model.tensors.iter().any(|t| t.name == "output.weight");
        assert_eq!((head, with_head.contains_key("output.weight")), (0, has_head));
        ran(&folder, "quantize --imatrix @i.gguf @F16.gguf @q.gguf IQ2_XS -q").ok();
        // The same bytes again, and never over what is there.
        ran(&folder, &format!("{words} @again.gguf")).ok();
        let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
        assert!(bytes("i.gguf") == bytes("again.gguf"));
        let refused = ran(&folder, &format!("{words} @i.gguf"));
        assert!(refused.code == 1 && refused.err.contains("give --force"), "{}", refused.err);
    }

    /// The router of a layer sees every token once, and the experts that it chooses see the same row.
    #[test]
    fn what_the_experts_see_is_what_their_router_sees() {
        let Some(_) = peer::peer() else { return };
        let folder = Folder::new();
        let tiny = support::families::family("Mixtral-Tiny-4x1M").unwrap();
        tiny.write(&folder.path("mixtral"));
        ran(&folder, "convert @mixtral --type F32 -o @m.gguf -q").ok();
        std::fs::write(folder.path("text.txt"), "a few words of no meaning, again and again. ".repeat(40))
            .unwrap();
        ran(&folder, "imatrix @m.gguf --text @text.txt --ctx 32 --chunks 6 -t 2 -o @i.gguf -q").ok();
        let measured = gguf(&folder.path("i.gguf"));
        let router = values(&measured, "blk.0.ffn_gate_inp.weight.in_sum2");
        let experts = values(&measured, "blk.0.ffn_gate_exps.weight.in_sum2");
        let counts = values(&measured, "blk.0.ffn_gate_exps.weight.counts");
        assert_eq!((counts.len(), counts.iter().sum::<f32>()), (4, 2.0 * 6.0 * 32.0));
        for (j, once) in router.iter().enumerate() {
            let twice: f32 = experts.chunks(router.len()).map(|expert| expert[j]).sum();
            near(f64::from(twice), 2.0 * f64::from(*once));
        }
        let downs = values(&measured, "blk.0.ffn_down_exps.weight.counts");
        assert_eq!(downs, counts);
    }

    #[test]
    fn what_cannot_be_measured_is_refused_with_the_reason() {
        let Some(_) = peer::peer() else { return };
        let folder = bench("Q8_0");
        ran(&folder, "convert %base --type Q8_0 -o @base.gguf -q").ok();
        std::fs::write(folder.path("short.txt"), "a few words").unwrap();
        std::fs::write(folder.path("latin.txt"), b"caf\xe9").unwrap();
        std::fs::create_dir(folder.path("empty")).unwrap();
        let text = "--text @text.txt --ctx 64 --chunks 2 -q";
        for (words, code, said) in [
            (
                String::from("imatrix @Q8_0.gguf --text @text.txt -o hf://me/model/i.gguf"),
                2,
                "an importance matrix is written to a file here",
            ),
            (
                String::from("measure @Q8_0.gguf --text @short.txt"),
                3,
                "short.txt: the text is too short: expected at least 1024 tokens, two windows of 512",
            ),
            (String::from("imatrix @Q8_0.gguf --text @latin.txt -o @i.gguf"), 3, "this is not UTF-8"),
            (
                format!("measure @Q8_0.gguf --against @base.gguf {text}"),
                3,
                "the text is other tokens to this model than to",
            ),
            (format!("measure %cp {text}"), 2, "llama.cpp runs GGUF files: found a checkpoint"),
            (format!("measure org/name {text}"), 2, "models that are on this machine"),
            (
                format!("measure @Q8_0.gguf {text} --llama-cpp @empty"),
                4,
                "there is no shared library of llama.cpp here",
            ),
            (format!("imatrix @Q8_0.gguf {text} --ctx 8 -o @i.gguf"), 2, "--ctx"),
        ] {
            let ran = ran(&folder, &words);
            assert!(ran.code == code && ran.err.contains(said), "{words}: {} {}", ran.code, ran.err);
        }
        assert!(!folder.path("i.gguf").exists());
    }

    /// A library of another version would be taken for what it is not.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_of_an_unknown_version_is_refused_by_name() {
        let Some(folder) = std::env::var_os("GGRAFT_LLAMA_CPP") else { return };
        let bench = bench("Q8_0");
        let words = "measure @Q8_0.gguf --text @text.txt --ctx 64 --llama-cpp @";
        std::fs::copy(Path::new(&folder).join("libggml-base.so"), bench.path("libllama.so")).unwrap();
        let refused = ran(&bench, words);
        let said = "expected 0.5.0, found a version that does not tell; install llama.cpp v0.5.0";
        assert!(refused.code == 4 && refused.err.contains(said), "{}", refused.err);
        std::fs::write(bench.path("libllama.so"), "no library").unwrap();
        let refused = ran(&bench, words);
        assert!(refused.code == 4 && refused.err.contains("this library does not load"), "{}", refused.err);
    }

    /// llama.cpp's own reader takes the file for what it is.
    #[test]
    fn the_peer_reads_the_file() {
        let Some(peer) = peer::peer() else { return };
        let folder = bench("Q8_0");
        ran(&folder, "imatrix @Q8_0.gguf --text @text.txt --ctx 64 --chunks 2 -q -o @i.gguf").ok();
        let entries: BTreeMap<_, _> = imatrix::open(&folder.path("i.gguf")).unwrap().entries;
        assert_eq!(peer.reads_gguf(&folder.path("i.gguf"), true), Ok((2 * entries.len() as i64, 4)));
    }
}
