//! How fast records are written and read: `records write|read DIR --shards N --tiles N --bytes N --threads N`
//! prints MB a second of pictures. With `--ahead` shards are brought to the disk while the next ones are made. Run by
//! `scripts/bench/records.py`.

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
    if action == "write" && args.iter().any(|arg| arg == "--ahead") {
        write_ahead(&folder, shards, tiles, &picture)?;
        let total = (shards * tiles * picture.len()) as f64;
        println!("{:.1}", total / 1e6 / begun.elapsed().as_secs_f64());
        return Ok(());
    }
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

/// All shards, as `data-preprocessor` writes them: while two are brought to the disk, the next one is made.
fn write_ahead(
    folder: &Path,
    shards: usize,
    tiles: usize,
    picture: &[u8],
) -> curator_core::Result<()> {
    let mut under_way = std::collections::VecDeque::new();
    for shard in 0..shards {
        let path = folder.join(format!("tiles-{shard:05}.tfrecord"));
        let writer = fill(&path, shard, tiles, picture)?;
        under_way.push_back(std::thread::spawn(move || writer.finish()));
        while under_way.len() > if shard + 1 < shards { 2 } else { 0 } {
            let Some(Ok(written)) = under_way.pop_front().map(|thread| thread.join()) else {
                break;
            };
            written?;
        }
    }
    Ok(())
}

/// One shard, made and committed.
fn write(path: &Path, shard: usize, tiles: usize, picture: &[u8]) -> curator_core::Result<u64> {
    fill(path, shard, tiles, picture)?.finish()?;
    Ok((tiles * picture.len()) as u64)
}

/// One shard that is not committed yet.
fn fill(path: &Path, shard: usize, tiles: usize, picture: &[u8]) -> curator_core::Result<Writer> {
    let mut writer = Writer::create(path)?;
    for number in 0..tiles {
        let id = format!("layer/2020-09-12/250m/8/{shard}_{number}_512x512");
        writer.append(&Tile::of_file(id, None), picture)?;
    }
    Ok(writer)
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
