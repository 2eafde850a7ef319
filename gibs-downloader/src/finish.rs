//! The end of a run: the journal becomes a part, scenes can be opened, the manifest last.
//!
//! Rows go through in order of place, however many there are: those of the journal, and those of finished
//! parts whose scenes the run touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest, Part, part_path};
use curator_core::scene::{self, Grids, NativeTile, grid_name};
use curator_core::{Context, Error as CoreError, TileMatrix, atomic, digest};
use serde::Serialize;

use crate::archive::{Archive, Contents, FAILURES, Failure, NO_DATA, Wanted, remove};
use crate::contact;
use crate::error::{Error, Result};
use crate::journal::{self, Absent, Entry};
use crate::pack;
use crate::rows::{Fate, Fates, Item};
use crate::scenes::Scenes;
use crate::settled::{Place, Settled};
use crate::sorter::{Merge, Sorter};
use crate::{credit, stac};

/// Program and version, as manifests name it.
const CREATED_BY: &str = concat!("gibs-downloader ", env!("CARGO_PKG_VERSION"));

/// Superseded rows, in order of place, until the manifest no longer has them.
const GONE: &str = "gone.jsonl";

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
    manifest.config = config(archive, wanted, matrices)?;
    count(&mut manifest, &totals);
    contact::write_final(archive, &manifest, totals.tiles)?;
    manifest.write(directory)?;
    remove_superseded(archive, &stale)?;
    remove(&archive.journal(), |path| std::fs::remove_file(path))?;
    archive.remove_partial()?;
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
    Ok(Collected { items: items.sorted()?, no_data: NoData(answers.sorted()?, None), matrices })
}

/// What a scene is, as a number: there may be a million of them.
fn scene_of(place: Place<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place.layer, place.time, place.matrix_set, place.level).hash(&mut hasher);
    hasher.finish()
}

/// 404s in order of place, without those of which a tile came.
struct NoData(Merge<(Absent, bool)>, Option<(Absent, bool)>);

impl Iterator for NoData {
    type Item = Result<Absent, CoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (absent, mut came) = match self.1.take() {
                Some(first) => first,
                None => match self.0.next()? {
                    Ok(first) => first,
                    Err(error) => return Some(Err(error)),
                },
            };
            for next in self.0.by_ref() {
                match next {
                    Ok((same, also)) if same == absent => came |= also,
                    Ok(other) => {
                        self.1 = Some(other);
                        break;
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            if !came {
                return Some(Ok(absent));
            }
        }
    }
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

fn part_file(archive: &Archive, number: usize) -> (String, PathBuf) {
    let name = format!("scenes-{number:05}.parquet");
    let path = archive.directory.join(&name);
    (name, path)
}

/// The superseded rows and the numbers of their parts, in a file, in order of place.
struct Gone(PathBuf, BufWriter<File>);

impl Gone {
    fn create(archive: &Archive) -> Result<Self, CoreError> {
        let (folder, path) = (archive.partial(), archive.partial().join(GONE));
        std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
        let file = File::create(&path).map_err(CoreError::io("write", &path))?;
        Ok(Self(path, BufWriter::new(file)))
    }

    fn push(&mut self, part: usize, tile: &NativeTile) -> Result<(), CoreError> {
        let line = serde_json::to_string(&(part, tile)).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(self.1, "{line}"));
        written.map_err(CoreError::io("write", &self.0))
    }

    fn flush(&mut self) -> Result<(), CoreError> {
        self.1.flush().map_err(CoreError::io("write", &self.0))
    }

    fn read(
        archive: &Archive,
    ) -> Result<impl Iterator<Item = Result<(usize, NativeTile), CoreError>> + use<>> {
        archive.lines(&format!(".partial/{GONE}"))
    }
}

/// Writes a finished part anew, without its superseded rows, under another number.
fn without_gone(archive: &Archive, number: usize, old: &Part, new: usize) -> Result<Part> {
    let mut gone = Gone::read(archive)?
        .filter(|line| !matches!(line, Ok((part, _)) if *part != number))
        .peekable();
    let (name, path) = part_file(archive, new);
    let mut writer = scene::Writer::create(&path)?;
    let mut rows = 0;
    for row in scene::read(&part_path(&archive.directory, &old.path)?)? {
        let row = row?;
        let is_gone = match gone.peek() {
            Some(Ok((_, tile))) => Place::actual(tile) == Place::actual(&row),
            _ => false,
        };
        if is_gone {
            gone.next();
            continue;
        }
        rows += 1;
        writer.push(row)?;
    }
    // What is left was not met in order: the part is not what it was.
    if let Some(line) = gone.next() {
        let (_, tile) = line?;
        return Err(CoreError::damaged(&old.path, "rows in order of place", tile.path).into());
    }
    writer.finish()?;
    Ok(Part { path: name, rows, digest: digest::of_file(&path)? })
}

/// Removes what the manifest no longer has: parts that were written anew, and files of superseded tiles.
/// Bytes in packs stay where they are.
fn remove_superseded(archive: &Archive, stale: &[Part]) -> Result<()> {
    if stale.is_empty() {
        return Ok(());
    }
    let remove_file = |relative: &str| {
        remove(&part_path(&archive.directory, relative)?, |path| std::fs::remove_file(path))
    };
    stale.iter().try_for_each(|part| remove_file(&part.path))?;
    for line in Gone::read(archive)? {
        let (_, tile) = line?;
        if pack::parse(&tile.path).is_none() {
            remove_file(&tile.path)?;
        }
    }
    Ok(())
}

/// Writes the failures of this run and earlier ones of requests that are still open; how many there are.
fn write_failures(
    archive: &Archive,
    settled: &Settled<'_>,
    mut failures: Sorter<Failure>,
) -> Result<u64> {
    for old in archive.lines::<Failure>(FAILURES)? {
        let old = old?;
        if !settled.has(Place::from(&old.tile)) {
            failures.push(old)?;
        }
    }
    let mut last: Option<Absent> = None;
    // The latest of each tile comes first.
    let newest = failures.sorted()?.filter(move |failure| match failure {
        Ok(failure) if last.as_ref() == Some(&failure.tile) => false,
        Ok(failure) => {
            last = Some(failure.tile.clone());
            true
        }
        Err(_) => true,
    });
    write_lines(archive, FAILURES, newest)
}

/// Writes JSON lines and counts them; removes the file when there are none.
fn write_lines<T: Serialize>(
    archive: &Archive,
    name: &str,
    lines: impl Iterator<Item = Result<T, CoreError>>,
) -> Result<u64> {
    let path = archive.directory.join(name);
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        remove(&path, |path| std::fs::remove_file(path))?;
        return Ok(0);
    }
    let draft = atomic::Draft::create(&path)?;
    let mut file = BufWriter::new(draft.file());
    let mut count = 0;
    for line in lines {
        let line = serde_json::to_string(&line?).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(file, "{line}"));
        written.map_err(CoreError::io("write", &path))?;
        count += 1;
    }
    file.flush().map_err(CoreError::io("write", &path))?;
    drop(file);
    draft.commit()?;
    Ok(count)
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
    matrices: BTreeMap<String, TileMatrix>,
) -> Result<serde_json::Value> {
    let mut contents = Contents { matrices, ..archive.contents.clone() };
    for one in wanted {
        if !contents.requests.contains(one) {
            contents.requests.push(one.clone());
        }
    }
    serde_json::to_value(&contents).map_err(|e| {
        CoreError::damaged(archive.directory.join(manifest::FILE_NAME), "a configuration", e).into()
    })
}
