//! A small STAC API over the layers: an item is a tile of level 3 in EPSG:4326 on a day.

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

/// The landing page at `stac`, or what a search at `stac/search` finds.
pub(super) fn document(layers: &[Layer], host: &str, path: &str, query: &str) -> Option<String> {
    match path {
        "stac" => {
            let search = json!({"rel": "search", "href": format!("{host}/stac/search"),
                "type": "application/geo+json", "method": "GET"});
            let catalogue = json!({"type": "Catalog", "stac_version": "1.0.0", "id": "stand-in",
                "description": "Stand-in for a STAC API", "links": [search]});
            Some(catalogue.to_string())
        }
        "stac/search" => search(layers, host, query),
        _ => None,
    }
}

fn search(layers: &[Layer], host: &str, query: &str) -> Option<String> {
    let uri = format!("/?{query}").parse().ok()?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
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
    let page: Vec<Value> = features.into_iter().skip(offset).take(limit).collect();
    let kept: Vec<&(String, String)> = pairs.iter().filter(|(key, _)| key != "offset").collect();
    let mut next = kept.iter().fold(String::new(), |text, (k, v)| format!("{text}{k}={v}&"));
    next.push_str(&format!("offset={}", offset + limit));
    let link = json!({"rel": "next", "href": format!("{host}/stac/search?{next}")});
    let links = if more { vec![link] } else { Vec::new() };
    Some(json!({"type": "FeatureCollection", "features": page, "links": links}).to_string())
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
