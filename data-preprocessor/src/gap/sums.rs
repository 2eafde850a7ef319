//! Sums over squares of pixels, made once for many squares (Crow 1984).

use std::ops::Range;

use super::regions::Run;

/// A part of a picture: its columns and rows.
pub(super) type Part = (Range<usize>, Range<usize>);

/// The part of a picture with all that is near some runs, `reach` pixels around.
pub(super) fn around<'a>(
    runs: impl Iterator<Item = &'a Run>,
    reach: usize,
    (width, height): (usize, usize),
) -> Part {
    let (mut columns, mut rows) = (width..0, height..0);
    for run in runs {
        let (y, from) = (run.from / width, run.from % width);
        columns.start = columns.start.min(from);
        columns.end = columns.end.max(from + run.to - run.from);
        (rows.start, rows.end) = (rows.start.min(y), rows.end.max(y + 1));
    }
    let wider = |range: Range<usize>, most: usize| {
        range.start.saturating_sub(reach).min(most)..(range.end + reach).min(most)
    };
    (wider(columns, width), wider(rows, height))
}

/// Sums over a part of a picture. They are kept modulo 2³²: those over the small squares that are asked for are
/// less.
pub(super) struct Sums {
    width: usize,
    part: Part,
    table: Vec<u32>,
}

impl Sums {
    /// Of what `value` gives for a pixel of a picture of a width.
    pub(super) fn of(width: usize, part: &Part, value: impl Fn(usize) -> u32) -> Self {
        let (columns, rows) = part;
        let stride = columns.len() + 1;
        let mut table = vec![0_u32; stride * (rows.len() + 1)];
        for (line, y) in rows.clone().enumerate() {
            let mut sum = 0_u32;
            for (at, x) in columns.clone().enumerate() {
                sum = sum.wrapping_add(value(y * width + x));
                let above = table[line * stride + at + 1];
                table[(line + 1) * stride + at + 1] = above.wrapping_add(sum);
            }
        }
        Self { width, part: part.clone(), table }
    }

    /// The sum over the square of `reach` pixels around a pixel, as far as it lies in the part.
    pub(super) fn around(&self, at: usize, reach: usize) -> u32 {
        let (columns, rows) = &self.part;
        let (x, y) = (at % self.width, at / self.width);
        let clip = |at: usize, range: &Range<usize>| at.clamp(range.start, range.end) - range.start;
        let (left, right) = (clip(x.saturating_sub(reach), columns), clip(x + reach + 1, columns));
        let (top, bottom) = (clip(y.saturating_sub(reach), rows), clip(y + reach + 1, rows));
        let sum = |x: usize, y: usize| self.table[y * (columns.len() + 1) + x];
        let (whole, corner) = (sum(right, bottom), sum(left, top));
        whole.wrapping_add(corner).wrapping_sub(sum(left, bottom)).wrapping_sub(sum(right, top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_pixels() {
        proptest::proptest!(|(
            values in proptest::collection::vec(0_u32..9, 1..400), width in 1_usize..25, reach in 0_usize..6, at: usize,
        )| {
            let width = width.min(values.len());
            let height = values.len() / width;
            let at = at % (width * height);
            let (x, y) = (at % width, at / width);
            let run = Run { from: at, to: at + 1, region: 0 };
            let part = around([run].iter(), reach, (width, height));
            let sums = Sums::of(width, &part, |at| values[at]);
            let expected: u32 = (0..width * height)
                .filter(|at| (at % width).abs_diff(x) <= reach && (at / width).abs_diff(y) <= reach)
                .map(|at| values[at])
                .sum();
            assert_eq!(sums.around(at, reach), expected);
            let whole = Sums::of(width, &(0..width, 0..height), |at| values[at]);
            assert_eq!(whole.around(at, reach), expected);
        });
    }
}
