//! `composite`: from several days of a place to the ground without clouds, and the clouds of each day.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::manifest::{self, Freshness, Manifest, Part};
use curator_core::mosaic::{Scene, Scenes};
use curator_core::scene::{self, NativeTile};
use curator_core::{Context, Error as CoreError, TileMatrix, atomic, digest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cloud::Cloudiness;
use crate::ledger::{CloudRow, Ledger, Line};
use crate::sight::{self, Glance, Sight};
use crate::stack::{self, Composite, Day, MOST_DAYS};
use crate::{Error, Result, companion, grey};

/// Native tiles a side of a block: what is decoded and composed at a time.
const BLOCK: u32 = 2;
/// Quality of the composite's JPEG: differences stay below the noise of the sensor.
const QUALITY: u8 = 95;
/// What the layer of a composite adds to its source's name.
const ENDING: &str = "_Composite";
/// What was written, in which order of native tiles: the ends of a kill.
const CREATED_BY: &str = concat!("data-preprocessor ", env!("CARGO_PKG_VERSION"));

/// What decides a composite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompositeConfig {
    /// Layers; all that show the Earth when there is none.
    pub layers: Vec<String>,
    /// Days of a composite, counted from the first; 0 makes one of all.
    pub period: u32,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it was there already.
    pub up_to_date: bool,
    /// Composites: one a layer, grid and period.
    pub composites: u64,
    /// Native tiles of composites.
    pub tiles: u64,
    /// Times that went into them.
    pub times: u64,
    /// Days between the first and the last that were not fetched.
    pub missing_days: u64,
    /// Parts per million of the composites' pixels where no day saw the ground.
    pub without_ground_ppm: u64,
    /// Native tiles that could not be decoded, each counted where it was read.
    pub broken: u64,
    /// The directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        let Self { composites, tiles, times, .. } = self;
        write!(f, "{composites} composites of {times} times, {tiles} tiles → `{output}`")?;
        let without = self.without_ground_ppm as f64 / 1e4;
        if without > 0.0 {
            write!(f, ", {without:.1} % never seen without clouds")?;
        }
        if self.missing_days > 0 {
            write!(f, ", {} days in between are missing", self.missing_days)?;
        }
        if self.broken > 0 {
            write!(f, ", {} unreadable tiles", self.broken)?;
        }
        Ok(())
    }
}

/// The times of one layer, grid and period.
struct Pile<'a> {
    days: Vec<&'a Scene>,
}

impl Pile<'_> {
    fn first(&self) -> &Scene {
        // A pile is made of at least one.
        self.days[0]
    }

    fn describe(&self) -> serde_json::Value {
        let key = &self.first().key;
        let times: Vec<&str> = self.days.iter().map(|day| day.key.time.as_str()).collect();
        serde_json::json!({
            "layer": format!("{}{ENDING}", key.layer),
            "time": key.time,
            "matrix_set": key.matrix_set,
            "level": key.level,
            "times": times,
        })
    }
}

/// Makes composites and cloud masks, or continues a run that was killed.
///
/// # Errors
/// When the input is no `scenes/` directory or has no days to compose, the output belongs to another
/// configuration, and [`curator_core::Error::Interrupted`].
pub fn run(
    config: &CompositeConfig,
    input: &Path,
    output: &Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    let scenes = Scenes::open(input)?;
    let piles = piles(config, &scenes)?;
    let missing_days = missing_days(&piles, context);
    let recipe = recipe(config, &piles);
    let inputs = vec![scenes.manifest().as_input(input)];
    match Manifest::freshness(output, manifest::SCENES, &recipe, &inputs)? {
        Freshness::UpToDate => {
            let counts = Manifest::open(output, manifest::SCENES)?.counts;
            return Ok(report(&counts, output, true));
        }
        Freshness::Other(difference) if !force => {
            return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
        }
        Freshness::Other(_) => {
            Manifest::remove_outputs(output)?;
            let native = output.join("native");
            if native.is_dir() {
                std::fs::remove_dir_all(&native).map_err(CoreError::io("remove", &native))?;
            }
        }
        Freshness::Absent => {}
    }
    let mut made = Manifest::new(manifest::SCENES, CREATED_BY, recipe);
    made.inputs = inputs;
    let mut ledger = Ledger::open(output, &made.digest())?;
    compose_all(&scenes, &piles, output, &mut ledger, context)?;

    let lines = ledger.lines()?;
    let mut counts = std::collections::BTreeMap::new();
    let sum = |get: fn(&Line) -> u64| lines.iter().map(get).sum::<u64>();
    let pixels = sum(|line| line.pixels).max(1);
    for (name, count) in [
        ("composites", piles.len() as u64),
        ("times", piles.iter().map(|pile| pile.days.len() as u64).sum()),
        ("missing_days", missing_days),
        ("composite_tiles", sum(|line| line.composites)),
        ("broken", sum(|line| line.broken)),
        ("without_ground_ppm", sum(|line| line.without_ground) * 1_000_000 / pixels),
        ("tiles", sum(|line| line.tiles.len() as u64)),
        ("bytes", lines.iter().flat_map(|line| &line.tiles).map(|tile| tile.length).sum()),
    ] {
        counts.insert(name.to_string(), count);
    }
    made.parts = write_parts(output, lines)?;
    made.counts = counts;
    made.write(output)?;
    ledger.remove();
    Ok(report(&made.counts, output, false))
}

fn report(
    counts: &std::collections::BTreeMap<String, u64>,
    output: &Path,
    up_to_date: bool,
) -> Report {
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    Report {
        up_to_date,
        composites: count("composites"),
        tiles: count("composite_tiles"),
        times: count("times"),
        missing_days: count("missing_days"),
        without_ground_ppm: count("without_ground_ppm"),
        broken: count("broken"),
        output: output.into(),
    }
}

/// The scenes to compose, by layer, grid and period, each in order of time.
fn piles<'a>(config: &CompositeConfig, scenes: &'a Scenes) -> Result<Vec<Pile<'a>>> {
    let wanted =
        |scene: &&Scene| config.layers.is_empty() || config.layers.contains(&scene.key.layer);
    let mut dated: Vec<&Scene> =
        companion::pictures(scenes).filter(wanted).filter(|s| day(&s.key.time).is_some()).collect();
    let grid =
        |scene: &Scene| (scene.key.layer.clone(), scene.key.matrix_set.clone(), scene.key.level);
    dated.sort_by_key(|scene| (grid(scene), scene.key.time.clone()));
    let mut piles: Vec<Pile> = Vec::new();
    for same_grid in dated.chunk_by(|a, b| grid(a) == grid(b)) {
        let first = same_grid.first().and_then(|scene| day(&scene.key.time)).unwrap_or(0);
        let period = |scene: &Scene| {
            let since = day(&scene.key.time).unwrap_or(first) - first;
            since.checked_div(i64::from(config.period)).unwrap_or(0)
        };
        for days in same_grid.chunk_by(|a, b| period(a) == period(b)) {
            if days.len() > MOST_DAYS {
                return Err(CoreError::Setting {
                    name: "--period",
                    found: format!("{} times in one composite", days.len()),
                    expected: format!("at most {MOST_DAYS}; set `--period` to fewer days"),
                }
                .into());
            }
            piles.push(Pile { days: days.to_vec() });
        }
    }
    if piles.is_empty() {
        let found =
            scenes.all().iter().map(|scene| scene.key.layer.clone()).collect::<BTreeSet<_>>();
        return Err(Error::NothingToCompose { found: found.into_iter().collect() });
    }
    Ok(piles)
}

/// Days since 1970 of a time; `None` for static layers.
fn day(time: &str) -> Option<i64> {
    let date: jiff::civil::Date = time.get(..10)?.parse().ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    Some(i64::from(date.since(epoch).ok()?.get_days()))
}

/// Counts the days that daily layers lack between their first and their last, and says which.
fn missing_days(piles: &[Pile], context: &Context) -> u64 {
    let mut missing = 0;
    for pile in piles {
        let layer = &pile.first().key.layer;
        if pile.days.len() == 1 {
            let time = &pile.first().key.time;
            context.progress.note(&format!(
                "`{layer}` has one day in this period, {time}: clouds are judged by it alone"
            ));
        }
        for pair in pile.days.windows(2) {
            let (from, to) = (&pair[0].key.time, &pair[1].key.time);
            let lacking = day(to).zip(day(from)).map_or(0, |(to, from)| to - from - 1);
            if lacking > 0 {
                missing += lacking as u64;
                context.progress.note(&format!(
                    "`{layer}`: {lacking} days are missing between {from} and {to}"
                ));
            }
        }
    }
    missing
}

/// What the manifest says: as that of a download, so that every reader of scenes can use it.
fn recipe(config: &CompositeConfig, piles: &[Pile]) -> serde_json::Value {
    let matrices: std::collections::BTreeMap<String, TileMatrix> = piles
        .iter()
        .map(|pile| {
            let Scene { key, matrix, .. } = pile.first();
            (scene::grid_name(&key.matrix_set, key.level), *matrix)
        })
        .collect();
    let piles: Vec<_> = piles.iter().map(Pile::describe).collect();
    serde_json::json!({
        "source": "composite",
        "requests": [],
        "matrices": matrices,
        "composite": config,
        "composites": piles,
    })
}

fn compose_all(
    scenes: &Scenes,
    piles: &[Pile],
    output: &Path,
    ledger: &mut Ledger,
    context: &Context,
) -> Result<()> {
    let mut opened = Vec::new();
    let mut total = 0;
    for pile in piles {
        let days =
            pile.days.iter().map(|day| Glance::open(scenes, day)).collect::<Result<Vec<_>>>()?;
        let blocks: BTreeSet<(u32, u32)> = days
            .iter()
            .flat_map(|day| day.natives().all())
            .map(|native| (native.row / BLOCK, native.column / BLOCK))
            .collect();
        total += blocks.len() as u64;
        // Opened again below: of many piles only one is in memory.
        opened.push(blocks);
    }
    let task = context.progress.begin("composite", Some(total), Unit::Items);
    let mut number = 0;
    for (pile, blocks) in piles.iter().zip(opened) {
        let last = number + blocks.len() as u64;
        if (number..last).all(|number| ledger.has(number)) {
            task.advance(last - number);
            number = last;
            continue;
        }
        let days =
            pile.days.iter().map(|day| Glance::open(scenes, day)).collect::<Result<Vec<_>>>()?;
        for block in blocks {
            if !ledger.has(number) {
                context.check()?;
                let line = Block { pile, days: &days, output }.compose(number, block, context)?;
                ledger.add(&line)?;
            }
            number += 1;
            task.advance(1);
        }
    }
    Ok(())
}

/// A few native tiles of all days of a pile.
struct Block<'a> {
    pile: &'a Pile<'a>,
    days: &'a [Glance],
    output: &'a Path,
}

impl Block<'_> {
    /// Composes a block and writes what came out, native tile by native tile.
    fn compose(&self, number: u64, (row, column): (u32, u32), context: &Context) -> Result<Line> {
        let TileMatrix { tile, columns, rows, .. } = self.pile.first().matrix;
        let columns = column * BLOCK..((column + 1) * BLOCK).min(columns);
        let rows = row * BLOCK..((row + 1) * BLOCK).min(rows);
        let (left, top) = (columns.start * tile.0, rows.start * tile.1);
        let (x, y) = (left.saturating_sub(stack::HALO), top.saturating_sub(stack::HALO));
        let width = columns.end * tile.0 - x + stack::HALO;
        let height = rows.end * tile.1 - y + stack::HALO;
        let read: Vec<_> =
            self.days.par_iter().map(|day| day.view((x, y, width, height))).collect();
        let mut line = Line::new(number);
        let mut days = Vec::with_capacity(read.len());
        for (view, errors) in read {
            for error in errors {
                context.progress.warn(&format!("counted as a gap: {error}"));
                line.broken += 1;
            }
            let seen = view.sight.iter().map(|&sight| sight == Sight::Seen).collect();
            days.push(Day { samples: view.image.data, seen });
        }
        let snow = sight::may_have_snow(self.pile.first(), (x, y, width, height));
        let made = stack::compose(&days, width as usize, snow);
        let places: Vec<(u32, u32)> =
            rows.flat_map(|row| columns.clone().map(move |column| (row, column))).collect();
        let written: Vec<Option<Line>> = places
            .into_par_iter()
            .map(|(row, column)| {
                let window = (column * tile.0 - x, row * tile.1 - y, tile.0, tile.1);
                self.write((row, column), &made, width, window)
            })
            .collect::<Result<_>>()?;
        written.into_iter().flatten().for_each(|part| line.join(part));
        Ok(line)
    }

    /// Writes what came out at a native tile; nothing where no day has one.
    fn write(
        &self,
        place: (u32, u32),
        made: &Composite,
        stride: u32,
        window: (u32, u32, u32, u32),
    ) -> Result<Option<Line>> {
        let fetched = |day: &Glance| day.natives().get(place.0, place.1).is_some();
        if !self.days.iter().any(fetched) {
            return Ok(None);
        }
        let (width, height) = (window.2, window.3);
        let key = &self.pile.first().key;
        let mut line = Line::new(0);
        let source = sight::crop(&made.source, stride, window);
        let samples = sight::crop(made.samples.as_chunks::<3>().0, stride, window);
        let image =
            curator_core::Raster { width, height, bands: 3, data: samples.as_flattened().to_vec() };
        let without = source.iter().filter(|&&day| day == 0).count();
        let empty = without as f32 / source.len() as f32;
        let layer = format!("{}{ENDING}", key.layer);
        let gaps: Vec<[u8; 2]> =
            source.iter().map(|&day| [85, if day == 0 { 255 } else { 0 }]).collect();
        for (ending, bytes, empty) in [
            ("", image.to_jpeg(QUALITY)?, empty),
            (companion::NO_DATA, grey::with_alpha(&gaps, (width, height))?, 1.0 - empty),
            (companion::SOURCE_DATE, grey::plain(&source, (width, height))?, empty),
        ] {
            let layer = format!("{layer}{ending}");
            line.tiles.push(self.write_tile(&layer, &key.time, place, &bytes, empty)?);
        }
        line.composites = 1;
        line.pixels = source.len() as u64;
        line.without_ground = without as u64;
        for (day, clouds) in self.days.iter().zip(&made.clouds) {
            if !fetched(day) {
                continue;
            }
            let clouds = sight::crop(clouds, stride, window);
            let seen = clouds.iter().filter(|p| !p.is_nan()).count();
            let unseen = 1.0 - seen as f32 / clouds.len() as f32;
            let found = Cloudiness::of(clouds.iter().copied().filter(|p| !p.is_nan()));
            let pixels: Vec<[u8; 2]> = clouds
                .iter()
                .map(|&p| if p.is_nan() { [0, 0] } else { [(p * 250.0).round() as u8, 255] })
                .collect();
            let bytes = grey::with_alpha(&pixels, (width, height))?;
            let layer = format!("{}{}", key.layer, companion::CLOUD_PROBABILITY);
            line.tiles.push(self.write_tile(&layer, day.time(), place, &bytes, unseen)?);
            line.clouds.push(CloudRow {
                layer: key.layer.clone(),
                time: day.time().into(),
                matrix_set: key.matrix_set.clone(),
                level: key.level,
                row: place.0,
                column: place.1,
                cloud_fraction: found.fraction,
                confidence: found.confidence,
                unseen_fraction: unseen,
            });
        }
        Ok(Some(line))
    }

    fn write_tile(
        &self,
        layer: &str,
        time: &str,
        (row, column): (u32, u32),
        bytes: &[u8],
        empty_share: f32,
    ) -> Result<NativeTile> {
        let key = &self.pile.first().key;
        let (matrix_set, level) = (&key.matrix_set, key.level);
        let media_type = curator_core::raster::media_type(bytes).unwrap_or_default();
        let ending = if media_type == "image/png" { "png" } else { "jpg" };
        // Without colons, which not every file system has.
        let day = time.replace(':', "");
        let path = format!("native/{layer}/{day}/{matrix_set}/{level}/{row}_{column}.{ending}");
        atomic::write_atomic(&manifest::part_path(self.output, &path)?, bytes)?;
        Ok(NativeTile {
            layer_asked: layer.into(),
            layer: layer.into(),
            time_asked: time.into(),
            time: time.into(),
            matrix_set: matrix_set.clone(),
            level,
            row,
            column,
            path,
            offset: 0,
            length: bytes.len() as u64,
            media_type: media_type.into(),
            etag: String::new(),
            sha256: digest::of_bytes(bytes),
            empty_share,
        })
    }
}

/// Writes the tables: rows of native tiles, and of the clouds of each day.
fn write_parts(output: &Path, lines: Vec<Line>) -> Result<Vec<Part>> {
    let (mut tiles, mut clouds) = (Vec::new(), Vec::new());
    for line in lines {
        tiles.extend(line.tiles);
        clouds.extend(line.clouds);
    }
    tiles.sort_by(|a, b| {
        let key = |t: &NativeTile| (t.level, t.row, t.column);
        (&a.layer, &a.time, &a.matrix_set)
            .cmp(&(&b.layer, &b.time, &b.matrix_set))
            .then_with(|| key(a).cmp(&key(b)))
    });
    clouds.sort_by(|a, b| a.place().cmp(&b.place()));
    let (table, list) = ("scenes-00000.parquet", "clouds.csv");
    scene::write(&output.join(table), &tiles)?;
    let mut text = format!("{}\n", CloudRow::HEADER);
    clouds.iter().for_each(|row| text.push_str(&format!("{row}\n")));
    atomic::write_atomic(&output.join(list), text.as_bytes())?;
    [(table, tiles.len()), (list, clouds.len())]
        .into_iter()
        .map(|(path, rows)| {
            let digest = digest::of_file(&output.join(path))?;
            Ok(Part { path: path.into(), rows: rows as u64, digest })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, DAYS, LAYER};

    /// A sea with a cloud that wanders, and a swath gap on the second day.
    fn sky(day: u32) -> impl Fn(u32, u32) -> [u8; 3] {
        move |x, y| {
            let noise =
                (curator_core::seed::mix(u64::from(day), &[u64::from(x), u64::from(y)]) % 5) as u8;
            let cloud = (x + 1000 - day * 190) % 700 < 120 && y > 40;
            match () {
                () if day == 1 && (200..300).contains(&x) => [0; 3],
                () if cloud => [225 + noise, 227 + noise, 230 + noise],
                () => [12 + noise, 30 + noise, 56 + noise],
            }
        }
    }

    fn days(root: &Path, numbers: &[u32]) {
        let skies: Vec<_> = numbers.iter().map(|&n| (n, sky(n))).collect();
        let pictures: Vec<testing::Picture> = skies
            .iter()
            .map(|(n, sky)| (LAYER, DAYS[*n as usize], sky as &dyn Fn(u32, u32) -> [u8; 3]))
            .collect();
        testing::write(root, &pictures, &[]);
    }

    fn config() -> CompositeConfig {
        CompositeConfig { layers: Vec::new(), period: 0 }
    }

    fn listing(root: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = walk(root)
            .into_iter()
            .map(|path| {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                (name, digest::of_file(&path).unwrap())
            })
            .filter(|(name, _)| name != "manifest.json")
            .collect();
        files.sort();
        files
    }

    fn walk(root: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
        }
        files
    }

    #[test]
    fn a_day_missing_in_the_middle_is_told_and_the_sea_is_seen_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("scenes"), dir.path().join("composite"));
        days(&input, &[0, 1, 3, 4]);
        let context = Context::silent();
        let report = run(&config(), &input, &output, false, &context).unwrap();
        assert_eq!((report.composites, report.tiles, report.times), (1, 2, 4));
        assert_eq!((report.missing_days, report.without_ground_ppm, report.broken), (1, 0, 0));
        let scenes = Scenes::open(&output).unwrap();
        let composite = companion::pictures(&scenes).next().unwrap();
        assert_eq!(composite.key.layer, format!("{LAYER}_Composite"));
        let glance = Glance::open(&scenes, composite).unwrap();
        let (left, top, right, bottom) = composite.extent();
        let (view, _) = glance.view((left, top, right - left, bottom - top));
        assert_eq!(view.count(Sight::Seen), view.sight.len());
        let bright = view.image.data.chunks_exact(3).filter(|p| p[0] > 60).count();
        assert!(bright < view.sight.len() / 500, "{bright} bright pixels");
        let clouds = std::fs::read_to_string(output.join("clouds.csv")).unwrap();
        assert_eq!(clouds.lines().count(), 1 + 4 * 2);
        assert!(run(&config(), &input, &output, false, &context).unwrap().up_to_date);
    }

    #[test]
    fn a_killed_run_ends_as_an_uninterrupted_one() {
        let dir = tempfile::tempdir().unwrap();
        let (input, whole) = (dir.path().join("scenes"), dir.path().join("whole"));
        days(&input, &[0, 1, 2]);
        // A day a composite: three blocks.
        let config = CompositeConfig { layers: vec![LAYER.into()], period: 1 };
        run(&config, &input, &whole, false, &Context::silent()).unwrap();
        let killed = dir.path().join("killed");
        let context = Context::silent();
        let scenes = Scenes::open(&input).unwrap();
        let piles = piles(&config, &scenes).unwrap();
        let mut made = Manifest::new(manifest::SCENES, CREATED_BY, recipe(&config, &piles));
        made.inputs = vec![scenes.manifest().as_input(&input)];
        let mut ledger = Ledger::open(&killed, &made.digest()).unwrap();
        let glances = vec![Glance::open(&scenes, piles[0].days[0]).unwrap()];
        let block = Block { pile: &piles[0], days: &glances, output: &killed };
        let line = block.compose(0, (5, 9), &context).unwrap();
        ledger.add(&line).unwrap();
        // Killed in the middle of the next line.
        use std::io::Write;
        let journal = killed.join(crate::ledger::FILE_NAME);
        let mut file = std::fs::OpenOptions::new().append(true).open(journal).unwrap();
        file.write_all(b"{\"number\":1,\"tiles\":[").unwrap();
        drop((file, ledger));
        run(&config, &input, &killed, false, &context).unwrap();
        assert_eq!(listing(&killed), listing(&whole));
    }

    #[test]
    fn grids_and_layers_are_not_mixed_and_all_gap_and_all_cloud_are_no_ground() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("scenes"), dir.path().join("composite"));
        let gap = |_: u32, _: u32| [0; 3];
        let cloud = |x: u32, y: u32| {
            [200 + (curator_core::seed::mix(7, &[u64::from(x / 9), u64::from(y / 9)]) % 50) as u8;
                3]
        };
        let sea = sky(0);
        let pictures: [testing::Picture; 4] = [
            ("All_Gap", DAYS[0], &gap),
            ("All_Gap", DAYS[1], &gap),
            ("Clouds", DAYS[0], &cloud),
            ("Sea", DAYS[0], &sea),
        ];
        testing::write(&input, &pictures, &[]);
        let report = run(&config(), &input, &output, false, &Context::silent()).unwrap();
        assert_eq!(report.composites, 3);
        let scenes = Scenes::open(&output).unwrap();
        let seen = |layer: &str| {
            let scene = companion::pictures(&scenes).find(|s| s.key.layer == layer).unwrap();
            let (left, top, ..) = scene.extent();
            Glance::open(&scenes, scene).unwrap().view((left, top, 512, 512)).0.count(Sight::Seen)
        };
        assert_eq!(seen("All_Gap_Composite"), 0);
        assert!(seen("Clouds_Composite") < 512 * 512 / 20);
        assert!(seen("Sea_Composite") > 512 * 512 / 2);
    }

    #[test]
    fn tiles_take_their_clouds_from_several_days_and_keep_the_mask_of_gaps() {
        use crate::tile::{self, TileConfig};
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // Salt stays white, and is no cloud.
        let pictures: Vec<_> = (0..4_u32)
            .map(|day| {
                move |x: u32, y: u32| match () {
                    () if day == 1 && (200..300).contains(&x) => [0; 3],
                    () if x > 600 && y > 100 => [226, 228, 230],
                    () => sky(day)(x, y),
                }
            })
            .collect();
        let named: Vec<testing::Picture> = pictures
            .iter()
            .zip(DAYS)
            .map(|(picture, day)| (LAYER, day, picture as &dyn Fn(u32, u32) -> [u8; 3]))
            .collect();
        testing::write(&path("scenes"), &named, &[]);
        let context = Context::silent();
        run(&config(), &path("scenes"), &path("composite"), false, &context).unwrap();
        let config = TileConfig {
            width: 256,
            height: 256,
            overlap: 0.0,
            edge: crate::Edge::Drop,
            fill: crate::Fill::Neighbor,
            max_gap: 0.5,
            max_cloud: 1.0,
            min_entropy: 0.0,
            levels: 1,
            is_virtual: false,
            describe: true,
            whole: false,
            store: crate::Store::Records,
            seed: 0,
        };
        let clouds_of = |output: &Path| -> f32 {
            let tiles = curator_core::TileSet::open(output).unwrap();
            let rows: Vec<_> = tiles.rows().map(Result::unwrap).collect();
            for row in rows.iter().filter(|row| row.gap_fraction > Some(0.0)) {
                let mask = row.gap_mask.as_ref().unwrap();
                let mask = curator_core::Raster::decode("mask", mask).unwrap();
                let filled = mask.data.iter().step_by(3).filter(|&&m| m == 255).count();
                let share = filled as f32 / (256.0 * 256.0);
                assert!((share - row.gap_fraction.unwrap()).abs() < 1e-6 && share > 0.1);
            }
            assert!(rows.iter().any(|row| row.gap_mask.is_some()));
            assert!(rows.iter().all(|row| row.cloud_confidence.is_some()));
            // The last column of tiles is salt, in the lower row all of it.
            let salt = rows.iter().filter(|row| row.tile_id.contains("/9984_5376_"));
            let salt: Vec<_> = salt.map(|row| row.cloud_fraction.unwrap()).collect();
            assert_eq!(salt.len(), 4);
            salt.iter().sum::<f32>() / 4.0
        };
        let inputs = [path("scenes")];
        tile::run(&config, &inputs, &path("one"), false, &context).unwrap();
        let masks = path("composite");
        tile::run_with_clouds(&config, &inputs, Some(&masks), &path("many"), false, &context)
            .unwrap();
        assert!(clouds_of(&path("one")) > 0.9);
        assert!(clouds_of(&path("many")) < 0.1, "{}", clouds_of(&path("many")));
    }

    #[test]
    fn scenes_without_days_are_refused_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let ground = |_: u32, _: u32| [50, 60, 70];
        testing::write(dir.path(), &[("Blue_Marble", "", &ground)], &[]);
        let output = dir.path().join("out");
        let error = run(&config(), dir.path(), &output, false, &Context::silent()).unwrap_err();
        assert!(error.to_string().contains("Blue_Marble"), "{error}");
    }
}
