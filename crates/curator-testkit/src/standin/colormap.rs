//! The colour map of the vegetation index, in the form of GIBS colour maps 1.3.

use std::fmt::Write;

/// Bins of the index between its lowest and highest value.
const BINS: u8 = 240;
const LOWEST: f64 = -0.2;
const WIDTH: f64 = 0.005;

fn bin_of(value: f64) -> u8 {
    ((value - LOWEST) / WIDTH).floor().clamp(0.0, f64::from(BINS - 1)) as u8
}

/// From brown over yellow to green; no two bins share a colour.
fn color_of_bin(bin: u8) -> [u8; 3] {
    [255 - bin, 60_u8.saturating_add(bin / 2), bin % 32]
}

/// The colour of a value; nothing, which is transparent, on water.
pub(super) fn color(value: Option<f64>) -> [u8; 4] {
    let Some(value) = value else { return [0; 4] };
    let [r, g, b] = color_of_bin(bin_of(value));
    [r, g, b, 255]
}

/// The value that a colour of the map stands for, the middle of its bin: the truth that an inverted
/// colour map is compared with. `None` for other colours.
#[must_use]
pub fn vegetation_of(rgb: [u8; 3]) -> Option<f64> {
    (0..BINS)
        .find(|&bin| color_of_bin(bin) == rgb)
        .map(|bin| LOWEST + (f64::from(bin) + 0.5) * WIDTH)
}

/// The document.
pub(super) fn xml() -> String {
    let mut entries = String::new();
    for bin in 0..BINS {
        let [r, g, b] = color_of_bin(bin);
        let low = LOWEST + f64::from(bin) * WIDTH;
        let high = low + WIDTH;
        let value = if bin == BINS - 1 {
            format!("[{low:.3},{high:.3}]")
        } else {
            format!("[{low:.3},{high:.3})")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            entries,
            "<ColorMapEntry rgb=\"{r},{g},{b}\" transparent=\"false\" sourceValue=\"{value}\" \
             value=\"{value}\" ref=\"{}\"/>",
            u16::from(bin) + 1
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ColorMaps><ColorMap title=\"No Data\"><Entries>\
         <ColorMapEntry rgb=\"0,0,0\" transparent=\"true\" nodata=\"true\" ref=\"0\"/></Entries></ColorMap>\
         <ColorMap title=\"Vegetation Index\" units=\"\"><Entries>\n{entries}</Entries></ColorMap></ColorMaps>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_leads_back_to_the_value() {
        for step in 0..1000 {
            let value = LOWEST + f64::from(step) * 0.0012;
            let [r, g, b, _] = color(Some(value));
            assert!((vegetation_of([r, g, b]).unwrap() - value).abs() <= WIDTH / 2.0 + 1e-9);
        }
        assert_eq!(vegetation_of([1, 2, 3]), None);
    }
}
