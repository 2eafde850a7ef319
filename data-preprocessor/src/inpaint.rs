//! Content-aware filling: gaps are made of pieces of the picture around them.
//!
//! Newson, Almansa, Gousseau, Pérez, *Non-Local Patch-Based Image Inpainting*, Image Processing On Line 7,
//! 2017 (after Wexler, Shechtman, Irani 2007): from a coarse picture to the whole one, every patch that
//! touches the gap looks for the most similar patch outside (with PatchMatch, Barnes et al. 2009), and the
//! gap's pixels become the mean of what those patches say, weighted by similarity; at the end the best one's
//! pixel, so that textures stay sharp. Memory: some 30 bytes a pixel of the tile.

use curator_core::{Raster, seed};
use rand::Rng;
use rand::RngExt;

use crate::nearest;

/// A patch reaches so far from its centre: 7×7 pixels.
const REACH: usize = 3;
/// The coarsest picture is at least so large on its shorter side.
const COARSEST: usize = 24;
/// Rounds of searching and averaging at a level.
const ROUNDS: usize = 4;
/// Passes of PatchMatch in a round.
const PASSES: usize = 2;

/// Fills the pixels where `gap` is set, the same for the same `item`; `false` when there is no patch to
/// learn from.
pub(crate) fn fill(image: &mut Raster, gap: &[bool], item: u64) -> bool {
    let whole = Level::of(image, gap);
    if !whole.sources.contains(&true) {
        return false;
    }
    let mut levels = vec![whole];
    while let Some(coarser) = levels.last().and_then(Level::halved) {
        levels.push(coarser);
    }
    let mut rng = seed::rng(0, &[item, 0x1a9a]);
    let mut coarser: Option<Level> = None;
    while let Some(mut level) = levels.pop() {
        match &coarser {
            None => level.begin(&mut rng),
            Some(coarser) => level.begin_from(coarser, &mut rng),
        }
        for round in 0..ROUNDS {
            for pass in 0..PASSES {
                level.search(pass % 2 == 1, &mut rng);
            }
            level.vote(levels.is_empty() && round + 1 == ROUNDS);
        }
        coarser = Some(level);
    }
    if let Some(whole) = coarser {
        image.data = whole.pixels;
    }
    true
}

/// A picture of the pyramid, and for every patch that touches the gap its match.
struct Level {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    gap: Vec<bool>,
    /// Whether a patch around a pixel lies inside the picture and outside the gap.
    sources: Vec<bool>,
    /// Centres of patches that touch the gap, row by row.
    targets: Vec<usize>,
    /// The centre that each target's patch matches, and how well: sum of squared differences.
    matches: Vec<(usize, u32)>,
}

impl Level {
    fn of(image: &Raster, gap: &[bool]) -> Self {
        Self::new(image.width as usize, image.height as usize, image.data.clone(), gap.to_vec())
    }

    fn new(width: usize, height: usize, pixels: Vec<u8>, gap: Vec<bool>) -> Self {
        let mut sources = vec![false; gap.len()];
        let mut targets = Vec::new();
        for y in REACH..height.saturating_sub(REACH) {
            for x in REACH..width.saturating_sub(REACH) {
                let touched = (y - REACH..=y + REACH)
                    .any(|y| gap[y * width + x - REACH..=y * width + x + REACH].contains(&true));
                if touched {
                    targets.push(y * width + x);
                } else {
                    sources[y * width + x] = true;
                }
            }
        }
        let matches = vec![(0, u32::MAX); gap.len()];
        Self { width, height, pixels, gap, sources, targets, matches }
    }

    /// Half the size, means of valid pixels; `None` when it would be too small, or nothing to learn from.
    fn halved(&self) -> Option<Self> {
        let (width, height) = (self.width / 2, self.height / 2);
        if width.min(height) < COARSEST {
            return None;
        }
        let mut pixels = vec![0; width * height * 3];
        let mut gap = vec![false; width * height];
        for at in 0..width * height {
            let corner = at / width * 2 * self.width + at % width * 2;
            let four = [corner, corner + 1, corner + self.width, corner + self.width + 1];
            let valid: Vec<usize> = four.into_iter().filter(|&at| !self.gap[at]).collect();
            gap[at] = valid.len() < 2;
            for band in 0..3 {
                let sum: usize =
                    valid.iter().map(|at| usize::from(self.pixels[at * 3 + band])).sum();
                pixels[at * 3 + band] = (sum / valid.len().max(1)) as u8;
            }
        }
        let level = Self::new(width, height, pixels, gap);
        (level.sources.contains(&true) && level.gap.contains(&true)).then_some(level)
    }

    /// The coarsest level: the nearest colours, and any matches.
    fn begin(&mut self, rng: &mut impl Rng) {
        if let Some(nearest) = nearest::sources(&self.gap, self.width, self.height) {
            for at in (0..self.gap.len()).filter(|&at| self.gap[at]) {
                self.pixels.copy_within(nearest[at] * 3..nearest[at] * 3 + 3, at * 3);
            }
        }
        self.match_anew(|_| None, rng);
    }

    /// A finer level: the matches of the coarser one, and the colours that they say.
    fn begin_from(&mut self, coarser: &Self, rng: &mut impl Rng) {
        let width = self.width;
        let finer = |at: usize| {
            let (x, y) = (at % width, at / width);
            let (a, b) = ((x / 2).min(coarser.width - 1), (y / 2).min(coarser.height - 1));
            let (source, distance) = coarser.matches[b * coarser.width + a];
            let (u, v) = (source % coarser.width * 2 + x % 2, source / coarser.width * 2 + y % 2);
            (distance != u32::MAX).then_some(v * width + u)
        };
        // The coarser picture, larger.
        for at in (0..self.gap.len()).filter(|&at| self.gap[at]) {
            let x = (at % width / 2).min(coarser.width - 1);
            let y = (at / width / 2).min(coarser.height - 1);
            let from = (y * coarser.width + x) * 3;
            self.pixels[at * 3..at * 3 + 3].copy_from_slice(&coarser.pixels[from..from + 3]);
        }
        self.match_anew(finer, rng);
        self.vote(false);
    }

    /// Gives every target a match: a suggested one where it is a source, any other elsewhere.
    fn match_anew(&mut self, suggest: impl Fn(usize) -> Option<usize>, rng: &mut impl Rng) {
        let sources: Vec<usize> = (0..self.gap.len()).filter(|&at| self.sources[at]).collect();
        for i in 0..self.targets.len() {
            let target = self.targets[i];
            let source = suggest(target)
                .filter(|&at| self.sources.get(at) == Some(&true))
                .unwrap_or_else(|| sources[rng.random_range(0..sources.len())]);
            self.matches[target] = (source, self.distance(target, source, u32::MAX - 1));
        }
    }

    /// Sum of squared differences of two patches, or more than `limit`.
    fn distance(&self, target: usize, source: usize, limit: u32) -> u32 {
        let mut sum = 0;
        for line in 0..=2 * REACH {
            let start =
                |centre: usize| (centre + line * self.width - REACH * self.width - REACH) * 3;
            let length = (2 * REACH + 1) * 3;
            let (a, b) = (start(target), start(source));
            sum += self.pixels[a..a + length]
                .iter()
                .zip(&self.pixels[b..b + length])
                .map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2))
                .sum::<u32>();
            if sum > limit {
                break;
            }
        }
        sum
    }

    /// A pass of PatchMatch: what the neighbours match, then guesses ever nearer to the own match.
    fn search(&mut self, backward: bool, rng: &mut impl Rng) {
        for i in 0..self.targets.len() {
            let target = self.targets[if backward { self.targets.len() - 1 - i } else { i }];
            // Distances of the round before are stale: the gap's pixels have changed since.
            let mut best = self.matches[target];
            best.1 = self.distance(target, best.0, u32::MAX - 1);
            for step in [1, self.width] {
                let neighbour = if backward { target + step } else { target - step };
                let (source, known) = self.matches[neighbour];
                let moved = if backward { source.wrapping_sub(step) } else { source + step };
                if known != u32::MAX && self.sources.get(moved) == Some(&true) {
                    let distance = self.distance(target, moved, best.1);
                    best = if distance < best.1 { (moved, distance) } else { best };
                }
            }
            let mut reach = self.width.max(self.height);
            while reach >= 1 {
                let (x, y) = (best.0 % self.width, best.0 / self.width);
                let across = x.saturating_sub(reach)..=(x + reach).min(self.width - 1);
                let down = y.saturating_sub(reach)..=(y + reach).min(self.height - 1);
                let guess = rng.random_range(down) * self.width + rng.random_range(across);
                if self.sources[guess] {
                    let distance = self.distance(target, guess, best.1);
                    best = if distance < best.1 { (guess, distance) } else { best };
                }
                reach /= 2;
            }
            self.matches[target] = best;
        }
    }

    /// Colours the gap by what the matches of the patches around each pixel say: their mean, weighted by
    /// similarity, or what the best of them says.
    fn vote(&mut self, best_only: bool) {
        let mut distances: Vec<u32> = self.targets.iter().map(|&at| self.matches[at].1).collect();
        distances.sort_unstable();
        // The width of the weights as in the paper: the 75th percentile of the distances.
        let spread =
            f64::from(distances.get(distances.len() * 3 / 4).copied().unwrap_or(0)).max(1.0);
        let mut colors = Vec::new();
        for at in (0..self.gap.len()).filter(|&at| self.gap[at]) {
            let (x, y) = (at % self.width, at / self.width);
            let (mut sum, mut weights) = ([0.0; 3], 0.0);
            let mut best = (u32::MAX, at);
            for centre_y in y.saturating_sub(REACH)..=(y + REACH).min(self.height - 1) {
                for centre_x in x.saturating_sub(REACH)..=(x + REACH).min(self.width - 1) {
                    let centre = centre_y * self.width + centre_x;
                    let (source, distance) = self.matches[centre];
                    if distance == u32::MAX {
                        continue;
                    }
                    let pixel = source + at - centre;
                    if distance < best.0 {
                        best = (distance, pixel);
                    }
                    let weight = (-f64::from(distance) / (2.0 * spread)).exp();
                    weights += weight;
                    for (band, sum) in sum.iter_mut().enumerate() {
                        *sum += weight * f64::from(self.pixels[pixel * 3 + band]);
                    }
                }
            }
            let pixel = &self.pixels[best.1 * 3..best.1 * 3 + 3];
            let mean = sum.map(|sum| (sum / weights).round() as u8);
            let best_alone = best_only || weights < f64::MIN_POSITIVE;
            colors.push((at, if best_alone { [pixel[0], pixel[1], pixel[2]] } else { mean }));
        }
        for (at, color) in colors {
            self.pixels[at * 3..at * 3 + 3].copy_from_slice(&color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stripes of a period of 8 pixels that run down the picture.
    fn stripes(width: usize, height: usize) -> Raster {
        let data = (0..width * height)
            .flat_map(|at| if at % width % 8 < 4 { [200, 180, 90] } else { [20, 60, 110] })
            .collect();
        Raster { width: width as u32, height: height as u32, bands: 3, data }
    }

    #[test]
    fn stripes_go_on_through_a_gap() {
        let truth = stripes(96, 96);
        let gap: Vec<bool> = (0..96 * 96)
            .map(|at| (40..60).contains(&(at % 96)) && (30..70).contains(&(at / 96)))
            .collect();
        let mut image = truth.clone();
        for at in (0..gap.len()).filter(|&at| gap[at]) {
            image.data[at * 3..at * 3 + 3].fill(0);
        }
        let broken = image.clone();
        assert!(fill(&mut image, &gap, 7));
        let wrong = (0..gap.len())
            .filter(|&at| image.data[at * 3].abs_diff(truth.data[at * 3]) > 40)
            .count();
        assert!(wrong < 40, "{wrong} of 800 pixels are wrong");
        let mut again = broken.clone();
        fill(&mut again, &gap, 7);
        assert_eq!(again, image);
        let outside = (0..gap.len()).filter(|&at| !gap[at]);
        assert!(outside.into_iter().all(|at| image.data[at * 3] == truth.data[at * 3]));
    }

    #[test]
    fn a_picture_without_a_whole_patch_is_left_alone() {
        let mut image = stripes(6, 40);
        let before = image.clone();
        let gap: Vec<bool> = (0..240).map(|at| at % 6 == 2).collect();
        assert!(!fill(&mut image, &gap, 1));
        assert_eq!(image, before);
    }
}
