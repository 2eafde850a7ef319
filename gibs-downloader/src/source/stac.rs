//! STAC: items of a search service, a collection, an item collection or a static catalogue; their assets
//! are pictures when they say where their pixels are (the projection extension).

use std::collections::HashSet;

use curator_core::matrix::Bounds;
use curator_core::{BBox, Projection, TileMatrix};
use jiff::civil::DateTime;
use reqwest::Url;
use serde_json::Value;

use super::pictures::{Picture, place};
use crate::archive::is_layer_name;
use crate::catalogue::is_picture;
use crate::client::Client;
use crate::dates::Dates;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::times;

/// Documents that are read at most: a static catalogue has one an item.
const MOST_DOCUMENTS: usize = 20_000;

/// Items that a page of a search is asked for.
const PAGE: u32 = 250;

/// Keys that assets for looking at usually have, best first.
const USUAL: [&str; 6] = ["visual", "image", "data", "rendered_preview", "asset", "thumbnail"];

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
    let (mut pictures, mut left_out) = (Vec::new(), Vec::new());
    for (base, item) in items {
        match picture(&base, &item, config) {
            Ok(picture) => pictures.push(picture),
            Err(reason) => left_out.push(format!("item `{}`: {reason}", text(&item, "id"))),
        }
    }
    Ok((pictures, left_out))
}

/// A walk through documents.
struct Walk<'a> {
    client: &'a Client,
    bbox: Option<BBox>,
    span: Option<(DateTime, DateTime)>,
    collections: &'a [String],
}

impl Walk<'_> {
    /// Every item from an address on, with the address of its document.
    async fn gather(&self, start: Url, items: &mut Vec<(Url, Value)>) -> Result<()> {
        let mut seen = HashSet::from([start.to_string()]);
        let mut open = vec![start];
        while let Some(url) = open.pop() {
            if seen.len() > MOST_DOCUMENTS {
                let reason =
                    format!("it has more than {MOST_DOCUMENTS} documents; use a search service");
                return Err(Error::Stac { url: url.into(), reason });
            }
            if self.client.is_cancelled() {
                return Err(curator_core::Error::Interrupted.into());
            }
            let document = self.document(&url).await?;
            let next = match text(&document, "type") {
                "Feature" => {
                    items.push((url.clone(), document));
                    Vec::new()
                }
                "FeatureCollection" => {
                    let features = document.get("features").and_then(Value::as_array);
                    let features = features.cloned().unwrap_or_default();
                    items.extend(features.into_iter().map(|item| (url.clone(), item)));
                    links(&url, &document, &["next"])
                }
                "Catalog" | "Collection" => self.below(&url, &document),
                other => {
                    let reason = format!("a document of the type `{other}` is no STAC");
                    return Err(Error::Stac { url: url.into(), reason });
                }
            };
            // The last is taken first: in the order of the document.
            open.extend(next.into_iter().rev().filter(|url| seen.insert(url.to_string())));
        }
        Ok(())
    }

    async fn document(&self, url: &Url) -> Result<Value> {
        let refuse = |reason: String| Error::Stac { url: url.to_string(), reason };
        let text = self.client.text(url.as_str()).await.map_err(refuse)?;
        serde_json::from_str(&text).map_err(|e| refuse(format!("no JSON: {e}")))
    }

    /// Where the items of a catalogue or collection are.
    fn below(&self, url: &Url, document: &Value) -> Vec<Url> {
        let is_collection = text(document, "type") == "Collection";
        let search = links(url, document, &["search"]);
        if let (Some(search), false) = (search.first(), is_collection) {
            return vec![self.asked(search.clone(), self.collections)];
        }
        let of_collection = links(url, document, &["items"]);
        if let (Some(list), true) = (of_collection.first(), is_collection) {
            return vec![self.asked(list.clone(), &[])];
        }
        links(url, document, &["child", "item"])
    }

    /// An address that is asked only for what is wanted.
    fn asked(&self, mut url: Url, collections: &[String]) -> Url {
        {
            let mut query = url.query_pairs_mut();
            if let Some(BBox { west, south, east, north }) = self.bbox {
                query.append_pair("bbox", &format!("{west},{south},{east},{north}"));
            }
            if let Some((from, to)) = self.span {
                let (from, to) = (times::name(from, true), times::name(to, true));
                query.append_pair("datetime", &format!("{from}/{to}"));
            }
            if !collections.is_empty() {
                query.append_pair("collections", &collections.join(","));
            }
            query.append_pair("limit", &PAGE.to_string());
        }
        url
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The addresses of a document's links of some relations. A document from the network leads nowhere but to
/// the network, never to a file.
fn links(base: &Url, document: &Value, relations: &[&str]) -> Vec<Url> {
    let all = document.get("links").and_then(Value::as_array).into_iter().flatten();
    all.filter(|link| relations.contains(&text(link, "rel")))
        .filter(|link| !text(link, "method").eq_ignore_ascii_case("POST"))
        .filter_map(|link| resolved(base, text(link, "href")))
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

/// The picture of an item.
fn picture(base: &Url, item: &Value, config: &Config) -> Result<Picture, String> {
    let empty = Value::Null;
    let properties = item.get("properties").unwrap_or(&empty);
    let own = links(base, item, &["self"]).into_iter().next();
    let base = own.filter(|own| own.scheme() == base.scheme()).unwrap_or_else(|| base.clone());
    let (key, asset) = asset(item, config.asset.as_deref())?;
    let declared = text(asset, "type").split(';').next().unwrap_or_default().trim();
    let href = text(asset, "href");
    let media_type = match (declared, href.rsplit('.').next()) {
        (declared, _) if is_picture(declared) => declared,
        ("", Some("jpg" | "jpeg")) => "image/jpeg",
        ("", Some("png")) => "image/png",
        ("", Some("tif" | "tiff")) => "image/tiff",
        ("", _) => "",
        (other, _) => return Err(format!("its asset `{key}` is {other}, not JPEG, PNG or TIFF")),
    };
    let time =
        ["datetime", "start_datetime"].iter().find_map(|name| instant(text(properties, name)));
    let collection = text(item, "collection");
    let layer = match config.layers.first() {
        Some(layer) if collection.is_empty() => layer.clone(),
        _ if collection.is_empty() => "stac".into(),
        _ => collection.into(),
    };
    if !is_layer_name(&layer) {
        return Err(format!("its collection `{layer}` is no name for a directory"));
    }
    let url = resolved(&base, href).ok_or_else(|| format!("`{href}` is no address"))?;
    let place = place_of(item, properties, asset)?;
    Ok(Picture { layer, time, place, url: url.into(), media_type: media_type.into() })
}

/// The asset that is asked for, or the usual one for looking at.
fn asset<'a>(item: &'a Value, asked: Option<&str>) -> Result<(&'a str, &'a Value), String> {
    let assets = item.get("assets").and_then(Value::as_object).ok_or("it has no assets")?;
    let keys = || assets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = |(key, asset): (&'a String, &'a Value)| (key.as_str(), asset);
    if let Some(asked) = asked {
        let named = assets.get_key_value(asked).map(found);
        return named.ok_or_else(|| format!("it has no asset `{asked}`, but {}", keys()));
    }
    let usual = USUAL.iter().find_map(|key| assets.get_key_value(*key).map(found));
    let pictures = || {
        assets.iter().filter(|(_, asset)| {
            is_picture(text(asset, "type").split(';').next().unwrap_or_default().trim())
        })
    };
    usual
        .or_else(|| (pictures().count() == 1).then(|| pictures().next().map(found)).flatten())
        .ok_or_else(|| format!("say which of its assets with `--asset`: {}", keys()))
}

/// RFC 3339, brought to UTC, whole seconds.
fn instant(text: &str) -> Option<DateTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    let time = stamp.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    time.with().subsec_nanosecond(0).build().ok()
}

/// Where the pixels are: `proj:shape` with `proj:transform` or `proj:bbox` in the system of `proj:code` or
/// `proj:epsg`; without a system, the item's own box in degrees.
fn place_of(item: &Value, properties: &Value, asset: &Value) -> Result<TileMatrix, String> {
    let said = |key: &str| asset.get(key).or_else(|| properties.get(key)).filter(|v| !v.is_null());
    let numbers = |value: Option<&Value>| -> Vec<f64> {
        let list = value.and_then(Value::as_array).into_iter().flatten();
        list.map_while(Value::as_f64).collect()
    };
    let code = said("proj:code").and_then(Value::as_str).and_then(|code| code.rsplit(':').next());
    let code = code.and_then(|code| code.parse().ok());
    let code = code.or_else(|| said("proj:epsg").and_then(Value::as_u64));
    let projection = match code {
        Some(code) => u32::try_from(code).ok().and_then(Projection::from_epsg),
        None => Some(Projection::Geographic),
    };
    let projection = projection.ok_or_else(|| {
        format!("EPSG:{} is no projection that can be planned", code.unwrap_or(0))
    })?;
    let shape = numbers(said("proj:shape"));
    let &[height, width] = &shape[..] else {
        return Err("it does not say how many pixels it has (`proj:shape`)".into());
    };
    if !(1.0..=1e6).contains(&height) || !(1.0..=1e6).contains(&width) {
        return Err(format!("{width}×{height} is no size of a picture"));
    }
    let size = (width as u32, height as u32);
    let transform = numbers(said("proj:transform"));
    if let &[a, b, x, d, e, y, ..] = &transform[..] {
        if b != 0.0 || d != 0.0 {
            return Err("it is rotated".into());
        }
        let place = TileMatrix {
            projection,
            origin: (x, y),
            pixel: (a, -e),
            tile: size,
            columns: 1,
            rows: 1,
        };
        return if place.is_sound() { Ok(place) } else { Err("it is not north up".into()) };
    }
    let bbox = match said("proj:bbox") {
        Some(bbox) => numbers(Some(bbox)),
        None if projection.is_geographic() => numbers(item.get("bbox")),
        None => Vec::new(),
    };
    let bounds = match bbox[..] {
        [west, south, east, north] | [west, south, _, east, north, _] => {
            Bounds { west, south, east, north }
        }
        _ => return Err("it does not say where its pixels are (`proj:transform`)".into()),
    };
    place(projection, &bounds, size).ok_or_else(|| "its box has no area".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item() -> Value {
        serde_json::json!({
            "type": "Feature", "id": "a", "collection": "sentinel-2-l2a", "bbox": [12.0, 41.0, 13.0, 42.0],
            "properties": {"datetime": "2020-09-12T10:10:21.5+02:00", "proj:epsg": 32633},
            "links": [{"rel": "self", "href": "https://h/items/a.json"}],
            "assets": {
                "thumbnail": {"href": "t.jpg", "type": "image/jpeg"},
                "visual": {"href": "../v.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                    "proj:shape": [1000, 2000], "proj:transform": [10, 0, 600_000, 0, -10, 4_700_040, 0, 0, 1]}
            }
        })
    }

    fn read(item: &Value, asset: Option<&str>) -> Result<Picture, String> {
        let config = Config { asset: asset.map(Into::into), ..Config::default() };
        picture(&Url::parse("https://h/search").unwrap(), item, &config)
    }

    #[test]
    fn an_item_is_a_picture() {
        let picture = read(&item(), None).unwrap();
        assert_eq!((&*picture.layer, &*picture.url), ("sentinel-2-l2a", "https://h/v.tif"));
        assert_eq!(picture.media_type, "image/tiff");
        assert_eq!(times::name(picture.time.unwrap(), true), "2020-09-12T08:10:21Z");
        let TileMatrix { projection, origin, pixel, tile, .. } = picture.place;
        assert_eq!(projection, Projection::Utm { zone: 33, south: false });
        assert_eq!((origin, pixel, tile), ((600_000.0, 4_700_040.0), (10.0, 10.0), (2000, 1000)));
    }

    #[test]
    fn what_cannot_be_placed_says_why() {
        assert!(read(&item(), Some("thumbnail")).unwrap_err().contains("proj:shape"));
        assert!(read(&item(), Some("B04")).unwrap_err().contains("thumbnail, visual"));
        let mut swiss = item();
        swiss["properties"]["proj:epsg"] = 2056.into();
        assert!(read(&swiss, None).unwrap_err().contains("EPSG:2056"));
        let mut local = item();
        local["assets"]["visual"]["href"] = "file:///etc/passwd".into();
        assert!(read(&local, None).unwrap_err().contains("no address"));
        let mut degrees = item();
        degrees["properties"]["proj:epsg"] = Value::Null;
        degrees["assets"]["visual"]["proj:transform"] = Value::Null;
        assert_eq!(read(&degrees, None).unwrap().place.origin, (12.0, 42.0));
    }

    proptest! {
        #[test]
        fn damaged_items_never_panic(at in 0..600_usize, with in "[\\[\\]{}0-9e,.\":-]{0,4}", gone in 0..40_usize) {
            let text = item().to_string();
            let at = at.min(text.len());
            let end = (at + gone).min(text.len());
            let damaged = format!("{}{with}{}", &text[..at], &text[end..]);
            if let Ok(item) = serde_json::from_str::<Value>(&damaged) {
                let _ = read(&item, None);
            }
        }
    }
}
