//! Reports in words, for stdout.

use crate::estimate::{Estimate, PlannedLayer, SECONDS_A_REQUEST};
use crate::fetch::Report;

/// What a run would do.
pub(crate) fn estimate(estimate: &Estimate) -> String {
    let bulk = if estimate.bulk { "; a bulk download: `--yes` is needed" } else { "" };
    format!(
        "{}\n{} planned, {} there already, {} to fetch: about {} and {} (assuming {} s a request){bulk}",
        layers(&estimate.layers),
        tiles(estimate.planned),
        estimate.already,
        estimate.to_fetch,
        size(estimate.estimated_bytes),
        duration(estimate.estimated_seconds),
        SECONDS_A_REQUEST,
    )
}

/// What a run did.
pub(crate) fn digest(report: &Report) -> String {
    let output = report.output.display();
    if report.up_to_date {
        return format!("`{output}` is up to date");
    }
    let mut text = layers(&report.layers);
    let notable = [
        (report.already, "there already"),
        (report.unchanged, "asked about, and unchanged"),
        (report.renewed, "changed, in the place of older ones now"),
        (report.empty, "without any data"),
        (report.no_data, "not there (404), listed in no-data.jsonl"),
        (report.duplicates, "came twice"),
        (report.repeated, "repeated attempts"),
    ];
    for (n, what) in notable.into_iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!("\n  {n} {what}"));
    }
    for (change, n) in &report.elsewhere {
        text.push_str(&format!("\n  {n} filed under what they are: {change}"));
    }
    for (kind, n) in &report.failures {
        text.push_str(&format!("\n  {n} failed: {kind}"));
    }
    if report.failed > 0 {
        text.push_str(&format!(
            "\n  each in `{output}/failures.jsonl`; the same command tries them again"
        ));
    }
    let rate = report.fetched as f64 / report.seconds.max(1e-3);
    format!(
        "{text}\n{} in {:.1} s ({rate:.0} tiles/s, {}), {} failed; `{output}` has {}",
        tiles(report.fetched),
        report.seconds,
        size(report.bytes),
        report.failed,
        tiles(report.total_tiles),
    )
}

fn layers(planned: &[PlannedLayer]) -> String {
    let line = |layer: &PlannedLayer| {
        let when = match (layer.times, layer.first.as_str()) {
            (_, "") => "static".into(),
            (1, first) => first.to_string(),
            (n, first) => format!("{n} times from {first} to {}", layer.last),
        };
        let PlannedLayer { layer, matrix_set, level, tiles, total, times, .. } = layer;
        let tiles = if *tiles * *times as u64 == *total {
            format!("{tiles} tiles each")
        } else {
            format!("{total} tiles")
        };
        format!("{layer} {matrix_set}, level {level}: {when}, {tiles}")
    };
    planned.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tiles(n: u64) -> String {
    if n == 1 { "1 tile".into() } else { format!("{n} tiles") }
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.0} kB", b / 1e3),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
