//! Which file of a crate imports which, read from its `use` items and from the paths in its code. What a `mod.rs` only
//! hands on (`pub use`) is imported from the file that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Module = Vec<String>;

pub struct Imports {
    /// From file to file, by their modules.
    arrows: BTreeMap<Module, BTreeSet<Module>>,
}

impl Imports {
    /// Of the crate whose sources lie in `root`.
    pub fn of(root: &Path, files: &[PathBuf]) -> Imports {
        let is_code = |path: &&PathBuf| !path.ends_with("tests.rs") && !path.ends_with("main.rs");
        let read = |path: &PathBuf| (module(root, path), code(&std::fs::read_to_string(path).unwrap()));
        let texts: BTreeMap<Module, String> = files.iter().filter(is_code).map(read).collect();
        let these = Crate {
            uses: texts.iter().map(|(module, text)| (module.clone(), uses(text))).collect(),
            texts: &texts,
        };
        let arrows = texts.keys().map(|module| (module.clone(), these.imports(module))).collect();
        Imports { arrows }
    }

    pub fn count(&self) -> usize {
        self.arrows.values().map(BTreeSet::len).sum()
    }

    /// Files that reach each other, together.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            self.arrows.keys().map(|module| (module, self.reached(module))).collect();
        let mut circles = BTreeSet::new();
        for (module, reached) in reach.iter().filter(|(module, reached)| reached.contains(*module)) {
            let back = reached.iter().filter(|other| reach[*other].contains(module));
            circles.insert(back.map(|module| module.join("::")).collect());
        }
        circles.into_iter().collect()
    }

    fn reached<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            open.extend(self.arrows[module].iter().filter(|next| seen.insert(*next)));
        }
        seen
    }
}

/// A path of a `use`, and whether it is handed on.
struct Use {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

struct Crate<'a> {
    texts: &'a BTreeMap<Module, String>,
    uses: BTreeMap<Module, Vec<Use>>,
}

impl Crate<'_> {
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let used = self.uses[module].iter().filter(|u| !u.is_public).map(|u| u.path.clone());
        let inline = paths(&self.texts[module]);
        let mut found: BTreeSet<Module> =
            used.chain(inline).filter_map(|path| self.resolve(module, &path, 0)).collect();
        found.remove(module);
        found
    }

    /// The file that a path in `module` names something of.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            child if self.texts.contains_key(&below(module, child)) => {}
            _ => return None,
        }
        while let Some(word) = rest.first() {
            let next = below(&at, word);
            if !self.texts.contains_key(&next) {
                break;
            }
            (at, rest) = (next, &rest[1..]);
        }
        let handed =
            rest.first().and_then(|name| self.uses.get(&at)?.iter().find(|u| u.is_public && u.name == *name));
        match handed {
            Some(on) if depth < 8 => self.resolve(&at, &on.path, depth + 1).or(Some(at)),
            _ => Some(at),
        }
    }
}

fn below(module: &Module, child: &str) -> Module {
    [module.as_slice(), &[child.to_string()]].concat()
}

fn module(root: &Path, path: &Path) -> Module {
    let path = path.strip_prefix(root).unwrap().with_extension("");
    let mut words: Module = path.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if words.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        words.pop();
    }
    words
}

/// A text without comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn uses(code: &str) -> Vec<Use> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let (tree, after) = rest[at + 4..].split_once(';').unwrap_or_default();
        if line.is_empty() || line.starts_with("pub") {
            let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            for (path, name) in leaves(&tree) {
                all.push(Use { path, name, is_public: line.starts_with("pub") });
            }
            rest = after;
        } else {
            rest = &rest[at + 4..];
        }
    }
    all
}

/// The paths of a tree of braces, each with the name that it gets.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let Some((head, inner)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree));
        let words: Vec<String> = path.trim().split("::").map(String::from).collect();
        let name = name.rsplit("::").next().unwrap_or_default().trim().to_string();
        return vec![(words, name)];
    };
    let inner = inner.trim().strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts
        .flat_map(|part| leaves(&format!("{}{part}", head.trim())).into_iter())
        .map(|(mut path, name)| match path.last() {
            Some(last) if last == "self" => {
                path.pop();
                let name = path.last().cloned().unwrap_or_default();
                (path, name)
            }
            _ => (path, name),
        })
        .collect()
}

/// The paths from the crate's root or a parent that stand in the code itself.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c: char| !is_word(c))
        .filter(|word| word.starts_with("crate::") || word.starts_with("super::"))
        // What goes on in braces is a `use`.
        .filter(|word| !word.ends_with("::"))
        .map(|word| word.split("::").map(String::from).collect())
        .collect()
}
