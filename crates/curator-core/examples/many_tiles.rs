//! Writes many small made-up tiles as TFRecords, for measuring at scale; `scripts/bench/sample.py` runs it.
//!
//! ```text
//! many_tiles DIRECTORY COUNT
//! ```

use std::io::Write;
use std::path::Path;

use curator_core::{Error, Raster, Tile, record, seed};
use rayon::prelude::*;

/// Tiles of a shard, and pixels of a side.
const SHARD: u64 = 50_000;
const SIDE: u64 = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, directory, count] = &words[..] else {
        return Err("usage: many_tiles DIRECTORY COUNT".into());
    };
    let (directory, count) = (Path::new(directory), count.parse::<u64>()?);
    std::fs::create_dir_all(directory)?;
    for first in (0..count).step_by(SHARD as usize) {
        let frames = (first..count.min(first + SHARD))
            .into_par_iter()
            .map(frame)
            .collect::<Result<Vec<_>, Error>>()?;
        let path = directory.join(format!("made-{:05}.tfrecord", first / SHARD));
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        frames.iter().try_for_each(|frame| file.write_all(frame))?;
        file.flush()?;
    }
    Ok(())
}

/// Side of the grid of random colours that a picture is drawn from.
const GRID: u64 = 6;

/// A picture of smooth colours and noise; every hundredth is the one before it with a little noise more.
fn frame(number: u64) -> Result<Vec<u8>, Error> {
    let kind = if number % 100 == 99 { number - 1 } else { number };
    let color = |x: u64, y: u64, band: u64| (seed::mix(kind, &[x, y, band]) % 200) as f32;
    let data = (0..SIDE * SIDE)
        .flat_map(|at| {
            let place = |pixel: u64| pixel as f32 * (GRID - 1) as f32 / SIDE as f32;
            let (x, y) = (place(at % SIDE), place(at / SIDE));
            let (left, top) = (x as u64, y as u64);
            let (a, b) = (x.fract(), y.fract());
            let noise = (seed::mix(kind, &[at]) % 16 + seed::mix(number, &[at]) % 4) as f32;
            [0, 1, 2].map(|band| {
                let row = |y| color(left, y, band) * (1.0 - a) + color(left + 1, y, band) * a;
                (row(top) * (1.0 - b) + row(top + 1) * b + noise) as u8
            })
        })
        .collect();
    let image = Raster { width: SIDE as u32, height: SIDE as u32, bands: 3, data };
    let tile = Tile::of_file(format!("made/{number:08}"), None);
    let mut frame = Vec::new();
    record::append(&mut frame, &tile, &image.to_jpeg(80)?);
    Ok(frame)
}
