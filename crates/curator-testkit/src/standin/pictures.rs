//! A folder of georeferenced pictures as layers.
//!
//! A picture is placed by a world file beside it (`.wld`, `.jgw`, `.pgw`, `.tfw`), in degrees; one without is
//! taken for the whole globe when it is twice as wide as high, and left out otherwise. Its name is the
//! layer; `_YYYY-MM-DD` at the end of the name is its day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use curator_core::{Projection, Raster};
use jiff::civil::DateTime;

use super::layer::{Content, Format, Layer};
use super::time::{self, Domain, Period, Range};

/// A picture and its place.
pub(super) struct Picture {
    pub(super) time: Option<DateTime>,
    path: PathBuf,
    /// Longitude and latitude of the upper left corner.
    corner: (f64, f64),
    /// Degrees of a pixel, to the right and down.
    pixel: (f64, f64),
    /// Decoded when it is first asked for.
    raster: OnceLock<Option<Raster>>,
}

impl Picture {
    /// The pixel at a place; `None` outside.
    pub(super) fn at(&self, lon: f64, lat: f64) -> Option<[u8; 3]> {
        let raster = self.raster.get_or_init(|| {
            let bytes = std::fs::read(&self.path).ok()?;
            Raster::decode(&self.path.display().to_string(), &bytes).ok()
        });
        let raster = raster.as_ref()?;
        let x = ((lon - self.corner.0) / self.pixel.0).floor();
        let y = ((self.corner.1 - lat) / self.pixel.1).floor();
        if x < 0.0 || y < 0.0 || x >= f64::from(raster.width) || y >= f64::from(raster.height) {
            return None;
        }
        let pixel = raster.pixel(x as u32, y as u32);
        Some([pixel[0], pixel[1], pixel[2]])
    }
}

/// The layers of a folder and the folders in it.
///
/// # Errors
/// When it cannot be listed, or holds no picture with a place.
pub(super) fn layers(folder: &Path) -> std::io::Result<Vec<Layer>> {
    let mut by_name: BTreeMap<String, Vec<Picture>> = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some((name, picture)) = open(&path) {
                by_name.entry(name).or_default().push(picture);
            }
        }
    }
    if by_name.is_empty() {
        return Err(std::io::Error::other(format!(
            "no picture with a place in {}",
            folder.display()
        )));
    }
    Ok(by_name.into_iter().map(|(name, pictures)| layer(name, pictures)).collect())
}

fn layer(name: String, mut pictures: Vec<Picture>) -> Layer {
    pictures.sort_by_key(|picture| picture.time);
    let ranges = pictures.iter().filter_map(|picture| picture.time).map(|time| Range {
        first: time,
        last: time,
        period: Period::Days(1),
    });
    let finest = pictures.iter().map(|picture| picture.pixel.0).fold(f64::INFINITY, f64::min);
    // The coarsest grid that shows every pixel.
    let resolution = [
        ("16km", 0.140_625),
        ("2km", 0.017_578_125),
        ("1km", 0.008_789_062_5),
        ("500m", 0.004_394_531_25),
    ]
    .iter()
    .find(|(_, pixel)| *pixel <= finest * 1.001)
    .map_or("250m", |(name, _)| name);
    Layer {
        title: name.replace('_', " "),
        id: name,
        actual: None,
        format: Format::Jpeg,
        resolution,
        projections: Projection::ALL.to_vec(),
        domain: Domain::new(ranges.collect()),
        content: Content::Pictures(pictures),
    }
}

/// The name and the place of a picture; `None` for other files.
fn open(path: &Path) -> Option<(String, Picture)> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if !matches!(extension.as_str(), "jpg" | "jpeg" | "png" | "tif" | "tiff") {
        return None;
    }
    let (width, height) = image::image_dimensions(path).ok()?;
    let (corner, pixel) = match world_file(path) {
        Some(place) => place,
        None if width == 2 * height => {
            ((-180.0, 90.0), (360.0 / f64::from(width), 180.0 / f64::from(height)))
        }
        None => return None,
    };
    let stem = path.file_stem()?.to_string_lossy().replace(' ', "_");
    let dated = stem.rsplit_once('_').and_then(|(name, date)| Some((name, time::parse(date)?)));
    let (name, time) = dated.map_or((stem.clone(), None), |(name, time)| (name.into(), Some(time)));
    Some((name, Picture { time, path: path.into(), corner, pixel, raster: OnceLock::new() }))
}

/// The upper left corner and the size of a pixel by the six numbers beside a picture. The file has the
/// middle of the first pixel.
fn world_file(path: &Path) -> Option<((f64, f64), (f64, f64))> {
    let text = ["wld", "jgw", "pgw", "tfw"]
        .iter()
        .find_map(|extension| std::fs::read_to_string(path.with_extension(extension)).ok())?;
    let numbers: Vec<f64> =
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let &[dx, 0.0, 0.0, dy, x, y] = &numbers[..] else { return None };
    (dx > 0.0 && dy < 0.0).then_some(((x - dx / 2.0, y - dy / 2.0), (dx, -dy)))
}
