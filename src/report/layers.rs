//! Names of tensors in few words: what layers have alike is named once, as the globs of `--weights` have it.

/// The names, in the order in which the first of each kind comes: `blk.{0-2,5}.attn_q.weight`.
pub(super) fn together(names: &[&str]) -> Vec<String> {
    let mut kinds: Vec<(&str, &str, Vec<u64>)> = Vec::new();
    for name in names {
        let (before, layer, behind) = parts(name);
        match kinds.iter_mut().find(|(b, e, layers)| (*b, *e) == (before, behind) && !layers.is_empty()) {
            Some((.., layers)) if layer.is_some() => layers.extend(layer),
            _ => kinds.push((before, behind, Vec::from_iter(layer))),
        }
    }
    let one = |(before, behind, mut layers): (&str, &str, Vec<u64>)| {
        layers.sort_unstable();
        match layers.as_slice() {
            [] => before.to_string(),
            [one] => format!("{before}{one}{behind}"),
            all => format!("{before}{{{}}}{behind}", runs(all)),
        }
    };
    kinds.into_iter().map(one).collect()
}

/// What stands before the number of the layer, the number, and what stands behind it; a name without one is all before.
fn parts(name: &str) -> (&str, Option<u64>, &str) {
    let mut at = 0;
    for word in name.split('.') {
        let end = at + word.len();
        // Leading zeros would be lost.
        if let Some(layer) = word.parse().ok().filter(|n: &u64| n.to_string() == word) {
            return (&name[..at], Some(layer), &name[end..]);
        }
        at = end + 1;
    }
    (name, None, "")
}

/// Numbers in order as runs: 0-2,5.
fn runs(numbers: &[u64]) -> String {
    let run = |run: &[u64]| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.first().map(u64::to_string).unwrap_or_default(),
    };
    let all = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)).map(run);
    all.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_are_alike_are_named_once() {
        let names = [
            "output.weight",
            "blk.0.attn_q.weight",
            "blk.0.attn_k.weight",
            "blk.1.attn_q.weight",
            "blk.10.attn_q.weight",
            "blk.2.attn_q.weight",
            "model.07.x",
            "output.weight.2",
        ];
        assert_eq!(
            together(&names),
            [
                "output.weight",
                "blk.{0-2,10}.attn_q.weight",
                "blk.0.attn_k.weight",
                "model.07.x",
                "output.weight.2"
            ]
        );
    }
}
