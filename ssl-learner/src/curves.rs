//! `curves.html`: loss, learning rate and health over the epochs.

use std::path::Path;

use curator_core::plot::{Series, escape, lines};
use curator_core::{Result, atomic};

use crate::metrics::EpochMetrics;
use crate::verdict::Verdict;

/// Writes the page into a model's directory; it is renewed after every epoch.
///
/// # Errors
/// [`curator_core::Error::Io`] when it cannot be written.
pub(crate) fn write(
    output: &Path,
    metrics: &[EpochMetrics],
    verdict: Option<&Verdict>,
) -> Result<()> {
    let series = |name: &str, get: fn(&EpochMetrics) -> Option<f64>| {
        let points = metrics.iter().filter_map(|m| Some((m.epoch as f64 + 1.0, get(m)?))).collect();
        Series::new(name, points)
    };
    let losses = [series("training", |m| Some(m.loss)), series("held out", |m| m.validation_loss)];
    let charts = [
        ("Loss", losses.to_vec()),
        (
            "Nearest-neighbour accuracy (classes are never used for training)",
            vec![series("10-NN accuracy", |m| m.knn_accuracy)],
        ),
        (
            "Two views of a picture: squared distance (smaller is better)",
            vec![series("alignment", |m| m.alignment)],
        ),
        (
            "How evenly embeddings fill the sphere (smaller is better)",
            vec![series("uniformity", |m| m.uniformity)],
        ),
        ("Spread of the projections (near 0: collapsed)", vec![series("spread", |m| m.spread)]),
        ("Effective rank", vec![series("rank", |m| m.rank)]),
        ("Learning rate", vec![series("learning rate", |m| Some(m.lr))]),
        ("Norm of the gradients", vec![series("norm", |m| Some(m.gradient_norm))]),
        ("Images a second", vec![series("images a second", |m| Some(m.images_per_second))]),
        ("Share of the time waiting for data", vec![series("waiting", |m| Some(m.stalled))]),
    ];
    let charts: String = charts
        .iter()
        .filter_map(|(title, series)| {
            let drawn: Vec<Series> =
                series.iter().filter(|s| !s.points.is_empty()).cloned().collect();
            (!drawn.is_empty()).then(|| lines(title, "epoch", "", &drawn))
        })
        .collect();
    let verdict = verdict.map_or(String::new(), |v| format!("<p>{}</p>", escape(&v.to_string())));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Training curves</title><style>:root{{color-scheme:light dark}}\
         body{{font-family:system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}\
         svg{{width:100%;height:auto;margin:1rem 0}}</style><h1>Training curves</h1>{verdict}{charts}</html>\n"
    );
    atomic::write_atomic(&output.join("curves.html"), page.as_bytes())
}
