//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;
use curator_web::ServeOptions;

use crate::export::{self, Link};
use crate::serve::{self, ServeConfig};

/// Label images by swiping.
#[derive(Debug, Parser)]
#[command(name = "swipe-labeler", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the labelling page; labels that are there already are kept and not asked again
    Serve(ServeArgs),
    /// Write labels as folders of pictures or as CSV; originals are never moved
    Export(ExportArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    swipe-labeler serve tiles/ -o labels/\n  \
    swipe-labeler serve photos/ -o labels/ --question 'Is there an island?' --shuffle --port 8000\n  \
    swipe-labeler serve tiles/ -o labels/ --share lan")]
struct ServeArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// Where the labels are kept
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What is asked
    #[arg(long, default_value = "Is it there?")]
    question: String,
    /// A picture of what is looked for
    #[arg(long, value_name = "IMAGE")]
    reference: Option<PathBuf>,
    /// Ask in random order
    #[arg(long)]
    shuffle: bool,
    /// Decides the random order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Port; 0 takes any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// Let others on this network label too: `--share lan`
    #[arg(long, value_name = "HOW", value_parser = ["lan"])]
    share: Option<String>,
}

/// Flags of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    swipe-labeler export labels/ --to csv -o labels.csv\n  \
    swipe-labeler export labels/ --tiles tiles/ --to folders -o sorted/")]
struct ExportArgs {
    /// The labels
    labels: PathBuf,
    /// folders (with the pictures) or csv
    #[arg(long, value_parser = ["folders", "csv"])]
    to: String,
    /// The images, for folders
    #[arg(long, value_name = "DIR", required_if_eq("to", "folders"))]
    tiles: Option<PathBuf>,
    /// The folder or file to write
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// copy, or hard (links, where possible)
    #[arg(long, default_value = "copy", value_parser = ["copy", "hard"])]
    link: String,
}

impl Program for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn builtin(&self) -> Option<&Builtin> {
        match &self.command {
            Command::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.command {
            Command::Serve(args) => {
                let config = ServeConfig {
                    tiles: args.tiles,
                    output: args.output,
                    question: args.question,
                    reference: args.reference,
                    shuffle: args.shuffle.then_some(args.seed),
                    web: ServeOptions {
                        host: args.host,
                        port: args.port,
                        share_lan: args.share.is_some(),
                    },
                };
                let report = serve::run(&config, context)?;
                Ok(Outcome::new(&report, report.to_string()))
            }
            Command::Export(args) => {
                let report = match args.tiles {
                    Some(tiles) if args.to == "folders" => {
                        let link = if args.link == "hard" { Link::Hard } else { Link::Copy };
                        export::to_folders(&args.labels, &tiles, &args.output, link, context)?
                    }
                    _ => export::to_csv(&args.labels, &args.output)?,
                };
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.missing > 0))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
