//! A server that answers as NASA GIBS does: tiles by REST and KVP in four projections, capabilities,
//! DescribeDomains, colour maps, `Layer-*` headers, entity tags, time snapping, empty tiles, and its
//! errors. On request it is slow, or misbehaves.

mod capabilities;
mod colormap;
mod domains;
mod exception;
mod fault;
mod layer;
mod pictures;
mod request;
mod service;
mod stac;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use colormap::vegetation_of;
pub use fault::Fault;
use service::Service;

/// What a stand-in serves, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port; 0 takes any that is free.
    pub port: u16,
    /// Georeferenced pictures instead of the procedural Earth; every picture name is a layer, a date at
    /// the end of the name is its day.
    pub images: Option<PathBuf>,
    /// Serve the first tile of a layer for all others: costs nothing, for measurements of speed.
    pub same_tile: bool,
    /// Misbehave at every n-th tile request.
    pub fault: Option<(Fault, u64)>,
    /// Wait so long before every answer.
    pub latency: Duration,
    /// Answer more tile requests than this in a second with 429.
    pub limit: Option<u64>,
    /// Megabytes of encoded tiles to keep.
    pub cache_mb: u64,
    /// Ranges of times on a page of DescribeDomains.
    pub page: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            images: None,
            same_tile: false,
            fault: None,
            latency: Duration::ZERO,
            limit: None,
            cache_mb: 256,
            page: 25_000,
        }
    }
}

/// A running stand-in; it stops when this is dropped.
pub struct Standin {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Standin {
    /// Starts a server on loopback, on a thread of its own.
    ///
    /// # Errors
    /// When the port is taken or the pictures cannot be read.
    pub fn start(options: &Options) -> std::io::Result<Self> {
        let requests = Arc::new(AtomicU64::new(0));
        let service = Arc::new(Service::new(options, requests.clone())?);
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let server = axum::serve(listener, service::router(service));
                tokio::select! { _ = server => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        });
        Ok(Self { address, requests, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that stands for `https://gibs.earthdata.nasa.gov`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tile requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until the process is ended.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
