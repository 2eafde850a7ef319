//! `active-labeler`: everything relevant, with as few labels as possible.

fn main() -> std::process::ExitCode {
    curator_cli::main::<active_labeler::args::Cli>()
}
