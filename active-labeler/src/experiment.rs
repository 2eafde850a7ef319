//! `simulate --classes`: many simulations at once, every class in turn as the target, from one starter
//! picture each, for several seeds and strategies; written as tables and plots.

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::dataset::Label;
use curator_core::page::Page;
use curator_core::plot::{Series, escape, lines};
use curator_core::{Context, Error as CoreError, atomic, seed};
use rayon::prelude::*;
use serde::Serialize;

use crate::learner::{Learner, LearnerConfig};
use crate::measures::{CurvePoint, Screening, measure};
use crate::pool::Target;
use crate::reason::Reason;
use crate::simulate::{Answers, Labeller, Truth};
use crate::strategy::Strategy;
use crate::{Error, Pool, Result};

/// Numbers of labels at which tables look.
const LABELS: [usize; 4] = [50, 100, 200, 400];

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Classes to look for in turn; all when empty.
    pub classes: Vec<String>,
    /// Starter pictures of each.
    pub seeds: Vec<u64>,
    /// Strategies.
    pub strategies: Vec<Strategy>,
    /// Labels at most.
    pub budget: usize,
    /// Share of the answers that are wrong.
    pub errors: f64,
    /// How to ask, but for strategy and seed.
    pub config: LearnerConfig,
    /// Where the tables go.
    pub output: PathBuf,
}

/// One simulation.
struct Trial {
    class: String,
    seed: u64,
    strategy: Strategy,
    positives: usize,
    rows: usize,
    /// Whether each asked row was truly positive.
    asked: Vec<bool>,
    curve: Vec<CurvePoint>,
}

/// A row of `runs.csv`.
#[derive(Debug, Clone, Serialize)]
struct Run {
    class: String,
    seed: u64,
    strategy: &'static str,
    rows: usize,
    positives: usize,
    labels: usize,
    labels_to_90: Option<usize>,
    labels_a_positive: Option<f64>,
    recall_50: Option<f64>,
    recall_100: Option<f64>,
    recall_200: Option<f64>,
    recall_400: Option<f64>,
    labels_to_95: Option<usize>,
    wss_95: Option<f64>,
    rrf_10: Option<f64>,
    auc: f64,
}

/// A row of `curves.csv`.
#[derive(Debug, Clone, Serialize)]
struct Point<'a> {
    class: &'a str,
    seed: u64,
    strategy: &'static str,
    labels: usize,
    positives: usize,
    positives_found: usize,
    precision: f64,
    recall: f64,
    f1: f64,
    positives_retrieved: usize,
    false_positives: usize,
    effort: usize,
    rest: f64,
    rest_low: f64,
    rest_high: f64,
    rest_unbiased: Option<f64>,
    expected: f64,
    checks: usize,
    checks_by_stratum: String,
    found_recall_low: f64,
    found_recall_high: f64,
    streak: usize,
    stability: Option<f64>,
    stop: bool,
}

/// Means over all simulations of a strategy.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The strategy.
    pub strategy: &'static str,
    /// Simulations.
    pub runs: usize,
    /// Those that found 90 % of the positives within the budget.
    pub reached: usize,
    /// Labels until 90 % were found, over the number of positives; the budget where they were not.
    pub labels_a_positive: f64,
    /// The same of the median class.
    pub median_class: f64,
    /// Share of the positives found after 50, 100, 200 and 400 labels.
    pub recall: [f64; 4],
    /// F1 of the result after as many.
    pub f1: [f64; 4],
    /// Work saved over sampling at 95 % recall; 0 where it was not reached.
    pub wss_95: f64,
    /// Recall after a tenth of the rows, of the runs that got there.
    pub rrf_10: f64,
    /// Mean area under the curve.
    pub auc: f64,
}

/// What `simulate --classes` ends with.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// By strategy.
    pub strategies: Vec<Summary>,
    /// The stop meter, over the simulations of `auto`.
    pub meter: Option<MeterQuality>,
    /// Where the tables are.
    pub output: PathBuf,
}

/// How good the stop meter is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MeterQuality {
    /// Times that it was read.
    pub readings: usize,
    /// Share of them whose interval holds the true recall.
    pub held: f64,
    /// Simulations in which it said stop.
    pub stopped: usize,
    /// Of these, the share whose interval held the true recall then.
    pub held_at_stop: f64,
    /// Mean width of the interval then.
    pub width: f64,
    /// Mean true recall then.
    pub recall: f64,
    /// Labels given after 95 % were found, on average over those that got there; negative when it said stop
    /// before.
    pub labels_after_95: f64,
}

impl Experiment {
    /// Runs all simulations on all cores and writes the tables.
    ///
    /// # Errors
    /// When the truth is useless, or the tables cannot be written.
    pub fn run(&self, pool: &Pool, truth: &Truth, context: &Context) -> Result<Compared> {
        let (classes, digest) = truth.classes(pool)?;
        let mut names: Vec<String> = classes.iter().flatten().cloned().collect();
        names.sort();
        names.dedup();
        let wanted = if self.classes.is_empty() { names.clone() } else { self.classes.clone() };
        if let Some(unknown) = wanted.iter().find(|class| !names.contains(class)) {
            return Err(Error::UnknownClass { class: unknown.clone(), known: names });
        }
        let answers: Vec<Answers> =
            wanted.iter().map(|class| Answers::of_class(&classes, class, digest.clone())).collect();
        if names.len() < 2 {
            let tiles = classes.iter().flatten().count();
            return Err(Error::UselessTruth { positives: tiles, tiles });
        }
        let jobs: Vec<(&Answers, u64, Strategy)> = answers
            .iter()
            .flat_map(|a| self.seeds.iter().map(move |&seed| (a, seed)))
            .flat_map(|(a, seed)| self.strategies.iter().map(move |&s| (a, seed, s)))
            .collect();
        let task = context.progress.begin("simulate", Some(jobs.len() as u64), Unit::Items);
        let trials: Vec<Trial> = jobs
            .into_par_iter()
            .with_max_len(1)
            .map(|(answers, seed, strategy)| {
                let trial = self.trial(pool, answers, seed, strategy, context)?;
                task.advance(1);
                Ok(trial)
            })
            .collect::<Result<_>>()?;
        drop(task);
        self.write(&trials)
    }

    fn trial(
        &self,
        pool: &Pool,
        answers: &Answers,
        run: u64,
        strategy: Strategy,
        context: &Context,
    ) -> Result<Trial> {
        let positives: Vec<usize> =
            (0..pool.len()).filter(|&row| answers.positive[row] == Some(true)).collect();
        // The same starter for every strategy.
        let starter = positives
            [(seed::mix(run, &[0x7374, positives.len() as u64]) % positives.len() as u64) as usize];
        let config = LearnerConfig { strategy, seed: run, ..self.config };
        let mut learner = Learner::new(pool, Target::of_rows(pool, &[starter]), config);
        let labeller = Labeller { errors: self.errors, seed: run };
        learner.record(starter, Some(Label::Positive), Reason::Said(""));
        let truly = |row: usize| answers.positive[row] == Some(true);
        let mut asked = vec![true];
        let mut curve = Vec::new();
        let budget = self.budget.min(answers.known());
        let unknown = answers.unknown();
        let needed = positives.len() - positives.len() / 20;
        let tenth = answers.known().div_ceil(10).max(LABELS[LABELS.len() - 1]);
        let mut found = 1;
        learner.fit(pool);
        while learner.len() < budget && (found < needed || learner.len() < tenth) {
            context.check()?;
            // So that the numbers of labels that tables look at are reached exactly.
            let next = LABELS.iter().copied().find(|&n| n > learner.len()).unwrap_or(budget);
            let n = config.batch.min(budget - learner.len()).min(next - learner.len());
            let picks = learner.next(pool, n, &unknown);
            if picks.is_empty() {
                break;
            }
            for (row, reason) in picks {
                found += usize::from(truly(row));
                asked.push(truly(row));
                learner.record(row, Some(labeller.answer(row, truly(row))), reason);
            }
            if strategy.learns() || LABELS.contains(&learner.len()) {
                learner.fit(pool);
                curve.push(measure(&learner, &answers.positive));
            }
        }
        let (class, rows) = (answers.class.clone(), answers.known());
        Ok(Trial { class, seed: run, strategy, positives: positives.len(), rows, asked, curve })
    }

    fn write(&self, trials: &[Trial]) -> Result<Compared> {
        std::fs::create_dir_all(&self.output).map_err(CoreError::io("create", &self.output))?;
        let runs: Vec<Run> = trials.iter().map(Trial::run).collect();
        table(&self.output.join("runs.csv"), &runs)?;
        let points = trials.iter().flat_map(Trial::points);
        table(&self.output.join("curves.csv"), points)?;
        let strategies: Vec<Summary> = self
            .strategies
            .iter()
            .map(|&strategy| {
                let own: Vec<&Trial> = trials.iter().filter(|t| t.strategy == strategy).collect();
                Summary::of(strategy, &own, self.budget)
            })
            .collect();
        let meter = MeterQuality::of(trials);
        let compared = Compared { strategies, meter, output: self.output.clone() };
        let page = page(&compared, trials);
        atomic::write_atomic(&self.output.join("report.html"), page.as_bytes())?;
        let json = serde_json::to_vec_pretty(&compared).unwrap_or_default();
        atomic::write_atomic(&self.output.join("summary.json"), &json)?;
        Ok(compared)
    }
}

impl Trial {
    /// Share of the positives among the first `n` labels; what was not asked any more counts as not found.
    fn recall(&self, n: usize) -> f64 {
        let found = self.asked.iter().take(n).filter(|&&hit| hit).count();
        found as f64 / self.positives as f64
    }

    fn screening(&self) -> Screening {
        Screening::of(&self.asked, self.rows, self.positives)
    }

    fn run(&self) -> Run {
        let Screening { labels_to_90, labels_to_95, wss_95, rrf_10, auc } = self.screening();
        let at = |n: usize| (self.asked.len() >= n).then(|| self.recall(n));
        Run {
            class: self.class.clone(),
            seed: self.seed,
            strategy: self.strategy.name(),
            rows: self.rows,
            positives: self.positives,
            labels: self.asked.len(),
            labels_to_90,
            labels_a_positive: labels_to_90.map(|n| n as f64 / self.positives as f64),
            recall_50: at(LABELS[0]),
            recall_100: at(LABELS[1]),
            recall_200: at(LABELS[2]),
            recall_400: at(LABELS[3]),
            labels_to_95,
            wss_95,
            rrf_10,
            auc,
        }
    }

    fn points(&self) -> impl Iterator<Item = Point<'_>> {
        self.curve.iter().map(|p| Point {
            class: &self.class,
            seed: self.seed,
            strategy: self.strategy.name(),
            labels: p.labels,
            positives: self.positives,
            positives_found: p.positives_found,
            precision: p.precision,
            recall: p.recall,
            f1: p.f1,
            positives_retrieved: p.positives_retrieved,
            false_positives: p.false_positives,
            effort: p.effort,
            rest: p.meter.rest.estimate,
            rest_low: p.meter.rest.low,
            rest_high: p.meter.rest.high,
            rest_unbiased: p.meter.rest.unbiased,
            expected: p.meter.rest.expected,
            checks: p.meter.rest.checks,
            checks_by_stratum: p.meter.rest.by_stratum.map(|(n, k)| format!("{k}/{n}")).join(" "),
            found_recall_low: p.meter.recall_low,
            found_recall_high: p.meter.recall_high,
            streak: p.meter.streak,
            stability: p.meter.stability,
            stop: p.meter.stop,
        })
    }

    /// Labels until 90 % were found, over the number of positives; the budget where they were not.
    fn labels_a_positive(&self, budget: usize) -> f64 {
        let labels = self.screening().labels_to_90.unwrap_or(budget.min(self.rows));
        labels as f64 / self.positives as f64
    }
}

impl Summary {
    fn of(strategy: Strategy, trials: &[&Trial], budget: usize) -> Self {
        let mean = |value: &dyn Fn(&Trial) -> f64| {
            trials.iter().map(|t| value(t)).sum::<f64>() / trials.len().max(1) as f64
        };
        let mut by_class: std::collections::BTreeMap<&str, Vec<f64>> = Default::default();
        for trial in trials {
            by_class.entry(&trial.class).or_default().push(trial.labels_a_positive(budget));
        }
        let mut classes: Vec<f64> =
            by_class.values().map(|all| all.iter().sum::<f64>() / all.len() as f64).collect();
        classes.sort_by(f64::total_cmp);
        let middle = classes.len() / 2;
        let median = match classes.len() {
            0 => f64::NAN,
            n if n % 2 == 0 => f64::midpoint(classes[middle - 1], classes[middle]),
            _ => classes[middle],
        };
        let f1 = |trial: &Trial, n: usize| {
            let point = trial.curve.iter().rev().find(|p| p.labels <= n);
            point.map_or(0.0, |p| p.f1)
        };
        Self {
            strategy: strategy.name(),
            runs: trials.len(),
            reached: trials.iter().filter(|t| t.screening().labels_to_90.is_some()).count(),
            labels_a_positive: mean(&|t| t.labels_a_positive(budget)),
            median_class: median,
            recall: LABELS.map(|n| mean(&|t| t.recall(n))),
            f1: LABELS.map(|n| mean(&|t| f1(t, n))),
            wss_95: mean(&|t| t.screening().wss_95.unwrap_or(0.0)),
            rrf_10: mean(&|t| t.screening().rrf_10.unwrap_or(0.0)),
            auc: mean(&|t| t.screening().auc),
        }
    }
}

impl MeterQuality {
    fn of(trials: &[Trial]) -> Option<Self> {
        let autos: Vec<&Trial> = trials.iter().filter(|t| t.strategy == Strategy::Auto).collect();
        let holds = |trial: &Trial, point: &CurvePoint| {
            let true_recall = point.positives_found as f64 / trial.positives as f64;
            let meter = &point.meter;
            meter.recall_low <= true_recall + 1e-9 && true_recall <= meter.recall_high + 1e-9
        };
        let readings: Vec<bool> =
            autos.iter().flat_map(|t| t.curve.iter().map(|p| holds(t, p))).collect();
        let stops: Vec<(&Trial, &CurvePoint)> = autos
            .iter()
            .filter_map(|t| Some((*t, t.curve.iter().find(|p| p.meter.stop)?)))
            .collect();
        if readings.is_empty() {
            return None;
        }
        let over = |n: usize, sum: f64| if n == 0 { 0.0 } else { sum / n as f64 };
        let n = stops.len();
        let after: Vec<f64> = stops
            .iter()
            .filter_map(|(t, p)| Some(p.labels as f64 - t.screening().labels_to_95? as f64))
            .collect();
        Some(Self {
            readings: readings.len(),
            held: over(readings.len(), readings.iter().filter(|&&held| held).count() as f64),
            stopped: n,
            held_at_stop: over(n, stops.iter().filter(|(t, p)| holds(t, p)).count() as f64),
            width: over(
                n,
                stops.iter().map(|(_, p)| p.meter.recall_high - p.meter.recall_low).sum(),
            ),
            recall: over(
                n,
                stops.iter().map(|(t, p)| p.positives_found as f64 / t.positives as f64).sum(),
            ),
            labels_after_95: over(after.len(), after.iter().sum()),
        })
    }
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "| strategy | labels a positive to 90 %, mean | median class | reached | recall after 50 / 100 / \
             200 / 400 labels | F1 after as many | WSS@95 | RRF@10 | AUC |\n|---|---|---|---|---|---|---|---|---|"
        )?;
        for s in &self.strategies {
            let list = |values: [f64; 4]| values.map(|v| format!("{v:.2}")).join(" / ");
            writeln!(
                f,
                "| {} | {:.2} | {:.2} | {} of {} | {} | {} | {:.2} | {:.2} | {:.2} |",
                s.strategy,
                s.labels_a_positive,
                s.median_class,
                s.reached,
                s.runs,
                list(s.recall),
                list(s.f1),
                s.wss_95,
                s.rrf_10,
                s.auc
            )?;
        }
        if let Some(m) = self.meter {
            writeln!(
                f,
                "stop meter: of {} readings {:.3} hold the true recall; said stop in {} runs, {:.3} of them \
                 held, width {:.3}, true recall {:.3}, {:.0} labels after 95 %",
                m.readings, m.held, m.stopped, m.held_at_stop, m.width, m.recall, m.labels_after_95
            )?;
        }
        write!(f, "→ `{}`", self.output.display())
    }
}

fn table<T: Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<()> {
    let wrong = |e: csv::Error| CoreError::io("write", path)(std::io::Error::other(e));
    let mut writer = csv::Writer::from_path(path).map_err(wrong)?;
    for row in rows {
        writer.serialize(row).map_err(wrong)?;
    }
    Ok(writer.flush().map_err(CoreError::io("write", path))?)
}

/// Mean recall of every strategy, over all runs and for each class.
fn page(compared: &Compared, trials: &[Trial]) -> String {
    let mut classes: Vec<&str> = trials.iter().map(|t| t.class.as_str()).collect();
    classes.dedup();
    let chart = |title: &str, some: &dyn Fn(&Trial) -> bool| {
        let series: Vec<Series> = compared
            .strategies
            .iter()
            .map(|summary| {
                let own: Vec<&Trial> = trials
                    .iter()
                    .filter(|t| t.strategy.name() == summary.strategy && some(t))
                    .collect();
                let longest = own.iter().map(|t| t.asked.len()).max().unwrap_or(0);
                let step = longest.div_ceil(60).max(1);
                let mean = |n: usize| {
                    own.iter().map(|t| t.recall(n)).sum::<f64>() / own.len().max(1) as f64
                };
                let points = (0..=longest).step_by(step).map(|n| (n as f64, mean(n)));
                Series::new(summary.strategy, points.collect())
            })
            .collect();
        lines(title, "labels", "recall", &series)
    };
    let mut html = Page::new("Simulations", None);
    html.push("<h1>Simulations</h1><pre class=\"wide\">");
    html.push(&escape(&compared.to_string()));
    html.push("</pre>");
    html.charts(&[chart("Positives found, mean of all runs", &|_| true)]);
    let charts: Vec<String> =
        classes.into_iter().map(|class| chart(class, &|t| t.class == class)).collect();
    html.heading("By class", "");
    html.charts(&charts);
    html.finish()
}
