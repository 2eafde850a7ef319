//! The flags of every program that has people label together.

use std::time::Duration;

use crate::{Rule, Settings};

/// Who judges what, and what holds.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Together")]
pub struct TogetherArgs {
    /// People who judge each picture, none knowing of the others' answers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    overlap: u8,
    /// Share of the pictures that several people judge; the others are judged once
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = share)]
    overlap_share: f64,
    /// What holds where several people judged: majority, unanimous or latest
    #[arg(long, default_value = "majority")]
    consensus: Rule,
    /// Seconds after which a picture goes to somebody else when its page gives no sign of life
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    lease: u64,
}

impl TogetherArgs {
    /// What was typed, as the settings of a session that asks a question.
    #[must_use]
    pub fn settings(self, question: String) -> Settings {
        Settings {
            question,
            overlap: usize::from(self.overlap),
            overlap_share: self.overlap_share,
            rule: self.consensus,
            lease: Duration::from_secs(self.lease),
            ..Settings::default()
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is not a share from 0 to 1"))
}
