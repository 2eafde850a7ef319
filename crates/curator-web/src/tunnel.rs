//! Reaching the page from anywhere, through a `bore` server (<https://github.com/ekzhang/bore>), which
//! anybody can host: `cargo install bore-cli && bore server`. The tunnel carries bytes; TLS ends here, so
//! the server between sees nothing.

use bore_cli::client::Client;

use crate::{Error, Result};

/// The server between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Its name or address.
    pub server: String,
    /// What it asks of its users, when it does.
    pub secret: Option<String>,
}

/// An open tunnel to a local port.
pub(crate) struct Open {
    client: Client,
    /// The port at the server.
    pub(crate) port: u16,
}

impl Tunnel {
    pub(crate) async fn open(&self, local: u16) -> Result<Open> {
        let fail = |e: &dyn std::fmt::Display| Error::Tunnel {
            server: self.server.clone(),
            reason: format!("{e:#}"),
        };
        let client = Client::new("127.0.0.1", local, &self.server, 0, self.secret.as_deref());
        let client = client.await.map_err(|e| fail(&e))?;
        let port = client.remote_port();
        Ok(Open { client, port })
    }
}

impl Open {
    /// Carries connections until the server goes away.
    pub(crate) async fn carry(self) -> std::result::Result<(), String> {
        self.client.listen().await.map_err(|e| format!("{e:#}"))
    }
}
