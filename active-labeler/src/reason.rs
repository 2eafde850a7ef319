//! Why a picture is asked: shown to the person, kept with the answer, and read again when a run goes on.

use crate::check::Check;

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model says yes.
    Likely,
    /// Drawn at random, with a known chance.
    Check(Check),
    /// The model does not believe what was said; of a check, which keeps its chance.
    Again(Option<Check>),
    /// Anything else, in words.
    Said(&'static str),
}

const LIKELY: &str = "probably yes";
const AGAIN: &str = "a second look";

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Likely => f.write_str(LIKELY),
            Self::Check(check) => check.fmt(f),
            Self::Again(None) => f.write_str(AGAIN),
            Self::Again(Some(check)) => write!(f, "{AGAIN} at {check}"),
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
            AGAIN => Self::Again(None),
            text => {
                let check = text.strip_prefix(AGAIN).and_then(|rest| rest.strip_prefix(" at "));
                match check {
                    Some(check) => Self::Again(check.parse().ok()),
                    None => text.parse().map_or(Self::Said(""), Self::Check),
                }
            }
        }
    }

    /// The check that it is, or was at first.
    #[must_use]
    pub fn check(self) -> Option<Check> {
        match self {
            Self::Check(check) | Self::Again(Some(check)) => Some(check),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_matter_come_back_from_their_words() {
        let check = Check { stratum: 2, rows: 1680 };
        let checks = [Reason::Check(check), Reason::Again(Some(check))];
        assert!(checks.iter().all(|reason| reason.check() == Some(check)));
        for reason in [Reason::Likely, Reason::Again(None)].into_iter().chain(checks) {
            assert_eq!(Reason::read(&reason.to_string()), reason);
        }
        for text in
            ["", "near the reference", "a check, one of", "a check, one of 0 of the likely", "💥"]
        {
            assert_eq!(Reason::read(text), Reason::Said(""), "{text}");
        }
    }
}
