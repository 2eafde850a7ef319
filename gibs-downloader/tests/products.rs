//! What is made of scenes, by the real program: files that are whole, settings that are remembered, input that
//! cannot be used. Pixels are compared with GDAL's in `scripts/e2e/products.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use curator_core::samples::Samples;
use curator_core::{Raster, digest};
use curator_testkit::standin::{Options, Standin, vegetation_of};

const TRUE_COLOR: &str = "MODIS_Terra_CorrectedReflectance_TrueColor";

struct Place {
    dir: tempfile::TempDir,
    service: Standin,
}

impl Place {
    fn new() -> Self {
        let service = Standin::start(&Options::default()).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gibs-downloader"));
        command.args(arguments).current_dir(self.dir.path());
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env("CURATOR_GIBS_ENDPOINT", self.service.url());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).arg("--json").output().unwrap())
    }

    /// Fetches a layer's tiles of a box at level 6 into `scenes`.
    fn fetch(&self, layer: &str, dates: [&str; 2]) {
        let [from, to] = dates;
        let ended = self.run(&[
            "fetch",
            layer,
            "--bbox=-18,2,-10,9",
            "--level=6",
            "--from",
            from,
            "--to",
            to,
            "-o",
            "scenes",
        ]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    json: serde_json::Value,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn decode(path: &Path) -> Raster {
    Raster::decode("made", &std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_mosaic_is_left_alone_by_the_same_command_and_refused_to_others() {
    let place = Place::new();
    place.fetch(TRUE_COLOR, ["2020-09-12", "2020-09-13"]);
    let all = place.run(&["mosaic", "scenes", "-o", "all"]);
    assert_eq!((all.code, all.json["made"].as_array().unwrap().len()), (0, 2), "{all:?}");
    let again = place.run(&["mosaic", "scenes", "-o", "all"]);
    assert!(again.json["made"].as_array().unwrap().iter().all(|made| made["up_to_date"] == true));

    let one = ["mosaic", "scenes", "--from", "2020-09-12", "-o", "one.png", "--bbox=-17,3,-15,5"];
    assert_eq!(place.run(&one).code, 0);
    let before = std::fs::read(place.path("one.png")).unwrap();
    let other = ["mosaic", "scenes", "--from", "2020-09-13", "-o", "one.png", "--bbox=-17,3,-15,5"];
    let refused = place.run(&other);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(std::fs::read(place.path("one.png")).unwrap(), before);
    let forced = place.run(&[&other[..], &["--force"]].concat());
    assert_eq!(forced.code, 0, "{forced:?}");
    assert_ne!(std::fs::read(place.path("one.png")).unwrap(), before);
    assert!(place.path("one.pgw").is_file() && place.path("one.png.aux.xml").is_file());

    // The same pixels in each lossless format; a JPEG is near.
    for name in ["one.tif", "none.tif", "one.jpg"] {
        let mut arguments = other.to_vec();
        arguments[5] = name;
        if name == "none.tif" {
            arguments.extend(["--compression", "none"]);
        }
        assert_eq!(place.run(&arguments).code, 0, "{name}");
    }
    let png = decode(&place.path("one.png"));
    assert_eq!(decode(&place.path("one.tif")), png);
    assert_eq!(decode(&place.path("none.tif")), png);
    let jpeg = decode(&place.path("one.jpg"));
    let error: u64 = jpeg.data.iter().zip(&png.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(error < 4 * png.data.len() as u64);
}

#[test]
fn a_killed_run_leaves_no_half_and_the_next_one_ends_the_same() {
    let place = Place::new();
    place.fetch(TRUE_COLOR, ["2020-09-12", "2020-09-14"]);
    let arguments = |output| ["mosaic", "scenes", "-o", output];
    assert_eq!(place.run(&arguments("whole")).code, 0);
    let files = |folder: &str| -> Vec<(String, String)> {
        let Ok(entries) = std::fs::read_dir(place.path(folder)) else { return Vec::new() };
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "tif"))
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, digest::of_file(&path).unwrap())
            })
            .filter(|(name, _)| !name.starts_with(".tmp"))
            .collect();
        files.sort();
        files
    };
    let whole = files("whole");
    assert_eq!(whole.len(), 3);
    for round in 0..6_u64 {
        let mut running = place
            .command(&arguments("killed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + 60 * round));
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(files("killed").iter().all(|file| whole.contains(file)), "round {round}");
    }
    assert_eq!(place.run(&arguments("killed")).code, 0);
    assert_eq!(files("killed"), whole);
}

#[test]
fn values_are_those_that_the_colors_were_made_of() {
    let place = Place::new();
    place.fetch("MODIS_Terra_NDVI_8Day", ["2020-09-05", "2020-09-05"]);
    assert!(place.path("scenes/colormaps/MODIS_Terra_NDVI_8Day.xml").is_file());
    let made =
        place.run(&["values", "scenes", "-o", "ndvi.tif", "--bbox=-17,3,-11,8", "--offline"]);
    assert_eq!(made.code, 0, "{made:?}");
    let picture = place.run(&["mosaic", "scenes", "-o", "ndvi.png", "--bbox=-17,3,-11,8"]);
    assert_eq!(picture.code, 0, "{picture:?}");
    let values = Samples::decode("v", &std::fs::read(place.path("ndvi.tif")).unwrap()).unwrap();
    let colors = image::open(place.path("ndvi.png")).unwrap().into_rgba8();
    assert_eq!((values.width, values.height), colors.dimensions());
    assert!(values.no_data.is_some_and(f32::is_nan));
    let mut seen = 0;
    for (value, pixel) in values.data.iter().zip(colors.pixels()) {
        let [r, g, b, opacity] = pixel.0;
        if opacity == 0 {
            assert!(value.is_nan());
        } else {
            let truth = vegetation_of([r, g, b]).unwrap();
            assert!((f64::from(*value) - truth).abs() < 1e-6, "{value} {truth}");
            seen += 1;
        }
    }
    assert!(seen > 10_000, "{seen}");
    assert_eq!(made.json["made"][0]["pixels"]["exact"], seen);
    let bbox = values.place.bbox().unwrap();
    assert!((bbox.west + 17.0).abs() < 0.01 && (bbox.north - 8.0).abs() < 0.01, "{bbox}");

    // Pictures are no measurements, but can be bands beside them.
    place.fetch(TRUE_COLOR, ["2020-09-05", "2020-09-05"]);
    place.fetch(TRUE_COLOR, ["2020-09-02", "2020-09-02"]);
    let stacked = place.run(&["values", "scenes", "-o", "bands", "--stack"]);
    // The vegetation index is of the eight days that began on the 3rd.
    let [file] = &stacked.json["made"].as_array().unwrap()[..] else { panic!("{stacked:?}") };
    assert_eq!((&file["time"], file["bands"].as_array().unwrap().len()), (&"2020-09-05".into(), 4));
    let none = place.run(&["values", "scenes", "-o", "x", "--layer", TRUE_COLOR]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.stderr.contains("no colour map"), "{none:?}");
}

#[test]
fn what_cannot_be_used_is_refused_with_what_there_is() {
    let place = Place::new();
    place.fetch(TRUE_COLOR, ["2020-09-12", "2020-09-13"]);
    let cases: [(&[&str], i32, &str); 10] = [
        (&["mosaic", "nowhere", "-o", "x.tif"], 1, "does not exist"),
        (&["mosaic", "scenes", "-o", "x.tif"], 2, "2 scenes do not fit"),
        (&["mosaic", "scenes", "-o", "x", "--layer", "other"], 2, "2020-09-12 to 2020-09-13"),
        (&["mosaic", "scenes", "-o", "x", "--from", "2021-01-01"], 2, "level 6"),
        (&["mosaic", "scenes", "-o", "x", "--from", "yesterday"], 2, "yesterday"),
        (&["mosaic", "scenes", "-o", "x", "--bbox=100,50,110,60"], 2, "lies in that area"),
        (
            &[
                "mosaic",
                "scenes",
                "-o",
                "x",
                "--bbox=-180,-90,180,90",
                "--format",
                "jpeg",
                "--from",
                "2020-09-12",
            ],
            2,
            "too many",
        ),
        (&["animate", "scenes", "-o", "x.avi"], 2, ".mp4"),
        (&["animate", "scenes", "-o", "x.mp4", "--fps", "0"], 2, "0.05"),
        (&["values", "scenes", "-o", "x", "--colormap", "scenes/CREDIT.txt"], 1, "colour map"),
    ];
    for (arguments, code, text) in cases {
        let ended = place.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(text), "{arguments:?}: {}", ended.stderr);
        assert!(!place.path("x").exists() && !place.path("x.tif").exists(), "{arguments:?}");
    }
}

#[test]
fn a_tile_that_cannot_be_read_is_missing_and_the_exit_code_says_so() {
    let place = Place::new();
    place.fetch(TRUE_COLOR, ["2020-09-12", "2020-09-12"]);
    let files: Vec<PathBuf> = walk(&place.path("scenes/native"));
    // Wherever the bytes are kept: nothing of one file can be read any more.
    let size = std::fs::metadata(&files[0]).unwrap().len() as usize;
    std::fs::write(&files[0], vec![0; size]).unwrap();
    let ended = place.run(&["mosaic", "scenes", "-o", "x.tif"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.json["broken"].as_u64().unwrap() >= 1, "{ended:?}");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
