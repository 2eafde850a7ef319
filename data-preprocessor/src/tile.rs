//! `tile`: from scenes, or from any images, to tiles.

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Freshness, Input, Manifest};
use curator_core::mosaic::Scenes;
use curator_core::samples::Moments;
use curator_core::{Context, Error as CoreError, TileSet, atomic};
use serde::{Deserialize, Serialize};

use crate::shard::{self, Counts, Shards, Store};
use crate::windows::Edge;
use crate::{Error, Fill, Result, apart, contact, cut, intake};

/// What decides the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TileConfig {
    /// Columns of a tile in pixels.
    pub width: u32,
    /// Rows of a tile in pixels.
    pub height: u32,
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
    /// Tiles with less entropy, in bits, are dropped.
    pub min_entropy: f32,
    /// Levels of the pyramid.
    pub levels: u8,
    /// Whether places are stored instead of pixels.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// Whether clouds are measured also where pixels need not be looked at.
    pub describe: bool,
    /// Whether pictures that are no scenes are taken whole, whatever their size.
    pub whole: bool,
    /// What pictures are written as.
    pub store: Store,
    /// Megabytes of pictures in a shard, about. The usual ones are in no recipe.
    #[serde(default = "shard::usual_mb", skip_serializing_if = "shard::is_usual_mb")]
    pub shard_mb: u32,
    /// Decides what is random.
    pub seed: u64,
}

impl TileConfig {
    /// # Errors
    /// [`CoreError::Setting`] for what cannot be cut.
    fn check(&self, source: &Source) -> Result<()> {
        let refuse = |name: &'static str, found: String, expected: &str| {
            Err(CoreError::Setting { name, found, expected: expected.into() }.into())
        };
        let pixels = u64::from(self.width) * u64::from(self.height);
        if pixels == 0 || pixels > curator_core::raster::MAX_PIXELS {
            let found = format!("{}×{}", self.width, self.height);
            return refuse("`--size`", found, "1×1 to 16384×16384 pixels");
        }
        if !(0.0..1.0).contains(&self.overlap) {
            return refuse("`--overlap`", self.overlap.to_string(), "0 to below 1");
        }
        if !(1..=4000).contains(&self.shard_mb) {
            return refuse("`--shard-mb`", self.shard_mb.to_string(), "1 to 4000");
        }
        if self.levels == 0 {
            return refuse("`--levels`", "0".into(), "1 or more");
        }
        if let Source::Images(_) = source {
            if self.is_virtual {
                return refuse("`--virtual`", "given with images".into(), "it needs scenes");
            }
            if self.levels > 1 {
                return refuse("`--levels`", self.levels.to_string(), "a pyramid needs scenes");
            }
        }
        if self.is_virtual && self.store != Store::Records {
            return refuse("`--virtual`", "given with `--to folders`".into(), "one of the two");
        }
        Ok(())
    }
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
    /// Windows dropped for showing too little.
    pub dropped_entropy: u64,
    /// Pictures that could not be decoded.
    pub broken: u64,
    /// The tiles' directory.
    pub output: PathBuf,
}

impl Report {
    /// Of the counts of a run.
    pub(crate) fn of(counts: Counts, output: &Path, up_to_date: bool) -> Self {
        let Counts { tiles, dropped_gap, dropped_cloud, dropped_entropy, broken, .. } = counts;
        let output = output.into();
        Self { up_to_date, tiles, dropped_gap, dropped_cloud, dropped_entropy, broken, output }
    }
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
            (self.dropped_entropy, "dropped for showing too little"),
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
/// When an input cannot be read, two inputs have the same ids, the configuration cannot be used, the output
/// belongs to another one, nothing is left, and [`CoreError::Interrupted`].
pub fn run(
    config: &TileConfig,
    inputs: &[PathBuf],
    output: &Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    run_with_clouds(config, inputs, None, output, force, context)
}

/// As [`run`], with the probabilities of cloud that `composite` found in several days, by its directory. With
/// images that are no scenes they have no use.
///
/// # Errors
/// As [`run`], and when that directory cannot be read.
pub fn run_with_clouds(
    config: &TileConfig,
    inputs: &[PathBuf],
    clouds: Option<&Path>,
    output: &Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    let source = Source::open(inputs)?;
    config.check(&source)?;
    inputs.iter().map(PathBuf::as_path).chain(clouds).try_for_each(|i| apart::check(i, output))?;
    let masks = clouds.map(Scenes::open).transpose()?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let mut made_from = source.inputs(inputs);
    made_from.extend(masks.iter().map(|masks| masks.manifest().as_input(masks.root())));
    let mut made = match start(output, recipe, made_from, force)? {
        Start::UpToDate(counts) => return Ok(Report::of(counts, output, true)),
        Start::New(manifest) => manifest,
    };
    let mut shards = Shards::open_as(output, &made.digest(), config.store, config.shard_mb)?;
    let mut largest = None;
    match &source {
        Source::Scenes(scenes) => {
            let plans = cut::plan(config, scenes);
            largest = cut::largest(&plans);
            cut::run(config, output, &plans, masks.as_ref(), &mut shards, context)?;
        }
        Source::Images(sets) => intake::run(config, sets, &mut shards, context)?,
    }
    let counts = finish(&mut made, shards, output)?;
    if counts.tiles == 0 {
        return Err(Error::NothingLeft {
            windows: counts.windows,
            broken: counts.broken,
            size: (config.width, config.height),
            largest,
        });
    }
    Ok(Report::of(counts, output, false))
}

#[expect(clippy::large_enum_variant, reason = "there is one of it, for a moment")]
/// How a run begins.
pub(crate) enum Start {
    /// Nothing is to be done.
    UpToDate(Counts),
    /// The manifest that the run will write.
    New(Manifest),
}

/// Compares what is there with what is asked for, and removes it when that is forced.
pub(crate) fn start(
    output: &Path,
    recipe: serde_json::Value,
    inputs: Vec<Input>,
    force: bool,
) -> Result<Start> {
    match Manifest::freshness(output, manifest::TILES, &recipe, &inputs)? {
        Freshness::UpToDate => {
            if Shards::has_journal(output) {
                atomic::remove_leftovers(output)?;
                adorn(output)?;
            }
            let counts = Counts::of(&Manifest::open(output, manifest::TILES)?);
            return Ok(Start::UpToDate(counts));
        }
        Freshness::Other(difference) if !force => {
            return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
        }
        Freshness::Other(_) => shard::remove_outputs(output)?,
        Freshness::Absent => {}
    }
    let created_by = concat!("data-preprocessor ", env!("CARGO_PKG_VERSION"));
    let mut manifest = Manifest::new(manifest::TILES, created_by, recipe);
    manifest.inputs = inputs;
    // Hours of work may be in it: another command does not end it unasked.
    if !force && Shards::has_journal_of_other(output, &manifest.digest()) {
        let difference = "a run of another command, or from other inputs, is unfinished".into();
        return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
    }
    Ok(Start::New(manifest))
}

/// Writes what is left, the manifest and the contact sheet; nothing of them when there are no tiles.
pub(crate) fn finish(made: &mut Manifest, mut shards: Shards, output: &Path) -> Result<Counts> {
    shards.settle()?;
    let bands = std::mem::take(&mut shards.mark.moments);
    let (parts, counts) = shards.finish()?;
    if counts.tiles > 0 {
        made.parts = parts;
        made.bands = bands
            .into_iter()
            .map(|(bands, moments)| (bands, moments.iter().map(Moments::finish).collect()))
            .collect();
        counts.write(made);
        made.write(output)?;
        adorn(output)?;
    }
    Ok(counts)
}

/// Adds the contact sheet to a whole directory. While the journal is there, this is left to do.
fn adorn(output: &Path) -> Result<()> {
    contact::write(&TileSet::open(output)?, &output.join("contact.jpg"))?;
    Shards::forget_journal(output);
    Ok(())
}

/// Whether a directory holds scenes.
#[must_use]
pub fn holds_scenes(path: &Path) -> bool {
    Manifest::read(path).is_ok_and(|manifest| manifest.format == manifest::SCENES.name)
}

enum Source {
    Scenes(Vec<Scenes>),
    Images(Vec<TileSet>),
}

impl Source {
    fn open(inputs: &[PathBuf]) -> Result<Self> {
        let scenes = inputs.iter().filter(|path| holds_scenes(path)).count();
        if scenes == 0 {
            let sets = inputs.iter().map(|path| TileSet::open(path));
            return Ok(Self::Images(sets.collect::<curator_core::Result<_>>()?));
        }
        if scenes < inputs.len() {
            return Err(CoreError::Setting {
                name: "INPUT",
                found: "scenes and images together".into(),
                expected: "only scenes, or only images".into(),
            }
            .into());
        }
        let opened: Vec<Scenes> =
            inputs.iter().map(|path| Scenes::open(path)).collect::<curator_core::Result<_>>()?;
        for (at, scenes) in opened.iter().enumerate() {
            let twice = |scene: &&curator_core::mosaic::Scene| {
                opened[..at].iter().any(|earlier| earlier.find(&scene.key).is_some())
            };
            if let Some(scene) = scenes.all().iter().find(twice) {
                let ((x, y, ..), (width, height)) = (scene.extent(), scene.matrix.tile);
                return Err(Error::SameId { id: scene.key.tile_id((x, y, width, height)) });
            }
        }
        Ok(Self::Scenes(opened))
    }

    fn inputs(&self, paths: &[PathBuf]) -> Vec<Input> {
        match self {
            Self::Scenes(scenes) => {
                scenes.iter().zip(paths).map(|(s, path)| s.manifest().as_input(path)).collect()
            }
            Self::Images(sets) => sets.iter().map(TileSet::input).collect(),
        }
    }
}
