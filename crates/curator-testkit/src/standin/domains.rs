//! DescribeDomains: every range of a layer's times, where capabilities list the latest alone.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::exception;
use super::layer::Layer;
use super::time;

/// The answer for the times `{start}--{end}`, either of them absent, or `all`. What does not fit on a page is on
/// the next, which begins with the time that `NextPage` says.
pub(super) fn describe(layer: &Layer, span: &str, page: usize) -> Response {
    let (from, to) = match span {
        "all" => (None, None),
        span => {
            let Some((from, to)) = span.split_once("--") else {
                return exception::invalid("TIME", span);
            };
            let ends = [from, to]
                .map(|end| if end.is_empty() { Some(None) } else { time::parse(end).map(Some) });
            let [Some(from), Some(to)] = ends else { return exception::invalid("TIME", span) };
            (from, to)
        }
    };
    let all = layer.domain.as_ref().map(|domain| domain.between(from, to)).unwrap_or_default();
    let ranges = &all[..page.clamp(1, all.len().max(1)).min(all.len())];
    let next = all.get(ranges.len()).and_then(|range| range.split('/').next());
    let next = next.map(|start| format!("<NextPage>{start}</NextPage>")).unwrap_or_default();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Domains xmlns=\"http://demo.geo-solutions.it/share/wmts-multidim/wmts_multi_dimensional.xsd\" \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\"><DimensionDomain><ows:Identifier>time</ows:Identifier>\
         <Domain>{}</Domain><Size>{}</Size>{next}</DimensionDomain></Domains>",
        ranges.join(","),
        ranges.len()
    );
    ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}
