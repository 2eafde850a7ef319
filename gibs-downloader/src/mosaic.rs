//! `mosaic`: scenes, or a part of them, as PNG, JPEG or cloud-optimised GeoTIFF.

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::matrix::Bounds;
use curator_core::mosaic::Scenes;
use curator_core::{Context, Error as CoreError};
use serde::Serialize;

use crate::choice::{Chosen, Target, ending};
use crate::cog::{self, Cog, Compression};
use crate::credit::credit;
use crate::error::{Error, Result};
use crate::picture_file::PictureFile;
use crate::place::{Area, Rect};
use crate::plane::Plane;
use crate::product::Product;
use crate::pyramid::Resampling;
use crate::recipe::Recipe;

/// The endings of files that are written.
const ENDINGS: [&str; 5] = ["tif", "tiff", "png", "jpg", "jpeg"];

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Cloud-optimised GeoTIFF.
    Cog,
    /// PNG with a world file.
    Png,
    /// JPEG with a world file.
    Jpeg,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Cog => "tif",
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }

    fn of(path: &Path) -> Option<Self> {
        match ending(path)?.as_str() {
            "tif" | "tiff" => Some(Self::Cog),
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }
}

/// How the tiles of a GeoTIFF are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Without loss.
    #[default]
    Deflate,
    /// Smaller, with loss; for pictures without transparency.
    Jpeg,
    /// Not at all.
    None,
}

/// A run of `mosaic`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// From which scenes, and where to.
    pub product: Product,
    /// What to write; by the output's ending when `None`, or else GeoTIFF.
    pub format: Option<Format>,
    /// Compression of GeoTIFF.
    pub compression: Packing,
    /// Quality of JPEG, 1 to 100.
    pub quality: u8,
}

/// A file that was made, or was there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// Layer of its pixels.
    pub layer: String,
    /// Their time.
    pub time: String,
    /// Columns of pixels.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
    /// EPSG code of the projection.
    pub epsg: u32,
    /// Edges in the projection's units.
    pub bounds: Bounds,
    /// Size of the file.
    pub bytes: u64,
    /// It was there already.
    pub up_to_date: bool,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// A file a scene.
    pub made: Vec<Made>,
    /// Scenes with nothing in the area.
    pub outside: u64,
    /// Native tiles that could not be read and are missing in the files.
    pub broken: u64,
}

/// Writes mosaics; files of the same settings and scenes are left alone.
///
/// # Errors
/// When no scene is meant, nothing of it lies in the area, or a file cannot be written.
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let product = &config.product;
    let scenes = Scenes::open(&product.scenes)?;
    let chosen = product.choice.of(&scenes)?;
    let target = Target::of(&product.output, &ENDINGS, chosen.len())?;
    let format = match &target {
        Target::File(path) => Format::of(path),
        Target::Folder(_) => None,
    };
    let format = match (config.format, format) {
        (Some(asked), Some(named)) if asked != named => {
            return Err(CoreError::Setting {
                name: "format",
                found: format!("{asked:?}").to_lowercase(),
                expected: format!("{named:?} for `{}`", product.output.display()).to_lowercase(),
            }
            .into());
        }
        (asked, named) => asked.or(named).unwrap_or(Format::Cog),
    };
    let task = context.progress.begin("mosaic", Some(chosen.len() as u64), Unit::Items);
    let mut report = Report::default();
    for one in &chosen {
        let path = target.path(&one.stem(), format.ending());
        match write(config, &scenes, one, &path, format, context)? {
            Some((made, broken)) => {
                report.made.push(made);
                report.broken += broken;
            }
            None => report.outside += 1,
        }
        task.advance(1);
    }
    if report.made.is_empty() {
        return Err(Error::NothingInArea { path: product.scenes.clone() });
    }
    Ok(report)
}

/// The rectangle of a scene that an area is; `None` when there is nothing of it.
pub(crate) fn rect(area: &Area, chosen: &Chosen<'_>, plane: &Plane<'_>) -> Option<Rect> {
    let scene = chosen.scene;
    let columns = plane.columns();
    let rect = Rect::of(area, &scene.matrix, &columns, scene.rows.clone())?;
    plane.has_any(&rect).then_some(rect)
}

fn write(
    config: &Config,
    scenes: &Scenes,
    chosen: &Chosen<'_>,
    path: &Path,
    format: Format,
    context: &Context,
) -> Result<Option<(Made, u64)>> {
    let scene = chosen.scene;
    let plane = Plane::open(scenes, scene, context)?;
    let Some(rect) = rect(&config.product.area, chosen, &plane) else { return Ok(None) };
    let settings = match format {
        Format::Cog if config.compression == Packing::Jpeg => {
            serde_json::json!([format, config.compression, config.quality])
        }
        Format::Cog => serde_json::json!([format, config.compression]),
        Format::Png => serde_json::json!([format]),
        Format::Jpeg => serde_json::json!([format, config.quality]),
    };
    let digests = [chosen.digest.as_str()];
    let recipe = Recipe::new("mosaic", &serde_json::json!([settings, rect]), &digests);
    let up_to_date = recipe.made(path, config.product.force)?;
    if !up_to_date {
        let shift = |part: Rect| Rect { x: part.x + rect.x, y: part.y + rect.y, ..part };
        let metadata = facts(chosen, &recipe);
        let file = PictureFile {
            path,
            width: rect.width,
            height: rect.height,
            bands: plane.bands,
            place: rect.place(&scene.matrix),
            metadata: &metadata[..3],
            recipe: &recipe,
            rows: scene.matrix.tile.1,
        };
        let name = chosen.stem();
        let rows = || context.progress.begin(&name, Some(u64::from(rect.height)), Unit::Items);
        let read = |part: Rect| plane.window(&shift(part));
        match format {
            Format::Png => file.png(&read, &*rows(), context)?,
            Format::Jpeg => file.jpeg(config.quality, &read, &*rows(), context)?,
            Format::Cog => {
                let tiles = cog::tiles(rect.width, rect.height);
                let task = context.progress.begin(&name, Some(tiles), Unit::Items);
                let cog = picture_cog(config, &plane, &rect, chosen, metadata)?;
                cog::write(path, &cog, &|part| Ok(read(part)), &*task, context)?;
            }
        }
    }
    let bytes = std::fs::metadata(path).map_err(CoreError::io("read", path))?.len();
    let made = Made {
        path: path.into(),
        layer: scene.key.layer.clone(),
        time: scene.key.time.clone(),
        width: rect.width,
        height: rect.height,
        epsg: scene.matrix.projection.epsg(),
        bounds: rect.bounds(&scene.matrix),
        bytes,
        up_to_date,
    };
    Ok(Some((made, plane.broken())))
}

fn picture_cog(
    config: &Config,
    plane: &Plane<'_>,
    rect: &Rect,
    chosen: &Chosen<'_>,
    metadata: Vec<(String, String)>,
) -> Result<Cog<u8>> {
    let alpha = plane.bands == 4;
    let compression = match config.compression {
        Packing::None => Compression::None,
        Packing::Deflate => Compression::Deflate,
        Packing::Jpeg if alpha => {
            return Err(CoreError::Setting {
                name: "compression",
                found: "jpeg".into(),
                expected: format!("deflate for `{}`, which has opacity", chosen.scene.key.layer),
            }
            .into());
        }
        Packing::Jpeg => Compression::Jpeg(config.quality),
    };
    Ok(Cog {
        width: rect.width,
        height: rect.height,
        bands: plane.bands,
        alpha,
        nothing: 0,
        place: rect.place(&chosen.scene.matrix),
        compression,
        // Colours of an overlay stand for something; between two of them there may be a third.
        resampling: if alpha { Resampling::Nearest } else { Resampling::Mean },
        metadata,
        names: Vec::new(),
    })
}

/// What a file tells of itself: layer, time, credit, and its recipe.
pub(crate) fn facts(chosen: &Chosen<'_>, recipe: &Recipe) -> Vec<(String, String)> {
    let key = &chosen.scene.key;
    [
        ("LAYER", key.layer.as_str()),
        ("TIME", &key.time),
        ("CREDIT", credit()),
        ("RECIPE", recipe.as_str()),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for made in &self.made {
            let path = made.path.display();
            if made.up_to_date {
                writeln!(f, "`{path}` is up to date")?;
                continue;
            }
            let Made { width, height, epsg, .. } = made;
            let size = made.bytes as f64 / 1e6;
            writeln!(f, "`{path}`: {width}×{height} pixels, EPSG:{epsg}, {size:.1} MB")?;
        }
        if self.outside > 0 {
            writeln!(f, "{} scenes have nothing there", self.outside)?;
        }
        if self.broken > 0 {
            writeln!(f, "{} native tiles could not be read and are missing", self.broken)?;
        }
        Ok(())
    }
}
