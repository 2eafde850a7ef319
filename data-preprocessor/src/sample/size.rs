//! How many tiles are wanted: a number, or a share of those that may be chosen.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A wanted number of tiles, above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// That many.
    Number(u64),
    /// That share of the tiles that may be chosen, above 0, at most 1.
    Share(f64),
}

impl Size {
    /// The number of tiles, of `available` ones; a share gives at least one.
    ///
    /// # Errors
    /// [`Error::TooMany`] when there are not that many.
    pub fn of(self, available: usize) -> Result<usize> {
        match self {
            Self::Number(wanted) if wanted > available as u64 => {
                Err(Error::TooMany { wanted, available: available as u64 })
            }
            Self::Number(wanted) => Ok(wanted as usize),
            Self::Share(share) => {
                Ok(((available as f64 * share).round() as usize).clamp(1, available.max(1)))
            }
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "use a number such as `1000`, or a share such as `5%`";
        if let Some(percent) = text.strip_suffix('%') {
            return match percent.trim().parse::<f64>() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => {
                    Ok(Self::Share(percent / 100.0))
                }
                Ok(_) => Err("a share is above 0% and at most 100%".into()),
                Err(_) => Err(usage.into()),
            };
        }
        match text.trim().parse() {
            Ok(0) => Err("choose at least one tile".into()),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => Err(usage.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_shares_are_understood_and_nonsense_is_not() {
        assert_eq!("1000".parse(), Ok(Size::Number(1000)));
        assert_eq!("5%".parse(), Ok(Size::Share(0.05)));
        assert_eq!("0.1 %".parse(), Ok(Size::Share(0.001)));
        for bad in ["0", "0%", "-1", "-5%", "101%", "NaN%", "many", "1.5", ""] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_is_at_least_one_tile_and_more_than_all_is_refused() {
        assert_eq!(Size::Share(0.001).of(10).unwrap(), 1);
        assert_eq!(Size::Share(0.25).of(10).unwrap(), 3);
        assert_eq!(Size::Share(1.0).of(10).unwrap(), 10);
        assert_eq!(Size::Number(10).of(10).unwrap(), 10);
        assert!(matches!(Size::Number(11).of(10), Err(Error::TooMany { .. })));
    }
}
