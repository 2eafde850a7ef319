//! Starting a server, saying where it is, and stopping it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use curator_core::Context;

use crate::{Access, Error, Result};

/// Largest request body, in bytes; a photograph fits.
const MAX_BODY: usize = 32 << 20;

/// Where a server listens.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address; loopback unless asked.
    pub host: IpAddr,
    /// The port; 0 takes any that is free.
    pub port: u16,
    /// Whether others on the network shall reach it: listens on all addresses and shows a QR code.
    pub share_lan: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0, share_lan: false }
    }
}

/// Serves a router until the context is cancelled or `finished` completes; prints the link to open.
///
/// # Errors
/// [`Error::Bind`] when the address is taken, [`Error::Stopped`].
pub async fn serve(
    router: axum::Router,
    options: &ServeOptions,
    context: &Context,
    finished: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let host = if options.share_lan { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { options.host };
    let asked = SocketAddr::new(host, options.port);
    let bind = |source| Error::Bind { address: asked.to_string(), source };
    let listener = tokio::net::TcpListener::bind(asked).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let shared = !host.is_loopback();
    let access = Access::new(address.port(), shared);
    announce(address, &access, context);
    let router = access.protect(router.layer(axum::extract::DefaultBodyLimit::max(MAX_BODY)));
    let cancel = context.cancel.clone();
    let stop = async move {
        let cancelled = async {
            while !cancel.is_cancelled() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::select! { () = cancelled => {}, () = finished => {} }
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

fn announce(address: SocketAddr, access: &Access, context: &Context) {
    let port = address.port();
    let host = if address.ip().is_unspecified() { lan_address() } else { address.ip() };
    let link = format!("http://{}/?token={}", SocketAddr::new(host, port), access.token());
    context.progress.note(&format!("open  {link}"));
    if host.is_loopback() {
        context.progress.note(&format!(
            "from another computer:  ssh -L {port}:127.0.0.1:{port} user@this-computer, then open the same link"
        ));
    } else {
        context.progress.warn("everybody on this network who has the link can open the page");
        if let Ok(code) = qrcode::QrCode::new(&link) {
            context.progress.note(&code.render::<qrcode::render::unicode::Dense1x2>().build());
        }
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
