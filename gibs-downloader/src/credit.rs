//! Credit and licence of what was downloaded, beside it.

use std::path::Path;

use curator_core::{Result, atomic};

/// The file's name.
pub(crate) const FILE_NAME: &str = "CREDIT.txt";

/// Asked for by the GIBS documentation wherever the imagery is used.
pub(crate) const GIBS: &str = "We acknowledge the use of imagery provided by services from \
    NASA's Global Imagery Browse Services (GIBS), part of NASA's Earth Science Data and \
    Information System (ESDIS).";

const TEXT: &str = "\
Use
---
NASA's Earth science data, and the imagery that GIBS makes of it, are free to use, copy and change, for
any purpose, without fee. NASA asks for the acknowledgement above wherever the imagery is published,
and does not endorse products that use it. Some layers are made with partners, whose terms may differ:
see the layer's own description.
Policy: https://www.earthdata.nasa.gov/engage/open-data-services-software-policies/data-use-guidance
GIBS: https://nasa-gibs.github.io/gibs-api-docs/
";

/// What is written into files that are made of the pictures.
pub(crate) fn credit() -> &'static str {
    GIBS
}

/// Writes the text beside the tiles, naming the service they come from and the layers.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, source: &str, layers: &[String]) -> Result<()> {
    let layers: String = layers.iter().map(|layer| format!("  {layer}\n")).collect();
    let text =
        format!("Credit\n------\n{GIBS}\n\nDownloaded from {source}.\nLayers:\n{layers}\n{TEXT}");
    atomic::write_atomic(&directory.join(FILE_NAME), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_service_and_layers() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "gibs.earthdata.nasa.gov", &["A".into(), "B".into()]).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
        assert!(text.contains(GIBS) && text.contains("  A\n  B\n") && text.contains("gibs.earth"));
    }
}
