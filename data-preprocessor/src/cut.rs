//! Scenes into tiles: every plane, strip by strip of columns, band by band of windows.
//!
//! A window that needs nothing done is not decoded: a native tile is passed through byte for byte, and with
//! `--virtual` only its place is written. What has gaps is repaired and stored as a picture in any case,
//! since a repair may cost more than all else and may need other days.

use std::path::Path;

use curator_core::context::Unit;
use curator_core::mosaic::{Scene, Scenes};
use curator_core::planes::{self, PlaneRef};
use curator_core::{Context, Location, Tile, digest, picture, seed};
use rayon::prelude::*;

use crate::dates::Dates;
use crate::dropped::Reason;
use crate::shard::Shards;
use crate::sight::{self, Sight, View};
use crate::survey::{Clouds, Survey};
use crate::tile::TileConfig;
use crate::windows::{Axis, Span, parents};
use crate::{Fill, Result, cloud, companion, entropy, grey};

/// Columns of native tiles that are in memory at a time.
const STRIP: u32 = 64;
/// Rows of a window of which the bands are measured: every so many.
const MEASURED: usize = 8;

/// A plane with its windows, and those of the levels beside it.
pub(crate) struct Plan<'a> {
    scenes: &'a Scenes,
    scene: Scene,
    columns: Vec<Span>,
    rows: Vec<Span>,
    /// Numbers of the plans one level up and one down.
    above: Option<usize>,
    below: Option<usize>,
}

impl Plan<'_> {
    /// The windows in strips of columns that lie on at most [`STRIP`] native tiles, and one more where a
    /// window reaches over.
    fn strips(&self) -> impl Iterator<Item = &[Span]> {
        let width = self.scene.matrix.tile.0;
        let strip = move |span: &Span| span.start / width / STRIP;
        self.columns.chunk_by(move |a, b| strip(a) == strip(b))
    }

    /// Number of bands.
    fn bands(&self) -> u64 {
        (self.strips().count() * self.rows.len()) as u64
    }

    /// Number of windows.
    pub(crate) fn windows(&self) -> u64 {
        self.columns.len() as u64 * self.rows.len() as u64
    }

    /// Width and height of its pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (left, top, right, bottom) = self.scene.extent();
        (right - left, bottom - top)
    }
}

/// All planes to cut: those that were fetched, and with `levels` those above them that were not.
pub(crate) fn plan<'a>(config: &TileConfig, inputs: &'a [Scenes]) -> Vec<Plan<'a>> {
    let mut plans: Vec<Plan> = Vec::new();
    for scenes in inputs {
        // Masks alone are cut as if they were pictures: there is nothing else to cut.
        let pictures: Vec<&Scene> = match companion::pictures(scenes).collect::<Vec<_>>() {
            none if none.is_empty() => scenes.all().iter().collect(),
            pictures => pictures,
        };
        for fetched in pictures {
            for up in 0..config.levels {
                let Some(scene) = fetched.reduced(up) else { break };
                if up > 0 && inputs.iter().any(|scenes| scenes.find(&scene.key).is_some()) {
                    break;
                }
                let (left, top, right, bottom) = scene.extent();
                let (columns, rows) = (config.columns(), config.rows());
                let (columns, rows) = (columns.spans(left, right), rows.spans(top, bottom));
                plans.push(Plan { scenes, scene, columns, rows, above: None, below: None });
            }
        }
    }
    // Finest first, each layer and time together.
    plans.sort_by(|a, b| {
        let place = |plan: &Plan| {
            let key = plan.scene.key.clone();
            (key.layer, key.time, key.matrix_set, std::cmp::Reverse(key.level))
        };
        place(a).cmp(&place(b))
    });
    if config.levels > 1 {
        for at in 1..plans.len() {
            let (fine, coarse) = (&plans[at - 1].scene.key, &plans[at].scene.key);
            let same = (&fine.layer, &fine.time, &fine.matrix_set)
                == (&coarse.layer, &coarse.time, &coarse.matrix_set);
            if same && fine.level == coarse.level + 1 {
                plans[at - 1].above = Some(at);
                plans[at].below = Some(at - 1);
            }
        }
    }
    plans
}

/// Which spans along one axis lie over and under each span of a level.
struct Kin {
    parent: Vec<Option<Span>>,
    children: Vec<Vec<Span>>,
}

impl Kin {
    fn of(own: &[Span], above: Option<&[Span]>, below: Option<&[Span]>) -> Self {
        let parent = match above {
            Some(above) => parents(own, above).iter().map(|at| at.map(|at| above[at])).collect(),
            None => vec![None; own.len()],
        };
        let mut children = vec![Vec::new(); own.len()];
        if let Some(below) = below {
            for (at, span) in parents(below, own).iter().zip(below) {
                if let Some(at) = at {
                    children[*at].push(*span);
                }
            }
        }
        Self { parent, children }
    }
}

/// Cuts all planes.
pub(crate) fn run(
    config: &TileConfig,
    output: &Path,
    plans: &[Plan],
    masks: Option<&Scenes>,
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    if config.is_virtual {
        let list = plans.iter().map(|plan| {
            let scenes = plan.scenes.root();
            PlaneRef::new(&relative(scenes, output), &plan.scene)
        });
        planes::write(output, &list.collect::<Vec<_>>())?;
    }
    let total = plans.iter().map(Plan::windows).sum();
    let task = context.progress.begin("tile", Some(total), Unit::Items);
    task.advance(shards.mark.counts.windows);
    let variant = config.variant();
    let (mut begun, done) = (0, shards.mark.bands);
    for (number, plan) in plans.iter().enumerate() {
        begun += plan.bands();
        if begun <= done {
            continue;
        }
        let mut band = begun - plan.bands();
        let survey = Survey::open(plan.scenes, &plan.scene)?;
        let dates = match config.fill {
            Fill::Temporal => Some(Dates::of(plan.scenes, &plan.scene)?),
            _ => None,
        };
        let clouds = match masks {
            Some(masks) => Clouds::open(masks, &plan.scene)?,
            None => None,
        };
        let [above, below] = [plan.above, plan.below].map(|at| at.map(|at| &plans[at]));
        let columns =
            Kin::of(&plan.columns, above.map(|p| &p.columns[..]), below.map(|p| &p.columns[..]));
        let rows = Kin::of(&plan.rows, above.map(|p| &p.rows[..]), below.map(|p| &p.rows[..]));
        let number = number as u32;
        let mut cutter = Cutter {
            config,
            plan,
            number,
            survey,
            dates,
            clouds,
            columns,
            rows,
            variant: variant.clone(),
            plans,
        };
        let mut first = 0;
        for strip in plan.strips() {
            for row in 0..plan.rows.len() {
                band += 1;
                if band <= done {
                    continue;
                }
                context.check()?;
                cutter.band(first..first + strip.len(), row, shards, context)?;
                shards.end_band()?;
                task.advance(strip.len() as u64);
            }
            first += strip.len();
        }
    }
    Ok(())
}

/// A path as seen from a directory, or as a whole where there is no way.
fn relative(path: &Path, from: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let (path, from) = (whole(path), whole(from));
    let shared = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    if shared < 2 {
        return path.display().to_string();
    }
    let up = from.components().skip(shared).map(|_| "..".into());
    let down = path.components().skip(shared).map(|c| c.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<String>>().join("/")
}

/// What became of a window.
enum Cut {
    /// A picture.
    Stored(Tile, Vec<u8>, Option<Vec<curator_core::samples::Moments>>),
    /// A place.
    Window(Tile),
    Dropped(String, Reason),
}

/// Cuts the windows of one plane.
struct Cutter<'a> {
    config: &'a TileConfig,
    plan: &'a Plan<'a>,
    number: u32,
    survey: Survey,
    dates: Option<Dates>,
    clouds: Option<Clouds>,
    columns: Kin,
    rows: Kin,
    variant: String,
    plans: &'a [Plan<'a>],
}

impl Cutter<'_> {
    /// One row of the windows of a strip.
    fn band(
        &mut self,
        strip: std::ops::Range<usize>,
        row: usize,
        shards: &mut Shards,
        context: &Context,
    ) -> Result<()> {
        let width = self.plan.scene.matrix.tile.0;
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
        let Span { start: top, length } = self.plan.rows[row];
        if !wanted.is_empty() {
            let wanted = |column: u32| wanted.contains(&column);
            self.survey.load_some(top, top + length, &wanted, context);
            if let Some(clouds) = &mut self.clouds {
                clouds.load_some(top, top + length, &wanted, context);
            }
        }
        let cut: Vec<Result<Cut>> = strip
            .clone()
            .into_par_iter()
            .zip(looked_at)
            .map(|(column, look)| self.cut(column, row, look))
            .collect();
        shards.mark.counts.windows += strip.len() as u64;
        shards.mark.counts.broken += self.survey.take_broken();
        shards.mark.counts.broken += self.clouds.as_mut().map_or(0, Clouds::take_broken);
        for cut in cut {
            match cut? {
                Cut::Stored(tile, picture, moments) => {
                    moments.iter().for_each(|moments| shards.measure(moments));
                    shards.push(tile, &picture);
                }
                Cut::Window(tile) => shards.push_row(tile),
                Cut::Dropped(tile_id, reason) => shards.drop(tile_id, reason),
            }
        }
        Ok(())
    }

    fn window(&self, column: usize, row: usize) -> (u32, u32, u32, u32) {
        let (columns, rows) = (self.plan.columns[column], self.plan.rows[row]);
        (columns.start, rows.start, columns.length, rows.length)
    }

    /// Whether a window needs no look at its pixels: it has no gap, nothing is to be measured, and nothing is
    /// to be encoded.
    fn is_untouched(&self, column: usize, row: usize) -> bool {
        let at @ (x, y, width, height) = self.window(column, row);
        let stays = self.config.is_virtual || self.survey.native_at(at).is_some();
        if self.config.looks_at_all() || !stays {
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
        let view = if look {
            let view = self.survey.view(at);
            if let Some(reason) = self.judge(&view, at, &mut tile) {
                return Ok(Cut::Dropped(tile.tile_id, reason));
            }
            Some(view)
        } else {
            tile.gap_fraction = Some(0.0);
            None
        };
        // What needs no repair stays what it is.
        let whole = config.fill == Fill::None || tile.gap_fraction == Some(0.0);
        if whole && config.is_virtual {
            return Ok(Cut::Window(tile));
        }
        if let Some(native) = self.survey.native_at(at).filter(|_| whole) {
            return Ok(Cut::Stored(tile, self.survey.natives().bytes(native)?, None));
        }
        let mut view = view.unwrap_or_else(|| self.survey.view(at));
        if !whole {
            let mask: Vec<u8> = view.gaps().iter().map(|&gap| if gap { 255 } else { 0 }).collect();
            tile.gap_mask = Some(grey::plain(&mask, (view.image.width, view.image.height))?);
            self.repair(&mut view, at);
        }
        tile.variant.clone_from(&self.variant);
        let moments = view.image.every_nth_row(MEASURED).moments(None);
        let picture = picture::encode(&view.image, self.survey.natives().lossless())?;
        Ok(Cut::Stored(tile, picture, Some(moments)))
    }

    /// Notes how much of a window is gap and cloud, or says why it is left out.
    fn judge(&self, view: &View, at: (u32, u32, u32, u32), tile: &mut Tile) -> Option<Reason> {
        let config = self.config;
        let pixels = view.sight.len() as f32;
        let gaps = view.count(Sight::Gap);
        // Night is no gap, and no picture either.
        let unseen = (gaps + view.count(Sight::Night)) as f32 / pixels;
        if unseen > config.max_gap {
            return Some(Reason::Gap(unseen));
        }
        tile.gap_fraction = Some(gaps as f32 / pixels);
        let unseen: Vec<bool> = view.sight.iter().map(|&sight| sight != Sight::Seen).collect();
        let snow = sight::may_have_snow(&self.plan.scene, at);
        let clouds = match &self.clouds {
            Some(clouds) => {
                let known = clouds.view(at);
                cloud::known_days(&view.image.data, &unseen, snow, &known)
            }
            None => cloud::single_day(&view.image.data, &unseen, snow),
        };
        if clouds.fraction > config.max_cloud {
            return Some(Reason::Cloud(clouds.fraction));
        }
        tile.cloud_fraction = Some(clouds.fraction);
        tile.cloud_confidence = Some(clouds.confidence);
        if config.min_entropy > 0.0 {
            let bits = entropy::bits(&view.image, &unseen);
            if bits < config.min_entropy {
                return Some(Reason::Entropy(bits));
            }
        }
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

/// Windows of scenes are cut along both axes alike, whatever is in them.
pub(crate) fn largest(plans: &[Plan]) -> Option<(u32, u32)> {
    plans.iter().map(Plan::size).max_by_key(|&(width, height)| u64::from(width) * u64::from(height))
}

/// The axes that a configuration cuts along.
impl TileConfig {
    fn columns(&self) -> Axis {
        Axis::new(self.width, self.overlap, self.edge)
    }

    fn rows(&self) -> Axis {
        Axis::new(self.height, self.overlap, self.edge)
    }

    /// The name of the recipe of repaired pixels.
    pub(crate) fn variant(&self) -> String {
        let recipe = serde_json::json!({ "fill": self.fill, "seed": self.seed });
        digest::of_json(&recipe)[..16].to_string()
    }

    /// Whether clouds or entropy of all tiles are asked for.
    fn looks_at_all(&self) -> bool {
        self.describe || self.max_cloud < 1.0 || self.min_entropy > 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use curator_core::context::{Progress, Task};
    use curator_core::{Diagnose, Manifest, TileSet, manifest};

    use super::*;
    use crate::testing::{self, DAYS, LAYER, MASK};
    use crate::tile;
    use crate::{Edge, Error, Layout, Store};

    fn config(side: u32, overlap: f64) -> TileConfig {
        TileConfig {
            width: side,
            height: side,
            overlap,
            edge: Edge::Drop,
            fill: Fill::Neighbor,
            max_gap: 0.5,
            max_cloud: 1.0,
            min_entropy: 0.0,
            levels: 1,
            is_virtual: false,
            describe: false,
            whole: false,
            store: Store::Records,
            seed: 7,
        }
    }

    /// Hills with a slanted gap through the first native tile.
    fn land(x: u32, y: u32) -> [u8; 3] {
        if (60 + y / 8..150 + y / 8).contains(&x) {
            return [0; 3];
        }
        let noise = curator_core::seed::mix(3, &[u64::from(x), u64::from(y)]) % 20;
        [60 + (x / 9 % 90) as u8, 80 + (y / 7 % 80) as u8, 40 + noise as u8]
    }

    fn scenes(root: &Path) -> PathBuf {
        let path = root.join("scenes");
        testing::write(&path, &[(LAYER, DAYS[0], &land), (LAYER, DAYS[1], &land)], &[]);
        path
    }

    fn run(config: &TileConfig, scenes: &Path, output: &Path) -> tile::Report {
        tile::run(config, &[scenes.to_path_buf()], output, false, &Context::silent()).unwrap()
    }

    fn tiles(output: &Path) -> (TileSet, Vec<Tile>) {
        let set = TileSet::open(output).unwrap();
        let rows = set.rows().collect::<curator_core::Result<_>>().unwrap();
        (set, rows)
    }

    #[test]
    fn places_are_read_as_what_would_have_been_stored() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let (stored, places) = (dir.path().join("stored"), dir.path().join("a/places"));
        for side in [96, 512] {
            let stored_config = TileConfig { describe: true, ..config(side, 0.5) };
            run(&stored_config, &scenes, &stored.join(side.to_string()));
            let virtual_config = TileConfig { is_virtual: true, ..stored_config };
            run(&virtual_config, &scenes, &places.join(side.to_string()));
            let (stored, whole) = tiles(&stored.join(side.to_string()));
            let (places, rows) = tiles(&places.join(side.to_string()));
            assert!(!rows.is_empty() && rows.len() == whole.len());
            let windows =
                rows.iter().filter(|t| matches!(t.location, Location::Window { .. })).count();
            assert!(windows > 0 && (side == 512 || windows < rows.len()), "{windows}");
            for (row, whole) in rows.iter().zip(&whole) {
                assert_eq!(row.tile_id, whole.tile_id);
                let encoded = places.encoded(&row.location).unwrap();
                assert!(encoded == stored.encoded(&whole.location).unwrap(), "{}", row.tile_id);
                let decoded = places.decode(&row.location).unwrap();
                assert_eq!((decoded.width, decoded.height), (side, side));
                if side < 512 && matches!(row.location, Location::Window { .. }) {
                    // What was stored is these very pixels, encoded.
                    assert!(picture::encode(&decoded, false).unwrap() == encoded);
                }
            }
        }
    }

    #[test]
    fn what_is_aligned_and_whole_passes_through_undecoded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scenes");
        let plain = |x: u32, y: u32| [100 + (x % 50) as u8, 90 + (y % 60) as u8, 80];
        testing::write(&path, &[(LAYER, DAYS[0], &plain)], &[]);
        let out = dir.path().join("tiles");
        run(&config(512, 0.0), &path, &out);
        let (set, rows) = tiles(&out);
        assert_eq!(rows.len(), 2);
        for (column, tile) in rows.iter().enumerate() {
            let served = path.join(format!("native/{LAYER}/{}/10_{}", DAYS[0], 18 + column));
            assert!(set.encoded(&tile.location).unwrap() == std::fs::read(served).unwrap());
            assert_eq!((tile.cloud_fraction, tile.gap_fraction), (None, Some(0.0)));
            assert!(tile.variant.is_empty());
        }
        // The layer of gaps is listened to without a look at the picture as well.
        let masked = dir.path().join("masked");
        let mask = |x: u32, _: u32| x < 100;
        testing::write(&masked, &[(LAYER, DAYS[0], &plain)], &[(MASK, DAYS[0], &mask)]);
        let out = dir.path().join("masked tiles");
        run(&config(512, 0.0), &masked, &out);
        let gaps: Vec<_> = tiles(&out).1.iter().map(|t| t.gap_fraction.unwrap()).collect();
        assert!((gaps[0] - 100.0 / 512.0).abs() < 1e-6 && gaps[1] == 0.0, "{gaps:?}");
    }

    #[test]
    fn a_pyramid_knows_parents_and_children() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        for is_virtual in [false, true] {
            let out = dir.path().join(format!("tiles {is_virtual}"));
            let base = config(128, 0.5);
            run(&TileConfig { levels: 3, is_virtual, max_gap: 1.0, ..base }, &scenes, &out);
            let (set, rows) = tiles(&out);
            let by_id: HashMap<&str, &Tile> =
                rows.iter().map(|t| (t.tile_id.as_str(), t)).collect();
            assert_eq!(by_id.len(), rows.len());
            let (mut with_parent, mut levels) = (0, std::collections::BTreeSet::new());
            for tile in &rows {
                levels.insert(tile.tile_id.split('/').nth(3).unwrap());
                if let Some(parent) = &tile.parent {
                    let parent = by_id[parent.as_str()];
                    assert!(parent.children.contains(&tile.tile_id), "{}", tile.tile_id);
                    let (inner, outer) = (tile.bbox.unwrap(), parent.bbox.unwrap());
                    assert!(inner.west < outer.east && inner.east > outer.west);
                    with_parent += 1;
                }
                for child in &tile.children {
                    assert_eq!(by_id[child.as_str()].parent.as_ref(), Some(&tile.tile_id));
                }
                assert_eq!(set.decode(&tile.location).unwrap().width, 128);
            }
            assert!(levels.len() >= 2 && with_parent > 20, "{levels:?} {with_parent}");
        }
    }

    #[test]
    fn what_is_dropped_is_counted_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let out = dir.path().join("tiles");
        let base = config(64, 0.0);
        let report = run(&TileConfig { max_gap: 0.2, min_entropy: 2.0, ..base }, &scenes, &out);
        assert!(report.dropped_gap > 0 && report.tiles > 0, "{report:?}");
        let manifest = Manifest::open(&out, manifest::TILES).unwrap();
        let listed: u64 = manifest
            .parts
            .iter()
            .filter(|part| part.path.starts_with("dropped-"))
            .map(|part| {
                let rows = curator_core::table::read(&out.join(&part.path)).unwrap();
                rows.map(|batch| batch.unwrap().num_rows() as u64).sum::<u64>()
            })
            .sum();
        assert_eq!(listed, report.dropped_gap + report.dropped_entropy);
        assert_eq!(manifest.counts["windows"], listed + report.tiles);
        assert_eq!(manifest.bands[&3].len(), 3);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        for store in [Store::Records, Store::Folders(Layout::Modis)] {
            let made: Vec<_> = [1, 2, 5]
                .iter()
                .map(|&threads| {
                    let out = dir.path().join(format!("{threads} {store:?}").replace('"', ""));
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| run(&TileConfig { store, ..config(100, 0.4) }, &scenes, &out));
                    testing::files(&out)
                })
                .collect();
            assert!(made[0].keys().filter(|path| path.starts_with("tiles-")).count() > 1);
            assert!(made[0] == made[1] && made[0] == made[2]);
        }
    }

    /// Asks to stop after some windows.
    struct Stopper(Context, AtomicU64);

    impl Progress for Stopper {
        fn begin(&self, _: &str, _: Option<u64>, _: curator_core::context::Unit) -> Box<dyn Task> {
            Box::new(Stop(self.0.clone(), AtomicU64::new(0), self.1.load(Ordering::Relaxed)))
        }
        fn warn(&self, _: &str) {}
        fn note(&self, _: &str) {}
    }

    struct Stop(Context, AtomicU64, u64);

    impl Task for Stop {
        fn advance(&self, n: u64) {
            if self.1.fetch_add(n, Ordering::Relaxed) + n >= self.2 {
                self.0.cancel.cancel();
            }
        }
        fn say(&self, _: &str) {}
    }

    #[test]
    fn a_run_that_was_stopped_goes_on_to_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        for store in [Store::Records, Store::Folders(Layout::MajorTom(100.0))] {
            let config = TileConfig { store, ..config(64, 0.5) };
            let name = format!("{store:?}");
            let (straight, broken) = (dir.path().join(&name), dir.path().join(name + " broken"));
            run(&config, &scenes, &straight);
            let mut stops = 0;
            loop {
                let stop = Context::silent();
                let progress = Stopper(stop.clone(), AtomicU64::new(40 + 200 * stops));
                let context = Context { progress: Arc::new(progress), ..stop };
                match tile::run(&config, std::slice::from_ref(&scenes), &broken, false, &context) {
                    Ok(_) => break,
                    Err(error) => assert_eq!(error.exit_code(), 130),
                }
                stops += 1;
            }
            assert!(stops > 1);
            assert!(testing::files(&straight) == testing::files(&broken));
        }
    }

    #[test]
    fn folders_hold_the_same_pictures_as_records() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let (records, folders) = (dir.path().join("records"), dir.path().join("folders"));
        run(&config(128, 0.0), &scenes, &records);
        let store = Store::Folders(Layout::Modis);
        run(&TileConfig { store, ..config(128, 0.0) }, &scenes, &folders);
        let ((a, rows), (b, others)) = (tiles(&records), tiles(&folders));
        assert_eq!(rows.len(), others.len());
        for (row, other) in rows.iter().zip(&others) {
            assert!(a.encoded(&row.location).unwrap() == b.encoded(&other.location).unwrap());
            let Location::File(path) = &other.location else { panic!("{other:?}") };
            let day = other.time.as_ref().unwrap();
            assert!(path.starts_with(&format!("pictures/{day}/h1")), "{path}");
        }
        // Made anew, nothing of the old pictures stays.
        let force = TileConfig { store, ..config(256, 0.0) };
        tile::run(&force, &[scenes], &folders, true, &Context::silent()).unwrap();
        let left = testing::files(&folders);
        let pictures = left.keys().filter(|path| path.starts_with("pictures/")).count();
        assert_eq!(pictures, tiles(&folders).1.len());
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let out = dir.path().join("tiles");
        let fail = |config: TileConfig, inputs: &[PathBuf]| {
            tile::run(&config, inputs, &out, false, &Context::silent()).unwrap_err()
        };
        for bad in [
            config(0, 0.0),
            config(64, 1.0),
            config(64, -0.1),
            config(64, f64::NAN),
            TileConfig { levels: 0, ..config(64, 0.0) },
            TileConfig {
                is_virtual: true,
                store: Store::Folders(Layout::Modis),
                ..config(64, 0.0)
            },
        ] {
            assert_eq!(fail(bad, std::slice::from_ref(&scenes)).exit_code(), 2, "{bad:?}");
        }
        let larger = fail(config(4096, 0.0), std::slice::from_ref(&scenes));
        assert!(larger.to_string().contains("the largest scene has 1024×512"), "{larger}");
        let twice = fail(config(64, 0.0), &[scenes.clone(), scenes.clone()]);
        assert!(matches!(twice, Error::SameId { .. }));
        // A window larger than the scene is kept smaller where that is asked for.
        run(&TileConfig { edge: Edge::Keep, max_gap: 1.0, ..config(4096, 0.0) }, &scenes, &out);
        assert_eq!((tiles(&out).1[0].width, tiles(&out).1[0].height), (1024, 512));
    }
}
