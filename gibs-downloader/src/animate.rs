//! `animate`: one place over its dates, as a movie.

use std::path::PathBuf;

use curator_core::context::Unit;
use curator_core::mosaic::Scenes;
use curator_core::{Context, Error as CoreError, Raster};
use serde::Serialize;

use crate::choice::{Chosen, ending};
use crate::error::{Error, Result};
use crate::mosaic::rect;
use crate::movie::{Container, Look, Movie};
use crate::place::{Area, Rect};
use crate::plane::Plane;
use crate::product::Product;
use crate::recipe::Recipe;
use crate::stamp::stamp;
use crate::whole_file;

/// Longer side of a movie when nothing is said.
const USUAL_SIDE: u32 = 1280;

/// Samples that are read at a time: 64 MB of pixels.
const AT_A_TIME: u64 = 1 << 24;

/// The size of a movie: it fits into this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Columns at most.
    pub width: u32,
    /// Rows at most.
    pub height: u32,
}

impl std::str::FromStr for Size {
    type Err = String;

    /// Parses `1280`, the longer side, or `1280x720`.
    fn from_str(text: &str) -> Result<Self, String> {
        let side =
            |text: &str| text.trim().parse().ok().filter(|side| (16..=16_383).contains(side));
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err("give pixels, from 16 to 16383: 1280 for the longer side, or 1280x720".into()),
        }
    }
}

/// A run of `animate`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// From which scenes, one layer in one level, and where to.
    pub product: Product,
    /// What to write; by the output's ending when `None`.
    pub container: Option<Container>,
    /// The box that frames fit into; 1280 pixels, and never enlarged, when `None`.
    pub size: Option<Size>,
    /// Frames a second.
    pub frames_a_second: f64,
    /// Quality, 1 to 100; of GIF it says nothing.
    pub quality: u8,
    /// Whether frames have their date on them.
    pub stamp: bool,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Frames in it.
    pub frames: usize,
    /// Columns of pixels.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
    /// How long it takes.
    pub seconds: f64,
    /// Time of the first frame.
    pub first: String,
    /// Time of the last.
    pub last: String,
    /// Size of the file.
    pub bytes: u64,
    /// Native tiles that could not be read and are missing in the frames.
    pub broken: u64,
    /// It was there already.
    pub up_to_date: bool,
}

/// Writes a movie; a file of the same settings and scenes is left alone.
///
/// # Errors
/// When the scenes are of several layers, nothing of them lies in the area, or the file cannot be written.
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let product = &config.product;
    let scenes = Scenes::open(&product.scenes)?;
    let chosen = product.choice.of(&scenes)?;
    one_layer(&chosen)?;
    let container = container(config)?;
    let area = whole(&scenes, &chosen, &product.area, context)?;
    let size = frame_size(&area, config.size, container);
    let look = Look {
        width: size.0,
        height: size.1,
        frames: chosen.len(),
        frames_a_second: config.frames_a_second,
        quality: config.quality,
    };
    let digests: Vec<&str> = chosen.iter().map(|one| &*one.digest).collect();
    let settings =
        serde_json::json!([container, area, size, look.frame_time(), config.quality, config.stamp]);
    let recipe = Recipe::new("animate", &settings, &digests);
    let path = &product.output;
    let up_to_date = recipe.made(path, product.force)?;
    let mut broken = 0;
    if !up_to_date {
        let task = context.progress.begin("animate", Some(chosen.len() as u64), Unit::Items);
        whole_file::write(path, |file| {
            let mut movie = Movie::begin(container, path, file, look, &recipe)?;
            for one in &chosen {
                context.check()?;
                let plane = Plane::open(&scenes, one.scene, context)?;
                let mut frame = reduced(&plane, &area, size)?;
                broken += plane.broken();
                if config.stamp && !one.scene.key.time.is_empty() {
                    stamp(&mut frame, &date(&one.scene.key.time));
                }
                movie.add(&frame)?;
                task.advance(1);
            }
            movie.finish()
        })?;
    }
    let time = |one: Option<&Chosen<'_>>| one.map(|c| c.scene.key.time.clone()).unwrap_or_default();
    Ok(Report {
        path: path.clone(),
        frames: look.frames,
        width: size.0,
        height: size.1,
        seconds: f64::from(look.frame_time()) * look.frames as f64 / 1000.0,
        first: time(chosen.first()),
        last: time(chosen.last()),
        bytes: std::fs::metadata(path).map_err(CoreError::io("read", path))?.len(),
        broken,
        up_to_date,
    })
}

fn one_layer(chosen: &[Chosen<'_>]) -> Result<()> {
    let mut kinds: Vec<String> = chosen
        .iter()
        .map(|one| {
            let key = &one.scene.key;
            format!("--layer {} --level {}", key.layer, key.level)
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    if kinds.len() > 1 { Err(Error::SeveralLayers { kinds }) } else { Ok(()) }
}

fn container(config: &Config) -> Result<Container> {
    let named = ending(&config.product.output).and_then(|ending| match ending.as_str() {
        "mp4" | "m4v" => Some(Container::Mp4),
        "gif" => Some(Container::Gif),
        "webp" => Some(Container::Webp),
        _ => None,
    });
    config.container.or(named).ok_or_else(|| {
        CoreError::Setting {
            name: "output",
            found: format!("`{}`", config.product.output.display()),
            expected: "a name that ends in .mp4, .gif or .webp; or give `--format`".into(),
        }
        .into()
    })
}

/// The rectangle that all frames show: what any scene has of the area.
fn whole(scenes: &Scenes, chosen: &[Chosen<'_>], area: &Area, context: &Context) -> Result<Rect> {
    let mut all: Option<Rect> = None;
    for one in chosen {
        let plane = Plane::open(scenes, one.scene, context)?;
        let Some(rect) = rect(area, one, &plane) else { continue };
        all = Some(all.map_or(rect, |all| all.around(&rect)));
        if !matches!(area, Area::Fetched) {
            break;
        }
    }
    all.ok_or_else(|| Error::NothingInArea { path: scenes.root().into() })
}

/// The largest size with the area's shape that fits; even, which H.264 wants.
fn frame_size(area: &Rect, wanted: Option<Size>, container: Container) -> (u32, u32) {
    let (width, height) = (f64::from(area.width), f64::from(area.height));
    let usual = Size { width: USUAL_SIDE, height: USUAL_SIDE };
    let Size { width: most_width, height: most_height } = wanted.unwrap_or(usual);
    let (long, short) = container.largest();
    let (across, down) = if width >= height { (long, short) } else { (short, long) };
    let fit = |most: u32, largest: u32, side: f64| f64::from(most.min(largest)) / side;
    let mut scale = fit(most_width, across, width).min(fit(most_height, down, height));
    if wanted.is_none() {
        scale = scale.min(1.0);
    }
    let even = |side: f64| (((side * scale / 2.0).round() as u32) * 2).max(2);
    (even(width).min(across & !1), even(height).min(down & !1))
}

/// A part of a scene at a size, transparent pixels black. It is averaged over whole numbers of pixels while it
/// is read, and resized the rest of the way: in memory are 64 MB of pixels and, at most, four times the
/// size of the frame.
fn reduced(plane: &Plane<'_>, area: &Rect, (width, height): (u32, u32)) -> Result<Raster> {
    let step = (area.width / width).min(area.height / height).max(1);
    let (columns, rows) = (area.width.div_ceil(step), area.height.div_ceil(step));
    let mut data = Vec::with_capacity((columns * rows * 3) as usize);
    let at_a_time = (AT_A_TIME / u64::from(area.width)).clamp(1, 4096) as u32;
    let at_a_time = (at_a_time / step).max(1) * step;
    for y in (0..area.height).step_by(at_a_time as usize) {
        let part =
            Rect { y: area.y + u64::from(y), height: at_a_time.min(area.height - y), ..*area };
        let piece = plane.window(&part);
        average(&piece.data, piece.width, plane.bands, step as usize, &mut data);
    }
    Ok(Raster { width: columns, height: rows, bands: 3, data }.resize(width, height)?)
}

/// Means of `step × step` pixels, fewer at the edges, in red, green and blue.
fn average(pixels: &[u8], width: usize, bands: usize, step: usize, to: &mut Vec<u8>) {
    let height = pixels.len() / (width * bands);
    let columns = width.div_ceil(step);
    let mut sums = vec![[0_u64; 3]; columns];
    for top in (0..height).step_by(step) {
        let bottom = (top + step).min(height);
        sums.fill([0; 3]);
        for row in pixels[top * width * bands..bottom * width * bands].chunks_exact(width * bands) {
            for (x, pixel) in row.chunks_exact(bands).enumerate() {
                let opacity = if bands == 4 { u64::from(pixel[3]) } else { 255 };
                let sum = &mut sums[x / step];
                (0..3).for_each(|band| sum[band] += u64::from(pixel[band]) * opacity);
            }
        }
        for (x, sum) in sums.iter().enumerate() {
            let count = ((step.min(width - x * step)) * (bottom - top)) as u64 * 255;
            to.extend(sum.map(|sum| ((sum + count / 2) / count) as u8));
        }
    }
}

/// A time as it is stamped: `2020-09-12`, or `2020-09-12 10:00 UTC`.
fn date(time: &str) -> String {
    match time.split_once('T') {
        Some((day, clock)) => format!("{day} {} UTC", clock.get(..5).unwrap_or(clock)),
        None => time.into(),
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        if self.up_to_date {
            return write!(f, "`{path}` is up to date");
        }
        write!(
            f,
            "`{path}`: {} frames of {}×{} pixels, {} to {}, {:.1} s, {:.1} MB",
            self.frames,
            self.width,
            self.height,
            self.first,
            self.last,
            self.seconds,
            self.bytes as f64 / 1e6
        )?;
        if self.broken > 0 {
            write!(f, "\n{} native tiles could not be read and are missing", self.broken)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_shape_and_fit() {
        let area = |width, height| Rect { x: 0, y: 0, width, height };
        let size = |text: &str| Some(text.parse::<Size>().unwrap());
        let of = |w, h, wanted, kind| frame_size(&area(w, h), wanted, kind);
        assert_eq!(of(4000, 2000, None, Container::Mp4), (1280, 640));
        assert_eq!(of(300, 200, None, Container::Mp4), (300, 200));
        assert_eq!(of(300, 200, size("900"), Container::Gif), (900, 600));
        assert_eq!(of(4000, 2000, size("1280x500"), Container::Gif), (1000, 500));
        assert_eq!(of(9000, 9000, size("9000"), Container::Mp4), (2160, 2160));
        assert_eq!(of(100_000, 10, None, Container::Mp4), (1280, 2));
        assert!("0".parse::<Size>().is_err() && "12x".parse::<Size>().is_err());
    }

    #[test]
    fn blocks_are_averaged_and_what_is_transparent_is_black() {
        let mut to = Vec::new();
        let rgb = [[10, 0, 0], [30, 0, 0], [50, 9, 9], [20, 0, 0], [40, 0, 0], [70, 9, 9]];
        average(&rgb.concat(), 3, 3, 2, &mut to);
        assert_eq!(to, [25, 0, 0, 60, 9, 9]);
        to.clear();
        average(&[200, 100, 0, 255, 200, 100, 0, 0], 2, 4, 2, &mut to);
        assert_eq!(to, [100, 50, 0]);
    }

    #[test]
    fn dates_are_short() {
        assert_eq!(date("2020-09-12"), "2020-09-12");
        assert_eq!(date("2020-09-12T10:00:00Z"), "2020-09-12 10:00 UTC");
    }
}
