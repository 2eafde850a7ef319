//! Tile matrix sets: the zoom levels that a layer has in a projection.

use curator_core::{Projection, TileMatrix};
use serde::{Deserialize, Serialize};

/// The levels of a set, coarsest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MatrixSet {
    /// Its name at the service.
    pub(crate) name: String,
    pub(crate) levels: Vec<Zoom>,
}

/// One level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Zoom {
    /// Its name at the service; a number at GIBS.
    pub(crate) id: String,
    pub(crate) matrix: TileMatrix,
}

/// Degrees at the equator of WGS 84 in metres.
const METRES_A_DEGREE: f64 = 6_378_137.0 * std::f64::consts::PI / 180.0;

/// The deepest levels of the sets of GIBS. Source: the GIBS API documentation and recorded capabilities.
const GEOGRAPHIC: [(&str, u8); 7] = [
    ("16km", 2),
    ("2km", 5),
    ("1km", 6),
    ("500m", 7),
    ("250m", 8),
    ("31.25m", 11),
    ("15.625m", 12),
];
const POLAR: [(&str, u8); 4] = [("1km", 3), ("500m", 4), ("250m", 5), ("31.25m", 8)];
/// What a layer of a set in EPSG:4326 is called in the others.
const MERCATOR_OF: [(&str, u8); 6] =
    [("2km", 6), ("1km", 7), ("500m", 8), ("250m", 9), ("31.25m", 12), ("15.625m", 13)];

impl MatrixSet {
    /// A set of GIBS by its name.
    pub(crate) fn gibs(projection: Projection, name: &str) -> Option<Self> {
        let named = |sets: &[(&str, u8)]| sets.iter().find(|set| set.0 == name).map(|set| set.1);
        let deepest = match projection {
            Projection::Geographic => named(&GEOGRAPHIC)?,
            Projection::WebMercator => {
                let level = name.strip_prefix("GoogleMapsCompatible_Level")?;
                level.parse().ok().filter(|&level| level <= 13)?
            }
            Projection::Arctic | Projection::Antarctic => named(&POLAR)?,
            Projection::Utm { .. } => return None,
        };
        let zoom =
            |level: u8| Zoom { id: level.to_string(), matrix: TileMatrix::gibs(projection, level) };
        Some(Self { name: name.into(), levels: (0..=deepest).map(zoom).collect() })
    }

    /// The projection of its levels.
    pub(crate) fn projection(&self) -> Projection {
        self.levels.first().map_or(Projection::Geographic, |zoom| zoom.matrix.projection)
    }

    /// Number of its finest level.
    pub(crate) fn finest(&self) -> u8 {
        self.levels.len().saturating_sub(1) as u8
    }

    /// Metres a pixel of its finest level spans, at the equator where they differ.
    pub(crate) fn metres(&self) -> f64 {
        self.levels.last().map_or(f64::NAN, |zoom| metres(&zoom.matrix))
    }
}

/// The set that a layer of GIBS which has `geographic` in EPSG:4326 has in EPSG:3857: its pixels there are
/// a quarter larger at the equator.
pub(crate) fn mercator_of(geographic: &str) -> Option<String> {
    let level = MERCATOR_OF.iter().find(|set| set.0 == geographic)?.1;
    Some(format!("GoogleMapsCompatible_Level{level}"))
}

/// Metres a pixel spans, at the equator where they differ.
pub(crate) fn metres(matrix: &TileMatrix) -> f64 {
    if matrix.projection.is_geographic() {
        matrix.pixel.0 * METRES_A_DEGREE
    } else {
        matrix.pixel.0
    }
}

/// What a level is called in a document, with the numbers as they stand there.
pub(crate) struct Described {
    pub(crate) id: String,
    pub(crate) scale_denominator: f64,
    /// As written: the order of the axes depends on the reference system.
    pub(crate) corner: (f64, f64),
    pub(crate) tile: (u32, u32),
    pub(crate) size: (u32, u32),
}

/// A set from its description; `None` when its reference system is none of ours, or a number is no size.
pub(crate) fn described(name: &str, crs: &str, levels: Vec<Described>) -> Option<MatrixSet> {
    let projection = projection_of(crs)?;
    // OGC 07-057r7, 6.1: a pixel of the scale denominator is 0.28 mm wide.
    let unit = if projection.is_geographic() { METRES_A_DEGREE } else { 1.0 };
    let latitude_first = crs.contains("EPSG") && projection.is_geographic();
    let mut zooms = Vec::new();
    for level in levels {
        let (a, b) = level.corner;
        // No latitude is -180: some services write the longitude first whatever the system says.
        let origin = if latitude_first && a.abs() <= 90.0 { (b, a) } else { (a, b) };
        let pixel = level.scale_denominator * 0.000_28 / unit;
        let (columns, rows) = level.size;
        let matrix = TileMatrix {
            projection,
            origin,
            pixel: (pixel, pixel),
            tile: level.tile,
            columns,
            rows,
        };
        if !matrix.is_sound() || level.tile.0 > 8192 || level.tile.1 > 8192 {
            return None;
        }
        zooms.push(Zoom { id: level.id, matrix: exact(matrix) });
    }
    zooms.sort_by(|a, b| b.matrix.pixel.0.total_cmp(&a.matrix.pixel.0));
    zooms.truncate(32);
    (!zooms.is_empty()).then(|| MatrixSet { name: name.into(), levels: zooms })
}

/// A well-known matrix where the numbers of a document are a rounding of it.
fn exact(matrix: TileMatrix) -> TileMatrix {
    let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= scale * 1e-6;
    let known = (0..=24).map(|level| TileMatrix::gibs(matrix.projection, level)).find(|known| {
        near(known.pixel.0, matrix.pixel.0, known.pixel.0)
            && near(known.origin.0, matrix.origin.0, known.pixel.0 * 1e3)
            && near(known.origin.1, matrix.origin.1, known.pixel.0 * 1e3)
    });
    match known {
        Some(known) => TileMatrix { pixel: known.pixel, origin: known.origin, ..matrix },
        None => matrix,
    }
}

/// The projection that the name of a coordinate reference system stands for.
fn projection_of(crs: &str) -> Option<Projection> {
    let code = crs.trim().rsplit([':', '/']).next()?;
    match code.to_ascii_uppercase().as_str() {
        "CRS84" => Some(Projection::Geographic),
        "900913" | "3785" | "102100" | "102113" => Some(Projection::WebMercator),
        code => code.parse().ok().and_then(Projection::from_epsg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_gibs_end_where_their_names_say() {
        for (projection, name, finest, metres) in [
            (Projection::Geographic, "250m", 8, 244.6),
            (Projection::Geographic, "16km", 2, 15_654.3),
            (Projection::WebMercator, "GoogleMapsCompatible_Level9", 9, 305.7),
            (Projection::Arctic, "31.25m", 8, 32.0),
            (Projection::Antarctic, "1km", 3, 1024.0),
        ] {
            let set = MatrixSet::gibs(projection, name).unwrap();
            assert_eq!(set.finest(), finest);
            assert!((set.metres() - metres).abs() < 0.05, "{name}: {}", set.metres());
        }
        assert_eq!(MatrixSet::gibs(Projection::Geographic, "GoogleMapsCompatible_Level9"), None);
        assert_eq!(MatrixSet::gibs(Projection::WebMercator, "GoogleMapsCompatible_Level99"), None);
        assert_eq!(mercator_of("250m").as_deref(), Some("GoogleMapsCompatible_Level9"));
    }

    #[test]
    fn axes_follow_the_reference_system() {
        let level = |corner| Described {
            id: "0".into(),
            scale_denominator: 2.795_411_320_143_589e8,
            corner,
            tile: (256, 256),
            size: (2, 1),
        };
        for (crs, corner) in [
            ("urn:ogc:def:crs:EPSG::4326", (90.0, -180.0)),
            ("urn:ogc:def:crs:EPSG::4326", (-180.0, 90.0)),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", (-180.0, 90.0)),
            ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", (-180.0, 90.0)),
        ] {
            let set = described("s", crs, vec![level(corner)]).unwrap();
            assert_eq!(set.levels[0].matrix.origin, (-180.0, 90.0), "{crs}");
            assert!((set.levels[0].matrix.pixel.0 - 0.703_125).abs() < 1e-9);
        }
        assert!(described("s", "urn:ogc:def:crs:EPSG::2056", vec![level((0.0, 0.0))]).is_none());
        assert!(
            described("s", "EPSG:3857", vec![Described { tile: (0, 1), ..level((0.0, 0.0)) }])
                .is_none()
        );
        let utm = described("s", "EPSG:25832", vec![level((0.0, 0.0))]).unwrap();
        assert_eq!(utm.projection(), Projection::Utm { zone: 32, south: false });
    }
}
