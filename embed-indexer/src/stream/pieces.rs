//! Pieces of files: verified, kept in a cache that is bounded in bytes, and fetched together where they are near one
//! another.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::remote::{Failure, Remote};
use crate::Result;
use crate::search::Traffic;

/// Bytes between two pieces that are read along rather than asked for apart.
const GAP: u64 = 16 << 10;
/// The longest range of one request.
const LONGEST: u64 = 8 << 20;
/// What an entry of the cache costs besides its bytes.
const ENTRY: u64 = 128;

/// What the bytes of a piece must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// Its CRC-32C.
    Is(u32),
    /// Records of so many bytes, each of which ends in its own CRC-32C.
    Records(usize),
}

impl Sum {
    fn holds(self, bytes: &[u8]) -> bool {
        match self {
            Self::Is(sum) => crc32c::crc32c(bytes) == sum,
            Self::Records(length) => bytes.chunks(length).all(|record| {
                record.split_last_chunk::<4>().is_some_and(|(data, sum)| {
                    record.len() == length && crc32c::crc32c(data) == u32::from_le_bytes(*sum)
                })
            }),
        }
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The file's number.
    pub(super) file: u32,
    pub(super) start: u64,
    pub(super) length: u32,
    pub(super) sum: Sum,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + u64::from(self.length)
    }
}

/// The files of an index, of which pieces are read.
pub(super) struct Pieces {
    pub(super) remote: Remote,
    /// Paths of the files, by their numbers.
    files: Vec<String>,
    cache: Mutex<Cache>,
    from_cache: AtomicU64,
}

struct Cache {
    entries: LruCache<(u32, u64, u32), Bytes>,
    bytes: u64,
    room: u64,
}

impl Cache {
    fn keep(&mut self, piece: &Piece, bytes: Bytes) {
        let cost = |bytes: &Bytes| bytes.len() as u64 + ENTRY;
        if cost(&bytes) > self.room {
            return;
        }
        self.bytes += cost(&bytes);
        if let Some(old) = self.entries.put((piece.file, piece.start, piece.length), bytes) {
            self.bytes -= cost(&old);
        }
        while self.bytes > self.room
            && let Some((_, old)) = self.entries.pop_lru()
        {
            self.bytes -= cost(&old);
        }
    }
}

impl Pieces {
    pub(super) fn new(remote: Remote, room: u64) -> Self {
        let cache = Cache { entries: LruCache::unbounded(), bytes: 0, room };
        Self { remote, files: Vec::new(), cache: Mutex::new(cache), from_cache: AtomicU64::new(0) }
    }

    /// The number of a file, of which pieces are to be read.
    pub(super) fn add_file(&mut self, path: String) -> u32 {
        self.files.push(path);
        self.files.len() as u32 - 1
    }

    /// The path of a file, as messages have it.
    pub(super) fn path(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", String::as_str)
    }

    /// What messages call the folder.
    pub(super) fn name(&self) -> &Path {
        self.remote.name()
    }

    pub(super) fn traffic(&self) -> Traffic {
        let (requests, bytes) = self.remote.traffic();
        Traffic { requests, bytes, from_cache: self.from_cache.load(Ordering::Relaxed) }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // A cache is whole between any two of its changes.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads pieces, in the order asked for; of one that is missing or damaged, why.
    ///
    /// # Errors
    /// [`crate::Error::Store`] and [`crate::Error::Denied`] when the store cannot be read.
    pub(super) fn read(&self, wanted: &[Piece]) -> Result<Vec<Result<Bytes, String>>> {
        let mut found: Vec<Option<Result<Bytes, String>>> = {
            let mut cache = self.cache();
            let known =
                |p: &Piece| cache.entries.get(&(p.file, p.start, p.length)).cloned().map(Ok);
            wanted.iter().map(known).collect()
        };
        let held: u64 = found.iter().flatten().flatten().map(|bytes| bytes.len() as u64).sum();
        self.from_cache.fetch_add(held, Ordering::Relaxed);
        let absent: Vec<usize> = (0..wanted.len()).filter(|&i| found[i].is_none()).collect();
        let stretches = together(wanted, absent);
        let asked = stretches.iter().map(|s| (self.path(s.file), s.range.clone())).collect();
        for (stretch, fetched) in stretches.iter().zip(self.remote.ranges(asked)) {
            let fetched = match fetched {
                Ok(fetched) => Ok(fetched.bytes),
                Err(Failure::Damage(reason)) => Err(reason),
                Err(Failure::Store(error)) => return Err(error),
            };
            for &at in &stretch.pieces {
                let piece = &wanted[at];
                found[at] = Some(fetched.as_ref().map_err(String::clone).and_then(|bytes| {
                    let from = (piece.start - stretch.range.start) as usize;
                    // A copy, so that the cache keeps no bytes that it does not count.
                    let own = Bytes::copy_from_slice(&bytes[from..from + piece.length as usize]);
                    if !piece.sum.holds(&own) {
                        let (path, start) = (self.path(piece.file), piece.start);
                        return Err(format!("`{path}` is damaged behind byte {start}"));
                    }
                    self.cache().keep(piece, own.clone());
                    Ok(own)
                }));
            }
        }
        Ok(found.into_iter().map(|piece| piece.unwrap_or_else(|| Err("unread".into()))).collect())
    }
}

/// Pieces that are read by one request.
struct Stretch {
    file: u32,
    range: Range<u64>,
    /// Numbers of the pieces.
    pieces: Vec<usize>,
}

/// The requests that bring pieces.
fn together(wanted: &[Piece], mut absent: Vec<usize>) -> Vec<Stretch> {
    absent.sort_unstable_by_key(|&at| (wanted[at].file, wanted[at].start));
    let mut stretches: Vec<Stretch> = Vec::new();
    for at in absent {
        let piece = &wanted[at];
        if let Some(last) = stretches.last_mut()
            && last.file == piece.file
            && piece.start <= last.range.end + GAP
            && piece.end() - last.range.start <= LONGEST
        {
            last.range.end = last.range.end.max(piece.end());
            last.pieces.push(at);
            continue;
        }
        let range = piece.start..piece.end();
        stretches.push(Stretch { file: piece.file, range, pieces: vec![at] });
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file: u32, start: u64, length: u32) -> Piece {
        Piece { file, start, length, sum: Sum::Is(0) }
    }

    #[test]
    fn near_pieces_are_fetched_together() {
        let wanted = [
            piece(0, 100_000, 50),
            piece(1, 0, 10),
            piece(0, 0, 100),
            piece(0, 200, 100),
            piece(0, 200, 100),
            piece(0, 300 + GAP, 9),
            piece(0, 320 + 2 * GAP, 9),
        ];
        let found: Vec<_> = together(&wanted, (0..wanted.len()).collect())
            .into_iter()
            .map(|s| (s.file, s.range, s.pieces))
            .collect();
        assert_eq!(found[0], (0, 0..309 + GAP, vec![2, 3, 4, 5]));
        assert_eq!(found[1], (0, 320 + 2 * GAP..329 + 2 * GAP, vec![6]));
        assert_eq!(found[2], (0, 100_000..100_050, vec![0]));
        assert_eq!(found[3], (1, 0..10, vec![1]));
        let long = [piece(0, 0, LONGEST as u32), piece(0, LONGEST, 5)];
        assert_eq!(together(&long, vec![0, 1]).len(), 2);
    }

    #[test]
    fn the_cache_stays_within_its_room() {
        let mut cache = Cache { entries: LruCache::unbounded(), bytes: 0, room: 1000 };
        for i in 0..50 {
            cache.keep(&piece(0, i, 100), Bytes::from(vec![0; 100]));
            assert!(cache.bytes <= 1000 && cache.entries.len() <= 4);
            assert_eq!(cache.bytes, 228 * cache.entries.len() as u64);
        }
        cache.keep(&piece(0, 49, 100), Bytes::from(vec![0; 100]));
        assert_eq!((cache.entries.len(), cache.bytes), (4, 912));
        cache.keep(&piece(0, 99, 1000), Bytes::from(vec![0; 1000]));
        assert_eq!(cache.entries.len(), 4);
    }

    #[test]
    fn every_record_is_checked() {
        let mut bytes = Vec::new();
        for i in 0..5_u8 {
            let data = [i; 8];
            bytes.extend(data);
            bytes.extend(crc32c::crc32c(&data).to_le_bytes());
        }
        assert!(Sum::Records(12).holds(&bytes));
        assert!(!Sum::Records(12).holds(&bytes[..59]));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(!Sum::Records(12).holds(&bytes));
            bytes[at] ^= 1;
        }
    }
}
