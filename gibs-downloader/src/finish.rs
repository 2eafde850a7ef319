//! The end of a run: the journal becomes a part, scenes can be opened, the manifest last.
//!
//! Rows go through in order of place, however many there are: those of the journal, and those of finished
//! parts whose scenes the run touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use curator_core::manifest::{self, Manifest, Part, part_path};
use curator_core::scene::{self, Grids, grid_name};
use curator_core::{Context, Error as CoreError, TileMatrix, digest};

use crate::archive::{Archive, Contents, Failure, NO_DATA, Wanted, remove};
use crate::contact;
use crate::error::{Error, Result};
use crate::gone::{Gone, part_file, remove_superseded, without_gone};
use crate::journal::{self, Absent, Entry};
use crate::lists::{NoData, write_failures, write_lines};
use crate::pack;
use crate::retry::{self, Addresses};
use crate::rows::{Fate, Fates, Item};
use crate::scenes::Scenes;
use crate::settled::{Place, Settled};
use crate::sorter::{Merge, Sorter};
use crate::{credit, stac};

/// Program and version, as manifests name it.
const CREATED_BY: &str = concat!("gibs-downloader ", env!("CARGO_PKG_VERSION"));

/// What the directory holds after a run, and what the run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) tiles: u64,
    pub(crate) no_data: u64,
    pub(crate) failed: u64,
    /// Answers that another request had brought already.
    pub(crate) duplicates: u64,
    /// Finished tiles that were superseded.
    pub(crate) superseded: u64,
    bytes: u64,
    empty: u64,
    bytes_gone: u64,
    empty_gone: u64,
}

/// Makes a finished directory of what the journal has. Failures and 404s of earlier runs that are still
/// open stay listed.
///
/// # Errors
/// When something cannot be written; the journal is kept then, and the next run tries again.
pub(crate) fn finish(
    archive: &Archive,
    wanted: &[Wanted],
    settled: &Settled<'_>,
    failures: Sorter<Failure>,
    context: &Context,
) -> Result<Totals> {
    let directory = &archive.directory;
    let Collected { items, no_data, matrices } = collect(archive, settled)?;
    context.check()?;
    let failed = write_failures(archive, settled, failures)?;
    let part = archive.next_part();
    flush_to_disk(directory)?;
    let mut manifest = match &archive.manifest {
        Some(old) => Manifest {
            created_by: CREATED_BY.into(),
            version: manifest::SCENES.version,
            ..old.clone()
        },
        None => Manifest::new(manifest::SCENES, CREATED_BY, serde_json::Value::Null),
    };
    let (written, mut totals, affected) = write_rows(archive, items, &matrices, part)?;
    totals.failed = failed;
    let held: u64 = manifest.parts.iter().map(|part| part.rows).sum();
    totals.tiles = held - totals.superseded + written.as_ref().map_or(0, |part| part.rows);
    if totals.tiles == 0 {
        // Nothing finished: the next run asks again.
        remove(&archive.journal(), |path| std::fs::remove_file(path))?;
        archive.remove_partial()?;
        return Ok(totals);
    }
    totals.no_data = write_lines(archive, NO_DATA, no_data)?;
    let mut stale = Vec::new();
    let next = part + usize::from(written.is_some());
    for (next, number) in (next..).zip(affected) {
        let old = manifest.parts[number].clone();
        manifest.parts[number] = without_gone(archive, number, &old, next)?;
        stale.push(old);
    }
    manifest.parts.retain(|part| part.rows > 0);
    manifest.parts.extend(written);
    describe(archive, wanted)?;
    manifest.config = config(archive, wanted, retry::addresses(settled.jobs()), matrices)?;
    count(&mut manifest, &totals);
    contact::write_final(archive, &manifest, totals.tiles)?;
    manifest.write(directory)?;
    remove_superseded(archive, &stale)?;
    archive.remove_partial()?;
    // Last: as long as it is there, the next run clears away what a kill leaves.
    remove(&archive.journal(), |path| std::fs::remove_file(path))?;
    Ok(totals)
}

/// Writes the catalogue of scenes, and whom to credit.
fn describe(archive: &Archive, wanted: &[Wanted]) -> Result<(), CoreError> {
    let source = &archive.contents.source;
    stac::write_catalog(&archive.directory, source)?;
    let all = archive.contents.requests.iter().chain(wanted);
    let layers: BTreeSet<String> = all.map(|wanted| wanted.layer.clone()).collect();
    credit::write(&archive.directory, source, &Vec::from_iter(layers))
}

fn count(manifest: &mut Manifest, totals: &Totals) {
    let old = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    let counts = [
        ("tiles", totals.tiles),
        ("bytes", (old("bytes") + totals.bytes).saturating_sub(totals.bytes_gone)),
        ("empty_tiles", (old("empty_tiles") + totals.empty).saturating_sub(totals.empty_gone)),
        ("no_data", totals.no_data),
        ("failed", totals.failed),
    ];
    manifest.counts.extend(counts.map(|(name, n)| (name.into(), n)));
}

/// What a run has to make rows and lists of.
struct Collected {
    items: Merge<Item>,
    /// Requests without a tile, those of earlier runs too.
    no_data: NoData,
    matrices: BTreeMap<String, TileMatrix>,
}

/// Reads the journal, and of finished parts the rows of the scenes that it touches.
fn collect(archive: &Archive, settled: &Settled<'_>) -> Result<Collected> {
    let mut items = Sorter::new(&archive.partial());
    let mut answers = Sorter::new(&archive.partial());
    let mut matrices = matrices(archive)?;
    let mut touched = HashSet::new();
    // Only where a 404 was listed does it matter what came.
    let listed = archive.directory.join(NO_DATA).exists();
    let came = |place: Place<'_>, answers: &mut Sorter<(Absent, bool)>| {
        if listed { answers.push((Absent::from(place), true)) } else { Ok(()) }
    };
    for entry in journal::read(&archive.journal())? {
        match entry? {
            Entry::Source(_) | Entry::Run(..) => {}
            Entry::Grid(name, matrix) => {
                if *matrices.entry(name.clone()).or_insert(matrix) != matrix {
                    return Err(Error::OtherGrid { name, path: archive.directory.clone() });
                }
            }
            Entry::NoData(absent) => answers.push((absent, false))?,
            Entry::Tile(tile) => {
                came(Place::asked(&tile), &mut answers)?;
                touched.insert(scene_of(Place::actual(&tile)));
                items.push(Item::Fresh(tile))?;
            }
            Entry::Renewed(tile, old) => {
                came(Place::asked(&tile), &mut answers)?;
                touched.extend([Place::actual(&tile), Place::from(&old)].map(scene_of));
                items.push(Item::Fresh(tile))?;
                items.push(Item::Superseded(old))?;
            }
        }
    }
    let parts = archive.manifest.iter().flat_map(|manifest| &manifest.parts);
    for (number, part) in parts.enumerate() {
        for row in scene::read(&part_path(&archive.directory, &part.path)?)? {
            let row = row?;
            if touched.contains(&scene_of(Place::actual(&row))) {
                items.push(Item::Finished(number, row))?;
            }
        }
    }
    for absent in archive.lines::<Absent>(NO_DATA)? {
        let absent = absent?;
        // What is in the plan and not settled was asked for again and failed.
        let place = Place::from(&absent);
        if settled.has(place) || settled.positions(place).next().is_none() {
            answers.push((absent, false))?;
        }
    }
    Ok(Collected { items: items.sorted()?, no_data: NoData::of(answers.sorted()?), matrices })
}

/// What a scene is, as a number: there may be a million of them.
fn scene_of(place: Place<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place.layer, place.time, place.matrix_set, place.level).hash(&mut hasher);
    hasher.finish()
}

/// Brings the bytes of all tiles to the disk, before the manifest promises them: the whole file system at
/// once, since a million files one by one would take hours.
#[cfg(target_os = "linux")]
fn flush_to_disk(directory: &Path) -> Result<(), CoreError> {
    let failed = |e: std::io::Error| CoreError::io("write", directory)(e);
    let file = std::fs::File::open(directory).map_err(failed)?;
    rustix::fs::syncfs(&file).map_err(|e| failed(e.into()))
}

#[cfg(not(target_os = "linux"))]
fn flush_to_disk(_: &Path) -> Result<(), CoreError> {
    rustix::fs::sync();
    Ok(())
}

/// Writes the part of what is new, and the scenes; the numbers of the parts that lose rows.
fn write_rows(
    archive: &Archive,
    items: Merge<Item>,
    matrices: &BTreeMap<String, TileMatrix>,
    part: usize,
) -> Result<(Option<Part>, Totals, BTreeSet<usize>)> {
    let (name, path) = part_file(archive, part);
    let mut writer = None;
    let mut rows = 0;
    let mut totals = Totals::default();
    let mut affected = BTreeSet::new();
    let mut gone = Gone::create(archive)?;
    let mut scenes = Scenes::new(archive, matrices, part);
    for fate in Fates::of(items) {
        match fate? {
            Fate::Stays(tile) => scenes.push(&tile, false)?,
            Fate::New(tile) => {
                scenes.push(&tile, true)?;
                rows += 1;
                totals.bytes += tile.length;
                totals.empty += u64::from(tile.empty_share >= 1.0);
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(scene::Writer::create(&path)?),
                };
                writer.push(tile)?;
            }
            Fate::Goes(number, tile) => {
                scenes.lose(&tile)?;
                gone.push(number, &tile)?;
                affected.insert(number);
                totals.superseded += 1;
                totals.bytes_gone += tile.length;
                totals.empty_gone += u64::from(tile.empty_share >= 1.0);
            }
            Fate::Duplicate(tile, kept) => {
                totals.duplicates += 1;
                if tile.path != kept && pack::parse(&tile.path).is_none() {
                    let path = part_path(&archive.directory, &tile.path)?;
                    remove(&path, |path| std::fs::remove_file(path))?;
                }
            }
        }
    }
    scenes.flush()?;
    gone.flush()?;
    let Some(writer) = writer else { return Ok((None, totals, affected)) };
    writer.finish()?;
    let part = Part { path: name, rows, digest: digest::of_file(&path)? };
    Ok((Some(part), totals, affected))
}

/// The grids that the manifest describes.
fn matrices(archive: &Archive) -> Result<BTreeMap<String, TileMatrix>> {
    let mut matrices = archive.contents.matrices.clone();
    if let Some(manifest) = archive.manifest.as_ref().filter(|manifest| manifest.version < 2) {
        let grids = Grids::of(&archive.directory, manifest)?;
        for row in archive.rows()? {
            let row = row?;
            let name = grid_name(&row.matrix_set, row.level);
            matrices.insert(name, grids.get(&row.matrix_set, row.level)?);
        }
    }
    Ok(matrices)
}

/// The directory's configuration with what this run was asked for.
fn config(
    archive: &Archive,
    wanted: &[Wanted],
    addresses: Addresses,
    matrices: BTreeMap<String, TileMatrix>,
) -> Result<serde_json::Value> {
    let mut contents = Contents { matrices, ..archive.contents.clone() };
    contents.addresses.extend(addresses);
    for one in wanted {
        if !contents.requests.contains(one) {
            contents.requests.push(one.clone());
        }
    }
    serde_json::to_value(&contents).map_err(|e| {
        CoreError::damaged(archive.directory.join(manifest::FILE_NAME), "a configuration", e).into()
    })
}
