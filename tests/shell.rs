//! The program among other programs: completions that shells load, manual pages that render, help whose examples are
//! right, and output that has control codes on a terminal only.

#[path = "support/run.rs"]
mod run;
mod support;

use clap::{CommandFactory, Parser};
use ggraft::cli::Cli;
use run::{Ran, ggraft, ggraft_in};
use std::path::Path;
use std::process::{Command, Output};
use support::gguf::TOYS;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// Runs another program; nothing, loudly, if it is not there.
fn program(name: &str, args: &[&str]) -> Option<Output> {
    let ran = Command::new(name).args(args).env("TERM", "xterm").output();
    if ran.is_err() {
        eprintln!("SKIPPED: there is no {name}");
    }
    ran.ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn shells_load_the_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in SHELLS {
        let script = ggraft(["completions", shell]).ok().out;
        assert!(script.contains("tensor-type") && script.contains("unset"), "{shell}");
        std::fs::write(dir.path().join(shell), script).unwrap();
    }
    let path = |shell: &str| dir.path().join(shell).display().to_string();
    // The words that each shell offers.
    let bash = "source \"$1\"; complete -p ggraft; COMP_WORDS=(ggraft qu); COMP_CWORD=1; _ggraft ggraft qu ggraft; \
                echo \"${COMPREPLY[@]}\"; COMP_WORDS=(ggraft quantize --tensor); COMP_CWORD=2; \
                _ggraft ggraft --tensor quantize; echo \"${COMPREPLY[@]}\"; COMP_WORDS=(ggraft convert --type Q4_K); \
                COMP_CWORD=3; _ggraft ggraft Q4_K --type; echo \"${COMPREPLY[@]}\"";
    let zsh = "autoload -U compinit; compinit -D; source \"$1\"; whence -w _ggraft";
    let fish = "source $argv[1]; complete -C 'ggraft qu'; complete -C 'ggraft quantize --tensor'";
    for (shell, script, said) in [
        ("bash", bash, &["-F _ggraft", "quantize", "--tensor-type --tensor-type-file", "Q4_K_M Q4_K_S"][..]),
        ("zsh", zsh, &["_ggraft: function"]),
        ("fish", fish, &["quantize", "--tensor-type"]),
    ] {
        let file = path(shell);
        let args: &[&str] =
            if shell == "fish" { &["-c", script, &file] } else { &["-c", script, shell, &file] };
        let Some(ran) = program(shell, args) else { continue };
        let out = text(&ran.stdout);
        assert!(ran.status.success() && ran.stderr.is_empty(), "{shell}: {out}{}", text(&ran.stderr));
        said.iter().for_each(|words| assert!(out.contains(words), "{shell}: {words}\n{out}"));
    }
}

#[test]
fn the_manual_pages_render() {
    let dir = tempfile::tempdir().unwrap();
    let told = ggraft_in(dir.path(), ["man", "pages"]).ok().out;
    // Those of `meta` and of `plan`, and ggraft's own.
    assert_eq!(told.lines().count(), Cli::command().get_subcommands().count() + 7, "{told}");
    for page in told.lines() {
        let path = dir.path().join(page).display().to_string();
        let roff = std::fs::read_to_string(&path).unwrap();
        for section in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH EXTRA"] {
            assert!(roff.lines().any(|line| line.starts_with(section)), "{page} has no {section}");
        }
        let Some(ran) = program("groff", &["-man", "-Tutf8", "-ww", "-Kutf8", &path]) else { continue };
        let (page_text, complaints) = (text(&ran.stdout), text(&ran.stderr));
        assert!(ran.status.success() && complaints.is_empty(), "{page}: {complaints}");
        assert!(page_text.contains("Examples:"), "{page}: {page_text}");
    }
    let merge = dir.path().join("pages/ggraft-merge.1").display().to_string();
    if let Some(ran) = program("man", &["-l", "-P", "cat", &merge]) {
        assert!(
            ran.status.success() && text(&ran.stdout).contains("--chat-template"),
            "{}",
            text(&ran.stderr)
        );
    }
    assert!(ggraft(["man"]).ok().out.contains(".SH SUBCOMMANDS"));
}

/// What stands in the help can be typed.
#[test]
fn every_help_has_examples_that_parse() {
    for verb in std::iter::once(String::new()).chain(ggraft::cli::verbs()) {
        let words: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        let help = ggraft(&words).ok().out;
        let examples: Vec<&str> = help.lines().filter_map(|l| l.strip_prefix("  ggraft ")).collect();
        assert!(help.contains("Examples:\n") && !examples.is_empty(), "{verb}: {help}");
        for example in examples {
            let command = example.split([';', '|', '>']).next().unwrap();
            // As a shell does; quotes stand around whole words or values here.
            let words = command
                .split('\'')
                .enumerate()
                .map(|(i, part)| if i % 2 == 1 { part.replace(' ', "\u{0}") } else { part.to_string() });
            let words = words.collect::<String>();
            let words = words.split_whitespace().map(|word| word.replace('\u{0}', " "));
            let parsed = Cli::try_parse_from(std::iter::once(String::from("ggraft")).chain(words));
            match parsed {
                Ok(_) => {}
                Err(e) if e.kind() == clap::error::ErrorKind::DisplayHelp => {}
                Err(e) => panic!("{example}\n{e}"),
            }
        }
    }
}

#[test]
fn the_nearest_word_is_suggested() {
    let trio = run::trio("cp").display().to_string();
    for (words, said) in [
        ("quantise a.gguf Q4_0", "'quantize'"),
        ("merge --chatt x", "'--chat'"),
        ("convert % --type Q4KM", "did you mean Q4_K_M?"),
        ("convert % --type Q8_0 --output-tensor-type q5k", "did you mean q5_K?"),
        ("merge --method tise", "did you mean ties?"),
        ("merge --weight-preset no-norm", "did you mean no-norms?"),
        ("merge --embeddings shard", "did you mean shared?"),
        (
            "merge --base % --chat % --onto % --type F16 --method ties --param densty=1",
            "did you mean density?",
        ),
        ("convert % --type Q8_0 --override-kv a=stirng:1", "expected KEY=TYPE:VALUE"),
        ("convert % --type Q8_0 --override-kv a=sr:1", "did you mean str?"),
        ("verify % --progress jsn", "'json'"),
        ("completions bsh", "'bash'"),
    ] {
        let ran = ggraft(words.split(' ').map(|word| word.replace('%', &trio)));
        assert!(ran.code == 2 && ran.err.contains(said), "{words}: {}", ran.err);
    }
}

/// Runs a shell's line on a terminal that `script` makes.
fn on_a_terminal(dir: &Path, line: &str, variables: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("script");
    command
        .args(["-qec", line, "/dev/null"])
        .current_dir(dir)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color");
    command.envs(variables.iter().copied());
    match command.output() {
        Ok(output) => Some(text(&output.stdout)),
        Err(_) => {
            eprintln!("SKIPPED: there is no script, which makes terminals");
            None
        }
    }
}

#[test]
fn control_codes_are_for_terminals() {
    let dir = tempfile::tempdir().unwrap();
    TOYS[1].write(&dir.path().join("in.gguf"));
    let lines = [
        "--help",
        "merge --help",
        "fly",
        "quantize in.gguf out.gguf Q4_K_M",
        "quantize in.gguf out.gguf Q4_K_M",
        "verify in.gguf",
        "inspect in.gguf --tensors",
        "meta set in.gguf a.b=str:\u{1b}[31m",
        "meta get in.gguf",
        "meta get in.gguf a.b",
        "meta get in.gguf --json",
    ];
    for line in lines {
        let Ran { out, err, .. } = ggraft_in(dir.path(), line.split(' '));
        let controls = |c: char| c.is_control() && c != '\n';
        assert!(!out.contains(controls) && !err.contains(controls), "{line}: {out:?} {err:?}");
    }
    let program = env!("CARGO_BIN_EXE_ggraft");
    let colour = |text: &str| {
        let codes = text
            .split("\u{1b}[")
            .skip(1)
            .map(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        codes.filter(|rest| rest.starts_with('m')).count()
    };
    for line in ["--help", "fly", "quantize in.gguf out.gguf Q8_0 -f"] {
        let line = format!("{program} {line}");
        let Some(plain) = on_a_terminal(dir.path(), &line, &[("NO_COLOR", "1")]) else { return };
        assert!(colour(&plain) == 0, "{line}: {plain:?}");
    }
    let help = on_a_terminal(dir.path(), &format!("{program} --help"), &[]).unwrap();
    assert!(colour(&help) > 0, "a terminal that may have colours gets them: {help:?}");
    let line = format!("{program} quantize in.gguf out.gguf Q8_0 -f");
    let bar = on_a_terminal(dir.path(), &line, &[]).unwrap();
    assert!(bar.contains('\u{1b}') && !bar.contains("[   1/"), "{bar:?}");
    let dumb = on_a_terminal(dir.path(), &line, &[("TERM", "dumb")]).unwrap();
    assert!(!dumb.contains('\u{1b}') && dumb.contains("[   1/"), "{dumb:?}");
}
