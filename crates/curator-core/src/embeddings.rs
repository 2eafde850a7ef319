//! The embeddings of a partition: a memory-mapped `.npy` of float32 or float16.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::logistic::dot;
use crate::npy::{self, Element, Matrix, Storage};
use crate::{Error, Result};

/// Rows of float16 that are turned into float32 at a time.
const BLOCK: usize = 4096;

/// `[rows, columns]` numbers, L2-normalised rows.
pub struct Embeddings {
    stored: Stored,
    /// Float16 as float32, for those who ask for slices.
    expanded: OnceLock<Expanded>,
}

enum Stored {
    Float32(Matrix<f32>),
    Float16(Matrix<f16>),
}

enum Expanded {
    Mapped(memmap2::Mmap),
    Held(Vec<f32>),
}

impl Embeddings {
    /// Opens a file; only its header is read.
    ///
    /// # Errors
    /// Those of [`Matrix::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let stored = if npy::element_type(path)? == f16::DESCR {
            Stored::Float16(Matrix::open(path)?)
        } else {
            Stored::Float32(Matrix::open(path)?)
        };
        Ok(Self { stored, expanded: OnceLock::new() })
    }

    /// How they are stored.
    #[must_use]
    pub fn storage(&self) -> Storage {
        match self.stored {
            Stored::Float32(_) => Storage::Float32,
            Stored::Float16(_) => Storage::Float16,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.stored {
            Stored::Float32(matrix) => matrix.rows(),
            Stored::Float16(matrix) => matrix.rows(),
        }
    }

    /// Numbers in a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        match &self.stored {
            Stored::Float32(matrix) => matrix.columns(),
            Stored::Float16(matrix) => matrix.columns(),
        }
    }

    /// Copies a block of rows, `[range.len(), columns]`.
    ///
    /// # Panics
    /// When the range reaches past the last row.
    #[must_use]
    pub fn read(&self, range: Range<usize>) -> Vec<f32> {
        self.block(range, <[f32]>::to_vec, |block| block)
    }

    /// Cosine of a row with a query of unit length.
    ///
    /// # Panics
    /// When `row` is not below [`Embeddings::rows`].
    #[must_use]
    pub fn dot(&self, row: usize, query: &[f32]) -> f32 {
        self.block(row..row + 1, |own| dot(own, query), |own| dot(&own, query))
    }

    /// Gives a block of rows, `[range.len(), columns]`, to `see`, without a copy where none is needed.
    ///
    /// # Panics
    /// When the range reaches past the last row.
    pub fn with<T>(&self, range: Range<usize>, see: impl Fn(&[f32]) -> T) -> T {
        self.block(range, &see, |block| see(&block))
    }

    fn block<T>(
        &self,
        range: Range<usize>,
        borrowed: impl FnOnce(&[f32]) -> T,
        owned: impl FnOnce(Vec<f32>) -> T,
    ) -> T {
        let range = range.start * self.columns()..range.end * self.columns();
        match &self.stored {
            Stored::Float32(matrix) => borrowed(&matrix.as_slice()[range]),
            Stored::Float16(matrix) => owned(widen(&matrix.as_slice()[range])),
        }
    }

    /// The whole matrix, `[rows, columns]`. Float32 is not copied; float16 is turned into float32 once,
    /// into an unnamed temporary file of twice its size, so that memory stays free.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        match &self.stored {
            Stored::Float32(matrix) => matrix.as_slice(),
            Stored::Float16(matrix) => {
                match self.expanded.get_or_init(|| expand(matrix.as_slice())) {
                    Expanded::Held(numbers) => numbers,
                    Expanded::Mapped(map) => {
                        #[expect(unsafe_code, reason = "a view of aligned memory-mapped floats")]
                        // SAFETY: any bits are a float, and a map is page-aligned.
                        let (before, floats, after) = unsafe { map.align_to::<f32>() };
                        debug_assert!(before.is_empty() && after.is_empty());
                        floats
                    }
                }
            }
        }
    }

    /// One row; see [`Embeddings::as_slice`].
    ///
    /// # Panics
    /// When `row` is not below [`Embeddings::rows`].
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.columns()..(row + 1) * self.columns()]
    }

    /// The first row that is no direction: not finite, or of length zero.
    #[must_use]
    pub fn first_unusable(&self) -> Option<usize> {
        (0..self.rows()).find(|&row| {
            let length = self.block(row..row + 1, |x| dot(x, x), |x| dot(&x, &x));
            !length.is_finite() || length <= 0.0
        })
    }
}

fn widen(halves: &[f16]) -> Vec<f32> {
    let mut floats = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut floats);
    floats
}

fn expand(halves: &[f16]) -> Expanded {
    let file = || -> Result<memmap2::Mmap> {
        let path = std::env::temp_dir();
        let mut file = tempfile::tempfile().map_err(Error::io("write", &path))?;
        for block in halves.chunks(BLOCK * 128) {
            let bytes: Vec<u8> = widen(block).iter().flat_map(|x| x.to_le_bytes()).collect();
            std::io::Write::write_all(&mut file, &bytes).map_err(Error::io("write", &path))?;
        }
        #[expect(unsafe_code, reason = "nobody else can open an unnamed file")]
        // SAFETY: the file is ours alone and no longer written.
        unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io("read", path))
    };
    file().map_or_else(|_| Expanded::Held(widen(halves)), Expanded::Mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_as_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let mut growing = npy::Growing::open_as(&path, 2, Storage::Float16).unwrap();
        growing.append(&[0.5, -1.0, 0.333_3, 2.0]).unwrap();
        growing.finish().unwrap();
        let embeddings = Embeddings::open(&path).unwrap();
        assert_eq!((embeddings.rows(), embeddings.storage()), (2, Storage::Float16));
        assert_eq!(embeddings.read(0..1), [0.5, -1.0]);
        assert_eq!(embeddings.row(1), embeddings.read(1..2));
        assert!((embeddings.row(1)[0] - 0.333_3).abs() < 2e-4);
        assert!((embeddings.dot(1, &[1.0, 1.0]) - 2.333_3).abs() < 2e-4);
        assert_eq!(embeddings.first_unusable(), None);
    }

    #[test]
    fn rows_that_are_no_direction_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        npy::write(&path, 2, &[1.0_f32, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!(Embeddings::open(&path).unwrap().first_unusable(), Some(1));
        npy::write(&path, 2, &[f32::NAN, 0.0]).unwrap();
        assert_eq!(Embeddings::open(&path).unwrap().first_unusable(), Some(0));
    }
}
