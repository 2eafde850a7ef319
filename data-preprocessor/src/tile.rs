//! `tile`: from scenes, or from a folder of images, to tiles.

use std::path::PathBuf;

use curator_core::context::Unit;
use curator_core::manifest::{self, Freshness, Input, Manifest};
use curator_core::mosaic::{Scene, Scenes};
use curator_core::{Context, Raster, Tile, TileSet, digest, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dates::Dates;
use crate::shard::{Counts, Shards};
use crate::sight::{self, Sight};
use crate::survey::Survey;
use crate::{Error, Fill, Result, cloud, companion, contact};

/// Quality of re-encoded JPEG: differences stay below the noise of the sensor.
const QUALITY: u8 = 95;
/// Files of a plain folder that are read at a time.
const BLOCK: usize = 256;

/// What to do where the windows do not fit the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// Move the last window inward, so that it overlaps its neighbour more.
    Shift,
    /// Keep a smaller tile.
    Keep,
    /// Leave the rest out.
    Drop,
}

impl std::str::FromStr for Edge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "shift" => Ok(Self::Shift),
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err("use shift, keep or drop".into()),
        }
    }
}

/// What decides the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TileConfig {
    /// Width and height of a tile in pixels.
    pub size: u32,
    /// Share of a tile that its neighbour repeats, 0 to below 1.
    pub overlap: f64,
    /// What to do at the edges.
    pub edge: Edge,
    /// How gaps are filled.
    pub fill: Fill,
    /// Tiles with more gap are dropped.
    pub max_gap: f32,
    /// Tiles with more cloud are dropped.
    pub max_cloud: f32,
    /// Decides what is random.
    pub seed: u64,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the tiles were there already.
    pub up_to_date: bool,
    /// Tiles written.
    pub tiles: u64,
    /// Windows dropped for too much gap.
    pub dropped_gap: u64,
    /// Windows dropped for too much cloud.
    pub dropped_cloud: u64,
    /// Pictures that could not be decoded.
    pub broken: u64,
    /// The tiles' directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        write!(f, "{} tiles → `{output}`", self.tiles)?;
        for (count, why) in [
            (self.dropped_gap, "dropped for gaps"),
            (self.dropped_cloud, "dropped for clouds"),
            (self.broken, "unreadable pictures"),
        ] {
            if count > 0 {
                write!(f, ", {count} {why}")?;
            }
        }
        Ok(())
    }
}

/// Cuts tiles, or continues a run that was killed.
///
/// # Errors
/// When the input cannot be read, the output belongs to another configuration, nothing is left, and
/// [`curator_core::Error::Interrupted`].
pub fn run(
    config: &TileConfig,
    input: &std::path::Path,
    output: &std::path::Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    let source = Source::open(input)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let inputs = vec![source.input(input)];
    match Manifest::freshness(output, manifest::TILES, &recipe, &inputs)? {
        Freshness::UpToDate => {
            let counts = Manifest::open(output, manifest::TILES)?.counts;
            let count = |name: &str| counts.get(name).copied().unwrap_or(0);
            let counts = Counts {
                windows: count("windows"),
                tiles: count("tiles"),
                dropped_gap: count("dropped_gap"),
                dropped_cloud: count("dropped_cloud"),
                broken: count("broken"),
            };
            return Ok(report(counts, output, true));
        }
        Freshness::Other(difference) if !force => {
            return Err(curator_core::Error::OtherConfig { path: output.into(), difference }.into());
        }
        Freshness::Other(_) => Manifest::remove_outputs(output)?,
        Freshness::Absent => {}
    }
    let mut made = Manifest::new(
        manifest::TILES,
        concat!("data-preprocessor ", env!("CARGO_PKG_VERSION")),
        recipe,
    );
    made.inputs = inputs;
    let mut shards = Shards::open(output, &made.digest())?;
    match &source {
        Source::Scenes(scenes) => cut_scenes(config, scenes, &mut shards, context)?,
        Source::Folder(tiles) => take_folder(config, tiles, &mut shards, context)?,
    }
    let (parts, counts) = shards.finish()?;
    if counts.tiles == 0 {
        return Err(Error::NothingLeft { windows: counts.windows });
    }
    made.parts = parts;
    for (name, count) in [
        ("windows", counts.windows),
        ("tiles", counts.tiles),
        ("dropped_gap", counts.dropped_gap),
        ("dropped_cloud", counts.dropped_cloud),
        ("broken", counts.broken),
    ] {
        made.counts.insert(name.into(), count);
    }
    made.write(output)?;
    Shards::forget_journal(output);
    contact::write(&TileSet::open(output)?, &output.join("contact.jpg"))?;
    Ok(report(counts, output, false))
}

fn report(counts: Counts, output: &std::path::Path, up_to_date: bool) -> Report {
    let Counts { tiles, dropped_gap, dropped_cloud, broken, .. } = counts;
    Report { up_to_date, tiles, dropped_gap, dropped_cloud, broken, output: output.into() }
}

enum Source {
    Scenes(Box<Scenes>),
    Folder(Box<TileSet>),
}

impl Source {
    fn open(input: &std::path::Path) -> Result<Self> {
        if Manifest::exists(input) && Manifest::read(input)?.format == manifest::SCENES.name {
            return Ok(Self::Scenes(Box::new(Scenes::open(input)?)));
        }
        Ok(Self::Folder(Box::new(TileSet::open(input)?)))
    }

    fn input(&self, path: &std::path::Path) -> Input {
        match self {
            Self::Scenes(scenes) => scenes.manifest().as_input(path),
            Self::Folder(tiles) => tiles.input(),
        }
    }
}

/// Starts of the windows along one axis, and their lengths.
fn windows(from: u32, to: u32, size: u32, stride: u32, edge: Edge) -> Vec<(u32, u32)> {
    // Windows stand on multiples of the stride, so that neighbouring regions share their tiles.
    let first = from.div_ceil(stride) * stride;
    let mut starts: Vec<(u32, u32)> = (first..to)
        .step_by(stride as usize)
        .filter(|start| start + size <= to)
        .map(|s| (s, size))
        .collect();
    let covered = starts.last().map_or(first, |(start, size)| start + size);
    if covered < to {
        match edge {
            Edge::Drop => {}
            Edge::Shift if to - from >= size => starts.push((to - size, size)),
            Edge::Shift | Edge::Keep => {
                let start = starts.last().map_or(first, |(start, _)| start + stride);
                if start < to {
                    starts.push((start, to - start));
                }
            }
        }
    }
    starts
}

fn cut_scenes(
    config: &TileConfig,
    scenes: &Scenes,
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    let stride = ((f64::from(config.size) * (1.0 - config.overlap)).round() as u32).max(1);
    // Masks alone are cut as if they were pictures: there is nothing else to cut.
    let pictures: Vec<&Scene> = match companion::pictures(scenes).collect::<Vec<_>>() {
        none if none.is_empty() => scenes.all().iter().collect(),
        pictures => pictures,
    };
    let plans: Vec<_> = pictures
        .into_iter()
        .map(|scene| {
            let (left, top, right, bottom) = scene.extent();
            let columns = windows(left, right, config.size, stride, config.edge);
            (scene, columns, windows(top, bottom, config.size, stride, config.edge))
        })
        .collect();
    let total = plans.iter().map(|plan| (plan.1.len() * plan.2.len()) as u64).sum();
    let task = context.progress.begin("tile", Some(total), Unit::Items);
    task.advance(shards.mark.counts.windows);
    let mut band = 0;
    let done = shards.mark.bands;
    let variant = digest::of_json(&serde_json::json!({ "fill": config.fill, "seed": config.seed }));
    for (scene, columns, rows) in plans {
        if band + rows.len() as u64 <= done {
            band += rows.len() as u64;
            continue;
        }
        let mut survey = Survey::open(scenes, scene)?;
        let dates = match config.fill {
            Fill::Temporal => Some(Dates::of(scenes, scene)?),
            _ => None,
        };
        for (y, height) in rows {
            band += 1;
            if band <= done {
                continue;
            }
            context.check()?;
            survey.load_rows(y, y + height, context);
            let cutter = Cutter { config, survey: &survey, dates: dates.as_ref() };
            let cut: Vec<_> = columns
                .par_iter()
                .map(|&(x, width)| cutter.cut((x, y, width, height), &variant[..16]))
                .collect();
            let counts = &mut shards.mark.counts;
            counts.windows += columns.len() as u64;
            counts.broken += survey.take_broken();
            for cut in cut {
                match cut? {
                    Cut::Tile(tile, picture) => shards.push(*tile, &picture),
                    Cut::Gap => shards.mark.counts.dropped_gap += 1,
                    Cut::Cloud => shards.mark.counts.dropped_cloud += 1,
                }
            }
            shards.end_band()?;
            task.advance(columns.len() as u64);
        }
    }
    Ok(())
}

/// What became of a window.
enum Cut {
    Tile(Box<Tile>, Vec<u8>),
    Gap,
    Cloud,
}

/// What a window is cut from.
struct Cutter<'a> {
    config: &'a TileConfig,
    survey: &'a Survey,
    dates: Option<&'a Dates>,
}

impl Cutter<'_> {
    fn cut(&self, at: (u32, u32, u32, u32), variant: &str) -> Result<Cut> {
        let (config, scene) = (self.config, self.survey.scene());
        let (x, y, width, height) = at;
        let mut view = self.survey.view(at);
        let pixels = view.sight.len() as f32;
        let gaps = view.count(Sight::Gap);
        // Night is no gap, and no picture either.
        if (gaps + view.count(Sight::Night)) as f32 / pixels > config.max_gap {
            return Ok(Cut::Gap);
        }
        let mut gap = view.gaps();
        let unseen: Vec<bool> = view.sight.iter().map(|&sight| sight != Sight::Seen).collect();
        let snow = sight::may_have_snow(scene, at);
        let clouds = cloud::single_day(&view.image.data, &unseen, snow);
        if clouds.fraction > config.max_cloud {
            return Ok(Cut::Cloud);
        }
        let tile_id = scene.key.tile_id(at);
        let native = self.survey.native_at(at).filter(|_| gaps == 0);
        let (picture, variant) = match native {
            // Nothing to repair and nothing to cut: the served bytes.
            Some(native) => (self.survey.natives().bytes(native)?, String::new()),
            None => {
                let level = u64::from(scene.key.level);
                let item = seed::mix(config.seed, &[u64::from(x), u64::from(y), level]);
                if let Some(dates) = self.dates {
                    dates.fill(&mut view, &mut gap, at);
                }
                config.fill.apply(&mut view.image, &gap, item);
                (view.image.to_jpeg(QUALITY)?, variant.to_string())
            }
        };
        let content_id = content_id(&Raster::decode(&tile_id, &picture)?);
        let time = &scene.key.time;
        let tile = Tile {
            variant,
            content_id,
            layer: Some(scene.key.layer.clone()),
            time: (!time.is_empty()).then(|| time.clone()),
            resolution: Some(scene.key.matrix_set.clone()),
            bbox: Some(scene.bbox(at)),
            width,
            height,
            cloud_fraction: Some(clouds.fraction),
            gap_fraction: Some(gaps as f32 / pixels),
            ..Tile::of_file(tile_id, None)
        };
        Ok(Cut::Tile(Box::new(tile), picture))
    }
}

/// SHA-256 of size and samples: equal pictures have equal ids whatever they are called.
fn content_id(image: &Raster) -> String {
    let mut bytes: Vec<u8> =
        [image.width, image.height, image.bands].iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes.extend_from_slice(&image.data);
    digest::of_bytes(&bytes)
}

/// A plain folder: every picture is a tile, byte for byte; class folders are kept.
fn take_folder(
    config: &TileConfig,
    tiles: &TileSet,
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    let task = context.progress.begin("tile", Some(tiles.len() as u64), Unit::Items);
    let mut rows = tiles.rows();
    let done = shards.mark.bands;
    for band in 0..tiles.len().div_ceil(BLOCK) as u64 {
        context.check()?;
        let block: Vec<Tile> = rows.by_ref().take(BLOCK).collect::<curator_core::Result<_>>()?;
        task.advance(block.len() as u64);
        if band < done {
            continue;
        }
        let read: Vec<_> = block
            .into_par_iter()
            .map(|tile| {
                let bytes = tiles.encoded(&tile.location)?;
                let image = Raster::decode(&tile.tile_id, &bytes)?;
                let seen = vec![false; image.width as usize * image.height as usize];
                let cloud = cloud::single_day(&image.data, &seen, false).fraction;
                let content_id = content_id(&image);
                let (width, height) = (image.width, image.height);
                Ok((Tile { content_id, width, height, cloud_fraction: Some(cloud), ..tile }, bytes))
            })
            .collect();
        for result in read {
            shards.mark.counts.windows += 1;
            match result {
                Ok((tile, _)) if tile.cloud_fraction.is_some_and(|c| c > config.max_cloud) => {
                    shards.mark.counts.dropped_cloud += 1;
                }
                Ok((tile, bytes)) => shards.push(tile, &bytes),
                Err(error) => {
                    let error: curator_core::Error = error;
                    context.progress.warn(&format!("skipped: {error}"));
                    shards.mark.counts.broken += 1;
                }
            }
        }
        shards.end_band()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stand_on_a_stable_grid_and_follow_the_edge_policy() {
        assert_eq!(windows(0, 128, 64, 64, Edge::Drop), [(0, 64), (64, 64)]);
        assert_eq!(windows(512, 700, 64, 64, Edge::Drop), [(512, 64), (576, 64)]);
        assert_eq!(windows(512, 700, 64, 64, Edge::Shift).last(), Some(&(636, 64)));
        assert_eq!(windows(512, 700, 64, 64, Edge::Keep).last(), Some(&(640, 60)));
        assert_eq!(windows(0, 128, 64, 32, Edge::Drop), [(0, 64), (32, 64), (64, 64)]);
        assert_eq!(windows(0, 40, 64, 64, Edge::Drop), []);
        assert_eq!(windows(0, 40, 64, 64, Edge::Keep), [(0, 40)]);
    }
}
