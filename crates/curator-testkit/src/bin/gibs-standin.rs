//! `gibs-standin`: the stand-in server, and the truth about what it serves.

use std::path::PathBuf;
use std::process::ExitCode;

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
        /// Serve real pictures from this folder
        #[arg(long, value_name = "DIR")]
        images: Option<PathBuf>,
        /// Misbehave: 404, 429, 500, xml, half, empty or stall
        #[arg(long)]
        fault: Option<Fault>,
        /// At every n-th tile
        #[arg(long, default_value_t = 10, value_name = "N")]
        every: u64,
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
        Cli::Serve { port, images, fault, every } => {
            let options = Options { port, images, fault: fault.map(|fault| (fault, every)) };
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
