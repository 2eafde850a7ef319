//! `report.html`: what was chosen, among what.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use curator_core::pca::Plane;
use curator_core::plot::{Series, escape, lines, scatter};
use curator_core::{TileSet, atomic};

use super::choose::Chosen;
use super::subset::Classes;
use super::{Described, SampleConfig};
use crate::Result;

/// Side of a thumbnail in pixels, and thumbnails at most.
const THUMBNAIL: u32 = 72;
const SHOWN: usize = 112;
/// Points of the picture at most, of all and of the chosen.
const CLOUD: usize = 4000;
const MARKED: usize = 2000;
/// Classes of the table at most.
const LISTED: usize = 200;

const STYLE: &str = "
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 16%,transparent)}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.quiet{opacity:.72}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:1.2rem 0}
.numbers div{border:1px solid var(--line);border-radius:14px;padding:.7rem .9rem}
.numbers b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
svg{width:100%;height:auto}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right}
td.bar{width:40%}td.bar i{display:block;height:.55rem;border-radius:.3rem;background:#0072b2}
.tiles{display:flex;flex-wrap:wrap;gap:4px}
.tiles img{width:72px;height:72px;border-radius:8px;object-fit:cover}
";

/// Writes the page beside the subset.
pub(crate) fn write(
    config: &SampleConfig,
    set: &TileSet,
    eligible: &[u32],
    described: Option<&Described>,
    chosen: &Chosen,
    classes: &Classes,
    output: &Path,
) -> Result<()> {
    let method = config.method.name();
    let title = format!("{} of {} tiles", chosen.tiles.len(), eligible.len());
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>Sample · {title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    let compared = described.map_or(String::new(), |d| format!(", compared by {}", d.name()));
    let _ =
        write!(html, "<p class=\"quiet\">Chosen by {method}, seed {}{compared}.</p>", config.seed);
    numbers(&mut html, eligible.len(), chosen, classes);
    if let Some(described) = described {
        pictures(&mut html, eligible, described, chosen);
    }
    gallery(&mut html, set, chosen);
    table(&mut html, classes);
    html.push_str("</body></html>\n");
    Ok(atomic::write_atomic(&output.join("report.html"), html.as_bytes())?)
}

fn numbers(html: &mut String, of: usize, chosen: &Chosen, classes: &Classes) {
    let share = format!("{:.3}", 100.0 * chosen.tiles.len() as f64 / of.max(1) as f64);
    let share = share.trim_end_matches('0').trim_end_matches('.');
    let mut facts = vec![
        ("tiles chosen", chosen.tiles.len().to_string()),
        ("of those there are", format!("{share}%")),
    ];
    if let Some(radius) = chosen.radius {
        facts.push(("covering radius", format!("{radius:.4}")));
    }
    if classes.len() > 1 {
        facts.push(("balance of classes before", format!("{:.3}", balance(classes, |c| c.0))));
        facts.push(("balance of classes chosen", format!("{:.3}", balance(classes, |c| c.1))));
        let missed = classes.values().filter(|c| c.1 == 0).count();
        facts.push(("classes missed", format!("{missed} of {}", classes.len())));
    }
    html.push_str("<div class=\"numbers\">");
    for (name, value) in facts {
        let _ = write!(html, "<div><b>{value}</b><span class=\"quiet\">{name}</span></div>");
    }
    html.push_str("</div>");
}

/// Entropy of the classes' shares over that of equal shares: 1 when all are equal, 0 when there is one.
fn balance(classes: &Classes, count: fn(&(u64, u64)) -> u64) -> f64 {
    let total: u64 = classes.values().map(count).sum();
    let shares = classes.values().map(|c| count(c) as f64 / total.max(1) as f64);
    let entropy: f64 = shares.filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum();
    entropy / (classes.len() as f64).ln()
}

fn pictures(html: &mut String, eligible: &[u32], described: &Described, chosen: &Chosen) {
    let all = described.of(eligible);
    let plane = Plane::of(&all);
    let count = all.len().min(CLOUD);
    let cloud = (0..count).map(|i| plane.place(all.row(i * all.len() / count))).collect();
    let picked = described.of(&chosen.tiles);
    let marked = (0..picked.len().min(MARKED)).map(|i| plane.place(picked.row(i))).collect();
    let [first, second] =
        plane.shares.map(|share| format!("{:.0}% of the variance", share * 100.0));
    html.push_str("<h2>Among all</h2><div class=\"charts\"><div>");
    let series = [Series::new("all", cloud), Series::new("chosen", marked)];
    html.push_str(&scatter("Principal components", &first, &second, &series));
    html.push_str("</div>");
    if chosen.radii.len() > 1 {
        // A thousand points are enough for a curve.
        let step = chosen.radii.len().div_ceil(1000);
        let radii = chosen.radii.iter().enumerate().step_by(step);
        let curve = radii.map(|(i, &radius)| ((i + 1) as f64, f64::from(radius))).collect();
        let title = "Distance of the worst served tile";
        let _ = write!(
            html,
            "<div>{}</div>",
            lines(title, "tiles chosen", "", &[Series::new("covering radius", curve)])
        );
    }
    html.push_str("</div>");
}

fn gallery(html: &mut String, set: &TileSet, chosen: &Chosen) {
    let shown = chosen.tiles.len().min(SHOWN);
    let note =
        if shown < chosen.tiles.len() { format!(" the first {shown}") } else { String::new() };
    let _ = write!(
        html,
        "<h2>Chosen <span class=\"quiet\">{note} in the order of choice</span></h2><div class=\"tiles\">"
    );
    for &tile in &chosen.tiles[..shown] {
        let picture = set.decode(&set.location(tile as usize));
        let jpeg = picture.and_then(|p| p.resize(THUMBNAIL, THUMBNAIL)?.to_jpeg(80));
        if let Ok(jpeg) = jpeg {
            let data = STANDARD.encode(jpeg);
            let _ = write!(html, "<img alt=\"\" src=\"data:image/jpeg;base64,{data}\">");
        }
    }
    html.push_str("</div>");
}

fn table(html: &mut String, classes: &Classes) {
    if classes.is_empty() {
        return;
    }
    let most = classes.values().map(|c| c.1).max().unwrap_or(1).max(1);
    html.push_str(
        "<h2>Classes</h2><div class=\"wide\"><table><tr><th>class<th class=\"n\">all\
         <th class=\"n\">chosen<th></tr>",
    );
    for (class, (all, chosen)) in classes.iter().take(LISTED) {
        let _ = write!(
            html,
            "<tr><td>{}<td class=\"n\">{all}<td class=\"n\">{chosen}<td class=\"bar\">\
             <i style=\"width:{:.1}%\"></i></tr>",
            escape(class),
            100.0 * *chosen as f64 / most as f64
        );
    }
    html.push_str("</table></div>");
    if classes.len() > LISTED {
        let _ = write!(html, "<p class=\"quiet\">and {} more</p>", classes.len() - LISTED);
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
