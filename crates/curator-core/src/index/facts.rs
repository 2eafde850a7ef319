//! `index.json`: how an index is searched, and what was measured.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, atomic};

/// The file's name.
const FILE_NAME: &str = "index.json";

/// What must be known to search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Numbers in an embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// How rows are compared: `cosine`.
    pub metric: String,
    /// The kind of index, such as `ivf-sq8`; empty in version 1.
    pub kind: String,
    /// FAISS's factory string.
    pub factory: String,
    /// Inverted lists, or candidates of a graph, that a search visits; 0 where there are none.
    pub probes: usize,
    /// Candidates that are compared exactly, as a multiple of the answers asked for.
    pub rerank: usize,
    /// Where further sets of tiles are, in the order of their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_tiles: Vec<String>,
    /// What was measured; see `quality.rs` of `embed-indexer`.
    #[serde(rename = "quality")]
    pub measured: serde_json::Value,
}

impl Facts {
    /// Reads the facts of an index; one that is being built has none yet.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|e| Error::damaged(&path, "an index's facts", e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io("read", &path)(e)),
        }
    }

    /// Writes them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(FILE_NAME);
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::damaged(&path, "serialisable facts", e))?;
        atomic::write_atomic(&path, (text + "\n").as_bytes())
    }
}
