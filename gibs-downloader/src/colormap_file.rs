//! The colour maps of layers: kept in `scenes/colormaps/`, brought from where the layer's metadata says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use curator_core::{Context, Error as CoreError, atomic};

use crate::archive::is_layer_name;
use crate::catalogue::{self, Layer, Refresh};
use crate::client::{Client, Patience};
use crate::colormap::{ColorMap, LARGEST};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::pace::Limits;

/// Where they are kept, in a `scenes/` directory.
pub(crate) const FOLDER: &str = "colormaps";

/// The file of a layer.
pub(crate) fn path(directory: &Path, layer: &str) -> PathBuf {
    directory.join(FOLDER).join(format!("{layer}.xml"))
}

/// Reads a document whose size is bearable.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<String> {
    let io = || CoreError::io("read", path);
    let size = std::fs::metadata(path).map_err(io())?.len();
    if size > LARGEST as u64 {
        let found = format!("{size} bytes");
        return Err(CoreError::damaged(
            path,
            format!("a colour map of up to {LARGEST} bytes"),
            found,
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path).map_err(io())?).into_owned())
}

/// The colour map of a layer, by its actual name and the one it was asked by; `None` when it has none.
///
/// # Errors
/// When the directory cannot be written, or the service says that there is one and does not give it.
pub(crate) fn of_layer(
    directory: &Path,
    (layer, asked): (&str, &str),
    endpoint: &str,
    offline: bool,
    context: &Context,
) -> Result<Option<String>> {
    for name in [layer, asked] {
        let path = path(directory, name);
        if path.is_file() {
            return read(&path).map(Some);
        }
    }
    if offline {
        return Ok(None);
    }
    let client = Client::new(
        Endpoint::parse(endpoint)?,
        PATIENCE,
        Limits::default(),
        context.cancel.clone(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Http(e.to_string()))?;
    runtime.block_on(async {
        let catalogue = catalogue::open(&client, Refresh::After(FRESH), context).await?;
        match catalogue.get(asked).or_else(|| catalogue.get(layer)) {
            Some(found) => bring(&client, found, directory, asked).await,
            None => Ok(None),
        }
    })
}

const PATIENCE: Patience =
    Patience { retries: 2, connect: Duration::from_secs(10), stall: Duration::from_secs(30) };

/// A catalogue of this age still knows where colour maps are.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Brings the colour map of a layer into a directory; `None` when it has none.
///
/// # Errors
/// [`Error::Colormap`] when it cannot be had or read.
pub(crate) async fn bring(
    client: &Client,
    layer: &Layer,
    directory: &Path,
    name: &str,
) -> Result<Option<String>> {
    let Some(address) = layer.colormap.as_deref().filter(|_| is_layer_name(name)) else {
        return Ok(None);
    };
    let url = client.endpoint().moved(address);
    let fail = |reason| Error::Colormap { layer: layer.id.clone(), reason };
    let xml = client.text(&url).await.map_err(|reason| fail(format!("{url}: {reason}")))?;
    ColorMap::parse(&xml).map_err(|reason| fail(format!("{url}: {reason}")))?;
    atomic::write_atomic(&path(directory, name), xml.as_bytes())?;
    Ok(Some(xml))
}

/// Brings the colour maps of layers that a directory does not have yet. One that cannot be had is asked for
/// again when it is needed.
pub(crate) async fn bring_all(
    client: &Client,
    layers: &[Layer],
    directory: &Path,
    context: &Context,
) {
    for layer in layers.iter().filter(|layer| !path(directory, &layer.id).is_file()) {
        if let Err(error) = bring(client, layer, directory, &layer.id).await {
            context.progress.warn(&error.to_string());
        }
    }
}
