//! STAC: items of a search service, a collection, an item collection or a static catalogue; their assets
//! are pictures when they say where their pixels are (the projection extension).

mod item;

use std::collections::HashSet;

use curator_core::BBox;
use futures_util::{StreamExt, stream};
use jiff::civil::DateTime;
use reqwest::Url;
use serde_json::Value;

use self::item::{Found, Where};
use super::pictures::Picture;
use crate::client::Client;
use crate::dates::Dates;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::times;

/// Documents that are read at most: a static catalogue has one an item.
const MOST_DOCUMENTS: usize = 20_000;

/// Items that a page of a search is asked for.
const PAGE: u32 = 250;

/// Bytes of a picture that are read for its size and place, and of how many pictures at a time.
const HEAD: usize = 1 << 16;
const HEADS: usize = 8;

/// The pictures of a source, and why others are left out.
///
/// # Errors
/// [`Error::Stac`] when the source cannot be read.
pub(super) async fn pictures(
    config: &Config,
    client: &Client,
) -> Result<(Vec<Picture>, Vec<String>)> {
    let dates = Dates::new(&config.dates)?;
    let walk = Walk {
        client,
        bbox: config.area.as_ref().map(crate::area::Area::bbox),
        span: dates.as_ref().map(Dates::ends),
        collections: &config.layers,
    };
    let mut items = Vec::new();
    walk.gather(client.endpoint().base().clone(), &mut items).await?;
    let read = |(base, item): &(Url, Value)| {
        let found = item::read(base, item, config);
        async { placed(client, found?).await }
    };
    let mut read = stream::iter(&items).map(read).buffered(HEADS);
    let (mut pictures, mut left_out) = (Vec::new(), Vec::new());
    for (_, item) in &items {
        match read.next().await {
            Some(Ok(picture)) => pictures.push(picture),
            Some(Err(reason)) => left_out.push(format!("item `{}`: {reason}", text(item, "id"))),
            None => break,
        }
    }
    Ok((pictures, left_out))
}

/// A picture with its place: what its item says, or else what its own first bytes say.
async fn placed(client: &Client, found: Found) -> Result<Picture, String> {
    let Found { layer, time, url, media_type, place } = found;
    let place = match place {
        Where::Known(place) => place,
        Where::Unsized(frame) => {
            let fail = |reason| format!("{} Its picture: {reason}", item::UNSIZED);
            frame.with_head(&client.head(&url, HEAD).await.map_err(fail)?).map_err(fail)?
        }
    };
    Ok(Picture { layer, time, place, url, media_type })
}

/// A walk through documents.
struct Walk<'a> {
    client: &'a Client,
    bbox: Option<BBox>,
    span: Option<(DateTime, DateTime)>,
    collections: &'a [String],
}

/// A document to be read: with a body it is asked for with POST.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    url: Url,
    body: Option<Value>,
}

impl Walk<'_> {
    /// Every item from an address on, with the address of its document.
    async fn gather(&self, start: Url, items: &mut Vec<(Url, Value)>) -> Result<()> {
        let name = |step: &Step| (step.url.to_string(), step.body.as_ref().map(Value::to_string));
        let start = Step { url: start, body: None };
        let mut seen = HashSet::from([name(&start)]);
        let mut open = vec![start];
        while let Some(step) = open.pop() {
            let url = step.url.clone();
            if seen.len() > MOST_DOCUMENTS {
                let reason =
                    format!("it has more than {MOST_DOCUMENTS} documents; use a search service");
                return Err(Error::Stac { url: url.into(), reason });
            }
            if self.client.is_cancelled() {
                return Err(curator_core::Error::Interrupted.into());
            }
            let document = self.document(&step).await?;
            let next = match text(&document, "type") {
                "Feature" => {
                    items.push((url.clone(), document));
                    Vec::new()
                }
                "FeatureCollection" => {
                    let features = document.get("features").and_then(Value::as_array);
                    let features = features.cloned().unwrap_or_default();
                    items.extend(features.into_iter().map(|item| (url.clone(), item)));
                    next_page(&step, &document)
                }
                "Catalog" | "Collection" => self.below(&url, &document),
                other => {
                    let reason = format!("a document of the type `{other}` is no STAC");
                    return Err(Error::Stac { url: url.into(), reason });
                }
            };
            // The last is taken first: in the order of the document.
            open.extend(next.into_iter().rev().filter(|step| seen.insert(name(step))));
        }
        Ok(())
    }

    async fn document(&self, step: &Step) -> Result<Value> {
        let refuse = |reason: String| Error::Stac { url: step.url.to_string(), reason };
        let text = match &step.body {
            None => self.client.text(step.url.as_str()).await,
            Some(body) => self.client.post(step.url.as_str(), body).await,
        };
        serde_json::from_str(&text.map_err(refuse)?).map_err(|e| refuse(format!("no JSON: {e}")))
    }

    /// Where the items of a catalogue or collection are.
    fn below(&self, url: &Url, document: &Value) -> Vec<Step> {
        let is_collection = text(document, "type") == "Collection";
        let search = links(url, document, &["search"]);
        let by_get = search.iter().find(|(_, link)| !is_post(link));
        match (by_get.or(search.first()), is_collection) {
            (Some((search, link)), false) if is_post(link) => return vec![self.posted(search)],
            (Some((search, _)), false) => return vec![self.asked(search, self.collections)],
            _ => {}
        }
        let of_collection = links(url, document, &["items"]);
        if let (Some((list, _)), true) = (of_collection.first(), is_collection) {
            return vec![self.asked(list, &[])];
        }
        let below = links(url, document, &["child", "item"]);
        below.into_iter().map(|(url, _)| Step { url, body: None }).collect()
    }

    fn datetime(&self) -> Option<String> {
        let (from, to) = self.span?;
        Some(format!("{}/{}", times::name(from, true), times::name(to, true)))
    }

    /// An address that is asked only for what is wanted.
    fn asked(&self, url: &Url, collections: &[String]) -> Step {
        let mut url = url.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(BBox { west, south, east, north }) = self.bbox {
                query.append_pair("bbox", &format!("{west},{south},{east},{north}"));
            }
            if let Some(datetime) = self.datetime() {
                query.append_pair("datetime", &datetime);
            }
            if !collections.is_empty() {
                query.append_pair("collections", &collections.join(","));
            }
            query.append_pair("limit", &PAGE.to_string());
        }
        Step { url, body: None }
    }

    /// The same question for a service that wants it as a document.
    fn posted(&self, url: &Url) -> Step {
        let mut body = serde_json::json!({"limit": PAGE});
        if let Some(BBox { west, south, east, north }) = self.bbox {
            body["bbox"] = serde_json::json!([west, south, east, north]);
        }
        if let Some(datetime) = self.datetime() {
            body["datetime"] = datetime.into();
        }
        if !self.collections.is_empty() {
            body["collections"] = serde_json::json!(self.collections);
        }
        Step { url: url.clone(), body: Some(body) }
    }
}

/// What follows a page of items. The link of a page that was asked for with POST has the body of the next
/// question, or what is to be changed in the last one.
fn next_page(step: &Step, document: &Value) -> Vec<Step> {
    let links = links(&step.url, document, &["next"]).into_iter();
    let next = links.map(|(url, link)| {
        if !is_post(link) {
            return Step { url, body: None };
        }
        let own = link.get("body").and_then(Value::as_object).cloned();
        let merge = own.is_none() || link.get("merge").and_then(Value::as_bool) == Some(true);
        let mut body = match &step.body {
            Some(Value::Object(body)) if merge => body.clone(),
            _ => serde_json::Map::new(),
        };
        body.extend(own.unwrap_or_default());
        Step { url, body: Some(body.into()) }
    });
    next.collect()
}

fn is_post(link: &Value) -> bool {
    text(link, "method").eq_ignore_ascii_case("POST")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A document's links of some relations, with their addresses. A document from the network leads nowhere but
/// to the network, never to a file.
fn links<'a>(base: &Url, document: &'a Value, relations: &[&str]) -> Vec<(Url, &'a Value)> {
    let all = document.get("links").and_then(Value::as_array).into_iter().flatten();
    all.filter(|link| relations.contains(&text(link, "rel")))
        .filter_map(|link| Some((resolved(base, text(link, "href"))?, link)))
        .collect()
}

fn resolved(base: &Url, href: &str) -> Option<Url> {
    let url = base.join(href).ok()?;
    let reachable = match url.scheme() {
        "http" | "https" => true,
        scheme => scheme == "file" && base.scheme() == "file",
    };
    reachable.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_of_a_posted_search_has_a_body() {
        let url = Url::parse("https://h/search").unwrap();
        let body = serde_json::json!({"limit": 250, "bbox": [1, 2, 3, 4]});
        let step = Step { url: url.clone(), body: Some(body) };
        let next = |link: Value| next_page(&step, &serde_json::json!({"links": [link]}));
        let post = serde_json::json!({"rel": "next", "href": "/search", "method": "POST",
            "body": {"token": "t"}, "merge": true});
        let merged = serde_json::json!({"limit": 250, "bbox": [1, 2, 3, 4], "token": "t"});
        assert_eq!(next(post.clone()), [Step { url: url.clone(), body: Some(merged) }]);
        let mut whole = post;
        whole["merge"] = false.into();
        let own = serde_json::json!({"token": "t"});
        assert_eq!(next(whole), [Step { url: url.clone(), body: Some(own) }]);
        let get = serde_json::json!({"rel": "next", "href": "?page=2"});
        assert_eq!(next(get)[0].url.as_str(), "https://h/search?page=2");
    }
}
