//! `import`: labels from the forms that `export` writes, and from folders that other programs sorted.
//!
//! Importing the same again adds nothing: an answer's key is a digest of what it says.

mod documents;
mod folders;
mod names;
mod table;

use std::path::PathBuf;

use curator_core::dataset::Label;
use curator_core::{Context, TileSet, digest};
use curator_labeling::{Event, Store};
use serde::Serialize;

use crate::Result;
use crate::export::Form;
use names::Names;

/// What is imported, and how.
#[derive(Debug, Clone)]
pub struct ImportConfig {
    /// The file or folder.
    pub input: PathBuf,
    /// Its form.
    pub form: Form,
    /// The images that the labels are of; file names are ids when `None`.
    pub tiles: Option<PathBuf>,
    /// Whether pictures whose names are not found are looked for by their bytes.
    pub by_content: bool,
    /// Who said it, where the file does not.
    pub who: String,
    /// The labels' directory.
    pub output: PathBuf,
}

/// What an import ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Labels that were read.
    pub read: usize,
    /// Of these, new.
    pub added: usize,
    /// Of these, of pictures that are not among the tiles, or could be several of them.
    pub missing: usize,
    /// Where they are now.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} labels read, {} new → `{}`", self.read, self.added, self.output.display())?;
        if self.missing > 0 {
            write!(f, ", {} of no tile here", self.missing)?;
        }
        Ok(())
    }
}

/// A label as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The tile's id, where the form keeps it.
    pub(crate) tile_id: Option<String>,
    /// The picture's path relative to the form's folder, or its name.
    pub(crate) name: String,
    /// The picture, when it is there.
    pub(crate) file: Option<PathBuf>,
    pub(crate) label: Label,
    pub(crate) class: String,
    pub(crate) flag: bool,
    pub(crate) who: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) milliseconds: Option<i64>,
}

impl Found {
    /// A label of a name, such as a folder's.
    pub(crate) fn of(name: impl Into<String>, label: &str) -> Self {
        let (label, class) = crate::labels::of_name(label);
        Self {
            tile_id: None,
            name: name.into(),
            file: None,
            label,
            class: class.into(),
            flag: false,
            who: None,
            at: None,
            milliseconds: None,
        }
    }
}

/// Reads labels of a form and adds them to a labels' directory.
///
/// # Errors
/// When the input is not of the form, or the labels cannot be written.
pub fn run(config: &ImportConfig, context: &Context) -> Result<Report> {
    let input = &config.input;
    if !input.exists() {
        return Err(curator_core::Error::Missing { path: input.clone() }.into());
    }
    let found = match config.form {
        Form::Folders | Form::Imagefolder => folders::read(input)?,
        Form::Csv => table::from_csv(input)?,
        Form::Parquet => table::from_parquet(input)?,
        Form::Coco => documents::coco(input)?,
        Form::LabelStudio => documents::label_studio(input)?,
        Form::Fiftyone => documents::fiftyone(input)?,
    };
    let set = config.tiles.as_deref().map(TileSet::open).transpose()?;
    let mut names = set.as_ref().map(|set| Names::of(set, config.by_content)).transpose()?;
    let mut report =
        Report { read: found.len(), added: 0, missing: 0, output: config.output.clone() };
    let mut events = Vec::with_capacity(found.len());
    for found in found {
        context.check()?;
        let tile_id = match &mut names {
            None => Some(found.tile_id.clone().unwrap_or_else(|| found.name.clone())),
            Some(names) => names.find(&found)?,
        };
        let Some(tile_id) = tile_id else {
            context
                .progress
                .warn(&format!("`{}` is no tile here, or could be several", found.name));
            report.missing += 1;
            continue;
        };
        events.push(event(config, found, &tile_id));
    }
    let mut store = Store::open(&config.output)?;
    let count = |store: &Store| Ok::<_, crate::Error>(store.answers()?.len());
    let before = count(&store)?;
    store.append(&events)?;
    report.added = count(&store)? - before;
    Ok(report)
}

fn event(config: &ImportConfig, found: Found, tile_id: &str) -> Event {
    let who = found.who.filter(|who| !who.is_empty()).unwrap_or_else(|| config.who.clone());
    let at = found.at.filter(|at| !at.is_empty());
    let said = serde_json::json!([tile_id, found.label, found.class, who, at]);
    let key = format!("import-{}", &digest::of_json(&said)[..40]);
    let now = || jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let answer = Event::answer(&key, tile_id, found.label, &who, &at.unwrap_or_else(now));
    Event {
        class: found.class,
        flag: found.flag,
        milliseconds: found.milliseconds,
        reason: "imported".into(),
        ..answer
    }
}
