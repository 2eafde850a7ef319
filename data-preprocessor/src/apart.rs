//! Inputs and outputs are different places: a run never writes over, or among, what it reads.

use std::path::{Path, PathBuf};

use curator_core::Manifest;

use crate::{Error, Result};

/// Folders of an output that pictures are written into.
const WRITTEN: [&str; 2] = ["records", "pictures"];

/// Refuses an output that is the input, or that lies in a plain folder of images that is the input: what
/// is written would be read as an image by the next run. Refuses as well what would be written around the input.
pub(crate) fn check(input: &Path, output: &Path) -> Result<()> {
    let (from, to) = (real(input), real(output));
    let among = to.starts_with(&from) && input.is_dir() && !Manifest::exists(input);
    let around = WRITTEN.iter().any(|folder| from.starts_with(to.join(folder)));
    if from == to || among || around {
        return Err(Error::SamePlace { input: input.into(), output: output.into() });
    }
    Ok(())
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let known = path.ancestors().find_map(|known| Some((known, known.canonicalize().ok()?)));
    match known {
        Some((known, real)) => match path.strip_prefix(known) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => path,
        },
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_and_what_lies_in_a_plain_folder_are_no_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("photos");
        std::fs::create_dir(&folder).unwrap();
        for bad in [folder.clone(), folder.join("../photos"), folder.join("new/tiles")] {
            assert!(matches!(check(&folder, &bad), Err(Error::SamePlace { .. })), "{bad:?}");
        }
        let inside = folder.join("pictures/sea");
        std::fs::create_dir_all(&inside).unwrap();
        assert!(matches!(check(&inside, &folder), Err(Error::SamePlace { .. })));
        check(&inside, dir.path()).unwrap();
        for good in [dir.path().join("photos-2"), dir.path().join("new/tiles")] {
            check(&folder, &good).unwrap();
        }
        std::fs::write(folder.join("manifest.json"), "{}").unwrap();
        check(&folder, &folder.join("subset")).unwrap();
        assert!(check(&folder, &folder).is_err());
    }
}
