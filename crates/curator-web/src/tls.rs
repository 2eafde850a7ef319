//! Certificates: given ones, or one signed by itself.

use std::path::{Path, PathBuf};

use axum_server::tls_rustls::RustlsConfig;
use curator_core::Error as CoreError;

use crate::{Error, Result};

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// They are not.
    #[default]
    Off,
    /// By a certificate made for this run; browsers ask before they accept it.
    SelfSigned,
    /// By a certificate chain and its key, as PEM files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Tls {
    /// The server's settings, and for a self-signed certificate its SHA-256 fingerprint.
    pub(crate) async fn settings(
        &self,
        names: &[String],
    ) -> Result<Option<(RustlsConfig, Option<String>)>> {
        match self {
            Self::Off => Ok(None),
            Self::SelfSigned => {
                let made = rcgen::generate_simple_self_signed(names)
                    .map_err(|e| Error::Certificate { reason: e.to_string() })?;
                let der = made.cert.der().to_vec();
                let digest = curator_core::digest::of_bytes(&der);
                let key = made.signing_key.serialize_der();
                let settings = RustlsConfig::from_der(vec![der], key)
                    .await
                    .map_err(|e| Error::Certificate { reason: e.to_string() })?;
                Ok(Some((settings, Some(fingerprint(&digest)))))
            }
            Self::Files { certificate, key } => {
                let read = |path: &Path| std::fs::read(path).map_err(CoreError::io("read", path));
                let settings =
                    RustlsConfig::from_pem(read(certificate)?, read(key)?).await.map_err(|e| {
                        Error::Certificate { reason: format!("`{}`: {e}", certificate.display()) }
                    })?;
                Ok(Some((settings, None)))
            }
        }
    }
}

/// As browsers show it: `AB:CD:…`.
fn fingerprint(digest: &str) -> String {
    let pairs: Vec<String> =
        digest.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).to_uppercase()).collect();
    pairs.join(":")
}
