//! Every time range of a layer, for those with more than the capabilities list.

use serde::Deserialize;

use super::Layer;
use crate::client::Client;
use crate::times::{self, TimeRange};

#[derive(Deserialize)]
struct Domains {
    #[serde(rename = "DimensionDomain", default)]
    dimensions: Vec<DimensionDomain>,
}

#[derive(Deserialize)]
struct DimensionDomain {
    #[serde(rename = "Identifier", default)]
    id: String,
    #[serde(rename = "Domain", default)]
    domain: String,
}

/// Asks for the ranges of a layer between two days.
///
/// # Errors
/// A sentence, when the service does not answer or not with a domains document.
pub(crate) async fn ask(
    client: &Client,
    layer: &Layer,
    from: &str,
    to: &str,
) -> Result<Vec<TimeRange>, String> {
    let tiling = layer.tilings.get(&client.endpoint().projection());
    let matrix_set = tiling.map_or("", |tiling| tiling.set.as_str());
    let url = client.endpoint().domains(&layer.id, matrix_set, from, to);
    let text = client.text(&url).await?;
    parse(&text)
}

fn parse(xml: &str) -> Result<Vec<TimeRange>, String> {
    let document: Domains = quick_xml::de::from_str(xml).map_err(|e| e.to_string())?;
    Ok(document
        .dimensions
        .iter()
        .filter(|dimension| dimension.id.trim().eq_ignore_ascii_case("time"))
        .flat_map(|dimension| times::parse_list(&dimension.domain))
        .collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_ranges_are_read() {
        let xml = r#"<Domains xmlns="http://demo.geo-solutions.it/share/wmts-multidim/wmts_multi_dimensional.xsd" xmlns:ows="http://www.opengis.net/ows/1.1">
            <DimensionDomain><ows:Identifier>time</ows:Identifier>
            <Domain>2012-05-08/2012-05-09/P1D,2012-05-11/2012-06-01/P1D</Domain><Size>2</Size>
            </DimensionDomain></Domains>"#;
        assert_eq!(super::parse(xml).unwrap().len(), 2);
        assert!(super::parse("<html>").is_err());
    }

    proptest::proptest! {
        #[test]
        fn damaged_documents_never_panic(
            at in 0..250_usize, with in "[<>/a-zA-Z0-9\"=&, -]{0,6}", gone in 0..40_usize,
        ) {
            let xml = "<Domains xmlns:ows=\"http://www.opengis.net/ows/1.1\"><DimensionDomain>\
                <ows:Identifier>time</ows:Identifier><Domain>2012-05-08/2012-05-09/P1D,\
                2012-05-11T00:00:00Z/2012-06-01T00:00:00Z/PT10M</Domain><Size>2</Size>\
                </DimensionDomain></Domains>";
            let at = at.min(xml.len());
            let end = (at + gone).min(xml.len());
            let _ = super::parse(&format!("{}{with}{}", &xml[..at], &xml[end..]));
        }
    }
}
