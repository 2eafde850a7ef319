//! Flags of `publish`, and of reading what was published.

use std::path::PathBuf;

use curator_cli::Outcome;
use curator_core::Context;

use crate::search::{Missing, Traffic};
use crate::{Error, stream};

/// Flags of `publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer publish index/ -o published/\n  \
    aws s3 sync published/ s3://bucket/index\n  \
    embed-indexer search s3://bucket/index one-island.jpg\n  \
    embed-indexer serve https://example.org/index --cache-mb 1024")]
pub(super) struct PublishArgs {
    /// The index: flat, ivf-flat, ivf-sq8 or ivf-pq
    index: PathBuf,
    /// Where the files to upload go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl PublishArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let published = stream::publish(&self.index, &self.output, context)?;
        Ok(Outcome::new(&published, published.to_string()))
    }
}

/// Flags of reading from an object store.
#[derive(Debug, clap::Args)]
pub(super) struct CacheArgs {
    /// Memory for what was read of an index in an object store, in MB
    #[arg(long, default_value_t = 256, value_name = "MB")]
    cache_mb: u32,
}

impl CacheArgs {
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.cache_mb) << 20
    }
}

/// Warns of what is not searched.
pub(super) fn warn_of(missing: &[Missing], context: &Context) {
    for missing in missing {
        let text = format!("`{}` is not searched: {}", missing.part, missing.reason);
        context.progress.warn(&text);
    }
}

/// Says what was read.
pub(super) fn tell(traffic: Option<Traffic>, context: &Context) {
    if let Some(Traffic { requests, bytes, .. }) = traffic {
        let megabytes = bytes as f64 / 1e6;
        context.progress.note(&format!("read {megabytes:.2} MB in {requests} requests"));
    }
}
