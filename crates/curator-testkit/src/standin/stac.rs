//! A small STAC API over the layers: an item is a tile of level 3 in EPSG:4326 on a day. A second one, at
//! `stac/post`, is searched with POST, and its items do not say how many pixels they have.

use axum::extract::Query;
use curator_core::{BBox, Projection, TileMatrix};
use jiff::ToSpan;
use serde_json::{Value, json};

use super::layer::{Format, Layer};
use super::time;

/// The level whose tiles are items.
const LEVEL: u8 = 3;

/// Days that a search looks at, at most.
const DAYS: usize = 31;

/// The landing pages at `stac` and `stac/post`, or what a search at `stac/search` finds.
pub(super) fn document(layers: &[Layer], host: &str, path: &str, query: &str) -> Option<String> {
    match path {
        "stac" | "stac/post" => {
            let method = if path == "stac" { "GET" } else { "POST" };
            let search = json!({"rel": "search", "href": format!("{host}/{path}/search"),
                "type": "application/geo+json", "method": method});
            let catalogue = json!({"type": "Catalog", "stac_version": "1.0.0", "id": "stand-in",
                "description": "Stand-in for a STAC API", "links": [search]});
            Some(catalogue.to_string())
        }
        "stac/search" => {
            let uri = format!("/?{query}").parse().ok()?;
            let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
            let Found { features, next } = search(layers, host, &pairs)?;
            let kept = pairs.iter().filter(|(key, _)| key != "offset");
            let query = kept.fold(String::new(), |text, (k, v)| format!("{text}{k}={v}&"));
            let address = |offset| format!("{host}/stac/search?{query}offset={offset}");
            let link = next.map(|offset| json!({"rel": "next", "href": address(offset)}));
            Some(page(features, link))
        }
        _ => None,
    }
}

/// What a search that is posted to `stac/post/search` finds.
pub(super) fn posted(layers: &[Layer], host: &str, body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
    let written = |(key, value): (&String, &Value)| {
        let list =
            value.as_array().map(|list| list.iter().map(plain).collect::<Vec<_>>().join(","));
        (key.clone(), list.unwrap_or_else(|| plain(value)))
    };
    let pairs: Vec<(String, String)> = body.as_object()?.iter().map(written).collect();
    let Found { mut features, next } = search(layers, host, &pairs)?;
    for properties in features.iter_mut().filter_map(|item| item["properties"].as_object_mut()) {
        properties.retain(|key, _| !matches!(&**key, "proj:shape" | "proj:transform"));
    }
    let link = next.map(|offset| {
        json!({"rel": "next", "href": format!("{host}/stac/post/search"), "method": "POST",
            "body": {"offset": offset}, "merge": true})
    });
    Some(page(features, link))
}

/// Items, and where the next ones begin.
struct Found {
    features: Vec<Value>,
    next: Option<usize>,
}

fn page(features: Vec<Value>, next: Option<Value>) -> String {
    let links = Vec::from_iter(next);
    json!({"type": "FeatureCollection", "features": features, "links": links}).to_string()
}

fn search(layers: &[Layer], host: &str, pairs: &[(String, String)]) -> Option<Found> {
    let value = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let bbox: BBox = value("bbox").map_or(Some(BBox::GLOBE), |text| text.parse().ok())?;
    let (from, to) = value("datetime")?.split_once('/')?;
    let (from, to) = (time::parse(from)?, time::parse(to)?);
    let limit: usize = value("limit").map_or(Some(10), |n| n.parse().ok())?;
    let offset: usize = value("offset").map_or(Some(0), |n| n.parse().ok())?;
    let wanted: Vec<&str> =
        value("collections").map(|c| c.split(',').collect()).unwrap_or_default();
    let matrix = TileMatrix::gibs(Projection::Geographic, LEVEL);
    let tiles: Vec<(u32, u32)> = matrix.tiles_in(&bbox).iter().collect();
    let days = (0..DAYS as i64).map_while(|n| {
        let day = from.date().at(0, 0, 0, 0).checked_add(n.days()).ok()?;
        (day <= to).then_some(day)
    });
    let days: Vec<_> = days.filter(|day| *day >= from).collect();
    let mut features = Vec::new();
    for layer in layers.iter().filter(|layer| {
        let asked = wanted.is_empty() || wanted.contains(&layer.id.as_str());
        asked && layer.format == Format::Jpeg
    }) {
        let Some((set, _)) = layer.matrix_set(Projection::Geographic) else { continue };
        let Some(domain) = &layer.domain else { continue };
        for day in days.iter().filter(|day| domain.snap(**day) == Some(**day)) {
            features.extend(tiles.iter().map(|tile| item(layer, set, &matrix, *tile, *day, host)));
        }
    }
    let more = features.len() > offset + limit;
    let features = features.into_iter().skip(offset).take(limit).collect();
    Some(Found { features, next: more.then_some(offset + limit) })
}

fn item(
    layer: &Layer,
    set: &str,
    matrix: &TileMatrix,
    (column, row): (u32, u32),
    day: jiff::civil::DateTime,
    host: &str,
) -> Value {
    let b = matrix.bounds(column, row);
    let (id, day_name, pixel) = (&layer.id, day.date(), matrix.pixel.0);
    let href = format!(
        "{host}/wmts/epsg4326/best/{id}/default/{day_name}/{set}/{LEVEL}/{row}/{column}.jpeg"
    );
    json!({
        "type": "Feature", "stac_version": "1.0.0", "id": format!("{id}-{day_name}-{row}-{column}"),
        "collection": id, "bbox": [b.west, b.south, b.east, b.north],
        "geometry": {"type": "Polygon", "coordinates": [[[b.west, b.south], [b.east, b.south],
            [b.east, b.north], [b.west, b.north], [b.west, b.south]]]},
        "properties": {"datetime": time::long(day), "proj:epsg": 4326, "proj:shape": matrix.tile,
            "proj:transform": [pixel, 0, b.west, 0, -pixel, b.north]},
        "links": [],
        "assets": {"visual": {"href": href, "type": "image/jpeg", "roles": ["visual"]}}
    })
}
