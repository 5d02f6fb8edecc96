//! Every choice of dtype is llama-quantize's: `fixtures/snapshots` (real models, from llama.cpp's own tests) and
//! `fixtures/mixtures` (made-up models, recorded from the release) are reproduced section by section.

mod models;
mod schema;

use ggraft::ftype::{FTYPES, Facts, Ftype, Options, TensorFact, assign, order};
use ggraft_formats::{DType, Shape};
use schema::{Schema, Section};
use std::collections::BTreeMap;

/// What differs between a section and our assignment; empty if nothing does.
fn differences(facts: &Facts, section: &Section, options: &Options, kept_are_named: bool) -> Vec<String> {
    let ftype = Ftype::parse(&section.ftype).unwrap();
    let default = DType::from_name(&section.default).unwrap();
    assert_eq!(ftype.default, default, "{ftype}");
    let assignments = assign(facts, ftype, options).unwrap();
    let mut named: BTreeMap<&str, &str> =
        section.named.iter().map(|(n, d)| (n.as_str(), d.as_str())).collect();
    let mut all = Vec::new();
    for (tensor, ours) in facts.tensors.iter().zip(&assignments) {
        let theirs = named.remove(tensor.name);
        // The snapshots do not mention the tensors that are carried as they are.
        if theirs.is_none() && !ours.is_quantized() && !kept_are_named {
            continue;
        }
        let theirs = theirs.unwrap_or(&section.default);
        if ours.dtype.to_string() != theirs {
            all.push(format!(
                "{ftype} {}: {theirs} expected, {} found ({})",
                tensor.name, ours.dtype, ours.reason
            ));
        }
    }
    all.extend(named.keys().map(|name| format!("{ftype} {name}: not in our list of tensors")));
    if section.asks_imatrix != assignments.iter().any(|a| a.needs_imatrix)
        && kept_are_named
        && !options.has_imatrix
    {
        all.push(format!("{ftype}: the importance matrix is asked for: {} expected", section.asks_imatrix));
    }
    all
}

#[test]
fn every_snapshot_of_a_real_model_is_reproduced() {
    let mut wrong = Vec::new();
    let mut sections = 0;
    for model in models::all() {
        let schema = Schema::read(&format!("fixtures/snapshots/{}.schema", model.file));
        let facts = model.facts(&schema);
        for section in &schema.sections {
            let found = differences(&facts, section, &Options::default(), false);
            wrong.extend(found.into_iter().map(|line| format!("{}: {line}", model.file)));
            sections += 1;
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert_eq!(sections, 8 * 33);
}

/// Bits a weight of Llama-3.1-8B as llama.cpp's README of llama-quantize has them.
const PUBLISHED: [(&str, f64); 25] = [
    ("IQ1_S", 2.0042),
    ("IQ1_M", 2.1460),
    ("IQ2_XXS", 2.3824),
    ("IQ2_XS", 2.5882),
    ("IQ2_S", 2.7403),
    ("IQ2_M", 2.9294),
    ("IQ3_XXS", 3.2548),
    ("IQ3_XS", 3.4977),
    ("IQ3_S", 3.6606),
    ("IQ3_M", 3.7628),
    ("IQ4_XS", 4.4597),
    ("IQ4_NL", 4.6818),
    ("Q2_K_S", 2.9697),
    ("Q2_K", 3.1593),
    ("Q3_K_S", 3.6429),
    ("Q3_K_M", 3.9960),
    ("Q3_K_L", 4.2979),
    ("Q4_K_S", 4.6672),
    ("Q4_K_M", 4.8944),
    ("Q5_K_S", 5.5704),
    ("Q5_K_M", 5.7036),
    ("Q6_K", 6.5633),
    ("Q8_0", 8.5008),
    ("F16", 16.0005),
    ("F32", 32.0),
];

#[test]
fn the_published_sizes_of_llama_8b_follow_from_its_header() {
    let model = models::llama_8b();
    let schema = Schema::read(&format!("fixtures/snapshots/{}.schema", model.file));
    let facts = Facts { n_layer: 32, n_head: 32, ..model.facts(&schema) };
    let elements: u64 = facts.tensors.iter().map(|t| t.shape.elements()).sum();
    assert_eq!(elements, 8_030_261_248 + 64);
    let mut wrong = Vec::new();
    for (name, published) in PUBLISHED {
        // Those that need an importance matrix were made with one.
        let ftype = Ftype::parse(name).unwrap();
        let options = Options { has_imatrix: ftype.needs_imatrix, ..Options::default() };
        let assignments = assign(&facts, ftype, &options).unwrap();
        let bytes = facts.tensors.iter().zip(&assignments);
        let bytes: u64 = bytes.map(|(t, a)| a.dtype.row_bytes(t.shape.row()).unwrap() * t.shape.rows()).sum();
        let bits = bytes as f64 * 8.0 / elements as f64;
        if format!("{bits:.4}") != format!("{published:.4}") {
            wrong.push(format!("{name}: {published} published, {bits:.4} found"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recording_of_a_made_up_model_is_reproduced() {
    let mut wrong = Vec::new();
    let mut sections = 0;
    for file in schema::files("fixtures/mixtures") {
        let schema = Schema::read(&file);
        let facts = schema.facts();
        let options = schema.options();
        for section in &schema.sections {
            if section.default == "refused" {
                assert!(assign(&facts, Ftype::parse(&section.ftype).unwrap(), &options).is_err(), "{file}");
                continue;
            }
            let found = differences(&facts, section, &options, true);
            wrong.extend(found.into_iter().map(|line| format!("{file}: {line}")));
            sections += 1;
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(sections > 1000, "{sections} sections were compared");
}

/// The same tensors in another order get the same dtypes: the counters follow layers, not files.
#[test]
fn the_order_of_the_tensors_does_not_matter() {
    for file in ["llama-16-gqa2", "moe-8-experts-gqa1", "falcon-32-gqa8", "out-of-order"] {
        let schema = Schema::read(&format!("fixtures/mixtures/{file}.schema"));
        let facts = schema.facts();
        let mut turned = facts.clone();
        turned.tensors.reverse();
        let mut sorted = facts.clone();
        sorted.tensors.sort_by(|a, b| order(a.name).cmp(&order(b.name)));
        for ftype in FTYPES {
            let by_name = |facts: &Facts| -> BTreeMap<String, DType> {
                let dtypes = assign(facts, ftype, &Options::default()).unwrap();
                facts.tensors.iter().zip(dtypes).map(|(t, a)| (t.name.to_string(), a.dtype)).collect()
            };
            assert_eq!(by_name(&facts), by_name(&turned), "{file} {ftype}");
            assert_eq!(by_name(&facts), by_name(&sorted), "{file} {ftype}");
        }
    }
}

/// A model of one tensor.
fn lone<'a>(name: &'a str, ne: &[u64], dtype: DType) -> Facts<'a> {
    Facts {
        tensors: vec![TensorFact { name, shape: Shape::new(ne).unwrap(), dtype }],
        architecture: "llama",
        n_layer: 1,
        n_head: 1,
        n_head_kv: 1,
        n_expert: 0,
        is_trained: false,
        pinned: Vec::new(),
    }
}

#[test]
fn a_fallback_knows_what_was_wanted() {
    let ftype = Ftype::parse("Q4_K_M").unwrap();
    for (columns, dtype) in [(256, DType::Q4K), (288, DType::Q5_0), (272, DType::F16)] {
        let facts = lone("blk.0.ffn_up.weight", &[columns, 4], DType::F32);
        let found = assign(&facts, ftype, &Options::default()).unwrap()[0];
        assert_eq!(found.dtype, dtype);
        assert_eq!(found.fallback, (columns != 256).then_some(DType::Q4K));
    }
}

#[test]
fn what_is_kept_keeps_its_dtype_and_says_why() {
    let ftype = Ftype::parse("Q4_K_M").unwrap();
    for (name, ne, why) in [
        ("blk.0.attn_norm.weight", &[256, 2][..], "kept: a norm"),
        ("blk.0.attn_q.bias", &[256, 2], "kept: not a weight"),
        ("rope_freqs.weight", &[64], "kept: not a matrix"),
        ("blk.0.attn_q.weight", &[256, 1], "kept: not a matrix"),
        ("blk.0.ffn_gate_inp.weight", &[256, 8], "kept: chooses the experts"),
    ] {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let found = assign(&lone(name, ne, dtype), ftype, &Options::default()).unwrap()[0];
            assert_eq!((found.dtype, found.reason.to_string().as_str()), (dtype, why), "{name}");
            assert!(!found.is_quantized());
        }
    }
}

#[test]
fn an_impossible_dtype_is_an_error_that_names_the_tensor_and_the_mend() {
    let narrow = lone("output.weight", &[288, 4], DType::F32);
    let options = Options { output_tensor_type: Some(DType::Q6K), ..Options::default() };
    let said = assign(&narrow, Ftype::parse("Q4_0").unwrap(), &options).unwrap_err().to_string();
    for part in ["output.weight", "q6_K", "256", "288", "choose another --output-tensor-type"] {
        assert!(said.contains(part), "{said}");
    }
    let said = assign(&narrow, Ftype::parse("Q1_0").unwrap(), &Options { pure: true, ..Options::default() })
        .unwrap_err()
        .to_string();
    assert!(said.contains("q1_0") && said.contains("choose another ftype"), "{said}");

    let mut nameless = lone("v.ffn_down.weight", &[256, 4], DType::F32);
    nameless.n_expert = 16;
    let said =
        assign(&nameless, Ftype::parse("Q4_K_M").unwrap(), &Options::default()).unwrap_err().to_string();
    assert!(said.contains("v.ffn_down.weight") && said.contains("blk.N."), "{said}");
}

/// Hyperparameters that no model has must not overflow or panic.
#[test]
fn absurd_hyperparameters_are_harmless() {
    for (n_layer, n_head, n_head_kv, n_expert) in
        [(0, 0, 0, 0), (u64::MAX, u64::MAX, 1, u64::MAX), (u64::MAX, 0, 1, 0), (1, 1, 0, 8)]
    {
        for name in
            ["blk.0.ffn_down.weight", "blk.18446744073709551615.ffn_up.weight", "blk..attn_v.weight", ""]
        {
            let facts =
                Facts { n_layer, n_head, n_head_kv, n_expert, ..lone(name, &[256, 4, 1, 2], DType::F32) };
            for ftype in FTYPES {
                // An error is as good as an answer.
                let _ = assign(&facts, ftype, &Options::default());
            }
        }
    }
}
