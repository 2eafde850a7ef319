//! Answers as text, CSV, GeoJSON and contact sheet.

use std::path::Path;

use curator_core::{Raster, atomic};
use serde_json::json;

use super::{Hit, Searcher};
use crate::Result;

/// Pixels of a picture on a contact sheet, and between two.
const THUMBNAIL: u32 = 160;
const GAP: u32 = 4;
/// Pictures of a contact sheet at most.
const MOST_PICTURES: usize = 1000;

/// A line a hit: rank, score, id.
#[must_use]
pub fn table(hits: &[Hit]) -> String {
    let lines = hits.iter().enumerate().map(|(i, hit)| {
        let more = match hit.more_here {
            0 => String::new(),
            more => format!("  (+{more} here)"),
        };
        format!("{:>4}  {:.4}  {}{more}", i + 1, hit.score, hit.tile_id)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// CSV with a heading.
#[must_use]
pub fn csv(hits: &[Hit]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heading = ["row", "score", "tile_id", "layer", "time", "west", "south", "east", "north"];
    let _ = writer.write_record(heading);
    for hit in hits {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let edge = |get: fn(&curator_core::BBox) -> f64| {
            hit.bbox.as_ref().map(|bbox| get(bbox).to_string()).unwrap_or_default()
        };
        let _ = writer.write_record([
            hit.row.to_string(),
            hit.score.to_string(),
            hit.tile_id.clone(),
            text(&hit.layer),
            text(&hit.time),
            edge(|b| b.west),
            edge(|b| b.south),
            edge(|b| b.east),
            edge(|b| b.north),
        ]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A GeoJSON feature collection (RFC 7946): a polygon a hit, two where it crosses the antimeridian, none
/// where it has no place.
#[must_use]
pub fn geojson(hits: &[Hit]) -> serde_json::Value {
    let features: Vec<_> = hits
        .iter()
        .map(|hit| {
            let rings: Vec<_> = hit
                .bbox
                .iter()
                .flat_map(curator_core::BBox::split)
                .map(|b| {
                    json!([[
                        [b.west, b.south],
                        [b.east, b.south],
                        [b.east, b.north],
                        [b.west, b.north],
                        [b.west, b.south]
                    ]])
                })
                .collect();
            let geometry = match &rings[..] {
                [] => serde_json::Value::Null,
                [one] => json!({ "type": "Polygon", "coordinates": one }),
                several => json!({ "type": "MultiPolygon", "coordinates": several }),
            };
            let properties = serde_json::to_value(hit).unwrap_or_default();
            json!({ "type": "Feature", "geometry": geometry, "properties": properties })
        })
        .collect();
    json!({ "type": "FeatureCollection", "features": features })
}

/// Writes the pictures of the hits, best first from left to right, as a JPEG. A picture that cannot be read
/// is a grey square.
///
/// # Errors
/// When the file cannot be written.
pub fn sheet(searcher: &Searcher, hits: &[Hit], path: &Path) -> Result<()> {
    let hits = &hits[..hits.len().min(MOST_PICTURES)];
    let columns = (hits.len() as f64).sqrt().ceil().clamp(1.0, 12.0) as u32;
    let rows = (hits.len() as u32).div_ceil(columns).max(1);
    let side = |n: u32| n * (THUMBNAIL + GAP) + GAP;
    let mut sheet = Raster::filled(side(columns), side(rows), &[255, 255, 255]);
    for (number, hit) in hits.iter().enumerate() {
        let picture = searcher.decode(hit.row).and_then(|p| Ok(p.resize(THUMBNAIL, THUMBNAIL)?));
        let picture = picture.unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Raster::filled(THUMBNAIL, THUMBNAIL, &[128, 128, 128])
        });
        let (x, y) = (side(number as u32 % columns), side(number as u32 / columns));
        let line = THUMBNAIL as usize * 3;
        for row in 0..THUMBNAIL {
            let to = ((y + row) as usize * sheet.width as usize + x as usize) * 3;
            let from = row as usize * line;
            sheet.data[to..to + line].copy_from_slice(&picture.data[from..from + line]);
        }
    }
    Ok(atomic::write_atomic(path, &sheet.to_jpeg(90)?)?)
}
