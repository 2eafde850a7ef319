//! The flags that all programs share.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Flags that mean the same in every program.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Print one JSON document to stdout instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Worker threads [default: all cores]
    #[arg(short = 'j', long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Read flags from a TOML file (`size = 128` is `--size 128`); flags given here win
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
