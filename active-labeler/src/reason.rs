//! Why a picture is asked: shown to the person, kept with the answer, and read again when a run goes on.

use crate::check::Check;

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model says yes.
    Likely,
    /// Drawn at random, with a known chance.
    Check(Check),
    /// Anything else, in words.
    Said(&'static str),
}

const LIKELY: &str = "probably yes";

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Likely => f.write_str(LIKELY),
            Self::Check(check) => check.fmt(f),
            Self::Said(words) => f.write_str(words),
        }
    }
}

impl Reason {
    /// From the words kept with an answer; words that steer nothing are not told apart.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            LIKELY => Self::Likely,
            text => text.parse().map_or(Self::Said(""), Self::Check),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_matter_come_back_from_their_words() {
        for reason in [Reason::Likely, Reason::Check(Check { stratum: 2, rows: 1680 })] {
            assert_eq!(Reason::read(&reason.to_string()), reason);
        }
        for text in
            ["", "near the reference", "a check, one of", "a check, one of 0 of the likely", "💥"]
        {
            assert_eq!(Reason::read(text), Reason::Said(""), "{text}");
        }
    }
}
