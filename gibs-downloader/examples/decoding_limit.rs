//! How many tiles a second all cores can validate: `decoding_limit tile.jpg [COUNT]`. What a downloader that
//! looks into every body can reach at most; see scripts/bench/fetch.py.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program's main")]

use std::process::ExitCode;
use std::time::Instant;

use curator_core::picture;
use rayon::prelude::*;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(bytes) = arguments.first().and_then(|path| std::fs::read(path).ok()) else {
        eprintln!("usage: decoding_limit tile.jpg [COUNT]");
        return ExitCode::from(2);
    };
    let count: u32 = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(4000);
    let begun = Instant::now();
    let decoded = (0..count)
        .into_par_iter()
        .filter(|_| picture::decode_for("tile", &bytes, 64).is_ok())
        .count();
    println!("{:.0}", decoded as f64 / begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
