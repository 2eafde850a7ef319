//! Numbers that can be typed, with the ranges that make sense.

fn number(text: &str, fits: fn(f64) -> bool, range: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if fits(value) => Ok(value),
        _ => Err(format!("it must be {range}")),
    }
}

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    number(text, |value| value > 0.0 && value.is_finite(), "a number above 0")
}

pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |value| value >= 0.0 && value.is_finite(), "0 or a number above")
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=0.9).contains(&value), "from 0 to 0.9")
}

/// Of a class, so that something is left to learn from.
pub(crate) fn part(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=0.4).contains(&value), "from 0 to 0.4")
}

pub(crate) fn factor(text: &str) -> Result<f64, String> {
    number(text, |value| value > 0.0 && value <= 1.0, "above 0, and 1 at most")
}
