//! `report.html`: one page, drawn from whatever a run has produced so far.

use std::fmt::Write;
use std::path::Path;

use curator_core::index::Index;
use curator_core::page::Page;
use curator_core::plot::{Series, escape, lines};
use curator_core::{Manifest, TileSet, atomic};

use crate::Result;
use crate::curate::Results;

/// Thumbnails of one kind, at most.
const SHOWN: usize = 60;

/// Writes `report.html` of a run's directory, with the results in hand or, when there are none, with
/// those of its `curated/`.
pub(crate) fn write(run: &Path, results: Option<&Results>) -> Result<()> {
    let stored = || {
        let text = std::fs::read(run.join("curated").join("results.json")).ok()?;
        serde_json::from_slice::<Results>(&text).ok()
    };
    let finished = Manifest::exists(&run.join("curated")) && results.is_none();
    let stored = results.is_none().then(stored).flatten();
    let page = page(Some(run), results.or(stored.as_ref()), finished);
    Ok(atomic::write_atomic(&run.join("report.html"), page.as_bytes())?)
}

/// The page. Without a run's directory there are no stages and no pictures that it does not contain.
pub(crate) fn page(run: Option<&Path>, results: Option<&Results>, finished: bool) -> String {
    let title = results.map_or("Curator", |r| r.target.as_str());
    let mut html = Page::new(&format!("Report · {title}"), (!finished).then_some(5));
    let state = if finished { "finished" } else { "running: this page renews itself" };
    let _ = write!(html, "<h1>From one picture to a dataset</h1><p class=\"quiet\">{state}</p>");
    if let Some(results) = results {
        numbers(&mut html, results);
    }
    if let Some(run) = run {
        reference(&mut html, run);
    }
    if let Some(results) = results {
        curves(&mut html, results);
        let index = run.and_then(|run| Index::open(&run.join("index")).ok());
        if let Some((index, tiles)) = index.and_then(|i| i.tiles(None).ok().map(|t| (i, t))) {
            galleries(&mut html, results, &index, &tiles);
        }
    }
    if let Some(run) = run {
        training(&mut html, run);
        sheets(&mut html, run);
        stages(&mut html, run);
    }
    html.finish()
}

/// The numbers people look for first.
fn numbers(html: &mut Page, results: &Results) {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut fact = |name, value| facts.push((name, value));
    fact("tiles", results.tiles.to_string());
    if let Some(&(labels, found)) = results.found.last() {
        fact("labels given", labels.to_string());
        match results.positives {
            Some(positives) => fact("positives found by asking", format!("{found} of {positives}")),
            None => fact("positives found by asking", found.to_string()),
        }
    }
    if let Some(last) = results.curve.last() {
        fact("precision", format!("{:.3}", last.precision));
        fact("recall", format!("{:.3}", last.recall));
        fact("F1", format!("{:.3}", last.f1));
        fact("labelling effort", last.effort.to_string());
    } else {
        fact("predicted besides", results.predicted_positive.len().to_string());
    }
    html.numbers(&facts);
    if !results.curve.is_empty() {
        html.push(
            "<p class=\"quiet\">Precision, recall and F1 are of the result as a whole, labelled and predicted, \
             against the known truth. Labelling effort is the labels given and the predictions above 0.8 \
             that a person would still look at.</p>",
        );
    }
}

fn reference(html: &mut Page, run: &Path) {
    let picture = std::fs::read(run.join("reference.jpg"))
        .ok()
        .and_then(|bytes| curator_core::Raster::decode("reference", &bytes).ok());
    if let Some(picture) = picture {
        html.heading("The reference", "");
        html.thumbnails([("reference", picture)]);
    }
}

fn curves(html: &mut Page, results: &Results) {
    if results.found.len() < 2 {
        return;
    }
    let found = results.found.iter().map(|&(n, k)| (n as f64, k as f64)).collect();
    let mut series = vec![Series::new("found", found)];
    if let (Some(positives), Some(&(labels, _))) = (results.positives, results.found.last()) {
        let share = positives as f64 / results.tiles.max(1) as f64;
        series.push(Series::new(
            "random order",
            vec![(0.0, 0.0), (labels as f64, share * labels as f64)],
        ));
        let best = labels.min(positives) as f64;
        series
            .push(Series::new("no mistake", vec![(0.0, 0.0), (best, best), (labels as f64, best)]));
    }
    html.heading("How it went", "");
    let mut charts = vec![lines("Positives found", "labels given", "", &series)];
    if results.curve.len() > 1 {
        let of = |name: &str, get: fn(&crate::measures::CurvePoint) -> f64| {
            Series::new(name, results.curve.iter().map(|p| (p.labels as f64, get(p))).collect())
        };
        let quality =
            [of("precision", |p| p.precision), of("recall", |p| p.recall), of("F1", |p| p.f1)];
        charts.push(lines("Quality of the result", "labels given", "", &quality));
    }
    html.charts(&charts);
}

fn galleries(html: &mut Page, results: &Results, index: &Index, tiles: &TileSet) {
    let mut gallery = |title: &str, text: &str, rows: &[usize]| {
        if rows.is_empty() {
            return;
        }
        let shown: Vec<usize> =
            rows.iter().copied().filter(|&r| r < index.len()).take(SHOWN).collect();
        let note = if rows.len() > SHOWN { format!(", {SHOWN} shown") } else { String::new() };
        html.heading(title, &format!("{}{note}", rows.len()));
        let _ = write!(html, "<p class=\"quiet\">{}</p>", escape(text));
        let shown = index.rows_at(&shown).unwrap_or_default();
        let pictures = shown
            .iter()
            .filter_map(|tile| Some((tile.tile_id.as_str(), tiles.decode(&tile.location).ok()?)));
        html.thumbnails(pictures);
    };
    gallery("Found by asking", "Labelled positive.", &results.labelled_positive);
    let right: Vec<usize> = results
        .predicted_positive
        .iter()
        .copied()
        .filter(|row| !results.wrong.contains(row))
        .collect();
    gallery("Found by the model", "Predicted positive without being asked.", &right);
    gallery("Missed", "Positive, but neither asked nor predicted.", &results.missed);
    gallery("Mistaken", "Predicted positive, but negative.", &results.wrong);
}

fn training(html: &mut Page, run: &Path) {
    let text = std::fs::read_to_string(run.join("model").join("metrics.jsonl")).unwrap_or_default();
    let metrics: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if metrics.len() < 2 {
        return;
    }
    let series = |name: &str| {
        let points =
            metrics.iter().filter_map(|m| Some((m["epoch"].as_f64()? + 1.0, m[name].as_f64()?)));
        [Series::new(name, points.collect())]
    };
    html.heading("Training, without labels", "");
    html.charts(&[
        lines("Loss", "epoch", "", &series("loss")),
        lines("Effective rank of the embeddings", "epoch", "", &series("rank")),
    ]);
}

/// Contact sheets stand beside the page.
fn sheets(html: &mut Page, run: &Path) {
    for (directory, title) in [("scenes", "Imagery"), ("tiles", "Tiles")] {
        if run.join(directory).join("contact.jpg").is_file() {
            let _ = write!(
                html,
                "<h2>{title}</h2><img class=\"sheet\" alt=\"Contact sheet\" loading=\"lazy\" src=\"{directory}/contact.jpg\">"
            );
        }
    }
}

fn stages(html: &mut Page, run: &Path) {
    let text = std::fs::read_to_string(run.join("stages.jsonl")).unwrap_or_default();
    let stages: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if stages.is_empty() {
        return;
    }
    html.push("<h2>Stages</h2><div class=\"wide\"><table><tr><th>stage<th class=\"n\">seconds<th>command and result</tr>");
    let mut total = 0.0;
    for stage in &stages {
        let word = |name: &str| escape(stage[name].as_str().unwrap_or_default());
        let seconds = stage["seconds"].as_f64().unwrap_or(0.0);
        total += seconds;
        let _ = write!(
            html,
            "<tr><td>{}<td class=\"n\">{seconds:.1}<td><code>{}</code><pre class=\"quiet\">{}</pre></tr>",
            word("stage"),
            word("command"),
            word("output")
        );
    }
    let _ = write!(html, "<tr><th>total<th class=\"n\">{total:.1}<th></tr></table></div>");
}
