//! The notation: what is read, and where elements go.

use super::*;

fn sizes() -> Sizes {
    [("h", 2), ("two", 2), ("pair", 3), ("n", 5), ("e", 4), ("k", 3), ("v", 2), ("r", 5)].into()
}

/// The target's elements by their place in the sources, tensor after tensor of `each` elements.
fn places(pieces: &[Piece], each: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for piece in pieces {
        let mut all = vec![(piece.to, piece.source * each + piece.from)];
        for step in &piece.steps {
            let along = |(to, from): (u64, u64)| {
                (0..step.size).map(move |i| (to + i * step.to, from + i * (step.from + step.tensor * each)))
            };
            all = all.into_iter().flat_map(along).collect();
        }
        found.extend(all);
    }
    found.sort_unstable();
    assert!(found.iter().enumerate().all(|(i, (to, _))| *to == i as u64), "every element once: {found:?}");
    found.into_iter().map(|(_, from)| from).collect()
}

#[test]
fn rotary_halves_alternate() {
    let axes = Axes::parse("(h two pair) -> (h pair two)").unwrap();
    let pieces = axes.forth(&sizes(), Stacks::default(), 0).unwrap();
    assert_eq!(places(&pieces, 0), [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
}

#[test]
fn a_part_is_a_target_of_its_own_and_may_be_transposed() {
    let axes = Axes::parse("(h [k|v]) r -> h r k ; h v r").unwrap();
    let k = places(&axes.forth(&sizes(), Stacks::default(), 0).unwrap(), 0);
    assert_eq!(k[..6], [0, 5, 10, 1, 6, 11]);
    assert_eq!(k[15..18], [25, 30, 35]);
    let v = places(&axes.forth(&sizes(), Stacks::default(), 1).unwrap(), 0);
    assert_eq!(v[..6], [15, 16, 17, 18, 19, 20]);
    assert_eq!(v[10], 40);
}

#[test]
fn experts_are_stacked_and_unstacked() {
    let axes = Axes::parse("k n -> e k n").unwrap();
    let stacks = Stacks { from: &["e"], to: &[] };
    let all = places(&axes.forth(&sizes(), stacks, 0).unwrap(), 15);
    assert_eq!(all, (0..60).collect::<Vec<u64>>());
    let third = axes.back(&sizes(), stacks, 0, &[2]).unwrap();
    assert_eq!(places(&third, 0), (30..45).collect::<Vec<u64>>());
}

#[test]
fn there_and_back_is_where_one_was() {
    let mut sizes = sizes();
    sizes.insert("three", 3);
    for text in [
        "(h two pair) n -> (h pair two) n",
        "n k -> k n",
        "(h three k) n -> (three h k) n",
        "(h [k|1|1] v) n -> [(h k v)|(h v)|(h v)] n",
        "k 1 n -> k n",
    ] {
        let axes = Axes::parse(text).unwrap();
        axes.check(&[]).unwrap();
        let forth = places(&axes.forth(&sizes, Stacks::default(), 0).unwrap(), 0);
        let back = places(&axes.back(&sizes, Stacks::default(), 0, &[]).unwrap(), 0);
        assert!((0..forth.len()).all(|i| back[forth[i] as usize] == i as u64), "{text}");
    }
}

#[test]
fn a_bias_has_the_dimensions_of_the_rows() {
    for (weight, bias) in [
        ("(h two pair) n -> (h pair two) n", "(h two pair) -> (h pair two)"),
        ("n k -> k n", "k"),
        ("e (k [1|1]) n -> e k n ; e k n", "e (k [1|1]) -> e k ; e k"),
        ("k n -> e k n", "k -> e k"),
        ("n", "n"),
    ] {
        let expected = Axes::parse(bias).unwrap();
        assert_eq!(Axes::parse(weight).unwrap().of_bias(), expected, "{weight}");
    }
}

#[test]
fn what_is_no_pair_is_refused() {
    for (text, problem) in [
        ("(h n", "')' is missing"),
        ("h] n", "closes nothing"),
        ("2 n", "is no axis"),
        ("h n -> h", "the axis n goes nowhere"),
        ("h -> h n", "the axis n is not on both"),
        ("[h|k] n -> h n ; k n ; v n", "1 tensors do not become 3"),
    ] {
        let found = Axes::parse(text).and_then(|axes| axes.check(&[])).unwrap_err();
        assert!(found.contains(problem), "{text}: {found}");
    }
}
