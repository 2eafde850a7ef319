//! Maps, areas and sources against the stand-in: what is fetched is what the stand-in serves at the place.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::{Command, Output};

use curator_core::manifest::SCENES;
use curator_core::mosaic::Scenes;
use curator_core::scene::{self, NativeTile};
use curator_core::{BBox, Manifest, Projection, TileMatrix};
use curator_testkit::standin::{Options, Standin};

const TERRA: &str = "MODIS_Terra_CorrectedReflectance_TrueColor";

fn run(arguments: &[&str], service: &Standin, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gibs-downloader"))
        .args(arguments)
        .args(["--endpoint", &service.url()])
        .env("XDG_CACHE_HOME", output.with_extension("cache"))
        .output()
        .unwrap()
}

fn fetch(arguments: &[&str], service: &Standin, output: &Path) -> Vec<NativeTile> {
    let ended =
        run(&[&["fetch", "-o", output.to_str().unwrap()], arguments].concat(), service, output);
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    rows(output)
}

fn rows(directory: &Path) -> Vec<NativeTile> {
    let manifest = Manifest::open(directory, SCENES).unwrap();
    scene::rows(directory, &manifest).unwrap().collect::<Result<_, _>>().unwrap()
}

fn planned(arguments: &[&str], service: &Standin, output: &Path) -> serde_json::Value {
    let fixed = ["fetch", "--dry-run", "--json", "-o", output.to_str().unwrap()];
    let ended = run(&[&fixed, arguments].concat(), service, output);
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[test]
fn every_projection_is_fetched_and_placed() {
    let service = Standin::start(&Options::default()).unwrap();
    for (projection, bbox, resolution, level) in [
        ("3857", "-18,3,-15,6", "1km", 7),
        ("3413", "10,78,12,79", "1km", 3),
        ("antarctic", "-5,-76,5,-74", "0.5km", 4),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("scenes");
        let bbox_flag = format!("--bbox={bbox}");
        let flags = [
            TERRA,
            &bbox_flag,
            "--from",
            "2020-09-12",
            "--crs",
            projection,
            "--resolution",
            resolution,
        ];
        let tiles = fetch(&flags, &service, &out);
        let projection: Projection = projection.parse().unwrap();
        let matrix = TileMatrix::gibs(projection, level);
        let asked: BBox = bbox.parse().unwrap();
        assert_eq!(tiles.len() as u64, matrix.tiles_in(&asked).len());
        let scenes = Scenes::open(&out).unwrap();
        let [scene] = scenes.all() else { panic!("one scene") };
        assert_eq!(scene.matrix, matrix);
        assert!(scene.key.matrix_set.starts_with(&format!("epsg{}-", projection.epsg())));
        let vrt = std::fs::read_dir(out.join("vrt")).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(&vrt).unwrap();
        assert!(text.contains(&format!(">EPSG:{}</SRS>", projection.epsg())), "{text}");
        georeference_as_gdal_has_it(&vrt, &scenes);
        let again =
            run(&[&["fetch", "-o", out.to_str().unwrap()], &flags[..]].concat(), &service, &out);
        assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"), "{again:?}");
    }
}

/// The corner of the scene in degrees, as GDAL transforms it, is ours.
#[expect(clippy::print_stderr, reason = "says why it is skipped")]
fn georeference_as_gdal_has_it(vrt: &Path, scenes: &Scenes) {
    let Ok(about) = Command::new("gdalinfo").arg("-json").arg(vrt).output() else {
        eprintln!("skipped: no gdalinfo here");
        return;
    };
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).unwrap();
    let scene = &scenes.all()[0];
    let (left, top, right, bottom) = scene.extent();
    assert_eq!(about["size"], serde_json::json!([right - left, bottom - top]));
    let ring = about["wgs84Extent"]["coordinates"][0].as_array().unwrap().clone();
    let b = scene.matrix.bounds(scene.columns.start, scene.rows.start);
    let (lon, lat) = scene.matrix.projection.unproject(b.west, b.north).unwrap();
    let near = |corner: &serde_json::Value| {
        (corner[0].as_f64().unwrap() - lon).abs() < 1e-5
            && (corner[1].as_f64().unwrap() - lat).abs() < 1e-5
    };
    assert!(ring.iter().any(near), "{lon},{lat} in {ring:?}");
}

#[test]
fn areas_and_dates_are_planned() {
    let service = Standin::start(&Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scenes");
    let region = dir.path().join("region.geojson");
    let ring = "[[177,-20],[-178,-20],[-178,-15],[177,-15],[177,-20]]";
    std::fs::write(&region, format!(r#"{{"type":"Polygon","coordinates":[{ring}]}}"#)).unwrap();
    let region = region.to_str().unwrap();
    let tiles =
        |arguments: &[&str]| planned(arguments, &service, &out)["planned"].as_u64().unwrap();
    let day = ["--from", "2020-09-12", "--level", "5"];
    let of = |area: &[&str]| tiles(&[&[TERRA], area, &day].concat());
    assert_eq!(of(&["--region", region]), 4);
    assert_eq!(of(&["--bbox=177,-20,-178,-15"]), 4);
    assert_eq!(of(&["--point=-9,27", "--radius", "1"]), 4);
    assert_eq!(of(&["--globe"]), 800);
    let link = format!(
        "https://worldview.earthdata.nasa.gov/?v=177,-20,182,-15&l=VIIRS_NOAA20_Thermal_Anomalies_375m_Day,{TERRA}&t=2020-09-12"
    );
    assert_eq!(tiles(&["--worldview", &link, "--level", "5"]), 4);

    let dates =
        |flags: &[&str]| tiles(&[&[TERRA, "--bbox=1,1,2,2", "--level", "5"], flags].concat());
    assert_eq!(dates(&["--from", "2020-01-01", "--to", "2020-12-31", "--months", "6-8"]), 92);
    assert_eq!(dates(&["--from", "2020-03-01", "--to", "2020-03-10", "--every", "3"]), 4);
    assert_eq!(dates(&["--dates", "2020-03-01,2020-03-01,2020-05-01/2020-05-02"]), 3);
    // 130 ranges, of which capabilities list 100: June is asked for.
    let goes = ["GOES-East_ABI_GeoColor", "--bbox=1,1,2,2", "--level", "3"];
    let hours = ["--from", "2020-06-02T10:00:00Z", "--to", "2020-06-02T12:00:00Z"];
    assert_eq!(tiles(&[&goes[..], &hours].concat()), 13);
    // A page at a time: the ranges of eleven days do not fit on one.
    let paged = Standin::start(&Options { page: 3, ..Options::default() }).unwrap();
    let days = ["--from", "2020-06-02T10:00:00Z", "--to", "2020-06-12T12:00:00Z"];
    let all = tiles(&[&goes[..], &days].concat());
    let asked = planned(&[&goes[..], &days].concat(), &paged, &out);
    assert_eq!(asked["planned"].as_u64(), Some(all));
    assert!(!out.exists());
}

#[test]
fn other_sources_bring_the_same_bytes() {
    let service = Standin::start(&Options::default()).unwrap();
    let url = service.url();
    let dir = tempfile::tempdir().unwrap();
    let digests = |tiles: &[NativeTile]| {
        let mut digests: Vec<String> = tiles.iter().map(|tile| tile.sha256.clone()).collect();
        digests.sort();
        digests
    };
    let place = ["--bbox=-17,4,-15,6", "--from", "2020-09-12", "--to", "2020-09-13"];

    let mercator = [TERRA, "--crs", "3857", "--level", "6"];
    let gibs = fetch(&[&mercator[..], &place].concat(), &service, &dir.path().join("mercator"));
    let template = format!("{url}/xyz/{TERRA}/{{time}}/{{z}}/{{x}}/{{y}}.jpeg");
    let xyz = ["terra", "--source", "xyz", &template, "--level", "6"];
    let xyz = fetch(&[&xyz[..], &place].concat(), &service, &dir.path().join("xyz"));
    assert_eq!(digests(&gibs), digests(&xyz));
    assert_eq!((&*xyz[0].layer_asked, &*xyz[0].matrix_set), ("terra", "epsg3857-xyz"));

    let capabilities = format!("{url}/wmts/epsg3413/best/1.0.0/WMTSCapabilities.xml");
    let polar = ["--point=16,78", "--radius", "50", "--from", "2020-07-01", "--resolution", "1km"];
    let wmts = [TERRA, "--source", "wmts", &capabilities];
    let wmts = fetch(&[&wmts[..], &polar].concat(), &service, &dir.path().join("wmts"));
    let arctic = [TERRA, "--projection", "arctic"];
    let gibs = fetch(&[&arctic[..], &polar].concat(), &service, &dir.path().join("arctic"));
    assert_eq!(digests(&gibs), digests(&wmts));

    let geographic = [TERRA, "--level", "3"];
    let gibs = fetch(&[&geographic[..], &place].concat(), &service, &dir.path().join("geographic"));
    let stac = [TERRA, "--source", "stac", &format!("{url}/stac")];
    let out = dir.path().join("stac");
    let stac = fetch(&[&stac[..], &place].concat(), &service, &out);
    assert_eq!(digests(&gibs), digests(&stac));
    // Searched with POST; the size of its pictures is in their first bytes.
    let post = [TERRA, "--source", "stac", &format!("{url}/stac/post")];
    let post = fetch(&[&post[..], &place].concat(), &service, &dir.path().join("post"));
    let places = |tiles: &[NativeTile]| Vec::from_iter(tiles.iter().map(|t| (t.row, t.column)));
    assert_eq!((digests(&post), places(&post)), (digests(&stac), places(&stac)));
    let scenes = Scenes::open(&out).unwrap();
    assert_eq!(scenes.all().len(), 2);
    let scene = &scenes.all()[0];
    let (left, top, right, bottom) = scene.extent();
    let bbox = scene.bbox((left, top, right - left, bottom - top));
    assert_eq!(bbox, TileMatrix::gibs(Projection::Geographic, 3).tile_bbox(4, 2));
}

#[test]
fn a_folder_of_pictures_becomes_scenes_by_a_small_configuration() {
    let service = Standin::start(&Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for (name, west) in [
        ("dunes_2020-09-12", 10),
        ("dunes_2020-09-13", 10),
        ("dunes-2020-09-13", 12),
        ("lost_2020-09-13", 90),
    ] {
        let image = curator_core::Raster::filled(200, 100, &[west as u8, 90, 20]);
        std::fs::write(pictures.join(name).with_extension("png"), image.to_png().unwrap()).unwrap();
        if west != 90 {
            let world = format!("0.01\n0\n0\n-0.01\n{west}.005\n4.995\n");
            std::fs::write(pictures.join(name).with_extension("pgw"), world).unwrap();
        }
    }
    let config = dir.path().join("dunes.toml");
    let source = format!(
        "source = [\"folder\", {:?}]\ndates = [\"2020-09-13\"]\n",
        pictures.to_str().unwrap()
    );
    std::fs::write(&config, source).unwrap();
    let out = dir.path().join("scenes");
    let tiles = fetch(&["--config", config.to_str().unwrap()], &service, &out);
    let names: Vec<_> = tiles.iter().map(|tile| (&*tile.layer, &*tile.time)).collect();
    assert_eq!(names, [("dunes", "2020-09-13"); 2]);
    let scenes = Scenes::open(&out).unwrap();
    let [scene] = scenes.all() else { panic!("neighbours are one scene") };
    let (left, top, right, bottom) = scene.extent();
    assert_eq!((right - left, bottom - top), (400, 100));
    let bbox = scene.bbox((left, top, 400, 100));
    let off = (bbox.west - 10.0).abs().max((bbox.east - 14.0).abs()).max((bbox.north - 5.0).abs());
    assert!(off < 1e-6, "{bbox}");
    let far = run(
        &["fetch", "--source", "folder", pictures.to_str().unwrap(), "--bbox=50,0,60,5", "-o", "x"],
        &service,
        &out,
    );
    assert_eq!(far.status.code(), Some(2), "{far:?}");
}

#[test]
fn the_catalogue_is_filtered_and_shown() {
    let service = Standin::start(&Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("x");
    let found = |flags: &[&str]| {
        let ended = run(&[&["layers", "--json"], flags].concat(), &service, &out);
        assert!(ended.status.success(), "{ended:?}");
        let json: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        json["found"].as_u64().unwrap()
    };
    assert_eq!(found(&[]), 10);
    assert_eq!(found(&["--period", "monthly"]), 1);
    assert_eq!(found(&["--format", "vector"]), 1);
    assert_eq!(found(&["--resolution", "500m", "--format", "jpeg"]), 1);
    assert_eq!(found(&["--projection", "antarctic"]), 9);
    assert_eq!(found(&["--date", "1985-06-01"]), 2);
    let shown = run(&["layers", "show", "ndvi 8day"], &service, &out);
    let text = String::from_utf8_lossy(&shown.stdout);
    for part in [
        "250m in EPSG:4326, levels 0 to 8",
        "/colormaps/v1.3/MODIS_NDVI.xml",
        "2012-01-01/2020-12-26/P8D",
        "gibs-downloader fetch MODIS_Terra_NDVI_8Day",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Answers every request with a head and a body, and ends the connection.
fn one_answer(head: &'static str, body: &'static [u8]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

#[test]
fn capabilities_that_are_cut_or_huge_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let half = b"<?xml version=\"1.0\"?><Capabilities xmlns:ows=\"o\"><Contents><Layer><ows:Identifier>A</ows:Ident";
    for (head, body, said) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", &half[..], "larger than"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\n",
            &half[..90],
            "cannot be read",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nConnection: close\r\n\r\n",
            &half[..],
            "cannot be read",
        ),
    ] {
        let url = one_answer(head, body);
        let out = dir.path().join("scenes");
        let ended = Command::new(env!("CARGO_BIN_EXE_gibs-downloader"))
            .args(["fetch", "A", "--globe", "--retries", "0", "--endpoint", &url, "-o"])
            .arg(&out)
            .env("XDG_CACHE_HOME", dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{text}");
        assert!(text.contains(said) && text.contains("capabilities"), "{text}");
        assert!(!out.exists());
    }
}
