use super::*;
use crate::companion;
use crate::sight::Sight;
use crate::testing::{self, DAYS, LAYER};
use curator_core::digest;

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
    let piles = pile::piles(&config, &scenes).unwrap();
    let mut made = Manifest::new(manifest::SCENES, CREATED_BY, recipe(&config, &piles));
    made.inputs = vec![scenes.manifest().as_input(&input)];
    let mut ledger = Ledger::open(&killed, &made.digest()).unwrap();
    let glances = vec![Glance::open(&scenes, piles[0].days[0]).unwrap()];
    let block = Block { pile: &piles[0], days: &glances, output: &killed };
    let line = block.compose(0, (5, 9), &context).unwrap();
    ledger.add(&line).unwrap();
    // Killed in the middle of the next line.
    use std::io::Write;
    let journal = killed.join(ledger::FILE_NAME);
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
        [200 + (curator_core::seed::mix(7, &[u64::from(x / 9), u64::from(y / 9)]) % 50) as u8; 3]
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
fn days_of_another_grid_are_composed_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("scenes"), dir.path().join("composite"));
    days(&input, &[0, 1, 2]);
    // The last day was fetched at another level.
    let path = input.join("scenes-00000.parquet");
    let mut rows: Vec<_> = scene::read(&path).unwrap().map(Result::unwrap).collect();
    for row in rows.iter_mut().filter(|row| row.time == DAYS[2]) {
        (row.matrix_set, row.level) = ("1km".into(), 6);
    }
    scene::write(&path, &rows).unwrap();
    let mut manifest = Manifest::read(&input).unwrap();
    let finer = TileMatrix::gibs(curator_core::Projection::Geographic, 6);
    manifest.config["matrices"]["1km/6"] = serde_json::to_value(finer).unwrap();
    manifest.parts[0].digest = digest::of_file(&path).unwrap();
    manifest.write(&input).unwrap();
    let report = run(&config(), &input, &output, false, &Context::silent()).unwrap();
    assert_eq!((report.composites, report.times, report.tiles), (2, 3, 4));
    let made = Scenes::open(&output).unwrap();
    let grids: Vec<(String, u32)> = companion::pictures(&made)
        .map(|scene| (scene.key.matrix_set.clone(), scene.key.level))
        .collect();
    assert_eq!(grids, [("2km".to_string(), 5), ("1km".to_string(), 6)]);
}

#[test]
fn nan_in_bands_is_a_gap_of_its_day_and_ground_on_others() {
    use curator_core::georeference::Georeference;
    use curator_core::samples::{Kind, Samples};
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("scenes"), dir.path().join("composite"));
    days(&input, &[0, 1, 2]);
    let path = input.join("scenes-00000.parquet");
    let mut rows: Vec<_> = scene::read(&path).unwrap().map(Result::unwrap).collect();
    // Left of column 100 on no day, right of column 400 on one day alone.
    for (day, row) in rows.iter_mut().enumerate() {
        let sample = |at: usize| match at / 2 % 512 {
            0..100 => f32::NAN,
            400.. if day == 0 => f32::NAN,
            // Rough, so that what is stretched to black is no region.
            _ => (curator_core::seed::mix(3, &[at as u64]) % 1000) as f32,
        };
        let samples = Samples {
            width: 512,
            height: 512,
            bands: 2,
            kind: Kind::F32,
            data: (0..512 * 512 * 2).map(sample).collect(),
            no_data: None,
            alpha: false,
            place: Georeference::Absent,
        };
        let bytes = samples.encode().unwrap();
        std::fs::write(input.join(&row.path), &bytes).unwrap();
        (row.length, row.media_type) = (bytes.len() as u64, "image/tiff".into());
        row.sha256 = digest::of_bytes(&bytes);
    }
    rows.retain(|row| row.column == 18);
    scene::write(&path, &rows).unwrap();
    let mut manifest = Manifest::read(&input).unwrap();
    manifest.parts[0].rows = rows.len() as u64;
    manifest.parts[0].digest = digest::of_file(&path).unwrap();
    manifest.write(&input).unwrap();
    let report = run(&config(), &input, &output, false, &Context::silent()).unwrap();
    assert_eq!((report.composites, report.tiles, report.broken), (1, 1, 0));
    let made = Scenes::open(&output).unwrap();
    let composite = companion::pictures(&made).next().unwrap();
    let (left, top, ..) = composite.extent();
    let (view, _) = Glance::open(&made, composite).unwrap().view((left, top, 512, 512));
    let gaps = |columns: std::ops::Range<usize>| {
        let all = view.sight.iter().enumerate().filter(|(at, _)| columns.contains(&(at % 512)));
        all.filter(|(_, sight)| **sight == Sight::Gap).count()
    };
    assert_eq!(gaps(0..100), 100 * 512);
    assert!(
        gaps(100..400) + gaps(400..512) < 412 * 512 / 50,
        "{} {}",
        gaps(100..400),
        gaps(400..512)
    );
}

#[test]
fn a_run_of_another_configuration_that_was_killed_is_ended_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("scenes"), dir.path().join("composite"));
    days(&input, &[0, 1]);
    std::fs::create_dir_all(output.join("native/old")).unwrap();
    std::fs::write(output.join("native/old/0_0.jpg"), "of another run").unwrap();
    Ledger::open(&output, "another work").unwrap().add(&Line::new(0)).unwrap();
    let run = |force| run(&config(), &input, &output, force, &Context::silent());
    let error = run(false).unwrap_err();
    assert!(error.to_string().contains("unfinished"), "{error}");
    assert!(output.join("native/old/0_0.jpg").exists());
    run(true).unwrap();
    assert!(!output.join("native/old").exists());
    let rasters = std::fs::read_dir(output.join("vrt")).unwrap().count();
    assert_eq!(rasters, 3 + 2);
}

#[test]
fn what_is_no_scenes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let error = run(&config(), dir.path(), &output, false, &Context::silent()).unwrap_err();
    assert!(matches!(error, Error::NoScenes { .. }), "{error}");
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
        shard_mb: 100,
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
    tile::run_with_clouds(&config, &inputs, Some(&masks), &path("many"), false, &context).unwrap();
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
