//! `values`: the colours of palette layers as the physical values that they stand for.
//!
//! One GeoTIFF of floats a scene, NaN where nothing is; or, stacked, one a time, with a band a palette layer
//! and three a picture layer, for training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use curator_core::context::Unit;
use curator_core::mosaic::Scenes;
use curator_core::{Context, Error as CoreError};
use serde::Serialize;

use crate::choice::{Chosen, Target};
use crate::cog::{self, Cog, Compression};
use crate::colormap::{ColorMap, Pick};
use crate::colormap_file;
use crate::error::{Error, Result};
use crate::inverse::{Found, Inverse};
use crate::mosaic::{facts, rect};
use crate::place::Rect;
use crate::plane::Plane;
use crate::product::Product;
use crate::pyramid::{Piece, Resampling};
use crate::recipe::Recipe;

/// The endings of files that are written.
const ENDINGS: [&str; 2] = ["tif", "tiff"];

/// Where `fetch --values` puts them, in a `scenes/` directory.
pub(crate) const FOLDER: &str = "values";

/// A run of `values`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// From which scenes, and where to.
    pub product: Product,
    /// A colour map to use instead of the layers' own.
    pub colormap: Option<PathBuf>,
    /// Which value of an interval stands for it.
    pub pick: Pick,
    /// Values that the colour map draws as nothing are values.
    pub keep_transparent: bool,
    /// Distance in colour up to which the nearest entry is taken; any when `None`.
    pub tolerance: Option<u32>,
    /// One file a time, with all layers as bands.
    pub stack: bool,
    /// Address of the service, for colour maps that are not in the directory.
    pub endpoint: String,
    /// Do not ask the service.
    pub offline: bool,
}

/// A file that was made, or was there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// Names of its bands.
    pub bands: Vec<String>,
    /// Their units.
    pub units: Vec<String>,
    /// Time of its pixels.
    pub time: String,
    /// Columns of pixels.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
    /// How the values of palette layers were found; of files that were there, nothing.
    pub pixels: Found,
    /// It was there already.
    pub up_to_date: bool,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The files.
    pub made: Vec<Made>,
    /// Scenes with nothing in the area; of stacks, times for which a layer has nothing.
    pub outside: u64,
    /// Native tiles that could not be read and are missing in the files.
    pub broken: u64,
}

/// One layer of a file.
struct Source<'a> {
    chosen: &'a Chosen<'a>,
    plane: Plane<'a>,
    rect: Rect,
    /// `None` for a picture, which stays red, green and blue.
    values: Option<(ColorMap, Inverse)>,
}

impl Source<'_> {
    fn bands(&self) -> usize {
        if self.values.is_some() { 1 } else { 3 }
    }

    /// Names and units of its bands.
    fn names(&self) -> Vec<(String, String)> {
        let layer = &self.chosen.scene.key.layer;
        match &self.values {
            Some((map, _)) => vec![(layer.clone(), map.units.clone())],
            None => {
                ["red", "green", "blue"].map(|b| (format!("{layer} {b}"), String::new())).into()
            }
        }
    }

    /// Values of a part, bands interleaved.
    fn read(&self, part: Rect) -> (Vec<f32>, Found) {
        let rect = Rect { x: part.x + self.rect.x, y: part.y + self.rect.y, ..part };
        let window = self.plane.window(&rect);
        match &self.values {
            Some((_, inverse)) => inverse.values(&window.data),
            None => {
                let samples = window.data.chunks_exact(4).flat_map(|pixel| {
                    let seen = pixel[3] > 0;
                    [0, 1, 2].map(|i| if seen { f32::from(pixel[i]) } else { f32::NAN })
                });
                (samples.collect(), Found::default())
            }
        }
    }
}

/// Writes values; files of the same settings and scenes are left alone.
///
/// # Errors
/// When no scene is meant, a layer has no colour map, or a file cannot be written.
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let product = &config.product;
    let scenes = Scenes::open(&product.scenes)?;
    let chosen = product.choice.of(&scenes)?;
    let maps = colormaps(config, &chosen, context)?;
    let mut report = Report::default();
    let files: BTreeMap<String, Vec<&Chosen<'_>>> = if config.stack {
        let (files, incomplete) = stacks(&chosen);
        report.outside = incomplete;
        files
    } else {
        let palettes = chosen.iter().filter(|one| maps.contains_key(&one.scene.key.layer));
        palettes.map(|one| (one.stem(), vec![one])).collect()
    };
    let target = Target::of(&product.output, &ENDINGS, files.len())?;
    let task = context.progress.begin("values", Some(files.len() as u64), Unit::Items);
    for (stem, layers) in &files {
        let path = target.path(stem, ENDINGS[0]);
        match write(config, &scenes, layers, &maps, &path, context)? {
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

/// Scenes that become bands of one file, by its name: for every time of the layer that has most of them, and of
/// every other layer on the same grid the latest scene at or before it, as the service itself would answer. Times
/// for which a layer has nothing yet are left out, and counted.
fn stacks<'a>(chosen: &'a [Chosen<'a>]) -> (BTreeMap<String, Vec<&'a Chosen<'a>>>, u64) {
    let mut grids: BTreeMap<_, BTreeMap<&str, Vec<&Chosen<'_>>>> = BTreeMap::new();
    for one in chosen {
        let key = &one.scene.key;
        let layers = grids.entry((key.matrix_set.as_str(), key.level)).or_default();
        layers.entry(&key.layer).or_default().push(one);
    }
    let (mut files, mut incomplete) = (BTreeMap::new(), 0);
    for ((matrix_set, level), layers) in &grids {
        let leading = layers.values().rev().max_by_key(|scenes| scenes.len());
        for time in leading.into_iter().flatten().map(|one| one.scene.key.time.as_str()) {
            let latest = |scenes: &Vec<&'a Chosen<'a>>| {
                scenes.iter().rev().find(|one| one.scene.key.time.as_str() <= time).copied()
            };
            match layers.values().map(latest).collect::<Option<Vec<_>>>() {
                Some(bands) => {
                    let time = crate::archive::time_in_paths(time);
                    files.insert(format!("{time}_{matrix_set}_{level}"), bands);
                }
                None => incomplete += 1,
            }
        }
    }
    (files, incomplete)
}

/// The colour maps of the layers that have one. At least one must.
fn colormaps(
    config: &Config,
    chosen: &[Chosen<'_>],
    context: &Context,
) -> Result<BTreeMap<String, String>> {
    let mut layers: Vec<(&str, &str, bool)> =
        chosen.iter().map(|one| (&*one.scene.key.layer, &*one.asked, one.exact)).collect();
    layers.dedup();
    let mut maps = BTreeMap::new();
    for (layer, asked, exact) in &layers {
        let xml = match &config.colormap {
            Some(path) => Some(colormap_file::read(path)?),
            // Pictures are no palettes.
            None if !exact => None,
            None => colormap_file::of_layer(
                &config.product.scenes,
                (layer, asked),
                &config.endpoint,
                config.offline,
                context,
            )?,
        };
        maps.extend(xml.map(|xml| ((*layer).to_string(), xml)));
    }
    match (maps.is_empty(), layers.first()) {
        (true, Some((layer, ..))) => Err(Error::NoColormap { layer: (*layer).into() }),
        _ => Ok(maps),
    }
}

fn write(
    config: &Config,
    scenes: &Scenes,
    layers: &[&Chosen<'_>],
    maps: &BTreeMap<String, String>,
    path: &Path,
    context: &Context,
) -> Result<Option<(Made, u64)>> {
    let mut sources = Vec::new();
    for &chosen in layers {
        let plane = Plane::open(scenes, chosen.scene, context)?.with_opacity();
        let Some(rect) = rect(&config.product.area, chosen, &plane) else { return Ok(None) };
        let values = match maps.get(&chosen.scene.key.layer) {
            Some(xml) => {
                let layer = || chosen.scene.key.layer.clone();
                let map = ColorMap::parse(xml)
                    .map_err(|reason| Error::Colormap { layer: layer(), reason })?;
                let inverse =
                    Inverse::new(&map, config.pick, config.keep_transparent, config.tolerance);
                Some((map, inverse))
            }
            None => None,
        };
        sources.push(Source { chosen, plane, rect, values });
    }
    let Some(first) = sources.first() else { return Ok(None) };
    let matrix = first.chosen.scene.matrix;
    // Layers that were fetched in different areas: all of what any of them has.
    let rect = sources.iter().skip(1).fold(first.rect, |all, source| all.around(&source.rect));
    sources.iter_mut().for_each(|source| source.rect = rect);
    let names: Vec<(String, String)> = sources.iter().flat_map(Source::names).collect();
    let mut digests: Vec<&str> = sources.iter().map(|s| &*s.chosen.digest).collect();
    digests.extend(maps.values().map(String::as_str));
    let settings = serde_json::json!([
        config.pick,
        config.keep_transparent,
        config.tolerance,
        config.stack,
        rect
    ]);
    let recipe = Recipe::new("values", &settings, &digests);
    let up_to_date = recipe.made(path, config.product.force)?;
    let found = Mutex::new(Found::default());
    if !up_to_date {
        let bands: usize = sources.iter().map(Source::bands).sum();
        let classes = sources.iter().any(|s| s.values.as_ref().is_some_and(|v| v.0.classes));
        let cog = Cog {
            width: rect.width,
            height: rect.height,
            bands,
            alpha: false,
            nothing: f32::NAN,
            place: rect.place(&matrix),
            compression: Compression::Deflate,
            resampling: if classes { Resampling::Nearest } else { Resampling::Mean },
            metadata: facts(sources[0].chosen, &recipe),
            names: names.clone(),
        };
        let read = |part: Rect| {
            let (width, height) = (part.width as usize, part.height as usize);
            let mut piece = Piece::empty(width, height, bands, f32::NAN);
            let mut band = 0;
            for source in &sources {
                let (values, pixels) = source.read(part);
                let n = source.bands();
                for (to, from) in piece.data.chunks_exact_mut(bands).zip(values.chunks_exact(n)) {
                    to[band..band + n].copy_from_slice(from);
                }
                band += n;
                if let Ok(mut found) = found.lock() {
                    *found += pixels;
                }
            }
            Ok(piece)
        };
        let tiles = cog::tiles(rect.width, rect.height);
        let task = context.progress.begin(&names[0].0, Some(tiles), Unit::Items);
        cog::write(path, &cog, &read, &*task, context)?;
    }
    if !path.is_file() {
        return Err(CoreError::Missing { path: path.into() }.into());
    }
    let (bands, units) = names.into_iter().unzip();
    let made = Made {
        path: path.into(),
        bands,
        units,
        time: sources.iter().map(|s| &*s.chosen.scene.key.time).max().unwrap_or_default().into(),
        width: rect.width,
        height: rect.height,
        pixels: found.into_inner().unwrap_or_default(),
        up_to_date,
    };
    Ok(Some((made, sources.iter().map(|source| source.plane.broken()).sum())))
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for made in &self.made {
            let path = made.path.display();
            if made.up_to_date {
                writeln!(f, "`{path}` is up to date")?;
                continue;
            }
            let unit = made.units.iter().find(|unit| !unit.is_empty());
            let unit = unit.map(|unit| format!(" in {unit}")).unwrap_or_default();
            let Made { width, height, pixels, .. } = made;
            write!(
                f,
                "`{path}`: {width}×{height}, {} values{unit}",
                pixels.exact + pixels.nearest
            )?;
            if pixels.nearest > 0 {
                write!(f, " ({} by the nearest colour)", pixels.nearest)?;
            }
            writeln!(f, ", {} without", pixels.missing)?;
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
