//! What stands beside the pictures: what is found and left, how sure that is, the curve, the newest finds,
//! and a word on whether going on is worth it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use curator_core::dataset::Label;
use curator_core::plot::{Series, lines};
use curator_labeling::Panel;

use crate::Pool;
use crate::learner::{Learner, POSITIVE_FROM};
use crate::meter::Meter;

/// Newest finds that are shown.
const SHOWN: usize = 6;
/// Side of their pictures in pixels.
const SIDE: u32 = 64;
/// Answers that are all the same after which that is said.
const SAME: usize = 30;
/// Negatives in a row after which that is said.
const PATIENCE: usize = 50;

/// Pictures of the newest finds, the newest first.
#[derive(Clone, Default)]
pub(crate) struct Finds(Vec<(usize, String)>);

impl Finds {
    /// Reads the pictures that are new; those that cannot be read are left out.
    pub(crate) fn renew(&mut self, pool: &Pool, learner: &Learner) {
        let newest: Vec<usize> = learner
            .order()
            .rev()
            .map(|(row, _)| row)
            .filter(|&row| learner.label(row) == Some(Label::Positive))
            .take(SHOWN)
            .collect();
        let known = std::mem::take(&mut self.0);
        for row in newest {
            let picture = match known.iter().find(|(other, _)| *other == row) {
                Some((_, picture)) => Some(picture.clone()),
                None => thumbnail(pool, row),
            };
            self.0.extend(picture.map(|picture| (row, picture)));
        }
    }

    /// A strip of pictures.
    fn svg(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let step = SIDE + 6;
        let width = step * SHOWN as u32;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"Newest finds\" font-family=\"system-ui, \
             sans-serif\" font-size=\"12\" fill=\"currentColor\"><text y=\"14\" font-weight=\"600\">Newest \
             finds</text>",
            SIDE + 26
        );
        for (i, (_, picture)) in self.0.iter().enumerate() {
            let x = i as u32 * step;
            let _ = write!(
                svg,
                "<image x=\"{x}\" y=\"22\" width=\"{SIDE}\" height=\"{SIDE}\" preserveAspectRatio=\"xMidYMid \
                 slice\" href=\"data:image/jpeg;base64,{picture}\"/>"
            );
        }
        svg + "</svg>"
    }
}

fn thumbnail(pool: &Pool, row: usize) -> Option<String> {
    let tile = pool.index().rows_at(&[row]).ok()?.pop()?;
    let picture = pool.tiles().decode_for(&tile.location, SIDE).ok()?;
    let jpeg = picture.resize(SIDE, SIDE).ok()?.to_jpeg(80).ok()?;
    Some(STANDARD.encode(jpeg))
}

/// The panel.
pub(crate) fn of(learner: &Learner, found: &[(usize, usize)], finds: &Finds) -> Panel {
    let meter = Meter::of(learner);
    let probability = learner.probability();
    let predicted = probability
        .iter()
        .enumerate()
        .filter(|&(row, &p)| p >= POSITIVE_FROM && learner.label(row).is_none())
        .count();
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let fact = |name: &str, value: String| (name.to_string(), value);
    let mut facts = vec![fact("Positives found", meter.found.to_string())];
    if meter.found > 0 {
        let rest = &meter.rest;
        facts.push(fact(
            "Probably left",
            format!("{:.0} ({:.0} to {:.0})", rest.estimate, rest.low, rest.high),
        ));
        facts.push(fact(
            "Found of all",
            format!(
                "{} ({} to {})",
                percent(meter.recall),
                percent(meter.recall_low),
                percent(meter.recall_high)
            ),
        ));
    }
    facts.push(fact("Probably positive, not asked yet", predicted.to_string()));
    facts.push(fact("Labels given", meter.labels.to_string()));
    facts.push(fact("Negatives since the last positive", meter.streak.to_string()));
    facts.push(fact("Random checks answered", meter.rest.checks.to_string()));
    facts.extend(
        learner.f1_of_checks().map(|f1| fact("F1 of the model on the checks", format!("{f1:.2}"))),
    );
    facts.extend(
        meter.stability.map(|s| fact("Predictions that stayed", format!("{:.1} %", 100.0 * s))),
    );
    let doubted = learner.doubted().len();
    if doubted > 0 {
        facts.push(fact("Labels worth a second look", doubted.to_string()));
    }
    facts.push(fact("Pictures in total", probability.len().to_string()));
    let points = found.iter().map(|&(n, k)| (n as f64, k as f64)).collect();
    let curve = (found.len() > 2)
        .then(|| lines("Positives found", "labels given", "", &[Series::new("found", points)]));
    let chart = finds.svg() + &curve.unwrap_or_default();
    Panel {
        facts,
        chart: (!chart.is_empty()).then_some(chart),
        advice: advice(learner, &meter, predicted),
    }
}

/// What the numbers mean for going on.
fn advice(learner: &Learner, meter: &Meter, predicted: usize) -> Option<String> {
    let negatives = learner.count(Label::Negative);
    if meter.found == 0 {
        return Some(match negatives {
            0..SAME => "No positive yet: what is near the reference is asked, and others.".into(),
            n => format!(
                "{n} times no, and no positive yet. Is there any? Another reference may help: \
                 finish, and start with a second `--reference`."
            ),
        });
    }
    if negatives == 0 && meter.labels >= SAME {
        return Some(format!(
            "{} times yes and never no: either everything here is positive, or the question is too easy to say \
             yes to.",
            meter.found
        ));
    }
    if meter.stop {
        return Some(format!(
            "You may stop: at least {:.0} % of all are found, with a certainty of 95 %.",
            100.0 * meter.recall_low
        ));
    }
    if meter.streak >= PATIENCE && predicted == 0 {
        return Some(format!(
            "{} negatives in a row and nothing predicted any more. Random checks now tell how much is left.",
            meter.streak
        ));
    }
    (meter.streak >= PATIENCE)
        .then(|| format!("{} negatives in a row: what is left is hard to find.", meter.streak))
}
