//! Is the representation alive? Collapse, effective rank, and nearest-neighbour accuracy.

use curator_core::logistic::dot;
use rayon::prelude::*;
use serde::Serialize;

/// Neighbours that vote.
const K: usize = 10;

/// Health of a set of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Health {
    /// Mean over the dimensions of the standard deviation, times √D: about 1 when the embeddings fill
    /// the sphere, near 0 when they collapsed (Chen & He 2021, section 4.1).
    pub(crate) spread: f64,
    /// Effective rank: exponential of the entropy of the normalised singular values (Garrido et al.
    /// 2023, RankMe, <https://arxiv.org/abs/2210.02885>, equation 2).
    pub(crate) rank: f64,
}

impl Health {
    /// Of `[N, dim]` L2-normalised embeddings.
    pub(crate) fn of(embeddings: &[f32], dim: usize) -> Self {
        let (_, deviation) = deviations(embeddings, dim);
        let spread = deviation.iter().sum::<f64>() / dim as f64 * (dim as f64).sqrt();
        Self { spread, rank: effective_rank(embeddings, dim) }
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

/// Share of the rows whose class is that of the majority of their nearest other rows, by cosine.
/// `None` when fewer than two classes are known.
pub(crate) fn knn_accuracy(
    embeddings: &[f32],
    dim: usize,
    classes: &[Option<String>],
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
            let k = K.min(near.len());
            near.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0));
            let mut votes = std::collections::BTreeMap::<&str, f32>::new();
            near[..k].iter().for_each(|(score, class)| *votes.entry(class).or_default() += score);
            let winner = votes.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| *class);
            usize::from(winner == Some(rows[i].1))
        })
        .sum();
    Some(right as f64 / rows.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_embeddings_are_collapsed_and_orthogonal_ones_are_not() {
        let collapsed: Vec<f32> = [0.6, 0.8, 0.0, 0.0].repeat(50);
        let health = Health::of(&collapsed, 4);
        assert!(health.spread < 1e-3 && (health.rank - 1.0).abs() < 0.01, "{health:?}");
        let spread: Vec<f32> =
            (0..50).flat_map(|i| (0..4).map(move |j| if i % 4 == j { 1.0 } else { 0.0 })).collect();
        let health = Health::of(&spread, 4);
        assert!(health.spread > 0.8 && health.rank > 3.9, "{health:?}");
    }

    #[test]
    fn neighbours_of_two_clusters_are_right() {
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| if i % 2 == 0 { [1.0, 0.01 * i as f32] } else { [0.01 * i as f32, 1.0] })
            .collect();
        let classes: Vec<_> =
            (0..40).map(|i| Some(if i % 2 == 0 { "a" } else { "b" }.into())).collect();
        assert_eq!(knn_accuracy(&rows, 2, &classes), Some(1.0));
        assert_eq!(knn_accuracy(&rows, 2, &vec![None; 40]), None);
    }
}
