//! Coverage: the row within whose reach most rows lie that are in reach of nothing labelled (`ProbCover`,
//! Yehuda, Dekel, Hacohen & Weinshall, NeurIPS 2022). A row's reach is its nearest neighbours, which the
//! graph has at any scale.

use super::Situation;

impl Situation<'_> {
    /// Greedy maximum coverage of the graph of neighbours; without a graph, the farthest rows.
    pub(super) fn coverage(&self, n: usize) -> Vec<usize> {
        let Some(graph) = self.pool.graph() else { return self.core_set(n) };
        let mut covered = vec![false; self.pool.len()];
        let cover = |row: usize, covered: &mut Vec<bool>| {
            covered[row] = true;
            graph.neighbours(row).for_each(|other| covered[other] = true);
        };
        self.labelled.iter().for_each(|&row| cover(row, &mut covered));
        let candidates = self.candidates();
        // Who has a row among its neighbours: covering it lowers their gains.
        let gain = |row: usize, covered: &[bool]| {
            graph.neighbours(row).chain([row]).filter(|&other| !covered[other]).count()
        };
        // Lazy greedy: gains only fall, so the first whose gain still holds is the best.
        let mut heap: std::collections::BinaryHeap<(usize, std::cmp::Reverse<usize>)> =
            candidates.iter().map(|&row| (gain(row, &covered), std::cmp::Reverse(row))).collect();
        let mut picked = Vec::with_capacity(n);
        while picked.len() < n
            && let Some((known, std::cmp::Reverse(row))) = heap.pop()
        {
            let now = gain(row, &covered);
            if now < known {
                heap.push((now, std::cmp::Reverse(row)));
                continue;
            }
            picked.push(row);
            cover(row, &mut covered);
        }
        picked
    }
}
