//! Minimising smooth functions by L-BFGS (Liu & Nocedal 1989) in double precision.

/// Corrections that L-BFGS remembers.
const MEMORY: usize = 12;
/// Iterations at most; a few hundred examples need about thirty.
const ITERATIONS: usize = 500;

/// A value and its gradient.
pub type Evaluation = (f64, Vec<f64>);

/// Where a smooth function is smallest, from a start on: L-BFGS with a backtracking line search (Nocedal &
/// Wright 2006, algorithms 7.4 and 3.1), until no component of the gradient is above `tolerance`.
#[must_use]
pub fn minimize(
    objective: impl Fn(&[f64]) -> Evaluation,
    start: Vec<f64>,
    tolerance: f64,
) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut x = start;
    let (mut value, mut gradient) = objective(&x);
    let mut history: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)> = Default::default();
    for _ in 0..ITERATIONS {
        if gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs())) < tolerance {
            break;
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut alphas = Vec::with_capacity(history.len());
        for (s, y, rho) in history.iter().rev() {
            let alpha = rho * dot(s, &direction);
            direction.iter_mut().zip(y).for_each(|(d, y)| *d -= alpha * y);
            alphas.push(alpha);
        }
        if let Some((s, y, _)) = history.back() {
            let scale = dot(s, y) / dot(y, y);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((s, y, rho), alpha) in history.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(y, &direction);
            direction.iter_mut().zip(s).for_each(|(d, s)| *d += (alpha - beta) * s);
        }
        let slope = dot(&gradient, &direction);
        let norm = dot(&direction, &direction).sqrt();
        let mut step = if history.is_empty() { 1.0 / norm.max(1.0) } else { 1.0 };
        let (next, next_value, next_gradient) = loop {
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let (next_value, next_gradient) = objective(&next);
            if next_value <= value + 1e-4 * step * slope || step < 1e-12 {
                break (next, next_value, next_gradient);
            }
            step *= 0.5;
        };
        if next_value >= value {
            break;
        }
        let s: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        if curvature > 1e-12 {
            history.push_back((s, y, 1.0 / curvature));
            if history.len() > MEMORY {
                history.pop_front();
            }
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_ends_at_one_one() {
        let rosenbrock = |x: &[f64]| {
            let (a, b) = (x[0], x[1]);
            let value = (1.0 - a).powi(2) + 100.0 * (b - a * a).powi(2);
            (value, vec![-2.0 * (1.0 - a) - 400.0 * a * (b - a * a), 200.0 * (b - a * a)])
        };
        let found = minimize(rosenbrock, vec![-1.2, 1.0], 1e-8);
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
    }
}
