//! The windows of one plane, a row of them at a time.

use curator_core::samples::Moments;
use curator_core::{Context, Location, Tile, picture, seed};
use rayon::prelude::*;

use super::plan::{Kin, Plan};
use crate::cloud_masks::Clouds;
use crate::dates::Dates;
use crate::dropped::Reason;
use crate::shard::Shards;
use crate::sight::{self, Sight, View};
use crate::survey::Survey;
use crate::tile::TileConfig;
use crate::windows::Span;
use crate::{Fill, Result, cloud, entropy, grey};

/// Rows of a window of which the bands are measured: every so many.
const MEASURED: usize = 16;

/// What became of the windows of a row, in order, and how many pictures could not be decoded for them.
pub(super) struct Band {
    cuts: Vec<Result<Cut>>,
    broken: u64,
}

impl Band {
    /// Puts them where they belong.
    pub(super) fn write(self, shards: &mut Shards) -> Result<()> {
        shards.mark.counts.windows += self.cuts.len() as u64;
        shards.mark.counts.broken += self.broken;
        for cut in self.cuts {
            match cut? {
                Cut::Stored(tile, picture, moments) => {
                    moments.iter().for_each(|moments| shards.measure(moments));
                    shards.push(tile, &picture)?;
                }
                Cut::Window(tile) => shards.push_row(tile),
                Cut::Dropped(tile_id, reason) => shards.drop(tile_id, reason),
            }
        }
        shards.end_band()
    }
}

/// What became of a window.
enum Cut {
    /// A picture.
    Stored(Tile, Vec<u8>, Option<Vec<Moments>>),
    /// A place.
    Window(Tile),
    Dropped(String, Reason),
}

/// Cuts the windows of one plane.
pub(super) struct Cutter<'a> {
    pub(super) config: &'a TileConfig,
    pub(super) plan: &'a Plan<'a>,
    pub(super) number: u32,
    pub(super) survey: Survey,
    pub(super) dates: Option<Dates>,
    pub(super) clouds: Option<Clouds>,
    pub(super) columns: Kin,
    pub(super) rows: Kin,
    pub(super) variant: String,
    pub(super) plans: &'a [Plan<'a>],
}

impl Cutter<'_> {
    /// One row of the windows of a strip.
    pub(super) fn band(
        &mut self,
        strip: std::ops::Range<usize>,
        row: usize,
        context: &Context,
    ) -> Band {
        let width = self.plan.scene.matrix.tile.0;
        let Span { start: top, length } = self.plan.rows[row];
        if !self.config.looks_at_all() && strip.clone().any(|column| self.stays(column, row)) {
            let columns = &self.plan.columns[strip.clone()];
            let right = columns.iter().map(|span| span.start + span.length).max().unwrap_or(0);
            self.survey.clear(top..top + length, columns[0].start..right);
        }
        let mut wanted = std::collections::BTreeSet::new();
        let looked_at: Vec<bool> = strip
            .clone()
            .map(|column| {
                let (x, _, w, _) = self.window(column, row);
                let look = !self.is_untouched(column, row);
                if look {
                    wanted.extend(x / width..(x + w).div_ceil(width));
                }
                look
            })
            .collect();
        if !wanted.is_empty() {
            let wanted = |column: u32| wanted.contains(&column);
            self.survey.load_some(top, top + length, &wanted, context);
            if let Some(clouds) = &mut self.clouds {
                clouds.load_some(top, top + length, &wanted, context);
            }
        }
        let windows = strip.into_par_iter().zip(looked_at);
        let cuts = windows.map(|(column, look)| self.cut(column, row, look)).collect();
        let broken =
            self.clouds.as_mut().map_or(0, Clouds::take_broken) + self.survey.take_broken();
        Band { cuts, broken }
    }

    fn window(&self, column: usize, row: usize) -> (u32, u32, u32, u32) {
        let (columns, rows) = (self.plan.columns[column], self.plan.rows[row]);
        (columns.start, rows.start, columns.length, rows.length)
    }

    /// Whether a window is not encoded anew unless it has a gap.
    fn stays(&self, column: usize, row: usize) -> bool {
        self.config.is_virtual || self.survey.native_at(self.window(column, row)).is_some()
    }

    /// Whether a window needs no look at its pixels: it has no gap, nothing is to be measured, and nothing is
    /// to be encoded.
    fn is_untouched(&self, column: usize, row: usize) -> bool {
        let (x, y, width, height) = self.window(column, row);
        if self.config.looks_at_all() || !self.stays(column, row) {
            return false;
        }
        let tile = self.plan.scene.matrix.tile;
        let mut rows = y / tile.1..(y + height).div_ceil(tile.1);
        rows.all(|row| {
            let mut columns = x / tile.0..(x + width).div_ceil(tile.0);
            columns.all(|column| self.survey.is_clear(row, column))
        })
    }

    fn cut(&self, column: usize, row: usize, look: bool) -> Result<Cut> {
        let at = self.window(column, row);
        let config = self.config;
        let mut tile = self.describe(column, row);
        if look {
            if let Some(reason) = self.judge(at, &mut tile) {
                return Ok(Cut::Dropped(tile.tile_id, reason));
            }
        } else {
            tile.gap_fraction = Some(0.0);
        }
        // What needs no repair stays what it is; what its gaps are is told in any case.
        let mut view = (tile.gap_fraction != Some(0.0)).then(|| self.survey.view(at));
        if let Some(view) = &view {
            let mask: Vec<u8> = view.gaps().iter().map(|&gap| if gap { 255 } else { 0 }).collect();
            tile.gap_mask = Some(grey::plain(&mask, (view.image.width, view.image.height))?);
        }
        let whole = config.fill == Fill::None || view.is_none();
        if whole && config.is_virtual {
            return Ok(Cut::Window(tile));
        }
        if let Some(native) = self.survey.native_at(at).filter(|_| whole) {
            return Ok(Cut::Stored(tile, self.survey.natives().bytes(native)?, None));
        }
        if let Some(view) = view.as_mut().filter(|_| !whole) {
            self.repair(view, at);
        }
        let image = view.map_or_else(|| self.survey.image(at), |view| view.image);
        tile.variant.clone_from(&self.variant);
        let lossless = self.survey.natives().lossless();
        if lossless {
            // JPEG changes the pixels: whoever decodes them first will know them.
            tile.content_id = image.content_id();
        }
        let moments = image.every_nth_row(MEASURED).moments(None);
        Ok(Cut::Stored(tile, picture::encode(&image, lossless)?, Some(moments)))
    }

    /// Notes how much of a window is gap and cloud, or says why it is left out.
    fn judge(&self, at: (u32, u32, u32, u32), tile: &mut Tile) -> Option<Reason> {
        let config = self.config;
        let census = self.survey.census(at);
        // Night is no gap, and no picture either.
        let unseen = (census.gap + census.night) as f32 / census.pixels as f32;
        if unseen > config.max_gap {
            return Some(Reason::Gap(unseen));
        }
        tile.gap_fraction = Some(census.gap as f32 / census.pixels as f32);
        let snow = sight::may_have_snow(&self.plan.scene, at);
        let seen = census.pixels - census.gap - census.night;
        let mut clouds = census.clouds.finish(seen, snow);
        if self.clouds.is_some() || config.min_entropy > 0.0 {
            let view = self.survey.view(at);
            let unseen: Vec<bool> = view.sight.iter().map(|&sight| sight != Sight::Seen).collect();
            if let Some(known) = &self.clouds {
                clouds = cloud::known_days(&view.image.data, &unseen, snow, &known.view(at));
            }
            if config.min_entropy > 0.0 && clouds.fraction <= config.max_cloud {
                let bits = entropy::bits(&view.image, &unseen);
                if bits < config.min_entropy {
                    return Some(Reason::Entropy(bits));
                }
            }
        }
        if clouds.fraction > config.max_cloud {
            return Some(Reason::Cloud(clouds.fraction));
        }
        tile.cloud_fraction = Some(clouds.fraction);
        tile.cloud_confidence = Some(clouds.confidence);
        None
    }

    fn repair(&self, view: &mut View, at: (u32, u32, u32, u32)) {
        let (x, y, ..) = at;
        let level = u64::from(self.plan.scene.key.level);
        let item = seed::mix(self.config.seed, &[u64::from(x), u64::from(y), level]);
        let mut gap = view.gaps();
        if let Some(dates) = &self.dates {
            dates.fill(view, &mut gap, at);
        }
        self.config.fill.apply(&mut view.image, &gap, item);
    }

    /// What is known of a window without its pixels.
    fn describe(&self, column: usize, row: usize) -> Tile {
        let at @ (x, y, width, height) = self.window(column, row);
        let scene = &self.plan.scene;
        let time = &scene.key.time;
        let beside = |plan: Option<usize>, columns: &[Span], rows: &[Span]| -> Vec<String> {
            let Some(plan) = plan else { return Vec::new() };
            let key = &self.plans[plan].scene.key;
            let each = rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c)));
            each.map(|(r, c)| key.tile_id((c.start, r.start, c.length, r.length))).collect()
        };
        let parent = beside(
            self.plan.above,
            self.columns.parent[column].as_slice(),
            self.rows.parent[row].as_slice(),
        );
        let children =
            beside(self.plan.below, &self.columns.children[column], &self.rows.children[row]);
        Tile {
            location: Location::Window { scene: self.number, x, y, width, height },
            layer: Some(scene.key.layer.clone()),
            time: (!time.is_empty()).then(|| time.clone()),
            resolution: Some(scene.key.matrix_set.clone()),
            bbox: Some(scene.bbox(at)),
            width,
            height,
            parent: parent.into_iter().next(),
            children,
            ..Tile::of_file(scene.key.tile_id(at), None)
        }
    }
}
