//! WMTS capabilities: what a service says of its layers.

use serde::Deserialize;

use super::{Layer, Limit};
use crate::times;

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Contents", default)]
    contents: Contents,
}

#[derive(Deserialize, Default)]
struct Contents {
    #[serde(rename = "Layer", default)]
    layers: Vec<LayerElement>,
}

#[derive(Deserialize)]
struct LayerElement {
    #[serde(rename = "Title", default)]
    title: Text,
    #[serde(rename = "Identifier")]
    id: Text,
    #[serde(rename = "Format", default)]
    formats: Vec<Text>,
    #[serde(rename = "Dimension", default)]
    dimensions: Vec<Dimension>,
    #[serde(rename = "TileMatrixSetLink", default)]
    links: Vec<Link>,
    #[serde(rename = "ResourceURL", default)]
    resources: Vec<Resource>,
    #[serde(rename = "Metadata", default)]
    metadata: Vec<Metadata>,
}

/// The text of an element, whose attributes (such as a language) do not matter.
#[derive(Deserialize, Default)]
struct Text {
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Dimension {
    #[serde(rename = "Identifier")]
    id: Text,
    #[serde(rename = "Value", default)]
    values: Vec<Text>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "TileMatrixSet")]
    matrix_set: Text,
    #[serde(rename = "TileMatrixSetLimits", default)]
    limits: Limits,
}

#[derive(Deserialize, Default)]
struct Limits {
    #[serde(rename = "TileMatrixLimits", default)]
    levels: Vec<LimitElement>,
}

#[derive(Deserialize)]
struct LimitElement {
    #[serde(rename = "TileMatrix")]
    level: u8,
    #[serde(rename = "MinTileRow")]
    min_row: u32,
    #[serde(rename = "MaxTileRow")]
    max_row: u32,
    #[serde(rename = "MinTileCol")]
    min_column: u32,
    #[serde(rename = "MaxTileCol")]
    max_column: u32,
}

/// A link to more about a layer; `role` says what.
#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "@role", default)]
    role: String,
    #[serde(rename = "@href", default)]
    address: String,
}

impl Metadata {
    /// The version of the colour map that it leads to.
    fn colormap_version(&self) -> Option<&str> {
        let (_, version) = self.role.split_once("/metadata-type/colormap")?;
        Some(version.trim_start_matches('/'))
    }
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "@resourceType", default)]
    kind: String,
    #[serde(rename = "@template")]
    template: String,
}

/// Reads the layers of a capabilities document in EPSG:4326, in order of their ids.
///
/// # Errors
/// A sentence, when the document is no capabilities document or names no layer.
pub(super) fn parse(xml: &str) -> Result<Vec<Layer>, String> {
    let document: Document = quick_xml::de::from_str(xml).map_err(|e| e.to_string())?;
    let mut layers: Vec<Layer> = document.contents.layers.into_iter().map(Layer::from).collect();
    layers.sort_by(|a, b| a.id.cmp(&b.id));
    layers.dedup_by(|a, b| a.id == b.id);
    if layers.is_empty() { Err("no layer is named in them".into()) } else { Ok(layers) }
}

impl From<LayerElement> for Layer {
    fn from(element: LayerElement) -> Self {
        let times: Vec<_> = element
            .dimensions
            .iter()
            .filter(|dimension| dimension.id.text.trim().eq_ignore_ascii_case("time"))
            .flat_map(|dimension| dimension.values.iter().flat_map(|v| times::parse_list(&v.text)))
            .collect();
        let has_time = |resource: &&Resource| resource.template.contains("{Time}");
        let tiles = || element.resources.iter().filter(|r| matches!(&*r.kind, "tile" | ""));
        let template =
            tiles().find(|r| has_time(r) != times.is_empty()).map(|r| r.template.clone());
        let colormaps = element.metadata.iter().filter(|link| !link.address.is_empty());
        let colormap = colormaps
            .filter_map(|link| Some((link.colormap_version()?, &link.address)))
            .max_by_key(|(version, _)| *version)
            .map(|(_, address)| address.clone());
        let limits = element.links.first().map(|link| link.limits.levels.iter().map(Limit::from));
        Self {
            id: element.id.text.trim().into(),
            title: element.title.text.split_whitespace().collect::<Vec<_>>().join(" "),
            matrix_set: element.links.first().map(|link| link.matrix_set.text.trim().into()),
            format: element.formats.first().map(|format| format.text.trim().into()),
            extension: template.as_deref().and_then(|t| t.rsplit_once('.')).map(|(_, e)| e.into()),
            projections: vec!["4326".into()],
            limits: limits.map(Iterator::collect).unwrap_or_default(),
            tags: String::new(),
            colormap,
            template,
            times,
        }
    }
}

impl From<&LimitElement> for Limit {
    fn from(element: &LimitElement) -> Self {
        Self {
            level: element.level,
            min_row: element.min_row,
            max_row: element.max_row,
            min_column: element.min_column,
            max_column: element.max_column,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written after the documents of 2017 (see docs/gibs-downloader.md), with what they lack:
    /// limits, several resource URLs, a vector layer, an entity in a title.
    const DOCUMENT: &str = r#"<?xml version="1.0"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
 <ows:ServiceIdentification><ows:Title xml:lang="en">GIBS</ows:Title></ows:ServiceIdentification>
 <Contents>
  <Layer>
   <ows:Title xml:lang="en">Sea &amp; Ice</ows:Title>
   <ows:Identifier>Sea_Ice</ows:Identifier>
   <ows:Metadata title="a"/>
   <Style isDefault="true"><ows:Title>default</ows:Title><ows:Identifier>default</ows:Identifier></Style>
   <Format>image/png</Format>
   <Dimension><ows:Identifier>Time</ows:Identifier><Default>2020-01-03</Default>
    <Value>2019-01-01/2019-06-01/P1D</Value><Value>2020-01-01/2020-01-03/P1D</Value></Dimension>
   <TileMatrixSetLink><TileMatrixSet>1km</TileMatrixSet>
    <TileMatrixSetLimits><TileMatrixLimits><TileMatrix>3</TileMatrix><MinTileRow>0</MinTileRow>
     <MaxTileRow>1</MaxTileRow><MinTileCol>2</MinTileCol><MaxTileCol>4</MaxTileCol>
    </TileMatrixLimits></TileMatrixSetLimits></TileMatrixSetLink>
   <ows:Metadata title="b"/>
   <ows:Metadata xlink:role="http://earthdata.nasa.gov/gibs/metadata-type/colormap/1.3" xlink:href="https://h/colormaps/v1.3/Ice.xml"/>
   <ows:Metadata xlink:role="http://earthdata.nasa.gov/gibs/metadata-type/colormap/1.0" xlink:href="https://h/colormaps/v1.0/Ice.xml"/>
   <ResourceURL format="image/png" resourceType="tile" template="https://h/Sea_Ice/default/default/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"/>
   <ResourceURL format="image/png" resourceType="tile" template="https://h/Sea_Ice/default/{Time}/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"/>
   <ResourceURL format="text/xml" resourceType="Domains" template="https://h/1.0.0/Sea_Ice/{Time}.xml"/>
  </Layer>
  <Layer>
   <ows:Title>Coastlines</ows:Title><ows:Identifier>Coast</ows:Identifier>
   <Format>application/vnd.mapbox-vector-tile</Format>
   <TileMatrixSetLink><TileMatrixSet>250m</TileMatrixSet></TileMatrixSetLink>
  </Layer>
  <TileMatrixSet><ows:Identifier>1km</ows:Identifier></TileMatrixSet>
 </Contents>
</Capabilities>"#;

    #[test]
    fn a_layer_has_its_facts() {
        let layers = parse(DOCUMENT).unwrap();
        let [coast, ice] = &layers[..] else { panic!("two layers") };
        assert!(coast.is_vector() && !coast.is_timed());
        assert_eq!((&*ice.id, &*ice.title), ("Sea_Ice", "Sea & Ice"));
        assert_eq!(ice.matrix_set.as_deref(), Some("1km"));
        assert_eq!(ice.times.len(), 2);
        assert!(ice.template.as_deref().is_some_and(|t| t.contains("/default/{Time}/")));
        assert_eq!(ice.colormap.as_deref(), Some("https://h/colormaps/v1.3/Ice.xml"));
        let limit = Limit { level: 3, min_row: 0, max_row: 1, min_column: 2, max_column: 4 };
        assert_eq!(ice.limits, [limit]);
    }

    #[test]
    fn what_is_no_capabilities_document_is_refused() {
        for bad in ["", "<html>", "<Capabilities><Contents/></Capabilities>", "not found"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "says why it is skipped")]
    fn the_recorded_document_agrees_with_the_snapshot() {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let data = std::env::var_os("CURATOR_SHARED_DATA").unwrap_or(beside.into());
        let path = std::path::Path::new(&data).join("gibs_xml/wmts_2017/gibs-geographic.xml");
        if !path.exists() {
            eprintln!("skipped: `{}` is not there", path.display());
            return;
        }
        let layers = parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(layers.len(), 522);
        let snapshot = super::super::snapshot::load();
        for layer in &layers {
            let known = snapshot.get(&layer.id).unwrap();
            assert_eq!(known.matrix_set, layer.matrix_set, "{}", layer.id);
            assert_eq!(known.format, layer.format, "{}", layer.id);
            assert_eq!(known.extension(), layer.extension(), "{}", layer.id);
        }
        let with_colormap = layers.iter().filter(|layer| layer.colormap.is_some()).count();
        assert!(with_colormap > 300, "{with_colormap}");
    }
}
