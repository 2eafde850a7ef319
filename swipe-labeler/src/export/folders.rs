//! Pictures in folders, as copies or links.

use std::collections::HashMap;
use std::path::Path;

use curator_core::{
    Context, Error as CoreError, Location, Raster, Tile, TileSet, atomic, digest, raster,
};
use curator_labeling::Verdict;

use super::{Form, Placed};
use crate::{Error, Result, labels};

/// How pictures get into folders. Tiles that are no files of their own are always copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Link {
    /// As copies
    Copy,
    /// As hard links, where the disk is the same; otherwise as copies
    Hard,
    /// As symbolic links to the originals
    Symbolic,
}

/// Puts the pictures where a form wants them. What cannot be read is said and left out.
pub(super) fn place<'a>(
    form: Form,
    link: Link,
    set: &TileSet,
    tiles: &HashMap<String, Tile>,
    verdicts: &'a [(String, Verdict)],
    output: &Path,
    context: &Context,
) -> Result<Vec<Placed<'a>>> {
    let mut placed = Vec::with_capacity(verdicts.len());
    for (tile_id, verdict) in verdicts {
        context.check()?;
        let name = labels::name_of(verdict.event.label, &verdict.event.class);
        let folder = match form {
            Form::Imagefolder if labels::is_unsure(verdict) => continue,
            Form::Folders | Form::Imagefolder => safe(name),
            Form::LabelStudio => "images".into(),
            _ => "data".into(),
        };
        match one(set, tiles.get(tile_id), tile_id, &output.join(&folder), link) {
            Ok((file, width, height)) => {
                let path = format!("{folder}/{file}");
                placed.push(Placed { tile_id, verdict, path, width, height });
            }
            Err(Error::Core(
                error @ (CoreError::Missing { .. }
                | CoreError::Image { .. }
                | CoreError::Damaged { .. }),
            )) => context.progress.warn(&format!("`{tile_id}`: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(placed)
}

/// The file's name, and the picture's size.
fn one(
    set: &TileSet,
    tile: Option<&Tile>,
    tile_id: &str,
    folder: &Path,
    link: Link,
) -> Result<(String, u32, u32)> {
    let tile = tile.ok_or_else(|| CoreError::Missing { path: set.root().into() })?;
    let bytes = set.encoded(&tile.location)?;
    let extension = match raster::media_type(&bytes) {
        Some("image/jpeg") => "jpg",
        Some("image/png") => "png",
        Some("image/tiff") => "tif",
        _ => {
            let reason = "not a JPEG, PNG or TIFF image".into();
            return Err(CoreError::Image { name: tile_id.into(), reason }.into());
        }
    };
    let (width, height) = Raster::dimensions(tile_id, &bytes)?;
    std::fs::create_dir_all(folder).map_err(CoreError::io("create", folder))?;
    let name = file_name(tile_id, extension);
    let path = folder.join(&name);
    if let Location::File(relative) = &tile.location {
        let original = curator_core::manifest::part_path(set.root(), relative)?;
        let linked = match link {
            Link::Copy => false,
            Link::Hard => std::fs::hard_link(&original, &path).is_ok(),
            Link::Symbolic => atomic::symlink(&original, &path),
        };
        if linked {
            return Ok((name, width, height));
        }
    }
    atomic::write_atomic(&path, &bytes)?;
    Ok((name, width, height))
}

/// A file name for a tile: readable, and different for different ids, whatever they contain.
fn file_name(tile_id: &str, extension: &str) -> String {
    let stem = tile_id.rsplit_once('.').map_or(tile_id, |(stem, _)| stem);
    let skip = stem.chars().count().saturating_sub(60);
    let readable = safe(&stem.chars().skip(skip).collect::<String>());
    format!("{readable}-{}.{extension}", &digest::of_bytes(tile_id.as_bytes())[..8])
}

fn safe(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = name.chars().map(safe).collect();
    if name.is_empty() { "-".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_are_safe_and_different() {
        let (a, b) = (file_name("a/x.jpg", "jpg"), file_name("b/x.jpg", "jpg"));
        assert_ne!(a, b);
        let evil = file_name("../../etc/pass$(wd)\n.png", "png");
        assert!(!evil.contains(['/', '$', '\n']) && evil.matches('.').count() == 1, "{evil}");
    }
}
