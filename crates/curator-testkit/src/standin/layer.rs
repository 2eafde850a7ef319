//! The layers of the stand-in: ids, grids and periods as GIBS has them.

use curator_core::Projection;
use jiff::ToSpan;
use jiff::civil::date;

use super::pictures::Picture;
use super::time::{Domain, Period, Range};

/// How a tile is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    /// Vector tiles: listed, and no imagery.
    Vector,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Vector => "application/vnd.mapbox-vector-tile",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Vector => "mvt",
        }
    }

    /// Whether a request may end so; the service is strict about it.
    pub(super) fn is_called(self, extension: &str) -> bool {
        extension == self.extension() || (self == Self::Jpeg && extension == "jpg")
    }
}

/// What a layer shows.
pub(super) enum Content {
    /// What a satellite sees on a day.
    TrueColor,
    /// The ground without air.
    Ground,
    /// The gaps between swaths.
    Gaps,
    /// How opaque the clouds of a day are: the truth that cloud masks are measured with.
    Clouds,
    /// A vegetation index in the colours of a colour map.
    Vegetation,
    /// Nothing that can be drawn.
    Vector,
    /// Real pictures, in the order of their times.
    Pictures(Vec<Picture>),
}

/// A layer.
pub(super) struct Layer {
    pub(super) id: String,
    pub(super) title: String,
    /// What an alias stands for, in the `Layer-Identifier-Actual` header.
    pub(super) actual: Option<String>,
    pub(super) format: Format,
    /// The nominal resolution of its grid, and the projections that it is served in.
    pub(super) resolution: &'static str,
    pub(super) projections: Vec<Projection>,
    /// `None` for a static layer.
    pub(super) domain: Option<Domain>,
    pub(super) content: Content,
}

impl Layer {
    /// Its tile matrix set in a projection, and the deepest level.
    pub(super) fn matrix_set(&self, projection: Projection) -> Option<(&'static str, u8)> {
        let served = self.projections.contains(&projection);
        matrix_sets(projection)
            .iter()
            .find(|(resolution, ..)| served && *resolution == self.resolution)
            .map(|&(_, name, deepest)| (name, deepest))
    }
}

/// The tile matrix sets of a projection: the resolution of layers that have them, name, deepest level.
/// Source: the GIBS API documentation.
pub(super) fn matrix_sets(projection: Projection) -> &'static [(&'static str, &'static str, u8)] {
    match projection {
        Projection::Geographic => &[
            ("16km", "16km", 2),
            ("2km", "2km", 5),
            ("1km", "1km", 6),
            ("500m", "500m", 7),
            ("250m", "250m", 8),
        ],
        Projection::WebMercator => &[
            ("2km", "GoogleMapsCompatible_Level6", 6),
            ("1km", "GoogleMapsCompatible_Level7", 7),
            ("500m", "GoogleMapsCompatible_Level8", 8),
            ("250m", "GoogleMapsCompatible_Level9", 9),
        ],
        Projection::Arctic | Projection::Antarctic => {
            &[("2km", "1km", 3), ("1km", "1km", 3), ("500m", "500m", 4), ("250m", "250m", 5)]
        }
        Projection::Utm { .. } => &[],
    }
}

/// The layers of the procedural Earth: one of every kind that GIBS has.
pub(super) fn procedural() -> Vec<Layer> {
    let daily = |first, last| Range::new(first, last, Period::Days(1));
    let terra = || {
        // The instrument was off for some days in February 2016.
        vec![daily("2012-05-08", "2016-02-18"), daily("2016-02-28", "2020-12-31")]
    };
    let layer =
        |id: &str, title: &str, format, resolution, ranges: Vec<Option<Range>>, content| Layer {
            id: id.into(),
            title: title.into(),
            actual: None,
            format,
            resolution,
            projections: Projection::ALL.to_vec(),
            domain: Domain::new(ranges.into_iter().flatten().collect()),
            content,
        };
    vec![
        layer(
            "MODIS_Terra_CorrectedReflectance_TrueColor",
            "Corrected Reflectance (True Color, Terra / MODIS)",
            Format::Jpeg,
            "250m",
            terra(),
            Content::TrueColor,
        ),
        Layer {
            actual: Some("MODIS_Aqua_CorrectedReflectance_TrueColor_v6_STD".into()),
            ..layer(
                "MODIS_Aqua_CorrectedReflectance_TrueColor",
                "Corrected Reflectance (True Color, Aqua / MODIS)",
                Format::Jpeg,
                "250m",
                vec![daily("2012-05-08", "2020-12-31")],
                Content::TrueColor,
            )
        },
        layer(
            "BlueMarble_ShadedRelief_Bathymetry",
            "Blue Marble, shaded relief and bathymetry",
            Format::Jpeg,
            "500m",
            Vec::new(),
            Content::Ground,
        ),
        layer(
            "MODIS_Terra_Data_No_Data",
            "No data (Terra / MODIS)",
            Format::Png,
            "250m",
            terra(),
            Content::Gaps,
        ),
        layer(
            "Procedural_Cloud_Opacity",
            "Opacity of the clouds of the procedural Earth",
            Format::Png,
            "250m",
            terra(),
            Content::Clouds,
        ),
        layer(
            "MODIS_Terra_NDVI_8Day",
            "Vegetation Index (8-Day, Terra / MODIS)",
            Format::Png,
            "250m",
            vec![Range::new("2012-01-01", "2020-12-26", Period::Days(8))],
            Content::Vegetation,
        ),
        layer(
            "MODIS_Terra_L3_NDVI_Monthly",
            "Vegetation Index (L3, Monthly, Terra / MODIS)",
            Format::Png,
            "1km",
            vec![Range::new("2000-02-01", "2020-12-01", Period::Months(1))],
            Content::Vegetation,
        ),
        layer(
            "Landsat_WELD_CorrectedReflectance_TrueColor_Global_Annual",
            "Corrected Reflectance (True Color, Global, Annual, Landsat)",
            Format::Jpeg,
            "250m",
            vec![
                Range::new("1984-01-01", "1986-01-01", Period::Months(12)),
                Range::new("1998-01-01", "2012-01-01", Period::Months(12)),
            ],
            Content::TrueColor,
        ),
        Layer {
            projections: vec![Projection::Geographic, Projection::WebMercator],
            ..layer(
                "GOES-East_ABI_GeoColor",
                "GeoColor (True Color day, GOES-East / ABI)",
                Format::Jpeg,
                "1km",
                geostationary(),
                Content::TrueColor,
            )
        },
        layer(
            "VIIRS_NOAA20_Thermal_Anomalies_375m_Day",
            "Fires and Thermal Anomalies (Day, NOAA-20 / VIIRS)",
            Format::Vector,
            "500m",
            vec![daily("2020-01-01", "2020-12-31")],
            Content::Vector,
        ),
    ]
}

/// Every ten minutes, but for an hour each night: 130 ranges, more than capabilities list.
fn geostationary() -> Vec<Option<Range>> {
    (0..130)
        .map(|day| {
            let day = date(2020, 6, 1).saturating_add(day.days());
            Range::new(
                &format!("{day}T00:00:00Z"),
                &format!("{day}T22:50:00Z"),
                Period::Minutes(10),
            )
        })
        .collect()
}
