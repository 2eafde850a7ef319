//! `embed-indexer`: embeddings, an index over them, and answers from it.

fn main() -> std::process::ExitCode {
    embed_indexer::ann::one_blas_thread();
    curator_cli::main::<embed_indexer::args::Cli>()
}
