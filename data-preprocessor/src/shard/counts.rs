//! What a run counts.

use curator_core::manifest::Manifest;
use serde::{Deserialize, Serialize};

/// Counts of a run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Windows looked at.
    pub(crate) windows: u64,
    /// Tiles written.
    pub(crate) tiles: u64,
    /// Dropped for too much gap.
    pub(crate) dropped_gap: u64,
    /// Dropped for too much cloud.
    pub(crate) dropped_cloud: u64,
    /// Dropped for showing too little.
    pub(crate) dropped_entropy: u64,
    /// Pictures that could not be decoded.
    pub(crate) broken: u64,
}

impl Counts {
    fn all(&mut self) -> [(&'static str, &mut u64); 6] {
        [
            ("windows", &mut self.windows),
            ("tiles", &mut self.tiles),
            ("dropped_gap", &mut self.dropped_gap),
            ("dropped_cloud", &mut self.dropped_cloud),
            ("dropped_entropy", &mut self.dropped_entropy),
            ("broken", &mut self.broken),
        ]
    }

    /// Those of a finished directory.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut counts = Self::default();
        for (name, count) in counts.all() {
            *count = manifest.counts.get(name).copied().unwrap_or(0);
        }
        counts
    }

    /// Puts them into a manifest.
    pub(crate) fn write(mut self, manifest: &mut Manifest) {
        for (name, count) in self.all() {
            manifest.counts.insert(name.into(), *count);
        }
    }
}
