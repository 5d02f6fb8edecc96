//! Reports: their JSON fits its schema, their figures are those of a plain oracle, the page is sound whatever the names in
//! the files are, and asking for one changes no byte of the output.

#[path = "support/run.rs"]
mod run;
#[path = "support/schema.rs"]
mod schema;
mod support;

use ggraft_formats::{DType, Input, Model};
use run::{Folder, Ran, ggraft};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use support::gguf::TOYS;
use support::imatrix;

struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        Bench(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn ggraft(&self, words: &str) -> Ran {
        ggraft(self.0.words(words))
    }

    fn merge(&self, words: &str) -> Ran {
        self.0.merge(words)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A report, which fits its schema.
    #[track_caller]
    fn json(&self, name: &str) -> Json {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
        let mut schema: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(schema.as_object_mut().unwrap()["$ref"], "#/$defs/report");
        let report: Json = serde_json::from_str(&self.text(name)).unwrap();
        let problems = schema::problems(&schema, "report", &report);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        report
    }

    fn model(&self, name: &str) -> Model {
        match ggraft_formats::open(&self.path(name)).unwrap() {
            Input::Model(model) => model,
            Input::Checkpoint(_) => panic!("a checkpoint"),
        }
    }
}

#[test]
fn every_report_fits_the_schema() {
    let bench = Bench::new();
    TOYS[4].write(&bench.path("toy.gguf"));
    bench
        .merge("--type Q4_K_M,safetensors-bf16,F32 --weight 0.5,1 -q -o @{type}-{weight} --report @a.json")
        .ok();
    assert_eq!(bench.json("a.json")["outputs"].as_array().unwrap().len(), 6);
    for (words, name) in [
        ("convert %cp --type Q8_0 -q -o @c.gguf --report @b.json", "b.json"),
        ("convert %cp --type safetensors-f16 -q -o @c --report @c.json", "c.json"),
        ("quantize @toy.gguf @q.gguf Q4_K_M -q --report @d.json", "d.json"),
        ("quantize @toy.gguf @s.gguf Q4_K_M --split-max-tensors 20 -q --report @e.json", "e.json"),
        ("quantize @toy.gguf @t.gguf --target-bpw 6 -q --report @f.json", "f.json"),
        ("quantize @toy.gguf @copy.gguf COPY -q --report @g.json", "g.json"),
        ("split @toy.gguf @part --max-tensors 20 -q --report @h.json", "h.json"),
    ] {
        bench.ggraft(words).ok();
        let report = bench.json(name);
        assert!(report["command"].as_str().unwrap().starts_with("ggraft "), "{words}");
    }
    let fallbacks = bench.json("d.json")["outputs"][0]["tensors"].clone();
    assert!(fallbacks.as_array().unwrap().iter().any(|t| t["fallback_from"].is_string()));
}

/// The weights of a tensor.
fn weights(model: &Model, name: &str) -> Vec<f64> {
    let t = model.tensors.iter().find(|t| t.name == name).unwrap();
    let mut values = vec![0.0; t.shape().elements() as usize];
    t.decode_rows_f64(0..t.shape().rows() as usize, &mut values).unwrap();
    values
}

/// The figures of `b` beside `a`, as the formulas say.
#[track_caller]
fn is(figures: &Json, a: &[f64], b: &[f64], name: &str) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let error: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    for (key, value) in [
        ("rmse", (dot(&error, &error) / a.len() as f64).sqrt()),
        ("max_abs", error.iter().fold(0.0, |m, x| x.abs().max(m))),
        ("relative", (dot(&error, &error) / dot(a, a)).sqrt()),
        ("cosine", dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()),
        ("different", error.iter().filter(|x| **x != 0.0).count() as f64),
    ] {
        let told = figures[key].as_f64().unwrap();
        assert!((told - value).abs() <= 1e-11 * value.abs(), "{name} {key}: {told} {value}");
    }
}

#[test]
fn the_figures_are_those_of_the_formulas() {
    let bench = Bench::new();
    bench.ggraft("convert %cp --type F32 -q -o @cp.gguf").ok();
    bench.merge("--type Q4_K_M,F32,BF16 --weight 0.7 -q -o @{type}.gguf --report @r.json").ok();
    let (cp, exact) = (bench.model("cp.gguf"), bench.model("F32.gguf"));
    for output in bench.json("r.json")["outputs"].as_array().unwrap() {
        let stored = bench.model(output["output"].as_str().unwrap());
        for t in output["tensors"].as_array().unwrap() {
            let name = t["name"].as_str().unwrap();
            let exact = weights(&exact, name);
            is(&t["error"], &exact, &weights(&stored, name), name);
            is(&t["delta"], &weights(&cp, name), &exact, name);
        }
    }
}

/// The same with an importance matrix, for a model that is not merged.
#[test]
fn measuring_changes_no_byte() {
    let bench = Bench::new();
    let toy = TOYS[6];
    toy.write(&bench.path("toy.gguf"));
    imatrix::write(&imatrix::measured(&toy).iter().collect::<Vec<_>>(), &bench.path("m.imatrix"));
    for (plain, metered) in [
        (
            bench.ggraft("quantize @toy.gguf @a.gguf Q3_K_M --imatrix @m.imatrix -q"),
            bench.ggraft("quantize @toy.gguf @b.gguf Q3_K_M --imatrix @m.imatrix -q --report @r.json"),
        ),
        (
            bench.merge("--type Q5_K_M -q -f -o @a.gguf"),
            bench.merge("--type Q5_K_M -q -f -o @b.gguf --report @r.html"),
        ),
    ] {
        plain.ok();
        metered.ok();
        assert!(std::fs::read(bench.path("a.gguf")).unwrap() == std::fs::read(bench.path("b.gguf")).unwrap());
    }
    assert!(
        !std::fs::read_dir(bench.path("")).unwrap().any(|e| e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("partial"))
    );
}

#[test]
fn reports_do_not_depend_on_threads() {
    let bench = Bench::new();
    for form in ["json", "html"] {
        for threads in [1, 3] {
            bench
                .merge(&format!(
                    "--type Q4_K_M,F16 -q -f -t {threads} -o @{{type}}.gguf --report @{threads}.{form}"
                ))
                .ok();
        }
        assert_eq!(bench.text(&format!("1.{form}")), bench.text(&format!("3.{form}")));
    }
}

/// Tags are closed in the order in which they were opened, and there is no other text with a `<`.
#[track_caller]
fn well_formed(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let mut open: Vec<&str> = Vec::new();
    for part in body.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        match (tag.starts_with('/'), tag.ends_with('/') || name == "meta") {
            (true, _) => assert_eq!(open.pop(), Some(name), "{tag}"),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_needs_nothing_and_shows_all() {
    let bench = Bench::new();
    bench.merge("--type Q4_K_M,safetensors-bf16 -q -o @{type} --report @r.html").ok();
    let page = bench.text("r.html");
    well_formed(&page);
    for said in [
        "default-src 'none'",
        "Change by the merge, by role and layer",
        "Quantization error by role and layer",
        "attn_q of layer 2: ",
        "chat differs from base by 3.32 %",
        "&lt;|im_start|&gt;",
        "ggraft merge --base base --chat chat --onto cp --type Q4_K_M --type safetensors-bf16",
    ] {
        assert!(page.contains(said), "{said}");
    }
    for word in ["<script", "http:", "https:", "<img", "<link", "url(", "@import", "src="] {
        assert!(!page.contains(word), "{word}");
    }
}

/// Names in files are written by strangers.
#[test]
fn names_are_shown_and_not_obeyed() {
    let bench = Bench::new();
    const EVIL: &str =
        "</title></style><script>alert(1)</script><img src=x onerror=\"alert(1)\">'\u{1b}[31m\u{202e}";
    let mut model = TOYS[1].model();
    model.metadata.set("general.name", EVIL);
    model.metadata.set("general.license", EVIL);
    // Every other tensor must keep the name by which the mixture knows it.
    let last = model.tensors.len() - 1;
    model.tensors[last].name = String::from("blk.7.<script>alert(1)</script><img src=x>\u{1b}.weight");
    let input = bench.path("a&lt;<b>&'\".gguf");
    let layout = ggraft_formats::gguf::plan(&model, &input).unwrap();
    ggraft_formats::write::write(&[layout], &()).unwrap();
    let output = bench.path("<svg onload=alert(1)>.gguf");
    let report = bench.path("r.html").display().to_string();
    let words =
        [input.to_str().unwrap(), output.to_str().unwrap(), "Q8_0", "-q", "--card", "--report", &report];
    ggraft([&["quantize"], &words[..]].concat()).ok();
    let page = bench.text("r.html");
    well_formed(&page);
    for word in ["<script", "<img", "<svg onload", "\u{1b}", "\u{202e}", "<b>"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;")
            && page.contains("&lt;svg onload=alert(1)&gt;.gguf")
    );
    let card = bench.text("README.md");
    assert!(!card.contains(['\u{1b}', '\u{202e}']) && card.matches("\n---\n").count() == 1, "{card}");
    assert!(!card.split_once("\n---\n").unwrap().1.contains("<script"), "{card}");
}

#[test]
fn a_report_has_an_ending_and_a_place() {
    let bench = Bench::new();
    TOYS[1].write(&bench.path("toy.gguf"));
    let ran = bench.ggraft("quantize @toy.gguf @o.gguf Q8_0 --report @r.pdf");
    assert!(ran.code == 2 && ran.err.contains("ends in .json or .html"), "{}", ran.err);
    std::fs::write(bench.path("r.html"), "mine").unwrap();
    let ran = bench.ggraft("quantize @toy.gguf @o.gguf Q8_0 --report @r.html");
    assert!(ran.code == 1 && ran.err.contains("exists") && !bench.path("o.gguf").exists(), "{}", ran.err);
    assert_eq!(bench.text("r.html"), "mine");
    bench.ggraft("quantize @toy.gguf @o.gguf Q8_0 -q -f --report @r.html").ok();
    assert!(bench.text("r.html").starts_with("<!DOCTYPE html>"));
}

/// What is stored as it was has no error, and needed no measuring.
#[test]
fn what_is_kept_is_exact() {
    let bench = Bench::new();
    bench.merge("--type F32 --weight-preset no-norms -q -o @o.gguf --report @r.json").ok();
    let report = bench.json("r.json");
    let tensors = report["outputs"][0]["tensors"].as_array().unwrap().clone();
    let norm = tensors.iter().find(|t| t["name"] == "output_norm.weight").unwrap();
    assert_eq!(
        (&norm["fate"], &norm["delta"], &norm["to"]),
        (&json!("kept"), &Json::Null, &json!(DType::F32.to_string()))
    );
    assert_eq!((norm["error"]["rmse"].as_f64(), norm["error"]["cosine"].as_f64()), (Some(0.0), Some(1.0)));
}
