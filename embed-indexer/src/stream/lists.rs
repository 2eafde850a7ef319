//! The inverted lists of all partitions. A list's rows of every partition stand together, since a query that visits
//! the list looks at all of them: one request a list, however many partitions there are.
//!
//! ```text
//! lists/table.bin   "CURLISTS", version, partitions, lists, bytes of a code, files (u32 each);
//!                   the number of the list behind the last of each file (u32 each);
//!                   for each list, for each partition: rows, CRC-32C of the segment (u32 each)
//! lists/NNNN.bin    segments: codes, then rows of the partition (u32 each); list by list, in each the partitions
//! ```
//! Numbers are little-endian.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use curator_core::context::Unit;
use curator_core::{Context, Error, Result, atomic};

use super::pieces::{Piece, Sum};
use crate::ann::Ann;

/// The table's place.
pub(super) const TABLE: &str = "lists/table.bin";
const MAGIC: &[u8; 8] = b"CURLISTS";
const VERSION: u32 = 1;
const HEADER: usize = 28;
/// Bytes of an entry of the table.
const ENTRY: usize = 8;
/// The longest code: 65,536 numbers of 4 bytes.
const LONGEST_CODE: usize = 1 << 18;

/// A list's rows of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The partition's number.
    pub(super) part: usize,
    pub(super) rows: usize,
    pub(super) piece: Piece,
}

/// Where every list is. Memory: the table, and 16 bytes a list.
#[derive(Debug)]
pub(super) struct Lists {
    table: Bytes,
    parts: usize,
    lists: usize,
    code_size: usize,
    /// File and offset of each list.
    starts: Vec<(u32, u64)>,
    files: usize,
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

impl Lists {
    /// Reads a table; `rows` are those of the partitions, which it must agree with. Files are numbered from
    /// `first_file` on.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub(super) fn read(path: &Path, table: Bytes, rows: &[usize], first_file: u32) -> Result<Self> {
        let bad = |found: &str| Error::damaged(path, "a table of inverted lists", found);
        if table.len() < HEADER || !table.starts_with(MAGIC) {
            return Err(bad("another file"));
        }
        let head: Vec<usize> =
            (8..HEADER).step_by(4).map(|at| number(&table, at) as usize).collect();
        let [version, parts, lists, code_size, files] = head[..] else {
            return Err(bad("a cut file"));
        };
        if version as u32 > VERSION {
            let (found, supported) = (version as u32, VERSION);
            return Err(Error::NewerFormat { path: path.into(), found, supported });
        }
        let entries = parts.checked_mul(lists).and_then(|n| n.checked_mul(ENTRY));
        let length = entries.and_then(|n| n.checked_add(HEADER + 4 * files));
        if length != Some(table.len())
            || parts != rows.len()
            || code_size == 0
            || code_size > LONGEST_CODE
        {
            return Err(bad("another length, or number of partitions"));
        }
        let mut own =
            Self { table, parts, lists, code_size, starts: Vec::with_capacity(lists), files };
        let (mut file, mut offset) = (0, 0_u64);
        let mut counted = vec![0_u64; parts];
        for list in 0..lists {
            while file < files && list >= number(&own.table, HEADER + 4 * file) as usize {
                (file, offset) = (file + 1, 0);
            }
            own.starts.push((first_file + file as u32, offset));
            for (part, counted) in counted.iter_mut().enumerate() {
                let (rows, _) = own.entry(list, part);
                *counted += rows as u64;
                offset += own.bytes_of(rows);
                if own.bytes_of(rows) > u64::from(u32::MAX) {
                    return Err(bad("a list of more than 4 GB"));
                }
            }
        }
        let agree = counted.iter().zip(rows).all(|(counted, &rows)| *counted == rows as u64);
        if !agree || (lists > 0 && file >= files) {
            return Err(bad("other numbers of rows"));
        }
        Ok(own)
    }

    fn bytes_of(&self, rows: usize) -> u64 {
        rows as u64 * (self.code_size + 4) as u64
    }

    fn entry(&self, list: usize, part: usize) -> (usize, u32) {
        let at = HEADER + 4 * self.files + (list * self.parts + part) * ENTRY;
        (number(&self.table, at) as usize, number(&self.table, at + 4))
    }

    /// Number of lists.
    pub(super) fn len(&self) -> usize {
        self.lists
    }

    /// Bytes of a code.
    pub(super) fn code_size(&self) -> usize {
        self.code_size
    }

    /// Number of files.
    pub(super) fn files(&self) -> usize {
        self.files
    }

    /// The segments of a list that have rows.
    pub(super) fn segments(&self, list: usize) -> impl Iterator<Item = Segment> + '_ {
        let (file, mut start) = self.starts.get(list).copied().unwrap_or_default();
        let parts = if list < self.lists { self.parts } else { 0 };
        (0..parts).filter_map(move |part| {
            let (rows, sum) = self.entry(list, part);
            let length = self.bytes_of(rows);
            let at = start;
            start += length;
            let length = u32::try_from(length).ok().filter(|&length| length > 0)?;
            let piece = Piece { file, start: at, length, sum: Sum::Is(sum) };
            Some(Segment { part, rows, piece })
        })
    }
}

/// The codes and rows of a segment's bytes; `None` when a row is not below `rows`.
pub(super) fn open(bytes: &[u8], code_size: usize, rows: usize) -> Option<(&[u8], Vec<i64>)> {
    let count = bytes.len() / (code_size + 4);
    let (codes, ids) = bytes.split_at_checked(count * code_size)?;
    let ids: Vec<i64> = ids.chunks_exact(4).map(|id| i64::from(number(id, 0))).collect();
    ids.iter().all(|&id| (id as usize) < rows).then_some((codes, ids))
}

/// Writes the lists of partitions, `bytes_a_file` in a file and a list more, and returns the files' paths.
///
/// # Errors
/// [`crate::Error::Faiss`], and when a file cannot be written.
pub(super) fn write(
    root: &Path,
    anns: &[Ann],
    bytes_a_file: u64,
    context: &Context,
) -> crate::Result<Vec<String>> {
    let Some(first) = anns.first() else { return Ok(Vec::new()) };
    let (lists, code_size) = (first.lists(), first.code_size());
    let task = context.progress.begin("lists", Some(lists as u64), Unit::Items);
    let (mut paths, mut ends, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    while next < lists {
        let name = format!("lists/{:04}.bin", paths.len());
        let path = root.join(&name);
        let draft = atomic::Draft::create(&path)?;
        let mut file = std::io::BufWriter::new(draft.file());
        let mut written = 0;
        while next < lists && written < bytes_a_file {
            context.check()?;
            for ann in anns {
                let (mut segment, ids) = ann.list(next)?;
                segment.reserve(ids.len() * 4);
                ids.iter().for_each(|&id| segment.extend((id as u32).to_le_bytes()));
                entries.extend((ids.len() as u32).to_le_bytes());
                entries.extend(crc32c::crc32c(&segment).to_le_bytes());
                file.write_all(&segment).map_err(Error::io("write", &path))?;
                written += segment.len() as u64;
            }
            next += 1;
            task.advance(1);
        }
        file.flush().map_err(Error::io("write", &path))?;
        drop(file);
        draft.commit()?;
        paths.push(name);
        ends.extend((next as u32).to_le_bytes());
    }
    let mut table = MAGIC.to_vec();
    for number in [VERSION as usize, anns.len(), lists, code_size, paths.len()] {
        table.extend((number as u32).to_le_bytes());
    }
    table.extend(ends);
    table.extend(entries);
    atomic::write_atomic(&root.join(TABLE), &table)?;
    paths.push(TABLE.into());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ann::Kind;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n as u64)
            .map(|i| (curator_core::seed::mix(i, &[7]) >> 40) as f32 / (1 << 24) as f32 - 0.5)
            .collect()
    }

    /// Two partitions of 300 and 41 rows.
    fn written(root: &Path) -> (Vec<Ann>, Vec<u8>) {
        let rows = numbers(341 * 8);
        let trained = Ann::train(Kind::IvfSq8, "IVF16,SQ8", 8, &rows).unwrap();
        let anns: Vec<Ann> = [&rows[..300 * 8], &rows[300 * 8..]]
            .iter()
            .map(|rows| {
                let mut ann = trained.duplicate().unwrap();
                ann.add(rows).unwrap();
                ann
            })
            .collect();
        let paths = write(root, &anns, 900, &Context::silent()).unwrap();
        assert!(paths.len() > 3, "{paths:?}");
        (anns, std::fs::read(root.join(TABLE)).unwrap())
    }

    #[test]
    fn lists_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let (anns, table) = written(dir.path());
        let lists = Lists::read(dir.path(), table.into(), &[300, 41], 5).unwrap();
        assert_eq!((lists.len(), lists.code_size()), (16, 8));
        let mut seen = [0; 2];
        for list in 0..lists.len() {
            for Segment { part, rows, piece } in lists.segments(list) {
                let file = dir.path().join(format!("lists/{:04}.bin", piece.file - 5));
                let file = std::fs::read(file).unwrap();
                let bytes = &file[piece.start as usize..][..piece.length as usize];
                assert_eq!(piece.sum, Sum::Is(crc32c::crc32c(bytes)));
                let found = open(bytes, 8, [300, 41][part]).unwrap();
                let (codes, ids) = anns[part].list(list).unwrap();
                assert_eq!((found.0, &found.1), (&codes[..], &ids));
                assert!(rows == ids.len() && open(bytes, 8, ids[0] as usize).is_none());
                seen[part] += rows;
            }
        }
        assert_eq!(seen, [300, 41]);
        assert_eq!(lists.segments(16).count(), 0);
    }

    #[test]
    fn codes_of_absurd_length_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_, mut table) = written(dir.path());
        table[23] = 10;
        assert!(Lists::read(dir.path(), table.into(), &[300, 41], 0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn tables_are_read_or_refused(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            cut in proptest::option::of(any::<proptest::sample::Index>()),
            rows in proptest::collection::vec(0..400_usize, 0..4),
        ) {
            static TABLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let whole = TABLE.get_or_init(|| written(tempfile::tempdir().unwrap().path()).1);
            let mut table = whole.clone();
            for (at, value) in changes {
                // The header tells the most.
                let at = at.index(table.len().min(if value < 128 { 64 } else { usize::MAX }));
                table[at] = value;
            }
            if let Some(cut) = cut {
                table.truncate(cut.index(table.len()));
            }
            for rows in [&rows[..], &[300, 41]] {
                if let Ok(lists) = Lists::read(Path::new("t"), table.clone().into(), rows, 0) {
                    let all = (0..lists.len()).flat_map(|list| lists.segments(list));
                    let found: usize = all.map(|segment| segment.rows).sum();
                    prop_assert_eq!(found, rows.iter().sum::<usize>());
                }
            }
        }
    }
}
