//! The newest catalogue at hand: the service's capabilities, kept with their ETag in the user's
//! cache; what an earlier run kept when the service does not answer; the snapshot otherwise.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use curator_core::{Context, atomic, digest};
use serde::{Deserialize, Serialize};

use super::capabilities::{self, Capabilities};
use super::{Catalogue, Layer, MatrixSet, Origin, RANGES_LISTED, snapshot};
use crate::client::{Client, Fetched};
use crate::error::{Error, Result};

/// When the service is asked for its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// Never; what is at hand is used.
    Never,
    /// When what is at hand is older than this.
    After(Duration),
}

/// What the cache keeps of a service: the facts, not the document.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    etag: String,
    /// Seconds since 1970.
    asked: u64,
    layers: Vec<Layer>,
    sets: Vec<MatrixSet>,
}

/// Opens the catalogue of a service.
///
/// # Errors
/// [`Error::Capabilities`] when a service other than the official one cannot describe itself and
/// never did: the snapshot says nothing of it.
pub(crate) async fn open(
    client: &Client,
    refresh: Refresh,
    context: &Context,
) -> Result<Catalogue> {
    let url = client.endpoint().capabilities();
    let kept = load(&url);
    let asked = kept.as_ref().map_or(0, |k| k.asked);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let ask = match refresh {
        Refresh::Never => false,
        Refresh::After(age) => now.saturating_sub(asked) >= age.as_secs(),
    };
    if !ask {
        let origin = if refresh == Refresh::Never { Origin::Cache } else { Origin::Service };
        return at_hand(client, kept, origin);
    }
    let has_other = kept.is_some() || client.endpoint().is_official();
    let reason = match ask_service(client, &url, kept.as_ref(), !has_other).await {
        Ok(Some((Capabilities { layers, sets }, etag))) => {
            let kept = Kept { url, etag, asked: now, layers, sets };
            store(&kept);
            return at_hand(client, Some(kept), Origin::Service);
        }
        Ok(None) => {
            let kept = kept.map(|kept| Kept { asked: now, ..kept });
            kept.iter().for_each(store);
            return at_hand(client, kept, Origin::Service);
        }
        Err(reason) => reason,
    };
    if !has_other {
        return Err(Error::Capabilities { url, reason });
    }
    let catalogue = at_hand(client, kept, Origin::Cache)?;
    let which = match &catalogue.origin {
        Origin::Snapshot(date) => format!("the built-in one of {date}"),
        _ => "the one kept by an earlier run".into(),
    };
    context.progress.note(&format!(
        "no catalogue from {} ({reason}); taking {which}",
        client.endpoint().host()
    ));
    Ok(catalogue)
}

/// The layers that the service has now and their ETag; `None` when they are those that were kept.
/// Asked again after trouble only when there is nothing else to take.
async fn ask_service(
    client: &Client,
    url: &str,
    kept: Option<&Kept>,
    patiently: bool,
) -> Result<Option<(Capabilities, String)>, String> {
    let known = kept.map_or("", |kept| kept.etag.as_str());
    let mut attempt = 0;
    loop {
        match client.document(url, known).await {
            Ok(Fetched::Unchanged) if kept.is_some() => return Ok(None),
            Ok(Fetched::Unchanged) => return Err("HTTP 304 without a condition".into()),
            Ok(Fetched::New { text, etag }) => {
                let endpoint = client.endpoint();
                let found = capabilities::parse(&text, endpoint.projection())?;
                let layers =
                    if endpoint.is_official() { complete(found.layers) } else { found.layers };
                return Ok(Some((Capabilities { layers, ..found }, etag)));
            }
            Err(trouble) => {
                if !patiently || !client.wait(attempt, &trouble).await {
                    return Err(trouble.to_string());
                }
                attempt += 1;
            }
        }
    }
}

fn at_hand(client: &Client, kept: Option<Kept>, origin: Origin) -> Result<Catalogue> {
    match kept {
        Some(kept) => Ok(Catalogue { layers: kept.layers, sets: kept.sets, origin }),
        None if client.endpoint().is_official() => Ok(snapshot::load()),
        None => Err(Error::Capabilities {
            url: client.endpoint().capabilities(),
            reason: "they were never fetched, and `--offline` forbids asking".into(),
        }),
    }
}

/// Adds from the snapshot what capabilities leave out: ranges before the latest hundred, other
/// projections, tags.
fn complete(mut layers: Vec<Layer>) -> Vec<Layer> {
    let snapshot = snapshot::load();
    for layer in &mut layers {
        let Some(known) = snapshot.get(&layer.id) else { continue };
        layer.tags.clone_from(&known.tags);
        layer.platform.clone_from(&known.platform);
        layer.measurement.clone_from(&known.measurement);
        layer.projections.extend(&known.projections);
        layer.projections.sort_unstable();
        layer.projections.dedup();
        layer.colormap = layer.colormap.take().or_else(|| known.colormap.clone());
        layer.legend = layer.legend.take().or_else(|| known.legend.clone());
        if layer.times.len() >= RANGES_LISTED
            && let Some(first) = layer.times.iter().map(|range| range.start).min()
        {
            let older = known.times.iter().filter(|range| range.end < first).cloned();
            layer.times = older.chain(std::mem::take(&mut layer.times)).collect();
        }
    }
    layers
}

/// `$XDG_CACHE_HOME/curator/gibs`, with `~/.cache` when that is not set.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("curator").join("gibs"))
}

fn cache_path(url: &str) -> Option<PathBuf> {
    let name = &digest::of_bytes(url.as_bytes())[..16];
    Some(cache_directory()?.join(format!("catalogue-2-{name}.json")))
}

/// Layers of the snapshot, and its day.
pub(crate) fn built_in() -> (usize, String) {
    let catalogue = snapshot::load();
    let date = match catalogue.origin {
        Origin::Snapshot(date) => date,
        _ => String::new(),
    };
    (catalogue.layers.len(), date)
}

fn load(url: &str) -> Option<Kept> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(cache_path(url)?).ok()?).ok()?;
    (kept.url == url && !kept.layers.is_empty()).then_some(kept)
}

/// A cache that cannot be written is no reason to stop.
fn store(kept: &Kept) {
    let Some(path) = cache_path(&kept.url) else { return };
    let written = serde_json::to_vec(kept)
        .map_err(|e| e.to_string())
        .and_then(|bytes| atomic::write_atomic(&path, &bytes).map_err(|e| e.to_string()));
    if let Err(error) = written {
        tracing::debug!("the catalogue is not kept: {error}");
    }
}
