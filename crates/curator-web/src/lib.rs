//! What the web pages share: starting and stopping a server, links with roles, TLS, tunnels, headers that
//! keep a page to itself, and errors as JSON.
//!
//! A router given to [`serve`] is reached only through a printed link: its token is exchanged for a signed
//! `HttpOnly` cookie, and requests with a foreign `Host` or `Origin` are refused. Handlers find out who asks
//! through the [`Visitor`] extension.

mod access;
mod args;
mod error;
mod links;
mod reply;
mod server;
mod tls;
mod tunnel;

pub use access::{Access, AccessOptions, Hosts, Visitor};
pub use args::WebArgs;
pub use error::{Error, Result};
pub use links::{FILE_NAME as LINKS_FILE, Link, Links, Role, is_signed, sign};
pub use reply::{Problem, asset};
pub use server::{ServeOptions, Server, Share, serve};
pub use tls::Tls;
pub use tunnel::Tunnel;
