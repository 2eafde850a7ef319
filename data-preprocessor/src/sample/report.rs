//! `report.html`: what was chosen, among what.

use std::fmt::Write;
use std::path::Path;

use curator_core::page::Page;
use curator_core::pca::Plane;
use curator_core::plot::{Series, escape, lines, scatter};
use curator_core::{TileSet, atomic};

use super::choose::Chosen;
use super::subset::Classes;
use super::{Described, Method, SampleConfig};
use crate::Result;

/// Thumbnails at most.
const SHOWN: usize = 112;
/// Points of the picture at most, of all and of the chosen.
const CLOUD: usize = 4000;
const MARKED: usize = 2000;
/// Classes of the table at most.
const LISTED: usize = 200;

/// What came of a run.
pub(crate) struct Outcome<'a> {
    pub(crate) chosen: &'a Chosen,
    /// Ids in the order of choice.
    pub(crate) ids: &'a [String],
    pub(crate) classes: &'a Classes,
}

/// Writes the page beside the subset.
pub(crate) fn write(
    config: &SampleConfig,
    set: &TileSet,
    eligible: &[u32],
    described: Option<&Described>,
    &Outcome { chosen, ids, classes }: &Outcome,
    output: &Path,
) -> Result<()> {
    let title = format!("{} of {} tiles", grouped(chosen.tiles.len()), grouped(eligible.len()));
    let mut page = Page::new(&format!("Sample · {title}"), None);
    let compared = described.map_or(String::new(), |d| format!(", compared by {}", d.name()));
    let _ = write!(
        page,
        "<h1>{title}</h1><p class=\"quiet\">Chosen by <b>{}</b>: {}{compared}; seed {}.</p>",
        config.method.name(),
        aim(config.method),
        config.seed
    );
    numbers(&mut page, eligible.len(), chosen, classes);
    if let Some(described) = described {
        pictures(&mut page, eligible, described, chosen);
    }
    gallery(&mut page, set, chosen, ids);
    table(&mut page, classes);
    let _ = write!(
        page,
        "<p class=\"quiet\">The order of choice with ids is in <code>chosen.csv</code>.</p>"
    );
    Ok(atomic::write_atomic(&output.join("report.html"), page.finish().as_bytes())?)
}

/// What a method is after, in words.
fn aim(method: Method) -> &'static str {
    match method {
        Method::KCenter => "always the tile farthest from all chosen, so that nothing is left out",
        Method::Stratified => {
            "the farthest of some random tiles a step, so that little is left out"
        }
        Method::KMeansBalanced => {
            "evenly from a hierarchy of clusters, so that what is rare gets its share"
        }
        Method::Typical => "the most typical tile of each cluster",
        Method::Random => "any",
        Method::Grid => "evenly from all parts of the Earth",
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn numbers(page: &mut Page, of: usize, chosen: &Chosen, classes: &Classes) {
    let share = 100.0 * chosen.tiles.len() as f64 / of.max(1) as f64;
    let share = if share >= 1.0 { format!("{share:.1}") } else { format!("{share:.3}") };
    let share = share.trim_end_matches('0').trim_end_matches('.');
    let mut facts = vec![
        ("tiles chosen", grouped(chosen.tiles.len())),
        ("of those there are", format!("{share}%")),
    ];
    if let Some(radius) = chosen.radius {
        facts.push(("farthest tile from a chosen one", format!("{radius:.4}")));
    }
    if classes.len() > 1 {
        facts.push(("balance of classes before", format!("{:.3}", balance(classes, |c| c.0))));
        facts.push(("balance of classes chosen", format!("{:.3}", balance(classes, |c| c.1))));
        let missed = classes.values().filter(|c| c.1 == 0).count();
        facts.push(("classes missed", format!("{missed} of {}", classes.len())));
    }
    page.numbers(&facts);
    if classes.len() > 1 {
        page.push(
            "<p class=\"quiet\">Balance is the entropy of the classes' shares over that of equal shares: 1 when \
             all are equal, 0 when there is one.</p>",
        );
    }
}

/// Entropy of the classes' shares over that of equal shares: 1 when all are equal, 0 when there is one.
fn balance(classes: &Classes, count: fn(&(u64, u64)) -> u64) -> f64 {
    let total: u64 = classes.values().map(count).sum();
    let shares = classes.values().map(|c| count(c) as f64 / total.max(1) as f64);
    let entropy: f64 = shares.filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum();
    entropy / (classes.len() as f64).ln()
}

fn pictures(page: &mut Page, eligible: &[u32], described: &Described, chosen: &Chosen) {
    let all = described.of(eligible);
    let plane = Plane::of(&all);
    let count = all.len().min(CLOUD);
    let cloud = (0..count).map(|i| plane.place(all.row(i * all.len() / count))).collect();
    let picked = described.of(&chosen.tiles);
    let marked = (0..picked.len().min(MARKED)).map(|i| plane.place(picked.row(i))).collect();
    let [first, second] =
        plane.shares.map(|share| format!("{:.0}% of the variance", share * 100.0));
    let series = [Series::new("all", cloud), Series::new("chosen", marked)];
    let mut charts = vec![scatter("Principal components", &first, &second, &series)];
    if chosen.radii.len() > 1 {
        // A thousand points are enough for a curve.
        let step = chosen.radii.len().div_ceil(1000);
        let radii = chosen.radii.iter().enumerate().step_by(step);
        let curve = radii.map(|(i, &radius)| ((i + 1) as f64, f64::from(radius))).collect();
        let series = [Series::new("covering radius", curve)];
        charts.push(lines("Distance of the worst served tile", "tiles chosen", "", &series));
    }
    page.heading("Among all", "");
    page.charts(&charts);
}

fn gallery(page: &mut Page, set: &TileSet, chosen: &Chosen, ids: &[String]) {
    let shown = chosen.tiles.len().min(SHOWN);
    let note =
        if shown < chosen.tiles.len() { format!("the first {shown} ") } else { String::new() };
    page.heading("Chosen", &format!("{note}in the order of choice"));
    page.thumbnails(chosen.tiles[..shown].iter().zip(ids).filter_map(|(&tile, id)| {
        Some((id.as_str(), set.decode(&set.location(tile as usize)).ok()?))
    }));
}

fn table(page: &mut Page, classes: &Classes) {
    if classes.is_empty() {
        return;
    }
    let most = classes.values().map(|c| c.1).max().unwrap_or(1).max(1);
    page.heading("Classes", "");
    page.push(
        "<div class=\"wide\"><table><tr><th>class<th class=\"n\">all<th class=\"n\">chosen<th></tr>",
    );
    for (class, (all, chosen)) in classes.iter().take(LISTED) {
        let _ = write!(
            page,
            "<tr><td>{}<td class=\"n\">{all}<td class=\"n\">{chosen}<td class=\"bar\">\
             <i style=\"width:{:.1}%\"></i></tr>",
            escape(class),
            100.0 * *chosen as f64 / most as f64
        );
    }
    page.push("</table></div>");
    if classes.len() > LISTED {
        let _ = write!(page, "<p class=\"quiet\">and {} more</p>", classes.len() - LISTED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_is_one_for_equal_classes_and_nought_for_one() {
        let classes = |counts: [u64; 3]| -> Classes {
            ["a", "b", "c"].into_iter().zip(counts).map(|(c, n)| (c.into(), (n, 0))).collect()
        };
        assert!((balance(&classes([5, 5, 5]), |c| c.0) - 1.0).abs() < 1e-12);
        assert!(balance(&classes([5, 0, 0]), |c| c.0).abs() < 1e-12);
        // Shares ½ and ½ of three: ln 2 / ln 3.
        assert!((balance(&classes([5, 5, 0]), |c| c.0) - 0.630_929_753).abs() < 1e-9);
        assert!(balance(&classes([5, 5, 5]), |c| c.1).abs() < 1e-12);
    }
}
