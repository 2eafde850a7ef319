//! `evaluation.html`: the measures side by side, the confusion matrix, and every class.

use std::fmt::Write;

use curator_core::plot::escape;

use crate::bootstrap::Interval;
use crate::evaluate::Report;

pub(crate) const STYLE: &str = ":root{color-scheme:light dark}body{font-family:system-ui,sans-serif;max-width:60rem;\
    margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .7rem;\
    text-align:right;border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent)}\
    th:first-child,td:first-child{text-align:left}small{opacity:.7}svg{width:100%;height:auto;max-width:46rem}";

/// A page that needs nothing else.
pub(crate) fn page(report: &Report, confusion: &str) -> String {
    let interval =
        |i: Interval| format!("<td>{:.3} <small>{:.3}–{:.3}</small></td>", i.value, i.low, i.high);
    let mut rows = String::new();
    for m in &report.representations {
        let cells: String = [m.knn, m.probe, m.map, m.precision_at_10].map(interval).concat();
        let ap = m.probe_average_precision;
        let _ = write!(rows, "<tr><td>{}</td>{cells}<td>{ap:.3}</td></tr>", escape(&m.name));
    }
    let mut classes = String::new();
    for c in &report.classes {
        let _ = write!(
            classes,
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>",
            escape(&c.name),
            c.images,
            c.precision,
            c.recall,
            c.map
        );
    }
    let mut mistakes = String::new();
    for (actual, predicted, count) in report.confusion.mistakes(10) {
        let (actual, predicted) = (escape(actual), escape(predicted));
        let _ = write!(mistakes, "<li>{actual} taken for {predicted}: {count}</li>");
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Evaluation</title><style>{STYLE}</style>\
         <h1>Evaluation</h1><p>{verdict}</p><p>{images} images of {count} classes; always naming the largest \
         is right {chance:.3} of the time. Small: where the value lies with a probability of 95 %.</p>\
         <table><tr><th>representation</th><th>20-NN accuracy</th><th>linear probe</th><th>retrieval mAP</th>\
         <th>precision@10</th><th>probe AP</th></tr>{rows}</table>\
         <h2>What the first model's linear probe takes for what</h2>\
         <p>Rows: what images are. Columns: what they are taken for, by a classifier that has not seen them.</p>\
         {confusion}<ol>{mistakes}</ol><h2>Classes</h2>\
         <table><tr><th>class</th><th>images</th><th>precision</th><th>recall</th><th>retrieval mAP</th></tr>\
         {classes}</table></html>\n",
        verdict = escape(&report.verdict),
        images = report.images,
        count = report.classes.len(),
        chance = report.chance,
    )
}
