//! Rows by the ids of their tiles, so that one is found without reading all.
//!
//! ```text
//! 0    "CURIDS\0\0", version (u32), buckets (u32), rows (u64), CRC-32C of the rest of the head (u32), 0 (u32)
//! 32   for each bucket: rows, CRC-32C (u32 each)
//! …    the buckets: hash (u64), row (u32), in order
//! ```
//! The hash is the first 8 bytes of the SHA-256 of the id, big-endian; its bucket is hash · buckets / 2⁶⁴. All other
//! numbers are little-endian.

use std::io::Write;
use std::path::Path;

use curator_core::{Error, Result, atomic, digest};

use super::pieces::{Piece, Sum};

/// The file's place.
pub(super) const PATH: &str = "ids.bin";
const MAGIC: &[u8; 8] = b"CURIDS\0\0";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const ENTRY: usize = 12;
/// Rows of a bucket: six kilobytes.
const BUCKET: usize = 512;

fn buckets(rows: usize) -> usize {
    rows.div_ceil(BUCKET)
}

/// What an id is found by.
pub(super) fn hash(tile_id: &str) -> u64 {
    let digest = digest::of_bytes(tile_id.as_bytes());
    digest.get(..16).and_then(|half| u64::from_str_radix(half, 16).ok()).unwrap_or_default()
}

fn bucket_of(hash: u64, buckets: usize) -> usize {
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Where the buckets are. Memory: 16 bytes for 512 rows.
#[derive(Debug)]
pub(super) struct Ids {
    file: u32,
    /// Start, length and checksum.
    buckets: Vec<(u64, u32, u32)>,
}

impl Ids {
    /// Bytes of the head for a number of rows.
    pub(super) fn head(rows: usize) -> u64 {
        (HEADER + 8 * buckets(rows)) as u64
    }

    /// Reads the head.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub(super) fn read(path: &Path, bytes: &[u8], rows: usize, file: u32) -> Result<Self> {
        let bad = || Error::damaged(path, format!("the ids of {rows} rows"), "something else");
        if !bytes.starts_with(MAGIC) || bytes.len() as u64 != Self::head(rows) {
            return Err(bad());
        }
        let found = number(bytes, 8);
        if found > VERSION {
            return Err(Error::NewerFormat { path: path.into(), found, supported: VERSION });
        }
        if crc32c::crc32c(&bytes[HEADER..]) != number(bytes, 24) {
            return Err(bad());
        }
        let mut start = Self::head(rows);
        let mut counted = 0;
        let mut buckets = Vec::with_capacity(buckets(rows));
        for at in (HEADER..bytes.len()).step_by(8) {
            let count = number(bytes, at);
            let length = count.checked_mul(ENTRY as u32).ok_or_else(bad)?;
            buckets.push((start, length, number(bytes, at + 4)));
            start += u64::from(length);
            counted += count as usize;
        }
        if counted == rows { Ok(Self { file, buckets }) } else { Err(bad()) }
    }

    /// The bucket that an id would be in.
    pub(super) fn bucket(&self, tile_id: &str) -> Option<Piece> {
        let at = bucket_of(hash(tile_id), self.buckets.len());
        let &(start, length, sum) = self.buckets.get(at).filter(|bucket| bucket.1 > 0)?;
        Some(Piece { file: self.file, start, length, sum: Sum::Is(sum) })
    }
}

/// The rows of a bucket that an id may be the id of.
pub(super) fn candidates(bucket: &[u8], tile_id: &str) -> Vec<usize> {
    let wanted = hash(tile_id).to_le_bytes();
    let entries = bucket.chunks_exact(ENTRY).filter(|entry| entry.starts_with(&wanted));
    entries.map(|entry| number(entry, 8) as usize).collect()
}

/// Writes the ids of all rows: their hashes, in the rows' order. Memory: 16 bytes a row.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(path: &Path, hashes: impl Iterator<Item = u64>) -> Result<()> {
    let mut entries: Vec<(u64, u32)> = hashes.zip(0..).collect();
    entries.sort_unstable();
    let buckets = buckets(entries.len());
    let mut table = Vec::with_capacity(8 * buckets);
    let bytes_of = |entries: &[(u64, u32)]| -> Vec<u8> {
        let both = entries.iter().map(|(hash, row)| (hash.to_le_bytes(), row.to_le_bytes()));
        both.flat_map(|(hash, row)| hash.into_iter().chain(row)).collect()
    };
    let mut rest = &entries[..];
    let mut ends = Vec::with_capacity(buckets);
    for bucket in 0..buckets {
        let end = rest.partition_point(|entry| bucket_of(entry.0, buckets) <= bucket);
        let (own, after) = rest.split_at(end);
        table.extend((own.len() as u32).to_le_bytes());
        table.extend(crc32c::crc32c(&bytes_of(own)).to_le_bytes());
        ends.push(own);
        rest = after;
    }
    atomic::write_with(path, |file| {
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&(buckets as u32).to_le_bytes())?;
        file.write_all(&(entries.len() as u64).to_le_bytes())?;
        file.write_all(&crc32c::crc32c(&table).to_le_bytes())?;
        file.write_all(&[0; 4])?;
        file.write_all(&table)?;
        ends.iter().try_for_each(|own| file.write_all(&bytes_of(own)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(n: usize) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PATH);
        write(&path, (0..n).map(|i| hash(&format!("tile {}", i % 5000)))).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn ids_are_found_also_when_they_stand_twice() {
        let (n, path) = (6000, Path::new("ids"));
        let file = written(n);
        let ids = Ids::read(path, &file[..Ids::head(n) as usize], n, 3).unwrap();
        let rows = |id: &str| {
            let piece = ids.bucket(id).unwrap();
            let bytes = &file[piece.start as usize..][..piece.length as usize];
            assert_eq!(piece.sum, Sum::Is(crc32c::crc32c(bytes)));
            candidates(bytes, id)
        };
        for row in [0, 1, 999, 1000, 4999] {
            let expected: Vec<usize> = (0..n).filter(|i| i % 5000 == row).collect();
            assert_eq!(rows(&format!("tile {row}")), expected);
        }
        assert_eq!(rows("tile 5000"), [0_usize; 0]);
        assert!(Ids::read(path, &[], 0, 0).is_err());
    }

    proptest! {
        #[test]
        fn heads_are_read_or_refused(
            changes in proptest::collection::vec((0..80_usize, any::<u8>()), 0..4),
            rows in prop_oneof![Just(2000_usize), 0..1_000_000_usize],
            sound in any::<bool>(),
        ) {
            static FILE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let whole = FILE.get_or_init(|| written(2000));
            let mut head = whole[..Ids::head(2000) as usize].to_vec();
            let end = head.len();
            changes.iter().for_each(|&(at, value)| head[at % end] = value);
            if sound {
                let sum = crc32c::crc32c(&head[HEADER..]).to_le_bytes();
                head[24..28].copy_from_slice(&sum);
            }
            if let Ok(ids) = Ids::read(Path::new("i"), &head, rows, 0) {
                prop_assert!(ids.buckets.len() == buckets(2000));
            }
        }
    }
}
