//! Where the shared library of an installed llama.cpp lies: in the folder that is named, else beside the programs that the
//! shell finds, else where systems and Homebrew keep libraries. Serves `ffi::library`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The variable that names the folder, where no option does.
pub const VARIABLE: &str = "GGRAFT_LLAMA_CPP";

/// A program of llama.cpp: where it is installed, its libraries are near.
const PROGRAM: &str = if cfg!(windows) { "llama-cli.exe" } else { "llama-cli" };

/// Where libraries are kept.
const USUAL: [&str; 7] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
    "/home/linuxbrew/.linuxbrew/lib",
];

/// The folders to look in, the likeliest first: of `named` itself and its `lib` and `bin`, if it is given, and no others.
/// `path` is the shell's list of folders of programs.
fn folders(named: Option<&Path>, path: Option<&OsStr>) -> Vec<PathBuf> {
    if let Some(folder) = named {
        return vec![folder.to_path_buf(), folder.join("lib"), folder.join("bin")];
    }
    let mut folders = Vec::new();
    for folder in path.map(std::env::split_paths).into_iter().flatten() {
        // A link leads to where the program is installed.
        let Ok(program) = folder.join(PROGRAM).canonicalize() else { continue };
        let Some(home) = program.parent() else { continue };
        folders.extend([home.to_path_buf(), home.join("../lib")]);
    }
    folders.extend(USUAL.iter().map(PathBuf::from));
    folders
}

/// Whether a file of this name is the library called `stem`, such as `libllama.so`, `libllama.so.0`, `libllama.0.dylib`,
/// `libllama.v0.5.0.so` or `llama.dll` for `llama`.
fn is_library(name: &str, stem: &str) -> bool {
    if cfg!(windows) {
        return name == format!("{stem}.dll");
    }
    let Some(rest) = name.strip_prefix(&format!("lib{stem}")) else { return false };
    match cfg!(target_os = "macos") {
        true => rest == ".dylib" || rest.starts_with('.') && rest.ends_with(".dylib"),
        false => rest == ".so" || rest.starts_with(".so.") || rest.starts_with('.') && rest.ends_with(".so"),
    }
}

/// The library called `stem` in `folder`; of several the one of the shortest name, which is a link to the current one.
pub fn within(folder: &Path, stem: &str) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_library(name, stem)).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.into_iter().next().map(|name| folder.join(name))
}

/// The libraries of llama.cpp that there are, the likeliest first, and the folders that were looked in.
pub fn find(named: Option<&Path>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let path = std::env::var_os("PATH");
    let folders = folders(named, path.as_deref());
    (folders.iter().filter_map(|folder| within(folder, "llama")).collect(), folders)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_named_folder_comes_alone_and_else_that_of_the_program_first() {
        let named = folders(Some(Path::new("/x")), Some(OsStr::new("/bin")));
        assert_eq!(named, ["/x", "/x/lib", "/x/bin"].map(PathBuf::from));
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap().join("opt/bin");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(PROGRAM), "").unwrap();
        let links = dir.path().join("links");
        std::fs::create_dir(&links).unwrap();
        std::os::unix::fs::symlink(home.join(PROGRAM), links.join(PROGRAM)).unwrap();
        let found = folders(None, Some(links.as_os_str()));
        assert_eq!(found[..2], [home.clone(), home.join("../lib")]);
        assert_eq!(found.len(), 2 + USUAL.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_is_known_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["libllama-common.so", "libllama.so.0.5.0", "libllama.v0.5.0.so", "libllamas.so", "x"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(within(dir.path(), "llama"), Some(dir.path().join("libllama.so.0.5.0")));
        assert_eq!(within(dir.path(), "ggml"), None);
        assert_eq!(within(&dir.path().join("none"), "llama"), None);
    }
}
