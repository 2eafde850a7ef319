//! Typicality: of the largest clusters without labels, the row whose neighbours are nearest (`TypiClust`,
//! Hacohen, Dekel & Weinshall, ICML 2022, arXiv 2202.02794).

use super::Situation;

/// Neighbours that typicality is measured by, as in the paper.
const NEIGHBOURS: usize = 20;
/// Clusters at most, as in the paper.
const MOST: usize = 500;
/// Rows of a cluster that are compared with one another, at most.
const COMPARED: usize = 1_000;

impl Situation<'_> {
    /// The most typical rows of clusters without labels, the largest cluster first. There are as many
    /// clusters as labels after this batch, rounded up to a power of two.
    pub(super) fn typical(&self, n: usize) -> Vec<usize> {
        let k = (self.labelled.len() + n).next_power_of_two().min(MOST).min(self.pool.len());
        let clusters = self.pool.clusters(k);
        let labelled: std::collections::HashSet<usize> = self.labelled.iter().copied().collect();
        let is_open = |row: &usize| self.open.binary_search(row).is_ok();
        let mut order: Vec<(usize, usize, Vec<usize>)> = clusters
            .iter()
            .map(|members| {
                let known = members.iter().filter(|&&r| labelled.contains(&(r as usize))).count();
                let open: Vec<usize> =
                    members.iter().map(|&r| r as usize).filter(is_open).collect();
                (known, members.len(), open)
            })
            .filter(|(_, _, open)| !open.is_empty())
            .collect();
        // Fewest labels first, then the largest; clusters are in a fixed order, and sorting keeps ties.
        order.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut picked = Vec::with_capacity(n);
        while picked.len() < n {
            let before = picked.len();
            for (_, _, open) in &mut order {
                if picked.len() < n
                    && let Some(at) = self.most_typical(open)
                {
                    picked.push(open.swap_remove(at));
                    open.sort_unstable();
                }
            }
            if picked.len() == before {
                break;
            }
        }
        picked
    }

    /// The row with the smallest mean distance to its neighbours within the cluster.
    fn most_typical(&self, rows: &[usize]) -> Option<usize> {
        let step = rows.len().div_ceil(COMPARED).max(1);
        let compared: Vec<usize> = (0..rows.len()).step_by(step).collect();
        let spread = |at: usize| {
            let others = compared.iter().filter(|&&other| other != at);
            let mut near: Vec<f32> =
                others.map(|&other| self.pool.distance(rows[at], rows[other]).sqrt()).collect();
            let k = NEIGHBOURS.min(near.len());
            if k > 0 && k < near.len() {
                near.select_nth_unstable_by(k - 1, f32::total_cmp);
            }
            near[..k].iter().sum::<f32>() / k.max(1) as f32
        };
        let spreads: Vec<f32> = compared.iter().map(|&at| spread(at)).collect();
        let best = (0..compared.len()).min_by(|&a, &b| spreads[a].total_cmp(&spreads[b]))?;
        Some(compared[best])
    }
}
