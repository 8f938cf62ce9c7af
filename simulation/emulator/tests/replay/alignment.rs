//! Two sequences side by side.

/// The pairs of indices of a longest common subsequence.
pub(crate) fn common<T: PartialEq>(left: &[T], right: &[T]) -> Vec<(usize, usize)> {
    if left == right {
        return (0..left.len()).map(|index| (index, index)).collect();
    }
    let width = right.len() + 1;
    // lengths[i * width + j]: the longest common subsequence of left[i..] and right[j..].
    let mut lengths = vec![0_u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            lengths[i * width + j] = if left[i] == right[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// What becomes of the elements that are not in both sequences at their places.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Odd<T> {
    /// Only on the left.
    pub(crate) missing: Vec<T>,
    /// Only on the right.
    pub(crate) surplus: Vec<T>,
    /// On both sides, in another order.
    pub(crate) moved: Vec<T>,
}

/// The elements that do not fit; empty if the sequences are equal.
pub(crate) fn odd<T: PartialEq + Clone>(left: &[T], right: &[T]) -> Odd<T> {
    let pairs = common(left, right);
    let without = |all: &[T], taken: Vec<usize>| -> Vec<T> {
        let rest = all.iter().enumerate().filter(|(index, _)| taken.binary_search(index).is_err());
        rest.map(|(_, element)| element.clone()).collect()
    };
    let mut odd = Odd {
        missing: without(left, pairs.iter().map(|(index, _)| *index).collect()),
        surplus: without(right, pairs.iter().map(|(_, index)| *index).collect()),
        moved: Vec::new(),
    };
    let mut missing = Vec::new();
    for element in std::mem::take(&mut odd.missing) {
        match odd.surplus.iter().position(|other| *other == element) {
            Some(index) => {
                odd.surplus.remove(index);
                odd.moved.push(element);
            }
            None => missing.push(element),
        }
    }
    odd.missing = missing;
    odd
}

#[test]
fn what_is_odd_in_two_sequences() {
    assert_eq!(common(&[1, 2, 3, 4], &[2, 4]), [(1, 0), (3, 1)]);
    let found = odd(&["a", "b", "c", "d"], &["b", "a", "d", "e"]);
    assert_eq!((found.missing, found.surplus, found.moved), (vec!["c"], vec!["e"], vec!["a"]));
}
