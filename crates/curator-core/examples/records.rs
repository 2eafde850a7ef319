//! How fast records are written and read: `records write|read DIR --shards N --tiles N --bytes N --threads N`
//! prints MB a second of pictures. Run by `scripts/bench/records.py`.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use curator_core::record::{Reader, Writer};
use curator_core::{Tile, seed};
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (Some(action), Some(folder)) = (args.get(1), args.get(2).map(PathBuf::from)) else {
        return Err("use: records write|read DIR".into());
    };
    let (shards, tiles) = (number("--shards", 8), number("--tiles", 1000));
    let bytes = number("--bytes", 100_000);
    rayon::ThreadPoolBuilder::new().num_threads(number("--threads", 1)).build_global()?;
    let picture: Vec<u8> = (0..bytes).map(|i| seed::mix(1, &[i as u64]) as u8).collect();
    let begun = Instant::now();
    let done: Result<Vec<u64>, curator_core::Error> = (0..shards)
        .into_par_iter()
        .map(|shard| {
            let path = folder.join(format!("tiles-{shard:05}.tfrecord"));
            if action == "write" { write(&path, shard, tiles, &picture) } else { read(&path) }
        })
        .collect();
    let total: u64 = done?.iter().sum();
    println!("{:.1}", total as f64 / 1e6 / begun.elapsed().as_secs_f64());
    Ok(())
}

/// One shard, made and committed as `data-preprocessor` does.
fn write(path: &Path, shard: usize, tiles: usize, picture: &[u8]) -> curator_core::Result<u64> {
    let mut writer = Writer::create(path)?;
    for number in 0..tiles {
        let id = format!("layer/2020-09-12/250m/8/{shard}_{number}_512x512");
        writer.append(&Tile::of_file(id, None), picture)?;
    }
    writer.finish()?;
    Ok((tiles * picture.len()) as u64)
}

/// One shard, every checksum verified.
fn read(path: &Path) -> curator_core::Result<u64> {
    let mut reader = Reader::open(path)?;
    let mut total = 0;
    while let Some(payload) = reader.next_payload()? {
        total += payload.len() as u64;
    }
    Ok(total)
}
