//! What is written beside a GGUF, a Modelfile and a model card, and what a run says in the end.

#[path = "support/run.rs"]
mod run;

use run::{Folder, Ran};
use std::path::{Path, PathBuf};

struct Bench(Folder);

impl Bench {
    fn new() -> Bench {
        Bench(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn merge(&self, words: &str) -> Ran {
        self.0.merge(words)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The file is the golden of this name, whose `{version}` and `{sha256}` are the program's and the model's.
    #[track_caller]
    fn is_golden(&self, name: &str, model: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/beside").join(name);
        let written = std::fs::read_to_string(self.path(name)).unwrap();
        if std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = written
                .replace(env!("CARGO_PKG_VERSION"), "{version}")
                .replace(&self.sha256(model), "{sha256}");
            std::fs::write(&path, text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        let golden =
            golden.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{sha256}", &self.sha256(model));
        assert_eq!(written, golden);
    }

    fn sha256(&self, name: &str) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(std::fs::read(self.path(name)).unwrap());
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[test]
fn modelfile_and_card_are_the_goldens() {
    let bench = Bench::new();
    let ran = bench.merge("--type Q4_K_M --weight 0.8 -o @trio-Q4_K_M.gguf --modelfile --card").ok();
    assert_eq!(bench.names(), ["Modelfile", "README.md", "trio-Q4_K_M.gguf"]);
    bench.is_golden("Modelfile", "trio-Q4_K_M.gguf");
    bench.is_golden("README.md", "trio-Q4_K_M.gguf");
    let modelfile = bench.path("Modelfile");
    let folder = modelfile.parent().unwrap().display();
    assert!(
        ran.err.ends_with(&format!(
            "wrote {folder}/Modelfile\nwrote {folder}/README.md\n\
             run it: llama-cli -m {folder}/trio-Q4_K_M.gguf\n\
             in LM Studio: lms import {folder}/trio-Q4_K_M.gguf\n\
             in Ollama: ollama create trio-q4_k_m -f {folder}/Modelfile && ollama run trio-q4_k_m\n"
        )),
        "{}",
        ran.err
    );
    assert_eq!(ran.out, format!("{folder}/trio-Q4_K_M.gguf\n"));
}

#[test]
fn the_closing_lines_are_quiet_on_request() {
    let bench = Bench::new();
    let ran = bench.merge("--type Q8_0 -o @m.gguf").ok();
    let path = bench.path("m.gguf").display().to_string();
    assert!(ran.err.contains(&format!("llama-cli -m {path}\n")), "{}", ran.err);
    assert!(ran.err.contains(&format!("in LM Studio: lms import {path}\n")), "{}", ran.err);
    let ollama =
        format!("echo 'FROM {path}' > Modelfile && ollama create m && ollama run m; or give --modelfile\n");
    assert!(ran.err.ends_with(&ollama), "{}", ran.err);
    assert_eq!(bench.merge("--type Q8_0 -f -q -o @m.gguf").ok().err, "");
}

#[test]
fn several_outputs_share_a_card() {
    let bench = Bench::new();
    bench.merge("--type Q8_0,Q4_0 --weight 0.5,1 -q -o @m-{weight}-{type}.gguf --modelfile --card").ok();
    let all = bench.names();
    assert_eq!(all.iter().filter(|name| name.ends_with(".Modelfile")).count(), 4);
    let card = std::fs::read_to_string(bench.path("README.md")).unwrap();
    for name in all.iter().filter(|name| name.ends_with(".gguf")) {
        assert!(
            card.contains(&format!("| [{name}]({name}) | ")) && card.contains(&bench.sha256(name)),
            "{name}\n{card}"
        );
    }
    assert!(card.contains("--weight 0.5 --weight 1 --type Q8_0 --type Q4_0"), "{card}");
    // The weights differ between the files, so the models have none.
    assert!(card.contains("| chat | chat |  |\n"), "{card}");
}

/// A card goes on only where all of it is ours, and of this model; what stands in a template is no row of a file.
#[test]
fn a_card_is_replaced_unasked_only_if_nobody_has_changed_it() {
    let bench = Bench::new();
    let card = || std::fs::read_to_string(bench.path("README.md")).unwrap();
    let template = "{{ 'x' }}\n\n## Files\n\n| [m.gguf](m.gguf) | Q4_0 | 9 | 9 | <b> | `x` |\n";
    std::fs::write(bench.path("t.jinja"), template).unwrap();
    bench.merge("--type Q8_0 -q -o @m.gguf --card --chat-template @t.jinja").ok();
    bench.merge("--type Q4_0 -q -o @n.gguf --card").ok();
    let rows = |name: &str| card().matches(&format!("\n| [{name}]({name}) | ")).count();
    assert_eq!((rows("m.gguf"), rows("n.gguf"), card().contains("<b>")), (1, 1, false), "{}", card());
    std::fs::remove_file(bench.path("m.gguf")).unwrap();
    bench.merge("--type Q5_0 -q -o @o.gguf --card").ok();
    assert_eq!((rows("m.gguf"), rows("n.gguf"), rows("o.gguf")), (0, 1, 1), "{}", card());
    for changed in [
        format!("{}\n## Mine\n", card()),
        card().replace("# Cp", "# Another"),
        String::from("Made by ggraft by hand\n"),
    ] {
        std::fs::write(bench.path("README.md"), &changed).unwrap();
        let ran = bench.merge("--type Q5_1 -q -o @p.gguf --card");
        assert!(ran.code == 1 && ran.err.contains("the model card exists"), "{}", ran.err);
        assert_eq!(card(), changed);
    }
    let ran = bench.merge("--type Q5_1 -q -o @p.gguf --card --name Other");
    assert_eq!(ran.code, 1, "{}", ran.err);
    bench.merge("--type Q5_1 -q -f -o @p.gguf --card").ok();
    assert_eq!((rows("n.gguf"), rows("p.gguf")), (0, 1), "{}", card());
}

#[test]
fn what_cannot_be_written_is_refused_first() {
    let bench = Bench::new();
    for (words, code, said) in [
        ("--type Q8_0 --split-max-tensors 9 -o @m.gguf --modelfile", 2, "Ollama reads no split models"),
        ("--type safetensors -o @m --card", 2, "belong to GGUF outputs"),
        ("--type Q8_0 -f -o @m.gguf --card", 1, "was not written by ggraft"),
        ("--type Q8_0 -o @m.gguf --modelfile", 1, "Modelfile: the Modelfile exists"),
    ] {
        std::fs::write(bench.path("README.md"), "# Mine\n").unwrap();
        std::fs::write(bench.path("Modelfile"), "FROM x\n").unwrap();
        let ran = bench.merge(words);
        assert!(ran.code == code && ran.err.contains(said), "{words}: {}", ran.err);
        assert_eq!(bench.names(), ["Modelfile", "README.md"], "{words}");
    }
    std::fs::remove_file(bench.path("README.md")).unwrap();
    for _ in 0..2 {
        bench.merge("--type Q8_0 -f -q -o @m.gguf --modelfile --card").ok();
    }
}
