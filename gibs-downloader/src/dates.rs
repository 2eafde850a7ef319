//! When: spans of days or instants, of which months or every n-th time are taken.

use jiff::civil::DateTime;

use crate::error::{Error, Result};
use crate::times::{self, TimeRange};

/// Times of a layer that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dates {
    /// First and last instant of each span.
    spans: Vec<(DateTime, DateTime)>,
    months: Option<Months>,
    every: u32,
    typed: Typed,
}

/// The dates as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// First day or instant.
    pub from: Option<String>,
    /// Last day or instant.
    pub to: Option<String>,
    /// Days, instants, or spans of them as `first/last`.
    pub list: Vec<String>,
    /// Every n-th time of the layer.
    pub every: Option<u32>,
    /// Months of the year.
    pub months: Option<Months>,
}

impl Typed {
    /// Whether any date is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.is_none() && self.list.is_empty()
    }

    /// First and last as the manifest keeps them.
    pub(crate) fn ends(&self) -> Option<(String, String)> {
        if let Some(from) = &self.from {
            return Some((from.clone(), self.to.clone().unwrap_or_else(|| from.clone())));
        }
        let mut days: Vec<&str> = self.list.iter().flat_map(|item| item.split('/')).collect();
        days.sort_unstable();
        Some(((*days.first()?).into(), (*days.last()?).into()))
    }

    /// What narrows the dates between the ends, in words that are the same for the same choice.
    pub(crate) fn choice(&self) -> Option<String> {
        let list = (!self.list.is_empty()).then(|| self.list.join(","));
        let months = self.months.map(|months| format!("months {months}"));
        let every = self.every.filter(|&n| n > 1).map(|n| format!("every {n}"));
        let parts: Vec<String> = [list, months, every].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Dates {
    /// Dates that make sense; `None` when none are given.
    ///
    /// # Errors
    /// When one is no date, or the end is before the start.
    pub(crate) fn new(typed: &Typed) -> Result<Option<Self>> {
        let mut spans = Vec::new();
        if let Some(from) = &typed.from {
            let to = typed.to.as_ref().unwrap_or(from);
            spans.push(span(("from", from), ("to", to))?);
        }
        for item in &typed.list {
            let (first, last) = item.split_once('/').unwrap_or((item, item));
            spans.push(span(("dates", first), ("dates", last))?);
        }
        if spans.is_empty() {
            return Ok(None);
        }
        let every = typed.every.unwrap_or(1).max(1);
        Ok(Some(Self { spans, months: typed.months, every, typed: typed.clone() }))
    }

    /// The first and the last instant.
    pub(crate) fn ends(&self) -> (DateTime, DateTime) {
        let first = self.spans.iter().map(|span| span.0).min().unwrap_or_default();
        let last = self.spans.iter().map(|span| span.1).max().unwrap_or_default();
        (first, last)
    }

    /// The points of the ranges that are wanted: snapped, in order, each once.
    pub(crate) fn points(&self, ranges: &[TimeRange], open_end: bool) -> Vec<DateTime> {
        let mut points: Vec<DateTime> = self
            .spans
            .iter()
            .flat_map(|&(from, to)| times::points(ranges, from, to, open_end))
            .filter(|point| self.months.is_none_or(|months| months.has(point.month())))
            .collect();
        points.sort_unstable();
        points.dedup();
        points.into_iter().step_by(self.every as usize).collect()
    }

    /// Whether an instant is among them, for sources that list their times.
    pub(crate) fn contain(&self, instant: DateTime) -> bool {
        let inside = self.spans.iter().any(|&(from, to)| (from..=to).contains(&instant));
        inside && self.months.is_none_or(|months| months.has(instant.month()))
    }

    /// How often times are left out.
    pub(crate) fn every(&self) -> usize {
        self.every as usize
    }
}

impl std::fmt::Display for Dates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = self.typed.ends().unwrap_or_default();
        if first == last {
            f.write_str(&first)?
        } else {
            write!(f, "{first} to {last}")?
        }
        match self.typed.months {
            Some(months) => write!(f, " in the months {months}"),
            None => Ok(()),
        }
    }
}

fn span(
    (first_name, first): (&'static str, &str),
    (last_name, last): (&'static str, &str),
) -> Result<(DateTime, DateTime)> {
    let refuse = |name, found: &str| -> Error {
        curator_core::Error::Setting {
            name,
            found: format!("`{found}`"),
            expected: "a day such as 2020-09-12, or 2020-09-12T10:00:00Z".into(),
        }
        .into()
    };
    let from = times::parse_instant(first).ok_or_else(|| refuse(first_name, first))?;
    let to = times::parse_last_instant(last).ok_or_else(|| refuse(last_name, last))?;
    if from > to {
        return Err(curator_core::Error::Setting {
            name: first_name,
            found: format!("`{first}`"),
            expected: format!("the end, `{last}`, is before the start"),
        }
        .into());
    }
    Ok((from, to))
}

/// Months of the year, as `6-8`, `12-2` or `1,4,7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Months(u16);

impl Months {
    /// Whether a month, 1 to 12, is among them.
    #[must_use]
    pub fn has(self, month: i8) -> bool {
        self.0 & (1 << month) != 0
    }
}

impl std::str::FromStr for Months {
    type Err = curator_core::Error;

    fn from_str(text: &str) -> curator_core::Result<Self> {
        let refuse = || curator_core::Error::Setting {
            name: "months",
            found: format!("`{text}`"),
            expected: "months from 1 to 12, such as 6-8, 12-2 or 1,4,7".into(),
        };
        let month = |text: &str| {
            text.trim().parse().ok().filter(|n: &u16| (1..=12).contains(n)).ok_or_else(refuse)
        };
        let mut months = 0;
        for item in text.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (mut at, last) = (month(first)?, month(last)?);
            months |= 1 << last;
            while at != last {
                months |= 1 << at;
                at = at % 12 + 1;
            }
        }
        Ok(Self(months))
    }
}

impl std::fmt::Display for Months {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let months: Vec<String> =
            (1..=12).filter(|&m| self.has(m)).map(|m| m.to_string()).collect();
        f.write_str(&months.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(typed: &Typed, ranges: &str) -> Vec<String> {
        let dates = Dates::new(typed).unwrap().unwrap();
        let points = dates.points(&times::parse_list(ranges), false);
        points.into_iter().map(|point| times::name(point, false)).collect()
    }

    fn typed(from: &str, to: &str) -> Typed {
        Typed { from: Some(from.into()), to: Some(to.into()), ..Typed::default() }
    }

    const DAILY: &str = "2018-01-01/2021-12-31/P1D";

    #[test]
    fn a_list_is_snapped_sorted_and_has_nothing_twice() {
        let list = |items: &[&str]| Typed {
            list: items.iter().map(ToString::to_string).collect(),
            ..Typed::default()
        };
        let days = list(&["2020-03-05", "2020-03-01/2020-03-02", "2020-03-01"]);
        assert_eq!(names(&days, DAILY), ["2020-03-01", "2020-03-02", "2020-03-05"]);
        let month = list(&["2020-03-05", "2020-03-28", "2020-04-01"]);
        assert_eq!(names(&month, "2018-01-01/2021-12-01/P1M"), ["2020-03-01", "2020-04-01"]);
        assert_eq!(days.ends(), Some(("2020-03-01".into(), "2020-03-05".into())));
    }

    #[test]
    fn months_and_every_nth_narrow() {
        let summer =
            Typed { months: Some("6-8".parse().unwrap()), ..typed("2018-01-01", "2019-12-31") };
        let days = names(&summer, DAILY);
        assert_eq!(days.len(), 2 * 92);
        assert!(days.iter().all(|day| ["06", "07", "08"].contains(&&day[5..7])));
        let third = Typed { every: Some(3), ..typed("2020-03-01", "2020-03-10") };
        assert_eq!(names(&third, DAILY), ["2020-03-01", "2020-03-04", "2020-03-07", "2020-03-10"]);
    }

    #[test]
    fn months_go_over_the_new_year() {
        let winter: Months = "11-2".parse().unwrap();
        assert_eq!(winter.to_string(), "1,2,11,12");
        assert_eq!("1, 4,7".parse::<Months>().unwrap().to_string(), "1,4,7");
        for bad in ["", "0", "13", "a", "1-", "6-8-9"] {
            assert!(bad.parse::<Months>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_without_sense_are_refused() {
        let reason = |typed: &Typed| Dates::new(typed).unwrap_err().to_string();
        assert!(reason(&typed("2020-02-30", "2020-03-01")).contains("`2020-02-30`"));
        assert!(reason(&typed("2020-03-02", "2020-03-01")).contains("before the start"));
        assert_eq!(Dates::new(&Typed::default()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn points_answer_the_dates_asked_for(
            start in 0..4000_i32, length in 0..900_i32, period in prop::sample::select(vec![
                "P1D", "P8D", "P16D", "P1M", "P3M", "P1Y"]),
            first in 0..5000_i32, days in 0..400_i32, every in 1..5_u32,
        ) {
            use jiff::ToSpan;
            let epoch = jiff::civil::date(2005, 1, 1);
            let day = |n: i32| epoch.checked_add(n.days()).unwrap();
            let range = format!("{}/{}/{period}", day(start), day(start + length));
            let ranges = times::parse_list(&range);
            let asked = typed(&day(first).to_string(), &day(first + days).to_string());
            let asked = Typed { every: Some(every), ..asked };
            let points = Dates::new(&asked).unwrap().unwrap().points(&ranges, false);
            // In order, each once, inside the range, not after the dates asked for.
            prop_assert!(points.windows(2).all(|pair| pair[0] < pair[1]));
            for point in &points {
                prop_assert!(point.date() >= day(start) && point.date() <= day(start + length));
                prop_assert!(point.date() <= day(first + days));
            }
            if every == 1 {
                // Brute force: what the service answers for every day asked for.
                let mut answers: Vec<_> = (first..=first + days)
                    .filter_map(|n| times::points(&ranges, day(n).at(0, 0, 0, 0), day(n).at(23, 59, 59, 0), false).pop())
                    .collect();
                answers.dedup();
                prop_assert_eq!(points, answers);
            }
        }
    }
}
