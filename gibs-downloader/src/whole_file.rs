//! Files that take long to write and are whole or not there.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use curator_core::atomic;

use crate::error::Result;

/// As [`atomic::write_with`], for work that can fail in other ways than writing.
///
/// # Errors
/// What `fill` says, or the file system.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> Result<()>,
) -> Result<()> {
    let mut failed = None;
    let written = atomic::write_with(path, |file| {
        fill(file).map_err(|error| {
            failed = Some(error);
            std::io::Error::other("given up")
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}
