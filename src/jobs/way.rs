//! Ways from folder to folder: a plan names all that it reads as it is found from its own place, so that machines may see the
//! same tree at different places.

use std::path::{Component, Path, PathBuf};

/// The way from one folder to a path, both absolute.
pub fn way(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - same);
    let way: PathBuf = up.chain(to[same..].iter().copied()).collect();
    if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_folders() {
        for (from, to, due) in
            [("/a/b", "/a/b/c/d", "c/d"), ("/a/b", "/a/x", "../x"), ("/a", "/a", "."), ("/a/b", "/", "../..")]
        {
            assert_eq!(way(Path::new(from), Path::new(to)), PathBuf::from(due));
        }
    }
}
