//! WMTS 1.0.0 capabilities (OGC 07-057r7) of the layers in a projection.

use curator_core::{Projection, TileMatrix};

use super::exception::escaped;
use super::layer::{Content, Format, Layer, matrix_sets};

/// Ranges of times that capabilities list; DescribeDomains has them all.
const LISTED_RANGES: usize = 100;

/// Metres a pixel, divided by the 0.28 mm that a pixel is taken for, is its scale; degrees are taken at
/// the equator of WGS 84.
const METRES_A_DEGREE: f64 = 6_378_137.0 * std::f64::consts::PI / 180.0;

/// The document, with addresses that begin with `host`.
pub(super) fn xml(layers: &[Layer], projection: Projection, host: &str) -> String {
    let base = format!("{host}/wmts/epsg{}/best", projection.epsg());
    let listed: String = layers
        .iter()
        .filter_map(|layer| Some((layer, layer.matrix_set(projection)?.0)))
        .map(|(layer, set)| describe(layer, projection, set, &base, host))
        .collect();
    let mut sets: Vec<(&str, u8)> =
        matrix_sets(projection).iter().map(|&(_, name, deepest)| (name, deepest)).collect();
    sets.dedup();
    let sets: String =
        sets.into_iter().map(|(name, deepest)| matrix_set(projection, name, deepest)).collect();
    let operations: String = [
        ("GetCapabilities", "1.0.0/WMTSCapabilities.xml"),
        ("GetTile", ""),
    ]
    .iter()
    .map(|(operation, path)| {
        let get = |address: String, encoding: &str| {
            format!(
                "<ows:Get xlink:href=\"{address}\"><ows:Constraint name=\"GetEncoding\"><ows:AllowedValues>\
                 <ows:Value>{encoding}</ows:Value></ows:AllowedValues></ows:Constraint></ows:Get>"
            )
        };
        format!(
            "<ows:Operation name=\"{operation}\"><ows:DCP><ows:HTTP>{}{}</ows:HTTP></ows:DCP></ows:Operation>",
            get(format!("{base}/{path}"), "RESTful"),
            get(format!("{base}/wmts.cgi?"), "KVP")
        )
    })
    .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Capabilities xmlns=\"http://www.opengis.net/wmts/1.0\" \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         version=\"1.0.0\"><ows:ServiceIdentification><ows:Title xml:lang=\"en\">Stand-in for GIBS</ows:Title>\
         <ows:ServiceType>OGC WMTS</ows:ServiceType><ows:ServiceTypeVersion>1.0.0</ows:ServiceTypeVersion>\
         <ows:Fees>none</ows:Fees><ows:AccessConstraints>none</ows:AccessConstraints>\
         </ows:ServiceIdentification><ows:ServiceProvider><ows:ProviderName>curator-testkit</ows:ProviderName>\
         <ows:ServiceContact/></ows:ServiceProvider><ows:OperationsMetadata>{operations}</ows:OperationsMetadata>\
         <Contents>{listed}{sets}</Contents>\
         <ServiceMetadataURL xlink:href=\"{base}/1.0.0/WMTSCapabilities.xml\"/></Capabilities>"
    )
}

fn describe(layer: &Layer, projection: Projection, set: &str, base: &str, host: &str) -> String {
    let (format, extension) = (layer.format.media_type(), layer.format.extension());
    let id = escaped(&layer.id);
    let (dimension, time) = match &layer.domain {
        Some(domain) => {
            let values: String = domain
                .latest(LISTED_RANGES)
                .into_iter()
                .map(|range| format!("<Value>{range}</Value>"))
                .collect();
            (
                format!(
                    "<Dimension><ows:Identifier>Time</ows:Identifier><ows:UOM>ISO8601</ows:UOM>\
                     <Default>{}</Default><Current>false</Current>{values}</Dimension>",
                    domain.text(domain.default())
                ),
                "/{Time}",
            )
        }
        None => (String::new(), ""),
    };
    let colormap = if matches!(layer.content, Content::Vegetation) {
        format!(
            "<ows:Metadata xlink:type=\"simple\" xlink:title=\"GIBS Color Map: Data - RGB Mapping\" \
             xlink:role=\"http://earthdata.nasa.gov/gibs/metadata-type/colormap/1.3\" \
             xlink:href=\"{host}/colormaps/v1.3/MODIS_NDVI.xml\"/>"
        )
    } else {
        String::new()
    };
    let area = match projection {
        Projection::WebMercator => "-180 -85.051129/180 85.051129",
        Projection::Geographic => "-180 -90/180 90",
        Projection::Arctic => "-180 38.807151/180 90",
        Projection::Antarctic => "-180 -90/180 -38.807151",
        Projection::Utm { .. } => "-180 -80/180 84",
    };
    let (lower, upper) = area.split_once('/').unwrap_or_default();
    // Clients cannot tell the extent of a polar map from its longitudes.
    let extent = TileMatrix::gibs(projection, 3).extent();
    let own = if projection.is_geographic() {
        String::new()
    } else {
        format!(
            "<ows:BoundingBox crs=\"urn:ogc:def:crs:EPSG::{}\"><ows:LowerCorner>{} {}</ows:LowerCorner>\
             <ows:UpperCorner>{} {}</ows:UpperCorner></ows:BoundingBox>",
            projection.epsg(),
            extent.west,
            extent.south,
            extent.east,
            extent.north
        )
    };
    let kind = if layer.format == Format::Vector { "vector" } else { "default" };
    format!(
        "<Layer><ows:Title xml:lang=\"en\">{title}</ows:Title><ows:WGS84BoundingBox crs=\"urn:ogc:def:crs:OGC:2:84\">\
         <ows:LowerCorner>{lower}</ows:LowerCorner><ows:UpperCorner>{upper}</ows:UpperCorner>\
         </ows:WGS84BoundingBox>{own}<ows:Identifier>{id}</ows:Identifier>{colormap}<Style isDefault=\"true\">\
         <ows:Title xml:lang=\"en\">{kind}</ows:Title><ows:Identifier>default</ows:Identifier></Style>\
         <Format>{format}</Format>{dimension}<TileMatrixSetLink><TileMatrixSet>{set}</TileMatrixSet>\
         </TileMatrixSetLink><ResourceURL format=\"{format}\" resourceType=\"tile\" \
         template=\"{base}/{id}/default{time}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{extension}\"/>\
         </Layer>",
        title = escaped(&layer.title),
    )
}

fn matrix_set(projection: Projection, name: &str, deepest: u8) -> String {
    let crs = match projection {
        Projection::Geographic => "urn:ogc:def:crs:OGC:1.3:CRS84".to_string(),
        other => format!("urn:ogc:def:crs:EPSG::{}", other.epsg()),
    };
    let levels: String = (0..=deepest)
        .map(|level| {
            let matrix = TileMatrix::gibs(projection, level);
            let metres = if projection.is_geographic() { METRES_A_DEGREE } else { 1.0 };
            format!(
                "<TileMatrix><ows:Identifier>{level}</ows:Identifier><ScaleDenominator>{}</ScaleDenominator>\
                 <TopLeftCorner>{} {}</TopLeftCorner><TileWidth>{}</TileWidth><TileHeight>{}</TileHeight>\
                 <MatrixWidth>{}</MatrixWidth><MatrixHeight>{}</MatrixHeight></TileMatrix>",
                matrix.pixel.0 * metres / 0.000_28,
                matrix.origin.0,
                matrix.origin.1,
                matrix.tile.0,
                matrix.tile.1,
                matrix.columns,
                matrix.rows
            )
        })
        .collect();
    format!(
        "<TileMatrixSet><ows:Identifier>{name}</ows:Identifier><ows:SupportedCRS>{crs}</ows:SupportedCRS>\
         {levels}</TileMatrixSet>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_denominators_are_those_of_the_service() {
        let first = |projection| matrix_set(projection, "x", 0);
        // Recorded capabilities of EPSG:4326 and EPSG:3413.
        assert!(first(Projection::Geographic).contains("<ScaleDenominator>223632905.6114871"));
        assert!(first(Projection::Arctic).contains("<ScaleDenominator>29257142.8571428"));
    }
}
