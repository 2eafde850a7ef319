//! Progress as bars on a terminal, as a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use curator_core::context::{Progress, Silent, Task, Unit};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::Common;

/// Time between two lines when stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress for a person, or for a log file.
pub(crate) struct Terminal {
    bars: Option<MultiProgress>,
    quiet: bool,
    lines: bool,
}

impl Terminal {
    pub(crate) fn new(common: &Common) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let show = !common.quiet && !common.no_progress;
        Self {
            bars: (terminal && show).then(MultiProgress::new),
            quiet: common.quiet,
            lines: !terminal && show,
        }
    }

    #[expect(clippy::print_stderr, reason = "the one place where messages reach the user")]
    fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Progress for Terminal {
    fn begin(&self, name: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        if let Some(bars) = &self.bars {
            let bar = bars.add(match total {
                Some(total) => ProgressBar::new(total),
                None => ProgressBar::new_spinner(),
            });
            bar.set_style(style(total.is_some(), unit));
            bar.set_prefix(name.to_string());
            bar.enable_steady_tick(Duration::from_millis(200));
            Box::new(Bar(bar))
        } else if self.lines {
            Box::new(Lines {
                name: name.to_string(),
                total,
                unit,
                done: AtomicU64::new(0),
                begun: Instant::now(),
                state: Mutex::new((Instant::now(), String::new())),
            })
        } else {
            Box::new(Silent)
        }
    }

    fn warn(&self, message: &str) {
        self.print(&format!("warning: {message}"));
    }

    fn note(&self, message: &str) {
        if !self.quiet {
            self.print(message);
        }
    }
}

fn style(bounded: bool, unit: Unit) -> ProgressStyle {
    let template = match (bounded, unit) {
        (true, Unit::Items) => {
            "{prefix:>12} {bar:32} {human_pos}/{human_len} {per_sec} · {eta} left {msg}"
        }
        (true, Unit::Bytes) => {
            "{prefix:>12} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} · {eta} left {msg}"
        }
        (false, Unit::Items) => "{prefix:>12} {spinner} {human_pos} {per_sec} {msg}",
        (false, Unit::Bytes) => "{prefix:>12} {spinner} {bytes} {bytes_per_sec} {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Bar(ProgressBar);

impl Task for Bar {
    fn advance(&self, n: u64) {
        self.0.inc(n);
    }
    fn say(&self, message: &str) {
        self.0.set_message(message.to_string());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Lines {
    name: String,
    total: Option<u64>,
    unit: Unit,
    done: AtomicU64,
    begun: Instant,
    /// When the last line was printed, and the last message.
    state: Mutex<(Instant, String)>,
}

impl Lines {
    fn amount(&self, n: u64) -> String {
        match self.unit {
            Unit::Items => n.to_string(),
            Unit::Bytes => HumanBytes(n).to_string(),
        }
    }

    #[expect(clippy::print_stderr, reason = "progress where there is no terminal")]
    fn print(&self, message: &str) {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(1e-9);
        let of = self.total.map(|total| {
            let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
            let left = if done == 0 { String::new() } else { format!(", {left:.0} s left") };
            format!("/{}{left}", self.amount(total))
        });
        eprintln!(
            "{}: {}{} ({}/s) {message}",
            self.name,
            self.amount(done),
            of.unwrap_or_default(),
            self.amount(rate as u64),
        );
    }
}

impl Task for Lines {
    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        if let Ok(mut state) = self.state.try_lock()
            && state.0.elapsed() >= LINE_EVERY
        {
            state.0 = Instant::now();
            let message = state.1.clone();
            self.print(&message);
        }
    }

    fn say(&self, message: &str) {
        if let Ok(mut state) = self.state.lock() {
            state.1 = message.to_string();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.begun.elapsed() >= LINE_EVERY {
            let message = self.state.lock().map(|s| s.1.clone()).unwrap_or_default();
            self.print(&message);
        }
    }
}
