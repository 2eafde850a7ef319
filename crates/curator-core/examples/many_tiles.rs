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

/// One of 200 kinds of stripes in colour, and noise.
fn frame(number: u64) -> Result<Vec<u8>, Error> {
    let kind = seed::mix(7, &[number]) % 200;
    let byte = |key: &[u64]| seed::mix(kind, key) as u8;
    let data = (0..SIDE * SIDE)
        .flat_map(|at| {
            let stripe = (at % SIDE * (kind % 7) + at / SIDE * (kind % 5)) / 8 % 2;
            let noise = seed::mix(number, &[at]) as u8 % 24;
            [0, 1, 2].map(|band| (byte(&[stripe, band]) / 2).saturating_add(noise))
        })
        .collect();
    let image = Raster { width: SIDE as u32, height: SIDE as u32, bands: 3, data };
    let tile = Tile::of_file(format!("made/{number:08}"), None);
    let mut frame = Vec::new();
    record::append(&mut frame, &tile, &image.to_jpeg(80)?);
    Ok(frame)
}
