//! The page as one file: style, script, points and thumbnails are in it.

use std::io::Write;
use std::path::Path;

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;
use curator_core::atomic;

use super::thumbnails::{COLUMNS, SIDE, Thumbnails};
use crate::Result;

const PAGE: &str = include_str!("../../assets/space.html");
const STYLE: &str = include_str!("../../assets/space.css");
const SCRIPT: &str = include_str!("../../assets/space.js");
/// What a served page has instead of what is in it.
const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"/assets/space.css\">";
const SCRIPT_LINK: &str = "<script type=\"module\" src=\"/assets/space.js\"></script>";

/// Writes the page.
pub(super) fn write(path: &Path, packed: &[u8], thumbnails: &Thumbnails) -> Result<()> {
    let (before, rest) = PAGE.split_once(STYLE_LINK).unwrap_or((PAGE, ""));
    let (between, after) = rest.split_once(SCRIPT_LINK).unwrap_or((rest, ""));
    let numbers =
        serde_json::json!({ "side": SIDE, "columns": COLUMNS, "points": thumbnails.points });
    Ok(atomic::write_with(path, |file| {
        write!(file, "{before}<style>\n{STYLE}</style>{between}")?;
        writeln!(file, "<script type=\"application/json\" id=\"thumbnails\">{numbers}</script>")?;
        for sheet in &thumbnails.sheets {
            encoded(file, "sheet", "class", sheet)?;
        }
        encoded(file, "points-data", "id", packed)?;
        write!(file, "<script type=\"module\">\n{SCRIPT}</script>{after}")
    })?)
}

/// Bytes as text that no browser runs.
fn encoded(file: &mut impl Write, name: &str, kind: &str, bytes: &[u8]) -> std::io::Result<()> {
    write!(file, "<script type=\"text/plain\" {kind}=\"{name}\">")?;
    let mut encoder = EncoderWriter::new(&mut *file, &STANDARD);
    encoder.write_all(bytes)?;
    encoder.finish()?;
    drop(encoder);
    writeln!(file, "</script>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_places_for_what_is_put_in() {
        assert!(PAGE.contains(STYLE_LINK) && PAGE.contains(SCRIPT_LINK));
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(!SCRIPT.contains("import "), "a page of one file imports nothing");
    }
}
