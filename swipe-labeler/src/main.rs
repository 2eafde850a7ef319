//! `swipe-labeler`: labels by swiping.

fn main() -> std::process::ExitCode {
    curator_cli::main::<swipe_labeler::args::Cli>()
}
