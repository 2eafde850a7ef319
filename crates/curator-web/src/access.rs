//! Who may use a page: the holder of a link, from the page itself.

mod guard;
mod hosts;
mod visitor;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use axum::middleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::Result;
use crate::links::{self, Link, Links, Role};
use guard::guard;
pub use hosts::Hosts;
pub use visitor::Visitor;

/// Wrong links a minute from one address.
const WRONG_LINKS: u32 = 30;
/// How often the file of links is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The links of one server, and the names it answers to.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

struct Shared {
    links: RwLock<Links>,
    /// Where the links are kept.
    file: Option<(PathBuf, Mutex<Seen>)>,
    hosts: Hosts,
    origins: Vec<String>,
    secure: bool,
    requests: Option<DefaultKeyedRateLimiter<String>>,
    wrong: DefaultKeyedRateLimiter<IpAddr>,
}

/// The time of the file that was read, and when it was looked at.
type Seen = (Option<SystemTime>, Instant);

/// How an [`Access`] is set up.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// The directory whose `access.json` keeps the links; in memory when `None`.
    pub directory: Option<PathBuf>,
    /// The names it answers to.
    pub hosts: Hosts,
    /// Origins besides its own whose requests are answered: of add-ons, such as `chrome-extension://…`. They bring
    /// a link's token as `Authorization: Bearer`.
    pub origins: Vec<String>,
    /// Whether it is reached through TLS only.
    pub secure: bool,
    /// Requests a second of one browser, with four seconds' worth at once; no limit when `None`.
    pub rate: Option<NonZeroU32>,
}

impl Access {
    /// Opens or makes the links.
    ///
    /// # Errors
    /// When the file of links cannot be read or written.
    pub fn open(options: AccessOptions) -> Result<Self> {
        let links = match &options.directory {
            Some(directory) => Links::read(directory)?,
            None => Links::fresh(),
        };
        let minute = NonZeroU32::new(WRONG_LINKS).unwrap_or(NonZeroU32::MIN);
        let rate = |rate: NonZeroU32| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(3));
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        };
        let file = options.directory.map(|directory| {
            let seen = (links::modified(&directory), Instant::now());
            (directory, Mutex::new(seen))
        });
        Ok(Self {
            shared: Arc::new(Shared {
                links: RwLock::new(links),
                file,
                hosts: options.hosts,
                origins: options.origins,
                secure: options.secure,
                requests: options.rate.map(rate),
                wrong: RateLimiter::keyed(Quota::per_minute(minute)),
            }),
        })
    }

    /// The token of a role's lasting link.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn token(&self, role: Role) -> Result<String> {
        self.change(|links| links.lasting(role).token)
    }

    /// Makes a link.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn add(&self, role: Role, hours: Option<u32>) -> Result<Link> {
        self.change(|links| links.add(role, hours))
    }

    /// Revokes a link; whether there was one. Who came through it is out at once.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn revoke(&self, id: &str) -> Result<bool> {
        self.change(|links| links.revoke(id))
    }

    /// Every link.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.look();
        self.read(|links| links.all().to_vec())
    }

    /// The secret that cookies are signed with, for other signatures of the same server.
    #[must_use]
    pub fn secret(&self) -> String {
        self.read(|links| links.secret().to_string())
    }

    /// Guards every route of a router.
    pub fn protect(self, router: axum::Router) -> axum::Router {
        router.layer(middleware::from_fn_with_state(self, guard))
    }

    fn read<T>(&self, look: impl FnOnce(&Links) -> T) -> T {
        // Links are replaced as a whole, so a panic elsewhere leaves them whole.
        look(&self.shared.links.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> Result<T> {
        self.look_now();
        let mut links = self.shared.links.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = links.clone();
        let result = change(&mut changed);
        if let Some((directory, seen)) = &self.shared.file {
            changed.write(directory)?;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = (links::modified(directory), Instant::now());
        }
        *links = changed;
        Ok(result)
    }

    /// Takes up what another process changed in the file of links, looking once a second.
    fn look(&self) {
        if let Some((_, seen)) = &self.shared.file
            && seen.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed() >= LOOK_EVERY
        {
            self.look_now();
        }
    }

    fn look_now(&self) {
        let Some((directory, seen)) = &self.shared.file else { return };
        let modified = links::modified(directory);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.1 = Instant::now();
            if seen.0 == modified {
                return;
            }
            seen.0 = modified;
        }
        match Links::read(directory) {
            Ok(fresh) => {
                *self.shared.links.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
            Err(error) => tracing::warn!("links are as they were: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
