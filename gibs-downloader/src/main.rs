//! `gibs-downloader`: plan and download imagery from NASA GIBS.

use std::process::ExitCode;

fn main() -> ExitCode {
    curator_cli::main::<gibs_downloader::args::Cli>()
}
