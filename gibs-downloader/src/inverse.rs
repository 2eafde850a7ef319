//! Colours back to values.

use std::collections::HashMap;

use crate::colormap::{ColorMap, Pick};

/// What a colour map says, turned round.
pub(crate) struct Inverse {
    /// Values of the colours that are drawn; NaN for no data.
    opaque: HashMap<[u8; 3], f32>,
    /// Values of the colours that are not drawn; NaN for no data.
    transparent: HashMap<[u8; 3], f32>,
    /// The drawn ones in the order of the document, to search for the nearest.
    list: Vec<([u8; 3], f32)>,
    /// Largest distance at which a colour is taken for another, squared.
    reach: u32,
}

/// Pixels by how their value was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// The map has their colour.
    pub exact: u64,
    /// They took the value of the nearest colour.
    pub nearest: u64,
    /// No data, transparent, or not fetched.
    pub missing: u64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.exact += other.exact;
        self.nearest += other.nearest;
        self.missing += other.missing;
    }
}

impl Inverse {
    /// Values for the colours of a map. Of several entries with one colour the first counts. With
    /// `keep_transparent`, values that the map draws as nothing are values; without, they are no data.
    /// Colours farther than `tolerance` from every one of the map, as lengths in red, green and blue, are
    /// no data.
    pub(crate) fn new(
        map: &ColorMap,
        pick: Pick,
        keep_transparent: bool,
        tolerance: Option<u32>,
    ) -> Self {
        let (mut opaque, mut transparent) = (HashMap::new(), HashMap::new());
        let mut list = Vec::new();
        for entry in &map.entries {
            let value = entry.interval.map_or(f32::NAN, |interval| interval.value(pick) as f32);
            if entry.transparent {
                let value = if keep_transparent { value } else { f32::NAN };
                transparent.entry(entry.rgb).or_insert(value);
            } else if let std::collections::hash_map::Entry::Vacant(free) = opaque.entry(entry.rgb)
            {
                free.insert(value);
                list.push((entry.rgb, value));
            }
        }
        let reach = tolerance.map_or(u32::MAX, |tolerance| tolerance.saturating_mul(tolerance));
        Self { opaque, transparent, list, reach }
    }

    /// Values of pixels in red, green, blue and alpha; NaN for no data. Fully transparent pixels are no data
    /// unless the map says what their colour stands for. Others take the value of their colour or of the
    /// nearest one, the first of several.
    pub(crate) fn values(&self, rgba: &[u8]) -> (Vec<f32>, Found) {
        let mut found = Found::default();
        let mut near: HashMap<[u8; 3], Option<f32>> = HashMap::new();
        let value = |pixel: &[u8]| {
            let (rgb, alpha) = ([pixel[0], pixel[1], pixel[2]], pixel[3]);
            let known = if alpha == 0 {
                Some(self.transparent.get(&rgb).copied().unwrap_or(f32::NAN))
            } else {
                // A picture without alpha has transparent colours as they are.
                self.opaque.get(&rgb).or_else(|| self.transparent.get(&rgb)).copied()
            };
            let (value, exact) = match known {
                Some(value) => (value, true),
                None => {
                    let nearest = near.entry(rgb).or_insert_with(|| self.nearest(rgb));
                    (nearest.unwrap_or(f32::NAN), false)
                }
            };
            match (value.is_nan(), exact) {
                (true, _) => found.missing += 1,
                (false, true) => found.exact += 1,
                (false, false) => found.nearest += 1,
            }
            value
        };
        let values = rgba.chunks_exact(4).map(value).collect();
        (values, found)
    }

    fn nearest(&self, rgb: [u8; 3]) -> Option<f32> {
        let distance = |other: &[u8; 3]| -> u32 {
            rgb.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
        };
        let (color, value) = self.list.iter().min_by_key(|(color, _)| distance(color))?;
        (distance(color) <= self.reach).then_some(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"<ColorMaps><ColorMap title="No Data"><Entries>
        <ColorMapEntry rgb="0,0,0" transparent="true" nodata="true"/>
        <ColorMapEntry rgb="200,0,200" transparent="false" nodata="true"/></Entries></ColorMap>
        <ColorMap title="Rain" units="mm"><Entries>
        <ColorMapEntry rgb="17,17,17" transparent="true" value="[0,1)"/>
        <ColorMapEntry rgb="100,0,0" transparent="false" value="[1,2)"/>
        <ColorMapEntry rgb="120,0,0" transparent="false" value="[2,3)"/>
        <ColorMapEntry rgb="0,0,0" transparent="false" value="[3,4]"/></Entries></ColorMap></ColorMaps>"#;

    fn values(inverse: &Inverse, pixels: &[[u8; 4]]) -> Vec<String> {
        inverse.values(&pixels.concat()).0.iter().map(|value| format!("{value}")).collect()
    }

    #[test]
    fn transparency_and_no_data_are_respected() {
        let map = ColorMap::parse(MAP).unwrap();
        let inverse = Inverse::new(&map, Pick::Middle, false, None);
        let pixels = [
            [100, 0, 0, 255],
            [100, 0, 0, 0],
            [17, 17, 17, 0],
            [0, 0, 0, 0],
            [0, 0, 0, 255],
            [200, 0, 200, 255],
            [198, 2, 200, 255],
        ];
        assert_eq!(values(&inverse, &pixels), ["1.5", "NaN", "NaN", "NaN", "3.5", "NaN", "NaN"]);
        let keeping = Inverse::new(&map, Pick::Middle, true, None);
        assert_eq!(values(&keeping, &pixels[2..4]), ["0.5", "NaN"]);
    }

    #[test]
    fn other_colors_take_the_nearest_within_reach() {
        let map = ColorMap::parse(MAP).unwrap();
        let inverse = Inverse::new(&map, Pick::Low, false, Some(5));
        let pixels = [[103, 4, 0, 255], [111, 0, 0, 255], [118, 3, 0, 255]];
        assert_eq!(values(&inverse, &pixels), ["1", "NaN", "2"]);
        let found = inverse.values(&pixels.concat()).1;
        assert_eq!(found, Found { exact: 0, nearest: 2, missing: 1 });
    }

    /// Reads colour and value of each line without the parser, and leads every colour back.
    #[test]
    #[expect(clippy::print_stderr, reason = "says why it is skipped")]
    fn every_recorded_map_is_inverted() {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let data = std::env::var_os("CURATOR_SHARED_DATA").unwrap_or(beside.into());
        let folder = std::path::Path::new(&data).join("gibs_xml/colormaps_2017");
        let Ok(files) = std::fs::read_dir(&folder) else {
            eprintln!("skipped: `{}` is not there", folder.display());
            return;
        };
        let attribute = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"')?.0.to_string())
        };
        let (mut maps, mut entries) = (0, 0);
        for file in files {
            let path = file.unwrap().path();
            let xml = std::fs::read_to_string(&path).unwrap();
            let name = path.display();
            let map = ColorMap::parse(&xml).unwrap_or_else(|e| panic!("{name}: {e}"));
            let inverse = Inverse::new(&map, Pick::Middle, false, None);
            for line in xml.lines().filter(|line| line.contains("<ColorMapEntry ")) {
                let rgb: Vec<u8> = attribute(line, "rgb")
                    .unwrap()
                    .split(',')
                    .map(|sample| sample.parse().unwrap())
                    .collect();
                let transparent = attribute(line, "transparent").as_deref() == Some("true");
                let no_data = attribute(line, "nodata").as_deref() == Some("true");
                let alpha = if transparent { 0 } else { 255 };
                let (values, found) = inverse.values(&[rgb[0], rgb[1], rgb[2], alpha]);
                if no_data || transparent {
                    assert!(values[0].is_nan(), "{name}: {line}");
                    continue;
                }
                assert_eq!(found.exact, 1, "{name}: {line}");
                let interval =
                    attribute(line, "value").or_else(|| attribute(line, "sourceValue")).unwrap();
                let ends: Vec<f64> = interval
                    .trim_matches(['[', ']', '(', ')'])
                    .split(',')
                    .map(|end| end.parse::<f64>().unwrap())
                    .collect();
                let (low, high) = (ends[0], ends[ends.len() - 1]);
                let value = f64::from(values[0]);
                let rounding = value.abs() * 1e-6;
                assert!(
                    low - rounding <= value && value <= high + rounding,
                    "{name}: {value} for {line}"
                );
                entries += 1;
            }
            maps += 1;
        }
        assert_eq!(maps, 25);
        assert!(entries > 4700, "{entries}");
    }
}
