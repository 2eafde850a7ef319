//! The elements of a WMTS capabilities document that matter here, as they are written.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(rename = "OperationsMetadata", default)]
    pub(super) operations: Operations,
    #[serde(rename = "Contents", default)]
    pub(super) contents: Contents,
}

#[derive(Deserialize, Default)]
pub(super) struct Operations {
    #[serde(rename = "Operation", default)]
    pub(super) operations: Vec<Operation>,
}

#[derive(Deserialize)]
pub(super) struct Operation {
    #[serde(rename = "@name", default)]
    pub(super) name: String,
    #[serde(rename = "DCP", default)]
    pub(super) dcp: Dcp,
}

#[derive(Deserialize, Default)]
pub(super) struct Dcp {
    #[serde(rename = "HTTP", default)]
    pub(super) http: Http,
}

#[derive(Deserialize, Default)]
pub(super) struct Http {
    #[serde(rename = "Get", default)]
    pub(super) get: Vec<Reference>,
}

#[derive(Deserialize, Default)]
pub(super) struct Reference {
    #[serde(rename = "@href", default)]
    pub(super) href: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Contents {
    #[serde(rename = "Layer", default)]
    pub(super) layers: Vec<LayerElement>,
    #[serde(rename = "TileMatrixSet", default)]
    pub(super) sets: Vec<SetElement>,
}

#[derive(Deserialize)]
pub(super) struct SetElement {
    #[serde(rename = "Identifier")]
    pub(super) id: Text,
    #[serde(rename = "SupportedCRS", default)]
    pub(super) crs: Text,
    #[serde(rename = "TileMatrix", default)]
    pub(super) levels: Vec<MatrixElement>,
}

#[derive(Deserialize)]
pub(super) struct MatrixElement {
    #[serde(rename = "Identifier")]
    pub(super) id: Text,
    #[serde(rename = "ScaleDenominator")]
    pub(super) scale_denominator: f64,
    #[serde(rename = "TopLeftCorner")]
    pub(super) corner: Text,
    #[serde(rename = "TileWidth")]
    pub(super) tile_width: u32,
    #[serde(rename = "TileHeight")]
    pub(super) tile_height: u32,
    #[serde(rename = "MatrixWidth")]
    pub(super) columns: u32,
    #[serde(rename = "MatrixHeight")]
    pub(super) rows: u32,
}

#[derive(Deserialize)]
pub(super) struct LayerElement {
    #[serde(rename = "Title", default)]
    pub(super) title: Text,
    #[serde(rename = "Abstract", default)]
    pub(super) about: Text,
    #[serde(rename = "Identifier")]
    pub(super) id: Text,
    #[serde(rename = "Style", default)]
    pub(super) styles: Vec<Style>,
    #[serde(rename = "Format", default)]
    pub(super) formats: Vec<Text>,
    #[serde(rename = "Dimension", default)]
    pub(super) dimensions: Vec<Dimension>,
    #[serde(rename = "TileMatrixSetLink", default)]
    pub(super) links: Vec<Link>,
    #[serde(rename = "ResourceURL", default)]
    pub(super) resources: Vec<Resource>,
    #[serde(rename = "Metadata", default)]
    pub(super) metadata: Vec<Metadata>,
}

#[derive(Deserialize)]
pub(super) struct Style {
    #[serde(rename = "@isDefault", default)]
    pub(super) is_default: String,
    #[serde(rename = "Identifier", default)]
    pub(super) id: Text,
    #[serde(rename = "LegendURL", default)]
    pub(super) legends: Vec<Reference>,
}

/// The text of an element, whose attributes (such as a language) do not matter.
#[derive(Deserialize, Default)]
pub(super) struct Text {
    #[serde(rename = "$text", default)]
    pub(super) text: String,
}

impl Text {
    pub(super) fn words(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[derive(Deserialize)]
pub(super) struct Dimension {
    #[serde(rename = "Identifier")]
    pub(super) id: Text,
    #[serde(rename = "Default", default)]
    pub(super) default: Text,
    #[serde(rename = "Value", default)]
    pub(super) values: Vec<Text>,
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(rename = "TileMatrixSet")]
    pub(super) matrix_set: Text,
    #[serde(rename = "TileMatrixSetLimits", default)]
    pub(super) limits: Limits,
}

#[derive(Deserialize, Default)]
pub(super) struct Limits {
    #[serde(rename = "TileMatrixLimits", default)]
    pub(super) levels: Vec<LimitElement>,
}

#[derive(Deserialize)]
pub(super) struct LimitElement {
    #[serde(rename = "TileMatrix")]
    pub(super) level: Text,
    #[serde(rename = "MinTileRow")]
    pub(super) min_row: u32,
    #[serde(rename = "MaxTileRow")]
    pub(super) max_row: u32,
    #[serde(rename = "MinTileCol")]
    pub(super) min_column: u32,
    #[serde(rename = "MaxTileCol")]
    pub(super) max_column: u32,
}

/// A link to more about a layer; `role` says what.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(rename = "@role", default)]
    pub(super) role: String,
    #[serde(rename = "@href", default)]
    pub(super) address: String,
}

impl Metadata {
    /// The version of the colour map that it leads to.
    pub(super) fn colormap_version(&self) -> Option<&str> {
        let (_, version) = self.role.split_once("/metadata-type/colormap")?;
        Some(version.trim_start_matches('/'))
    }
}

#[derive(Deserialize)]
pub(super) struct Resource {
    #[serde(rename = "@resourceType", default)]
    pub(super) kind: String,
    #[serde(rename = "@format", default)]
    pub(super) format: String,
    #[serde(rename = "@template")]
    pub(super) template: String,
}
