//! A folder of georeferenced pictures, and the folders in it.
//!
//! The name of a picture without a date in it is its layer, unless one name is given for all.

use std::path::{Path, PathBuf};

use curator_core::Projection;
use jiff::civil::{Date, DateTime};
use rayon::prelude::*;
use reqwest::Url;

use super::georeference;
use super::pictures::Picture;
use crate::archive::is_layer_name;
use crate::error::{Error, Result};
use crate::fetch::Config;

/// The pictures that have a place, and why others are left out.
///
/// # Errors
/// When the folder cannot be read or has no picture.
pub(super) fn pictures(folder: &Path, config: &Config) -> Result<(Vec<Picture>, Vec<String>)> {
    let folder = folder.canonicalize().map_err(curator_core::Error::io("read", folder))?;
    let mut files = Vec::new();
    list(&folder, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(curator_core::Error::Empty { path: folder }.into());
    }
    let layer = config.layers.first();
    if let Some(layer) = layer.filter(|layer| !is_layer_name(layer)) {
        return Err(Error::UnknownLayer { name: layer.clone(), candidates: Vec::new() });
    }
    let projection = config.projection.unwrap_or_default();
    let read: Vec<Result<Picture, String>> = files
        .par_iter()
        .map(|path| {
            picture(path, projection, layer.map(String::as_str))
                .map_err(|reason| format!("`{}`: {reason}", path.display()))
        })
        .collect();
    let mut left_out = Vec::new();
    let pictures = read.into_iter().filter_map(|one| one.map_err(|e| left_out.push(e)).ok());
    Ok((pictures.collect(), left_out))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = || curator_core::Error::io("read", folder);
    for entry in std::fs::read_dir(folder).map_err(io())? {
        let entry = entry.map_err(io())?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io())?);
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if kind.is_dir() && !hidden {
            list(&path, files)?;
        } else if kind.is_file() && !hidden && !media_type(&path).is_empty() {
            files.push(path);
        }
    }
    Ok(())
}

/// The media type that an ending stands for; empty for files that are no pictures.
fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("tif" | "tiff") => "image/tiff",
        _ => "",
    }
}

fn picture(path: &Path, projection: Projection, layer: Option<&str>) -> Result<Picture, String> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.unwrap_or_default();
    let (name, time) = named(&stem);
    let url = Url::from_file_path(path).map_err(|()| "it is no path".to_string())?;
    Ok(Picture {
        layer: layer.map_or(name, Into::into),
        time,
        place: georeference::read(path, projection)?,
        url: url.into(),
        media_type: media_type(path).into(),
    })
}

/// A layer's name and the day, from `fires_2020-09-12` or `S2A_20200912T101021_visual`.
fn named(stem: &str) -> (String, Option<DateTime>) {
    let bytes = stem.as_bytes();
    let number = |from: usize, to: usize| -> Option<i16> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then(|| stem[from..to].parse().ok()).flatten()
    };
    let day = |at: usize| {
        let alone = at == 0 || !bytes[at - 1].is_ascii_digit();
        let (month, day, end) =
            if bytes.get(at + 4) == Some(&b'-') && bytes.get(at + 7) == Some(&b'-') {
                (number(at + 5, at + 7)?, number(at + 8, at + 10)?, at + 10)
            } else {
                (number(at + 4, at + 6)?, number(at + 6, at + 8)?, at + 8)
            };
        let more = bytes.get(end).is_some_and(u8::is_ascii_digit);
        let date = Date::new(number(at, at + 4)?, month as i8, day as i8).ok()?;
        (alone && !more && (1900..2200).contains(&date.year())).then_some((at, end, date))
    };
    let found = (0..bytes.len()).rev().filter(|&at| stem.is_char_boundary(at)).find_map(day);
    let (rest, time) = match found {
        Some((start, end, date)) => {
            (format!("{}{}", &stem[..start], &stem[end..]), Some(date.at(0, 0, 0, 0)))
        }
        None => (stem.to_string(), None),
    };
    let clean: String = rest
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '_' })
        .collect();
    let clean = clean.replace("__", "_").replace("--", "-");
    let clean = clean.trim_matches(['_', '-', '.', '+']).chars().take(200).collect::<String>();
    (if clean.is_empty() { "pictures".into() } else { clean }, time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_a_layer_and_a_day() {
        let day = |y, m, d| Some(jiff::civil::date(y, m, d).at(0, 0, 0, 0));
        for (stem, layer, time) in [
            ("fires_2020-09-12", "fires", day(2020, 9, 12)),
            ("2020-09-12", "pictures", day(2020, 9, 12)),
            ("S2A_20200912_visual", "S2A_visual", day(2020, 9, 12)),
            ("island 7", "island_7", None),
            ("scan_2020-13-40", "scan_2020-13-40", None),
            ("x_1234567890", "x_1234567890", None),
        ] {
            assert_eq!(named(stem), (layer.to_string(), time), "{stem}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_a_layer_name(stem in ".{0,60}") {
            prop_assert!(is_layer_name(&named(&stem).0));
        }
    }
}
