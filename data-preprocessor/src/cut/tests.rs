use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use curator_core::context::{Progress, Task};
use curator_core::{Diagnose, Location, Manifest, Tile, TileSet, manifest, picture};

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
        shard_mb: 100,
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
        let windows = rows.iter().filter(|t| matches!(t.location, Location::Window { .. })).count();
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
fn a_black_spot_that_is_no_gap_does_not_keep_what_is_around_from_passing_through() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenes");
    // A dark lake with a black spot, and land with a gap: what is beside the gap is looked at, the rest is not.
    let picture = |gap: bool| {
        move |x: u32, y: u32| match (x, y) {
            (200..208, 200..208) => [0; 3],
            (100..300, 100..300) => [24 + (x * y % 5) as u8; 3],
            (600..700, _) if gap => [0; 3],
            _ => [100 + (x % 50) as u8, 90 + (y % 60) as u8, 80],
        }
    };
    let (lake, both) = (picture(false), picture(true));
    testing::write(&path, &[(LAYER, DAYS[0], &lake), (LAYER, DAYS[1], &both)], &[]);
    let rows = curator_core::scene::read(&path.join("scenes-00000.parquet")).unwrap();
    assert!(rows.map(Result::unwrap).filter(|native| native.empty_share > 0.0).count() == 3);
    let out = dir.path().join("tiles");
    run(&config(512, 0.0), &path, &out);
    let (_, rows) = tiles(&out);
    let looked: Vec<_> = rows.iter().map(|row| row.cloud_fraction.is_some()).collect();
    assert_eq!(looked, [false, false, true, true]);
    let gaps: Vec<_> = rows.iter().map(|row| row.gap_fraction > Some(0.0)).collect();
    assert_eq!(gaps, [false, false, false, true]);
}

#[test]
fn what_is_not_filled_stays_as_it_was_served_and_its_mask_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = scenes(dir.path());
    let (filled, left) = (dir.path().join("filled"), dir.path().join("left"));
    for (side, is_virtual) in [(512, false), (128, false), (128, true)] {
        let [filled, left] = [&filled, &left].map(|out| out.join(format!("{side} {is_virtual}")));
        let base = TileConfig { is_virtual, max_gap: 1.0, ..config(side, 0.0) };
        run(&base, &scenes, &filled);
        run(&TileConfig { fill: Fill::None, ..base }, &scenes, &left);
        let ((set, rows), (_, others)) = (tiles(&left), tiles(&filled));
        let mut with_gaps = 0;
        for (row, other) in rows.iter().zip(&others) {
            assert_eq!((&row.gap_mask, row.gap_fraction), (&other.gap_mask, other.gap_fraction));
            if let Some(mask) = &row.gap_mask {
                let mask = curator_core::Raster::decode("mask", mask).unwrap();
                let picture = set.decode(&row.location).unwrap();
                let gap = (0..mask.data.len()).filter(|&at| mask.data[at] == 255);
                let black = gap.clone().filter(|&at| picture.data[at] < 40).count();
                assert!(black * 20 > gap.count() * 19);
                with_gaps += 1;
            }
            let is_window = matches!(row.location, Location::Window { .. });
            assert_eq!(is_window, is_virtual, "{row:?}");
        }
        assert!(with_gaps > 1 && with_gaps < rows.len(), "{with_gaps}");
    }
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
        let by_id: HashMap<&str, &Tile> = rows.iter().map(|t| (t.tile_id.as_str(), t)).collect();
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
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
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
        TileConfig { is_virtual: true, store: Store::Folders(Layout::Modis), ..config(64, 0.0) },
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
