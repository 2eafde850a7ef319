//! Frames: lengths and checksums around payloads.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result, digest};

/// Bytes of a frame besides its payload.
pub const OVERHEAD: usize = 16;
/// Largest payload that is read; longer ones are taken for damage.
const MAX_PAYLOAD: u64 = 1 << 30;
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// The checksum that frames carry: CRC32C, rotated and offset so that checksums of checksums differ.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(super) fn masked_crc(bytes: &[u8]) -> u32 {
    masked(crc32c::crc32c(bytes))
}

/// A payload in its frame.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&masked_crc(&length).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&masked_crc(payload).to_le_bytes());
    bytes
}

/// The payload of a whole frame, both checksums verified.
///
/// # Errors
/// [`Error::Damaged`] when a length or checksum is wrong.
pub fn unframe<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let bad = |found: &str| Error::damaged(path, "a TFRecord frame", found);
    let number =
        |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let length = payload_length(path, bytes)?;
    let end = 12 + length;
    if bytes.len() != end + 4 {
        return Err(bad("another length"));
    }
    let payload = &bytes[12..end];
    if number(end) == Some(masked_crc(payload)) {
        Ok(payload)
    } else {
        Err(bad("a wrong checksum"))
    }
}

/// The length that a frame's first 12 bytes tell.
fn payload_length(path: &Path, head: &[u8]) -> Result<usize> {
    let bad = |found: &str| Error::damaged(path, "a TFRecord frame", found);
    let head: [u8; 12] =
        head.get(..12).and_then(|h| h.try_into().ok()).ok_or_else(|| bad("the end of the file"))?;
    let length: [u8; 8] = [head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]];
    if masked_crc(&length).to_le_bytes() != head[8..] {
        return Err(bad("a wrong checksum of the length"));
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_PAYLOAD { Err(bad("an impossible length")) } else { Ok(length as usize) }
}

/// Reads a file frame after frame, checksums verified.
pub struct Reader<'a> {
    path: &'a Path,
    stream: BufReader<File>,
    frame: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Opens a file of records.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`].
    pub fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        Ok(Self { path, stream: BufReader::with_capacity(BLOCK, file), frame: Vec::new() })
    }

    /// The next payload; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is cut or a checksum is wrong.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>> {
        let Some(head) = read_head(self.path, &mut self.stream)? else { return Ok(None) };
        let length = payload_length(self.path, &head)?;
        self.frame.clear();
        self.frame.extend_from_slice(&head);
        let rest = length as u64 + 4;
        let n = (&mut self.stream).take(rest).read_to_end(&mut self.frame);
        if n.map_err(Error::io("read", self.path))? as u64 != rest {
            return Err(Error::damaged(self.path, "a whole TFRecord frame", "the end of the file"));
        }
        unframe(self.path, &self.frame).map(Some)
    }
}

/// Twelve bytes, or nothing at the end of the file.
fn read_head(path: &Path, stream: &mut impl Read) -> Result<Option<[u8; 12]>> {
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]).map_err(Error::io("read", path))? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(Error::damaged(path, "a TFRecord frame", "the end of the file")),
            n => filled += n,
        }
    }
    Ok(Some(head))
}

/// Where the frames of a file are, as offsets and whole lengths; payloads are skipped. What is damaged is
/// the last one: nothing after it can be found, and reading it says why.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`].
pub fn scan(path: &Path) -> Result<Vec<(u64, u32)>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let mut stream = BufReader::with_capacity(1 << 16, file);
    let (mut offset, mut frames) = (0, Vec::new());
    while offset < size {
        let length =
            match read_head(path, &mut stream).map(|head| head.map(|h| payload_length(path, &h))) {
                Ok(Some(Ok(length))) => (length + OVERHEAD) as u32,
                Ok(None) => break,
                Err(error @ Error::Io { .. }) => return Err(error),
                // Too short to be a frame, so that reading it fails as this did.
                Ok(Some(Err(_))) | Err(_) => {
                    frames.push((offset, (size - offset).min(12) as u32));
                    break;
                }
            };
        frames.push((offset, length));
        offset += u64::from(length);
        stream.seek_relative(i64::from(length) - 12).map_err(Error::io("read", path))?;
    }
    Ok(frames)
}

/// The payload of a frame at a place, checksums verified.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Damaged`].
pub fn read_at(path: &Path, offset: u64, length: u32) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    if u64::from(length) > MAX_PAYLOAD + OVERHEAD as u64 {
        return Err(Error::damaged(path, "a TFRecord frame", "an impossible length"));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(u64::from(length)).read_to_end(&mut bytes))
        .map_err(|e| Error::damaged(path, "a whole record", e))?;
    if bytes.len() < length as usize {
        return Err(Error::damaged(path, "a whole TFRecord frame", "the end of the file"));
    }
    let end = 12 + unframe(path, &bytes)?.len();
    bytes.truncate(end);
    bytes.drain(..12);
    Ok(bytes)
}

/// The digest of a file of records: of what its frames tell about themselves, their lengths and checksums.
/// It costs a thousandth of reading all payloads, which carry those checksums anyway.
#[derive(Debug, Clone, Default)]
pub struct FrameDigest(Vec<u8>);

impl FrameDigest {
    /// Takes in a frame by its beginning and its end: eight bytes of length, four of checksum.
    pub fn add(&mut self, beginning: &[u8], end: &[u8]) {
        self.0.extend_from_slice(&beginning[..beginning.len().min(8)]);
        self.0.extend_from_slice(&end[end.len().saturating_sub(4)..]);
    }

    /// SHA-256 of all that was taken in.
    #[must_use]
    pub fn finish(self) -> String {
        digest::of_bytes(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_and_a_cut_file_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut bytes = [frame(b"first"), frame(b"second")].concat();
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.next_payload().unwrap(), Some(&b"first"[..]));
        assert_eq!(reader.next_payload().unwrap(), Some(&b"second"[..]));
        assert_eq!(reader.next_payload().unwrap(), None);
        let whole = scan(&path).unwrap();
        assert_eq!(whole, [(0, 21), (21, 22)]);
        assert_eq!(read_at(&path, 21, 22).unwrap(), b"second");

        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(scan(&path).unwrap(), whole);
        assert!(matches!(read_at(&path, 21, 22), Err(Error::Damaged { .. })));
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.next_payload().is_ok() && reader.next_payload().is_err());

        bytes[14] ^= 1;
        assert!(unframe(&path, &bytes[..21]).is_err());
        // A length that cannot be trusted hides what comes after it.
        bytes[21] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let found = scan(&path).unwrap();
        assert_eq!(found.len(), 2);
        assert!(read_at(&path, found[1].0, found[1].1).is_err());
    }

    #[test]
    fn the_masked_checksum_is_tensorflows() {
        // The length checksum of an empty record, by the bitwise definition of CRC32C in Python.
        assert_eq!(masked_crc(&0_u64.to_le_bytes()), 0x0798_0329);
    }
}
