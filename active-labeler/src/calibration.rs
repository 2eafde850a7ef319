//! Probabilities that mean what they say: Platt's scaling of held-out predictions (Platt 1999, with the
//! targets of Lin, Lin & Weng 2007). The labelled rows were chosen by their scores, but the chance of a
//! positive *given its score* does not depend on that, so they tell it of the others too.

/// `p' = σ(slope · logit(p) + offset)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibration {
    /// Above 0: the order of rows stays.
    pub(crate) slope: f64,
    pub(crate) offset: f64,
}

/// Examples of a class below which nothing is learned.
const LEAST: usize = 5;
/// A flatter curve than this would say the same of everything.
const FLATTEST: f64 = 0.2;

impl Calibration {
    /// Leaves probabilities as they are.
    pub(crate) const NONE: Self = Self { slope: 1.0, offset: 0.0 };

    /// Learns from predictions and what was true.
    pub(crate) fn of(pairs: &[(f32, bool)]) -> Self {
        let positives = pairs.iter().filter(|pair| pair.1).count();
        let negatives = pairs.len() - positives;
        if positives < LEAST || negatives < LEAST {
            return Self::NONE;
        }
        let targets =
            [1.0 / (negatives as f64 + 2.0), (positives as f64 + 1.0) / (positives as f64 + 2.0)];
        let points: Vec<(f64, f64)> =
            pairs.iter().map(|&(p, y)| (logit(p), targets[usize::from(y)])).collect();
        let loss = |a: f64, b: f64| -> f64 {
            let each = points.iter().map(|&(s, t)| {
                let z = a * s + b;
                z.max(0.0) + (-z.abs()).exp().ln_1p() - t * z
            });
            each.sum()
        };
        // Newton's method in two unknowns, with a hint of a prior that keeps separable data finite.
        let (mut a, mut b) = (1.0, 0.0);
        for _ in 0..50 {
            let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-3, 0.0, 1e-3);
            for &(s, t) in &points {
                let p = sigmoid(a * s + b);
                let r = p * (1.0 - p);
                ga += (p - t) * s;
                gb += p - t;
                haa += r * s * s;
                hab += r * s;
                hbb += r;
            }
            let determinant = haa * hbb - hab * hab;
            if determinant <= 1e-12 || (ga.abs() < 1e-6 && gb.abs() < 1e-6) {
                break;
            }
            let (da, db) =
                ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
            let before = loss(a, b);
            let mut size = 1.0;
            while size > 1e-6 && loss(a - size * da, b - size * db) > before {
                size *= 0.5;
            }
            (a, b) = (a - size * da, b - size * db);
        }
        Self { slope: a.max(FLATTEST), offset: b }
    }

    /// The calibrated probability.
    pub(crate) fn apply(self, p: f32) -> f32 {
        sigmoid(self.slope * logit(p) + self.offset) as f32
    }
}

/// Log-odds, finite for 0 and 1.
pub(crate) fn logit(p: f32) -> f64 {
    let p = f64::from(p).clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_predictions_are_brought_back() {
        // The truth is σ(z/2 − 1), the prediction σ(z).
        let mut pairs = Vec::new();
        for i in 0..20_000_u64 {
            let z =
                (curator_core::seed::mix(1, &[i]) >> 11) as f64 / (1_u64 << 53) as f64 * 12.0 - 6.0;
            let u = (curator_core::seed::mix(2, &[i]) >> 11) as f64 / (1_u64 << 53) as f64;
            pairs.push((sigmoid(z) as f32, u < sigmoid(z / 2.0 - 1.0)));
        }
        let learned = Calibration::of(&pairs);
        assert!(
            (learned.slope - 0.5).abs() < 0.05 && (learned.offset + 1.0).abs() < 0.1,
            "{learned:?}"
        );
    }

    #[test]
    fn separable_and_scarce_examples_stay_finite() {
        let pairs: Vec<(f32, bool)> =
            (0..20).map(|i| (if i < 10 { 0.9 } else { 0.1 }, i < 10)).collect();
        let learned = Calibration::of(&pairs);
        assert!(learned.slope.is_finite() && learned.offset.is_finite());
        assert!(learned.apply(0.9) > 0.8 && learned.apply(0.1) < 0.2);
        assert_eq!(Calibration::of(&pairs[..12]), Calibration::NONE);
        assert!(Calibration::NONE.apply(0.0) >= 0.0 && Calibration::NONE.apply(1.0) <= 1.0);
    }
}
