//! Whole packed checkpoints, a dense one and one of experts for each method: what `ggraft convert` makes of them is what
//! llama.cpp's converter makes of them where it reads the method (`fixtures/goldens/packed`), and what it makes of the same
//! weights unpacked where it does not.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::DType;
use run::ggraft;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize_to_file};
use serde_json::Value;
use std::path::Path;
use support::gguf::{checkpoint, model};
use support::golden::{Golden, OUTTYPES};
use support::packed::{self, names};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_packed_checkpoint_becomes_what_the_converter_makes_of_it() {
    let (mut lines, mut compared) = (Vec::new(), 0);
    for (name, _) in names().filter(|(_, scheme)| scheme.is_converted) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(&name);
        packed::write(&name, &dir);
        let goldens = Golden::packed(&name).unwrap_or_else(|| panic!("{name}: there is no golden"));
        compared += 1;
        for (golden, outtype) in goldens.iter().zip(OUTTYPES) {
            golden.check_generator(&dir);
            let out = dir.with_extension(format!("{outtype}.gguf"));
            let ran = ggraft(["convert", text(&dir), "--type", outtype, "-o", text(&out)]).ok();
            assert!(ran.err.contains("weights are unpacked from"), "{}", ran.err);
            let found = golden.differences(&model(&out));
            lines.extend(found.iter().map(|line| format!("{name} {outtype}: {line}")));
        }
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    let recorded = std::fs::read_dir(support::vocabulary::fixture("goldens/packed")).unwrap().count();
    assert!(compared == recorded && recorded > 1, "{compared} of {recorded} goldens have a checkpoint");
}

#[test]
fn what_was_fp8_is_written_in_eight_bits_as_the_converter_has_it() {
    let temporary = tempfile::tempdir().unwrap();
    for name in packed::EIGHTS {
        let dir = temporary.path().join(name);
        packed::write(name, &dir);
        let goldens =
            Golden::with_option("fp8-as-q8", name).unwrap_or_else(|| panic!("{name}: there is no golden"));
        for (golden, outtype) in goldens.iter().zip(OUTTYPES) {
            golden.check_generator(&dir);
            let out = dir.with_extension("gguf");
            let [from, to] = [&dir, &out].map(|path| path.to_str().unwrap());
            ggraft(["convert", from, "--type", outtype, "--fp8-as-q8", "-o", to, "--force"]).ok();
            assert_eq!(golden.differences(&model(&out)), [""; 0], "{name} {outtype}");
        }
    }
}

#[test]
fn what_is_wished_of_a_checkpoint_is_refused_of_a_gguf() {
    let temporary = tempfile::tempdir().unwrap();
    let (dir, out) = (temporary.path().join("Tiny"), temporary.path().join("tiny.gguf"));
    packed::write(packed::EIGHTS[0], &dir);
    ggraft(["convert", text(&dir), "--type", "bf16", "-o", text(&out)]).ok();
    for option in ["--fp8-as-q8", "--fuse-gate-up-exps", "--fuse-qkv"] {
        let ran = ggraft(["convert", text(&out), "--type", "bf16", option, "--dry-run"]);
        let told = format!("tiny.gguf: {option} is for checkpoints; convert the checkpoint anew");
        assert!(ran.code == 2 && ran.err.contains(&told), "{}", ran.err);
    }
}

/// The directory with its weights unpacked, and a config that says nothing of it.
fn plain(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(to.join("config.json")).unwrap()).unwrap();
    for key in ["quantization", "quantization_config"] {
        config.as_object_mut().unwrap().remove(key);
    }
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
    let tensors = ggraft::unpack::unpacked(checkpoint(from)).unwrap().tensors;
    let held: Vec<_> = tensors
        .iter()
        .map(|t| {
            let mut bytes = vec![0; t.bytes() as usize];
            t.read(0..t.shape().rows() as usize, &mut bytes).unwrap();
            let shape: Vec<usize> = t.shape().ne().iter().rev().map(|n| *n as usize).collect();
            let dtype = match t.dtype().to_string().as_str() {
                "f32" => Dtype::F32,
                "f16" => Dtype::F16,
                _ => Dtype::BF16,
            };
            (t.name.clone(), dtype, shape, bytes)
        })
        .collect();
    let views = held.iter().map(|(n, d, s, b)| (n, TensorView::new(*d, s.clone(), b).unwrap()));
    serialize_to_file(views, None, &to.join("model.safetensors")).unwrap();
}

#[test]
fn a_packed_checkpoint_is_as_good_as_the_same_unpacked() {
    for (name, _) in names() {
        let temporary = tempfile::tempdir().unwrap();
        let [dir, same] = ["packed", "plain"].map(|part| temporary.path().join(part).join("Tiny"));
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        std::fs::create_dir_all(same.parent().unwrap()).unwrap();
        packed::write(&name, &dir);
        plain(&dir, &same);
        let [from, to] = [&dir, &same].map(|dir| {
            let out = dir.with_extension("gguf");
            ggraft(["convert", text(dir), "--type", "Q4_K_M", "-o", text(&out)]).ok();
            std::fs::read(out).unwrap()
        });
        assert!(from == to, "{name}");
        // As a directory again it is plain, and is taken for what it is.
        let again = temporary.path().join("again");
        ggraft(["convert", text(&dir), "--type", "safetensors", "-o", text(&again)]).ok();
        assert!(!std::fs::read_to_string(again.join("config.json")).unwrap().contains("quant"), "{name}");
        let ran = ggraft(["diff", text(&dir), text(&again)]);
        let count = checkpoint(&again).tensors.len();
        let same = format!("{count} tensors, {count} with equal numbers");
        assert!(ran.out.contains(&same), "{name}: {}{}", ran.out, ran.err);
    }
}

/// Kimi K3's experts stay in their blocks where those are MXFP4's; what packs them otherwise makes floats of them.
#[test]
fn experts_of_kimi_k3_in_nvfp4_are_read_as_floats() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("K3");
    support::families::family("Kimi-K3-MXFP4-Tiny").unwrap().write(&dir);
    let weights = dir.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let mut held = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let shape = view.shape().to_vec();
        match name.strip_suffix("_scale") {
            // Groups of sixteen under a one of e4m3 each, and a one of all.
            Some(stem) => {
                held.push((
                    name.clone(),
                    Dtype::F8_E4M3,
                    vec![shape[0], 2 * shape[1]],
                    vec![0x38; 2 * shape[0] * shape[1]],
                ));
                held.push((format!("{stem}_global_scale"), Dtype::F32, vec![1], 1f32.to_le_bytes().to_vec()));
            }
            None => held.push((name, view.dtype(), shape, view.data().to_vec())),
        }
    }
    let views = held.iter().map(|(n, d, s, b)| (n, TensorView::new(*d, s.clone(), b).unwrap()));
    serialize_to_file(views, None, &weights).unwrap();
    let config = dir.join("config.json");
    let told = std::fs::read_to_string(&config).unwrap().replace("mxfp4-pack", "nvfp4-pack");
    std::fs::write(&config, told).unwrap();
    let out = dir.with_extension("gguf");
    ggraft(["convert", text(&dir), "--type", "F32", "-o", text(&out)]).ok();
    let found = model(&out);
    let experts = found.tensors.iter().find(|tensor| tensor.name == "blk.1.ffn_gate_exps.weight").unwrap();
    let mut values = vec![0.0; 32];
    experts.decode_rows(0..1, &mut values).unwrap();
    let first =
        held.iter().find(|(n, ..)| n.ends_with("layers.1.block_sparse_moe.experts.0.w1.weight_packed"));
    let codes = first.unwrap().3.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    let expected = codes.map(|code| {
        let size = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)];
        if code & 8 == 0 { size } else { -size }
    });
    assert_eq!(values, expected.take(32).collect::<Vec<f32>>());
}

/// A packed base, with a plain chat model and CP.
#[test]
fn a_packed_model_takes_part_in_a_merge() {
    for (name, _) in names().filter(|(name, _)| name.starts_with("llama")) {
        let temporary = tempfile::tempdir().unwrap();
        let [base, chat] = ["base", "chat"].map(|part| temporary.path().join(part));
        packed::write(&name, &base);
        plain(&base, &chat);
        let out = temporary.path().join("out.gguf");
        let arguments = ["merge", "--base", text(&base), "--chat", text(&chat), "--onto", text(&base)];
        let ran = ggraft(arguments.into_iter().chain([
            "--type",
            "F32",
            "--allow-swapped",
            "--allow-unrelated",
            "-o",
            text(&out),
        ]));
        assert!(ran.code == 0, "{name}: {}", ran.err);
        // Unpacked, for NVFP4 that nothing merges would stay so.
        let plain = temporary.path().join("plain.gguf");
        ggraft(["convert", text(&chat), "--type", "F32", "-o", text(&plain)]).ok();
        for (merged, whole) in model(&out).tensors.iter().zip(&model(&plain).tensors) {
            let rows = 0..whole.shape().rows() as usize;
            let [mut a, mut b] = [merged, whole].map(|t| vec![0; t.bytes() as usize]);
            merged.read(rows.clone(), &mut a).unwrap();
            whole.read(rows, &mut b).unwrap();
            assert!(a == b, "{name} {}", whole.name);
        }
    }
}

#[test]
fn looking_at_a_packed_checkpoint_tells_how_it_is_packed() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("packed");
    packed::write("llama-awq-4", &dir);
    let ran = ggraft(["inspect", text(&dir)]).ok();
    assert!(ran.err.contains("7 weights are unpacked from awq to f16"), "{}", ran.err);
    let once = ggraft(["hash", "--sha256", text(&dir)]).ok().out;
    assert!(once.contains("q_proj.qweight"), "{once}");
}

/// What ggml has blocks for: whole numbers under a scale of 32 columns or more that f16 holds. Those of 4 bits are of any zero point here,
/// which makes them numbers of 5.
const BLOCKS: [(&str, DType); 3] =
    [("-ct-int4", DType::Q5_0), ("-ct-int8", DType::Q8_0), ("-quark-uint4", DType::Q5_0)];

#[test]
fn what_is_kept_has_the_very_values_in_blocks_where_ggml_has_such() {
    let mut lines = Vec::new();
    for (name, _) in names().filter(|(name, _)| !FOURS.iter().any(|end| name.ends_with(end))) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join(&name);
        packed::write(&name, &dir);
        let [kept, plain] = ["keep", "F32"].map(|kind| {
            let out = dir.with_extension(format!("{kind}.gguf"));
            ggraft(["convert", "-q", text(&dir), "--type", kind, "-o", text(&out)]).ok();
            model(&out)
        });
        let mut dtypes: Vec<DType> = Vec::new();
        for (kept, plain) in kept.tensors.iter().zip(&plain.tensors) {
            let [a, b] = [kept, plain].map(|tensor| {
                let mut values = vec![0f32; tensor.shape().elements() as usize];
                tensor.decode_rows(0..tensor.shape().rows() as usize, &mut values).unwrap();
                values
            });
            if kept.name != plain.name || a != b {
                lines.push(format!("{name}: {} as {}", kept.name, kept.dtype()));
            }
            dtypes.extend(Some(kept.dtype()).filter(|dtype| dtype.is_quantized()));
        }
        dtypes.sort_by_key(|dtype| dtype.to_string());
        dtypes.dedup();
        let due: Vec<DType> = BLOCKS.iter().filter(|(end, _)| name.ends_with(end)).map(|(_, d)| *d).collect();
        if dtypes != due {
            lines.push(format!("{name}: {dtypes:?}, not {due:?}"));
        }
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

/// Whose matrices are NVFP4.
const FOURS: [&str; 3] = ["-modelopt-nvfp4", "-modelopt-w4a16", "-ct-nvfp4"];

/// The tensors of a GGUF by name, as they are meant.
fn meant(path: &Path) -> Vec<(String, Vec<f32>)> {
    let tensors = ggraft::unpack::unscaled(model(path)).unwrap().tensors;
    let values = |t: &ggraft_formats::Tensor| {
        let mut values = vec![0f32; t.shape().elements() as usize];
        t.decode_rows(0..t.shape().rows() as usize, &mut values).unwrap();
        values
    };
    tensors.iter().map(|t| (t.name.clone(), values(t))).collect()
}

/// Code times scale, times the scale of the whole; unpacked, the two scales are multiplied first.
#[test]
fn nvfp4_is_kept_with_the_values_that_it_has_unpacked() {
    let ends = |name: &String| FOURS.iter().any(|end| name.ends_with(end));
    for (name, _) in names().filter(|(name, _)| ends(name)) {
        let temporary = tempfile::tempdir().unwrap();
        let [dir, same] = ["packed", "plain"].map(|part| temporary.path().join(part).join("Tiny"));
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        std::fs::create_dir_all(same.parent().unwrap()).unwrap();
        packed::write(&name, &dir);
        plain(&dir, &same);
        let out = |dir: &Path, kind: &str| {
            let out = dir.with_extension(format!("{kind}.gguf"));
            let ran = ggraft(["convert", text(dir), "--type", kind, "-o", text(&out)]).ok();
            (out, ran.err)
        };
        let due = meant(&out(&same, "F32").0);
        for kind in ["keep", "Q8_0", "NVFP4"] {
            let (file, told) = out(&dir, kind);
            assert!(
                told.contains("7 of the unpacked weights stay NVFP4 in the file, rearranged"),
                "{name}: {told}"
            );
            let blocks = model(&file).tensors.into_iter().filter(|t| t.dtype() == DType::NVFP4).count();
            assert!(blocks == 7, "{name} {kind}: {blocks}");
            for ((a, found), (b, due)) in meant(&file).iter().zip(&due).filter(|_| kind == "keep") {
                let near = |(x, y): (&f32, &f32)| (x - y).abs() <= y.abs() * 2f32.powi(-22);
                assert!(a == b && found.iter().zip(due).all(near), "{name}: {a} and {b}");
            }
        }
        // What is asked for by name is another dtype, of the values.
        let wide = dir.with_extension("wide.gguf");
        let words =
            ["convert", text(&dir), "--type", "F32", "--tensor-type", "attn_q=f32", "-o", text(&wide)];
        ggraft(words).ok();
        let found = meant(&wide).into_iter().find(|(name, _)| name == "blk.0.attn_q.weight");
        let due = due.into_iter().find(|(name, _)| name == "blk.0.attn_q.weight");
        assert!(found.is_some() && found == due, "{name}");
        let dtypes = model(&wide).tensors.iter().filter(|t| t.name == "blk.0.attn_q.scale").count();
        assert_eq!(dtypes, 0, "{name}");
    }
}

/// A scale of the fourth expert, in the input's own words, though its experts are stacked in the output.
#[test]
fn a_scale_of_nvfp4_that_is_no_number_is_told_by_the_name_and_file_of_the_input() {
    for (part, found) in [("weight_scale", "NaN at row 0, column 0"), ("weight_scale_2", "not finite")] {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("Tiny");
        assert!(packed::write("qwen3moe-modelopt-nvfp4", &dir));
        let (file, name) =
            (dir.join("model.safetensors"), format!("model.layers.0.mlp.experts.3.up_proj.{part}"));
        let mut bytes = std::fs::read(&file).unwrap();
        let place = {
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            tensors.tensor(&name).unwrap().data().as_ptr().addr() - bytes.as_ptr().addr()
        };
        let nan: &[u8] = if part == "weight_scale" { &[0x7f] } else { &f32::NAN.to_le_bytes() };
        bytes[place..place + nan.len()].copy_from_slice(nan);
        std::fs::write(&file, bytes).unwrap();
        let out = temporary.path().join("out.gguf");
        let ran = ggraft(["convert", "-q", text(&dir), "--type", "keep", "-o", text(&out)]);
        let words = [&*name, text(&file), found];
        assert!(ran.code == 3 && words.iter().all(|word| ran.err.contains(word)), "{}", ran.err);
    }
}

#[test]
fn only_a_checkpoint_can_be_kept_and_no_merge() {
    let trio = |name: &str| run::trio(name).display().to_string();
    let (base, chat, cp) = (trio("base"), trio("chat"), trio("cp"));
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("out.gguf");
    let merge =
        ["merge", "-q", "--base", &base, "--chat", &chat, "--onto", &cp, "--type", "keep", "-o", text(&out)];
    let ran = ggraft(merge);
    assert!(ran.code == 2 && ran.err.contains("a merge changes weights"), "{}", ran.err);
    ggraft(["convert", "-q", &cp, "--type", "Q8_0", "-o", text(&out)]).ok();
    let ran =
        ggraft(["convert", text(&out), "--type", "keep", "-o", text(&out.with_extension("again.gguf"))]);
    assert!(ran.code == 2 && ran.err.contains("COPY leaves"), "{}", ran.err);
}
