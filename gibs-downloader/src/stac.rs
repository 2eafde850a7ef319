//! A STAC item a scene, and a catalogue of them: `stac/*.json`.
//!
//! STAC 1.1.0 with the projection extension 2.0.0, so that other people's tools find scenes by place and time
//! and know their grid without opening them. Links are relative: the directory can be moved.

use std::path::Path;

use curator_core::matrix::Bounds;
use curator_core::mosaic::Key;
use curator_core::scene::NativeTile;
use curator_core::{BBox, Error as CoreError, Result, TileMatrix, atomic};
use serde_json::{Value, json};

use crate::choice::stem;
use crate::place::{Area, Rect, turn};
use crate::{colormap_file, credit};

/// Where items are, in a `scenes/` directory.
pub(crate) const FOLDER: &str = "stac";

const CATALOG: &str = "catalog.json";
const VERSION: &str = "1.1.0";
const PROJECTION: &str = "https://stac-extensions.github.io/projection/v2.0.0/schema.json";

/// Where the tiles of a scene are.
pub(crate) struct Footprint<'a> {
    /// One of them, which stands for what they share.
    first: &'a NativeTile,
    /// Columns that have a tile, in order.
    columns: Vec<u32>,
    rows: std::ops::Range<u32>,
    tiles: usize,
}

impl<'a> Footprint<'a> {
    /// Of tiles by row and column.
    pub(crate) fn of(first: &'a NativeTile, places: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut columns = std::collections::BTreeSet::new();
        let (mut rows, mut tiles) = (first.row..first.row, 0);
        for (row, column) in places {
            columns.insert(column);
            rows = rows.start.min(row)..rows.end.max(row + 1);
            tiles += 1;
        }
        Self { first, columns: columns.into_iter().collect(), rows, tiles }
    }
}

/// The item of a scene, relative to the directory.
pub(crate) fn path(tile: &NativeTile) -> String {
    format!("{FOLDER}/{}.json", stem(&key_of(tile)))
}

fn key_of(tile: &NativeTile) -> Key {
    Key {
        layer: tile.layer.clone(),
        time: tile.time.clone(),
        matrix_set: tile.matrix_set.clone(),
        level: tile.level,
    }
}

/// Writes the item of a scene's tiles: all of one layer, time, matrix set and level. `picture` is the file
/// that GDAL opens, relative to the directory.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(
    directory: &Path,
    footprint: &Footprint<'_>,
    matrix: &TileMatrix,
    picture: &str,
) -> Result<()> {
    let Some(item) = item(directory, footprint, matrix, picture) else { return Ok(()) };
    let name = format!("{}.json", item["id"].as_str().unwrap_or_default());
    write_json(&directory.join(FOLDER).join(name), &item)
}

/// Writes the catalogue of all items that are there.
///
/// # Errors
/// When the folder cannot be listed or written.
pub(crate) fn write_catalog(directory: &Path, source: &str) -> Result<()> {
    let folder = directory.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
    let entries = std::fs::read_dir(&folder).map_err(CoreError::io("read", &folder))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json") && name != CATALOG && !name.starts_with('.'))
        .collect();
    names.sort();
    let catalog_link = |rel| link(rel, &format!("./{CATALOG}"), "application/json");
    let mut links = vec![catalog_link("root")];
    links.extend(names.iter().map(|n| link("item", &format!("./{n}"), "application/geo+json")));
    let catalog = json!({
        "type": "Catalog",
        "stac_version": VERSION,
        "id": format!("scenes-of-{source}"),
        "title": format!("Scenes of {source}"),
        "description": credit::GIBS,
        "links": links,
    });
    write_json(&folder.join(CATALOG), &catalog)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    atomic::write_atomic(path, format!("{value:#}\n").as_bytes())
}

fn link(rel: &str, href: &str, media_type: &str) -> Value {
    json!({"rel": rel, "href": href, "type": media_type})
}

fn item(
    directory: &Path,
    footprint: &Footprint<'_>,
    matrix: &TileMatrix,
    picture: &str,
) -> Option<Value> {
    let Footprint { first, columns, rows, tiles } = footprint;
    let rect = Rect::of(&Area::Fetched, matrix, columns, rows.clone())?;
    let parts = degrees(&rect, matrix);
    let (west, east) = (parts.first()?.west, parts.last()?.east);
    let (south, north) = (parts.first()?.south, parts.first()?.north);
    let Bounds { west: left, south: bottom, east: right, north: top } = rect.bounds(matrix);

    let key = key_of(first);
    let mut properties = json!({
        "datetime": null,
        "title": format!("{} {}", key.layer, key.time).trim_end(),
        "proj:code": matrix.projection.to_string(),
        "proj:shape": [rect.height, rect.width],
        "proj:bbox": [left, bottom, right, top],
        "proj:transform": [matrix.pixel.0, 0.0, left, 0.0, -matrix.pixel.1, top],
        "curator:layer": key.layer,
        "curator:matrix_set": key.matrix_set,
        "curator:level": key.level,
        "curator:tiles": tiles,
    });
    if key.time.is_empty() {
        // A layer without time holds on every day; STAC wants a span.
        properties["start_datetime"] = "0001-01-01T00:00:00Z".into();
        properties["end_datetime"] = "9999-12-31T23:59:59Z".into();
    } else {
        let midnight = if key.time.contains('T') { "" } else { "T00:00:00Z" };
        properties["datetime"] = format!("{}{midnight}", key.time).into();
    }
    let asset = |href: &str, media_type: &str, title: &str, role: &str| json!({"href": format!("../{href}"), "type": media_type, "title": title, "roles": [role]});
    let media_type = if picture.ends_with(".tif") {
        "image/tiff; application=geotiff"
    } else {
        "application/xml"
    };
    let mut assets = json!({
        "scene": asset(picture, media_type, "The scene, as GDAL and QGIS open it", "data"),
        "credit": asset(credit::FILE_NAME, "text/plain", "Credit and terms of use", "metadata"),
    });
    for name in [&first.layer, &first.layer_asked] {
        if colormap_file::path(directory, name).is_file() {
            let path = format!("{}/{name}.xml", colormap_file::FOLDER);
            assets["colormap"] =
                asset(&path, "application/xml", "What its colours stand for", "metadata");
        }
    }
    Some(json!({
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION],
        "id": stem(&key),
        "bbox": [west, south, east, north],
        "geometry": geometry(&parts),
        "properties": properties,
        "links": [
            link("root", &format!("./{CATALOG}"), "application/json"),
            link("parent", &format!("./{CATALOG}"), "application/json"),
            link("license", &format!("../{}", credit::FILE_NAME), "text/plain"),
        ],
        "assets": assets,
    }))
}

/// The boxes in degrees of a rectangle: two when it reaches over the antimeridian, the western one first.
fn degrees(rect: &Rect, matrix: &TileMatrix) -> Vec<BBox> {
    let (right, bottom) = (rect.x + u64::from(rect.width), rect.y + u64::from(rect.height));
    let mut parts = match turn(matrix) {
        Some(turn) if right > turn => {
            vec![(rect.x, rect.y, turn, bottom), (0, rect.y, right - turn, bottom)]
        }
        _ => vec![(rect.x, rect.y, right, bottom)],
    };
    parts.drain(..).flat_map(|part| matrix.bbox_of(part).split()).collect()
}

/// GeoJSON, whose polygons must not cross the antimeridian (RFC 7946, 3.1.9).
fn geometry(parts: &[BBox]) -> Value {
    let ring = |b: &BBox| {
        json!([[
            [b.west, b.south],
            [b.east, b.south],
            [b.east, b.north],
            [b.west, b.north],
            [b.west, b.south]
        ]])
    };
    match parts {
        [one] => json!({"type": "Polygon", "coordinates": ring(one)}),
        many => {
            let rings: Vec<Value> = many.iter().map(ring).collect();
            json!({"type": "MultiPolygon", "coordinates": rings})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::Projection;

    fn tile(row: u32, column: u32, time: &str) -> NativeTile {
        NativeTile {
            layer_asked: "best".into(),
            layer: "L".into(),
            time_asked: time.into(),
            time: time.into(),
            matrix_set: "1km".into(),
            level: 6,
            row,
            column,
            path: String::new(),
            offset: 0,
            length: 0,
            media_type: "image/png".into(),
            etag: String::new(),
            sha256: String::new(),
            empty_share: 0.0,
        }
    }

    fn made(tiles: &[NativeTile], projection: Projection) -> Value {
        let tiles: Vec<&NativeTile> = tiles.iter().collect();
        let level = tiles[0].level as u8;
        let places = tiles.iter().map(|tile| (tile.row, tile.column));
        let footprint = Footprint::of(tiles[0], places);
        item(Path::new("x"), &footprint, &TileMatrix::gibs(projection, level), "vrt/a.vrt").unwrap()
    }

    #[test]
    fn an_item_has_place_time_and_grid() {
        let item = made(&[tile(13, 36, "2020-09-12")], Projection::Geographic);
        assert_eq!(item["bbox"], json!([-18.0, 27.0, -13.5, 31.5]));
        assert_eq!(item["properties"]["datetime"], "2020-09-12T00:00:00Z");
        assert_eq!(item["properties"]["proj:shape"], json!([512, 512]));
        let transform = json!([0.0087890625, 0.0, -18.0, 0.0, -0.0087890625, 31.5]);
        assert_eq!(item["properties"]["proj:transform"], transform);
        assert_eq!(item["id"], "L_2020-09-12_1km_6");
        assert!(item["assets"].get("colormap").is_none());
    }

    #[test]
    fn items_cross_the_antimeridian_and_stand_round_the_pole() {
        let tiles = [tile(20, 0, ""), tile(20, 79, "")];
        let item = made(&tiles, Projection::Geographic);
        assert_eq!(item["geometry"]["type"], "MultiPolygon");
        assert_eq!((&item["bbox"][0], &item["bbox"][2]), (&json!(175.5), &json!(-175.5)));
        assert!(item["properties"]["datetime"].is_null());
        let pole: Vec<NativeTile> = [(3, 3), (3, 4), (4, 3), (4, 4)]
            .map(|(row, column)| NativeTile {
                level: 2,
                ..tile(row, column, "2020-01-01T10:00:00Z")
            })
            .into();
        let item = made(&pole, Projection::Arctic);
        assert_eq!((&item["bbox"][0], &item["bbox"][3]), (&json!(-180.0), &json!(90.0)));
        assert_eq!(item["properties"]["proj:code"], "EPSG:3413");
        assert_eq!(item["properties"]["datetime"], "2020-01-01T10:00:00Z");
    }
}
