//! A linear map of embeddings to fewer numbers, fitted once and stored: PCA, whitened or not.

use std::path::Path;

use crate::features::products;
use crate::npy::{self, Matrix};
use crate::{Error, Result};

/// Rows of one matrix product.
const BLOCK: usize = 1024;

/// `y = (A·x + b) / |A·x + b|`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// `[out, in]`.
    matrix: Vec<f32>,
    /// `[out]`.
    offset: Vec<f32>,
}

impl Transform {
    /// From `A`, `[out, in]`, and `b`, `[out]`.
    #[must_use]
    pub fn new(matrix: Vec<f32>, offset: Vec<f32>) -> Self {
        debug_assert!(!offset.is_empty() && matrix.len().is_multiple_of(offset.len()));
        Self { matrix, offset }
    }

    /// Numbers it takes.
    #[must_use]
    pub fn input(&self) -> usize {
        self.matrix.len() / self.offset.len()
    }

    /// Numbers it gives.
    #[must_use]
    pub fn output(&self) -> usize {
        self.offset.len()
    }

    /// Maps rows `[n, in]` to rows `[n, out]` of unit length. A row that maps to zero stays zero.
    ///
    /// # Panics
    /// When the rows have another number of columns.
    #[must_use]
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let (input, output) = (self.input(), self.output());
        assert_eq!(rows.len() % input, 0, "whole rows");
        let mut mapped = Vec::with_capacity(rows.len() / input * output);
        for block in rows.chunks(BLOCK * input) {
            let mut block = products(block, &self.matrix, input); // [n, out]
            for row in block.chunks_exact_mut(output) {
                row.iter_mut().zip(&self.offset).for_each(|(y, b)| *y += b);
                normalize(row);
            }
            mapped.append(&mut block);
        }
        mapped
    }

    /// Reads what [`Transform::write`] wrote.
    ///
    /// # Errors
    /// Those of [`Matrix::open`]; [`Error::Damaged`] when it holds numbers that are not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let stored = Matrix::<f32>::open(path)?;
        let columns = stored.columns();
        let finite = stored.as_slice().iter().all(|x| x.is_finite());
        if columns < 2 || stored.rows() == 0 || !finite {
            return Err(Error::damaged(path, "a matrix and an offset", "others"));
        }
        let rows = stored.as_slice().chunks_exact(columns);
        let matrix = rows.clone().flat_map(|row| row[..columns - 1].iter().copied()).collect();
        Ok(Self { matrix, offset: rows.map(|row| row[columns - 1]).collect() })
    }

    /// Writes `[out, in + 1]` float32; the last column is the offset.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let rows = self.matrix.chunks_exact(self.input()).zip(&self.offset);
        let stored: Vec<f32> =
            rows.flat_map(|(row, offset)| row.iter().copied().chain([*offset])).collect();
        npy::write(path, self.input() + 1, &stored)
    }
}

/// Makes a row one of unit length; zero stays zero.
pub fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_mapped_normalised_and_the_map_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transform.npy");
        let map = Transform::new(vec![1.0, 0.0, 2.0, 0.0, 1.0, 0.0], vec![0.0, -1.0]);
        map.write(&path).unwrap();
        assert_eq!(Transform::read(&path).unwrap(), map);
        assert_eq!((map.input(), map.output()), (3, 2));
        // A·(1, 5, 1) + b = (3, 4), of length 5.
        assert_eq!(map.apply(&[1.0, 5.0, 1.0, 0.0, 1.0, 0.0]), [0.6, 0.8, 0.0, 0.0]);
    }
}
