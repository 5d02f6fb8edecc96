//! Recipes: what is written is read as the same, gives the same bytes, and a bad one is refused with the line and
//! the key.

#[path = "support/run.rs"]
mod run;

use ggraft::device::PROFILES;
use ggraft::ftype::FTYPES;
use ggraft::merge::METHODS;
use ggraft::merge::tokens::matching::{Baseless, Embeddings};
use ggraft::merge::weights::PRESETS;
use ggraft::recipe::{
    Adapter, Allow, Choice, Mixture, Place, Recipe, Rule, Size, Slice, Splitting, Stack, Vector, Vocabulary,
};
use ggraft::version::Version;
use ggraft_formats::DType;
use ggraft_formats::quant::Search;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use run::{ggraft, ggraft_in, trio_copy};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

fn parse(text: &str) -> Result<Recipe, String> {
    Recipe::parse(text, Path::new("r.yml")).map(|(recipe, _)| recipe).map_err(|e| e.to_string())
}

/// Any text, among it what YAML takes for something else.
fn text() -> impl Strategy<Value = String> {
    let odd = [
        "true",
        "No",
        "null",
        "~",
        "1",
        "-0.5e3",
        ".inf",
        "0x1f",
        "a: b",
        "- a",
        "#x",
        "'",
        "\"\\",
        " a ",
        "a\nb",
        "\u{85}\u{2028}\u{feff}\u{7f}",
        "한국어",
        "{type}",
        "[a, b]",
        "&a",
        "*a",
        "!t",
        "%",
        "@",
        "2026-11-22",
        "1:30",
        "../a",
    ];
    prop_oneof![".+", "[a-zA-Z0-9_./-]{1,8}", proptest::sample::select(odd.to_vec()).prop_map(String::from)]
}

fn path() -> impl Strategy<Value = PathBuf> {
    text().prop_map(PathBuf::from)
}

/// A path, or layers of several models.
fn place() -> impl Strategy<Value = Place> {
    let rule = proptest::sample::select(vec!["*=0.5", "hf:*o_proj*=0", "blk.*=[0.2,1.0]"]);
    let scale = vec(rule.prop_map(|rule| rule.parse().unwrap()), 0..3);
    let layers = option::of((0..99u64, 1..99u64).prop_map(|(start, count)| [start, start + count]));
    let slice = (path(), layers, scale).prop_map(|(model, layers, scale)| Slice { model, layers, scale });
    let stack = (vec(slice, 1..3), option::of(path())).prop_map(|(slices, files)| Stack { slices, files });
    prop_oneof![path().prop_map(Place::Path), stack.prop_map(Place::Stack)]
}

fn number() -> impl Strategy<Value = f64> {
    let any = proptest::num::f64::POSITIVE
        | proptest::num::f64::NEGATIVE
        | proptest::num::f64::NORMAL
        | proptest::num::f64::SUBNORMAL
        | proptest::num::f64::ZERO;
    prop_oneof![any, (-20i32..20).prop_map(|i| f64::from(i) / 10.0)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let rules = ["*=0", "blk.{0-1,-2--1}.*=0.3", "blk.*=[0.2,1.0,0.2]", "{a,b}?=-1e-3"];
    proptest::sample::select(rules.to_vec()).prop_map(|rule| rule.parse().unwrap())
}

fn vectors() -> impl Strategy<Value = Vec<Vector>> {
    (1usize..4, 1usize..4).prop_flat_map(|(vectors, weights)| {
        let vector = (place(), place(), vec(number(), weights), vec(rule(), 0..3));
        let vector = vector
            .prop_map(|(chat, base, weight, weights)| Vector { weights, ..Vector::new(chat, base, weight) });
        vec(vector, vectors)
    })
}

fn adapters() -> impl Strategy<Value = Vec<Adapter>> {
    let adapter = (path(), number()).prop_map(|(path, weight)| Adapter { path, weight: vec![weight] });
    vec(adapter, 0..3)
}

fn mixture() -> impl Strategy<Value = Mixture> {
    let dtype = || option::of(proptest::sample::select(DType::all().map(Choice).collect::<Vec<_>>()));
    let words = || vec(text(), 0..3);
    let dtypes = (any::<[bool; 3]>(), dtype(), dtype(), words(), option::of(path()), option::of(path()));
    let rest = (vec(0..i64::MAX as u64, 0..3), words(), option::of(path()), words(), words(), any::<bool>());
    let budget = (
        option::of(text()),
        option::of(number()),
        option::of(proptest::sample::select(PROFILES.iter().map(Choice).collect::<Vec<_>>())),
        option::of(1..1_000_000u64),
        option::of(proptest::sample::select(Version::all().map(Choice).collect::<Vec<_>>())),
        option::of(number()),
        option::of(proptest::sample::select(vec![Search::Exact, Search::Fine])),
    );
    (dtypes, rest, budget).prop_map(|(dtypes, rest, budget)| Mixture {
        target_size: budget.0,
        target_bpw: budget.1,
        target_kld: budget.5,
        device: budget.2,
        context: budget.3,
        as_version: budget.4,
        allow_requantize: dtypes.0[0],
        leave_output_tensor: dtypes.0[1],
        pure: dtypes.0[2],
        output_tensor_type: dtypes.1,
        token_embedding_type: dtypes.2,
        tensor_type: dtypes.3,
        tensor_type_file: dtypes.4,
        like: dtypes.5,
        prune_layers: rest.0,
        override_kv: rest.1,
        imatrix: rest.2,
        importance: rest.5.then(Choice::default),
        search: budget.6.map(Choice),
        include_weights: rest.3,
        exclude_weights: rest.4,
    })
}

fn vocabulary() -> impl Strategy<Value = Vocabulary> {
    let embeddings = proptest::sample::select(Embeddings::ALL.to_vec());
    let baseless = proptest::sample::select(Baseless::ALL.to_vec());
    (embeddings, baseless, vec(text(), 0..3), any::<[bool; 2]>(), option::of(path())).prop_map(
        |(embeddings, baseless, copy_tokens, flags, chat_template)| Vocabulary {
            embeddings: Choice(embeddings),
            baseless_tokens: Choice(baseless),
            copy_tokens,
            no_auto_copy: flags[0],
            add_chat_tokens: flags[1],
            chat_template,
        },
    )
}

fn splitting() -> impl Strategy<Value = Splitting> {
    let (size, tensors) = (option::of(1..i64::MAX as u64), option::of(1..i64::MAX as u64));
    (size, tensors, any::<[bool; 2]>()).prop_map(|(size, tensors, flags)| Splitting {
        split_max_size: size.map(Size),
        split_max_tensors: tensors.and_then(NonZeroU64::new),
        no_tensor_first_split: flags[0],
        keep_split: flags[1],
    })
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let methods: Vec<_> = METHODS.iter().map(Choice).collect();
    let types: Vec<_> =
        FTYPES.iter().map(|ftype| Choice(ggraft::output::target::Type::Gguf(ftype))).collect();
    let outputs = (
        vec(proptest::sample::select(types), 0..4),
        option::of(path()),
        [option::of(text()), option::of(text())],
    );
    let models =
        (place(), vectors(), adapters(), proptest::sample::select(methods), option::of(0..i64::MAX as u64));
    let preset = proptest::sample::select(PRESETS.iter().map(Choice).collect::<Vec<_>>());
    let weights = (vec(rule(), 0..3), vec(preset, 0..3));
    let exceptions = (mixture(), splitting());
    (models, outputs, any::<[bool; 5]>(), exceptions, vocabulary(), weights).prop_map(
        |(
            (onto, vectors, adapters, method, layers),
            (types, output, [pre, name]),
            allow,
            (mixture, splitting),
            vocabulary,
            (weights, weight_presets),
        )| Recipe {
            onto,
            vectors,
            adapters,
            method,
            parameters: BTreeMap::new(),
            weights,
            weight_presets,
            types,
            output,
            name,
            pre,
            layers,
            vocabulary,
            allow: Allow {
                mismatch: allow[0],
                unrelated: allow[1],
                quantized_vector: allow[2],
                swapped: allow[3],
                base_is_onto: allow[4],
            },
            mixture,
            splitting,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(recipe in recipe()) {
        let yaml = recipe.to_yaml(None).unwrap();
        let read = parse(&yaml);
        prop_assert_eq!(read.as_ref(), Ok(&recipe), "{}", yaml);
        let bits = |r: &Recipe| r.vectors.iter().flat_map(|v| &v.weight).map(|w| w.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.unwrap()), bits(&recipe), "{}", yaml);
    }
}

#[test]
fn a_recipe_reads_well() {
    let typed = [
        "merge",
        "--onto",
        "cp",
        "--chat",
        "my chat",
        "--base",
        "base",
        "-w",
        "0.5,0.70",
        "--type",
        "q4_k_m,Q8_0",
    ];
    let more = ["-o", "out-{type}-{weight}.gguf", "--pure", "--allow-unrelated", "--emit-recipe", "-"];
    let ran = ggraft([&typed[..], &more].concat()).ok();
    let expected = r#"onto: cp
vectors:
  - chat: "my chat"
    base: base
    weight: [0.5, 0.7]
method: task_arithmetic
types: [Q4_K_M, Q8_0]
output: "out-{type}-{weight}.gguf"
allow:
  unrelated: true
mixture:
  pure: true
"#;
    assert_eq!(ran.out, expected);
}

/// Typed in one directory, written into another, run from a third: the same bytes.
#[test]
fn an_emitted_recipe_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["models", "recipes/deep", "elsewhere"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    for name in ["base", "chat", "cp"] {
        trio_copy(name, &at("models"));
    }
    let models = ["--onto", "models/cp", "--chat", "./models/chat", "--base", "models/base"];
    let how = [
        "-w",
        "0.3,0.7",
        "--type",
        "Q4_K_M,F16",
        "-o",
        "{weight}-{type}.gguf",
        "--token-embedding-type",
        "q8_0",
    ];
    let typed = [&["merge", "-q"], &models[..], &how].concat();
    ggraft_in(dir.path(), [&typed[..], &["--emit-recipe", "recipes/deep/r.yml"]].concat()).ok();
    let outputs = ["0.3-Q4_K_M.gguf", "0.3-F16.gguf", "0.7-Q4_K_M.gguf", "0.7-F16.gguf"];
    assert!(outputs.iter().all(|name| !at(name).exists()), "emitting a recipe merges nothing");
    ggraft_in(dir.path(), &typed).ok();
    let read = || outputs.map(|name| std::fs::read(at(name)).unwrap());
    let direct = read();
    outputs.iter().for_each(|name| std::fs::remove_file(at(name)).unwrap());
    ggraft_in(&at("elsewhere"), ["merge", "-q", "../recipes/deep/r.yml"]).ok();
    assert!(direct == read());
    // A recipe of a recipe says the same.
    let again = ggraft_in(&at("recipes/deep"), ["merge", "r.yml", "--emit-recipe", "-"]).ok().out;
    assert_eq!(again, std::fs::read_to_string(at("recipes/deep/r.yml")).unwrap());
}

#[test]
fn a_file_is_shown_to_be_what_its_recipe_makes_or_something_else() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["base", "chat", "cp"] {
        trio_copy(name, dir.path());
    }
    let run = |words: &str| ggraft_in(dir.path(), words.split(' '));
    let merge = "merge --base base --chat chat --onto cp --type Q4_K_M,Q8_0 -o {type}.gguf";
    run(&format!("{merge} -w 0.8 --emit-recipe r.yml")).ok();
    run(&format!("{merge} -w 0.7 --emit-recipe other.yml")).ok();
    run("merge r.yml -q").ok();
    for (file, more) in [("Q4_K_M.gguf", ""), ("Q8_0.gguf", " --all")] {
        let said = run(&format!("verify {file} --recipe r.yml{more}")).ok().out;
        assert_eq!(said, format!("ok: {file} is what the recipe makes\n"));
        let ran = run(&format!("verify {file} --recipe other.yml"));
        assert!(ran.code == 7 && ran.err.contains("not those that the recipe makes"), "{}", ran.err);
        assert!(ran.err.contains("something else of ggraft.recipe"), "{}", ran.err);
    }
    // Of several weights each file is its own.
    run("merge --base base --chat chat --onto cp --type Q8_0 -w 0.5,1.0 -o w{weight}.gguf --emit-recipe=-v.yml").ok();
    run("merge -q -- -v.yml").ok();
    for file in ["w0.5.gguf", "w1.gguf"] {
        run(&format!("verify {file} --recipe=-v.yml")).ok();
    }
    // One bit, somewhere in the weights.
    let file = dir.path().join("Q8_0.gguf");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 12_345;
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let ran = run("verify Q8_0.gguf --recipe r.yml --all");
    assert!(
        ran.code == 7 && ran.err.contains("tensor 'blk.2") && ran.err.contains("other bytes in row"),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_typed_goes_before_what_the_recipe_says() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = dir.path().join("r.yml");
    std::fs::write(&recipe, "onto: a\nvectors: [{chat: b, base: c}]\ntypes: Q8_0\noutput: x.gguf\n").unwrap();
    let run = |more: &[&str]| ggraft_in(dir.path(), [&["merge", "r.yml"], more].concat());
    let said = run(&["--type", "F16", "-o", "y.gguf", "--emit-recipe", "-"]).ok().out;
    assert!(said.contains("types: F16\noutput: y.gguf\n"), "{said}");
    for option in [&["--weight", "0.5"][..], &["--pure"], &["--onto", "a"]] {
        let ran = run(option);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("cannot be used with"), "{}", ran.err);
    }
}

#[test]
fn a_recipe_in_the_way_is_kept_without_force() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.yml"), "mine").unwrap();
    let typed =
        ["merge", "--onto", "a", "--chat", "b", "--base", "c", "--type", "F16", "--emit-recipe", "r.yml"];
    let ran = ggraft_in(dir.path(), typed);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "error: r.yml: the file exists; give --force to replace it\n")
    );
    assert_eq!(std::fs::read(dir.path().join("r.yml")).unwrap(), b"mine");
    ggraft_in(dir.path(), [&typed[..], &["--force"]].concat()).ok();
}

/// A minimal recipe, to be spoiled by the lines that follow.
const GOOD: &str = "onto: a\nvectors:\n  - chat: b\n    base: c\n";

#[test]
fn bad_recipes_are_refused_by_line_and_key() {
    assert!(parse(GOOD).is_ok());
    let more = |lines: &str| format!("{GOOD}{lines}");
    let cases = [
        (
            more("    wieght: 3\n"),
            "line 5: vectors[0].wieght: there is no such key: expected one of chat, base, weight",
        ),
        (
            more("    weight: high\n"),
            "line 5: vectors[0].weight: the value is of the wrong type: expected a number, found 'high'",
        ),
        (
            more("    weight: [0.5, \"1\"]\n"),
            "line 5: vectors[0].weight[1]: the value is of the wrong type: expected a number, found '1'",
        ),
        (more("    weight: []\n"), "line 5: vectors[0].weight: the list must not be empty"),
        (more("    weight: .nan\n"), "line 5: a number must be finite"),
        (more("    weight: 1e999\n"), "line 5: a number must be finite"),
        (
            more("  - chat: d\n    base: e\n    weight: [1, 2]\n"),
            "line 2: vectors[1].weight: every vector must have as many weights, one an output: expected 1, found 2",
        ),
        (
            more("pure: true\n"),
            "line 5: pure: there is no such key: expected one of onto, vectors, adapters, method, parameters, weights, weight_presets, types, name, output, pre, layers, vocabulary, allow, mixture",
        ),
        (
            more("mixture:\n  pure: 1\n"),
            "line 6: mixture.pure: the value is of the wrong type: expected true or false, found 1",
        ),
        (
            more("mixture:\n  purr: true\n"),
            "line 6: mixture.purr: there is no such key: expected one of allow_requantize, leave_output_tensor, pure, output_tensor_type, token_embedding_type",
        ),
        (
            more("mixture: {output_tensor_type: q9}\n"),
            "line 5: mixture.output_tensor_type: there is no dtype 'q9'; ",
        ),
        (more("method: meld\n"), "line 5: method: expected one of task_arithmetic, "),
        (more("types: [Q4_K_M, Q9]\n"), "line 5: types[1]: there is no type 'Q9'; "),
        (
            more("method: ties\nparameters:\n  density: 2\n"),
            "line 7: parameters.density: the parameter density of the method ties is out of range: expected a number above 0, at most 1, found 2",
        ),
        (
            more("parameters: {density: 0.5}\n"),
            "line 5: parameters.density: the method task_arithmetic has no such parameter",
        ),
        (
            more("weights: [\"*=1\", \"blk.{*=2\"]\n"),
            "line 5: weights[1]: the pattern does not close its brace",
        ),
        (
            more("weight_presets: no-norm\n"),
            "line 5: weight_presets: expected one of no-norms, skip-embed, layer-swap, found 'no-norm'",
        ),
        (
            more("vocabulary: {embeddings: some}\n"),
            "line 5: vocabulary.embeddings: expected one of auto, keep, template, shared, all, found 'some'",
        ),
        (more("pre: yes\n"), "line 5: pre: the value is of the wrong type: expected text, found true"),
        (
            more("layers: -1\n"),
            "line 5: layers: the value is outside its range: expected a whole number, zero or more, found -1",
        ),
        (more("onto: b\n"), "line 5: onto: this key is there twice"),
        (more("---\nonto: b\n"), "line 6: there is a second document; a recipe is one"),
        (
            "onto: 1\nvectors: 3\n".into(),
            "line 1: onto: the value is of the wrong type: expected text, or a mapping with slices, found 1",
        ),
        (
            "onto: a\nvectors: 3\n".into(),
            "line 2: vectors: the value is of the wrong type: expected a list, found 3",
        ),
        ("onto: a\nvectors: []\n".into(), "line 2: vectors: there is no vector"),
        ("onto: a\n".into(), "line 1: vectors: there is no vector"),
        ("onto: a\nvectors:\n  - chat: b\n".into(), "line 3: vectors[0].base: this key is missing"),
        ("onto: [a\n".into(), "line 1: the YAML is malformed: unclosed bracket '['"),
        ("- a\n".into(), "line 1: the value is of the wrong type: expected a mapping, found a list"),
        ("".into(), "line 1: the value is of the wrong type: expected a mapping, found nothing"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text);
        assert!(
            error.starts_with(&format!("r.yml: {expected}")),
            "{text}\nexpected {expected}\nfound    {error}"
        );
    }
}

/// mergekit's minimal recipe: a header, one model, and lines that follow.
fn mergekit(header: &str, more: &str) -> String {
    format!(
        "merge_method: task_arithmetic\n{header}models:\n  - model: b\n    parameters: {{weight: 0.5}}\n{more}"
    )
}

#[test]
fn what_mergekit_can_say_and_ggraft_cannot_do_is_refused_by_line_and_key() {
    let base = "base_model: a\n";
    assert!(parse(&mergekit(base, "")).is_ok());
    let slices = |range: &str, more: &str| {
        format!(
            "merge_method: task_arithmetic\nbase_model: a\nparameters: {{weight: 1}}\nslices:\n  - sources:\n    \
             - {{model: a, layer_range: [0, 4]}}\n    - {{model: b, layer_range: {range}}}\n{more}"
        )
    };
    assert!(parse(&slices("[0, 4]", "")).is_ok());
    let cases = [
        (
            mergekit(base, "modules: {}\n"),
            "line 6: modules: this key is not supported: expected one of merge_method, base_model, ",
        ),
        (mergekit("", ""), "line 1: base_model: this key is missing"),
        (
            mergekit("base_model: a@main\n", ""),
            "line 2: base_model: a revision (@) is of a name org/name, and an adapter (+) of a model of `models`: found 'a@main'; ",
        ),
        (
            mergekit(base, "  - {model: c+lora}\n"),
            "line 6: models[1].model: an adapter (+) is merged by task_arithmetic, of the base model alone: found task_arithmetic, of 'c'; make the model whole first: ",
        ),
        (
            mergekit("base_model: a+lora\n", ""),
            "line 2: base_model: a revision (@) is of a name org/name, and an adapter (+) of a model of `models`: found 'a+lora'; ",
        ),
        (mergekit(base, "  - {model: a+lora}\n"), "line 6: models[1].model: the model has no weight"),
        (
            mergekit(base, "  - {model: a+, parameters: {weight: 1}}\n"),
            "line 6: models[1].model: nothing stands where a name belongs: expected MODEL or MODEL+ADAPTER, found 'a+'",
        ),
        (
            mergekit(base, "  - {model: +lora, parameters: {weight: 1}}\n"),
            "line 6: models[1].model: nothing stands where a name belongs: expected MODEL or MODEL+ADAPTER, found '+lora'",
        ),
        (
            mergekit(base, "  - {model: a+b+c, parameters: {weight: 1}}\n"),
            "line 6: models[1].model: a revision (@) is of a name org/name, and an adapter (+) of a model of `models`: found 'b+c'; ",
        ),
        (
            mergekit(base, "  - {model: a+lora, parameters: {weight: [0, 1]}}\n"),
            "line 6: models[1].parameters.weight: the weight of an adapter must be the same for all tensors",
        ),
        (mergekit(base, "  - model: c\n"), "line 6: models[1].model: the model has no weight"),
        (
            mergekit(base, "  - {model: c, weight: 1}\n"),
            "line 6: models[1].weight: this key is not supported: expected one of model, parameters",
        ),
        (
            mergekit(base, "tokenizer_source: union\n"),
            "line 6: tokenizer_source: the output has the tokens of the base model: expected base or 'a', found 'union'",
        ),
        (
            mergekit(base, "tokenizer:\n  source: b\n"),
            "line 7: tokenizer.source: the output has the tokens of the base model: expected base or 'a', found 'b'",
        ),
        (
            mergekit(base, "tokenizer:\n  source: base\n  pad_to_multiple_of: 8\n"),
            "line 8: tokenizer.pad_to_multiple_of: this key is not supported: expected one of source",
        ),
        (
            mergekit(base, "dtype: float64\n"),
            "line 6: dtype: this dtype is not supported: expected one of float32, float16, bfloat16, found 'float64'",
        ),
        (
            mergekit(base, "parameters: {epsilon: 0.1}\n"),
            "line 6: parameters.epsilon: this parameter is not supported here: expected one of weight, lambda, normalize, int8_mask",
        ),
        (
            slices("[0, 3]", ""),
            "line 7: slices[0].sources[1].layer_range: all sources of a slice must have the same number of layers: expected 4, found 3",
        ),
        (
            slices("[4, 4]", ""),
            "line 7: slices[0].sources[1].layer_range: a range has the first layer and the one behind the last: expected two numbers, the second larger, found [4, 4]",
        ),
        (slices("[0, 4]", "  - sources: []\n"), "line 8: slices[1]: the slice has no sources"),
        (
            slices("[0, 4]", "  - sources: [{model: a, layer_range: [0, 4]}]\n"),
            "line 8: slices[1]: every slice must have as many sources: expected 2, found 1",
        ),
        (
            slices("[0, 4]", "  - sources: [{model: c, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]\n"),
            "line 8: slices[1]: the base model must be among the sources of every slice: expected 'a'",
        ),
        (
            slices(
                "[0, 4]",
                "  - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4], parameters: {weight: 2}}]\n",
            ),
            "line 8: slices[1].sources[1].model: the parameters must be the same in every slice; merge each kind",
        ),
        (
            "merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]\n".into(),
            "line 3: slices[0]: passthrough takes one source a slice: found 2; to merge several, choose another merge_method",
        ),
        (
            "merge_method: passthrough\nmodels: [{model: a}, {model: b}]\n".into(),
            "line 2: models: passthrough takes one model, or slices of one model each: found 2",
        ),
        (
            "merge_method: passthrough\nmodels: [{model: a, parameters: {weight: 1}}]\n".into(),
            "line 2: models[0].parameters.weight: this parameter is not supported here: expected one of scale",
        ),
        (
            "merge_method: passthrough\nmodels: [{model: a}]\ntokenizer_source: union\n".into(),
            "line 3: tokenizer_source: passthrough moves no rows from one vocabulary to another: expected that of",
        ),
        (
            "name: x\nmerge_method: linear\ndtype: bfloat16\n---\nmerge_method: ties\nbase_model: x\n".into(),
            "line 5: there are several recipes (mergekit-multi), and a run carries out one; write each document into a file of its own and run, in this order: ggraft merge x.yml --type safetensors-bf16 -o x; ggraft merge last.yml",
        ),
        (slices("[0, 4]", "models: []\n"), "line 4: slices: models and slices exclude each other"),
        (
            "merge_method: multislerp\nbase_model: a\n".into(),
            "line 1: merge_method: this merge method of mergekit's is not supported: expected one of task_arithmetic, linear, slerp, ties, dare_linear, dare_ties, breadcrumbs, model_stock, nuslerp, karcher, sce, della, della_linear, arcee_fusion, passthrough, found 'multislerp'",
        ),
        (
            "merge_method: task_arithmetic\nbase_model: a\nmodels: [{model: a}]\n".into(),
            "line 2: base_model: there is no model beside the base model",
        ),
        (
            "merge_method: task_arithmetic\nbase_model: a\n".into(),
            "line 1: neither models nor slices are given",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text);
        assert!(
            error.starts_with(&format!("r.yml: {expected}")),
            "{text}\nexpected {expected}\nfound    {error}"
        );
    }
}

/// The vectors of a mergekit recipe, as CHAT:BASE:W.
fn vectors_of(models: &str) -> Vec<String> {
    let text = format!("merge_method: task_arithmetic\nbase_model: cp\nmodels: {models}\ndtype: bfloat16\n");
    let told = |place: &Place| place.path().unwrap().display().to_string();
    let recipe = parse(&text).unwrap();
    assert_eq!(recipe.onto, Place::from("cp"));
    assert_eq!(format!("{:?}", recipe.types), "[BF16]");
    recipe.vectors.iter().map(|v| format!("{}:{}:{:?}", told(&v.chat), told(&v.base), v.weight)).collect()
}

#[test]
fn mergekits_models_become_vectors() {
    let model = |name: &str, weight: &str| format!("{{model: {name}, parameters: {{weight: {weight}}}}}");
    let (chat, base) = (model("chat", "0.7"), model("base", "-0.7"));
    assert_eq!(vectors_of(&format!("[{chat}, {base}]")), ["chat:base:[0.7]"]);
    assert_eq!(vectors_of(&format!("[{base}, {chat}]")), ["chat:base:[0.7]"]);
    assert_eq!(vectors_of(&format!("[{{model: cp}}, {chat}]")), ["chat:cp:[0.7]"]);
    let other = model("base", "-0.6");
    assert_eq!(vectors_of(&format!("[{chat}, {other}]")), ["chat:cp:[0.7]", "base:cp:[-0.6]"]);
}

/// The base model with an adapter differs from the base model by the adapter.
#[test]
fn mergekits_adapters_become_adapters() {
    let read = |more: &str| {
        let text = "merge_method: task_arithmetic\nbase_model: cp\nmodels:\n";
        let models = "- {model: cp+lora, parameters: {weight: 0.5}}\n- {model: cp+org/other@main, parameters: {weight: -1}}\n";
        parse(&format!("{text}{models}{more}")).unwrap()
    };
    let adapters = |recipe: &Recipe| {
        let told = recipe.adapters.iter().map(|a| format!("{}:{:?}", a.path.display(), a.weight));
        told.collect::<Vec<_>>()
    };
    let alone = read("parameters: {lambda: 2}\n");
    assert_eq!(adapters(&alone), ["lora:[1.0]", "org/other@main:[-2.0]"]);
    assert!(alone.vectors.is_empty());
    let beside = read("- {model: chat, parameters: {weight: [0, 1]}}\n");
    assert_eq!(adapters(&beside), ["lora:[0.5]", "org/other@main:[-1.0]"]);
    assert!(beside.weights.is_empty() && !beside.vectors[0].weights.is_empty());
}

/// A mergekit recipe as ggraft's own, from the key `method` to the types.
fn own(method: &str, models: &[(&str, &str)], parameters: &str) -> Result<String, String> {
    let models: String = models
        .iter()
        .map(|(name, parameters)| format!("  - model: {name}\n    parameters: {{{parameters}}}\n"))
        .collect();
    let text = format!(
        "merge_method: {method}\nbase_model: cp\nmodels:\n{models}parameters: {{{parameters}}}\n\
         dtype: float16\ntokenizer_source: base\n"
    );
    let yaml = parse(&text)?.to_yaml(None).unwrap();
    let (from, to) = (yaml.find("vectors:").unwrap(), yaml.find("types:").unwrap());
    Ok(yaml[from..to].replace("vectors:\n", "").replace("  - chat: ", "- ").replace("    ", ""))
}

#[test]
fn mergekits_methods_become_ours() {
    let two = [("a", "weight: 0.5, density: 0.3"), ("b", "weight: -0.5, density: 0.3")];
    let vectors = "- a\nbase: cp\nweight: 0.5\n- b\nbase: cp\nweight: -0.5\n";
    assert_eq!(
        own("ties", &two, "lambda: 2").unwrap(),
        format!("{vectors}method: ties\nparameters:\n  density: 0.3\n  lambda: 2\n  normalize: true\n")
    );
    assert_eq!(
        own("dare_linear", &two, "rescale: false").unwrap(),
        format!("{vectors}method: dare_linear\nparameters:\n  density: 0.3\n  rescale: none\n")
    );
    assert_eq!(
        own("breadcrumbs", &[("a", "weight: 1")], "density: 0.9, gamma: 0.02, lambda: 0.5").unwrap(),
        "- a\nbase: cp\nweight: 0.5\nmethod: breadcrumbs\nparameters:\n  density: 0.9\n  gamma: 0.02\n"
    );
    assert_eq!(
        own("linear", &[("cp", "weight: 1"), ("a", "weight: 3")], "").unwrap(),
        "- a\nbase: cp\nweight: 3.0\nmethod: linear\nparameters:\n  cp-weight: 1\n"
    );
    let two =
        [("a", "weight: 0.5, density: 0.3, epsilon: 0.2"), ("b", "weight: 1, density: 0.3, epsilon: 0.2")];
    assert_eq!(
        own("della", &two, "").unwrap(),
        "- a\nbase: cp\nweight: 0.5\n- b\nbase: cp\nweight: 1.0\nmethod: della\nparameters:\n  density: 0.3\n  epsilon: 0.2\n  lambda: 1\n  normalize: true\n  rescale: norm\n"
    );
    let alike = "- a\nbase: cp\nweight: 1.0\n- b\nbase: cp\nweight: 1.0\nmethod: ";
    let two = [("a", ""), ("b", "")];
    assert_eq!(
        own("model_stock", &two, "filter_wise: true").unwrap(),
        format!("{alike}model_stock\nparameters:\n  filter_wise: true\n")
    );
    assert_eq!(
        own("karcher", &two, "max_iter: 20, tol: 0.001").unwrap(),
        format!("{alike}karcher\nparameters:\n  max_iter: 20\n  tol: 0.001\n")
    );
    assert_eq!(
        own("sce", &two, "select_topk: 0.1, int8_mask: true").unwrap(),
        format!("{alike}sce\nparameters:\n  select_topk: 0.1\n")
    );
    assert_eq!(
        own("nuslerp", &[("a", "weight: 1"), ("b", "weight: 3")], "nuslerp_flatten: false").unwrap(),
        "- a\nbase: cp\nweight: 1.0\n- b\nbase: cp\nweight: 3.0\nmethod: nuslerp\nparameters:\n  nuslerp_flatten: false\n"
    );
    let t = "t: [{filter: self_attn, value: [0, 1]}, {filter: mlp, value: [1, 0]}, {value: 0.5}]";
    assert_eq!(
        own("slerp", &[("cp", ""), ("a", "")], t).unwrap(),
        "- a\nbase: cp\nweight: 1.0\nmethod: slerp\nweights: [\"*=0.5\", \"hf:*mlp*=[1,0]\", \"hf:*self_attn*=[0,1]\"]\n"
    );
    // Each model its own densities and weights, as in mergekit's example of TIES.
    let filtered = "density: 0.33, weight: [{filter: mlp, value: 0.5}, {value: 0}]";
    let each = [
        ("a", "density: [1, 0.7, 0.1], weight: 1"),
        ("b", "density: 0.5, weight: [0, 0.3, 1]"),
        ("c", filtered),
        ("d", "weight: 0.2"),
    ];
    assert_eq!(
        own("ties", &each, "").unwrap(),
        "- a\nbase: cp\nweight: 1.0\nparameters:\n  density: [\"*=[1,0.7,0.1]\", \"output*=1\"]\n\
         - b\nbase: cp\nweight: 1.0\nweights: [\"*=[0,0.3,1]\", \"output*=0\"]\nparameters:\n  density: 0.5\n\
         - c\nbase: cp\nweight: 1.0\nweights: [\"*=0\", \"hf:*mlp*=0.5\"]\nparameters:\n  density: 0.33\n\
         - d\nbase: cp\nweight: 0.2\nmethod: ties\nparameters:\n  lambda: 1\n  normalize: true\n"
    );
    let pair = [("chat", "weight: [0.2, 1]"), ("base", "weight: [-0.2, -1]")];
    assert_eq!(
        own("task_arithmetic", &pair, "lambda: 0.5").unwrap(),
        "- chat\nbase: base\nweight: 0.5\nmethod: task_arithmetic\nweights: [\"*=[0.2,1]\", \"output*=0.2\"]\n"
    );
}

#[test]
fn what_a_method_cannot_do_here_is_refused_by_line_and_key() {
    let cases = [
        (
            own("ties", &[("a", "weight: 1, density: [0.1, 1.5]")], ""),
            "line 5: models[0].parameters.density: the parameter density of the method ties is out of range",
        ),
        (
            own("linear", &[("cp", "weight: [0.1, 1]"), ("a", "weight: 1")], ""),
            "line 5: models[0].parameters.weight: the weight of the base model must be the same for all tensors",
        ),
        (
            own("task_arithmetic", &[("a", "weight: 1")], "normalize: true"),
            "line 6: parameters.normalize: the method does not normalize here: found true",
        ),
        (
            own("task_arithmetic", &[("a", "weight: [{filter: mlp, value: 1}]")], ""),
            "line 5: models[0].parameters.weight: it says nothing of the tensors that no filter fits: expected a last value without a filter",
        ),
        (
            own("task_arithmetic", &[("a", "weight: [{filter: '*.mlp', value: 1}, {value: 0}]")], ""),
            "line 5: models[0].parameters.weight: no tensor has this text in its name: found '*.mlp'; give a part of a name",
        ),
        (
            own("linear", &[("a", "weight: 1")], ""),
            "line 2: base_model: the base model is not among the models",
        ),
        (own("slerp", &[("cp", ""), ("a", "")], ""), "line 6: models[1].model: slerp needs the parameter t"),
        (
            own("slerp", &[("a", ""), ("b", "")], "t: 0.5"),
            "line 6: models[1].model: slerp takes one model beside the base model: found 2",
        ),
        (
            own("ties", &[("a", "weight: 1, gamma: 0.1")], ""),
            "line 5: models[0].parameters.gamma: this parameter is not supported here: expected one of weight, density",
        ),
        (
            own("model_stock", &[("cp", ""), ("a", "")], ""),
            "line 6: models[1].model: model_stock takes other models beside the base model: expected at least 2, found 1",
        ),
        (
            own("nuslerp", &[("cp", "weight: 1"), ("a", "weight: 1")], ""),
            "line 4: models[0].model: the base model is not one of the two that nuslerp merges",
        ),
        (
            own("nuslerp", &[("a", "weight: 1"), ("b", "weight: -1")], ""),
            "line 7: models[1].parameters.weight: the two weights of nuslerp must not add up to zero: found 1, -1",
        ),
        (own("sce", &[("a", "")], "select_topk: 0"), "line 6: parameters.select_topk: "),
        (
            own("arcee_fusion", &[("a", "weight: 1")], ""),
            "line 5: models[0].parameters.weight: this parameter is not supported here: expected none",
        ),
        (own("ties", &[("a", "weight: 1, density: 3")], ""), "line 5: models[0].parameters.density: "),
    ];
    for (found, expected) in cases {
        let error = found.expect_err(expected);
        assert!(error.starts_with(&format!("r.yml: {expected}")), "expected {expected}\nfound    {error}");
    }
}
