//! Every time range of a layer, for those with more than the capabilities list.

use std::collections::HashSet;

use reqwest::Url;
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
    /// What follows, when the ranges do not fit on a page.
    #[serde(rename = "NextPage")]
    next: Option<String>,
}

/// Pages that are read of one layer: 25,000 ranges each.
const PAGES: usize = 100;

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
    let (mut ranges, mut seen) = (Vec::new(), HashSet::new());
    let tiling = layer.tilings.get(&client.endpoint().projection());
    let matrix_set = tiling.map_or("", |tiling| tiling.set.as_str());
    let mut url = client.endpoint().domains(&layer.id, matrix_set, from, to);
    for _ in 0..PAGES {
        let page = parse(&client.text(&url).await?)?;
        let before = ranges.len();
        let is_new = |range: &TimeRange| seen.insert((range.start, range.end));
        ranges.extend(page.ranges.into_iter().filter(is_new));
        let Some(next) = page.next else { return Ok(ranges) };
        if ranges.len() == before {
            break;
        }
        url = match next {
            Next::At(address) => joined(&url, &address)?,
            Next::From(day) => client.endpoint().domains(&layer.id, matrix_set, &day, to),
        };
    }
    Err(format!("its times do not end after {} ranges", ranges.len()))
}

/// A page of ranges.
struct Page {
    ranges: Vec<TimeRange>,
    next: Option<Next>,
}

/// Where the next page is.
#[derive(Debug, PartialEq)]
enum Next {
    /// At this address, which may be relative.
    At(String),
    /// At the same one, asked from this time on.
    From(String),
}

fn parse(xml: &str) -> Result<Page, String> {
    let document: Domains = quick_xml::de::from_str(xml).map_err(|e| e.to_string())?;
    let is_time = |dimension: &&DimensionDomain| dimension.id.trim().eq_ignore_ascii_case("time");
    let times = || document.dimensions.iter().filter(is_time);
    let ranges: Vec<TimeRange> =
        times().flat_map(|dimension| times::parse_list(&dimension.domain)).collect();
    let said = times().find_map(|dimension| dimension.next.as_deref()).map(str::trim);
    let next = said.filter(|said| !said.is_empty() && *said != "false").and_then(|said| {
        if said.contains('/') && times::parse_list(said).is_empty() {
            return Some(Next::At(said.into()));
        }
        // A time, or only the word that there is more: what follows the last range.
        let last = ranges.iter().map(|range| range.end).max()?;
        let from = said.split('/').next().and_then(times::parse_instant).unwrap_or(last);
        Some(Next::From(times::name(from, from.time() != jiff::civil::Time::midnight())))
    });
    Ok(Page { ranges, next })
}

/// An address of the same service.
fn joined(base: &str, address: &str) -> Result<String, String> {
    let base = Url::parse(base).map_err(|e| e.to_string())?;
    let next = base.join(address).map_err(|e| format!("the next page `{address}`: {e}"))?;
    if next.origin() != base.origin() {
        return Err(format!("the next page is elsewhere: {next}"));
    }
    Ok(next.into())
}

#[cfg(test)]
mod tests {
    use super::Next;

    #[test]
    fn the_ranges_are_read() {
        let xml = r#"<Domains xmlns="http://demo.geo-solutions.it/share/wmts-multidim/wmts_multi_dimensional.xsd" xmlns:ows="http://www.opengis.net/ows/1.1">
            <DimensionDomain><ows:Identifier>time</ows:Identifier>
            <Domain>2012-05-08/2012-05-09/P1D,2012-05-11/2012-06-01/P1D</Domain><Size>2</Size>
            </DimensionDomain></Domains>"#;
        let page = super::parse(xml).unwrap();
        assert_eq!((page.ranges.len(), page.next), (2, None));
        assert!(super::parse("<html>").is_err());
    }

    #[test]
    fn the_next_page_is_an_address_a_time_or_what_follows() {
        let next = |said: &str| {
            let xml = format!(
                "<Domains><DimensionDomain><Identifier>time</Identifier><Domain>2012-05-08/2012-05-09/P1D\
                 </Domain><Size>2</Size><NextPage>{said}</NextPage></DimensionDomain></Domains>"
            );
            super::parse(&xml).unwrap().next
        };
        let from = |day: &str| Some(Next::From(day.into()));
        assert_eq!(next("/1.0.0/L/2.xml"), Some(Next::At("/1.0.0/L/2.xml".into())));
        assert_eq!(next("2012-05-11"), from("2012-05-11"));
        assert_eq!(next("2012-05-11T10:00:00Z"), from("2012-05-11T10:00:00Z"));
        assert_eq!(next("2012-05-11/2012-06-01/P1D"), from("2012-05-11"));
        assert_eq!((next("true"), next("")), (from("2012-05-09"), None));
        assert_eq!(super::joined("http://h/a/b.xml", "/c").unwrap(), "http://h/c");
        assert!(super::joined("http://h/a/b.xml", "http://elsewhere/c").is_err());
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
