//! Ids that must not come twice.

use std::collections::HashSet;

use crate::{Error, Result};

/// Ids that were seen, as 64 bits of their digests: 16 bytes an id.
#[derive(Debug, Default)]
pub(crate) struct Ids(HashSet<u64>);

impl Ids {
    /// Takes in an id.
    ///
    /// # Errors
    /// [`Error::SameId`] when it was there already.
    pub(crate) fn take(&mut self, id: &str) -> Result<()> {
        let digest = curator_core::digest::of_bytes(id.as_bytes());
        let key = u64::from_str_radix(&digest[..16], 16).unwrap_or(0);
        if self.0.insert(key) { Ok(()) } else { Err(Error::SameId { id: id.into() }) }
    }
}
