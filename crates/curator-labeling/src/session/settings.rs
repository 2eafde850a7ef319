//! What is asked, and of how many.

use std::time::Duration;

use crate::consensus::Rule;

/// What is asked, and of how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The question.
    pub question: String,
    /// The classes to choose from; yes and no when there are none.
    pub classes: Vec<String>,
    /// How many people judge a picture, none of them knowing of the others.
    pub overlap: usize,
    /// Share of the pictures that several people judge; the others are judged once.
    pub overlap_share: f64,
    /// How several answers become one.
    pub rule: Rule,
    /// How long a picture stays with somebody who gives no sign of life.
    pub lease: Duration,
    /// What signatures are made with; a fresh one when empty.
    pub secret: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            question: "Is it there?".into(),
            classes: Vec::new(),
            overlap: 1,
            overlap_share: 1.0,
            rule: Rule::Majority,
            lease: Duration::from_secs(120),
            secret: String::new(),
        }
    }
}
