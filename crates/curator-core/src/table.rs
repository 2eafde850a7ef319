//! Parquet files of rows: written atomically, read batch by batch.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::{Error, Result, atomic};

type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Rows of a row group: small enough to hold in memory, large enough to compress.
pub const ROW_GROUP: usize = 1 << 16;

/// Writes batches as one file. Equal batches give equal bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn write(
    path: &Path,
    schema: &Arc<Schema>,
    metadata: &[(&str, String)],
    batches: impl IntoIterator<Item = RecordBatch>,
) -> Result<()> {
    let mut writer = Writer::create(path, schema, metadata)?;
    batches.into_iter().try_for_each(|batch| writer.write(&batch))?;
    writer.finish()
}

/// As [`write()`], for batches that come one by one.
pub struct Writer {
    draft: atomic::Draft,
    writer: ArrowWriter<std::fs::File>,
    path: std::path::PathBuf,
}

impl Writer {
    /// Begins a file; it is there when [`Writer::finish`] has returned.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be written.
    pub fn create(path: &Path, schema: &Arc<Schema>, metadata: &[(&str, String)]) -> Result<Self> {
        let pairs = metadata
            .iter()
            .map(|(k, v)| KeyValue::new((*k).to_string(), v.clone()))
            .collect::<Vec<_>>();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_created_by("curator".into())
            .set_key_value_metadata(Some(pairs))
            .build();
        let draft = atomic::Draft::create(path)?;
        let file = draft.file().try_clone().map_err(Error::io("write", path))?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|e| Error::io("write", path)(std::io::Error::other(e)))?;
        Ok(Self { draft, writer, path: path.into() })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.writer.write(batch);
        written.map_err(|e| Error::io("write", &self.path)(io_error(e)))
    }

    /// Flushes the file and puts it where it belongs.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub fn finish(self) -> Result<()> {
        let closed = self.writer.close();
        closed.map_err(|e| Error::io("write", &self.path)(io_error(e)))?;
        self.draft.commit()
    }
}

/// What the file system said, where it was that, so that a full disk is known as one.
fn io_error(error: parquet::errors::ParquetError) -> std::io::Error {
    match error {
        parquet::errors::ParquetError::External(inside) => {
            inside.downcast::<std::io::Error>().map_or_else(std::io::Error::other, |io| *io)
        }
        other => std::io::Error::other(other),
    }
}

/// Reads a file batch by batch, in row order.
///
/// # Errors
/// [`Error::Missing`], and [`Error::Damaged`] when it is no Parquet file; each batch may be damaged
/// as well.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    batches(path, |builder| builder)
}

/// Reads the rows of these numbers, ascending and without repeats; other pages are not decoded.
///
/// # Errors
/// As [`read`].
pub fn read_at(
    path: &Path,
    numbers: &[usize],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let mut selectors = Vec::with_capacity(numbers.len() * 2);
    let mut next = 0;
    for &number in numbers {
        if number > next {
            selectors.push(RowSelector::skip(number - next));
        }
        selectors.push(RowSelector::select(1));
        next = number + 1;
    }
    batches(path, |builder| builder.with_row_selection(RowSelection::from(selectors)))
}

/// Reads some columns of a file batch by batch, in row order; the others are not decoded.
///
/// # Errors
/// As [`read`]. A column that is not there is found missing by [`column()`].
pub fn read_columns(
    path: &Path,
    names: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    batches(path, |builder| {
        let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        builder.with_projection(mask)
    })
}

/// Reads a range of rows batch by batch; other pages are not decoded.
///
/// # Errors
/// As [`read`].
pub fn read_range(
    path: &Path,
    rows: Range<usize>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    batches(path, |builder| builder.with_offset(rows.start).with_limit(rows.len()))
}

/// Opens a file and reads what is asked for.
fn batches(
    path: &Path,
    choose: impl FnOnce(Builder) -> Builder,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = sound(path, || {
        Builder::try_new(file)
            .and_then(|builder| choose(builder).with_batch_size(8192).build())
            .map_err(|e| Error::damaged(path, "a Parquet file", e))
    })?;
    let path = path.to_path_buf();
    let mut whole = true;
    Ok(Box::new(std::iter::from_fn(move || {
        let batch = sound(&path, || {
            reader.next().transpose().map_err(|e| Error::damaged(&path, "readable rows", e))
        });
        // After damage nothing is certain.
        let ended = !std::mem::replace(&mut whole, batch.is_ok());
        if ended { None } else { batch.transpose() }
    })))
}

/// What a reader of a file does; where damage makes the Parquet library panic, that is damage.
pub(crate) fn sound<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| Err(Error::damaged(path, "readable rows", "contradictory ones")))
}

/// A column by name, checked to be of the arrow array type `A`.
///
/// # Errors
/// [`Error::Damaged`] when the column is missing or has another type.
pub fn column<'a, A: Array + 'static>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a A> {
    let array: &ArrayRef = batch
        .column_by_name(name)
        .ok_or_else(|| Error::damaged(path, format!("a column `{name}`"), "none"))?;
    array.as_any().downcast_ref().ok_or_else(|| {
        let found: &DataType = array.data_type();
        Error::damaged(path, format!("another type of column `{name}`"), found)
    })
}
