//! `evaluate`: is the representation good, and better than what needs no training? Embeddings of every model, of
//! an untrained encoder, and channel statistics are asked the same questions about images of known classes.

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::logistic::mean_and_deviation;
use curator_core::metrics::average_precision;
use curator_core::{Bands, Context, DeviceChoice, Location, Raster, TileSet, atomic};
use curator_nn::{Arch, Encoder};
use rayon::prelude::*;
use serde::Serialize;

use crate::baseline::{self, channel_statistics, comparable};
use crate::bootstrap::{self, Interval, Weights};
use crate::confusion::{Confusion, likeliest};
use crate::labels::{Labelled, Labels, by_class};
use crate::neighbours::{self, Found};
use crate::probe::{self, FOLDS};
use crate::{Error, Result, evaluation_page};

/// What to evaluate on what.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The images.
    pub tiles: PathBuf,
    /// Where their classes are known from.
    pub labels: Labels,
    /// The models, the one in question first.
    pub models: Vec<PathBuf>,
    /// Images at most; of more, so many are drawn by the seed.
    pub most: usize,
    /// Decides which.
    pub seed: u64,
    /// Where a report goes.
    pub output: Option<PathBuf>,
    /// The device.
    pub device: DeviceChoice,
}

/// What one representation is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measures {
    /// The model's path as given, `random weights` or `channel statistics`.
    pub name: String,
    /// Numbers in a feature vector.
    pub dim: usize,
    /// Accuracy of 20 nearest neighbours.
    pub knn: Interval,
    /// Accuracy of the linear probe.
    pub probe: Interval,
    /// Mean average precision of retrieval, every class counting the same.
    pub map: Interval,
    /// Share of an image's class among the ten nearest, every class counting the same.
    pub precision_at_10: Interval,
    /// Average precision of the probe's probabilities, mean over the classes; of `positive` alone where the
    /// other class is `negative`.
    pub probe_average_precision: f64,
    /// The probe's mistakes.
    #[serde(skip)]
    pub confusion: Confusion,
}

/// A class and how well the first model's probe tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Its images.
    pub images: usize,
    /// Of those told to be of it, the share that is.
    pub precision: f64,
    /// Of those that are of it, the share that is told so.
    pub recall: f64,
    /// Mean average precision of its images' retrieval.
    pub map: f64,
}

/// What an evaluation finds. Intervals are 95 % bootstrap intervals over the images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Images with a known class.
    pub images: usize,
    /// Images that could not be decoded.
    pub skipped: usize,
    /// Share of the largest class: what always saying it reaches.
    pub chance: f64,
    /// Every representation, the model in question first.
    pub representations: Vec<Measures>,
    /// Retrieval mAP of the first model less that of the best without training, image by image.
    pub gain: Interval,
    /// What the first model is compared with there.
    pub against: String,
    /// What follows.
    pub verdict: String,
    /// Classes, with the first model's measures.
    pub classes: Vec<ClassReport>,
    /// The first model's probe: rows are what images are, columns what they are taken for.
    pub confusion: Confusion,
    /// The report's page, where one was asked for.
    pub page: Option<PathBuf>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let classes = self.classes.len();
        writeln!(f, "{} images of {classes} classes, the largest {:.3}", self.images, self.chance)?;
        let width = self.representations.iter().map(|m| m.name.chars().count()).max().unwrap_or(0);
        writeln!(
            f,
            "{:width$}  {:19}  {:19}  {:19}  {:19}  probe AP",
            "", "20-NN accuracy", "linear probe", "retrieval mAP", "precision@10"
        )?;
        for m in &self.representations {
            let [knn, probe, map, first] = [m.knn, m.probe, m.map, m.precision_at_10]
                .map(|interval| format!("{interval:19}", interval = interval.to_string()));
            let ap = m.probe_average_precision;
            writeln!(f, "{:width$}  {knn}  {probe}  {map}  {first}  {ap:.3}", m.name)?;
        }
        write!(f, "{}", self.verdict)?;
        match &self.page {
            Some(page) => write!(f, "\nreport: `{}`", page.display()),
            None => Ok(()),
        }
    }
}

/// Compares models, an untrained encoder of the first model's architecture, and channel statistics.
///
/// # Errors
/// When tiles, labels or models cannot be read, or fewer than two classes have five images.
pub fn run(evaluation: &Evaluation, context: &Context) -> Result<Report> {
    let device = curator_nn::device(evaluation.device)?;
    let mut encoders = Vec::new();
    for model in &evaluation.models {
        encoders.push((model.display().to_string(), Encoder::load(model, device)?));
    }
    let first = encoders.first().map(|(_, encoder)| encoder.config().clone());
    // A module of the user's own has no random weights.
    let first = first.filter(|config| config.arch != Arch::Script);
    encoders.extend(first.map(|config| {
        ("random weights".to_string(), Encoder::init(config, evaluation.seed, device))
    }));
    let tiles = TileSet::open(&evaluation.tiles)?;
    let drawn = (evaluation.most, evaluation.seed);
    let known = Labelled::read(&tiles, &evaluation.labels, FOLDS, drawn, context)?;
    let (features, labelled) = embed(&tiles, &known, &encoders, context)?;
    if labelled.by_class().iter().any(|class| class.len() < FOLDS) {
        return Err(Error::FewClasses { path: evaluation.tiles.clone(), found: 0, needed: FOLDS });
    }

    let names = encoders.iter().map(|(name, _)| name.clone());
    let names: Vec<String> = names.chain(["channel statistics".to_string()]).collect();
    let task = context.progress.begin("measure", Some(names.len() as u64), Unit::Items);
    let mut representations = Vec::new();
    let mut retrievals = Vec::new();
    for (name, rows) in names.into_iter().zip(&features) {
        context.check()?;
        task.say(&name);
        let (measures, found) = measure(name, rows, &labelled)?;
        representations.push(measures);
        retrievals.push(found.average_precision);
        task.advance(1);
    }
    drop(task);
    let groups = labelled.by_class();
    let untrained = evaluation.models.len();
    let best = (untrained..representations.len())
        .max_by(|&a, &b| representations[a].map.value.total_cmp(&representations[b].map.value))
        .unwrap_or(untrained);
    let gains: Vec<f64> = retrievals[0].iter().zip(&retrievals[best]).map(|(a, b)| a - b).collect();
    let gain = bootstrap::mean(&gains, &groups, Weights::Classes);
    let against = representations[best].name.clone();
    let verdict = verdict(gain, &against);
    let confusion = representations[0].confusion.clone();
    let per_class = groups.iter().enumerate().map(|(class, members)| ClassReport {
        name: labelled.classes[class].clone(),
        images: members.len(),
        precision: confusion.precision(class),
        recall: confusion.recall(class),
        map: members.iter().map(|&i| retrievals[0][i]).sum::<f64>() / members.len() as f64,
    });
    let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
    let mut report = Report {
        images: labelled.tiles.len(),
        skipped: known.tiles.len() - labelled.tiles.len(),
        chance: largest as f64 / labelled.tiles.len().max(1) as f64,
        classes: per_class.collect(),
        representations,
        gain,
        against,
        verdict,
        confusion,
        page: None,
    };
    if let Some(output) = &evaluation.output {
        report.page = Some(output.join("evaluation.html"));
        write(output, &report)?;
    }
    Ok(report)
}

fn verdict(gain: Interval, against: &str) -> String {
    let by = format!("retrieval mAP {} against {against}", Signed(gain));
    if gain.low > 0.0 {
        format!("the model is better than what needs no training: {by}")
    } else if gain.high > 0.0 {
        format!("the model is no better than what needs no training: {by}; train longer")
    } else {
        format!("the model is worse than what needs no training: {by}; do not use it")
    }
}

/// `+0.120 (+0.101…+0.139)`.
struct Signed(Interval);

impl std::fmt::Display for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Interval { value, low, high } = self.0;
        write!(f, "{value:+.3} ({low:+.3}…{high:+.3})")
    }
}

fn write(output: &Path, report: &Report) -> Result<()> {
    let json = serde_json::to_vec_pretty(report).unwrap_or_default();
    atomic::write_atomic(&output.join("evaluation.json"), &json)?;
    let picture = report.confusion.picture();
    atomic::write_atomic(&output.join("confusion.svg"), picture.as_bytes())?;
    let page = evaluation_page::page(report, &picture);
    Ok(atomic::write_atomic(&output.join("evaluation.html"), page.as_bytes())?)
}

/// Rows of one representation.
pub(crate) struct Rows {
    data: Vec<f32>,
    dim: usize,
    /// Whether rows are of length 1 and compared as they are.
    unit: bool,
}

/// Embeds the labelled images with every encoder; those that cannot be decoded are left out.
fn embed(
    tiles: &TileSet,
    known: &Labelled,
    encoders: &[(String, Encoder)],
    context: &Context,
) -> Result<(Vec<Rows>, Labelled)> {
    let task = context.progress.begin("embed", Some(known.tiles.len() as u64), Unit::Items);
    let mut kept =
        Labelled { tiles: Vec::new(), labels: Vec::new(), classes: known.classes.clone() };
    let mut rows: Vec<Rows> = encoders
        .iter()
        .map(|(_, encoder)| Rows { data: Vec::new(), dim: encoder.dim(), unit: true })
        .collect();
    let looks: Vec<Option<&Bands>> =
        encoders.iter().map(|(_, encoder)| encoder.config().look.as_ref()).collect();
    let bands = encoders.first().map_or(3, |(_, encoder)| encoder.config().bands);
    let mut statistics = Rows { data: Vec::new(), dim: baseline::dim(bands), unit: false };
    let blocks = known.tiles.chunks(128).zip(known.labels.chunks(128));
    for (numbers, labels) in blocks {
        context.check()?;
        let decoded: Vec<_> =
            numbers.par_iter().map(|&i| seen(tiles, &tiles.location(i), &looks)).collect();
        let mut images = vec![Vec::new(); looks.len()];
        for ((&number, &label), image) in numbers.iter().zip(labels).zip(decoded) {
            match image {
                Ok(seen) => {
                    images.iter_mut().zip(seen).for_each(|(images, image)| images.push(image));
                    kept.tiles.push(number);
                    kept.labels.push(label);
                }
                Err(error) => context.progress.warn(&format!("skipped: {error}")),
            }
        }
        let of_block: Vec<f32> = images[0]
            .par_iter()
            .flat_map_iter(|image| channel_statistics(&image.data, bands))
            .collect();
        statistics.data.extend(of_block);
        for (look, (rows, (_, encoder))) in looks.iter().zip(rows.iter_mut().zip(encoders)) {
            // Of equal looks the first has the pictures.
            let at = looks.iter().position(|other| other == look).unwrap_or(0);
            rows.data.extend(encoder.embed(&images[at])?);
        }
        task.advance(numbers.len() as u64);
    }
    rows.push(statistics);
    Ok((rows, kept))
}

/// A picture as each of these looks at it; where two look alike the second gets none.
fn seen(
    tiles: &TileSet,
    location: &Location,
    looks: &[Option<&Bands>],
) -> curator_core::Result<Vec<Raster>> {
    let new = |at: usize| looks.iter().position(|look| *look == looks[at]) == Some(at);
    let see = |at| match new(at) {
        true => tiles.look(location, looks[at]),
        false => Ok(Raster { width: 0, height: 0, bands: 0, data: Vec::new() }),
    };
    (0..looks.len()).map(see).collect()
}

fn measure(name: String, rows: &Rows, labelled: &Labelled) -> Result<(Measures, Found)> {
    let Rows { data, dim, unit } = rows;
    let (labels, classes) = (&labelled.labels, labelled.classes.len());
    let groups = by_class(labels, classes);
    let scaled;
    let near = if *unit {
        data
    } else {
        scaled = comparable(data, data, *dim);
        &scaled
    };
    let found = neighbours::search(near, *dim, labels, classes)?;
    let (mean, deviation) = mean_and_deviation(data, *dim);
    let standard: Vec<f32> =
        data.iter().enumerate().map(|(i, x)| (x - mean[i % dim]) / deviation[i % dim]).collect();
    let logits = probe::held_out(&standard, *dim, labels, classes)?;
    let right: Vec<f64> = logits
        .chunks_exact(classes)
        .zip(labels)
        .map(|(row, &label)| f64::from(u8::from(likeliest(row) == label)))
        .collect();
    let measures = Measures {
        name,
        dim: *dim,
        knn: bootstrap::mean(&found.right, &groups, Weights::Images),
        probe: bootstrap::mean(&right, &groups, Weights::Images),
        map: bootstrap::mean(&found.average_precision, &groups, Weights::Classes),
        precision_at_10: bootstrap::mean(&found.precision, &groups, Weights::Classes),
        probe_average_precision: of_probabilities(&logits, labels, &labelled.classes),
        confusion: Confusion::of(&logits, labels, &labelled.classes),
    };
    Ok((measures, found))
}

/// Average precision of each class's probability, mean over the classes, or of `positive` alone.
fn of_probabilities(logits: &[f32], labels: &[usize], classes: &[String]) -> f64 {
    let probabilities: Vec<Vec<f64>> = logits
        .chunks_exact(classes.len())
        .map(|row| curator_core::calibration::softmax(row, 1.0))
        .collect();
    let one = |class: usize| {
        let scores: Vec<f32> = probabilities.iter().map(|row| row[class] as f32).collect();
        let positive: Vec<bool> = labels.iter().map(|&label| label == class).collect();
        average_precision(&scores, &positive).unwrap_or(0.0)
    };
    match classes {
        [negative, positive] if negative == "negative" && positive == "positive" => one(1),
        _ => (0..classes.len()).map(one).sum::<f64>() / classes.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_must_be_sure() {
        let gain = |value, low, high| verdict(Interval { value, low, high }, "random weights");
        assert!(gain(0.1, 0.05, 0.15).contains("is better than"));
        assert!(gain(0.01, -0.02, 0.04).contains("no better"));
        assert!(gain(-0.1, -0.15, -0.05).contains("worse"));
    }
}
