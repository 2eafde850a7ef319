//! The links that open a page: each has a role and an unguessable token, may expire and be revoked.
//!
//! Links of a labelling directory are kept in `access.json` beside the labels, readable by its owner alone,
//! so that they outlive the server and can be revoked while it runs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curator_core::Error as CoreError;
use hmac::{Hmac, Mac};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::Result;

/// The file's name.
pub const FILE_NAME: &str = "access.json";
/// More links than anybody needs.
const MOST: usize = 1000;

/// What the holder of a link may do; later ones may do less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything: label, settle, make and revoke links, finish.
    Owner,
    /// Label.
    Labeller,
    /// Look.
    Viewer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Labeller, Self::Viewer];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Labeller => "labeller",
            Self::Viewer => "viewer",
        }
    }

    /// Whether it may do what another may.
    #[must_use]
    pub fn may(self, needed: Self) -> bool {
        self <= needed
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("`{text}` is not owner, labeller or viewer"))
    }
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name in lists; no secret.
    pub id: String,
    /// What it allows.
    pub role: Role,
    /// The secret.
    pub token: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, seconds since 1970; never when `None`.
    pub expires: Option<u64>,
    /// Whether it was revoked.
    #[serde(default)]
    pub revoked: bool,
}

impl Link {
    /// Whether it opens the page now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.revoked && self.expires.is_none_or(|end| now() < end)
    }
}

/// The links of one server, and the secret its cookies are signed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Links {
    version: u32,
    secret: String,
    links: Vec<Link>,
}

impl Links {
    /// A fresh secret and no links.
    #[must_use]
    pub fn fresh() -> Self {
        Self { version: 1, secret: random(32), links: Vec::new() }
    }

    /// The links of a directory; fresh ones when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or of a newer version.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::fresh()),
            Err(e) => return Err(CoreError::io("read", &path)(e).into()),
        };
        let links: Self = serde_json::from_slice(&text)
            .map_err(|e| CoreError::damaged(&path, "links as JSON", e))?;
        if links.version > 1 {
            return Err(CoreError::NewerFormat { path, found: links.version, supported: 1 }.into());
        }
        if links.secret.len() < 40 {
            return Err(CoreError::damaged(&path, "a secret of 32 bytes", "a shorter one").into());
        }
        Ok(links)
    }

    /// Writes the file, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(directory)?;
            // Temporary files are readable by their owner alone, and stay so.
            let file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(directory)?;
            serde_json::to_writer_pretty(file.as_file(), self)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e| CoreError::io("write", &path)(e).into())
    }

    /// Every link, revoked ones too.
    #[must_use]
    pub fn all(&self) -> &[Link] {
        &self.links
    }

    /// Adds a link that ends after some hours, or never.
    pub fn add(&mut self, role: Role, hours: Option<u32>) -> Link {
        self.links.retain(Link::is_good);
        if self.links.len() >= MOST {
            self.links.remove(0);
        }
        let link = Link {
            id: random(6),
            role,
            token: random(32),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            expires: hours.map(|hours| now() + u64::from(hours) * 3600),
            revoked: false,
        };
        self.links.push(link.clone());
        link
    }

    /// The newest good link of a role that does not expire, or a fresh one.
    pub fn lasting(&mut self, role: Role) -> Link {
        let lasting = |l: &&Link| l.role == role && l.expires.is_none() && l.is_good();
        match self.links.iter().rev().find(lasting) {
            Some(link) => link.clone(),
            None => self.add(role, None),
        }
    }

    /// Revokes a link; whether there was one.
    pub fn revoke(&mut self, id: &str) -> bool {
        let found = self.links.iter_mut().find(|link| link.id == id);
        found.map(|link| link.revoked = true).is_some()
    }

    /// The good link of an id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id && link.is_good())
    }

    /// The good link of a token, compared without an early end so that time tells nothing.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Link> {
        let same = |link: &Link| {
            let pairs = link.token.bytes().zip(token.bytes());
            let differences = pairs.fold(0_u8, |sum, (a, b)| sum | (a ^ b));
            link.token.len() == token.len() && differences == 0
        };
        // Every link is looked at, whichever fits.
        let mut found = None;
        for link in self.links.iter().filter(|link| link.is_good()) {
            if same(link) {
                found = Some(link);
            }
        }
        found
    }

    /// Signs words with the secret.
    #[must_use]
    pub fn sign(&self, words: &[&str]) -> String {
        sign(self.secret.as_bytes(), words)
    }

    /// The secret, for other signatures of the same server.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

/// The first 128 bits of an HMAC-SHA-256 over words, as base64. Words are separated by their lengths, so
/// no two lists of words are signed as one.
#[must_use]
pub fn sign(secret: &[u8], words: &[&str]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("a key of any length");
    for word in words {
        mac.update(&(word.len() as u64).to_le_bytes());
        mac.update(word.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

/// Whether a signature is right, in constant time.
#[must_use]
pub fn is_signed(secret: &[u8], words: &[&str], signature: &str) -> bool {
    let right = sign(secret, words);
    let differences = right.bytes().zip(signature.bytes()).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    right.len() == signature.len() && differences == 0
}

/// Random bytes as base64.
pub(crate) fn random(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    rand::rng().fill_bytes(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// When a directory's links were last written.
pub(crate) fn modified(directory: &Path) -> Option<SystemTime> {
    let path: PathBuf = directory.join(FILE_NAME);
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_expire_and_are_revoked() {
        let mut links = Links::fresh();
        let (good, over) = (links.add(Role::Labeller, Some(1)), links.add(Role::Viewer, Some(0)));
        assert_eq!(links.by_token(&good.token).map(|l| l.role), Some(Role::Labeller));
        assert!(links.by_token(&over.token).is_none());
        assert!(links.by_token("").is_none());
        assert!(links.revoke(&good.id) && links.by_id(&good.id).is_none());
        let owner = links.lasting(Role::Owner);
        assert_eq!(links.lasting(Role::Owner), owner, "the same link the next time");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_and_keeps_the_links() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mut links = Links::read(dir.path()).unwrap();
        let link = links.lasting(Role::Owner);
        links.write(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Links::read(dir.path()).unwrap().lasting(Role::Owner), link);
        std::fs::write(dir.path().join(FILE_NAME), "{}").unwrap();
        assert!(Links::read(dir.path()).is_err());
    }

    #[test]
    fn words_are_signed_one_by_one() {
        assert_ne!(sign(b"k", &["ab", "c"]), sign(b"k", &["a", "bc"]));
        let good = sign(b"k", &["a"]);
        assert!(is_signed(b"k", &["a"], &good));
        assert!(!is_signed(b"k", &["a"], &good[..8]) && !is_signed(b"k", &["a"], ""));
    }
}
