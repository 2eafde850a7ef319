//! The times of a layer: ranges with a period, and snapping to them.

use jiff::civil::{Date, DateTime};
use jiff::{Span, ToSpan};

/// The distance from one picture to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Minutes(i64),
    Days(i64),
    Months(i64),
}

impl Period {
    fn times(self, n: i64) -> Span {
        match self {
            Self::Minutes(m) => (m * n).minutes(),
            Self::Days(d) => (d * n).days(),
            Self::Months(m) => (m * n).months(),
        }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Minutes(m) => write!(f, "PT{m}M"),
            Self::Days(d) => write!(f, "P{d}D"),
            Self::Months(m) if m % 12 == 0 => write!(f, "P{}Y", m / 12),
            Self::Months(m) => write!(f, "P{m}M"),
        }
    }
}

/// Pictures from a first to a last time, a period apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) first: DateTime,
    pub(super) last: DateTime,
    pub(super) period: Period,
}

impl Range {
    /// From two times as text.
    pub(super) fn new(first: &str, last: &str, period: Period) -> Option<Self> {
        Some(Self { first: parse(first)?, last: parse(last)?, period })
    }

    /// The latest picture that is not later than a time, if the time is not past the range.
    fn snap(&self, time: DateTime) -> Option<DateTime> {
        if time < self.first {
            return None;
        }
        let passed = time.since(self.first).ok()?;
        let seconds = passed.total((jiff::Unit::Second, self.first)).ok()?;
        let per = match self.period {
            Period::Minutes(m) => m as f64 * 60.0,
            Period::Days(d) => d as f64 * 86_400.0,
            // No month is longer than 31 days, so this is never too many.
            Period::Months(m) => m as f64 * 31.0 * 86_400.0,
        };
        let mut at = self.first.checked_add(self.period.times((seconds / per) as i64)).ok()?;
        loop {
            let next = at.checked_add(self.period.times(1)).ok()?;
            if next > time {
                break;
            }
            at = next;
        }
        (at <= self.last).then_some(at)
    }

    fn overlaps(&self, from: Option<DateTime>, to: Option<DateTime>) -> bool {
        from.is_none_or(|from| self.last >= from) && to.is_none_or(|to| self.first <= to)
    }
}

/// All times of a layer, in order.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    ranges: Vec<Range>,
}

impl Domain {
    /// Of ranges in order; `None` where there are none.
    pub(super) fn new(ranges: Vec<Range>) -> Option<Self> {
        (!ranges.is_empty()).then_some(Self { ranges })
    }

    /// The time that stands for `default`: the latest.
    pub(super) fn default(&self) -> DateTime {
        let last = self.ranges[self.ranges.len() - 1];
        last.snap(last.last).unwrap_or(last.last)
    }

    /// The time of the picture that answers a request, never across a gap.
    pub(super) fn snap(&self, time: DateTime) -> Option<DateTime> {
        self.ranges.iter().rev().find_map(|range| range.snap(time))
    }

    /// Ranges that touch a span of time, as text.
    pub(super) fn between(&self, from: Option<DateTime>, to: Option<DateTime>) -> Vec<String> {
        let touched = self.ranges.iter().filter(|range| range.overlaps(from, to));
        touched.map(|range| self.written(range)).collect()
    }

    /// The latest ranges as text: what capabilities list.
    pub(super) fn latest(&self, count: usize) -> Vec<String> {
        let skipped = self.ranges.len().saturating_sub(count);
        self.ranges[skipped..].iter().map(|range| self.written(range)).collect()
    }

    /// A time as this layer writes it: a date, or with hours where pictures come more often than daily.
    pub(super) fn text(&self, time: DateTime) -> String {
        let sub_daily = self.ranges.iter().any(|r| matches!(r.period, Period::Minutes(_)));
        if sub_daily { long(time) } else { time.date().to_string() }
    }

    fn written(&self, range: &Range) -> String {
        format!("{}/{}/{}", self.text(range.first), self.text(range.last), range.period)
    }
}

/// `YYYY-MM-DDThh:mm:ssZ`.
pub(super) fn long(time: DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The two forms that a request may have: `YYYY-MM-DD` and `YYYY-MM-DDThh:mm:ssZ`.
pub(super) fn parse(text: &str) -> Option<DateTime> {
    match text.len() {
        10 => text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)),
        20 => text.strip_suffix('Z')?.parse().ok(),
        _ => None,
    }
}

/// Days since 1970-01-01.
pub(super) fn day_number(time: DateTime) -> i64 {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    time.date().since(EPOCH).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(ranges: &[(&str, &str, Period)]) -> Domain {
        let ranges = ranges.iter().map(|(a, b, p)| Range::new(a, b, *p).unwrap()).collect();
        Domain::new(ranges).unwrap()
    }

    fn snapped(domain: &Domain, time: &str) -> Option<String> {
        domain.snap(parse(time).unwrap()).map(|time| domain.text(time))
    }

    #[test]
    fn times_snap_down_and_never_across_a_gap() {
        let yearly = domain(&[("2001-01-01", "2012-01-01", Period::Months(12))]);
        assert_eq!(snapped(&yearly, "2012-03-11").unwrap(), "2012-01-01");
        assert_eq!(snapped(&yearly, "2013-01-01"), None);
        let gap = domain(&[
            ("2020-01-01", "2020-01-10", Period::Days(1)),
            ("2020-01-20", "2020-02-21", Period::Days(8)),
        ]);
        assert_eq!(snapped(&gap, "2020-01-15"), None);
        assert_eq!(snapped(&gap, "2020-02-04").unwrap(), "2020-01-28");
        assert_eq!(gap.text(gap.default()), "2020-02-21");
        let minutes =
            domain(&[("2020-06-01T00:00:00Z", "2020-06-01T22:50:00Z", Period::Minutes(10))]);
        assert_eq!(snapped(&minutes, "2020-06-01T03:14:15Z").unwrap(), "2020-06-01T03:10:00Z");
        assert_eq!(
            gap.between(parse("2020-01-05"), parse("2020-01-06")),
            ["2020-01-01/2020-01-10/P1D"]
        );
        assert_eq!(gap.latest(1), ["2020-01-20/2020-02-21/P8D"]);
    }

    #[test]
    fn a_month_is_a_month() {
        let monthly = domain(&[("2000-03-01", "2020-12-01", Period::Months(1))]);
        for (asked, answered) in [("2020-02-29", "2020-02-01"), ("2001-12-31", "2001-12-01")] {
            assert_eq!(snapped(&monthly, asked).unwrap(), answered);
        }
        assert_eq!(day_number(parse("2020-09-12").unwrap()), 18_517);
    }
}
