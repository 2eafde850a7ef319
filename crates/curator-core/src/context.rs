//! Progress and cancellation, passed into every stage, so that libraries never print and never exit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// What a stage counts while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: tiles, images, labels.
    Items,
    /// Bytes, shown with binary prefixes.
    Bytes,
}

/// One piece of long work, shown as a bar or as a periodic line.
pub trait Task: Send + Sync {
    /// `n` more units are done.
    fn advance(&self, n: u64);
    /// A short word beside the bar, such as the current loss.
    fn say(&self, message: &str);
}

/// Where a stage reports to.
pub trait Progress: Send + Sync {
    /// Begins a piece of work of `total` units; it ends when the task is dropped.
    fn begin(&self, name: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task>;
    /// Something the user should read, such as a skipped image.
    fn warn(&self, message: &str);
    /// Something the user may like to read.
    fn note(&self, message: &str);
}

/// Progress that goes nowhere, for tests and embedding.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Task for Silent {
    fn advance(&self, _: u64) {}
    fn say(&self, _: &str) {}
}

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Self)
    }
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

/// Set once, by Ctrl-C or a caller; long loops look at it between items.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everything that holds this token to drain and stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a stage gets besides its configuration.
#[derive(Clone)]
pub struct Context {
    /// Where to report progress.
    pub progress: Arc<dyn Progress>,
    /// Whether to stop.
    pub cancel: Cancel,
}

impl Context {
    /// A context that reports nothing and is never cancelled from outside.
    #[must_use]
    pub fn silent() -> Self {
        Self { progress: Arc::new(Silent), cancel: Cancel::default() }
    }

    /// # Errors
    /// [`Error::Interrupted`] when stopping was asked for.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
