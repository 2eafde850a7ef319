//! The rows of a partition in columns, memory-mapped: `rows.arrow`, an Arrow IPC file (Feather 2) of what
//! answers and filters need. `rows.parquet` beside it is smaller and has everything, but decoding one row
//! of it takes milliseconds.
//!
//! ```python
//! pyarrow.ipc.open_file(pyarrow.memory_map("rows.arrow")).read_all()
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::{Array, Float64Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, StreamReader, read_footer_length};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, Schema};

use crate::{BBox, Error, Result, Tile, atomic, table, tile};

/// Rows of a batch; a batch is checked when it is first touched.
const BATCH: usize = 1 << 14;
/// Columns that are left to `rows.parquet`.
const LEFT_OUT: [&str; 6] = ["variant", "content_id", "geometry", "gap_mask", "parent", "children"];

/// Rows in columns. Memory: the pages that are touched.
pub struct Columns {
    path: PathBuf,
    /// Number of the first row of each batch, and of the row behind the last.
    starts: Vec<usize>,
    batches: Batches,
}

enum Batches {
    Mapped {
        buffer: Buffer,
        decoder: Box<FileDecoder>,
        blocks: Vec<arrow_ipc::Block>,
        decoded: Vec<OnceLock<RecordBatch>>,
    },
    Held(Vec<RecordBatch>),
}

/// Writes the columns of rows, in the order given. Equal rows give equal bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, and those of the rows.
pub fn write(path: &Path, rows: impl IntoIterator<Item = Result<Tile>>) -> Result<()> {
    let kept = kept(&tile::schema());
    let schema = tile::schema().project(&kept).map_err(|e| Error::damaged(path, "columns", e))?;
    let mut rows = rows.into_iter();
    let mut failed = None;
    atomic::write_with(path, |file| {
        let other = |e: ArrowError| std::io::Error::other(e);
        let mut writer = FileWriter::try_new(file, &schema).map_err(other)?;
        loop {
            let chunk: Vec<Tile> = rows
                .by_ref()
                .take(BATCH)
                .map_while(|row| row.map_err(|e| failed = Some(e)).ok())
                .collect();
            if failed.is_some() {
                return Err(std::io::Error::other("a row cannot be read"));
            }
            if chunk.is_empty() {
                break;
            }
            let batch = tile::to_batch(&chunk).project(&kept).map_err(other)?;
            writer.write(&batch).map_err(other)?;
        }
        writer.finish().map_err(other)
    })
    .map_err(|error| failed.unwrap_or(error))
}

/// The numbers of the columns that are kept.
fn kept(schema: &Schema) -> Vec<usize> {
    let names = schema.fields().iter().enumerate();
    names.filter(|(_, f)| !LEFT_OUT.contains(&f.name().as_str())).map(|(i, _)| i).collect()
}

impl Columns {
    /// Opens the columns of a part's directory. Where an older index has none, they are read from
    /// `rows.parquet` into memory.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`].
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("rows.arrow");
        if path.is_file() {
            return table::sound(&path, || Self::map(&path));
        }
        let path = directory.join("rows.parquet");
        let batches: Vec<RecordBatch> = table::read(&path)?.collect::<Result<_>>()?;
        let starts = starts(batches.iter().map(RecordBatch::num_rows));
        Ok(Self { path, starts, batches: Batches::Held(batches) })
    }

    fn map(path: &Path) -> Result<Self> {
        let damaged = |e: &dyn std::fmt::Display| Error::damaged(path, "an Arrow file", e);
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        #[expect(unsafe_code, reason = "parts are immutable once their manifest lists them")]
        // SAFETY: no program writes to a finished part; a new one is a new file.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io("read", path))?;
        let buffer = Buffer::from(bytes::Bytes::from_owner(map));
        let cut = || damaged(&"a cut file");
        let trailer = buffer.len().checked_sub(10).ok_or_else(cut)?;
        let tail: [u8; 10] = buffer[trailer..].try_into().map_err(|_| cut())?;
        let length = read_footer_length(tail).map_err(|e| damaged(&e))?;
        let begin = trailer.checked_sub(length).ok_or_else(cut)?;
        let footer = arrow_ipc::root_as_footer(&buffer[begin..trailer]).map_err(|e| damaged(&e))?;
        let schema = footer.schema().ok_or_else(cut)?;
        let schema = arrow_ipc::convert::try_fb_to_schema(schema).map_err(|e| damaged(&e))?;
        let decoder = Box::new(FileDecoder::new(Arc::new(schema), footer.version()));
        let blocks: Vec<arrow_ipc::Block> =
            footer.recordBatches().map(|b| b.iter().copied().collect()).unwrap_or_default();
        let decoded = blocks.iter().map(|_| OnceLock::new()).collect();
        // All batches but the last are full.
        let mut columns = Self {
            path: path.into(),
            starts: (0..=blocks.len()).map(|i| i * BATCH).collect(),
            batches: Batches::Mapped { buffer, decoder, blocks, decoded },
        };
        if let Some(last) = columns.starts.len().checked_sub(2) {
            let rows = columns.batch(last)?.num_rows();
            columns.starts[last + 1] = columns.starts[last] + rows;
        }
        Ok(columns)
    }

    /// Rows of every batch but the last, which has fewer.
    pub const BATCH: usize = BATCH;

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of batches.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.starts.len() - 1
    }

    /// A batch of rows by its number, and the number of its first row.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn batch(&self, number: usize) -> Result<&RecordBatch> {
        let (buffer, decoder, blocks, decoded) = match &self.batches {
            Batches::Held(batches) => return Ok(&batches[number]),
            Batches::Mapped { buffer, decoder, blocks, decoded } => {
                (buffer, decoder, blocks, decoded)
            }
        };
        if let Some(batch) = decoded[number].get() {
            return Ok(batch);
        }
        let batch = table::sound(&self.path, || {
            let damaged = |e: &dyn std::fmt::Display| Error::damaged(&self.path, "rows", e);
            let block = &blocks[number];
            let length = block.bodyLength() + i64::from(block.metaDataLength());
            let (start, length) = (usize::try_from(block.offset()), usize::try_from(length));
            let (Ok(start), Ok(length)) = (start, length) else {
                return Err(damaged(&"a block outside the file"));
            };
            if start.checked_add(length).is_none_or(|end| end > buffer.len()) {
                return Err(damaged(&"a block outside the file"));
            }
            let data = buffer.slice_with_length(start, length);
            let batch = decoder.read_record_batch(block, &data).map_err(|e| damaged(&e))?;
            batch.ok_or_else(|| damaged(&"an empty block"))
        })?;
        Ok(decoded[number].get_or_init(|| batch))
    }

    /// The number of a batch's first row.
    #[must_use]
    pub fn start(&self, batch: usize) -> usize {
        self.starts[batch]
    }

    /// The area of a row, without its other columns.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    ///
    /// # Panics
    /// When `row` is not below [`Columns::rows`].
    pub fn bbox(&self, row: usize) -> Result<Option<BBox>> {
        let number = self.starts.partition_point(|&start| start <= row) - 1;
        let (batch, at) = (self.batch(number)?, row - self.starts[number]);
        let degrees = |name: &str| table::column::<Float64Array>(&self.path, batch, name);
        let edges = (degrees("west")?, degrees("south")?, degrees("east")?, degrees("north")?);
        Ok(edges.0.is_valid(at).then(|| BBox {
            west: edges.0.value(at),
            south: edges.1.value(at),
            east: edges.2.value(at),
            north: edges.3.value(at),
        }))
    }

    /// One row; what is only in `rows.parquet` is left empty.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    ///
    /// # Panics
    /// When `row` is not below [`Columns::rows`].
    pub fn tile(&self, row: usize) -> Result<Tile> {
        assert!(row < self.rows(), "a row of these columns");
        let batch = self.starts.partition_point(|&start| start <= row) - 1;
        let one = self.batch(batch)?.slice(row - self.starts[batch], 1);
        tiles(&self.path, &one)?
            .into_iter()
            .next()
            .ok_or_else(|| Error::damaged(&self.path, "a row", "none"))
    }
}

/// A few rows, or a few columns of them, as bytes that stand alone: an Arrow IPC stream.
///
/// # Errors
/// [`Error::Damaged`] when a column cannot be written, which is none of a tile's.
pub fn pack(path: &Path, batch: &RecordBatch) -> Result<Vec<u8>> {
    let odd = |e: ArrowError| Error::damaged(path, "columns of tiles", e);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(odd)?;
    writer.write(batch).map_err(odd)?;
    writer.into_inner().map_err(odd)
}

/// What [`pack`] packed; `path` is named by errors.
///
/// # Errors
/// [`Error::Damaged`].
pub fn unpack(path: &Path, bytes: &[u8]) -> Result<RecordBatch> {
    table::sound(path, || {
        let damaged = |e: &dyn std::fmt::Display| Error::damaged(path, "packed rows", e);
        let mut reader = StreamReader::try_new(bytes, None).map_err(|e| damaged(&e))?;
        let batch = reader.next().ok_or_else(|| damaged(&"none"))?;
        batch.map_err(|e| damaged(&e))
    })
}

/// The tiles of a batch that has a tile's columns; what is only in `rows.parquet` is left empty.
///
/// # Errors
/// [`Error::Damaged`].
pub fn tiles(path: &Path, batch: &RecordBatch) -> Result<Vec<Tile>> {
    table::sound(path, || tile::from_batch(path, batch))
}

fn starts(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut next = 0;
    let mut starts = vec![0];
    starts.extend(sizes.map(|rows| {
        next += rows;
        next
    }));
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize) -> Vec<Tile> {
        let row = |i: usize| Tile {
            layer: (!i.is_multiple_of(3)).then(|| format!("layer {}", i % 3)),
            time: Some("2020-09-12".into()),
            bbox: Some(BBox { west: i as f64 * 1e-3, south: 0.0, east: 9.0, north: 1.0 }),
            cloud_fraction: Some(i as f32 / n as f32),
            ..Tile::of_file(format!("{i}.jpg"), None)
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn rows_come_back_from_columns_and_from_parquet_alike() {
        let dir = tempfile::tempdir().unwrap();
        let tiles = rows(BATCH + 5);
        tile::write(&dir.path().join("rows.parquet"), tiles.clone()).unwrap();
        let parquet = Columns::open(dir.path()).unwrap();
        write(&dir.path().join("rows.arrow"), tiles.iter().cloned().map(Ok)).unwrap();
        let arrow = Columns::open(dir.path()).unwrap();
        assert_eq!((arrow.rows(), arrow.batches()), (tiles.len(), 2));
        assert_eq!(parquet.rows(), tiles.len());
        for row in [0, 7, BATCH - 1, BATCH, BATCH + 4] {
            assert_eq!(arrow.tile(row).unwrap(), tiles[row]);
            assert_eq!(parquet.tile(row).unwrap(), tiles[row]);
        }
    }

    #[test]
    fn packed_rows_stand_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.arrow");
        let all = rows(200);
        write(&path, all.iter().cloned().map(Ok)).unwrap();
        let columns = Columns::open(dir.path()).unwrap();
        let packed = pack(&path, &columns.batch(0).unwrap().slice(70, 50)).unwrap();
        let batch = unpack(&path, &packed).unwrap();
        assert_eq!(tiles(&path, &batch).unwrap(), all[70..120]);
        for length in 0..packed.len() {
            let _ = unpack(&path, &packed[..length]).map(|batch| tiles(&path, &batch));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.arrow");
        write(&path, rows(300).into_iter().map(Ok)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for round in 0..300_u64 {
            let mut bytes = whole.clone();
            let at = crate::seed::mix(round, &[1]) as usize % bytes.len();
            bytes[at] ^= crate::seed::mix(round, &[2]) as u8 | 1;
            if round.is_multiple_of(5) {
                bytes.truncate(at);
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(columns) = Columns::open(dir.path()) {
                for row in (0..columns.rows().min(300)).step_by(37) {
                    let _ = columns.tile(row);
                }
            }
        }
    }
}
