//! UMAP (McInnes, Healy, Melville 2018, arXiv 1802.03426): a graph of near rows, and places on a plane that
//! give the same graph as well as a plane can.
//!
//! The graph is `umap-rs`'s. The places are found here, because the optimisers that there are let threads
//! race, and another map comes out every time. Here rows are dealt into blocks, and the edges between two
//! blocks are worked on by one thread alone, while others work on other blocks (as in Gemulla et al. 2011): so
//! a seed has one map, whatever the number of threads.
//!
//! Memory: the graph, about `25·k` bytes a row while it is made and `10·k` then, and 16 bytes a row.

use curator_core::{Context, seed};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use umap_rs::{GraphParams, ManifoldParams, SparseMat, Umap, UmapConfig};

use super::begin;
use super::nearest::Near;
use crate::Result;

/// The curve 1 / (1 + A·d^2B) that says how near two points count at distance d: of `min_dist` 0.1 and
/// `spread` 1, as UMAP's authors fit it.
const A: f32 = 1.576_943;
const B: f32 = 0.895_060_9;
/// Rounds for small and for large maps, UMAP's own.
const EPOCHS: [u32; 2] = [500, 200];
const SMALL: usize = 10_000;
/// Random rows that a row is pushed away from for each that it is drawn to.
const PUSHES: u32 = 5;
/// The most that a force counts.
const MOST: f32 = 4.0;
/// Blocks of rows, an even number: half as many threads have work.
const BLOCKS: usize = 32;
/// Epochs between two steps of the bar.
const STEP: u32 = 5;

type Point = [f32; 2];

/// Places for rows, from first ones.
pub(super) fn arrange(
    near: &Near,
    first: Vec<Point>,
    seed: u64,
    context: &Context,
) -> Result<Vec<Point>> {
    let n = first.len();
    let task = context.progress.begin("graph", None, curator_core::context::Unit::Items);
    let meetings = meetings(&graph(near, n), n);
    drop(task);
    let epochs = EPOCHS[usize::from(n > SMALL)];
    let task = begin(context, "map", epochs as usize);
    let mut blocks: Vec<Vec<Point>> = first.chunks(block_size(n)).map(<[Point]>::to_vec).collect();
    blocks.resize(BLOCKS, Vec::new());
    let mut places = first;
    let (pull, push) = (Force::pull(), Force::push());
    for epoch in 0..epochs {
        context.check()?;
        let rate = 1.0 - epoch as f32 / epochs as f32;
        let seed = seed::mix(seed, &[u64::from(epoch)]);
        let round = Round { places: &places, epoch, rate, seed, pull: &pull, push: &push };
        // The graph has every edge both ways: each of its ends is the head once.
        for head in 0..2 {
            meetings.iter().for_each(|pairs| round.run(pairs, head, &mut blocks));
        }
        places.clear();
        blocks.iter().for_each(|block| places.extend(block));
        if (epoch + 1) % STEP == 0 {
            task.advance(u64::from(STEP));
        }
    }
    Ok(places)
}

fn block_size(n: usize) -> usize {
    n.div_ceil(BLOCKS).max(1)
}

/// How surely rows are near to one another, `[n, n]`, the same both ways.
fn graph(near: &Near, n: usize) -> SparseMat {
    let config = UmapConfig {
        graph: GraphParams { n_neighbors: near.k, ..GraphParams::default() },
        manifold: ManifoldParams { a: Some(A), b: Some(B), ..ManifoldParams::default() },
        ..UmapConfig::default()
    };
    let whole = "lists are as long as k says";
    let rows = ArrayView2::from_shape((n, near.k), &near.rows).expect(whole);
    let distances = ArrayView2::from_shape((n, near.k), &near.distances).expect(whole);
    // Of the rows themselves only their number is looked at.
    let data = Array2::<f32>::zeros((n, 0));
    Umap::new(config).learn_manifold(data.view(), rows, distances).graph().clone()
}

/// Two near rows, numbered in their blocks, and the share of epochs in which they count.
struct Edge {
    ends: [u32; 2],
    share: f32,
}

/// The edges between two blocks, or in one.
struct Meeting {
    blocks: [usize; 2],
    edges: Vec<Edge>,
}

/// Every edge once, by rounds of meetings in which each block has one: those with itself, then a tournament.
fn meetings(graph: &SparseMat, n: usize) -> Vec<Vec<Meeting>> {
    let most = graph.data().iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let size = block_size(n);
    let mut between: Vec<Vec<Edge>> = (0..BLOCKS * BLOCKS).map(|_| Vec::new()).collect();
    for (row, others) in graph.outer_iterator().enumerate() {
        for (other, weight) in others.iter().filter(|&(other, _)| other > row) {
            let ends = [row % size, other % size].map(|end| end as u32);
            let edge = Edge { ends, share: weight / most };
            between[row / size * BLOCKS + other / size].push(edge);
        }
    }
    let mut meeting = |a: usize, b: usize| {
        let blocks = [a.min(b), a.max(b)];
        Meeting { blocks, edges: std::mem::take(&mut between[blocks[0] * BLOCKS + blocks[1]]) }
    };
    let mut rounds = vec![(0..BLOCKS).map(|block| meeting(block, block)).collect()];
    // One block stays, the others sit in a circle and turn.
    let circle = BLOCKS - 1;
    for turn in 0..circle {
        let mut pairs = vec![meeting(circle, turn)];
        for k in 1..BLOCKS / 2 {
            pairs.push(meeting((turn + k) % circle, (turn + circle - k) % circle));
        }
        rounds.push(pairs);
    }
    rounds
}

/// One epoch.
struct Round<'a> {
    /// Where all rows were when it began.
    places: &'a [Point],
    epoch: u32,
    rate: f32,
    seed: u64,
    pull: &'a Force,
    push: &'a Force,
}

impl Round<'_> {
    /// Meetings of blocks that are all different, at once.
    fn run(&self, pairs: &[Meeting], head: usize, blocks: &mut [Vec<Point>]) {
        let mut work: Vec<_> = pairs
            .iter()
            .filter(|meeting| !meeting.edges.is_empty())
            .map(|meeting| {
                (meeting, meeting.blocks.map(|block| std::mem::take(&mut blocks[block])))
            })
            .collect();
        work.par_iter_mut().for_each(|(meeting, own)| self.meet(meeting, head, own));
        for (meeting, [one, two]) in work {
            if meeting.blocks[0] != meeting.blocks[1] {
                blocks[meeting.blocks[1]] = two;
            }
            blocks[meeting.blocks[0]] = one;
        }
    }

    /// Draws the ends of edges together, and their heads away from some others.
    fn meet(&self, meeting: &Meeting, head: usize, own: &mut [Vec<Point>; 2]) {
        let size = block_size(self.places.len());
        let [one, two] = meeting.blocks;
        // A block that meets itself is the first of both.
        let at = [0, usize::from(one != two)];
        let mut random = seed::mix(self.seed, &[one as u64, two as u64, head as u64]);
        for edge in meeting.edges.iter().filter(|edge| self.is_due(edge.share)) {
            let ends = edge.ends.map(|end| end as usize);
            let mut points = [own[at[0]][ends[0]], own[at[1]][ends[1]]];
            attract(&mut points, self.pull, self.rate);
            let row = meeting.blocks[head] * size + ends[head];
            for _ in 0..PUSHES {
                random = next(random);
                let other = (((random >> 32) * self.places.len() as u64) >> 32) as usize;
                if other != row {
                    repel(&mut points[head], self.places[other], self.push, self.rate);
                }
            }
            (own[at[0]][ends[0]], own[at[1]][ends[1]]) = (points[0], points[1]);
        }
    }

    /// Whether an edge counts in this epoch: over all epochs it does in its share of them, evenly spread.
    fn is_due(&self, share: f32) -> bool {
        (share * (self.epoch + 1) as f32) as u32 > (share * self.epoch as f32) as u32
    }
}

/// From one point to another, and the square of how far that is.
fn between(from: Point, to: Point) -> (Point, f32) {
    let way = [to[0] - from[0], to[1] - from[1]];
    (way, way[0] * way[0] + way[1] * way[1])
}

/// A force by the square of a distance, looked up: the powers in it would be most of the work. Between 32 steps
/// of each binary order it is straight, and right to a thousandth.
struct Force(Vec<f32>);

impl Force {
    /// Squares of distances that are told apart; one beyond counts as the last.
    const LEAST: f32 = 1.0 / 16_777_216.0;
    const MOST: f32 = 1_048_576.0;
    /// Bits of a number's fraction within a step.
    const WITHIN: u32 = 18;

    fn of(force: impl Fn(f32) -> f32) -> Self {
        let (first, last) =
            (Self::LEAST.to_bits() >> Self::WITHIN, Self::MOST.to_bits() >> Self::WITHIN);
        Self((first..=last + 1).map(|step| force(f32::from_bits(step << Self::WITHIN))).collect())
    }

    fn pull() -> Self {
        Self::of(|squared| {
            let power = squared.powf(B);
            2.0 * A * B * power / (squared * (A * power + 1.0))
        })
    }

    fn push() -> Self {
        Self::of(|squared| 2.0 * B / ((0.001 + squared) * (A * squared.powf(B) + 1.0)))
    }

    fn at(&self, squared: f32) -> f32 {
        let bits = squared.clamp(Self::LEAST, Self::MOST).to_bits();
        let step = ((bits >> Self::WITHIN) - (Self::LEAST.to_bits() >> Self::WITHIN)) as usize;
        let rest = (bits & ((1 << Self::WITHIN) - 1)) as f32 / (1 << Self::WITHIN) as f32;
        self.0[step] + (self.0[step + 1] - self.0[step]) * rest
    }
}

/// Moves both of two points towards one another.
fn attract(points: &mut [Point; 2], force: &Force, rate: f32) {
    let (way, squared) = between(points[0], points[1]);
    if squared > 0.0 {
        let force = force.at(squared);
        for axis in 0..2 {
            let step = (force * way[axis]).clamp(-MOST, MOST) * rate;
            points[0][axis] += step;
            points[1][axis] -= step;
        }
    }
}

/// Moves a point away from another.
fn repel(point: &mut Point, other: Point, force: &Force, rate: f32) {
    let (way, squared) = between(*point, other);
    if squared > 0.0 {
        let force = force.at(squared);
        for axis in 0..2 {
            point[axis] -= (force * way[axis]).clamp(-MOST, MOST) * rate;
        }
    }
}

/// xorshift64* (Vigna 2016).
fn next(state: u64) -> u64 {
    let x = state ^ (state >> 12);
    let x = x ^ (x << 25);
    (x ^ (x >> 27)).wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forces_are_looked_up_well() {
        let (pull, push) = (Force::pull(), Force::push());
        for i in 0..4000 {
            let squared = 1e-6 * 1.007_f32.powi(i);
            if squared > 1e6 {
                break;
            }
            let power = squared.powf(B);
            let expected = 2.0 * A * B * power / (squared * (A * power + 1.0));
            assert!((pull.at(squared) / expected - 1.0).abs() < 1e-3, "{squared}");
            let expected = 2.0 * B / ((0.001 + squared) * (A * power + 1.0));
            assert!((push.at(squared) / expected - 1.0).abs() < 1e-3, "{squared}");
        }
        assert!(pull.at(0.0).is_finite() && pull.at(f32::MAX).is_finite());
    }
}
