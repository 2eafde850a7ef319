//! `data-preprocessor`: imagery that a model can learn from.

fn main() -> std::process::ExitCode {
    curator_cli::main::<data_preprocessor::args::Cli>()
}
