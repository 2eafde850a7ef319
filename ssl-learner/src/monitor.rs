//! Is the representation alive? Collapse, effective rank, alignment and uniformity, and nearest
//! neighbours.

use curator_core::logistic::dot;
use rayon::prelude::*;
use serde::Serialize;

/// Spread below which the projections count as collapsed.
const COLLAPSED: f64 = 0.1;
/// Effective rank below which the features count as collapsed.
const FLAT: f64 = 3.0;

/// Health of what a model makes of different pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Health {
    /// Mean over the dimensions of the projections' standard deviation, times √P: about 1 when they
    /// fill the sphere, near 0 when they collapsed (Chen & He 2021, section 4.1).
    pub(crate) spread: f64,
    /// Effective rank of the features: exponential of the entropy of the normalised singular values
    /// (Garrido et al. 2023, RankMe, <https://arxiv.org/abs/2210.02885>, equation 2), here of the
    /// centred features, so that a common offset does not hide what differs.
    pub(crate) rank: f64,
}

impl Health {
    /// Of `n` rows each of L2-normalised projections and features.
    pub(crate) fn of(projections: &[f32], features: &[f32], n: usize) -> Self {
        let (width, dim) = (projections.len() / n.max(1), features.len() / n.max(1));
        let (_, deviation) = deviations(projections, width);
        let (mean, _) = deviations(features, dim);
        let centred: Vec<f32> = features
            .chunks_exact(dim)
            .flat_map(|row| row.iter().zip(&mean).map(|(&x, &m)| x - m as f32))
            .collect();
        Self {
            spread: deviation.iter().sum::<f64>() / (width as f64).sqrt(),
            rank: effective_rank(&centred, dim),
        }
    }

    /// What is wrong and what to try, when something is.
    pub(crate) fn alarm(&self) -> Option<String> {
        if self.spread < COLLAPSED {
            return Some(format!(
                "the projections have collapsed: their spread is {:.3} (1 fills the sphere, below \
                 {COLLAPSED} all pictures look alike to the model), so nothing more is learnt; \
                 try a larger `--batch-size`, a smaller `--lr`, or `--method simclr`",
                self.spread
            ));
        }
        (self.rank < FLAT).then(|| {
            format!(
                "the embeddings use only {:.1} dimensions: pictures differ in little more than \
                 brightness to the model; try stronger `--views`, a larger `--batch-size`, or \
                 `--method simclr`",
                self.rank
            )
        })
    }
}

fn deviations(embeddings: &[f32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (embeddings.len() / dim).max(1) as f64;
    let mut mean = vec![0.0; dim];
    let mut square = vec![0.0; dim];
    for row in embeddings.chunks_exact(dim) {
        for (i, &x) in row.iter().enumerate() {
            mean[i] += f64::from(x) / n;
            square[i] += f64::from(x) * f64::from(x) / n;
        }
    }
    let deviation = mean.iter().zip(&square).map(|(m, s)| (s - m * m).max(0.0).sqrt()).collect();
    (mean, deviation)
}

fn effective_rank(embeddings: &[f32], dim: usize) -> f64 {
    use curator_nn::tch::{Kind, Tensor};
    let n = (embeddings.len() / dim) as i64;
    let rank = || -> Result<f64, curator_nn::tch::TchError> {
        let matrix = Tensor::f_from_slice(embeddings)?.f_view([n, dim as i64])?;
        let (_, values, _) = matrix.f_svd(true, false)?;
        let share = values.f_div(&values.f_sum(Kind::Float)?)?.f_clamp_min(1e-12)?;
        let entropy = share.f_mul(&share.f_log()?)?.f_sum(Kind::Float)?;
        Ok((-f64::try_from(&entropy)?).exp())
    };
    rank().unwrap_or(f64::NAN)
}

/// Alignment and uniformity (Wang & Isola 2020, <https://arxiv.org/abs/2005.10242>, equations 1 and 2,
/// α = 2, t = 2) of two views' L2-normalised embeddings `[N, dim]`.
pub(crate) fn alignment_uniformity(a: &[f32], b: &[f32], dim: usize) -> (f64, f64) {
    let distance = |x: &[f32], y: &[f32]| 2.0 - 2.0 * f64::from(dot(x, y));
    let rows: Vec<&[f32]> = a.chunks_exact(dim).collect();
    let pairs = rows.iter().zip(b.chunks_exact(dim));
    let alignment = pairs.map(|(x, y)| distance(x, y)).sum::<f64>() / rows.len() as f64;
    let sum: f64 = (0..rows.len())
        .into_par_iter()
        .map(|i| (0..i).map(|j| (-2.0 * distance(rows[i], rows[j])).exp()).sum::<f64>())
        .collect::<Vec<_>>()
        .into_iter()
        .sum();
    let pairs = rows.len() * rows.len().saturating_sub(1) / 2;
    (alignment, (sum / pairs as f64).ln())
}

/// Share of the rows whose class is that of the majority of their `k` nearest other rows, by cosine.
/// `None` when fewer than two classes are known.
pub(crate) fn knn_accuracy(
    embeddings: &[f32],
    dim: usize,
    classes: &[Option<String>],
    k: usize,
) -> Option<f64> {
    let rows: Vec<(&[f32], &str)> = embeddings
        .chunks_exact(dim)
        .zip(classes)
        .filter_map(|(row, class)| class.as_deref().map(|class| (row, class)))
        .collect();
    let first = rows.first()?.1;
    if rows.iter().all(|(_, class)| *class == first) {
        return None;
    }
    let right: usize = (0..rows.len())
        .into_par_iter()
        .map(|i| {
            let mut near: Vec<(f32, &str)> = (0..rows.len())
                .filter(|&j| j != i)
                .map(|j| (dot(rows[i].0, rows[j].0), rows[j].1))
                .collect();
            let k = k.min(near.len());
            near.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0));
            let mut votes = std::collections::BTreeMap::<&str, f32>::new();
            near[..k].iter().for_each(|(score, class)| *votes.entry(class).or_default() += score);
            let winner = votes.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| *class);
            usize::from(winner == Some(rows[i].1))
        })
        .sum();
    Some(right as f64 / rows.len() as f64)
}

/// Share of the rows of `a` whose nearest row of `b`, by cosine, is the one of the same number.
pub(crate) fn found_first(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let others: Vec<&[f32]> = b.chunks_exact(dim).collect();
    let rows: Vec<&[f32]> = a.chunks_exact(dim).collect();
    let found: usize = rows
        .par_iter()
        .enumerate()
        .map(|(i, row)| {
            let own = dot(row, others[i]);
            let nearer =
                others.iter().enumerate().any(|(j, other)| j != i && dot(row, other) >= own);
            usize::from(!nearer)
        })
        .sum();
    found as f64 / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_projections_are_collapsed_and_orthogonal_ones_are_not() {
        let spread: Vec<f32> =
            (0..50).flat_map(|i| (0..5).map(move |j| if i % 5 == j { 1.0 } else { 0.0 })).collect();
        let health = Health::of(&spread, &spread, 50);
        assert!(health.spread > 0.8 && health.rank > 3.9, "{health:?}");
        assert_eq!(health.alarm(), None);
        let collapsed: Vec<f32> = [0.6, 0.8, 0.0, 0.0].repeat(50);
        let health = Health::of(&collapsed, &spread, 50);
        assert!(health.spread < 1e-3, "{health:?}");
        assert!(health.alarm().is_some_and(|text| text.contains("collapsed")));
        let line: Vec<f32> = (0..50)
            .flat_map(|i| {
                let (sin, cos) = (i as f32 * 0.03).sin_cos();
                [sin, cos, 0.0, 0.0, 0.0]
            })
            .collect();
        let health = Health::of(&spread, &line, 50);
        assert!(health.alarm().is_some_and(|text| text.contains("dimensions")), "{health:?}");
    }

    #[test]
    fn neighbours_of_two_clusters_are_right() {
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| if i % 2 == 0 { [1.0, 0.01 * i as f32] } else { [0.01 * i as f32, 1.0] })
            .collect();
        let classes: Vec<_> =
            (0..40).map(|i| Some(if i % 2 == 0 { "a" } else { "b" }.into())).collect();
        assert_eq!(knn_accuracy(&rows, 2, &classes, 10), Some(1.0));
        assert_eq!(knn_accuracy(&rows, 2, &vec![None; 40], 10), None);
    }

    #[test]
    fn equal_views_are_aligned_and_opposite_points_uniform() {
        let rows = [1.0_f32, 0.0, -1.0, 0.0];
        let (alignment, uniformity) = alignment_uniformity(&rows, &rows, 2);
        assert!(alignment.abs() < 1e-9 && (uniformity + 8.0).abs() < 1e-6);
        let turned = [0.0_f32, 1.0, 0.0, -1.0];
        assert!((alignment_uniformity(&rows, &turned, 2).0 - 2.0).abs() < 1e-6);
        assert_eq!(found_first(&rows, &rows, 2), 1.0);
        assert_eq!(found_first(&rows, &[-1.0, 0.0, 1.0, 0.0], 2), 0.0);
    }
}
