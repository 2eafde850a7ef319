//! Where windows stand: along each axis, and how those of one level cover those of the next.

use serde::{Deserialize, Serialize};

/// What to do where the windows do not fit the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// Move the last window inward, so that it overlaps its neighbour more.
    Shift,
    /// Keep a smaller tile.
    Keep,
    /// Leave the rest out.
    Drop,
}

impl std::str::FromStr for Edge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "shift" => Ok(Self::Shift),
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err("use shift, keep or drop".into()),
        }
    }
}

/// The windows along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Axis {
    /// Pixels of a window.
    pub(crate) size: u32,
    /// Pixels from one window to the next.
    pub(crate) stride: u32,
    /// What happens where they do not fit.
    pub(crate) edge: Edge,
}

impl Axis {
    /// Windows of a size of which neighbours repeat a share.
    pub(crate) fn new(size: u32, overlap: f64, edge: Edge) -> Self {
        let stride = ((f64::from(size) * (1.0 - overlap)).round() as u32).clamp(1, size.max(1));
        Self { size, stride, edge }
    }

    /// The windows between two pixels (the second exclusive). They stand on multiples of the stride, so
    /// that neighbouring regions share their tiles; what they leave at either end is treated alike.
    pub(crate) fn spans(&self, from: u32, to: u32) -> Vec<Span> {
        let Self { size, stride, edge } = *self;
        let shift = edge == Edge::Shift && to - from >= size;
        let first = from.div_ceil(stride) * stride;
        let mut spans = Vec::new();
        if first > from && edge != Edge::Drop {
            // The window before the first reaches in from outside.
            let end = if shift { from + size } else { (first - stride + size).min(to) };
            spans.push(Span { start: from, length: end - from });
        }
        let whole = (first..to).step_by(stride as usize).take_while(|start| to - start >= size);
        spans.extend(whole.map(|start| Span { start, length: size }));
        let last = spans.last().copied();
        let covered = last.map_or(first, |span| span.start + span.length);
        if covered < to && edge != Edge::Drop {
            let next = last.filter(|span| span.start >= first).map_or(first, |s| s.start + stride);
            let start = if shift { to - size } else { next };
            if start < to {
                spans.push(Span { start, length: to - start });
            }
        }
        spans
    }
}

/// A window along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// Which span of the coarser level shows most of each span; `None` where none shows any. Pixels of the
/// coarser level are twice as large.
pub(crate) fn parents(fine: &[Span], coarse: &[Span]) -> Vec<Option<usize>> {
    let shared = |fine: Span, coarse: Span| {
        let (start, end) =
            (u64::from(coarse.start) * 2, u64::from(coarse.start + coarse.length) * 2);
        let from = u64::from(fine.start).max(start);
        u64::from(fine.start + fine.length).min(end).saturating_sub(from)
    };
    let longest = coarse.iter().map(|span| span.length).max().unwrap_or(0);
    let mut first = 0;
    fine.iter()
        .map(|&span| {
            // Both are in order: what ends before this span ends before all later ones.
            let gone =
                |coarse: &Span| u64::from(coarse.start + longest) * 2 <= u64::from(span.start);
            while first < coarse.len() && gone(&coarse[first]) {
                first += 1;
            }
            let near = coarse.iter().enumerate().skip(first);
            near.take_while(|(_, c)| u64::from(c.start) * 2 < u64::from(span.start + span.length))
                .map(|(at, &coarse)| (shared(span, coarse), at))
                .filter(|(shared, _)| *shared > 0)
                // Of equal ones the first.
                .max_by_key(|&(shared, at)| (shared, std::cmp::Reverse(at)))
                .map(|(_, at)| at)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(from: u32, to: u32, size: u32, stride: u32, edge: Edge) -> Vec<(u32, u32)> {
        let spans = Axis { size, stride, edge }.spans(from, to);
        spans.into_iter().map(|span| (span.start, span.length)).collect()
    }

    #[test]
    fn windows_stand_on_a_stable_grid_and_follow_the_edge_policy() {
        assert_eq!(spans(0, 128, 64, 64, Edge::Drop), [(0, 64), (64, 64)]);
        assert_eq!(spans(512, 700, 64, 64, Edge::Drop), [(512, 64), (576, 64)]);
        assert_eq!(spans(512, 700, 64, 64, Edge::Shift).last(), Some(&(636, 64)));
        assert_eq!(spans(512, 700, 64, 64, Edge::Keep).last(), Some(&(640, 60)));
        assert_eq!(spans(0, 128, 64, 32, Edge::Drop), [(0, 64), (32, 64), (64, 64)]);
        assert_eq!(spans(0, 40, 64, 64, Edge::Drop), []);
        assert_eq!(spans(0, 40, 64, 64, Edge::Keep), [(0, 40)]);
        assert_eq!(spans(0, 40, 64, 64, Edge::Shift), [(0, 40)]);
        // Where the grid begins outside.
        assert_eq!(spans(40, 140, 64, 64, Edge::Drop), [(64, 64)]);
        assert_eq!(spans(40, 140, 64, 64, Edge::Keep), [(40, 24), (64, 64), (128, 12)]);
        assert_eq!(spans(40, 140, 64, 64, Edge::Shift), [(40, 64), (64, 64), (76, 64)]);
        assert_eq!(spans(9216, 10240, 4096, 4096, Edge::Keep), [(9216, 1024)]);
        assert_eq!(Axis::new(3, 0.95, Edge::Drop).stride, 1);
        assert_eq!(Axis::new(512, 0.5, Edge::Drop).stride, 256);
    }

    #[test]
    fn every_pixel_is_covered_unless_it_is_dropped() {
        proptest::proptest!(|(
            from in 0_u32..200, length in 1_u32..300, size in 1_u32..90, share in 0.0..0.99_f64,
        )| {
            let to = from + length;
            for edge in [Edge::Shift, Edge::Keep] {
                let axis = Axis::new(size, share, edge);
                let spans = axis.spans(from, to);
                assert!(spans.iter().all(|s| s.start + s.length <= to && s.length <= size));
                for pixel in from..to {
                    assert!(spans.iter().any(|s| (s.start..s.start + s.length).contains(&pixel)), "{pixel} {spans:?}");
                }
            }
        });
    }

    #[test]
    fn a_parent_shows_all_of_its_children_inside_the_grid() {
        for overlap in [0.0, 0.25, 0.5, 0.75] {
            let axis = Axis::new(64, overlap, Edge::Drop);
            let (fine, coarse) = (axis.spans(0, 2048), axis.spans(0, 1024));
            let parents = parents(&fine, &coarse);
            for (span, parent) in fine.iter().zip(parents) {
                let parent = coarse[parent.unwrap()];
                assert!(span.start >= parent.start * 2, "{overlap} {span:?} {parent:?}");
                assert!(
                    span.start + 64 <= (parent.start + 64) * 2,
                    "{overlap} {span:?} {parent:?}"
                );
            }
        }
        let none = parents(&Axis::new(64, 0.0, Edge::Drop).spans(0, 64), &[]);
        assert_eq!(none, [None]);
    }
}
