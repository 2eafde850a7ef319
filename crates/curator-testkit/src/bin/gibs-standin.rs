//! `gibs-standin`: the stand-in server, and the truth about what it serves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use curator_core::{Diagnose, TileSet};
use curator_testkit::{Earth, Fault, Options, Standin, truth};

/// A stand-in for the GIBS servers that serves a procedural Earth.
#[derive(Parser)]
#[command(name = "gibs-standin", version, about)]
enum Cli {
    /// Serve until ended; the first line on stdout is the address
    Serve {
        /// Port; 0 takes any that is free
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Serve the georeferenced pictures of this folder: each name is a layer, `_YYYY-MM-DD` at its
        /// end the day; placed by a world file, or the whole globe when twice as wide as high
        #[arg(long, value_name = "DIR")]
        images: Option<PathBuf>,
        /// Serve one tile of a layer for all of them: costs nothing, to measure a client's speed
        #[arg(long)]
        same_tile: bool,
        /// Misbehave: 404, 429, 500, time, xml, html, half, cut, empty or stall
        #[arg(long)]
        fault: Option<Fault>,
        /// At every n-th tile
        #[arg(long, default_value_t = 10, value_name = "N")]
        every: u64,
        /// Wait so many milliseconds before every answer
        #[arg(long, default_value_t = 0, value_name = "MS")]
        latency: u64,
        /// Answer with 429 beyond so many tiles a second
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Megabytes of encoded tiles to keep
        #[arg(long, default_value_t = 256, value_name = "MB")]
        cache_mb: u64,
        /// Ranges of times on a page of DescribeDomains
        #[arg(long, default_value_t = 25_000, value_name = "N")]
        page: usize,
    },
    /// Write which tiles show an island, as tile_id,label
    Truth {
        /// The tiles that were cut from what was served
        #[arg(long, value_name = "DIR")]
        tiles: PathBuf,
        /// The CSV file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write the picture of one tile that shows an island
    Reference {
        /// The tiles that were cut from what was served
        #[arg(long, value_name = "DIR")]
        tiles: PathBuf,
        /// The picture
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program's main")]
fn main() -> ExitCode {
    let earth = Earth::default();
    let done = match Cli::parse() {
        Cli::Serve { port, images, same_tile, fault, every, latency, limit, cache_mb, page } => {
            let options = Options {
                port,
                images,
                same_tile,
                fault: fault.map(|fault| (fault, every)),
                latency: Duration::from_millis(latency),
                limit,
                cache_mb,
                page,
            };
            Standin::start(&options).map_err(curator_core::Error::io("serve", "127.0.0.1")).map(
                |standin| {
                    println!("{}", standin.url());
                    standin.wait();
                },
            )
        }
        Cli::Truth { tiles, output } => TileSet::open(&tiles)
            .and_then(|tiles| truth::write(&earth, &tiles, &output))
            .map(|(positives, count)| println!("{positives} of {count} tiles show an island")),
        Cli::Reference { tiles, output } => TileSet::open(&tiles)
            .and_then(|tiles| truth::write_reference(&earth, &tiles, &output))
            .map(|tile| println!("{tile}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("  hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
