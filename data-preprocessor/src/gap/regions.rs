//! Connected regions of pixels.

use super::bits::Bits;

/// A run of pixels of a row that belong to the same region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first pixel of the picture, row by row, and the one after the last.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Number of its region.
    pub(super) region: usize,
}

/// The regions of open pixels that touch at their sides, as runs row by row, and how many there are. Two
/// passes over runs, whose equivalences are kept as trees (Rosenfeld and Pfaltz 1966).
pub(super) fn regions(open: &Bits) -> (Vec<Run>, usize) {
    let width = open.width();
    let mut runs: Vec<Run> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for row in 0..open.height() {
        let (first, mut next) = (runs.len(), above.start);
        for (from, to) in open.runs(row) {
            let own = parents.len();
            parents.push(own);
            runs.push(Run { from: row * width + from, to: row * width + to, region: own });
            // Those above that end before this one begins touch no later one either.
            let shift = (row.max(1) - 1) * width;
            while next < above.end && runs[next].to <= shift + from {
                next += 1;
            }
            let mut beside = next;
            while beside < above.end && runs[beside].from < shift + to {
                let (a, b) = (root(&mut parents, runs[beside].region), root(&mut parents, own));
                parents[a.max(b)] = a.min(b);
                beside += 1;
            }
        }
        above = first..runs.len();
    }
    // A parent has a lower number than its children, so one pass names all.
    let (mut names, mut count) = (vec![0; parents.len()], 0);
    for number in 0..parents.len() {
        names[number] = if parents[number] == number {
            count += 1;
            count - 1
        } else {
            names[parents[number]]
        };
    }
    runs.iter_mut().for_each(|run| run.region = names[run.region]);
    (runs, count)
}

fn root(parents: &mut [usize], mut number: usize) -> usize {
    while parents[number] != number {
        parents[number] = parents[parents[number]];
        number = parents[number];
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_those_of_a_flood() {
        proptest::proptest!(|(
            open in proptest::collection::vec(proptest::bool::weighted(0.6), 1..300), width in 1_usize..20,
        )| {
            let height = open.len() / width;
            let open = &open[..width * height];
            let bits = Bits::of(open.iter().map(|&open| open.into()), width, height);
            let (runs, count) = regions(&bits);
            let mut label = vec![None; open.len()];
            for run in &runs {
                assert!(run.from < run.to && run.region < count);
                label[run.from..run.to].fill(Some(run.region));
            }
            let mut seen = vec![false; open.len()];
            let mut found = 0;
            for start in 0..open.len() {
                assert_eq!(label[start].is_some(), open[start]);
                if !open[start] || seen[start] { continue; }
                found += 1;
                let (mut front, name) = (vec![start], label[start]);
                seen[start] = true;
                while let Some(at) = front.pop() {
                    assert_eq!(label[at], name);
                    let (x, y) = (at % width, at / width);
                    for (dx, dy) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
                        let (Some(x), Some(y)) = ((x + dx).checked_sub(1), (y + dy).checked_sub(1)) else { continue };
                        if x < width && y < height && open[y * width + x] && !seen[y * width + x] {
                            seen[y * width + x] = true;
                            front.push(y * width + x);
                        }
                    }
                }
            }
            assert_eq!(found, count);
        });
    }
}
