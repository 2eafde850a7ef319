//! `curves.html`: loss, learning rate and health over the epochs.

use std::path::Path;

use curator_core::plot::{Series, lines};
use curator_core::{Result, atomic};

use crate::train::EpochMetrics;

/// Writes the page.
///
/// # Errors
/// [`curator_core::Error::Io`] when it cannot be written.
pub(crate) fn write(path: &Path, title: &str, metrics: &[EpochMetrics]) -> Result<()> {
    let series = |name: &str, get: fn(&EpochMetrics) -> Option<f64>| {
        let points = metrics.iter().filter_map(|m| Some((m.epoch as f64 + 1.0, get(m)?))).collect();
        Series::new(name, points)
    };
    let charts = [
        lines("Loss", "epoch", "", &[series("loss", |m| Some(m.loss))]),
        lines(
            "Nearest-neighbour accuracy (classes are never used for training)",
            "epoch",
            "",
            &[series("10-NN accuracy", |m| m.knn_accuracy)],
        ),
        lines(
            "Spread of the embeddings (near 0: collapsed)",
            "epoch",
            "",
            &[series("spread", |m| Some(m.spread))],
        ),
        lines("Effective rank", "epoch", "", &[series("rank", |m| Some(m.rank))]),
        lines("Learning rate", "epoch", "", &[series("learning rate", |m| Some(m.lr))]),
    ];
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>:root{{color-scheme:light dark}}\
         body{{font-family:system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}\
         svg{{width:100%;height:auto;margin:1rem 0}}</style><h1>{title}</h1>{}</html>\n",
        charts.concat()
    );
    atomic::write_atomic(path, page.as_bytes())
}
