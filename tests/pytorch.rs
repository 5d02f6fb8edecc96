//! Models whose weights are PyTorch's files, through the whole line: what comes out is what the same weights as
//! safetensors give. `formats/tests` compares the reader with files that torch has made.

#[path = "../formats/tests/support/pickle.rs"]
#[allow(dead_code, reason = "the hostile ones need more of it")]
mod pickle;
#[path = "support/run.rs"]
mod run;
#[path = "../formats/tests/support/zip.rs"]
mod zip;

use pickle::{cat, object, storage, tensor, text};
use run::{Folder, Ran, ggraft, trio_copy};
use safetensors::SafeTensors;
use serde_json::json;
use std::path::{Path, PathBuf};

type Weights = Vec<(String, Vec<usize>, Vec<u8>)>;

struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        Bench(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self, words: &str) -> Ran {
        ggraft(self.0.words(words))
    }

    /// A model of the trio with its weights as `write` writes them.
    fn packed(&self, model: &str, write: fn(&Path, Weights)) -> PathBuf {
        let dir = trio_copy(model, &self.path(""));
        let path = dir.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let one = |(name, view): (String, safetensors::tensor::TensorView)| {
            (name, view.shape().to_vec(), view.data().to_vec())
        };
        let mut weights: Weights = tensors.tensors().into_iter().map(one).collect();
        weights.sort();
        std::fs::remove_file(path).unwrap();
        write(&dir, weights);
        dir
    }
}

/// The dict of these weights; all of the trio are bf16.
fn dict(weights: &Weights) -> Vec<u8> {
    let mut pickle = b"}(".to_vec();
    for (i, (name, shape, bytes)) in weights.iter().enumerate() {
        let sizes: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
        let strides: Vec<i64> = (0..sizes.len()).map(|d| sizes[d + 1..].iter().product()).collect();
        let storage = storage("BFloat16Storage", &i.to_string(), bytes.len() as i64 / 2);
        pickle.extend([text(name), tensor(&storage, 0, &sizes, &strides)].concat());
    }
    object(&cat(&[&pickle, b"u"]))
}

fn zipped(weights: Weights) -> Vec<u8> {
    let mut members = vec![zip::member("archive/data.pkl", &dict(&weights))];
    let data = weights.iter().enumerate();
    members.extend(data.map(|(i, (_, _, bytes))| zip::member(&format!("archive/data/{i}"), bytes)));
    zip::archive(&members)
}

fn write_zip(dir: &Path, weights: Weights) {
    std::fs::write(dir.join("pytorch_model.bin"), zipped(weights)).unwrap();
}

fn write_legacy(dir: &Path, weights: Weights) {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(object(&cat(&[b"}", &text("little_endian"), b"\x88s"])));
    file.extend(dict(&weights));
    let keys: Vec<u8> = (0..weights.len()).flat_map(|i| text(&i.to_string())).collect();
    file.extend(object(&cat(&[b"](", &keys, b"e"])));
    for (_, _, bytes) in &weights {
        file.extend((bytes.len() as u64 / 2).to_le_bytes());
        file.extend(bytes);
    }
    std::fs::write(dir.join("pytorch_model.bin"), file).unwrap();
}

fn write_shards(dir: &Path, mut weights: Weights) {
    let rest = weights.split_off(weights.len() / 2);
    let mut map = serde_json::Map::new();
    for (i, shard) in [weights, rest].into_iter().enumerate() {
        let name = format!("pytorch_model-{:05}-of-00002.bin", i + 1);
        map.extend(shard.iter().map(|(tensor, _, _)| (tensor.clone(), json!(name))));
        std::fs::write(dir.join(name), zipped(shard)).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    std::fs::write(dir.join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
}

#[test]
fn a_model_of_pytorch_converts_to_the_file_of_its_safetensors() {
    let bench = Bench::new();
    bench.run("convert %cp --type Q8_0 -o @expected.gguf").ok();
    let expected = std::fs::read(bench.path("expected.gguf")).unwrap();
    for (name, write) in
        [("zip", write_zip as fn(&Path, Weights)), ("legacy", write_legacy), ("shards", write_shards)]
    {
        let dir = bench.packed("cp", write);
        bench.run(&format!("convert @cp --type Q8_0 -o @{name}.gguf")).ok();
        assert!(std::fs::read(bench.path(&format!("{name}.gguf"))).unwrap() == expected, "{name}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn pickles_merge_with_each_other_and_with_safetensors() {
    let bench = Bench::new();
    let tensors = |name: &str| {
        let bytes = std::fs::read(bench.path(&format!("{name}/model.safetensors"))).unwrap();
        bytes[8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize..].to_vec()
    };
    let types = "--type Q4_K_M,safetensors -o";
    bench.run(&format!("merge --base %base --chat %chat --onto %cp {types} @all-{{type}}")).ok();
    bench.packed("base", write_legacy);
    bench.packed("chat", write_shards);
    bench.packed("cp", write_zip);
    let ran = bench.run(&format!("merge --base @base --chat @chat --onto @cp {types} @bin-{{type}}")).ok();
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert!(tensors("bin-safetensors") == tensors("all-safetensors"));
    let listed = |name: &str| bench.run(&format!("inspect --tensors @{name}")).ok().out;
    let [ours, theirs] = ["bin-Q4_K_M.gguf", "all-Q4_K_M.gguf"].map(listed);
    let tail = |text: &str| text.lines().rev().take(30).map(String::from).collect::<Vec<_>>();
    assert_eq!(tail(&ours), tail(&theirs));
    bench.run("merge --base %base --chat @chat --onto @cp --type safetensors -o @mixed").ok();
    assert!(tensors("mixed") == tensors("all-safetensors"));
    assert!(bench.run("diff @cp %cp").ok().out.contains("30 tensors"), "the same tensors");
}

#[test]
fn what_a_file_is_and_what_is_wrong_with_it_is_told() {
    let bench = Bench::new();
    let path = bench.packed("cp", write_zip).join("pytorch_model.bin");
    let ran = bench.run("inspect @cp").ok();
    assert!(ran.out.starts_with("PyTorch: ") && ran.out.contains("30 tensors"), "{}", ran.out);
    assert!(bench.run("inspect --json @cp/pytorch_model.bin").ok().out.contains("\"format\": \"PyTorch\""));
    bench.run("verify @cp").ok();
    std::fs::copy(run::trio("cp").join("model.safetensors"), bench.path("cp/model.safetensors")).unwrap();
    let ran = bench.run("convert @cp --type F16 --dry-run").ok();
    assert_eq!(
        ran.err.matches("those of safetensors are read, those of PyTorch are not").count(),
        1,
        "{}",
        ran.err
    );
    std::fs::remove_file(bench.path("cp/model.safetensors")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let ran = bench.run("convert @cp --type F16 -o @x.gguf");
    assert!(
        ran.code == 3 && ran.err.contains("the file is truncated or damaged: copy or download it again"),
        "{}",
        ran.err
    );
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n").unwrap();
    let ran = bench.run("convert @cp --type F16 -o @x.gguf");
    assert!(ran.code == 3 && ran.err.contains("a pointer of Git LFS"), "{}", ran.err);
    let hostile = zip::archive(&[zip::member("x/data.pkl", &object(&pickle::call("os", "system")))]);
    std::fs::write(&path, hostile).unwrap();
    let ran = bench.run("convert @cp --type F16 -o @x.gguf");
    assert!(ran.code == 4 && ran.err.contains("found os.system; use the model's safetensors"), "{}", ran.err);
}
