//! Diagnostics on stderr, by verbosity or `CURATOR_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::Common;

/// Starts logging; `CURATOR_LOG` (such as `debug` or `gibs_downloader=trace`) wins over `-v`.
pub(crate) fn start(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("CURATOR_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .try_init();
}
