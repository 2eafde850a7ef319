//! Numbers that describe rows, borrowed from wherever they lie and never copied: the parts of an index,
//! a memory-mapped file, or some of their rows in another order.

/// Rows of `dim` numbers each.
#[derive(Debug, Clone)]
pub struct Features<'a> {
    dim: usize,
    /// Number of the first row of each part, and its numbers, `[rows, dim]`.
    parts: Vec<(usize, &'a [f32])>,
    total: usize,
    /// Which rows count, in which order; `None` is all of them.
    rows: Option<Vec<u32>>,
}

impl<'a> Features<'a> {
    /// The rows of one matrix `[N, dim]`.
    ///
    /// # Panics
    /// When `dim` is 0 or the numbers are no whole rows.
    #[must_use]
    pub fn new(dim: usize, data: &'a [f32]) -> Self {
        Self::of_parts(dim, [data])
    }

    /// The rows of several matrices, one after the other.
    ///
    /// # Panics
    /// As [`Features::new`].
    #[must_use]
    pub fn of_parts(dim: usize, parts: impl IntoIterator<Item = &'a [f32]>) -> Self {
        assert!(dim > 0, "a row has numbers");
        let mut total = 0;
        let parts = parts
            .into_iter()
            .map(|part| {
                assert_eq!(part.len() % dim, 0, "whole rows");
                let first = total;
                total += part.len() / dim;
                (first, part)
            })
            .collect();
        Self { dim, parts, total, rows: None }
    }

    /// Some of the rows, in the order given. Memory: 4 bytes for each.
    ///
    /// # Panics
    /// When a number is not below [`Features::len`].
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        assert!(rows.iter().all(|&row| (row as usize) < self.len()), "rows of these features");
        let rows = match &self.rows {
            None => rows.to_vec(),
            Some(own) => rows.iter().map(|&row| own[row as usize]).collect(),
        };
        Self { rows: Some(rows), parts: self.parts.clone(), ..*self }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.total, Vec::len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// One row, `[dim]`.
    ///
    /// # Panics
    /// When `row` is not below [`Features::len`].
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f32] {
        let row = self.rows.as_ref().map_or(row, |rows| rows[row] as usize);
        let (first, data) = match self.parts[..] {
            [only] => only,
            _ => self.parts[self.parts.partition_point(|part| part.0 <= row) - 1],
        };
        let start = (row - first) * self.dim;
        &data[start..start + self.dim]
    }

    /// Copies a block of rows, `[range.len(), dim]`.
    ///
    /// # Panics
    /// When the range reaches past the last row.
    #[must_use]
    pub fn block(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        let mut block = Vec::with_capacity(range.len() * self.dim);
        range.for_each(|row| block.extend_from_slice(self.row(row)));
        block
    }
}

/// Squared Euclidean distance by direct differences, which lose nothing when the rows are close. The
/// relative error is below `(dim / 32 + 6) · 2⁻²⁴`.
#[must_use]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0.0_f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let rest: f32 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for i in 0..LANES {
            let difference = a[i] - b[i];
            lanes[i] = difference.mul_add(difference, lanes[i]);
        }
    }
    // Halves onto halves: vector additions, and a short chain of roundings.
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

/// Dot products of all rows of `a`, `[N, dim]`, with all rows of `b`, `[M, dim]`: `[N, M]`.
///
/// # Panics
/// When one of them is no whole number of rows.
#[must_use]
pub fn products(a: &[f32], b: &[f32], dim: usize) -> Vec<f32> {
    let (n, m) = (a.len() / dim, b.len() / dim);
    assert!(n * dim == a.len() && m * dim == b.len(), "whole rows");
    let mut out = vec![0.0; n * m];
    let (dim_stride, m_stride) = (dim as isize, m as isize);
    #[expect(unsafe_code, reason = "the matrix product of a crate takes pointers")]
    // SAFETY: the three matrices have the sizes and strides stated, checked above, and `out` is not
    // aliased.
    unsafe {
        let (a, b, out) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
        matrixmultiply::sgemm(
            n, dim, m, 1.0, a, dim_stride, 1, b, 1, dim_stride, 0.0, out, m_stride, 1,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_parts_and_of_selections_are_found() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
        let all = Features::of_parts(2, [&a[..], &b[..]]);
        assert_eq!((all.len(), all.row(0), all.row(2)), (3, &[1.0, 2.0][..], &[5.0, 6.0][..]));
        let some = all.select(&[2, 0]).select(&[1, 0]);
        assert_eq!(some.block(0..2), [1.0, 2.0, 5.0, 6.0]);
        assert!(all.select(&[]).is_empty());
    }

    #[test]
    fn distances_and_products_agree_with_doubles() {
        for dim in [1, 7, 32, 100] {
            let row = |r: usize| -> Vec<f32> {
                (0..dim).map(|i| (crate::seed::mix(r as u64, &[i as u64]) >> 40) as f32).collect()
            };
            let (a, b) = (row(1), row(2));
            let exact = |f: fn(f64, f64) -> f64| -> f64 {
                a.iter().zip(&b).map(|(&a, &b)| f(f64::from(a), f64::from(b))).sum()
            };
            let distance = exact(|a, b| (a - b) * (a - b));
            assert!((f64::from(squared_distance(&a, &b)) / distance - 1.0).abs() < 1e-6);
            let product = exact(|a, b| a * b);
            let both = [a.clone(), b.clone()].concat();
            let found = products(&both, &b, dim);
            assert_eq!(found.len(), 2);
            assert!((f64::from(found[0]) / product - 1.0).abs() < 1e-5, "{dim}");
        }
    }
}
