//! Writing the chosen tiles as a `tiles/` directory; a killed run goes on after its last whole shard.

use std::collections::BTreeMap;
use std::path::Path;

use curator_core::context::Unit;
use curator_core::manifest::{Manifest, Part};
use curator_core::{Context, Tile, TileSet, atomic, digest};

use super::WORK;
use super::choose::Chosen;
use crate::shard::Shards;
use crate::{Result, contact};

/// Tiles after which a shard may be closed.
const BAND: usize = 256;
/// The list of the chosen in their order.
const LIST: &str = "chosen.csv";
/// Some of the tiles on one picture.
const SHEET: &str = "contact.jpg";

/// Tiles of each class: all, and chosen. Tiles without a class are in none.
pub(crate) type Classes = BTreeMap<String, (u64, u64)>;

/// Writes the tiles that are kept, `count` of them, into `output` and names the parts in the manifest. `each`
/// hears of every tile, and whether it is kept.
pub(crate) fn write(
    set: &TileSet,
    (keep, count): (impl Fn(u32) -> bool, u64),
    made: &mut Manifest,
    output: &Path,
    mut each: impl FnMut(u32, bool, &Tile),
    context: &Context,
) -> Result<()> {
    // That of another configuration.
    let _ = std::fs::remove_file(output.join(SHEET));
    let mut shards = Shards::open(output, &made.digest())?;
    let done = shards.mark.bands as usize * BAND;
    let task = context.progress.begin("write", Some(count), Unit::Items);
    let mut kept = 0;
    for (number, tile) in set.rows().enumerate() {
        let (number, tile) = (number as u32, tile?);
        each(number, keep(number), &tile);
        if !keep(number) {
            continue;
        }
        kept += 1;
        task.advance(1);
        if kept > done {
            context.check()?;
            let picture = set.encoded(&tile.location)?;
            shards.push(tile, &picture)?;
            if kept % BAND == 0 {
                shards.end_band()?;
            }
        }
    }
    // The last ones are a band too, or a run that continues would write them again.
    if kept > done && kept % BAND != 0 {
        shards.end_band()?;
    }
    made.parts = shards.finish()?.0;
    Ok(())
}

/// Writes the chosen tiles and their list; returns their ids in the order of choice.
pub(crate) fn write_chosen(
    set: &TileSet,
    chosen: &Chosen,
    made: &mut Manifest,
    output: &Path,
    context: &Context,
) -> Result<(Classes, Vec<String>)> {
    let rank: BTreeMap<u32, usize> =
        chosen.tiles.iter().enumerate().map(|(rank, &tile)| (tile, rank)).collect();
    let mut ids = vec![String::new(); chosen.tiles.len()];
    let mut classes = Classes::new();
    let each = |number: u32, kept: bool, tile: &Tile| {
        if let Some(class) = &tile.class {
            let counts = classes.entry(class.clone()).or_default();
            counts.0 += 1;
            counts.1 += u64::from(kept);
        }
        if let Some(&rank) = rank.get(&number) {
            ids[rank].clone_from(&tile.tile_id);
        }
    };
    let keep = |number: u32| rank.contains_key(&number);
    write(set, (keep, rank.len() as u64), made, output, each, context)?;
    let path = output.join(LIST);
    write_list(&path, &ids, &chosen.radii)?;
    let digest = digest::of_file(&path)?;
    made.parts.push(Part { path: LIST.into(), rows: ids.len() as u64, digest });
    Ok((classes, ids))
}

/// A row a chosen tile, in the order of choice; with k-center the covering radius up to there.
fn write_list(path: &Path, ids: &[String], radii: &[f32]) -> Result<()> {
    Ok(atomic::write_with(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(["rank", "tile_id", "covering_radius"])?;
        for (rank, id) in ids.iter().enumerate() {
            let radius = radii.get(rank).map(f32::to_string).unwrap_or_default();
            table.write_record([(rank + 1).to_string().as_str(), id, &radius])?;
        }
        table.flush()
    })?)
}

/// What is left to do once the manifest stands, and is done again after a kill: removes what only an
/// unfinished run needs, and draws the contact sheet.
pub(crate) fn tidy(output: &Path) -> Result<()> {
    atomic::remove_leftovers(output)?;
    Shards::forget_journal(output);
    // Often there is none; what cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(output.join(WORK));
    let sheet = output.join(SHEET);
    if !sheet.is_file() {
        contact::write(&TileSet::open(output)?, &sheet)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use curator_core::{Raster, manifest};

    use super::*;

    #[test]
    fn what_is_written_is_not_written_again_when_the_manifest_is_missing() {
        let (photos, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for number in 0..BAND + 44 {
            let image = Raster { width: 8, height: 8, bands: 3, data: vec![number as u8; 192] };
            let path = photos.path().join(format!("{number:04}.png"));
            std::fs::write(path, image.to_png().unwrap()).unwrap();
        }
        let set = TileSet::open(photos.path()).unwrap();
        let run = || {
            let mut made = Manifest::new(manifest::TILES, "test", serde_json::json!({}));
            let all = (|_: u32| true, set.len() as u64);
            write(&set, all, &mut made, output.path(), |_, _, _| {}, &Context::silent()).unwrap();
            made.parts
        };
        let first = run();
        assert_eq!(first.iter().map(|part| part.rows).max(), Some(BAND as u64 + 44));
        assert_eq!(first, run());
    }
}
