//! Which class was taken for which.

use std::fmt::Write;

use curator_core::plot::escape;
use serde::Serialize;

/// Side of the picture's grid.
const GRID: f64 = 560.0;
/// Room for names.
const MARGIN: f64 = 130.0;

/// Counts: `counts[actual][predicted]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
    /// Names of rows and columns.
    pub classes: Vec<String>,
    /// Images.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Counts the likeliest class of each row of `[N, K]` against what it is.
    pub(crate) fn of(logits: &[f32], labels: &[usize], classes: &[String]) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (row, &label) in logits.chunks_exact(classes.len().max(1)).zip(labels) {
            counts[label][likeliest(row)] += 1;
        }
        Self { classes: classes.to_vec(), counts }
    }

    /// Of those that are of a class, the share that is told so.
    pub(crate) fn recall(&self, class: usize) -> f64 {
        let all: u64 = self.counts[class].iter().sum();
        self.counts[class][class] as f64 / all.max(1) as f64
    }

    /// Of those told to be of a class, the share that is.
    pub(crate) fn precision(&self, class: usize) -> f64 {
        let all: u64 = self.counts.iter().map(|row| row[class]).sum();
        self.counts[class][class] as f64 / all.max(1) as f64
    }

    /// Mean over the classes of the harmonic mean of precision and recall.
    pub(crate) fn macro_f1(&self) -> f64 {
        let one = |class| {
            let (p, r) = (self.precision(class), self.recall(class));
            if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 }
        };
        (0..self.classes.len()).map(one).sum::<f64>() / self.classes.len().max(1) as f64
    }

    /// What is mistaken most often: actual, predicted, images.
    pub(crate) fn mistakes(&self, most: usize) -> Vec<(&str, &str, u64)> {
        let mut pairs: Vec<(&str, &str, u64)> = Vec::new();
        for (actual, row) in self.counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                if actual != predicted && count > 0 {
                    pairs.push((&self.classes[actual], &self.classes[predicted], count));
                }
            }
        }
        pairs.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        pairs.truncate(most);
        pairs
    }

    /// The picture: rows are what images are, columns what they are taken for, darkness the share of the row.
    /// An SVG file of its own, legible on light and dark.
    pub(crate) fn picture(&self) -> String {
        let n = self.classes.len().max(1);
        let cell = GRID / n as f64;
        let font = (cell * 0.6).clamp(4.0, 12.0);
        let side = GRID + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-label=\"Confusion matrix\" font-family=\"system-ui, sans-serif\" \
             font-size=\"{font:.1}\" fill=\"currentColor\">",
            width = side + 8.0,
            height = side + 8.0
        );
        for (i, name) in self.classes.iter().enumerate() {
            let middle = (i as f64 + 0.5) * cell;
            let short: String = name.chars().take(20).collect();
            let _ = write!(
                svg,
                "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>\
                 <text transform=\"translate({cx:.1} {cy}) rotate(90)\">{name}</text>",
                x = MARGIN - 6.0,
                y = middle + font * 0.35,
                cx = MARGIN + middle - font * 0.35,
                cy = GRID + 6.0,
                name = escape(&short)
            );
        }
        for (actual, row) in self.counts.iter().enumerate() {
            let all = row.iter().sum::<u64>().max(1) as f64;
            for (predicted, &count) in row.iter().enumerate() {
                let share = count as f64 / all;
                let (x, y) = (MARGIN + predicted as f64 * cell, actual as f64 * cell);
                let color = if actual == predicted { "#0072b2" } else { "#d55e00" };
                let _ = write!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" \
                     fill=\"{color}\" fill-opacity=\"{share:.3}\" stroke=\"currentColor\" \
                     stroke-opacity=\"0.15\"><title>{}: {} taken for {}</title></rect>",
                    count,
                    escape(&self.classes[actual]),
                    escape(&self.classes[predicted])
                );
                if count > 0 && cell >= 14.0 {
                    let _ = write!(
                        svg,
                        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                        x + cell / 2.0,
                        y + cell / 2.0 + font * 0.35
                    );
                }
            }
        }
        svg + "</svg>"
    }
}

/// The class of the largest number.
pub(crate) fn likeliest(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_measures_of_five_images() {
        let classes = ["land".to_string(), "<sea>".to_string()];
        let logits = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.5, 0.5];
        let confusion = Confusion::of(&logits, &[0, 1, 1, 1, 0], &classes);
        assert_eq!(confusion.counts, [[2, 0], [1, 2]]);
        assert!((confusion.recall(1) - 2.0 / 3.0).abs() < 1e-12);
        assert!((confusion.precision(0) - 2.0 / 3.0).abs() < 1e-12);
        assert!((confusion.macro_f1() - 0.8).abs() < 1e-12);
        assert_eq!(confusion.mistakes(9), [("<sea>", "land", 1)]);
        let svg = confusion.picture();
        assert!(svg.contains("&lt;sea&gt; taken for land") && !svg.contains("<sea>"));
    }
}
