//! The times of a layer: ranges with a period, and the instants that a request may name.
//!
//! GIBS answers a request for any instant with the last point `start + n·period` at or before it,
//! inside a range and never across a gap. A client that asks for every day of a monthly layer gets
//! the same picture 30 times, so the points are worked out here, before asking.

use jiff::civil::DateTime;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

/// The distance between two points of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    /// Calendar months; a year is twelve.
    Months(i64),
    /// A fixed number of seconds; a day is 86,400.
    Seconds(i64),
}

/// Points from `start` to `end`, both included, a period apart. Written `start/end/period`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeRange {
    /// First point.
    pub(crate) start: DateTime,
    /// Last instant that can be a point.
    pub(crate) end: DateTime,
    period: Period,
    text: String,
}

impl TimeRange {
    /// Parses `start/end/period` or a single instant; `None` when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut fields = text.split('/');
        let start = parse_instant(fields.next()?)?;
        let end = fields.next().map_or(Some(start), parse_instant)?;
        let period = fields.next().map_or(Some(Period::Seconds(86_400)), Period::parse)?;
        (start <= end && fields.next().is_none()).then(|| Self {
            start,
            end,
            period,
            text: text.into(),
        })
    }

    /// Whether its points need a time of day.
    pub(crate) fn is_subdaily(&self) -> bool {
        let midnight = |t: DateTime| t.time() == jiff::civil::Time::midnight();
        let fraction = matches!(self.period, Period::Seconds(s) if s % 86_400 != 0);
        fraction || !midnight(self.start)
    }

    /// The period as written, such as `P1D`.
    pub(crate) fn period_name(&self) -> &str {
        self.text.split('/').nth(2).unwrap_or("P1D")
    }

    fn point(&self, n: i64) -> Option<DateTime> {
        self.start.checked_add(self.period.span(n)?).ok()
    }

    /// The number of the last point at or before an instant; 0 when the instant is before the start.
    fn index_at(&self, instant: DateTime) -> i64 {
        if instant <= self.start {
            return 0;
        }
        let guess = match self.period {
            Period::Seconds(s) => seconds_between(self.start, instant) / s,
            Period::Months(m) => {
                let months = |t: DateTime| i64::from(t.year()) * 12 + i64::from(t.month());
                (months(instant) - months(self.start)) / m
            }
        };
        // Month lengths make the calendar's guess one too high at most.
        match self.point(guess) {
            Some(point) if point <= instant => guess,
            _ => (guess - 1).max(0),
        }
    }
}

impl Period {
    fn parse(text: &str) -> Option<Self> {
        let span: Span = text.parse().ok()?;
        let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
        let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
        let clock = i64::from(span.get_hours()) * 3600 + span.get_minutes() * 60;
        let seconds = days * 86_400 + clock + span.get_seconds();
        match (months, seconds) {
            (1.., 0) => Some(Self::Months(months)),
            (0, 1..) => Some(Self::Seconds(seconds)),
            _ => None,
        }
    }

    fn span(self, n: i64) -> Option<Span> {
        match self {
            Self::Months(m) => Span::new().try_months(m.checked_mul(n)?).ok(),
            Self::Seconds(s) => Span::new().try_seconds(s.checked_mul(n)?).ok(),
        }
    }
}

/// Whether a text is a period, such as `P8D`.
pub(crate) fn is_period(text: &str) -> bool {
    Period::parse(text).is_some()
}

fn seconds_between(a: DateTime, b: DateTime) -> i64 {
    b.duration_since(a).as_secs()
}

impl Serialize for TimeRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl std::fmt::Display for TimeRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses a comma list, leaving out what is no range.
pub(crate) fn parse_list(text: &str) -> Vec<TimeRange> {
    text.split(',').filter_map(TimeRange::parse).collect()
}

/// Ranges as a comma list in JSON, as the catalogue has them.
pub(crate) mod as_list {
    use super::{Deserialize, TimeRange};

    pub(crate) fn serialize<S: serde::Serializer>(
        ranges: &[TimeRange],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        serializer.serialize_str(&texts.join(","))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<TimeRange>, D::Error> {
        Ok(super::parse_list(&String::deserialize(deserializer)?))
    }
}

/// Parses `YYYY-MM-DD` (midnight) or `YYYY-MM-DDThh:mm[:ss]Z`, all of it UTC.
pub(crate) fn parse_instant(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let plain = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if let Ok(date) = plain.parse::<jiff::civil::Date>()
        && plain.len() == 10
    {
        return Some(date.to_datetime(jiff::civil::Time::midnight()));
    }
    (plain.len() > 10).then(|| plain.parse().ok()).flatten()
}

/// The last second of a day when only a day is given, the instant itself otherwise.
pub(crate) fn parse_last_instant(text: &str) -> Option<DateTime> {
    let instant = parse_instant(text)?;
    if text.trim().len() == 10 {
        instant.checked_add(1.day()).ok()?.checked_sub(1.second()).ok()
    } else {
        Some(instant)
    }
}

/// An instant as requests and directories name it: the day, or day and time for sub-daily layers.
pub(crate) fn name(instant: DateTime, subdaily: bool) -> String {
    let format = if subdaily { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%d" };
    instant.strftime(format).to_string()
}

/// All points of the ranges that answer requests for instants of `from..=to`: those inside, and the
/// one before `from` whose period reaches it. With `open_end`, the last range goes on.
pub(crate) fn points(
    ranges: &[TimeRange],
    from: DateTime,
    to: DateTime,
    open_end: bool,
) -> Vec<DateTime> {
    let last_end = ranges.iter().map(|range| range.end).max();
    let mut inside = Vec::new();
    let mut before: Option<DateTime> = None;
    for range in ranges {
        let goes_on = open_end && Some(range.end) == last_end;
        let end = if goes_on { range.end.max(to) } else { range.end };
        let mut n = range.index_at(from);
        while let Some(point) = range.point(n).filter(|&p| p <= end && p <= to) {
            if point >= from {
                inside.push(point);
            } else if range.point(n + 1).is_some_and(|next| next > from) {
                before = before.max(Some(point));
            }
            n += 1;
        }
    }
    if !inside.contains(&from) {
        inside.extend(before);
    }
    inside.sort_unstable();
    inside.dedup();
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str, from: &str, to: &str) -> Vec<String> {
        let ranges = parse_list(list);
        let subdaily = ranges.iter().any(TimeRange::is_subdaily);
        points(&ranges, parse_instant(from).unwrap(), parse_last_instant(to).unwrap(), false)
            .into_iter()
            .map(|t| name(t, subdaily))
            .collect()
    }

    #[test]
    fn the_known_answer_of_the_documentation() {
        // A request for 2012-03-11 on an annual layer returns 2012-01-01.
        let annual = "2008-01-01/2014-01-01/P1Y";
        assert_eq!(names(annual, "2012-03-11", "2012-03-11"), ["2012-01-01"]);
        assert_eq!(names(annual, "2012-03-11", "2013-01-01"), ["2012-01-01", "2013-01-01"]);
        assert!(names(annual, "2015-03-11", "2015-03-11").is_empty());
    }

    #[test]
    fn a_month_of_days_on_a_monthly_layer_is_one_request() {
        assert_eq!(names("2003-01-01/2009-12-01/P1M", "2005-02-01", "2005-02-28"), ["2005-02-01"]);
        assert_eq!(names("2003-01-31/2009-12-31/P1M", "2004-03-30", "2004-03-30"), ["2004-02-29"]);
    }

    #[test]
    fn gaps_are_not_crossed() {
        let list = "2019-01-02/2019-01-02/P1D,2019-01-05/2019-02-14/P1D";
        assert_eq!(
            names(list, "2019-01-01", "2019-01-06"),
            ["2019-01-02", "2019-01-05", "2019-01-06"]
        );
        assert!(names(list, "2019-01-03", "2019-01-04").is_empty());
    }

    #[test]
    fn the_newest_point_answers_where_ranges_meet() {
        let list = "2011-08-27/2011-12-31/P7D,2012-01-01/2012-12-30/P7D";
        assert_eq!(names(list, "2012-01-03", "2012-01-03"), ["2012-01-01"]);
        assert_eq!(names(list, "2011-12-31", "2012-01-01"), ["2011-12-31", "2012-01-01"]);
    }

    #[test]
    fn sub_daily_points_have_the_long_form() {
        let list = "2023-06-02T18:50:00Z/2023-08-31T18:50:00Z/PT10M";
        assert_eq!(
            names(list, "2023-07-01T00:05:00Z", "2023-07-01T00:25:00Z"),
            ["2023-07-01T00:00:00Z", "2023-07-01T00:10:00Z", "2023-07-01T00:20:00Z"]
        );
        assert_eq!(names(list, "2023-07-01", "2023-07-01").len(), 144);
    }

    #[test]
    fn an_old_catalogue_leaves_the_end_open() {
        let ranges = parse_list("2000-02-24/2017-07-03/P1D");
        let day = parse_instant("2020-09-12").unwrap();
        assert!(points(&ranges, day, day, false).is_empty());
        assert_eq!(points(&ranges, day, day, true), [day]);
    }

    #[test]
    fn every_point_answers_itself() {
        for list in
            ["2000-01-31/2010-12-31/P1M", "2001-02-03/2009-03-04/P8D", "2000-02-29/2020-02-29/P1Y"]
        {
            let range = TimeRange::parse(list).unwrap();
            for n in 0..20 {
                let point = range.point(n).unwrap();
                assert_eq!(range.index_at(point), n, "{list} {point}");
            }
        }
    }

    #[test]
    fn nonsense_is_no_range() {
        for bad in ["", "2020", "2020-01-02/2020-01-01/P1D", "2020-01-01/2020-01-02/P0D", "a/b/c"] {
            assert_eq!(TimeRange::parse(bad), None, "{bad}");
        }
    }
}
