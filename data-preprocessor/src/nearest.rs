//! The nearest valid pixel of every pixel: the exact Euclidean distance transform of Felzenszwalb and
//! Huttenlocher, *Distance Transforms of Sampled Functions*, Theory of Computing 8, 2012, keeping places
//! instead of distances.

/// For every pixel the index of the nearest one that is no gap, `[height × width]`; `None` when all are gap.
pub(crate) fn sources(gap: &[bool], width: usize, height: usize) -> Option<Vec<usize>> {
    if gap.iter().all(|&gap| gap) {
        return None;
    }
    let rows = nearest_rows(gap, width, height);
    let mut sources = vec![0; gap.len()];
    // The lower envelope of a row's parabolas: their columns, and where each begins to be lowest.
    let (mut columns, mut starts) = (vec![0_usize; width], vec![0_f64; width]);
    for y in 0..height {
        let height_at = |x: usize| rows[y * width + x].map(|row| (row.abs_diff(y) as f64).powi(2));
        let mut parabolas = 0;
        for x in 0..width {
            let Some(own) = height_at(x) else { continue };
            let mut start = f64::NEG_INFINITY;
            while parabolas > 0 {
                let last = columns[parabolas - 1];
                let (a, b) = (last as f64, x as f64);
                let lower = height_at(last).unwrap_or(f64::INFINITY);
                start = ((own + b * b) - (lower + a * a)) / (2.0 * (b - a));
                if start > starts[parabolas - 1] {
                    break;
                }
                parabolas -= 1;
                start = f64::NEG_INFINITY;
            }
            (columns[parabolas], starts[parabolas]) = (x, start);
            parabolas += 1;
        }
        let mut at = 0;
        for x in 0..width {
            while at + 1 < parabolas && starts[at + 1] < x as f64 {
                at += 1;
            }
            let column = columns[at];
            sources[y * width + x] = rows[y * width + column].unwrap_or(y) * width + column;
        }
    }
    Some(sources)
}

/// For every pixel the nearest valid row of its column, the upper one of two; `None` where there is none.
fn nearest_rows(gap: &[bool], width: usize, height: usize) -> Vec<Option<usize>> {
    let mut rows = vec![None; gap.len()];
    for x in 0..width {
        let mut above: Option<usize> = None;
        for y in 0..height {
            above = if gap[y * width + x] { above } else { Some(y) };
            rows[y * width + x] = above;
        }
        let mut below: Option<usize> = None;
        for y in (0..height).rev() {
            below = if gap[y * width + x] { below } else { Some(y) };
            let row = &mut rows[y * width + x];
            *row = match (*row, below) {
                (Some(a), Some(b)) => Some(if b - y < y - a { b } else { a }),
                (a, b) => a.or(b),
            };
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    #[test]
    fn no_pixel_is_nearer_than_the_one_that_is_found() {
        for round in 0..40_u64 {
            let (width, height) = (1 + round as usize % 13, 1 + round as usize % 7);
            let gap: Vec<bool> = (0..width * height)
                .map(|at| seed::mix(round, &[at as u64]) % 10 < 8 - round % 3)
                .collect();
            let distance = |a: usize, b: usize| {
                (a % width).abs_diff(b % width).pow(2) + (a / width).abs_diff(b / width).pow(2)
            };
            let Some(found) = sources(&gap, width, height) else {
                assert!(gap.iter().all(|&gap| gap));
                continue;
            };
            for (at, &source) in found.iter().enumerate() {
                let best = (0..gap.len()).filter(|&b| !gap[b]).map(|b| distance(at, b)).min();
                assert!(!gap[source] && Some(distance(at, source)) == best, "round {round}, {at}");
            }
        }
    }
}
