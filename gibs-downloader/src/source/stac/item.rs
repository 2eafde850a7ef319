//! One STAC item: which of its assets is the picture, and where its pixels are.

use curator_core::matrix::Bounds;
use curator_core::{Projection, Raster, TileMatrix};
use jiff::civil::DateTime;
use reqwest::Url;
use serde_json::Value;

use super::{links, resolved, text};
use crate::archive::is_layer_name;
use crate::catalogue::is_picture;
use crate::fetch::Config;
use crate::source::{georeference, pictures};

/// What an item without `proj:shape` lacks.
pub(super) const UNSIZED: &str = "it does not say how many pixels it has (`proj:shape`).";

/// Keys that assets for looking at usually have, best first.
const USUAL: [&str; 6] = ["visual", "image", "data", "rendered_preview", "asset", "thumbnail"];

/// The picture of an item, as far as the item says it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) layer: String,
    pub(super) time: Option<DateTime>,
    pub(super) url: String,
    pub(super) media_type: String,
    pub(super) place: Where,
}

/// Where a picture is.
#[derive(Debug)]
pub(super) enum Where {
    Known(TileMatrix),
    /// Its size must be read from the picture.
    Unsized(Frame),
}

/// What an item says of a picture's place.
#[derive(Debug)]
pub(super) struct Frame {
    projection: Projection,
    /// Width of a pixel, west; height of a pixel (negative), north.
    transform: Option<[f64; 4]>,
    bounds: Option<Bounds>,
}

/// Reads an item.
///
/// # Errors
/// A sentence.
pub(super) fn read(base: &Url, item: &Value, config: &Config) -> Result<Found, String> {
    let empty = Value::Null;
    let properties = item.get("properties").unwrap_or(&empty);
    let own = links(base, item, &["self"]).into_iter().map(|(url, _)| url).next();
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
    Ok(Found { layer, time, url: url.into(), media_type: media_type.into(), place })
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
/// `proj:epsg`; without a system, the item's own box in degrees. Without a shape the picture itself must say
/// its size.
fn place_of(item: &Value, properties: &Value, asset: &Value) -> Result<Where, String> {
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
    let transform = match numbers(said("proj:transform"))[..] {
        [_, b, _, d, ..] if b != 0.0 || d != 0.0 => return Err("it is rotated".into()),
        [a, _, x, _, e, y, ..] => Some([a, x, e, y]),
        _ => None,
    };
    let bbox = match said("proj:bbox") {
        Some(bbox) => numbers(Some(bbox)),
        None if projection.is_geographic() => numbers(item.get("bbox")),
        None => Vec::new(),
    };
    let bounds = match bbox[..] {
        [west, south, east, north] | [west, south, _, east, north, _] => {
            Some(Bounds { west, south, east, north })
        }
        _ => None,
    };
    let frame = Frame { projection, transform, bounds };
    match numbers(said("proj:shape"))[..] {
        [height, width] if (1.0..=1e6).contains(&height) && (1.0..=1e6).contains(&width) => {
            frame.with_size((width as u32, height as u32)).map(Where::Known)
        }
        [height, width] => Err(format!("{width}×{height} is no size of a picture")),
        // A transform belongs to a shape: the picture may be a smaller one.
        _ => Ok(Where::Unsized(Frame { transform: None, ..frame })),
    }
}

impl Frame {
    /// The place of a picture whose first bytes are these: what a GeoTIFF says itself, or else its size in the
    /// item's box.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn with_head(&self, head: &[u8]) -> Result<TileMatrix, String> {
        if matches!(head, [b'I', b'I', ..] | [b'M', b'M', ..])
            && let Some(place) = georeference::of_geotiff(std::io::Cursor::new(head))?
        {
            return Ok(place);
        }
        self.with_size(Raster::dimensions("asset", head).map_err(|e| e.to_string())?)
    }

    fn with_size(&self, size: (u32, u32)) -> Result<TileMatrix, String> {
        let projection = self.projection;
        if let Some([width, west, height, north]) = self.transform {
            let place = TileMatrix {
                projection,
                origin: (west, north),
                pixel: (width, -height),
                tile: size,
                columns: 1,
                rows: 1,
            };
            return if place.is_sound() { Ok(place) } else { Err("it is not north up".into()) };
        }
        let bounds = self.bounds.as_ref();
        let bounds = bounds.ok_or("it does not say where its pixels are (`proj:transform`)")?;
        pictures::place(projection, bounds, size).ok_or_else(|| "its box has no area".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::times;

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

    fn found(item: &Value, asset: Option<&str>) -> Result<Found, String> {
        let config = Config { asset: asset.map(Into::into), ..Config::default() };
        read(&Url::parse("https://h/search").unwrap(), item, &config)
    }

    #[test]
    fn an_item_is_a_picture() {
        let picture = found(&item(), None).unwrap();
        assert_eq!((&*picture.layer, &*picture.url), ("sentinel-2-l2a", "https://h/v.tif"));
        assert_eq!(picture.media_type, "image/tiff");
        assert_eq!(times::name(picture.time.unwrap(), true), "2020-09-12T08:10:21Z");
        let Where::Known(place) = picture.place else { panic!("its place is known") };
        let TileMatrix { projection, origin, pixel, tile, .. } = place;
        assert_eq!(projection, Projection::Utm { zone: 33, south: false });
        assert_eq!((origin, pixel, tile), ((600_000.0, 4_700_040.0), (10.0, 10.0), (2000, 1000)));
    }

    #[test]
    fn what_cannot_be_placed_says_why() {
        assert!(found(&item(), Some("B04")).unwrap_err().contains("thumbnail, visual"));
        let mut swiss = item();
        swiss["properties"]["proj:epsg"] = 2056.into();
        assert!(found(&swiss, None).unwrap_err().contains("EPSG:2056"));
        let mut local = item();
        local["assets"]["visual"]["href"] = "file:///etc/passwd".into();
        assert!(found(&local, None).unwrap_err().contains("no address"));
        let mut degrees = item();
        degrees["properties"]["proj:epsg"] = Value::Null;
        degrees["assets"]["visual"]["proj:transform"] = Value::Null;
        let Where::Known(place) = found(&degrees, None).unwrap().place else { panic!("known") };
        assert_eq!(place.origin, (12.0, 42.0));
    }

    #[test]
    fn what_does_not_say_its_size_is_asked_itself() {
        let frame = |item: &Value| match found(item, Some("thumbnail")).unwrap().place {
            Where::Unsized(frame) => frame,
            Where::Known(_) => panic!("the item says no size"),
        };
        let mut item = item();
        let jpeg = Raster::filled(40, 20, &[1, 2, 3]).to_jpeg(90).unwrap();
        let reason = frame(&item).with_head(&jpeg).unwrap_err();
        assert!(reason.contains("where its pixels are"), "{reason}");
        item["properties"]["proj:bbox"] =
            serde_json::json!([600_000, 4_600_000, 800_000, 4_700_000]);
        let place = frame(&item).with_head(&jpeg).unwrap();
        assert_eq!((place.tile, place.pixel), ((40, 20), (5000.0, 5000.0)));
        assert!(frame(&item).with_head(&jpeg[..10]).is_err());
        assert!(frame(&item).with_head(b"II*\0").is_err());
    }

    proptest! {
        #[test]
        fn damaged_items_never_panic(at in 0..600_usize, with in "[\\[\\]{}0-9e,.\":-]{0,4}", gone in 0..40_usize) {
            let text = item().to_string();
            let at = at.min(text.len());
            let end = (at + gone).min(text.len());
            let damaged = format!("{}{with}{}", &text[..at], &text[end..]);
            if let Ok(item) = serde_json::from_str::<Value>(&damaged) {
                let _ = found(&item, None);
            }
        }
    }
}
