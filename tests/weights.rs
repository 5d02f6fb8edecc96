//! Weights by tensor: globs, ranges of layers and gradients against naive oracles, and the rules as people type them.

#[path = "support/run.rs"]
mod run;

use ggraft::merge::glob::Glob;
use ggraft::merge::weights::{PRESETS, Rules};
use proptest::prelude::*;
use run::{Ran, ggraft, trio};
use serde_json::Value as Json;

/// A piece of a pattern, as the tests make it.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Any,
    Star,
    Choice(Vec<String>),
    Range(i64, i64),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        "[ab.1]{1,2}".prop_map(Piece::Text),
        Just(Piece::Any),
        Just(Piece::Star),
        prop::collection::vec("[ab.]{1,2}", 1..3).prop_map(Piece::Choice),
        (-12i64..24, 0i64..9).prop_map(|(first, more)| Piece::Range(first, first + more)),
    ]
}

fn text(pieces: &[Piece]) -> String {
    let one = |p: &Piece| match p {
        Piece::Text(text) => text.clone(),
        Piece::Any => String::from("?"),
        Piece::Star => String::from("*"),
        Piece::Choice(items) => format!("{{{}}}", items.join(",")),
        Piece::Range(first, last) if first == last => format!("{{{first}}}"),
        Piece::Range(first, last) => format!("{{{first}-{last}}}"),
    };
    pieces.iter().map(one).collect()
}

/// Tries every way of dividing the name among the pieces. `before` is the character before `name`.
fn naive(pieces: &[Piece], before: char, name: &str, layers: i64) -> bool {
    let Some((piece, others)) = pieces.split_first() else { return name.is_empty() };
    (0..=name.len()).any(|end| {
        let (part, rest) = name.split_at(end);
        let fits = match piece {
            Piece::Text(text) => part == text,
            Piece::Any => part.len() == 1,
            Piece::Star => true,
            Piece::Choice(items) => items.iter().any(|item| item == part),
            Piece::Range(first, last) => {
                let digit = |c: char| c.is_ascii_digit();
                let whole = !digit(before) && !rest.starts_with(digit) && part.chars().all(digit);
                // Both ends are counted first: what crosses zero goes on from the layer that it begins at.
                let [a, b] = [*first, *last].map(|n| if n < 0 { n + layers } else { n });
                let wanted = |n: i64| (a..=b).contains(&n);
                whole && part.parse().is_ok_and(wanted)
            }
        };
        fits && naive(others, part.chars().last().unwrap_or(before), rest, layers)
    })
}

/// Whether the range counts up from a layer that there is.
fn sound(piece: &Piece, layers: i64) -> bool {
    let Piece::Range(first, last) = piece else { return true };
    let [a, b] = [*first, *last].map(|n| if n < 0 { n + layers } else { n });
    0 <= a && a <= b
}

fn factors(rules: &[&str], names: &[&str]) -> Vec<f64> {
    Rules::parse([], rules.iter().copied()).unwrap().factors(names).unwrap()
}

fn layers(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("blk.{i}.attn_q.weight")).collect()
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_glob_matches_what_the_oracle_matches(
        pieces in prop::collection::vec(piece(), 0..6),
        name in "[ab.]{0,2}[0-9]{0,2}[ab.]{0,2}[0-9]{0,2}[ab.]{0,2}",
        layers in 1i64..24,
    ) {
        let glob = Glob::parse(&text(&pieces)).unwrap().resolve(layers as usize);
        prop_assert_eq!(glob.is_ok(), pieces.iter().all(|p| sound(p, layers)));
        if let Ok(glob) = glob {
            prop_assert_eq!(glob.matches(&name), naive(&pieces, ' ', &name, layers), "{} {}", text(&pieces), name);
        }
    }

    #[test]
    fn a_gradient_is_linear_between_its_points(
        points in prop::collection::vec(-2.0..2.0f64, 1..7),
        count in 1usize..60,
    ) {
        let names = layers(count);
        let list: Vec<String> = points.iter().map(f64::to_string).collect();
        let found = factors(&[&format!("*=[{}]", list.join(","))], &borrowed(&names));
        for (layer, x) in found.iter().enumerate() {
            // An only layer takes the last, as in mergekit.
            let t = if count > 1 { layer as f64 / (count - 1) as f64 } else { 1.0 };
            let place = t * (points.len() - 1) as f64;
            let i = (place as usize).min(points.len().saturating_sub(2));
            let next = points[(i + 1).min(points.len() - 1)];
            let expected = points[i] * (1.0 - (place - i as f64)) + next * (place - i as f64);
            prop_assert!((x - expected).abs() < 1e-9, "layer {}: {} {}", layer, x, expected);
        }
        prop_assert!(count == 1 || found[0] == points[0]);
        prop_assert_eq!(found[count - 1], points[points.len() - 1]);
    }

    #[test]
    fn of_several_rules_the_last_that_matches_counts(
        rules in prop::collection::vec((0usize..5, 0usize..4), 1..6),
    ) {
        const GLOBS: [&str; 5] = ["*", "blk.*", "blk.{0-1}.*", "*.{-1}.*", "*_norm.weight"];
        let names = ["token_embd.weight", "blk.0.attn_norm.weight", "blk.1.ffn_up.weight", "blk.2.ffn_up.weight"];
        let matched = [&[0, 1, 2, 3][..], &[1, 2, 3], &[1, 2], &[3], &[1]];
        let texts: Vec<String> = rules.iter().map(|(g, value)| format!("{}={value}", GLOBS[*g])).collect();
        let found = factors(&borrowed(&texts), &names);
        for (i, x) in found.iter().enumerate() {
            let last = rules.iter().rev().find(|(g, _)| matched[*g].contains(&i));
            prop_assert_eq!(*x, last.map_or(1.0, |(_, value)| *value as f64));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(rule in "\\PC*|[a{},*?0-9=\\[\\].-]{0,20}") {
        let names = layers(3);
        _ = Rules::parse([], [rule.as_str()]).and_then(|rules| rules.factors(&borrowed(&names)));
    }
}

#[test]
fn many_stars_take_no_more_time() {
    let glob = Glob::parse(&"*a".repeat(200)).unwrap();
    assert!(!glob.matches(&"a".repeat(199)));
    assert!(glob.matches(&"a".repeat(200)));
}

#[test]
fn the_issue_s_example() {
    let names = layers(12);
    let found = factors(&["blk.{0-1,-2--1}.*=0.3"], &borrowed(&names));
    let expected: Vec<f64> = (0..12).map(|i| if [0, 1, 10, 11].contains(&i) { 0.3 } else { 1.0 }).collect();
    assert_eq!(found, expected);
}

#[test]
fn tensors_outside_the_layers_take_the_nearer_end() {
    let names = [
        "output.weight",
        "token_embd.weight",
        "blk.0.attn_q.weight",
        "blk.1.attn_q.weight",
        "output_norm.weight",
    ];
    assert_eq!(factors(&["*=[0.25,0.75]"], &names), [0.75, 0.25, 0.25, 0.75, 0.75]);
}

#[test]
fn the_presets() {
    let mut names = layers(28);
    names.extend(
        ["token_embd.weight", "output.weight", "output_norm.weight", "blk.3.attn_norm.weight"]
            .map(String::from),
    );
    let zeros = |preset: &str| -> Vec<String> {
        let factors = Rules::parse([preset], []).unwrap().factors(&borrowed(&names)).unwrap();
        names.iter().zip(factors).filter(|(_, f)| *f == 0.0).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(zeros("no-norms"), ["output_norm.weight", "blk.3.attn_norm.weight"]);
    assert_eq!(zeros("skip-embed"), ["token_embd.weight", "output.weight"]);
    let ends: Vec<String> = [0, 1, 2, 3, 24, 25, 26, 27].map(|i| names[i].clone()).to_vec();
    assert_eq!(zeros("layer-swap"), [&ends[..], &names[31..]].concat());
    assert_eq!(PRESETS.len(), 3);
    let both =
        Rules::parse(["no-norms", "layer-swap"], ["*=0.5"]).unwrap().factors(&borrowed(&names)).unwrap();
    assert_eq!((both[0], both[14], both[28], both[30]), (0.0, 0.5, 0.5, 0.0));
}

#[test]
fn wrong_rules() {
    let names = layers(4);
    let refused = |rule: &str| {
        let e = Rules::parse([], [rule]).and_then(|rules| rules.factors(&borrowed(&names))).unwrap_err();
        assert_eq!(e.kind().exit_code(), 2);
        e.to_string()
    };
    assert_eq!(
        refused("blk.9.*=0.5"),
        "a rule of the weights matches no tensor: found blk.9.*=0.5; `ggraft inspect --tensors` lists the names"
    );
    assert_eq!(
        refused("blk.{2--3}.*=1"),
        "the pattern's range of layers is empty or begins before the first: expected layers from 0 to 3, found 2--3"
    );
    for (rule, what) in [
        ("blk.*", "a rule of the weights has no value"),
        ("blk.*=", "a rule of the weights has a wrong value"),
        ("blk.*=inf", "a rule of the weights has a wrong value"),
        ("blk.*=[]", "a rule of the weights has a wrong value"),
        ("blk.*=[0,1", "a rule of the weights has a wrong value"),
        ("blk.*=0,1", "a rule of the weights has a wrong value"),
        ("blk.{0=1", "the pattern does not close its brace"),
        ("blk.0}=1", "the pattern closes a brace that it does not open"),
        ("blk.{}=1", "braces must hold texts or numbers"),
        ("blk.{-5}.*=1", "the pattern's range of layers is empty or begins before the first"),
    ] {
        assert!(refused(rule).starts_with(what), "{rule}: {}", refused(rule));
    }
}

/// Plans a merge of the trio.
fn plan(more: &[&str]) -> Ran {
    let [base, chat, cp] = ["base", "chat", "cp"].map(|name| trio(name).display().to_string());
    let models =
        ["merge", "--chat", &chat, "--onto", &cp, "--type", "f32", "-o", "out.gguf", "--dry-run", "--json"];
    let base: &[&str] = if more.contains(&"slerp") { &[] } else { &["--base", &base] };
    ggraft([&models[..], base, more].concat())
}

#[test]
fn the_plan_lists_the_weight_of_each_tensor() {
    let ran = plan(&["-w", "0.5", "--weight-preset", "no-norms", "--weights", "blk.{-1}.ffn_*=0.5"]).ok();
    assert!(ran.err.contains("the rules multiply the weight by 0 for "), "{}", ran.err);
    assert!(
        ran.err.contains("kept from onto (its weight is 0): output_norm.weight, blk.{0-2}.attn_norm.weight"),
        "{}",
        ran.err
    );
    let plan: Json = serde_json::from_str(&ran.out).unwrap();
    let of = |name: &str| {
        let tensors = plan["tensors"].as_array().unwrap();
        tensors.iter().find(|t| t["name"] == name).unwrap()["weights"].to_string()
    };
    assert_eq!(of("blk.0.ffn_up.weight"), "[0.5]");
    assert_eq!(of("token_embd.weight"), "[]");
    assert_eq!(of("output_norm.weight"), "[]");
    let quarter = serde_json::json!([0.25]);
    let last = plan["tensors"].as_array().unwrap().iter().filter(|t| t["weights"] == quarter).count();
    assert_eq!(last, 3, "the three projections; a preset holds whatever the rules say");
}

#[test]
fn methods_on_the_command_line() {
    let ran = plan(&["--method", "slerp", "-w", "0.4"]).ok();
    assert!(ran.out.contains("[0.4]"), "{}", ran.out);
    let ran = plan(&["--method", "ties", "--param", "lambda=2"]).ok();
    assert!(ran.err.contains("the density is 1: ties keeps all elements of the vectors"), "{}", ran.err);
    for (words, message) in [
        (&["--method", "tie"][..], "expected one of task_arithmetic, gated, linear, slerp, ties"),
        (
            &["--method", "slerp", "-w", "2"],
            "slerp goes from onto to chat: expected a weight from 0 to 1, found 2",
        ),
        (
            &["--param", "density=0.5"],
            "the method task_arithmetic has no such parameter: expected no parameters",
        ),
        (
            &["--method", "ties", "--param", "density=2"],
            "the parameter density of the method ties is out of range",
        ),
        (&["--weights", "blk.99.*=0.5"], "a rule of the weights matches no tensor: found blk.99.*=0.5"),
        (&["--weight-preset", "norms"], "expected one of no-norms, skip-embed, layer-swap"),
    ] {
        let ran = plan(words);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    let [chat, cp] = ["chat", "cp"].map(|name| trio(name).display().to_string());
    let ran = ggraft(["merge", "--chat", &chat, "--onto", &cp, "--type", "f32", "--method", "ties"]);
    assert_eq!((ran.code, ran.err.contains("the method ties needs --base")), (2, true), "{}", ran.err);
}

/// As in mergekit, whose filter finds no tensor then.
#[test]
fn a_rule_for_the_head_of_a_tied_model_has_no_effect() {
    let names = ["token_embd.weight", "blk.0.attn_q.weight"];
    assert_eq!(factors(&["output.weight=0.1"], &names), [1.0, 1.0]);
    assert_eq!(factors(&["{output}.*=0.1"], &["token_embd.weight", "output.weight"]), [1.0, 0.1]);
    let rules = Rules::parse([], ["blk.*.nothing=0.1"]).unwrap();
    assert!(rules.factors(&names).unwrap_err().to_string().contains("matches no tensor"));
}
