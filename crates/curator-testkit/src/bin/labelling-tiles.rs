//! A `tiles/` directory of any size in a few seconds: places on a grid at four dates, all of them records of
//! the same few pictures. What the figures and tests of labelling tiles are measured with.

use std::path::PathBuf;

use clap::Parser;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::{BBox, Location, Raster, Tile, digest, record, tile};

/// Make tiles to label.
#[derive(Parser)]
struct Args {
    /// The directory
    output: PathBuf,
    /// Tiles
    #[arg(long, default_value_t = 1_000_000)]
    count: usize,
}

/// Dates of every place.
const DATES: usize = 4;
/// Different pictures.
const PICTURES: usize = 32;
/// Rows of a table.
const ROWS: usize = 250_000;
/// Degrees that a tile spans.
const SPAN: f64 = 0.05;
const SHARD: &str = "records/tiles-00000-of-00001.tfrecord";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Args { output, count } = Args::parse();
    std::fs::create_dir_all(output.join("records"))?;
    let mut shard = Vec::new();
    let mut places = Vec::with_capacity(PICTURES);
    for i in 0..PICTURES {
        let offset = shard.len() as u64;
        let colour = [(8 * i) as u8, 90, (255 - 8 * i) as u8];
        let picture = Raster::filled(256, 256, &colour).to_png()?;
        record::append(&mut shard, &Tile::of_file(format!("{i}"), None), &picture);
        let length = (shard.len() as u64 - offset) as u32;
        places.push(Location::Record { shard: 0, offset, length });
    }
    std::fs::write(output.join(SHARD), &shard)?;
    let mut manifest = Manifest::new(manifest::TILES, "labelling-tiles", count.into());
    let mut part = |path: String, rows: usize| -> Result<(), Box<dyn std::error::Error>> {
        let digest = digest::of_file(&output.join(&path))?;
        manifest.parts.push(Part { path, rows: rows.try_into()?, digest });
        Ok(())
    };
    part(SHARD.into(), PICTURES)?;
    let across = (count.div_ceil(DATES) as f64).sqrt().ceil() as usize;
    for first in (0..count).step_by(ROWS) {
        let rows = (first..count.min(first + ROWS)).map(|i| tile_of(i, across, &places));
        let name = format!("tiles-{:05}.parquet", first / ROWS);
        tile::write(&output.join(&name), rows)?;
        part(name, count.min(first + ROWS) - first)?;
    }
    manifest.write(&output)?;
    Ok(())
}

fn tile_of(i: usize, across: usize, places: &[Location]) -> Tile {
    let (day, place) = (i % DATES + 1, i / DATES);
    let (x, y) = (place % across, place / across);
    let (west, north) = (-60.0 + SPAN * x as f64, 60.0 - SPAN * y as f64);
    let time = format!("2020-01-0{day}");
    let id = format!("Layer/{time}/250m/8/{}_{}_256x256", 256 * x, 256 * y);
    Tile {
        layer: Some("Layer".into()),
        time: Some(time),
        resolution: Some("250m".into()),
        variant: "as served".into(),
        content_id: digest::of_bytes(id.as_bytes()),
        bbox: Some(BBox { west, south: north - SPAN, east: west + SPAN, north }),
        width: 256,
        height: 256,
        location: places[i % places.len()].clone(),
        ..Tile::of_file(id, None)
    }
}
