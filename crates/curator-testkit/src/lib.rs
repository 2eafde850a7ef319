//! What tests and the demo stand on: a procedural Earth whose truth is known, a stand-in for the GIBS
//! servers that serves it (or real pictures) over HTTP, and the place of shared test data.

pub mod earth;
pub mod noise;
pub mod standin;
pub mod truth;

use std::path::PathBuf;

pub use earth::Earth;
pub use standin::{Fault, Options, Standin};

/// Real imagery for tests, when this computer has it: `$CURATOR_SHARED_DATA`, or `shared/data` beside the
/// workspace. Tests that need it say "skipped" where it is absent.
#[must_use]
pub fn shared_data() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let given = std::env::var_os("CURATOR_SHARED_DATA").map(PathBuf::from);
    [given, Some(beside)].into_iter().flatten().find(|path| path.is_dir())
}
