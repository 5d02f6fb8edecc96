//! What new users type, from other programs' habits or by mistake, and what they are told: every row is a command, its
//! exit code, and words that stand on stderr. Nothing is written but what was asked for, and no work is lost.

#[path = "support/run.rs"]
mod run;
mod support;

use run::{Folder, ggraft, ggraft_in, trio};
use std::path::Path;
use support::gguf::model;

/// What is typed, the exit code, and what must be said; `@` is a folder and `%` that of the trio.
type Row = (&'static str, i32, &'static [&'static str]);

const MERGE: &str = "merge --base %base --chat %chat --onto %cp";

/// Words of other programs and slips that are answered, not carried out.
const TYPED: &[Row] = &[
    // Verbs of Ollama, LM Studio, hf, gguf-dump and gguf-split.
    ("run @model.gguf", 2, &["there is no verb 'run'", "llama-cli -m FILE.gguf"]),
    ("pull org/name", 2, &["there is no verb 'pull'", "ggraft convert org/name --type Q4_K_M --download"]),
    ("list", 2, &["there is no verb 'list'", "ggraft inspect FILE"]),
    ("create m -f Modelfile", 2, &["--modelfile"]),
    ("push x", 2, &["hf upload", "--card"]),
    ("quantise a.gguf Q4_0", 2, &["'quantize'"]),
    ("set-metadata a.gguf", 2, &["ggraft meta set"]),
    ("%cp", 2, &["a verb comes first", "ggraft convert"]),
    ("--base %base", 2, &["a verb comes first: ggraft merge --base"]),
    ("split --merge a.gguf b.gguf", 2, &["ggraft join"]),
    // Models that are not told by their options.
    (
        "merge base chat cp",
        2,
        &["each model is named: ggraft merge --base base --chat chat --onto cp --type Q4_K_M"],
    ),
    ("merge base chat", 2, &["--base BASE --chat CHAT --onto CP"]),
    ("merge %base", 2, &["this is a directory, not a recipe", "--onto CP"]),
    ("merge --base %base --chat %chat --onto %cp Q8_0", 2, &["'Q8_0' is a type", "give --type Q8_0"]),
    ("convert %cp Q8_0", 2, &["give --type Q8_0"]),
    ("convert %cp out.gguf --type Q8_0", 2, &["-o out.gguf"]),
    ("inspect %cp %chat", 2, &["one model at a time"]),
    // Types, threads, numbers.
    ("merge --base %base --chat %chat --onto %cp", 2, &["--type <TYPE>"]),
    ("convert %cp --type Q4KM", 2, &["there is no type 'Q4KM'; did you mean Q4_K_M? The types are F32"]),
    ("convert %cp --type Q4", 2, &["did you mean Q4_K_M?"]),
    (
        "convert %cp -t Q4_K_M --type Q8_0",
        2,
        &["expected a number of threads", "the type is given with --type"],
    ),
    ("quantize Q4_K_M in.gguf out.gguf", 2, &["IN.gguf [OUT.gguf] TYPE [THREADS]"]),
    (
        "merge --base %base --chat %chat --onto %cp --type Q8_0 -w 0,5",
        2,
        &["for one output of 0.5 give -w 0.5"],
    ),
    ("merge --base %base --chat %chat --onto %cp --type Q8_0 -w 0,5x", 2, &["expected a finite number"]),
    ("convert %cp --target-bpw 4,5", 2, &["bits per weight such as 4.5"]),
    ("convert %cp --target-kld 0,02", 2, &["a KL divergence such as 0.02, found '0,02'"]),
    ("convert %cp --target-kld 1e300", 2, &["at most 10, such as 0.02, found 1e300"]),
    (
        "vector --base %base --chat %chat --rank 0",
        2,
        &["expected a rank from 1 to 65535, such as 64, found '0'"],
    ),
    ("convert %cp --type Q8_0 --prune-layers 0-1", 2, &["with commas between them"]),
    ("convert %cp --type Q8_0 --split-max-size big", 2, &["50G, 500MB, 1.5GiB"]),
    // Patterns that match nothing.
    (
        "convert %cp --type Q4_K_M --tensor-type attn_vv=q8_0 -o @x.gguf",
        2,
        &["--tensor-type 'attn_vv' matches no tensor; did you mean attn_v?"],
    ),
    ("convert %cp --type Q4_K_M --tensor-type attn_v -o @x.gguf", 2, &["expected REGEX=DTYPE"]),
    // Options of convert_hf_to_gguf and convert_lora_to_gguf.
    ("convert %cp --outtype f16 --remote", 2, &["org/name, in the place of a path"]),
    ("quantize @in.gguf Q8_0 --metadata m.json", 2, &["--override-kv KEY=TYPE:VALUE"]),
    ("convert %cp --outtype f16 --bigendian", 2, &["little-endian"]),
    ("quantize @in.gguf Q8_0 --mistral-format", 2, &["config.json"]),
    ("convert %cp --type safetensors -o out --no-mtp", 2, &["--no-mtp works on GGUF outputs only"]),
    (
        "convert %cp --type safetensors -o out --metadata m.json",
        2,
        &["--metadata works on GGUF outputs only"],
    ),
    ("convert %cp --type Q8_0 --mtp-from %cp --keep-split", 2, &["give --split-max-size"]),
    (
        "quantize @in.gguf @out.gguf Q8_0 -o @x.gguf",
        2,
        &["the output is named with --output", "out.gguf' as well"],
    ),
    ("quantize @in.gguf Q8_0 --mtp", 2, &["layers that predict further tokens"]),
    ("quantize @in.gguf Q8_0 --fp8-as-q8", 2, &["convert takes it", "give --type Q8_0"]),
    ("quantize @in.gguf Q8_0 --fuse-gate-up-exps", 2, &["convert takes it"]),
    ("quantize @in.gguf Q8_0 --fuse-qkv", 2, &["convert takes it"]),
    ("convert %cp --outtype f16 --mmproj", 4, &["neither sees nor hears"]),
    ("adapter a --base-model-id x", 2, &["give the base with --base"]),
    ("adapter a --base x --trust-remote-code", 2, &["no code of a model is ever run"]),
    // Options of llama-quantize, mergekit and others.
    ("quantize --max-buffer-size 100 in.gguf Q8_0", 2, &["rows are streamed"]),
    ("merge r.yml --cuda", 2, &["ggraft computes on the CPU"]),
    ("merge r.yml --lazy-unpickle", 2, &["leave it out"]),
    ("merge --base %base --chat %chat --onto %cp --method dare", 2, &["did you mean dare_linear?"]),
    (
        "merge --base %base --chat %chat --onto %cp --emit-vector",
        2,
        &["ggraft vector --base MODEL --chat MODEL"],
    ),
    ("merge --base %base --chat %chat --onto %cp --rank 64", 2, &["or --rank 64 as an adapter"]),
    ("merge r.yml --allow-crimes", 2, &["--allow-mismatch"]),
    ("merge r.yml --out-shard-size 5B", 2, &["--split-max-size"]),
    ("convert %cp --quantize Q4_K_M", 2, &["give --type TYPE"]),
    ("convert --model %cp --type Q8_0", 2, &["as the first word"]),
    ("convert %cp --type Q8_0 --hf-token x", 2, &["set HF_TOKEN"]),
    ("convert org/name --type Q8_0 --revision x", 2, &["org/name@revision"]),
    // An option that nobody has gets no advice that misleads.
    ("convert %cp --type Q8_0 --zebra", 2, &["unexpected argument '--zebra' found"]),
    // Paths that hold something else.
    ("convert @none --type Q8_0", 5, &["No such file or directory"]),
    (
        "merge --base %bse --chat %chat --onto %cp --type Q8_0",
        5,
        &["No such file or directory", "did you mean", "trio/base?"],
    ),
    ("inspect %cp/config.json", 4, &["this is not a model that can be read"]),
    ("quantize %cp Q4_K_M", 2, &["use `ggraft convert` for a checkpoint"]),
    ("convert %cp --type Q4_K_M -o @x.safetensors", 2, &["expected a name that ends in .gguf"]),
    ("convert %cp --type safetensors -o @x.gguf", 2, &["is a directory of files"]),
];

#[test]
fn what_is_typed_by_habit_or_mistake_is_answered() {
    let folder = Folder::new();
    let mut problems = String::new();
    for (typed, code, said) in TYPED {
        let ran = ggraft_in(&folder.path(""), folder.words(typed));
        let missing: Vec<_> = said.iter().filter(|words| !ran.err.contains(**words)).collect();
        if ran.code != *code
            || !missing.is_empty()
            || ran.err.contains("as a value, use")
            || !ran.out.is_empty()
        {
            problems += &format!("{typed}: {} {missing:?}\n{}\n", ran.code, ran.err);
        }
    }
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 0, "something was written");
}

/// Words of other programs that mean the same here.
const TAKEN: &[(&str, &[&str])] = &[
    (
        "convert %cp --outtype f16 --outfile @a.gguf --no-lazy --use-temp-file",
        &["--no-lazy --use-temp-file has no effect"],
    ),
    ("convert %cp --outtype auto --outfile @b.gguf --model-name Other --verbose", &[]),
    ("quantize --leave-output-tensor --pure @a.gguf @c.gguf q4_k 2", &[]),
    ("quantize @a.gguf @d.gguf 15", &[]),
    ("quantize @a.gguf q4_k -o @f", &[]),
    ("convert %cp --type f16 -o @e", &[]),
    (
        "merge --base %base --chat %chat --cp %cp --type Q8_0 -w 0,1 -o @w{weight}",
        &["for one of 0.1 give -w 0.1"],
    ),
];

#[test]
fn what_means_the_same_here_is_taken() {
    let folder = Folder::new();
    for (typed, said) in TAKEN {
        let ran = ggraft(folder.words(typed)).ok();
        said.iter().for_each(|words| assert!(ran.err.contains(words), "{typed}: {}", ran.err));
    }
    for name in ["a", "b", "c", "d", "e", "f", "w0", "w1"] {
        assert!(folder.path(&format!("{name}.gguf")).is_file(), "{name}");
    }
    for verb in ["show", "info", "dump", "inspect"] {
        assert_eq!(ggraft([Path::new(verb), &folder.path("a.gguf")]).ok().code, 0);
    }
}

/// The help is in groups, and the types stand in it with what they take.
#[test]
fn the_help_has_groups_and_the_types() {
    const GROUPS: [&str; 7] =
        ["Models", "Output", "Quantization", "Vocabulary", "Splits", "Safety", "Progress"];
    let short = ggraft(["merge", "-h"]).ok().out;
    for group in GROUPS {
        assert_eq!(short.matches(&format!("\n{group}:\n")).count(), 1, "{group}: {short}");
    }
    let group_of = |option: &str| {
        let before = &short[..short.find(&format!(" {option} ")).unwrap_or_else(|| panic!("{option}"))];
        before
            .lines()
            .rfind(|l| l.ends_with(':') && !l.starts_with(' '))
            .unwrap()
            .trim_end_matches(':')
            .to_string()
    };
    for (option, group) in [
        ("--onto", "Models"),
        ("--method", "Models"),
        ("--type", "Output"),
        ("--card", "Output"),
        ("--imatrix", "Quantization"),
        ("--target-size", "Quantization"),
        ("--chat-template", "Vocabulary"),
        ("--split-max-size", "Splits"),
        ("--force", "Safety"),
        ("--allow-swapped", "Safety"),
        ("--threads", "Progress"),
    ] {
        assert_eq!(group_of(option), group, "{option}: {short}");
    }
    for verb in ["merge", "convert", "quantize"] {
        let long = ggraft([verb, "--help"]).ok().out;
        // llama-quantize's own figures for Llama 3.1 8B are 4.89, 8.50 and 16.
        for words in ["Q4_K_M       4.89", "Q8_0         8.50", "BF16        16.00", "IQ1_S"] {
            assert!(long.contains(words), "{verb} {words}: {long}");
        }
        assert!(!ggraft([verb, "-h"]).ok().out.contains("IQ1_S"));
    }
}

#[test]
fn a_key_that_is_known_needs_no_type() {
    let folder = Folder::new();
    ggraft(folder.words("convert %cp --type F16 -q -o @m.gguf")).ok();
    let words = [
        "general.name=My model: one",
        "general.url=https://example.com/x",
        "llama.context_length=512",
        "tokenizer.ggml.eos_token_id=<|im_end|>",
    ];
    let path = folder.path("m.gguf");
    let set = |words: &[&str]| ggraft([&["meta", "set", path.to_str().unwrap()], words].concat());
    let ran = set(&words).ok();
    assert!(ran.err.contains("str:My model: one") && ran.err.contains("u32:895"), "{}", ran.err);
    let metadata = model(&path).metadata;
    assert_eq!(metadata.str("general.url"), Some("https://example.com/x"));
    assert_eq!(metadata.u64("llama.context_length"), Some(512));
    assert_eq!(metadata.u64("tokenizer.ggml.eos_token_id"), Some(895));
    for (word, said) in [
        ("general.naem=x", "did you mean general.name?"),
        ("my.key=x", "KEY=TYPE:VALUE"),
        ("llama.context_length=long", "'long' is no u32"),
        ("tokenizer.ggml.eos_token_id=<none>", "no such token"),
    ] {
        let ran = set(&[word]);
        assert!(ran.code == 2 && ran.err.contains(said), "{word}: {}", ran.err);
    }
}

/// Parents in each other's places, and one that is given twice, are refused before anything is written, also in a dry run.
#[test]
fn parents_in_wrong_places_are_refused() {
    let folder = Folder::new();
    for places in [
        "%chat --chat %base --onto %cp",
        "%base --chat %cp --onto %chat",
        "%cp --chat %chat --onto %base",
        "%base --chat %base --onto %cp",
    ] {
        for dry in ["", " --dry-run"] {
            let ran = ggraft(folder.words(&format!("merge --base {places} --type Q4_K_M -o @x.gguf{dry}")));
            assert!(ran.code == 3 && !folder.path("x.gguf").exists(), "{places}{dry}: {}", ran.err);
        }
    }
}

/// What was typed as a folder gets the output, which is made; and what cannot be written is said before models are read.
#[test]
fn no_run_is_lost_to_where_it_goes() {
    let folder = Folder::new();
    let ran = ggraft(folder.words(&format!("{MERGE} --type Q4_K_M -q -o @new/"))).ok();
    assert!(ran.out.trim_end().ends_with("new/Cp-3.0M-chat-vector-Q4_K_M.gguf"), "{}", ran.out);
    let ran = ggraft(folder.words(&format!("{MERGE} --type Q4_K_M -o @new/Cp-3.0M-chat-vector-Q4_K_M.gguf")));
    assert!(ran.code == 1 && ran.err.contains("--force"), "{}", ran.err);
    assert!(!ran.err.contains("tensors, "), "the plan came first: {}", ran.err);
}

/// A set of types is one command in every verb, and a loop over types keeps all of them on the card.
#[test]
fn a_set_is_made_in_one_command_or_in_a_loop() {
    let folder = Folder::new();
    let set = "--type Q8_0,Q4_K_M --card -q -o @set/{name}-{type}";
    ggraft(folder.words(&format!("convert %cp {set}"))).ok();
    ggraft(folder.words("convert %cp --type F16 -q -o @in.gguf")).ok();
    for kind in ["Q6_K", "Q5_K_M", "Q4_K_M"] {
        ggraft(folder.words(&format!("quantize @in.gguf @set/Cp-3.0M-{kind}.gguf {kind} --card -f -q"))).ok();
    }
    let card = std::fs::read_to_string(folder.path("set/README.md")).unwrap();
    for kind in ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"] {
        assert_eq!(card.matches(&format!("| [Cp-3.0M-{kind}.gguf]")).count(), 1, "{kind}: {card}");
    }
}

/// `| head` ends it without a word, whatever it was printing.
#[cfg(unix)]
#[test]
fn a_reader_that_stops_is_no_error() {
    let cp = trio("cp").display().to_string();
    for words in ["inspect % --tensors", "inspect % --json", "diff % % --json", "show %"] {
        let program = env!("CARGO_BIN_EXE_ggraft");
        let script = format!("{program} {} | head -1", words.replace('%', &cp));
        let ran = run::ran(std::process::Command::new("sh").args(["-c", &script]));
        assert!(ran.err.is_empty() && ran.out.lines().count() == 1, "{words}: {}", ran.err);
    }
}

/// What a command prints on a screen of so many columns, without what another machine or moment would print.
fn screen(dir: &Path, words: &str, columns: usize) -> String {
    let words = words.split(' ');
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ggraft"));
    let ran = run::ran(command.args(words).current_dir(dir).env("COLUMNS", columns.to_string()));
    let volatile = [(r"[\d.]+ [KMGT]?i?B free", "… free"), (r"in [\d.]+ s, [\d.]+ [KMGT]?i?B/s", "in …")];
    let replaced = |text: String, (pattern, with): &(&str, &str)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    };
    unwrapped(&volatile.iter().fold(ran.err, replaced))
}

/// The text with each line that holds a volatile value whole: where it is wrapped depends on how long the value was.
fn unwrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (lines.last_mut().filter(|last| last.contains('…')), line.strip_prefix("  ")) {
            (Some(last), Some(rest)) => *last += &format!(" {rest}"),
            _ => lines.push(line.to_string()),
        }
    }
    lines.join("\n") + "\n"
}

/// The plan, the summary and errors at three widths, as `fixtures/goldens/screens` has them; `GGRAFT_WRITE_GOLDENS=1` writes
/// them. Rows of tables and commands to be copied are never wrapped.
#[test]
fn screens_of_three_widths_are_the_goldens() {
    let folder = Folder::new();
    for name in ["base", "chat", "cp"] {
        run::trio_copy(name, &folder.path(""));
    }
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/screens");
    let merge = "merge --base base --chat chat --onto cp --threads 2 --progress none";
    for (name, words) in [
        ("plan", format!("{merge} --type Q4_K_M,Q8_0 -o out/{{name}}-{{type}} --dry-run")),
        ("summary", format!("{merge} --type Q4_K_M --force -o trio.gguf")),
        ("swapped", format!("{} --type Q4_K_M -q", merge.replace("base --chat chat", "chat --chat base"))),
        ("foreign", String::from("convert cp --outtype f16 --mtp")),
    ] {
        for columns in [80, 120, 200] {
            let shown = screen(&folder.path(""), &words, columns);
            for line in shown.lines().filter(|line| !line.starts_with("  ") && !line.contains("llama-cli")) {
                let long =
                    !line.contains('…') && line.split(' ').count() > 1 && line.chars().count() > columns;
                assert!(!long || line.contains("lms") || line.contains("ollama"), "{columns}: {line}");
            }
            let path = goldens.join(format!("{name}-{columns}.txt"));
            if std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some() {
                std::fs::create_dir_all(&goldens).unwrap();
                std::fs::write(&path, &shown).unwrap();
            }
            assert_eq!(shown, std::fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
        }
    }
}

/// What `ollama show` tells stands first, and a token beside its id.
#[test]
fn a_file_is_summed_up_first() {
    let folder = Folder::new();
    ggraft(folder.words(&format!("{MERGE} --type Q4_K_M -q -o @m.gguf"))).ok();
    let out = ggraft(folder.words("show @m.gguf")).ok().out;
    let head: Vec<&str> = out.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
    for (name, value) in [
        ("name", "Cp Chat Vector"),
        ("architecture", "llama"),
        ("parameters", "3.02 M (3016448)"),
        ("type", "Q4_K_M, 4.90 bits per weight"),
        ("context", "256 tokens"),
        ("chat template", "yes, like ChatML"),
        ("answers end at", "'<|im_end|>' (895)"),
        ("licence", "not told"),
        ("made from", "Cp (CP), Chat (chat), Base (base)"),
    ] {
        let row = format!("  {name:<15} {value}");
        assert!(head.contains(&row.as_str()), "{row}\n{out}");
    }
    assert!(out.contains("\ntokenizer.ggml.eos_token_id = 895 ('<|im_end|>')\n"), "{out}");
    let tables = ggraft(folder.words("dump @m.gguf --markdown")).ok().out;
    assert!(
        tables.contains("| type | Q4_K_M, 4.90 bits per weight |")
            && tables.contains("| output.weight | [256, 1280] | q6_K |"),
        "{tables}"
    );
}
