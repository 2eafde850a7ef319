//! The stand-in as a client sees it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics, and says what it skips"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use curator_core::Raster;
use curator_testkit::standin::{Fault, Options, Standin, vegetation_of};

const TRUE_COLOR: &str = "MODIS_Terra_CorrectedReflectance_TrueColor";

/// Status, headers in lower case, body.
fn get(standin: &Standin, path: &str, header: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(standin.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: standin\r\nConnection: close\r\n{header}\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    (head[9..12].parse().unwrap(), head, bytes[end + 4..].to_vec())
}

fn tile(layer: &str, time: &str, place: &str) -> String {
    format!("/wmts/epsg4326/best/{layer}/default/{time}/{place}")
}

#[test]
fn times_snap_and_headers_tell() {
    let standin = Standin::start(&Options::default()).unwrap();
    let annual = "Landsat_WELD_CorrectedReflectance_TrueColor_Global_Annual";
    let (status, head, body) = get(&standin, &tile(annual, "2011-03-11", "250m/3/3/4.jpg"), "");
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("layer-time-request: 2011-03-11t00:00:00z"), "{head}");
    assert!(head.contains("layer-time-actual: 2011-01-01t00:00:00z"), "{head}");
    assert_eq!(Raster::decode("tile", &body).unwrap().width, 512);
    let gap = get(&standin, &tile(annual, "1990-01-01", "250m/3/3/4.jpg"), "");
    assert_eq!((gap.0, gap.2.as_slice()), (404, b"Not Found".as_slice()));

    let aqua = "MODIS_Aqua_CorrectedReflectance_TrueColor";
    let (_, head, _) = get(&standin, &tile(aqua, "default", "250m/3/3/4.jpeg"), "");
    assert!(
        head.contains("layer-identifier-actual: modis_aqua_correctedreflectance_truecolor_v6_std")
    );
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_string();
    let condition = format!("If-None-Match: {tag}\r\n");
    assert_eq!(get(&standin, &tile(aqua, "default", "250m/3/3/4.jpeg"), &condition).0, 304);
}

#[test]
fn wrong_requests_name_what_is_wrong() {
    let standin = Standin::start(&Options::default()).unwrap();
    for (path, locator) in [
        (tile("No_Such_Layer", "2020-09-12", "250m/3/3/4.jpg"), "LAYER"),
        (tile(TRUE_COLOR, "2020-09-12", "250m/3/3/4.png"), "FORMAT"),
        (tile(TRUE_COLOR, "2020-09-12", "500m/3/3/4.jpg"), "TILEMATRIXSET"),
        (tile(TRUE_COLOR, "2020-09-12", "250m/9/3/4.jpg"), "TILEMATRIX"),
        (tile(TRUE_COLOR, "2020-09-12", "250m/3/5/4.jpg"), "TILEROW,TILECOL"),
        (tile(TRUE_COLOR, "12.9.2020", "250m/3/3/4.jpg"), "TIME"),
        ("/wmts/epsg4326/best/wmts.cgi?request=GetTile".into(), "LAYER"),
    ] {
        let (status, _, body) = get(&standin, &path, "");
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, 400, "{path}");
        assert!(body.contains(&format!("locator=\"{locator}\"")), "{path}: {body}");
    }
    assert_eq!(get(&standin, "/wmts/epsg4326/best/wmts.cgi?request=GetMap", "").0, 501);
    assert_eq!(get(&standin, "/wmts/epsg9999/best/1.0.0/WMTSCapabilities.xml", "").0, 404);
}

#[test]
fn domains_have_the_ranges_that_capabilities_leave_out() {
    let standin = Standin::start(&Options::default()).unwrap();
    let (_, _, body) = get(&standin, "/wmts/epsg4326/best/1.0.0/WMTSCapabilities.xml", "");
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains("2020-06-01T00:00:00Z"), "only the latest 100 ranges are listed");
    let path = "/wmts/epsg4326/best/1.0.0/GOES-East_ABI_GeoColor/default/1km/all";
    let (_, _, body) = get(&standin, &format!("{path}/all.xml"), "");
    let text = String::from_utf8(body).unwrap();
    assert!(
        text.contains("<Size>130</Size>")
            && text.contains("2020-06-01T00:00:00Z/2020-06-01T22:50:00Z/PT10M")
    );
    let (_, _, body) = get(&standin, &format!("{path}/2020-06-03--2020-06-04.xml"), "");
    assert!(String::from_utf8(body).unwrap().contains("<Size>2</Size>"));
    assert_eq!(get(&standin, &format!("{path}/yesterday.xml"), "").0, 400);
}

#[test]
fn palette_colors_lead_back_to_the_values() {
    let standin = Standin::start(&Options::default()).unwrap();
    let path = tile("MODIS_Terra_L3_NDVI_Monthly", "2020-06-01", "1km/4/5/9.png");
    let (_, head, body) = get(&standin, &path, "");
    assert!(head.contains("content-type: image/png"));
    let image = image::load_from_memory(&body).unwrap().to_rgba8();
    let opaque: Vec<_> = image.pixels().filter(|pixel| pixel.0[3] == 255).collect();
    assert!(opaque.len() > 1000, "the tile shows land");
    assert!(opaque.iter().all(|p| vegetation_of([p.0[0], p.0[1], p.0[2]]).is_some()));
}

#[test]
fn faults_come_as_often_as_asked() {
    let asked = Options { fault: Some((Fault::Cut, 2)), ..Options::default() };
    let standin = Standin::start(&asked).unwrap();
    let path = tile(TRUE_COLOR, "2020-09-12", "250m/3/3/4.jpg");
    assert!(Raster::decode("tile", &get(&standin, &path, "").2).is_ok());
    let (status, head, body) = get(&standin, &path, "");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(status, 200);
    assert!(body.len() < length.parse().unwrap(), "the body is cut");

    let limited = Standin::start(&Options { limit: Some(1), ..Options::default() }).unwrap();
    let answers = [0; 3].map(|_| get(&limited, &path, "").0);
    assert!(answers.contains(&200) && answers.contains(&429), "{answers:?}");
}

#[test]
fn real_pictures_are_layers() {
    let Some(shared) = curator_testkit::shared_data() else {
        eprintln!("skipped: no shared test data");
        return;
    };
    let asked = Options { images: Some(shared.join("gibs")), ..Options::default() };
    let standin = Standin::start(&asked).unwrap();
    let (_, _, body) = get(&standin, "/wmts/epsg4326/best/1.0.0/WMTSCapabilities.xml", "");
    let text = String::from_utf8(body).unwrap();
    for id in [
        "MODIS_Terra_CR_TrueColor",
        "bluemarble_small",
        "MODIS_Terra_CorrectedReflectance_TrueColor_0",
    ] {
        assert!(text.contains(&format!("<ows:Identifier>{id}</ows:Identifier>")), "{id}");
    }
    let path = tile("MODIS_Terra_CR_TrueColor", "2019-09-12", "16km/0/0/0.jpg");
    let (status, head, body) = get(&standin, &path, "");
    assert_eq!(status, 200, "{head}");
    let globe = Raster::decode("globe", &body).unwrap();
    let seen = globe.data.iter().filter(|&&sample| sample > 8).count();
    assert!(seen > globe.data.len() / 4, "the globe is there");
}
