//! WMTS 1.0.0 capabilities (OGC 07-057r7): what a service says of its layers and their grids.

mod document;

use std::collections::BTreeMap;

use curator_core::Projection;

use self::document::{Document, LayerElement, LimitElement, SetElement, Text};
use super::matrix_set::{self, Described, MatrixSet};
use super::{Layer, Limit, Tiling};
use crate::times;

/// What a document says.
#[derive(Debug)]
pub(super) struct Capabilities {
    /// In order of their ids.
    pub(super) layers: Vec<Layer>,
    /// The sets in projections that can be planned.
    pub(super) sets: Vec<MatrixSet>,
}

/// Reads a capabilities document. Sets that it names without describing them are those of GIBS in
/// `projection`.
///
/// # Errors
/// A sentence, when the document is no capabilities document or names no layer.
pub(super) fn parse(xml: &str, projection: Projection) -> Result<Capabilities, String> {
    let document: Document = quick_xml::de::from_str(xml).map_err(|e| e.to_string())?;
    let sets: Vec<MatrixSet> = document.contents.sets.iter().filter_map(matrix_set).collect();
    let by_name: BTreeMap<&str, &MatrixSet> =
        sets.iter().map(|set| (set.name.as_str(), set)).collect();
    let get_tile = document.operations.operations.iter().find(|o| o.name == "GetTile");
    let kvp = get_tile.and_then(|o| o.dcp.http.get.iter().find(|get| get.href.contains('?')));
    let kvp = kvp.or_else(|| get_tile.and_then(|o| o.dcp.http.get.first()));
    let with_levels = document.contents.sets.iter().filter(|set| !set.levels.is_empty());
    let described: Vec<String> = with_levels.map(|set| set.id.words()).collect();
    let find = |name: &str| match by_name.get(name) {
        Some(set) => Some((*set).clone()),
        None if described.iter().any(|known| known == name) => None,
        None => MatrixSet::gibs(projection, name),
    };
    let mut layers: Vec<Layer> = document
        .contents
        .layers
        .iter()
        .map(|element| layer(element, &find, kvp.map(|get| get.href.as_str())))
        .collect();
    layers.sort_by(|a, b| a.id.cmp(&b.id));
    layers.dedup_by(|a, b| a.id == b.id);
    if layers.is_empty() {
        return Err("no layer is named in them".into());
    }
    Ok(Capabilities { layers, sets })
}

fn matrix_set(element: &SetElement) -> Option<MatrixSet> {
    let levels: Option<Vec<Described>> = element
        .levels
        .iter()
        .map(|level| {
            let mut corner = level.corner.text.split_whitespace().map(str::parse);
            let (Some(Ok(a)), Some(Ok(b))) = (corner.next(), corner.next()) else { return None };
            Some(Described {
                id: level.id.words(),
                scale_denominator: level.scale_denominator,
                corner: (a, b),
                tile: (level.tile_width, level.tile_height),
                size: (level.columns, level.rows),
            })
        })
        .collect();
    matrix_set::described(&element.id.words(), &element.crs.text, levels?)
}

fn layer(
    element: &LayerElement,
    find: &dyn Fn(&str) -> Option<MatrixSet>,
    kvp: Option<&str>,
) -> Layer {
    let time = element.dimensions.iter().find(|d| d.id.text.trim().eq_ignore_ascii_case("time"));
    let times: Vec<_> = time
        .into_iter()
        .flat_map(|dimension| dimension.values.iter().flat_map(|v| times::parse_list(&v.text)))
        .collect();
    let id = element.id.words();
    let formats: Vec<String> = element.formats.iter().map(Text::words).collect();
    let format = formats.iter().find(|format| super::is_picture(format)).or(formats.first());
    let template = template(element, &id, format, times.is_empty(), kvp);
    let template = match (template, times.is_empty(), time) {
        // The times are none that can be planned: the service's default stands for them.
        (Some(template), true, Some(time)) => {
            let default = time.default.words();
            let default = if default.is_empty() { "default" } else { &default };
            Some(template.replace("{Time}", default))
        }
        (template, ..) => template,
    };
    let mut tilings: BTreeMap<Projection, (f64, Tiling)> = BTreeMap::new();
    for link in &element.links {
        let name = link.matrix_set.words();
        let Some(set) = find(&name) else { continue };
        let limits = link.limits.levels.iter().filter_map(|limit| {
            let id = limit.level.words();
            let level = set.levels.iter().position(|zoom| zoom.id == id)? as u8;
            let LimitElement { min_row, max_row, min_column, max_column, .. } = *limit;
            Some(Limit { level, min_row, max_row, min_column, max_column })
        });
        let tiling = Tiling { set: name, limits: limits.collect(), template: template.clone() };
        let finer = |(metres, _): &(f64, Tiling)| set.metres() < *metres;
        // Of several sets of a projection, the finest.
        if tilings.get(&set.projection()).is_none_or(finer) {
            tilings.insert(set.projection(), (set.metres(), tiling));
        }
    }
    let tilings: BTreeMap<Projection, Tiling> =
        tilings.into_iter().map(|(projection, (_, tiling))| (projection, tiling)).collect();
    let colormaps = element.metadata.iter().filter(|link| !link.address.is_empty());
    let colormap = colormaps
        .filter_map(|link| Some((link.colormap_version()?, &link.address)))
        .max_by_key(|(version, _)| *version)
        .map(|(_, address)| address.clone());
    let legend = element.styles.iter().flat_map(|style| &style.legends).next();
    let extension = template.as_deref().and_then(|t| t.rsplit_once('.')).map(|(_, e)| e);
    Layer {
        id,
        title: element.title.words(),
        description: element.about.words(),
        projections: tilings.keys().copied().collect(),
        extension: extension.filter(|e| e.len() <= 5 && !e.contains('/')).map(Into::into),
        format: format.cloned(),
        colormap,
        legend: legend.map(|legend| legend.href.clone()),
        tilings,
        times,
        ..Layer::default()
    }
}

/// The address of a layer's tiles: a resource's template, or the operation with keys and values.
fn template(
    element: &LayerElement,
    id: &str,
    format: Option<&String>,
    is_static: bool,
    kvp: Option<&str>,
) -> Option<String> {
    let style = element.styles.iter().find(|style| style.is_default == "true");
    let style = style.or(element.styles.first()).map(|style| style.id.words());
    let style = style.filter(|style| !style.is_empty()).unwrap_or_else(|| "default".into());
    let usual = |template: &str| {
        let times =
            ["{time}", "{TIME}"].iter().fold(template.to_string(), |t, n| t.replace(n, "{Time}"));
        times.replace("{style}", &style).replace("{Style}", &style)
    };
    let tiles = || {
        element.resources.iter().filter(|resource| {
            let fits = resource.format.is_empty() || Some(&resource.format) == format;
            fits && matches!(&*resource.kind, "tile" | "")
        })
    };
    let has_time = |template: &str| template.contains("{Time}");
    let fits = tiles().map(|r| usual(&r.template)).find(|t| has_time(t) != is_static);
    let any = || tiles().map(|resource| usual(&resource.template)).next();
    fits.or_else(any).or_else(|| {
        let base = kvp?;
        let joint = match base.find('?') {
            None => "?",
            Some(_) if base.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        let time = if is_static { "" } else { "&TIME={Time}" };
        let format = format.map_or("image/jpeg", String::as_str).replace('/', "%2F");
        Some(format!(
            "{base}{joint}SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER={id}&STYLE={style}\
             &FORMAT={format}&TILEMATRIXSET={{TileMatrixSet}}&TILEMATRIX={{TileMatrix}}\
             &TILEROW={{TileRow}}&TILECOL={{TileCol}}{time}"
        ))
    })
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
        let layers = parse(DOCUMENT, Projection::Geographic).unwrap().layers;
        let [coast, ice] = &layers[..] else { panic!("two layers") };
        assert!(coast.is_vector() && !coast.is_timed());
        assert_eq!((&*ice.id, &*ice.title), ("Sea_Ice", "Sea & Ice"));
        let tiling = &ice.tilings[&Projection::Geographic];
        assert_eq!(tiling.set, "1km");
        assert_eq!(ice.times.len(), 2);
        assert!(tiling.template.as_deref().is_some_and(|t| t.contains("/default/{Time}/")));
        assert_eq!(ice.colormap.as_deref(), Some("https://h/colormaps/v1.3/Ice.xml"));
        let limit = Limit { level: 3, min_row: 0, max_row: 1, min_column: 2, max_column: 4 };
        assert_eq!(tiling.limits, [limit]);
    }

    #[test]
    fn what_is_no_capabilities_document_is_refused() {
        for bad in ["", "<html>", "<Capabilities><Contents/></Capabilities>", "not found"] {
            assert!(parse(bad, Projection::Geographic).is_err(), "{bad}");
        }
    }

    #[test]
    fn half_a_document_is_refused() {
        for end in [DOCUMENT.len() / 3, DOCUMENT.len() / 2, DOCUMENT.len() - 20] {
            assert!(parse(&DOCUMENT[..end], Projection::Geographic).is_err(), "{end}");
        }
    }

    #[test]
    fn a_service_without_resources_is_asked_with_keys_and_values() {
        let xml = r#"<Capabilities xmlns:ows="o" xmlns:xlink="x"><ows:OperationsMetadata>
          <ows:Operation name="GetTile"><ows:DCP><ows:HTTP><ows:Get xlink:href="https://h/wmts?map=a"/></ows:HTTP></ows:DCP></ows:Operation>
          </ows:OperationsMetadata><Contents><Layer><ows:Identifier>ortho</ows:Identifier>
          <Style><ows:Identifier>day</ows:Identifier></Style><Format>application/x</Format><Format>image/png</Format>
          <Dimension><ows:Identifier>Time</ows:Identifier><Default>current</Default><Value>current</Value></Dimension>
          <TileMatrixSetLink><TileMatrixSet>EPSG:3857</TileMatrixSet></TileMatrixSetLink>
          <TileMatrixSetLink><TileMatrixSet>CH</TileMatrixSet></TileMatrixSetLink></Layer>
          <TileMatrixSet><ows:Identifier>EPSG:3857</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG:6.18:3:3857</ows:SupportedCRS>
          <TileMatrix><ows:Identifier>EPSG:3857:1</ows:Identifier><ScaleDenominator>279541132.0143589</ScaleDenominator>
          <TopLeftCorner>-20037508.34278925 20037508.34278925</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>
          <MatrixWidth>2</MatrixWidth><MatrixHeight>2</MatrixHeight></TileMatrix></TileMatrixSet>
          <TileMatrixSet><ows:Identifier>CH</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::2056</ows:SupportedCRS></TileMatrixSet>
          </Contents></Capabilities>"#;
        let parsed = parse(xml, Projection::Geographic).unwrap();
        let layer = &parsed.layers[0];
        assert_eq!(layer.projections, [Projection::WebMercator]);
        assert_eq!(layer.format.as_deref(), Some("image/png"));
        assert!(!layer.is_timed());
        let template = layer.tilings[&Projection::WebMercator].template.as_deref().unwrap();
        assert!(
            template.starts_with("https://h/wmts?map=a&SERVICE=WMTS&REQUEST=GetTile"),
            "{template}"
        );
        assert!(template.contains("STYLE=day&FORMAT=image%2Fpng"), "{template}");
        let matrix = curator_core::TileMatrix::gibs(Projection::WebMercator, 1);
        assert_eq!(parsed.sets.len(), 1);
        assert_eq!(
            (parsed.sets[0].levels[0].id.as_str(), parsed.sets[0].levels[0].matrix),
            ("EPSG:3857:1", matrix)
        );
    }

    /// A recorded document, or the word that it is not there.
    #[expect(clippy::print_stderr, reason = "says why it is skipped")]
    fn recorded(name: &str) -> Option<String> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let data = std::env::var_os("CURATOR_SHARED_DATA").unwrap_or(beside.into());
        let path = std::path::Path::new(&data).join("gibs_xml/wmts_2017").join(name);
        if !path.exists() {
            eprintln!("skipped: `{}` is not there", path.display());
            return None;
        }
        Some(std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn the_recorded_documents_agree_with_the_snapshot() {
        let snapshot = super::super::snapshot::load();
        for (name, projection, count) in [
            ("gibs-geographic.xml", Projection::Geographic, 522),
            ("gibs-arctic.xml", Projection::Arctic, 0),
        ] {
            let Some(xml) = recorded(name) else { continue };
            let layers = parse(&xml, projection).unwrap().layers;
            assert!(layers.len() == count || count == 0);
            for layer in &layers {
                let known = snapshot.get(&layer.id).unwrap();
                let set = |layer: &Layer| layer.tilings.get(&projection).map(|t| t.set.clone());
                assert_eq!(set(known), set(layer), "{}", layer.id);
                assert_eq!(known.format, layer.format, "{}", layer.id);
                assert_eq!(known.extension(), layer.extension(), "{}", layer.id);
                assert_eq!(known.colormap, layer.colormap, "{}", layer.id);
            }
        }
    }

    /// Every tile matrix of every recorded set is, to the last bit, the one that is computed.
    #[test]
    fn the_recorded_matrices_are_those_of_the_grid() {
        let mut compared = 0;
        for (name, projection) in [
            ("gibs-geographic.xml", Projection::Geographic),
            ("gibs-arctic.xml", Projection::Arctic),
        ] {
            let Some(xml) = recorded(name) else { return };
            for set in parse(&xml, projection).unwrap().sets {
                let Some(known) = MatrixSet::gibs(projection, &set.name) else {
                    // A grid of its own, of 2017.
                    assert_eq!(set.name, "EPSG3413_BlueMarble");
                    assert_eq!(set.levels[0].matrix.origin.0, -12_400_000.0);
                    continue;
                };
                assert_eq!(set, known, "{}", set.name);
                compared += set.levels.len();
            }
        }
        assert_eq!(compared, 3 + 6 + 7 + 8 + 9 + 12 + 13 + 4 + 5 + 6);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
        #[test]
        fn damaged_documents_never_panic(
            at in 0..DOCUMENT.len(), with in "[<>/a-zA-Z0-9\"=& ]{0,6}", gone in 0..60_usize,
        ) {
            let end = (at + gone).min(DOCUMENT.len());
            let damaged = format!("{}{with}{}", &DOCUMENT[..at], &DOCUMENT[end..]);
            let _ = parse(&damaged, Projection::Geographic);
        }
    }
}
