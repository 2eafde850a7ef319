//! The end of a run: the journal becomes a part, scenes become virtual rasters, the manifest last.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use curator_core::manifest::{self, Manifest, Part, part_path};
use curator_core::scene::{self, Grids, NativeTile, grid_name};
use curator_core::{Context, Error as CoreError, TileMatrix, atomic, digest};
use rayon::prelude::*;
use serde::Serialize;

use crate::archive::{Archive, Contents, Failure, Wanted, keys, remove};
use crate::contact;
use crate::error::Result;
use crate::journal::{self, Absent, Entry};
use crate::plan::Key;
use crate::{credit, stac, vrt};

/// Program and version, as manifests name it.
const CREATED_BY: &str = concat!("gibs-downloader ", env!("CARGO_PKG_VERSION"));

/// What the directory holds after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) tiles: u64,
    pub(crate) no_data: u64,
    pub(crate) failed: u64,
}

/// Makes a finished directory of what the journal has. `settled` are all requests that need no
/// further answer; failures of earlier runs that are not among them stay listed.
///
/// # Errors
/// When something cannot be written; the journal is kept then, and the next run tries again.
pub(crate) fn finish(
    archive: &Archive,
    wanted: &[Wanted],
    settled: &HashSet<Key>,
    failures: Vec<Failure>,
    context: &Context,
) -> Result<Totals> {
    let directory = &archive.directory;
    let entries = journal::read(&archive.journal())?;
    let finished: HashSet<Key> =
        archive.rows()?.map(|row| Ok(keys(&row?)[1])).collect::<Result<_, CoreError>>()?;
    let no_data = merge_no_data(archive, &entries, settled)?;
    let matrices = matrices(archive, &entries)?;
    let fresh = fresh_rows(entries, &finished);
    context.check()?;

    let failures = merge_failures(archive, settled, failures)?;
    write_lines(archive, "failures.jsonl", &failures)?;
    let held = finished.len() as u64 + fresh.len() as u64;
    let totals =
        Totals { tiles: held, no_data: no_data.len() as u64, failed: failures.len() as u64 };
    if held == 0 {
        // Nothing finished: the next run asks again.
        remove(&archive.journal(), |path| std::fs::remove_file(path))?;
        return Ok(totals);
    }

    write_lines(archive, "no-data.jsonl", &no_data)?;
    flush(archive, &fresh)?;
    let mut manifest = match &archive.manifest {
        Some(old) => Manifest {
            created_by: CREATED_BY.into(),
            version: manifest::SCENES.version,
            ..old.clone()
        },
        None => Manifest::new(manifest::SCENES, CREATED_BY, serde_json::Value::Null),
    };
    if !fresh.is_empty() {
        manifest.parts.push(write_part(archive, manifest.parts.len(), &fresh)?);
    }
    write_scenes(archive, &fresh, &matrices)?;
    describe(archive, wanted)?;
    manifest.config = config(archive, wanted, matrices)?;
    let counts = &mut manifest.counts;
    let mut count = |name: &str, n: u64| {
        counts.insert(name.into(), n);
    };
    let old = |name: &str| archive.manifest.as_ref().and_then(|m| m.counts.get(name)).copied();
    let bytes: u64 = fresh.iter().map(|tile| tile.length).sum();
    let empty = fresh.iter().filter(|tile| tile.empty_share >= 1.0).count() as u64;
    count("tiles", held);
    count("bytes", old("bytes").unwrap_or(0) + bytes);
    count("empty_tiles", old("empty_tiles").unwrap_or(0) + empty);
    count("no_data", totals.no_data);
    count("failed", totals.failed);
    contact::write_final(directory, held, archive_and(archive, &fresh)?)?;
    manifest.write(directory)?;
    remove(&archive.journal(), |path| std::fs::remove_file(path))?;
    archive.remove_partial()?;
    Ok(totals)
}

/// The journal's tiles that no part has yet, each once, in order of place. Of several requests that
/// the same tile answered, the one that asked for just that is kept, or else the first by name, so
/// that the order of arrival does not matter.
fn fresh_rows(entries: Vec<Entry>, finished: &HashSet<Key>) -> Vec<NativeTile> {
    let mut rows: Vec<NativeTile> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Tile(tile) if !finished.contains(&keys(&tile)[1]) => Some(tile),
            _ => None,
        })
        .collect();
    let as_asked = |tile: &NativeTile| {
        let [asked, actual] = keys(tile);
        asked == actual
    };
    rows.sort_by(|a, b| {
        place(a)
            .cmp(&place(b))
            .then_with(|| as_asked(b).cmp(&as_asked(a)))
            .then_with(|| (&a.layer_asked, &a.time_asked).cmp(&(&b.layer_asked, &b.time_asked)))
    });
    rows.dedup_by(|later, kept| place(later) == place(kept));
    rows
}

/// Order of rows in a part: scene after scene, row by row.
fn place(tile: &NativeTile) -> (Scene<'_>, u32, u32) {
    (scene_of(tile), tile.row, tile.column)
}

/// What a scene is: layer, time, matrix set and level.
type Scene<'a> = (&'a str, &'a str, &'a str, u32);

fn scene_of(tile: &NativeTile) -> Scene<'_> {
    (&tile.layer, &tile.time, &tile.matrix_set, tile.level)
}

/// Brings the files of new tiles to the disk, before the manifest promises them.
fn flush(archive: &Archive, tiles: &[NativeTile]) -> Result<(), CoreError> {
    tiles.par_iter().try_for_each(|tile| {
        let path = part_path(&archive.directory, &tile.path)?;
        let file = std::fs::File::open(&path).map_err(CoreError::io("read", &path))?;
        file.sync_all().map_err(CoreError::io("write", &path))
    })
}

fn write_part(archive: &Archive, number: usize, rows: &[NativeTile]) -> Result<Part, CoreError> {
    let name = format!("scenes-{number:05}.parquet");
    let path = archive.directory.join(&name);
    scene::write(&path, rows)?;
    Ok(Part { path: name, rows: rows.len() as u64, digest: digest::of_file(&path)? })
}

/// The grids of all tiles: those that the manifest describes and those that the journal brought.
fn matrices(
    archive: &Archive,
    entries: &[Entry],
) -> Result<BTreeMap<String, TileMatrix>, crate::Error> {
    let mut matrices = archive.contents.matrices.clone();
    if let Some(manifest) = archive.manifest.as_ref().filter(|manifest| manifest.version < 2) {
        let grids = Grids::of(&archive.directory, manifest)?;
        for row in archive.rows()? {
            let row = row?;
            let name = grid_name(&row.matrix_set, row.level);
            matrices.insert(name, grids.get(&row.matrix_set, row.level)?);
        }
    }
    for entry in entries {
        let Entry::Grid(name, matrix) = entry else { continue };
        let known = matrices.entry(name.clone()).or_insert(*matrix);
        if known != matrix {
            let path = archive.directory.clone();
            return Err(crate::Error::OtherGrid { name: name.clone(), path });
        }
    }
    Ok(matrices)
}

/// Writes the virtual rasters of the scenes that got new tiles: with those and with older ones.
fn write_scenes(
    archive: &Archive,
    fresh: &[NativeTile],
    matrices: &BTreeMap<String, TileMatrix>,
) -> Result<()> {
    let touched: HashSet<Scene<'_>> = fresh.iter().map(scene_of).collect();
    let mut older = Vec::new();
    for row in archive.rows()? {
        let row = row?;
        if touched.contains(&scene_of(&row)) {
            older.push(row);
        }
    }
    for scene in fresh.chunk_by(|a, b| scene_of(a) == scene_of(b)) {
        let same = |tile: &&NativeTile| scene.first().map(scene_of) == Some(scene_of(tile));
        let mut tiles: Vec<&NativeTile> = older.iter().filter(same).chain(scene).collect();
        tiles.sort_by_key(|tile| (tile.row, tile.column));
        let Some(first) = tiles.first() else { continue };
        let name = grid_name(&first.matrix_set, first.level);
        let matrix = matrices.get(&name).ok_or_else(|| {
            CoreError::damaged(archive.journal(), format!("the grid `{name}`"), "none")
        })?;
        vrt::write(&archive.directory, &tiles, matrix)?;
        stac::write(&archive.directory, &tiles, matrix, &vrt::path(first))?;
    }
    Ok(())
}

/// Writes the catalogue of scenes, and whom to credit.
fn describe(archive: &Archive, wanted: &[Wanted]) -> Result<(), CoreError> {
    let source = &archive.contents.source;
    stac::write_catalog(&archive.directory, source)?;
    let all = archive.contents.requests.iter().chain(wanted);
    let layers: BTreeSet<String> = all.map(|wanted| wanted.layer.clone()).collect();
    credit::write(&archive.directory, source, &Vec::from_iter(layers))
}

/// Rows of the finished parts, then the new ones.
fn archive_and(
    archive: &Archive,
    fresh: &[NativeTile],
) -> Result<impl Iterator<Item = Result<NativeTile, CoreError>>, CoreError> {
    let finished = archive.rows().map_err(|e| match e {
        crate::Error::Core(core) => core,
        other => CoreError::damaged(&archive.directory, "readable parts", other),
    })?;
    Ok(finished.chain(fresh.iter().cloned().map(Ok)))
}

/// Requests that have nothing, of this run and earlier ones; what has got a tile since is left out.
fn merge_no_data(
    archive: &Archive,
    entries: &[Entry],
    settled: &HashSet<Key>,
) -> Result<Vec<Absent>> {
    let came: HashSet<Key> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Tile(tile) => Some(keys(tile)[0]),
            _ => None,
        })
        .collect();
    let old = archive.lines::<Absent>("no-data.jsonl")?;
    let new = entries.iter().filter_map(|entry| match entry {
        Entry::NoData(absent) => Some(absent.clone()),
        _ => None,
    });
    let open = |absent: &Absent| settled.contains(&absent.key()) && !came.contains(&absent.key());
    Ok(old.into_iter().chain(new).filter(open).collect::<BTreeSet<_>>().into_iter().collect())
}

/// Failures of this run, and earlier ones of other requests that are still open.
fn merge_failures(
    archive: &Archive,
    settled: &HashSet<Key>,
    failures: Vec<Failure>,
) -> Result<Vec<Failure>> {
    let failed: HashSet<Key> = failures.iter().map(|failure| failure.tile.key()).collect();
    let old = archive.lines::<Failure>("failures.jsonl")?.into_iter().filter(|failure| {
        let key = failure.tile.key();
        !settled.contains(&key) && !failed.contains(&key)
    });
    let mut all: Vec<Failure> = old.chain(failures).collect();
    all.sort_by(|a, b| a.tile.cmp(&b.tile));
    Ok(all)
}

/// Writes JSON lines, or removes the file when there are none.
fn write_lines(archive: &Archive, name: &str, lines: &[impl Serialize]) -> Result<()> {
    let path = archive.directory.join(name);
    if lines.is_empty() {
        return remove(&path, |path| std::fs::remove_file(path));
    }
    atomic::write_with(&path, |file| {
        lines.iter().try_for_each(|line| {
            serde_json::to_writer(&mut *file, line)?;
            std::io::Write::write_all(file, b"\n")
        })
    })?;
    Ok(())
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
