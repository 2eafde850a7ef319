//! Tiles by zoom, column and row in Web Mercator, as most map services have them.

use std::collections::BTreeMap;

use curator_core::{Projection, TileMatrix};

use crate::archive::is_layer_name;
use crate::catalogue::{Catalogue, Layer, MatrixSet, Origin, Tiling, Zoom};
use crate::dates::Dates;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::plan::{self, Ask, Job};
use crate::{detail, times};

/// Width and height of a tile in pixels.
pub(crate) type TileSize = u32;

/// The deepest zoom that such services have.
const DEEPEST: u8 = 23;

/// Days that a template with a time may be asked for.
const EVERY_DAY: &str = "1970-01-01/2200-01-01/P1D";

/// The address of a template's service: what stands before the first placeholder's segment.
///
/// # Errors
/// When the template lacks a placeholder.
pub(super) fn address(template: &str) -> Result<String> {
    let missing = [&["{z}"][..], &["{x}"], &["{y}", "{-y}"]]
        .into_iter()
        .find(|names| !names.iter().any(|name| template.contains(name)));
    if let Some(names) = missing {
        return Err(Error::Endpoint {
            endpoint: template.into(),
            reason: format!("it has no `{}`", names[0]),
        });
    }
    let plain = template.replace("{s}", "a");
    let path = plain.split('{').next().unwrap_or_default();
    Ok(path.rsplit_once('/').map_or(path, |(address, _)| address).to_string())
}

/// The job of a template's tiles.
///
/// # Errors
/// When the area, the level or the dates are missing or have no sense.
pub(super) fn job(typed: &str, config: &Config) -> Result<Job> {
    let endpoint = Endpoint::other(&address(typed)?)?;
    let id = config.layers.first().map_or("xyz", String::as_str);
    if !is_layer_name(id) || config.layers.len() > 1 {
        return Err(curator_core::Error::Setting {
            name: "LAYER",
            found: format!("`{}`", config.layers.join(" ")),
            expected: "one name of letters, digits, `-`, `_` and `.`, to file the tiles under"
                .into(),
        }
        .into());
    }
    let size = config.tile_size;
    let zoom = |level: u8| {
        let gibs = TileMatrix::gibs(Projection::WebMercator, level);
        let pixel = gibs.pixel.0 * 256.0 / f64::from(size);
        Zoom {
            id: level.to_string(),
            matrix: TileMatrix { pixel: (pixel, pixel), tile: (size, size), ..gibs },
        }
    };
    let name = if size == 256 { "xyz".to_string() } else { format!("xyz{size}") };
    let set = MatrixSet { name: name.clone(), levels: (0..=DEEPEST).map(zoom).collect() };
    if config.detail == detail::Detail::Finest {
        return Err(curator_core::Error::Setting {
            name: "level",
            found: "missing".into(),
            expected: "`--level Z` or `--resolution 500m`: the template does not say its finest"
                .into(),
        }
        .into());
    }
    let timed = ["{Time}", "{time}", "{date}"].iter().any(|name| typed.contains(name));
    let template = [
        ("{time}", "{Time}"),
        ("{date}", "{Time}"),
        ("{s}", "a"),
        ("{z}", "{TileMatrix}"),
        ("{x}", "{TileCol}"),
        ("{y}", "{TileRow}"),
        ("{-y}", "{TileRowUp}"),
    ]
    .iter()
    .fold(typed.to_string(), |text, (from, to)| text.replace(from, to));
    let path = template.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let format = match path.rsplit('.').next() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("tif" | "tiff") => "image/tiff",
        // Any picture; the body says which.
        _ => "",
    };
    let tiling = Tiling { set: name, template: Some(template), ..Tiling::default() };
    let layer = Layer {
        id: id.into(),
        title: id.into(),
        format: Some(format.into()),
        tilings: BTreeMap::from([(Projection::WebMercator, tiling)]),
        times: if timed { times::parse_list(EVERY_DAY) } else { Vec::new() },
        ..Layer::default()
    };
    let catalogue = Catalogue { layers: Vec::new(), sets: vec![set], origin: Origin::Service };
    let dates = Dates::new(&config.dates)?;
    let ask = Ask {
        area: config.area.as_ref().ok_or(Error::NoArea)?,
        dates: dates.as_ref(),
        detail: config.detail,
        projection: Projection::WebMercator,
    };
    plan::job(&layer, &catalogue, &ask, &endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detail::Detail;

    fn config(source: &str) -> Config {
        Config {
            area: Some(crate::area::Area::Box("-18,27.5,-13.6,31".parse().unwrap())),
            detail: Detail::Level(6),
            layers: vec!["osm".into()],
            source: crate::source::Source::Xyz(source.into()),
            ..Config::default()
        }
    }

    #[test]
    fn urls_have_zoom_column_and_row() {
        let template = "https://{s}.tile/{z}/{x}/{y}.png?key=1";
        let job = job(template, &config(template)).unwrap();
        let urls: Vec<String> = job.requests().map(|request| request.url()).collect();
        assert_eq!(urls, ["https://a.tile/6/28/26.png?key=1", "https://a.tile/6/29/26.png?key=1"]);
        let upside_down = "https://h/{z}/{x}/{-y}";
        let job = super::job(upside_down, &config(upside_down)).unwrap();
        assert_eq!(job.requests().next().unwrap().url(), "https://h/6/28/37");
    }

    #[test]
    fn a_template_without_its_places_or_a_level_is_refused() {
        assert!(address("https://h/{z}/{x}.png").is_err());
        assert_eq!(address("https://{s}.h/a/{z}/{x}/{y}").unwrap(), "https://a.h/a");
        let template = "https://h/{z}/{x}/{y}";
        let finest = Config { detail: Detail::Finest, ..config(template) };
        assert!(job(template, &finest).is_err());
        let timed = "https://h/{time}/{z}/{x}/{y}";
        assert!(matches!(job(timed, &config(timed)), Err(Error::NoDates { .. })));
    }
}
