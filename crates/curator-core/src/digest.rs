//! SHA-256 digests as lower-case hexadecimal.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Digest of bytes, 64 hexadecimal digits.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Digest of bytes that lie in several places.
#[must_use]
pub fn of_parts(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex(&hasher.finalize())
}

/// Digest of a file's contents, read in blocks.
///
/// # Errors
/// [`Error::Io`] or [`Error::Missing`] when the file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&block[..n]),
        }
    }
}

/// Digest of a JSON value; object keys keep their order.
#[must_use]
pub fn of_json(value: &serde_json::Value) -> String {
    of_bytes(value.to_string().as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_known_digest_of_nothing() {
        assert!(super::of_bytes(b"").starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }
}
