//! Objects and ranges of them, of S3, Google Cloud Storage, Azure, a plain HTTP server or a folder, all read alike.
//! Credentials come from the environment, by the names that each service's own tools use.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use url::{Position, Url};

use crate::{Error, Result};

/// Requests at a time.
const AT_ONCE: usize = 32;
/// Requests that fail on the way or at the server are tried again so often, and so long.
const RETRIES: usize = 5;
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Whether a place is an address rather than a path.
pub(super) fn is_address(place: &Path) -> bool {
    place.to_str().is_some_and(|text| text.contains("://"))
}

/// A folder of objects.
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    name: PathBuf,
    /// Its own, because callers are on threads of any kind; taken when this is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A range of an object.
pub(super) struct Fetched {
    pub(super) bytes: Bytes,
    /// Bytes of the whole object.
    pub(super) size: u64,
}

/// Why a range could not be read.
pub(super) enum Failure {
    /// The object is not there, or ends before: an index that is damaged.
    Damage(String),
    /// The store cannot be read.
    Store(Error),
}

impl Remote {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// [`curator_core::Error::Setting`] of an address that cannot be used, [`Error::Store`] when a service's
    /// settings cannot.
    pub(super) fn open(place: &Path) -> Result<Self> {
        let (store, prefix, name) = match place.to_str().filter(|text| text.contains("://")) {
            Some(address) => of_address(address)?,
            None => {
                let store = LocalFileSystem::new_with_prefix(place)
                    .map_err(|_| curator_core::Error::Missing { path: place.into() })?;
                (Arc::new(store) as Arc<dyn ObjectStore>, Key::default(), place.to_path_buf())
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(curator_core::Error::io("read", &name))?;
        let (requests, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { store, prefix, name, runtime: Some(runtime), requests, bytes })
    }

    /// What messages call the folder.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Requests so far, and bytes of their answers.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whole objects of at most `limit` bytes, in the order asked for.
    pub(super) fn whole(&self, paths: &[&str], limit: u64) -> Vec<Result<Bytes, Failure>> {
        let get = |path: String| async move {
            let got = self.store.get(&self.key(&path)).await.map_err(|e| self.failed(&path, e))?;
            if got.meta.size > limit {
                let text = format!("`{path}` has {} bytes, {limit} are expected", got.meta.size);
                return Err(Failure::Damage(text));
            }
            self.count(got.bytes().await.map_err(|e| self.failed(&path, e))?)
        };
        self.run(paths.iter().map(|path| (*path).to_string()), get)
    }

    /// Ranges of objects, in the order asked for.
    pub(super) fn ranges(&self, wanted: Vec<(&str, Range<u64>)>) -> Vec<Result<Fetched, Failure>> {
        let get = |(path, range): (String, Range<u64>)| async move {
            let key = self.key(&path);
            let options = GetOptions::new().with_range(Some(range.clone()));
            let got = match self.store.get_opts(&key, options).await {
                Ok(got) => got,
                Err(error) => return Err(self.cut_or_failed(&path, &range, error).await),
            };
            let size = got.meta.size;
            let bytes = got.bytes().await.map_err(|e| self.failed(&path, e))?;
            if bytes.len() as u64 != range.end - range.start {
                return Err(cut(&path, size));
            }
            Ok(Fetched { bytes: self.count(bytes)?, size })
        };
        self.run(wanted.into_iter().map(|(path, range)| (path.to_string(), range)), get)
    }

    /// Does all requests, many at a time.
    fn run<I, T, F: Future<Output = Result<T, Failure>>>(
        &self,
        all: impl Iterator<Item = I>,
        get: impl Fn(I) -> F,
    ) -> Vec<Result<T, Failure>> {
        let Some(runtime) = &self.runtime else { return Vec::new() };
        runtime.block_on(futures_util::stream::iter(all.map(get)).buffered(AT_ONCE).collect())
    }

    fn key(&self, path: &str) -> Key {
        path.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
    }

    fn count(&self, bytes: Bytes) -> Result<Bytes, Failure> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// A range behind the end of an object is refused in many ways; the object's size tells.
    async fn cut_or_failed(
        &self,
        path: &str,
        range: &Range<u64>,
        error: object_store::Error,
    ) -> Failure {
        if let object_store::Error::Generic { .. } = error
            && let Ok(found) = self.store.head(&self.key(path)).await
            && found.size < range.end
        {
            return cut(path, found.size);
        }
        self.failed(path, error)
    }

    fn failed(&self, path: &str, error: object_store::Error) -> Failure {
        let address = self.name.join(path).display().to_string();
        match error {
            object_store::Error::NotFound { .. } => {
                Failure::Damage(format!("`{address}` does not exist"))
            }
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                Failure::Store(Error::Denied { address, detail: error.to_string() })
            }
            error => Failure::Store(Error::Store { address, detail: error.to_string() }),
        }
    }
}

impl Drop for Remote {
    /// The last owner may be a thread that must not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn cut(path: &str, size: u64) -> Failure {
    Failure::Damage(format!("`{path}` ends after {size} bytes"))
}

fn of_address(address: &str) -> Result<(Arc<dyn ObjectStore>, Key, PathBuf)> {
    let setting = |expected: String| curator_core::Error::Setting {
        name: "the index's address",
        found: format!("`{address}`"),
        expected,
    };
    let mut url = Url::parse(address).map_err(|e| setting(e.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        let plain = "an address without `?` and `#` is expected; credentials come from the \
                     environment";
        return Err(setting(plain.into()).into());
    }
    let known = "s3://, gs://, az://, http:// or https:// is expected";
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| setting(known.into()))?;
    let retry =
        RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..Default::default() };
    let text = url.to_string();
    let store: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(text).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(text).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(text).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        ObjectStoreScheme::Http => HttpBuilder::new()
            .with_url(&url[..Position::BeforePath])
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        ObjectStoreScheme::Local => {
            let root = url.to_file_path().map_err(|()| setting(known.into()))?;
            let store = LocalFileSystem::new_with_prefix(&root);
            return Ok((
                Arc::new(store.map_err(|_| curator_core::Error::Missing { path: root.clone() })?),
                Key::default(),
                root,
            ));
        }
        _ => return Err(setting(known.into()).into()),
    };
    // Passwords are not shown.
    let _ = url.set_password(None);
    let name = url.as_str().trim_end_matches('/').to_string();
    let store = store.map_err(|e| Error::Store { address: name.clone(), detail: e.to_string() })?;
    Ok((store, prefix, name.into()))
}
