//! `convert`: the same tiles as records or as files in folders, byte for byte.

use std::path::Path;

use curator_core::context::Unit;
use curator_core::{Context, Tile, TileSet, picture};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dropped::Reason;
use crate::ids::Ids;
use crate::shard::{self, Counts, Shards, Store};
use crate::tile::{self, Report, Start};
use crate::{Error, Result, apart};

/// Pictures that are read at a time.
const BLOCK: usize = 256;

/// What decides the output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConvertConfig {
    /// What pictures are written as.
    pub to: Store,
    /// Megabytes of pictures in a shard, about. The usual ones are in no recipe.
    #[serde(default = "shard::usual_mb", skip_serializing_if = "shard::is_usual_mb")]
    pub shard_mb: u32,
}

/// Writes tiles of any kind as another kind, or continues a run that was killed. Windows of scenes become
/// pictures. What cannot be read is reported, listed and left out.
///
/// # Errors
/// When the input cannot be read or has the same id twice, the output belongs to another configuration,
/// nothing is left, and [`curator_core::Error::Interrupted`].
pub fn run(
    config: &ConvertConfig,
    input: &Path,
    output: &Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    let set = TileSet::open(input)?;
    apart::check(input, output)?;
    let recipe = serde_json::json!({ "convert": config });
    let mut made = match tile::start(output, recipe, vec![set.input()], force)? {
        Start::UpToDate(counts) => return Ok(Report::of(counts, output, true)),
        Start::New(manifest) => manifest,
    };
    let mut shards = Shards::open_as(output, &made.digest(), config.to, config.shard_mb)?;
    let task = context.progress.begin("convert", Some(set.len() as u64), Unit::Items);
    let done = shards.mark.bands;
    let mut ids = Ids::default();
    let mut rows = set.rows();
    for band in 0..(set.len() as u64).div_ceil(BLOCK as u64) {
        context.check()?;
        let block: Vec<Tile> = rows.by_ref().take(BLOCK).collect::<curator_core::Result<_>>()?;
        task.advance(block.len() as u64);
        block.iter().try_for_each(|tile| ids.take(&tile.tile_id))?;
        if band < done {
            continue;
        }
        let read: Vec<_> = block.into_par_iter().map(|tile| read(&set, tile)).collect();
        for (tile, picture) in read {
            shards.mark.counts.windows += 1;
            match picture {
                Ok(picture) => shards.push(tile, &picture)?,
                Err(error) => {
                    context.progress.warn(&format!("skipped `{}`: {error}", tile.tile_id));
                    shards.drop(tile.tile_id, Reason::Broken(error.to_string()));
                }
            }
        }
        shards.end_band()?;
    }
    let counts = tile::finish(&mut made, shards, output)?;
    if counts.tiles == 0 {
        let Counts { windows, broken, .. } = counts;
        return Err(Error::NothingLeft { windows, broken, size: (0, 0), largest: None });
    }
    Ok(Report::of(counts, output, false))
}

/// A tile's picture; its size is taken from the picture where no row told it.
fn read(set: &TileSet, mut tile: Tile) -> (Tile, curator_core::Result<Vec<u8>>) {
    let picture = set.encoded(&tile.location).and_then(|picture| {
        let (width, height) = picture::dimensions(&tile.tile_id, &picture)?;
        if tile.width == 0 {
            (tile.width, tile.height) = (width, height);
        }
        Ok(picture)
    });
    (tile, picture)
}
