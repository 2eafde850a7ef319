//! `export`: labels as folders of pictures, as tables, and as other programs read them. Originals are never
//! moved.

mod documents;
mod folders;
mod table;

use std::path::{Path, PathBuf};

use curator_core::{Context, TileSet};
use curator_labeling::Rule;
use serde::Serialize;

use crate::{Error, Result, labels};

pub use folders::Link;

/// A form labels can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One folder a label or class, with the pictures
    Folders,
    /// As folders, without what is unsure: what torchvision's `ImageFolder` reads
    Imagefolder,
    /// One CSV file, a line a tile
    Csv,
    /// One Parquet file, a row a tile
    Parquet,
    /// COCO: `labels.json` and `data/`
    Coco,
    /// Label Studio: `tasks.json` and `images/`
    LabelStudio,
    /// FiftyOne's image classification dataset: `labels.json` and `data/`
    Fiftyone,
}

impl Form {
    /// Whether it has the pictures with it.
    #[must_use]
    pub fn has_pictures(self) -> bool {
        !matches!(self, Self::Csv | Self::Parquet)
    }
}

/// What is exported, and how.
#[derive(Debug, Clone)]
pub struct ExportConfig {
    /// The labels.
    pub labels: PathBuf,
    /// The images, for forms with pictures.
    pub tiles: Option<PathBuf>,
    /// The form.
    pub form: Form,
    /// How pictures get there.
    pub link: Link,
    /// What holds where people disagree.
    pub rule: Rule,
    /// The folder or file to write.
    pub output: PathBuf,
}

/// What an export ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Labels exported.
    pub exported: usize,
    /// Labels whose tile is not among the tiles, or cannot be read.
    pub missing: usize,
    /// Labels that people disagree about; they are exported as unsure.
    pub disputed: usize,
    /// Where.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} labels → `{}`", self.exported, self.output.display())?;
        if self.missing > 0 {
            write!(f, ", {} without a picture", self.missing)?;
        }
        if self.disputed > 0 {
            write!(f, ", {} disagreements as unsure", self.disputed)?;
        }
        Ok(())
    }
}

/// Writes labels in a form.
///
/// # Errors
/// When there are none, the output is in use, or cannot be written.
pub fn run(config: &ExportConfig, context: &Context) -> Result<Report> {
    let verdicts = labels::read(&config.labels, config.rule)?;
    let disputed = verdicts.iter().filter(|(_, verdict)| verdict.disputed).count();
    let output = &config.output;
    let mut report =
        Report { exported: verdicts.len(), missing: 0, disputed, output: output.clone() };
    match (config.form, &config.tiles) {
        (Form::Csv, _) => table::to_csv(&verdicts, output)?,
        (Form::Parquet, _) => table::to_parquet(&verdicts, output)?,
        (form, Some(tiles)) => {
            if std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(Error::NotEmpty { path: output.clone() });
            }
            let set = TileSet::open(tiles)?;
            let tiles = labels::tiles_of(&set, &verdicts)?;
            let pictures =
                folders::place(form, config.link, &set, &tiles, &verdicts, output, context)?;
            let left_out = if form == Form::Imagefolder {
                verdicts.iter().filter(|(_, v)| labels::is_unsure(v)).count()
            } else {
                0
            };
            report.exported = pictures.len();
            report.missing = verdicts.len() - left_out - pictures.len();
            match form {
                Form::Coco => documents::coco(&pictures, output)?,
                Form::LabelStudio => documents::label_studio(&pictures, output)?,
                Form::Fiftyone => documents::fiftyone(&pictures, output)?,
                _ => table::beside(&pictures, output)?,
            }
        }
        (_, None) => return Err(Error::NeedsTiles),
    }
    Ok(report)
}

/// A labelled picture in its new place.
pub(crate) struct Placed<'a> {
    pub(crate) tile_id: &'a str,
    pub(crate) verdict: &'a curator_labeling::Verdict,
    /// Relative to the output, with `/`.
    pub(crate) path: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Placed<'_> {
    pub(crate) fn name(&self) -> &str {
        labels::name_of(self.verdict.event.label, &self.verdict.event.class)
    }

    pub(crate) fn stem(&self) -> &str {
        let file = self.path.rsplit('/').next().unwrap_or(&self.path);
        file.rsplit_once('.').map_or(file, |(stem, _)| stem)
    }
}

fn json(path: &Path, document: &serde_json::Value) -> Result<()> {
    Ok(curator_core::atomic::write_with(path, |file| {
        serde_json::to_writer_pretty(file, document).map_err(std::io::Error::from)
    })?)
}
