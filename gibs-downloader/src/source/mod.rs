//! Where pictures come from. Whatever it is, it becomes jobs of native tiles with a grid, so that planning,
//! fetching and the format are the same for all.

mod folder;
mod georeference;
mod pictures;
mod stac;
mod xyz;

use std::path::PathBuf;

use curator_core::Projection;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::plan::Job;

pub(crate) use xyz::TileSize;

/// Where pictures come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Source {
    /// NASA GIBS, or a service with its URL layout: [`Config::endpoint`].
    #[default]
    Gibs,
    /// Any WMTS 1.0.0 service, by the address of its capabilities.
    Wmts(String),
    /// Tiles by zoom, column and row: an address with `{z}`, `{x}` and `{y}`.
    Xyz(String),
    /// A STAC search service, collection, item collection or static catalogue, by address or path.
    Stac(String),
    /// A folder of georeferenced pictures.
    Folder(PathBuf),
}

impl Source {
    /// Parses a kind and an address.
    ///
    /// # Errors
    /// [`curator_core::Error::Setting`] for another kind.
    pub(crate) fn parse(kind: &str, address: &str) -> Result<Self> {
        Ok(match kind.to_ascii_lowercase().as_str() {
            "wmts" => Self::Wmts(address.into()),
            "xyz" => Self::Xyz(address.into()),
            "stac" => Self::Stac(address.into()),
            "folder" => Self::Folder(address.into()),
            _ => {
                return Err(curator_core::Error::Setting {
                    name: "source",
                    found: format!("`{kind}`"),
                    expected: "wmts URL, xyz TEMPLATE, stac URL or folder PATH".into(),
                }
                .into());
            }
        })
    }

    /// Its address. `gibs` is that of GIBS, or of what stands for it.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub(crate) fn endpoint(&self, gibs: &str, projection: Projection) -> Result<Endpoint> {
        match self {
            Self::Gibs => Ok(Endpoint::parse(gibs)?.in_projection(projection)),
            Self::Wmts(url) => Endpoint::wmts(url),
            Self::Xyz(template) => Endpoint::other(&xyz::address(template)?),
            Self::Stac(url) if url.contains("://") => Endpoint::other(url),
            Self::Stac(path) => Endpoint::local(path.as_ref()),
            Self::Folder(path) => Endpoint::local(path),
        }
    }

    /// Whether a catalogue of layers describes it.
    pub(crate) fn has_catalogue(&self) -> bool {
        matches!(self, Self::Gibs | Self::Wmts(_))
    }
}

/// The jobs of a source that has no catalogue of layers, and what was left out.
///
/// # Errors
/// When the source cannot be read or has nothing that is wanted.
pub(crate) async fn jobs(config: &Config, client: &Client) -> Result<(Vec<Job>, Vec<String>)> {
    match &config.source {
        Source::Xyz(template) => Ok((vec![xyz::job(template, config)?], Vec::new())),
        Source::Stac(_) => {
            let (pictures, left_out) = stac::pictures(config, client).await?;
            Ok((pictures::jobs(pictures, config)?, left_out))
        }
        Source::Folder(path) => {
            let (pictures, left_out) = folder::pictures(path, config)?;
            Ok((pictures::jobs(pictures, config)?, left_out))
        }
        Source::Gibs | Source::Wmts(_) => Err(Error::NoArea),
    }
}
