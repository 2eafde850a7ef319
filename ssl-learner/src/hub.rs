//! Starting weights by name from a hub of models: downloaded once, held against the hub's checksum, kept.
//!
//! `hub:timm/resnet18.a1_in1k` is `model.safetensors` of that repository; `hub:OWNER/NAME@REVISION:FILE` names another
//! revision and another file. Safetensors hold numbers alone, never code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use curator_core::context::Unit;
use curator_core::{Context, atomic, digest};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Response, Url, redirect};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where models are looked for unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// The file of a repository that holds its weights.
const FILE: &str = "model.safetensors";
/// Larger files are no encoder that fits here.
const LARGEST: u64 = 8 << 30;

/// A file by its path, or by its name in a hub.
///
/// # Errors
/// [`Error::Hub`], and [`curator_core::Error::Missing`] when there is no such file.
pub fn file(name: &str, context: &Context) -> Result<PathBuf> {
    if let Some(file) = HubFile::parse(name)? {
        return file.fetch(context);
    }
    let path = PathBuf::from(name);
    if path.is_file() { Ok(path) } else { Err(curator_core::Error::Missing { path }.into()) }
}

/// A file of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    owner: String,
    name: String,
    revision: String,
    file: String,
}

/// What is remembered of a file that was downloaded.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    url: String,
    /// The commit that the revision was.
    commit: Option<String>,
    sha256: String,
}

impl HubFile {
    /// Of `hub:OWNER/NAME`, `hub:OWNER/NAME@REVISION`, either with `:FILE`; `None` for what is no such name.
    ///
    /// # Errors
    /// [`Error::Hub`] when it begins like one and is none.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some(rest) = text.strip_prefix("hub:") else { return Ok(None) };
        let (rest, file) = rest.split_once(':').unwrap_or((rest, FILE));
        let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let parts = [owner, name, revision].into_iter().chain(file.split('/'));
        if !parts.into_iter().all(plain) || !file.ends_with(".safetensors") {
            let reason =
                "it must be hub:OWNER/NAME, with @REVISION and :FILE.safetensors if need be";
            return Err(Error::Hub { name: text.into(), reason: reason.into() });
        }
        let [owner, name, revision, file] = [owner, name, revision, file].map(String::from);
        Ok(Some(Self { owner, name, revision, file }))
    }

    fn url(&self, endpoint: &str) -> String {
        let Self { owner, name, revision, file } = self;
        format!("{}/{owner}/{name}/resolve/{revision}/{file}", endpoint.trim_end_matches('/'))
    }

    /// The file on this computer: as it was kept, or downloaded now.
    ///
    /// # Errors
    /// [`Error::Hub`] when the hub cannot be reached, has no such file, or sends other bytes than it says.
    pub fn fetch(&self, context: &Context) -> Result<PathBuf> {
        let directory = directory().ok_or_else(|| {
            self.fail("there is no place to keep it: neither XDG_CACHE_HOME nor HOME is set")
        })?;
        self.fetch_into(&directory, &endpoint(), context)
    }

    fn fetch_into(&self, directory: &Path, endpoint: &str, context: &Context) -> Result<PathBuf> {
        let Self { owner, name, revision, file } = self;
        let url = self.url(endpoint);
        let place = directory.join(owner).join(name).join(revision).join(file);
        let record = place.with_extension("json");
        let kept =
            std::fs::read(&record).ok().and_then(|t| serde_json::from_slice::<Kept>(&t).ok());
        if let Some(kept) = kept
            && kept.url == url
            && place.is_file()
            && digest::of_file(&place)? == kept.sha256
        {
            return Ok(place);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(curator_core::Error::io("start", "the network"))?;
        let kept = runtime.block_on(self.download(&url, &place, context))?;
        let text = serde_json::to_vec_pretty(&kept).unwrap_or_default();
        atomic::write_atomic(&record, &text)?;
        Ok(place)
    }

    async fn download(&self, url: &str, place: &Path, context: &Context) -> Result<Kept> {
        let client = Client::builder()
            .user_agent(concat!("curator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none());
        let client = client.build().map_err(|e| self.trouble(&e))?;
        // The hub itself says what the file is; where it lies may be another server, which need not know.
        let mut response = self.get(&client, url).await?;
        let headers = response.headers().clone();
        let said = |name: &str| header(&headers, name);
        let sha256 = said("x-linked-etag").or_else(|| said("etag"));
        let sha256 =
            sha256.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_lowercase());
        let sha256 =
            sha256.filter(|tag| tag.len() == 64 && tag.bytes().all(|b| b.is_ascii_hexdigit()));
        let sha256 = sha256.ok_or_else(|| self.fail("the hub gives no SHA-256 of it"))?;
        let commit = said("x-repo-commit");
        for _ in 0..5 {
            if !response.status().is_redirection() {
                break;
            }
            let to = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
            let to = response.url().join(&to).ok().filter(|to| safe(response.url(), to));
            let to = to.ok_or_else(|| self.fail("the hub refers to no place on the web"))?;
            response = self.get(&client, to.as_str()).await?;
        }
        let size = response.content_length();
        if size.is_some_and(|size| size > LARGEST) {
            return Err(self.fail("it has more than 8 GiB"));
        }
        let task = context.progress.begin("download", size, Unit::Bytes);
        let draft = atomic::Draft::create(place)?;
        let mut received = 0;
        while let Some(block) = response.chunk().await.map_err(|e| self.trouble(&e))? {
            context.check()?;
            received += block.len() as u64;
            if received > LARGEST {
                return Err(self.fail("it has more than 8 GiB"));
            }
            draft.file().write_all(&block).map_err(curator_core::Error::io("write", place))?;
            task.advance(block.len() as u64);
        }
        draft.commit()?;
        let found = digest::of_file(place)?;
        if found != sha256 {
            let _ = std::fs::remove_file(place);
            let reason = format!("its SHA-256 is {found}, and the hub says {sha256}");
            return Err(self.fail(&reason));
        }
        Ok(Kept { url: url.into(), commit, sha256 })
    }

    /// An answer with a file, or one that says where it is.
    async fn get(&self, client: &Client, url: &str) -> Result<Response> {
        let response = client.get(url).send().await.map_err(|e| self.trouble(&e))?;
        let status = response.status();
        match status.as_u16() {
            200 | 301 | 302 | 303 | 307 | 308 => Ok(response),
            401 | 403 => Err(self.fail("the hub has no such model, or keeps it from the public")),
            404 => Err(self.fail("the hub has no such model, revision or file")),
            _ => Err(self.fail(&format!("the hub answers {status}"))),
        }
    }

    fn fail(&self, reason: &str) -> Error {
        let Self { owner, name, revision, file } = self;
        Error::Hub { name: format!("{owner}/{name}@{revision}:{file}"), reason: reason.into() }
    }

    fn trouble(&self, error: &reqwest::Error) -> Error {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        self.fail(&reason)
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_string())
}

/// Whether what was asked for over TLS stays so, and on the web.
fn safe(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

fn endpoint() -> String {
    std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty()).unwrap_or_else(|| ENDPOINT.into())
}

/// `$XDG_CACHE_HOME/curator/hub`, with `~/.cache` when that is not set.
fn directory() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("curator").join("hub"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_defaults_and_lead_nowhere_else() {
        let url = |text: &str| HubFile::parse(text).unwrap().unwrap().url("http://h/");
        assert_eq!(
            url("hub:timm/resnet18.a1_in1k"),
            "http://h/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
        );
        assert_eq!(url("hub:a/b@v1:c/d.safetensors"), "http://h/a/b/resolve/v1/c/d.safetensors");
        assert_eq!(HubFile::parse("weights/hub.safetensors").unwrap(), None);
        for text in [
            "hub:",
            "hub:a",
            "hub:a/b:",
            "hub:a/b/c",
            "hub:../b",
            "hub:a/b@..",
            "hub:a/b:../c.safetensors",
            "hub:a/b:c.pt",
            "hub:a/b:c?d.safetensors",
        ] {
            assert!(matches!(HubFile::parse(text), Err(Error::Hub { .. })), "{text}");
        }
    }
}
