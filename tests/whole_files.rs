//! Whole files: `ggraft quantize` equals `llama_model_quantize` byte for byte, metadata, order, mixture, padding and
//! all, for every type and any number of threads. Hashes of its files are recorded; one toy is held against the peer itself.

mod peer;
#[path = "support/run.rs"]
mod run;
mod support;

use ggraft::ftype::{FTYPES, Ftype};
use ggraft_formats::{DType, Model, Tensor, gguf};
use peer::{Override, QuantizeParams};
use run::ggraft;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use support::gguf::{TOYS, Toy, model};
use support::imatrix::{self, CHUNKS, DATASET, Entry};

/// The types that llama-quantize has, too, and that can be written.
fn ftypes() -> impl Iterator<Item = &'static Ftype> {
    FTYPES.iter().filter(|f| f.default.traits().encode.is_some() && !f.apart)
}

fn goldens(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens").join(name)
}

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
}

/// The first thing in which two files differ.
fn difference(ours: &Path, theirs: &Path) -> String {
    let (a, b) = (model(ours), model(theirs));
    for (x, y) in a.metadata.iter().zip(b.metadata.iter()) {
        if x != y {
            return format!("metadata {x:?} or {y:?}");
        }
    }
    for (x, y) in a.tensors.iter().zip(&b.tensors) {
        let rows = 0..x.shape().rows() as usize;
        let same = format!("{x:?}") == format!("{y:?}")
            && x.with_rows(rows.clone(), |x| y.with_rows(rows, |y| Ok(x == y))).unwrap();
        if !same {
            return format!("tensor {x:?} or {y:?}");
        }
    }
    String::from("length, order or padding")
}

/// What is recorded where a model cannot be written as a type.
const REFUSED: &str = "refused";

/// Quantizes with `more` options; the file's hash.
fn ours(input: &Path, output: &Path, ftype: &str, threads: usize, more: &[&str]) -> String {
    let threads = threads.to_string();
    let mut args = vec!["quantize", "--force", "--quiet"];
    args.extend(more);
    args.extend([input.to_str().unwrap(), output.to_str().unwrap(), ftype, &threads]);
    let ran = ggraft(args);
    if ran.code == 4 {
        return REFUSED.to_string();
    }
    ran.ok();
    sha256(output)
}

/// How the peer is told of the importance matrix that `ours` reads from a file of this name.
fn tell(params: &mut QuantizeParams, entries: &[&Entry], file: &str) {
    params.imatrix = entries.iter().map(|e| (e.name.clone(), e.weights())).collect();
    params.overrides = vec![
        (String::from("quantize.imatrix.file"), Override::Str(file.to_string())),
        (String::from("quantize.imatrix.dataset"), Override::Str(DATASET.to_string())),
        (String::from("quantize.imatrix.entries_count"), Override::Int(entries.len() as i64)),
        (String::from("quantize.imatrix.chunks_count"), Override::Int(CHUNKS.into())),
    ];
}

/// Toys that are written with 1, 2 and 5 threads; the others with 2.
const THREADED: [&str; 3] = ["f32", "bf16-ffn272-tied", "bf16-moe"];

/// The dtypes whose codes are searched for in a codebook.
const SEARCHED: [DType; 7] =
    [DType::IQ1S, DType::IQ1M, DType::IQ2XXS, DType::IQ2XS, DType::IQ2S, DType::IQ3XXS, DType::IQ3S];

/// Our hash of a type. Without an importance matrix the number of threads changes nothing.
fn hash(toy: &Toy, input: &Path, output: &Path, ftype: &Ftype, imatrix: Option<&Path>) -> String {
    if let Some(imatrix) = imatrix {
        return ours(input, output, ftype.name, 2, &["--imatrix", imatrix.to_str().unwrap()]);
    }
    let threads: &[usize] = if THREADED.contains(&toy.name) { &[2, 1, 5] } else { &[2] };
    let hashes: Vec<String> = threads.iter().map(|n| ours(input, output, ftype.name, *n, &[])).collect();
    assert!(hashes.iter().all(|h| *h == hashes[0]), "{} {ftype} depends on the threads", toy.name);
    hashes[0].clone()
}

#[test]
fn every_type_of_every_toy_with_any_number_of_threads_and_with_an_importance_matrix() {
    let types: Vec<_> = ftypes().filter(|f| !SEARCHED.contains(&f.default)).collect();
    compare(TOYS.iter(), &types, "whole_files.json");
}

/// The peer takes seconds to lay out its codebooks, for every file anew.
#[test]
fn the_types_that_search_a_codebook_of_some_toys() {
    let types: Vec<_> = ftypes().filter(|f| SEARCHED.contains(&f.default)).collect();
    compare(TOYS.iter().filter(|t| THREADED.contains(&t.name)), &types, "searched_files.json");
}

/// The toy for which the peer is asked each time. Of the others its answers are recorded, and it is asked where ours are others.
const LIVE: &str = "f32";

/// Every type of every toy against the peer, or what is recorded of it in `file`.
fn compare<'a>(toys: impl Iterator<Item = &'a Toy>, types: &[&'static Ftype], file: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (input, mine, theirs, matrix) =
        (path("in.gguf"), path("a.gguf"), path("b.gguf"), path("toy.imatrix"));
    let recorded: Value =
        std::fs::read(goldens(file)).map_or(Value::Null, |b| serde_json::from_slice(&b).unwrap());
    let recording = std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some();
    let mut found = Map::new();
    let mut problems = Vec::new();
    for toy in toys {
        toy.write(&input);
        let all = imatrix::measured(toy);
        let cases =
            types.iter().flat_map(|f| [(f, false), (f, true)]).filter(|(f, with)| *with || !f.needs_imatrix);
        for (ftype, with) in cases {
            // An entry may be missing, unless the dtype is useless without.
            let used = |e: &&Entry| ftype.needs_imatrix || e.name != imatrix::MISSING;
            let entries: Vec<&Entry> = all.iter().filter(used).collect();
            imatrix::write(&entries, &matrix);
            let key = format!("{} {}{}", toy.name, ftype.name, if with { " imatrix" } else { "" });
            let hash = hash(toy, &input, &mine, ftype, with.then_some(&matrix));
            let as_recorded = recorded[&key] == hash.as_str();
            if as_recorded && toy.name != LIVE && !recording {
                continue;
            }
            if let Some(peer) = peer::peer() {
                let mut params = QuantizeParams::new(ftype.number as i32);
                if with {
                    tell(&mut params, &entries, "toy.imatrix");
                }
                let quantized = peer.quantize_model(&input, &theirs, &params);
                let due = if quantized.is_ok() { sha256(&theirs) } else { REFUSED.to_string() };
                match (&hash, quantized) {
                    (hash, _) if *hash == due => {}
                    (hash, Ok(())) if *hash != REFUSED => {
                        problems.push(format!("{key}: {}", difference(&mine, &theirs)));
                    }
                    (hash, quantized) => problems.push(format!("{key}: {hash}, but the peer {quantized:?}")),
                }
                found.insert(key, due.into());
            } else if !as_recorded {
                problems.push(format!("{key}: not as recorded"));
            }
        }
    }
    if recording && !found.is_empty() {
        std::fs::write(goldens(file), format!("{:#}\n", Value::Object(found))).unwrap();
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_options_of_llama_quantize() {
    let Some(peer) = peer::peer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (input, mine, theirs) =
        (dir.path().join("in.gguf"), dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    type Set = fn(&mut QuantizeParams);
    fn typed(p: &mut QuantizeParams, types: &[(&str, DType)]) {
        p.tensor_types = types.iter().map(|(pattern, dtype)| (pattern.to_string(), *dtype)).collect();
    }
    let options: [(&[&str], Set); 12] = [
        (&["--pure"], |p| p.pure = true),
        (&["--leave-output-tensor"], |p| p.quantize_output_tensor = false),
        (&["--output-tensor-type", "q5_1"], |p| p.output_tensor_type = Some(DType::Q5_1)),
        (&["--token-embedding-type", "Q8_0"], |p| p.token_embedding_type = Some(DType::Q8_0)),
        (&["--pure", "--token-embedding-type", "f16"], |p| {
            p.pure = true;
            p.token_embedding_type = Some(DType::F16);
        }),
        (&["--tensor-type", r"blk\.[0-2]\.(attn_v|ffn_down)=q8_0"], |p| {
            typed(p, &[(r"blk\.[0-2]\.(attn_v|ffn_down)", DType::Q8_0)]);
        }),
        (
            &["--tensor-type", "attn_v=q4_K", "--tensor-type", "attn=iq4_nl", "--tensor-type", "ffn_d=q6_k"],
            |p| {
                typed(p, &[("attn_v", DType::Q4K), ("attn", DType::IQ4NL), ("ffn_d", DType::Q6K)]);
            },
        ),
        (&["--pure", "--tensor-type", "ffn_up=f16", "--tensor-type", "embd=q8_0"], |p| {
            p.pure = true;
            typed(p, &[("ffn_up", DType::F16), ("embd", DType::Q8_0)]);
        }),
        (
            &[
                "--tensor-type",
                "weight=q5_k",
                "--token-embedding-type",
                "q6_k",
                "--output-tensor-type",
                "q4_0",
            ],
            |p| {
                typed(p, &[("weight", DType::Q5K)]);
                p.token_embedding_type = Some(DType::Q6K);
                p.output_tensor_type = Some(DType::Q4_0);
            },
        ),
        (&["--prune-layers", "1"], |p| p.prune = vec![1]),
        (&["--prune-layers", "2,0", "--override-kv", "a.b=int:3"], |p| {
            p.prune = vec![0, 2];
            p.overrides = vec![(String::from("a.b"), Override::Int(3))];
        }),
        (
            &[
                "--override-kv",
                "general.name=str:A name",
                "--override-kv=llama.context_length=int:77",
                "--override-kv",
                "llama.attention.head_count_kv=int:1",
                "--override-kv",
                "x.y=bool:true",
                "--override-kv",
                "llama.rope.freq_base=float:5e5",
            ],
            |p| {
                p.overrides = vec![
                    (String::from("general.name"), Override::Str(String::from("A name"))),
                    (String::from("llama.context_length"), Override::Int(77)),
                    (String::from("llama.attention.head_count_kv"), Override::Int(1)),
                    (String::from("x.y"), Override::Bool(true)),
                    (String::from("llama.rope.freq_base"), Override::Float(5e5)),
                ];
            },
        ),
    ];
    let mut problems = Vec::new();
    for toy in TOYS.iter().filter(|t: &&Toy| ["f16", "bf16-ffn272-tied", "bf16-moe"].contains(&t.name)) {
        toy.write(&input);
        for name in ["Q4_K_M", "Q2_K", "Q5_0"] {
            for (words, set) in options {
                let ftype = Ftype::parse(name).unwrap();
                ours(&input, &mine, name, 2, words);
                let mut params = QuantizeParams::new(ftype.number as i32);
                set(&mut params);
                peer.quantize_model(&input, &theirs, &params).unwrap();
                if std::fs::read(&mine).unwrap() != std::fs::read(&theirs).unwrap() {
                    problems.push(format!("{} {name} {words:?}: {}", toy.name, difference(&mine, &theirs)));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What stands for a type in llama-quantize, which has no such name: another type, the dtype of embeddings and output, and those
/// of tensors by their names. It has no mixture for dense files of 4-bit floats, nor for those with experts of few bits.
struct StandIn {
    base: &'static Ftype,
    ends: DType,
    types: Vec<(&'static str, DType)>,
    number: u32,
}

impl StandIn {
    fn of(ftype: &Ftype) -> StandIn {
        let alike = FTYPES.iter().find(|f| !f.apart && f.number == ftype.number).unwrap();
        let moe = |all, gates, downs| {
            (alike, all, vec![("ffn_down", downs), ("ffn_(gate|up)", gates), ("weight", all)])
        };
        let (base, ends, types) = match ftype.name {
            "Q5_K_MOE" => moe(DType::Q8_0, DType::Q5K, DType::Q6K),
            "Q4_K_MOE" => moe(DType::Q8_0, DType::Q4K, DType::Q5K),
            "IQ3_S_MOE" => moe(DType::Q8_0, DType::IQ3S, DType::IQ4XS),
            "IQ2_XXS_MOE" => moe(DType::Q5K, DType::IQ2XXS, DType::IQ3XXS),
            "MXFP4" => (Ftype::find("Q8_0").unwrap(), DType::Q8_0, vec![("weight", DType::MXFP4)]),
            _ => (alike, DType::Q8_0, Vec::new()),
        };
        StandIn { base, ends, types, number: ftype.number }
    }

    /// In our words.
    fn words(&self) -> Vec<String> {
        let ends = ["output-tensor-type", "token-embedding-type"].map(|o| format!("--{o}={}", self.ends));
        let types = self.types.iter().map(|(pattern, dtype)| format!("--tensor-type={pattern}={dtype}"));
        let number = format!("--override-kv=general.file_type=int:{}", self.number);
        let told = (self.base.number != self.number).then_some(number);
        ends.into_iter().chain(types).chain(told).collect()
    }

    /// For the peer, beside what it is told of an importance matrix.
    fn tell(&self, params: &mut QuantizeParams) {
        (params.output_tensor_type, params.token_embedding_type) = (Some(self.ends), Some(self.ends));
        params.tensor_types = self.types.iter().map(|(name, dtype)| (name.to_string(), *dtype)).collect();
        if self.base.number != self.number {
            params.overrides.push(("general.file_type".into(), Override::Int(self.number.into())));
        }
    }
}

#[test]
fn names_that_llama_quantize_has_not_are_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (input, mine, theirs, matrix) =
        (path("in.gguf"), path("a.gguf"), path("b.gguf"), path("toy.imatrix"));
    for toy in TOYS.iter().filter(|t: &&Toy| ["f16", "bf16-tied", "bf16-moe"].contains(&t.name)) {
        toy.write(&input);
        let measured = imatrix::measured(toy);
        let entries: Vec<&Entry> = measured.iter().collect();
        imatrix::write(&entries, &matrix);
        for ftype in FTYPES.iter().filter(|f| f.apart && f.default != DType::NVFP4) {
            let stand_in = StandIn::of(ftype);
            let weighed: &[&str] =
                if ftype.needs_imatrix { &["--imatrix", matrix.to_str().unwrap()] } else { &[] };
            let hash = ours(&input, &mine, ftype.name, 2, weighed);
            let words = stand_in.words();
            let words: Vec<&str> = words.iter().map(String::as_str).chain(weighed.iter().copied()).collect();
            assert_eq!(hash, ours(&input, &theirs, stand_in.base.name, 2, &words), "{} {ftype}", toy.name);
            if let Some(peer) = peer::peer() {
                let mut params = QuantizeParams::new(stand_in.base.number as i32);
                if ftype.needs_imatrix {
                    tell(&mut params, &entries, "toy.imatrix");
                }
                stand_in.tell(&mut params);
                peer.quantize_model(&input, &theirs, &params).unwrap();
                let differ = || difference(&mine, &theirs);
                assert!(hash == sha256(&theirs), "{} {ftype}: {}", toy.name, differ());
            }
        }
    }
}

/// All rows of a tensor.
fn decoded(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().elements() as usize];
    tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values).unwrap();
    values
}

/// Blocks of NVFP4 hold 64 times the weights, and beside each matrix of a layer is the scale that llama.cpp multiplies by. A
/// merge sees the weights as they are meant.
#[test]
fn nvfp4_has_the_peers_blocks_under_scales_of_whole_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (input, mine, meant, merged) =
        (path("in.gguf"), path("a.gguf"), path("meant.gguf"), path("merged.gguf"));
    for toy in TOYS.iter().filter(|t: &&Toy| ["f16", "bf16-tied", "bf16-moe"].contains(&t.name)) {
        toy.write(&input);
        ours(&input, &mine, "NVFP4", 2, &[]);
        let (source, found) = (model(&input), model(&mine));
        let named = |model: &Model, name: &str| model.tensors.iter().find(|t| t.name == name).cloned();
        let mut whole = Model { tensors: Vec::new(), ..found.clone() };
        for tensor in found.tensors.iter().filter(|t| !t.name.ends_with(".scale")) {
            let stem = tensor.name.trim_end_matches(".weight");
            let Some(scale) = named(&found, &format!("{stem}.scale")) else {
                assert_ne!(tensor.dtype(), DType::NVFP4, "{} {tensor:?}", toy.name);
                whole.tensors.push(tensor.clone());
                continue;
            };
            assert_eq!(decoded(&scale), vec![1.0 / 64.0; tensor.shape().dim(2) as usize], "{tensor:?}");
            let values: Vec<f32> =
                decoded(&named(&source, &tensor.name).unwrap()).iter().map(|x| x * 64.0).collect();
            let row = tensor.row_elements().unwrap();
            let due = peer::peer().map_or_else(
                || {
                    let mut blocks = vec![0; tensor.bytes() as usize];
                    DType::NVFP4.encode(&values, row, None, &mut blocks).unwrap();
                    blocks
                },
                |peer| peer.quantize_chunk(DType::NVFP4, &values, row, None),
            );
            let rows = 0..tensor.shape().rows() as usize;
            tensor
                .with_rows(rows, |blocks| {
                    assert!(blocks == due, "{} {tensor:?}", toy.name);
                    Ok(())
                })
                .unwrap();
            let values: Vec<f32> = decoded(tensor).iter().map(|x| x / 64.0).collect();
            whole.tensors.push(Tensor::in_memory(&tensor.name, *tensor.shape(), &values).unwrap());
        }
        assert_eq!(found.tensors.len() - whole.tensors.len(), toy.layers * 7, "{}", toy.name);
        ggraft_formats::write::write(&[gguf::plan(&whole, &meant).unwrap()], &()).unwrap();
        let merge = |onto: &Path| {
            let [chat, base, onto, out] =
                [&input, &meant, onto, &merged].map(|path: &Path| path.to_str().unwrap());
            let models = ["--base", base, "--chat", chat, "--onto", onto, "-o", out, "--type", "F32"];
            let allowed = ["mismatch", "unrelated", "swapped", "quantized-vector"]
                .map(|what| format!("--allow-{what}"));
            let allowed = allowed.each_ref().map(String::as_str);
            ggraft([&["merge", "-q", "--force"], &allowed[..], &models[..]].concat()).ok();
            model(&merged).tensors.iter().map(decoded).collect::<Vec<_>>()
        };
        assert!(merge(&mine) == merge(&meant), "{}", toy.name);
    }
}

/// Files of one to three bits that the peer wrote, requantized to Q8_0, give its bytes.
#[test]
fn files_of_the_smallest_dtypes_are_read_as_the_peer_reads_them() {
    let Some(peer) = peer::peer() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (source, input, mine, theirs) = (path("f.gguf"), path("in.gguf"), path("a.gguf"), path("b.gguf"));
    let toy = Toy { layers: 1, ..TOYS[1] };
    toy.write(&source);
    for name in ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_M", "IQ3_XXS", "IQ3_S"] {
        let mut params = QuantizeParams::new(Ftype::parse(name).unwrap().number as i32);
        params.imatrix = imatrix::measured(&toy).iter().map(|e| (e.name.clone(), e.weights())).collect();
        peer.quantize_model(&source, &input, &params).unwrap();
        let mut params = QuantizeParams::new(Ftype::parse("Q8_0").unwrap().number as i32);
        params.allow_requantize = true;
        peer.quantize_model(&input, &theirs, &params).unwrap();
        ours(&input, &mine, "Q8_0", 2, &["--allow-requantize"]);
        assert_eq!(sha256(&mine), sha256(&theirs), "{name}: {}", difference(&mine, &theirs));
    }
}
