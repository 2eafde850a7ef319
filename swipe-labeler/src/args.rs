//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;
use curator_labeling::{Order, Rule, Settings, TogetherArgs};
use curator_web::{Role, WebArgs};
use serde_json::json;

use crate::export::{self, ExportConfig, Form, Link};
use crate::import::{self, ImportConfig};
use crate::serve::{self, ServeConfig};
use crate::{Error, care};

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
    Serve(Box<ServeArgs>),
    /// Write labels as folders of pictures, tables, or for other programs; originals are never moved
    Export(ExportArgs),
    /// Read labels from folders, tables, or other programs; what was imported before is not counted twice
    Import(ImportArgs),
    /// Add labels of other machines; nothing is counted twice
    #[command(after_help = "Examples:\n  swipe-labeler merge ann/labels/ bob/labels/ -o labels/")]
    Merge {
        /// Labels to add
        #[arg(required = true)]
        labels: Vec<PathBuf>,
        /// Labels to add them to
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Check that labels are whole
    #[command(after_help = "Examples:\n  swipe-labeler verify labels/")]
    Verify {
        /// The labels
        labels: PathBuf,
    },
    /// Copy labels into their `backups/`, also while somebody labels; a server does this by itself
    #[command(after_help = "Examples:\n  swipe-labeler backup labels/")]
    Backup {
        /// The labels
        labels: PathBuf,
    },
    /// List, make and revoke the links that open the page of labels
    #[command(subcommand)]
    Links(LinksCommand),
    #[command(flatten)]
    Builtin(Builtin),
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swipe-labeler links add labels/ --role viewer --hours 8\n  \
    swipe-labeler links list labels/\n  \
    swipe-labeler links revoke labels/ Yx3kQ0aB")]
enum LinksCommand {
    /// List links
    List {
        /// The labels
        labels: PathBuf,
    },
    /// Make a link; a server that runs takes it up at once
    Add {
        /// The labels
        labels: PathBuf,
        /// owner, labeller or viewer
        #[arg(long, default_value = "labeller")]
        role: Role,
        /// Hours until it ends [default: never]
        #[arg(long)]
        hours: Option<u32>,
    },
    /// Revoke a link; who came through it is out at once
    Revoke {
        /// The labels
        labels: PathBuf,
        /// The link's name in the list
        id: String,
    },
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    swipe-labeler serve tiles/ -o labels/\n  \
    swipe-labeler serve photos/ -o labels/ --question 'Is there an island?' --order random --port 8000\n  \
    swipe-labeler serve tiles/ -o labels/ --classes beach,river,forest\n  \
    swipe-labeler serve tiles/ -o labels/ --share lan --overlap 2\n  \
    swipe-labeler serve tiles/ -o labels/ --share tunnel --tunnel-server bore.example.org")]
struct ServeArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// Where the labels are kept
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What is asked [default: Is it there?, and with classes What is it?]
    #[arg(long)]
    question: Option<String>,
    /// Classes to choose from with number keys, instead of yes and no
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    classes: Vec<String>,
    /// A picture of what is looked for
    #[arg(long, value_name = "IMAGE")]
    reference: Option<PathBuf>,
    /// In which order: name, random, or uncertain (see --scores)
    #[arg(long, default_value = "name", value_parser = ["name", "random", "uncertain"])]
    order: String,
    /// Decides the random order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// CSV or Parquet with `tile_id` and `uncertainty`, `probability` or `score`, for `--order uncertain`
    #[arg(long, value_name = "FILE", required_if_eq("order", "uncertain"))]
    scores: Option<PathBuf>,
    /// Ask only the tiles of this file, in its order: a line a tile, or CSV with `tile_id`. It may change
    /// while people label
    #[arg(long, value_name = "FILE", conflicts_with = "scores")]
    queue: Option<PathBuf>,
    #[command(flatten)]
    together: TogetherArgs,
    #[command(flatten)]
    web: WebArgs,
}

impl ServeArgs {
    fn config(self) -> ServeConfig {
        let order = match (self.queue, self.scores, self.order.as_str()) {
            (Some(queue), _, _) => Order::Listed(queue),
            (_, Some(scores), "uncertain") => Order::Scores(scores),
            (_, _, "random") => Order::Random(self.seed),
            _ => Order::Name,
        };
        let usual = if self.classes.is_empty() { "Is it there?" } else { "What is it?" };
        let question = self.question.unwrap_or_else(|| usual.into());
        let settings = Settings {
            classes: self.classes.iter().map(|class| class.trim().to_string()).collect(),
            ..self.together.settings(question)
        };
        let web = self.web.options(Some(self.output.clone()));
        let (tiles, output, reference) = (self.tiles, self.output, self.reference);
        ServeConfig { tiles, output, order, reference, settings, web }
    }
}

/// Flags of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    swipe-labeler export labels/ --to csv -o labels.csv\n  \
    swipe-labeler export labels/ --tiles tiles/ --to folders -o sorted/\n  \
    swipe-labeler export labels/ --tiles tiles/ --to coco --link hard -o coco/")]
struct ExportArgs {
    /// The labels
    labels: PathBuf,
    /// The form
    #[arg(long, value_enum)]
    to: Form,
    /// The images, for forms that have the pictures with them
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// The folder or file to write
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// How pictures get there
    #[arg(long, default_value = "copy", value_enum)]
    link: Link,
    /// What holds where several people judged: majority, unanimous or latest
    #[arg(long, default_value = "majority")]
    consensus: Rule,
}

/// Flags of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    swipe-labeler import sorted/ --from folders --tiles tiles/ -o labels/\n  \
    swipe-labeler import labels.csv --from csv -o labels/ --who ann\n  \
    swipe-labeler import export.json --from label-studio --tiles tiles/ -o labels/")]
struct ImportArgs {
    /// The file or folder
    input: PathBuf,
    /// Its form; `folders` also reads `positive/`, `negative/` and `unsure/` that other programs sorted
    #[arg(long, value_enum)]
    from: Form,
    /// The images that the labels are of; without them, file names become ids
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Look for pictures by their bytes where their names are not found; reads every tile
    #[arg(long, requires = "tiles")]
    by_content: bool,
    /// Who said it, where the input does not say
    #[arg(long, default_value = "import")]
    who: String,
    /// Where the labels are kept
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
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
                let report = serve::run(&args.config(), context)?;
                let partial = report.tally.skipped > 0;
                Ok(Outcome::new(&report, report.to_string()).partial_if(partial))
            }
            Command::Export(args) => {
                let ExportArgs { labels, to: form, tiles, output, link, consensus: rule } = args;
                let config = ExportConfig { labels, tiles, form, link, rule, output };
                let report = export::run(&config, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.missing > 0))
            }
            Command::Import(args) => {
                let ImportArgs { input, from: form, tiles, by_content, who, output } = args;
                let config = ImportConfig { input, form, tiles, by_content, who, output };
                let report = import::run(&config, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.missing > 0))
            }
            Command::Merge { labels, output } => {
                let merged = care::merge(&labels, &output)?;
                let text = format!(
                    "{} events added, {} known → `{}`",
                    merged.added,
                    merged.known,
                    output.display()
                );
                if merged.conflicts > 0 {
                    context.progress.warn(&format!(
                        "{} events contradict events of the same key here; they are left out",
                        merged.conflicts
                    ));
                }
                Ok(Outcome::new(&merged, text).partial_if(merged.conflicts > 0))
            }
            Command::Verify { labels } => {
                let found = care::verify(&labels)?;
                let damaged = !found.problems.is_empty();
                Ok(Outcome::new(&found, found.to_string()).partial_if(damaged))
            }
            Command::Backup { labels } => {
                let copy = care::backup(&labels)?;
                let text = copy.as_ref().map_or_else(
                    || "the newest backup has everything".into(),
                    |copy| format!("`{}`", copy.display()),
                );
                Ok(Outcome::new(&json!({ "backup": copy }), text))
            }
            Command::Links(command) => Ok(command.run()?),
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}

impl LinksCommand {
    fn run(self) -> Result<Outcome, Error> {
        let line = |link: &curator_web::Link| {
            let state = if link.revoked {
                "revoked"
            } else if link.is_good() {
                "good"
            } else {
                "ended"
            };
            format!("{}  {:<8}  {}  {state}", link.id, link.role.name(), link.created)
        };
        match self {
            Self::List { labels } => {
                let links = care::links(&labels)?;
                let lines: Vec<String> = links.iter().map(line).collect();
                Ok(Outcome::new(&links, lines.join("\n")))
            }
            Self::Add { labels, role, hours } => {
                let link = care::add_link(&labels, role, hours)?;
                // Host and port are the server's; a link is their address and this.
                let text = format!(
                    "{}\nappend to the server's address:  /?token={}",
                    line(&link),
                    link.token
                );
                Ok(Outcome::new(&link, text))
            }
            Self::Revoke { labels, id } => {
                care::revoke_link(&labels, &id)?;
                Ok(Outcome::new(
                    &json!({ "revoked": id }),
                    format!("`{id}` opens nothing any more"),
                ))
            }
        }
    }
}
