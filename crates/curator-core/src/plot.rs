//! Line charts and scatter plots as SVG, legible on light and dark pages: text and axes take the page's colour.

use std::fmt::Write;

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, in the order they are joined.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A line from its name and points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// Colours of Okabe & Ito, which people with colour blindness tell apart, each with its own dashes.
const STYLES: [(&str, &str); 5] = [
    ("#0072b2", ""),
    ("#d55e00", "7 4"),
    ("#009e73", "2 3"),
    ("#cc79a7", "9 3 2 3"),
    ("#e69f00", "4 4"),
];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;

/// A line chart as an `<svg>` element. Points that are not finite are left out.
#[must_use]
pub fn lines(title: &str, x_label: &str, y_label: &str, series: &[Series]) -> String {
    let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let points = || series.iter().flat_map(|s| s.points.iter().filter(finite));
    let (x_low, x_high) = range(points().map(|p| p.0));
    let (y_low, y_high) = range(points().map(|p| p.1).chain([0.0]));
    let x_at = |x: f64| LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
    let y_at = |y: f64| HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"currentColor\">\
         <text x=\"{LEFT}\" y=\"18\" font-weight=\"600\">{title}</text>",
        title = escape(title)
    );
    for tick in ticks(y_low, y_high) {
        let y = y_at(tick);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{x2}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" \
             opacity=\"0.15\"/><text x=\"{tx}\" y=\"{ty:.1}\" text-anchor=\"end\">{tick}</text>",
            x2 = WIDTH - RIGHT,
            tx = LEFT - 6.0,
            ty = y + 4.0,
            tick = number(tick)
        );
    }
    for tick in ticks(x_low, x_high) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x_at(tick),
            HEIGHT - BOTTOM + 16.0,
            number(tick)
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" opacity=\"0.7\">{}</text>\
         <text x=\"{}\" y=\"18\" text-anchor=\"end\" opacity=\"0.7\">{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 6.0,
        escape(x_label),
        WIDTH - RIGHT,
        escape(y_label)
    );
    let mut legend = LEFT;
    for (line, (color, dash)) in series.iter().zip(STYLES.iter().cycle()) {
        let path = line.points.iter().filter(finite).fold(String::new(), |mut path, &(x, y)| {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x_at(x), y_at(y));
            path
        });
        let _ = write!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
             stroke-linejoin=\"round\" stroke-dasharray=\"{dash}\"/>\
             <line x1=\"{legend}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{color}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dash}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            legend + 22.0,
            legend + 28.0,
            HEIGHT - 6.0,
            escape(&line.name),
            y = HEIGHT - 10.0
        );
        legend += 46.0 + 6.6 * line.name.chars().count() as f64;
    }
    svg + "</svg>"
}

/// Points as an `<svg>` element, on equal scales; the first series, usually of all points, is drawn in the
/// page's colour, faintly, and the others over it. Points that are not finite are left out.
#[must_use]
pub fn scatter(title: &str, x_label: &str, y_label: &str, series: &[Series]) -> String {
    const SIDE: f64 = 480.0;
    let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let points = || series.iter().flat_map(|s| s.points.iter().filter(finite));
    let (x_low, x_high) = range(points().map(|p| p.0));
    let (y_low, y_high) = range(points().map(|p| p.1));
    let scale = (SIDE - 2.0 * TOP) / (x_high - x_low).max(y_high - y_low);
    let x_at = |x: f64| SIDE / 2.0 + (x - (x_low + x_high) / 2.0) * scale;
    let y_at = |y: f64| SIDE / 2.0 - (y - (y_low + y_high) / 2.0) * scale;
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"currentColor\">\
         <text x=\"{RIGHT}\" y=\"18\" font-weight=\"600\">{title}</text>\
         <text x=\"{end}\" y=\"{bottom}\" text-anchor=\"end\" opacity=\"0.7\">→ {x}</text>\
         <text x=\"{end}\" y=\"18\" text-anchor=\"end\" opacity=\"0.7\">↑ {y}</text>",
        end = SIDE - RIGHT,
        bottom = SIDE - 6.0,
        title = escape(title),
        x = escape(x_label),
        y = escape(y_label)
    );
    let mut legend = RIGHT + 4.0;
    for (number, group) in series.iter().enumerate() {
        // Strokes of no length with round ends: a dot costs a dozen bytes.
        let (color, opacity, width) = match number {
            0 => ("currentColor", 0.25, 3),
            _ => (STYLES[number % STYLES.len()].0, 0.9, 5),
        };
        let path = group.points.iter().filter(finite).fold(String::new(), |mut path, &(x, y)| {
            let _ = write!(path, "M{:.1} {:.1}h0", x_at(x), y_at(y));
            path
        });
        let _ = write!(
            svg,
            "<path d=\"{path}M{legend} {mark}h0\" fill=\"none\" stroke=\"{color}\" \
             stroke-opacity=\"{opacity}\" stroke-width=\"{width}\" stroke-linecap=\"round\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            legend + 8.0,
            SIDE - 6.0,
            escape(&group.name),
            mark = SIDE - 10.0,
        );
        legend += 26.0 + 6.6 * group.name.chars().count() as f64;
    }
    svg + "</svg>"
}

/// Lowest and highest value, never equal.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match (low.is_finite(), high > low) {
        (false, _) => (0.0, 1.0),
        (true, false) => (low, low + 1.0),
        (true, true) => (low, high),
    }
}

/// About five round numbers inside a range.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|&t| t <= high + step * 1e-9).collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Text made safe for HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_every_series_and_no_markup_from_names() {
        let svg = lines(
            "a < b",
            "x",
            "y",
            &[Series::new("<script>", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])],
        );
        assert!(
            svg.contains("&lt;script&gt;") && !svg.contains("<script>") && !svg.contains("NaN")
        );
        assert_eq!(svg.matches("<path").count(), 1);
    }

    #[test]
    fn a_scatter_plot_keeps_proportions_and_leaves_out_what_is_not_finite() {
        let points = vec![(0.0, 0.0), (4.0, 2.0), (f64::NAN, 1.0)];
        let svg = scatter("t", "a", "b", &[Series::new("all", points), Series::new("<b>", vec![])]);
        // 420 pixels for 4 units across, so 210 for 2 units up.
        assert!(svg.contains("M30.0 345.0h0M450.0 135.0h0"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("<b>"));
        assert!(scatter("", "", "", &[]).ends_with("</svg>"));
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.0, 0.5), [0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]);
        assert!(lines("", "", "", &[]).ends_with("</svg>"));
    }
}
