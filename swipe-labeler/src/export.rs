//! `export`: labels as folders of pictures, or as CSV. Originals are never moved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_core::{Context, Error as CoreError, Location, TileSet, atomic, digest, raster};
use curator_labeling::{Event, Store};
use serde::Serialize;

use crate::{Error, Result};

/// A form labels can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One folder a label, with the pictures.
    Folders,
    /// One CSV file with a line a label.
    Csv,
}

/// How pictures get into folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// As copies.
    Copy,
    /// As hard links, where the tiles are files on the same disk; copies elsewhere.
    Hard,
}

/// What an export ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Labels exported.
    pub exported: usize,
    /// Labels whose tile is not among the tiles, or cannot be read.
    pub missing: usize,
    /// Where.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} labels → `{}`", self.exported, self.output.display())?;
        if self.missing > 0 {
            write!(f, ", {} without a picture", self.missing)?;
        }
        Ok(())
    }
}

/// Writes labels as CSV: `tile_id,label,who,at,milliseconds`.
///
/// # Errors
/// When there are none, or the file cannot be written.
pub fn to_csv(labels: &Path, output: &Path) -> Result<Report> {
    let events = events(labels)?;
    atomic::write_with(output, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(["tile_id", "label", "who", "at", "milliseconds"])?;
        for event in &events {
            let milliseconds = event.milliseconds.map(|m| m.to_string()).unwrap_or_default();
            writer.write_record([
                &event.tile_id,
                event.label.name(),
                &event.who,
                &event.at,
                &milliseconds,
            ])?;
        }
        writer.flush()
    })?;
    Ok(Report { exported: events.len(), missing: 0, output: output.into() })
}

/// Sorts pictures into `positive/`, `negative/` and `unsure/`.
///
/// # Errors
/// When there are no labels, the output is not empty, or cannot be written.
pub fn to_folders(
    labels: &Path,
    tiles: &Path,
    output: &Path,
    link: Link,
    context: &Context,
) -> Result<Report> {
    let events = events(labels)?;
    if std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::NotEmpty { path: output.into() });
    }
    let tiles = TileSet::open(tiles)?;
    let mut wanted: HashMap<&str, Option<Location>> =
        events.iter().map(|event| (event.tile_id.as_str(), None)).collect();
    for tile in tiles.rows() {
        let tile = tile?;
        if let Some(location) = wanted.get_mut(tile.tile_id.as_str()) {
            *location = Some(tile.location);
        }
    }
    let mut report = Report { exported: 0, missing: 0, output: output.into() };
    for event in &events {
        context.check()?;
        match place(&tiles, wanted[event.tile_id.as_str()].as_ref(), event, output, link) {
            Ok(()) => report.exported += 1,
            Err(Error::Core(
                error @ (CoreError::Missing { .. }
                | CoreError::Image { .. }
                | CoreError::Damaged { .. }),
            )) => {
                context.progress.warn(&format!("`{}`: {error}", event.tile_id));
                report.missing += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

fn events(labels: &Path) -> Result<Vec<Event>> {
    if !labels.is_dir() {
        return Err(CoreError::Missing { path: labels.into() }.into());
    }
    let events: Vec<Event> = Store::open(labels)?.current()?.into_values().collect();
    if events.is_empty() { Err(Error::NoLabels { path: labels.into() }) } else { Ok(events) }
}

fn place(
    tiles: &TileSet,
    location: Option<&Location>,
    event: &Event,
    output: &Path,
    link: Link,
) -> Result<()> {
    let location = location.ok_or_else(|| CoreError::Missing { path: tiles.root().into() })?;
    let bytes = tiles.encoded(location)?;
    let extension = match raster::media_type(&bytes) {
        Some("image/jpeg") => "jpg",
        Some("image/png") => "png",
        Some("image/tiff") => "tif",
        _ => {
            return Err(CoreError::Image {
                name: event.tile_id.clone(),
                reason: "no image".into(),
            }
            .into());
        }
    };
    let folder = output.join(event.label.name());
    std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
    let path = folder.join(file_name(&event.tile_id, extension));
    if let (Link::Hard, Location::File(relative)) = (link, location) {
        let original = curator_core::manifest::part_path(tiles.root(), relative)?;
        if std::fs::hard_link(&original, &path).is_ok() {
            return Ok(());
        }
    }
    Ok(atomic::write_atomic(&path, &bytes)?)
}

/// A file name for a tile: readable, and different for different ids, whatever they contain.
fn file_name(tile_id: &str, extension: &str) -> String {
    let stem = tile_id.rsplit_once('.').map_or(tile_id, |(stem, _)| stem);
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let readable: String =
        stem.chars().rev().take(60).map(safe).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{readable}-{}.{extension}", &digest::of_bytes(tile_id.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_are_safe_and_different() {
        let (a, b) = (file_name("a/x.jpg", "jpg"), file_name("b/x.jpg", "jpg"));
        assert_ne!(a, b);
        let evil = file_name("../../etc/pass$(wd)\n.png", "png");
        assert!(!evil.contains(['/', '$', '\n', '.']) || evil.matches('.').count() == 1, "{evil}");
    }
}
