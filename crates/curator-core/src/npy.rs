//! NumPy `.npy` matrices, memory-mapped: little-endian, C order. Those of other writers are read as well,
//! whatever the length of their header.

use std::io::Write;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, atomic};

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Header length that keeps the data aligned to 64 bytes, as numpy does.
const HEADER: usize = 128;
/// A longer header is no matrix's.
const HEADER_LIMIT: usize = 1 << 16;

/// The header numpy writes for a matrix of this type and shape, padded to a fixed length.
fn header(descr: &str, rows: usize, columns: usize) -> Vec<u8> {
    let dict =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&((HEADER - MAGIC.len() - 2) as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// A number type that matrices are made of.
pub trait Element: Copy {
    /// numpy's name of the type.
    const DESCR: &'static str;
    /// Bytes an element.
    const SIZE: usize = size_of::<Self>();
    /// From little-endian bytes.
    fn read(bytes: &[u8]) -> Self;
    /// To little-endian bytes.
    fn append(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($type:ty, $descr:literal) => {
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn read(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(&bytes[..size_of::<Self>()]);
                Self::from_le_bytes(array)
            }
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}
element!(f32, "<f4");
element!(f64, "<f8");
element!(f16, "<f2");
element!(i32, "<i4");
element!(i64, "<i8");

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// 32 bits.
    #[default]
    Float32,
    /// 16 bits (IEEE 754 binary16): half the disk and memory, cosines to about three digits.
    Float16,
}

impl Storage {
    /// Bytes a number.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
        }
    }

    /// numpy's name.
    #[must_use]
    pub fn descr(self) -> &'static str {
        match self {
            Self::Float32 => f32::DESCR,
            Self::Float16 => f16::DESCR,
        }
    }

    /// Little-endian bytes of numbers.
    fn encode(self, data: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(data.len() * self.size());
        match self {
            Self::Float32 => data.iter().for_each(|x| x.append(&mut bytes)),
            Self::Float16 => {
                let mut halves = vec![f16::ZERO; data.len()];
                halves.convert_from_f32_slice(data);
                halves.iter().for_each(|x| x.append(&mut bytes));
            }
        }
        bytes
    }
}

/// A memory-mapped matrix.
pub struct Matrix<T> {
    map: memmap2::Mmap,
    /// Where the numbers begin.
    start: usize,
    rows: usize,
    columns: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Matrix<T> {
    /// Opens a matrix; only the header is read.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Damaged`] when type, order or length are not as expected.
    pub fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        #[expect(unsafe_code, reason = "parts are immutable once their manifest lists them")]
        // SAFETY: no program writes to a finished part; a new one is a new file.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io("read", path))?;
        let (start, rows, columns) = parse_header::<T>(path, &map)?;
        let expected = rows.checked_mul(columns).and_then(|n| n.checked_mul(T::SIZE));
        if expected != Some(map.len() - start) {
            return Err(Error::damaged(
                path,
                format!("{rows}×{columns} elements of {} bytes", T::SIZE),
                format!("{} bytes", map.len() - start),
            ));
        }
        Ok(Self { map, start, rows, columns, element: std::marker::PhantomData })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Copies a block of rows, `[range.len(), columns]`.
    ///
    /// # Panics
    /// When the range reaches past the last row.
    #[must_use]
    pub fn read(&self, range: std::ops::Range<usize>) -> Vec<T> {
        let width = self.columns * T::SIZE;
        let bytes = &self.map[self.start + range.start * width..self.start + range.end * width];
        bytes.chunks_exact(T::SIZE).map(T::read).collect()
    }
}

impl Matrix<f16> {
    /// The whole matrix without a copy, `[rows, columns]`.
    #[must_use]
    pub fn as_slice(&self) -> &[f16] {
        #[expect(unsafe_code, reason = "a view of aligned memory-mapped numbers")]
        // SAFETY: any bits are a number; the map is page-aligned, and the start a multiple of 16.
        let (before, halves, after) = unsafe { self.map[self.start..].align_to::<f16>() };
        debug_assert!(before.is_empty() && after.is_empty());
        halves
    }
}

impl Matrix<f32> {
    /// The whole matrix without a copy, `[rows, columns]`, on little-endian machines (all that are
    /// supported); pages are read as they are touched.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        #[expect(unsafe_code, reason = "a view of aligned memory-mapped floats")]
        // SAFETY: any bits are a float; the map is page-aligned, and the start a multiple of 16.
        let (before, floats, after) = unsafe { self.map[self.start..].align_to::<f32>() };
        debug_assert!(before.is_empty() && after.is_empty());
        floats
    }

    /// One row without a copy.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.columns..(row + 1) * self.columns]
    }
}

/// The type of the numbers in a file, as numpy calls it, such as `<f4`.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Damaged`] when it has no header of numpy.
pub fn element_type(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    file.take(1024).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let bad = || Error::damaged(path, "a header of numpy", "none");
    if !head.starts_with(&MAGIC[..6]) {
        return Err(bad());
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (_, rest) = text.split_once("'descr': '").ok_or_else(bad)?;
    Ok(rest.split_once('\'').ok_or_else(bad)?.0.to_string())
}

/// Where the numbers begin, rows and columns.
fn parse_header<T: Element>(path: &Path, bytes: &[u8]) -> Result<(usize, usize, usize)> {
    let bad = |found: &str| {
        Error::damaged(path, format!("a C-order `{}` matrix of numpy", T::DESCR), found)
    };
    // Version 1 has the length of the rest in two bytes, later ones in four.
    let (version, length) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            (10, usize::from(u16::from_le_bytes([*a, *b])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return Err(bad("no .npy header")),
    };
    let start = version + length;
    if length > HEADER_LIMIT || start > bytes.len() || start % 16 != 0 {
        return Err(bad("a cut or odd .npy header"));
    }
    let text = String::from_utf8_lossy(&bytes[version..start]).into_owned();
    if !text.contains(&format!("'descr': '{}'", T::DESCR))
        || !text.contains("'fortran_order': False")
    {
        return Err(bad(text.trim()));
    }
    let shape = text.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
    let numbers: Vec<usize> = shape
        .map(|(shape, _)| shape.split(',').filter_map(|n| n.trim().parse().ok()).collect())
        .unwrap_or_default();
    match numbers[..] {
        [rows, columns] => Ok((start, rows, columns)),
        _ => Err(bad(text.trim())),
    }
}

/// Writes a whole matrix atomically.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn write<T: Element>(path: &Path, columns: usize, data: &[T]) -> Result<()> {
    let rows = data.len().checked_div(columns).unwrap_or(0);
    atomic::write_with(path, |file| {
        file.write_all(&header(T::DESCR, rows, columns))?;
        let mut bytes = Vec::new();
        for block in data.chunks(1 << 16) {
            bytes.clear();
            block.iter().for_each(|x| x.append(&mut bytes));
            file.write_all(&bytes)?;
        }
        Ok(())
    })
}

/// A matrix that grows block by block and survives a kill: rows are appended to a file without a
/// header beside the target, and [`Growing::finish`] turns it into the matrix.
pub struct Growing {
    path: PathBuf,
    file: std::fs::File,
    storage: Storage,
    columns: usize,
    rows: usize,
}

impl Growing {
    /// Starts or continues `path`; what a killed run left complete is kept, a part of a row is cut.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn open(path: &Path, columns: usize) -> Result<Self> {
        Self::open_as(path, columns, Storage::Float32)
    }

    /// As [`Growing::open`], with numbers stored in another way.
    ///
    /// # Errors
    /// As [`Growing::open`].
    pub fn open_as(path: &Path, columns: usize, storage: Storage) -> Result<Self> {
        let partial = partial_path(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let file = std::fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&partial)
            .map_err(Error::io("write", &partial))?;
        let length = file.metadata().map_err(Error::io("read", &partial))?.len() as usize;
        let rows = length.saturating_sub(HEADER) / (columns * storage.size());
        let mut growing = Self { path: path.into(), file, storage, columns, rows: 0 };
        growing.truncate(rows)?;
        Ok(growing)
    }

    /// Rows that are safely there.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Forgets all rows from `rows` on.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be cut.
    pub fn truncate(&mut self, rows: usize) -> Result<()> {
        use std::io::Seek;
        let length = (HEADER + rows * self.columns * self.storage.size()) as u64;
        let mut cut = || -> std::io::Result<()> {
            self.file.set_len(length)?;
            self.file.seek(std::io::SeekFrom::Start(length)).map(|_| ())
        };
        cut().map_err(Error::io("write", partial_path(&self.path)))?;
        self.rows = rows;
        Ok(())
    }

    /// Appends `[n, columns]` numbers and flushes them to the disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn append(&mut self, data: &[f32]) -> Result<()> {
        let bytes = self.storage.encode(data);
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write", partial_path(&self.path)))?;
        self.rows += data.len() / self.columns;
        Ok(())
    }

    /// Writes the header and gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written or renamed.
    pub fn finish(mut self) -> Result<()> {
        use std::io::Seek;
        let partial = partial_path(&self.path);
        let bytes = header(self.storage.descr(), self.rows, self.columns);
        let mut close = || -> std::io::Result<()> {
            self.file.seek(std::io::SeekFrom::Start(0))?;
            self.file.write_all(&bytes)?;
            self.file.sync_all()?;
            std::fs::rename(&partial, &self.path)
        };
        close().map_err(Error::io("write", &self.path))
    }
}

fn partial_path(path: &Path) -> PathBuf {
    path.with_extension("npy.partial")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, 3, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let matrix = Matrix::<f32>::open(&path).unwrap();
        assert_eq!((matrix.rows(), matrix.columns()), (2, 3));
        assert_eq!(matrix.row(1), [4.0, 5.0, 6.0]);
        assert_eq!(matrix.read(0..1), [1.0, 2.0, 3.0]);
        assert!(Matrix::<i64>::open(&path).is_err());
    }

    #[test]
    fn a_cut_matrix_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, 2, &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(Matrix::<f32>::open(&path), Err(Error::Damaged { .. })));
    }

    #[test]
    fn headers_of_other_writers_are_read_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let dict = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend(84_u32.to_le_bytes());
        bytes.extend(dict);
        bytes.resize(96, b' ');
        bytes.extend([1.0_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()));
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Matrix::<f32>::open(&path).unwrap().as_slice(), [1.0, 2.0]);
        for length in [0, 5, 9, 11, 50, 96] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(Matrix::<f32>::open(&path).is_err(), "{length}");
        }
        bytes[8] = 255;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Matrix::<f32>::open(&path).is_err());
    }

    #[test]
    fn growing_continues_after_a_kill_in_the_middle_of_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        Growing::open(&path, 2).unwrap().append(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let partial = partial_path(&path);
        let bytes = std::fs::read(&partial).unwrap();
        std::fs::write(&partial, &bytes[..bytes.len() - 3]).unwrap();
        let mut growing = Growing::open(&path, 2).unwrap();
        assert_eq!(growing.rows(), 1);
        growing.append(&[5.0, 6.0]).unwrap();
        growing.finish().unwrap();
        assert_eq!(Matrix::<f32>::open(&path).unwrap().as_slice(), [1.0, 2.0, 5.0, 6.0]);
    }
}
