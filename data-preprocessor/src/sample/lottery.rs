//! Drawing without replacement, and sharing out a number among groups.

use curator_core::seed;

/// Items in the order in which they are drawn: with weights as by repeated draws in proportion to the
/// weights of what is left (Efraimidis & Spirakis 2006). Each item's lot depends on the seed and its own
/// number alone.
pub(crate) fn order(
    items: impl IntoIterator<Item = u32>,
    weight: impl Fn(u32) -> f32,
    seed: u64,
) -> Vec<u32> {
    let mut lots: Vec<(f64, u32)> = items
        .into_iter()
        .map(|item| {
            let random = seed::mix(seed, &[u64::from(item)]) >> 11;
            let uniform = (random as f64 + 0.5) / 2_f64.powi(53);
            (-uniform.ln() / f64::from(weight(item)), item)
        })
        .collect();
    lots.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    lots.into_iter().map(|lot| lot.1).collect()
}

/// Shares `n` out among groups of these sizes as evenly as they allow: no group gets more than it has, and
/// none that has more gets less than another by two. What is left over goes to the first groups of `first`.
pub(crate) fn share_out(n: usize, sizes: &[usize], first: &[u32]) -> Vec<usize> {
    // The level to which all groups are filled.
    let filled = |level: usize| sizes.iter().map(|&size| size.min(level)).sum::<usize>();
    let (mut low, mut high) = (0, sizes.iter().copied().max().unwrap_or(0));
    while low < high {
        let middle = (low + high).div_ceil(2);
        if filled(middle) <= n { low = middle } else { high = middle - 1 }
    }
    let mut shares: Vec<usize> = sizes.iter().map(|&size| size.min(low)).collect();
    let mut left = n.saturating_sub(filled(low));
    for &group in first {
        let group = group as usize;
        if left > 0 && shares[group] < sizes[group] {
            shares[group] += 1;
            left -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_within_what_groups_have() {
        let all = [0, 1, 2, 3];
        assert_eq!(share_out(10, &[1, 100, 3, 100], &all), [1, 3, 3, 3]);
        assert_eq!(share_out(12, &[1, 100, 3, 100], &[3, 2, 1, 0]), [1, 4, 3, 4]);
        assert_eq!(share_out(11, &[1, 100, 3, 100], &[3, 2, 1, 0]), [1, 3, 3, 4]);
        assert_eq!(share_out(500, &[1, 100, 3, 100], &all), [1, 100, 3, 100]);
        assert_eq!(share_out(0, &[1, 2, 3, 4], &all), [0; 4]);
        assert_eq!(share_out(3, &[], &[]), [0; 0]);
    }

    #[test]
    fn draws_follow_the_weights() {
        // Ten items, the first of weight 9, the others 1: it is drawn first half of the times.
        let first = (0..4000)
            .filter(|&seed| order(0..10, |i| if i == 0 { 9.0 } else { 1.0 }, seed)[0] == 0)
            .count();
        assert!((1850..2150).contains(&first), "{first} of 4000");
        let mut all = order(0..10, |_| 1.0, 1);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}
