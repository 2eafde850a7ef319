//! A partition as one file: its embeddings, which candidates are compared with; its rows in small blocks, for answers;
//! and the columns that filters look at.
//!
//! ```text
//! 0    "CURPART\0", version (u32), CRC-32C of the head from byte 16 on (u32),
//!      rows (u64), numbers of an embedding (u32), bytes of a number (u32: 4 float32, 2 float16)
//! 32   for each 64 rows a block, then for each 16,384 rows a block a column:
//!      bytes, bytes when unpacked, CRC-32C (u32 each)
//! …    embeddings: the numbers of a row, CRC-32C of them (u32)
//! …    the blocks in the same order: Arrow IPC streams, packed with Zstandard
//! ```
//! Numbers are little-endian. Where the head ends follows from the number of rows.

use std::io::{Seek, Write};
use std::ops::Range;
use std::path::Path;

use arrow_array::RecordBatch;
use bytes::Bytes;
use curator_core::columns::{self, Columns};
use curator_core::context::Task;
use curator_core::index::Part;
use curator_core::npy::Storage;
use curator_core::{Context, Error, Result, atomic};
use half::f16;

use super::pieces::{Piece, Sum};
use crate::search::span::Span;

const MAGIC: &[u8; 8] = b"CURPART\0";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const ENTRY: usize = 12;
/// Rows of a block: an answer costs one, of two to three kilobytes.
pub(super) const BLOCK: usize = 64;
/// Rows of a block of a column.
pub(super) const BATCH: usize = Columns::BATCH;
/// What filters look at.
pub(super) const COLUMNS: [&str; 8] =
    ["layer", "resolution", "time", "west", "south", "east", "north", "cloud_fraction"];
/// A block that is longer when unpacked is no block of ours.
const LONGEST: u32 = 64 << 20;
/// Fast, and within a tenth of the slower levels on such small blocks.
const LEVEL: i32 = 3;

/// What a partition's file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) storage: Storage,
}

impl Shape {
    fn blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    pub(super) fn batches(&self) -> usize {
        self.rows.div_ceil(BATCH)
    }

    /// The rows of a batch.
    pub(super) fn batch(&self, number: usize) -> Range<usize> {
        number * BATCH..self.rows.min((number + 1) * BATCH)
    }

    fn entries(&self) -> usize {
        self.blocks() + self.batches() * COLUMNS.len()
    }

    /// Bytes of the head.
    pub(super) fn head(&self) -> usize {
        HEADER + ENTRY * self.entries()
    }

    /// Bytes of an embedding with its checksum.
    pub(super) fn stride(&self) -> usize {
        self.dim * self.storage.size() + 4
    }

    /// Embeddings of a range of rows, in the file of this number.
    pub(super) fn embeddings(&self, file: u32, rows: Range<usize>) -> Piece {
        let stride = self.stride();
        Piece {
            file,
            start: (self.head() + rows.start * stride) as u64,
            length: (rows.len() * stride) as u32,
            sum: Sum::Records(stride),
        }
    }

    /// The numbers of embeddings, `[n, dim]`.
    pub(super) fn numbers(&self, bytes: &[u8]) -> Vec<f32> {
        let size = self.storage.size();
        let rows = bytes.chunks_exact(self.stride());
        rows.flat_map(|row| {
            row[..self.dim * size].chunks_exact(size).map(|number| match *number {
                [a, b] => f16::from_le_bytes([a, b]).to_f32(),
                [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
                _ => f32::NAN,
            })
        })
        .collect()
    }

    fn record(&self, numbers: &[f32], bytes: &mut Vec<u8>) {
        let start = bytes.len();
        match self.storage {
            Storage::Float32 => numbers.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Storage::Float16 => {
                numbers.iter().for_each(|&x| bytes.extend(f16::from_f32(x).to_le_bytes()));
            }
        }
        bytes.extend(crc32c::crc32c(&bytes[start..]).to_le_bytes());
    }
}

/// Where a partition's blocks are. Memory: 20 bytes a block.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) shape: Shape,
    file: u32,
    starts: Vec<u64>,
    entries: Vec<[u32; 3]>,
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

impl Head {
    /// Reads the head of a file of `size` bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub(super) fn read(
        path: &Path,
        bytes: &[u8],
        size: u64,
        shape: Shape,
        file: u32,
    ) -> Result<Self> {
        let bad = |found: &str| Error::damaged(path, "a partition", found);
        if !bytes.starts_with(MAGIC) || bytes.len() < HEADER {
            return Err(bad("another file"));
        }
        let found = number(bytes, 8);
        if found > VERSION {
            return Err(Error::NewerFormat { path: path.into(), found, supported: VERSION });
        }
        if bytes.len() != shape.head() || crc32c::crc32c(&bytes[16..]) != number(bytes, 12) {
            return Err(bad("a damaged head"));
        }
        let rows = u64::from(number(bytes, 16)) | u64::from(number(bytes, 20)) << 32;
        let own = [rows, u64::from(number(bytes, 24)), u64::from(number(bytes, 28))];
        if own != [shape.rows as u64, shape.dim as u64, shape.storage.size() as u64] {
            return Err(bad("one of other rows"));
        }
        let mut start = (shape.head() + shape.rows * shape.stride()) as u64;
        let (mut starts, mut entries) = (Vec::new(), Vec::new());
        for at in (HEADER..bytes.len()).step_by(ENTRY) {
            let entry = [number(bytes, at), number(bytes, at + 4), number(bytes, at + 8)];
            starts.push(start);
            start += u64::from(entry[0]);
            entries.push(entry);
        }
        if start != size {
            return Err(Error::damaged(path, format!("{start} bytes"), size));
        }
        Ok(Self { shape, file, starts, entries })
    }

    fn piece(&self, entry: usize) -> Piece {
        let [length, _, sum] = self.entries[entry];
        Piece { file: self.file, start: self.starts[entry], length, sum: Sum::Is(sum) }
    }

    /// Embeddings of a range of rows.
    pub(super) fn embeddings(&self, rows: Range<usize>) -> Piece {
        self.shape.embeddings(self.file, rows)
    }

    /// The block that has a row.
    pub(super) fn block(&self, row: usize) -> (usize, Piece) {
        (row / BLOCK, self.piece(row / BLOCK))
    }

    /// Unpacks the block of this number.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub(super) fn open_block(
        &self,
        path: &Path,
        block: usize,
        bytes: &[u8],
    ) -> Result<RecordBatch> {
        self.open(path, block, bytes)
    }

    fn column_entry(&self, batch: usize, column: usize) -> usize {
        self.shape.blocks() + batch * COLUMNS.len() + column
    }

    /// A column of a batch.
    pub(super) fn column(&self, batch: usize, column: usize) -> Piece {
        self.piece(self.column_entry(batch, column))
    }

    /// Unpacks columns of a batch, which are its rows' as far as they are asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub(super) fn open_columns(
        &self,
        path: &Path,
        batch: usize,
        columns: &[(usize, Bytes)],
    ) -> Result<RecordBatch> {
        let mut named = Vec::with_capacity(columns.len());
        for (column, bytes) in columns {
            let own = self.open(path, self.column_entry(batch, *column), bytes)?;
            let array = own.columns().first().cloned();
            let array = array.filter(|array| array.len() == self.shape.batch(batch).len());
            let array = array.ok_or_else(|| Error::damaged(path, "a column", "another"))?;
            named.push((COLUMNS[*column], array));
        }
        RecordBatch::try_from_iter(named).map_err(|e| Error::damaged(path, "columns", e))
    }

    fn open(&self, path: &Path, entry: usize, bytes: &[u8]) -> Result<RecordBatch> {
        let bad = |found: &dyn std::fmt::Display| Error::damaged(path, "packed rows", found);
        let raw = self.entries[entry][1];
        if raw > LONGEST {
            return Err(bad(&format!("{raw} bytes in a block")));
        }
        let unpacked = zstd::bulk::decompress(bytes, raw as usize).map_err(|e| bad(&e))?;
        columns::unpack(path, &unpacked)
    }
}

/// What each batch of a partition's rows has.
///
/// # Errors
/// [`Error::Damaged`].
pub(super) fn spans(rows: &Columns) -> crate::Result<Vec<Span>> {
    (0..rows.batches()).map(|number| Span::of(rows.path(), rows.batch(number)?)).collect()
}

/// Writes a partition.
///
/// # Errors
/// When its rows cannot be read, or the file cannot be written.
pub(super) fn write(
    path: &Path,
    part: &Part,
    rows: &Columns,
    task: &dyn Task,
    context: &Context,
) -> crate::Result<()> {
    let embeddings = &part.embeddings;
    let (dim, storage) = (embeddings.columns(), embeddings.storage());
    let shape = Shape { rows: embeddings.rows(), dim, storage };
    let io = |e: std::io::Error| Error::io("write", path)(e);
    let draft = atomic::Draft::create(path)?;
    let mut file = std::io::BufWriter::new(draft.file());
    file.seek(std::io::SeekFrom::Start(shape.head() as u64)).map_err(io)?;
    let mut bytes = Vec::new();
    for start in (0..shape.rows).step_by(BATCH) {
        context.check()?;
        let block = embeddings.read(start..shape.rows.min(start + BATCH));
        bytes.clear();
        block.chunks_exact(dim).for_each(|row| shape.record(row, &mut bytes));
        file.write_all(&bytes).map_err(io)?;
        task.advance((block.len() / dim) as u64);
    }
    let mut table = Vec::with_capacity(shape.entries() * ENTRY);
    let mut pack = |batch: &RecordBatch| -> crate::Result<()> {
        let raw = columns::pack(rows.path(), batch)?;
        let packed = zstd::bulk::compress(&raw, LEVEL).map_err(io)?;
        for number in [packed.len() as u32, raw.len() as u32, crc32c::crc32c(&packed)] {
            table.extend(number.to_le_bytes());
        }
        Ok(file.write_all(&packed).map_err(io)?)
    };
    for number in 0..rows.batches() {
        let batch = rows.batch(number)?;
        for start in (0..batch.num_rows()).step_by(BLOCK) {
            pack(&batch.slice(start, BLOCK.min(batch.num_rows() - start)))?;
        }
    }
    for number in 0..rows.batches() {
        context.check()?;
        let batch = rows.batch(number)?;
        for name in COLUMNS {
            let lacks = || Error::damaged(rows.path(), format!("a column `{name}`"), "none");
            let column = batch.schema().index_of(name).map_err(|_| lacks())?;
            pack(&batch.project(&[column]).map_err(|_| lacks())?)?;
        }
    }
    let mut head = (shape.rows as u64).to_le_bytes().to_vec();
    head.extend((dim as u32).to_le_bytes());
    head.extend((storage.size() as u32).to_le_bytes());
    head.extend(table);
    file.seek(std::io::SeekFrom::Start(0)).map_err(io)?;
    file.write_all(MAGIC).map_err(io)?;
    file.write_all(&VERSION.to_le_bytes()).map_err(io)?;
    file.write_all(&crc32c::crc32c(&head).to_le_bytes()).map_err(io)?;
    file.write_all(&head).map_err(io)?;
    file.flush().map_err(io)?;
    drop(file);
    Ok(draft.commit()?)
}

#[cfg(test)]
mod tests {
    use curator_core::{Tile, columns, npy};
    use proptest::prelude::*;

    use super::*;

    const ROWS: usize = 150;
    const SHAPE: Shape = Shape { rows: ROWS, dim: 3, storage: Storage::Float32 };

    /// The bytes of a partition.
    fn written() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let numbers: Vec<f32> = (0..ROWS * 3).map(|i| i as f32 / 7.0).collect();
        npy::write(&dir.path().join("embeddings.npy"), 3, &numbers).unwrap();
        let tiles = (0..ROWS).map(|i| Ok(Tile::of_file(format!("{i}.jpg"), None)));
        columns::write(&dir.path().join("rows.arrow"), tiles).unwrap();
        let embeddings =
            curator_core::Embeddings::open(&dir.path().join("embeddings.npy")).unwrap();
        let part = Part { name: "a".into(), first_row: 0, embeddings };
        let rows = Columns::open(dir.path()).unwrap();
        let (path, context) = (dir.path().join("0.bin"), Context::silent());
        let task = context.progress.begin("", None, curator_core::context::Unit::Items);
        write(&path, &part, &rows, task.as_ref(), &context).unwrap();
        let spans = spans(&rows).unwrap();
        assert!(spans.len() == 1 && !spans[0].has_places());
        std::fs::read(&path).unwrap()
    }

    fn whole() -> &'static [u8] {
        static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        WHOLE.get_or_init(written)
    }

    fn bytes(piece: Piece) -> &'static [u8] {
        &whole()[piece.start as usize..][..piece.length as usize]
    }

    #[test]
    fn a_partition_comes_back() {
        let path = Path::new("part");
        let (head, size) = (&whole()[..SHAPE.head()], whole().len() as u64);
        let head = Head::read(path, head, size, SHAPE, 0).unwrap();
        let numbers = SHAPE.numbers(bytes(head.embeddings(70..72)));
        assert_eq!(numbers, (210..216).map(|i| i as f32 / 7.0).collect::<Vec<_>>());
        let (block, piece) = head.block(149);
        let batch = head.open_block(path, block, bytes(piece)).unwrap();
        let tiles = columns::tiles(path, &batch).unwrap();
        assert_eq!((tiles.len(), tiles[21].tile_id.as_str()), (22, "149.jpg"));
        let time = Bytes::from_static(bytes(head.column(0, 2)));
        let batch = head.open_columns(path, 0, &[(2, time)]).unwrap();
        assert_eq!((batch.num_rows(), batch.schema().field(0).name().as_str()), (150, "time"));
        assert!(Head::read(path, &whole()[..SHAPE.head()], size - 1, SHAPE, 0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn heads_are_read_or_refused(
            changes in proptest::collection::vec((0..SHAPE.head(), any::<u8>()), 0..5),
            sound in any::<bool>(),
            rows in proptest::option::of(0..1_000_000_usize),
        ) {
            let mut head = whole()[..SHAPE.head()].to_vec();
            changes.iter().for_each(|&(at, value)| head[at] = value);
            if sound {
                // As one would write who means harm.
                let sum = crc32c::crc32c(&head[16..]).to_le_bytes();
                head[12..16].copy_from_slice(&sum);
            }
            let shape = Shape { rows: rows.unwrap_or(ROWS), ..SHAPE };
            let size = whole().len() as u64;
            if let Ok(read) = Head::read(Path::new("p"), &head, size, shape, 0) {
                for row in (0..ROWS).step_by(40) {
                    let (block, piece) = read.block(row);
                    prop_assert!(piece.start + u64::from(piece.length) <= size);
                    if piece.start as usize + piece.length as usize <= whole().len() {
                        let _ = read.open_block(Path::new("p"), block, bytes(piece));
                    }
                }
            }
        }

        #[test]
        fn packed_nonsense_is_refused_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let size = whole().len() as u64;
            let head = Head::read(Path::new("p"), &whole()[..SHAPE.head()], size, SHAPE, 0).unwrap();
            prop_assert!(head.open_block(Path::new("p"), 0, &bytes).is_err());
            let packed = zstd::bulk::compress(&bytes, 1).unwrap();
            let _ = head.open_block(Path::new("p"), 0, &packed);
        }
    }
}
