//! `ssl-learner`: representations without labels.

fn main() -> std::process::ExitCode {
    curator_cli::main::<ssl_learner::args::Cli>()
}
