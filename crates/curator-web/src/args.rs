//! The flags of every program that serves a page.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::{ServeOptions, Share, Tls, Tunnel};

/// Where a page is served, and to whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct WebArgs {
    /// Port; 0 takes any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Let others in: `lan` (this network) or `tunnel` (anywhere, through `--tunnel-server`)
    #[arg(long, value_name = "HOW", value_parser = ["lan", "tunnel"])]
    share: Option<String>,
    /// The bore server to tunnel through; anybody can host one with `bore server`
    #[arg(long, value_name = "NAME", env = "CURATOR_TUNNEL", required_if_eq("share", "tunnel"))]
    tunnel_server: Option<String>,
    /// What the tunnel's server asks of its users
    #[arg(long, value_name = "SECRET", env = "CURATOR_TUNNEL_SECRET", hide_env_values = true)]
    tunnel_secret: Option<String>,
    /// Encrypt: `on` makes a certificate for this run, which browsers ask about
    /// [default: on for tunnels, else off]
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_missing_value = "on", value_parser = ["on", "off"])]
    tls: Option<String>,
    /// Encrypt with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Accept a tunnel without TLS
    #[arg(long)]
    insecure: bool,
    /// Another name this server is reached by
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// Requests a second of one browser; 0 for no limit
    #[arg(long, default_value_t = 60, value_name = "N")]
    rate: u32,
}

impl WebArgs {
    /// What was typed, as settings; links are kept in `directory` when one is given.
    #[must_use]
    pub fn options(self, directory: Option<PathBuf>) -> ServeOptions {
        let share = match (self.share.as_deref(), self.tunnel_server) {
            (Some("tunnel"), Some(server)) => {
                Share::Tunnel(Tunnel { server, secret: self.tunnel_secret })
            }
            (Some(_), _) => Share::Lan,
            (None, _) => Share::No,
        };
        let tls = match (self.tls_cert, self.tls_key, self.tls.as_deref()) {
            (Some(certificate), Some(key), _) => Tls::Files { certificate, key },
            (_, _, Some("on")) => Tls::SelfSigned,
            (_, _, None) if matches!(share, Share::Tunnel(_)) && !self.insecure => Tls::SelfSigned,
            _ => Tls::Off,
        };
        ServeOptions {
            host: self.host,
            port: self.port,
            share,
            tls,
            insecure: self.insecure,
            names: self.name,
            origins: Vec::new(),
            rate: NonZeroU32::new(self.rate),
            directory,
        }
    }
}
