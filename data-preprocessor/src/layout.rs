//! Folders that pictures are sorted into.

use std::collections::HashMap;

use curator_core::{Location, Tile, digest};
use serde::{Deserialize, Serialize};

/// Pictures in a folder at most; the next ones go into numbered folders inside.
const FULL: u32 = 1000;
/// Radius of the sphere of the MODIS sinusoidal grid, in metres.
const MODIS_RADIUS: f64 = 6_371_007.181;
/// Equatorial radius that the Major TOM grid is made with, in kilometres.
const MAJOR_TOM_RADIUS: f64 = 6_378.137;

/// A way to sort.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// By class, as class folders were; pictures without one lie at the top.
    Class,
    /// By date and cell of the MODIS sinusoidal grid, `2020-09-12/h17v06`.
    Modis,
    /// By date and cell of the Major TOM grid of some kilometres, `2020-09-12/3U_20L` (Francis and
    /// Czerkawski 2024, <https://arxiv.org/abs/2402.12095>).
    MajorTom(f64),
}

impl std::str::FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "use class, modis, majortom or majortom:KILOMETRES (10 to 2000)".to_string();
        match text {
            "class" => Ok(Self::Class),
            "modis" => Ok(Self::Modis),
            "majortom" => Ok(Self::MajorTom(100.0)),
            _ => {
                let distance = text.strip_prefix("majortom:").and_then(|km| km.parse().ok());
                let distance = distance.filter(|km| (10.0..=2000.0).contains(km));
                distance.map(Self::MajorTom).ok_or_else(expected)
            }
        }
    }
}

impl Layout {
    fn folder(self, tile: &Tile) -> String {
        let date = || tile.time.as_deref().map_or("static".into(), safe);
        match (self, tile.bbox.map(|bbox| bbox.center())) {
            (Self::Class, _) => tile.class.as_deref().map(safe).unwrap_or_default(),
            (_, None) => "nowhere".into(),
            (Self::Modis, Some((lon, lat))) => format!("{}/{}", date(), modis_cell(lon, lat)),
            (Self::MajorTom(km), Some((lon, lat))) => {
                format!("{}/{}", date(), major_tom_cell(lon, lat, km))
            }
        }
    }
}

/// Finds a path for every picture, the same for the same order of tiles.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Pictures that each folder has got.
    counts: HashMap<String, u32>,
}

impl Paths {
    /// Remembers a path that an earlier run gave.
    pub(crate) fn remember(&mut self, layout: Layout, tile: &Tile) {
        if matches!(tile.location, Location::File(_)) {
            *self.counts.entry(layout.folder(tile)).or_default() += 1;
        }
    }

    /// The path of the next picture, relative to the directory, with `/`. Never made of an id as it is.
    pub(crate) fn next(&mut self, layout: Layout, tile: &Tile, extension: &str) -> String {
        let folder = layout.folder(tile);
        let count = self.counts.entry(folder.clone()).or_default();
        let number = *count / FULL;
        *count += 1;
        let mut path = String::from("pictures/");
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            path += part;
            path += "/";
        }
        if number > 0 {
            path += &format!("{number:04}/");
        }
        path + &file_name(layout, tile, extension)
    }
}

/// A file name of an id: readable, and different for different ids.
fn file_name(layout: Layout, tile: &Tile, extension: &str) -> String {
    let id = tile.tile_id.as_str();
    let (stem, ending) = match id.rsplit_once('.') {
        Some((stem, ending)) if is_ending(ending) => (stem, ending),
        _ => (id, ""),
    };
    // What came from class folders comes back as it was.
    let inside = match &tile.class {
        Some(class) => id.strip_prefix(class.as_str()).and_then(|rest| rest.strip_prefix('/')),
        None => Some(id),
    };
    if let Some(name) = inside.filter(|_| layout == Layout::Class) {
        let right = match extension {
            "jpg" => ["jpg", "jpeg"].contains(&ending),
            "tif" => ["tif", "tiff"].contains(&ending),
            other => ending == other,
        };
        if right && safe(name) == name {
            return name.into();
        }
    }
    let readable =
        safe(stem.strip_prefix(tile.class.as_deref().unwrap_or_default()).unwrap_or(stem));
    let readable = readable.trim_start_matches('_');
    format!("{readable}-{}.{extension}", &digest::of_bytes(id.as_bytes())[..8])
}

fn is_ending(text: &str) -> bool {
    ["jpg", "jpeg", "png", "tif", "tiff"].contains(&text.to_ascii_lowercase().as_str())
}

/// A text as a name of a file or folder: no separators, no leading dot, at most 100 bytes.
fn safe(text: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || "-_. ,+=@()".contains(c) { c } else { '_' };
    let mut name: String = text.chars().map(kept).collect();
    while name.len() > 100 {
        name.pop();
    }
    let trimmed = name.trim_start_matches('.').trim();
    if trimmed.is_empty() { "_".into() } else { trimmed.into() }
}

/// The cell of the MODIS sinusoidal grid: 36 × 18 cells of the sphere.
fn modis_cell(lon: f64, lat: f64) -> String {
    use std::f64::consts::PI;
    let side = 2.0 * PI * MODIS_RADIUS / 36.0;
    let x = MODIS_RADIUS * lon.to_radians() * lat.to_radians().cos();
    let y = MODIS_RADIUS * lat.to_radians();
    let h = ((x + PI * MODIS_RADIUS) / side).floor().clamp(0.0, 35.0);
    let v = ((PI * MODIS_RADIUS / 2.0 - y) / side).floor().clamp(0.0, 17.0);
    format!("h{h:02}v{v:02}")
}

/// The cell of the Major TOM grid: rows of about `km` from the equator on, `U` and `D`, cut into columns of
/// about `km` from Greenwich on, `R` and `L`, measured at the row's lower edge.
fn major_tom_cell(lon: f64, lat: f64, km: f64) -> String {
    use std::f64::consts::PI;
    let rows = (PI * MAJOR_TOM_RADIUS / km).ceil();
    let height = 180.0 / rows;
    let half = (rows / 2.0).floor();
    let row = (lat / height).floor().clamp(-half, half - 1.0);
    let around = 2.0 * PI * MAJOR_TOM_RADIUS * (row * height).to_radians().cos();
    let columns = (around / km).ceil().max(1.0);
    let column = (lon / (360.0 / columns)).floor();
    // The world is round: with an odd number of columns the last one reaches over the antimeridian.
    let half = (columns / 2.0).floor();
    let column = if column < -half { column + columns } else { column };
    let column = if column >= columns - half { column - columns } else { column };
    let name = |n: f64, up: char, down: char| {
        if n >= 0.0 { format!("{n:.0}{up}") } else { format!("{:.0}{down}", -n) }
    };
    format!("{}_{}", name(row, 'U', 'D'), name(column, 'R', 'L'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the arithmetic of the published implementation gives in numpy.
    const MAJOR_TOM_KNOWN: &[(f64, f64, f64, &str)] = &[
        (12.5, 41.9, 100.0, "46U_10R"),
        (-122.4, 37.8, 100.0, "42U_109L"),
        (151.2, -33.9, 100.0, "38D_139R"),
        (-179.95, 0.3, 100.0, "0U_200R"),
        (179.95, -0.3, 100.0, "1D_200R"),
        (-0.01, -84.2, 100.0, "95D_1L"),
        (0.01, 70.0, 100.0, "78U_0R"),
        (-179.99, 55.5, 100.0, "61U_116L"),
        (12.5, 41.9, 10.0, "466U_103R"),
        (-122.4, 37.8, 10.0, "420U_1078L"),
        (151.2, -33.9, 10.0, "378D_1396R"),
        (-179.95, 0.3, 10.0, "3U_2004L"),
        (179.95, -0.3, 10.0, "4D_2003R"),
        (-0.01, -84.2, 10.0, "938D_1L"),
        (0.01, 70.0, 10.0, "779U_0R"),
        (-179.99, 55.5, 10.0, "617U_1137R"),
        (12.5, 41.9, 333.0, "14U_3R"),
        (-122.4, 37.8, 333.0, "12U_34L"),
        (151.2, -33.9, 333.0, "12D_41R"),
        (-179.95, 0.3, 333.0, "0U_60R"),
        (179.95, -0.3, 333.0, "1D_60R"),
        (-0.01, -84.2, 333.0, "29D_1L"),
        (0.01, 70.0, 333.0, "23U_0R"),
        (-179.99, 55.5, 333.0, "18U_36R"),
    ];

    #[test]
    fn cells_of_the_sinusoidal_grid_are_modis() {
        // Tiles as NASA's tile calculator gives them: Rome, San Francisco, Sydney, the far corners.
        for (lon, lat, cell) in [
            (12.5, 41.9, "h18v04"),
            (-122.4, 37.8, "h08v05"),
            (151.2, -33.9, "h30v12"),
            (0.0, 90.0, "h18v00"),
            (0.0, -90.0, "h18v17"),
            (180.0, 0.0, "h35v09"),
            (-180.0, 0.1, "h00v08"),
        ] {
            assert_eq!(modis_cell(lon, lat), cell, "{lon} {lat}");
        }
    }

    #[test]
    fn cells_of_the_global_grid_are_major_toms() {
        for (lon, lat, km, cell) in MAJOR_TOM_KNOWN {
            assert_eq!(major_tom_cell(*lon, *lat, *km), *cell, "{lon} {lat} {km}");
        }
    }

    #[test]
    fn folders_are_never_too_full_and_names_are_safe() {
        let mut paths = Paths::default();
        let tile = |id: &str| Tile::of_file(id.into(), Some("a/../b".into()));
        let all: Vec<String> = (0..2500)
            .map(|i| paths.next(Layout::Class, &tile(&format!("../{i}")), "jpg"))
            .collect();
        let mut folders: HashMap<&str, u32> = HashMap::new();
        for path in &all {
            assert!(path.split('/').all(|part| !part.starts_with('.')), "{path}");
            *folders.entry(path.rsplit_once('/').unwrap().0).or_default() += 1;
        }
        assert_eq!(folders.len(), 3);
        assert!(folders.values().all(|&count| count <= FULL));
        let different: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn ordinary_names_stay() {
        let mut paths = Paths::default();
        let file = |id: &str, class: Option<&str>| Tile::of_file(id.into(), class.map(Into::into));
        let mut next = |id: &str, class| paths.next(Layout::Class, &file(id, class), "jpg");
        assert_eq!(next("beach/b 1.jpg", Some("beach")), "pictures/beach/b 1.jpg");
        assert_eq!(next("top.jpeg", None), "pictures/top.jpeg");
        let nested = next("train/beach/1.jpg", Some("beach"));
        assert!(nested.starts_with("pictures/beach/train_beach_1-"), "{nested}");
        let wrong = next("beach/x.png", Some("beach"));
        assert!(wrong.starts_with("pictures/beach/x-") && wrong.ends_with(".jpg"), "{wrong}");
    }
}
