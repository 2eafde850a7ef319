//! Honest probabilities: temperature scaling and what tells whether it worked (Guo et al. 2017,
//! <https://arxiv.org/abs/1706.04599>). Logits are `[N, K]`, truth the class of each row.

/// Bins of [`reliability`].
const BINS: usize = 15;

/// The probabilities of one row of logits divided by a temperature.
#[must_use]
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled = || logits.iter().map(|&l| f64::from(l) / temperature);
    let most = scaled().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scaled().map(|l| (l - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// Mean of −log of the true class's probability; 0 of nothing.
#[must_use]
pub fn log_loss(logits: &[f32], truth: &[usize], classes: usize, temperature: f64) -> f64 {
    let rows = logits.chunks_exact(classes.max(1)).zip(truth);
    let sum: f64 = rows
        .map(|(row, &label)| -softmax(row, temperature)[label].max(f64::MIN_POSITIVE).ln())
        .sum();
    sum / truth.len().max(1) as f64
}

/// The temperature of the lowest [`log_loss`], from 0.05 to 20, by golden section over its logarithm; the loss
/// has one minimum. 1 of nothing.
#[must_use]
pub fn best_temperature(logits: &[f32], truth: &[usize], classes: usize) -> f64 {
    if truth.is_empty() {
        return 1.0;
    }
    let loss = |log: f64| log_loss(logits, truth, classes, log.exp());
    let shrink = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.05_f64.ln(), 20.0_f64.ln());
    while high - low > 1e-4 {
        let (a, b) = (high - shrink * (high - low), low + shrink * (high - low));
        if loss(a) <= loss(b) { high = b } else { low = a }
    }
    f64::midpoint(low, high).exp()
}

/// A bin of confidences: mean probability of what was said, share of it that was right, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Bin {
    /// Mean probability of the likeliest class.
    pub confidence: f64,
    /// Share of rows whose likeliest class is theirs.
    pub accuracy: f64,
    /// Rows.
    pub rows: usize,
}

/// Confidence against accuracy in 15 bins of equal width; empty ones are left out.
#[must_use]
pub fn reliability(logits: &[f32], truth: &[usize], classes: usize, temperature: f64) -> Vec<Bin> {
    let mut bins = [Bin::default(); BINS];
    for (row, &label) in logits.chunks_exact(classes.max(1)).zip(truth) {
        let probabilities = softmax(row, temperature);
        let likeliest = (0..classes).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
        let confidence = likeliest.map_or(0.0, |class| probabilities[class]);
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(likeliest == Some(label)));
        bin.rows += 1;
    }
    let filled = bins.into_iter().filter(|bin| bin.rows > 0);
    filled
        .map(|bin| Bin {
            confidence: bin.confidence / bin.rows as f64,
            accuracy: bin.accuracy / bin.rows as f64,
            rows: bin.rows,
        })
        .collect()
}

/// Expected calibration error: the mean distance of confidence and accuracy over the bins, by rows.
#[must_use]
pub fn expected_error(bins: &[Bin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    let sum: f64 =
        bins.iter().map(|bin| (bin.confidence - bin.accuracy).abs() * bin.rows as f64).sum();
    sum / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_that_are_three_times_too_sure_are_found_out() {
        // Rows whose class 0 is right as often as a temperature of 1 says; then logits are tripled.
        let mut logits = Vec::new();
        let mut truth = Vec::new();
        for step in 0..40 {
            let logit = -2.0 + 0.1 * step as f32;
            let right = softmax(&[logit, 0.0], 1.0)[0];
            for i in 0..200 {
                logits.extend([3.0 * logit, 0.0]);
                truth.push(usize::from((f64::from(i) + 0.5) / 200.0 > right));
            }
        }
        let temperature = best_temperature(&logits, &truth, 2);
        assert!((temperature - 3.0).abs() < 0.05, "{temperature}");
        let error = |t| expected_error(&reliability(&logits, &truth, 2, t));
        assert!(error(1.0) > 0.1 && error(temperature) < 0.01);
        assert!(log_loss(&logits, &truth, 2, temperature) < log_loss(&logits, &truth, 2, 1.0));
    }

    #[test]
    fn a_uniform_row_costs_the_logarithm_of_the_classes() {
        assert!((log_loss(&[0.0; 8], &[0, 3], 4, 1.0) - 4.0_f64.ln()).abs() < 1e-12);
        assert_eq!(reliability(&[], &[], 4, 1.0), []);
        assert!((best_temperature(&[], &[], 4) - 1.0).abs() < 1e-12);
    }
}
