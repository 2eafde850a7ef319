//! A server that answers as NASA GIBS does: tiles by REST and KVP, capabilities, `Layer-*` headers, entity
//! tags, time snapping, empty tiles, and its errors. On request it misbehaves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use curator_core::grid::{Level, TILE_SIZE};
use curator_core::{BBox, Raster, digest};

use crate::Earth;
use crate::earth::is_gap;
use crate::truth::day_number;

/// Seconds a client is asked to wait by a 429.
const RETRY_AFTER: u64 = 1;

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 404 without XML.
    NotFound,
    /// 429 with `Retry-After`.
    TooMany,
    /// 500.
    Internal,
    /// An XML exception with status 200 where a picture was due.
    Xml,
    /// Half a JPEG.
    Half,
    /// No bytes.
    Empty,
    /// Headers, and then nothing.
    Stall,
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "404" => Self::NotFound,
            "429" => Self::TooMany,
            "500" => Self::Internal,
            "xml" => Self::Xml,
            "half" => Self::Half,
            "empty" => Self::Empty,
            "stall" => Self::Stall,
            _ => return Err("use 404, 429, 500, xml, half, empty or stall".into()),
        })
    }
}

/// What a stand-in serves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Port; 0 takes any that is free.
    pub port: u16,
    /// Real pictures instead of the procedural Earth: a folder with `bluemarble_small.jpg` and
    /// `multiday_global_1200x600/…_YYYY-MM-DD.png`.
    pub images: Option<PathBuf>,
    /// Misbehave at every n-th tile request.
    pub fault: Option<(Fault, u64)>,
}

/// A running stand-in; it stops when this is dropped.
pub struct Standin {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Standin {
    /// Starts a server on loopback, on a thread of its own.
    ///
    /// # Errors
    /// When the port is taken or the pictures cannot be read.
    pub fn start(options: &Options) -> std::io::Result<Self> {
        let requests = Arc::new(AtomicU64::new(0));
        let service = Arc::new(Service {
            source: Source::open(options.images.as_deref())?,
            fault: options.fault,
            requests: requests.clone(),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let server = axum::serve(listener, router(service));
                tokio::select! { _ = server => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        });
        Ok(Self { address, requests, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that stands for `https://gibs.earthdata.nasa.gov`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tile requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until the process is ended.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A layer: its id as GIBS has it, its finest matrix set, its days.
struct Layer {
    id: &'static str,
    title: &'static str,
    matrix_set: &'static str,
    max_level: u8,
    png: bool,
    /// First and last day; static when there is none.
    days: Option<(&'static str, &'static str)>,
}

const LAYERS: [Layer; 3] = [
    Layer {
        id: "MODIS_Terra_CorrectedReflectance_TrueColor",
        title: "Corrected Reflectance (True Color, Terra / MODIS)",
        matrix_set: "250m",
        max_level: 8,
        png: false,
        days: Some(("2012-05-08", "2020-12-31")),
    },
    Layer {
        id: "BlueMarble_ShadedRelief_Bathymetry",
        title: "Blue Marble, shaded relief and bathymetry",
        matrix_set: "500m",
        max_level: 7,
        png: false,
        days: None,
    },
    Layer {
        id: "MODIS_Terra_Data_No_Data",
        title: "No data (Terra / MODIS)",
        matrix_set: "250m",
        max_level: 8,
        png: true,
        days: Some(("2012-05-08", "2020-12-31")),
    },
];

/// What the pixels come from.
enum Source {
    Procedural(Earth),
    Pictures { still: Raster, days: HashMap<String, Raster> },
}

impl Source {
    fn open(images: Option<&Path>) -> std::io::Result<Self> {
        let Some(folder) = images else { return Ok(Self::Procedural(Earth::default())) };
        let read = |path: &Path| -> std::io::Result<Raster> {
            let bytes = std::fs::read(path)?;
            Raster::decode(&path.display().to_string(), &bytes).map_err(std::io::Error::other)
        };
        let mut days = HashMap::new();
        for entry in std::fs::read_dir(folder.join("multiday_global_1200x600"))? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let date = name.rsplit('_').next().unwrap_or_default().to_string();
            if day_number(&date).is_ok() {
                days.insert(date, read(&path)?);
            }
        }
        Ok(Self::Pictures { still: read(&folder.join("bluemarble_small.jpg"))?, days })
    }

    /// The picture of a tile, or `None` where a day has no data. Transparency is the second value.
    fn render(&self, layer: &Layer, day: &str, bbox: &BBox) -> Option<Raster> {
        match self {
            Self::Procedural(earth) if layer.days.is_none() => {
                Some(earth.render_surface(bbox, TILE_SIZE, TILE_SIZE))
            }
            Self::Procedural(earth) => {
                let day = day_number(day).ok()?;
                Some(earth.render(bbox, TILE_SIZE, TILE_SIZE, day))
            }
            Self::Pictures { still, .. } if layer.days.is_none() => Some(sample(still, bbox)),
            Self::Pictures { days, .. } => days.get(day).map(|picture| sample(picture, bbox)),
        }
    }
}

/// A box out of a picture of the whole globe, nearest pixel; black outside the world.
fn sample(globe: &Raster, bbox: &BBox) -> Raster {
    let step = (bbox.east - bbox.west) / f64::from(TILE_SIZE);
    let mut data = Vec::with_capacity((TILE_SIZE * TILE_SIZE * 3) as usize);
    for row in 0..TILE_SIZE {
        let lat = bbox.north - (f64::from(row) + 0.5) * step;
        for column in 0..TILE_SIZE {
            let lon = bbox.west + (f64::from(column) + 0.5) * step;
            if lon.abs() >= 180.0 || lat.abs() >= 90.0 {
                data.extend_from_slice(&[0; 3]);
            } else {
                let x = ((lon + 180.0) / 360.0 * f64::from(globe.width)) as u32;
                let y = ((90.0 - lat) / 180.0 * f64::from(globe.height)) as u32;
                data.extend_from_slice(
                    globe.pixel(x.min(globe.width - 1), y.min(globe.height - 1)),
                );
            }
        }
    }
    Raster { width: TILE_SIZE, height: TILE_SIZE, bands: 3, data }
}

struct Service {
    source: Source,
    fault: Option<(Fault, u64)>,
    requests: Arc<AtomicU64>,
}

fn router(service: Arc<Service>) -> Router {
    Router::new().route("/{*path}", get(answer)).with_state(service)
}

/// One tile, as a client names it.
struct Wanted {
    layer: String,
    time: Option<String>,
    matrix_set: String,
    level: String,
    row: String,
    column: String,
    extension: String,
}

async fn answer(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let path = request.uri().path().trim_matches('/').to_string();
    let parts: Vec<&str> = path.split('/').collect();
    let (["wmts", "epsg4326", "best" | "std" | "nrt" | "all"], rest) =
        parts.split_at(parts.len().min(3))
    else {
        return plain(StatusCode::NOT_FOUND, "no such service");
    };
    let wanted = match rest {
        ["1.0.0", "WMTSCapabilities.xml"] => return capabilities(&headers),
        ["wmts.cgi"] => kvp(&query.unwrap_or_default(), &headers),
        [layer, _style, set, level, row, file] => rest_tile(layer, None, set, level, row, file),
        [layer, _style, time, set, level, row, file] => {
            rest_tile(layer, Some(time), set, level, row, file)
        }
        _ => return plain(StatusCode::NOT_FOUND, "no such path"),
    };
    match wanted {
        Ok(wanted) => {
            let number = service.requests.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some((fault, every)) = service.fault
                && number.is_multiple_of(every.max(1))
            {
                return misbehave(fault).await;
            }
            let work = move || service.tile(&wanted, &headers);
            tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the stand-in failed"))
        }
        Err(response) => *response,
    }
}

type Refusal = Box<Response>;

fn rest_tile(
    layer: &str,
    time: Option<&str>,
    matrix_set: &str,
    level: &str,
    row: &str,
    file: &str,
) -> Result<Wanted, Refusal> {
    let (column, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    Ok(Wanted {
        layer: layer.into(),
        time: time.map(str::to_string),
        matrix_set: matrix_set.into(),
        level: level.into(),
        row: row.into(),
        column: column.into(),
        extension: extension.into(),
    })
}

/// Key-value requests; keys are case-insensitive.
fn kvp(query: &str, headers: &HeaderMap) -> Result<Wanted, Refusal> {
    let pairs: HashMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| {
            (key.to_ascii_uppercase(), value.replace("%2F", "/").replace("%2f", "/"))
        })
        .collect();
    let need = |key: &str| {
        pairs.get(key).cloned().ok_or_else(|| {
            Box::new(exception("MissingParameterValue", key, &format!("{key} is missing")))
        })
    };
    match need("REQUEST")?.as_str() {
        "GetCapabilities" => Err(Box::new(capabilities(headers))),
        "GetTile" => Ok(Wanted {
            layer: need("LAYER")?,
            time: pairs.get("TIME").cloned(),
            matrix_set: need("TILEMATRIXSET")?,
            level: need("TILEMATRIX")?,
            row: need("TILEROW")?,
            column: need("TILECOL")?,
            extension: need("FORMAT")?.trim_start_matches("image/").into(),
        }),
        other => Err(Box::new(
            (
                StatusCode::NOT_IMPLEMENTED,
                [(header::CONTENT_TYPE, "text/xml")],
                report("OperationNotSupported", "REQUEST", other),
            )
                .into_response(),
        )),
    }
}

impl Service {
    fn tile(&self, wanted: &Wanted, headers: &HeaderMap) -> Response {
        let invalid = |locator: &str, value: &str| {
            exception(
                "InvalidParameterValue",
                locator,
                &format!("{locator} `{value}` is not known"),
            )
        };
        let Some(layer) = LAYERS.iter().find(|layer| layer.id == wanted.layer) else {
            return invalid("LAYER", &wanted.layer);
        };
        let right_extension = match wanted.extension.as_str() {
            "png" => layer.png,
            "jpg" | "jpeg" => !layer.png,
            _ => false,
        };
        if !right_extension {
            return invalid("FORMAT", &wanted.extension);
        }
        if wanted.matrix_set != layer.matrix_set {
            return invalid("TILEMATRIXSET", &wanted.matrix_set);
        }
        let Some(level) =
            wanted.level.parse().ok().filter(|level| *level <= layer.max_level).map(Level)
        else {
            return invalid("TILEMATRIX", &wanted.level);
        };
        let place = wanted.row.parse::<u32>().ok().zip(wanted.column.parse::<u32>().ok());
        let Some((row, column)) = place.filter(|&(r, c)| r < level.rows() && c < level.columns())
        else {
            return exception(
                "TileOutOfRange",
                "TILEROW,TILECOL",
                "the tile is outside the matrix",
            );
        };
        let asked = wanted.time.clone().unwrap_or_else(|| "default".into());
        let actual = match (layer.days, asked.as_str()) {
            (None, _) => String::new(),
            (Some((_, last)), "default") => last.to_string(),
            (Some((first, last)), date) => match day_number(date) {
                Err(_) => return invalid("TIME", date),
                Ok(_) if &date[..10] < first || &date[..10] > last => {
                    return plain(StatusCode::NOT_FOUND, "Not Found");
                }
                Ok(_) => date[..10].to_string(),
            },
        };
        let bbox = level.tile_bbox(column, row);
        let encoded =
            if layer.png { mask(&bbox, &actual) } else { self.picture(layer, &actual, &bbox) };
        let Ok(bytes) = encoded else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the stand-in cannot encode");
        };
        let tag = format!("\"{}\"", &digest::of_bytes(&bytes)[..16]);
        if headers.get(header::IF_NONE_MATCH).and_then(|h| h.to_str().ok()) == Some(tag.as_str()) {
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
        }
        let media_type = if layer.png { "image/png" } else { "image/jpeg" };
        let time = |value: &str| {
            if value.len() == 10 { format!("{value}T00:00:00Z") } else { value.to_string() }
        };
        let mut response =
            ([(header::CONTENT_TYPE, media_type.to_string()), (header::ETAG, tag)], bytes)
                .into_response();
        for (name, value) in [
            ("layer-identifier-request", wanted.layer.clone()),
            ("layer-identifier-actual", layer.id.to_string()),
            ("layer-time-request", time(&asked)),
            ("layer-time-actual", time(&actual)),
        ] {
            if !(name.starts_with("layer-time") && layer.days.is_none())
                && let Ok(value) = value.parse()
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// JPEG; all black where a day has no data.
    fn picture(&self, layer: &Layer, day: &str, bbox: &BBox) -> curator_core::Result<Vec<u8>> {
        let picture = self.source.render(layer, day, bbox);
        picture.unwrap_or_else(|| Raster::filled(TILE_SIZE, TILE_SIZE, &[0; 3])).to_jpeg(90)
    }
}

/// The no-data mask of a day as a PNG: opaque where there is a gap, transparent elsewhere.
fn mask(bbox: &BBox, day: &str) -> curator_core::Result<Vec<u8>> {
    let day = day_number(day).unwrap_or(0);
    let step = (bbox.east - bbox.west) / f64::from(TILE_SIZE);
    let image = image::RgbaImage::from_fn(TILE_SIZE, TILE_SIZE, |x, y| {
        let lon = bbox.west + (f64::from(x) + 0.5) * step;
        let lat = bbox.north - (f64::from(y) + 0.5) * step;
        if is_gap(lon, lat, day) { image::Rgba([85, 85, 85, 255]) } else { image::Rgba([0; 4]) }
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|e| curator_core::Error::Image { name: "mask".into(), reason: e.to_string() })?;
    Ok(bytes.into_inner())
}

async fn misbehave(fault: Fault) -> Response {
    let jpeg = [(header::CONTENT_TYPE, "image/jpeg")];
    match fault {
        Fault::NotFound => plain(StatusCode::NOT_FOUND, "Not Found"),
        Fault::TooMany => {
            let wait = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait, "slow down").into_response()
        }
        Fault::Internal => plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Fault::Xml => (jpeg, report("NoApplicableCode", "", "mapserver failed")).into_response(),
        Fault::Half => {
            let whole = Raster::filled(TILE_SIZE, TILE_SIZE, &[40, 80, 120])
                .to_jpeg(90)
                .unwrap_or_default();
            (jpeg, whole[..whole.len() / 2].to_vec()).into_response()
        }
        Fault::Empty => (jpeg, Vec::new()).into_response(),
        Fault::Stall => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            plain(StatusCode::OK, "")
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

fn exception(code: &str, locator: &str, text: &str) -> Response {
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/xml")], report(code, locator, text))
        .into_response()
}

fn report(code: &str, locator: &str, text: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ows:ExceptionReport \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\" version=\"1.1.0\" xml:lang=\"en\">\
         <ows:Exception exceptionCode=\"{code}\" locator=\"{locator}\"><ows:ExceptionText>{text}\
         </ows:ExceptionText></ows:Exception></ows:ExceptionReport>"
    )
}

/// WMTS 1.0.0 capabilities of the layers.
fn capabilities(headers: &HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("127.0.0.1");
    let base = format!("http://{host}/wmts/epsg4326/best");
    let layers: String = LAYERS.iter().map(|layer| describe(layer, &base)).collect();
    let sets: String =
        [("500m", 7_u8), ("250m", 8)].iter().map(|&(name, max)| matrix_set(name, max)).collect();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Capabilities xmlns=\"http://www.opengis.net/wmts/1.0\" \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         version=\"1.0.0\"><ows:ServiceIdentification><ows:Title>Stand-in for GIBS</ows:Title>\
         <ows:ServiceType>OGC WMTS</ows:ServiceType><ows:ServiceTypeVersion>1.0.0</ows:ServiceTypeVersion>\
         </ows:ServiceIdentification><Contents>{layers}{sets}</Contents></Capabilities>"
    );
    let tag = format!("\"{}\"", &digest::of_bytes(xml.as_bytes())[..16]);
    if headers.get(header::IF_NONE_MATCH).and_then(|h| h.to_str().ok()) == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::CONTENT_TYPE, "text/xml".to_string()), (header::ETAG, tag)], xml).into_response()
}

fn describe(layer: &Layer, base: &str) -> String {
    let (format, extension) = if layer.png { ("image/png", "png") } else { ("image/jpeg", "jpeg") };
    let (dimension, time) = match layer.days {
        Some((first, last)) => (
            format!(
                "<Dimension><ows:Identifier>Time</ows:Identifier><ows:UOM>ISO8601</ows:UOM>\
                 <Default>{last}</Default><Current>false</Current><Value>{first}/{last}/P1D</Value></Dimension>"
            ),
            "/{Time}",
        ),
        None => (String::new(), ""),
    };
    format!(
        "<Layer><ows:Title xml:lang=\"en\">{title}</ows:Title><ows:WGS84BoundingBox crs=\"urn:ogc:def:crs:OGC:2:84\">\
         <ows:LowerCorner>-180 -90</ows:LowerCorner><ows:UpperCorner>180 90</ows:UpperCorner>\
         </ows:WGS84BoundingBox><ows:Identifier>{id}</ows:Identifier><Style isDefault=\"true\">\
         <ows:Title xml:lang=\"en\">default</ows:Title><ows:Identifier>default</ows:Identifier></Style>\
         <Format>{format}</Format>{dimension}<TileMatrixSetLink><TileMatrixSet>{set}</TileMatrixSet>\
         </TileMatrixSetLink><ResourceURL format=\"{format}\" resourceType=\"tile\" \
         template=\"{base}/{id}/default{time}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{extension}\"/>\
         </Layer>",
        title = layer.title,
        id = layer.id,
        set = layer.matrix_set,
    )
}

fn matrix_set(name: &str, max: u8) -> String {
    /// Scale denominator at level 0, from the service.
    const DENOMINATOR: f64 = 223_632_905.611_487_1;
    let levels: String = (0..=max)
        .map(|z| {
            format!(
                "<TileMatrix><ows:Identifier>{z}</ows:Identifier><ScaleDenominator>{}</ScaleDenominator>\
                 <TopLeftCorner>-180 90</TopLeftCorner><TileWidth>512</TileWidth><TileHeight>512</TileHeight>\
                 <MatrixWidth>{}</MatrixWidth><MatrixHeight>{}</MatrixHeight></TileMatrix>",
                DENOMINATOR / f64::from(1_u32 << z),
                Level(z).columns(),
                Level(z).rows()
            )
        })
        .collect();
    format!(
        "<TileMatrixSet><ows:Identifier>{name}</ows:Identifier>\
         <ows:SupportedCRS>urn:ogc:def:crs:OGC:1.3:CRS84</ows:SupportedCRS>{levels}</TileMatrixSet>"
    )
}
