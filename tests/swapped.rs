//! The three models of a merge in each other's places, and one model in two: every such assignment is refused or warned
//! about, in a dry run too, and the right one never is. Of the trio and of three generated ones, which are told apart
//! by other signs each.

#[path = "support/run.rs"]
mod run;
mod support;

use run::{Ran, ggraft, trio};
use std::path::{Path, PathBuf};
use support::specs;

/// Merges with these models, without writing anything.
fn merge(base: &Path, chat: &Path, onto: &Path, more: &[&str]) -> Ran {
    let mut args: Vec<PathBuf> =
        ["merge", "--type", "Q8_0", "--dry-run", "-o", "out.gguf"].map(PathBuf::from).into();
    for (name, path) in [("--base", base), ("--chat", chat), ("--onto", onto)] {
        args.extend([PathBuf::from(name), path.to_path_buf()]);
    }
    args.extend(more.iter().map(PathBuf::from));
    ggraft(args)
}

/// Every assignment of `[base, chat, cp]` to the three places, with how it ended.
#[track_caller]
fn only_the_right_one_passes(models: &[PathBuf; 3]) -> Vec<([usize; 3], &'static str)> {
    let is_small = models[0].starts_with(trio(""));
    let mut ended = Vec::new();
    for i in 0..27 {
        let places = [i / 9, i / 3 % 3, i % 3];
        let [base, chat, onto] = places.map(|m| models[m].as_path());
        let ran = merge(base, chat, onto, &[]);
        let end = match (ran.code, ran.err.contains("\nwarning: ")) {
            (0, false) => "passed",
            (0, true) => "warned",
            (3, _) => "refused",
            (code, _) => panic!("{places:?} ended with {code}: {}", ran.err),
        };
        let is_right = places == [0, 1, 2];
        assert_eq!(end == "passed", is_right, "{places:?} {end}: {}", ran.err);
        let repeats = places[0] == places[1] || places[0] == places[2] || places[1] == places[2];
        assert!(!repeats || end == "refused", "{places:?} {end}: {}", ran.err);
        if end == "refused" && is_small {
            let allowed = merge(base, chat, onto, &["--allow-swapped", "--allow-unrelated"]);
            assert!(allowed.code == 0 && allowed.err.contains("\nallowed: "), "{places:?}: {}", allowed.err);
        }
        ended.push((places, end));
    }
    ended
}

fn generated(name: &str) -> (tempfile::TempDir, [PathBuf; 3]) {
    let dir = tempfile::tempdir().unwrap();
    specs::write_named_trio(name, dir.path());
    let models = ["base", "chat", "cp"].map(|model| dir.path().join(model));
    (dir, models)
}

fn warned(ended: &[([usize; 3], &'static str)]) -> Vec<[usize; 3]> {
    ended.iter().filter(|(_, end)| *end == "warned").map(|(places, _)| *places).collect()
}

#[test]
fn of_the_trio_every_other_assignment_is_refused() {
    let ended = only_the_right_one_passes(&["base", "chat", "cp"].map(trio));
    assert_eq!(warned(&ended), [[0; 3]; 0]);
}

/// No templates, and chat and CP lie equally far: that chat has more tokens than CP is one sign, so a warning.
#[test]
fn of_models_that_only_the_vocabulary_tells_apart() {
    let (_dir, models) = generated("eeve");
    assert_eq!(warned(&only_the_right_one_passes(&models)), [[0, 2, 1]]);
}

#[test]
fn of_models_that_the_template_tells_apart() {
    let (_dir, models) = generated("solar");
    assert_eq!(warned(&only_the_right_one_passes(&models)), [[0; 3]; 0]);
}

/// All have a template: that chat lies farther than CP is one sign.
#[test]
fn of_models_that_only_the_distances_tell_apart() {
    let (_dir, models) = generated("alike");
    assert_eq!(warned(&only_the_right_one_passes(&models)), [[0, 2, 1], [1, 2, 0]]);
}

/// By file, and by content: a copy in another folder, and the same weights in another dtype and container.
#[test]
fn one_model_twice_is_known_by_its_weights() {
    let dir = tempfile::tempdir().unwrap();
    let copy = run::trio_copy("base", dir.path());
    let gguf = dir.path().join("base.gguf");
    ggraft([
        "convert".into(),
        trio("base"),
        "--type".into(),
        "F32".into(),
        "-q".into(),
        "-o".into(),
        gguf.clone(),
    ])
    .ok();
    for (other, found) in
        [(trio("base"), "the same files"), (copy, "the same weights"), (gguf, "the same weights")]
    {
        let ran = merge(&trio("base"), &other, &trio("cp"), &[]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        let said = format!(
            "chat is the base: the vector is zero, and the output would be the --onto model: found {found}"
        );
        assert!(ran.err.contains(&said), "{}", ran.err);
        let ran = merge(&other, &trio("chat"), &trio("base"), &[]);
        assert!(ran.code == 3 && ran.err.contains("onto is the base: "), "{}", ran.err);
        let ran = merge(&trio("chat"), &other, &trio("base"), &[]);
        assert!(ran.code == 3 && ran.err.contains("onto is the chat model: "), "{}", ran.err);
    }
}

/// Methods that read no base have none to be swapped; a recipe of mergekit's adds to its base model.
#[test]
fn what_is_meant_so_is_not_refused() {
    let (base, chat, cp) = (trio("base"), trio("chat"), trio("cp"));
    let ran = merge(&base, &chat, &cp, &["--method", "slerp", "--embeddings", "shared"]).ok();
    assert!(!ran.err.contains("warning: "), "{}", ran.err);
    let dir = tempfile::tempdir().unwrap();
    let recipe = dir.path().join("ties.yml");
    let text = format!(
        "models:\n  - model: {}\n    parameters: {{weight: 0.5, density: 0.5}}\nmerge_method: ties\nbase_model: {}\ndtype: float32\n",
        chat.display(),
        base.display()
    );
    std::fs::write(&recipe, text).unwrap();
    let words =
        ["merge".as_ref(), recipe.as_os_str(), "--dry-run".as_ref(), "-o".as_ref(), "x.gguf".as_ref()];
    let told = ggraft(words).ok().err;
    assert!(told.contains("chat differs from base, which onto does not differ from, by 3.3"), "{told}");
    assert!(!told.contains("are --chat and --onto swapped"), "{told}");
}
