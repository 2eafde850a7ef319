//! Where: a box, a rectangle of a map, a circle, or the polygons of a GeoJSON file.

mod circle;
mod cover;
mod geojson;
mod ring;

use curator_core::matrix::Bounds;
use curator_core::{BBox, Projection, Runs, TileMatrix, digest};
use geo::{MultiPolygon, Polygon};

use crate::error::{Error, Result};

pub(crate) use geojson::read as read_region;

/// An area of the Earth.
#[derive(Debug, Clone, PartialEq)]
pub enum Area {
    /// A box in degrees.
    Box(BBox),
    /// A rectangle of a map, in the units of its projection.
    Map(Projection, Bounds),
    /// Polygons in degrees. Longitudes of a ring go on beyond ±180 where it crosses the antimeridian.
    Polygons(MultiPolygon),
}

impl Area {
    /// All places within so many kilometres of a point.
    ///
    /// # Errors
    /// [`Error::Core`] when the point is nowhere or the radius is no distance.
    pub fn around(lon: f64, lat: f64, kilometres: f64) -> Result<Self> {
        Ok(Self::Polygons(circle::around(lon, lat, kilometres)?.into()))
    }

    /// The tiles of a matrix that share area with this one.
    #[must_use]
    pub fn tiles_in(&self, matrix: &TileMatrix) -> Runs {
        match self {
            Self::Box(bbox) => matrix.tiles_in(bbox),
            Self::Map(projection, bounds) if *projection == matrix.projection => {
                matrix.tiles_within(bounds)
            }
            Self::Map(..) | Self::Polygons(_) => cover::tiles_in(&self.polygons(), matrix),
        }
    }

    /// Whether a rectangle of a map touches it.
    #[must_use]
    pub fn touches(&self, projection: Projection, bounds: &Bounds) -> bool {
        use geo::{Intersects, Translate};
        let rectangle = Polygon::new(ring::unprojected(projection, bounds), Vec::new());
        let polygons = self.polygons();
        [-360.0, 0.0, 360.0]
            .iter()
            .any(|turn| polygons.intersects(&rectangle.translate(*turn, 0.0)))
    }

    /// Its outline in degrees.
    fn polygons(&self) -> MultiPolygon {
        match self {
            Self::Box(bbox) => {
                let east = if bbox.crosses_antimeridian() { bbox.east + 360.0 } else { bbox.east };
                geo::Rect::new((bbox.west, bbox.south), (east, bbox.north)).to_polygon().into()
            }
            Self::Map(projection, bounds) => {
                Polygon::new(ring::unprojected(*projection, bounds), Vec::new()).into()
            }
            Self::Polygons(polygons) => polygons.clone(),
        }
    }

    /// The box in degrees that encloses it.
    #[must_use]
    pub fn bbox(&self) -> BBox {
        match self {
            Self::Box(bbox) => *bbox,
            Self::Map(..) | Self::Polygons(_) => ring::bbox(&self.polygons()),
        }
    }

    /// What tells it from other areas of the same box; `None` for boxes.
    #[must_use]
    pub(crate) fn outline_digest(&self) -> Option<String> {
        let text = match self {
            Self::Box(_) => return None,
            Self::Map(projection, b) => format!("{projection} {b:?}"),
            Self::Polygons(polygons) => format!("{polygons:?}"),
        };
        Some(digest::of_bytes(text.as_bytes())[..16].into())
    }
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Box(bbox) => write!(f, "{bbox}"),
            Self::Map(projection, b) => {
                write!(f, "{},{},{},{} of {projection}", b.west, b.south, b.east, b.north)
            }
            Self::Polygons(_) => write!(f, "a region within {}", self.bbox()),
        }
    }
}

/// A number pair such as `lon,lat`.
///
/// # Errors
/// When it is none, or longitude and latitude are swapped.
pub(crate) fn parse_point(text: &str) -> Result<(f64, f64)> {
    let numbers: Vec<f64> = text.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let refuse = |expected: String| -> Error {
        curator_core::Error::Setting { name: "point", found: format!("`{text}`"), expected }.into()
    };
    match numbers[..] {
        [lon, lat] if (-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat) => {
            Ok((lon, lat))
        }
        [lon, lat] if (-90.0..=90.0).contains(&lon) && (-180.0..=180.0).contains(&lat) => {
            Err(refuse(format!(
                "longitude first; latitude and longitude seem swapped: did you mean `{lat},{lon}`?"
            )))
        }
        _ => Err(refuse("longitude and latitude in degrees, such as -16.5,28.3".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_as_a_polygon_covers_the_same_tiles() {
        for text in ["-30,10,0,40", "170,-10,-170,10", "-180,-90,180,90", "10,60,100,85"] {
            let bbox: BBox = text.parse().unwrap();
            let east = if bbox.west > bbox.east { bbox.east + 360.0 } else { bbox.east };
            let rect = geo::Rect::new((bbox.west, bbox.south), (east, bbox.north));
            let polygon = Area::Polygons(rect.to_polygon().into());
            for projection in Projection::ALL {
                for level in [1, 3, 5] {
                    let matrix = TileMatrix::gibs(projection, level);
                    let (a, b) = (matrix.tiles_in(&bbox), polygon.tiles_in(&matrix));
                    assert_eq!(a, b, "{text} {projection} level {level}");
                }
            }
            assert_eq!(polygon.bbox(), bbox, "{text}");
        }
    }

    #[test]
    fn a_rectangle_of_a_polar_map_is_its_tiles_and_goes_to_other_maps() {
        let bounds = Bounds { west: 0.0, south: 0.0, east: 262_144.0, north: 262_144.0 };
        let area = Area::Map(Projection::Arctic, bounds);
        let own = area.tiles_in(&TileMatrix::gibs(Projection::Arctic, 4));
        assert_eq!(own.len(), 1);
        let elsewhere = area.tiles_in(&TileMatrix::gibs(Projection::Geographic, 5));
        assert!(!elsewhere.is_empty());
        let bbox = area.bbox();
        assert!(bbox.north > 89.99 && bbox.south > 85.0, "{bbox}");
    }

    proptest::proptest! {
        #[test]
        fn the_tiles_of_a_box_are_those_of_its_places(
            west in -180.0..179.0_f64, width in 0.01..200.0_f64, south in -89.0..88.0_f64,
            height in 0.01..60.0_f64, level in 0..7_u8,
            places in proptest::collection::vec((0.001..0.999_f64, 0.001..0.999_f64), 40),
        ) {
            let east = curator_core::projection::wrapped(west + width);
            let bbox = BBox { west, south, east, north: (south + height).min(90.0) };
            let height = bbox.north - bbox.south;
            for projection in Projection::ALL {
                let matrix = TileMatrix::gibs(projection, level);
                let tiles = matrix.tiles_in(&bbox);
                let (low, high) = projection.latitudes();
                for (x, y) in &places {
                    let lon = curator_core::projection::wrapped(west + width * x);
                    let lat = south + height * y;
                    if (low..=high).contains(&lat)
                        && let Some((column, row)) = matrix.tile_at(lon, lat)
                    {
                        proptest::prop_assert!(tiles.contains(column, row), "{projection} {lon} {lat}");
                    }
                }
                // And none that lies elsewhere.
                for (column, row) in tiles.iter().take(500) {
                    let tile = matrix.tile_bbox(column, row);
                    let meets = tile.south < bbox.north && tile.north > bbox.south;
                    proptest::prop_assert!(meets, "{projection} {column} {row}: {tile}");
                }
            }
        }
    }

    #[test]
    fn rectangles_touch_over_the_antimeridian() {
        let fiji = Area::Box("177,-20,-178,-15".parse().unwrap());
        let tile = |west: f64| Bounds { west, south: -18.0, east: west + 1.0, north: -17.0 };
        for (west, touches) in [(178.0, true), (-179.5, true), (-170.0, false), (0.0, false)] {
            assert_eq!(fiji.touches(Projection::Geographic, &tile(west)), touches, "{west}");
        }
        let utm = Projection::Utm { zone: 60, south: true };
        let (x, y) = utm.project(177.5, -17.5);
        let metres = Bounds { west: x, south: y - 1e3, east: x + 1e3, north: y };
        assert!(fiji.touches(utm, &metres));
    }

    #[test]
    fn swapped_points_are_told() {
        assert_eq!(parse_point("-16.5, 28.3").unwrap(), (-16.5, 28.3));
        let error = parse_point("28.3,-120").unwrap_err().to_string();
        assert!(error.contains("swapped") && error.contains("`-120,28.3`"), "{error}");
        assert!(parse_point("1").is_err() && parse_point("500,500").is_err());
    }
}
