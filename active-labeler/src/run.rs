//! The two ways through the loop, from opening the index to the written dataset.

use std::path::PathBuf;
use std::sync::Arc;

use curator_core::dataset::Label;
use curator_core::manifest::{self, Freshness, Manifest};
use curator_core::{Context, DeviceChoice, Error as CoreError, digest};
use curator_labeling::{Rule, Session, Settings, Store, picture_file};
use curator_web::{ServeOptions, Server};
use serde::Serialize;

use crate::curate::{self, Counts, Curation, ResultConfig, Results};
use crate::learner::{Learner, LearnerConfig, POSITIVE_FROM};
use crate::live::LearningDeck;
use crate::measures::CurvePoint;
use crate::meter::Meter;
use crate::pool::Target;
use crate::reason::Reason;
use crate::simulate::{Answers, Labeller, Simulation, Truth};
use crate::thresholds::Threshold;
use crate::{Pool, Result, report};

/// Where a run reads and writes, and on what.
#[derive(Debug, Clone)]
pub struct Place {
    /// The index.
    pub index: PathBuf,
    /// Where the tiles are, when they moved.
    pub tiles: Option<PathBuf>,
    /// Pictures of what is looked for.
    pub references: Vec<PathBuf>,
    /// The labels' directory.
    pub labels: PathBuf,
    /// The dataset's directory.
    pub output: PathBuf,
    /// What is looked for, by name.
    pub class: Option<String>,
    /// A run's directory whose report is renewed.
    pub report: Option<PathBuf>,
    /// The device that embeds the references.
    pub device: DeviceChoice,
    /// What the result shall be like.
    pub result: ResultConfig,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the dataset was there already.
    pub up_to_date: bool,
    /// What was looked for.
    pub target: String,
    /// Labels given.
    pub labels: usize,
    /// Positives among them.
    pub positives_found: usize,
    /// Positives in the pool, when the truth is known.
    pub positives: Option<usize>,
    /// After every batch, when the truth is known.
    pub curve: Vec<CurvePoint>,
    /// What is in the dataset.
    pub counts: Counts,
    /// The dataset's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        if !self.curve.is_empty() {
            writeln!(f, "labels  positives found  precision  recall     F1  effort")?;
            for point in milestones(&self.curve) {
                writeln!(
                    f,
                    "{:>6}  {:>15}  {:>9.3}  {:>6.3}  {:>5.3}  {:>6}",
                    point.labels,
                    point.positives_found,
                    point.precision,
                    point.recall,
                    point.f1,
                    point.effort
                )?;
            }
        }
        let of = self.positives.map(|n| format!(" of {n}")).unwrap_or_default();
        write!(
            f,
            "{}: {}{of} found with {} labels, {} more predicted → `{output}`",
            self.target, self.positives_found, self.labels, self.counts.model_positive
        )
    }
}

/// About eight points, doubling, and the last.
fn milestones(curve: &[CurvePoint]) -> Vec<CurvePoint> {
    let wanted = [10, 20, 50, 100, 200, 400, 800, 1600, 3200];
    let last = curve.last().copied();
    let mut points: Vec<CurvePoint> =
        curve.iter().filter(|p| wanted.contains(&p.labels)).copied().collect();
    points.extend(last.filter(|last| points.last() != Some(last)));
    points
}

/// `simulate`.
///
/// # Errors
/// When index, references, labels or truth cannot be read, or the dataset cannot be written.
pub fn simulated(
    config: LearnerConfig,
    place: &Place,
    truth: &Truth,
    budget: usize,
    errors: f64,
    context: &Context,
) -> Result<Report> {
    let pool = open(place)?;
    let first = place.references.first().cloned().unwrap_or_default();
    let answers = Answers::read(&pool, truth, place.class.as_deref(), &first)?;
    let recipe = serde_json::json!({
        "learner": config, "budget": budget, "errors": errors, "class": answers.class, "truth": answers.digest,
        "references": digests(place)?, "result": place.result,
    });
    let inputs = vec![pool.index().manifest().as_input(&place.index)];
    if Manifest::freshness(&place.output, manifest::DATASET, &recipe, &inputs)?
        == Freshness::UpToDate
    {
        let text = std::fs::read(place.output.join("results.json")).unwrap_or_default();
        let results: Results = serde_json::from_slice(&text).unwrap_or_default();
        return Ok(summary(&results, Counts::default(), place, true));
    }
    let mut store = Store::open(&place.labels)?;
    let mut renewed = std::time::Instant::now();
    let target = target(&pool, place, context)?;
    let labeller = Labeller { errors, seed: config.seed };
    let simulation = Simulation { pool: &pool, answers: &answers, config, labeller, budget };
    let (learner, curve) = simulation.run(target, &mut store, context, |learner, curve| {
        if let Some(run) = place.report.as_deref().filter(|_| renewed.elapsed().as_secs() >= 5) {
            let results =
                results(&pool, learner, POSITIVE_FROM, Some(&answers), curve, found(curve));
            report::write(run, Some(&results))?;
            renewed = std::time::Instant::now();
        }
        Ok(())
    })?;
    let threshold = curate::threshold(&pool, &learner, place.result.goal);
    let results = results(&pool, &learner, threshold.at, Some(&answers), &curve, found(&curve));
    let ending =
        Ending { threshold, results: &results, recipe, store: &store, rule: Rule::Majority };
    finish(&pool, &learner, place, ending, context)
}

/// `run`.
///
/// # Errors
/// When index, references or labels cannot be read, the address cannot be bound, or the dataset cannot be
/// written.
pub fn live(
    config: LearnerConfig,
    place: &Place,
    settings: Settings,
    web: &ServeOptions,
    context: &Context,
) -> Result<Report> {
    let pool = Arc::new(open(place)?);
    let target = target(&pool, place, context)?;
    let store = Store::open(&place.labels)?;
    let mut learner = Learner::new(&pool, target, config);
    // In the order they were given; of several answers to a tile, what holds.
    let rule = settings.rule;
    let verdicts = store.verdicts(rule)?;
    let mut given: Vec<_> = verdicts.into_values().map(|verdict| verdict.event).collect();
    given.sort_by_key(|event| event.seq);
    for event in given {
        if let Some(row) = pool.row(&event.tile_id) {
            learner.record(row, Some(event.label), Reason::read(&event.reason));
        }
    }
    learner.fit(&pool);
    let reference = place.references.first().map(|path| picture_file(path)).transpose()?;
    let deck = Arc::new(LearningDeck::new(pool.clone(), learner, reference, settings.overlap > 1));
    let runtime = tokio::runtime::Runtime::new().map_err(curator_web::Error::Stopped)?;
    let server = Server::bind(web)?;
    let question = settings.question.clone();
    let settings = Settings { secret: server.access.secret(), ..settings };
    let session = Arc::new(Session::new(deck.clone(), store, settings)?);
    let router = curator_labeling::router(session.clone());
    runtime.block_on(server.run(router, context, session.finished()))?;
    drop(runtime);
    drop(session);
    // Ctrl-C ends the labelling, not the writing of what was labelled.
    let context = Context { cancel: curator_core::context::Cancel::default(), ..context.clone() };
    let deck = Arc::into_inner(deck).and_then(LearningDeck::finish);
    let (learner, found) = deck.ok_or(CoreError::Interrupted)?;
    let store = Store::open(&place.labels)?;
    let threshold = curate::threshold(&pool, &learner, place.result.goal);
    let results = results(&pool, &learner, threshold.at, None, &[], found);
    let results = Results { target: place.class.clone().unwrap_or(question), ..results };
    let recipe = serde_json::json!({
        "learner": config, "labels": learner.len(), "references": digests(place)?, "result": place.result,
    });
    let ending = Ending { threshold, results: &results, recipe, store: &store, rule };
    finish(&pool, &learner, place, ending, &context)
}

fn open(place: &Place) -> Result<Pool> {
    Pool::open(&place.index, place.tiles.as_deref(), None)
}

/// Embeds the references, and says so when there is nothing like them.
fn target(pool: &Pool, place: &Place, context: &Context) -> Result<Target> {
    let target = Target::of_pictures(pool, &place.references, place.device, context)?;
    if target.is_unlike(pool) == Some(true) {
        context.progress.warn(
            "the reference is unlike anything in the index; what is asked first may have nothing to do with it",
        );
    }
    Ok(target)
}

fn digests(place: &Place) -> Result<Vec<String>> {
    Ok(place
        .references
        .iter()
        .map(|path| digest::of_file(path))
        .collect::<curator_core::Result<_>>()?)
}

fn found(curve: &[CurvePoint]) -> Vec<(usize, usize)> {
    std::iter::once((0, 0)).chain(curve.iter().map(|p| (p.labels, p.positives_found))).collect()
}

fn results(
    pool: &Pool,
    learner: &Learner,
    threshold: f32,
    answers: Option<&Answers>,
    curve: &[CurvePoint],
    found: Vec<(usize, usize)>,
) -> Results {
    let probability = learner.probability();
    let mut predicted: Vec<usize> = (0..pool.len())
        .filter(|&row| learner.label(row).is_none() && probability[row] >= threshold)
        .collect();
    predicted.sort_by(|&a, &b| probability[b].total_cmp(&probability[a]).then(a.cmp(&b)));
    let truly = |row: usize, value| answers.is_some_and(|a| a.positive[row] == Some(value));
    Results {
        target: answers.map(|a| a.class.clone()).unwrap_or_default(),
        tiles: pool.len(),
        positives: answers.map(Answers::positives),
        curve: curve.to_vec(),
        found,
        labelled_positive: learner
            .order()
            .map(|(row, _)| row)
            .filter(|&r| learner.label(r) == Some(Label::Positive))
            .collect(),
        meter: Meter::of(learner),
        missed: (0..pool.len())
            .filter(|&r| truly(r, true) && learner.label(r).is_none() && probability[r] < threshold)
            .collect(),
        wrong: predicted.iter().copied().filter(|&r| truly(r, false)).collect(),
        predicted_positive: predicted,
    }
}

/// Writes the dataset, and the report of the run that it belongs to.
fn finish(
    pool: &Pool,
    learner: &Learner,
    place: &Place,
    Ending { threshold, results, recipe, store, rule }: Ending,
    context: &Context,
) -> Result<Report> {
    let curation = Curation {
        output: &place.output,
        result: place.result,
        threshold,
        config: recipe,
        inputs: vec![pool.index().manifest().as_input(&place.index)],
        results,
        report: report::page(place.report.as_deref(), Some(results), true),
        store,
        rule,
    };
    let counts = curation.write(pool, learner, context)?;
    if let Some(run) = &place.report {
        report::write(run, None)?;
    }
    Ok(summary(results, counts, place, false))
}

/// What a run has come to.
struct Ending<'a> {
    threshold: Threshold,
    results: &'a Results,
    recipe: serde_json::Value,
    store: &'a Store,
    rule: Rule,
}

fn summary(results: &Results, counts: Counts, place: &Place, up_to_date: bool) -> Report {
    let (labels, positives_found) = results.found.last().copied().unwrap_or_default();
    Report {
        up_to_date,
        target: results.target.clone(),
        labels,
        positives_found,
        positives: results.positives,
        curve: results.curve.clone(),
        counts,
        output: place.output.clone(),
    }
}
