//! Looking after labels: merging, checking, copying, and the links that open their page.

use std::path::{Path, PathBuf};

use curator_labeling::{Merged, Store, Verified};
use curator_web::{Link, Links, Role};

use crate::{Error, Result};

/// Adds the events of other labels that are not there yet.
pub(crate) fn merge(inputs: &[PathBuf], output: &Path) -> Result<Merged> {
    let mut store = Store::open(output)?;
    let mut all = Merged::default();
    for input in inputs {
        let merged = store.merge(input)?;
        all.added += merged.added;
        all.known += merged.known;
        all.conflicts += merged.conflicts;
    }
    Ok(all)
}

/// Whether labels are whole.
pub(crate) fn verify(labels: &Path) -> Result<Verified> {
    Ok(Store::existing(labels)?.verify()?)
}

/// Copies labels into their `backups/`; `None` when the newest copy has everything.
pub(crate) fn backup(labels: &Path) -> Result<Option<PathBuf>> {
    Ok(Store::existing(labels)?.backup()?)
}

/// The links of labels.
pub(crate) fn links(labels: &Path) -> Result<Vec<Link>> {
    Ok(Links::read(labels)?.all().to_vec())
}

/// Makes a link; a server that runs takes it up within a second.
pub(crate) fn add_link(labels: &Path, role: Role, hours: Option<u32>) -> Result<Link> {
    let mut links = Links::read(labels)?;
    let link = links.add(role, hours);
    links.write(labels)?;
    Ok(link)
}

/// Revokes a link; who came through it is out within a second.
pub(crate) fn revoke_link(labels: &Path, id: &str) -> Result<()> {
    let mut links = Links::read(labels)?;
    if !links.revoke(id) {
        return Err(Error::NoLink { id: id.into() });
    }
    Ok(links.write(labels)?)
}
