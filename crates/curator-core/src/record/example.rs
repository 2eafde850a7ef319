//! `tf.train.Example` messages: a tile with its picture, and what other writers call the same.

use std::path::Path;

use super::frame::{masked, masked_crc};
use crate::{Error, Result, Tile, picture};

/// Names under which writers keep encoded pictures; ours is the first.
const PICTURES: [&str; 4] = ["image_raw", "image/encoded", "image_bytes", "image"];
/// Names under which writers keep classes; ours is the first.
const CLASSES: [&str; 3] = ["class", "image/class/text", "label"];

/// Appends a tile with its encoded picture as a frame around a `tf.train.Example`; see docs/formats.md for
/// the features. Equal tiles give equal bytes: features are sorted by name.
pub fn append(bytes: &mut Vec<u8>, tile: &Tile, picture: &[u8]) {
    let (head, tail) = around(tile, picture);
    bytes.reserve(head.len() + picture.len() + tail.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(picture);
    bytes.extend_from_slice(&tail);
}

/// What of a tile's frame stands before its picture, and what behind it, checksums included.
pub(super) fn around(tile: &Tile, picture: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let media = picture::media_type(picture);
    let format = match media {
        Some("image/png") => "png",
        Some("image/tiff") => "tiff",
        _ => "jpeg",
    };
    let bands = match media {
        Some("image/tiff") => crate::samples::bands_of(picture).unwrap_or(3),
        _ => 3,
    };
    let text = |text: &Option<String>| Value::Bytes(text.clone().unwrap_or_default().into());
    let number = |number: f64| Value::Float(number as f32);
    let bbox = |edge: fn(&crate::BBox) -> f64| tile.bbox.as_ref().map(|bbox| number(edge(bbox)));
    let class = tile.class.as_ref().map(|class| Value::Bytes(class.clone().into()));
    let before = [
        ("bands", Some(Value::Int(i64::from(bands)))),
        ("bottom_left_lat", bbox(|b| b.south)),
        ("bottom_left_long", bbox(|b| b.west)),
        ("class", class),
        ("cloud_confidence", tile.cloud_confidence.map(Value::Float)),
        ("cloud_fraction", tile.cloud_fraction.map(Value::Float)),
        ("date", Some(text(&tile.time))),
        ("format", Some(Value::Bytes(format.into()))),
        ("gap_fraction", tile.gap_fraction.map(Value::Float)),
        ("gap_mask", tile.gap_mask.clone().map(Value::Bytes)),
        ("height", Some(Value::Int(i64::from(tile.height)))),
    ];
    let after = [
        ("layer", Some(text(&tile.layer))),
        ("tile_id", Some(Value::Bytes(tile.tile_id.clone().into()))),
        ("top_right_lat", bbox(|b| b.north)),
        ("top_right_long", bbox(|b| b.east)),
        ("variant", Some(Value::Bytes(tile.variant.clone().into()))),
        ("width", Some(Value::Int(i64::from(tile.width)))),
    ];
    let entries = |features: &[(&str, Option<Value>)]| {
        let present = features.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        present.flat_map(|(name, value)| entry(name, value)).collect::<Vec<u8>>()
    };
    let (before, mut tail) = (entries(&before), entries(&after));
    let around_picture = picture_entry_head(picture.len());
    let features = before.len() + around_picture.len() + picture.len() + tail.len();
    let key = field_head(1, features);
    let length = ((key.len() + features) as u64).to_le_bytes();
    let mut head = Vec::with_capacity(12 + key.len() + before.len() + around_picture.len());
    head.extend_from_slice(&length);
    head.extend_from_slice(&masked_crc(&length).to_le_bytes());
    head.extend_from_slice(&key);
    head.extend_from_slice(&before);
    head.extend_from_slice(&around_picture);
    let crc = [picture, &tail[..]]
        .iter()
        .fold(crc32c::crc32c(&head[12..]), |crc, bytes| crc32c::crc32c_append(crc, bytes));
    tail.extend_from_slice(&masked(crc).to_le_bytes());
    (head, tail)
}

/// A value of a feature.
enum Value {
    Bytes(Vec<u8>),
    Float(f32),
    Int(i64),
}

/// An entry of the map of features.
fn entry(name: &str, value: &Value) -> Vec<u8> {
    let feature = match value {
        Value::Bytes(bytes) => field(1, &field(1, bytes)),
        Value::Float(number) => field(2, &field(1, &number.to_le_bytes())),
        Value::Int(number) => field(3, &field(1, &varint(*number as u64))),
    };
    field(1, &[field(1, name.as_bytes()), field(2, &feature)].concat())
}

/// What stands before a picture of some length in its entry: `image_raw`, a bytes list of one.
fn picture_entry_head(length: usize) -> Vec<u8> {
    let value = field_head(1, length);
    let list = field_head(1, value.len() + length);
    let feature = field_head(2, list.len() + value.len() + length);
    let name = field(1, PICTURES[0].as_bytes());
    let inside = name.len() + feature.len() + list.len() + value.len() + length;
    [field_head(1, inside), name, feature, list, value].concat()
}

/// Key and length of a length-delimited protocol buffer field.
fn field_head(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(length as u64));
    bytes
}

fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = field_head(number, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5);
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The encoded picture of an example: the feature `image_raw`, or what other writers call it.
///
/// # Errors
/// [`Error::Damaged`] when the payload is no example or has no picture.
pub fn picture(path: &Path, payload: &[u8]) -> Result<Vec<u8>> {
    use tfrecord::protobuf::feature::Kind;
    let mut features = parse(path, payload)?.features.map(|f| f.feature).unwrap_or_default();
    let mut first = |name: &&str| match features.remove(*name)?.kind? {
        Kind::BytesList(list) => list.value.into_iter().next(),
        _ => None,
    };
    let found = PICTURES.iter().find_map(&mut first);
    found.ok_or_else(|| Error::damaged(path, format!("a feature `{}`", PICTURES[0]), "none"))
}

/// What an example of any writer tells about its tile: `date`, box, `tile_id` where they are there.
/// The predecessor swapped width and height, so sizes are left to the picture.
///
/// # Errors
/// [`Error::Damaged`] when the payload is no example.
pub fn describe(path: &Path, payload: &[u8], mut tile: Tile) -> Result<Tile> {
    use tfrecord::protobuf::feature::Kind;
    let features = parse(path, payload)?.features.map(|f| f.feature).unwrap_or_default();
    let kind = |name: &str| features.get(name).and_then(|feature| feature.kind.as_ref());
    let text = |name: &str| match kind(name)? {
        Kind::BytesList(list) => {
            let text = String::from_utf8_lossy(list.value.first()?).into_owned();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    };
    let number = |name: &str| match kind(name)? {
        Kind::FloatList(list) => list.value.first().map(|&x| f64::from(x)),
        _ => None,
    };
    tile.tile_id = text("tile_id").unwrap_or(tile.tile_id);
    tile.variant = text("variant").unwrap_or_default();
    tile.layer = text("layer");
    tile.time = text("date");
    tile.class = CLASSES.iter().find_map(|name| text(name)).or(tile.class);
    tile.cloud_fraction = number("cloud_fraction").map(|x| x as f32);
    tile.cloud_confidence = number("cloud_confidence").map(|x| x as f32);
    tile.gap_fraction = number("gap_fraction").map(|x| x as f32);
    tile.gap_mask = match kind("gap_mask") {
        Some(Kind::BytesList(list)) => list.value.first().map(|bytes| bytes.to_vec()),
        _ => None,
    };
    let edges =
        ["bottom_left_long", "bottom_left_lat", "top_right_long", "top_right_lat"].map(number);
    if let [Some(west), Some(south), Some(east), Some(north)] = edges {
        tile.bbox = Some(crate::BBox { west, south, east, north });
    }
    Ok(tile)
}

fn parse(path: &Path, payload: &[u8]) -> Result<tfrecord::protobuf::Example> {
    use prost::Message;
    tfrecord::protobuf::Example::decode(payload)
        .map_err(|e| Error::damaged(path, "a tf.train.Example", e))
}

#[cfg(test)]
mod tests {
    use super::super::{read_at, scan, unframe};
    use super::*;

    fn tile() -> Tile {
        Tile {
            layer: Some("L".into()),
            time: Some("2020-09-12".into()),
            bbox: Some(crate::BBox { west: -18.0, south: 27.0, east: -13.5, north: 31.5 }),
            width: 64,
            height: 32,
            gap_fraction: Some(0.25),
            ..Tile::of_file("L/x".into(), Some("island".into()))
        }
    }

    #[test]
    fn a_record_round_trips_and_is_the_same_every_time() {
        let path = Path::new("r");
        let mut frame = Vec::new();
        append(&mut frame, &tile(), b"\x89PNG picture");
        let mut again = Vec::new();
        append(&mut again, &tile(), b"\x89PNG picture");
        assert_eq!(frame, again);
        let payload = unframe(path, &frame).unwrap();
        assert_eq!(picture(path, payload).unwrap(), b"\x89PNG picture");
        let described = describe(path, payload, Tile::of_file("other".into(), None)).unwrap();
        assert_eq!(
            (described.tile_id.as_str(), described.time.as_deref()),
            ("L/x", Some("2020-09-12"))
        );
        assert_eq!((described.bbox, described.class), (tile().bbox, tile().class));
    }

    #[test]
    fn features_are_sorted_and_what_the_schema_says() {
        let mut frame = Vec::new();
        append(&mut frame, &tile(), b"picture");
        let payload = &frame[12..frame.len() - 4];
        let example = parse(Path::new("r"), payload).unwrap();
        let features = example.features.unwrap().feature;
        assert_eq!(features.len(), 15);
        // As prost reads them, one entry after the other.
        let names = ["bands", "bottom_left_lat", "bottom_left_long", "class", "date", "format"];
        let places: Vec<_> = names
            .iter()
            .chain(&["gap_fraction", "height", "image_raw", "layer", "tile_id", "variant", "width"])
            .map(|name| {
                let name = [&[name.len() as u8][..], name.as_bytes()].concat();
                payload.windows(name.len()).position(|bytes| bytes == name).unwrap()
            })
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    proptest::proptest! {
        #[test]
        fn mutated_records_never_panic(
            cuts in proptest::collection::vec((0_usize..400, proptest::num::u8::ANY), 0..6),
            length in 0_usize..400,
            repair in proptest::bool::ANY,
        ) {
            let path = Path::new("fuzz");
            let mut bytes = Vec::new();
            append(&mut bytes, &tile(), &[7; 100]);
            for (at, value) in cuts {
                let n = bytes.len();
                bytes[at % n] = value;
            }
            bytes.truncate(length.max(1));
            // With its checksum put right, what is inside is read as well.
            let payload = if repair { &bytes[bytes.len().min(12)..] } else { &bytes[..] };
            let _ = unframe(path, &bytes);
            let _ = picture(path, payload);
            let _ = describe(path, payload, tile());
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("fuzz.tfrecord");
            std::fs::write(&file, &bytes).unwrap();
            for (offset, length) in scan(&file).unwrap() {
                let _ = read_at(&file, offset, length);
            }
        }
    }
}
