//! What everything that is made of scenes is told.

use std::path::PathBuf;

use crate::choice::Choice;
use crate::place::Area;

/// From which scenes, and where to.
#[derive(Debug, Clone)]
pub struct Product {
    /// The `scenes/` directory.
    pub scenes: PathBuf,
    /// Which of its scenes.
    pub choice: Choice,
    /// Which part of them.
    pub area: Area,
    /// The file; of commands that make one a scene, also a folder for them.
    pub output: PathBuf,
    /// Make files anew that are there.
    pub force: bool,
}
