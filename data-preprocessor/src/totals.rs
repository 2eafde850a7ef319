//! What became of the pixels of windows, counted without a look at each pixel again for every window that shares
//! it: the windows' edges cut a native tile into cells, and each cell is summed once.

use std::ops::Range;

use crate::cloud::{self, Tally};
use crate::sight::Sight;
use crate::windows::Span;

/// Lines that are summed in 16 bits: of steps up to 127 there may be 516.
const LINES: usize = 512;

/// What became of some pixels, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Census {
    /// Pixels of native tiles that are there.
    pub(crate) pixels: u32,
    pub(crate) gap: u32,
    pub(crate) night: u32,
    pub(crate) clouds: Tally,
}

impl Census {
    /// The field-by-field result of some arithmetic, modulo 2³².
    fn with(self, other: Self, f: impl Fn(u32, u32) -> u32) -> Self {
        let clouds = Tally {
            cloudy: f(self.clouds.cloudy, other.clouds.cloudy),
            sure: f(self.clouds.sure, other.clouds.sure),
            sure_of_cloud: f(self.clouds.sure_of_cloud, other.clouds.sure_of_cloud),
        };
        let (gap, night) = (f(self.gap, other.gap), f(self.night, other.night));
        Self { pixels: f(self.pixels, other.pixels), gap, night, clouds }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.with(other, u32::wrapping_add)
    }

    fn minus(self, other: Self) -> Self {
        self.with(other, u32::wrapping_sub)
    }
}

/// Where windows begin and end along both axes, in order.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    columns: Vec<u32>,
    rows: Vec<u32>,
}

impl Edges {
    pub(crate) fn of(columns: &[Span], rows: &[Span]) -> Self {
        let edges = |spans: &[Span]| {
            let both = spans.iter().flat_map(|span| [span.start, span.start + span.length]);
            let mut edges: Vec<u32> = both.collect();
            edges.sort_unstable();
            edges.dedup();
            edges
        };
        Self { columns: edges(columns), rows: edges(rows) }
    }

    /// Those in a native tile, from its corner on, with its own.
    fn within(edges: &[u32], from: u32, length: u32) -> Vec<u32> {
        let first = edges.partition_point(|&edge| edge <= from);
        let inside = edges[first..].iter().map(|edge| edge - from).take_while(|&at| at < length);
        [0].into_iter().chain(inside).chain([length]).collect()
    }
}

/// Sums over all cells left of and above each corner of a cell of a native tile.
#[derive(Debug)]
pub(crate) struct Totals {
    columns: Vec<u32>,
    rows: Vec<u32>,
    table: Vec<Census>,
}

impl Totals {
    /// Of a native tile of a size at a place of the plane: its samples, unless it cannot be decoded, and what
    /// became of its pixels, unless all were seen.
    pub(crate) fn of(
        edges: &Edges,
        (x, y): (u32, u32),
        (width, height): (u32, u32),
        samples: Option<&[u8]>,
        sights: Option<&[Sight]>,
    ) -> Self {
        let columns = Edges::within(&edges.columns, x, width);
        let rows = Edges::within(&edges.rows, y, height);
        let stride = columns.len();
        let mut table = vec![Census::default(); stride * rows.len()];
        let width = width as usize;
        let mut lines = Lines::new(width);
        for (row, ends) in rows.windows(2).enumerate() {
            let mut cells = vec![Census::default(); stride - 1];
            let all: Vec<usize> = (ends[0] as usize..ends[1] as usize).collect();
            for part in all.chunks(LINES) {
                for &line in part {
                    let pixels = line * width..(line + 1) * width;
                    lines.add(
                        samples.map(|samples| &samples[pixels.start * 3..pixels.end * 3]),
                        sights.map(|sights| &sights[pixels]),
                    );
                }
                for (cell, ends) in cells.iter_mut().zip(columns.windows(2)) {
                    *cell = cell.plus(lines.sum(ends[0] as usize..ends[1] as usize));
                }
                lines.clear();
            }
            let mut sum = Census::default();
            for (column, cell) in cells.into_iter().enumerate() {
                sum = sum.plus(cell);
                table[(row + 1) * stride + column + 1] = table[row * stride + column + 1].plus(sum);
            }
        }
        Self { columns, rows, table }
    }

    /// Sums over a part between edges of windows, in pixels from the native tile's corner on.
    pub(crate) fn part(&self, columns: Range<u32>, rows: Range<u32>) -> Census {
        let at = |edges: &[u32], at: u32| edges.partition_point(|&edge| edge < at);
        let (left, right) = (at(&self.columns, columns.start), at(&self.columns, columns.end));
        let (top, bottom) = (at(&self.rows, rows.start), at(&self.rows, rows.end));
        let corner = |x: usize, y: usize| self.table[y * self.columns.len() + x];
        corner(right, bottom)
            .plus(corner(left, top))
            .minus(corner(left, bottom))
            .minus(corner(right, top))
    }
}

/// Sums over lines of every column.
struct Lines {
    lines: u16,
    kinds: Vec<u16>,
    codes: Vec<u8>,
    gap: Vec<u16>,
    night: Vec<u16>,
    cloudy: Vec<u16>,
    sure: Vec<u16>,
    sure_of_cloud: Vec<u16>,
}

impl Lines {
    fn new(width: usize) -> Self {
        let none = || vec![0; width];
        let (gap, night, cloudy, sure, sure_of_cloud) = (none(), none(), none(), none(), none());
        let (kinds, codes) = (none(), vec![0; width]);
        Self { lines: 0, kinds, codes, gap, night, cloudy, sure, sure_of_cloud }
    }

    fn clear(&mut self) {
        self.lines = 0;
        for sums in [
            &mut self.gap,
            &mut self.night,
            &mut self.cloudy,
            &mut self.sure,
            &mut self.sure_of_cloud,
        ] {
            sums.fill(0);
        }
    }

    fn add(&mut self, samples: Option<&[u8]>, sights: Option<&[Sight]>) {
        self.lines += 1;
        if let Some(samples) = samples {
            cloud::code(samples, &mut self.kinds, &mut self.codes);
        }
        if let Some(sights) = sights {
            for (sums, kind) in [(&mut self.gap, Sight::Gap), (&mut self.night, Sight::Night)] {
                let each = sums.iter_mut().zip(sights);
                each.for_each(|(sum, &sight)| *sum += u16::from(sight == kind));
            }
            for (code, &sight) in self.codes.iter_mut().zip(sights) {
                *code = if sight == Sight::Seen { *code } else { cloud::NOTHING };
            }
        }
        if samples.is_none() {
            return;
        }
        let sums = self.cloudy.iter_mut().zip(&mut self.sure).zip(&mut self.sure_of_cloud);
        for (((cloudy, sure), sure_of_cloud), &code) in sums.zip(&self.codes) {
            let (is_cloudy, steps) = cloud::decode(code);
            *cloudy += is_cloudy;
            *sure += steps;
            *sure_of_cloud += is_cloudy * steps;
        }
    }

    /// The sums over some columns.
    fn sum(&self, columns: Range<usize>) -> Census {
        let pixels = u32::from(self.lines) * columns.len() as u32;
        let sum = |sums: &[u16]| sums[columns.clone()].iter().map(|&sum| u32::from(sum)).sum();
        let (cloudy, sure) = (sum(&self.cloudy), sum(&self.sure));
        let clouds = Tally { cloudy, sure, sure_of_cloud: sum(&self.sure_of_cloud) };
        Census { pixels, gap: sum(&self.gap), night: sum(&self.night), clouds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_pixels_of_each_window() {
        proptest::proptest!(|(
            seed: u64, size in (1_u32..40, 1_u32..700), stride in (1_u32..30, 1_u32..200), corner in (0_u32..50, 0_u32..50),
        )| {
            let (width, height) = size;
            let drawn = |at: u32, n: u64| curator_core::seed::mix(seed, &[u64::from(at), n]);
            let samples: Vec<u8> = (0..width * height * 3).map(|at| drawn(at / 7, u64::from(at % 3)) as u8).collect();
            let kinds = [Sight::Seen, Sight::Gap, Sight::Night];
            let sights: Vec<Sight> = (0..width * height).map(|at| kinds[drawn(at / 5, 9) as usize % 3]).collect();
            let spans = |stride: u32, end: u32| -> Vec<Span> {
                (0..end / stride).map(|i| Span { start: i * stride, length: stride * 3 / 2 }).collect()
            };
            let (columns, rows) = (spans(stride.0, corner.0 + width), spans(stride.1, corner.1 + height));
            let edges = Edges::of(&columns, &rows);
            let totals = Totals::of(&edges, corner, size, Some(&samples), Some(&sights));
            for (across, down) in columns.iter().flat_map(|c| rows.iter().map(move |r| (c, r))) {
                let clip = |span: &Span, from: u32, length: u32| {
                    let to = (span.start + span.length).saturating_sub(from).min(length);
                    span.start.saturating_sub(from).min(to)..to
                };
                let (across, down) = (clip(across, corner.0, width), clip(down, corner.1, height));
                let mut expected = Census::default();
                for at in down.clone().flat_map(|y| across.clone().map(move |x| (y * width + x) as usize)) {
                    expected.pixels += 1;
                    expected.gap += u32::from(sights[at] == Sight::Gap);
                    expected.night += u32::from(sights[at] == Sight::Night);
                    if sights[at] == Sight::Seen {
                        let mut code = [0];
                        cloud::code(&samples[at * 3..at * 3 + 3], &mut Vec::new(), &mut code);
                        let (cloudy, sure) = cloud::decode(code[0]);
                        expected.clouds.cloudy += u32::from(cloudy);
                        expected.clouds.sure += u32::from(sure);
                        expected.clouds.sure_of_cloud += u32::from(cloudy * sure);
                    }
                }
                if !across.is_empty() && !down.is_empty() {
                    assert_eq!(totals.part(across, down), expected);
                }
            }
        });
    }
}
