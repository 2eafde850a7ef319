//! Any images into tiles: plain folders, class folders, records of any writer, TIFFs of any bands.
//!
//! A picture that fits into one window is taken byte for byte; larger ones are cut when a size is given.

mod pixels;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use curator_core::context::Unit;
use curator_core::georeference::Georeference;
use curator_core::samples::Moments;
use curator_core::{Context, Error as CoreError, Tile, TileSet, seed};
use pixels::Pixels;
use rayon::prelude::*;

use crate::dropped::Reason;
use crate::ids::Ids;
use crate::shard::Shards;
use crate::tile::TileConfig;
use crate::windows::Axis;
use crate::{Result, cloud, entropy, grey};

/// Pictures that are read at a time.
const BLOCK: usize = 128;

/// What became of a picture, or of a window of it.
enum Taken {
    Stored(Box<Tile>, Vec<u8>, Vec<Moments>),
    Dropped(String, Reason),
}

/// What became of a picture: its tiles, and why it is not known where they are.
struct Picture {
    tiles: Vec<Taken>,
    unplaced: Option<(String, String)>,
}

/// Takes all pictures of some sets, in order.
pub(crate) fn run(
    config: &TileConfig,
    sets: &[TileSet],
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    let total = sets.iter().map(|set| set.len() as u64).sum();
    let task = context.progress.begin("tile", Some(total), Unit::Items);
    let (mut band, done) = (0, shards.mark.bands);
    let (mut ids, mut said) = (Ids::default(), BTreeSet::new());
    for set in sets {
        let mut rows = set.rows();
        loop {
            let block: Vec<Tile> =
                rows.by_ref().take(BLOCK).collect::<curator_core::Result<_>>()?;
            if block.is_empty() {
                break;
            }
            context.check()?;
            task.advance(block.len() as u64);
            block.iter().try_for_each(|tile| ids.take(&tile.tile_id))?;
            band += 1;
            if band <= done {
                continue;
            }
            let taken: Vec<Picture> =
                block.into_par_iter().map(|tile| take(config, set, tile)).collect();
            for unplaced in taken.iter().filter_map(|picture| picture.unplaced.as_ref()) {
                if said.insert(unplaced.1.clone()) {
                    let (id, reason) = unplaced;
                    context.progress.warn(&format!(
                        "where `{id}` is cannot be told: {reason}. Tiles of such pictures have no place; \
                         `gdalwarp -t_srs EPSG:4326 IN OUT` makes one that is understood"
                    ));
                }
            }
            for taken in taken.into_iter().flat_map(|picture| picture.tiles) {
                shards.mark.counts.windows += 1;
                match taken {
                    Taken::Stored(tile, picture, moments) => {
                        shards.measure(&moments);
                        shards.push(*tile, &picture)?;
                    }
                    Taken::Dropped(tile_id, reason) => {
                        if let Reason::Broken(message) = &reason {
                            context.progress.warn(&format!("skipped `{tile_id}`: {message}"));
                        }
                        shards.drop(tile_id, reason);
                    }
                }
            }
            shards.end_band()?;
        }
    }
    Ok(())
}

/// One picture: whole, or cut into windows.
fn take(config: &TileConfig, set: &TileSet, tile: Tile) -> Picture {
    let read = set.encoded(&tile.location).and_then(|bytes| {
        let pixels = Pixels::decode(&tile.tile_id, &bytes)?;
        Ok((bytes, pixels))
    });
    let (bytes, pixels) = match read {
        Ok(read) => read,
        Err(error) => {
            let tiles = vec![Taken::Dropped(tile.tile_id, Reason::Broken(error.to_string()))];
            return Picture { tiles, unplaced: None };
        }
    };
    let unplaced = match pixels.place() {
        Some(Georeference::Unknown(reason)) => Some((tile.tile_id.clone(), reason.clone())),
        _ => None,
    };
    let (width, height) = pixels.size();
    let tiles = if config.whole || (width <= config.width && height <= config.height) {
        vec![take_whole(config, pixels, bytes, tile)]
    } else {
        take_windows(config, &pixels, &tile)
    };
    Picture { tiles, unplaced }
}

/// A picture as one tile.
fn take_whole(config: &TileConfig, mut pixels: Pixels, bytes: Vec<u8>, tile: Tile) -> Taken {
    let (mut tile, moments) = match judge(config, &pixels, tile) {
        Ok(judged) => judged,
        Err((tile_id, reason)) => return Taken::Dropped(tile_id, reason),
    };
    let repaired = repair(config, &mut pixels, &mut tile);
    // What needs no repair stays byte for byte.
    match repaired.and_then(|repaired| if repaired { pixels.encode() } else { Ok(bytes) }) {
        Ok(picture) => Taken::Stored(Box::new(tile), picture, moments),
        Err(error) => Taken::Dropped(tile.tile_id, Reason::Broken(error.to_string())),
    }
}

/// A picture as many tiles.
fn take_windows(config: &TileConfig, pixels: &Pixels, tile: &Tile) -> Vec<Taken> {
    let (width, height) = pixels.size();
    let spans = |size, length| Axis::new(size, config.overlap, config.edge).spans(0, length);
    let columns = spans(config.width, width);
    spans(config.height, height)
        .iter()
        .flat_map(|rows| columns.iter().map(move |columns| (*columns, *rows)))
        .map(|(columns, rows)| {
            let at = (columns.start, rows.start, columns.length, rows.length);
            let (x, y, width, height) = at;
            let id = format!("{}#{x}_{y}_{width}x{height}", tile.tile_id);
            let bbox = tile.bbox.map(|bbox| part_of(&bbox, pixels.size(), at));
            let part = Tile { tile_id: id, bbox, ..tile.clone() };
            let mut window = pixels.window(at);
            let (mut tile, moments) = match judge(config, &window, part) {
                Ok(judged) => judged,
                Err((tile_id, reason)) => return Taken::Dropped(tile_id, reason),
            };
            let repaired = repair(config, &mut window, &mut tile);
            let encoded = repaired.and_then(|_| window.encode());
            if matches!(window, Pixels::Color(_, "image/jpeg")) {
                // Encoding changed the pixels: whoever decodes them first will know them.
                tile.content_id.clear();
            }
            match encoded {
                Ok(picture) => Taken::Stored(Box::new(tile), picture, moments),
                Err(error) => Taken::Dropped(tile.tile_id, Reason::Broken(error.to_string())),
            }
        })
        .collect()
}

/// Fills what is transparent, unless it is to be left, and says where it was; whether pixels changed.
fn repair(config: &TileConfig, pixels: &mut Pixels, tile: &mut Tile) -> Result<bool, CoreError> {
    let Some(missing) = pixels.missing() else { return Ok(false) };
    let mask: Vec<u8> = missing.iter().map(|&gap| if gap { 255 } else { 0 }).collect();
    tile.gap_mask = Some(grey::plain(&mask, pixels.size())?);
    let name: Vec<u64> = tile.tile_id.bytes().map(u64::from).collect();
    let filled = pixels.repair(config.fill, seed::mix(config.seed, &name));
    if filled {
        tile.variant = config.variant();
        tile.content_id.clear();
    }
    Ok(filled)
}

/// Describes a picture, or says why it is left out.
fn judge(
    config: &TileConfig,
    pixels: &Pixels,
    mut tile: Tile,
) -> Result<(Tile, Vec<Moments>), (String, Reason)> {
    (tile.width, tile.height) = pixels.size();
    let count = tile.width as usize * tile.height as usize;
    let missing = pixels.missing();
    if let Some(missing) = &missing {
        let gap = missing.iter().filter(|missing| **missing).count() as f32 / count as f32;
        if gap > config.max_gap {
            return Err((tile.tile_id, Reason::Gap(gap)));
        }
        tile.gap_fraction = Some(gap);
    }
    let missing = missing.unwrap_or_else(|| vec![false; count]);
    let (color, is_color) = pixels.color();
    if is_color {
        let clouds = cloud::single_day(&color.data, &missing, false);
        if clouds.fraction > config.max_cloud {
            return Err((tile.tile_id, Reason::Cloud(clouds.fraction)));
        }
        tile.cloud_fraction = Some(clouds.fraction);
        tile.cloud_confidence = Some(clouds.confidence);
    }
    if config.min_entropy > 0.0 {
        let bits = entropy::bits(&color, &missing);
        if bits < config.min_entropy {
            return Err((tile.tile_id, Reason::Entropy(bits)));
        }
    }
    if let Pixels::Bands(samples) = pixels {
        tile.bbox = samples.place.bbox().or(tile.bbox);
    }
    tile.content_id = color.content_id();
    Ok((tile, pixels.moments()))
}

/// The area of a window of a picture.
fn part_of(
    bbox: &curator_core::BBox,
    (width, height): (u32, u32),
    (x, y, w, h): (u32, u32, u32, u32),
) -> curator_core::BBox {
    let dx = (bbox.east - bbox.west) / f64::from(width);
    let dy = (bbox.north - bbox.south) / f64::from(height);
    let (west, north) = (bbox.west + f64::from(x) * dx, bbox.north - f64::from(y) * dy);
    let (east, south) = (west + f64::from(w) * dx, north - f64::from(h) * dy);
    curator_core::BBox { west, south, east, north }
}
