//! What need not be asked again: rows of finished parts, and what a killed run left that is still believed.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use curator_core::atomic::Draft;
use curator_core::manifest::part_path;
use curator_core::scene::NativeTile;
use curator_core::{Error as CoreError, digest};
use jiff::ToSpan;
use jiff::civil::DateTime;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, NO_DATA, remove};
use crate::error::Result;
use crate::journal::{self, Absent, Entry, Layout};
use crate::pack;
use crate::settled::{Place, Settled};
use crate::sorter::{Merge, Sorter};
use crate::times;

/// Journal lines that are checked at a time.
const BATCH: usize = 2048;

/// A finished tile that is asked for again: the service may say that it is still the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The request's, in the plan.
    pub(crate) position: u64,
    pub(crate) etag: String,
    pub(crate) sha256: String,
    /// What it is, which need not be what was asked for.
    pub(crate) place: Absent,
}

/// What a killed run left.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    pub(crate) layout: Option<Layout>,
    /// Where its packs end, as far as they are believed.
    pub(crate) ends: HashMap<String, u64>,
    /// Lines that are believed and not finished yet.
    pub(crate) lines: u64,
}

/// Marks what finished parts have, and 404s unless `again`. Tiles of times since `recent` are not marked;
/// they come back, in the order of the plan.
///
/// # Errors
/// When parts cannot be read.
pub(crate) fn finished(
    archive: &Archive,
    settled: &mut Settled<'_>,
    again: bool,
    recent: Option<DateTime>,
) -> Result<Merge<Known>> {
    let is_recent = |time: &str| {
        recent.is_some_and(|since| times::parse_instant(time).is_some_and(|time| time >= since))
    };
    let mut known = Sorter::new(&archive.partial());
    for row in archive.rows()? {
        let row = row?;
        if !is_recent(&row.time_asked) {
            settled.settle_place(Place::asked(&row));
            settled.settle_place(Place::actual(&row));
            continue;
        }
        let positions: Vec<u64> = settled.positions(Place::asked(&row)).collect();
        for position in positions {
            known.push(Known {
                position,
                etag: row.etag.clone(),
                sha256: row.sha256.clone(),
                place: Absent::from(Place::actual(&row)),
            })?;
        }
    }
    if !again {
        for absent in archive.lines::<Absent>(NO_DATA)? {
            let absent = absent?;
            if !is_recent(&absent.time) {
                settled.settle_place(Place::from(&absent));
            }
        }
    }
    Ok(known.sorted()?)
}

/// The first instant that counts as recent.
pub(crate) fn since(days: u32) -> Option<DateTime> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.checked_sub(i64::from(days).days()).ok().map(|day| day.at(0, 0, 0, 0))
}

/// Marks what the journal of a killed run has, without looking whether it is so.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn peek(archive: &Archive, settled: &mut Settled<'_>, again: bool) -> Result<()> {
    for entry in journal::read(&archive.journal())? {
        settle(&entry?, settled, again);
    }
    Ok(())
}

/// Writes the journal anew with the lines that are still believed, and marks them: a tile counts when its
/// bytes have the digest that the journal says, in packs up to the first that have not. 404s count unless
/// `again`. What follows `first` are those lines.
///
/// # Errors
/// When the journal cannot be read or written.
pub(crate) fn unfinished(
    archive: &Archive,
    settled: &mut Settled<'_>,
    again: bool,
    first: impl FnOnce(&Resumed) -> Vec<Entry>,
) -> Result<Resumed> {
    let mut resumed = Resumed::default();
    let path = archive.journal();
    let head: Vec<Entry> =
        journal::read(&path)?.take(16).collect::<curator_core::Result<Vec<_>>>()?;
    let run = head.iter().find_map(|entry| match entry {
        Entry::Run(layout, part) => Some((*layout, *part)),
        _ => None,
    });
    // A journal that was made a part of, and then not removed, is over.
    let goes_on = run.is_none_or(|(_, part)| part == archive.next_part());
    resumed.layout = run.map(|(layout, _)| layout).filter(|_| goes_on);

    let draft = Draft::create(&path)?;
    let mut out = BufWriter::with_capacity(1 << 18, draft.file());
    let mut write =
        |entry: &Entry| journal::write_line(&mut out, entry).map_err(CoreError::io("write", &path));
    first(&resumed).iter().try_for_each(&mut write)?;
    let mut broken: HashMap<String, bool> = HashMap::new();
    let mut entries = journal::read(&path)?.take(if goes_on { usize::MAX } else { 0 });
    loop {
        let batch: Vec<Entry> =
            entries.by_ref().take(BATCH).collect::<curator_core::Result<Vec<_>>>()?;
        if batch.is_empty() {
            break;
        }
        let intact: Vec<bool> = batch.par_iter().map(|entry| is_intact(archive, entry)).collect();
        for (entry, mut intact) in batch.into_iter().zip(intact) {
            if let Entry::Tile(tile) | Entry::Renewed(tile, _) = &entry {
                if pack::parse(&tile.path).is_some() {
                    let broken = broken.entry(tile.path.clone()).or_default();
                    *broken |= !intact;
                    intact = !*broken;
                } else if !intact {
                    let path = part_path(&archive.directory, &tile.path)?;
                    remove(&path, |path| std::fs::remove_file(path))?;
                }
                if intact && pack::parse(&tile.path).is_some() {
                    resumed.ends.insert(tile.path.clone(), tile.offset + tile.length);
                }
            }
            let kept = match &entry {
                Entry::Source(_) | Entry::Run(..) => false,
                Entry::NoData(_) => !again,
                Entry::Grid(..) | Entry::Tile(_) | Entry::Renewed(..) => intact,
            };
            if kept {
                write(&entry)?;
                settle(&entry, settled, again);
                resumed.lines += u64::from(!matches!(entry, Entry::Grid(..)));
            }
        }
    }
    out.flush().map_err(CoreError::io("write", &path))?;
    drop(out);
    draft.commit()?;
    Ok(resumed)
}

fn settle(entry: &Entry, settled: &mut Settled<'_>, again: bool) {
    match entry {
        Entry::Tile(tile) | Entry::Renewed(tile, _) => settled.settle_place(Place::asked(tile)),
        Entry::NoData(absent) if !again => settled.settle_place(Place::from(absent)),
        Entry::Source(_) | Entry::Grid(..) | Entry::Run(..) | Entry::NoData(_) => {}
    }
}

fn is_intact(archive: &Archive, entry: &Entry) -> bool {
    match entry {
        Entry::Tile(tile) | Entry::Renewed(tile, _) => {
            bytes_of(archive, tile).is_ok_and(|bytes| digest::of_bytes(&bytes) == tile.sha256)
        }
        _ => true,
    }
}

/// The bytes of a tile, as served. A file of its own has no others.
pub(crate) fn bytes_of(archive: &Archive, tile: &NativeTile) -> curator_core::Result<Vec<u8>> {
    let path = part_path(&archive.directory, &tile.path)?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(&path)?;
        if pack::parse(&tile.path).is_none() && file.metadata()?.len() != tile.length {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        file.seek(SeekFrom::Start(tile.offset))?;
        let mut bytes = Vec::new();
        file.take(tile.length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(CoreError::io("read", &path))
}
