//! What every program's `main` shares: flags, logging, progress, errors with hints, exit codes.
//!
//! A program describes itself with [`Program`], and its `main` is one line:
//! `curator_cli::main::<Cli>()`. Data goes to stdout, everything else to stderr.

mod builtin;
mod common;
mod config_file;

mod doctor;
mod logging;
mod progress;

use std::process::ExitCode;

use curator_core::doctor::Check;
use curator_core::error::exit;
use curator_core::{Context, Diagnose};

pub use builtin::Builtin;
pub use common::Common;
pub use curator_core::DeviceChoice;

/// Any error that can end a program; `?` makes one of every error that is [`Diagnose`].
#[derive(Debug)]
pub struct Failure(Box<dyn Diagnose + Send + Sync>);

impl<E: Diagnose + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// What a command ends with.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What `--json` prints, one document.
    pub json: serde_json::Value,
    /// What is printed to stdout otherwise; may have several lines or none.
    pub text: String,
    /// Whether some items failed; the exit code is then [`exit::PARTIAL`].
    pub partial: bool,
}

impl Outcome {
    /// An outcome of a report that serialises.
    #[must_use]
    pub fn new(report: &impl serde::Serialize, text: impl Into<String>) -> Self {
        Self {
            json: serde_json::to_value(report).unwrap_or_default(),
            text: text.into(),
            partial: false,
        }
    }

    /// The same, with exit code 3 when some items failed.
    #[must_use]
    pub fn partial_if(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }
}

/// A command line program.
pub trait Program: clap::Parser {
    /// The flags that all programs share.
    fn common(&self) -> &Common;

    /// The subcommand that all programs share, when one of those was given.
    fn builtin(&self) -> Option<&Builtin>;

    /// What `doctor` checks besides processor, memory and disk.
    fn checks() -> Vec<Check> {
        Vec::new()
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Whatever ends the program; shown with its hint, and its exit code returned.
    fn run(self, context: &Context) -> Result<Outcome, Failure>;
}

/// Parses the command line, runs the program and returns its exit code.
#[must_use]
pub fn main<P: Program>() -> ExitCode {
    let arguments = match config_file::expand::<P>(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(failure) => return fail(&failure, false),
    };
    let program = match P::try_parse_from(arguments) {
        Ok(program) => program,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    let common = program.common().clone();
    logging::start(&common);
    if let Some(threads) = common.threads {
        // Fails only when the pool was used before, which cannot be.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
    }
    if let Some(builtin) = program.builtin() {
        return finish(builtin.run::<P>(&common), &common);
    }
    let context = Context {
        progress: std::sync::Arc::new(progress::Terminal::new(&common)),
        cancel: curator_core::context::Cancel::default(),
    };
    cancel_on_interrupt(&context);
    finish(program.run(&context), &common)
}

/// The first Ctrl-C asks the work to drain; the second ends the process at once.
fn cancel_on_interrupt(context: &Context) {
    let context = context.clone();
    let installed = ctrlc::set_handler(move || {
        if context.cancel.is_cancelled() {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        context.cancel.cancel();
        context
            .progress
            .note("stopping after the work at hand; press Ctrl-C again to stop at once");
    });
    if let Err(error) = installed {
        tracing::debug!("no interrupt handler: {error}");
    }
}

fn finish(result: Result<Outcome, Failure>, common: &Common) -> ExitCode {
    use std::io::Write;
    match result {
        Ok(outcome) => {
            let text = if common.json { format!("{:#}", outcome.json) } else { outcome.text };
            if !text.is_empty() {
                // A reader that went away is no failure of ours.
                let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
            }
            ExitCode::from(if outcome.partial { exit::PARTIAL } else { exit::DONE })
        }
        Err(failure) => fail(&failure, common.json),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where errors reach the user")]
fn fail(Failure(error): &Failure, json: bool) -> ExitCode {
    if json {
        let document = serde_json::json!({
            "error": error.to_string(),
            "hint": error.hint(),
            "exit_code": error.exit_code(),
        });
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{document:#}\n"));
    }
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("  hint: {hint}");
    }
    ExitCode::from(error.exit_code())
}
