//! What a client asks for, by path or by keys and values.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use curator_core::Projection;

use super::exception;

/// One tile, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TileRequest {
    pub(super) layer: String,
    pub(super) time: Option<String>,
    pub(super) matrix_set: String,
    pub(super) level: String,
    pub(super) row: String,
    pub(super) column: String,
    pub(super) extension: String,
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Capabilities(Projection),
    Domains(Projection, String, String),
    Colormap(String),
    Tile(Projection, TileRequest),
    /// A document of the STAC interface: its path and its query.
    Stac(String, String),
}

type Refusal = Box<Response>;

/// Reads a request.
///
/// # Errors
/// The answer to a request that has no sense.
pub(super) fn read(uri: &Uri) -> Result<Wanted, Refusal> {
    let nowhere = |text| Box::new(exception::plain(StatusCode::NOT_FOUND, text));
    let path = uri.path().trim_matches('/').to_string();
    let parts: Vec<&str> = path.split('/').collect();
    let (projection, rest) = match &parts[..] {
        ["colormaps", "v1.3", file] => {
            let name = file.strip_suffix(".xml").ok_or_else(|| nowhere("no such colour map"))?;
            return Ok(Wanted::Colormap(name.into()));
        }
        ["stac", ..] => {
            return Ok(Wanted::Stac(path.clone(), uri.query().unwrap_or_default().into()));
        }
        ["xyz", layer, level, column, file] => {
            return Ok(xyz(layer, None, level, column, file));
        }
        ["xyz", layer, time, level, column, file] => {
            return Ok(xyz(layer, Some(time), level, column, file));
        }
        ["wmts", projection, "best" | "std" | "nrt" | "all", rest @ ..] => {
            let code = projection.strip_prefix("epsg").and_then(|code| code.parse().ok());
            let projection = code.and_then(Projection::from_epsg);
            (projection.ok_or_else(|| nowhere("no such projection"))?, rest)
        }
        _ => return Err(nowhere("no such service")),
    };
    let tile =
        |layer: &&str, time: Option<&&str>, set: &&str, level: &&str, row: &&str, file: &&str| {
            let (column, extension) = file.rsplit_once('.').unwrap_or((file, ""));
            let request = TileRequest {
                layer: (*layer).into(),
                time: time.map(|time| (*time).into()),
                matrix_set: (*set).into(),
                level: (*level).into(),
                row: (*row).into(),
                column: column.into(),
                extension: extension.into(),
            };
            Ok(Wanted::Tile(projection, request))
        };
    match rest {
        ["1.0.0", "WMTSCapabilities.xml"] => Ok(Wanted::Capabilities(projection)),
        ["1.0.0", layer, "default", _set, "all", file] => {
            let span = file.strip_suffix(".xml").ok_or_else(|| nowhere("no such path"))?;
            Ok(Wanted::Domains(projection, (*layer).into(), span.into()))
        }
        ["wmts.cgi"] => keys_and_values(projection, uri),
        [layer, _style, set, level, row, file] => tile(layer, None, set, level, row, file),
        [layer, _style, time, set, level, row, file] => {
            tile(layer, Some(time), set, level, row, file)
        }
        _ => Err(nowhere("no such path")),
    }
}

/// A tile of a map service: zoom, column, row. The matrix set is the layer's own.
fn xyz(layer: &str, time: Option<&str>, level: &str, column: &str, file: &str) -> Wanted {
    let (row, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let request = TileRequest {
        layer: layer.into(),
        time: time.map(Into::into),
        matrix_set: String::new(),
        level: level.into(),
        row: row.into(),
        column: column.into(),
        extension: extension.into(),
    };
    Wanted::Tile(Projection::WebMercator, request)
}

/// Key-value requests; keys are case-insensitive.
fn keys_and_values(projection: Projection, uri: &Uri) -> Result<Wanted, Refusal> {
    let pairs = Query::<HashMap<String, String>>::try_from_uri(uri).map_err(|_| {
        Box::new(exception::bad("NoApplicableCode", "", "the query cannot be read"))
    })?;
    let pairs: HashMap<String, String> =
        pairs.0.into_iter().map(|(key, value)| (key.to_ascii_uppercase(), value)).collect();
    let need = |key: &str| {
        pairs.get(key).cloned().ok_or_else(|| {
            Box::new(exception::bad("MissingParameterValue", key, &format!("{key} is missing")))
        })
    };
    match need("REQUEST")?.as_str() {
        "GetCapabilities" => Ok(Wanted::Capabilities(projection)),
        "DescribeDomains" => {
            let span =
                pairs.get("TIME").cloned().unwrap_or_else(|| "all".into()).replacen('/', "--", 1);
            Ok(Wanted::Domains(projection, need("LAYER")?, span))
        }
        "GetTile" => {
            let request = TileRequest {
                layer: need("LAYER")?,
                time: pairs.get("TIME").cloned(),
                matrix_set: need("TILEMATRIXSET")?,
                level: need("TILEMATRIX")?,
                row: need("TILEROW")?,
                column: need("TILECOL")?,
                extension: need("FORMAT")?.trim_start_matches("image/").into(),
            };
            Ok(Wanted::Tile(projection, request))
        }
        other => Err(Box::new(exception::with_status(
            StatusCode::NOT_IMPLEMENTED,
            "OperationNotSupported",
            "REQUEST",
            &format!("{other} is not supported"),
        ))),
    }
}
