//! Labels that are probably mistakes, by confident learning (Northcutt, Jiang & Chuang, JAIR 2021): a row is
//! doubted when a classifier that has not seen its label believes the other one as firmly as it believes
//! rows which have that one.

/// A doubted label.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Doubt {
    pub(crate) row: usize,
    /// What was said.
    pub(crate) positive: bool,
    /// Probability of a positive by a classifier that has not seen it.
    pub(crate) probability: f32,
}

/// Doubted labels, the most doubtful first, from held-out probabilities.
pub(crate) fn doubts(held_out: &[(usize, f32, bool)]) -> Vec<Doubt> {
    let mean = |of: bool| {
        let beliefs = held_out.iter().filter(|known| known.2 == of).map(|&(_, p, _)| belief(p, of));
        let (sum, n) = beliefs.fold((0.0, 0.0), |(sum, n), b| (sum + b, n + 1.0));
        if n > 0.0 { sum / n } else { f32::INFINITY }
    };
    let firm = [mean(false), mean(true)];
    let mut doubts: Vec<Doubt> = held_out
        .iter()
        .filter(|&&(_, p, positive)| {
            let other = belief(p, !positive);
            other >= firm[usize::from(!positive)] && other > 0.5
        })
        .map(|&(row, probability, positive)| Doubt { row, positive, probability })
        .collect();
    let doubt = |d: &Doubt| belief(d.probability, !d.positive);
    doubts.sort_by(|a, b| doubt(b).total_cmp(&doubt(a)).then(a.row.cmp(&b.row)));
    doubts
}

/// The probability of a label.
fn belief(p: f32, positive: bool) -> f32 {
    if positive { p } else { 1.0 - p }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_mistakes_are_doubted_and_nothing_else() {
        let mut held_out: Vec<(usize, f32, bool)> =
            (0..40).map(|i| (i, if i < 20 { 0.9 } else { 0.1 }, i < 20)).collect();
        held_out[3] = (3, 0.05, true);
        held_out[30] = (30, 0.97, false);
        let rows: Vec<usize> = doubts(&held_out).iter().map(|d| d.row).collect();
        assert_eq!(rows, [30, 3]);
        assert!(doubts(&[]).is_empty());
        assert!(doubts(&[(0, 0.1, true), (1, 0.2, true)]).is_empty(), "one class alone");
    }
}
