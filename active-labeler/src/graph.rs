//! The neighbours of every row: what looks alike is probably alike. Half of a row's probability is that of
//! its neighbours, which finds positives with fewer labels than the classifier alone.

use curator_core::features::{Features, products};
use curator_core::npy::Matrix;
use rayon::prelude::*;

use crate::space::Space;

/// Neighbours of a row.
const DEGREE: usize = 10;
/// How fast a neighbour's weight falls with its distance in angle.
const FALL: f32 = 3.0;
/// The share of a probability that is its neighbours'.
const SHARE: f32 = 0.5;
/// What a labelled neighbour counts at least, or one minus it at most: the labels are surer than the model.
const SURE: f32 = 0.95;
/// Rows up to which neighbours are searched here when the index has none.
const SEARCHED: usize = 20_000;

/// Neighbours and their weights. Memory: 80 bytes a row.
pub(crate) struct Graph {
    degree: usize,
    /// `[N, degree]`; the row itself where there are fewer.
    to: Vec<u32>,
    /// `[N, degree]`; of a row they sum to 1, or are 0.
    weight: Vec<f32>,
}

impl Graph {
    /// Of the index's neighbours those nearest in the space. Without them, small sets are searched and large
    /// ones have no graph.
    pub(crate) fn of(space: &Space, stored: Option<&Matrix<i32>>) -> Option<Self> {
        match stored.filter(|matrix| matrix.rows() == space.len()) {
            Some(matrix) => Some(Self::chosen(space, &|row| {
                matrix
                    .read(row..row + 1)
                    .into_iter()
                    .filter_map(|to| u32::try_from(to).ok())
                    .collect()
            })),
            None if space.len() <= SEARCHED => Some(Self::searched(space)),
            None => None,
        }
    }

    fn chosen(space: &Space, candidates: &(dyn Fn(usize) -> Vec<u32> + Sync)) -> Self {
        let degree = DEGREE.min(space.len());
        let mut to = vec![0; space.len() * degree];
        let mut weight = vec![0.0; space.len() * degree];
        to.par_chunks_mut(degree)
            .zip(weight.par_chunks_mut(degree))
            .enumerate()
            .with_min_len(1024)
            .for_each(|(row, (to, weight))| {
                let mut near: Vec<(f32, u32)> = candidates(row)
                    .into_iter()
                    .filter(|&other| other as usize != row && (other as usize) < space.len())
                    .map(|other| (space.cosine(row, other as usize), other))
                    .collect();
                near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                to.fill(row as u32);
                for ((to, weight), (cosine, other)) in
                    to.iter_mut().zip(weight.iter_mut()).zip(near)
                {
                    (*to, *weight) = (other, ((cosine - 1.0) * FALL).exp());
                }
                let sum: f32 = weight.iter().sum::<f32>().max(1e-12);
                weight.iter_mut().for_each(|w| *w /= sum);
            });
        Self { degree, to, weight }
    }

    fn searched(space: &Space) -> Self {
        let normed: Vec<f32> = (0..space.len())
            .flat_map(|row| {
                let x = space.row(row);
                let length = curator_core::logistic::dot(x, x).sqrt().max(1e-12);
                x.iter().map(move |x| x / length)
            })
            .collect();
        let features = Features::new(space.dim(), &normed);
        Self::chosen(space, &|row| {
            let cosines = products(features.row(row), &normed, space.dim());
            let mut others: Vec<u32> =
                (0..space.len() as u32).filter(|&other| other as usize != row).collect();
            let best = |a: &u32, b: &u32| {
                cosines[*b as usize].total_cmp(&cosines[*a as usize]).then(a.cmp(b))
            };
            if others.len() > DEGREE {
                others.select_nth_unstable_by(DEGREE - 1, best);
                others.truncate(DEGREE);
            }
            others
        })
    }

    /// The neighbours of a row, nearest first.
    pub(crate) fn neighbours(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let range = row * self.degree..(row + 1) * self.degree;
        self.to[range].iter().map(|&to| to as usize).filter(move |&to| to != row)
    }

    /// Probabilities with those of the neighbours taken in. `known` says what is labelled.
    pub(crate) fn smooth(&self, probability: &[f32], known: &[(usize, bool)]) -> Vec<f32> {
        let mut said = probability.to_vec();
        for &(row, positive) in known {
            said[row] = if positive { said[row].max(SURE) } else { said[row].min(1.0 - SURE) };
        }
        let mut smoothed = vec![0.0; probability.len()];
        smoothed.par_iter_mut().enumerate().with_min_len(4096).for_each(|(row, out)| {
            *out = self.one(row, probability[row], |other| said[other]);
        });
        smoothed
    }

    /// The smoothed probability of one row.
    pub(crate) fn one(&self, row: usize, own: f32, said: impl Fn(usize) -> f32) -> f32 {
        let range = row * self.degree..(row + 1) * self.degree;
        let each = self.to[range.clone()].iter().zip(&self.weight[range]);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (&to, &weight) in each {
            sum += weight * said(to as usize);
            weights += weight;
        }
        if weights > 0.0 { (1.0 - SHARE) * own + SHARE * sum / weights } else { own }
    }

    /// What a labelled row tells its neighbours.
    pub(crate) fn said(probability: f32, positive: bool) -> f32 {
        if positive { probability.max(SURE) } else { probability.min(1.0 - SURE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        let bits = |i: u64| (curator_core::seed::mix(5, &[i]) >> 40) as f32 / (1_u64 << 24) as f32;
        let data: Vec<f32> = (0..60 * 4).map(bits).collect();
        Space::of(&Features::new(4, &data))
    }

    #[test]
    fn searched_neighbours_are_those_of_all_pairs() {
        let space = space();
        let graph = Graph::of(&space, None).unwrap();
        for row in 0..60 {
            let mut all: Vec<usize> = (0..60).filter(|&other| other != row).collect();
            all.sort_by(|&a, &b| space.cosine(row, b).total_cmp(&space.cosine(row, a)));
            assert_eq!(graph.neighbours(row).collect::<Vec<_>>(), all[..DEGREE]);
        }
    }

    #[test]
    fn smoothing_is_the_weighted_mean_written_out() {
        let space = space();
        let graph = Graph::of(&space, None).unwrap();
        let p: Vec<f32> = (0..60).map(|i| i as f32 / 60.0).collect();
        let known = [(3, true), (50, false)];
        let smoothed = graph.smooth(&p, &known);
        for row in 0..60 {
            let (mut sum, mut weights) = (0.0, 0.0);
            for other in graph.neighbours(row) {
                let w = ((space.cosine(row, other) - 1.0) * 3.0).exp();
                let value = match other {
                    3 => 0.95,
                    50 => 0.05,
                    other => p[other],
                };
                sum += w * value;
                weights += w;
            }
            assert!((smoothed[row] - (0.5 * p[row] + 0.5 * sum / weights)).abs() < 1e-5);
        }
    }
}
