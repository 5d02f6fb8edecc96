//! ggraft against mergekit 0.1.4 on the chat vector as mergekit can say it: base_model CP, +w chat, -w base. The
//! recorded hashes show that `mergekit` below is what mergekit computes, for every element; ggraft is then held
//! against it element by element. `fixtures/README.md` says how the hashes were made.

#[path = "support/run.rs"]
mod run;
mod support;

use ggraft_formats::{Input, Model, open};
use half::bf16;
use run::{ggraft, trio};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/goldens/mergekit");

/// mergekit's task arithmetic with dtype float32: w itself and every operation are rounded to f32.
fn mergekit(cp: f32, chat: f32, base: f32, w: f64) -> f32 {
    let (plus, minus) = (w as f32, -w as f32);
    let sum = (chat - cp) * plus + (base - cp) * minus;
    cp + sum
}

/// How far ggraft's one rounding may lie from mergekit's six operations and its rounded w, with u = 2^-24 for each:
/// either result is rounded at the end; each product carries three roundings, the sum of the two one more. The
/// factor covers u^2 and ggraft's f64; what is added, denormal numbers.
fn bound(cp: f32, chat: f32, base: f32, w: f64) -> f64 {
    let u = 0.5f64.powi(24);
    let [cp, chat, base] = [cp, chat, base].map(f64::from);
    let exact = cp + w * (chat - base);
    let products = w.abs() * ((chat - cp).abs() + (base - cp).abs());
    u * (2.0 * exact.abs() + 4.0 * products) * (1.0 + 1e-6) + 1e-44
}

/// A trio in a directory, and mergekit's recipe for it.
struct Case {
    recipe: PathBuf,
    /// cp, chat, base.
    models: [PathBuf; 3],
    weight: f64,
    dir: tempfile::TempDir,
}

impl Case {
    fn trio() -> Case {
        Case {
            recipe: Path::new(GOLDENS).join("trio.yml"),
            models: ["cp", "chat", "base"].map(trio),
            weight: 0.7,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn eeve() -> Case {
        let dir = tempfile::tempdir().unwrap();
        support::specs::write_trio_eeve(dir.path());
        let recipe = dir.path().join("eeve.yml");
        std::fs::copy(Path::new(GOLDENS).join("eeve.yml"), &recipe).unwrap();
        let models = ["cp", "chat", "base"].map(|name| dir.path().join(name));
        Case { recipe, models, weight: 0.5, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Every tensor that mergekit wrote has the hash of what `mergekit` computes.
    fn is_recorded(&self) {
        let golden = Path::new(GOLDENS).join(self.recipe.with_extension("json").file_name().unwrap());
        let golden: Json = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        let files = self.models.each_ref().map(|dir| std::fs::read(dir.join("model.safetensors")).unwrap());
        let models = files.each_ref().map(|file| SafeTensors::deserialize(file).unwrap());
        for (name, tensor) in golden["tensors"].as_object().unwrap() {
            let values = models.each_ref().map(|m| {
                let bytes = m.tensor(name).unwrap().data().as_chunks().0;
                bytes.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect::<Vec<_>>()
            });
            let [cp, chat, base] = &values;
            let mut hash = Sha256::new();
            for (i, x) in cp.iter().enumerate() {
                // Rows that only CP has count as equal in all models.
                let [chat, base] = [chat, base].map(|m| *m.get(i).unwrap_or(x));
                hash.update(mergekit(*x, chat, base, self.weight).to_le_bytes());
            }
            let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Some(hash.as_str()), tensor["sha256"].as_str(), "{name}");
        }
    }

    /// ggraft's F32 differs from mergekit's by no more than the bound, in every element.
    fn is_met(&self) {
        let out = self.path("out.gguf");
        ggraft(["merge", self.recipe.to_str().unwrap(), "-q", "-o", &out]).ok();
        let parents = self.models.each_ref().map(|model| {
            let gguf = self.path(&format!("{}.gguf", model.file_name().unwrap().display()));
            ggraft(["convert", model.to_str().unwrap(), "--type", "F32", "-q", "-o", &gguf]).ok();
            gguf
        });
        let [cp, chat, base] = parents.each_ref().map(|path| read(path));
        for tensor in &read(&out).tensors {
            let values = |model: &Model| {
                let found = model.tensors.iter().find(|t| t.name == tensor.name).unwrap();
                decode(found)
            };
            let [cp, chat, base] = [&cp, &chat, &base].map(values);
            for (i, ours) in decode(tensor).into_iter().enumerate() {
                let x = cp[i];
                let [chat, base] = [&chat, &base].map(|m| *m.get(i).unwrap_or(&x));
                let theirs = mergekit(x, chat, base, self.weight);
                let distance = (f64::from(ours) - f64::from(theirs)).abs();
                assert!(
                    distance <= bound(x, chat, base, self.weight),
                    "{} {i}: {ours} is not {theirs}",
                    tensor.name
                );
            }
        }
    }

    /// The recipe, the options that say the same, and the recipe of those give one file.
    fn is_what_the_options_say(&self) {
        let [cp, chat, base] = self.models.each_ref().map(|path| path.to_str().unwrap());
        let weight = self.weight.to_string();
        let typed = ["merge", "--onto", cp, "--chat", chat, "--base", base, "-w", &weight, "--type", "F32"];
        let recipe = self.recipe.to_str().unwrap();
        let [typed_out, recipe_out, emitted_out] =
            ["typed.gguf", "recipe.gguf", "emitted.gguf"].map(|name| self.path(name));
        ggraft([&typed[..], &SHARED, &["-q", "-o", &typed_out]].concat()).ok();
        ggraft(["merge", recipe, "-q", "-o", &recipe_out]).ok();
        let emitted = self.path("emitted.yml");
        ggraft(["merge", recipe, "--emit-recipe", &emitted]).ok();
        ggraft(["merge", &emitted, "-q", "-o", &emitted_out]).ok();
        let bytes = |path: &str| std::fs::read(path).unwrap();
        assert!(bytes(&recipe_out) == bytes(&typed_out));
        assert!(bytes(&recipe_out) == bytes(&emitted_out));
    }
}

/// The options that say what mergekit does with embeddings: the rows of shared tokens get the vector, and nothing else
/// happens to any row.
const SHARED: [&str; 5] = ["--embeddings", "shared", "--baseless-tokens", "lerp", "--no-auto-copy"];

fn read(path: &str) -> Model {
    match open(Path::new(path)).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("{path} is not a GGUF"),
    }
}

fn decode(t: &ggraft_formats::Tensor) -> Vec<f32> {
    let mut out = vec![0.0; t.shape().elements() as usize];
    t.decode_rows(0..t.shape().rows() as usize, &mut out).unwrap();
    out
}

#[test]
fn the_trio() {
    let case = Case::trio();
    case.is_recorded();
    case.is_met();
    case.is_what_the_options_say();
}

#[test]
fn a_grown_vocabulary() {
    let case = Case::eeve();
    case.is_recorded();
    case.is_met();
    case.is_what_the_options_say();
}

/// What `of` the trios is called in the goldens of the methods, and its models in a directory of this name.
fn write(of: &str, dir: &Path) {
    match of {
        "trio" => {
            for name in ["cp", "chat", "base"] {
                std::fs::create_dir(dir.join(name)).unwrap();
                for file in std::fs::read_dir(trio(name)).unwrap() {
                    let file = file.unwrap();
                    std::fs::copy(file.path(), dir.join(name).join(file.file_name())).unwrap();
                }
            }
        }
        _ => support::families::family("OLMo-2-Tiny").unwrap().write_trio(dir),
    }
}

/// A tensor of a checkpoint, as f32.
fn values(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        _ => tensor.data().as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
    }
}

/// How far an element may lie from mergekit's, in steps of f32 at the largest of its tensor, and which share of them may lie
/// anywhere: those of which mergekit chooses others, by f32 sums or among equals (the weights are bf16, so that a tenth of the
/// variances at which SCE selects are equal, and some of the magnitudes at which TIES trims). A sum over a whole tensor in f32 is good to some hundred steps, steps over it to a thousand.
const METHODS: [(&str, f64, f64); 10] = [
    ("model_stock", 256.0, 0.0),
    ("model_stock-rows", 8.0, 0.0),
    ("nuslerp", 256.0, 0.0),
    ("nuslerp-rows", 8.0, 0.0),
    ("nuslerp-columns", 128.0, 0.0),
    ("karcher", 2048.0, 0.0),
    ("sce", 8.0, 0.0),
    ("sce-topk", 16.0, 0.2),
    ("arcee_fusion", 8.0, 0.01),
    ("ties-own", 8.0, 0.02),
];

#[test]
fn the_methods_are_mergekits() {
    let goldens = Path::new(GOLDENS).join("methods");
    let mut failed = Vec::new();
    for of in ["trio", "olmo"] {
        let dir = tempfile::tempdir().unwrap();
        write(of, dir.path());
        for (method, steps, share) in METHODS {
            let recipe = dir.path().join(format!("{method}.yml"));
            std::fs::copy(goldens.join(format!("{method}.yml")), &recipe).unwrap();
            let out = dir.path().join("out");
            let words =
                ["merge", recipe.to_str().unwrap(), "-q", "--force", "--type", "safetensors-f32", "-o"];
            ggraft([&words[..], &[out.to_str().unwrap()]].concat()).ok();
            let golden = std::fs::read(goldens.join(format!("{method}-{of}.safetensors"))).unwrap();
            let ours = std::fs::read(out.join("model.safetensors")).unwrap();
            let (golden, ours) =
                (SafeTensors::deserialize(&golden).unwrap(), SafeTensors::deserialize(&ours).unwrap());
            let (mut far, mut all, mut most) = (0, 0, 0f64);
            for name in golden.names() {
                let (theirs, ours) = (values(&golden, name), values(&ours, name));
                let largest = theirs.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
                for (i, x) in theirs.iter().enumerate() {
                    let ours = ours[i * ours.len() / theirs.len()];
                    let distance = (f64::from(ours) - f64::from(*x)).abs() / (largest * 2f64.powi(-24));
                    far += usize::from(distance > steps);
                    most = most.max(distance);
                }
                all += theirs.len();
            }
            if far as f64 > share * all as f64 {
                failed.push(format!(
                    "{of}, {method}: {far} of {all} elements lie farther than {steps} steps, at most {most}"
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Of the elements in which chat differs from CP, how many the output has moved, and the sum of their ranks in their rows, as
/// `make_mergekit_goldens.py` counts them; and how many differ.
fn left(cp: &[f32], chat: &[f32], out: &[f32], row: usize) -> [f64; 3] {
    let (mut kept, mut ranks, mut differ) = (0.0, 0.0, 0.0);
    for first in (0..cp.len()).step_by(row) {
        let size = |i: usize| (chat[i] - cp[i]).abs();
        let mut order: Vec<f32> = (first..first + row).map(size).collect();
        order.sort_by(f32::total_cmp);
        for i in (first..first + row).filter(|i| size(*i) > 0.0) {
            let (below, upto) =
                (order.partition_point(|x| *x < size(i)), order.partition_point(|x| *x <= size(i)));
            differ += 1.0;
            if out[i] != cp[i] {
                kept += 1.0;
                ranks += (below + upto - 1) as f64 / 2.0 / (row - 1).max(1) as f64;
            }
        }
    }
    [kept, ranks, differ]
}

/// Other elements are drawn than torch draws, but as many, and of the same ranks, within five deviations.
#[test]
fn della_leaves_as_many_elements_as_mergekit() {
    let golden = Path::new(GOLDENS).join("methods/della_linear-trio.json");
    let golden: Json = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write("trio", dir.path());
    let recipe = dir.path().join("della.yml");
    std::fs::copy(Path::new(GOLDENS).join("methods/della_linear.yml"), &recipe).unwrap();
    let out = dir.path().join("out");
    let words =
        ["merge", recipe.to_str().unwrap(), "-q", "--type", "safetensors-f32", "-o", out.to_str().unwrap()];
    ggraft(words).ok();
    let files = ["cp", "chat", "out"]
        .map(|name| std::fs::read(dir.path().join(name).join("model.safetensors")).unwrap());
    let [cp, chat, out] = files.each_ref().map(|file| SafeTensors::deserialize(file).unwrap());
    for (name, theirs) in golden.as_object().unwrap() {
        // Tables have other rows.
        if cp.tensor(name).unwrap().shape() != chat.tensor(name).unwrap().shape() {
            continue;
        }
        let row = *cp.tensor(name).unwrap().shape().last().unwrap();
        let [kept, ranks, differ] = left(&values(&cp, name), &values(&chat, name), &values(&out, name), row);
        let bound = 5.0 * (differ / 2.0).sqrt();
        let [kept_there, ranks_there] = [0, 1].map(|i| theirs[i].as_f64().unwrap());
        assert!((kept - kept_there).abs() <= bound, "{name}: {kept} {kept_there} of {differ}");
        assert!((ranks - ranks_there).abs() <= bound, "{name}: {ranks} {ranks_there} of {differ}");
    }
}
