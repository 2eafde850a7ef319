//! Colour maps: which colour of a picture stands for which measured value.
//!
//! The documents are those of GIBS, versions 1.0 to 1.3. One document may hold several maps: one of the
//! measurement, and classifications such as "No Data" or "Cloud" beside it. A map of classes beside a
//! measurement is no measurement; alone, its codes are the values.

use serde::Deserialize;

/// Larger documents are refused; the largest recorded has 60 kB.
pub(crate) const LARGEST: usize = 16 << 20;

/// More entries are refused; a picture with a palette has 256 colours.
const MOST_ENTRIES: usize = 1 << 16;

/// Which value of an interval is taken for all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// Its lower end.
    Low,
    /// Its middle.
    #[default]
    Middle,
    /// Its upper end.
    High,
}

/// A set of values: `[a,b)`, `(-INF,x)`, `[x,+INF)`, `[a,b]`, or one value, `[a]` or `a`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    low: f64,
    high: f64,
    has_low: bool,
    has_high: bool,
}

impl Interval {
    /// Parses an interval; `None` for what is none, and for everything from −∞ to ∞.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let opening = text.strip_prefix(['[', '(']);
        let inner = opening.unwrap_or(text);
        let closing = inner.strip_suffix([']', ')']);
        if opening.is_some() != closing.is_some() {
            return None;
        }
        let inner = closing.unwrap_or(inner);
        let (low, high) = match inner.split_once(',') {
            Some((low, high)) if opening.is_some() => (number(low)?, number(high)?),
            Some(_) => return None,
            None => (number(inner)?, number(inner)?),
        };
        let single = low == high;
        let sound = low <= high && (low.is_finite() || high.is_finite());
        sound.then_some(Self {
            low,
            high,
            has_low: single || text.starts_with('['),
            has_high: single || text.ends_with(']'),
        })
    }

    /// Whether a value lies in it; open ends do not.
    #[cfg(test)]
    pub(crate) fn contains(&self, value: f64) -> bool {
        let above = value > self.low || (self.has_low && value == self.low);
        above && (value < self.high || (self.has_high && value == self.high))
    }

    /// The value that stands for it. An infinite end is never it.
    pub(crate) fn value(&self, pick: Pick) -> f64 {
        match (self.low.is_finite(), self.high.is_finite(), pick) {
            (true, false, _) | (true, true, Pick::Low) => self.low,
            (false, true, _) | (true, true, Pick::High) => self.high,
            _ => self.low + (self.high - self.low) / 2.0,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    match text.trim() {
        "-INF" | "-inf" => Some(f64::NEG_INFINITY),
        "INF" | "+INF" | "inf" | "+inf" => Some(f64::INFINITY),
        text => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// What one colour stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) rgb: [u8; 3],
    /// Whether it is drawn as nothing.
    pub(crate) transparent: bool,
    /// `None` for no data, and for classes beside a measurement.
    pub(crate) interval: Option<Interval>,
}

/// The colours of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColorMap {
    /// What is measured.
    pub(crate) title: String,
    /// Its unit, empty when there is none.
    pub(crate) units: String,
    /// Whether the values are codes of classes, which must not be averaged.
    pub(crate) classes: bool,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "ColorMap", default)]
    maps: Vec<MapElement>,
}

#[derive(Deserialize)]
struct MapElement {
    #[serde(rename = "@title", default)]
    title: String,
    #[serde(rename = "@units", default)]
    units: String,
    #[serde(rename = "Entries", default)]
    entries: Entries,
    #[serde(rename = "ColorMapEntry", default)]
    bare: Vec<EntryElement>,
    #[serde(rename = "Legend", default)]
    legends: Vec<Legend>,
}

#[derive(Deserialize, Default)]
struct Entries {
    #[serde(rename = "ColorMapEntry", default)]
    entries: Vec<EntryElement>,
}

#[derive(Deserialize)]
struct EntryElement {
    #[serde(rename = "@rgb")]
    rgb: String,
    #[serde(rename = "@transparent", default)]
    transparent: bool,
    #[serde(rename = "@nodata", default)]
    no_data: bool,
    #[serde(rename = "@value", default)]
    value: Option<String>,
    #[serde(rename = "@sourceValue", default)]
    source_value: Option<String>,
    #[serde(rename = "@ref", default)]
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Legend {
    #[serde(rename = "@type", default)]
    kind: String,
}

impl MapElement {
    fn into_entries(self) -> Vec<EntryElement> {
        self.entries.entries.into_iter().chain(self.bare).collect()
    }

    fn is_classification(&self) -> bool {
        self.legends.iter().any(|legend| legend.kind == "classification")
            || self.title.trim().eq_ignore_ascii_case("no data")
    }
}

impl ColorMap {
    /// Reads a document.
    ///
    /// # Errors
    /// A sentence, when it is no colour map, or has no entry that stands for a value.
    pub(crate) fn parse(xml: &str) -> Result<Self, String> {
        if xml.len() > LARGEST {
            return Err(format!("{} bytes, at most {LARGEST} are read", xml.len()));
        }
        let document: Document = quick_xml::de::from_str(xml).map_err(|e| e.to_string())?;
        let mut maps = document.maps;
        if maps.is_empty() {
            // A document of one map has that as its root.
            maps.push(quick_xml::de::from_str(xml).map_err(|e| e.to_string())?);
        }
        maps.retain(|map| !map.entries.entries.is_empty() || !map.bare.is_empty());
        let measured = maps.iter().position(|map| !map.is_classification());
        let main = measured.or_else(|| maps.iter().position(MapElement::has_numbers)).unwrap_or(0);
        let mut entries = Vec::new();
        let (mut title, mut units) = (String::new(), String::new());
        for (number, map) in maps.into_iter().enumerate() {
            let means = number == main || (measured.is_some() && !map.is_classification());
            if number == main {
                title = map.title.trim().into();
                units = map.units.trim().into();
            }
            add(&mut entries, map.into_entries(), means)?;
        }
        if entries.iter().all(|entry| entry.interval.is_none()) {
            return Err("no colour in it stands for a value".into());
        }
        Ok(Self { title, units, classes: measured.is_none(), entries })
    }
}

impl MapElement {
    fn has_numbers(&self) -> bool {
        let all = self.entries.entries.iter().chain(&self.bare);
        all.into_iter().any(|entry| !entry.no_data)
    }
}

/// Adds the entries of one map. Values are in the map's unit; where there are none, the numbers in the
/// original file, or else those of the legend.
fn add(to: &mut Vec<Entry>, from: Vec<EntryElement>, means: bool) -> Result<(), String> {
    if to.len() + from.len() > MOST_ENTRIES {
        return Err(format!("more than {MOST_ENTRIES} entries"));
    }
    let column: fn(&EntryElement) -> Option<&String> = if from.iter().any(|e| e.value.is_some()) {
        |entry| entry.value.as_ref()
    } else if from.iter().any(|e| e.source_value.is_some()) {
        |entry| entry.source_value.as_ref()
    } else {
        |entry| entry.reference.as_ref()
    };
    for entry in &from {
        let interval = match column(entry).filter(|_| means && !entry.no_data) {
            Some(text) => {
                let interval = Interval::parse(text);
                Some(interval.ok_or_else(|| format!("`{text}` is no value and no interval"))?)
            }
            None => None,
        };
        to.push(Entry { rgb: color(&entry.rgb)?, transparent: entry.transparent, interval });
    }
    Ok(())
}

fn color(text: &str) -> Result<[u8; 3], String> {
    let samples: Option<Vec<u8>> = text.split(',').map(|x| x.trim().parse().ok()).collect();
    samples.and_then(|s| s.try_into().ok()).ok_or_else(|| format!("`{text}` is no colour"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn intervals_are_half_open() {
        let parse = |text| Interval::parse(text).unwrap();
        assert!(parse("[1,2)").contains(1.0) && !parse("[1,2)").contains(2.0));
        assert!(!parse("(1,2]").contains(1.0) && parse("(1,2]").contains(2.0));
        assert!(parse("[-INF,100.0)").contains(-1e30) && !parse("[-INF,100.0)").contains(100.0));
        assert!(parse("[5]").contains(5.0) && parse("0").contains(0.0));
        assert_eq!(parse("[1,2)").value(Pick::Middle), 1.5);
        assert_eq!(parse("(-INF,100)").value(Pick::Middle), 100.0);
        assert_eq!(parse("[8,+INF)").value(Pick::High), 8.0);
        assert_eq!(parse("[-3.5]").value(Pick::Low), -3.5);
        for bad in ["", "[", "a", "[1,2", "1,2", "[2,1)", "[nan]", "[-INF,INF)", "[1,2,3)", "[]"] {
            assert_eq!(Interval::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_map_of_classes_beside_a_measurement_is_no_data() {
        let xml = r#"<ColorMaps><ColorMap title="No Data"><Entries>
            <ColorMapEntry rgb="9,9,9" transparent="true" sourceValue="100" ref="0"/></Entries>
            <Legend type="classification"/></ColorMap>
            <ColorMap title="Ice" units="K"><Entries>
            <ColorMapEntry rgb="1,2,3" transparent="false" sourceValue="[22320,22357)" value="[223.2,223.57)" ref="1"/>
            </Entries><Legend type="continuous"/></ColorMap></ColorMaps>"#;
        let map = ColorMap::parse(xml).unwrap();
        assert_eq!((&*map.title, &*map.units, map.classes), ("Ice", "K", false));
        assert_eq!(map.entries[0].interval, None);
        assert_eq!(map.entries[1].interval, Interval::parse("[223.2,223.57)"));
    }

    #[test]
    fn classes_alone_have_their_codes_as_values() {
        let xml = r#"<ColorMaps><ColorMap title="Quality"><Entries>
            <ColorMapEntry rgb="0,0,0" transparent="true" sourceValue="0" nodata="true" ref="0"/>
            <ColorMapEntry rgb="1,1,1" transparent="false" sourceValue="3" ref="1"/></Entries>
            <Legend type="classification"/></ColorMap></ColorMaps>"#;
        let map = ColorMap::parse(xml).unwrap();
        assert!(map.classes && map.entries[0].interval.is_none());
        assert_eq!(map.entries[1].interval.map(|i| i.value(Pick::Middle)), Some(3.0));
        let bare = r#"<ColorMap title="x"><ColorMapEntry rgb="1,2,3" value="7"/></ColorMap>"#;
        assert_eq!(ColorMap::parse(bare).unwrap().entries.len(), 1);
    }

    #[test]
    fn what_is_no_color_map_is_refused() {
        for bad in [
            "",
            "not found",
            "<html/>",
            "<ColorMaps/>",
            r#"<ColorMap><ColorMapEntry rgb="1,2" value="7"/></ColorMap>"#,
            r#"<ColorMap><ColorMapEntry rgb="1,2,300" value="7"/></ColorMap>"#,
            r#"<ColorMap><ColorMapEntry rgb="1,2,3" value="much"/></ColorMap>"#,
            r#"<ColorMap><ColorMapEntry rgb="1,2,3" nodata="true"/></ColorMap>"#,
            r#"<ColorMap><ColorMapEntry rgb="1,2,3" value="7"/>"#,
        ] {
            assert!(ColorMap::parse(bad).is_err(), "{bad}");
        }
    }

    const SMALL: &str = r#"<ColorMaps><ColorMap title="A" units="K"><Entries><ColorMapEntry rgb="1,2,3" transparent="false" value="[1,2)" ref="1"/></Entries><Legend type="continuous"/></ColorMap></ColorMaps>"#;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = ColorMap::parse(&text);
            let _ = Interval::parse(&text);
        }

        #[test]
        fn a_changed_document_is_read_or_refused(
            changes in prop::collection::vec((0..SMALL.len(), any::<char>()), 1..8),
            cut in 0..SMALL.len(),
        ) {
            let mut text: Vec<char> = SMALL.chars().collect();
            for (at, with) in changes {
                text[at] = with;
            }
            let text: String = text.into_iter().collect();
            let _ = ColorMap::parse(&text);
            let end = (cut..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap();
            let _ = ColorMap::parse(&text[..end]);
        }

        #[test]
        fn the_middle_of_an_interval_lies_in_it(low in -1e6..1e6_f64, width in 1e-3..1e6_f64) {
            let interval = Interval::parse(&format!("[{low},{})", low + width)).unwrap();
            prop_assert!(interval.contains(interval.value(Pick::Middle)));
            prop_assert!(interval.contains(interval.value(Pick::Low)));
            prop_assert!(!interval.contains(interval.value(Pick::High)));
        }
    }
}
