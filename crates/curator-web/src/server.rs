//! Starting a server, saying where it is, and stopping it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use curator_core::Context;

use crate::access::{AccessOptions, Hosts};
use crate::{Access, Error, Result, Role, Tls, Tunnel};

/// Largest request body, in bytes; a photograph fits.
const MAX_BODY: usize = 32 << 20;
/// How long requests may still take when the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Who is let in besides this computer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Share {
    /// Nobody.
    #[default]
    No,
    /// This network.
    Lan,
    /// Anybody, through a server between.
    Tunnel(Tunnel),
}

/// Where a server listens, and to whom.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address; loopback unless asked.
    pub host: IpAddr,
    /// The port; 0 takes any that is free.
    pub port: u16,
    /// Who is let in.
    pub share: Share,
    /// Encryption.
    pub tls: Tls,
    /// Whether a tunnel without encryption is accepted.
    pub insecure: bool,
    /// Further names this server is reached by.
    pub names: Vec<String>,
    /// Origins of add-ons that may ask, see [`AccessOptions::origins`].
    pub origins: Vec<String>,
    /// Requests a second of one browser; no limit when `None`.
    pub rate: Option<NonZeroU32>,
    /// The directory that keeps the links; in memory when `None`.
    pub directory: Option<PathBuf>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            share: Share::No,
            tls: Tls::Off,
            insecure: false,
            names: Vec::new(),
            origins: Vec::new(),
            rate: None,
            directory: None,
        }
    }
}

/// A bound address with its links, before it serves: what a router needs to know of its server.
pub struct Server {
    listener: std::net::TcpListener,
    /// The links.
    pub access: Access,
    options: ServeOptions,
    names: Vec<String>,
}

impl Server {
    /// Binds the address and opens the links.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address is taken, [`Error::Unencrypted`], and when links cannot be read.
    pub fn bind(options: &ServeOptions) -> Result<Self> {
        let tunnelled = matches!(options.share, Share::Tunnel(_));
        if tunnelled && options.tls == Tls::Off && !options.insecure {
            return Err(Error::Unencrypted);
        }
        let lan = options.share == Share::Lan;
        let host = if lan { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { options.host };
        let asked = SocketAddr::new(host, options.port);
        let bind = |source| Error::Bind { address: asked.to_string(), source };
        let listener = std::net::TcpListener::bind(asked).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let mut names = options.names.clone();
        if let Share::Tunnel(tunnel) = &options.share {
            names.push(tunnel.server.clone());
        }
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = own.trim();
        if !own.is_empty() && !host.is_loopback() {
            names.extend([own.to_string(), format!("{own}.local")]);
        }
        let access = Access::open(AccessOptions {
            directory: options.directory.clone(),
            hosts: Hosts { names: names.clone(), numbers: !host.is_loopback() || tunnelled },
            origins: options.origins.clone(),
            secure: options.tls != Tls::Off,
            rate: options.rate,
        })?;
        Ok(Self { listener, access, options: options.clone(), names })
    }

    /// Serves a router until the context is cancelled or `finished` completes; prints the links to open.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Certificate`], [`Error::Tunnel`].
    pub async fn run(
        self,
        router: axum::Router,
        context: &Context,
        finished: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let address = self.listener.local_addr()?;
        let mut names = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
        if !address.ip().is_loopback() {
            names.push(lan_address().to_string());
        }
        names.extend(self.names.iter().cloned());
        let tls = self.options.tls.settings(&names).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        self.announce(address, scheme, context)?;
        if let Some((_, Some(fingerprint))) = &tls {
            context.progress.note(&format!("certificate  SHA-256 {fingerprint}"));
        }
        if let Share::Tunnel(tunnel) = &self.options.share {
            self.tunnel(tunnel.clone(), address.port(), scheme, context).await?;
        }
        let limit = axum::extract::DefaultBodyLimit::max(MAX_BODY);
        let service = self
            .access
            .protect(router.layer(limit))
            .into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let (stop, cancel) = (handle.clone(), context.cancel.clone());
        tokio::spawn(async move {
            let cancelled = async {
                while !cancel.is_cancelled() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! { () = cancelled => {}, () = finished => {} }
            stop.graceful_shutdown(Some(DRAIN));
        });
        match tls {
            Some((settings, _)) => {
                let server = axum_server::from_tcp_rustls(self.listener, settings)?;
                Ok(server.handle(handle).serve(service).await?)
            }
            None => {
                let server = axum_server::from_tcp(self.listener)?.acceptor(NoDelayAcceptor::new());
                Ok(server.handle(handle).serve(service).await?)
            }
        }
    }

    fn announce(&self, address: SocketAddr, scheme: &str, context: &Context) -> Result<()> {
        let port = address.port();
        let lan = !address.ip().is_loopback();
        let host = if address.ip().is_unspecified() { lan_address() } else { address.ip() };
        let link =
            |token: &str| format!("{scheme}://{}/?token={token}", SocketAddr::new(host, port));
        context.progress.note(&format!("open  {}", link(&self.access.token(Role::Owner)?)));
        if lan {
            let link = link(&self.access.token(Role::Labeller)?);
            context.progress.note(&format!("share {link}"));
            show_code(&link, context);
            if scheme == "http" {
                context.progress.warn(
                    "everybody on this network who has a link can come in, and the network can read along; `--tls` encrypts",
                );
            }
        } else if self.options.share == Share::No {
            context.progress.note(&format!(
                "from another computer:  ssh -L {port}:127.0.0.1:{port} user@this-computer, then open the same link"
            ));
        }
        Ok(())
    }

    /// Opens the tunnel and keeps it open; a server that went away is tried again.
    async fn tunnel(
        &self,
        tunnel: Tunnel,
        port: u16,
        scheme: &'static str,
        context: &Context,
    ) -> Result<()> {
        let token = self.access.token(Role::Labeller)?;
        let mut open = tunnel.open(port).await?;
        let context = context.clone();
        let show = move |port: u16, context: &Context| {
            let link = format!("{scheme}://{}:{port}/?token={token}", tunnel.server);
            context.progress.note(&format!("share {link}"));
            show_code(&link, context);
            if scheme == "http" {
                context.progress.warn("everybody on the way can read and change what is sent");
            }
            tunnel.clone()
        };
        let tunnel = show(open.port, &context);
        tokio::spawn(async move {
            loop {
                let ended = open.carry().await;
                let why = ended.err().unwrap_or_else(|| "it was closed".into());
                context.progress.warn(&format!("the tunnel is down ({why}); trying again"));
                let mut wait = Duration::from_secs(1);
                open = loop {
                    tokio::time::sleep(wait).await;
                    match tunnel.open(port).await {
                        Ok(open) => break open,
                        Err(error) => tracing::debug!("{error}"),
                    }
                    wait = (wait * 2).min(Duration::from_secs(60));
                };
                show(open.port, &context);
            }
        });
        Ok(())
    }
}

/// Serves a router that needs to know nothing of its server.
///
/// # Errors
/// As [`Server::bind`] and [`Server::run`].
pub async fn serve(
    router: axum::Router,
    options: &ServeOptions,
    context: &Context,
    finished: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    Server::bind(options)?.run(router, context, finished).await
}

fn show_code(link: &str, context: &Context) {
    if let Ok(code) = qrcode::QrCode::new(link) {
        context.progress.note(&code.render::<qrcode::render::unicode::Dense1x2>().build());
    }
}

/// The address others on the network know this computer by; no packet is sent.
fn lan_address() -> IpAddr {
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
