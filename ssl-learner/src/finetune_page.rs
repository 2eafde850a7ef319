//! `finetune.html`: how good the classifier is, what it mistakes, and whether its probabilities are honest.

use curator_core::calibration::Bin;
use curator_core::plot::{Series, escape, lines};

use crate::confusion::Confusion;
use crate::evaluation_page::STYLE;
use crate::finetune::Report;

/// A page that needs nothing else; bins with the temperature, and without.
pub(crate) fn page(report: &Report, confusion: &Confusion, bins: &[Vec<Bin>; 2]) -> String {
    let series = |name: &str, bins: &[Bin]| {
        Series::new(name, bins.iter().map(|bin| (bin.confidence, bin.accuracy)).collect())
    };
    let honest = Series::new("honest", vec![(0.0, 0.0), (1.0, 1.0)]);
    let scaled = series("with the temperature", &bins[0]);
    let raw = series("without", &bins[1]);
    let chart = lines("Share that is right", "probability said", "", &[honest, scaled, raw]);
    let mistakes: String = confusion
        .mistakes(10)
        .into_iter()
        .map(|(actual, predicted, count)| {
            format!("<li>{} taken for {}: {count}</li>", escape(actual), escape(predicted))
        })
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Classifier</title><style>{STYLE}</style>\
         <h1>Classifier</h1><pre>{report}</pre><h2>What it takes for what</h2>\
         <p>Rows: what images are. Columns: what they are taken for.</p>{confusion}<ol>{mistakes}</ol>\
         <h2>Are its probabilities honest?</h2>{chart}</html>\n",
        report = escape(&report.to_string()),
        confusion = confusion.picture(),
    )
}
