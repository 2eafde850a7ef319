//! What is made of many hits: one a place, and different ones.

use std::collections::HashMap;

use curator_core::logistic::dot;
use curator_core::{BBox, Tile};

/// A place, to a millionth of a degree; tiles without one are places of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Box([i64; 4]),
    Tile(String),
}

impl Place {
    pub(crate) fn of(tile: &Tile) -> Self {
        match tile.bbox {
            Some(BBox { west, south, east, north }) => {
                Self::Box([west, south, east, north].map(|x| (x * 1e6).round() as i64))
            }
            None => Self::Tile(tile.tile_id.clone()),
        }
    }
}

/// The best hit of each place, best first, and how many more there were.
pub(crate) fn one_a_place(hits: Vec<(usize, f32, Tile)>) -> Vec<(usize, f32, Tile, usize)> {
    let mut seen: HashMap<Place, usize> = HashMap::new();
    let mut kept: Vec<(usize, f32, Tile, usize)> = Vec::new();
    for (row, score, tile) in hits {
        match seen.get(&Place::of(&tile)) {
            Some(&at) => kept[at].3 += 1,
            None => {
                seen.insert(Place::of(&tile), kept.len());
                kept.push((row, score, tile, 0));
            }
        }
    }
    kept
}

/// `k` hits that are near the query and far from one another: maximal marginal relevance (Carbonell and
/// Goldstein 1998). `weight` 0 leaves the order, 1 looks at variety alone.
///
/// `embeddings` are those of the hits, `[hits.len(), dim]`.
pub(crate) fn diverse(
    embeddings: &[f32],
    dim: usize,
    hits: &[(usize, f32)],
    k: usize,
    weight: f32,
) -> Vec<(usize, f32)> {
    let rows: Vec<&[f32]> = embeddings.chunks_exact(dim).collect();
    let mut nearest = vec![f32::NEG_INFINITY; hits.len()];
    let mut left: Vec<usize> = (0..hits.len()).collect();
    let mut chosen = Vec::with_capacity(k.min(hits.len()));
    while chosen.len() < k && !left.is_empty() {
        let worth = |i: usize| {
            let near = if nearest[i].is_finite() { nearest[i] } else { 0.0 };
            (1.0 - weight) * hits[i].1 - weight * near
        };
        let at = (0..left.len())
            .max_by(|&a, &b| worth(left[a]).total_cmp(&worth(left[b])).then(b.cmp(&a)))
            .unwrap_or(0);
        let next = left.remove(at);
        for &i in &left {
            nearest[i] = nearest[i].max(dot(rows[i], rows[next]));
        }
        chosen.push(hits[next]);
    }
    chosen
}
