//! Regions from GeoJSON files (RFC 7946).

use std::path::Path;

use geo::{Coord, LineString, MultiPolygon, Polygon};
use geojson::{GeoJson, Geometry, GeometryValue, Position};

use super::{Area, ring};
use crate::error::{Error, Result};

/// A file larger than this is no outline of a region.
const LARGEST: u64 = 64 << 20;

/// Reads the polygons of a file: a geometry, a feature, or a collection of them. Lines and points are left
/// out. The second value is whether an edge of more than 180° was taken the short way.
///
/// # Errors
/// [`Error::Region`], when it is no GeoJSON, has no polygon, or places outside the Earth.
pub(crate) fn read(path: &Path) -> Result<(Area, bool)> {
    let refuse = |reason: String| Error::Region { path: path.into(), reason };
    let size = std::fs::metadata(path).map_err(curator_core::Error::io("read", path))?.len();
    if size > LARGEST {
        return Err(refuse(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    let bytes = std::fs::read(path).map_err(curator_core::Error::io("read", path))?;
    let (polygons, short_way) = parse(&String::from_utf8_lossy(&bytes)).map_err(refuse)?;
    Ok((Area::Polygons(polygons), short_way))
}

/// The polygons of a document.
///
/// # Errors
/// A sentence.
fn parse(text: &str) -> Result<(MultiPolygon, bool), String> {
    let document: GeoJson =
        text.trim_start_matches('\u{feff}').parse().map_err(|e| format!("no GeoJSON: {e}"))?;
    let mut polygons = Vec::new();
    let geometries: Vec<Geometry> = match document {
        GeoJson::Geometry(geometry) => vec![geometry],
        GeoJson::Feature(feature) => feature.geometry.into_iter().collect(),
        GeoJson::FeatureCollection(all) => {
            all.features.into_iter().filter_map(|feature| feature.geometry).collect()
        }
    };
    for geometry in geometries {
        collect(geometry, &mut polygons)?;
    }
    if polygons.is_empty() {
        return Err("it has no polygon".into());
    }
    check(&polygons)?;
    let mut short_way = false;
    let mut continue_ring = |ring: &LineString| {
        let (ring, short) = ring::continuous(ring, None);
        short_way |= short;
        ring
    };
    let polygons = polygons
        .iter()
        .map(|polygon| {
            let outline = continue_ring(polygon.exterior());
            let west = outline.0.first().map_or(0.0, |c| c.x);
            let holes = polygon.interiors().iter().map(&mut continue_ring);
            // A hole lies in its outline, whichever turn it is written in.
            let holes = holes.map(|hole| {
                let from = hole.0.first().map_or(0.0, |c| c.x);
                let turns = ((west - from) / 360.0).round();
                LineString(
                    hole.0.iter().map(|c| Coord { x: c.x + 360.0 * turns, y: c.y }).collect(),
                )
            });
            Polygon::new(outline, holes.collect())
        })
        .collect();
    Ok((MultiPolygon::new(polygons), short_way))
}

/// The polygons of a geometry. The conversion of `geojson` itself panics at a position of one number.
fn collect(geometry: Geometry, polygons: &mut Vec<Polygon>) -> Result<(), String> {
    match geometry.value {
        GeometryValue::Polygon { coordinates } => polygons.push(polygon(&coordinates)?),
        GeometryValue::MultiPolygon { coordinates } => {
            for rings in &coordinates {
                polygons.push(polygon(rings)?);
            }
        }
        GeometryValue::GeometryCollection { geometries } => {
            for geometry in geometries {
                collect(geometry, polygons)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn polygon(rings: &[Vec<Position>]) -> Result<Polygon, String> {
    let corner = |position: &Position| match position.as_slice() {
        [x, y, ..] => Ok(Coord { x: *x, y: *y }),
        _ => Err("a position has less than two numbers".to_string()),
    };
    let ring =
        |ring: &Vec<Position>| ring.iter().map(corner).collect::<Result<Vec<Coord>, String>>();
    let mut rings = rings.iter().map(|positions| ring(positions).map(LineString));
    let outline = rings.next().ok_or("a polygon has no ring")??;
    Ok(Polygon::new(outline, rings.collect::<Result<_, String>>()?))
}

/// Every corner is a place, and every ring has an inside.
fn check(polygons: &[Polygon]) -> Result<(), String> {
    let rings = || polygons.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
    let corners = || rings().flat_map(|ring| ring.0.iter());
    if let Some(bad) = corners().find(|c| !(c.y.abs() <= 90.0 && c.x.abs() <= 540.0)) {
        let swapped = corners().all(|c| c.x.abs() <= 90.0 && c.y.abs() <= 180.0);
        let hint = if swapped {
            "; latitudes and longitudes seem swapped, GeoJSON has the longitude first"
        } else {
            ""
        };
        return Err(format!("{},{} is no longitude and latitude{hint}", bad.x, bad.y));
    }
    match rings().find(|ring| ring.0.len() < 4) {
        Some(ring) => Err(format!("a ring has {} corners, the least is 4", ring.0.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use curator_core::{Projection, TileMatrix};
    use proptest::prelude::*;

    use super::*;

    fn tiles(text: &str, level: u8) -> Vec<(u32, u32)> {
        let (polygons, _) = parse(text).unwrap();
        let matrix = TileMatrix::gibs(Projection::Geographic, level);
        Area::Polygons(polygons).tiles_in(&matrix).iter().collect()
    }

    const COLLECTION: &str = r#"{"type":"FeatureCollection","features":[
      {"type":"Feature","properties":{"name":"a"},"geometry":{"type":"Polygon","coordinates":
        [[[-17,28],[-14,28],[-14,31],[-17,31],[-17,28]]]}},
      {"type":"Feature","properties":null,"geometry":null},
      {"type":"Feature","properties":null,"geometry":{"type":"Point","coordinates":[100,0]}},
      {"type":"Feature","properties":null,"geometry":{"type":"MultiPolygon","coordinates":
        [[[[1,1],[2,1],[2,2],[1,1]]],[[[60,60],[61,60],[61,61],[60,60]]]]}}]}"#;

    #[test]
    fn collections_have_the_tiles_of_their_polygons() {
        let matrix = TileMatrix::gibs(Projection::Geographic, 6);
        let mut expected: Vec<_> = [(-15.0, 30.0), (1.5, 1.5), (60.5, 60.5)]
            .map(|(x, y)| matrix.tile_at(x, y).unwrap())
            .into();
        expected.sort_by_key(|tile| (tile.1, tile.0));
        assert_eq!(tiles(COLLECTION, 6), expected);
    }

    #[test]
    fn rings_over_the_antimeridian_may_be_written_in_any_way() {
        let ring = |a: f64, b: f64| {
            format!(
                r#"{{"type":"Polygon","coordinates":[[[{a},-20],[{b},-20],[{b},-15],[{a},-15],[{a},-20]]]}}"#
            )
        };
        let expected = tiles(&ring(177.0, 182.0), 5);
        assert_eq!(expected, [(0, 11), (39, 11), (0, 12), (39, 12)]);
        assert_eq!(tiles(&ring(177.0, -178.0), 5), expected);
        assert_eq!(tiles(&ring(-183.0, -178.0), 5), expected);
        let cut = r#"{"type":"MultiPolygon","coordinates":[
            [[[177,-20],[180,-20],[180,-15],[177,-15],[177,-20]]],
            [[[-180,-20],[-178,-20],[-178,-15],[-180,-15],[-180,-20]]]]}"#;
        assert_eq!(tiles(cut, 5), expected);
        let globe = ring(-180.0, 180.0);
        assert_eq!(tiles(&globe, 5).len(), 80);
    }

    #[test]
    fn what_is_no_region_is_refused_by_name() {
        let polygon = |ring: &str| format!(r#"{{"type":"Polygon","coordinates":[[{ring}]]}}"#);
        let reason = |text: &str| parse(text).unwrap_err();
        assert!(reason("").starts_with("no GeoJSON"));
        assert!(reason(r#"{"type":"Point","coordinates":[1,2]}"#).contains("no polygon"));
        let swapped = reason(&polygon("[10,100],[20,100],[20,110],[10,100]"));
        assert!(swapped.contains("swapped"), "{swapped}");
        let nowhere = reason(&polygon("[1000,0],[1001,0],[1001,1],[1000,0]"));
        assert!(nowhere.contains("1000,0"), "{nowhere}");
        assert!(parse(&polygon("[0,0],[1,1],[0,0]")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn damaged_documents_are_errors_or_regions(
            at in 0..COLLECTION.len(), with in "[\\[\\]{}0-9e,.\"-]{0,3}", gone in 0..40_usize,
        ) {
            let end = (at + gone).min(COLLECTION.len());
            let damaged = format!("{}{with}{}", &COLLECTION[..at], &COLLECTION[end..]);
            if let Ok((polygons, _)) = parse(&damaged) {
                let area = Area::Polygons(polygons);
                let matrix = TileMatrix::gibs(Projection::Geographic, 4);
                prop_assert!(area.tiles_in(&matrix).len() <= 200);
                for projection in Projection::ALL {
                    let _ = area.tiles_in(&TileMatrix::gibs(projection, 2));
                }
                let _ = area.bbox();
            }
        }
    }
}
