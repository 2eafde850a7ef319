//! Counts for Prometheus, and ids of requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::search::Traffic;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u32,
}

/// What is counted.
pub(super) struct Meter {
    registry: Registry,
    requests: Family<Answered, Counter>,
    search: Histogram,
    /// Requests to an object store, bytes read there, and bytes that the cache had.
    store: [Counter; 3],
    next: AtomicU64,
    /// Tells the requests of one server from those of another.
    name: String,
}

impl Meter {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Answered, Counter>::default();
        // From half a millisecond to 16 seconds.
        let search = Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let answered = "Requests answered, by route and status";
        registry.register("embed_indexer_requests", answered, requests.clone());
        registry.register("embed_indexer_search_seconds", "Time of a search", search.clone());
        let store = [
            ("embed_indexer_store_requests", "Requests to the object store"),
            ("embed_indexer_store_bytes", "Bytes read from the object store"),
            ("embed_indexer_store_cached_bytes", "Bytes that the cache had instead"),
        ]
        .map(|(name, help)| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        });
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let name = format!("{:x}", now.map_or(0, |now| now.as_millis() as u64));
        Self { registry, requests, search, store, next: AtomicU64::new(1), name }
    }

    pub(super) fn record(&self, route: &'static str, status: u16, time: Duration) {
        self.requests.get_or_create(&Answered { route, status: u32::from(status) }).inc();
        if route == "search" {
            self.search.observe(time.as_secs_f64());
        }
    }

    pub(super) fn next_id(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{number}", self.name))
            .unwrap_or(HeaderValue::from_static("request"))
    }

    /// All counts; `traffic` is what was read from an object store so far.
    pub(super) fn text(&self, traffic: Option<Traffic>) -> String {
        let traffic = traffic.unwrap_or_default();
        let counts = [traffic.requests, traffic.bytes, traffic.from_cache];
        for (counter, count) in self.store.iter().zip(counts) {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry);
        text
    }
}
